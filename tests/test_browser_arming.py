"""When a click counts, by a clock that the test sets: fast clicks and held keys hit nothing."""

from __future__ import annotations

import pytest
from scripted_manager import ScriptedManager, run_table

from expmgr.widgets import arming
from expmgr.widgets.browser import RunBrowser

SOON = arming.ARMED_AFTER - 0.01
LATER = arming.ARMED_AFTER + 0.01


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(arming, "monotonic", clock)
    return clock


@pytest.fixture
def browse(clock):
    opened = []

    def make(manager, **options):
        browser = RunBrowser(manager, **{"measure": False, **options})
        opened.append(browser)
        assert browser.wait(10)
        clock.now += LATER
        return browser

    yield make
    for browser in opened:
        browser.close()


def press(browser, button):
    button.click()
    assert browser.wait(10)


def test_a_confirm_that_comes_too_soon_is_not_one(browse, clock):
    manager = ScriptedManager(run_table(3))
    browser = browse(manager)
    row = browser.rows[0]
    press(browser, row.delete_button)
    clock.now += SOON
    press(browser, row.confirm_button)
    assert manager.calls["delete_model"] == 0
    clock.now += LATER
    press(browser, row.confirm_button)
    assert manager.calls["delete_model"] == 1


def test_a_double_click_does_not_confirm(browse):
    manager = ScriptedManager(run_table(3))
    browser = browse(manager)
    browser.rows[0].delete_button.click()
    browser.rows[0].delete_button.click()
    assert browser.wait(10)
    assert manager.calls["delete_model"] == 0
    assert manager.calls["plan_deletion"] == 1


def test_a_held_key_confirms_nothing_and_asks_once(browse, clock):
    manager = ScriptedManager(run_table(3))
    browser = browse(manager)
    row = browser.rows[0]
    for _ in range(40):  # 30 a second for longer than the quiet lasts
        press(browser, row.delete_button)
        clock.now += 1 / 30
    assert manager.calls["plan_deletion"] == 1
    assert row.delete_button.description == "Cancel"
    confirm = row.confirm_button
    for _ in range(40):
        press(browser, confirm)
        clock.now += 1 / 30
    assert manager.calls["delete_model"] == 1  # the first, 1.3 s after the offer; then it is gone
    assert row.confirm_button is None


def test_each_offer_has_a_confirm_of_its_own(browse, clock):
    manager = ScriptedManager(run_table(3))
    browser = browse(manager)
    row = browser.rows[0]
    press(browser, row.delete_button)
    first = row.confirm_button
    clock.now += LATER
    press(browser, row.delete_button)
    clock.now += LATER
    press(browser, row.delete_button)
    assert row.confirm_button is not first
    assert first.comm is None
    clock.now += LATER
    press(browser, first)
    assert manager.calls["delete_model"] == 0


def test_an_offer_that_comes_into_sight_again_is_quiet_again(browse, clock):
    manager = ScriptedManager(run_table(40))
    browser = browse(manager, page_size=10)
    press(browser, browser.rows[0].delete_button)
    first = browser.rows[0].confirm_button
    browser.next_page()
    browser.previous_page()
    clock.now += SOON
    assert browser.rows[0].confirm_button is not first
    press(browser, browser.rows[0].confirm_button)
    assert manager.calls["delete_model"] == 0


def test_a_row_that_shows_another_run_takes_no_click_at_first(browse, clock):
    manager = ScriptedManager(run_table(40))
    browser = browse(manager, page_size=10)
    for turn in (
        browser.next_page,
        lambda: browser.sort_by("bytes"),
        lambda: browser.search("spry"),
        lambda: browser.sort_by("run_name", ascending=False),
    ):
        before = [row.run_id for row in browser.rows]
        turn()
        clock.now += SOON
        changed = [row for row, was in zip(browser.rows, before, strict=True) if row.run_id != was]
        for row in changed:
            press(browser, row.delete_button)
            row.tick.value = not row.tick.value
            press(browser, row.details_button)
        assert manager.calls["plan_deletion"] == 0
        assert browser.selected == []
        assert not any(row.tick.value for row in browser.rows)
        assert browser.details.run_id == ""
    clock.now += LATER
    press(browser, next(row for row in browser.rows if not row.tick.disabled).delete_button)
    assert manager.calls["plan_deletion"] == 1


def test_the_header_s_tick_box_takes_no_click_when_the_page_has_just_changed(browse, clock):
    browser = browse(ScriptedManager(run_table(40)), page_size=10)
    browser.next_page()
    clock.now += SOON
    browser._table.tick_all.value = True
    assert browser.wait(10)
    assert browser.selected == []
    assert browser._table.tick_all.value is False


def test_a_button_that_means_something_else_takes_no_click_at_first(browse, clock):
    manager = ScriptedManager(run_table(12))
    browser = browse(manager)
    row = browser.rows[0]
    press(browser, row.delete_button)
    clock.now += SOON
    press(browser, row.delete_button)
    assert row.delete_button.description == "Cancel"  # the second click was meant for Delete
    browser.select([browser.rows[3].run_id, browser.rows[4].run_id])
    clock.now += LATER
    press(browser, browser.bulk.delete_button)
    clock.now += SOON
    press(browser, browser.bulk.delete_button)
    assert browser.bulk.phase == "armed"
    assert browser.bulk.status.startswith("Delete 2 models: 24 files")
    press(browser, browser.bulk.confirm_button)
    assert manager.calls["delete_models"] == 0
    clock.now += LATER
    press(browser, browser.bulk.confirm_button)
    assert manager.calls["delete_models"] == 1


def test_stop_that_comes_as_the_deletion_fails_does_not_try_again(browse, clock):
    manager = ScriptedManager(run_table(3))
    manager.faults["delete_model"] = RuntimeError("the account is away")
    browser = browse(manager)
    row = browser.rows[0]
    press(browser, row.delete_button)
    clock.now += LATER
    press(browser, row.confirm_button)
    assert row.confirm_button.description == "Retry"
    press(browser, row.delete_button)
    press(browser, row.confirm_button)
    assert manager.calls["delete_model"] == 1
    assert row.status.startswith("the account is away")


def test_many_are_confirmed_by_their_number(browse, clock):
    manager = ScriptedManager(run_table(150))
    browser = browse(manager, page_size=10)
    browser.bulk.select.value = "all"
    assert browser.wait(10)
    count = len(browser.selected)
    assert count > 100
    assert f"; {count - sum(row.tick.value for row in browser.rows)} not on this page" in (
        browser.bulk.status
    )
    press(browser, browser.bulk.delete_button)
    assert browser.bulk.confirm_button is None
    assert f"Type {count} to confirm" in browser.bulk.status
    for wrong in ("", "1", str(count + 1), f"{count}0"):
        browser.bulk.count_box.value = wrong
        assert browser.wait(10)
        assert browser.bulk.confirm_button is None
    browser.bulk.count_box.value = f" {count} "
    assert browser.wait(10)
    confirm = browser.bulk.confirm_button
    press(browser, confirm)
    assert manager.calls["delete_models"] == 0
    browser.bulk.count_box.value = "1"
    assert browser.wait(10)
    clock.now += LATER
    press(browser, confirm)
    assert manager.calls["delete_models"] == 0
    browser.bulk.count_box.value = str(count)
    assert browser.wait(10)
    clock.now += LATER
    press(browser, browser.bulk.confirm_button)
    assert manager.calls["delete_models"] == 1


def test_more_than_half_the_bytes_are_confirmed_by_their_number(browse):
    table = run_table(12)
    table.loc[[0, 3], "bytes"] = 10_000_000_000
    browser = browse(ScriptedManager(table))
    browser.select([table["run_id"][0]])
    press(browser, browser.bulk.delete_button)
    assert browser.bulk.count_box is None
    browser.bulk.cancel()
    browser.select([table["run_id"][0], table["run_id"][3]])
    browser.delete_selected()
    assert browser.wait(10)
    assert browser.bulk.count_box is not None
    assert browser.bulk.confirm_button is None
