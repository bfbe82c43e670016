"""Small worlds at which something once went wrong, each named for what must be right."""

from __future__ import annotations

import pytest
from test_world import check_plan_and_table, universe  # noqa: F401 - a fixture
from world import METRIC, Experiment, Link, Model, Run, Stray, Value, Version, World

HERE = Experiment()
PLOTS = (("plot.png", 0),)
RAW = (("epoch-1.pt", 0),)
DIRECTORY = (("model/MLmodel", 0), ("model/w.bin", 0))


def said(run: int, value: float, *models: int) -> Value:
    return Value(run, METRIC, value, 0, 0, models)


FOUND = {
    "plots are no model, whatever their run says": World((HERE,), (Run(0, files=PLOTS),)),
    "a model of which no file is left has the same reasons in the table as in the plan": World(
        (HERE,),
        (Run(0), Run(0, pin="")),
        (Model(0, 0), Model(0, 0, files=())),
        links=(Link(1, 1, "input"),),
    ),
    "a version of an empty sibling is read alike by table and plan": World(
        (HERE,),
        (Run(0),),
        (Model(0, 0), Model(0, 0, files=())),
        versions=(Version("churn", "models:", 1),),
    ),
    "a row does not offer a directory that the guard refuses": World(
        (HERE, Experiment(inside=0)),
        (Run(0, files=DIRECTORY), Run(1, files=DIRECTORY, history=("model",))),
    ),
    "a row does not offer the directory of a run whose LoggedModel MLflow forgot": World(
        (HERE,), (Run(0, files=DIRECTORY),), strays=(Stray("orphan", 0, named=0),)
    ),
    "a model in an experiment in the trash is seen by table and plan alike": World(
        (HERE, Experiment(trash=True)), (Run(0),), (Model(0, 0), Model(1, 0, step=None))
    ),
    "raw artifacts stay where the run's model lies in another experiment's trash": World(
        (HERE, HERE), (Run(0, files=RAW),), (Model(1, 0, step=None, trash=True),)
    ),
    "the best of the linking runs is compared with runs of its own experiment": World(
        (HERE, HERE),
        (Run(0), Run(1)),
        (Model(0, 1),),
        (said(1, 0.9), said(0, 0.5)),
        links=(Link(0, 0, "output"),),
    ),
    "a model in the trash is never the best": World(
        (HERE,), (Run(0),), (Model(0, None, trash=True),), (said(0, 0.5, 0),)
    ),
    "a model in the trash is found for a run that itself only links": World(
        (HERE,),
        (Run(0), Run(0, files=PLOTS)),
        (Model(0, 0), Model(0, 1, step=None, trash=True)),
        links=(Link(1, 0, "output"), Link(0, 1, "output")),
    ),
    "a run that links to a model in the trash is not the best by it": World(
        (HERE,),
        (Run(0), Run(0), Run(0)),
        (Model(0, 0), Model(0, 0, trash=True), Model(0, 2)),
        (said(0, 0.5), said(1, 0.9), said(2, 0.7)),
        links=(Link(1, 1, "output"), Link(1, 0, "input")),
    ),
    "nor where that model lies in another experiment": World(
        (HERE, Experiment(ours=False)),
        (Run(0), Run(1), Run(0), Run(0)),
        (Model(0, 0), Model(1, 1, trash=True), Model(0, 3)),
        (said(0, 0.5), said(2, 0.9), said(3, 0.7)),
        links=(Link(2, 1, "output"), Link(2, 0, "input")),
    ),
    "a model that its run made for another experiment is told by that one's trash": World(
        (HERE, Experiment(ours=False)),
        (Run(0),),
        (Model(0, 0), Model(1, 0, trash=True)),
        (said(0, 0.5),),
    ),
    "a copy protects the model that it is a copy of and no sibling": World(
        (HERE,),
        (Run(0),),
        (Model(0, 0), Model(0, 0)),
        versions=(Version("churn", "model", 0), Version("copies", "copy", 0)),
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_small_world(universe, name):  # noqa: F811
    check_plan_and_table(universe, FOUND[name])
