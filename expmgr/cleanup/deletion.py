"""Carrying out one run's plan: journal, storage step, journal, result.

The storage step is the manager's ``_delete_model``, found by name on the manager, so that a
subclass which overrides it changes what every caller (and the button) does. What the plan resolved
reaches it through a context variable, since its signature is fixed.
"""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from expmgr.errors import (
    DeletionCancelledError,
    DeletionError,
    ExpmgrError,
    JournalError,
    ProtectedModelError,
)
from expmgr.formatting import format_bytes, format_count, format_seconds
from expmgr.results import DeletionProgress, DeletionResult
from expmgr.tracking.journal import (
    LEASE_SECONDS,
    MODEL_TAG,
    DeletionRecord,
    begin,
    now_ms,
    renewed,
    write_record,
)
from expmgr.tracking.queries import ensure_reachable

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from mlflow import MlflowClient

    from expmgr.cleanup.plan import RunPlan
    from expmgr.storage.blob_store import BlobStore, StorageDeletion
    from expmgr.storage.location import Location
    from expmgr.tracking.journal import RecordState

__all__ = ["CurrentDeletion", "Deleter", "current_deletion", "failure", "find_current"]

logger = logging.getLogger(__name__)


@dataclass
class CurrentDeletion:
    """What ``delete_model`` resolved for the ``_delete_model`` that it calls on this thread."""

    run_id: str
    locations: tuple[Location, ...]
    etags: Mapping[str, str] | None = None
    not_after: datetime | None = None
    total_files: int | None = None
    total_bytes: int | None = None
    on_progress: Callable[[DeletionProgress], None] | None = None
    cancel: threading.Event | None = None
    done: StorageDeletion | None = None


current_deletion: ContextVar[CurrentDeletion | None] = ContextVar(
    "expmgr_current_deletion", default=None
)

_under_way: dict[tuple[int, str], CurrentDeletion] = {}
"""By store and run id, for a ``_delete_model`` that works on a thread of its own."""


def find_current(blob_store: BlobStore, run_id: str) -> CurrentDeletion | None:
    """Return what ``delete_model`` resolved for a run, also where another thread does the work."""
    current = current_deletion.get()
    if current is not None and current.run_id == run_id:
        return current
    return _under_way.get((id(blob_store), run_id))


@dataclass
class _Lease:
    """Renews the journal's deadline while a deletion goes on."""

    client: MlflowClient
    record: DeletionRecord
    written: float = field(default_factory=time.monotonic)

    def renew(self) -> None:
        if time.monotonic() - self.written < LEASE_SECONDS / 3:
            return
        self.written = time.monotonic()
        self.record = renewed(self.record)
        try:
            write_record(self.client, self.record)
        except JournalError as error:
            logger.warning("run %s: the journal was not renewed: %s", self.record.run_id, error)


@dataclass(frozen=True)
class Deleter:
    """Deletes what a plan holds.

    Attributes
    ----------
    delete_step
        The manager's ``_delete_model(run_id, experiment_id) -> bool``.
    """

    client: MlflowClient
    blob_store: BlobStore
    delete_step: Callable[[str, str | None], bool]

    def delete(
        self,
        plan: RunPlan,
        *,
        force: bool = False,
        on_progress: Callable[[DeletionProgress], None] | None = None,
        cancel: threading.Event | None = None,
        resumes: DeletionRecord | None = None,
    ) -> DeletionResult:
        """Carry out one run's plan; every way it can end is a result, none an exception.

        Parameters
        ----------
        force
            Pass the protection; the journal records what it overrode.
        resumes
            The record of an interrupted deletion to be finished instead of a new one.
        """
        began = time.monotonic()
        refused = _refused(plan, force=force)
        if refused is not None:
            return refused
        planned_at = None if plan.planned_at is None else int(plan.planned_at.timestamp() * 1000)
        record = begin(
            plan.run_id,
            [planned.location for planned in plan.locations],
            record_id=plan.record_id,
            planned_at=planned_at,
            files=plan.files,
            bytes=plan.bytes,
            forced=plan.reasons if force else (),
        )
        if resumes is not None:
            record = replace(
                record,
                record_id=resumes.record_id,
                began=resumes.began,
                planned_at=resumes.planned_at,
                locations=resumes.locations,
                forced=tuple(dict.fromkeys([*resumes.forced, *record.forced])),
            )
        lease = _Lease(self.client, record)

        def progressed(progress: DeletionProgress) -> None:
            lease.renew()
            if on_progress is not None:
                on_progress(progress)

        etags: dict[str, str] | None = {
            name: tag for planned in plan.locations for name, tag in planned.etags.items()
        }
        not_after = None
        if resumes is not None:
            # The plan to keep to is the interrupted one, of which only the time is known.
            etags = None
            since = resumes.began if resumes.planned_at is None else resumes.planned_at
            not_after = datetime.fromtimestamp(since / 1000, tz=timezone.utc)
        current = CurrentDeletion(
            plan.run_id,
            record.locations,
            etags=etags,
            not_after=not_after,
            total_files=plan.files,
            total_bytes=plan.bytes,
            on_progress=progressed,
            cancel=cancel,
        )
        try:
            write_record(self.client, record)
            deleted = self._step(current, plan.experiment_id)
        except Exception as error:  # noqa: BLE001 - every end is recorded and returned
            result = failure(plan.run_id, error, time.monotonic() - began, plan.reasons)
        except (KeyboardInterrupt, SystemExit):
            result = failure(plan.run_id, DeletionError("it was interrupted", run_id=plan.run_id))
            self._close(lease.record, plan, result, forced=record.forced)
            raise
        else:
            result = self._success(plan, current, time.monotonic() - began, deleted=deleted)
        if isinstance(result.error, JournalError):
            return result
        return self._close(lease.record, plan, result, forced=record.forced)

    def _step(self, current: CurrentDeletion, experiment_id: str) -> bool:
        token = current_deletion.set(current)
        key = (id(self.blob_store), current.run_id)
        _under_way[key] = current
        try:
            return self.delete_step(current.run_id, experiment_id)
        finally:
            _under_way.pop(key, None)
            current_deletion.reset(token)

    def _success(
        self, plan: RunPlan, current: CurrentDeletion, seconds: float, *, deleted: bool
    ) -> DeletionResult:
        done = current.done
        log: tuple[str, ...] = ()
        if done is None:  # a subclass did it its own way: what it says is checked
            try:
                left = [
                    location.prefix
                    for location in current.locations
                    if self.blob_store.exists(location.prefix)
                ]
            except ExpmgrError as error:
                return failure(plan.run_id, error, seconds, plan.reasons)
            if left:
                message = (
                    f"_delete_model returned {deleted} for run {plan.run_id}, but files are still "
                    f"there under {', '.join(left)}."
                )
                remains = DeletionError(message, run_id=plan.run_id, left=left)
                return failure(plan.run_id, remains, seconds, plan.reasons)
            files, size, attempts = plan.files, plan.bytes, 1
        else:
            files, size, attempts, log = done.files, done.bytes, done.attempts, done.log
            if done.kept:
                message = (
                    f"{format_count(len(done.kept), 'file')} of run {plan.run_id} came or changed "
                    f"after the plan and stayed ({_first(done.kept)}); the "
                    f"{format_count(files, 'planned file')} went. Plan again to delete the rest."
                )
                newer = DeletionError(
                    message,
                    run_id=plan.run_id,
                    files=files,
                    bytes=size,
                    attempts=attempts,
                    left=done.kept,
                    log=log,
                )
                return failure(plan.run_id, newer, seconds, plan.reasons)
        if done is not None and not deleted and plan.model != "interrupted":
            message = f"Nothing to delete: the files of run {plan.run_id} were gone already"
            return DeletionResult(
                plan.run_id,
                "not_found",
                attempts=attempts,
                seconds=seconds,
                message=message,
                log=tuple(log),
            )
        message = (
            f"Deleted {format_count(files, 'file')}, {format_bytes(size)} in "
            f"{format_seconds(seconds)}"
        )
        if done is not None and done.permanent is False:
            message += "; the account keeps deleted blobs for a while, restore_model() can undo"
        if plan.note:
            message += f"; {plan.note}"
        return DeletionResult(
            plan.run_id,
            "deleted",
            files=files,
            bytes=size,
            attempts=attempts,
            seconds=seconds,
            message=message,
            log=tuple(log),
            reasons=plan.reasons,
        )

    def _close(
        self,
        record: DeletionRecord,
        plan: RunPlan,
        result: DeletionResult,
        *,
        forced: Sequence[str],
    ) -> DeletionResult:
        """Write the journal's end; a deletion whose end cannot be written says so."""
        ended = replace(
            record,
            state=_end_state(result),
            ended=now_ms(),
            files=result.files,
            bytes=result.bytes,
            forced=tuple(forced),
            note="" if result else result.message,
        )
        try:
            if ended.state == "deleted":
                ensure_reachable(self.client.tracking_uri)
                for model_id in plan.model_ids:
                    self._tag_model(model_id)
            write_record(self.client, ended)
        except ExpmgrError as error:
            logger.warning("run %s: the journal was not closed: %s", plan.run_id, error)
            note = (
                f"{result.message}. The run could not record that ({error}); until "
                "resume_deletions() does, it reads as interrupted."
            )
            return replace(result, message=note)
        return result

    def _tag_model(self, model_id: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.set_logged_model_tags(model_id, {MODEL_TAG: "deleted"})
        except (MlflowException, OSError) as error:
            # A soft-deleted LoggedModel takes no tags; the run's journal has it all the same.
            logger.info("the logged model %s was not tagged: %s", model_id, error)


def _end_state(result: DeletionResult) -> RecordState:
    if isinstance(result.error, DeletionCancelledError):
        return "cancelled"
    return "failed" if result.outcome == "failed" else "deleted"


def _refused(plan: RunPlan, *, force: bool) -> DeletionResult | None:
    run_id = plan.run_id
    if plan.problem:
        error = plan.problem_error
        nothing = plan.model == "none"
        if nothing:
            logger.error("nothing to delete: %s", plan.problem)
        return DeletionResult(
            run_id,
            "not_found" if nothing else "failed",
            message=plan.problem,
            error=None if nothing else error or DeletionError(plan.problem, run_id=run_id),
        )
    if plan.reasons and not force:
        message = f"Protected, nothing was deleted: {'; '.join(plan.reasons)}"
        error = ProtectedModelError(message, run_id=run_id, reasons=plan.reasons)
        return DeletionResult(
            run_id, "protected", message=message, error=error, reasons=plan.reasons
        )
    if not plan.files and not plan.locations:
        message = f"Nothing to delete: no model is recorded or stored for run {run_id}"
        logger.error("%s", message)
        return DeletionResult(run_id, "not_found", message=message)
    if not plan.files and plan.model != "interrupted":
        message = f"Nothing to delete: run {run_id} has no model files left in the container"
        logger.error("%s", message)
        return DeletionResult(run_id, "not_found", message=message)
    return None


def failure(
    run_id: str, error: Exception, seconds: float = 0.0, reasons: Sequence[str] = ()
) -> DeletionResult:
    """Return the result of a deletion that ended with an error, and log it."""
    known = error if isinstance(error, DeletionError) else DeletionError("")
    message = str(error) or type(error).__name__
    if isinstance(error, DeletionCancelledError):
        logger.warning("run %s: %s", run_id, message)
    else:
        logger.error("the model of run %s was not deleted: %s", run_id, message)
    return DeletionResult(
        run_id,
        "failed",
        files=known.files,
        bytes=known.bytes,
        attempts=known.attempts,
        seconds=seconds,
        message=message,
        error=error,
        log=known.log,
        left=known.left,
        reasons=tuple(reasons),
    )


def _first(names: Sequence[str], count: int = 3) -> str:
    shown = ", ".join(names[:count])
    return shown if len(names) <= count else f"{shown} and {len(names) - count} more"
