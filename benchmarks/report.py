"""The table of what was found, and where it stands in the documentation. Pure but for `write`."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.picture import save_picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.row import Row, Side

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN = "<!-- make bench: from here -->"
END = "<!-- make bench: to here -->"
HEAD = (
    *("", "Work", "expmgr", "beside", "takes", "ratio"),
    *("requests", "its requests", "note"),
)
PICTURE = "![How many times as long the others take](performance.png)"
PACKAGES = ("expmgr", "mlflow", "azure-storage-blob", "pandas", "ipywidgets")


def amount(side: Side | None, unit: str) -> str:
    """Return an amount as it is read: ``1.19 s``, ``18 ms``, ``> 30 s``.

    Examples
    --------
    >>> from benchmarks.row import Side
    >>> amount(Side(0.0184), "s"), amount(Side(30.0, at_least=True), "s"), amount(Side(250), "MB")
    ('18.4 ms', '> 30 s', '250 MB')
    """
    if side is None:
        return ""
    sign = "> " if side.at_least else ""
    if unit == "s" and side.amount < 1:
        return f"{sign}{_three(side.amount * 1000)} ms"
    return f"{sign}{_three(side.amount)} {unit}"


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    rule = tuple("---:" if name in {"expmgr", "takes", "ratio"} else "---" for name in HEAD)
    return "\n".join([_line(HEAD), _line(rule), *lines(rows)])


def lines(rows: Sequence[Row]) -> list[str]:
    """Return the rows as lines of that table."""
    return [
        _line(
            (
                *(row.id, row.work, amount(row.ours, row.unit), row.beside),
                *(amount(row.theirs, row.unit), row.times, row.ours.requests),
                *(row.theirs.requests if row.theirs is not None else "", row.note),
            )
        )
        for row in rows
    ]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def machine() -> str:
    """Return on what it was measured: cores and versions, no names."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    return (
        f"Measured {day} on {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}; {versions}."
    )


def between(document: str, found: str) -> str:
    """Return a document with what was found between its markers.

    Raises
    ------
    ValueError
        It has no such markers.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        message = f"the document has no {BEGIN} and {END}"
        raise ValueError(message)
    return f"{before}{begin}\n\n{found}\n\n{end}{after}"


def write(rows: Sequence[Row], folder: Path) -> None:
    """Write the documentation's page, with its prose, and its picture into a folder."""
    found = f"{machine()}\n\n{PICTURE}\n\n{table(rows)}"
    page = between(DOCUMENT.read_text(encoding="utf-8"), found)
    (folder / DOCUMENT.name).write_text(page, encoding="utf-8")
    save_picture(rows, folder / "performance.png")


def _three(number: float) -> str:
    """Return a number with three digits that count, and no exponent."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"
