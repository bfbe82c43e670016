"""P5, the page's side: the browser in JupyterLab in a headless Chromium, where there is one.

The first row is timed from running the cells until it is to be seen, a page flip from the click
until every row of the page shows another run.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.child import WorkFailedError
from benchmarks.row import Row, Side

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parent.parent
FLIPS = 21
SETUP = """
from scripted_manager import ScriptedManager, run_table
from benchmarks.browser import naive
from expmgr.widgets import RunBrowser
"""
CELLS = {
    "browser": "RunBrowser(ScriptedManager(run_table({count})), measure=False)",
    "naive": "naive(run_table({count}))",
}
READY = {"browser": ".xm-row .xm-cell a", "naive": ".widget-hbox .widget-button"}
FLIP = """
async () => {
    const next = [...document.querySelectorAll('.xm-root button')]
        .find(button => button.textContent.trim() === 'Next');
    const names = () => [...document.querySelectorAll('.xm-row .xm-cell:first-child')]
        .filter(cell => cell.offsetParent).map(cell => cell.textContent);
    const before = names();
    const began = performance.now();
    next.click();
    while (true) {
        await new Promise(requestAnimationFrame);
        const now = names();
        if (now.length === before.length && now.every((name, at) => name !== before[at])) {
            return performance.now() - began;
        }
        if (performance.now() - began > 20000) return -1;
    }
}
"""


def page_rows() -> Iterator[Row]:
    """Return what the page's side costs; nothing where no Chromium is found."""
    from jupyter_driver import chromium_browser, find_chromium

    if find_chromium() is None:
        print("No Chromium is found: P5 without its page", file=sys.stderr)
        return
    with chromium_browser() as chromium, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        few, few_flip = _in_jupyterlab(chromium, place, "browser", 1_000)
        naive, _ = _in_jupyterlab(chromium, place, "naive", 1_000)
        many, many_flip = _in_jupyterlab(chromium, place, "browser", 100_000)
    yield Row(
        "P5",
        "cells run and first row seen in JupyterLab, 1,000 runs",
        few,
        naive,
        "five labels and a button a run",
    )
    for work, ours, theirs in (
        ("cells run and first row seen in JupyterLab, 100,000 runs", many, few),
        ("page flip seen in JupyterLab, 100,000 runs", many_flip, few_flip),
    ):
        yield Row("P5", work, ours, theirs, "the same of 1,000", kind="scale")


def _in_jupyterlab(chromium, folder: Path, kind: str, count: int) -> tuple[Side, Side]:
    """Return seconds until the first row was seen, and of a page flip."""
    from jupyter_driver import open_notebook, write_notebook
    from playwright.sync_api import Error as PageError

    place = folder / f"{kind}-{count}"
    notebook = write_notebook(place / "x.ipynb", [SETUP, CELLS[kind].format(count=count)])
    paths = ":".join(str(REPOSITORY / name) for name in ("", "tests"))
    with open_notebook(
        chromium, notebook, place / "state", env={"PYTHONPATH": paths}, height=1100
    ) as opened:
        opened.page.evaluate("() => 0")
        began = time.perf_counter()
        opened.run_all()
        at_least = False
        try:
            opened.page.locator(READY[kind]).first.wait_for(timeout=60_000)
        except PageError:
            at_least = True
        first = Side(time.perf_counter() - began, at_least=at_least)
        if kind == "naive":
            return first, Side(0.0)
        opened.page.wait_for_function(
            "() => /runs/.test(document.querySelector('.xm-totals').textContent)"
        )
        opened.page.wait_for_timeout(2000)
        flips = [opened.page.evaluate(FLIP) for _ in range(FLIPS)]
        if min(flips) < 0:
            raise WorkFailedError(f"a page of {count:,} runs was never flipped")
        return first, Side(statistics.median(flips) / 1000)
