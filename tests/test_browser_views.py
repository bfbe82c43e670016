"""The Clean up and the Deletions view by their widgets: what is made, said, and clicked."""

from __future__ import annotations

import threading

import pytest
from cleaning_manager import NOW, CleaningManager, failing, record
from scripted_manager import HOSTILE, ScriptedManager, run_table

from expmgr.errors import InvalidInputError
from expmgr.widgets.session.cleaning import CLEAN_UP

DELETES = ("Delete", "Mark", "Keep", "Resume", "Restore", "Confirm")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Buttons take clicks at once, and changes are planned at once."""
    monkeypatch.setattr("expmgr.widgets.arming.ARMED_AFTER", 0.0)
    monkeypatch.setattr("expmgr.widgets.session.cleaning.PAUSE", 0.01)


def opened(browser, view):
    browser._page.views.buttons[view].click()
    assert browser.wait(10)
    return browser._page.views


def click(browser, button):
    button.click()
    assert browser.wait(10)


def test_who_has_no_other_view_has_no_strip_and_no_widget_more(browse):
    browser = browse(ScriptedManager(run_table(5)))
    assert browser._page.views.buttons == {}
    assert browser.view == "runs"


def test_who_opens_no_view_pays_for_the_strip_alone(browse):
    plain = browse(ScriptedManager(run_table(40)))
    browser = browse(CleaningManager())
    assert browser.widget_models - plain.widget_models == 6  # three buttons and three boxes
    views = opened(browser, "clean up")
    assert views.log is None
    assert browser.widget_models - plain.widget_models < 60
    opened(browser, "deletions")
    before = browser.widget_models
    for view in ("runs", "clean up", "deletions") * 2:
        opened(browser, view)
    assert browser.widget_models == before < 450


def test_one_view_is_shown_and_told_by_more_than_colour(browse):
    browser = browse(CleaningManager())
    kit, root = browser._kit, browser.widget
    for view in ("clean up", "deletions", "runs"):
        views = opened(browser, view)
        chosen = {name for name, one in views.buttons.items() if "xm-chosen" in one._dom_classes}
        assert chosen == {view} == {browser.view}
        assert (views._runs.layout is kit.shown) is (view == "runs")
        assert (views.clean_up.box.layout is kit.shown) is (view == "clean up")
    assert "font-weight:600" in root.children[0].value.split(".xm-chosen:hover:enabled{")[1]


def test_a_view_is_set_from_code_and_is_part_of_the_view_s_value(browse):
    browser = browse(CleaningManager())
    browser.view = "deletions"
    assert browser.wait(10)
    assert browser.view_state["view"] == "deletions"
    browser.view_state = {"view": "clean up"}
    assert browser.wait(10)
    assert (browser.view, len(browser.plan)) == ("clean up", 10)
    with pytest.raises(InvalidInputError, match="no view 'cleanup'"):
        browser.view = "cleanup"
    assert browse(CleaningManager(), view_state={"view": "deletions"}).view == "deletions"


def test_the_preview_says_what_goes_what_stays_and_the_python(browse):
    browser = browse(CleaningManager())
    view = opened(browser, "clean up").clean_up
    assert "Frees 341 MB: 10 models, 120 files" in view.sum.value
    assert view.going.value.count("<tr>") == 11
    assert "Stays: 30 models, 1.02 GB" in view.staying.value
    assert "20 models, 682 MB: kept by best(3)" in view.staying.value
    assert "10 models, 341 MB: protected: registered" in view.staying.value
    assert "registered: churn v3" in view.staying.value
    assert "keep=best(3)" in view.script.value
    assert view.line.button.description == "Delete 10 models …"


def test_a_filter_of_the_runs_view_is_said_not_to_count(browse):
    browser = browse(CleaningManager(), filter_string="metrics.accuracy > 0")
    view = opened(browser, "clean up").clean_up
    assert "The MLflow filter of the Runs view does not count here" in view.sum.value


def test_a_control_changes_the_plan(browse):
    manager = CleaningManager()
    browser = browse(manager)
    view = opened(browser, "clean up").clean_up
    view.older_than.value = "60d"
    view.best.value = 5
    view.owner.value = True
    assert browser.wait(10)
    assert repr(manager.asked[-1]["where"]) == 'older_than("60d") & mine()'
    assert repr(manager.asked[-1]["keep"]) == "best(5)"
    view.experiment.value = "churn / trees"
    assert browser.wait(10)
    assert manager.asked[-1]["experiments"] == "churn / trees"
    view.experiment.value = ""
    assert browser.wait(10)
    assert "experiments" not in manager.asked[-1]


def test_two_clicks_delete_what_is_shown_and_the_runs_view_says_so(browse):
    manager = CleaningManager()
    browser = browse(manager)
    view = opened(browser, "clean up").clean_up
    click(browser, view.line.button)
    assert view.line.status.startswith("Delete 10 models: 120 files, 341 MB?")
    assert view.line.button.description == "Cancel"
    assert view.when.layout is browser._kit.gone
    click(browser, view.line.confirm_button)
    assert view.line.status.startswith("Deleted 10 models")
    assert view.line.button.description == "Close"
    opened(browser, "runs")
    assert (browser.table.set_index("run_id").loc[manager.goes, "model"] == "deleted").all()


def test_failures_stand_below_by_name_and_with_their_reason(browse):
    manager = CleaningManager()
    browser = browse(manager)
    failing(manager, manager.goes[0], HOSTILE)
    view = opened(browser, "clean up").clean_up
    click(browser, view.line.button)
    click(browser, view.line.confirm_button)
    assert f"name of {manager.goes[0]}" in view.failures.value
    assert "<script" not in view.failures.value
    assert view.line.confirm_button.description == "Retry the failures"
    click(browser, view.line.button)
    assert view.failures.value == ""


def test_controls_rest_while_models_go(browse):
    manager = CleaningManager()
    browser = browse(manager)
    view = opened(browser, "clean up").clean_up
    click(browser, view.line.button)
    gate = manager.hold("delete_models")
    view.line.confirm_button.click()
    browser._loop.call(lambda: None)
    assert view.best.disabled
    assert view.line.button.description == "Stop"
    gate.set()
    assert browser.wait(10)
    assert not view.best.disabled


def test_in_7_days_the_button_says_mark(browse):
    manager = CleaningManager()
    browser = browse(manager)
    view = opened(browser, "clean up").clean_up
    view.when.value = "7d"
    assert browser.wait(10)
    assert view.line.button.description == "Mark 10 models …"
    assert "a mark only" in view.line.status
    assert "after=&#x27;7d&#x27;" in view.script.value
    click(browser, view.line.button)
    click(browser, view.line.confirm_button)
    assert len(manager.marked) == 10
    assert manager.calls["delete_models"] == 0


def test_the_word_is_asked_for_where_a_policy_takes_everything(browse):
    manager = CleaningManager()
    manager.takes_everything = True
    browser = browse(manager)
    view = opened(browser, "clean up").clean_up
    assert "takes every model" in view.notice.text
    assert view.word.layout is browser._kit.shown
    assert view.line.button.disabled
    view.word.value = "everything"
    assert browser.wait(10)
    assert view.line.button.description == "Delete 10 models …"


def test_more_than_a_page_of_what_goes_is_turned_and_sorted(browse):
    manager = CleaningManager(1200, goes=range(1000))
    browser = browse(manager)
    view = opened(browser, "clean up").clean_up
    assert view.going.value.count("<tr>") == 26
    assert "Page 1 of 40" in view.pager.where.value
    first = view.going.value
    click(browser, view.pager.next)
    assert view.going.value != first
    view.order.value = True
    assert browser.wait(10)
    assert "Page 1 of 40" in view.pager.where.value
    assert len(view.staying.value) < 60_000


def test_no_callback_of_a_view_waits(browse):
    manager = CleaningManager(records=[record("a")])
    browser = browse(manager)
    gates = [manager.hold("plan_cleanup"), manager.hold("deletion_log")]
    for view in ("clean up", "deletions", "clean up"):
        browser._page.views.buttons[view].click()
        browser._loop.call(lambda: None)
    assert browser._page.views.clean_up.notice.text.startswith("Finding out what would go")
    for gate in gates:
        gate.set()
    assert browser.wait(10)
    assert threading.current_thread().name not in manager.threads


def test_records_say_what_went_and_offer_what_can_be_done(browse):
    marked = record("goes", "marked", due=NOW, name="a marked one")
    manager = CleaningManager(records=[marked, record("gone", name=HOSTILE, forced="best: 0.9")])
    browser = browse(manager)
    view = opened(browser, "deletions").log
    keep, restore = view.rows[:2]
    assert (keep.button.description, restore.button.description) == ("Keep", "Restore")
    assert keep.button.tooltip == "Keep the model of a marked one"
    assert "forced past best: 0.9" in restore.text.value
    assert "<script" not in restore.text.value
    assert view.line.button.description == "Delete what is due"
    click(browser, keep.button)
    assert keep.status == "Kept: the mark is taken back, nothing goes."
    click(browser, keep.button)
    assert "mark taken back" in "".join(row.text.value for row in view.rows[:2])
    assert view.line.button.disabled


def test_a_record_that_moved_takes_no_click_at_once(browse, monkeypatch):
    manager = CleaningManager(records=[record(f"{at}", "marked", due=NOW) for at in range(3)])
    browser = browse(manager)
    view = opened(browser, "deletions").log
    monkeypatch.setattr("expmgr.widgets.arming.ARMED_AFTER", 5.0)
    view.search.value = "name of 2"
    assert browser.wait(10)
    click(browser, view.rows[0].button)
    assert manager.kept == []


def test_a_restoration_takes_two_clicks(browse):
    manager = CleaningManager(records=[record("a")])
    browser = browse(manager)
    row = opened(browser, "deletions").log.rows[0]
    click(browser, row.button)
    assert manager.calls["restore_model"] == 0
    assert row.button.description == "Cancel"
    click(browser, row.confirm_button)
    assert row.status.startswith("Restored 3 files")


def test_a_read_only_browser_has_no_widget_that_changes_anything(browse):
    manager = CleaningManager(records=[record("a", "marked", due=NOW), record("b")])
    browser = browse(manager, read_only=True)
    views = opened(browser, "clean up")
    opened(browser, "deletions")
    made = [one for one in browser._kit._made if hasattr(one, "placeholder")]
    assert views.clean_up.line is views.clean_up.when is views.log.line is None
    assert len(browser.plan) == 10
    assert any("shows what a policy would take" in getattr(one, "value", "") for one in made)
    said = [getattr(one, "description", "") for one in browser._kit._made]
    assert "Deletions" in said
    assert not [one for one in said if one.startswith(DELETES) and one != "Deletions"]
    for widget in list(browser._kit._made):
        if hasattr(widget, "click"):
            widget.click()
    assert browser.wait(60), "hundreds of clicks, of which each may draw"
    changing = ("delete_models", "delete_model", "mark_models", "delete_due", "keep")
    assert not any(manager.calls[name] for name in (*changing, "restore_model"))


@pytest.mark.parametrize("view", ["clean up", "deletions"])
def test_a_view_has_a_plain_text_face(browse, view):
    browser = browse(CleaningManager(records=[record("a", name=HOSTILE)]))
    browser.view = view
    assert browser.wait(10)
    bundle = browser._repr_mimebundle_()
    text, html = bundle["text/plain"], bundle["text/html"]
    assert text == str(browser)
    assert "\x1b" not in text
    assert "<script" not in html
    if view == "clean up":
        assert 'manager.plan_cleanup(where=older_than("30d"), keep=best(3))' in text
        assert "10 of 10 runs, 120 files, 341 MB" in text
    else:
        assert "✓ deleted" in text
        assert "by ann@desk" not in text.splitlines()[0]


def test_closing_in_the_middle_of_a_plan_leaves_nothing(browse):
    manager = CleaningManager()
    browser = browse(manager)
    gate = manager.hold("plan_cleanup")
    browser._page.views.buttons["clean up"].click()
    browser._loop.call(lambda: None)
    cancel = browser._session.cleaning._cancel
    browser.close()
    assert cancel.is_set()
    assert browser.widget_models == 0
    gate.set()


def test_the_offer_of_a_view_is_gone_when_the_view_is_left(browse):
    manager = CleaningManager()
    browser = browse(manager)
    view = opened(browser, "clean up").clean_up
    click(browser, view.line.button)
    confirm = view.line.confirm_button
    opened(browser, "runs")
    click(browser, confirm)
    assert manager.calls["delete_models"] == 0
    assert browser._loop.call(lambda: browser._session.dialogues.get(CLEAN_UP)) is None
    opened(browser, "clean up")
    assert view.line.confirm_button is None
