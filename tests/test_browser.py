"""The browser by its buttons, over a scripted manager: statuses, log, threads, widget models."""

from __future__ import annotations

import json
import re
import threading
import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from urllib.parse import parse_qs

import ipywidgets
import pandas as pd
import pytest
from scripted_manager import ScriptedManager, run_table

from expmgr.catalog.reason import Reason, Reasons
from expmgr.errors import (
    DeletionError,
    FilterError,
    InvalidInputError,
    TrackingUnreachableError,
)
from expmgr.results import DeletionResult
from expmgr.storage.addresses import Addresses
from expmgr.storage.store import Store
from expmgr.widgets.browser import RunBrowser


@pytest.fixture(autouse=True)
def _armed_at_once(monkeypatch):
    """Buttons take clicks at once here; test_browser_arming.py is about that they do not."""
    monkeypatch.setattr("expmgr.widgets.arming.ARMED_AFTER", 0.0)


def row_of(browser, run_id):
    return next(row for row in browser.rows if row.run_id == run_id)


def alive():
    return (
        len(ipywidgets.widget._instances)
        if hasattr(ipywidgets.widget, "_instances")
        else len(ipywidgets.widgets.widget._instances)
    )


def test_first_page_comes_from_one_small_query_and_the_rest_behind_it(browse):
    manager = ScriptedManager(run_table(60))
    gate = manager.hold("runs")
    browser = RunBrowser(manager)
    try:
        while len(browser.rows) < 25:
            assert browser._loop.wait(0.01) is False
        assert manager.calls["runs(limit)"] == 1
        gate.set()
        assert browser.wait(10)
        assert manager.calls["runs"] == 1
        assert len(browser.table) == 60
    finally:
        gate.set()
        browser.close()


def test_fewer_runs_than_a_page_are_read_whole_too(browse):
    manager = ScriptedManager(run_table(5))
    browser = browse(manager)
    assert manager.calls["runs"] == 1
    assert "★" in browser.rows[1].cells.value
    assert "best" in browser.rows[1].cells.value
    assert browser.rows[1].delete_button.layout.visibility == "hidden"


def test_nothing_is_offered_until_it_is_known_what_protects(browse):
    manager = ScriptedManager(run_table(60))
    gate = manager.hold("runs")
    browser = RunBrowser(manager, measure=False)
    try:
        while len(browser.rows) < 25:
            browser._loop.wait(0.01)
        row = browser.rows[0]
        assert row.delete_button.description == "checking …"
        assert row.delete_button.disabled
        row.delete_button.click()
        browser._loop.call(lambda: None)
        assert manager.calls["plan_deletion"] == 0
        browser.select([row.run_id])
        assert browser.bulk.delete_button.disabled
        browser.bulk.delete_button.click()
        browser._loop.call(lambda: None)
        assert manager.calls["plan_deletion"] == 0
        gate.set()
        assert browser.wait(10)
        assert row.delete_button.description == "Delete"
        assert not browser.bulk.delete_button.disabled
    finally:
        gate.set()
        browser.close()


def test_a_load_that_was_stopped_is_not_taken_as_complete_by_a_refresh(browse):
    manager = ScriptedManager(run_table(60))
    browser = browse(manager)
    gate = manager.hold("runs")
    browser.toolbar.filter_box.value = "metrics.accuracy > 0"
    browser.toolbar.apply_button.click()
    while len(browser.table) != 25:
        browser._loop.wait(0.01)
    browser.notice.cancel_button.click()
    browser._loop.call(lambda: None)
    gate.set()
    manager.gates.clear()
    assert browser.rows[0].delete_button.description == "checking …"
    browser.refresh()
    assert browser.wait(10)
    assert len(browser.table) == 60
    assert browser.rows[0].delete_button.description == "Delete"


def test_a_page_is_shown_and_turned(browse):
    browser = browse(ScriptedManager(run_table(60)), page_size=25)
    assert [row.run_id for row in browser.rows] == list(browser.table["run_id"][:25])
    browser.next_page()
    browser.next_page()
    assert [row.run_id for row in browser.rows] == list(browser.table["run_id"][50:])
    browser.next_page()
    assert len(browser.rows) == 10


def test_two_clicks_delete_and_the_row_says_so(browse):
    manager = ScriptedManager(run_table(5))
    browser = browse(manager)
    row = browser.rows[0]
    row.delete_button.click()
    assert browser.wait(10)
    assert row.status == "Delete 12 files, 34.1 MB?"
    assert manager.calls["delete_model"] == 0
    row.confirm_button.click()
    assert browser.wait(10)
    assert row.status == "Deleted 12 files, 34.1 MB in 0.8 s"
    assert manager.calls["delete_model"] == 1
    assert browser.table.loc[0, "model"] == "deleted"
    assert browser.table.loc[0, "bytes"] == 0


def test_cancel_takes_the_first_click_back(browse):
    manager = ScriptedManager(run_table(3))
    browser = browse(manager)
    row = browser.rows[0]
    row.delete_button.click()
    assert browser.wait(10)
    confirm = row.confirm_button
    row.delete_button.click()
    confirm.click()
    assert browser.wait(10)
    assert row.status == ""
    assert row.confirm_button is None
    assert manager.calls["delete_model"] == 0


def test_an_unconfirmed_deletion_takes_itself_back(browse):
    manager = ScriptedManager(run_table(3))
    browser = browse(manager, take_back=0.05)
    row = browser.rows[0]
    row.delete_button.click()
    assert browser.wait(10)
    confirm = row.confirm_button
    back = threading.Event()
    browser._loop.later(0.1, back.set)
    assert back.wait(5)
    confirm.click()
    assert browser.wait(10)
    assert row.status == ""
    assert manager.calls["delete_model"] == 0


def test_raw_artifacts_are_said_in_words(browse):
    manager = ScriptedManager(run_table(3))
    browser = browse(manager)
    manager.raw.add(browser.rows[0].run_id)
    browser.rows[0].delete_button.click()
    assert browser.wait(10)
    assert "MLflow recorded no model" in browser.rows[0].status


def test_a_failure_shows_its_log_and_can_be_retried(browse):
    manager = ScriptedManager(run_table(3))
    browser = browse(manager)
    row = browser.rows[0]
    manager.results[row.run_id] = DeletionResult(
        row.run_id,
        "failed",
        files=4,
        bytes=1,
        attempts=2,
        message="8 files are left: the storage account answered 503 twice. Try again later.",
        log=("attempt 1: 503 ServerBusy, waited 0.4 s", "attempt 2: 503 ServerBusy"),
    )
    row.delete_button.click()
    browser.wait(10)
    row.confirm_button.click()
    browser.wait(10)
    assert row.status.startswith("8 files are left")
    assert row.log == ("attempt 1: 503 ServerBusy, waited 0.4 s", "attempt 2: 503 ServerBusy")
    assert row.confirm_button.description == "Retry"
    del manager.results[row.run_id]
    row.confirm_button.click()
    browser.wait(10)
    assert row.status.startswith("Deleted 12 files")
    assert manager.calls["plan_deletion"] == 1  # what was confirmed is what is retried


def test_the_log_of_a_failure_stands_in_the_details_and_the_row_is_as_high_as_ever(browse):
    manager = ScriptedManager(run_table(3))
    browser = browse(manager)
    row = browser.rows[0]
    manager.results[row.run_id] = DeletionResult(
        row.run_id, "failed", message="503 <b>twice</b>", log=("attempt 1: 503 <i>",)
    )
    row.delete_button.click()
    browser.wait(10)
    row.details_button.click()
    browser.wait(10)
    assert "Delete 12 files, 34.1 MB?" in browser.details.html.value
    row.confirm_button.click()
    browser.wait(10)
    assert "attempt 1: 503 &lt;i&gt;" in browser.details.html.value
    assert "503 &lt;b&gt;twice" in browser.details.html.value
    assert "attempt 1" not in row.cells.value


def test_an_exception_in_a_deletion_is_a_failure_in_the_row(browse):
    manager = ScriptedManager(run_table(3))
    manager.faults["delete_model"] = DeletionError(
        "2 files are left", left=["a"], log=["attempt 1: 500"]
    )
    browser = browse(manager)
    row = browser.rows[0]
    row.delete_button.click()
    browser.wait(10)
    row.confirm_button.click()
    browser.wait(10)
    assert row.status == "2 files are left"
    assert row.log == ("attempt 1: 500",)


def test_a_protected_run_offers_no_delete_and_a_late_protection_is_told(browse):
    manager = ScriptedManager(run_table(5))
    browser = browse(manager)
    protected = browser.rows[1]
    assert protected.delete_button.layout.visibility == "hidden"
    row = browser.rows[0]
    manager.reasons[row.run_id] = ("registered as churn version 3",)
    row.delete_button.click()
    browser.wait(10)
    assert row.status == "Protected: registered as churn version 3"


def test_a_page_flip_during_a_deletion_loses_nothing(browse):
    manager = ScriptedManager(run_table(60))
    gate = manager.hold("delete_model")
    browser = browse(manager)
    run_id = browser.rows[0].run_id
    browser.rows[0].delete_button.click()
    browser.wait(10)
    browser.rows[0].confirm_button.click()
    browser.next_page()
    assert browser.rows[0].status == ""
    browser.previous_page()
    assert browser.rows[0].status.startswith("Deleting")
    browser.next_page()
    gate.set()
    browser.wait(10)
    assert all(row.status == "" for row in browser.rows)
    browser.previous_page()
    assert row_of(browser, run_id).status.startswith("Deleted 12 files")


def test_stop_reaches_the_deletion(browse):
    manager = ScriptedManager(run_table(3))
    gate = manager.hold("delete_model")
    browser = browse(manager)
    row = browser.rows[0]
    row.delete_button.click()
    browser.wait(10)
    row.confirm_button.click()
    while not row.status.startswith("Deleting"):
        browser._loop.wait(0.01)
    row.delete_button.click()
    browser._loop.call(lambda: None)
    assert row.status.startswith("Stopping")
    gate.set()
    browser.wait(10)
    assert manager.cancelled == [row.run_id]
    assert row.status == "Cancelled after 3 files."


def test_what_is_gone_already_is_said_before_asking(browse):
    manager = ScriptedManager(run_table(3), files=0, size=0)
    browser = browse(manager)
    row = browser.rows[0]
    row.delete_button.click()
    browser.wait(10)
    assert row.status == "Nothing to delete: no model files are left in storage."
    assert browser.table["model"][0] == "none"
    row.delete_button.click()
    browser.wait(10)
    assert row.status == ""
    assert row.delete_button.layout.visibility == "hidden"
    assert manager.calls["delete_model"] == 0


def test_a_storage_that_is_silent_while_sizes_are_measured_is_told(browse):
    manager = ScriptedManager(run_table(30))
    gate = manager.hold("storage_usage")
    browser = browse(manager, patience=0.05)
    browser.measure_sizes()
    until = time.monotonic() + 20
    while "waiting for the storage account" not in browser._size_notice.text:
        assert time.monotonic() < until
    assert browser._size_notice.text.startswith("Measuring sizes: experiment 1 of 3")
    gate.set()
    assert browser.wait(10)
    assert browser._size_notice.text == ""


def test_ticked_runs_are_compared_in_the_mlflow_ui_wherever_that_is(browse, monkeypatch):
    browser = browse(ScriptedManager(run_table(300)))
    ids = list(browser.shown["run_id"][[0, 3, 5]])
    browser.select(ids[:1])
    assert "Compare" not in browser.footer.totals.value
    browser.select(ids)
    (link,) = re.findall(r'href="([^"]+)"', browser.footer.totals.value)
    assert link.startswith("http://127.0.0.1:5999/#/compare-runs?runs=")
    asked = parse_qs(link.partition("?")[2].replace("&amp;", "&"))
    assert {key: json.loads(value) for key, (value,) in asked.items()} == {
        "runs": ids,
        "experiments": ["0", "2"],
    }
    browser.select(list(browser.shown["run_id"]))
    assert "Compare" not in browser.footer.totals.value, "the address would be too long"

    monkeypatch.setenv("EXPMGR_MLFLOW_UI", "https://me:secret@ui.example/mlflow/")
    browser.refresh()
    assert browser.wait(10)
    assert 'href="https://ui.example/mlflow/#/experiments/0/runs/' in browser.rows[0].cells.value


def test_an_experiment_in_which_nothing_is_called_best_is_told(browse):
    table = run_table(30)
    browser = browse(ScriptedManager(table))  # the one best run is in "churn / linear"
    assert "no model in 2 experiments has accuracy, so none is called best there" in (
        browser.footer.totals.value
    )
    table.loc[table["experiment_name"] == "churn / trees", "is_best"] = True
    browser = browse(ScriptedManager(table))
    assert "no model in churn / a very long experiment name for fits has" in (
        browser.footer.totals.value
    )


def test_a_wrong_container_is_one_sentence(browse):
    table = run_table(30).assign(model=["none"] * 3 + ["elsewhere"] * 27)
    browser = browse(ScriptedManager(table))
    assert browser.notice.text.startswith("None of 27 models lies in this container")
    table.loc[9, "model"] = "stored"
    assert browse(ScriptedManager(table)).notice.text == ""


def test_a_run_is_kept_with_a_reason_and_kept_no_more(browse):
    manager = ScriptedManager(run_table(30))
    browser = browse(manager)
    row = browser.rows[3]
    browser.select([row.run_id])
    row.details_button.click()
    assert browser.wait(10)
    keeping = browser.details.keeping
    assert (keeping.button.description, keeping.reason.value) == ("Keep", "")
    keeping.reason.value = " for the <audit> "
    keeping.button.click()
    assert browser.wait(10)
    assert manager.pins == {row.run_id: "for the <audit>"}
    assert keeping.button.description == "Unkeep"
    assert "Kept: for the &lt;audit&gt;" in keeping._said.value
    assert "pinned" in row.cells.value
    assert browser.selected == [], "what is kept cannot be deleted with the others"
    assert row.delete_button.layout is browser._kit.ghost

    keeping.button.click()
    assert browser.wait(10)
    assert manager.pins == {}
    assert "pinned" not in row.cells.value
    assert row.delete_button.layout is browser._kit.shown

    keeping.button.click()  # no reason is needed
    assert browser.wait(10)
    assert manager.pins[row.run_id].startswith("kept by ")


def test_a_pin_takes_back_an_offer_and_a_failed_one_is_told_and_changes_nothing(browse):
    manager = ScriptedManager(run_table(30))
    browser = browse(manager)
    row = browser.rows[3]
    row.details_button.click()
    row.delete_button.click()
    assert browser.wait(10)
    assert row.confirm_button is not None
    manager.faults["pin"] = [TrackingUnreachableError("no <answer>")]
    keeping = browser.details.keeping
    keeping.button.click()
    assert browser.wait(10)
    assert "Not kept: no &lt;answer&gt;" in keeping._said.value
    assert row.confirm_button is not None
    keeping.button.click()
    assert browser.wait(10)
    assert (row.confirm_button, row.status) == (None, "")


def test_a_read_only_browser_keeps_nothing(browse):
    browser = browse(ScriptedManager(run_table(5)), read_only=True)
    browser.rows[3].details_button.click()
    assert browser.wait(10)
    assert browser.details.keeping is None


def test_an_interrupted_deletion_is_resumed(browse):
    table = run_table(3)
    table.loc[0, "model"] = "interrupted"
    browser = browse(ScriptedManager(table))
    row = browser.rows[0]
    assert row.delete_button.description == "Resume"
    row.delete_button.click()
    assert browser.wait(10)
    assert row.status == "A deletion was interrupted: delete the 12 files, 34.1 MB, that are left?"
    row.confirm_button.click()
    assert browser.wait(10)
    assert row.status.startswith("Deleted 12 files")


def test_an_interrupted_deletion_without_files_can_be_finished(browse):
    table = run_table(3)
    table.loc[0, "model"] = "interrupted"
    manager = ScriptedManager(table, files=0, size=0)
    browser = browse(manager)
    row = browser.rows[0]
    row.delete_button.click()
    browser.wait(10)
    assert row.status.endswith("Finish the interrupted deletion?")
    row.confirm_button.click()
    browser.wait(10)
    assert manager.calls["delete_model"] == 1


def test_what_the_manager_says_of_a_deletion_is_what_the_row_says(browse):
    manager = ScriptedManager(run_table(3))
    browser = browse(manager)
    row = browser.rows[0]
    words = "Deleted 12 files, 34.1 MB in 0.8 s; the account keeps deleted blobs for a while"
    manager.results[row.run_id] = DeletionResult(row.run_id, "deleted", 12, 1, 1, 0.8, words)
    row.delete_button.click()
    browser.wait(10)
    row.confirm_button.click()
    browser.wait(10)
    assert row.status == words


def test_a_refresh_that_finds_a_new_best_reads_everything(browse):
    manager = ScriptedManager(run_table(30))
    browser = browse(manager)
    everything = manager.calls["filter: "]
    manager.table.loc[3, "is_best"] = True
    browser.refresh()
    assert browser.wait(10)
    assert manager.calls["filter: "] == everything + 1


def test_a_refresh_clears_what_ended_well_and_keeps_failures(browse):
    manager = ScriptedManager(run_table(6))
    browser = browse(manager)
    good, bad = browser.rows[0], browser.rows[3]
    manager.results[bad.run_id] = DeletionResult(bad.run_id, "failed", message="403: not permitted")
    for row in (good, bad):
        row.delete_button.click()
        browser.wait(10)
        row.confirm_button.click()
        browser.wait(10)
    browser.toolbar.refresh_button.click()
    assert browser.wait(10)
    assert good.status == ""
    assert bad.status == "403: not permitted"
    assert browser.table["model"][0] == "deleted"


def test_several_deletions_run_side_by_side(browse):
    manager = ScriptedManager(run_table(8))
    browser = browse(manager)
    rows = [browser.rows[at] for at in (0, 3, 4, 5)]
    for row in rows:
        row.delete_button.click()
    browser.wait(10)
    gate = manager.hold("delete_model")
    for row in rows:
        row.confirm_button.click()
    while manager.calls["delete_model"] < 4:
        browser._loop.wait(0.01)
    gate.set()
    browser.wait(10)
    assert all(row.status.startswith("Deleted") for row in rows)


def test_every_callback_returns_within_50_ms(browse):
    manager = ScriptedManager(run_table(2000))
    for name in ("plan_deletion", "delete_model", "runs"):
        manager.hold(name)
    manager.gates["runs"].set()
    browser = browse(manager)
    row = browser.rows[0]
    buttons = [
        row.delete_button,
        row.details_button,
        browser.footer.next,
        browser.footer.last,
        browser.toolbar.refresh_button,
        *browser._table.headers[:10],
    ]
    times = []
    for button in buttons:
        tries = []
        for _ in range(3):  # a machine under load may take the thread off the processor once
            began = time.perf_counter()
            button.click()
            tries.append(time.perf_counter() - began)
        times.append(min(tries))
    for gate in manager.gates.values():
        gate.set()
    assert browser.wait(20)
    assert max(times) < 0.05
    assert all("MainThread" not in name for name in manager.threads)


def test_a_server_that_hangs_is_said_and_can_be_cancelled_and_retried(browse):
    manager = ScriptedManager(run_table(60))
    gate = manager.hold("runs")
    browser = RunBrowser(manager, patience=0.05)
    try:
        said = threading.Event()
        browser._loop.later(0.3, said.set)
        assert said.wait(5)
        assert browser.notice.text.startswith("Waiting for the tracking server")
        assert len(browser.rows) == 25  # the first page came from the small query
        browser.notice.cancel_button.click()
        assert browser.wait(5)
        assert "Stopped waiting" in browser.notice.text
        gate.set()
        manager.gates.clear()
        browser.notice.retry_button.click()
        assert browser.wait(10)
        assert len(browser.table) == 60
        assert browser.notice.text == ""
    finally:
        gate.set()
        browser.close()


def test_a_server_that_is_down_is_one_line_with_retry(browse):
    manager = ScriptedManager(run_table(10))
    manager.faults["runs(limit)"] = [
        TrackingUnreachableError("Nothing answers at http://me:pw@host:1")
    ]
    browser = browse(manager)
    assert "Nothing answers" in browser.notice.text
    assert "pw" not in browser.notice.text
    browser.notice.retry_button.click()
    assert browser.wait(10)
    assert len(browser.rows) == 10
    assert browser.notice.text == ""


def test_a_refused_filter_is_shown_under_the_filter(browse):
    manager = ScriptedManager(run_table(10))
    browser = browse(manager)
    manager.faults["runs(limit)"] = [FilterError("Invalid clause: <b>nonsense</b>")]
    browser.toolbar.filter_box.value = "nonsense"
    browser.toolbar.apply_button.click()
    assert browser.wait(10)
    assert "Invalid clause: &lt;b&gt;nonsense" in browser.toolbar.filter_error.value
    assert len(browser.rows) == 10


def test_refresh_asks_only_for_what_changed(browse):
    manager = ScriptedManager(run_table(30))
    browser = browse(manager)
    before = manager.calls["filter: "]
    browser.toolbar.refresh_button.click()
    assert browser.wait(10)
    assert manager.calls["filter: "] == before
    assert manager.calls["filter: attributes.status = 'RUNNING'"] == 1
    assert len(browser.table) == 30


def test_what_was_sorted_searched_and_ticked_stays_while_the_rest_streams_in(browse):
    manager = ScriptedManager(run_table(60))
    gate = manager.hold("runs")
    browser = RunBrowser(manager)
    try:
        while len(browser.rows) < 25:
            browser._loop.wait(0.01)
        browser.sort_by("bytes", ascending=False)
        browser.search("spry")
        chosen = browser.rows[0].run_id
        browser.select([chosen])
        gate.set()
        assert browser.wait(10)
        assert browser.table["bytes"].is_monotonic_decreasing
        assert browser.selected == [chosen]
        assert len(browser.table) == 60
    finally:
        gate.set()
        browser.close()


def test_models_alive_stay_under_400_and_closing_leaves_none(browse):
    before = alive()
    manager = ScriptedManager(run_table(500))
    browser = RunBrowser(manager, page_size=30)
    browser.wait(10)
    for row in browser.rows:
        row.delete_button.click()
    browser.wait(20)
    assert browser.widget_models <= 400
    assert alive() - before == browser.widget_models
    browser.close()
    assert alive() == before


def test_opening_200_times_leaks_neither_models_nor_threads():
    manager = ScriptedManager(run_table(30))
    before, threads = alive(), threading.active_count()
    for _ in range(200):
        browser = RunBrowser(manager, page_size=10)
        browser.wait(10)
        browser.close()
    for thread in threading.enumerate():
        if thread.name.startswith("expmgr-browser"):
            thread.join(5)
    assert alive() == before
    assert threading.active_count() <= threads


def test_the_bundle_carries_the_widget_and_an_escaped_page(browse):
    table = run_table(30)
    table.loc[0, "run_name"] = "<img src=x onerror=alert(1)>\u202e $x$ \x00"
    browser = browse(ScriptedManager(table))
    bundle = browser._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == browser.widget.model_id
    assert "<img" not in bundle["text/html"]
    assert "&lt;img src=x" in bundle["text/html"]
    assert "30 runs" in bundle["text/html"]
    assert "⟨U+202E⟩" in bundle["text/plain"]
    assert "<img" not in browser.rows[0].cells.value
    assert "spry-model-7" in str(browser)


def test_a_read_only_browser_offers_nothing_that_changes_anything(browse):
    browser = browse(ScriptedManager(run_table(5)), read_only=True)
    row = browser.rows[0]
    assert (row.delete_button, row.tick, row.confirm_button) == (None, None, None)
    assert (browser.bulk, browser._table.tick_all) == (None, None)
    assert "read-only" in browser.widget.children[2].value


def test_what_a_read_only_browser_is_told_to_delete_it_refuses(browse):
    manager = ScriptedManager(run_table(5))
    browser = browse(manager, read_only=True)
    run_id = browser.rows[0].run_id
    browser._page.press(run_id)
    assert browser.wait(10)
    assert "this browser is read-only" in browser.notice.text
    with pytest.raises(InvalidInputError, match="read-only"):
        browser._session.dialogues.ask(run_id, "name")
    with pytest.raises(InvalidInputError, match="read-only"):
        browser._session.dialogues.ask_to_kill(run_id, "name", 9.0)
    with pytest.raises(InvalidInputError, match="read-only"):
        browser.delete_selected(confirmed=True)
    assert manager.calls["plan_deletion"] == manager.calls["delete_model"] == 0


def test_an_empty_table_is_a_sentence(browse):
    browser = browse(ScriptedManager(run_table(0)))
    assert browser.rows == []
    assert "no runs yet" in browser._table._empty.value
    assert browser.table.empty


def test_a_bad_page_size_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        RunBrowser(ScriptedManager(run_table(1)), page_size=0)


def test_many_are_deleted_with_one_confirmation(browse):
    manager = ScriptedManager(run_table(12))
    browser = browse(manager)
    free = list(
        browser.table.loc[
            browser.table["model"].eq("stored") & browser.table["protected_by"].eq(""), "run_id"
        ]
    )
    manager.reasons[free[2]] = ("registered: churn version 3",)
    browser.select([*free[:3], browser.table["run_id"][1]])
    assert browser.selected == free[:3]  # the best of its experiment cannot be ticked
    browser.bulk.delete_button.click()
    assert browser.wait(10)
    assert browser.bulk.status == "Delete 2 models: 24 files, 68.2 MB?"
    assert "registered: churn version 3" in browser.bulk._line.value
    assert manager.calls["delete_models"] == 0
    browser.bulk.confirm_button.click()
    assert browser.wait(10)
    assert browser.bulk.status.startswith("Deleted 2 models, 24 files, 68.2 MB")
    assert browser.bulk.summary.count("\ndeleted\t12\t34120000\t") == 2
    assert list(browser.table["model"][[0, 3]]) == ["deleted", "deleted"]
    assert browser.selected == [free[2]]


def test_a_failure_among_many_shows_in_its_row(browse):
    manager = ScriptedManager(run_table(6))
    browser = browse(manager)
    bad = browser.rows[0].run_id
    manager.results[bad] = DeletionResult(
        bad, "failed", message="403: not permitted", log=("attempt 1: 403",)
    )
    browser.select([bad, browser.rows[3].run_id])
    browser.delete_selected(confirmed=True)
    assert browser.wait(10)
    assert "1 failed" in browser.bulk.status
    assert row_of(browser, bad).status == "403: not permitted"
    assert row_of(browser, bad).log == ("attempt 1: 403",)


def test_many_can_be_stopped_and_it_says_what_was_done(browse):
    manager = ScriptedManager(run_table(12))
    browser = browse(manager)
    browser.bulk.select.value = "all"
    browser.wait(10)
    count = len(browser.selected)
    gate = manager.hold("delete_models")
    browser.delete_selected()
    browser.wait(10)
    browser.bulk.count_box.value = str(count)  # it is more than half of all bytes
    browser.wait(10)
    browser.bulk.confirm_button.click()
    while browser.bulk.phase != "running":
        browser._loop.wait(0.01)
    browser.bulk.delete_button.click()
    browser._loop.call(lambda: None)
    assert browser.bulk.status.startswith("Stopping")
    gate.set()
    browser.wait(10)
    assert browser.bulk.status.startswith("Deleted 0 models")
    assert f"stopped before the other {count}" in browser.bulk.status


def test_all_but_the_best_are_selected_by_experiment(browse):
    manager = ScriptedManager(run_table(60))
    browser = browse(manager)
    browser.bulk.select.value = "best 3"
    browser.wait(10)
    table = browser.table[browser.table["model"].eq("stored")]
    for _, runs in table.groupby("experiment_id"):
        best = set(runs.nlargest(3, "metrics.accuracy")["run_id"])
        assert not best & set(browser.selected)
    assert (
        not browser.table.set_index("run_id").loc[browser.selected, "metrics.accuracy"].isna().any()
    )
    browser.bulk.select.value = "none"
    browser.wait(10)
    assert browser.selected == []


def test_a_header_click_sorts_both_ways_and_missing_comes_last(browse):
    browser = browse(ScriptedManager(run_table(30)))
    accuracy = browser._table.headers[5]
    assert accuracy.description == "accuracy"
    accuracy.click()
    browser.wait(10)
    assert accuracy.description == "accuracy ▼"
    assert browser.table["metrics.accuracy"].dropna().is_monotonic_decreasing
    assert browser.table["metrics.accuracy"].isna().to_list()[-1]
    accuracy.click()
    browser.wait(10)
    assert accuracy.description == "accuracy ▲"
    assert browser.table["metrics.accuracy"].dropna().is_monotonic_increasing
    assert browser.table["metrics.accuracy"].isna().to_list()[-1]


def test_sizes_are_measured_one_experiment_after_another(browse):
    manager = ScriptedManager(run_table(20, measured=False))
    manager.table["model"] = manager.table["model"].replace("stored", "unknown")
    browser = browse(manager)
    assert browser.table["bytes"].isna().all()
    manager.table["model"] = manager.table["model"].replace("unknown", "artifacts")
    browser.toolbar.measure_button.click()
    assert browser.wait(10)
    assert manager.calls["storage_usage"] == 3
    assert (browser.table["bytes"] == 4_000_000).all()
    assert browser.table["model"][0] == "artifacts"
    assert "sizes of" in browser.footer.totals.value
    assert browser._size_notice.text == ""


def test_sizes_come_by_themselves_once_the_runs_are_there(browse):
    manager = ScriptedManager(run_table(30, measured=False))
    browser = browse(manager, measure=True)
    assert (browser.table["bytes"] == 4_000_000).all()
    browser.refresh()
    assert browser.wait(10)
    assert manager.calls["storage_usage"] == 3


def test_a_deletion_during_a_scan_is_not_undone_by_its_answer(browse):
    manager = ScriptedManager(run_table(6, measured=False))
    browser = browse(manager)
    gate = manager.hold("storage_usage")
    browser.measure_sizes()
    manager.table = manager.table.copy()  # the scan's answer is older than the deletion
    row = browser.rows[0]
    browser._loop.call(lambda: browser._session.dialogues.ask(row.run_id, "x"))
    while row.confirm_button is None:
        browser._loop.wait(0.01)
    assert row.status.startswith("Delete 12 files")
    row.confirm_button.click()
    while not row.status.startswith("Deleted"):
        browser._loop.wait(0.01)
    manager.table.loc[0, "model"] = "stored"
    gate.set()
    assert browser.wait(10)
    assert browser.table["model"][0] == "deleted"
    assert browser.table["bytes"][0] == 0
    assert browser.table["bytes"][3] == 4_000_000


def test_a_scan_that_fails_is_told_and_the_table_stays(browse):
    manager = ScriptedManager(run_table(20, measured=False))
    browser = browse(manager)
    manager.faults["storage_usage"] = [DeletionError("403 AuthorizationFailure, sig=abc123")]
    browser.measure_sizes()
    assert browser.wait(10)
    assert "403 AuthorizationFailure" in browser._size_notice.text
    assert "abc123" not in browser._size_notice.text
    assert len(browser.rows) == 20


def test_a_scan_can_be_cancelled(browse):
    manager = ScriptedManager(run_table(20, measured=False))
    browser = browse(manager)
    gate = manager.hold("storage_usage")
    browser.toolbar.measure_button.click()
    while manager.calls["storage_usage"] < 1:
        browser._loop.wait(0.01)
    browser._size_notice.cancel_button.click()
    browser._loop.call(lambda: None)
    gate.set()
    assert browser.wait(10)
    assert manager.calls["storage_usage"] == 1
    assert browser._size_notice.text == "Measured 1 of 3 experiments."


def test_details_open_under_the_row_and_move_with_it(browse):
    manager = ScriptedManager(run_table(30))
    browser = browse(manager)
    browser.rows[3].details_button.click()
    assert browser.wait(10)
    panel = browser.details.box
    assert panel in browser.rows[3].box.children
    assert (
        f"manager.delete_model(&quot;{browser.rows[3].run_id}&quot;)" in browser.details.html.value
    )
    assert "model: 12 files, 34.1 MB" in browser.details.html.value
    assert "churn version 3" in browser.details.html.value
    browser.rows[5].details_button.click()
    assert browser.wait(10)
    assert panel not in browser.rows[3].box.children
    assert panel in browser.rows[5].box.children
    browser.next_page()
    assert all(panel not in row.box.children for row in browser.rows)
    browser.previous_page()
    assert panel in browser.rows[5].box.children
    browser.rows[5].details_button.click()
    assert browser.wait(10)
    assert panel not in browser.rows[5].box.children


def test_pictures_are_drawn_when_asked_for_and_follow_the_filter(browse):
    browser = browse(ScriptedManager(run_table(60)))
    assert browser._pictures.value == ""
    browser.toolbar.pictures_button.click()
    assert browser.wait(30)
    assert browser._pictures.value.count("<svg") == 3
    assert "<title>spry-model-0:" in browser._pictures.value
    browser.search("no such run")
    assert browser.wait(30)
    assert "<svg" not in browser._pictures.value
    assert "Fewer than two" in browser._pictures.value


def headings(browser):
    return [button.description.strip(" ▲▼") for button in browser._table._grid.children]


def test_columns_are_found_shown_hidden_and_ordered(browse):
    browser = browse(ScriptedManager(run_table(5)))
    chooser = browser.toolbar.chooser
    chooser.find.value = "TEAM"
    assert [key for _, key in chooser.available.options] == ["tags.team"]
    chooser.available.value = ("tags.team",)
    chooser.find.value = ""
    chooser.add.click()
    assert browser.wait(10)
    assert headings(browser)[-1] == "team"
    assert "green" in browser.rows[0].cells.value

    chooser.chosen.value = ("tags.team",)
    for _ in range(20):  # to the front, where the run's name stays
        chooser.earlier.click()
    assert browser.wait(10)
    assert headings(browser)[:3] == ["Run", "team", "Experiment"]
    assert chooser.chosen.value == ("tags.team",), "it can go on being moved"
    chooser.later.click()
    chooser.chosen.value = ("status", "files")
    chooser.remove.click()
    assert browser.wait(10)
    assert headings(browser)[:3] == ["Run", "Experiment", "team"]
    assert not {"Status", "Files"} & set(headings(browser))
    assert {"status", "files"} <= {key for _, key in chooser.available.options}


def test_more_columns_than_fit_are_told(browse):
    table = run_table(5)
    for at in range(9):
        table[f"params.p{at}"] = str(at)
    browser = browse(ScriptedManager(table))
    browser.toolbar.chooser.available.value = tuple(f"params.p{at}" for at in range(9))
    browser.toolbar.chooser.add.click()
    assert browser.wait(10)
    assert len(browser._table._grid.children) == 16
    assert browser.rows[0].cells.value.count('class="xm-cell') == 16
    assert "3 stay hidden" in browser.toolbar.chooser.hint.value


def test_a_view_is_a_plain_value_to_keep_and_pass_back(browse):
    table = run_table(80).assign(**{"tags.mlflow.user": ["ann", "ben"] * 40})
    browser = browse(ScriptedManager(table))
    view = {
        "columns": ["run_name", "tags.mlflow.user", "bytes", "metrics.accuracy"],
        "sort_by": "bytes",
        "ascending": True,
        "search": "model",
        "experiment": "churn / trees",
        "status": "FINISHED",
        "model": "stored",
        "owner": "ben",
        "flat": False,
        "filter_string": "metrics.accuracy > 0",
        "page_size": 10,
        "view": "runs",
    }
    browser.view_state = view
    assert browser.wait(10)
    assert browser.view_state == json.loads(json.dumps(view)) == view
    assert headings(browser) == ["Run", "Owner", "Size", "accuracy"]
    assert set(browser.shown["tags.mlflow.user"]) == {"ben"}
    assert browser.shown["bytes"].is_monotonic_increasing
    assert browser.toolbar.owner.value == "ben"
    assert browser.manager.calls["filter: metrics.accuracy > 0"]

    other = browse(ScriptedManager(table), view_state=view)
    assert other.view_state == view
    assert list(other.shown["run_id"]) == list(browser.shown["run_id"])
    browser.view_state = {"columns": ["bytes"]}
    assert browser.view_state == {**view, "columns": ["run_name", "bytes"]}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"colums": []}, "a view has no 'colums'; it has: search"),
        ({"columns": []}, "must be a list of names"),
        ({"columns": "bytes"}, "must be a list of names"),
        ({"columns": [f"params.{at}" for at in range(16)]}, "at most 16 columns fit, not 17"),
        ({"page_size": 31}, "from 1 to 30, not 31"),
        ({"page_size": True}, "from 1 to 30, not True"),
        ({"sort_by": 3}, "'sort_by' of a view must be a text, not 3"),
        ({"ascending": "no"}, "must be True or False, not 'no'"),
        ({3: 4}, "a view has no '3'"),
        ({"view": "deletions"}, "this browser has no view 'deletions'; it has: 'runs'"),
    ],
)
def test_a_view_that_is_none_changes_nothing(browse, wrong, words):
    browser = browse(ScriptedManager(run_table(5)))
    before = browser.view_state
    with pytest.raises(InvalidInputError, match=words):
        browser.view_state = {"search": "x", **wrong}
    assert browser.view_state == before
    with pytest.raises(InvalidInputError, match=words):
        RunBrowser(ScriptedManager(run_table(5)), view_state=wrong)


def test_what_is_chosen_stays_chosen_when_sizes_owners_and_filters_arrive(browse):
    table = run_table(60, measured=False).assign(**{"tags.mlflow.user": ["ann", "ben"] * 30})
    view = {"experiment": "churn / linear", "owner": "ben"}
    browser = browse(ScriptedManager(table), view_state=view, filter_string="metrics.accuracy > 0")
    toolbar = browser.toolbar
    assert (toolbar.experiment.value, toolbar.owner.value) == ("churn / linear", "ben")
    assert toolbar.chips["filter_string"].layout is browser._kit.shown
    browser.measure_sizes()
    assert browser.wait(10)
    told = {name: title for title, name in toolbar.experiment.options}
    assert told["churn / linear"] == "churn / linear · 80.0 MB"
    table.loc[0, "tags.mlflow.user"] = "cem"
    browser.refresh()
    assert browser.wait(10)
    assert "cem" in [value for _, value in toolbar.owner.options]
    assert (toolbar.experiment.value, toolbar.owner.value) == ("churn / linear", "ben")
    toolbar.experiment.value = toolbar.owner.value = ""
    assert browser.wait(10)
    assert len(browser.shown) == 60


def test_a_filter_by_owner_shows_nothing_where_nobody_wrote_owners_down(browse):
    browser = browse(ScriptedManager(run_table(60)))
    browser.view_state = {"owner": "bob"}
    assert len(browser.shown) == 0
    assert browser.toolbar.chips["owner"].description == "owner: bob ✕"


def test_a_view_with_another_number_of_rows_fits_every_browser(browse):
    browser = browse(ScriptedManager(run_table(60)))
    browser.view_state = {"page_size": 7}
    assert browser.wait(10)
    assert (len(browser.rows), browser.footer.size.value) == (7, 7)


def test_what_was_typed_does_not_come_back_after_clear(browse):
    browser = browse(ScriptedManager(run_table(60)))
    browser.toolbar.search.value = "spry-model-3"
    browser.toolbar.clear_button.click()
    assert browser.wait(10)
    assert browser.toolbar.search.value == ""
    until = time.monotonic() + 0.5  # a clock on purpose: a search waits for 0.2 s
    while time.monotonic() < until:
        assert browser.view_state["search"] == ""


def test_a_filter_that_is_refused_says_so_on_its_chip_and_is_asked_once_when_mended(browse):
    manager = ScriptedManager(run_table(60))
    browser = browse(manager)
    manager.faults["runs(limit)"] = [FilterError("Invalid clause")]
    browser.toolbar.filter_box.value = "nonsense"
    assert browser.wait(10)
    assert browser.toolbar.chips["filter_string"].description.startswith("MLflow filter (refused)")
    browser.toolbar.filter_box.value = "metrics.accuracy > 0"
    browser.toolbar.apply_button.click()
    assert browser.wait(10)
    assert manager.calls["filter: metrics.accuracy > 0"] == 2, "a page, and all"
    assert browser.toolbar.chips["filter_string"].description.startswith("MLflow filter: ")


def test_taking_a_runs_pin_back_leaves_its_models_pins(browse):
    pins = Reasons((Reason("pinned", "the run has it", "r"), Reason("pinned", "the model", "m-1")))
    table = run_table(5)
    run_id = table["run_id"][3]
    table["protected_by"] = table["protected_by"].astype(object)
    table.loc[3, "protected_by"] = Reasons(
        Reason("pinned", one.words, run_id if one.subject == "r" else one.subject)
        for one in pins.parts
    )
    table["tags.expmgr.keep"] = ["", None, None, "because", None]
    manager = ScriptedManager(table)
    tags = SimpleNamespace(tags={"expmgr.keep": "because"})
    manager.interactive_client.get_run = lambda _: SimpleNamespace(data=tags)
    browser = browse(manager)
    browser.rows[3].details_button.click()
    assert browser.wait(10)
    browser.details.keeping.button.click()
    assert browser.wait(10)
    assert str(browser.shown["protected_by"][3]) == "pinned: the model"
    assert browser.rows[3].delete_button.layout is browser._kit.ghost


def test_filters_stand_as_chips_that_clear_them(browse):
    browser = browse(ScriptedManager(run_table(60)))
    toolbar, shown = browser.toolbar, browser._kit.shown
    assert toolbar._chips.layout is not shown
    browser.search("model-1")
    toolbar.status.value = "FINISHED"
    toolbar.filter_box.value = "metrics.accuracy > 0"  # as Enter does: there is no other click
    assert browser.wait(10)
    said = [chip.description for chip in toolbar.chips.values() if chip.layout is shown]
    assert said == [
        "search: model-1 ✕",
        "status: FINISHED ✕",
        "MLflow filter: metrics.accuracy > 0 ✕",
    ]
    assert browser.manager.calls["filter: metrics.accuracy > 0"] == 2
    toolbar.chips["status"].click()
    assert browser.wait(10)
    assert (toolbar.status.value, browser.view_state["status"]) == ("", "")
    toolbar.clear_button.click()
    assert browser.wait(10)
    assert len(browser.shown) == 60
    assert (toolbar.search.value, toolbar.filter_box.value) == ("", "")
    assert toolbar._chips.layout is not shown


def test_an_empty_table_says_what_leaves_the_runs_out(browse):
    browser = browse(ScriptedManager(run_table(60)))
    browser.search("<nothing>")
    browser.toolbar.status.value = "FAILED"
    assert browser.wait(10)
    said = "No run matches search &#x27;&lt;nothing&gt;&#x27;, status &#x27;FAILED&#x27;."
    assert browser._table._empty.value == said
    none = browse(ScriptedManager(run_table(0)))
    assert (
        "no runs yet in experiments that begin with &#x27;churn / &#x27;"
        in none._table._empty.value
    )


def test_a_size_is_a_bar_beside_the_largest_and_experiments_tell_theirs(browse):
    table = run_table(4).assign(bytes=pd.array([1000, 250, pd.NA, 0], dtype="Int64"))
    browser = browse(ScriptedManager(table), measure=False)
    parts = [re.findall(r"--xm-part:([\d.]+)%", row.cells.value) for row in browser.rows]
    assert parts == [["100.0"], ["25.0"], [], ["0.0"]]
    told = {name: title for title, name in browser.toolbar.experiment.options}
    assert told["churn / trees"] == "churn / trees · 1.00 KB"
    assert told["churn / a very long experiment name for fits"].endswith("for fits")


def test_at_most_eight_controls_are_in_sight(browse):
    browser = browse(ScriptedManager(run_table(5)))
    hidden = {id(browser._kit.gone), id(browser._kit.ghost)}
    kinds = (ipywidgets.Button, ipywidgets.Dropdown, ipywidgets.Text, ipywidgets.Checkbox)

    def controls(box):
        if id(box.layout) in hidden:
            return []
        children = getattr(box, "children", ())
        if children:
            return [one for child in children for one in controls(child)]
        return [box] if isinstance(box, kinds) else []

    assert len(controls(browser.toolbar.box) + controls(browser.bulk.box)) <= 8


class DeadRuns(ScriptedManager):
    """One run that has been RUNNING without a sign of life for nine days."""

    artifacts_destination = None

    def __init__(self, table, now):
        super().__init__(table)
        self.ended = []
        began = int((now - timedelta(days=9)).timestamp() * 1000)
        info = SimpleNamespace(
            start_time=began,
            status="RUNNING",
            artifact_uri="wasbs://models@account.blob.core.windows.net/1/r/artifacts",
        )
        metrics = SimpleNamespace(metrics=[SimpleNamespace(timestamp=began + 5000)])
        run = SimpleNamespace(info=info, data=SimpleNamespace(to_proto=lambda: metrics))
        self.interactive_client = SimpleNamespace(
            get_run=lambda _: run,
            set_terminated=lambda run_id, status, _at: self.ended.append((run_id, status)),
        )
        store = Store("account", "models", "https://account.blob.core.windows.net")
        self.blob_store = SimpleNamespace(addresses=Addresses(store), list=lambda _: iter(()))


def test_a_dead_run_can_be_marked_as_killed_and_its_model_deleted(browse):
    now = datetime.now(timezone.utc)
    table = run_table(5, now=now)
    table.loc[2, "start_time"] = pd.Timestamp(now - timedelta(days=9))
    table["protected_by"] = table["protected_by"].astype(object)
    table.at[2, "protected_by"] = Reasons([Reason("active", "the run is RUNNING; no end", "r")])
    manager = DeadRuns(table, now)
    browser = browse(manager)
    row = row_of(browser, table["run_id"][2])
    assert "STALE" in row.cells.value
    assert row.delete_button.description == "Mark killed"
    row.delete_button.click()
    browser.wait(10)
    assert "KILLED" in row.status
    assert manager.ended == []
    row.confirm_button.click()
    browser.wait(10)
    assert manager.ended == [(row.run_id, "KILLED")]
    assert row.status.startswith("Marked as killed after 9 days")
    row.delete_button.click()
    browser.wait(10)
    assert row.delete_button.description == "Delete"
    assert row.delete_button.layout.visibility is None


def test_a_long_error_can_be_read_whole_and_moves_no_row(browse):
    manager = ScriptedManager(run_table(5))
    why = "the connection was refused; " * 10
    manager.faults["runs(limit)"] = [TrackingUnreachableError(f"{why}<b>the end</b>")]
    browser = browse(manager)
    shown = browser.notice._line.value
    assert shown.count("&lt;b&gt;the end&lt;/b&gt;") == 3  # the line, its hover text, what unfolds
    assert '<div class="xm-over">' in shown
