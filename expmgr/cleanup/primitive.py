"""The storage step under every deletion, and how it finds its locations when called alone."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from expmgr.catalog.model import is_model_id, run_and_path
from expmgr.cleanup.handover import CurrentDeletion
from expmgr.errors import ExpmgrError
from expmgr.text import words
from expmgr.tracking.journal import (
    DeletionRecord,
    begin,
    next_record_id,
    now_ms,
    owner_of,
    seen_digest,
    write_record,
)
from expmgr.tracking.queries import logged_model

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from expmgr.cleanup.planner import Planner
    from expmgr.storage.location import Location
    from expmgr.storage.protocol import Storage

__all__ = ["delete_alone", "delete_resolved"]

logger = logging.getLogger(__name__)


def delete_resolved(blob_store: Storage, current: CurrentDeletion) -> bool:
    """Delete what was resolved; True where there was something.

    Raises
    ------
    DeletionError
        See `Storage.delete`.
    """
    done = blob_store.delete(
        current.locations,
        etags=current.etags,
        sizes=current.sizes,
        not_after=current.not_after,
        only=current.only,
        on_progress=current.on_progress,
        cancel=current.cancel,
        total_files=current.total_files,
        total_bytes=current.total_bytes,
    )
    return current.ended(done)


def delete_alone(planner: Planner, owner_id: str) -> bool:
    """Resolve the locations of a run's models, or of one model, and delete what lies there.

    Unguarded by protection. Where only files told what the model is, the run's journal records
    that a deletion was begun, so that a second call cannot take for the model what the first one
    left. Where it is in doubt what the model is, nothing is deleted.

    Raises
    ------
    DeletionError, LocationError, TrackingError, JournalError
        As `ExperimentsManagerWithAzureBlobBackend._delete_model` says.
    """
    if run_and_path(owner_id) is not None:
        logger.error(
            "nothing to delete: %s has no plain deletion; use delete_model", owner_of(owner_id)
        )
        return False
    if is_model_id(owner_id):
        model = logged_model(planner.client, owner_id)
        if model is None:
            logger.error("nothing to delete: the tracking server has no model %s", owner_id)
            return False
        location = planner.finder().logged(model).location
        return delete_resolved(planner.blob_store, CurrentDeletion(owner_id, (location,)))
    resolved = planner.resolve(owner_id)
    if not resolved.locations:
        logger.error("nothing to delete for %s: %s", owner_of(owner_id), words(resolved.note))
        return False
    current = CurrentDeletion(owner_id, resolved.locations)
    if resolved.recorded:
        return delete_resolved(planner.blob_store, current)
    return _delete_recorded(planner, owner_id, resolved.locations, resolved.tags)


def _delete_recorded(
    planner: Planner, run_id: str, locations: tuple[Location, ...], tags: dict[str, str]
) -> bool:
    listings = [planner.blob_store.measure(location) for location in locations]
    etags = {name: tag for listing in listings for name, tag in listing.etags.items()}
    if not etags:
        logger.error("nothing to delete: run %s has no files in the container", run_id)
        return False
    record = begin(
        run_id,
        locations,
        record_id=next_record_id(tags),
        planned_at=int(min(listing.listed_at for listing in listings).timestamp() * 1000),
        seen=seen_digest(etags),
    )
    write_record(planner.client, record)
    current = CurrentDeletion(run_id, locations)
    try:
        deleted = delete_resolved(planner.blob_store, current)
    except BaseException as error:
        _close(planner.client, replace(record, state="failed", note=str(error)))
        raise
    files, size = (0, 0) if current.done is None else (current.done.files, current.done.bytes)
    _close(planner.client, replace(record, state="deleted", files=files, bytes=size))
    return deleted


def _close(client: MlflowClient, record: DeletionRecord) -> None:
    try:
        write_record(client, replace(record, ended=now_ms()))
    except ExpmgrError as error:
        logger.warning("%s: the journal was not closed: %s", owner_of(record.owner_id), error)
