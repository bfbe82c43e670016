"""A browser that is used for long keeps its threads, widgets, sockets and memory.

``EXPMGR_BROWSING`` is for how many seconds it is used (6); what is done is drawn from a seed.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from random import Random

import ipywidgets
import psutil
import pytest
from scripted_manager import ScriptedManager, run_table

from expmgr.widgets import RunBrowser

SECONDS = float(os.environ.get("EXPMGR_BROWSING") or 6)
SEED = int(os.environ.get("EXPMGR_BROWSING_SEED") or 10)
RUNS = 2_000
MOST_GROWTH = 40 * 2**20
"""Bytes: what a long log, the collector's moment and pandas' caches may take."""


def used(process: psutil.Process) -> dict[str, int]:
    gc.collect()
    return {
        "threads": threading.active_count(),
        "widgets": len(ipywidgets.widget._instances),
        "files and sockets": process.num_fds() if hasattr(process, "num_fds") else 0,
        "bytes": process.memory_info().rss,
    }


def act(browser: RunBrowser, chance: Random) -> None:
    """Do one of the things that a person does."""
    footer, toolbar = browser.footer, browser.toolbar
    shown = [row for row in browser.rows if row.run_id]
    if not shown:
        toolbar.search.value = ""
        assert browser.wait(30)
        return
    row = chance.choice(shown)
    deed = chance.randrange(9)
    if deed <= 2:
        chance.choice((footer.next, footer.previous, footer.first, footer.last)).click()
    elif deed == 3:
        toolbar.search.value = chance.choice(("", "", "blue", "model-1", "nothing like this"))
    elif deed == 4:
        toolbar.refresh_button.click()
    elif deed == 5:
        row.details_button.click()
    elif row.delete_button is not None and not row.delete_button.disabled:
        row.delete_button.click()
        browser.wait(10)
        if row.confirm_button is not None:
            row.confirm_button.click()
    assert browser.wait(30)


@pytest.mark.timeout(120 + 2 * SECONDS)
def test_long_browsing_keeps_threads_widgets_sockets_and_memory(monkeypatch, record_property):
    monkeypatch.setattr("expmgr.widgets.arming.ARMED_AFTER", 0.0)
    chance = Random(SEED)
    manager = ScriptedManager(run_table(RUNS))
    process = psutil.Process()
    deeds = 0
    with RunBrowser(manager) as browser:
        assert browser.wait(30)
        for _ in range(60):
            act(browser, chance)
        before = used(process)
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            act(browser, chance)
            deeds += 1
        after = used(process)
    record_property("count", deeds)
    record_property("seed", SEED)
    record_property("failures", 0)
    record_property(
        "note", ", ".join(f"{name} {before[name]:,} to {after[name]:,}" for name in before)
    )
    assert deeds > 20
    # A row with a message has two widgets more, its details one: the page's rows at most.
    assert after["widgets"] <= before["widgets"] + 8 * len(browser.rows)
    assert after["threads"] <= before["threads"] + 8  # the pool of deletions fills as it is used
    assert after["files and sockets"] <= before["files and sockets"] + 4
    assert after["bytes"] - before["bytes"] < MOST_GROWTH
