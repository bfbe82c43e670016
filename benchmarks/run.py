"""The cases, and one run of them."""

from __future__ import annotations

import sys
import time
import traceback
from typing import TYPE_CHECKING

from benchmarks import (
    browser,
    delete_many,
    delete_one,
    first_word,
    imports,
    inventory,
    plan,
    reading,
    report,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from benchmarks.bench import Bench
    from benchmarks.row import Row

_ALL: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "P1": delete_one.rows,
    "P1c": delete_many.rows,
    "P1d": plan.rows,
    "P2": browser.opening_rows,
    "P5": browser.click_rows,
    "P7": imports.rows,
    "P8": first_word.rows,
    "P10": inventory.rows,
    **reading.CASES,
}


def _place(name: str) -> tuple[int, str]:
    """Return where a case stands: P1, P1c, P2, ..., P10."""
    number = name.lstrip("P").rstrip("abcdefgh")
    return int(number), name


CASES = {name: _ALL[name] for name in sorted(_ALL, key=_place)}
"""In the table's order."""


def run(bench: Bench, wanted: Iterable[str] = CASES) -> tuple[list[Row], list[str]]:
    """Return what the cases found, and the names of those that failed, each told on stderr."""
    rows: list[Row] = []
    failed = []
    for name in wanted:
        began = time.monotonic()
        found: list[Row] = []
        try:
            found += CASES[name](bench)
        except Exception:  # noqa: BLE001 - one bad case does not end an hour's others
            traceback.print_exc()
            failed.append(name)
        rows += found
        print(f"{name} took {time.monotonic() - began:.0f} s", file=sys.stderr)
        print(*report.lines(found), sep="\n", file=sys.stderr, flush=True)
    return rows, failed
