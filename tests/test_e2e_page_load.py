"""A page that connects to a kernel while the runs arrive: Voila always does, a reload may.

What the kernel says before the page has every widget is lost to it, and a widget made then cannot
be shown at all (it refers to others that the page does not have yet). The kernel is made to speak
exactly then: it is told of the page's question by the events that IPython gives around a message.
"""

from __future__ import annotations

import pytest
from jupyter_driver import REPOSITORY, open_notebook, write_notebook
from playwright.sync_api import expect

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(300)]

SETUP = """
from threading import Event
from IPython import get_ipython
from scripted_manager import ScriptedManager, run_table
from expmgr.widgets import RunBrowser

manager = ScriptedManager(run_table(300))
gates = [manager.hold("runs"), manager.hold("runs(limit)")]
cell_is_done = Event()

def asked_for_the_widgets():
    if WHEN == "pre_execute":
        answer()

def cell_or_message_done():
    if cell_is_done.is_set() and WHEN == "post_execute":
        answer()
    cell_is_done.set()

def answer():
    for gate in gates:
        gate.set()
    browser.wait(10)
"""
SHOW = """
browser = RunBrowser(manager, page_size=10, read_only=False)
get_ipython().events.register("pre_execute", asked_for_the_widgets)
get_ipython().events.register("post_execute", cell_or_message_done)
browser
"""


@pytest.mark.parametrize("when", ["pre_execute", "post_execute"])
def test_runs_that_arrive_while_the_page_connects_are_shown(chromium, tmp_path, when):
    notebook = write_notebook(tmp_path / "x.ipynb", [f"WHEN = {when!r}", SETUP, SHOW])
    with open_notebook(
        chromium,
        notebook,
        tmp_path / "state",
        app="voila",
        slower=6,
        env={"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"},
    ) as opened:
        page = opened.page
        expect(page.locator(".xm-row:visible")).to_have_count(10, timeout=40_000)
        expect(page.locator(".xm-delete:visible").first).to_be_visible()
        expect(page.locator(".xm-root")).to_contain_text("300 runs")
        assert not [said for said in opened.problems if "not found" in said]
