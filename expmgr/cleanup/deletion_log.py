"""What the journal holds as tables: all that went, and what is to go."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any

from expmgr.catalog.model import is_model_id
from expmgr.cleanup.blob_journal import named_owner, read_journal
from expmgr.errors import StorageError
from expmgr.secrecy import redact
from expmgr.text import words
from expmgr.tracking.journal import (
    MODEL_TAG,
    PART_TAG,
    now_ms,
    read_part_records,
    read_records,
)
from expmgr.tracking.journal_owners import JournalOwner, journal_owners
from expmgr.tracking.journal_record import (
    MARK_TAG_PREFIX,
    PART_TAG_PREFIX,
    RECORD_TAG_PREFIX,
    DeletionRecord,
)
from expmgr.tracking.marks import GOES_TAG, read_marks, standing_marks
from expmgr.tracking.queries import ALL_EXPERIMENTS, iter_experiments, select_experiments

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.cleanup.blob_journal import JournalBlob
    from expmgr.storage.protocol import Storage

__all__ = ["LOG_COLUMNS", "MARK_COLUMNS", "log_table", "marks_table"]

logger = logging.getLogger(__name__)

LOG_COLUMNS = (
    "when",
    "ended",
    "who",
    "id",
    "run_id",
    "name",
    "experiment",
    "part",
    "state",
    "files",
    "bytes",
    "forced",
    "due",
    "note",
)
MARK_COLUMNS = ("id", "name", "experiment", "goes", "marked_by", "marked_at", "files", "bytes")

_TIMES = frozenset({"when", "ended", "due", "goes", "marked_at"})
_NUMBERS = frozenset({"files", "bytes"})


def marks_table(
    client: MlflowClient,
    experiments: str | Iterable[str] | None,
    is_own: Callable[[Experiment], bool],
) -> pd.DataFrame:
    """Return a row a standing mark, the next to go first."""
    chosen = _chosen(client, experiments, is_own)
    rows = [
        (
            _id(owner, mark),
            owner.name,
            chosen[owner.experiment_id],
            mark.due,
            mark.owner,
            mark.began,
            mark.files,
            mark.bytes,
        )
        for owner in journal_owners(client, list(chosen), [GOES_TAG])
        for mark in standing_marks(owner.id, owner.tags)
    ]
    rows.sort(key=lambda row: (row[3] or 0, row[0]))
    return _frame(MARK_COLUMNS, rows)


def log_table(
    client: MlflowClient,
    blob_store: Storage,
    experiments: str | Iterable[str] | None,
    is_own: Callable[[Experiment], bool],
) -> pd.DataFrame:
    """Return a row a record of the journal, the newest first."""
    chosen = _chosen(client, experiments, is_own)
    at = now_ms()
    blobs = _read_blobs(blob_store)
    # A run that went to the trash midway began its record as a tag and closed it as a blob.
    closed = {(one.record.owner_id, one.record.began) for one in blobs if one.record is not None}
    rows = [
        row
        for owner in journal_owners(client, list(chosen), [MODEL_TAG, PART_TAG, GOES_TAG])
        for row in _rows(owner, chosen[owner.experiment_id], at, closed)
    ]
    if experiments is None or experiments == ALL_EXPERIMENTS:
        rows += [_blob_row(blob, at) for blob in blobs]
    rows.sort(key=lambda row: (-(row[0] or 0), str(row[3])))
    return _frame(LOG_COLUMNS, rows)


def _chosen(
    client: MlflowClient,
    experiments: str | Iterable[str] | None,
    is_own: Callable[[Experiment], bool],
) -> dict[str, str]:
    """Return the names of the chosen experiments by their ids."""
    found = select_experiments(iter_experiments(client), experiments, is_own)
    return {experiment.experiment_id: experiment.name for experiment in found}


def _rows(
    owner: JournalOwner, experiment: str, at: int, closed: Collection[tuple[str, int]]
) -> Iterator[tuple[Any, ...]]:
    standing = {mark.record_id for mark in standing_marks(owner.id, owner.tags)}
    read = {
        RECORD_TAG_PREFIX: read_records(owner.id, owner.tags),
        PART_TAG_PREFIX: read_part_records(owner.id, owner.tags),
        MARK_TAG_PREFIX: read_marks(owner.id, owner.tags),
    }
    for record in itertools.chain.from_iterable(read.values()):
        state = _state(record, at)
        if state == "marked" and record.record_id not in standing:
            state = "done"  # a later record holds, as the next delete_due() will write here
        if state not in {"deleting", "interrupted"} or (owner.id, record.began) not in closed:
            yield _row(record, owner, experiment, state)
    known = {prefix + record.record_id for prefix, found in read.items() for record in found}
    yield from _unreadable(owner, experiment, known)


def _unreadable(owner: JournalOwner, experiment: str, known: set[str]) -> Iterator[tuple[Any, ...]]:
    """Yield what stands in the journal and cannot be read; copies of another's tags are not its."""
    for key, value in owner.tags.items():
        if key in known or not key.startswith(
            (RECORD_TAG_PREFIX, PART_TAG_PREFIX, MARK_TAG_PREFIX)
        ):
            continue
        if named_owner(value) in {None, owner.id}:
            note = f"the tag {key} cannot be read: of a later version, or damaged"
            yield _dark(owner.id, owner.run_id, owner.name, experiment, note)


def _read_blobs(blob_store: Storage) -> list[JournalBlob]:
    """Return the records that are kept as blobs, of what takes no tags."""
    try:
        return list(read_journal(blob_store))
    except StorageError as error:
        logger.warning("the log is without records that are kept as blobs: %s", error)
        return []


def _blob_row(blob: JournalBlob, at: int) -> tuple[Any, ...]:
    record = blob.record
    if record is None:
        return _dark(blob.owner_id, "", "", "", blob.problem)
    run_id = "" if is_model_id(record.owner_id) else record.owner_id
    owner = JournalOwner(record.owner_id, run_id, "", "", {})
    return _row(record, owner, "", _state(record, at))


def _state(record: DeletionRecord, at: int) -> str:
    if record.state == "deleting" and not record.is_live(at):
        return "interrupted"
    return words(record.state)


def _id(owner: JournalOwner, record: DeletionRecord) -> str:
    return words(record.asked or owner.id)


def _row(
    record: DeletionRecord, owner: JournalOwner, experiment: str, state: str
) -> tuple[Any, ...]:
    return (
        record.began,
        record.ended,
        words(record.owner),
        _id(owner, record),
        owner.run_id,
        owner.name,
        experiment,
        words(record.part if isinstance(record.part, str) else ", ".join(record.part)),
        state,
        record.files,
        record.bytes,
        words(redact("; ".join(record.forced))),
        record.due,
        words(redact(record.note)),
    )


def _dark(id_: str, run_id: str, name: str, experiment: str, note: str) -> tuple[Any, ...]:
    return (
        *(None, None, "", id_, run_id, name, experiment, "", "unknown"),
        *(None, None, "", None, words(redact(note))),
    )


def _frame(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    import pandas as pd

    from expmgr.whole_table import WholeTable

    values: Mapping[str, Any] = {
        name: _column(name, [row[at] for row in rows]) for at, name in enumerate(columns)
    }
    return WholeTable(pd.DataFrame(values, columns=list(columns)))


def _column(name: str, values: list[Any]) -> Any:
    import pandas as pd

    if name in _TIMES:
        counts = pd.Series(values, dtype="Int64")
        return pd.to_datetime(counts, unit="ms", utc=True).dt.floor("s")
    if name in _NUMBERS:
        return pd.array(values, dtype="Int64")
    return pd.Series(values, dtype="object")
