"""Makes plans: asks MLflow and storage what would go, and what must stay and why."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from expmgr.catalog.files import marked_directories
from expmgr.catalog.model import Size, Stored, is_model_id, run_and_path
from expmgr.catalog.parts import as_part, is_named
from expmgr.catalog.reason import Reason
from expmgr.catalog.states import model_state, run_state
from expmgr.cleanup.directories import (
    check_alone,
    check_id,
    directories_of,
    goes_with,
    named,
    unknown,
)
from expmgr.cleanup.drafts import Draft, protected, told_after
from expmgr.cleanup.evidence import Subject
from expmgr.cleanup.gathered import Gathered, gather
from expmgr.cleanup.home import home_of
from expmgr.cleanup.locate import (
    finder_of,
    foreign,
    parent_of,
    run_model,
    two_stories,
)
from expmgr.cleanup.part_plans import check_still, planned_part, resolve_part
from expmgr.cleanup.plan import DeletionPlan, PlannedLocation, RunPlan
from expmgr.cleanup.steps import Steps
from expmgr.collector import loading
from expmgr.errors import ExpmgrError, InvalidInputError, LocationError
from expmgr.tracking.journal import (
    MODEL_TAG,
    deletion_was_begun,
    journal_of,
    next_record_id,
    now_ms,
    owner_of,
    read_part_records,
    read_records,
)
from expmgr.tracking.models import RunModels, maker_of, model_of
from expmgr.tracking.queries import (
    in_parallel,
    iter_experiments,
    logged_model,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel, Run

    from expmgr.catalog.model import Model
    from expmgr.catalog.parts import Part
    from expmgr.catalog.quality import Goal
    from expmgr.cleanup.home import Home
    from expmgr.cleanup.locate import Finder, Located
    from expmgr.storage.listing import Listing
    from expmgr.storage.location import Location
    from expmgr.storage.protocol import Storage

__all__ = ["Planner", "Resolved"]


@dataclass(frozen=True)
class Resolved:
    """Where a run's models lie.

    Attributes
    ----------
    recorded
        Whether MLflow recorded them; otherwise only their files tell.
    tags
        The run's.
    note
        Why there is nothing, or what could not be located.
    """

    locations: tuple[Location, ...] = ()
    recorded: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Planner:
    """Plans deletions in one container.

    Attributes
    ----------
    goals_of
        What "best" means in an experiment; empty where nothing is called best.
    """

    client: MlflowClient
    blob_store: Storage
    goals_of: Callable[[Experiment], tuple[Goal, ...]] = field(repr=False)

    def finder(self, experiments: Iterable[Experiment] | None = None) -> Finder:
        """Return a finder that knows every experiment's root as of now.

        Parameters
        ----------
        experiments
            All of them, the trash included, where the caller has them already.
        """
        if experiments is None:
            experiments = iter_experiments(self.client, deleted=True)
        return finder_of(self.blob_store, experiments)

    def plan(
        self,
        ids: Sequence[str],
        *,
        model_ids: Sequence[str] | None = None,
        part: str | Iterable[str] = "model",
        makers: Sequence[str] = (),
        leave: Collection[str] = (),
        on_progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> DeletionPlan:
        """Return what deleting these runs' models, or these models, would remove.

        Changes nothing. Where a run and one of its models are both named, the run includes it; so
        does a directory the one within it.

        Parameters
        ----------
        makers
            Runs that made the models, where the caller knows them: they are read at once.
        leave
            Blob paths below which nothing of a run's part is asked to go.
        on_progress
            Called from worker threads with how many are looked at, and how many there are; of
            many, reading them at once counts for two thirds.
        cancel
            When set, what is not looked at yet is left out, and says so.

        Raises
        ------
        TrackingError
            MLflow could not be asked for the experiments, without which no location can be
            checked. Look-ups that fail for one run are that run's ``problem``; look-ups that
            protection needs protect.
        InvalidInputError
            ``model_ids`` names a model that the run did not make, or does not go with the part;
            there is no such part; or a pattern matches nothing at all.
        """
        part = as_part(part)
        if model_ids is not None and is_named(part) and part != "optimizer":
            message = "model_ids goes with part 'model' or 'optimizer': name a model by its id."
            raise InvalidInputError(message)
        wanted = list(dict.fromkeys(ids))
        directories = {id_: pair for id_ in wanted if (pair := run_and_path(id_)) is not None}
        runs = [id_ for id_ in wanted if not is_model_id(id_) and id_ not in directories]
        owners = [run_id for run_id, _ in directories.values() if run_id]
        concerned = list(dict.fromkeys([*runs, *owners, *makers]))
        gathered = self.gathered(concerned)
        steps = Steps(len(wanted), on_progress)

        def draft(id_: str) -> Draft | None:
            if cancel is not None and cancel.is_set():
                model = is_model_id(id_)
                run_id = "" if model else directories.get(id_, (id_,))[0]
                plan = RunPlan(run_id, asked=id_ if model or id_ in directories else "")
                return Draft(replace(plan, problem=f"{owner_of(id_)}: the planning was cancelled."))
            if is_model_id(id_):
                found = self._draft_model(id_, gathered, frozenset(runs), part)
            elif id_ in directories:
                found = self._draft_directory(id_, gathered, frozenset(wanted), part, model_ids)
            else:
                found = self._draft_run(id_, gathered, model_ids, part, cancel, leave)
            steps.looked_at()
            return found

        with loading(), gathered.inquiry:
            whole = part == "model"
            gathered.prefetch(concerned, steps.read, measured=whole and bool(runs), cancel=cancel)
            if whole:
                named = frozenset(filter(is_model_id, wanted))
                gathered.measure_ahead(None if runs else named, cancel)
            drafts = [one for one in in_parallel(draft, wanted) if one is not None]
            if not isinstance(part, str):
                _check_matched(part, drafts)
            return DeletionPlan(protected(drafts, gathered), home=self.home)

    @property
    def home(self) -> Home:
        """Whose plans these are."""
        return home_of(self.client.tracking_uri, self.blob_store.addresses.store)

    def resolve(self, run_id: str) -> Resolved:
        """Return where the models of a run lie, without measuring and without protection.

        Raises
        ------
        TrackingError, LocationError, StorageError
            It could not be told.
        """
        gathered = self.gathered()
        run = gathered.run(run_id)
        if run is None:
            return Resolved(note="the tracking server has no such run")
        models = gathered.told(run)
        doubt: tuple[Reason, ...] = ()
        if not models.recorded:
            models, doubt = self._with_unlisted(run, models, gathered, "model")
        found = gathered.finder.find(run, models)
        chosen = [located.model for located in found.models]
        raw = _about_raw(doubt, chosen, RunPlan(run_id), gathered)
        if raw:
            return Resolved(note=raw[0].words)
        note = found.note or "no model is recorded"
        return Resolved(found.locations, models.recorded, dict(run.data.tags), note)

    def check_again(self, plans: Sequence[RunPlan]) -> tuple[RunPlan, ...]:
        """Return the plans with their locations as they were and their protection as it is now.

        Each location is held against its owner again: a plan is a value that anybody can change.

        Raises
        ------
        TrackingError
            MLflow could not be asked for the experiments.
        """
        run_ids = list(dict.fromkeys(plan.run_id for plan in plans if plan.run_id))
        gathered = self.gathered(run_ids)
        with gathered.inquiry:
            gathered.prefetch(run_ids)
            drafts = in_parallel(lambda plan: self._redraft(plan, gathered), plans)
            return protected(drafts, gathered)

    def gathered(self, run_ids: Sequence[str] = ()) -> Gathered:
        """Return what one call learns of MLflow: the experiments, and some runs if they are few."""
        return gather(self.client, self.blob_store, self.goals_of, run_ids)

    # ------------------------------------------------------------------------------------ drafts

    def _draft_run(
        self,
        run_id: str,
        gathered: Gathered,
        model_ids: Sequence[str] | None,
        part: Part,
        cancel: threading.Event | None,
        leave: Collection[str],
    ) -> Draft:
        plan = RunPlan(run_id, part=part)
        try:
            run = gathered.run(run_id)
            if run is None:
                return Draft(replace(plan, model="none", unknown=True, problem=_no_run(run_id)))
            plan = _made_by(plan, run)
            models = gathered.told(run)
            if part == "raw" and models.recorded:
                problem = f"MLflow recorded a model of run {run_id}: it has no raw artifacts."
                return Draft(replace(plan, problem=problem))
            doubt: tuple[Reason, ...] = ()
            if model_ids is None and not models.recorded:
                run = gathered.whole(run)
                models, doubt = self._with_unlisted(run, models, gathered, part)
            if is_named(part):
                plan = replace(plan, linked=models.linked)
                return self._draft_part(
                    plan, run, models, gathered, run.data.tags, model_ids=model_ids, leave=leave
                )
            found = gathered.finder.find(run, models, model_ids, raw=part == "raw", cancel=cancel)
            plan = replace(plan, linked=models.linked, note=found.note)
            return self._measured(
                plan, run, found.models, models, gathered, tags=run.data.tags, doubt=doubt
            )
        except ExpmgrError as error:
            if isinstance(error, InvalidInputError) and not isinstance(error, LocationError):
                raise
            return _impossible(plan, error)

    def _draft_model(
        self, model_id: str, gathered: Gathered, named: frozenset[str], part: Part
    ) -> Draft | None:
        """Return the draft for a model by its own id, None where its run is planned whole."""
        part = part if is_named(part) else "model"
        plan = RunPlan("", asked=model_id, owner_id=model_id, model_ids=(model_id,), part=part)
        try:
            entity = gathered.model(model_id)
            if entity is None:
                problem = f"the tracking server has no model {model_id!r}; check the id."
                return Draft(replace(plan, model="none", unknown=True, problem=problem))
            if entity.source_run_id in named and isinstance(part, str):
                return None
            run = gathered.run(entity.source_run_id) if entity.source_run_id else None
            models = gathered.alone(entity) if run is None else gathered.told(run)
            plan = replace(
                plan,
                run_id="" if run is None else run.info.run_id,
                run_name=(entity.name if run is None else run.info.run_name) or "",
                experiment_id=str(entity.experiment_id),
            )
            tags: Mapping[str, str] = dict(entity.tags)
            if run is not None and _takes_tags(run, gathered):
                plan, tags = replace(plan, owner_id=run.info.run_id), run.data.tags
            # Only the trash is told by an id and by no search.
            in_trash = model_id not in {
                model.model_id for model in models.made if model.model_id not in models.trashed
            }
            plan = replace(
                plan,
                record_id=next_record_id(tags),
                journal=_journal(plan, entity, gathered, in_trash=in_trash),
            )
            if is_named(part):
                return self._draft_part(
                    plan, run, models, gathered, tags, entity=entity, in_trash=in_trash
                )
            located = gathered.finder.logged(entity, in_trash=in_trash)
            return self._measured(plan, run, (located,), models, gathered, tags=tags)
        except ExpmgrError as error:
            return _impossible(plan, error)

    def _draft_directory(  # noqa: PLR0911 - each way that it ends is one
        self,
        id_: str,
        gathered: Gathered,
        wanted: frozenset[str],
        part: Part,
        model_ids: Sequence[str] | None,
    ) -> Draft | None:
        """Return the draft for a directory by its id, None where another wanted one includes it."""
        run_id = id_.partition("/")[0]
        plan = RunPlan(run_id, asked=id_, part=part)
        try:
            check_id(id_, part, model_ids)
            run = gathered.run(run_id)
            if run is None:
                return Draft(replace(plan, model="none", unknown=True, problem=_no_run(run_id)))
            plan = _made_by(plan, run)
            models, found = self._directories(run, gathered)
            one = named(id_, found)
            if one is not None and is_named(part):
                if run_id in wanted and isinstance(part, str):
                    return None
                return self._draft_part(plan, run, models, gathered, run.data.tags)
            if one is None:
                return Draft(replace(plan, model="none", unknown=True, problem=unknown(id_, found)))
            whole = goes_with(one, found, recorded=models.recorded)
            if run_id in wanted or (whole != id_ and whole in wanted):
                return None
            check_alone(id_, whole)
            return self._measured(plan, run, (one,), models, gathered, tags=run.data.tags)
        except ExpmgrError as error:
            return _impossible(plan, error)

    def _draft_part(
        self,
        plan: RunPlan,
        run: Run | None,
        told: RunModels,
        gathered: Gathered,
        tags: Mapping[str, str],
        *,
        entity: LoggedModel | None = None,
        in_trash: bool = False,
        model_ids: Sequence[str] | None = None,
        leave: Collection[str] = (),
    ) -> Draft:
        """Return the draft for a part, of a run or of what was asked for by its own id.

        Parameters
        ----------
        tags
            Of the journal's owner.
        entity, in_trash
            The LoggedModel that was asked for.
        """
        try:
            found = resolve_part(
                self.blob_store,
                gathered.finder,
                plan,
                run=run,
                told=told,
                goals=self._goals(plan, gathered),
                entity=entity,
                in_trash=in_trash,
                model_ids=model_ids,
                leave=leave,
            )
        except LocationError:
            raise
        except InvalidInputError as error:
            if model_ids is not None:
                raise
            return Draft(replace(plan, problem=str(error), problem_error=error))
        plan = planned_part(plan, found, tags)
        blocked = _blocked(plan, run, tags)
        if blocked:
            return Draft(replace(plan, problem=blocked), matched=found.matched)
        if not plan.files:
            return Draft(plan, matched=found.matched)
        subject = self._subject(run, found.guarded.touched, told, gathered)
        return Draft(plan, subject, guarded=found.guarded, matched=found.matched)

    def _redraft_part(
        self,
        plan: RunPlan,
        run: Run | None,
        told: RunModels,
        gathered: Gathered,
    ) -> Draft:
        """Resolve a planned part again; what it holds must be among what the part is now."""
        entity = logged_model(self.client, plan.asked) if is_model_id(plan.asked) else None
        if is_model_id(plan.asked) and entity is None:
            problem = f"the tracking server has no model {plan.asked!r} any more."
            return Draft(replace(plan, problem=problem))
        found = resolve_part(
            self.blob_store,
            gathered.finder,
            plan,
            run=run,
            told=told,
            goals=self._goals(plan, gathered),
            entity=entity,
            in_trash=entity is not None and entity.model_id in told.trashed,
            among=frozenset(name for planned in plan.locations for name in planned.etags),
        )
        check_still(plan, found)
        subject = self._subject(run, found.guarded.touched, told, gathered)
        return Draft(plan, subject, guarded=found.guarded)

    def _goals(self, plan: RunPlan, gathered: Gathered) -> tuple[Goal, ...]:
        experiment = gathered.experiments.get(plan.experiment_id)
        return () if experiment is None else self.goals_of(experiment)

    def _directories(self, run: Run, gathered: Gathered) -> tuple[RunModels, tuple[Located, ...]]:
        """Return what MLflow tells of a run, and the models that lie among its artifacts."""
        models = gathered.told(run)
        if not models.recorded:
            run = gathered.whole(run)
            models, _ = self._with_unlisted(run, models, gathered, "model")
        return models, directories_of(gathered.finder, run, models)

    def _verify_directory(self, plan: RunPlan, run: Run, gathered: Gathered) -> None:
        """Check that a plan for a directory by its id is about that one, as of now.

        Raises
        ------
        InvalidInputError
            The run has it no more, or it goes with another one only.
        LocationError
            The plan's locations are others.
        """
        models, found = self._directories(run, gathered)
        one = named(plan.asked, found)
        if one is None:
            raise InvalidInputError(unknown(plan.asked, found), run_id=plan.run_id)
        check_alone(plan.asked, goes_with(one, found, recorded=models.recorded))
        for planned in plan.locations:
            if planned.location.path != one.location.path:
                raise foreign(planned.location)

    def _with_unlisted(
        self, run: Run, models: RunModels, gathered: Gathered, part: Part
    ) -> tuple[RunModels, tuple[Reason, ...]]:
        """Return what MLflow records of a run that seems to have no model, and the doubt about it.

        Raw artifacts may be taken for a model only where no model of the run lies in the trash.
        """
        unowned = gathered.unowned(run)
        run_id = run.info.run_id
        trashed = unowned.trashed.get(run_id, ())
        models = replace(
            models,
            made=(*models.made, *trashed),
            trashed=models.trashed | {model.model_id for model in trashed},
            untold=(*models.untold, *unowned.forgotten.get(run_id, ())),
        )
        if not unowned.doubt or part == "raw":
            return models, ()
        root = parent_of(gathered.finder.blob_path(run.info.artifact_uri))
        return models, (Reason("unknown", unowned.doubt, root),)

    def _measured(
        self,
        plan: RunPlan,
        run: Run | None,
        chosen: Sequence[Located],
        told: RunModels,
        gathered: Gathered,
        *,
        tags: Mapping[str, str],
        doubt: tuple[Reason, ...] = (),
    ) -> Draft:
        """List what would go, and tell the state.

        Parameters
        ----------
        tags
            Of the journal's owner.
        """
        listings = in_parallel(gathered.measure, [one.location for one in chosen])
        located = []
        for one, listing in zip(chosen, listings, strict=True):
            if (
                one.model.kind == "raw"
                and plan.part == "model"
                and not deletion_was_begun(plan.run_id, tags)
            ):
                _check_told(one.location, listing)
            stored = Stored(
                Size(listing.files, listing.bytes), f"{one.location.path}/MLmodel" in listing.etags
            )
            owners = ((plan.journal_id, tags), (one.model.id, one.model.tags))
            journal = journal_of(one.location.path, now_ms(), *owners)
            model = replace(one.model, stored=stored, journal=journal)
            located.append(PlannedLocation.of(one.location, listing, model))
        models = tuple(planned.model for planned in located if planned.model is not None)
        plan = replace(
            plan,
            locations=tuple(located),
            model_ids=tuple(model.id for model in models if model.kind == "logged"),
            planned_at=min((listing.listed_at for listing in listings), default=None),
            model=run_state(map(model_state, models)),
        )
        if not models and told.recorded:
            plan = replace(plan, model="unknown")
        blocked = _blocked(plan, run, tags)
        if not blocked and plan.note and not plan.files:
            blocked = f"run {plan.run_id}: {plan.note}."
        if blocked:
            return Draft(replace(plan, problem=blocked))
        subject = self._subject(run, models, told, gathered)
        if not plan.files:  # nothing is there that could be protected
            return Draft(replace(plan, told_after=told_after(subject)))
        return Draft(plan, subject, _about_raw(doubt, models, plan, gathered))

    def _subject(
        self,
        run: Run | None,
        models: tuple[Model, ...],
        told: RunModels,
        gathered: Gathered,
    ) -> Subject:
        if run is None:
            return Subject(models)
        at = now_ms()
        ids = {model.id for model in models}
        siblings = [
            model_of(model, gathered.finder.path_or_none(model.artifact_location))
            for model in told.made
            if model.model_id not in told.trashed
        ]
        with suppress(LocationError):  # as the table says: then all of them lie elsewhere
            found = gathered.finder.recorded_directories(run, told.history)
            siblings += [located.model for located in found]
        # What the journal says counts: one that is half deleted is whole no more.
        journals = (run.info.run_id, run.data.tags)
        return Subject(
            models,
            tuple(
                replace(one, journal=journal_of(one.path, at, journals, (one.id, one.tags)))
                for one in siblings
                if one.id not in ids
            ),
            maker_of(run, whole=True),
        )

    def _redraft(  # noqa: PLR0911 - each way that it ends is one
        self, plan: RunPlan, gathered: Gathered
    ) -> Draft:
        try:
            _check_claims(plan)
            run = gathered.run(plan.run_id) if plan.run_id else None
            if plan.run_id and run is None:
                return Draft(replace(plan, problem=_no_run(plan.run_id)))
            tags: Mapping[str, str] = {} if run is None else run.data.tags
            models = RunModels() if run is None else gathered.told(run)
            doubt: tuple[Reason, ...] = ()
            if run is not None and not models.recorded:
                models, doubt = self._with_unlisted(run, models, gathered, plan.part)
            if is_model_id(plan.journal_id):
                entity = logged_model(self.client, plan.journal_id)
                if entity is None:
                    problem = f"the tracking server has no model {plan.journal_id!r} any more."
                    return Draft(replace(plan, problem=problem))
                tags = dict(entity.tags)
                if run is None and entity.source_run_id:
                    run = gathered.run(entity.source_run_id)
                models = gathered.alone(entity) if run is None else gathered.told(run)
                in_trash = entity.model_id in models.trashed
                plan = replace(plan, journal=_journal(plan, entity, gathered, in_trash=in_trash))
            plan = replace(plan, record_id=next_record_id(tags))
            blocked = _blocked(plan, run, tags)
            if blocked:
                return Draft(replace(plan, problem=blocked))
            if is_named(plan.part):
                return self._redraft_part(plan, run, models, gathered)
            if run is not None and run_and_path(plan.asked) is not None:
                self._verify_directory(plan, run, gathered)
            for planned in plan.locations:
                gathered.finder.verify(run, models, planned.location)
            chosen = tuple(self._seen(planned, run, models, tags) for planned in plan.locations)
            plan = _as_begun(plan, chosen)
            subject = self._subject(run, chosen, models, gathered)
            if not plan.files:  # as in a first plan: nothing is there that could be protected
                return Draft(replace(plan, told_after=told_after(subject)))
            raw = _about_raw(doubt, chosen, plan, gathered)
        except ExpmgrError as error:
            return Draft(replace(plan, problem=str(error), problem_error=error))
        return Draft(plan, subject, raw)

    def _seen(
        self,
        planned: PlannedLocation,
        run: Run | None,
        models: RunModels,
        tags: Mapping[str, str],
    ) -> Model:
        """Return the model of a planned location with the values that MLflow tells now."""
        location = planned.location
        entity = next((m for m in models.made if m.model_id == location.owner_id), None)
        if entity is not None:
            in_trash = entity.model_id in models.trashed
            model = model_of(entity, location.path, in_trash=in_trash)
        else:
            assert run is not None
            model = run_model(run, location)
        owner = location.owner_id if run is None else run.info.run_id
        return replace(
            model,
            stored=Stored(
                Size(planned.files, planned.bytes), f"{location.path}/MLmodel" in planned.etags
            ),
            journal=journal_of(location.path, now_ms(), (owner, tags)),
        )


def _about_raw(
    doubt: tuple[Reason, ...], models: Sequence[Model], plan: RunPlan, gathered: Gathered
) -> tuple[Reason, ...]:
    """Return the doubts about raw artifacts, where these are what would go."""
    if not any(model.kind == "raw" for model in models):
        return ()
    return (*doubt, *gathered.raw_doubts(plan.run_id))


def _made_by(plan: RunPlan, run: Run) -> RunPlan:
    """Return a plan with what its run says."""
    return replace(
        plan,
        run_name=run.info.run_name or "",
        experiment_id=run.info.experiment_id,
        record_id=next_record_id(run.data.tags),
    )


def _impossible(plan: RunPlan, error: ExpmgrError) -> Draft:
    """Return the draft of a plan that an error ended: a model may also lie in another store."""
    lost = isinstance(error, LocationError) and not plan.locations
    state = "elsewhere" if lost else plan.model
    return Draft(replace(plan, model=state, problem=str(error), problem_error=error))


def _as_begun(plan: RunPlan, models: Iterable[Model]) -> RunPlan:
    """Return a plan as interrupted where a deletion of it was: what is gone by now is success."""
    begun = any(model.journal == "interrupted" for model in models)
    return replace(plan, model="interrupted") if begun else plan


def _takes_tags(run: Run, gathered: Gathered) -> bool:
    """Whether a run can record a deletion: neither it nor its experiment is in the trash."""
    experiment = gathered.experiments.get(run.info.experiment_id)
    return (
        run.info.lifecycle_stage == "active"
        and experiment is not None
        and experiment.lifecycle_stage == "active"
    )


def _journal(
    plan: RunPlan, entity: LoggedModel, gathered: Gathered, *, in_trash: bool
) -> Literal["tags", "blob"]:
    """Return where the deletion of a LoggedModel is recorded.

    One that was deleted itself takes no tags; one whose experiment was does [measured].
    """
    if plan.journal_id != entity.model_id or not in_trash:
        return "tags"
    experiment = gathered.experiments.get(str(entity.experiment_id))
    gone = experiment is not None and experiment.lifecycle_stage == "deleted"
    return "tags" if gone else "blob"


def _blocked(plan: RunPlan, run: Run | None, tags: Mapping[str, str]) -> str:
    """Return why nothing can be deleted now, or ""."""
    owner = plan.journal_id
    if run is not None and owner == run.info.run_id and run.info.lifecycle_stage == "deleted":
        return (
            f"run {owner} is in MLflow's trash, where it cannot record a deletion. Restore it "
            "first (MlflowClient.restore_run)."
        )
    at = now_ms()
    for record in (*read_records(owner, tags), *read_part_records(owner, tags)):
        if record.is_live(at):
            minutes = max(1, round((record.deadline - at) / 60_000))
            return (
                f"{owner_of(owner)} is being deleted by {record.owner} (tag {MODEL_TAG}); if that "
                f"process died, it can be resumed in {minutes} min."
            )
    return ""


def _check_claims(plan: RunPlan) -> None:
    """Check that a plan means one owner throughout: what it is asked of, takes and is recorded on.

    Whose the locations are is held against the servers; this is about what the plan says itself.

    Raises
    ------
    InvalidInputError
        It was changed.
    """
    model = plan.asked if is_model_id(plan.asked) else ""
    logged = {p.location.owner_id for p in plan.locations if p.location.kind == "logged_model"}
    one_owner = plan.journal_id in {plan.run_id, model} - {""}
    one_model = not model or {p.location.owner_id for p in plan.locations} <= {model}
    names_a_model = not plan.asked or bool(model) or run_and_path(plan.asked) is not None
    tags = not plan.locations or set(plan.model_ids) == logged
    if not (one_owner and one_model and names_a_model and tags):
        message = (
            f"the plan for {owner_of(plan.id)} names another owner or model beside it: it was "
            "changed. Nothing was deleted; plan again."
        )
        raise InvalidInputError(message, run_id=plan.run_id or None)


def _check_matched(patterns: Sequence[str], drafts: Sequence[Draft]) -> None:
    """Refuse a pattern that matches nothing anywhere: it may be misspelt.

    Raises
    ------
    InvalidInputError
        Such a pattern is there, and all of what was named could be looked at.
    """
    if any(draft.plan.problem for draft in drafts):
        return
    matched = frozenset(pattern for draft in drafts for pattern in draft.matched)
    nothing = [pattern for pattern in patterns if pattern not in matched]
    if nothing and drafts:
        about = ", ".join(owner_of(draft.plan.id) for draft in drafts[:3])
        more = f" and {len(drafts) - 3} more" if len(drafts) > 3 else ""  # noqa: PLR2004
        message = (
            f"no file of {about}{more} matches {', '.join(map(repr, nothing))}. Patterns are "
            "relative to a run's artifacts, beside which MLflow 3 keeps its models (name these by "
            "their ids), or to a model's own folder: '*' stays within a folder, '**' does not."
        )
        raise InvalidInputError(message)


def _check_told(location: Location, listing: Listing) -> None:
    """Refuse raw artifacts in which a directory is a model after all: the first listing missed it.

    Raises
    ------
    StorageError
        Such a directory is there.
    """
    directories = marked_directories(listing.sizes)
    if directories and location.path not in directories:
        raise two_stories(directories[0], location)


def _no_run(run_id: str) -> str:
    return f"the tracking server has no run {run_id!r}; check the id and the tracking URI."
