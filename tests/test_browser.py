"""The browser by its buttons, over a scripted manager: statuses, log, threads, widget models."""

from __future__ import annotations

import threading
import time

import ipywidgets
import pytest

from expmgr.errors import DeletionError, FilterError, TrackingUnreachableError
from expmgr.results import DeletionResult
from expmgr.widgets.browser import RunBrowser
from tests.scripted_manager import ScriptedManager, run_table


@pytest.fixture
def browse():
    opened = []

    def make(manager, **options):
        browser = RunBrowser(manager, **options)
        opened.append(browser)
        assert browser.wait(10)
        return browser

    yield make
    for browser in opened:
        browser.close()


def row_of(browser, run_id):
    return next(row for row in browser.rows if row.run_id == run_id)


def alive():
    return len(ipywidgets.widget._instances) if hasattr(ipywidgets.widget, "_instances") else len(
        ipywidgets.widgets.widget._instances
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


def test_a_double_click_does_not_confirm(browse):
    manager = ScriptedManager(run_table(3))
    browser = browse(manager)
    browser.rows[0].delete_button.click()
    browser.rows[0].delete_button.click()
    assert browser.wait(10)
    assert manager.calls["delete_model"] == 0
    assert manager.calls["plan_deletion"] == 1


def test_cancel_takes_the_first_click_back(browse):
    manager = ScriptedManager(run_table(3))
    browser = browse(manager)
    row = browser.rows[0]
    row.delete_button.click()
    assert browser.wait(10)
    row.cancel_button.click()
    row.confirm_button.click()
    assert browser.wait(10)
    assert row.status == ""
    assert manager.calls["delete_model"] == 0


def test_an_unconfirmed_deletion_takes_itself_back(browse):
    manager = ScriptedManager(run_table(3))
    browser = browse(manager, take_back=0.05)
    row = browser.rows[0]
    row.delete_button.click()
    assert browser.wait(10)
    back = threading.Event()
    browser._loop.later(0.1, back.set)
    assert back.wait(5)
    row.confirm_button.click()
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
    assert row.delete_button.description == "Retry"
    assert "<details" in row._line.value
    del manager.results[row.run_id]
    row.delete_button.click()
    browser.wait(10)
    assert row.status.startswith("Deleted 12 files")
    assert manager.calls["plan_deletion"] == 1  # what was confirmed is what is retried


def test_an_exception_in_a_deletion_is_a_failure_in_the_row(browse):
    manager = ScriptedManager(run_table(3))
    manager.faults["delete_model"] = DeletionError("2 files are left", left=["a"], log=["attempt 1: 500"])
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
    row.cancel_button.click()
    browser._loop.call(lambda: None)
    assert row.status.startswith("Stopping")
    gate.set()
    browser.wait(10)
    assert manager.cancelled == [row.run_id]
    assert row.status == "Cancelled after 3 files."


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
        began = time.perf_counter()
        button.click()
        times.append(time.perf_counter() - began)
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
    manager.faults["runs(limit)"] = [TrackingUnreachableError("Nothing answers at http://me:pw@host:1")]
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
    shown = browser.rows[0].box.children
    assert browser.rows[0].delete_button not in shown
    assert browser.rows[0].tick not in shown


def test_an_empty_table_is_a_sentence(browse):
    browser = browse(ScriptedManager(run_table(0)))
    assert browser.rows == []
    assert "no runs yet" in browser._table._empty.value
    assert browser.table.empty


def test_a_bad_page_size_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        RunBrowser(ScriptedManager(run_table(1)), page_size=0)
