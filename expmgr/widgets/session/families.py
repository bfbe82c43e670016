"""Studies: runs with the runs below them, and what is known of all of them together. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from expmgr.catalog.states import MODEL_STATES
from expmgr.widgets.family import Family
from expmgr.widgets.session.query import deletable_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

__all__ = ["Families", "best_of", "family_of"]

_DEEPEST = 50
"""Levels of studies; a longer chain of parents is taken for one that bites its tail."""


@dataclass(frozen=True)
class Families:
    """Which run lies below which.

    Attributes
    ----------
    parents
        For each row of the table the row of its parent, -1 where that is none or not in the table.
    children
        For each parent its rows.
    """

    parents: NDArray[np.intp]
    children: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Self:
        """Return the families of a table with ``run_id`` and ``parent_run_id``."""
        count = len(frame)
        none = np.full(count, -1, dtype=np.intp)
        if not count or "parent_run_id" not in frame or frame["parent_run_id"].isna().all():
            return cls(none)
        place = pd.Series(np.arange(count), index=frame["run_id"])
        found = frame["parent_run_id"].map(place[~place.index.duplicated()])
        parents = found.fillna(-1).to_numpy(dtype=np.intp)
        above = parents.copy()
        for _ in range(_DEEPEST):
            above = np.where(above >= 0, parents[above], -1)
        parents = np.where(above >= 0, -1, parents)
        children: dict[int, list[int]] = {}
        for at in np.flatnonzero(parents >= 0):
            children.setdefault(int(parents[at]), []).append(int(at))
        return cls(parents, children)

    @property
    def nested(self) -> bool:
        """Whether any run lies below another."""
        return bool(self.children)

    def shown_parents(
        self, positions: NDArray[np.intp], matched: NDArray[np.bool_]
    ) -> NDArray[np.intp]:
        """Return under which matching row each row stands, -1 for none."""
        parents = self.parents[positions]
        there = np.where(parents >= 0, matched[parents], False)
        return np.where(there, parents, -1)

    def below(self, at: int, matched: NDArray[np.bool_]) -> list[int]:
        """Return the matching rows below a row, at any depth."""
        found: list[int] = []
        level = [at]
        while level:
            level = [
                child for one in level for child in self.children.get(one, ()) if matched[child]
            ]
            found += level
        return found

    def raised(
        self, values: NDArray[np.float64], positions: NDArray[np.intp], how: str
    ) -> NDArray[np.float64]:
        """Return what rows sort by once those below them count.

        Parameters
        ----------
        values
            A value for each of ``positions``, NaN where it is missing.
        positions
            The rows that match.
        how
            ``sum`` (of a row and all below it), ``max`` or ``min`` (of those below, where a row
            has no value of its own).
        """
        matched = np.zeros(len(self.parents), dtype=bool)
        matched[positions] = True
        start = {"sum": 0.0, "max": -np.inf, "min": np.inf}[how]
        gathered = np.full(len(self.parents), start)
        heard = np.zeros(len(self.parents), dtype=bool)
        gather = {"sum": np.add, "max": np.maximum, "min": np.minimum}[how]
        there = ~np.isnan(values)
        above = self.shown_parents(positions, matched)
        while (above >= 0).any():
            told = there & (above >= 0)
            gather.at(gathered, above[told], values[told])
            heard[above[told]] = True
            up = above >= 0
            above[up] = self.shown_parents(above[up], matched)
        own = np.where(there, values, start if how == "sum" else np.nan)
        below = np.where(heard[positions], gathered[positions], np.nan)
        if how == "sum":
            total = own + np.nan_to_num(below)
            raised: NDArray[np.float64] = np.where(there | heard[positions], total, np.nan)
            return raised
        return np.where(there, own, below)


def best_of(values: pd.Series[Any], *, is_loss: bool) -> float | None:
    """Return the best of some values, None where none counts."""
    numbers = pd.to_numeric(values, errors="coerce").dropna()
    if numbers.empty:
        return None
    return float(numbers.min() if is_loss else numbers.max())


def family_of(
    frame: pd.DataFrame,
    at: int,
    below: Sequence[int],
    metric: str,
    *,
    counts: Sequence[int],
    is_loss: bool,
) -> Family:
    """Return what a study's line says of the run and all below it.

    Parameters
    ----------
    metric
        Column of the main metric.
    counts
        How many models each of these rows holds where it holds any.
    """
    wanted = ["model", "files", "bytes", "protected_by", "is_best", metric]
    rows = frame[[name for name in wanted if name in frame]].iloc[[at, *below]]
    there = rows["model"].isin(MODEL_STATES).to_numpy(dtype=bool)
    held = rows["protected_by"].fillna("").astype(bool).to_numpy(dtype=bool) & there
    each = np.asarray(counts, dtype=np.intp)
    sums = {
        name: None if rows[name].isna().all() else int(rows[name].sum())
        for name in ("files", "bytes")
    }
    return Family(
        runs=len(below),
        models=int(each[there].sum()),
        deletable=int(each[deletable_mask(rows)].sum()),
        protected=int(each[held].sum()),
        files=sums["files"],
        bytes=sums["bytes"],
        unmeasured=int((there & rows["bytes"].isna().to_numpy(dtype=bool)).sum()),
        value=best_of(rows[metric], is_loss=is_loss) if metric in rows else None,
        best=bool(rows["is_best"].astype(bool).any()),
    )
