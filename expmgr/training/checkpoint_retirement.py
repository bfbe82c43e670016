"""Deleting the checkpoints that a run is done with, and what a killed process left of its own.

Only models that `save_checkpoint` stored are ever taken (their tag says so), only those of the run
that asks, or of a run of the same iteration that failed or was killed; a run that is under way
elsewhere keeps all that it has, and one that finished all but uploads that never ended. What
somebody restored stays. Every deletion goes through the manager's ``delete_model``: plan,
protection, journal. Right before it the checkpoints that stay are looked at where they lie: never
are there fewer whole ones than the policy keeps.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from expmgr.catalog.model import ACTIVE_STATUSES
from expmgr.errors import ExpmgrError, LocationError
from expmgr.results import DeletionResult
from expmgr.tracking.journal import MODEL_TAG, latest_records
from expmgr.tracking.queries import asking, in_parallel, iter_logged_models, run_or_none
from expmgr.training.best_only import beats_or_equals
from expmgr.training.checkpoint_keep import (
    KeptCheckpoint,
    keep_from_tag,
    superseded,
    without,
)
from expmgr.training.runs import now_ms
from expmgr.training.stored import CHECKPOINT_TAG, as_stored, fault, own_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mlflow.entities import LoggedModel, Run

    from expmgr.catalog.policy import Policy
    from expmgr.catalog.reason import Reason
    from expmgr.cleanup.plan import DeletionPlan
    from expmgr.training.desk import Desk
    from expmgr.training.runs import OpenRun

__all__ = ["retire", "sweep"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Group:
    """The checkpoints of one run that are not known to be gone.

    Attributes
    ----------
    own
        Whether it is the run that asks, which may replace its own while it is RUNNING.
    stored
        READY ones.
    halves
        Uploads that never ended: they are no checkpoints.
    """

    run_id: str
    experiment_id: str
    own: bool
    stored: tuple[KeptCheckpoint, ...]
    halves: tuple[LoggedModel, ...]


def retire(
    desk: Desk, run: OpenRun, keep: Policy | None, told: set[str]
) -> tuple[DeletionResult, ...]:
    """Delete the checkpoints of the open run that a policy does not keep, and its dead uploads.

    Call it when no upload of the run is under way.

    Parameters
    ----------
    told
        Models that the log has said to be protected; it says so once.

    Returns
    -------
    tuple of DeletionResult
        One a checkpoint; a protected or failed one is still there. Nothing is raised: the new
        checkpoint is stored, and the next one tries again.
    """
    try:
        models = _read(desk, run.experiment_id, run.run_id)
        group = _group(desk, run.run_id, models, own=True)
        return tuple(_retire(desk, group, keep, told))
    except ExpmgrError as error:
        return (_kept(run.run_id, "superseded checkpoints were kept", error),)


def sweep(desk: Desk, run: OpenRun) -> tuple[DeletionResult, ...]:
    """Delete what dead runs of the iteration left: unfinished uploads, superseded checkpoints.

    Each by what it was itself told to keep. One search, and more only where something is left.
    """
    try:
        by_run: dict[str, list[LoggedModel]] = defaultdict(list)
        for model in _read(desk, run.experiment_id):
            by_run[model.source_run_id].append(model)
        by_run.pop(run.run_id, None)
        results: list[DeletionResult] = []
        for run_id, models in by_run.items():
            group = _group(desk, run_id, models, own=False)
            keep = _told(models)
            if not group.halves and not _superseded(desk, group, keep):
                continue
            maker = run_or_none(desk.client, run_id)
            if maker is None or not _has_ended(maker):
                continue
            if maker.info.status == "FINISHED":
                keep = None  # it did this itself; what stayed then had its reasons
            else:
                group = _completed(desk, group)
            results.extend(_retire(desk, group, keep, set()))
        return tuple(results)
    except ExpmgrError as error:
        return (_kept(run.run_id, "what other runs left was not looked at", error),)


def _kept(run_id: str, what: str, error: ExpmgrError) -> DeletionResult:
    logger.warning("run %s: %s: %s", run_id, what, error)
    return DeletionResult(run_id, "failed", message=f"{what}: {error}", error=error)


def _read(desk: Desk, experiment_id: str, run_id: str = "") -> list[LoggedModel]:
    condition = f"source_run_id='{run_id}'" if run_id else None
    return [
        model
        for model in iter_logged_models(desk.client, [experiment_id], condition)
        if CHECKPOINT_TAG in model.tags
        and MODEL_TAG not in model.tags
        and model.source_run_id
        and run_id in {"", model.source_run_id}
    ]


def _group(desk: Desk, run_id: str, models: Sequence[LoggedModel], *, own: bool) -> _Group:
    from mlflow.entities import LoggedModelStatus

    stored: list[KeptCheckpoint] = []
    halves: list[LoggedModel] = []
    for model in models:
        if model.status == LoggedModelStatus.READY:
            value, doubtful = own_value(desk, model)
            stored.append(KeptCheckpoint(as_stored(model, value), doubtful=doubtful))
        else:
            halves.append(model)
    experiment_id = models[0].experiment_id if models else ""
    return _Group(run_id, experiment_id, own, tuple(stored), tuple(halves))


def _completed(desk: Desk, group: _Group) -> _Group:
    """Call READY what lacks nothing but that word: the process was killed right before it.

    Its metrics are logged after all its files are there, as the last step before.
    """
    from mlflow.entities import LoggedModelStatus

    halves: list[LoggedModel] = []
    stored = list(group.stored)
    for model in group.halves:
        value, doubtful = own_value(desk, model)
        one = as_stored(model, value)
        logged = any(metric.run_id == group.run_id for metric in model.metrics or ())
        pending = model.status == LoggedModelStatus.PENDING
        if not (pending and logged and one.files and _has_files(desk, model, one.files)):
            halves.append(model)
            continue
        with asking(f"finalise the checkpoint {model.model_id}", run_id=group.run_id):
            desk.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        logger.info("checkpoint %s of run %s is whole after all", model.model_id, group.run_id)
        stored.append(KeptCheckpoint(one, doubtful=doubtful))
    return replace(group, stored=tuple(stored), halves=tuple(halves))


def _told(models: Iterable[LoggedModel]) -> Policy | None:
    """Return what the run was told to keep when it saved last; None for all."""
    newest = max(models, key=lambda model: (model.creation_timestamp, model.model_id))
    return keep_from_tag(newest.tags[CHECKPOINT_TAG])


def _has_ended(run: Run) -> bool:
    return run.info.status not in ACTIVE_STATUSES and run.info.lifecycle_stage == "active"


def _superseded(desk: Desk, group: _Group, keep: Policy | None) -> list[KeptCheckpoint]:
    return [] if keep is None else superseded(group.stored, keep, desk.goal, now_ms())


def _retire(desk: Desk, group: _Group, keep: Policy | None, told: set[str]) -> list[DeletionResult]:
    """Plan first, then look at what stays, then delete: the look is the last thing before."""
    halves = [model for model in group.halves if _has_files(desk, model)]
    maker = run_or_none(desk.client, group.run_id) if group.stored else None
    if maker is not None:
        group = replace(group, stored=tuple(_as_run_tells(maker, group.stored)))
    goes = _superseded(desk, group, keep)
    plans: dict[str, DeletionPlan | ExpmgrError] = {
        model_id: _planned(desk, group.run_id, model_id)
        for model_id in [one.model_id for one in halves] + [one.model.model_id for one in goes]
    }
    if goes:
        faults = in_parallel(lambda one: _fault(desk, one, maker), group.stored)
        broken = {one.model.model_id for one, why in zip(group.stored, faults, strict=True) if why}
        group = replace(group, stored=tuple(without(group.stored, broken)))
        goes = [one for one in _superseded(desk, group, keep) if one.model.model_id in plans]
    stays = [one for one in group.stored if one.whole and one not in goes]
    if goes and not stays:
        logger.warning(
            "run %s: %r keeps none of its checkpoints, so all of them stay", group.run_id, keep
        )
        goes = []
    doomed = [(one.model_id, None) for one in halves] + [(one.model.model_id, one) for one in goes]
    results = []
    for model_id, checkpoint in doomed:
        result = _delete(desk, group, model_id, checkpoint, plans[model_id], stays)
        known = result.outcome == "protected" and model_id in told
        failed = result.outcome in {"protected", "failed"}
        level = logging.DEBUG if known else logging.WARNING if failed else logging.INFO
        logger.log(level, "checkpoint %s of run %s: %s", model_id, group.run_id, result)
        told.add(model_id)
        results.append(result)
    return results


def _as_run_tells(maker: Run, stored: Iterable[KeptCheckpoint]) -> Iterator[KeptCheckpoint]:
    """Yield checkpoints with their output steps, and whether somebody restored them. Pure."""
    steps = {out.model_id: out.step for out in maker.outputs.model_outputs}
    records = latest_records(maker.info.run_id, maker.data.tags)
    restored = {path for path, record in records.items() if record.state == "restored"}
    for one in stored:
        model_id = one.model.model_id
        wanted = any(path.endswith(f"/{model_id}/artifacts") for path in restored)
        yield replace(one, step=steps.get(model_id), wanted=wanted)


def _has_files(desk: Desk, model: LoggedModel, least: int = 1) -> bool:
    try:
        return len(desk.files.names(model.artifact_location, model.model_id)) >= least
    except LocationError:
        return False  # not where this manager may delete


def _fault(desk: Desk, one: KeptCheckpoint, maker: Run | None) -> str:
    try:
        return fault(one.model, maker, desk.files.names(one.model.uri, one.model.model_id))
    except LocationError as error:
        return str(error)


def _planned(desk: Desk, run_id: str, model_id: str) -> DeletionPlan | ExpmgrError:
    try:
        return desk.deletes().plan_deletion(run_id, model_ids=[model_id])
    except ExpmgrError as error:
        return error


def _delete(
    desk: Desk,
    group: _Group,
    model_id: str,
    checkpoint: KeptCheckpoint | None,
    plan: DeletionPlan | ExpmgrError,
    stays: Sequence[KeptCheckpoint],
) -> DeletionResult:
    if isinstance(plan, ExpmgrError):
        return DeletionResult(group.run_id, "failed", message=f"it was kept: {plan}", error=plan)
    reasons = plan.runs[0].reasons
    force = bool(reasons) and all(
        _passable(desk, group, reason, model_id, checkpoint, stays) for reason in reasons
    )
    try:
        return desk.deletes().delete_model(
            group.run_id, group.experiment_id, [model_id], force, plan=plan
        )
    except ExpmgrError as error:
        return DeletionResult(group.run_id, "failed", message=f"it was kept: {error}", error=error)


def _passable(
    desk: Desk,
    group: _Group,
    reason: Reason,
    model_id: str,
    checkpoint: KeptCheckpoint | None,
    stays: Sequence[KeptCheckpoint],
) -> bool:
    """Whether a reason does not speak against deleting what a run is done with. Pure.

    That the run itself is under way does not, nor that the checkpoint is the best of its
    experiment by our own goal where one that is at least as good stays. Every other reason does.
    """
    if reason.kind == "active":
        return group.own and reason.subject == group.run_id
    if reason.kind != "best" or reason.subject != f"{model_id} {desk.goal.metric}":
        return False
    quality = None if checkpoint is None else checkpoint.model.quality
    return quality is not None and any(
        one.model.quality is not None and beats_or_equals(desk.goal, one.model.quality, quality)
        for one in stays
    )
