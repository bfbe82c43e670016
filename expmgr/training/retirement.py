"""Deleting a whole iteration: its models first, then the experiment.

The order makes it safe to be interrupted: the experiment is marked ``deleting`` before anything
goes, and a second call finishes marked iterations before it looks for another one. The experiment
goes to MLflow's trash under another name, so that its own is free again; while anything of it is
protected, a raw checkpoint too, it stays as it is. What is there is told by listing, before and
after: a model that MLflow lists nowhere has files all the same.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from expmgr.catalog.lease import active_words
from expmgr.catalog.model import ACTIVE_STATUSES, KEEP_TAG, is_pin
from expmgr.catalog.reason import Reason
from expmgr.errors import ExpmgrError, LocationError
from expmgr.formatting import format_bytes, format_count
from expmgr.moving_in import is_iteration_of
from expmgr.results import DeletionResult
from expmgr.text import keep_plain
from expmgr.tracking.journal import now_ms
from expmgr.tracking.queries import iter_runs, quoted, run_or_none
from expmgr.training.best_only import beats_or_equals, kept_for_want_of, passable
from expmgr.training.experiments import free_name, mark
from expmgr.training.holdings import Holdings, find_owners, holdings
from expmgr.training.iterations import (
    DELETING,
    FINISHED,
    ITERATION_TAG,
    PLUGIN_TAG,
    SEPARATOR,
    is_certain,
    is_iteration,
    iter_plugin_experiments,
    newest,
    recorded_goal,
    state_of,
)
from expmgr.training.stored import best_model, look, ranked, stored_models

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.training.desk import Desk
    from expmgr.training.holdings import Owners
    from expmgr.training.stored import StoredModel

__all__ = ["IterationDeletion", "delete_iteration", "iteration_to_delete"]

_STAYS = frozenset({"protected", "failed"})


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
        One a run that had a model (or a model without a run), and one for each run whose raw
        artifacts must stay.
    left_files, left_bytes
        What stays in storage where the iteration is gone: artifacts that MLflow never recorded
        as a model.
    message
        One line for a person.
    """

    outcome: Literal["deleted", "not_found", "protected", "failed"]
    experiment_id: str = ""
    name: str = ""
    results: tuple[DeletionResult, ...] = ()
    left_files: int = 0
    left_bytes: int = 0
    message: str = ""

    def __post_init__(self) -> None:
        keep_plain(self, "message")

    def __bool__(self) -> bool:
        return self.outcome == "deleted"

    @property
    def kept(self) -> tuple[DeletionResult, ...]:
        """Models that are still there, with the reasons."""
        return tuple(one for one in self.results if one.outcome in _STAYS)

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


def iteration_to_delete(desk: Desk, current: Experiment | None) -> Experiment | None:
    """Return the iteration whose deletion was interrupted, else the one before the current one.

    Without a current iteration that is the newest.
    """
    client, plugin_name = desk.client, desk.plugin_name
    condition = f"tags.{quoted(ITERATION_TAG)} = '{DELETING}'"
    for experiment in iter_plugin_experiments(client, plugin_name, condition):
        if is_iteration(experiment) and is_certain(experiment, plugin_name):
            return experiment
    return next(newest(client, plugin_name, before=current), None)


class _Successors:
    """The models of later iterations, which are asked for when they are first needed.

    There are none where the iteration was tracked by another goal than the manager's: protection
    knows the best by either, and a successor by one of them says nothing of the other.
    """

    def __init__(self, desk: Desk, experiment: Experiment) -> None:
        self.desk = desk
        self.experiment = experiment
        self._later: list[list[StoredModel]] | None = None

    def of(self, run_id: str) -> StoredModel | None:
        """Return a later iteration's model at least as good as any of this run's.

        It is there whole when this returns; None where there is none such.
        """
        mine = stored_models(self.desk, self.experiment.experiment_id, run_id=run_id)
        wanted = ranked(mine, self.desk.goal)
        if len(wanted) < len(mine):
            return None
        return self.at_least(wanted[0].quality if wanted else self.value_of(run_id))

    def value_of(self, run_id: str) -> float | None:
        """Return the run's own last value, which stands for models that have none (MLflow 2's)."""
        run = run_or_none(self.desk.client, run_id)
        return None if run is None else self.desk.goal.value_of(run.data.metrics)

    def at_least(self, quality: float | None) -> StoredModel | None:
        """Return a later iteration's model that is at least as good, and there whole."""
        if quality is None:
            return None
        if self._later is None:
            self._later = list(self._stored_later())
        for models in self._later:
            best = best_model(self.desk, models)
            if (
                best is not None
                and best.quality is not None
                and beats_or_equals(self.desk.goal, best.quality, quality)
            ):
                return best
        return None

    def _stored_later(self) -> Iterator[list[StoredModel]]:
        plugin_name = self.desk.plugin_name
        if not self._compared_by(self.experiment):
            return
        for later in newest(self.desk.client, plugin_name):
            if later.experiment_id == self.experiment.experiment_id:
                return
            ours = is_certain(later, plugin_name) and state_of(later) != DELETING
            if ours and self._compared_by(later):
                directories = is_iteration_of(later.name, plugin_name)
                yield stored_models(self.desk, later.experiment_id, directories=directories)

    def _compared_by(self, experiment: Experiment) -> bool:
        """Whether an experiment's runs are compared by the manager's goal.

        Iterations that another system tracked record none; they are compared by the manager's.
        """
        goal = recorded_goal(experiment)
        if goal is None and is_iteration_of(experiment.name, self.desk.plugin_name):
            return True
        return goal == self.desk.goal


def delete_iteration(desk: Desk, experiment: Experiment, *, force: bool) -> IterationDeletion:
    """Delete an iteration's models, then archive and delete the experiment.

    Protection is obeyed. The best model of the iteration may go only where a later iteration
    stores one that is at least as good; else it stays, and the experiment with it.

    Runs without a model lose nothing but their place: they go to the trash with the experiment.
    Artifacts that MLflow never recorded as a model stay in storage, and the message says how much
    that is; but where one is protected (a raw checkpoint that is pinned or registered, or the best
    of all), the experiment stays. So it does where its files cannot be looked at.
    """
    desk.deletes()
    client, plugin_name = desk.client, desk.plugin_name
    name, experiment_id = experiment.name, experiment.experiment_id
    if not is_certain(experiment, plugin_name):
        return IterationDeletion(
            "protected", experiment_id, name, message=_whose(name, plugin_name)
        )
    try:
        held = _held(desk, experiment, force=force)
    except LocationError as error:
        message = f"The iteration {name!r} stays: its files cannot be looked at ({error})."
        return IterationDeletion("failed", experiment_id, name, message=message)
    before = state_of(experiment)
    marked = mark(client, experiment, {ITERATION_TAG: DELETING})
    results: list[DeletionResult] = [] if force else _standing_runs(client, experiment_id)
    standing = {result.run_id for result in results}
    successors = _Successors(desk, experiment)
    owners = find_owners(client, experiment_id, held)
    results.extend(
        _delete(owner, successors, force=force) for owner in owners.ids if owner not in standing
    )
    if not force:
        raw = [folder for folder in held.others if folder not in {*standing, *owners.ids}]
        results.extend(_protected_raw(raw, successors))
    left = _held(desk, experiment, force=force)
    results.extend(_still_there(left, owners, results))
    if not force and not any(one.outcome in _STAYS for one in results):
        results.extend(_came_since(client, experiment_id, left, owners))
    gone = IterationDeletion(
        "deleted", experiment_id, name, tuple(results), left_files=left.files, left_bytes=left.bytes
    )
    outcomes = {result.outcome for result in results}
    if not gone.kept:
        free_name(client, experiment)
        size = f"{format_count(gone.files, 'file')}, {format_bytes(gone.bytes)}"
        message = f"Deleted the iteration {name!r} with its models ({size})."
        if gone.left_files:
            rest = f"{format_count(gone.left_files, 'file')}, {format_bytes(gone.left_bytes)}"
            message += f" What is no recorded model stays in storage ({rest})."
        return replace(gone, message=message)
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
    return replace(gone, outcome=outcome, left_files=0, left_bytes=0, message=message)


def _held(desk: Desk, experiment: Experiment, *, force: bool) -> Holdings:
    try:
        return holdings(desk, experiment)
    except LocationError:
        if force:
            return Holdings()
        raise


def _still_there(
    left: Holdings, owners: Owners, results: Iterable[DeletionResult]
) -> list[DeletionResult]:
    """Return a failure for each known model whose files are left though nothing says why. Pure."""
    told = {result.run_id for result in results if result.outcome in _STAYS}
    found = []
    for model_id in left.model_ids:
        owner = owners.by_model.get(model_id)
        if owner is None or owner in told:
            continue  # of a model that MLflow does not know nobody can say whose it was
        files, size = left.of_model(model_id)
        message = (
            f"model {model_id} still has {format_count(files, 'file')}, {format_bytes(size)}; "
            "delete it by its id"
        )
        found.append(DeletionResult(owner, "failed", message=message))
    return found


def _came_since(
    client: MlflowClient, experiment_id: str, left: Holdings, owners: Owners
) -> list[DeletionResult]:
    """Return the runs that began, or were pinned, while the models went, and models stored then.

    Their experiment must not go from under them.
    """
    now = find_owners(client, experiment_id, left)
    late = {
        model_id: owner
        for model_id, owner in now.by_model.items()
        if model_id not in owners.by_model and left.of_model(model_id)[0]
    }
    message = "it came while its iteration was being deleted"
    return [
        *_standing_runs(client, experiment_id),
        *(DeletionResult(late[id_], "failed", message=f"model {id_}: {message}") for id_ in late),
        *(
            DeletionResult(run_id, "failed", message=f"its model: {message}")
            for run_id in now.runs
            if run_id not in owners.runs and run_id in left.sizes
        ),
    ]


def _protected_raw(run_ids: Sequence[str], successors: _Successors) -> list[DeletionResult]:
    """Return the runs whose raw artifacts must stay, and so their experiment.

    Whether they are a model at all may be in doubt; since they are not deleted, only what else
    protects them counts then.
    """
    desk = successors.desk
    manager = desk.deletes()
    plans = list(manager.plan_deletion(run_ids)) if run_ids else []
    doubtful = [plan.id for plan in plans if any(one.kind == "unknown" for one in plan.reasons)]
    named = {plan.id: plan for plan in manager.plan_deletion(doubtful, "raw")} if doubtful else {}
    kept = []
    for plan in (named.get(plan.id, plan) for plan in plans):
        run_id = plan.run_id
        reasons = tuple(one for one in plan.reasons if one not in plan.doubts)
        certain = plan.files or plan.problem_error is not None or plan.model == "deleting"
        if not certain or not (reasons or plan.problem):
            continue  # plots and tables, another folder, or nothing that anybody relies on
        run = run_or_none(desk.client, run_id)
        if run is None or run.info.lifecycle_stage == "deleted":
            continue
        if plan.problem:
            kept.append(DeletionResult(run_id, "failed", message=plan.problem, name=plan.run_name))
        elif not (
            passable(reasons, same_run=False)
            and successors.at_least(desk.goal.value_of(run.data.metrics))
        ):
            message = f"Protected, its raw artifacts stay: {'; '.join(reasons)}"
            kept.append(
                DeletionResult(
                    run_id,
                    "protected",
                    message=message,
                    reasons=reasons,
                    name=plan.run_name,
                )
            )
    return kept


def _whose(name: str, plugin_name: str) -> str:
    rest = name.removeprefix(plugin_name + SEPARATOR)
    other = plugin_name + SEPARATOR + rest.rsplit(SEPARATOR, 1)[0]
    return (
        f"The iteration {name!r} stays: it may be one of plugin {other!r}, since no tag "
        f"{PLUGIN_TAG} says whose it is. If it is {plugin_name!r}'s, set_iteration({name!r}) says "
        "so; finish it, and delete it then."
    )


def _standing_runs(client: MlflowClient, experiment_id: str) -> list[DeletionResult]:
    """Return runs under way and pinned ones, whose experiment must not go from under them.

    With a model or not: somebody relies on the run.
    """
    found: dict[str, list[Reason]] = defaultdict(list)
    at = now_ms()
    for status in ACTIVE_STATUSES:
        for run in iter_runs(client, [experiment_id], f"attributes.status = '{status}'"):
            run_id = run.info.run_id
            began = run.info.start_time or 0
            words = active_words(run_id, run.info.status, run.data.tags, began, at)
            found[run_id].append(Reason("active", words, run_id))
    for run in iter_runs(client, [experiment_id], f"tags.{quoted(KEEP_TAG)} LIKE '%'"):
        run_id = run.info.run_id
        if is_pin(run.data.tags.get(KEEP_TAG)):
            found[run_id].append(Reason("pinned", f"the run has the tag {KEEP_TAG}", run_id))
    return [
        DeletionResult(
            run_id, "protected", message=f"kept ({'; '.join(reasons)})", reasons=tuple(reasons)
        )
        for run_id, reasons in found.items()
    ]


def _delete(run_id: str, successors: _Successors, *, force: bool) -> DeletionResult:
    desk = successors.desk
    manager = desk.deletes()
    experiment_id = successors.experiment.experiment_id
    try:
        result = manager.delete_model(run_id, experiment_id, None, force)
        if result.outcome != "protected":
            return result
        plan = manager.plan_deletion(run_id)
        if not passable(plan.runs[0].reasons, same_run=False):
            return result
        better = successors.of(run_id)
        if better is None:
            return result
        why = look(desk, better)
        if why:
            return kept_for_want_of(better, why, run_id)
        return manager.delete_model(run_id, experiment_id, None, True, plan=plan)  # noqa: FBT003, RUF100
    except ExpmgrError as error:
        return DeletionResult(run_id, "failed", message=str(error), error=error)
