"""Bringing a deleted model back where the account still keeps its blobs."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from expmgr.errors import NotFoundError, StorageError
from expmgr.formatting import format_count
from expmgr.moving_in import metrics_after_restoration
from expmgr.tracking.journal import (
    MODEL_TAG,
    now_ms,
    planned_count,
    read_part_records,
    read_records,
    write_record,
)
from expmgr.tracking.queries import asking, run_or_none

if TYPE_CHECKING:
    from expmgr.cleanup.planner import Planner
    from expmgr.storage.location import Location
    from expmgr.storage.restoration import StorageRestoration
    from expmgr.tracking.journal import DeletionRecord

__all__ = ["restore_run"]

logger = logging.getLogger(__name__)


def restore_run(planner: Planner, run_id: str) -> tuple[StorageRestoration, list[Location]]:
    """Undelete what the journal says was deleted from a run, and record that.

    Raises
    ------
    NotFoundError
        No such run, or no deletion of its model is recorded.
    StorageError
        Nothing could be brought back.
    """
    run = run_or_none(planner.client, run_id)
    if run is None:
        message = f"the tracking server has no run {run_id!r}; check the id and the tracking URI."
        raise NotFoundError(message, run_id=run_id)
    records = [
        record
        for record in read_records(run_id, run.data.tags)
        if record.state in {"deleted", "failed", "cancelled"}
    ]
    if not records:
        message = f"run {run_id} records no deletion of its model, so nothing can be restored."
        if read_part_records(run_id, run.data.tags):
            message += " Parts of it that went are not brought back by this."
        raise NotFoundError(message, run_id=run_id)
    finder = planner.finder()
    locations = [
        finder.check(location)
        for location in dict.fromkeys(
            location for record in records for location in record.locations
        )
    ]
    restored = planner.blob_store.undelete(locations)
    if not restored.files and not restored.present:
        message = (
            f"the account keeps nothing of the model of run {run_id}: soft delete is off, or its "
            "retention has ended. Nothing was changed."
        )
        raise StorageError(message, run_id=run_id)
    # Part of a model is no model: the run then reads as interrupted, and can be deleted again.
    there = restored.files + restored.present
    missing = max(len(restored.failed), max(map(_files_of, records)) - there)
    if missing > 0 and not restored.files:
        message = (
            f"the account keeps nothing of what went of the model of run {run_id}, "
            f"{format_count(missing, 'file')}: soft delete is off, or its retention has ended. "
            f"{format_count(restored.present, 'file')} that were left are there; nothing was "
            "changed."
        )
        raise StorageError(message, run_id=run_id)
    whole = missing <= 0
    note = "" if whole else f"restored in part: {missing} blobs are missing"
    told = metrics_after_restoration(run.data.metrics) if whole else ()
    for record in records:
        ended = replace(record, state="restored" if whole else "failed", ended=now_ms(), note=note)
        write_record(planner.client, ended, told)
    for location in locations if whole else ():
        if location.kind == "logged_model":
            _untag(planner, location.owner_id)
    return restored, locations


def _files_of(record: DeletionRecord) -> int:
    """Return how many files a deletion was of, at least; 0 where that is not known."""
    return record.files if record.state == "deleted" else planned_count(record)


def _untag(planner: Planner, model_id: str) -> None:
    from expmgr.errors import ExpmgrError

    try:
        with asking(f"take the tag of the logged model {model_id} back"):
            planner.client.delete_logged_model_tag(model_id, MODEL_TAG)
    except ExpmgrError as error:
        logger.info("%s", error)
