"""P1c: models by the hundred: ``delete_models`` beside a loop of MLflow's ``delete_artifacts``.

And on SQLite beside two ceilings of the same run: nobody deletes faster than the journal can be
written (MLflow's ``log_batch``, once to begin and once to end), or than Azure's SDK sends batches
of 256 names that it was told.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.child import WorkFailedError, measure
from benchmarks.delete_one import IN_FLIGHT, batches, said
from benchmarks.fill import fill_runs, put_blobs
from benchmarks.row import Row, side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from benchmarks.bench import Bench
    from benchmarks.child import Measured
    from benchmarks.fill import Made
    from benchmarks.stage import Place, Stage

RECORD = "x" * 600
"""As long as the journal's record of a deletion."""


def by_expmgr(place: Place, made: list[Made]) -> Callable[[], dict[str, int]]:
    manager = place.manager()
    ids = [one.run_id for one in made]
    return lambda: dict(manager.delete_models(ids, progress=False).counts)


def by_expmgr_as_planned(place: Place, made: list[Made]) -> Callable[[], dict[str, int]]:
    manager = place.manager()
    plan = manager.plan_deletion([one.run_id for one in made])
    return lambda: dict(manager.delete_models(plan, progress=False).counts)


def by_mlflow(place: Place, made: list[Made]) -> Callable[[], None]:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    def delete() -> None:
        for one in made:
            uri = f"{place.root}/models/{one.model_id}/artifacts"
            get_artifact_repository(uri).delete_artifacts()

    return delete


def log_batches(place: Place, made: list[Made], threads: int) -> Callable[[], None]:
    """Write what a journal would, and nothing else."""
    from mlflow.entities import RunTag

    client = place.client()

    def write(run_id: str) -> None:
        for word in ("deleting", "deleted"):
            tags = [RunTag("expmgr.deletion.1", word + RECORD), RunTag("expmgr.model", word)]
            client.log_batch(run_id, tags=tags)

    def write_all() -> None:
        if threads == 1:
            for one in made:
                write(one.run_id)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(write, [one.run_id for one in made]))

    return write_all


def files(count: int) -> list[str]:
    return ["MLmodel", *(f"part-{number:06}" for number in range(count - 1))]


def filled(stage: Stage, models: int, blobs: int) -> tuple[Stage, list[Made], Made]:
    """Return servers with so many models that nothing protects, and one that is best."""
    stage = stage.emptied()
    made = fill_runs(stage.near, models + 1, newest_best=1)
    put_blobs(stage.near, [name for one in made for name in one.names(files(blobs))])
    return stage, made[:-1], made[-1]


def deleted(
    stage: Stage, models: int, blobs: int, work: Callable[..., Callable[[], Any]]
) -> Measured:
    """Measure one way to delete all models but the best, and see that it did."""
    stage, made, best = filled(stage, models, blobs)
    found = measure(work, stage.place, made)
    left, kept = stage.near.blobs(), stage.near.blobs(f"root/models/{best.model_id}/")
    if (left, kept) != (blobs, blobs) or found.answer not in (None, {"deleted": models}):
        raise WorkFailedError(f"{work.__name__} left {left - blobs} blobs: {found.answer}")
    return found


def rows(bench: Bench) -> Iterator[Row]:
    """Return the rows of P1c."""
    yield from beside_mlflow(bench)
    yield from beside_ceilings(bench)


def beside_mlflow(bench: Bench) -> Iterator[Row]:
    models, blobs = bench.size((100, 50), (4, 5))
    for round_trip, rounds in bench.size([(0.0, 3), (0.020, 1)], [(0.0, 1)]):
        with bench.stage(server=True, round_trip=round_trip) as stage:
            ours, theirs = bench.in_turn(
                lambda: deleted(stage, models, blobs, by_expmgr),
                lambda: deleted(stage, models, blobs, by_mlflow),
                rounds=rounds,
            )
        yield Row(
            "P1c",
            f"delete {models} models of {blobs} files" + (", +20 ms" if round_trip else ""),
            side(ours),
            side(theirs),
            "a loop of MLflow's `delete_artifacts`",
            note=f"ours with plan, protection and journal; to storage {said(ours[-1].kinds)}",
        )


def beside_ceilings(bench: Bench) -> Iterator[Row]:
    models, blobs = bench.size((1000, 5), (8, 2))
    with bench.stage() as opened:

        def written(threads: int) -> Measured:
            stage = opened.emptied()
            return measure(log_batches, stage.place, fill_runs(stage.near, models), threads)

        def batched() -> Measured:
            stage, made, _ = filled(opened, models, blobs)
            names = [name for one in made for name in one.names(files(blobs))]
            found = measure(batches, stage.place, names)
            if stage.near.blobs() != blobs:
                raise WorkFailedError("the SDK left blobs, or took the best model's")
            return found

        ours, alone, together, sent = bench.in_turn(
            lambda: deleted(opened, models, blobs, by_expmgr_as_planned),
            lambda: written(1),
            lambda: written(IN_FLIGHT),
            batched,
        )
    journal = min(side(alone), side(together), key=lambda one: one.amount)
    work = f"delete {models:,} planned models of {blobs} files, SQLite"
    for theirs, beside in (
        (journal, f"`log_batch` alone, {2 * models:,} times"),
        (side(sent), "full batches of the SDK alone"),
    ):
        note = "a ceiling: below 1 by nature"
        yield Row("P1c", work, side(ours), theirs, beside, kind="ceiling", note=note)
