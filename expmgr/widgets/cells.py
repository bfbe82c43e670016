"""How one cell of a line reads: one value feeds the live table, the saved page and the text. Pure.

A record is a line of the table, a dict with the columns of `manager.runs()`, and perhaps

line
    ``run`` (also where missing); ``study``, a run with its children folded under it; or ``model``,
    whose ``run_name`` is the model's name and whose ``run_id`` is its maker's, "" without one.
id
    What a plan takes; missing, the run id is.
depth, of, within
    How far the line is indented; the name of what it belongs to; the study's name where this
    line's own name stands in several.
family
    What a study sums up, see `expmgr.widgets.family.Family`.
step
    At which step of its run a model was saved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pandas as pd

from expmgr.catalog.states import MODEL_STATES
from expmgr.formatting import ago, format_bytes, format_count, format_metric, format_seconds
from expmgr.text import CELL_LIMIT, HOVER_LIMIT, escape, plain
from expmgr.widgets.columns import is_missing, protection, run_url
from expmgr.widgets.family import Family
from expmgr.widgets.signs import MODEL_SIGNS, MODEL_WORDS, STATUS_SIGNS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from expmgr.widgets.columns import Column, Context, Kind

__all__ = ["Cell", "cell_html", "cell_of", "cell_text"]

_DEEPEST = 3
"""Levels that are indented further than the one before, see the style sheet."""
_SURELY_SHORT = 12
"""Characters that fit into every column, so that they need no hover text."""


@dataclass(frozen=True)
class Cell:
    """What a cell says. Nothing in it is escaped or cut.

    Attributes
    ----------
    text
        What is read.
    hover
        The same at length.
    sign
        What stands before the text and says what its colour says.
    star
        What a star before the text means, "" where there is none.
    remark
        What stands behind the text, dim.
    aside
        What only a screen reader says: what sighted people see by the line's place.
    lasting
        What a saved page says in place of a text that would be wrong tomorrow ("2 h ago").
    href
        Where the text links to.
    classes
        CSS classes that depend on the value.
    right
        Whether it aligns right, as numbers do.
    part
        The share of the cell that its bar fills, from 0 to 1; None for no bar.
    depth
        How many levels it is indented.
    """

    text: str = ""
    hover: str = ""
    sign: str = ""
    star: str = ""
    remark: str = ""
    aside: str = ""
    lasting: str = ""
    href: str = ""
    classes: tuple[str, ...] = ()
    right: bool = False
    part: float | None = None
    depth: int = 0


def cell_of(column: Column, record: Mapping[str, Any], context: Context) -> Cell:
    """Return what a line says in one column."""
    read = _protected if column.key == "protected_by" else _READ[column.kind]
    cell = read(column, record, context)
    if column.key == "run_id":
        cell = replace(cell, classes=("xm-copy",))
    return replace(cell, right=column.right)


def cell_html(cell: Cell) -> str:
    """Return a cell of the live table as escaped HTML."""
    classes = ["xm-cell", *(["xm-right"] if cell.right else []), *cell.classes]
    if cell.depth:
        classes.append(f"xm-depth-{min(cell.depth, _DEEPEST)}")
    hover = cell.hover if cell.hover != cell.text else ""
    if not hover and len(cell.text) > _SURELY_SHORT:
        hover = cell.text
    title = f' title="{escape(hover, HOVER_LIMIT)}"' if hover else ""
    if cell.part is not None:
        title += f' style="--xm-part:{cell.part:.1%}"'
    inner = f"<bdi>{escape(cell.text)}</bdi>" if cell.text else ""
    if cell.href:
        href = escape(cell.href, 2000)
        inner = f'<a href="{href}" target="_blank" rel="noopener">{inner}</a>'
    if cell.sign:
        inner = f'<span class="xm-sign">{cell.sign}</span>{inner}'
    if cell.star:
        inner = f'<span class="xm-best" title="{escape(cell.star)}">★</span>{inner}'
    if cell.remark:
        classes.append("xm-named")
        inner += f' <span class="xm-dim"><bdi>{escape(cell.remark)}</bdi></span>'
    if cell.aside:
        inner += f'<span class="xm-hidden">, <bdi>{escape(cell.aside)}</bdi></span>'
    return f'<div class="{" ".join(classes)}"{title}>{inner}</div>'


def cell_text(cell: Cell, limit: int = CELL_LIMIT) -> str:
    """Return a cell as plain text that stays true, its text and its remark cut at ``limit``."""
    text = cell.lasting or cell.text
    mark = "★" if cell.star else cell.sign
    text = plain(f"{mark} {text}" if mark else text, limit)
    remark = f" · {plain(cell.remark, limit)}" if cell.remark else ""
    return f"{'  ' * cell.depth}{text}{remark}"


def _name(column: Column, record: Mapping[str, Any], context: Context) -> Cell:
    id_ = _text(record, "id") or _text(record, "run_id")
    name = _text(record, column.key) or id_
    remark = " · ".join(_remarks(record))
    return Cell(
        name,
        f"{name} ({id_})" + (f", {remark}" if remark else ""),
        remark=remark,
        aside=_place(record),
        href=run_url(record, context.tracking_uri) if _text(record, "run_id") else "",
        depth=_depth(record),
    )


def _remarks(record: Mapping[str, Any]) -> list[str]:
    """Return what sets a line apart from others of its name."""
    said = []
    family, within = _family(record), _text(record, "within")
    if family is not None:
        said.append(format_count(family.runs, "run"))
    elif record.get("line") == "run" and record.get("unfolds"):
        said.append(format_count(int(record["unfolds"]), "model"))
    if record.get("line") == "model":
        if not is_missing(record.get("step")):
            said.append(f"step {int(record['step'])}")
        if not _text(record, "of") and not _depth(record):
            said.append("no run")
    return [*said, f"in {within}"] if within else said


def _place(record: Mapping[str, Any]) -> str:
    """Return what the indentation shows, in words; "" where the remark says it."""
    of = _text(record, "of")
    if record.get("line") == "model":
        return f"model of {of}" if of else "model"
    within = _text(record, "within")
    if not _depth(record) or (within and of in ("", within)):
        return ""
    return f"in {of}" if of else "in a study"


def _status(column: Column, record: Mapping[str, Any], context: Context) -> Cell:
    text = hover = _text(record, column.key)
    run_id = "" if record.get("line") == "model" else _text(record, "run_id")
    days, since = (context.stale or {}).get(run_id), (context.interrupted or {}).get(run_id)
    if text and since is not None:
        text = "interrupted"  # no word of MLflow's
        hover = f"RUNNING, but no sign of life since {since:%Y-%m-%d %H:%M} UTC"
    elif text and days is not None:
        text, hover = "STALE", f"RUNNING, but nothing has moved for {days:.0f} days"
    if not text:
        return Cell()
    classes = (f"xm-status-{_word(text)}",)
    return Cell(text, hover, STATUS_SIGNS.get(text, "!"), classes=classes)


def _when(column: Column, record: Mapping[str, Any], context: Context) -> Cell:
    moment = _moment(record.get(column.key))
    if moment is None:
        return Cell()
    full = moment.strftime("%Y-%m-%d %H:%M:%S %Z")
    return Cell(ago(moment, context.now), full, lasting=full[:16])  # to the minute


def _duration(_: Column, record: Mapping[str, Any], context: Context) -> Cell:
    begin, end = _moment(record.get("start_time")), _moment(record.get("end_time"))
    running = record.get("status") == "RUNNING"
    if begin is None or (end is None and not running):
        return Cell()
    seconds = max(0.0, ((end or context.now) - begin).total_seconds())
    text = format_seconds(seconds)
    return Cell(text, f"{text} so far" if end is None else f"{seconds:,.1f} s")


def _metric(column: Column, record: Mapping[str, Any], context: Context) -> Cell:
    value, words, aside = record.get(column.key), "", ""
    star = ""
    if column.key == f"metrics.{context.main_metric}":
        family = _family(record)
        if record.get("is_best") is True:
            star = "best of its experiment"
        elif family is not None and family.best:
            star = "holds the best of its experiment"
        if family is not None and is_missing(value):
            value, aside = family.value, "best of its runs"
            words = f"{aside}: "
    if is_missing(value):
        return Cell(star=star)
    number = float(value)  # type: ignore[arg-type]
    return Cell(_digits(number), f"{words}{number!r}", star=star, aside=aside)


def _model(column: Column, record: Mapping[str, Any], _: Context) -> Cell:
    family = _family(record)
    if family is not None and family.models:
        models = format_count(family.models, "model")
        able = f"{family.deletable:,}" if family.deletable else "none"
        return Cell(models, f"{models}: {able} can be deleted", MODEL_SIGNS["stored"])
    state = _text(record, column.key)
    if not state:
        return Cell()
    hover = f"{state}: {MODEL_WORDS.get(state, 'unknown state')}"
    goes = _moment(record.get("goes")) if state in MODEL_STATES else None
    remark = ""
    if goes is not None:
        remark = f"goes {goes:%b} {goes.day}"
        hover += f"; marked to be deleted from {goes:%Y-%m-%d %H:%M} UTC on"
    classes = (f"xm-model-{_word(state)}",)
    return Cell(state, hover, MODEL_SIGNS.get(state, "?"), remark=remark, classes=classes)


def _count(column: Column, record: Mapping[str, Any], _: Context) -> Cell:
    family = _family(record)
    value = record.get(column.key) if family is None else family.files
    if is_missing(value):
        return _unmeasured(family)
    text = f"{int(value):,}"  # type: ignore[arg-type]
    return Cell(text, text if family is None else f"{text} in {_holdings(family)}")


def _size(column: Column, record: Mapping[str, Any], context: Context) -> Cell:
    family = _family(record)
    value = record.get(column.key) if family is None else family.bytes
    if is_missing(value):
        return _unmeasured(family)
    size = int(value)  # type: ignore[arg-type]
    hover = f"{size:,} bytes" + ("" if family is None else f" in {_holdings(family)}")
    if not context.largest:
        return Cell(format_bytes(size), hover)
    part = min(1.0, max(0.0, size / context.largest))
    return Cell(format_bytes(size), hover, classes=("xm-size",), part=part)


def _unmeasured(family: Family | None) -> Cell:
    held = "" if family is None else f": {_holdings(replace(family, unmeasured=0))}"
    return Cell("–", f"not measured yet{held}")  # noqa: RUF001 - the sign of a missing number


def _holdings(family: Family) -> str:
    models = f"{format_count(family.models, 'model')} of {format_count(family.runs, 'run')}"
    return f"{models}, {family.unmeasured:,} not measured" if family.unmeasured else models


def _protected(_: Column, record: Mapping[str, Any], __: Context) -> Cell:
    text = hover = protection(record)
    family = _family(record)
    if family is not None and family.protected:
        own = f"; its own: {text}" if text else ""
        text = f"{family.protected:,} of {format_count(family.models, 'model')}"
        hover = f"{text} must stay{own}"
    return Cell(text, hover, "◆", classes=("xm-protected",)) if text else Cell()


def _experiment(column: Column, record: Mapping[str, Any], context: Context) -> Cell:
    name = _text(record, column.key)
    return Cell(name.removeprefix(context.prefix) or name, name)


def _as_it_is(column: Column, record: Mapping[str, Any], _: Context) -> Cell:
    text = _text(record, column.key)
    return Cell(text, text)


_READ: dict[Kind, Callable[[Column, Mapping[str, Any], Context], Cell]] = {
    "name": _name,
    "experiment": _experiment,
    "text": _as_it_is,
    "status": _status,
    "when": _when,
    "duration": _duration,
    "metric": _metric,
    "model": _model,
    "count": _count,
    "size": _size,
}


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return "" if is_missing(value) else str(value)


def _depth(record: Mapping[str, Any]) -> int:
    depth = record.get("depth")
    return 0 if is_missing(depth) else max(0, int(depth))  # type: ignore[arg-type]


def _family(record: Mapping[str, Any]) -> Family | None:
    family = record.get("family")
    return family if record.get("line") == "study" and isinstance(family, Family) else None


def _moment(value: object) -> datetime | None:
    if is_missing(value):
        return None
    moment: datetime = pd.Timestamp(value).to_pydatetime(warn=False)  # type: ignore[arg-type]
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _digits(value: float) -> str:
    """Return a metric with four digits, trailing zeros kept, so that a column lines up."""
    if not math.isfinite(value):
        return format_metric(value)
    return f"{value:#.4g}".removesuffix(".")


def _word(text: str) -> str:
    """Return a text as a CSS class: letters only, so that nothing else can get in."""
    return "".join(
        letter for letter in plain(text, 20).lower() if letter.isascii() and letter.isalpha()
    )
