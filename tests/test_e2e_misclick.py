"""Fast second clicks in a real Chromium: each lands where a button stood a moment before."""

from __future__ import annotations

import pytest
from jupyter_driver import REPOSITORY, open_notebook, write_notebook
from playwright.sync_api import expect

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(300)]

TESTS = REPOSITORY / "tests"
SETUP = """
from pathlib import Path
from scripted_manager import ScriptedManager, run_table
from expmgr.widgets import RunBrowser

class Noted(ScriptedManager):
    def _called(self, name):
        super()._called(name)
        if name.startswith("delete_model"):
            Path("deleted.txt").touch()

manager = Noted(run_table(300))
"""
SHOW = "RunBrowser(manager, page_size=10, measure=False, read_only=False)"
BOXES = """
    ([selector, within]) => {
        const box = one => one.getBoundingClientRect();
        const from = within ? box(document.querySelector(within)) : {x: 0, y: 0};
        return [...document.querySelectorAll(selector)].filter(one => one.offsetParent).map(one => (
            {x: box(one).x - from.x, y: box(one).y - from.y,
             width: box(one).width, height: box(one).height}));
    }
"""


@pytest.fixture
def opened(chromium, tmp_path):
    """A function that opens the browser and waits until its rows take clicks."""
    contexts = []

    def open_(**options):
        notebook = write_notebook(tmp_path / "lab" / "x.ipynb", [SETUP, SHOW])
        path = {"PYTHONPATH": f"{REPOSITORY}:{TESTS}"}
        context = open_notebook(chromium, notebook, tmp_path / "state", env=path, **options)
        page = context.__enter__()
        contexts.append(context)
        page.run_all()
        expect(page.page.locator(".xm-row:visible")).to_have_count(10, timeout=90_000)
        expect(page.page.locator(".xm-totals")).to_contain_text("300 runs")
        return page

    yield open_
    for context in contexts:
        context.__exit__(None, None, None)


def boxes(page, selector, within=""):
    return page.page.evaluate(BOXES, [selector, within])


def middle(box):
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def settle(page):
    """Wait until the kernel has heard and done all that came before."""
    page.button("Last").click()
    expect(page.page.locator(".xm-rows")).to_contain_text("spry-model-299")
    page.button("First").click()
    expect(page.page.locator(".xm-rows")).to_contain_text("spry-model-0")


def test_clicks_where_buttons_were_delete_nothing(opened, tmp_path):
    page = opened()
    mouse = page.page.mouse
    page.page.locator(".xm-row:visible input").nth(3).check()
    expect(page.button("Delete 1 selected")).to_be_enabled()
    # The click itself must not scroll the notebook: positions are compared before and after it.
    page.page.locator(".xm-row .xm-delete").first.scroll_into_view_if_needed()
    deletes = boxes(page, ".xm-row .xm-delete")
    many = boxes(page, ".xm-delete-many")
    assert len(deletes) > 5
    rows = boxes(page, ".xm-row")
    page.page.locator(".xm-row .xm-delete").first.click()
    page.page.locator(".xm-row .xm-confirm").wait_for()
    moved = boxes(page, ".xm-row") != rows
    for delay, box in zip((100, 250, 300, 400, 550), (*deletes[:4], *many), strict=True):
        page.page.wait_for_timeout(delay)  # a person's second click, with its usual delays
        mouse.click(*middle(box))
    moved_by_many = boxes(page, ".xm-row") != rows
    for box in (*deletes, *many, *deletes):
        mouse.click(*middle(box))
    settle(page)
    assert not (tmp_path / "lab" / "deleted.txt").exists()
    assert (moved, moved_by_many) == (False, False), "no offer moves a row"


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_confirm_takes_no_click_at_first_and_then_does(opened, tmp_path, motion):
    page = opened()
    page.page.emulate_media(reduced_motion=motion)
    deleted = tmp_path / "lab" / "deleted.txt"
    page.page.locator(".xm-row .xm-delete").first.click()
    confirm = page.page.locator(".xm-row .xm-confirm")
    confirm.wait_for()
    (box,) = boxes(page, ".xm-row .xm-confirm")
    hit = page.page.evaluate("([x, y]) => document.elementFromPoint(x, y).className", middle(box))
    assert "xm-confirm" not in hit, "the page itself keeps the pointer off"
    page.page.mouse.click(*middle(box))
    settle(page)
    assert not deleted.exists()
    page.page.locator(".xm-row .xm-confirm").click()  # waits until it takes clicks
    expect(page.page.locator(".xm-row").first).to_contain_text("Deleted 12 files")
    assert deleted.exists()


def test_a_turned_page_takes_no_click_at_first(opened):
    page = opened()
    places = boxes(page, ".xm-row .xm-delete")
    open_to_clicks = page.page.evaluate(
        """async () => {
            const rows = document.querySelector('.xm-rows');
            [...document.querySelectorAll('.xm-root button')]
                .find(button => button.textContent.trim() === 'Next').click();
            while (!rows.textContent.includes('spry-model-19')) {
                await new Promise(requestAnimationFrame);
            }
            const buttons = [...rows.querySelectorAll('button, input')];
            return buttons.filter(one => one.offsetParent).filter(one => {
                const box = one.getBoundingClientRect();
                const x = box.x + box.width / 2, y = box.y + box.height / 2;
                return document.elementFromPoint(x, y) === one;
            }).map(one => one.className + one.textContent);
        }"""
    )
    assert open_to_clicks == []
    for box in places[:3]:
        page.page.mouse.click(*middle(box))
    settle(page)
    expect(page.page.locator(".xm-confirm")).to_have_count(0)
    page.page.locator(".xm-row .xm-delete").first.click()  # and then it does
    page.page.locator(".xm-row .xm-confirm").wait_for()


@pytest.mark.parametrize("width", [640, 900, 1280, 1900])
def test_confirm_never_stands_above_or_below_a_delete(opened, width):
    page = opened(width=width)
    page.page.locator(".xm-row:visible input").nth(3).check()
    expect(page.button("Delete 1 selected")).to_be_enabled()
    root = ".xm-root"
    (whole,) = boxes(page, root)
    stood = [*boxes(page, ".xm-row .xm-delete", root), *boxes(page, ".xm-delete-many", root)]
    page.page.locator(".xm-row .xm-delete").first.click()
    page.button("Delete 1 selected").click()
    expect(page.page.locator(".xm-confirm")).to_have_count(2)
    for confirm in boxes(page, ".xm-confirm", root):
        assert confirm["x"] >= 0
        assert confirm["x"] + confirm["width"] <= whole["width"]
        for box in stood:
            left, right = box["x"], box["x"] + box["width"]
            assert right <= confirm["x"] or confirm["x"] + confirm["width"] <= left
    cancels = boxes(page, ".xm-cancel", root)
    assert len(cancels) == 2
    assert all(cancel in stood for cancel in cancels), "Cancel takes Delete's place"
