"""`mark_killed`: ends a run whose process gives no sign of life, and takes its half uploads away.

The run is ended first and its lease read again after that; a process that wakes says that it lives
first and looks at its run after that (`expmgr.training.lease`). So one of the two sees the other,
and what a live process stores is not taken. What goes is what was never whole: LoggedModels still
PENDING, by the ordinary deletion with protection and journal, and only where storage's own clock
says that nobody has written there for half a day, whatever this machine's or the trainer's says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from expmgr.catalog.lease import LEASE_LASTS, interrupted_since, lease_of
from expmgr.catalog.model import ACTIVE_STATUSES
from expmgr.errors import ExpmgrError, RunError
from expmgr.formatting import format_bytes, format_count, format_moment
from expmgr.results import DeletionResult
from expmgr.text import keep_plain
from expmgr.tracking.ending import end_quietly
from expmgr.tracking.journal import now_ms
from expmgr.tracking.queries import asking, read_logged_models

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from expmgr.storage.protocol import Storage
    from expmgr.training.desk import DeletesModels

__all__ = ["KilledRun", "Leftovers", "mark_killed"]

_QUIET = timedelta(hours=12)
"""Without a write in it for so long by storage's clock, a PENDING model is not being uploaded."""
_GONE = frozenset({"none", "deleted"})


@dataclass(frozen=True)
class KilledRun:
    """How a `mark_killed` ended; ``bool(killed)`` is whether this call has ended the run.

    Attributes
    ----------
    run_id
        The run.
    ended
        False where it had ended before.
    status
        MLflow's, as it is now.
    last_sign
        Its last sign of life, UTC; None where it has no lease.
    leftovers
        How the deletion of each model that it left PENDING with files ended.
    message
        One line for a person, about the run.
    """

    run_id: str
    ended: bool
    status: str
    last_sign: datetime | None = None
    leftovers: tuple[DeletionResult, ...] = ()
    message: str = ""

    def __post_init__(self) -> None:
        keep_plain(self, "message")

    def __bool__(self) -> bool:
        return self.ended

    def __str__(self) -> str:
        return f"run {self.run_id}: {self.message}"


@dataclass(frozen=True)
class Leftovers:
    """What takes away the models that a dead run left PENDING.

    Attributes
    ----------
    deleter
        Plans and deletes, with protection and journal.
    storage
        Tells when their files were written.
    """

    deleter: DeletesModels
    storage: Storage

    def delete(self, model_ids: Iterable[str]) -> tuple[DeletionResult, ...]:
        """Delete them one by one; those without files are passed over."""
        results = (self._delete(model_id) for model_id in model_ids)
        return tuple(result for result in results if result is not None)

    def _delete(self, model_id: str) -> DeletionResult | None:
        try:
            plan = self.deleter.plan_deletion(model_id)
            (found,) = plan.runs
            if found.model in _GONE:
                return None
            written = [
                blob.last_modified
                for planned in found.locations
                for blob in self.storage.list(planned.location.prefix)
            ]
            at = found.planned_at
            if written and at is not None and at - max(written) < _QUIET:
                message = (
                    f"kept: its files were written until {max(written):%Y-%m-%d %H:%M} UTC by "
                    "storage's clock; mark_killed again later, or delete it by its id"
                )
                return DeletionResult(model_id, "protected", message=message)
            return self.deleter.delete_model(model_id, plan=plan)
        except ExpmgrError as error:
            return DeletionResult(model_id, "failed", message=str(error), error=error)


def mark_killed(
    client: MlflowClient, run_id: str, leftovers: Leftovers | None, *, force: bool = False
) -> KilledRun:
    """End a run that is interrupted as KILLED, and delete what it left PENDING.

    Called again for a run that was so ended it deletes what is still left.

    Parameters
    ----------
    leftovers
        None leaves them.
    force
        End a run that has no lease, too; nothing of it is deleted.

    Raises
    ------
    RunError
        It is not interrupted, or lies in the trash.
    NotFoundError, TrackingError
        There is no such run, or the server could not be asked.
    """
    run = _read(client, run_id)
    at = now_ms()
    began = run.info.start_time or 0
    lease = lease_of(run.data.tags, began)
    sign = None if lease is None else datetime.fromtimestamp(lease / 1000, timezone.utc)
    if run.info.lifecycle_stage == "deleted":
        message = f"run {run_id} is in MLflow's trash, where nothing can be ended; restore it first"
        raise RunError(f"{message} (MlflowClient.restore_run).", run_id=run_id)
    if run.info.status not in ACTIVE_STATUSES:
        results = _rest(client, run, leftovers) if _ended_so(run, lease) else ()
        message = f"had ended before: it is {run.info.status}{_of_rest(results)}"
        return KilledRun(run_id, False, run.info.status, sign, results, message)
    since = interrupted_since(run.info.status, run.data.tags, began, at)
    if since is None:
        _refuse(run, lease, force=force)
    with asking(f"end run {run_id}", run_id=run_id):
        end_quietly(client, run_id, "KILLED", at)
    after = _read(client, run_id)
    if after.info.status != "KILLED":
        message = f"has ended by itself meanwhile: it is {after.info.status}"
        return KilledRun(run_id, False, after.info.status, sign, (), message)
    if since is None:
        message = "KILLED; it had no lease, so nothing of it was deleted"
        return KilledRun(run_id, True, "KILLED", sign, (), message)
    if lease_of(after.data.tags, began) != lease:
        message = "KILLED, but its process gave a sign of life just then: nothing was deleted"
        return KilledRun(run_id, True, "KILLED", sign, (), message)
    results = _rest(client, run, leftovers)
    message = f"KILLED after no sign of life since {format_moment(since)}{_of_rest(results)}"
    return KilledRun(run_id, True, "KILLED", sign, results, message)


def _refuse(run: Run, lease: int | None, *, force: bool) -> None:
    """Raise a RunError for a run that is not interrupted, unless it has no lease and is forced."""
    run_id = run.info.run_id
    if lease is not None and run.info.status == "RUNNING":
        message = (
            f"run {run_id} gave a sign of life at {format_moment(lease)}, so it is taken to be at "
            f"work until {format_moment(lease + LEASE_LASTS)}; nothing was changed."
        )
        raise RunError(message, run_id=run_id)
    if not force:
        message = (
            f"run {run_id} is {run.info.status} and has no lease: nothing tells whether it is at "
            "work. If you know that it is not, mark_killed(..., force=True) ends it and deletes "
            "nothing."
        )
        raise RunError(message, run_id=run_id)


def _ended_so(run: Run, lease: int | None) -> bool:
    """Whether a run was ended by `mark_killed` after its lease had run out. Pure."""
    ended = run.info.end_time or 0
    return run.info.status == "KILLED" and lease is not None and ended - lease > LEASE_LASTS


def _rest(
    client: MlflowClient, run: Run, leftovers: Leftovers | None
) -> tuple[DeletionResult, ...]:
    from mlflow.entities import LoggedModelStatus

    if leftovers is None:
        return ()
    condition = f"source_run_id='{run.info.run_id}'"
    with asking("list the run's models", run_id=run.info.run_id):
        models = read_logged_models(client, [run.info.experiment_id], condition)
    return leftovers.delete(
        model.model_id
        for model in models
        if model.source_run_id == run.info.run_id and model.status == LoggedModelStatus.PENDING
    )


def _of_rest(results: tuple[DeletionResult, ...]) -> str:
    gone = [result for result in results if result]
    said = ""
    if gone:
        files, size = sum(one.files for one in gone), sum(one.bytes for one in gone)
        uploads = format_count(len(gone), "unfinished upload")
        said = f"; deleted {uploads} ({format_count(files, 'file')}, {format_bytes(size)})"
    for result in results:
        if not result:
            said += f"; model {result.run_id}: {result}"
    return said


def _read(client: MlflowClient, run_id: str) -> Run:
    with asking(f"read run {run_id}", run_id=run_id):
        return client.get_run(run_id)
