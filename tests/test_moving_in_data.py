"""Data of the system that expmgr replaces: recognised, read, protected, and kept true."""

from __future__ import annotations

from dataclasses import replace

import pytest
from theirs import their_initial, their_iteration, their_model, their_run

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.errors import DeletionError
from expmgr.policies import status
from expmgr.storage.restoration import StorageRestoration
from expmgr.tracking.journal import read_records, write_record


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


def test_in_the_trash_it_is_protected_until_it_is_archived(lab):
    home, run_id = their_initial(lab)
    lab.client.delete_experiment(home)
    manager = lab.manager()
    (row,) = manager.find_orphans().to_dict("records")
    assert (row["id"], row["deletable"]) == (run_id, False)
    assert "initial" in row["protected_by"]
    lab.client.restore_experiment(home)
    lab.client.rename_experiment(home, f"{home}_archive")
    lab.client.delete_experiment(home)
    found = manager.find_orphans("all")
    assert list(found.deletable) == [True]
    assert manager.delete_orphans(found, progress=False).counts == {"deleted": 1}
    assert lab.blob_names("mlflow") == []


def metrics(lab, run_id):
    told = lab.client.get_run(run_id).data.metrics
    return {name: told[name] for name in told if name.startswith("model_")}


def by_one_call(manager, browse, run_id):
    assert manager.delete_model(run_id)


def by_its_own_id(manager, browse, run_id):
    assert manager.delete_model(f"{run_id}/model")


def by_many(manager, browse, run_id):
    assert manager.delete_models([run_id], progress=False).counts == {"deleted": 1}


def by_the_button(manager, browse, run_id):
    browser = browse(manager)
    row = next(row for row in browser.rows if row.run_id == run_id)
    row.delete_button.click()
    assert browser.wait(10)
    assert row.status.startswith("Delete 4 files")
    row.confirm_button.click()
    assert browser.wait(10)


WAYS = [by_one_call, by_its_own_id, by_many, by_the_button]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_their_metrics_are_kept_true_whoever_deletes(lab, browse, monkeypatch, way):
    monkeypatch.setattr("expmgr.widgets.arming.ARMED_AFTER", 0.0)
    home = their_iteration(lab, "r0")
    their_run(lab, home, 0.9)
    run_id = their_run(lab, home, 0.1)
    assert metrics(lab, run_id) == {"model_uploaded": 1}
    way(lab.manager(), browse, run_id)
    assert metrics(lab, run_id) == {"model_uploaded": 0, "model_deleted": 1}
    assert not [name for name in lab.blob_names() if run_id in name]


def test_a_run_that_never_told_is_told_nothing(lab):
    lab.best()
    run_id = lab.with_model(0.1)
    assert lab.manager().delete_model(run_id)
    assert metrics(lab, run_id) == {}


def test_the_last_model_of_a_run_ends_it(lab):
    lab.best()
    run_id = lab.run(0.1)
    first, second = lab.logged_model(run_id), lab.logged_model(run_id)
    lab.client.log_metric(run_id, "model_uploaded", 1)
    manager = lab.manager()
    assert manager.delete_model(first)
    assert metrics(lab, run_id) == {"model_uploaded": 1}
    assert manager.delete_model(second)
    assert metrics(lab, run_id) == {"model_uploaded": 0, "model_deleted": 1}


@pytest.mark.parametrize("count", [2, 9])
def test_the_last_of_several_that_go_at_once_ends_it(lab, count):
    lab.best()
    run_id, other = lab.run(0.1), lab.run(0.1)
    models = [lab.logged_model(run_id) for _ in range(count)]
    stays = [lab.logged_model(other) for _ in range(2)]
    for one in (run_id, other):
        lab.client.log_metric(one, "model_uploaded", 1)
    lab.client.set_logged_model_tags(stays[1], {"expmgr.keep": "paper"})
    report = lab.manager().delete_models([*models, *stays], progress=False)
    assert report.counts == {"deleted": count + 1, "protected": 1}
    assert metrics(lab, run_id) == {"model_uploaded": 0, "model_deleted": 1}
    assert metrics(lab, other) == {"model_uploaded": 1}


def test_a_deletion_that_fails_leaves_them(lab, monkeypatch):
    lab.best()
    run_id = lab.run(0.1)
    their_model(lab, run_id)
    manager = lab.manager()

    def refuses(*_):
        raise DeletionError("no", run_id=run_id)

    monkeypatch.setattr(manager, "_delete_model", refuses)
    assert manager.delete_model(run_id).outcome == "failed"
    assert metrics(lab, run_id) == {"model_uploaded": 1}


def test_a_restored_model_is_told_again(lab, put_blob):
    lab.best()
    run_id = lab.run(0.1)
    their_model(lab, run_id)
    manager = lab.manager()
    assert manager.delete_model(run_id)
    whole = StorageRestoration(4, 4, 0.1)
    manager.blob_store.undelete = lambda locations: whole
    manager.restore_model(run_id)
    assert metrics(lab, run_id) == {"model_uploaded": 1, "model_deleted": 0}


def test_they_cost_no_request(http_lab, counted):
    http_lab.best()
    plain, told = (http_lab.run(0.1) for _ in range(2))
    http_lab.history_model(plain)
    their_model(http_lab, told)
    manager = http_lab.manager()
    made = []
    for run_id in (plain, told):
        counted.clear()
        assert manager.delete_model(run_id)
        made.append(dict(counted))
    assert made[0] == made[1]
    assert metrics(http_lab, told) == {"model_uploaded": 0, "model_deleted": 1}


class KilledError(BaseException):
    """The process was killed here."""


class Dying(ExperimentsManagerWithAzureBlobBackend):
    """A manager whose process dies once the files are gone, before the journal says so."""

    def _delete_model(self, run_id, experiment_id=None):
        super()._delete_model(run_id, experiment_id)
        raise KilledError


@pytest.mark.parametrize("again", [False, True], ids=["resumed", "deleted again"])
def test_they_are_made_true_by_whoever_finishes_a_killed_deletion(lab, again):
    lab.best()
    run_id = lab.run(0.1)
    their_model(lab, run_id)
    with pytest.raises(KilledError):
        lab.manager(Dying).delete_model(run_id)
    assert metrics(lab, run_id) == {"model_uploaded": 1}
    (record,) = read_records(run_id, lab.tags(run_id))
    write_record(lab.client, replace(record, deadline=1))
    manager = lab.manager()
    if again:
        assert manager.delete_model(run_id)
    else:
        assert manager.resume_deletions().counts == {"deleted": 1}
    assert metrics(lab, run_id) == {"model_uploaded": 0, "model_deleted": 1}
