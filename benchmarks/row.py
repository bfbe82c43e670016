"""What a case finds: a row of the table, expmgr beside what a user would otherwise run. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.child import Measured

Kind = Literal["beside", "ceiling", "scale", "alone"]
"""``beside`` what a user would otherwise run; a ``ceiling`` that nobody can beat; expmgr itself at
another ``scale``; ``alone`` where nothing else does it."""

ROUND = 10
"""From here on a ratio is told without its decimals."""


@dataclass(frozen=True)
class Side:
    """How one of the two did.

    Attributes
    ----------
    amount
        Seconds, or another unit of the row; the median of the rounds.
    storage, tracking
        Requests in each round; empty where none were counted.
    at_least
        It was not waited for longer.
    """

    amount: float
    storage: tuple[int, ...] = ()
    tracking: tuple[int, ...] = ()
    at_least: bool = False

    @property
    def requests(self) -> str:
        """Requests to storage and to tracking, ``6 + 3``; what differs by round as a range."""
        return " + ".join(_range(made) for made in (self.storage, self.tracking) if made)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    id
        The case's, ``P1``.
    work
        What was done.
    ours, theirs
        The two sides; no other side where nothing else does it.
    beside
        What the other side ran.
    kind
        What the other side is to us.
    unit
        Of both amounts.
    note
        What one has to know.
    """

    id: str
    work: str
    ours: Side
    theirs: Side | None = None
    beside: str = ""
    kind: Kind = "beside"
    unit: str = "s"
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as much the other side takes, None where that is not known."""
        if self.theirs is None or not self.ours.amount or self.ours.at_least:
            return None
        return self.theirs.amount / self.ours.amount

    @property
    def times(self) -> str:
        """The ratio as it is read: ``22``, ``3.1``, ``0.45``, ``> 75``, "" where it is not known.

        Examples
        --------
        >>> Row("P1", "delete", Side(2.0), Side(44.4)).times
        '22'
        """
        if self.ratio is None or self.theirs is None:
            return ""
        known = f"{self.ratio:,.0f}" if self.ratio >= ROUND else f"{self.ratio:.2g}"
        return f"> {known}" if self.theirs.at_least else known


def _range(numbers: tuple[int, ...]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,}..{high:,}"


def side(rounds: list[Measured]) -> Side:
    """Return how one side did in all rounds."""
    return Side(
        statistics.median(one.seconds for one in rounds),
        tuple(one.storage for one in rounds if one.storage is not None),
        tuple(one.tracking for one in rounds if one.tracking is not None),
    )


def in_turn(rounds: int, *sides: Callable[[], Measured]) -> list[list[Measured]]:
    """Measure one after the other, again and again: what slows the machine slows all of them."""
    found: list[list[Measured]] = [[] for _ in sides]
    for _ in range(rounds):
        for measured, measure in zip(found, sides, strict=True):
            measured.append(measure())
    return found
