"""The record of each deletion, kept as tags on the MLflow run, or on a model that has no run.

One tag ``expmgr.deletion.<number>`` a deletion, a small JSON value that names its owner, so that
tags which a tool copied to another run mean nothing there; and ``expmgr.model``, one word for
people and filters. Tags are shared by the team and survive every process; MLflow cuts a tag value
silently at 8,000 characters (``mlflow.utils.validation.MAX_TAG_VAL_LENGTH``), so a longer record
is refused before anything is deleted. Encoding, decoding and the state are pure.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from expmgr.catalog.model import is_model_id
from expmgr.catalog.parts import is_named
from expmgr.errors import JournalError
from expmgr.secrecy import bare
from expmgr.tracking.journal_record import (
    LEASE_SECONDS,
    MARK_TAG_PREFIX,
    MODEL_TAG,
    PART_TAG,
    PART_TAG_PREFIX,
    RECORD_TAG_PREFIX,
    DeletionRecord,
    PartFiles,
    decode_record,
    now_ms,
    owner_of,
    part_among,
    part_digest,
    planned_among,
    planned_count,
    seen_digest,
)
from expmgr.tracking.queries import asking, ensure_reachable, tag_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient

    from expmgr.catalog.model import JournalState
    from expmgr.catalog.parts import Part
    from expmgr.storage.location import Location

__all__ = [
    "LEASE_SECONDS",
    "MODEL_TAG",
    "PART_TAG",
    "PART_TAG_PREFIX",
    "RECORD_TAG_PREFIX",
    "DeletionRecord",
    "PartFiles",
    "begin",
    "deletion_was_begun",
    "journal_of",
    "journal_state",
    "latest_parts",
    "latest_records",
    "next_record_id",
    "now_ms",
    "owner_name",
    "owner_of",
    "part_among",
    "part_digest",
    "part_files",
    "planned_among",
    "planned_count",
    "read_part_records",
    "read_records",
    "record_order",
    "renewed",
    "seen_digest",
    "write_record",
    "write_tags",
]


def owner_name() -> str:
    """Return who is deleting: user, host and process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # no passwd entry, as in many containers
        user = "unknown"
    return f"{user}@{socket.gethostname()}:{os.getpid()}"


def next_record_id(tags: Mapping[str, str]) -> str:
    """Return the lowest number above those of the deletions, of parts too, and marks recorded.

    They are numbered together, which tells what came later where several clocks do not agree.
    """
    numbers = [
        int(number)
        for key in tags
        for prefix in (RECORD_TAG_PREFIX, PART_TAG_PREFIX, MARK_TAG_PREFIX)
        if key.startswith(prefix) and (number := key[len(prefix) :]).isdecimal()
    ]
    return str(max(numbers, default=0) + 1)


def begin(
    owner_id: str,
    locations: Sequence[Location],
    *,
    record_id: str,
    planned_at: int | None,
    files: int = 0,
    bytes: int = 0,  # noqa: A002 - the word of the field
    forced: Sequence[str] = (),
    seen: str = "",
    asked: str = "",
    part: Part = "model",
    counts: Sequence[int] = (),
    nobodys: bool = False,
) -> DeletionRecord:
    """Return a new record in the state ``deleting``, not yet written."""
    began = now_ms()
    return DeletionRecord(
        record_id=record_id,
        owner_id=owner_id,
        state="deleting",
        locations=tuple(locations),
        owner=owner_name(),
        began=began,
        deadline=began + int(LEASE_SECONDS * 1000),
        planned_at=planned_at,
        files=files,
        bytes=bytes,
        forced=tuple(forced),
        seen=seen,
        asked=asked,
        part=part,
        counts=tuple(counts),
        nobodys=nobodys,
    )


def renewed(record: DeletionRecord) -> DeletionRecord:
    """Return the record with its deadline moved on from now."""
    return replace(record, deadline=now_ms() + int(LEASE_SECONDS * 1000))


def write_record(
    client: MlflowClient, record: DeletionRecord, metrics: Sequence[tuple[str, float]] = ()
) -> None:
    """Write the record and the one-word tag in one request, to the run or the model that owns it.

    Parameters
    ----------
    metrics
        Metrics of the run that are logged with it, by name.

    Raises
    ------
    JournalError
        The owner cannot take tags (it is in the trash, or its experiment is), the record is too
        long, or the server did not accept it. No journal, no deletion.
    """
    key, value = record.to_tag()
    word = PART_TAG if is_named(record.part) else MODEL_TAG
    write_tags(client, record.owner_id, {key: value, word: record.state}, metrics)


def write_tags(
    client: MlflowClient,
    owner_id: str,
    tags: Mapping[str, str],
    metrics: Sequence[tuple[str, float]] = (),
) -> None:
    """Write the journal's tags in one request, to the run or the model that owns them.

    Raises
    ------
    JournalError
        As `write_record`.
    """
    from mlflow.entities import Metric, RunTag

    try:
        # MLflow's own retries against a server that went away go on for four minutes.
        ensure_reachable(client.tracking_uri)
        with asking("write the journal", run_id=owner_id):
            if is_model_id(owner_id):
                tag_model(client, owner_id, tags)
            else:
                client.log_batch(
                    owner_id,
                    metrics=[Metric(name, value, now_ms(), 0) for name, value in metrics],
                    tags=[RunTag(key, tags[key]) for key in tags],
                )
    except Exception as error:
        message = (
            f"{owner_of(owner_id)} could not record its deletion ({error}). A run or model "
            "in the trash, or a run in an experiment in the trash, takes no tags: restore it first."
        )
        bare(error)
        raise JournalError(message, run_id=owner_id) from error


def record_order(record: DeletionRecord) -> tuple[int, str]:
    """Return a record's place in the order of deletions; several processes' clocks do not agree."""
    return int(record.record_id) if record.record_id.isdecimal() else 0, record.record_id


def read_records(owner_id: str, tags: Mapping[str, str]) -> tuple[DeletionRecord, ...]:
    """Return the deletions recorded on a run or model, oldest first; broken tags are ignored.

    Of parts see `read_part_records`: a model of which a part went is whole.
    """
    return _read(RECORD_TAG_PREFIX, owner_id, tags)


def read_part_records(owner_id: str, tags: Mapping[str, str]) -> tuple[DeletionRecord, ...]:
    """Return the deletions of parts recorded on a run or model, oldest first."""
    return _read(PART_TAG_PREFIX, owner_id, tags)


def latest_parts(owner_id: str, tags: Mapping[str, str]) -> tuple[DeletionRecord, ...]:
    """Return of each part in each place the last deletion, oldest first; what it says holds."""
    latest = {
        (record.part, location.path): record
        for record in read_part_records(owner_id, tags)
        if not record.changed_nothing
        for location in record.locations
    }
    return tuple(sorted(dict.fromkeys(latest.values()), key=record_order))


def part_files(owner_id: str, tags: Mapping[str, str], model_id: str) -> int:
    """Return how many files of a LoggedModel the deletions of parts were of, at most. Pure.

    One that failed and was planned anew counts once.
    """
    most: dict[Part, int] = {}
    for record in read_part_records(owner_id, tags):
        if record.changed_nothing:
            continue
        for location, count in zip(record.locations, record.counts, strict=False):
            if location.kind == "logged_model" and location.owner_id == model_id:
                most[record.part] = max(most.get(record.part, 0), count)
    return sum(most.values())


def _read(prefix: str, owner_id: str, tags: Mapping[str, str]) -> tuple[DeletionRecord, ...]:
    records = [
        record
        for key, value in tags.items()
        if key.startswith(prefix) and (record := decode_record(key, value, owner_id)) is not None
    ]
    return tuple(sorted(records, key=record_order))


def latest_records(owner_id: str, tags: Mapping[str, str]) -> dict[str, DeletionRecord]:
    """Return by blob path the last deletion there; what it says holds. Pure.

    One that was cancelled before any file went changed nothing and says nothing.
    """
    return {
        location.path: record
        for record in read_records(owner_id, tags)
        if not record.changed_nothing
        for location in record.locations
    }


def journal_state(records: Mapping[str, DeletionRecord], path: str, at: int) -> JournalState:
    """Return what the latest records say of one location. Pure."""
    record = records.get(path)
    if record is None or record.state == "restored":
        return ""
    if record.is_live(at):
        return "deleting"
    if record.is_unfinished():
        return "interrupted"
    return "deleted" if record.state == "deleted" else ""


def journal_of(
    path: str | None,
    at: int,
    *owners: tuple[str, Mapping[str, str]],
) -> JournalState:
    """Return what the journals of a model's owners, each an id and its tags, say of it. Pure."""
    for owner_id, tags in owners:
        if path is not None and MODEL_TAG in tags:
            found = journal_state(latest_records(owner_id, tags), path, at)
            if found:
                return found
    return ""


def deletion_was_begun(owner_id: str, tags: Mapping[str, str]) -> bool:
    """Whether any deletion of this run's model was ever begun, readable or not.

    A record that cannot be read (of a later version, cut) still tells that there was one, unless
    it plainly names another run.
    """
    for key, value in tags.items():
        if not key.startswith(RECORD_TAG_PREFIX):
            continue
        try:
            data = json.loads(value)
        except (ValueError, RecursionError):
            return True
        if not isinstance(data, dict) or data.get("run", owner_id) == owner_id:
            return True
    return False
