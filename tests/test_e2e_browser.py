"""The run browser in a real Chromium: JupyterLab, Notebook 7 and Voila, over a scripted manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jupyter_driver import REPOSITORY, open_notebook, write_notebook
from playwright.sync_api import expect

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(300)]

TESTS = REPOSITORY / "tests"
CONTRAST = (TESTS / "contrast.js").read_text(encoding="utf-8")
SETUP = """
from scripted_manager import HOSTILE, ScriptedManager, run_table
from expmgr.results import DeletionResult
from expmgr.widgets import RunBrowser
table = run_table(300)
table.loc[6, ["run_name", "experiment_name", "params.depth", "tags.team"]] = HOSTILE
table.loc[8, "run_name"] = "a very long name " * 700_000
manager = ScriptedManager(table)
bad = table["run_id"][3]
manager.results[bad] = DeletionResult(
    bad, "failed", 4, 1, 2, message="8 files are left: 503 ServerBusy, <b>twice</b>. Try again.",
    log=("attempt 1: 503 ServerBusy, waited 0.4 s", "attempt 2: 503 ServerBusy"))
manager.reasons[table["run_id"][10]] = ("registered: churn version 3",)
"""
SHOW = "browser = RunBrowser(manager, page_size=10, measure=False, read_only=False)\nbrowser"


@pytest.fixture
def opened(request, chromium, tmp_path):
    """A function that opens the browser in an app and waits for its rows."""
    contexts = []

    def open_(app="lab", **options):
        notebook = write_notebook(tmp_path / app / "x.ipynb", [SETUP, SHOW])
        context = open_notebook(
            chromium,
            notebook,
            tmp_path / f"{app}-state",
            app=app,
            env={"PYTHONPATH": f"{REPOSITORY}:{TESTS}"},
            **options,
        )
        page = context.__enter__()
        contexts.append(context)
        if app != "voila":
            page.run_all()
        expect(page.page.locator(".xm-row:visible")).to_have_count(10, timeout=90_000)
        return page

    yield open_
    for context in contexts:
        context.__exit__(None, None, None)


def names(page):
    return page.page.locator(".xm-row:visible .xm-cells .xm-cell:first-child").all_inner_texts()


def nth(page, place):
    return page.page.locator(".xm-row:visible").nth(place)


def takes_clicks(button):
    """Wait until the pointer would reach the button: no click, only what precedes one."""
    button.click(trial=True)


def columns_of(page):
    """Left edges of the cells of each row, one set a column."""
    return page.page.evaluate(
        """() => {
            const edges = [];
            for (const grid of document.querySelectorAll('.xm-row .xm-grid, .xm-head .xm-grid')) {
                if (!grid.offsetParent) continue;
                [...grid.children].forEach((cell, at) => {
                    (edges[at] ??= []).push(Math.round(cell.getBoundingClientRect().left));
                });
            }
            return edges.map(column => [...new Set(column)]);
        }"""
    )


@pytest.mark.parametrize("app", ["lab", "notebook", "voila"])
def test_the_whole_page_works(opened, app):  # noqa: PLR0915 - one person, one sitting
    page = opened(app)
    rows = page.page.locator(".xm-row:visible")

    # nothing that a run is called runs, and it is read as text
    assert "<img src=x onerror=" in nth(page, 6).inner_text()
    assert "$E=mc^2$" in nth(page, 6).locator(".xm-cell").first.inner_text()
    assert page.page.locator(".xm-root img, .xm-root script, .xm-root .MathJax").count() == 0
    assert page.page.title() != "owned"
    assert len(nth(page, 8).inner_html()) < 30_000

    # sort by a header, both ways
    header = page.button("Size").filter(has_not_text="Measure")
    header.click()
    expect(header).to_contain_text("▼")
    first = nth(page, 0).locator(".xm-cell").first
    expect(first).not_to_have_text("spry-model-0")
    largest = names(page)[0]
    header.click()
    expect(header).to_contain_text("▲")
    expect(first).not_to_have_text(largest)

    # search
    page.page.get_by_placeholder("Search runs").fill("model-29")
    expect(rows).to_have_count(10)
    expect(page.page.locator(".xm-totals")).to_contain_text("11 shown")
    page.page.get_by_placeholder("Search runs").fill("")
    page.button("Started").click()
    expect(page.page.locator(".xm-totals")).not_to_contain_text("shown")
    expect(nth(page, 0)).to_contain_text("spry-model-0")

    # a deletion, by the keyboard: the focus is on Cancel, Confirm is the next stop
    takes_clicks(nth(page, 0).locator(".xm-delete"))
    nth(page, 0).locator(".xm-delete").focus()
    page.page.keyboard.press("Enter")
    expect(nth(page, 0).get_by_role("status")).to_contain_text("Delete 12 files, 34.1 MB?")
    expect(nth(page, 0).locator(".xm-cancel")).to_be_focused()
    takes_clicks(nth(page, 0).locator(".xm-confirm"))
    page.page.keyboard.press("Tab")
    expect(nth(page, 0).locator(".xm-confirm")).to_be_focused()
    page.page.keyboard.press("Enter")
    expect(nth(page, 0).get_by_role("status")).to_contain_text("Deleted 12 files, 34.1 MB in 0.8 s")

    # a failure with its log in the details, its text as text, and Retry
    nth(page, 3).locator(".xm-delete").click()
    nth(page, 3).locator(".xm-confirm").click()
    expect(nth(page, 3).get_by_role("status")).to_contain_text("8 files are left")
    expect(nth(page, 3).get_by_role("status")).to_contain_text("<b>twice</b>")
    nth(page, 3).locator(".xm-open").click()
    log = nth(page, 3).locator(".xm-details pre.xm-log")
    expect(log).to_contain_text("attempt 1: 503 ServerBusy, waited 0.4 s")
    nth(page, 3).locator(".xm-open").click()
    expect(nth(page, 3).locator(".xm-confirm")).to_have_text("Retry")

    # many at once: one confirmation, what is protected is left out
    page.button("Next").click()
    expect(nth(page, 0)).to_contain_text("spry-model-10")
    for place in (0, 1, 2):
        nth(page, place).locator("input[type=checkbox]").check()
    page.button("Delete 3 selected").click()
    bulk = page.page.locator(".xm-bulk")
    expect(bulk).to_contain_text("Delete 2 models: 24 files, 68.2 MB?")
    expect(bulk).to_contain_text("spry-model-10: protected: registered: churn version 3")
    bulk.locator(".xm-confirm").click()
    expect(bulk).to_contain_text("Deleted 2 models, 24 files, 68.2 MB")
    page.button("Close").click()
    expect(nth(page, 1)).to_contain_text("deleted")

    # coming back shows what became of the others
    page.button("Previous").click()
    expect(nth(page, 0).get_by_role("status")).to_contain_text("Deleted 12 files")

    # details and pictures
    expect(nth(page, 6)).to_contain_text("<img src=x onerror=")  # rows turn one after the other
    nth(page, 6).locator(".xm-open").click()
    expect(page.page.locator(".xm-details")).to_contain_text("manager.delete_model(")
    page.button("More").click()
    page.button("Pictures").click()
    expect(page.page.locator(".xm-pictures svg")).to_have_count(3, timeout=60_000)
    assert page.page.title() != "owned"
    assert page.page.locator(".xm-root img, .xm-root script").count() == 0


@pytest.mark.parametrize("width", [1000, 1900])
def test_rows_line_up_and_nothing_moves_sideways(opened, width):
    page = opened(width=width)
    before = columns_of(page)
    assert all(len(column) == 1 for column in before), "header and rows share their edges"
    nth(page, 0).locator(".xm-delete").click()
    expect(nth(page, 0).locator(".xm-confirm")).to_be_visible()
    nth(page, 0).locator(".xm-confirm").click()
    expect(nth(page, 0).get_by_role("status")).to_contain_text("Deleted")
    page.button("Next").click()
    expect(nth(page, 0)).to_contain_text("spry-model-10")
    assert columns_of(page) == before
    scrolls = "frame => frame.scrollWidth - frame.clientWidth"
    assert page.page.locator(".xm-frame").evaluate(scrolls) <= 0
    button = nth(page, 1).locator(".xm-delete").bounding_box()
    assert button["x"] + button["width"] < width


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_every_text_can_be_read_in_both_themes(opened, theme, tmp_path):
    settings = tmp_path / "lab-state/lab-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(f'{{"theme": "JupyterLab {theme}"}}')
    page = opened(height=1400)
    for place in (0, 3):
        nth(page, place).locator(".xm-delete").click()
        nth(page, place).locator(".xm-confirm").click()
        expect(nth(page, place).locator(".xm-close")).to_be_visible()
    nth(page, 4).locator(".xm-delete").click()
    expect(nth(page, 4).locator(".xm-confirm")).to_be_visible()
    nth(page, 5).locator(".xm-open").click()
    expect(page.page.locator(".xm-details")).to_contain_text("manager.delete_model(")
    dark = page.page.evaluate("() => document.body.dataset.jpThemeLight") == "false"
    assert dark is (theme == "Dark")
    measured = page.page.evaluate(CONTRAST)
    assert len(measured) > 80
    assert [line for line in measured if line[0] < 4.5] == []


def test_a_saved_notebook_holds_a_static_table_and_no_script(opened, tmp_path):
    page = opened()
    page.page.keyboard.press("Control+s")
    saved = tmp_path / "lab" / "x.ipynb"
    expect(page.page.locator(".jp-mod-dirty")).to_have_count(0)
    page.page.wait_for_function("() => true")
    text = saved.read_text(encoding="utf-8")
    assert "expmgr-static" in text
    assert "300 runs" in text or "10 of … runs" in text
    assert "<script>document" not in text
    html = _exported(saved)
    assert "spry-model-1" in html
    assert "<img src=x" not in html


def _exported(notebook: Path) -> str:
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter().from_filename(str(notebook))
    return str(body)
