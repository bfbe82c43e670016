"""Which lines the table shows and in what order. Pure: DataFrames in, positions out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from expmgr.catalog.states import DELETABLE_STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from numpy.typing import NDArray

    from expmgr.widgets.session.families import Families

    Positions = NDArray[np.intp]

__all__ = [
    "OWNER",
    "SUMMED",
    "WHOLE",
    "Query",
    "Totals",
    "but_the_best",
    "deletable_mask",
    "has_new_best",
    "haystack",
    "matching",
    "merge",
    "sort_key",
    "totals",
]

WHOLE = "stored"
"""The state of a model that was seen, or is taken, to be whole; others never outrank it."""
SUMMED = ("bytes", "files")
"""Columns of which a study holds the sum."""
OWNER = "tags.mlflow.user"
"""Column with the user name that MLflow writes down for a run."""
_SEARCHED = ("run_name", "run_id", "experiment_name", "status", "model", "protected_by")


@dataclass(frozen=True)
class Query:
    """What the person asked to see.

    Attributes
    ----------
    search
        Words that must all appear, in any column, in any case.
    experiment, status, model, owner
        Exact values; empty means any. ``model`` may be ``deletable``; an owner is MLflow's user.
    sort_by
        A column of the table or ``duration``.
    ascending
        The order; what is missing comes last either way.
    flat
        Whether runs stand in one list, children beside their parents.
    """

    search: str = ""
    experiment: str = ""
    status: str = ""
    model: str = ""
    owner: str = ""
    sort_by: str = "start_time"
    ascending: bool = False
    flat: bool = False

    def filters(self) -> dict[str, str]:
        """Return what leaves runs out, by name."""
        names = ("search", "experiment", "status", "model", "owner")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


@dataclass(frozen=True)
class Totals:
    """The footer's numbers. Bytes count measured lines only; ``measured`` says how many.

    ``models`` counts those without a run, which ``runs`` leaves out.
    """

    runs: int
    shown: int
    bytes: int
    measured: int
    selected: int
    selected_bytes: int
    selected_measured: int
    all_bytes: int
    models: int = 0


def _plain(values: pd.Series) -> list[Any]:
    """Return the values of a column, None for those that are missing.

    To walk a column of texts costs a microsecond and more a row, as pandas keeps them; as Python's
    own objects a tenth of that [measured].
    """
    objects = values.astype(object)
    return objects.where(values.notna().to_numpy(dtype=bool), None).tolist()


def _is_number(text: str) -> bool:
    return not pd.isna(pd.to_numeric(pd.Series([text], dtype=object), errors="coerce")[0])


def sort_key(frame: pd.DataFrame, column: str) -> pd.Series:
    """Return the values to sort by, with everything missing as NaN.

    Texts that are all numbers (params are texts in MLflow) sort as numbers; other texts sort
    without regard to case.

    Raises
    ------
    KeyError
        The table has no such column.
    """
    if column == "duration":
        begin, end = frame.get("start_time"), frame.get("end_time")
        if begin is None or end is None:
            return pd.Series(np.nan, index=frame.index)
        return (pd.to_datetime(end, utc=True) - pd.to_datetime(begin, utc=True)).dt.total_seconds()
    values = frame[column]
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_numeric_dtype(values.dtype):
        return values
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return values
    texts = [None if value == "" else value for value in _plain(values)]
    first = next((value for value in texts if value is not None), None)
    if first is None or not isinstance(first, str) or _is_number(first):
        numbers = pd.to_numeric(pd.Series(texts, index=frame.index, dtype=object), errors="coerce")
        missing = np.fromiter((value is None for value in texts), bool, len(texts))
        if not (numbers.isna().to_numpy() & ~missing).any():
            return numbers
    return pd.Series(list(map(_folded, texts)), index=frame.index, dtype=object)


def _folded(value: Any) -> str | None:
    if isinstance(value, str):
        return value.casefold()
    if value is None:
        return None
    return (
        "; ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    ).casefold()


def haystack(frame: pd.DataFrame) -> list[str]:
    """Return for each run the text that a search looks into, folded to one case.

    MLflow's own tags (``tags.mlflow.*``) and our journal are left out, and each value is cut at
    500 characters.
    """
    columns = [
        column
        for column in frame.columns
        if column in _SEARCHED
        or str(column).startswith("params.")
        or (
            str(column).startswith("tags.")
            and not str(column).startswith(("tags.mlflow.", "tags.expmgr.deletion."))
        )
    ]
    parts = [
        ["" if value is None else str(value)[:500] for value in _plain(frame[column])]
        for column in columns
    ]
    return ["\n".join(row).casefold() for row in zip(*parts, strict=True)] if parts else []


def deletable_mask(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which runs offer a delete."""
    if "model" not in frame:
        return np.zeros(len(frame), dtype=bool)
    mask = frame["model"].isin(DELETABLE_STATES).to_numpy(dtype=bool)
    if "protected_by" in frame:
        mask = mask & ~frame["protected_by"].fillna("").astype(bool).to_numpy(dtype=bool)
    if "alone" in frame:  # a model that goes with its run only
        mask = mask & frame["alone"].fillna(True).astype(bool).to_numpy(dtype=bool)
    return mask


def matching(
    frame: pd.DataFrame,
    query: Query,
    texts: Callable[[], list[str]] | None = None,
    families: Families | None = None,
) -> Positions:
    """Return the positions of the runs that match, in order.

    Parameters
    ----------
    frame
        All runs.
    query
        What to show.
    texts
        Returns :func:`haystack` of the frame; asked only when there is something to search, so
        that a caller may keep it.
    families
        Which run lies below which: a study sorts by what it holds, its size by the sum, another
        number by the best below it where it has none. None sorts each by its own.
    """
    mask = np.ones(len(frame), dtype=bool)
    for column, wanted in (
        ("experiment_name", query.experiment),
        ("status", query.status),
        (OWNER, query.owner),
    ):
        if wanted:
            held = frame[column] == wanted if column in frame else pd.Series(False, frame.index)
            mask &= held.fillna(False).to_numpy(dtype=bool)
    if query.model == "deletable":
        mask &= deletable_mask(frame)
    elif query.model and "model" in frame:
        mask &= (frame["model"] == query.model).fillna(False).to_numpy(dtype=bool)
    words = query.search.casefold().split()
    if words and len(frame):
        lines = texts() if texts is not None else haystack(frame)
        found = [all(word in line for word in words) for line in lines]
        mask &= np.asarray(found, dtype=bool)
    positions = np.flatnonzero(mask)
    if not len(positions) or (query.sort_by != "duration" and query.sort_by not in frame):
        return positions
    needed = ["start_time", "end_time"] if query.sort_by == "duration" else [query.sort_by]
    part = frame[[name for name in needed if name in frame]].iloc[positions]
    keys = sort_key(part.reset_index(drop=True), query.sort_by)
    number = pd.api.types.is_numeric_dtype(keys.dtype) and not pd.api.types.is_bool_dtype(keys)
    if families is not None and families.nested and number:
        how = "sum" if query.sort_by in SUMMED else "min" if query.ascending else "max"
        values = keys.to_numpy(dtype=float, na_value=np.nan)
        keys = pd.Series(families.raised(values, positions, how))
    try:
        order = keys.sort_values(ascending=query.ascending, na_position="last", kind="stable").index
    except TypeError:  # texts and numbers mixed
        keys = keys.map(lambda value: None if pd.isna(value) else str(value))
        order = keys.sort_values(ascending=query.ascending, na_position="last", kind="stable").index
    shown: Positions = positions[order.to_numpy()]
    return shown


def totals(frame: pd.DataFrame, positions: Positions, selected: Collection[str]) -> Totals:
    """Return the footer's numbers for the runs shown and the runs selected."""
    sizes = (
        pd.to_numeric(frame["bytes"], errors="coerce")
        if "bytes" in frame
        else pd.Series(np.nan, index=frame.index)
    ).to_numpy(dtype=float, na_value=np.nan)
    shown = sizes[positions]
    ticked = (
        frame["run_id"].isin(list(selected)).to_numpy(dtype=bool)
        if len(frame) and selected
        else np.zeros(len(frame), dtype=bool)
    )
    return Totals(
        runs=len(frame),
        shown=len(positions),
        bytes=int(np.nansum(shown)) if len(shown) else 0,
        measured=int(np.count_nonzero(~np.isnan(shown))),
        selected=int(np.count_nonzero(ticked)),
        selected_bytes=int(np.nansum(sizes[ticked])) if ticked.any() else 0,
        selected_measured=int(np.count_nonzero(~np.isnan(sizes[ticked]))),
        all_bytes=int(np.nansum(sizes)) if len(sizes) else 0,
    )


def but_the_best(
    frame: pd.DataFrame, positions: Positions, metric: str, keep: int, *, is_loss: bool
) -> list[str]:
    """Return the deletable runs among those shown, but for the best ``keep`` of each experiment.

    The rank counts every run shown whose model is there and whole, protected ones too. Runs without
    the metric, and those of which only half a model or raw files are there, are never called worse
    than others: they are not returned.
    """
    column = f"metrics.{metric}"
    shown = frame.iloc[positions]
    if column not in shown or "model" not in shown:
        return []
    scored = shown[shown[column].notna() & (shown["model"] == WHOLE)]
    ranked = scored.sort_values(column, ascending=is_loss, kind="stable")
    rank = ranked.groupby("experiment_id", sort=False).cumcount().to_numpy()
    worse = ranked.loc[(rank >= keep) & deletable_mask(ranked), "run_id"]
    return [str(run_id) for run_id in worse]


def has_new_best(old: pd.DataFrame, new: pd.DataFrame) -> bool:
    """Tell whether the new rows hold a best run that was not, so that others may no longer be."""
    if "is_best" not in new or "is_best" not in old:
        return False
    best = set(old.loc[old["is_best"].astype(bool), "run_id"])
    return not best.issuperset(new.loc[new["is_best"].astype(bool), "run_id"])


def merge(old: pd.DataFrame, new: pd.DataFrame, key: str = "run_id") -> pd.DataFrame:
    """Return the old table with the rows of the new one replaced or added in front."""
    if old.empty:
        return new.reset_index(drop=True)
    if new.empty:
        return old
    kept = old[~old[key].isin(new[key])]
    return pd.concat([new, kept], ignore_index=True) if len(kept) else new.reset_index(drop=True)
