"""What one call of the planner learns of MLflow, each thing once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from expmgr.cleanup.locate import Finder, parent_of
from expmgr.cleanup.unowned import Unowned, read_unowned
from expmgr.errors import ExpmgrError, LocationError, StorageError
from expmgr.tracking.models import RunModels, models_of_runs
from expmgr.tracking.queries import lies_in_trash, logged_model, run_or_none, runs_by_id

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel, Run

    from expmgr.storage.listing import Listing
    from expmgr.storage.location import Location
    from expmgr.storage.protocol import Storage

__all__ = ["Gathered"]

_FEW = 8
"""So many ids are asked for one by one; more are read by searches of a hundred."""


@dataclass
class Gathered:
    """What one call of the planner learns of MLflow, each thing once."""

    client: MlflowClient
    blob_store: Storage
    experiments: Mapping[str, Experiment]
    finder: Finder
    _runs: dict[str, Run] = field(default_factory=dict)
    _told: dict[str, RunModels] = field(default_factory=dict)
    _listings: dict[str, Listing] = field(default_factory=dict)
    _models: dict[str, LoggedModel] | None = None
    _unowned: Unowned | None = None

    @property
    def ids(self) -> list[str]:
        """All experiments, those in the trash included."""
        return list(self.experiments)

    def prefetch(
        self, run_ids: Sequence[str], on_read: Callable[[int], None] = lambda _: None
    ) -> None:
        """Read many runs and their models at once; what fails is asked for again one by one.

        Parameters
        ----------
        on_read
            Told of how many more runs something was read: twice of each, from several threads.
        """
        if len(run_ids) <= _FEW:
            return
        try:
            runs = runs_by_id(self.client, self.ids, run_ids, on_read)
            found = list(runs.values())
            self._told = models_of_runs(self.client, found, self.ids, on_read=on_read)
            self._runs = runs
        except ExpmgrError:
            return

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
        locations = []
        addresses = self.finder.addresses  # to be listed only: what goes passes the whole guard
        for models in self._told.values():
            for model in models.made:
                if only is None or model.model_id in only:
                    with suppress(LocationError):
                        uri = model.artifact_location
                        locations.append(addresses.logged_model(uri, model.model_id))
        with suppress(StorageError):
            found = self.blob_store.measure_together(locations, cancel=cancel)
            self._listings = {one.path: listing for one, listing in found.items()}

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
        if run.info.run_id in self._runs:
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

    def unowned(self, run: Run) -> Unowned:
        """Return what no list tells of a run's models."""
        if self._unowned is None:
            self._unowned = read_unowned(
                self.client, self.blob_store, self.finder.homes(self.experiments.values())
            )
        return self._unowned.below(parent_of(self.finder.blob_path(run.info.artifact_uri)))
