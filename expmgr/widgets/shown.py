"""What the table holds and shows: the runs, the query, the page, the ticks. No widgets, no I/O."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from expmgr.widgets.columns import DELETABLE, is_missing
from expmgr.widgets.view import OWNER, Query, Totals, deletable_mask, haystack, matching, totals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from expmgr.results import DeletionResult

__all__ = ["ShownRuns"]


class ShownRuns:
    """The runs behind the table. Belongs to the browser's loop.

    Attributes
    ----------
    frame
        All runs loaded.
    complete
        Whether these are all runs, so that what needs all of them (the best) is known.
    query
        What the person asked to see.
    positions
        Which rows of ``frame`` match, in order.
    selected
        Run ids that are ticked.
    page, page_size
        The page from 0, and rows on it.
    records
        The page's runs as dicts.
    """

    def __init__(self, page_size: int) -> None:
        self.frame = pd.DataFrame()
        self.complete = False
        self.query = Query()
        self.positions = np.empty(0, dtype=np.intp)
        self.selected: set[str] = set()
        self.page = 0
        self.page_size = page_size
        self.records: list[dict[str, Any]] = []
        self._place: dict[str, int] = {}
        self._texts: list[str] | None = None
        self._without_best: list[str] | None = None
        self._changes: dict[str, tuple[float, dict[str, Any]]] = {}

    @property
    def pages(self) -> int:
        """How many pages there are, at least 1."""
        return max(1, -(-len(self.positions) // self.page_size))

    def take(self, frame: pd.DataFrame, sent: float, *, complete: bool) -> None:
        """Take a table that a query brought.

        Parameters
        ----------
        sent
            When the query was sent (monotonic seconds): what this browser changed since then is
            newer than the table and stays on top.
        complete
            Whether these are all runs.
        """
        frame = frame.reset_index(drop=True)
        if "run_id" in frame:
            frame = _with_integers(_with_integers(frame, "files"), "bytes")
            frame["run_id"] = frame["run_id"].astype(object)
            for name in ("model", "status", "protected_by"):
                if name in frame:
                    frame[name] = frame[name].astype(object)
        self.frame, self.complete = frame, complete
        self._place = {run_id: at for at, run_id in enumerate(frame.get("run_id", ()))}
        for run_id, (when, values) in list(self._changes.items()):
            if when > sent:
                self._put(run_id, values)
            elif complete:
                del self._changes[run_id]
        if complete:
            self.selected &= self.deletable()
        self._texts = self._without_best = None
        self.recompute()

    def ask(self, **changes: Any) -> bool:
        """Change the query; returns whether anything changed."""
        query = replace(self.query, **changes)
        if query == self.query:
            return False
        self.query = query
        self.page = 0
        self.recompute()
        return True

    def recompute(self) -> None:
        """Find what matches and in what order."""
        self.positions = matching(self.frame, self.query, self._haystack)
        self.turn(self.page)

    def turn(self, page: int) -> None:
        """Go to a page, or the nearest one there is."""
        self.page = max(0, min(page, self.pages - 1))
        start = self.page * self.page_size
        if self.frame.empty:
            self.records = []
            return
        part = self.frame.iloc[self.positions[start : start + self.page_size]]
        self.records = _records(part)

    def resize(self, rows: int) -> None:
        """Change the rows on a page, keeping the first one in view."""
        top = self.page * self.page_size
        self.page_size = rows
        self.turn(top // rows)

    def change(self, run_id: str, values: dict[str, Any]) -> None:
        """Write down what has become of a run. The order and the filter are left as they are."""
        _, known = self._changes.get(run_id, (0.0, {}))
        self._changes[run_id] = (time.monotonic(), {**known, **values})
        self._put(run_id, values)
        self._texts = self._without_best = None

    def ended(self, result: DeletionResult) -> None:
        """Write down what a deletion changed."""
        state = {"deleted": "deleted", "not_found": "none"}.get(result.outcome)
        if state is not None:
            self.change(result.run_id, {"model": state, "files": 0, "bytes": 0})
            self.selected.discard(result.run_id)

    def measured(self, usage: pd.DataFrame, sent: float) -> None:
        """Write down sizes, and the model states that only a measurement tells.

        Parameters
        ----------
        sent
            When the measurement began (monotonic seconds): what became of a run since then is
            newer.
        """
        for record in _records(usage):
            run_id = str(record["run_id"])
            if self._changes.get(run_id, (0.0, {}))[0] > sent:
                continue
            values: dict[str, Any] = {
                name: record[name]
                for name in ("model", "files", "bytes")
                if name in record and not is_missing(record[name])
            }
            if run_id in self._place and values:
                self.change(run_id, values)
        self.selected &= self.deletable()

    def value(self, run_id: str, column: str) -> Any:
        """Return one value of a run, None where there is none."""
        at = self._place.get(run_id)
        if at is None or column not in self.frame:
            return None
        value = self.frame[column].iloc[at]
        return None if is_missing(value) else value

    def record(self, run_id: str) -> dict[str, Any] | None:
        """Return a run with all its columns."""
        at = self._place.get(run_id)
        return None if at is None else _records(self.frame.iloc[[at]])[0]

    def name(self, run_id: str) -> str:
        """Return a run's name, or its id where it has none."""
        return str(self.value(run_id, "run_name") or run_id)

    def deletable(self) -> set[str]:
        """Return the runs that offer a delete."""
        if self.frame.empty:
            return set()
        return set(self.frame.loc[deletable_mask(self.frame), "run_id"])

    def tick(self, run_ids: Iterable[str], *, on: bool) -> None:
        """Tick or untick runs; what offers no delete cannot be ticked."""
        if on:
            self.selected |= self.deletable().intersection(run_ids)
        else:
            self.selected.difference_update(run_ids)

    def totals(self) -> Totals:
        """Return the footer's numbers."""
        return totals(self.frame, self.positions, self.selected)

    def largest(self) -> int:
        """Return the bytes of the largest model of all, 0 where none is measured."""
        largest: Any = self.frame["bytes"].max() if "bytes" in self.frame else None
        return 0 if is_missing(largest) else int(largest)

    def experiments(self) -> dict[str, int | None]:
        """Return the names of all experiments and the bytes in each; None: not measured."""
        if "experiment_name" not in self.frame:
            return {}
        sizes = self.frame.groupby("experiment_name")["bytes"].sum(min_count=1)
        return {
            str(name): None if is_missing(size) else int(size)
            for name, size in sorted(sizes.items(), key=lambda item: str(item[0]).casefold())
        }

    def without_best(self) -> list[str]:
        """Return the experiments that hold models, none of which is called best."""
        if self._without_best is None:
            self._without_best = self._find_without_best()
        return self._without_best

    def _find_without_best(self) -> list[str]:
        frame = self.frame
        if not self.complete or not {"is_best", "model", "experiment_name"} <= set(frame):
            return []
        holding = frame[frame["model"].isin(list(DELETABLE))]
        best = set(frame.loc[frame["is_best"].astype(bool), "experiment_name"])
        names = {str(name) for name in holding["experiment_name"].dropna()} - best
        return sorted(names, key=str.casefold)

    def all_elsewhere(self) -> int:
        """Return how many runs keep a model, where none of them keeps it in this container."""
        if not self.complete or "model" not in self.frame:
            return 0
        models = self.frame["model"]
        kept = models[~models.isin(["none", "unknown"])]
        return len(kept) if len(kept) and (kept == "elsewhere").all() else 0

    def owners(self) -> list[str]:
        """Return the names of those who made the runs."""
        if OWNER not in self.frame:
            return []
        return sorted({str(name) for name in self.frame[OWNER].dropna()} - {""}, key=str.casefold)

    def table(self) -> pd.DataFrame:
        """Return what matches, in order, as a copy."""
        return self.frame.iloc[self.positions].reset_index(drop=True).copy()

    def _haystack(self) -> list[str]:
        if self._texts is None:
            self._texts = haystack(self.frame)
        return self._texts

    def _put(self, run_id: str, values: dict[str, Any]) -> None:
        at = self._place.get(run_id)
        if at is None:
            return
        for name, value in values.items():
            if name in self.frame:
                self.frame.loc[at, name] = value  # take() made the index 0, 1, 2, ...
        for record in self.records:
            if record["run_id"] == run_id:
                record.update(values)


def _with_integers(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the table with an integer column that may miss values."""
    values = (
        pd.to_numeric(frame[name], errors="coerce").astype("Int64")
        if name in frame
        else pd.array([pd.NA] * len(frame), dtype="Int64")
    )
    return frame.assign(**{name: values})


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[Any] = frame.to_dict("records")
    return records
