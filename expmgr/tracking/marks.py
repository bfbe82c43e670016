"""Marks: deletions that are to happen later, kept as tags beside the journal's records.

A mark is a record like a deletion's, with the time it is due, in a tag ``expmgr.mark.<number>`` of
the same owner. It is no deletion: whoever reads those (`expmgr.tracking.journal`) never sees it.
Marks and deletions are numbered together, and what has a higher number holds: a mark stands only
where no later mark or deletion of that owner touches its locations, so that a model which was
deleted, restored, kept or marked anew since never goes by an old mark. Pure, but for `write_marks`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from expmgr.formatting import format_moment
from expmgr.storage.blob_path import is_within
from expmgr.tracking.journal import (
    deletion_was_begun,
    read_records,
    record_order,
    write_tags,
)
from expmgr.tracking.journal_record import (
    MARK_STATES,
    MARK_TAG_PREFIX,
    RECORD_TAG_PREFIX,
    DeletionRecord,
    decode_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlflow import MlflowClient

    from expmgr.storage.location import Location

__all__ = [
    "GOES_TAG",
    "earliest_due",
    "ended_mark",
    "read_marks",
    "replaced_by",
    "standing_marks",
    "touches",
    "write_marks",
]

GOES_TAG = "expmgr.goes"
"""For people and filters: when the first of an owner's marks is due, else how the last one ended.
"""


def read_marks(owner_id: str, tags: Mapping[str, str]) -> tuple[DeletionRecord, ...]:
    """Return the marks on a run or model, oldest first; what cannot be read is left out."""
    marks = [
        mark
        for key, value in tags.items()
        if key.startswith(MARK_TAG_PREFIX)
        and (mark := _decoded(key, value, owner_id)) is not None
        and mark.state in MARK_STATES
        and mark.due is not None
        and mark.locations
    ]
    return tuple(sorted(marks, key=record_order))


def _decoded(key: str, value: str, owner_id: str) -> DeletionRecord | None:
    """Return what a tag of a mark holds, which is written as a deletion's."""
    return decode_record(RECORD_TAG_PREFIX + key[len(MARK_TAG_PREFIX) :], value, owner_id)


def standing_marks(owner_id: str, tags: Mapping[str, str]) -> tuple[DeletionRecord, ...]:
    """Return the marks that are still to be carried out, oldest first.

    Each with those of its locations that no later mark or deletion touches. What is later and
    cannot be read may be anything, so nothing earlier stands.
    """
    marks = read_marks(owner_id, tags)
    if not any(mark.state == "marked" for mark in marks):
        return ()
    dark = _last_unreadable(owner_id, tags, marks)
    deletions = [record for record in read_records(owner_id, tags) if not record.changed_nothing]
    standing = []
    for mark in marks:
        number = record_order(mark)[0]
        if mark.state != "marked" or number <= dark:
            continue
        # The same number twice was written at the same time, by two that knew nothing of another.
        later = [record for record in deletions if record_order(record)[0] >= number]
        later += [other for other in marks if record_order(other)[0] > number]
        left = [place for place in mark.locations if not touches(later, place)]
        if left:
            standing.append(replace(mark, locations=tuple(left)))
    return tuple(standing)


def touches(records: Iterable[DeletionRecord], place: Location) -> bool:
    """Whether one of the records is about a location, or about one within or around it."""
    return any(
        is_within(place.path, other.path) or is_within(other.path, place.path)
        for record in records
        for other in record.locations
    )


def _last_unreadable(
    owner_id: str, tags: Mapping[str, str], marks: Sequence[DeletionRecord]
) -> int:
    """Return the highest number under which something of this owner cannot be read, else -1."""
    read = {mark.record_id for mark in marks}
    found = -1
    for key, value in tags.items():
        number = key.rpartition(".")[2]
        if not number.isdecimal():
            continue
        if key.startswith(RECORD_TAG_PREFIX):
            unread = decode_record(key, value, owner_id) is None
        elif key.startswith(MARK_TAG_PREFIX):
            unread = number not in read
        else:
            continue
        # A copy of another owner's tag is none of this one's.
        if unread and deletion_was_begun(owner_id, {RECORD_TAG_PREFIX + number: value}):
            found = max(found, int(number))
    return found


def earliest_due(
    owners: Iterable[tuple[str, Mapping[str, str]]], path: str | None = None
) -> int | None:
    """Return when (ms) the first of some owners' marks is due, None where there is none.

    Parameters
    ----------
    owners
        Ids and tags.
    path
        Only marks of what lies there.
    """
    due = [
        mark.due
        for owner_id, tags in owners
        if GOES_TAG in tags
        for mark in standing_marks(owner_id, tags)
        if mark.due is not None
        and (path is None or any(is_within(path, place.path) for place in mark.locations))
    ]
    return min(due, default=None)


def replaced_by(
    mark: DeletionRecord, tags: Mapping[str, str], at: int
) -> tuple[DeletionRecord, ...]:
    """Return the earlier marks of its owner of which a new one leaves nothing, ended."""
    before = standing_marks(mark.owner_id, tags)
    known = {one.record_id: one for one in read_marks(mark.owner_id, tags)}
    return tuple(
        ended_mark(known[one.record_id], "replaced", at, f"by the mark {mark.record_id}")
        for one in before
        if all(touches([mark], place) for place in one.locations)
    )


def ended_mark(mark: DeletionRecord, state: str, at: int, note: str) -> DeletionRecord:
    """Return a mark as it ended; the digests of its files, which nobody needs any more, go."""
    assert state in MARK_STATES
    return replace(mark, state=state, ended=at, note=note, seen="")  # type: ignore[arg-type]


def write_marks(
    client: MlflowClient, marks: Sequence[DeletionRecord], tags: Mapping[str, str]
) -> None:
    """Write some marks of one owner in one request, and when the next of them all is due.

    Parameters
    ----------
    tags
        Of the owner, as they were read.

    Raises
    ------
    JournalError
        The owner takes no tags, or a record is too long.
    """
    owner_id = marks[0].owner_id
    written = dict(mark.to_tag() for mark in marks)
    left = standing_marks(owner_id, {**tags, **written})
    due = min((mark.due for mark in left if mark.due is not None), default=None)
    written[GOES_TAG] = marks[0].state if due is None else format_moment(due)
    write_tags(client, owner_id, written)
