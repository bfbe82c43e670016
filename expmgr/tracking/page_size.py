"""How many rows to ask for at once: few first, more while pages come quickly and small. Pure.

MLflow pages by offset, so every page repeats the work of those before it (100,000 runs on SQLite:
71 s at 1,000 a page, 37 s at 50,000 [measured]). But a page costs the server memory, must arrive
before somebody between loses patience, and carries all that its rows hold: every value ever logged
for a LoggedModel among it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PageSize"]

FIRST = 1_000
"""Rows of the first page: the client's default for runs (``SEARCH_MAX_RESULTS_DEFAULT``)."""
MOST = 50_000
"""What MLflow's server allows (``SEARCH_MAX_RESULTS_THRESHOLD``)."""
MOST_HERE = 5_000
"""Where the database is read in this process, which holds an object of every row of a page."""
LEAST = 100
SECONDS = 8.0
"""That a page should take at most; proxies commonly wait for 30 to 60 s."""
VALUES = 100_000
"""Metrics, params and tags of a page at most, some 10 MB of JSON."""
GROWTH = 4


@dataclass
class PageSize:
    """The size of the next page.

    Attributes
    ----------
    rows
        To ask for next.
    most
        What was not refused.
    """

    rows: int
    most: int
    _worked: int = 0

    def arrived(self, seconds: float, values: int) -> None:
        """Note how a page came: after how long, and with how many metrics, params and tags."""
        self._worked = self.rows
        room = min(GROWTH, SECONDS / max(seconds, 1e-3), VALUES / max(values, 1))
        self.rows = min(self.most, max(LEAST, int(self.rows * room)))

    def refused(self) -> bool:
        """Note that a page did not come; returns whether a smaller one, as came before, may."""
        if not 0 < self._worked < self.rows:
            return False
        self.rows = self.most = self._worked
        return True
