"""One reading of all runs and models of some experiments, and of what protects them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from expmgr.catalog.model import Model
from expmgr.catalog.reason import Reason
from expmgr.cleanup.contest import Competitors, Contest, Looks, prove
from expmgr.cleanup.evidence import Inquiry, Subject, ask_protection
from expmgr.cleanup.locate import parent_of, run_model
from expmgr.cleanup.unowned import Unowned, read_unowned
from expmgr.errors import LocationError
from expmgr.moving_in import initial_homes
from expmgr.tracking.journal import (
    MODEL_TAG,
    PART_TAG,
    journal_of,
    now_ms,
    read_part_records,
    read_records,
)
from expmgr.tracking.models import (
    history_paths,
    input_model_ids,
    maker_of,
    model_of,
    output_model_ids,
)
from expmgr.tracking.queries import (
    in_parallel,
    lies_in_trash,
    logged_model,
    read_logged_models,
    run_or_none,
    runs_by_id,
)
from expmgr.tracking.sight import raw_doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel, Run

    from expmgr.catalog.model import Maker
    from expmgr.catalog.protection import Evidence
    from expmgr.catalog.quality import Goal
    from expmgr.cleanup.locate import Finder
    from expmgr.cleanup.memory import Memory
    from expmgr.storage.protocol import Storage

__all__ = ["Reading", "last_change"]

_ABOUT_NOW = 600_000
"""Milliseconds. A model as new as the newest that a search listed may be newer than the search."""
_MOST_ASKED = 500
"""Raw runs of one table that are asked for the models they evaluated, a request each."""


@dataclass
class Reading:
    """One reading of a survey.

    Attributes
    ----------
    listing
        Returns the LoggedModels, which somebody else reads beside the runs; None reads them here.
    elsewhere
        LoggedModels that another reading tells of, by id: the runs may link to them.
    """

    memory: Memory
    goals_of: Callable[[Experiment], tuple[Goal, ...]]
    storage: Callable[[], Storage] | None
    client: MlflowClient
    finder: Finder
    experiments: Sequence[Experiment]
    ids: Sequence[str]
    runs: Sequence[Run]
    listing: Callable[[], list[LoggedModel]] | None = None
    elsewhere: Collection[str] = ()
    models: dict[str, Model] = field(default_factory=dict)
    makers: dict[str, Maker] = field(default_factory=dict)
    doubts: dict[str, Reason] = field(default_factory=dict)
    untold: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    measured_without: set[str] = field(default_factory=set)
    trashed: set[str] = field(default_factory=set)
    _unowned: Unowned | None = None

    @cached_property
    def by_id(self) -> dict[str, Experiment]:
        """All experiments, those in the trash included."""
        return {experiment.experiment_id: experiment for experiment in self.experiments}

    @cached_property
    def _trash(self) -> set[str]:
        return {e.experiment_id for e in self.experiments if e.lifecycle_stage == "deleted"}

    # ------------------------------------------------------------------------------------ models

    def list_models(self) -> list[LoggedModel]:
        """Read the LoggedModels of the chosen experiments, and of those in the trash.

        A run may have made its model for an experiment that lies in the trash by now.
        """
        return read_logged_models(self.client, [*self.ids, *self._trash], once=True)

    def read_models(self, *, page: bool, listed: Sequence[LoggedModel] | None = None) -> None:
        """Read the LoggedModels, and tell the other models by tags and files.

        Parameters
        ----------
        page
            Those of the runs alone.
        listed
            These, in place of asking for them.
        """
        at = now_ms()
        self.makers.update({run.info.run_id: maker_of(run, whole=False) for run in self.runs})
        trash = self._trash
        if listed is not None:
            pass
        elif page:
            made = ", ".join(repr(run_id) for run_id in self.makers)
            condition = f"source_run_id IN ({made})"
            listed = read_logged_models(self.client, self.ids, condition) if made else []
        else:
            listed = (self.listing or self.list_models)()
        entities = {model.model_id: model for model in listed}
        strangers = self._strangers(entities)
        if not page:
            self._read_makers([*entities.values(), *strangers.values()])
        of_run: dict[str, list[Model]] = defaultdict(list)
        for entity in entities.values():
            in_trash = str(entity.experiment_id) in trash
            self._enter(self._logged(entity, at, in_trash=in_trash), of_run)
        for entity in strangers.values():
            maker = self.makers.get(entity.source_run_id or "")
            in_trash = entity.model_id in self.trashed
            # What lies in the trash is its maker's only where that lists it, as a plan is told.
            if maker is not None and (not in_trash or entity.model_id in maker.outputs):
                self._enter(self._logged(entity, at, in_trash=in_trash), of_run)
        told = {*entities, *strangers, *self.elsewhere}
        unrecorded = [run for run in self.runs if not self._tell_recorded(run, told, of_run, at)]
        for run in unrecorded:
            self._note_measured(run)
            if not output_model_ids(run):  # otherwise it only links to models that others made
                for model in self._by_files(run, at):
                    self._enter(model, of_run)
        self._judge([run for run in unrecorded if run.info.run_id in self.measured_without], of_run)

    def _tell_recorded(
        self, run: Run, told: set[str], of_run: dict[str, list[Model]], at: int
    ) -> bool:
        """Enter what MLflow 2 recorded; returns whether MLflow recorded any model of the run."""
        run_id = run.info.run_id
        for model in self._directories(run, at):
            self._enter(model, of_run)
        if any(model_id not in told for model_id in output_model_ids(run)):
            self.untold.add(run_id)
        return bool(of_run[run_id]) or run_id in self.untold

    def _note_measured(self, run: Run) -> None:
        path = self.finder.path_or_none(run.info.artifact_uri)
        if path is not None and self.memory.measured(path, last_change(run)) is not None:
            self.measured_without.add(run.info.run_id)

    def _enter(self, model: Model, of_run: dict[str, list[Model]]) -> None:
        self.models[model.id] = model
        of_run[model.run_id].append(model)

    def _strangers(self, entities: Mapping[str, LoggedModel]) -> dict[str, LoggedModel]:
        """Look up models that runs list and no search did: made elsewhere, or in the trash."""
        known = self.memory.strangers
        wanted = [
            model_id
            for model_id in dict.fromkeys(mid for run in self.runs for mid in output_model_ids(run))
            if model_id not in entities and model_id not in self.elsewhere
        ]
        ask = [model_id for model_id in wanted if model_id not in known]
        found = in_parallel(lambda model_id: logged_model(self.client, model_id), ask)
        known.update({m.model_id: m for m in found if m is not None})
        strangers = {model_id: known[model_id] for model_id in wanted if model_id in known}
        newest = max((model.creation_timestamp or 0 for model in entities.values()), default=0)
        self.trashed = self._in_trash(strangers.values(), newest)
        return strangers

    def _in_trash(self, strangers: Iterable[LoggedModel], newest: int) -> set[str]:
        """Tell which lie in the trash: those that a search of their experiment did not list.

        Parameters
        ----------
        newest
            When (ms) the last model was made that was listed. Read beside the runs, the list may
            be older than a run that has made a model since.
        """
        models = list(strangers)

        def in_trash(model: LoggedModel) -> bool:
            made = model.creation_timestamp or 0
            since = self.listing is not None and made > newest - _ABOUT_NOW
            searched = str(model.experiment_id) in self.ids and not since
            return searched or lies_in_trash(self.client, model, self.by_id)

        told = in_parallel(in_trash, models)
        return {model.model_id for model, is_so in zip(models, told, strict=True) if is_so}

    def _read_makers(self, models: Iterable[LoggedModel]) -> None:
        """Read runs outside the table that made models in it, or lie in the trash."""
        missing = {
            model.source_run_id
            for model in models
            if model.source_run_id and model.source_run_id not in self.makers
        }
        every = [experiment.experiment_id for experiment in self.experiments]
        for run in runs_by_id(self.client, every, sorted(missing)).values():
            self.makers[run.info.run_id] = maker_of(run, whole=False)

    def _logged(self, entity: LoggedModel, at: int, *, in_trash: bool) -> Model:
        model = model_of(entity, self.memory.path_of(entity, self.finder), in_trash=in_trash)
        return self._known(model, at, model.path, "", entity.last_updated_timestamp or 0)

    def _directories(self, run: Run, at: int) -> list[Model]:
        paths = history_paths(run.data.tags)
        if not paths:
            return []
        artifacts = self.finder.path_or_none(run.info.artifact_uri)
        changed = last_change(run)
        try:
            return [
                self._known(located.model, at, artifacts, located.model.name, changed)
                for located in self.finder.recorded_directories(run, paths)
            ]
        except LocationError:  # as a plan says: where one is not certain, none of them goes
            return [
                Model(
                    f"{run.info.run_id}/{plain}",
                    "directory",
                    run.info.experiment_id,
                    run_id=run.info.run_id,
                    name=plain,
                    created=run.info.start_time or 0,
                )
                for plain in dict.fromkeys(path.strip("/") for path in paths)
            ]

    def _by_files(self, run: Run, at: int) -> list[Model]:
        """Return what the files of a run say where MLflow recorded nothing (rules 2 and 3)."""
        try:
            return self._told_by_files(run, at)
        except LocationError:  # elsewhere, or where nothing may be deleted: this run's problem
            return [Model(run.info.run_id, "raw", run.info.experiment_id, run_id=run.info.run_id)]

    def _told_by_files(self, run: Run, at: int) -> list[Model]:
        artifacts = self.finder.artifacts(run)
        changed = last_change(run)
        records = read_records(run.info.run_id, run.data.tags)
        if records:
            # Never widened: what was taken for the model then is all that may ever go.
            found = {location.path: location for r in records for location in r.locations}
            models = [run_model(run, self.finder.check(place)) for place in found.values()]
        else:
            folder = self.memory.measured(artifacts.path, changed)
            if folder is None:
                return [run_model(run, artifacts)]
            marked = folder.models()
            if marked and marked != ("",):
                models = [located.model for located in self.finder.directories(run, marked)]
            elif not folder.size.files or (folder.only_reports and not marked):
                return []
            else:
                models = [run_model(run, self.finder.check(artifacts))]
        if len(models) > 1:
            models = [replace(one, alone=one.kind != "directory") for one in models]
        return [
            self._known(model, at, artifacts.path, model.name, changed)
            if model.kind != "logged"
            else self._known(model, at, model.path, "", changed)
            for model in models
        ]

    def _judge(self, runs: Sequence[Run], of_run: Mapping[str, list[Model]]) -> None:
        """Judge what files told: a model in the trash, an evaluation, or a doubt."""
        memory = self.memory
        raw = {
            run.info.run_id
            for run in runs
            if any(model.kind == "raw" for model in of_run.get(run.info.run_id, ()))
        }
        ask = sorted(raw - memory.inputs.keys())[:_MOST_ASKED]
        for run in in_parallel(lambda id_: run_or_none(self.client, id_), ask):
            if run is not None:
                memory.inputs[run.info.run_id] = input_model_ids(run)
        for run in runs:
            run_id = run.info.run_id
            unowned = self._unowned_at(run)
            trashed = unowned.trashed.get(run_id, ())
            if run_id in unowned.forgotten:
                self.forgotten.add(run_id)
            if trashed or memory.inputs.get(run_id):
                for model in of_run.get(run_id, ()):
                    self.models.pop(model.id, None)
                for entity in trashed:
                    found = self._logged(entity, now_ms(), in_trash=True)
                    self.models[found.id] = found
            elif run_id in raw and unowned.doubt:
                root = parent_of(self.finder.blob_path(run.info.artifact_uri))
                self.doubts[run_id] = Reason("unknown", unowned.doubt, root)
            elif run_id in raw and self._raw_doubt:
                self.doubts[run_id] = Reason("unknown", self._raw_doubt, run_id)

    @cached_property
    def _raw_doubt(self) -> str:
        return "" if self.storage is None else raw_doubt(self.client)

    def _unowned_at(self, run: Run) -> Unowned:
        if self._unowned is None:
            self._unowned = (
                Unowned()
                if self.storage is None
                else read_unowned(
                    self.client,
                    self.storage(),
                    self.finder.homes(self.experiments),
                    self.memory.strangers,
                )
            )
        return self._unowned.below(parent_of(self.finder.blob_path(run.info.artifact_uri)))

    def _known(
        self, model: Model, at: int, artifacts: str | None, below: str, changed: int
    ) -> Model:
        """Return a model with what was measured of it and what the journal says.

        Parameters
        ----------
        artifacts, below
            Its ``artifacts`` folder, and where it lies in there.
        changed
            See `Survey.measured`.
        """
        if model.path is None or artifacts is None:
            return model
        maker = self.makers.get(model.run_id)
        owners: list[tuple[str, Mapping[str, str]]] = [(model.id, model.tags)]
        if maker is not None:
            owners.insert(0, (maker.id, maker.tags))
        owners = [pair for pair in owners if MODEL_TAG in pair[1] or PART_TAG in pair[1]]
        journal = journal_of(model.path, at, *owners)
        touched = [
            min(record.touched, at)
            for owner_id, tags in owners
            for record in (*read_records(owner_id, tags), *read_part_records(owner_id, tags))
        ]
        folder = self.memory.measured(artifacts, max([changed, *touched]))
        if not journal and folder is None:
            return model
        stored = None if folder is None else folder.stored(below)
        return replace(model, journal=journal, stored=stored)

    def as_known(self, model: Model, artifacts: str | None, below: str, changed: int) -> Model:
        """Return a model of another reading with what is known of its files by now."""
        bare = replace(model, stored=None, journal="")
        return self._known(bare, now_ms(), artifacts, below, changed)

    # ---------------------------------------------------------------------------------- evidence

    def looks(self) -> Looks:
        """Return what looks at models; where there is no container nothing is ever asked of it."""
        storage = self.storage
        return Looks(None if storage is None else storage())

    def targeted_evidence(self) -> Evidence:
        """Return what protects the models of a filtered table."""
        by_run: dict[str, list[Model]] = defaultdict(list)
        for model in self.models.values():
            by_run[model.run_id or model.id].append(model)
        subjects = [
            Subject(tuple(models), maker=self.makers.get(run_id))
            for run_id, models in by_run.items()
        ]
        inquiry = Inquiry(self.client, self.looks(), self.finder, self.by_id, self.goals_of)
        return inquiry.evidence(subjects)

    def whole_evidence(self) -> Evidence:
        """Return what protects, from all models of the chosen experiments and few questions."""
        logged = any(model.kind == "logged" for model in self.models.values())
        homes = {maker.experiment_id for maker in self.makers.values()} | set(self.ids)
        goals = [
            (experiment.experiment_id, goal)
            for experiment in self.experiments
            if experiment.lifecycle_stage == "active"
            and (logged or experiment.experiment_id in homes)
            for goal in self.goals_of(experiment)
        ]
        proved = self.memory.proved

        def compete(id_: str, goal: Goal) -> Competitors:
            here = [model for model in self.models.values() if self._concerns(model, id_)]
            if id_ in self.ids:
                prove(self.client, here, [goal], proved)
                makers = {run_id: m for run_id, m in self.makers.items() if m.experiment_id == id_}
                makers |= {m.run_id: self.makers[m.run_id] for m in here if m.run_id in self.makers}
                return Competitors({model.id: model for model in here}, makers, self._linked(id_))
            contest = Contest(self.client, self.finder, self.looks(), id_, goal, self.by_id, proved)
            found = contest.run()
            found.models.update({model.id: model for model in here})
            found.makers.update(self.makers)
            return found

        return ask_protection(
            self.client,
            self.finder,
            list(self.by_id),
            goals,
            compete,
            proved,
            naming=logged,
            homes=initial_homes(self.experiments),
        )

    def _concerns(self, model: Model, experiment_id: str) -> bool:
        if model.experiment_id == experiment_id:
            return True
        maker = self.makers.get(model.run_id)
        return maker is not None and maker.experiment_id == experiment_id

    def _linked(self, experiment_id: str) -> dict[str, bool]:
        """Return which models that runs of an experiment link to have files."""
        found: dict[str, bool] = {}
        for maker in self.makers.values():
            if maker.experiment_id == experiment_id:
                for model_id in maker.outputs:
                    model = self.models.get(model_id)
                    # What is not measured, or lies elsewhere, counts as there.
                    there = model_id not in self.trashed
                    found[model_id] = there if model is None else model.competes
        return found


def last_change(run: Run) -> int:
    """Return when a run was last known to change: what it writes meanwhile, it is active for."""
    return run.info.end_time or run.info.start_time or 0
