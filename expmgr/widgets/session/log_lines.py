"""The journal's records as lines: what will go on top, then what went, newest first. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from expmgr.catalog.parts import PARTS, part_words
from expmgr.formatting import ago, format_bytes, format_count, format_seconds
from expmgr.secrecy import redact
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import pandas as pd

__all__ = ["KEEPS_NOTHING", "LogLine", "log_lines", "matching_lines"]

Offers = Literal["", "keep", "resume", "restore"]
_OUTCOMES: Mapping[str, tuple[str, str]] = {
    "deleted": ("✓", "deleted"),
    "failed": ("✕", "failed, not all gone"),
    "interrupted": ("!", "interrupted"),
    "deleting": ("◌", "being deleted"),
    "cancelled": ("■", "stopped by somebody"),
    "restored": ("↺", "restored"),
    "kept": ("◆", "mark taken back"),
    "replaced": ("·", "mark replaced by a later one"),
    "done": ("·", "mark carried out or overtaken"),
    "unknown": ("?", "cannot be read"),
}
KEEPS_NOTHING = "the account's soft delete is off, so what went cannot be brought back"


@dataclass(frozen=True)
class LogLine:
    """One record, as it is shown.

    Attributes
    ----------
    key
        Tells it from the others.
    id, run_id
        What went, and whose it was; "" for no run.
    sign, outcome
        How it ended or when it goes.
    size
        Files and bytes, "" where the record does not tell.
    when, who, part, about
        When it began (a mark: was made), by whom, what of it, and all else.
    due
        Whether it is a mark whose time has come.
    mark
        Whether it is a standing mark.
    offers
        What can be done about it.
    bytes
        0 where the record does not tell.
    """

    key: str
    id: str
    run_id: str
    name: str
    experiment: str
    sign: str
    outcome: str
    size: str
    when: str
    who: str
    part: str
    about: str
    due: bool = False
    mark: bool = False
    offers: Offers = ""
    bytes: int = 0

    @property
    def haystack(self) -> str:
        """What is searched."""
        parts = (self.id, self.run_id, self.name, self.experiment, self.outcome, self.who)
        return " ".join((*parts, self.part, self.about, self.when)).casefold()


def log_lines(table: pd.DataFrame, now: datetime, *, keeps: bool | None) -> tuple[LogLine, ...]:
    """Return the records of `deletion_log`, what is to go first and the next of that on top.

    Parameters
    ----------
    keeps
        Whether the account keeps what is deleted for a while; None where it does not tell.
    """
    rows: list[dict[str, Any]] = [
        {
            str(name): None if not isinstance(value, (str, int)) and _missing(value) else value
            for name, value in row.items()
        }
        for row in table.to_dict("records")
    ]
    latest: dict[tuple[str, str], int] = {}
    for at, row in enumerate(rows):  # the newest first
        if row["state"] not in ("marked", "kept", "replaced", "done", "unknown"):
            latest.setdefault((row["id"], row["part"]), at)
    lines = []
    count: Counter[tuple[Any, ...]] = Counter()
    for at, row in enumerate(rows):
        same = (row["id"], row["when"], row["part"])
        line = _line(
            count[same], row, now, newest=latest.get((row["id"], row["part"])) == at, keeps=keeps
        )
        count[same] += 1
        lines.append((row, line))
    marks = sorted(
        (pair for pair in lines if pair[1].mark),
        key=lambda pair: (pair[0]["due"] is None, pair[0]["due"], pair[1].key),
    )
    return (*(line for _, line in marks), *(line for _, line in lines if not line.mark))


def _missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))


def _line(
    at: int, row: Mapping[str, Any], now: datetime, *, newest: bool, keeps: bool | None
) -> LogLine:
    text = {name: "" if value is None else str(value) for name, value in row.items()}
    state, mark = text["state"], text["state"] == "marked"
    due: datetime | None = row["due"]
    sign, outcome = _OUTCOMES.get(state, ("?", state))
    ready = mark and due is not None and due <= now
    if mark:
        sign, outcome = "○", _goes(due, now)
    offers = _offers(text, newest=newest, mark=mark)
    files, size = row["files"], row["bytes"]
    notes = [f"forced past {text['forced']}"] if text["forced"] else []
    notes += [redact(text["note"])] if text["note"] else []
    if offers == "restore" and keeps is False:
        offers = ""
        notes.append(KEEPS_NOTHING)
    if state == "interrupted" and not offers:
        finishes = "manager.resume_deletions() finishes it"
        notes.append(finishes if newest else "a later deletion followed")
    when: datetime | None = row["when"]
    verb, wait = "marked" if mark else "begun", ""
    if mark and due is not None and not ready:
        wait = f"in {format_seconds((due - now).total_seconds())}; "
    return LogLine(
        key=f"{text['id']} {text['when']} {text['part']} {at}",
        id=text["id"],
        run_id=text["run_id"],
        name=plain(text["name"] or text["id"] or "a record without an id", 120),
        experiment=plain(text["experiment"], 120),
        sign=sign,
        outcome=outcome,
        size=""
        if files is None
        else f"{format_count(int(files), 'file')}, {format_bytes(_bytes(size))}",
        when=wait + ("" if when is None else f"{verb} {when:%Y-%m-%d %H:%M} UTC, {ago(when, now)}"),
        who=f"by {plain(text['who'], 60)}" if text["who"] else "",
        part=_part(text["part"]),
        about=plain("; ".join(notes), 600),
        due=ready,
        mark=mark,
        offers=offers,
        bytes=_bytes(size),
    )


def _part(part: str) -> str:
    """Return which part it was, "" for whole models."""
    if part in ("", "model"):
        return ""
    return part_words(part) if part in PARTS else f"files that match {plain(part, 120)}"


def _bytes(value: Any) -> int:
    return 0 if value is None else int(value)


def _goes(due: datetime | None, now: datetime) -> str:
    if due is None:
        return "goes at an unknown time"
    when = f"{due:%b} {due.day}, {due:%H:%M} UTC"
    return f"due since {when}" if due <= now else f"goes {when}"


def _offers(text: Mapping[str, str], *, newest: bool, mark: bool) -> Offers:
    """Return what can be done; a part that was interrupted is no model to be planned anew."""
    if mark:
        return "keep" if text["id"] else ""
    if not newest or not text["id"] or text["part"] != "model":
        return ""
    if text["state"] in ("interrupted", "failed"):
        return "resume"
    return "restore" if text["state"] == "deleted" and text["run_id"] else ""


def matching_lines(lines: Sequence[LogLine], search: str) -> tuple[LogLine, ...]:
    """Return those in which every word appears."""
    wanted = search.casefold().split()
    return tuple(line for line in lines if all(word in line.haystack for word in wanted))
