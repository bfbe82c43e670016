"""Nothing prints over anything else, at every width and with more columns than fit."""

from __future__ import annotations

import pytest
from jupyter_driver import REPOSITORY, open_notebook, write_notebook
from playwright.sync_api import expect

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(300)]

TESTS = REPOSITORY / "tests"
OVERLAP = (TESTS / "overlap.js").read_text(encoding="utf-8")
CELL = """
from scripted_manager import ScriptedManager, run_table
from expmgr.results import DeletionResult
from expmgr.widgets import RunBrowser

table = run_table(300)
table.loc[8, "run_name"] = "a very long name " * 70
for at in range(8):
    table[f"params.option_{{at}}"] = [f"value {{at}} of {{row}}" for row in range(300)]
manager = ScriptedManager(table)
bad = table["run_id"][3]
manager.results[bad] = DeletionResult(
    bad, "failed", 4, 1, 2, message="8 files are left: " + "503 ServerBusy, " * 12,
    log=("attempt 1: 503 ServerBusy, waited 0.4 s", "attempt 2: 503 ServerBusy"))
manager.raw.add(table["run_id"][6])
browser = RunBrowser(manager, page_size=10, measure=False, read_only=False, take_back=600)
browser.wait()
columns = [*browser.view_state["columns"], *(f"params.option_{{i}}" for i in range({more}))]
browser.view_state = {{"columns": columns[:16]}}
browser
"""


@pytest.mark.parametrize(
    ("width", "more"),
    [(1900, 0), (1280, 8), (1280, 0), (900, 1), (760, 0), (640, 0), (640, 3)],
)
def test_nothing_prints_over_anything_else(chromium, tmp_path, width, more):
    notebook = write_notebook(tmp_path / "lab" / "x.ipynb", [CELL.format(more=more)])
    path = {"PYTHONPATH": f"{REPOSITORY}:{TESTS}"}
    with open_notebook(
        chromium, notebook, tmp_path / "state", env=path, width=width, height=1400
    ) as opened:
        opened.run_all()
        page = opened.page
        rows = page.locator(".xm-row:visible")
        expect(rows).to_have_count(10)
        calm = page.evaluate(OVERLAP)
        assert calm["overlaps"] == []
        assert calm["count"] > 60
        for place in (0, 6):
            rows.nth(place).locator(".xm-delete").click()
            rows.nth(place).locator(".xm-confirm").wait_for()
        for place in (3, 5):
            rows.nth(place).locator(".xm-delete").click()
            rows.nth(place).locator(".xm-confirm").click()
            rows.nth(place).locator(".xm-close").wait_for()
        rows.nth(3).locator(".xm-open").click()
        expect(page.locator(".xm-details")).to_contain_text("manager.delete_model(")
        rows.nth(8).locator("input").check()
        page.locator(".xm-delete-many").click()
        page.locator(".xm-bulk .xm-confirm").wait_for()
        frame = page.locator(".xm-frame")
        for scrolled in (0, 100, 10_000):
            frame.evaluate("(frame, by) => { frame.scrollLeft = by; }", scrolled)
            assert page.evaluate(OVERLAP)["overlaps"] == []
            edges = frame.bounding_box()
            for one in page.locator(".xm-row .xm-confirm, .xm-row .xm-slot:visible").all():
                box = one.bounding_box()
                assert box["x"] >= edges["x"]
                assert box["x"] + box["width"] <= edges["x"] + edges["width"]


def test_what_a_finger_aims_at_is_44_px(chromium, tmp_path):
    notebook = write_notebook(tmp_path / "lab" / "x.ipynb", [CELL.format(more=0)])
    path = {"PYTHONPATH": f"{REPOSITORY}:{TESTS}"}
    with open_notebook(
        chromium, notebook, tmp_path / "state", env=path, width=900, height=1400, touch=True
    ) as opened:
        opened.run_all()
        page = opened.page
        page.locator(".xm-row .xm-delete").first.tap()
        page.locator(".xm-row .xm-confirm").wait_for()
        targets = page.locator(
            ".xm-root button:visible, .xm-root .xm-tick:visible, .xm-root select:visible"
        ).all()
        assert len(targets) > 40
        for target in targets:
            box = target.bounding_box()
            assert min(box["width"], box["height"]) >= 44, target.text_content()
        assert page.evaluate(OVERLAP)["overlaps"] == []
