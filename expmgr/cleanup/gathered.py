"""What one call of the planner learns of MLflow, each thing once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from expmgr.catalog.reason import Reason
from expmgr.cleanup.ahead import Ahead
from expmgr.cleanup.contest import Looks
from expmgr.cleanup.evidence import Inquiry
from expmgr.cleanup.locate import finder_of, parent_of
from expmgr.cleanup.unowned import Unowned, read_unowned
from expmgr.errors import ExpmgrError, LocationError, StorageError
from expmgr.tracking.models import RunModels, models_of_runs, output_model_ids
from expmgr.tracking.queries import (
    iter_experiments,
    lies_in_trash,
    logged_model,
    run_or_none,
    runs_by_id,
)
from expmgr.tracking.sight import raw_doubt

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel, Run

    from expmgr.catalog.quality import Goal
    from expmgr.cleanup.locate import Finder
    from expmgr.storage.listing import Listing
    from expmgr.storage.location import Location
    from expmgr.storage.protocol import Storage

__all__ = ["Gathered", "gather"]

_FEW = 8
"""So many ids are asked for one by one; more are read by searches of a hundred."""


def gather(
    client: MlflowClient,
    blob_store: Storage,
    goals_of: Callable[[Experiment], tuple[Goal, ...]],
    run_ids: Sequence[str] = (),
) -> Gathered:
    """Return what one call learns of MLflow, nothing but the experiments yet.

    Parameters
    ----------
    run_ids
        Where they are few they are asked for meanwhile; what fails is asked for again.

    Raises
    ------
    TrackingError
        The experiments could not be read.
    """

    def few() -> dict[str, Run]:
        return runs_by_id(client, (), run_ids) if 0 < len(run_ids) <= _FEW else {}

    runs: dict[str, Run] = {}
    with Ahead() as ahead:
        ahead.begin("runs", few)
        experiments = {one.experiment_id: one for one in iter_experiments(client, deleted=True)}
        with suppress(ExpmgrError):
            runs = ahead.take("runs", few)
    finder = finder_of(blob_store, experiments.values())
    inquiry = Inquiry(client, Looks(blob_store), finder, experiments, goals_of)
    return Gathered(client, blob_store, experiments, finder, inquiry, runs)


@dataclass
class Gathered:
    """What one call of the planner learns of MLflow, each thing once."""

    client: MlflowClient
    blob_store: Storage
    experiments: Mapping[str, Experiment]
    finder: Finder
    inquiry: Inquiry
    _runs: dict[str, Run] = field(default_factory=dict)
    _without_inputs: bool = False
    _told: dict[str, RunModels] = field(default_factory=dict)
    _listings: dict[str, Listing] = field(default_factory=dict)
    _looked_for: set[str] = field(default_factory=set)
    _models: dict[str, LoggedModel] | None = None
    _unowned: Unowned | None = None
    _raw_doubt: str | None = None

    @property
    def ids(self) -> list[str]:
        """All experiments, those in the trash included."""
        return list(self.experiments)

    def prefetch(
        self,
        run_ids: Sequence[str],
        on_read: Callable[[int], None] = lambda _: None,
        *,
        measured: bool = False,
        cancel: threading.Event | None = None,
    ) -> None:
        """Read many runs and their models at once; what fails is asked for again one by one.

        What protection will ask of them is asked meanwhile.

        Parameters
        ----------
        on_read
            Told of how many more runs something was read: twice of each, from several threads.
        measured
            List the models meanwhile, where a run's folder tells that they usually lie.
        """
        many = len(run_ids) > _FEW
        with Ahead() as ahead, suppress(ExpmgrError):
            if many:
                self._runs = runs_by_id(self.client, self.ids, run_ids, on_read)
                self._without_inputs = True
            found = list(self._runs.values())
            if many and measured:
                ahead.begin("listings", lambda: self._list(self._usual_places(found), cancel))
            logged = any(output_model_ids(run) for run in found)
            here = {str(run.info.experiment_id) for run in found}
            if here:
                self.inquiry.foresee(here, logged=logged, listed=many)
            if many:
                self._told = models_of_runs(self.client, found, self.ids, on_read=on_read)

    def measure_ahead(
        self, only: Collection[str] | None, cancel: threading.Event | None = None
    ) -> None:
        """List the models of the runs that were read at once, many by what is around them.

        What fails is listed again one by one.

        Parameters
        ----------
        only
            LoggedModels that are in question; None for all of those runs.
        """
        made = [model for models in self._told.values() for model in models.made]
        places = {model.model_id: model.artifact_location for model in made}
        if only is not None:
            places = {id_: uri for id_, uri in places.items() if id_ in only}
        self._list(places, cancel)

    def _usual_places(self, runs: Sequence[Run]) -> dict[str, str]:
        """Return where MLflow keeps the models that runs list, beside the runs' own folders."""
        return {
            model_id: f"{parent_of(run.info.artifact_uri)}/models/{model_id}/artifacts"
            for run in runs
            for model_id in output_model_ids(run)
        }

    def _list(self, places: Mapping[str, str], cancel: threading.Event | None) -> None:
        """List LoggedModels by the URIs of their places, each place once."""
        addresses = self.finder.addresses  # to be listed only: what goes passes the whole guard
        locations: list[Location] = []
        for model_id, uri in places.items():
            with suppress(LocationError):
                location = addresses.logged_model(uri, model_id)
                if location.path not in self._looked_for:
                    locations.append(location)
        self._looked_for.update(location.path for location in locations)
        with suppress(StorageError):
            found = self.blob_store.measure_together(locations, cancel=cancel)
            self._listings.update({one.path: listing for one, listing in found.items()})

    def measure(self, location: Location) -> Listing:
        """Return what is in a location."""
        return self._listings.get(location.path) or self.blob_store.measure(location)

    def model(self, model_id: str) -> LoggedModel | None:
        """Return one LoggedModel, also from the trash; None where MLflow does not tell."""
        if self._models is None:
            read = [model for models in self._told.values() for model in models.made]
            self._models = {model.model_id: model for model in read}
        return self._models.get(model_id) or logged_model(self.client, model_id)

    def run(self, run_id: str) -> Run | None:
        """Return a run, None where there is none."""
        found = self._runs.get(run_id)
        return found if found is not None else run_or_none(self.client, run_id)

    def whole(self, run: Run) -> Run:
        """Return a run with its model inputs, which only a question for its id tells."""
        if self._without_inputs and run.info.run_id in self._runs:
            return run_or_none(self.client, run.info.run_id) or run
        return run

    def told(self, run: Run) -> RunModels:
        """Return a run's models."""
        run_id = run.info.run_id
        if run_id not in self._told:
            self._told.update(models_of_runs(self.client, [run], self.ids))
        return self._with_trash(self._told[run_id])

    def _with_trash(self, models: RunModels) -> RunModels:
        """Count what lies in an experiment in the trash as trash."""
        trashed = {m.model_id for m in models.made if self._is_deleted(str(m.experiment_id))}
        return replace(models, trashed=models.trashed | trashed)

    def _is_deleted(self, experiment_id: str) -> bool:
        experiment = self.experiments.get(experiment_id)
        return experiment is not None and experiment.lifecycle_stage == "deleted"

    def alone(self, model: LoggedModel) -> RunModels:
        """Return a model without a run, and whether it lies in the trash: MLflow hides it then."""
        in_trash = lies_in_trash(self.client, model, self.experiments)
        return RunModels(made=(model,), trashed=frozenset({model.model_id} if in_trash else ()))

    def raw_doubts(self, run_id: str) -> tuple[Reason, ...]:
        """Return the doubt about a run's raw artifacts that is there for who does not see all."""
        if self._raw_doubt is None:
            self._raw_doubt = raw_doubt(self.client)
        return (Reason("unknown", self._raw_doubt, run_id),) if self._raw_doubt else ()

    def unowned(self, run: Run) -> Unowned:
        """Return what no list tells of a run's models."""
        if self._unowned is None:
            self._unowned = read_unowned(
                self.client, self.blob_store, self.finder.homes(self.experiments.values())
            )
        return self._unowned.below(parent_of(self.finder.blob_path(run.info.artifact_uri)))
