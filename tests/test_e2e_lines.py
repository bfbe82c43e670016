"""Studies and models as lines in a real Chromium: by mouse, by keys, at every width, for axe."""

from __future__ import annotations

import pytest
from axe_core import findings
from jupyter_driver import REPOSITORY, open_notebook, write_notebook
from playwright.sync_api import expect

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(300)]

TESTS = REPOSITORY / "tests"
OVERLAP = (TESTS / "overlap.js").read_text(encoding="utf-8")
SETUP = """
from pathlib import Path
from scripted_manager import ScriptedManager
from study_tables import study_tables
from expmgr.widgets import RunBrowser

class Noted(ScriptedManager):
    def plan_deletion(self, ids, **options):
        with open("planned.txt", "a") as file:
            file.writelines(id_ + "\\n" for id_ in ids)
        return super().plan_deletion(ids, **options)

    def delete_model(self, id_, *args, **options):
        with open("deleted.txt", "a") as file:
            file.write(id_ + "\\n")
        return super().delete_model(id_, *args, **options)

table, models = study_tables()
table.loc[table["run_name"] == "trial 3", "bytes"] = 10**9  # more than half of all
models.loc[models["name"] == "imported", "name"] = "imported " + "a long name " * 40
manager = Noted(table, models=models)
"""
SHOW = "RunBrowser(manager, measure=False, read_only=False, take_back=600)"
ARMED = 900


@pytest.fixture
def opened(chromium, tmp_path):
    contexts = []

    def open_(app="lab", **options):
        notebook = write_notebook(tmp_path / app / "x.ipynb", [SETUP, SHOW])
        path = {"PYTHONPATH": f"{REPOSITORY}:{TESTS}"}
        context = open_notebook(
            chromium, notebook, tmp_path / "state", app=app, env=path, **{"height": 1500, **options}
        )
        page = context.__enter__()
        contexts.append(context)
        if app != "voila":
            page.run_all()
        expect(page.page.locator(".xm-row:visible")).to_have_count(12, timeout=90_000)
        expect(page.page.locator(".xm-totals")).to_contain_text("22 runs and 2 models")
        expect(page.page.locator(".xm-rows[role=list]")).to_have_count(1)
        page.page.wait_for_timeout(ARMED)
        return page

    yield open_
    for context in contexts:
        context.__exit__(None, None, None)


def line(page, name):
    """The first line with this text in its first cell."""
    rows = page.page.locator(".xm-row:visible")
    return rows.filter(has=page.page.locator(".xm-cell:first-child", has_text=name)).first


def noted(tmp_path, what):
    file = tmp_path / "lab" / f"{what}.txt"
    return file.read_text().split() if file.exists() else []


@pytest.mark.parametrize("width", [640, 760, 900, 1280])
def test_nothing_prints_over_anything_else(opened, width):
    page = opened(width=width)
    for name in ("four checkpoints", "sweep", "search B"):
        line(page, name).locator(".xm-fold").click()
        page.page.wait_for_timeout(ARMED)
    line(page, "fold 1").locator(".xm-fold").click()
    expect(page.page.locator(".xm-row:visible")).to_have_count(23)
    line(page, "search A").locator(".xm-delete").click()
    box = line(page, "search A").locator(".xm-count input")
    box.fill("6")
    expect(line(page, "search A").locator(".xm-confirm")).to_be_visible()
    line(page, "step 0").locator(".xm-delete").click()
    expect(line(page, "step 0").locator(".xm-confirm")).to_be_visible()
    assert page.page.evaluate(OVERLAP)["overlaps"] == []
    shown = line(page, "step 200").locator(".xm-cell:first-child .xm-dim")
    inner, cell = (
        one.bounding_box() for one in (shown, line(page, "step 200").locator(".xm-cell").first)
    )
    assert inner["x"] + inner["width"] <= cell["x"] + cell["width"] + 1, "a step is not cut"


def test_a_click_where_a_delete_was_hits_no_line_that_unfolded_there(opened, tmp_path):
    """Seen in the page, in the frame in which the lines appear: a slow link counts from there."""
    page = opened()
    open_to_clicks = page.page.evaluate(
        """async () => {
            const rows = [...document.querySelectorAll('.xm-row')];
            const top = rows.find(row => row.textContent.includes('search A'));
            const at = rows.indexOf(top);
            top.querySelector('.xm-fold').click();
            const shown = () => rows.filter(row => row.offsetParent);
            while (shown().length < 18 || !shown().at(-1).textContent.includes('left behind')) {
                await new Promise(requestAnimationFrame);
            }
            const buttons = rows.slice(at + 1).flatMap(
                row => [...row.querySelectorAll('button, input')]);
            return buttons.filter(one => one.offsetParent).filter(one => {
                const box = one.getBoundingClientRect();
                const x = box.x + box.width / 2, y = box.y + box.height / 2;
                return document.elementFromPoint(x, y) === one;
            }).map(one => one.className + one.textContent);
        }"""
    )
    assert open_to_clicks == []
    assert noted(tmp_path, "planned") == []
    line(page, "trial 0").locator(".xm-delete").click()  # and then it does
    expect(line(page, "trial 0").locator(".xm-confirm")).to_be_visible()


def test_a_checkpoint_is_deleted_without_a_mouse(opened, tmp_path):
    page = opened()
    keys = page.page.keyboard
    line(page, "four checkpoints").focus()
    fold = line(page, "four checkpoints").locator(".xm-fold")
    expect(fold).to_have_attribute("aria-expanded", "false")
    expect(fold).to_have_attribute("aria-label", "Unfold four checkpoints: 4 lines")
    keys.press("-")
    keys.press("+")
    expect(fold).to_have_attribute("aria-expanded", "true")
    page.page.wait_for_timeout(ARMED)
    keys.press("ArrowDown")
    expect(line(page, "step 0")).to_be_focused()
    label = line(page, "step 0").get_attribute("aria-label")
    assert label.startswith("checkpoint step 0, model of four checkpoints; ")
    keys.press("Delete")
    expect(line(page, "step 0").locator(".xm-cancel")).to_be_focused()
    page.page.wait_for_timeout(ARMED)
    keys.press("Tab")
    expect(line(page, "step 0").locator(".xm-confirm")).to_be_focused()
    page.page.wait_for_timeout(ARMED)
    keys.press("Enter")
    expect(line(page, "step 0").get_by_role("status")).to_contain_text("Deleted 12 files")
    assert len(noted(tmp_path, "deleted")) == 1
    keys.press("ArrowUp")
    keys.press("-")
    expect(page.page.locator(".xm-row:visible")).to_have_count(12)
    expect(line(page, "four checkpoints")).to_be_focused()
    keys.press("?")
    expect(page.page.locator(".xm-keys")).to_contain_text("unfold or fold a study")


def test_a_study_s_number_is_typed_without_a_mouse(opened):
    page = opened()
    keys = page.page.keyboard
    row = line(page, "search A")
    row.focus()
    keys.press("Delete")
    expect(row.locator(".xm-count input")).to_be_visible()
    keys.press("Tab")
    expect(row.locator(".xm-count input")).to_be_focused()
    keys.type("6")
    expect(row.locator(".xm-confirm")).to_be_visible()
    page.page.wait_for_timeout(ARMED)
    keys.press("Tab")
    expect(row.locator(".xm-confirm")).to_be_focused()
    keys.press("Enter")
    expect(row.get_by_role("status")).to_contain_text("Deleted 6 models")


def test_axe_finds_nothing_serious(opened):
    page = opened()
    for name in ("four checkpoints", "sweep"):
        line(page, name).locator(".xm-fold").click()
        page.page.wait_for_timeout(ARMED)
    line(page, "search A").locator(".xm-delete").click()
    expect(line(page, "search A").locator(".xm-count input")).to_be_visible()
    line(page, "four checkpoints").locator(".xm-open").click()
    expect(page.page.locator(".xm-details")).to_contain_text("Tick all but its best model")
    assert findings(page.page, ".xm-root") == []
