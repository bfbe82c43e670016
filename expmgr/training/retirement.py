"""Deleting a whole iteration: its models first, then the experiment.

The order makes it safe to be interrupted: the experiment is marked ``deleting`` before anything
goes, and a second call finishes marked iterations before it looks for another one. The experiment
goes to MLflow's trash under another name, so that its own is free again; while any of its models
is protected it stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from expmgr.catalog.quality import Goal
from expmgr.errors import ExpmgrError, InvalidInputError
from expmgr.formatting import format_bytes, format_count
from expmgr.results import DeletionResult
from expmgr.tracking.queries import iter_logged_models, iter_runs, quoted
from expmgr.training.best_only import (
    as_deleter,
    beats_or_equals,
    kept_for_want_of,
    passable,
)
from expmgr.training.experiments import free_name, mark
from expmgr.training.iterations import (
    DELETING,
    FINISHED,
    SEPARATOR,
    is_certain,
    is_iteration,
    iter_plugin_experiments,
    newest,
    state_of,
)
from expmgr.training.stored import best_model, look, ranked, stored_models
from expmgr.training.tags import ITERATION_TAG, LOSS_TAG, METRIC_TAG, MODEL_TAG, PLUGIN_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.training.best_only import DeletesModels
    from expmgr.training.model_files import ModelFiles
    from expmgr.training.stored import StoredModel

__all__ = ["IterationDeletion", "delete_iteration", "iteration_to_delete"]

_HISTORY_TAG = "mlflow.log-model.history"


@dataclass(frozen=True)
class IterationDeletion:
    """How the deletion of an iteration ended; ``bool(deletion)`` is whether it is gone.

    Attributes
    ----------
    outcome
        ``deleted``, ``not_found`` (there was no such iteration), ``protected`` (some models must
        stay, and so the experiment did; the others are gone) or ``failed``.
    experiment_id, name
        The iteration.
    results
        One a run that had a model.
    message
        One line for a person.
    """

    outcome: Literal["deleted", "not_found", "protected", "failed"]
    experiment_id: str = ""
    name: str = ""
    results: tuple[DeletionResult, ...] = ()
    message: str = ""

    def __bool__(self) -> bool:
        return self.outcome == "deleted"

    @property
    def kept(self) -> tuple[DeletionResult, ...]:
        """Models that are still there, with the reasons."""
        return tuple(one for one in self.results if one.outcome in {"protected", "failed"})

    @property
    def files(self) -> int:
        """Files that were deleted."""
        return sum(result.files for result in self.results)

    @property
    def bytes(self) -> int:
        """Bytes that were deleted."""
        return sum(result.bytes for result in self.results)

    def __str__(self) -> str:
        return self.message


def iteration_to_delete(
    client: MlflowClient, plugin_name: str, current: Experiment | None
) -> Experiment | None:
    """Return the iteration whose deletion was interrupted, else the one before the current one.

    Without a current iteration that is the newest.
    """
    condition = f"tags.{quoted(ITERATION_TAG)} = '{DELETING}'"
    for experiment in iter_plugin_experiments(client, plugin_name, condition):
        if is_iteration(experiment) and is_certain(experiment, plugin_name):
            return experiment
    return next(newest(client, plugin_name, before=current), None)


class _Successors:
    """The models of later iterations, which are asked for when they are first needed."""

    def __init__(
        self, client: MlflowClient, files: ModelFiles, plugin_name: str, experiment: Experiment
    ) -> None:
        self.client = client
        self.files = files
        self.experiment = experiment
        self.goal = _goal_of(experiment)
        self._plugin_name = plugin_name
        self._later: list[list[StoredModel]] | None = None

    def of(self, run_id: str) -> StoredModel | None:
        """Return a later iteration's model at least as good as any of this run's.

        It is there whole when this returns; None where there is none such.
        """
        mine = stored_models(self.client, self.experiment.experiment_id, self.goal, run_id=run_id)
        wanted = ranked(mine, self.goal)
        if not wanted or len(wanted) < len(mine):
            return None
        if self._later is None:
            self._later = list(self._stored_later())
        for models in self._later:
            best = best_model(self.client, self.files, models, self.goal)
            if (
                best is not None
                and best.quality is not None
                and wanted[0].quality is not None
                and beats_or_equals(self.goal, best.quality, wanted[0].quality)
            ):
                return best
        return None

    def _stored_later(self) -> Iterator[list[StoredModel]]:
        for later in newest(self.client, self._plugin_name):
            if later.experiment_id == self.experiment.experiment_id:
                return
            ours = is_certain(later, self._plugin_name) and state_of(later) != DELETING
            if ours and _goal_of(later) == self.goal:
                yield stored_models(self.client, later.experiment_id, self.goal)


def _goal_of(iteration: Experiment) -> Goal:
    return Goal(iteration.tags.get(METRIC_TAG, ""), iteration.tags.get(LOSS_TAG) == "true")


def delete_iteration(
    manager: object,
    client: MlflowClient,
    files: ModelFiles,
    plugin_name: str,
    experiment: Experiment,
    *,
    force: bool,
) -> IterationDeletion:
    """Delete an iteration's models, then archive and delete the experiment.

    Protection is obeyed. The best model of the iteration may go only where a later iteration
    stores one that is at least as good; else it stays, and the experiment with it.

    Runs without a model lose nothing but their place: they go to the trash with the experiment.
    Artifacts that MLflow never recorded as a model stay in storage, for the orphan sweep.
    """
    deleter = as_deleter(manager)
    if deleter is None:
        message = (
            f"{type(manager).__name__} has no Azure credentials to delete models with; use "
            "ExperimentsManagerWithAzureBlobBackend."
        )
        raise InvalidInputError(message)
    name, experiment_id = experiment.name, experiment.experiment_id
    if not is_certain(experiment, plugin_name):
        return IterationDeletion(
            "protected", experiment_id, name, message=_whose(name, plugin_name)
        )
    before = state_of(experiment)
    marked = mark(client, experiment, {ITERATION_TAG: DELETING})
    results: list[DeletionResult] = [] if force else _active_runs(client, experiment_id)
    active = {result.run_id for result in results}
    successors = _Successors(client, files, plugin_name, experiment)
    results.extend(
        _delete(deleter, run_id, successors, force=force)
        for run_id in _runs_with_models(client, experiment_id)
        if run_id not in active
    )
    gone = IterationDeletion("deleted", experiment_id, name, tuple(results))
    outcomes = {result.outcome for result in results}
    if not gone.kept:
        free_name(client, experiment)
        size = f"{format_count(gone.files, 'file')}, {format_bytes(gone.bytes)}"
        message = f"Deleted the iteration {name!r} with its models ({size})."
        return IterationDeletion("deleted", experiment_id, name, tuple(results), message)
    if "failed" not in outcomes:  # what failed is gone on with by the next call, as if interrupted
        mark(client, marked, {ITERATION_TAG: FINISHED if before == DELETING else before})
    kept = "; ".join(f"run {one.run_id}: {one}" for one in gone.kept[:5])
    advice = (
        "Call again to go on."
        if "failed" in outcomes
        else "force=True deletes them as well; unpin or unregister to delete them one by one."
    )
    message = (
        f"The iteration {name!r} stays, since {format_count(len(gone.kept), 'model')} of it did: "
        f"{kept}. {advice}"
    )
    outcome: Literal["failed", "protected"] = "failed" if "failed" in outcomes else "protected"
    return IterationDeletion(outcome, experiment_id, name, tuple(results), message)


def _whose(name: str, plugin_name: str) -> str:
    rest = name.removeprefix(plugin_name + SEPARATOR)
    other = plugin_name + SEPARATOR + rest.rsplit(SEPARATOR, 1)[0]
    return (
        f"The iteration {name!r} stays: it may be one of plugin {other!r}, since no tag "
        f"{PLUGIN_TAG} says whose it is. If it is {plugin_name!r}'s, set_iteration({name!r}) says "
        "so; finish it, and delete it then."
    )


def _active_runs(client: MlflowClient, experiment_id: str) -> list[DeletionResult]:
    """Return runs under way, with a model or not, whose experiment must not go from under them."""
    found = []
    for status in ("RUNNING", "SCHEDULED"):
        for run in iter_runs(client, [experiment_id], f"attributes.status = '{status}'"):
            reason = f"active: the run is {status}"
            found.append(
                DeletionResult(
                    run.info.run_id, "protected", message=f"kept ({reason})", reasons=(reason,)
                )
            )
    return found


def _runs_with_models(client: MlflowClient, experiment_id: str) -> list[str]:
    made = [
        model.source_run_id
        for model in iter_logged_models(client, [experiment_id])
        if model.source_run_id and model.tags.get(MODEL_TAG) != "deleted"
    ]
    logged = [
        run.info.run_id
        for run in iter_runs(client, [experiment_id], f"tags.{quoted(_HISTORY_TAG)} LIKE '%'")
    ]
    return list(dict.fromkeys([*made, *logged]))


def _delete(
    manager: DeletesModels, run_id: str, successors: _Successors, *, force: bool
) -> DeletionResult:
    experiment_id = successors.experiment.experiment_id
    try:
        result = manager.delete_model(run_id, experiment_id, None, force)
        if result.outcome != "protected" or not passable(result.reasons, same_run=False):
            return result
        better = successors.of(run_id)
        if better is None:
            return result
        plan = manager.plan_deletion(run_id)
        if not passable(plan.runs[0].reasons, same_run=False):
            return result
        why = look(successors.client, successors.files, better)
        if why:
            return kept_for_want_of(better, why, run_id)
        return manager.delete_model(run_id, experiment_id, None, True, plan=plan)  # noqa: FBT003, RUF100
    except ExpmgrError as error:
        return DeletionResult(run_id, "failed", message=str(error), error=error)
