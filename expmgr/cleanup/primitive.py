"""The storage step under every deletion, and how it finds its locations when called alone."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from expmgr.cleanup.deletion import CurrentDeletion, find_current
from expmgr.errors import ExpmgrError
from expmgr.tracking.journal import DeletionRecord, begin, next_record_id, now_ms, write_record
from expmgr.tracking.models import models_of_run
from expmgr.tracking.queries import run_or_none

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from expmgr.cleanup.planner import Planner
    from expmgr.storage.blob_store import BlobStore

__all__ = ["delete_alone", "delete_current"]

logger = logging.getLogger(__name__)


def delete_current(blob_store: BlobStore, run_id: str) -> bool | None:
    """Delete what ``delete_model`` resolved for the run; None where it resolved nothing.

    Raises
    ------
    DeletionError
        See `BlobStore.delete`.
    """
    current = find_current(blob_store, run_id)
    return None if current is None else _delete(blob_store, current)


def delete_alone(planner: Planner, run_id: str) -> bool:
    """Resolve a run's locations and delete what lies there, unguarded by protection.

    Where only files told what the model is, the run's journal records that a deletion was begun,
    so that a second call cannot take for the model what the first one left.

    Raises
    ------
    DeletionError, LocationError, TrackingError, JournalError
        As `ExperimentsManagerWithAzureBlobBackend._delete_model` says.
    """
    run = run_or_none(planner.client, run_id)
    if run is None:
        logger.error("nothing to delete: the tracking server has no run %s", run_id)
        return False
    models = models_of_run(planner.client, run)
    found = planner.finder().find(run, models)
    if not found.locations:
        logger.error(
            "nothing to delete for run %s: %s", run_id, found.note or "no model is recorded"
        )
        return False
    current = CurrentDeletion(run_id, found.locations)
    if models.recorded:
        return _delete(planner.blob_store, current)
    listings = [planner.blob_store.measure(location) for location in found.locations]
    if not any(listing.etags for listing in listings):
        logger.error("nothing to delete: run %s has no files in the container", run_id)
        return False
    record = begin(
        run_id,
        found.locations,
        record_id=next_record_id(run.data.tags),
        planned_at=int(min(listing.listed_at for listing in listings).timestamp() * 1000),
    )
    write_record(planner.client, record)
    try:
        deleted = _delete(planner.blob_store, current)
    except BaseException as error:
        _close(planner.client, replace(record, state="failed", note=str(error)))
        raise
    files, size = (0, 0) if current.done is None else (current.done.files, current.done.bytes)
    _close(planner.client, replace(record, state="deleted", files=files, bytes=size))
    return deleted


def _delete(blob_store: BlobStore, current: CurrentDeletion) -> bool:
    done = blob_store.delete(
        current.locations,
        etags=current.etags,
        not_after=current.not_after,
        on_progress=current.on_progress,
        cancel=current.cancel,
        total_files=current.total_files,
        total_bytes=current.total_bytes,
    )
    current.done = done
    if done.files or done.kept:
        return True
    logger.error(
        "nothing to delete for run %s: no files under %s",
        current.run_id,
        ", ".join(location.prefix for location in current.locations),
    )
    return False


def _close(client: MlflowClient, record: DeletionRecord) -> None:
    try:
        write_record(client, replace(record, ended=now_ms()))
    except ExpmgrError as error:
        logger.warning("run %s: the journal was not closed: %s", record.run_id, error)
