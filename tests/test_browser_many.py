"""Many models in the browser: what is told while they are planned, offered and deleted."""

from __future__ import annotations

import threading

import pytest
from scripted_manager import ScriptedManager, run_table

from expmgr.cleanup.report import DeletionReport
from expmgr.results import DeletionProgress
from expmgr.widgets.browser import RunBrowser
from expmgr.widgets.session import words


@pytest.fixture(autouse=True)
def _armed_at_once(monkeypatch):
    monkeypatch.setattr("expmgr.widgets.arming.ARMED_AFTER", 0.0)


def until(browser, told):
    """Wait until something holds, at most 10 s."""
    for _ in range(1000):
        if browser._loop.call(told):
            return
        browser._loop.wait(0.01)
        threading.Event().wait(0.01)
    raise AssertionError(browser.bulk.status)


class Counting(ScriptedManager):
    """Tells how far a plan is, and waits there."""

    def plan_deletion(self, run_ids, *, model_ids=None, cancel=None, on_progress=None):
        on_progress(len(run_ids) // 2, len(run_ids))
        plan = super().plan_deletion(run_ids, cancel=cancel)
        assert not cancel.is_set(), "given up"
        return plan


def test_a_long_plan_tells_its_numbers_and_can_be_cancelled(browse, monkeypatch):
    monkeypatch.setattr(words, "SETTLED_AFTER", 0.0)
    manager = Counting(run_table(3000))
    gate = manager.hold("plan_deletion")
    browser = browse(manager)
    browser.bulk.select.value = "all"
    assert browser.wait(10)
    count = len(browser.selected)
    browser.bulk.delete_button.click()
    until(browser, lambda: f"{count // 2:,} of {count:,}" in browser.bulk.status)
    until(browser, lambda: browser.bulk.status.rstrip(" …").endswith("left"))
    assert "aria-valuenow" in browser.bulk._line.value
    assert browser.bulk.delete_button.description == "Cancel"
    browser.bulk.delete_button.click()
    until(browser, lambda: browser.bulk.phase == "idle")
    gate.set()
    assert browser.wait(10)
    assert browser.bulk.phase == "idle"
    assert len(browser.selected) == count


def test_a_plan_without_numbers_tells_how_long_it_is_waited_for(browse):
    manager = ScriptedManager(run_table(30))
    gate = manager.hold("plan_deletion")
    browser = browse(manager, patience=0.05)
    browser.select([browser.rows[0].run_id])
    browser.bulk.delete_button.click()
    until(browser, lambda: "waiting for" in browser.bulk.status)
    first = browser.bulk.status
    until(browser, lambda: browser.bulk.status != first)
    assert "the tracking server or the storage account" in browser.bulk.status
    gate.set()
    assert browser.wait(10)
    assert browser.bulk.phase == "armed"


def test_an_offer_for_many_never_lapses_by_itself(browse):
    browser = browse(ScriptedManager(run_table(30)), take_back=0.02)
    browser.select([browser.rows[0].run_id])
    browser.delete_selected()
    assert browser.wait(10)
    confirm = browser.bulk.confirm_button
    later = threading.Event()
    browser._loop.later(0.2, later.set)
    assert later.wait(5)
    assert browser.bulk.phase == "armed"
    assert browser.bulk.confirm_button is confirm


def test_rows_under_deletion_say_so_until_it_has_ended(browse):
    manager = ScriptedManager(run_table(30))
    browser = browse(manager, page_size=10)
    gate = manager.hold("delete_models")
    first, second = browser.rows[0], browser.rows[3]
    browser.select([first.run_id, second.run_id])
    browser.delete_selected(confirmed=True)
    until(browser, lambda: browser.bulk.phase == "running")
    assert first.status == second.status == "Being deleted, with 2 models in all"
    assert first.delete_button.description == "Deleting"
    planned = manager.calls["plan_deletion"]
    first.delete_button.click()
    assert browser._loop.call(lambda: manager.calls["plan_deletion"]) == planned
    assert browser.rows[4].status == ""
    browser.next_page()
    assert browser.rows[0].status == ""
    browser.previous_page()
    assert browser.rows[0].status.startswith("Being deleted")
    gate.set()
    assert browser.wait(10)
    assert [row.status for row in browser.rows] == [""] * 10
    assert browser.table["model"][0] == "deleted"


def test_rows_are_themselves_again_when_the_deletion_breaks_off(browse):
    manager = ScriptedManager(run_table(30))
    manager.faults["delete_models"] = RuntimeError("the account is away")
    browser = browse(manager)
    browser.select([browser.rows[0].run_id])
    browser.delete_selected(confirmed=True)
    assert browser.wait(10)
    assert "broke off: the account is away" in browser.bulk.status
    assert browser.rows[0].status == ""
    assert browser.rows[0].delete_button.description == "Delete"


class Slow(ScriptedManager):
    """Tells of some models, then waits."""

    def delete_models(self, plan, *, progress, on_progress, cancel):
        on_progress(DeletionProgress(24, 68_240_000, plan.files, plan.bytes, models=2))
        self._called("delete_models")
        return DeletionReport(())


def test_models_done_rate_and_time_left_are_told(browse, monkeypatch):
    monkeypatch.setattr(words, "SETTLED_AFTER", 0.0)
    manager = Slow(run_table(30))
    gate = manager.hold("delete_models")
    browser = browse(manager)
    browser.select([row.run_id for row in browser.rows[:12]])
    count = len(browser.selected)
    browser.delete_selected(confirmed=True)
    until(browser, lambda: "a second" in browser.bulk.status)
    said = browser.bulk.status
    gate.set()
    assert said.startswith(f"Deleting: 2 of {count} models, 24 of {12 * count} files, 68.2 MB of ")
    assert said.endswith("left")


def test_the_time_left_follows_the_pace():
    assert words.left(25, 100, 10.0) == ", about 30 s left"
    assert words.left(100, 100, 10.0) == ", about 0.0 s left"
    assert words.left(0, 100, 10.0) == words.left(1, 100, 0.1) == words.left(3, 2, 9.0) == ""


def test_what_needs_all_runs_waits_for_them(browse):
    manager = ScriptedManager(run_table(60))
    gate = manager.hold("runs")
    browser = RunBrowser(manager, measure=False)
    try:
        until(browser, lambda: len(browser._session.lines.frame) == 25)
        assert "25 of … runs" in browser.footer.totals.value
        assert browser.footer.where.value == "Page 1 of …"
        assert "25 of … runs" in str(browser)
        assert "25 of … runs" in browser._repr_mimebundle_()["text/html"]
        assert browser.bulk.select.disabled
        assert "waits until all runs are there" in browser.bulk.status
        browser.bulk.select.value = "best 3"
        browser._loop.call(lambda: None)
        assert browser.selected == []
        gate.set()
        assert browser.wait(10)
        assert "60 runs" in browser.footer.totals.value
        assert browser.footer.where.value == "Page 1 of 3"
        assert not browser.bulk.select.disabled
        browser.bulk.select.value = "best 3"
        assert browser.wait(10)
        assert len(browser.selected) > 20
    finally:
        gate.set()
        browser.close()


def test_sizes_that_come_in_do_not_sort_the_rows_anew_until_all_are_there(browse):
    manager = ScriptedManager(run_table(60, measured=False))
    browser = browse(manager, page_size=10)
    browser.sort_by("bytes", ascending=False)
    orders = []
    measured = browser._session._measured

    def watch(*told):
        measured(*told)
        orders.append([row.run_id for row in browser._table.pool if row.run_id])

    browser._session.measuring._measured = watch
    before = [row.run_id for row in browser.rows]
    browser.measure_sizes()
    assert browser.wait(10)
    assert orders[0] == orders[1] == before
    assert len(orders) == 3
    assert browser.table["bytes"].is_monotonic_decreasing
