"""Marking models that are to go later, and taking a mark back."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from expmgr.catalog.model import is_model_id, run_and_path
from expmgr.catalog.parts import MARKABLE_PARTS
from expmgr.cleanup.deletion import failure, record_of, refused
from expmgr.cleanup.grace import due_after
from expmgr.cleanup.report import DeletionReport
from expmgr.errors import DeletionError, ExpmgrError, InvalidInputError, NotFoundError
from expmgr.formatting import format_bytes, format_count, format_moment
from expmgr.results import DeletionProgress, DeletionResult, tell
from expmgr.storage.blob_path import is_within
from expmgr.tracking.journal import (
    latest_records,
    next_record_id,
    now_ms,
    owner_name,
    owner_of,
    read_records,
    record_order,
)
from expmgr.tracking.journal_owners import JournalOwner, owner_by_id
from expmgr.tracking.marks import (
    ended_mark,
    read_marks,
    replaced_by,
    standing_marks,
    touches,
    write_marks,
)
from expmgr.tracking.queries import in_parallel, iter_experiments, read_logged_models

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from mlflow import MlflowClient

    from expmgr.cleanup.plan import DeletionPlan, RunPlan
    from expmgr.tracking.journal import DeletionRecord

__all__ = ["check_markable", "keep", "mark_all"]

logger = logging.getLogger(__name__)

_AT_ONCE = 25


def check_markable(plan: DeletionPlan) -> None:
    """Refuse a plan of a part that cannot be marked.

    Raises
    ------
    InvalidInputError
        It is.
    """
    strange = next((run.part for run in plan if run.part not in MARKABLE_PARTS), None)
    if strange is not None:
        message = f"part={strange!r} cannot be marked for later; delete it without after=."
        raise InvalidInputError(message)


def mark_all(
    client: MlflowClient,
    plan: DeletionPlan,
    check_again: Callable[[Sequence[RunPlan]], Sequence[RunPlan]],
    after: str | timedelta | datetime,
    *,
    progress: bool,
    on_progress: Callable[[DeletionProgress], None] | None = None,
    cancel: threading.Event | None = None,
) -> DeletionReport:
    """Write a mark for each run or model of the plan that may go; nothing is deleted.

    Raises
    ------
    InvalidInputError
        ``after`` is no time to come, or the plan is of a part that cannot be marked.
    """
    from tqdm.auto import tqdm

    due_after(after, now_ms())  # before anything is asked or written
    check_markable(plan)
    results: list[DeletionResult] = []
    event = cancel or threading.Event()
    with tqdm(
        total=len(plan), desc="marking models", unit="model", disable=not progress, leave=False
    ) as bar:
        for first in range(0, len(plan), _AT_ONCE):
            if event.is_set():
                break
            runs = plan.runs[first : first + _AT_ONCE]
            try:
                now = check_again(runs)
            except ExpmgrError as error:  # what is marked is reported all the same
                results += [failure(run.id, error, name=run.run_name) for run in runs]
                now = ()
            # Several models of one run write to the same tags, one after the other.
            by_owner: dict[str, list[RunPlan]] = {}
            for run in now:
                by_owner.setdefault(run.journal_id, []).append(run)
            told = in_parallel(
                lambda group: [_marked(client, run, after) for run in group],
                list(by_owner.values()),
            )
            by_id = {result.run_id: result for group in told for result in group}
            results += [by_id[run.id] for run in now]
            bar.update(len(runs))
            if on_progress is not None:
                tell(on_progress, DeletionProgress(0, 0, models=len(results)))
    return DeletionReport(tuple(results), cancelled=event.is_set())


def _marked(
    client: MlflowClient, plan: RunPlan, after: str | timedelta | datetime
) -> DeletionResult:
    stopped = refused(plan)
    if stopped is not None:
        return replace(stopped, name=plan.run_name)
    try:
        mark, before = _mark(client, plan, after)
    except ExpmgrError as error:
        return failure(plan.id, error, name=plan.run_name)
    assert mark.due is not None
    what = f"{format_count(mark.files, 'file')}, {format_bytes(mark.bytes)}"
    message = f"goes {format_moment(mark.due)}: {what}"
    if before:
        times = ", ".join(format_moment(one.due) for one in before if one.due is not None)
        message += f" (before: {times})"
    return DeletionResult(plan.id, "marked", message=message, name=plan.run_name)


def _mark(
    client: MlflowClient, plan: RunPlan, after: str | timedelta | datetime
) -> tuple[DeletionRecord, tuple[DeletionRecord, ...]]:
    """Write a plan's mark; returns it, and those that it replaces."""
    if plan.planned_at is None:
        raise DeletionError(
            f"the plan of {owner_of(plan.id)} tells no time of its listing, so that later nothing "
            "could tell what came since: plan again.",
            run_id=plan.id,
        )
    owner = owner_by_id(client, plan.journal_id)
    record = record_of(replace(plan, record_id=next_record_id(owner.tags)))
    begun = latest_records(owner.id, owner.tags).values()
    if any(
        touches([one], place) for one in begun if one.is_unfinished() for place in record.locations
    ):
        raise DeletionError(
            f"a deletion of {owner_of(plan.id)} was begun already, and resume_deletions() finishes "
            "it: it cannot be marked for later.",
            run_id=plan.id,
        )
    # A clock that is behind the storage's would shorten the wait.
    at = max(now_ms(), record.planned_at or 0)
    mark = replace(record, state="marked", due=due_after(after, at), deadline=record.began)
    before = replaced_by(mark, owner.tags, mark.began)
    write_marks(client, [mark, *before], owner.tags)
    return mark, before


def keep(client: MlflowClient, id_: str) -> bool:
    """Take back the marks of a run, or of one model; returns whether there was any.

    A mark of several models is taken back as a whole. Where a deletion began in the very same
    moment the answer is False, and a log line says so.

    Raises
    ------
    NotFoundError, TrackingError
        There is no such run or model, or the server could not be asked.
    JournalError
        The mark could not be written.
    """
    kept = False
    for owner in _owners(client, id_):
        standing = standing_marks(owner.id, owner.tags)
        known = {mark.record_id: mark for mark in read_marks(owner.id, owner.tags)}
        mine = [mark for mark in standing if _concerns(mark, owner, id_)]
        if not mine:
            continue
        note = f"by {owner_name()}"
        ended = [ended_mark(known[mark.record_id], "kept", now_ms(), note) for mark in mine]
        write_marks(client, ended, owner.tags)
        # A deletion writes its record first and looks at the mark then; so one of the two sees
        # the other, whatever happens at the same time.
        records = read_records(owner.id, owner_by_id(client, owner.id).tags)
        for mark in mine:
            late = [
                one
                for one in records
                if record_order(one)[0] >= record_order(mark)[0] and not one.changed_nothing
            ]
            begun = any(touches(late, place) for place in mark.locations)
            if begun:
                logger.warning(
                    "%s: a deletion of it began at the same moment; its row tells how it ended",
                    owner_of(id_),
                )
            kept = kept or not begun
    return kept


def _owners(client: MlflowClient, id_: str) -> list[JournalOwner]:
    """Return whose tags may hold marks of a run or model."""
    directory = run_and_path(id_)
    owner = owner_by_id(client, id_ if directory is None else directory[0])
    if is_model_id(id_):
        with suppress(NotFoundError):  # MLflow's gc takes runs and leaves their models
            return [owner, owner_by_id(client, owner.run_id)] if owner.run_id else [owner]
        return [owner]
    if directory is not None:
        return [owner]
    # A model of a run that took no tags bears its mark itself.
    experiments = [one.experiment_id for one in iter_experiments(client, deleted=True)]
    models = read_logged_models(client, experiments, f"source_run_id = {owner.id!r}")
    return [owner, *(owner_by_id(client, model.model_id) for model in models)]


def _concerns(mark: DeletionRecord, owner: JournalOwner, id_: str) -> bool:
    """Whether a mark takes what an id names: a run all, a model or a directory its own files."""
    if id_ in {owner.id, owner.run_id, mark.asked}:
        return True
    directory = run_and_path(id_)
    if directory is None:
        return any(place.owner_id == id_ for place in mark.locations)
    for place in mark.locations:
        if place.kind == "logged_model":
            continue
        below = place.path.partition(f"{owner.id}/artifacts")[2].strip("/")
        if not below or is_within(directory[1], below) or is_within(below, directory[1]):
            return True
    return False
