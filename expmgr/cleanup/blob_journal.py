"""The journal of what takes no tags: a JSON blob a deletion, ``expmgr-journal/<id>.<n>.json``.

Runs in MLflow's trash, LoggedModels that were deleted and folders of nobody take none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from expmgr.errors import JournalError, StorageError
from expmgr.secrecy import bare
from expmgr.storage.blob_path import JOURNAL_PREFIX
from expmgr.tracking.journal import now_ms, owner_of
from expmgr.tracking.journal_record import RECORD_TAG_PREFIX, decode_record
from expmgr.tracking.queries import in_parallel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from expmgr.storage.listing import Blob
    from expmgr.storage.protocol import Storage
    from expmgr.tracking.journal import DeletionRecord

__all__ = ["BlobJournal", "JournalBlob", "named_owner", "read_journal"]


@dataclass(frozen=True)
class JournalBlob:
    """One blob of the journal.

    Attributes
    ----------
    owner_id
        Whose record it says it is; "" where that cannot be read.
    record
        None where it cannot be read.
    problem
        Why not, or "".
    """

    name: str
    etag: str
    owner_id: str = ""
    record: DeletionRecord | None = None
    problem: str = ""


def named_owner(text: str) -> str | None:
    """Return whose record a text says it is, None where it says nothing that can be read."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    named = data.get("run") if isinstance(data, dict) else None
    return named if isinstance(named, str) else None


def read_journal(blob_store: Storage, owner_id: str | None = None) -> Iterator[JournalBlob]:
    """Yield the records that are kept as blobs, also those that cannot be read.

    Parameters
    ----------
    owner_id
        Only the records of this run, model or folder; None for all.

    Raises
    ------
    StorageError
        The journal could not be listed.
    """
    some = [
        blob
        for blob in blob_store.list(f"{JOURNAL_PREFIX}/")
        if blob.name.endswith(".json") and owner_id in {None, _owner_and_number(blob.name)[0]}
    ]

    def read(blob: Blob) -> JournalBlob:
        owner, number = _owner_and_number(blob.name)
        try:
            text = blob_store.read_text(blob.name)
        except StorageError as error:
            problem = f"{blob.name} could not be read: {error}"
            return JournalBlob(blob.name, blob.etag, owner if owner_id else "", problem=problem)
        named = named_owner(text)
        record = None if named is None else decode_record(RECORD_TAG_PREFIX + number, text, named)
        problem = "" if record is not None else f"{blob.name} cannot be read"
        return JournalBlob(blob.name, blob.etag, named or "", record, problem)

    yield from in_parallel(read, some)  # a request a record, of which a year has thousands


def _owner_and_number(name: str) -> tuple[str, str]:
    stem = name.removesuffix(".json").removeprefix(f"{JOURNAL_PREFIX}/")
    owner, _, number = stem.rpartition(".")
    return owner, number


class BlobJournal:
    """Writes the record of one deletion: begun, renewed, ended.

    Parameters
    ----------
    blob_store
        In which the journal lies.
    """

    def __init__(self, blob_store: Storage) -> None:
        self._store = blob_store
        self._number = ""
        self._etag: str | None = None

    def write(self, record: DeletionRecord) -> None:
        """Write the record, or what became of it, in place of what this journal wrote before.

        Raises
        ------
        JournalError
            Somebody else is deleting there, or the record could not be written. No journal, no
            deletion.
        """
        try:
            if not self._number:
                self._open(record)
            _, text = replace(record, record_id=self._number).to_tag()
            name = f"{JOURNAL_PREFIX}/{record.owner_id}.{self._number}.json"
            self._etag = self._store.write_text(name, text, replaces=self._etag)
        except StorageError as error:
            message = f"{owner_of(record.owner_id)} could not record its deletion ({error})."
            raise JournalError(message, run_id=record.owner_id) from bare(error)

    def _open(self, record: DeletionRecord) -> None:
        """Find the record that is resumed, or the next number."""
        at = now_ms()
        number = int(record.record_id)
        paths = {location.path for location in record.locations}
        for blob in read_journal(self._store, record.owner_id):
            other = blob.record
            if other is None:
                # In doubt whether a deletion is under way there, none is begun.
                raise JournalError(f"{blob.problem}: {owner_of(record.owner_id)} was left.")
            if other.record_id == record.record_id and other.began == record.began:
                self._number, self._etag = record.record_id, blob.etag
                return
            if other.is_live(at) and paths & {location.path for location in other.locations}:
                minutes = max(1, round((other.deadline - at) / 60_000))
                message = (
                    f"{owner_of(record.owner_id)} is being deleted by {other.owner}; if that "
                    f"process died, it can be resumed in {minutes} min."
                )
                raise JournalError(message, run_id=record.owner_id)
            if other.record_id.isdecimal():
                number = max(number, int(other.record_id) + 1)
        self._number = str(number)
