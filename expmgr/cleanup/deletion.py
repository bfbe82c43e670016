"""Carrying out one run's or model's plan: journal, storage step, journal, result.

The storage step is the manager's ``_delete_model``, found by name on the manager, so that a
subclass which overrides it changes what every caller (and the button) does.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

from expmgr.catalog.parts import is_named, part_words
from expmgr.cleanup.blob_journal import BlobJournal
from expmgr.cleanup.handover import CurrentDeletion
from expmgr.errors import (
    DeletionCancelledError,
    DeletionError,
    ExpmgrError,
    JournalError,
    ProtectedModelError,
)
from expmgr.formatting import format_bytes, format_count, format_seconds
from expmgr.results import DeletionProgress, DeletionResult
from expmgr.text import words
from expmgr.tracking.journal import (
    LEASE_SECONDS,
    MODEL_TAG,
    DeletionRecord,
    begin,
    journal_state,
    latest_records,
    now_ms,
    owner_of,
    part_among,
    part_digest,
    planned_among,
    renewed,
    seen_digest,
    write_record,
    write_tags,
)
from expmgr.tracking.queries import ensure_reachable, run_or_none, tag_model

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from mlflow import MlflowClient

    from expmgr.catalog.reason import Reason
    from expmgr.cleanup.handover import HandOvers
    from expmgr.cleanup.plan import RunPlan
    from expmgr.storage.protocol import Storage
    from expmgr.tracking.journal_record import RecordState

__all__ = ["Begun", "Deleter", "failure", "record_of", "refused"]

logger = logging.getLogger(__name__)


@dataclass
class _Lease:
    """Renews the journal's deadline while a deletion goes on."""

    write: Callable[[DeletionRecord], None]
    record: DeletionRecord
    written: float = field(default_factory=time.monotonic)

    def renew(self) -> None:
        if time.monotonic() - self.written < LEASE_SECONDS / 3:
            return
        self.written = time.monotonic()
        self.record = renewed(self.record)
        try:
            self.write(self.record)
        except JournalError as error:
            owner = owner_of(self.record.owner_id)
            logger.warning("%s: the journal was not renewed: %s", owner, error)


@dataclass(frozen=True)
class Begun:
    """A deletion whose journal is open.

    Attributes
    ----------
    forced
        What was overridden.
    before
        Files and bytes that had gone when this was resumed.
    goes_on
        Whether it goes on with one that was interrupted: what is gone already is its success.
    began
        On the clock of ``time.monotonic()``.
    """

    plan: RunPlan
    current: CurrentDeletion
    lease: _Lease
    forced: Sequence[str]
    before: tuple[int, int]
    goes_on: bool
    began: float


@dataclass(frozen=True)
class Deleter:
    """Deletes what a plan holds.

    Attributes
    ----------
    delete_step
        The manager's ``_delete_model(owner_id, experiment_id) -> bool``.
    hand_overs
        Through which it learns what was resolved.
    takes_parts
        Whether the step is known to delete what is handed over and nothing else: of a step of
        somebody's own that is not known before, and a part must not become the whole model, nor
        the folder of a run in the trash its live models.
    spans_models
        Whether requests may be of several models: the step is expmgr's own.
    """

    client: MlflowClient
    blob_store: Storage
    delete_step: Callable[[str, str | None], bool]
    hand_overs: HandOvers
    takes_parts: bool = True
    spans_models: bool = False

    def delete(
        self,
        plan: RunPlan,
        *,
        force: bool = False,
        on_progress: Callable[[DeletionProgress], None] | None = None,
        cancel: threading.Event | None = None,
        resumes: DeletionRecord | None = None,
        begun: Callable[[DeletionRecord], None] | None = None,
    ) -> DeletionResult:
        """Carry out one plan; every way it can end is a result, none an exception.

        The result bears the plan's name.

        Parameters
        ----------
        force
            Pass the protection; the journal records what it overrode.
        resumes
            The record of an interrupted deletion to be finished instead of a new one.
        begun
            Called with the record once it is written and before any file goes; an error that it
            raises ends the deletion there.
        """
        begun_or_ended = self.begin(
            plan, force=force, on_progress=on_progress, cancel=cancel, resumes=resumes, begun=begun
        )
        if isinstance(begun_or_ended, DeletionResult):
            return begun_or_ended
        return self.carry_out(begun_or_ended)

    def begin(
        self,
        plan: RunPlan,
        *,
        force: bool = False,
        on_progress: Callable[[DeletionProgress], None] | None = None,
        cancel: threading.Event | None = None,
        resumes: DeletionRecord | None = None,
        begun: Callable[[DeletionRecord], None] | None = None,
    ) -> Begun | DeletionResult:
        """Open the journal for a plan; returns the result where it ends before that.

        Parameters are those of `delete`. No file goes; `carry_out` or `end` is to follow.
        """
        began = time.monotonic()
        stopped = refused(plan, force=force)
        if stopped is None and plan.is_folder and not self.takes_parts:
            stopped = failure(plan.id, _not_taken(plan))
        if stopped is None and is_named(plan.part):
            stopped = self._refused_part(plan, resumes)
        if stopped is not None:
            return replace(stopped, name=plan.run_name)
        planned_etags = _etags(plan)
        record = record_of(plan, forced=plan.reasons if force else ())
        if resumes is not None:
            record = replace(
                record,
                record_id=resumes.record_id,
                began=resumes.began,
                planned_at=resumes.planned_at,
                locations=resumes.locations,
                forced=tuple(dict.fromkeys([*resumes.forced, *record.forced])),
                seen=resumes.seen,
                asked=resumes.asked,
                counts=resumes.counts,
            )
        write = self._writer(plan)
        lease = _Lease(write, record)

        def progressed(progress: DeletionProgress) -> None:
            lease.renew()
            if on_progress is not None:
                on_progress(progress)

        etags, not_after, only = _bounds(plan, planned_etags, resumes)
        sizes = {n: b for planned in plan.locations for n, b in planned.sizes.items()}
        current = CurrentDeletion(
            plan.journal_id,
            record.locations,
            etags=etags,
            sizes=sizes,
            not_after=not_after,
            only=only,
            total_files=plan.files,
            total_bytes=plan.bytes,
            on_progress=progressed,
            cancel=cancel,
        )
        one = Begun(
            plan,
            current,
            lease,
            record.forced,
            # A mark is carried out as if it were resumed; nothing of it went before.
            before=(0, 0) if begun is not None else _gone_before(resumes, etags, sizes),
            goes_on=resumes is not None
            or (plan.model == "interrupted" and not is_named(plan.part)),
            began=began,
        )
        try:
            write(record)
            if begun is not None:
                begun(record)
        except Exception as error:  # noqa: BLE001 - every end is recorded and returned
            return self.end(one, error)
        except (KeyboardInterrupt, SystemExit):
            self._interrupted(one)
            raise
        return one

    def carry_out(self, begun: Begun) -> DeletionResult:
        """Call the storage step for a deletion whose journal is open, and close that."""
        plan = begun.plan
        try:
            with self.hand_overs.given(begun.current):
                deleted = self.delete_step(plan.journal_id, plan.experiment_id)
        except Exception as error:  # noqa: BLE001 - every end is recorded and returned
            return self.end(begun, error)
        except (KeyboardInterrupt, SystemExit):
            self._interrupted(begun)
            raise
        return self.end(begun, deleted)

    def end(self, begun: Begun, ended: bool | Exception) -> DeletionResult:
        """Close the journal of a deletion and return how it ended.

        Parameters
        ----------
        ended
            Whether the storage step deleted something, or why it did not come to its end.
        """
        plan = begun.plan
        seconds = time.monotonic() - begun.began
        if isinstance(ended, Exception):
            result = failure(plan.id, ended, seconds, plan.reasons)
        else:
            result = self._success(
                plan, begun.current, seconds, deleted=ended, goes_on=begun.goes_on
            )
        if not isinstance(result.error, JournalError):
            result = self._close(begun, result)
        return replace(result, name=plan.run_name)

    def _interrupted(self, begun: Begun) -> None:
        id_ = begun.plan.id
        self._close(begun, failure(id_, DeletionError("it was interrupted", run_id=id_)))

    def _refused_part(self, plan: RunPlan, resumes: DeletionRecord | None) -> DeletionResult | None:
        if not self.takes_parts:
            return failure(plan.id, _not_taken(plan))
        if resumes is not None:
            told = part_among(resumes, {})
            return failure(plan.id, _untold(resumes)) if told is None else None
        if plan.files:
            return None
        message = f"Nothing to delete: no {part_words(plan.part)} of {owner_of(plan.id)} are there"
        if plan.note:
            message += f" ({plan.note})"
        logger.error("%s", words(message))
        return DeletionResult(plan.id, "not_found", message=message)

    def _success(
        self,
        plan: RunPlan,
        current: CurrentDeletion,
        seconds: float,
        *,
        deleted: bool,
        goes_on: bool,
    ) -> DeletionResult:
        done = current.done
        log: tuple[str, ...] = ()
        if done is None and is_named(plan.part):
            return failure(plan.id, _not_taken(plan), seconds, plan.reasons)
        if done is None:  # a subclass did it its own way: what it says is checked
            try:
                left = [
                    location.prefix
                    for location in current.locations
                    if self.blob_store.exists(location.prefix)
                ]
            except ExpmgrError as error:
                return failure(plan.id, error, seconds, plan.reasons)
            if left:
                message = (
                    f"_delete_model returned {deleted} for {owner_of(plan.id)}, but files are "
                    f"still there under {', '.join(left)}."
                )
                remains = DeletionError(message, run_id=plan.id, left=left)
                return failure(plan.id, remains, seconds, plan.reasons)
            files, size, attempts = plan.files, plan.bytes, 1
        else:
            files, size, attempts, log = done.files, done.bytes, done.attempts, done.log
            if done.kept:
                message = (
                    f"{format_count(len(done.kept), 'file')} of {owner_of(plan.id)} came or "
                    f"changed after the plan and stayed ({_first(done.kept)}); the "
                    f"{format_count(files, 'planned file')} went. Plan again to delete the rest."
                )
                newer = DeletionError(
                    message,
                    run_id=plan.id,
                    files=files,
                    bytes=size,
                    attempts=attempts,
                    left=done.kept,
                    log=log,
                )
                return failure(plan.id, newer, seconds, plan.reasons)
        what = f"the {part_words(plan.part)}" if is_named(plan.part) else "the files"
        if done is not None and not deleted and not goes_on:
            message = f"Nothing to delete: {what} of {owner_of(plan.id)} were gone already"
            return DeletionResult(
                plan.id,
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
        if is_named(plan.part):
            message += f" ({part_words(plan.part)}; the models stay)"
        if done is not None and done.permanent is False:
            message += "; the account keeps deleted blobs for a while, restore_model() can undo"
        if plan.note:
            message += f"; {plan.note}"
        return DeletionResult(
            plan.id,
            "deleted",
            files=files,
            bytes=size,
            attempts=attempts,
            seconds=seconds,
            message=message,
            log=tuple(log),
            reasons=plan.reasons,
        )

    def _writer(self, plan: RunPlan) -> Callable[[DeletionRecord], None]:
        """Return what writes the record of a deletion where the plan says."""
        if plan.journal == "blob":
            return BlobJournal(self.blob_store).write
        if not plan.told_after or plan.journal_id != plan.run_id:
            return partial(write_record, self.client)

        def write(record: DeletionRecord) -> None:
            told = plan.told_after if record.state == "deleted" else ()
            write_record(self.client, record, () if plan.told_with else told)
            if told and plan.told_with:
                self._tell_if_last(plan)

        return write

    def _tell_if_last(self, plan: RunPlan) -> None:
        """Log the run's metrics where the models that went at the same time are gone by now.

        Each records its own end before it looks at the others', so that the last one sees all.
        """
        try:
            run = run_or_none(self.client, plan.run_id)
            tags = {} if run is None else run.data.tags
            records = latest_records(plan.run_id, tags)
            at = now_ms()
            if all(journal_state(records, path, at) == "deleted" for path in plan.told_with):
                write_tags(self.client, plan.run_id, {MODEL_TAG: "deleted"}, plan.told_after)
        except ExpmgrError as error:
            logger.warning("%s: its metrics do not tell it: %s", owner_of(plan.id), error)

    def _close(self, begun: Begun, result: DeletionResult) -> DeletionResult:
        """Write the journal's end; a deletion whose end cannot be written says so."""
        plan, why = begun.plan, result.error
        ended = replace(
            begun.lease.record,
            state=_end_state(result),
            ended=now_ms(),
            files=begun.before[0] + result.files,
            bytes=begun.before[1] + result.bytes,
            forced=tuple(begun.forced),
            note="" if result else result.message,
            unanswered=why.unanswered if isinstance(why, DeletionCancelledError) else 0,
        )
        try:
            if ended.state == "deleted" and not is_named(plan.part):
                ensure_reachable(self.client.tracking_uri)
                for model_id in plan.model_ids:
                    self._tag_model(model_id)
            try:
                begun.lease.write(ended)
            except JournalError:
                if plan.journal == "blob" or not self._in_trash(plan):
                    raise
                # It went to the trash midway, where it takes no tags.
                BlobJournal(self.blob_store).write(ended)
                logger.info("%s is in the trash: its journal is a blob", owner_of(plan.id))
        except ExpmgrError as error:
            logger.warning("%s: the journal was not closed: %s", owner_of(plan.id), error)
            note = (
                f"{result.message}. The journal could not record that ({error}): it reads as being "
                f"deleted for {format_seconds(LEASE_SECONDS)}, and as interrupted then, until "
                "resume_deletions() records it."
            )
            return replace(result, message=note)
        return result

    def _in_trash(self, plan: RunPlan) -> bool:
        """Whether the run that records the deletion is in the trash by now."""
        if plan.journal_id != plan.run_id:
            return False
        run = run_or_none(self.client, plan.run_id)
        return run is not None and run.info.lifecycle_stage == "deleted"

    def _tag_model(self, model_id: str) -> None:
        try:
            tag_model(self.client, model_id, {MODEL_TAG: "deleted"})
        except ExpmgrError as error:
            # A soft-deleted LoggedModel takes no tags; the run's journal has it all the same.
            logger.info("%s", words(error))


def record_of(plan: RunPlan, *, forced: Sequence[str] = ()) -> DeletionRecord:
    """Return the record with which a plan's deletion begins: what it may take, and no more."""
    named = is_named(plan.part)
    return begin(
        plan.journal_id,
        [planned.location for planned in plan.locations],
        record_id=plan.record_id,
        planned_at=None if plan.planned_at is None else int(plan.planned_at.timestamp() * 1000),
        files=plan.files,
        bytes=plan.bytes,
        forced=forced,
        seen=(part_digest if named else seen_digest)(_etags(plan)),
        asked=plan.asked,
        part=plan.part,
        counts=[planned.files for planned in plan.locations] if named else (),
        nobodys=plan.nobodys,
    )


def _etags(plan: RunPlan) -> dict[str, str]:
    return {name: tag for planned in plan.locations for name, tag in planned.etags.items()}


def _end_state(result: DeletionResult) -> RecordState:
    if isinstance(result.error, DeletionCancelledError):
        return "cancelled"
    return "failed" if result.outcome == "failed" else "deleted"


def refused(plan: RunPlan, *, force: bool = False) -> DeletionResult | None:
    """Return why a plan is not carried out, as the result to tell; None where it may be."""
    id_ = plan.id
    if plan.problem:
        error = plan.problem_error
        # Of a part it is a state of the run's models, which need not be there.
        nothing = plan.model == "none" and not (is_named(plan.part) and plan.locations)
        if nothing:
            logger.error("nothing to delete: %s", plan.problem)
        return DeletionResult(
            id_,
            "not_found" if nothing else "failed",
            message=plan.problem,
            error=None if nothing else error or DeletionError(plan.problem, run_id=id_),
        )
    stops = plan.doubts if force else plan.reasons
    if stops:
        message = f"Protected, nothing was deleted: {'; '.join(stops)}"
        error = ProtectedModelError(message, run_id=id_, reasons=plan.reasons)
        return DeletionResult(id_, "protected", message=message, error=error, reasons=plan.reasons)
    if is_named(plan.part):
        return None  # what a part has to say, see `Deleter._refused_part`
    if not plan.files and not plan.locations:
        message = f"Nothing to delete: no model is recorded or stored for {owner_of(id_)}"
        logger.error("%s", message)
        return DeletionResult(id_, "not_found", message=message)
    if not plan.files and plan.model != "interrupted":
        what = "files" if plan.is_folder else "model files"
        message = f"Nothing to delete: {owner_of(id_)} has no {what} left in the container"
        logger.error("%s", message)
        return DeletionResult(id_, "not_found", message=message)
    return None


def _bounds(
    plan: RunPlan, planned: dict[str, str], resumes: DeletionRecord | None
) -> tuple[dict[str, str] | None, datetime | None, frozenset[str] | None]:
    """Return which files may go: by entity tag, by time, and by name. Pure.

    Parameters
    ----------
    planned
        What the plan's listing showed, name to entity tag.
    """
    if is_named(plan.part):
        recorded = None if resumes is None else part_among(resumes, planned)
        if recorded is None:
            return planned, None, frozenset(planned)
        return dict(recorded.etags), None, recorded.names
    if resumes is None:
        return planned, None, None
    # The plan to keep to is the interrupted one: the files that its digests tell, or, of records
    # without any, those written before its second; what is in doubt is left.
    etags = planned_among(resumes, planned)
    since = resumes.began if resumes.planned_at is None else resumes.planned_at
    return etags, datetime.fromtimestamp(since // 1000 - (etags is None), tz=timezone.utc), None


def _gone_before(
    resumes: DeletionRecord | None,
    etags: dict[str, str] | None,
    sizes: Mapping[str, int],
) -> tuple[int, int]:
    """Return how many files and bytes a deletion had taken when it is resumed. Pure.

    Parameters
    ----------
    etags
        What of its plan is still there; None where its record does not tell.
    """
    if resumes is None:
        return 0, 0
    if resumes.state != "deleting":  # it ended, and counted
        return resumes.files, resumes.bytes
    if etags is None:
        return 0, 0
    left = [sizes[name] for name in etags if name in sizes]
    return max(0, resumes.files - len(left)), max(0, resumes.bytes - sum(left))


def _not_taken(plan: RunPlan) -> DeletionError:
    """Return the error of a storage step that does not say what it deletes."""
    what = f"the {part_words(plan.part)} of {owner_of(plan.id)} are a part of what is stored there"
    if plan.is_folder:
        what = f"{plan.id} is a folder that nobody owns, not what {owner_of(plan.owner_id)} has"
    return DeletionError(
        f"{what}, and this manager's own _delete_model is not known to delete that and no more. "
        "Let it call super()._delete_model() with the same arguments, once, delete nothing itself, "
        "and set deletes_parts = True in its class; or use expmgr's own manager",
        run_id=plan.id,
    )


def _untold(record: DeletionRecord) -> DeletionError:
    """Return the error of a record that holds no digests of a part's files."""
    words = part_words(record.part)
    return DeletionError(
        f"the interrupted deletion of the {words} of {owner_of(record.owner_id)} was of more files "
        "than the journal holds one by one, and others are not guessed: nothing was deleted. Plan "
        f"that part again, plan_deletion(..., part={record.part!r})",
        run_id=record.owner_id,
    )


def failure(
    run_id: str,
    error: Exception,
    seconds: float = 0.0,
    reasons: Sequence[Reason] = (),
    *,
    name: str = "",
) -> DeletionResult:
    """Return the result of a deletion that ended with an error, and log it."""
    known = error if isinstance(error, DeletionError) else DeletionError("")
    message = words(error) or type(error).__name__
    if isinstance(error, DeletionCancelledError):
        logger.warning("%s: %s", owner_of(run_id), message)
    else:
        logger.error("the model of %s was not deleted: %s", owner_of(run_id), message)
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
        name=name,
    )


def _first(names: Sequence[str], count: int = 3) -> str:
    shown = ", ".join(names[:count])
    return shown if len(names) <= count else f"{shown} and {len(names) - count} more"
