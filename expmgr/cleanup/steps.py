"""How far the planning of many is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Steps"]

_READINGS = 2
"""Of a run: itself, and its models."""


class Steps:
    """Counts from several threads; tells in order, and all of it only when all is looked at.

    Parameters
    ----------
    total
        How many are planned.
    on_progress
        Told how many are done with, and the total.
    """

    def __init__(self, total: int, on_progress: Callable[[int, int], None] | None) -> None:
        self._total = total
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._read = self._looked_at = self._told = 0

    def read(self, count: int) -> None:
        """Note that something was read of so many more, all at once."""
        self._note(read=count)

    def looked_at(self) -> None:
        """Note that one more is done with."""
        self._note(looked_at=1)

    def _note(self, *, read: int = 0, looked_at: int = 0) -> None:
        if self._on_progress is None:
            return
        with self._lock:  # also while it is told: what is told later is never less
            self._read = min(self._read + read, _READINGS * self._total)
            self._looked_at += looked_at
            parts = (self._read + self._looked_at) // (_READINGS + 1)
            done = max(self._looked_at, parts)
            if done > self._told:
                self._told = done
                self._on_progress(done, self._total)
