"""Makes plans: asks MLflow and Azure what would go, and what must stay and why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from expmgr.cleanup.locate import Finder, experiment_roots
from expmgr.cleanup.plan import DeletionPlan, PlannedLocation, RunPlan
from expmgr.cleanup.stored import StoredModels
from expmgr.errors import ExpmgrError, InvalidInputError, LocationError
from expmgr.tracking.journal import MODEL_TAG, next_record_id, now_ms, read_records
from expmgr.tracking.models import models_of_run
from expmgr.tracking.protection import (
    Goal,
    NamingRun,
    ProtectionFacts,
    Subject,
    best_runs,
    failing_safe,
    gather_naming_runs,
    naming_runs,
    protections,
)
from expmgr.tracking.queries import in_parallel, iter_experiments, run_or_none
from expmgr.tracking.registry import read_registry
from expmgr.tracking.state import model_state

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

    from expmgr.storage.blob_store import BlobStore
    from expmgr.tracking.models import RunModels
    from expmgr.tracking.protection import BestRuns

__all__ = ["Planner"]


@dataclass(frozen=True)
class _Draft:
    """A run's plan before protection, with what the rules look at."""

    plan: RunPlan
    subject: Subject | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Planner:
    """Plans deletions in one container.

    Attributes
    ----------
    goal_of
        What "best" means in an experiment, None where nothing is called best.
    """

    client: MlflowClient
    blob_store: BlobStore
    artifacts_destination: str | None
    goal_of: Callable[[Experiment], Goal | None] = field(repr=False)

    def finder(self, experiments: Iterable[Experiment] | None = None) -> Finder:
        """Return a finder that knows every experiment's root as of now.

        Parameters
        ----------
        experiments
            All of them, the trash included, where the caller has them already.
        """
        store = self.blob_store.store
        if experiments is None:
            experiments = iter_experiments(self.client, deleted=True)
        roots = experiment_roots(experiments, store, self.artifacts_destination)
        return Finder(store, self.blob_store.list, self.artifacts_destination, roots)

    def plan(
        self,
        run_ids: Sequence[str],
        *,
        model_ids: Sequence[str] | None = None,
        cancel: threading.Event | None = None,
    ) -> DeletionPlan:
        """Return what deleting these runs' models would remove; changes nothing.

        Raises
        ------
        TrackingError
            MLflow could not be asked for the experiments, without which no location can be
            checked. Look-ups that fail for one run are that run's ``problem``; look-ups that
            protection needs protect.
        InvalidInputError
            ``model_ids`` names a model that the run did not make.
        """
        experiments = list(iter_experiments(self.client, deleted=True))
        finder = self.finder(experiments)
        wanted = list(dict.fromkeys(run_ids))
        drafts = in_parallel(
            lambda run_id: self._draft(run_id, finder, model_ids, cancel), wanted, cancel=cancel
        )
        return DeletionPlan(self._protect(drafts, finder, experiments))

    def check_again(self, plans: Sequence[RunPlan]) -> tuple[RunPlan, ...]:
        """Return the plans with their locations as they were and their protection as it is now.

        Raises
        ------
        TrackingError
            MLflow could not be asked for the experiments.
        """
        experiments = list(iter_experiments(self.client, deleted=True))
        finder = self.finder(experiments)
        drafts = in_parallel(lambda plan: self._redraft(plan, finder), plans)
        return self._protect(drafts, finder, experiments)

    def _redraft(self, plan: RunPlan, finder: Finder) -> _Draft:
        try:
            run = run_or_none(self.client, plan.run_id)
            if run is None:
                return _Draft(replace(plan, problem=_no_run(plan.run_id)))
            plan = replace(plan, record_id=next_record_id(run.data.tags))
            blocked = _blocked(run)
            if blocked:
                return _Draft(replace(plan, problem=blocked))
            finder.checked(planned.location for planned in plan.locations)
            models = models_of_run(self.client, run, plan.model_ids)
            if foreign := sorted(set(plan.model_ids).intersection(models.linked)):
                problem = (
                    f"run {plan.run_id} did not make {', '.join(foreign)}: nothing was deleted."
                )
                return _Draft(replace(plan, problem=problem))
            if not plan.files:
                return _Draft(plan)  # as in _draft: nothing is there that could be protected
        except ExpmgrError as error:
            return _Draft(replace(plan, problem=str(error), problem_error=error))
        return _Draft(plan, _subject(run, models, plan), run.data.metrics)

    def _draft(
        self,
        run_id: str,
        finder: Finder,
        model_ids: Sequence[str] | None,
        cancel: threading.Event | None,
    ) -> _Draft:
        plan = RunPlan(run_id)
        try:
            run = run_or_none(self.client, run_id)
            if run is None:
                return _Draft(replace(plan, model="none", problem=_no_run(run_id)))
            plan = replace(
                plan,
                run_name=run.info.run_name or "",
                experiment_id=run.info.experiment_id,
                record_id=next_record_id(run.data.tags),
            )
            models = models_of_run(self.client, run)
            found = finder.find(run, models, model_ids, cancel=cancel)
            listings = in_parallel(self.blob_store.measure, found.locations)
            located = tuple(
                PlannedLocation(location, listing.files, listing.bytes, listing.etags)
                for location, listing in zip(found.locations, listings, strict=True)
            )
            plan = replace(
                plan,
                locations=located,
                model_ids=found.model_ids,
                linked=models.linked,
                note=found.note,
                planned_at=min((listing.listed_at for listing in listings), default=None),
                model=model_state(
                    run_id,
                    run.data.tags,
                    paths=[location.path for location in found.locations],
                    recorded=models.recorded,
                    elsewhere=False,
                    files=sum(listing.files for listing in listings),
                ),
            )
            plan = _files_decide(plan)
            blocked = _blocked(run)
            if not blocked and found.note and not plan.files:
                blocked = f"run {run_id}: {found.note}."
            if blocked:
                return _Draft(replace(plan, problem=blocked))
            if not plan.files:
                return _Draft(plan)  # nothing is there that could be protected
            return _Draft(plan, _subject(run, models, plan), run.data.metrics)
        except InvalidInputError as error:
            if not isinstance(error, LocationError):
                raise
            state = plan.model if plan.locations else "elsewhere"
            return _Draft(replace(plan, model=state, problem=str(error), problem_error=error))
        except ExpmgrError as error:
            return _Draft(replace(plan, problem=str(error), problem_error=error))

    def _protect(
        self, drafts: Sequence[_Draft], finder: Finder, experiments: Sequence[Experiment]
    ) -> tuple[RunPlan, ...]:
        by_id = {experiment.experiment_id: experiment for experiment in experiments}
        goals = {
            experiment_id: goal
            for experiment_id, experiment in by_id.items()
            if (goal := self.goal_of(experiment)) is not None
        }
        subjects = [draft.subject for draft in drafts if draft.subject is not None]
        facts = self._gather(subjects, experiments, goals, finder)
        plans = []
        for draft in drafts:
            experiment = by_id.get(draft.plan.experiment_id)
            plan = replace(
                draft.plan, experiment_name="" if experiment is None else experiment.name
            )
            if draft.subject is not None:
                goal = goals.get(draft.subject.experiment_id)
                value = None if goal is None else goal.value_of(draft.metrics)
                plan = replace(
                    plan, reasons=protections(replace(draft.subject, value=value), facts)
                )
            plans.append(plan)
        return tuple(plans)

    def _gather(
        self,
        subjects: Sequence[Subject],
        experiments: Sequence[Experiment],
        goals: Mapping[str, Goal],
        finder: Finder,
    ) -> ProtectionFacts:
        if not subjects:
            return ProtectionFacts()
        failures: list[str] = []
        locations = {
            experiment.experiment_id: experiment.artifact_location for experiment in experiments
        }
        own = {subject.experiment_id for subject in subjects}
        model_ids = frozenset().union(*(subject.model_ids for subject in subjects))
        facts = ProtectionFacts()
        naming: list[NamingRun] = []
        best: dict[str, BestRuns] = {}

        def ask_registry() -> None:
            nonlocal facts
            facts = replace(facts, registry=read_registry(self.client, finder.blob_path))

        def ask_naming() -> None:
            naming.extend(gather_naming_runs(self.client, list(locations)))

        def ask_best(experiment_id: str) -> None:
            goal = goals[experiment_id]
            stored = StoredModels(self.client, self.blob_store, finder, locations[experiment_id])
            is_stored = stored.holds if experiment_id in own else stored.serves
            found = best_runs(self.client, experiment_id, goal, is_stored)
            if experiment_id in own:
                best[experiment_id] = found
            if model_ids:
                why = f"used: best of its experiment by {goal.metric}"
                runs = (*found.runs, *stored.also_best(goal))
                naming.extend(naming_runs(self.client, {run.info.run_id: why for run in runs}))

        questions: list[tuple[str, Callable[[], None]]] = [
            ("the model registry", ask_registry),
            ("pinned, initial and active runs", ask_naming),
        ]
        # Another experiment's best run matters only where it can name one of these models.
        asked = [eid for eid in goals if eid in own or model_ids]
        questions.extend(
            (f"the best run of experiment {eid}", lambda eid=eid: ask_best(eid))  # type: ignore[misc]
            for eid in asked
        )
        in_parallel(lambda pair: failing_safe(pair[0], failures, pair[1]), questions)
        return replace(facts, best=best, naming=tuple(naming), failures=tuple(failures))


def _files_decide(plan: RunPlan) -> RunPlan:
    """Trust the listing over the journal: files that are there can be deleted."""
    if plan.files and plan.model in {"deleted", "none", "unknown"}:
        return replace(plan, model="artifacts" if plan.raw_artifacts else "stored")
    return plan


def _subject(run: Run, models: RunModels, plan: RunPlan) -> Subject:
    ids = frozenset(plan.model_ids)
    return Subject(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        status=run.info.status,
        tags=run.data.tags,
        model_ids=ids,
        model_tags=tuple(model.tags for model in models.made if model.model_id in ids),
        blob_paths=tuple(planned.location.path for planned in plan.locations),
    )


def _blocked(run: Run) -> str:
    """Return why nothing can be deleted from this run now, or ""."""
    run_id = run.info.run_id
    if run.info.lifecycle_stage == "deleted":
        return (
            f"run {run_id} is in MLflow's trash, where it cannot record a deletion. Restore it "
            "first (MlflowClient.restore_run)."
        )
    at = now_ms()
    for record in read_records(run_id, run.data.tags):
        if record.is_live(at):
            minutes = max(1, round((record.deadline - at) / 60_000))
            return (
                f"run {run_id} is being deleted by {record.owner} (tag {MODEL_TAG}); if that "
                f"process died, it can be resumed in {minutes} min."
            )
    return ""


def _no_run(run_id: str) -> str:
    return f"the tracking server has no run {run_id!r}; check the id and the tracking URI."
