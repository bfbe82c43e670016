"""Finishing deletions that a dead process or an error left half done."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from expmgr.catalog.parts import is_named
from expmgr.cleanup.blob_journal import BlobJournal, read_journal
from expmgr.cleanup.deletion import failure
from expmgr.cleanup.orphan_plans import Asked, OrphanPlanner
from expmgr.cleanup.plan import PlannedLocation, RunPlan
from expmgr.errors import ExpmgrError, InvalidInputError
from expmgr.tracking.journal import (
    MODEL_TAG,
    PART_TAG,
    latest_parts,
    latest_records,
    now_ms,
    part_among,
    record_order,
)
from expmgr.tracking.queries import (
    ALL_EXPERIMENTS,
    iter_experiments,
    iter_runs,
    quoted,
    read_logged_models,
    select_experiments,
)
from expmgr.tracking.sight import hidden_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mlflow.entities import Experiment

    from expmgr.cleanup.deletion import Deleter
    from expmgr.cleanup.planner import Planner
    from expmgr.results import DeletionResult
    from expmgr.tracking.journal import DeletionRecord

__all__ = ["resume_all"]


def resume_all(
    planner: Planner,
    deleter: Deleter,
    experiments: str | Iterable[str] | None,
    is_own: Callable[[Experiment], bool],
) -> Iterator[DeletionResult]:
    """Yield the result of each interrupted deletion, finished within what it had planned.

    One that a person cancelled is left to them.
    """
    every = list(iter_experiments(planner.client, deleted=True))
    ids = [one.experiment_id for one in select_experiments(every, experiments, is_own)]
    # Of an experiment in the trash the models bear their records themselves.
    trash = [
        one.experiment_id
        for one in every
        if one.lifecycle_stage == "deleted"
        and (experiments == ALL_EXPERIMENTS or (experiments is None and is_own(one)))
    ]
    # The tag tells of the last deletion only, and an earlier one may be unfinished.
    conditions = [f"tags.{quoted(tag)} LIKE '%'" for tag in (MODEL_TAG, PART_TAG)]
    owners: list[tuple[RunPlan, dict[str, str]]] = [
        (
            RunPlan(
                run.info.run_id,
                run_name=run.info.run_name or "",
                experiment_id=run.info.experiment_id,
            ),
            run.data.tags,
        )
        for run in {
            run.info.run_id: run
            for condition in conditions
            for run in iter_runs(planner.client, ids, condition)
        }.values()
    ]
    owners += [
        (
            RunPlan(
                "",
                run_name=model.name or "",
                experiment_id=str(model.experiment_id),
                asked=model.model_id,
                owner_id=model.model_id,
            ),
            dict(model.tags),
        )
        for model in {
            model.model_id: model
            for condition in conditions
            for model in read_logged_models(planner.client, [*ids, *trash], condition)
        }.values()
    ]
    at = now_ms()
    for plan, tags in owners:
        latest = latest_records(plan.id, tags).values()
        for record in dict.fromkeys([*latest, *latest_parts(plan.id, tags)]):
            if record.state in {"deleting", "failed"} and not record.is_live(at):
                yield _resume(planner, deleter, plan, record)
    if experiments is None or experiments == ALL_EXPERIMENTS:
        yield from _resume_orphans(planner, deleter, at)


def _resume_orphans(planner: Planner, deleter: Deleter, at: int) -> Iterator[DeletionResult]:
    """Finish the deletions that are recorded as blobs: of trash, and of what a person named."""
    latest: dict[tuple[str, str], DeletionRecord] = {}
    read = [blob.record for blob in read_journal(planner.blob_store)]
    for record in sorted(filter(None, read), key=record_order):
        for location in record.locations:
            latest[record.owner_id, location.path] = record
    unfinished = [
        record
        for (owner_id, _), record in latest.items()
        if record.state in {"deleting", "failed"}
        and not record.is_live(at)
        # Of a run that went to the trash midway other places may be recorded: its models, which
        # are no trash, and directories, which are no whole folder of it.
        and all(
            location.owner_id == owner_id and location.kind != "run_model"
            for location in record.locations
        )
    ]
    orphans = OrphanPlanner(planner, hidden_by(planner.client)) if unfinished else None
    for record in dict.fromkeys(unfinished):
        for location in record.locations:
            assert orphans is not None
            try:
                planned = orphans.plan([Asked(location.path, named=True)])
                (plan,) = orphans.check_again(planned.runs)
                # Where nothing is left the record is closed all the same.
                plan = _as_asked(replace(plan, model="interrupted"), record)
                yield deleter.delete(plan, resumes=record)
            except InvalidInputError as error:
                yield _given_up(orphans, record, location.path, error)
            except ExpmgrError as error:
                yield failure(record.asked or record.owner_id, error)


def _as_asked(plan: RunPlan, record: DeletionRecord) -> RunPlan:
    """Return a plan that cannot be carried out where nobody asked for that.

    A server said of it that its owner was deleted, and this one knows no owner: it was purged
    since, or this is another server, and its own may have restored it.
    """
    if not plan.nobodys or record.nobodys or not plan.files or plan.problem:
        return plan
    problem = (
        f"{plan.id} was in the trash when its deletion began, and this tracking server does not "
        "know it. It may live on another one; if it does not, delete_orphans(prefixes=[...]) "
        "takes it by its name."
    )
    return replace(plan, problem=problem)


def _given_up(
    orphans: OrphanPlanner, record: DeletionRecord, path: str, error: ExpmgrError
) -> DeletionResult:
    """Close a record of what lives again: who brought it back decides about the rest."""
    ended = replace(record, state="cancelled", ended=now_ms(), note=str(error))
    with suppress(ExpmgrError):  # else it is told again the next time
        orphans.plan([Asked(path)])  # raises for what is no folder that this server knows of
        BlobJournal(orphans.planner.blob_store).write(ended)
    return failure(record.asked or record.owner_id, error)


def _resume(
    planner: Planner, deleter: Deleter, plan: RunPlan, record: DeletionRecord
) -> DeletionResult:
    try:
        listings = [planner.blob_store.measure(location) for location in record.locations]
        locations = tuple(
            PlannedLocation.of(location, listing)
            for location, listing in zip(record.locations, listings, strict=True)
        )
        if is_named(record.part):
            locations = tuple(_recorded(record, planned) for planned in locations)
        plan = replace(
            plan,
            asked=plan.asked or record.asked,
            model="interrupted",
            part=record.part,
            locations=locations,
            model_ids=tuple(
                location.owner_id
                for location in record.locations
                if location.kind == "logged_model"
            ),
            planned_at=min((listing.listed_at for listing in listings), default=None),
        )
        (plan,) = planner.check_again([plan])
        # What a person forced once stays forced; a protection that came since does not.
        if record.forced and set(plan.reasons) <= set(record.forced):
            plan = replace(plan, reasons=())
        return deleter.delete(plan, resumes=record)
    except ExpmgrError as error:
        return failure(plan.id, error, name=plan.run_name)


def _recorded(record: DeletionRecord, planned: PlannedLocation) -> PlannedLocation:
    """Return a location with the files of the recorded part alone; without any where none tells."""
    told = part_among(record, planned.etags)
    names = frozenset() if told is None else told.names
    sizes = {name: size for name, size in planned.sizes.items() if name in names}
    etags = {name: etag for name, etag in planned.etags.items() if name in names}
    return PlannedLocation(planned.location, len(sizes), sum(sizes.values()), etags, sizes)
