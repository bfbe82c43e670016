"""What the names of files tell: which directories are models, what are mere reports. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["REPORT_ENDINGS", "is_report", "marked_directories", "outermost"]

_MARKER = "/MLmodel"
REPORT_ENDINGS = frozenset(
    {
        *("csv", "json", "jsonl", "parquet", "tsv", "xlsx"),
        *("gif", "jpeg", "jpg", "pdf", "png", "svg", "webp"),
        *("htm", "html", "ipynb", "log", "md", "txt", "xml", "yaml", "yml"),
    }
)
"""Endings of plots, tables and reports: artifacts of nothing else are no raw checkpoint."""


def is_report(name: str) -> bool:
    """Whether a file is a plot, a table or a report, by its ending."""
    return name.rpartition(".")[2].lower() in REPORT_ENDINGS


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that lie within no other of them, sorted."""
    kept: list[str] = []
    for path in sorted(set(paths), key=lambda path: path.split("/")):
        if not kept or not (path + "/").startswith(kept[-1] + "/"):
            kept.append(path)
    return tuple(kept)


def marked_directories(names: Iterable[str]) -> tuple[str, ...]:
    """Return the outermost directories that hold an ``MLmodel`` file."""
    return outermost(name[: -len(_MARKER)] for name in names if name.endswith(_MARKER))
