"""axe-core finds nothing serious in the run browser, whatever it shows, in both themes."""

from __future__ import annotations

import pytest
from axe_core import findings
from jupyter_driver import REPOSITORY, open_notebook, write_notebook
from playwright.sync_api import expect

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(300)]

SETUP = """
from scripted_manager import ScriptedManager, run_table
from expmgr.results import DeletionResult
from expmgr.widgets import RunBrowser
manager = ScriptedManager(run_table(43))
bad = manager.table["run_id"][3]
manager.results[bad] = DeletionResult(
    bad, "failed", 4, 1, 2, message="8 files are left: 503 ServerBusy. Try again.",
    log=("attempt 1: 503 ServerBusy, waited 0.4 s", "attempt 2: 503 ServerBusy"))
"""
SHOW = "RunBrowser(manager, page_size=10, measure=False, read_only={read_only}, take_back=600)"


def open_browser(chromium, tmp_path, theme, *, read_only):
    settings = tmp_path / "state/lab-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(f'{{"theme": "JupyterLab {theme}"}}')
    cells = [SETUP, SHOW.format(read_only=read_only)]
    notebook = write_notebook(tmp_path / "lab" / "x.ipynb", cells)
    path = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"}
    return open_notebook(chromium, notebook, tmp_path / "state", env=path, height=1400)


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_axe_finds_nothing_serious(chromium, tmp_path, theme):
    with open_browser(chromium, tmp_path, theme, read_only=False) as opened:
        opened.run_all()
        page = opened.page
        rows = page.locator(".xm-row:visible")
        expect(page.locator(".xm-totals")).to_contain_text("43 runs")
        expect(page.locator(".xm-rows[role=list]")).to_have_count(1)
        dark = page.evaluate("() => document.body.dataset.jpThemeLight") == "false"
        assert dark is (theme == "Dark")
        assert findings(page, ".xm-root") == [], "at first"

        for place in (0, 3):
            rows.nth(place).locator(".xm-delete").click()
            rows.nth(place).locator(".xm-confirm").click()
            expect(rows.nth(place).locator(".xm-close")).to_be_visible()
        rows.nth(4).locator(".xm-delete").click()
        rows.nth(4).locator(".xm-confirm").click(trial=True)
        rows.nth(3).locator(".xm-open").click()
        expect(page.locator(".xm-details")).to_contain_text("manager.delete_model(")
        assert findings(page, ".xm-root") == [], "with an offer, a result and details"

        rows.nth(5).locator("input").check()
        opened.button("Delete 1 selected").click()
        page.locator(".xm-bulk .xm-confirm").click(trial=True)
        opened.button("More …").click()
        expect(opened.button("Less")).to_have_attribute("aria-expanded", "true")
        opened.button("Columns").click()
        opened.button("MLflow filter").click()
        expect(page.locator(".xm-chooser select").first).to_be_visible()
        assert findings(page, ".xm-root") == [], "with many asked for and everything unfolded"

        page.locator(".xm-bulk .xm-confirm").click()
        expect(page.locator(".xm-bulk .xm-close")).to_be_visible()
        rows.nth(0).focus()
        page.keyboard.press("?")
        opened.button("Last").click()
        expect(rows).to_have_count(3)
        opened.button("Pictures").click()
        expect(page.locator(".xm-pictures svg")).to_have_count(3, timeout=60_000)
        assert findings(page, ".xm-root") == [], "with pictures and the keys"


def test_axe_finds_nothing_serious_in_a_read_only_browser(chromium, tmp_path):
    with open_browser(chromium, tmp_path, "Light", read_only=True) as opened:
        opened.run_all()
        expect(opened.page.locator(".xm-totals")).to_contain_text("43 runs")
        expect(opened.page.locator(".xm-rows[role=list]")).to_have_count(1)
        assert findings(opened.page, ".xm-root") == []


VIEWS = """
from datetime import timedelta
from cleaning_manager import NOW, CleaningManager, failing, record
from expmgr.widgets import RunBrowser
records = [record(f"{at}", state, hours=at) for at, state in enumerate(
    ["deleted", "failed", "interrupted", "restored"], 1)]
records += [record("m", "marked", due=NOW - timedelta(hours=1))]
manager = CleaningManager(records=records)
failing(manager, manager.goes[0])
"""


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_axe_finds_nothing_serious_in_the_other_views(chromium, tmp_path, theme, monkeypatch):
    monkeypatch.setattr(f"{__name__}.SETUP", VIEWS)
    with open_browser(chromium, tmp_path, theme, read_only=False) as opened:
        opened.run_all()
        page = opened.page
        strip = page.locator(".xm-views button")
        expect(strip.first).to_have_attribute("aria-pressed", "true")
        strip.get_by_text("Clean up").click()
        view = page.locator(".xm-clean-up")
        expect(view.locator(".xm-lines tbody tr")).to_have_count(10)
        for folded in view.locator("summary").all():
            folded.click()
        view.locator(".xm-delete-many").click()
        view.locator(".xm-confirm").click(trial=True)
        assert findings(page, ".xm-root") == [], "asked"
        view.locator(".xm-confirm").click()
        expect(view.locator(".xm-failures li")).to_have_count(1)
        view.locator(".xm-confirm").click(trial=True)
        assert findings(page, ".xm-root") == [], "failed"

        strip.get_by_text("Deletions").click()
        records = page.locator(".xm-record:visible")
        expect(records).to_have_count(5)
        records.nth(1).locator(".xm-slot").click()
        records.nth(1).locator(".xm-confirm").click(trial=True)
        page.locator(".xm-log-view .xm-delete-many").click()
        page.locator(".xm-log-view .xm-bulk .xm-confirm").click(trial=True)
        assert findings(page, ".xm-root") == [], "asked in a record"
