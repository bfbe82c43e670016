"""P2 and P5, the kernel's side of the run browser: first row, page flip, sort, search.

P2 is the whole way, from an interpreter that has imported nothing to the rows of a real database;
P5 what a click costs once the table is there. Each stands beside the same in a small table, since
size is what must not be felt; and one page beside a naive table with a row of widgets a run.
"""

from __future__ import annotations

import json
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.browser_page import page_rows
from benchmarks.child import WorkFailedError, measure
from benchmarks.fill import fill_runs
from benchmarks.row import Row, Side, side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from benchmarks.bench import Bench
    from benchmarks.child import Measured
    from benchmarks.stage import Place

FLIPS = 21
SMALL = 50
PATIENCE = 300.0
"""Seconds after which a first row is no longer waited for."""


def opened(place: Place) -> Callable[[], dict[str, float]]:
    """Return what opens the browser, and tells when the first row and when everything was there."""

    def work() -> dict[str, float]:
        began = time.perf_counter()
        from expmgr.widgets import RunBrowser

        browser = RunBrowser(place.manager(), measure=False)
        while not browser.rows:
            browser.wait(0.001)
            if time.perf_counter() - began > PATIENCE:
                raise WorkFailedError(f"the browser shows no row: {browser.notice.text}")
        first = time.perf_counter() - began
        longest = 0.0
        while not browser.wait(0.02):
            asked = time.perf_counter()
            _ = browser.rows  # as a click would, it goes through the loop
            longest = max(longest, time.perf_counter() - asked)
        everything = time.perf_counter() - began
        found = len(browser.shown)
        browser.close()
        return {"first": first, "everything": everything, "longest": longest, "rows": found}

    return work


def clicked(_: None, count: int) -> Callable[[], dict[str, float]]:
    """Return what flips pages, sorts and searches, and tells what each took in seconds."""
    from scripted_manager import ScriptedManager, run_table

    from expmgr.widgets import RunBrowser

    sent = _count_messages()
    browser = RunBrowser(ScriptedManager(run_table(count)), measure=False)
    browser.wait()

    def timed(click: Callable[[], object]) -> float:
        began = time.perf_counter()
        click()
        browser.wait()
        return time.perf_counter() - began

    def work() -> dict[str, float]:
        before = sent["messages"]
        flips = [timed(browser.footer.next.click), timed(browser.footer.previous.click)]
        flips += [timed(browser.footer.next.click) for _ in range(min(FLIPS, count // 25 - 1))]
        return {
            "flip": statistics.median(flips),
            "messages": (sent["messages"] - before) / len(flips),
            "sort by name": timed(lambda: browser.sort_by("run_name")),
            "first search": timed(lambda: browser.search(f"spry {count - 3}")),
            "second search": timed(lambda: browser.search(f"spry {count - 4}")),
        }

    return work


def shown(_: None, count: int, kind: str) -> Callable[[], dict[str, float]]:
    """Return what shows a table that was read, and tells widget models and bytes to the page."""
    import ipywidgets
    from scripted_manager import ScriptedManager, run_table

    from expmgr.widgets import RunBrowser

    sent = _count_messages()
    table = run_table(count)
    manager = ScriptedManager(table)

    def work() -> dict[str, float]:
        if kind == "naive":
            naive(table)
        else:
            RunBrowser(manager, measure=False).wait()
        models = len(ipywidgets.widgets.widget._instances)
        return {"models": models, "bytes": sent["bytes"]}

    return work


def naive(table: pd.DataFrame) -> Any:
    """Return a table with one widget row a run."""
    import ipywidgets

    rows = []
    for run in table.to_dict("records"):
        labels = [
            ipywidgets.Label(str(run[key]))
            for key in ("run_name", "experiment_name", "status", "metrics.accuracy", "bytes")
        ]
        rows.append(ipywidgets.HBox([*labels, ipywidgets.Button(description="Delete")]))
    return ipywidgets.VBox(rows)


def _count_messages() -> dict[str, int]:
    """Count from now on what would go to the page, in this process."""
    import comm
    from comm.base_comm import BaseComm

    sent = {"messages": 0, "bytes": 0}

    class CountingComm(BaseComm):
        def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):  # noqa: ARG002
            content = {"data": data or {}, "comm_id": self.comm_id, **keys}
            sent["bytes"] += len(json.dumps(content, default=str).encode())
            sent["messages"] += 1

    comm.create_comm = CountingComm
    return sent


def opening_rows(bench: Bench) -> Iterator[Row]:
    """Return the rows of P2."""
    answers: dict[int, list[Measured]] = {}
    for count in bench.size((SMALL, 10_000, 100_000), (SMALL, 500)):
        with bench.stage() as stage:
            fill_runs(stage.near, count, keys=3)
            work = partial(measure, opened, stage.place, fresh=not bench.quick)
            (answers[count],) = bench.in_turn(work, rounds=1 if count > 10_000 else 3)
        if answers[count][-1].answer["rows"] != count:
            raise WorkFailedError(f"the browser shows {answers[count][-1].answer} of {count} runs")
    small = _part(answers[SMALL], "first")
    for count, rounds in answers.items():
        ours = _part(rounds, "first")
        imports = "" if bench.quick else ", imports included"
        work = f"first row of {count:,} runs{imports}, SQLite"
        if count == SMALL:
            yield Row("P2", work, ours, kind="alone")
        else:
            yield Row("P2", work, ours, small, f"the same of {SMALL}", kind="scale")
    largest = max(answers)
    longest = _part(answers[largest], "longest").amount
    yield Row(
        "P2",
        f"the whole table of {largest:,} runs behind it",
        _part(answers[largest], "everything"),
        kind="alone",
        note=f"meanwhile the page answers within {longest:.2f} s",
    )


def click_rows(bench: Bench) -> Iterator[Row]:
    """Return the rows of P5."""
    count = bench.size(100_000, 500)
    many, few = bench.in_turn(
        lambda: measure(clicked, None, count), lambda: measure(clicked, None, SMALL)
    )
    messages = many[-1].answer["messages"]
    for name in ("flip", "sort by name", "first search", "second search"):
        yield Row(
            "P5",
            f"page {name}, {count:,} runs" if name == "flip" else f"{name}, {count:,} runs",
            _part(many, name),
            _part(few, name),
            f"the same of {SMALL}",
            kind="scale",
            note=f"{messages:.0f} messages to the page" if name == "flip" else "",
        )
    count = bench.size(10_000, 200)
    ours, theirs = bench.in_turn(
        lambda: measure(shown, None, count, "browser"),
        lambda: measure(shown, None, count, "naive"),
        rounds=1,
    )
    sizes = ", ".join(
        f"{who} {found[-1].answer['models']:,} widget models and "
        f"{found[-1].answer['bytes'] / 1e6:,.1f} MB to the page"
        for who, found in (("ours", ours), ("theirs", theirs))
    )
    work = f"widgets for a table of {count:,} runs"
    beside = "five labels and a button a run"
    yield Row("P5", work, side(ours), side(theirs), beside, note=sizes)
    if not bench.quick:
        yield from page_rows()


def _part(rounds: list[Measured], name: str) -> Side:
    storage = tuple(one.storage for one in rounds if one.storage is not None)
    tracking = tuple(one.tracking for one in rounds if one.tracking is not None)
    return Side(statistics.median(one.answer[name] for one in rounds), storage, tracking)
