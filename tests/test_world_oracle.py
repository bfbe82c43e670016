"""The oracle of the generated worlds says of small worlds what DESIGN.md says in words."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from world import (
    METRIC,
    Experiment,
    Link,
    Model,
    Run,
    Stray,
    Value,
    Version,
    World,
    blobs,
    invented_ids,
)
from world_oracle import Judgement, Oracle

HERE = Experiment()
WHOLE = (("MLmodel", 0), ("w.bin", 0))
DIRECTORY = (("model/MLmodel", 0), ("model/w.bin", 0), ("model10/w.bin", 0))
WEIGHTS = (("epoch-1.pt", 0), ("plot.png", 0))


def world(*runs: Run, models=(), values=(), **parts) -> World:
    return World((HERE,), tuple(runs), tuple(models), tuple(values), **parts)


def said(run: int, value: float, *models: int, step: int = 0, time: int = 0) -> Value:
    return Value(run, METRIC, value, step, time, models)


def best(described: World) -> set[tuple[str, int]]:
    found = Judgement(described, invented_ids(described)).oracles
    (keys,) = {frozenset(oracle.best) for oracle in found}
    return {key[:2] for key in keys}


def kinds(described: World, model: int) -> set[str]:
    entry = Judgement(described, invented_ids(described)).model(model)
    assert entry.must == entry.may
    return {kind for kind, _ in entry.must}


def names(described: World, run: int) -> set[str]:
    ids = invented_ids(described)
    entry = Judgement(described, ids).run(run)
    return {name.removeprefix(f"{ids.run_path(described, run)}/") for name in entry.names}


def made(run: int | None = 0, step: int | None = 0, **options) -> Model:
    return Model(0, run, step=step, **options)


def test_an_evaluation_in_another_run_makes_a_model_the_best():
    described = world(
        *(Run(0), Run(0), Run(0)),
        models=[made(0), made(1)],
        values=[said(0, 0.1), said(1, 0.8), said(2, 0.9, 0)],
        links=(Link(2, 0, "input"),),
    )
    # By own values and by quality the evaluated one; by maker values the other.
    assert best(described) == {("logged", 0), ("logged", 1)}
    assert Oracle(described, invented_ids(described)).stars(0) == {("logged", 0, "")}


def test_of_checkpoints_told_apart_by_step_only_the_best_stays():
    models = [made(step=0), made(step=1), made(step=2)]
    values = [said(0, v, i, step=i, time=i) for i, v in enumerate((0.7, 0.95, 0.6))]
    assert best(world(Run(0), models=models, values=values)) == {("logged", 1)}


def test_siblings_of_one_step_are_equal():
    models = [made(), made()]
    # Logged after both, a value is copied onto both; ck1 = [.95, .6], ck2 = [.6].
    values = [said(0, 0.95, 0, time=0), said(0, 0.6, 0, 1, time=1)]
    assert best(world(Run(0), models=models, values=values)) == {("logged", 0), ("logged", 1)}


def test_without_own_values_all_models_of_the_best_run_stay():
    models = [made(0), made(0), made(1)]
    described = world(Run(0), Run(0), models=models, values=[said(0, 0.9), said(1, 0.5)])
    assert best(described) == {("logged", 0), ("logged", 1)}


@pytest.mark.parametrize("value", [math.nan, math.inf, 1.797e308])
def test_values_that_do_not_count_make_nothing_best(value):
    described = world(
        *(Run(0), Run(0)),
        models=[made(0), made(1)],
        values=[said(0, value, 0), said(1, 0.5, 1)],
        is_loss=math.isnan(value),
    )
    assert best(described) == {("logged", 1)}


def test_the_newest_own_value_counts_even_where_it_does_not_count():
    values = [said(0, 0.9, 0, time=0), said(0, math.nan, 0, time=1), said(1, 0.5, 1)]
    described = world(Run(0), Run(0), models=[made(0), made(1)], values=values)
    assert best(described) == {("logged", 1)}


@pytest.mark.parametrize(
    "doubtful",
    [
        made(0, status="PENDING"),
        made(0, status="FAILED"),
        made(0, external=True),
        made(0, files=(("w.bin", 0),)),
        made(0, files=(("data/MLmodel", 0),)),
    ],
)
def test_a_doubtful_model_is_protected_but_takes_nothing_away(doubtful):
    described = world(
        *(Run(0), Run(0)),
        models=[doubtful, made(1)],
        values=[said(0, 0.9, 0), said(1, 0.5, 1)],
    )
    assert best(described) == {("logged", 0), ("logged", 1)}
    worse = replace(described, values=(said(0, 0.4, 0), said(1, 0.5, 1)))
    assert best(worse) == {("logged", 1)}


def test_a_model_without_files_is_no_candidate():
    described = world(
        *(Run(0), Run(0)),
        models=[made(0, files=()), made(1)],
        values=[said(0, 0.9, 0), said(1, 0.5, 1)],
    )
    assert best(described) == {("logged", 1)}


def test_raw_checkpoints_are_best_by_their_run_and_not_all_of_them():
    described = world(
        *(Run(0, files=WEIGHTS), Run(0, files=WEIGHTS), Run(0, files=WEIGHTS)),
        values=[said(0, 0.9), said(1, 0.5)],
    )
    assert best(described) == {("raw", 0)}


def test_of_equals_the_ten_newest_stay():
    runs = [Run(0) for _ in range(12)]
    described = world(
        *runs, models=[made(i) for i in range(12)], values=[said(i, 0.5) for i in range(12)]
    )
    assert best(described) == {("logged", index) for index in range(2, 12)}


def test_a_model_is_compared_in_its_makers_experiment_too():
    described = World(
        (HERE, HERE),
        (Run(0), Run(0)),
        (Model(1, 0), Model(0, 1)),
        (said(0, 0.9, 0), said(1, 0.5, 1)),
    )
    assert best(described) == {("logged", 0), ("logged", 1)}
    described = replace(described, values=(said(0, 0.4, 0), said(1, 0.5, 1)))
    # Alone in its own experiment it is the best there.
    assert best(described) == {("logged", 0), ("logged", 1)}


def test_both_goals_protect_where_the_recorded_one_differs():
    described = World(
        (Experiment(goal=("loss", True)),),
        (Run(0), Run(0), Run(0)),
        (made(0), made(1), made(2)),
        (said(0, 0.9), Value(1, "loss", 0.1, 0, 0), Value(2, "loss", 0.2, 0, 0)),
    )
    assert best(described) == {("logged", 0), ("logged", 1)}
    foreign = replace(described, experiments=(Experiment(ours=False),))
    assert best(foreign) == set()


def test_a_version_of_a_model_protects_that_one_and_a_version_of_a_run_all():
    runs, models = (Run(0), Run(0)), (made(0), made(0), made(1))
    described = world(*runs, models=models, versions=(Version("a", "model", 0),))
    assert [kinds(described, index) for index in range(3)] == [{"registered"}, set(), set()]
    described = world(
        *runs,
        models=models,
        versions=(Version("a", "runs:", 0),),
        links=(Link(0, 2, "output"),),
    )
    assert [kinds(described, index) for index in range(3)] == [{"registered"}] * 3
    entry = Judgement(described, invented_ids(described)).run(0)
    assert entry.must == {("registered", "a/1")}


def test_a_copy_protects_what_it_is_a_copy_of():
    versions = (Version("a", "model", 0), Version("b", "copy", 0))
    described = world(Run(0), models=[made()], versions=versions)
    entry = Judgement(described, invented_ids(described)).model(0)
    assert entry.must == {("registered", "a/1"), ("registered", "b/1")}


@pytest.mark.parametrize(
    ("user", "way", "reasons"),
    [
        (Run(0), "input", set()),
        (Run(0, pin=""), "input", {"used"}),
        (Run(0, pin="false"), "input", set()),
        (Run(0, initial=True), "output", {"used"}),
        (Run(0, status="RUNNING"), "input", {"used"}),
    ],
)
def test_a_run_that_names_a_model_protects_it_by_what_it_is(user, way, reasons):
    described = world(Run(0), user, models=[made()], links=(Link(1, 0, way),))
    assert kinds(described, 0) == reasons


def test_a_run_that_made_the_best_protects_what_it_names():
    described = world(
        *(Run(0), Run(0)),
        models=[made(0), made(1)],
        values=[said(0, 0.5), said(1, 0.9)],
        links=(Link(1, 0, "input"),),
    )
    assert kinds(described, 0) == {"used"}


def test_the_best_of_the_runs_that_only_link_protects_what_it_links():
    described = world(
        *(Run(0), Run(0), Run(0)),
        models=[made(0), made(0, step=1)],
        values=[said(1, 0.5), said(2, 0.9)],
        links=(Link(1, 0, "output"), Link(2, 1, "output")),
    )
    assert [kinds(described, index) for index in range(2)] == [set(), {"used"}]


def test_what_lies_under_a_run_is_its_model_only_by_the_three_rules():
    assert names(world(Run(0, files=WEIGHTS)), 0) == {"epoch-1.pt", "plot.png"}
    assert names(world(Run(0, files=(("plot.png", 0),))), 0) == set()
    directory = {"model/MLmodel", "model/w.bin"}
    assert names(world(Run(0, files=DIRECTORY)), 0) == directory
    assert names(world(Run(0, files=DIRECTORY, history=("model",))), 0) == directory
    # A LoggedModel, be it in the trash and listed by nobody, leaves the artifacts alone.
    for model in (made(), made(step=None, trash=True)):
        described = world(Run(0, files=WEIGHTS), models=[model])
        entry = Judgement(described, invented_ids(described)).run(0)
        assert {name.rsplit("/", 1)[-1] for name in entry.names} == {"MLmodel", "w.bin"}
    evaluation = world(Run(0), Run(0, files=WEIGHTS), models=[made()], links=(Link(1, 0, "input"),))
    assert names(evaluation, 1) == set()


def test_a_model_that_nobody_knows_puts_raw_artifacts_in_doubt():
    described = world(
        *(Run(0, files=WEIGHTS), Run(0, files=WEIGHTS)), strays=(Stray("orphan", 0, named=0),)
    )
    assert names(described, 0) == set()
    entry = Judgement(described, invented_ids(described)).run(1)
    assert entry.deletable
    described = replace(described, strays=(Stray("orphan", 0),))
    assert all(Judgement(described, invented_ids(described)).run(i).doubt for i in range(2))


def test_an_experiment_within_a_runs_artifacts_keeps_its_files():
    described = World(
        (HERE, Experiment(inside=0)),
        (Run(0, files=WEIGHTS), Run(1)),
        (Model(1, 1), Model(1, None)),
    )
    ids = invented_ids(described)
    entry = Judgement(described, ids).run(0)
    assert entry.doubt
    assert not any("nested" in name for name in entry.names)
    assert sum("nested" in name for name in blobs(described, ids)) == 2 * len(WHOLE)


def test_a_run_goes_whole_or_not_at_all_and_a_model_by_its_id():
    models = [made(step=0), made(step=1, pin="audit")]
    judgement = Judgement(described := world(Run(0), models=models), invented_ids(described))
    assert judgement.run(0).deletable is False
    assert judgement.model(0).deletable is True
    assert judgement.model(1).deletable is False
