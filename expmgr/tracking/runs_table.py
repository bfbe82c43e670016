"""Runs as a pandas table with MLflow's column names and ours. Pure, but for `loading`."""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from mlflow.entities import Run

    from expmgr.tracking.protection import Goal

__all__ = ["BASE_COLUMNS", "RowFacts", "loading", "mark_best", "mark_rows_best", "runs_table"]

BASE_COLUMNS = (
    "run_id",
    "run_name",
    "experiment_id",
    "experiment_name",
    "status",
    "start_time",
    "end_time",
    "model",
    "files",
    "bytes",
    "is_best",
    "protected_by",
)


@dataclass(frozen=True)
class RowFacts:
    """What a run's row shows besides the run itself.

    Attributes
    ----------
    files, bytes
        Of the model; None until measured.
    reasons
        Why it is protected, besides being the best.
    """

    model: str
    files: int | None = None
    bytes: int | None = None
    reasons: tuple[str, ...] = field(default=())


def runs_table(
    runs: Sequence[Run], experiment_names: Mapping[str, str], facts: Mapping[str, RowFacts]
) -> pd.DataFrame:
    """Return one row a run, in the order given.

    Columns are those of `BASE_COLUMNS`, then ``metrics.*``, ``params.*`` and ``tags.*``, each
    group sorted. Times are UTC; ``files`` and ``bytes`` are nullable integers.
    """
    import pandas as pd

    infos = [run.info for run in runs]
    row_facts = [facts[info.run_id] for info in infos]
    columns: dict[str, Any] = {
        "run_id": pd.Series([info.run_id for info in infos], dtype="object"),
        "run_name": pd.Series([info.run_name or "" for info in infos], dtype="object"),
        "experiment_id": pd.Series([info.experiment_id for info in infos], dtype="object"),
        "experiment_name": pd.Series(
            [experiment_names.get(info.experiment_id, "") for info in infos], dtype="object"
        ),
        "status": pd.Series([info.status for info in infos], dtype="object"),
        "start_time": _times([info.start_time for info in infos]),
        "end_time": _times([info.end_time for info in infos]),
        "model": pd.Series([fact.model for fact in row_facts], dtype="object"),
        "files": pd.Series([fact.files for fact in row_facts], dtype="Int64"),
        "bytes": pd.Series([fact.bytes for fact in row_facts], dtype="Int64"),
        "is_best": pd.Series([False] * len(runs), dtype="bool"),
        "protected_by": pd.Series(["; ".join(fact.reasons) for fact in row_facts], dtype="object"),
    }
    count = len(runs)
    for group, missing in (("metrics", float("nan")), ("params", None), ("tags", None)):
        values: dict[str, list[Any]] = {}
        for index, run in enumerate(runs):
            for key, value in getattr(run.data, group).items():
                column = values.get(key)
                if column is None:
                    column = values[key] = [missing] * count
                column[index] = value
        dtype = "float64" if group == "metrics" else "object"
        for key in sorted(values):
            columns[f"{group}.{key}"] = pd.Series(values[key], dtype=dtype)
    return pd.DataFrame(columns)


def _times(milliseconds: Sequence[int | None]) -> pd.Series[Any]:
    import pandas as pd

    counts: pd.Series[Any] = pd.Series(list(milliseconds), dtype="Int64")
    return pd.Series(pd.to_datetime(counts, unit="ms", utc=True))


def mark_best(table: pd.DataFrame, goals: Mapping[str, Goal]) -> pd.DataFrame:
    """Return the table with ``is_best`` set and "best" among the reasons of those rows.

    Parameters
    ----------
    goals
        What "best" means, by experiment id; in an experiment that is missing nothing is best.
    """
    for experiment_id, goal in goals.items():
        column = f"metrics.{goal.metric}"
        if column not in table.columns:
            continue
        candidates = table.loc[
            (table["experiment_id"] == experiment_id)
            & (table["status"] == "FINISHED")
            & table["model"].isin(["stored", "artifacts"]),
            column,
        ]
        values = candidates[candidates.abs() != float("inf")].dropna()
        if values.empty:
            continue
        best = values.min() if goal.is_loss else values.max()
        chosen = values.index[values == best]
        table = mark_rows_best(table, list(table.loc[chosen, "run_id"]))
    return table


def mark_rows_best(table: pd.DataFrame, run_ids: Sequence[str]) -> pd.DataFrame:
    """Return the table with these runs marked best; runs that it does not show are ignored."""
    rows = table.index[table["run_id"].isin(list(run_ids))]
    table.loc[rows, "is_best"] = True
    table.loc[rows, "protected_by"] = [
        "; ".join(filter(None, ("best", before))) for before in table.loc[rows, "protected_by"]
    ]
    return table


_loading_lock = threading.Lock()
_loading_depth = 0
_threshold_before: tuple[int, int, int] = (0, 0, 0)


@contextmanager
def loading() -> Iterator[None]:
    """Raise the threshold of Python's cyclic collector while many MLflow entities are made.

    Of a load of 10,000 runs two thirds is the collector walking objects that are all alive. The
    threshold is process-wide, so the first to enter raises it and the last to leave puts it back.
    """
    global _loading_depth, _threshold_before  # noqa: PLW0603 - gc's threshold is global as well
    with _loading_lock:
        if _loading_depth == 0:
            _threshold_before = gc.get_threshold()
            gc.set_threshold(200_000, *_threshold_before[1:])
        _loading_depth += 1
    try:
        yield
    finally:
        with _loading_lock:
            _loading_depth -= 1
            if _loading_depth == 0:
                gc.set_threshold(*_threshold_before)
