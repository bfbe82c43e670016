"""What the run browser costs: widget models, bytes to the page, first row, page flip.

Usage: python benchmarks/browser.py [--no-chromium | --only-chromium]

Each number stands beside the same of a naive table with one widget row a run (five labels and a
button), as far as that survives. The page flip is measured in JupyterLab in a headless Chromium,
from the click until every row of the page shows another run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

import comm  # noqa: E402
import ipywidgets  # noqa: E402
from comm.base_comm import BaseComm  # noqa: E402
from scripted_manager import ScriptedManager, run_table  # noqa: E402

from expmgr.widgets import RunBrowser  # noqa: E402

FLIPS = 21
NAIVE_LIMIT = 10_000
SETUP = """
from scripted_manager import ScriptedManager, run_table
from expmgr.widgets import RunBrowser
import ipywidgets as w
"""
FLIP = """
async ([selector, rows]) => {
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


class CountingComm(BaseComm):
    """Counts what would go to the page."""

    sent = 0
    messages = 0

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):  # noqa: ARG002, D102
        content = {"data": data or {}, "comm_id": self.comm_id, **keys}
        CountingComm.sent += len(json.dumps(content, default=str).encode())
        CountingComm.messages += 1


def _count(**keywords):
    return CountingComm(**keywords)


def naive(table):
    """Return a table with one widget row a run."""
    rows = []
    for run in table.to_dict("records"):
        labels = [
            ipywidgets.Label(str(run[key]))
            for key in ("run_name", "experiment_name", "status", "metrics.accuracy", "bytes")
        ]
        rows.append(ipywidgets.HBox([*labels, ipywidgets.Button(description="Delete")]))
    return ipywidgets.VBox(rows)


def models():
    return len(ipywidgets.widgets.widget._instances)


def kernel_side(count):
    """Measure without a page: models, bytes, first row, everything, flips, callbacks."""
    manager = ScriptedManager(run_table(count))
    before = models()
    CountingComm.sent = CountingComm.messages = 0
    began = time.perf_counter()
    browser = RunBrowser(manager, measure=False)
    while not browser.rows:
        browser.wait(0.001)
    first = time.perf_counter() - began
    browser.wait(120)
    everything = time.perf_counter() - began
    made, sent = models() - before, CountingComm.sent
    flips, callbacks, messages = [], [], CountingComm.messages
    for _ in range(min(FLIPS, max(1, count // 25 - 1))):
        began = time.perf_counter()
        browser.footer.next.click()
        callbacks.append(time.perf_counter() - began)
        browser.wait(60)
        flips.append(time.perf_counter() - began)
    messages = (CountingComm.messages - messages) / len(flips)
    sort = time.perf_counter()
    browser._table.headers[0].click()
    browser.wait(60)
    sort = time.perf_counter() - sort
    browser.close()
    print(
        f"browser {count:>7,} runs: {made:4} models, {sent / 1e3:8,.0f} KB sent, "
        f"first row {first * 1e3:5.0f} ms, all {everything * 1e3:6.0f} ms, "
        f"flip {statistics.median(flips) * 1e3:4.0f} ms ({messages:.0f} messages), "
        f"callback at most {max(callbacks) * 1e3:.1f} ms, sort by name {sort * 1e3:.0f} ms"
    )


def naive_kernel_side(count):
    table = run_table(count)
    before = models()
    CountingComm.sent = 0
    began = time.perf_counter()
    naive(table)
    spent = time.perf_counter() - began
    print(
        f"naive   {count:>7,} runs: {models() - before:4} models, "
        f"{CountingComm.sent / 1e3:8,.0f} KB sent, all rows at once in {spent * 1e3:.0f} ms"
    )
    ipywidgets.Widget.close_all()


def in_chromium(counts):
    """Measure in JupyterLab: from the cell to the first row, and the page flip."""
    from jupyter_driver import chromium_browser, open_notebook, write_notebook
    from playwright.sync_api import Error as PageError

    cells = {
        "browser": "RunBrowser(ScriptedManager(run_table({count})), measure=False)",
        "naive": "from browser import naive\nnaive(run_table({count}))",
    }
    ready = {"browser": ".xm-row .xm-cell a", "naive": ".widget-hbox .widget-button"}
    with chromium_browser() as chromium, tempfile.TemporaryDirectory() as folder:
        for count in counts:
            for kind, cell in cells.items():
                if kind == "naive" and count > 1_000:
                    print(f"{kind:7} {count:>7,} runs in JupyterLab: not tried, see 1,000 runs")
                    continue
                place = Path(folder) / f"{kind}-{count}"
                notebook = write_notebook(place / "x.ipynb", [SETUP, cell.format(count=count)])
                paths = ":".join(str(REPOSITORY / name) for name in ("", "tests", "benchmarks"))
                with open_notebook(
                    chromium, notebook, place / "state", env={"PYTHONPATH": paths}, height=1100
                ) as opened:
                    opened.page.evaluate("() => 0")
                    began = time.perf_counter()
                    opened.run_all()
                    try:
                        opened.page.locator(ready[kind]).first.wait_for(timeout=60_000)
                    except PageError:
                        print(f"{kind:7} {count:>7,} runs in JupyterLab: nothing after 60 s")
                        continue
                    shown = time.perf_counter() - began
                    flips = []
                    if kind == "browser" and count > 50:
                        opened.page.wait_for_function(
                            "() => /runs/.test(document.querySelector('.xm-totals').textContent)"
                        )
                        opened.page.wait_for_timeout(2000)
                        flips = [opened.page.evaluate(FLIP, ["", 25]) for _ in range(FLIPS)]
                    said = f"cells run and first row shown in {shown:.2f} s"
                    if flips:
                        said += (
                            f", page flip median {statistics.median(flips):.0f} ms, "
                            f"worst {max(flips):.0f} ms"
                        )
                    print(f"{kind:7} {count:>7,} runs in JupyterLab: {said}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--no-chromium", action="store_true", help="the kernel's side only")
    parser.add_argument("--only-chromium", action="store_true", help="the page's side only")
    options = parser.parse_args()
    if not options.only_chromium:
        comm.create_comm = _count
        for count in (50, 10_000, 100_000):
            kernel_side(count)
            if count <= NAIVE_LIMIT:
                naive_kernel_side(count)
    if not options.no_chromium:
        in_chromium((50, 1_000, 10_000, 100_000))


if __name__ == "__main__":
    main()
