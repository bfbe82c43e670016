"""Keeping only the best model of an iteration.

The better model is stored first, the superseded deleted after: a crash between the two leaves two
models, never none. What is superseded is told by the ranking of that moment, which every process
computes alike, so that parallel trials delete what the best one supersedes and never the best.
Every deletion goes through the manager's ``delete_model``: plan, protection, journal; and right
before each the better model is looked at where it lies, since it is the reason to delete.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from expmgr.errors import ExpmgrError
from expmgr.results import DeletionResult
from expmgr.training.stored import best_model, look, stored_models

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from expmgr.catalog.quality import Goal
    from expmgr.catalog.reason import Reason
    from expmgr.training.desk import Desk
    from expmgr.training.stored import StoredModel

__all__ = [
    "beats_or_equals",
    "kept_for_want_of",
    "passable",
    "supersede",
    "victims",
]

logger = logging.getLogger(__name__)


def beats_or_equals(goal: Goal, quality: float, best: float | None) -> bool:
    """Whether a quality is at least as good as the best; anything beats none. Pure."""
    return best is None or not goal.is_better(best, quality)


def victims(
    models: Iterable[StoredModel],
    best: StoredModel,
    goal: Goal,
    *,
    previous_best: StoredModel | None = None,
) -> list[StoredModel]:
    """Return the models that the best one supersedes. Pure.

    Those saved to be kept only while best, and the best before this one however it was saved; of
    them such as are not better than the best. Models of unknown quality are left, and checkpoints:
    what their run was told to keep of them stays.
    """
    return [
        model
        for model in models
        if model.model_id != best.model_id
        and not model.checkpoint
        and (model.best_only or (previous_best is not None and model == previous_best))
        and model.quality is not None
        and best.quality is not None
        and beats_or_equals(goal, best.quality, model.quality)
    ]


def passable(reasons: Iterable[Reason], *, same_run: bool) -> bool:
    """Whether none of the reasons speaks against deleting a superseded model. Pure.

    "Best of its experiment" does not: protection keeps all of a tie, and the best by the run's
    last value too, while a model whose quality is at least as good is there. "Active" does not
    where the run itself replaces its own model. Every other reason (registered, pinned, initial,
    used by another run, unknown) does.
    """
    allowed = {"best", "active"} if same_run else {"best"}
    return all(reason.kind in allowed for reason in reasons)


def kept_for_want_of(better: StoredModel, why: str, run_id: str) -> DeletionResult:
    """Return the result for a model that stays because the better one is not there whole. Pure.

    Parameters
    ----------
    why
        See `expmgr.training.stored.fault`.
    run_id
        The run whose model stays.
    """
    message = (
        f"Kept: the better model {better.model_id} of run {better.run_id} is not there whole "
        f"({why}), so this one may be the last"
    )
    return DeletionResult(run_id, "protected", message=message)


def supersede(
    desk: Desk,
    experiment_id: str,
    *,
    run_id: str,
    only_run: str | None = None,
    previous_best: StoredModel | None = None,
    directories: bool = False,
) -> tuple[DeletionResult, ...]:
    """Delete what the best model of this moment supersedes.

    Parameters
    ----------
    run_id
        The run that asks; it may replace its own earlier models while it is RUNNING.
    only_run
        Delete models of this run alone.
    previous_best
        Superseded too where it was not saved as best-only.
    directories
        Whether models of MLflow 2 compete as well.

    Returns
    -------
    tuple of DeletionResult
        One a run; a protected or failed one is still there. Nothing is raised: the new model is
        stored, and a later call tries again.
    """
    try:
        models = stored_models(desk, experiment_id, directories=directories)
        best = best_model(desk, models)
    except ExpmgrError as error:
        message = f"superseded models were kept: {error}"
        logger.warning("run %s: %s", run_id, message)
        return (DeletionResult(run_id, "failed", message=message, error=error),)
    if best is None:
        return ()
    by_id: dict[str, list[str] | None] = {}
    for model in victims(models, best, desk.goal, previous_best=previous_best):
        if only_run is not None and model.run_id != only_run:
            continue
        if model.path:
            by_id[model.model_id] = None  # it goes by its own id
        else:
            of_run = by_id.setdefault(model.run_id, [])
            assert of_run is not None
            of_run.append(model.model_id)
    results = tuple(
        _delete(
            desk,
            victim,
            experiment_id,
            model_ids,
            better=best,
            same_run=victim.partition("/")[0] in {run_id, only_run},
        )
        for victim, model_ids in by_id.items()
    )
    for result in results:
        level = logging.INFO if result else logging.WARNING
        logger.log(level, "superseded model of run %s: %s", result.run_id, result)
    return results


def _delete(
    desk: Desk,
    run_id: str,
    experiment_id: str,
    model_ids: Sequence[str] | None,
    *,
    better: StoredModel,
    same_run: bool,
) -> DeletionResult:
    try:
        deleter = desk.deletes()
        plan = deleter.plan_deletion(run_id, model_ids=model_ids)
        reasons = plan.runs[0].reasons
        force = bool(reasons) and passable(reasons, same_run=same_run)
        why = look(desk, better)
        if why:
            return kept_for_want_of(better, why, run_id)
        return deleter.delete_model(run_id, experiment_id, model_ids, force, plan=plan)
    except ExpmgrError as error:
        message = f"the superseded model of run {run_id} was kept: {error}"
        return DeletionResult(run_id, "failed", message=message, error=error)
