"""Data of the system that expmgr replaces: recognised, read, protected, and kept true."""

from __future__ import annotations

import pytest
from theirs import their_initial

from expmgr.policies import status


def row_of(table, run_id):
    return table[table.run_id == run_id].iloc[0]


def test_their_initial_model_is_protected_everywhere(lab, browse):
    """It was deleted like any other."""
    experiment_id, run_id = their_initial(lab)
    manager = lab.manager()
    files = lab.blob_names()
    (plan,) = manager.plan_deletion(run_id)
    assert [reason.kind for reason in plan.reasons] == ["initial"]
    result = manager.delete_model(run_id, experiment_id)
    assert result.outcome == "protected"
    assert "initial model" in result.message
    assert lab.blob_names() == files
    words = "initial: it is the initial model"
    tables = manager.runs_and_models()
    assert row_of(tables.runs, run_id).protected_by == words
    assert row_of(tables.models, run_id).protected_by == words
    filtered = manager.runs(filter_string="attributes.status = 'FINISHED'")
    for table in (filtered, manager.runs(limit=5)):
        assert row_of(table, run_id).protected_by == words
    followed = manager.follow()
    followed.read()
    manager.pin(run_id, "why")
    assert row_of(followed.refresh().runs, run_id).protected_by.startswith(words + "; pinned")
    manager.unpin(run_id)
    assert row_of(followed.refresh().runs, run_id).protected_by == words
    browser = browse(manager)
    assert "initial" in row_of(browser.shown, run_id).protected_by
    assert manager.delete_models([run_id], progress=False).results[0].outcome == "protected"
    assert manager.plan_cleanup(where=status("FINISHED"), everything=True).deletable == ()
    assert lab.blob_names() == files


def test_what_their_initial_run_names_is_used(lab):
    """A model that the initial run links to is as needed as one that it made."""
    _, initial = their_initial(lab, upload=False)
    lab.best()
    maker = lab.run(0.1)
    model_id = lab.logged_model(maker)
    lab.link(initial, model_id)
    manager = lab.manager()
    (plan,) = manager.plan_deletion(maker)
    assert [reason.kind for reason in plan.reasons] == ["used"]
    tables = manager.runs_and_models()
    assert row_of(tables.models, maker).protected_by.startswith("used: initial run")


@pytest.mark.parametrize("name", ["initial", "iterations / initial", "iteration / initial / x"])
def test_other_names_hold_no_initial_model(lab, name):
    lab.best()
    experiment_id = lab.experiment(name)
    run_id = lab.run(experiment_id=experiment_id)
    lab.history_model(run_id)
    lab.client.set_tag(lab.with_model(0.7, experiment_id=experiment_id), "x", "y")
    (plan,) = lab.manager().plan_deletion(run_id)
    assert plan.reasons == ()
