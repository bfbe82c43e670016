"""Studies, runs with several models and models without a run, by the browser's buttons."""

from __future__ import annotations

import html
import json
import re

import pytest
from study_tables import study_manager


@pytest.fixture(autouse=True)
def _armed_at_once(monkeypatch):
    monkeypatch.setattr("expmgr.widgets.arming.ARMED_AFTER", 0.0)


def row_of(browser, name):
    """The first row whose name it is, before any remark."""
    for row in browser.rows:
        if f"<bdi>{name}</bdi>" in row.cells.value.split("</div>")[0]:
            return row
    raise AssertionError(name)


def names(browser):
    return [
        row.details_button.tooltip and row.cells.value.split("<bdi>")[1].split("</bdi>")[0]
        for row in browser.rows
    ]


def press(browser, button):
    button.click()
    assert browser.wait(10)


def test_a_study_unfolds_in_place_and_folds_again(browse):
    browser = browse(study_manager())
    before = names(browser)
    row = row_of(browser, "search B")
    assert row.fold_button.tooltip == "Unfold search B: 4 lines"
    press(browser, row.fold_button)
    at = before.index("search B")
    assert browser.rows[at] is row, "it stays where it is"
    assert names(browser)[: at + 1] == before[: at + 1]
    assert names(browser)[at + 1 : at + 5] == ["model", "trial 0", "trial 1", "trial 2"]
    assert row.fold_button.description == "−"  # noqa: RUF001 - the minus sign
    assert "xm-depth-1" in browser.rows[at + 1].cells.value
    assert 'class="xm-hidden">, <bdi>model of search B</bdi>' in browser.rows[at + 1].cells.value
    press(browser, row.fold_button)
    assert names(browser) == before


def test_what_unfolds_nothing_has_room_but_no_button_and_no_room_where_nothing_unfolds(browse):
    browser = browse(study_manager())
    assert row_of(browser, "plain 0").fold_button.layout is browser._kit.ghost
    assert "--xm-fold:20px" in browser._page.style.value
    table = study_manager().table.drop(columns="parent_run_id")
    manager = type(study_manager())(table)
    plain = browse(manager)
    assert plain.rows[0].fold_button.layout is plain._kit.gone
    assert "--xm-fold:20px" not in plain._page.style.value


def test_a_checkpoint_goes_by_its_own_button_and_the_best_offers_none(browse):
    manager = study_manager()
    browser = browse(manager)
    run = row_of(browser, "four checkpoints")
    assert run.delete_button.layout.visibility == "hidden", "one of its models is the best"
    press(browser, run.fold_button)
    at = browser.rows.index(run)
    checkpoints = browser.rows[at + 1 : at + 5]
    shown = [row.delete_button.layout is browser._kit.shown for row in checkpoints]
    assert shown == [True, True, True, False]
    press(browser, checkpoints[0].delete_button)
    press(browser, checkpoints[0].confirm_button)
    assert checkpoints[0].status.startswith("Deleted 12 files")
    assert (manager.models_frame["model"] == "deleted").sum() == 1
    assert ">750 B<" in run.cells.value


def test_a_study_asks_for_its_children_in_its_own_line(browse):
    manager = study_manager()
    browser = browse(manager)
    row = row_of(browser, "search A")
    press(browser, row.delete_button)
    assert row.status == "Delete 6 models: 72 files, 205 MB?"
    assert row.confirm_button.description == "Delete 6 models"
    assert row.count_box is None
    press(browser, row.details_button)
    assert "6 models to delete" in browser.details.html.value
    press(browser, row.confirm_button)
    assert row.status.startswith("Deleted 6 models")
    assert manager.calls["delete_models"] == 1


def test_the_number_is_typed_in_the_line_and_the_box_ends_with_the_offer(browse):
    manager = study_manager()
    manager.table.loc[manager.table["run_name"] == "trial 3", "bytes"] = 10**9
    browser = browse(manager)
    row = row_of(browser, "search A")
    press(browser, row.delete_button)
    assert row.confirm_button is None
    box = row.count_box
    box.value = "6"
    assert browser.wait(10)
    confirm = row.confirm_button
    box.value = "5"
    assert browser.wait(10)
    press(browser, confirm)
    assert manager.calls["delete_models"] == 0
    box.value = "6"
    assert browser.wait(10)
    press(browser, row.delete_button)
    assert (row.count_box, row.confirm_button, row.status) == (None, None, "")
    assert box.comm is None


def test_a_tick_on_a_study_ticks_what_can_go_with_it(browse):
    browser = browse(study_manager())
    row = row_of(browser, "search A")
    row.tick.value = True
    assert browser.wait(10)
    assert len(browser.selected) == 6
    assert browser.bulk.status.endswith("; 6 not on this page")
    press(browser, row.fold_button)
    at = browser.rows.index(row)
    assert all(one.tick.value for one in browser.rows[at + 1 : at + 7])
    browser.rows[at + 1].tick.value = False
    assert browser.wait(10)
    assert not row.tick.value
    assert len(browser.selected) == 5


def test_the_details_tick_all_but_the_best_model(browse):
    browser = browse(study_manager())
    press(browser, row_of(browser, "plain 0").details_button)
    assert browser.details.others_button.layout is browser._kit.gone
    row = row_of(browser, "four checkpoints")
    press(browser, row.details_button)
    assert browser.details.others_button.layout is browser._kit.shown
    press(browser, browser.details.others_button)
    assert len(browser.selected) == 3
    at = browser.rows.index(row)
    assert [one.tick.value for one in browser.rows[at + 1 : at + 5]] == [True] * 3 + [False]
    press(browser, browser.bulk.delete_button)
    assert browser.bulk.status == "Delete 3 models: 36 files, 102 MB?"
    assert "xm-copy" in browser.details.html.value


def test_the_details_of_a_model_are_its_own(browse):
    browser = browse(study_manager())
    row = row_of(browser, "imported")
    press(browser, row.details_button)
    assert "<h4>Model id</h4>" in browser.details.html.value
    assert f"manager.delete_model(&quot;{row.run_id}&quot;)" in browser.details.html.value


def test_one_list_is_a_choice_where_there_are_studies(browse):
    browser = browse(study_manager(), view_state={"flat": True, "page_size": 30})
    assert len(browser.rows) == 24
    assert browser.view_state["flat"] is True
    assert "in search B" in row_of(browser, "trial 0").cells.value or (
        "in search A" in row_of(browser, "trial 0").cells.value
    )
    browser.toolbar.studies.value = False
    assert browser.wait(10)
    assert len(browser.rows) == 12
    assert browser.toolbar.studies.layout is browser._kit.shown


def test_lines_keep_to_the_widgets_there_are(browse):
    browser = browse(study_manager(), page_size=30)
    before = browser.widget_models
    for name in ("search A", "search B", "sweep", "four checkpoints"):
        press(browser, row_of(browser, name).fold_button)
    assert browser.widget_models == before <= 400


def test_a_read_only_page_unfolds_and_offers_nothing(browse):
    browser = browse(study_manager(), read_only=True)
    press(browser, row_of(browser, "four checkpoints").fold_button)
    assert len(browser.rows) == 16
    assert {(row.delete_button, row.tick) for row in browser.rows} == {(None, None)}
    assert browser.details.others_button is None


def test_a_number_that_is_typed_is_for_the_study_that_the_row_shows(browse, monkeypatch):
    """Rows are reused: a box that stayed would type for another study."""
    monkeypatch.setattr("expmgr.widgets.session.words.MOST_UNTYPED", 1)
    browser = browse(study_manager())
    browser.sort_by("run_name", ascending=True)
    for name in ("search A", "search B"):
        press(browser, row_of(browser, name).delete_button)
    before = {name: row_of(browser, name).count_box for name in ("search A", "search B")}
    browser.view_state = {"search": "B", "flat": False}
    browser.view_state = {"search": ""}
    browser.sort_by("run_name", ascending=False)
    assert browser.wait(10)
    for name, number in (("search A", "6"), ("search B", "4")):
        row = row_of(browser, name)
        assert name in row.count_box.tooltip
        assert row.count_box is not before["search B" if name == "search A" else "search A"]
        row.count_box.value = number
        assert browser.wait(10)
        assert row.confirm_button.description == f"Delete {number} models"
    boxes = [row.count_box for row in browser.rows if row.count_box is not None]
    assert len(boxes) == 2


def test_what_a_study_s_delete_does_is_what_its_script_does(browse):
    browser = browse(study_manager())
    press(browser, row_of(browser, "search A").details_button)
    said = browser.details.html.value
    assert "manager.delete_models([" in said
    ids = browser._loop.call(lambda: browser._session.would_ask(row_of_id(browser, "search A")))
    assert len(ids) == 6
    assert all(f"&quot;{id_}&quot;" in said for id_ in ids)
    assert browser.details.keeping.button.description == "Keep this run alone"


def row_of_id(browser, name):
    frame = browser._session.lines.frame
    return frame.loc[frame["run_name"] == name, "run_id"].iloc[0]


def test_an_id_in_the_script_is_data_whatever_it_holds(browse):
    manager = study_manager()
    evil = 'r/x"); import os; os.system("id'
    manager.models_frame.loc[manager.models_frame["name"] == "imported", "model_id"] = evil
    browser = browse(manager)
    row = next(row for row in browser.rows if row.run_id == evil)
    press(browser, row.details_button)
    said = re.search(r"manager\.delete_model\((.*?)\)</pre>", browser.details.html.value).group(1)
    assert json.loads(html.unescape(said)) == evil
    assert browser.details.keeping.box.layout is browser._kit.gone, "a directory takes no pin"
