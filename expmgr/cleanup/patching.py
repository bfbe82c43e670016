"""Puts rows that were made anew into a table. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["MODEL_CELLS", "in_order", "patched"]

MODEL_CELLS = ("model", "files", "bytes", "is_best", "protected_by", "goes")
"""What a run's row shows of its models."""

_GROUPS = ("metrics.", "params.", "tags.")


def patched(
    before: pd.DataFrame,
    rows: pd.DataFrame,
    *,
    key: str,
    gone: Collection[str] = (),
    cells: Collection[str] = (),
) -> pd.DataFrame:
    """Return a table with some rows made anew, in front; the others stay as they were.

    Parameters
    ----------
    rows
        Those rows, known ones and new ones.
    key
        The column that names a row.
    gone
        Rows that are no more.
    cells
        Known rows of which only `MODEL_CELLS` are told anew.
    """
    names = before[key].to_numpy(dtype=object)
    place = {name: at for at, name in enumerate(names)}
    told = rows[key].to_numpy(dtype=object)
    some = np.fromiter((name in cells and name in place for name in told), bool, len(told))
    partly = rows[some]
    whole = rows[~some]
    out = np.ones(len(names), dtype=bool)
    out[[place[name] for name in (*gone, *told) if name in place]] = False
    parts = [whole, before[out]]
    if len(partly):
        known = before.take([place[name] for name in partly[key]]).reset_index(drop=True)
        cells_anew = partly[list(MODEL_CELLS)].reset_index(drop=True)
        parts.insert(1, known.assign(**{name: cells_anew[name] for name in MODEL_CELLS}))
    parts = [part for part in parts if len(part)]
    if not parts:
        return before[out]
    columns = _columns(parts)
    return pd.concat([_widened(part, columns) for part in parts], ignore_index=True)


def _columns(parts: Collection[pd.DataFrame]) -> list[str]:
    """Return the columns of all, the groups behind the others and sorted, as a reading has them."""
    every = dict.fromkeys(str(name) for part in parts for name in part.columns)
    plain = [name for name in every if not name.startswith(_GROUPS)]
    grouped = [name for name in every if name.startswith(_GROUPS)]
    return [*plain, *(n for group in _GROUPS for n in sorted(grouped) if n.startswith(group))]


def _widened(part: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return a part with all columns, the missing values as a reading writes them."""
    missing = [name for name in columns if name not in part]
    if not missing:
        return part if list(part.columns) == columns else part[columns]
    filled: dict[str, Any] = {
        name: pd.Series(np.nan, index=part.index)
        if name.startswith("metrics.")
        else pd.Series([None] * len(part), index=part.index, dtype="object")
        for name in missing
    }
    return pd.concat([part, pd.DataFrame(filled)], axis=1)[columns]


def in_order(table: pd.DataFrame, time: str, key: str) -> pd.DataFrame:
    """Return a table newest first, those of equal time by their names, as a reading has it."""
    if table.empty:
        return table.reset_index(drop=True)
    when = table[time].astype("int64").to_numpy()
    when = np.where(table[time].isna().to_numpy(), np.iinfo(np.int64).min + 1, when)
    order = np.argsort(-when, kind="stable")
    in_time = when[order]
    if (in_time[1:] == in_time[:-1]).any():
        names = table[key].to_numpy(dtype=object)
        order = np.asarray(sorted(range(len(table)), key=lambda at: (-int(when[at]), names[at])))
    if not (order[1:] > order[:-1]).all():
        table = table.take(order)
    return table.reset_index(drop=True)
