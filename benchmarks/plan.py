"""P1d: the plan of many, over HTTP: what a person waits for before anything is deleted.

Nothing else plans, so it stands alone. Two versions stand side by side by running this in both
checkouts: what counts are the requests, and they are exact.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.child import WorkFailedError, measure
from benchmarks.fill import Made, fill_runs, put_blobs
from benchmarks.row import Row, side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from benchmarks.bench import Bench
    from benchmarks.stage import Place, Stage


def connected(place: Place) -> Any:
    """Return a manager that has said hello to its server, and asked nothing yet."""
    manager = place.manager()
    manager.client.get_experiment("0")
    return manager


def plan(place: Place, made: list[Made]) -> Callable[[], int]:
    manager = connected(place)
    return lambda: len(manager.plan_deletion([one.run_id for one in made]).deletable)


def plan_by_policy(place: Place) -> Callable[[], int]:
    from expmgr.policies import best, larger_than

    manager = connected(place)
    return lambda: len(manager.plan_cleanup(larger_than("0B"), best(10)).deletable)


def filled(stage: Stage, runs: int) -> list[Made]:
    """Make so many runs with models, and one that is best; return all but that."""
    made = fill_runs(stage.near, runs + 1, newest_best=1)
    put_blobs(stage.near, [name for one in made for name in one.names()])
    return made[:-1]


def rows(bench: Bench) -> Iterator[Row]:
    """Return the rows of P1d."""
    runs, some, hundred = bench.size((7_500, 1_000, 100), (30, 10, 3))
    with bench.stage(server=True) as stage:
        made = filled(stage, some)
        (found,) = bench.in_turn(partial(measure, plan, stage.place, made))
        _check(found[-1].answer, some)
        yield Row("P1d", f"plan of all {some:,} models there are", side(found), kind="alone")
    with bench.stage(server=True) as stage:
        made = filled(stage, runs)
        for count in (1, hundred, some, runs):
            (found,) = bench.in_turn(partial(measure, plan, stage.place, made[:count]))
            _check(found[-1].answer, count)
            word = "model" if count == 1 else "models"
            yield Row("P1d", f"plan of {count:,} {word} among {runs:,}", side(found), kind="alone")
        (found,) = bench.in_turn(partial(measure, plan_by_policy, stage.place))
        _check(found[-1].answer, runs + 1 - min(10, runs))
        work = f"plan by a policy over {runs:,} models (keep the best 10)"
        yield Row("P1d", work, side(found), kind="alone")


def _check(planned: int, wanted: int) -> None:
    if planned != wanted:
        raise WorkFailedError(f"the plan holds {planned} models of {wanted}")
