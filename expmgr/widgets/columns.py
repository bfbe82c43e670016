"""The columns of the table, and what of a line they ask for. Pure."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit

import pandas as pd

from expmgr.catalog.states import DELETABLE_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

__all__ = [
    "DELETABLE",
    "Column",
    "Context",
    "Kind",
    "column_of",
    "compare_url",
    "default_columns",
    "is_deletable",
    "is_missing",
    "protection",
    "run_url",
    "tracks",
    "usual_titles",
]

DELETABLE = DELETABLE_STATES
"""Model states that offer a delete: those in which a plan may allow one."""

MOST_COMPARED = 100
"""Runs in an address: a longer one is refused by some servers."""

Kind = Literal[
    "name", "experiment", "text", "status", "when", "duration", "metric", "model", "count", "size"
]


@dataclass(frozen=True)
class Column:
    """One column: where its value comes from, what it is called and how wide it is.

    Attributes
    ----------
    key
        Column of the DataFrame (``duration`` is computed from the two times).
    title
        Heading.
    kind
        How a cell is written.
    least
        Smallest width in pixels.
    share
        Share of the width that is left over; 0 keeps the column at ``least``.
    narrow
        Smallest width where the page is narrow.
    yields
        Where even that does not fit, columns with 1 are left out first, then those with 2, and so
        on; 0 stays.
    """

    key: str
    title: str
    kind: Kind
    least: int
    share: float = 0.0
    narrow: int = 64
    yields: int = 0

    @property
    def right(self) -> bool:
        """True where the column holds numbers, which align right."""
        return self.kind in ("metric", "count", "size", "duration")


@dataclass(frozen=True)
class Context:
    """What a cell needs to know besides its row.

    Attributes
    ----------
    now
        The time that "2 h ago" counts from.
    tracking_uri
        Links to the MLflow UI are made where it is http(s).
    main_metric
        Its best value carries a star.
    prefix
        What experiment names begin with, which says nothing new in each row.
    stale
        Run ids of runs that seem dead, each with the days they have been still.
    interrupted
        Run ids of runs whose lease ran out, each with its last sign of life.
    largest
        Bytes of the largest model of all, which fills its size cell; 0 where none is measured.
    """

    now: datetime
    tracking_uri: str = ""
    main_metric: str = ""
    prefix: str = ""
    stale: Mapping[str, float] | None = None
    interrupted: Mapping[str, datetime] | None = None
    largest: int = 0

    def seems_dead(self, run_id: str) -> bool:
        """Whether a run is stale or interrupted."""
        return run_id in (self.stale or {}) or run_id in (self.interrupted or {})


def default_columns(main_metric: str) -> tuple[Column, ...]:
    """Return the columns that a browser opens with."""
    return (
        Column("run_name", "Run", "name", 126, 3, 90),
        Column("experiment_name", "Experiment", "experiment", 92, 2, 78, yields=4),
        Column("status", "Status", "status", 92, 0, 92, yields=5),
        Column("start_time", "Started", "when", 84, 0, 82, yields=3),
        Column("duration", "Duration", "duration", 76, 0, 74, yields=1),
        Column(f"metrics.{main_metric}", main_metric, "metric", 84, 0.5, 70),
        Column("model", "Model", "model", 92, 0, 84),
        Column("files", "Files", "count", 48, 0, 44, yields=2),
        Column("bytes", "Size", "size", 68, 0, 62),
        Column("protected_by", "Protected", "text", 96, 2, 72, yields=6),
    )


def usual_titles(main_metric: str) -> dict[str, str]:
    """Return the headings of the columns that a browser opens with, by key."""
    return {column.key: column.title for column in default_columns(main_metric)}


def column_of(key: str) -> Column:
    """Return the column for a key of the DataFrame that is not among the default ones."""
    if key.startswith("metrics."):
        return Column(key, key.removeprefix("metrics."), "metric", 84, 0.5, 70)
    if key in ("start_time", "end_time"):
        return Column(key, key.replace("_", " "), "when", 84, 0, 82)
    if key == "tags.mlflow.user":
        return Column(key, "Owner", "text", 84, 0.5)
    return Column(key, key.removeprefix("params.").removeprefix("tags."), "text", 84, 1)


def tracks(columns: Sequence[Column], *, narrow: bool = False) -> str:
    """Return the CSS ``grid-template-columns`` of header and rows.

    No track depends on what a cell holds, so header and rows line up and never move.
    """
    widths = [(column.narrow if narrow else column.least, column.share) for column in columns]
    return " ".join(
        f"minmax({least}px,{share:g}fr)" if share else f"{least}px" for least, share in widths
    )


def is_missing(value: object) -> bool:
    """Tell None, NaN, NaT, pd.NA and the empty string or sequence from values."""
    if value is None:
        return True
    if isinstance(value, (str, tuple, list)):
        return len(value) == 0
    return bool(pd.isna(value))  # type: ignore[call-overload]


def protection(record: Mapping[str, Any]) -> str:
    """Return why the run's model must stay, in words, or an empty string."""
    value = record.get("protected_by")
    return "" if is_missing(value) else str(value)


def is_deletable(record: Mapping[str, Any]) -> bool:
    """Tell whether the line offers a delete: a study does where any of its models can go."""
    family = record.get("family")
    if family is not None:
        return bool(family.deletable)
    if record.get("alone") is False:
        return False
    return record.get("model") in DELETABLE and not protection(record)


def ui_root(tracking_uri: str) -> str:
    """Return where the MLflow UI is: EXPMGR_MLFLOW_UI, or the tracking URI where that is http(s).

    A user and password in it are left out; "" where there is none.
    """
    parts = urlsplit(os.environ.get("EXPMGR_MLFLOW_UI", "").strip() or tracking_uri)
    if parts.scheme not in ("http", "https"):
        return ""
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def run_url(record: Mapping[str, Any], tracking_uri: str) -> str:
    """Return the run's page in the MLflow UI, "" where it is not known where that is."""
    root = ui_root(tracking_uri)
    if not root:
        return ""
    experiment = quote(str(record.get("experiment_id", "")), safe="")
    return f"{root}/#/experiments/{experiment}/runs/{quote(str(record['run_id']), safe='')}"


def compare_url(run_ids: Sequence[str], experiment_ids: Sequence[str], tracking_uri: str) -> str:
    """Return the MLflow UI's page that compares runs; "" where there is none or not for so many."""
    root = ui_root(tracking_uri)
    if not root or not 1 < len(run_ids) <= MOST_COMPARED:
        return ""
    runs, experiments = (
        quote(json.dumps(list(ids), separators=(",", ":")), safe="")
        for ids in (run_ids, experiment_ids)
    )
    return f"{root}/#/compare-runs?runs={runs}&experiments={experiments}"
