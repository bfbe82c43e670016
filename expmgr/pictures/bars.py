"""Bytes by experiment as stacked bars: the largest, and one for all others. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from expmgr.catalog.shares import SHARES
from expmgr.formatting import format_count

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Bars", "bars_of"]

_MOST_BARS = 15
"""More names than that do not stand beside one another."""


@dataclass(frozen=True)
class Bars:
    """What `plot_storage` shows.

    Attributes
    ----------
    names
        Of the bars, the largest first; the last may stand for all others.
    shares
        What bytes are to their number in each bar; only what there is. Together they are all that
        was measured.
    experiments
        How many there are.
    """

    names: tuple[str, ...]
    shares: dict[str, tuple[int, ...]]
    experiments: int

    @property
    def bytes(self) -> int:
        """All of it."""
        return sum(map(sum, self.shares.values()))

    @property
    def sums(self) -> tuple[int, ...]:
        """Bytes of each bar."""
        return tuple(map(sum, zip(*self.shares.values(), strict=True)))


def bars_of(by_experiment: pd.DataFrame) -> Bars:
    """Return the bars of what `expmgr.catalog.shares.by_experiment` returned."""
    named = by_experiment[by_experiment["experiment_id"] != ""]
    rest = by_experiment[by_experiment["experiment_id"] == ""]
    shown, more = named.iloc[:_MOST_BARS], named.iloc[_MOST_BARS:]
    rows = [(str(row["experiment_name"]), row) for _, row in shown.iterrows()]
    if len(more):
        rows.append((f"{format_count(len(more), 'other experiment')}", more[list(SHARES)].sum()))
    if len(rest):
        rows.append(("in no experiment", rest[list(SHARES)].sum()))
    return Bars(
        tuple(name for name, _ in rows),
        {
            share: numbers
            for share in SHARES
            if any(numbers := tuple(int(row[share]) for _, row in rows))
        },
        len(named),
    )
