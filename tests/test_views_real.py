"""The Clean up and the Deletions view over a real manager, MLflow and Azurite."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from lab import Lab
from moved_clock import Clock
from servers import Backend

from expmgr import policies
from expmgr.tracking.journal import begin, now_ms, write_record

POLICY = {"older_than": "", "best": 1}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr("expmgr.widgets.arming.ARMED_AFTER", 0.0)
    monkeypatch.setattr("expmgr.widgets.session.cleaning.PAUSE", 0.01)


@pytest.fixture
def lab(sqlite_uri, artifact_root, container, credentials, blob_names, tmp_path, plugin_name):
    backend = Backend("sqlite", sqlite_uri, None, container)
    return Lab(backend, credentials, blob_names, tmp_path, plugin_name)


def waited(browser):
    assert browser.wait(60)
    return browser._page.views


def cleaning_up(browser, **policy):
    browser.view = "clean up"
    waited(browser)
    browser._loop.call(lambda: browser._session.cleaning.ask(**{**POLICY, **policy}))
    return waited(browser).clean_up


def click(browser, button):
    button.click()
    waited(browser)


def asked_and_confirmed(browser, line):
    click(browser, line.button)
    if line.count_box is not None:
        count = line.count_box.placeholder.removeprefix("Type ")
        line.count_box.value = count
        waited(browser)
    click(browser, line.confirm_button)


def test_what_is_shown_is_what_goes_and_what_changed_meanwhile_is_named(browse, lab):
    lab.best()
    free, pinned = lab.with_model(0.2), lab.with_model(0.3)
    manager = lab.manager()
    browser = browse(manager)
    view = cleaning_up(browser)
    assert {run.run_id for run in browser.plan} == {free, pinned}
    click(browser, view.line.button)

    manager.pin(pinned, "the customer asked for it")
    late = lab.with_model(0.1)
    before = lab.blob_names()
    (place,) = browser.plan.deletable[0].locations
    root = place.location.prefix.rsplit("/models/", 1)[0]
    assert all(name.startswith(root) for name in before if "/models/" in name)
    if view.line.count_box is not None:
        view.line.count_box.value = "2"
        waited(browser)
    click(browser, view.line.confirm_button)

    assert "Deleted 1 model" in view.line.status
    assert "1 turned out to be protected" in view.line.status
    assert "pinned" in view.failures.value
    stored = manager.models().set_index("run_id")["model"]
    assert stored[free] == "deleted"
    assert stored[pinned] == "stored"
    assert stored[late] == "stored"
    table = browser.table.set_index("run_id")["model"]
    assert (table[free], table[pinned]) == ("deleted", "stored")


def test_optimizer_states_go_and_the_table_says_stored(browse, lab):
    lab.best()
    run_id = lab.run(0.2)
    weights = {"MLmodel": b"flavors: {}\n", "data/model.safetensors": b"w" * 100}
    lab.logged_model(run_id, {**weights, "data/optimizer.pt": b"o" * 5000})
    browser = browse(lab.manager())
    view = cleaning_up(browser, part="optimizer")
    asked_and_confirmed(browser, view.line)
    assert "Deleted 1 model" in view.line.status
    assert not any(name.endswith("optimizer.pt") for name in lab.blob_names())
    assert any(name.endswith("model.safetensors") for name in lab.blob_names())
    assert browser.table.set_index("run_id")["model"][run_id] in ("stored", "unknown")
    browser.view = "deletions"
    row = waited(browser).log.rows[0]
    assert "optimizer states" in row.text.value
    assert row.button.description == "", "nothing brings a part back"


def test_marks_are_shown_kept_and_carried_out_when_they_are_due(browse, lab, monkeypatch):
    clock = Clock(monkeypatch)
    lab.best()
    runs = [lab.with_model(0.2), lab.with_model(0.3)]
    manager = lab.manager()
    browser = browse(manager)
    view = cleaning_up(browser)
    view.when.value = "7d"
    waited(browser)
    before = lab.blob_names()
    asked_and_confirmed(browser, view.line)
    assert lab.blob_names() == before
    assert set(browser.table.set_index("run_id")["goes"].dropna().index) == set(runs)

    browser.view = "deletions"
    log = waited(browser).log
    assert log.line.button.disabled
    kept = next(row for row in log.rows if row.key)
    click(browser, kept.button)
    assert len(manager.marks()) == 1
    (left,) = manager.marks()["id"]

    clock.move(days=8)
    click(browser, log.refresh_button)
    assert not log.line.button.disabled
    asked_and_confirmed(browser, log.line)
    assert "Deleted 1 model" in log.line.status
    gone = set(before) - set(lab.blob_names())
    assert gone
    assert all(left in name for name in gone)
    click(browser, log.line.button)
    assert manager.marks().empty
    assert any("✓" in row.text.value for row in log.rows)


def test_an_interrupted_deletion_is_finished_from_its_record(browse, lab):
    lab.best()
    run_id = lab.with_model(0.2)
    manager = lab.manager()
    (run,) = manager.plan_deletion(run_id)
    location = run.locations[0].location
    record = begin(run_id, [location], record_id="1", planned_at=now_ms(), files=2, bytes=9)
    write_record(lab.client, replace(record, deadline=now_ms() - 1))
    browser = browse(manager)
    browser.view = "deletions"
    row = waited(browser).log.rows[0]
    assert row.button.description == "Resume"
    click(browser, row.button)
    assert row.status.startswith("A deletion was interrupted: delete the 2 files")
    click(browser, row.confirm_button)
    assert row.status.startswith("Deleted 2 files")
    assert not any(name.startswith(location.prefix) for name in lab.blob_names())
    click(browser, row.button)  # Close: the record is read again
    offered = [one.button.description for one in browser._page.views.log.rows if one.key]
    assert "Resume" not in offered


def test_where_azurite_keeps_nothing_a_restoration_is_not_offered_or_says_why(browse, lab):
    lab.best()
    run_id = lab.with_model(0.2)
    manager = lab.manager()
    assert manager.delete_model(run_id)
    browser = browse(manager)
    browser.view = "deletions"
    row = waited(browser).log.rows[0]
    if row.button.description == "Restore":
        click(browser, row.button)
        click(browser, row.confirm_button)
        assert "keeps nothing" in row.status
    else:
        assert "cannot be brought back" in row.text.value
    assert list(manager.deletion_log()["state"]) == ["deleted"]


def test_a_policy_that_takes_everything_is_planned_after_the_word(browse, lab):
    experiment = lab.experiment("second")
    runs = [lab.run(experiment_id=experiment) for _ in range(2)]
    for run_id in runs:
        lab.logged_model(run_id)
    browser = browse(lab.manager())
    view = cleaning_up(browser, best=0)
    assert browser.plan is None
    assert "takes every model" in view.notice.text
    view.word.value = "everything"
    waited(browser)
    assert browser.plan is not None
    assert {run.run_id for run in browser.plan} <= set(runs)


def test_the_line_of_python_gives_the_plan_that_is_shown(browse, lab):
    lab.best()
    lab.with_model(0.2)
    lab.with_model(0.3, status="FAILED")
    manager = lab.manager()
    browser = browse(manager)
    for policy in ({}, {"status": "FAILED"}, {"last": 1}, {"per": "run", "best": 0, "last": 0}):
        cleaning_up(browser, **{"status": "", "last": 0, "per": "experiment", **policy})
        line = browser._session.cleaning.asked.line()
        names = {name: getattr(policies, name) for name in policies.__all__}
        if browser.plan is None:
            continue  # it takes everything
        told = eval(line, {"manager": manager, **names})
        assert [run.id for run in told] == [run.id for run in browser.plan]
        assert told.kept == browser.plan.kept


def test_a_mark_in_30_days_is_one(browse, lab):
    lab.best()
    lab.with_model(0.2)
    manager = lab.manager()
    browser = browse(manager)
    view = cleaning_up(browser)
    view.when.value = "30d"
    waited(browser)
    asked_and_confirmed(browser, view.line)
    (marks,) = manager.marks()[["goes", "marked_at"]].itertuples(index=False)
    assert abs(marks.goes - marks.marked_at - timedelta(days=30)) < timedelta(minutes=1)
