"""The columns of the table and how one cell reads. Pure."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit

import pandas as pd

from expmgr.formatting import format_bytes, format_metric, format_seconds
from expmgr.text import HOVER_LIMIT, escape, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "DELETABLE",
    "Column",
    "Context",
    "ago",
    "cell",
    "column_of",
    "compare_url",
    "default_columns",
    "is_deletable",
    "is_missing",
    "protection",
    "run_url",
    "text_of",
    "tracks",
    "usual_titles",
]

DELETABLE = frozenset({"stored", "artifacts", "interrupted"})
"""Model states that offer a delete."""

STATUS_SIGNS = {"FINISHED": "✓", "FAILED": "✕", "RUNNING": "●", "SCHEDULED": "○", "KILLED": "■"}
MODEL_SIGNS = {
    "stored": "■",
    "artifacts": "▧",
    "deleting": "◌",
    "interrupted": "!",
    "deleted": "□",
    "elsewhere": "↗",
    "unknown": "?",
    "none": "·",
}
MODEL_WORDS = {
    "stored": "MLflow records a model and its files are in this container",
    "artifacts": "no model was recorded, but the run has artifact files that may be one",
    "deleting": "a deletion is under way",
    "interrupted": "a deletion began and never ended; deleting again finishes it",
    "deleted": "the model was deleted; metrics, params and other artifacts are kept",
    "elsewhere": "stored in another container, account or kind of store: not deleted from here",
    "unknown": "not measured yet",
    "none": "this run stored no model",
}

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
    largest
        Bytes of the largest model of all, which fills its size cell; 0 where none is measured.
    """

    now: datetime
    tracking_uri: str = ""
    main_metric: str = ""
    prefix: str = ""
    stale: Mapping[str, float] | None = None
    largest: int = 0


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
    """Tell whether the row offers a delete."""
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


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago something was, in one unit: ``2 h ago``.

    Examples
    --------
    >>> noon = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)
    >>> ago(noon - timedelta(minutes=130), noon), ago(noon + timedelta(hours=1), noon)
    ('2 h ago', 'just now')
    """
    minutes = (now - then) / timedelta(minutes=1)
    if minutes < 1:
        return "just now"
    for size, unit in ((525_600, "y"), (43_800, "mo"), (1440, "d"), (60, "h"), (1, "min")):
        if minutes >= size:
            return f"{int(minutes // size)} {unit} ago"
    return "just now"


def _moment(value: object) -> datetime | None:
    if is_missing(value):
        return None
    moment: datetime = pd.Timestamp(value).to_pydatetime(warn=False)  # type: ignore[arg-type]
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def text_of(column: Column, record: Mapping[str, Any], context: Context) -> tuple[str, str]:
    """Return what a cell says and its longer hover text, neither escaped nor cut."""
    value = record.get(column.key)
    if column.kind == "duration":
        return _duration(record, context)
    if column.kind == "name":
        name = str(record["run_id"]) if is_missing(value) else str(value)
        return name, f"{name} ({record['run_id']})"
    if column.key == "protected_by":
        return (protection(record),) * 2
    if is_missing(value):
        missing = column.kind in ("size", "count")
        return ("–", "not measured yet") if missing else ("", "")  # noqa: RUF001 - a missing number
    if column.kind == "status" and str(record["run_id"]) in (context.stale or {}):
        days = (context.stale or {})[str(record["run_id"])]
        return "STALE", f"RUNNING, but nothing has moved for {days:.0f} days"
    return _VALUES.get(column.kind, _as_it_is)(value, context)


def _as_it_is(value: Any, _: Context) -> tuple[str, str]:
    return (str(value),) * 2


def _when(value: Any, context: Context) -> tuple[str, str]:
    moment = _moment(value)
    if moment is None:
        return "", ""
    return ago(moment, context.now), moment.strftime("%Y-%m-%d %H:%M:%S %Z")


_VALUES: dict[str, Callable[[Any, Context], tuple[str, str]]] = {
    "when": _when,
    "experiment": lambda value, context: (
        str(value).removeprefix(context.prefix) or str(value),
        str(value),
    ),
    "metric": lambda value, _: (_metric(float(value)), repr(float(value))),
    "size": lambda value, _: (format_bytes(int(value)), f"{int(value):,} bytes"),
    "count": lambda value, _: (f"{int(value):,}",) * 2,
    "model": lambda value, _: (
        str(value),
        f"{value}: {MODEL_WORDS.get(str(value), 'unknown state')}",
    ),
}


def _metric(value: float) -> str:
    """Return a metric with four digits, trailing zeros kept, so that a column lines up."""
    if not math.isfinite(value):
        return format_metric(value)
    return f"{value:#.4g}".removesuffix(".")


def _duration(record: Mapping[str, Any], context: Context) -> tuple[str, str]:
    begin, end = _moment(record.get("start_time")), _moment(record.get("end_time"))
    if begin is None:
        return "", ""
    if end is None:
        if record.get("status") != "RUNNING":
            return "", ""
        seconds = max(0.0, (context.now - begin).total_seconds())
        return format_seconds(seconds), f"{format_seconds(seconds)} so far"
    seconds = max(0.0, (end - begin).total_seconds())
    return format_seconds(seconds), f"{seconds:,.1f} s"


def cell(column: Column, record: Mapping[str, Any], context: Context) -> str:
    """Return one cell as escaped HTML."""
    text, hover = text_of(column, record, context)
    classes = "xm-cell xm-right" if column.right else "xm-cell"
    title = f' title="{escape(hover, HOVER_LIMIT)}"' if hover and hover != text else ""
    if not title and len(text) > 12:  # noqa: PLR2004 - shorter texts always fit
        title = f' title="{escape(text, HOVER_LIMIT)}"'
    inner = f"<bdi>{escape(text)}</bdi>" if text else ""
    if column.kind == "name":
        url = run_url(record, context.tracking_uri)
        if url:
            inner = f'<a href="{escape(url, 2000)}" target="_blank" rel="noopener">{inner}</a>'
    elif column.key == "run_id":
        classes += " xm-copy"
    elif column.kind == "status" and text:
        sign = STATUS_SIGNS.get(text, "!")
        inner = f'<span class="xm-sign">{sign}</span>{inner}'
        classes += f" xm-status-{_word(text)}"
    elif column.kind == "model" and text:
        inner = f'<span class="xm-sign">{MODEL_SIGNS.get(text, "?")}</span>{inner}'
        classes += f" xm-model-{_word(text)}"
    elif column.key == f"metrics.{context.main_metric}" and record.get("is_best") is True:
        inner = f'<span class="xm-best" title="best of its experiment">★</span>{inner}'
    elif column.kind == "size" and context.largest and not is_missing(record.get(column.key)):
        part = min(1.0, max(0.0, int(record[column.key]) / context.largest))
        title += f' style="--xm-part:{part:.1%}"'
        classes += " xm-size"
    elif column.key == "protected_by" and text:
        inner = f'<span class="xm-sign">◆</span>{inner}'
        classes += " xm-protected"
    return f'<div class="{classes}"{title}>{inner}</div>'


def _word(text: str) -> str:
    """Return a text as a CSS class: letters only, so that nothing else can get in."""
    return "".join(
        letter for letter in plain(text, 20).lower() if letter.isascii() and letter.isalpha()
    )
