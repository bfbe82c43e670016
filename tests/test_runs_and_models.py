"""The tables of runs and of models from one reading: they agree, and cost what one of them does."""

from __future__ import annotations

import pandas as pd
import pytest
import requests
from scripted_manager import ScriptedManager, run_table

from expmgr.cleanup.tables import MODEL_COLUMNS, RunsAndModels


@pytest.fixture
def lab(http_lab):
    return http_lab


@pytest.fixture
def asked(lab, monkeypatch):
    """A function that returns which requests a question makes of the tracking server, in order."""
    made = []
    send = requests.Session.send

    def counted(self, request, **options):
        if request.url.startswith(lab.backend.tracking_uri):
            made.append((request.method, request.url.partition("?")[0]))
        return send(self, request, **options)

    monkeypatch.setattr(requests.Session, "send", counted)

    def ask(question):
        manager = lab.manager()
        manager.client.get_experiment("0")
        made.clear()
        answer = question(manager)
        return answer, sorted(made)

    return ask


@pytest.fixture
def several(lab):
    """Runs in every layout, newest last, and a model without a run."""
    old = lab.with_model(0.9)
    two = lab.run(0.3)
    for path in ("first", "second"):
        lab.history_model(two, path)
    lab.artifacts(lab.run(0.2), {"weights.bin": b"w"})
    alone = lab.client.create_logged_model(lab.experiment_id, name="alone")
    new = lab.run(0.5)
    return {
        "old": old,
        "two": two,
        "new": new,
        "alone": alone.model_id,
        "models": [lab.logged_model(new) for _ in range(2)],
    }


@pytest.mark.parametrize("filter_string", ["", "metrics.accuracy > 0.4"])
def test_both_tables_are_those_of_the_separate_calls_for_the_requests_of_one(
    asked, several, filter_string
):
    runs, cost = asked(lambda manager: manager.runs(filter_string=filter_string))
    models, _ = asked(lambda manager: manager.models(filter_string=filter_string))
    both, cost_of_both = asked(lambda manager: manager.runs_and_models(None, filter_string))
    assert isinstance(both, RunsAndModels)
    pd.testing.assert_frame_equal(both.runs, runs)
    pd.testing.assert_frame_equal(both.models, models)
    assert cost_of_both == cost
    assert len(cost) > 3
    assert (several["alone"] in set(both.models["model_id"])) is (not filter_string)


def test_with_a_limit_the_models_are_those_of_the_runs_shown(asked, several):
    runs, cost = asked(lambda manager: manager.runs(limit=1))
    both, cost_of_both = asked(lambda manager: manager.runs_and_models(limit=1))
    pd.testing.assert_frame_equal(both.runs, runs)
    assert cost_of_both == cost
    assert list(both.runs["run_id"]) == [several["new"]]
    assert set(both.models["model_id"]) == set(several["models"])
    assert list(both.models.columns) == list(MODEL_COLUMNS)
    assert not both.models["is_best"].any()
    wider = asked(lambda manager: manager.runs_and_models(limit=3))[0].models
    assert set(wider["model_id"]) == {
        *several["models"],
        *(f"{several['two']}/{path}" for path in ("first", "second")),
    }


def test_the_scripted_manager_counts_it_as_runs_and_knows_its_models():
    table = run_table(4, experiments=1)
    runs = list(table["run_id"])
    rows = [
        {"model_id": f"m-{at}", "kind": "logged", "run_id": runs[at // 2], "model": "stored"}
        for at in range(4)
    ]
    rows.append({"model_id": "m-alone", "kind": "logged", "run_id": "", "model": "stored"})
    blank = dict.fromkeys(MODEL_COLUMNS, "")
    models = pd.DataFrame([{**blank, **row} for row in rows])
    manager = ScriptedManager(table, models=models)
    assert manager.runs_and_models().models.equals(models)
    assert list(manager.runs_and_models(limit=1).models["model_id"]) == ["m-0", "m-1"]
    assert (manager.calls["runs"], manager.calls["runs(limit)"]) == (1, 1)
    plan = manager.plan_deletion(["m-1", "m-alone", runs[1]])
    assert [(one.id, one.run_id, one.asked) for one in plan] == [
        ("m-1", runs[0], "m-1"),
        ("m-alone", "", "m-alone"),
        (runs[1], runs[1], ""),
    ]
    report = manager.delete_models(plan, progress=False)
    assert [result.run_id for result in report] == ["m-1", "m-alone", runs[1]]
    for gone, state in (("m-0", "stored"), ("m-1", "deleted")):
        assert manager.delete_model(gone, plan=manager.plan_of(gone))
        assert manager.runs().set_index("run_id").loc[runs[0], "model"] == state
    assert len(ScriptedManager(table).runs_and_models().models) == 0
