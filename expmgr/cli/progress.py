"""How far a command has come: one line on standard error, where that is a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from expmgr.formatting import format_bytes, format_count

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["StatusLine"]

_EVERY = 0.1  # seconds between two writings
_CLEARED = "\r\x1b[K"


class StatusLine:
    """Written over and over in place, and cleared at the end; nothing where nobody looks.

    Parameters
    ----------
    what
        What is being done, such as ``planning``.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = self.is_shown()
        self._next = 0.0

    @staticmethod
    def is_shown() -> bool:
        """Whether somebody looks."""
        return sys.stderr.isatty()

    def looked_at(self, done: int, total: int) -> None:
        """Tell how many of how many models were looked at."""
        self._write(f"{done:,} of {format_count(total, 'model')}")

    def measured(self, files: int, size: int) -> None:
        """Tell what a listing has seen."""
        self._write(f"{format_count(files, 'file')}, {format_bytes(size)}")

    def _write(self, said: str) -> None:
        if self._shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            sys.stderr.write(f"{_CLEARED}{self._what}: {said}")
            sys.stderr.flush()

    def __enter__(self) -> Self:
        """Return itself; nothing is shown before something is told."""
        return self

    def __exit__(self, *exception: object) -> None:
        if self._shown:
            sys.stderr.write(_CLEARED)
            sys.stderr.flush()
