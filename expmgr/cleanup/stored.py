"""Whether a run that may be the best still has its model, told from the container itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from expmgr.errors import LocationError
from expmgr.storage.location import logged_model_location
from expmgr.tracking.journal import latest_records
from expmgr.tracking.models import has_recorded_model, models_of_run, output_model_ids
from expmgr.tracking.queries import iter_logged_models, logged_model

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from expmgr.cleanup.locate import Finder
    from expmgr.storage.blob_store import BlobStore
    from expmgr.tracking.models import RunModels
    from expmgr.tracking.protection import Goal

__all__ = ["StoredModels"]

_LOOKED_UP_ONE_BY_ONE = 5


@dataclass
class StoredModels:
    """Answers for the runs of one experiment, asked from the best downwards.

    Mostly the first run asked for has its model. Where many of the best are gone (a lifecycle rule
    took them, say), asking for each would take minutes, so after a few misses the folders that
    exist at all are listed once, and only runs that have one are looked up.

    A server that cannot be asked raises: a failed look-up protects.

    Attributes
    ----------
    artifact_location
        The experiment's.
    """

    client: MlflowClient
    blob_store: BlobStore
    finder: Finder
    artifact_location: str
    _misses: int = 0
    _folders: frozenset[str] | None = field(default=None, repr=False)
    _made: frozenset[str] = field(default=frozenset(), repr=False)
    _linking: dict[str, Run] = field(default_factory=dict, repr=False)
    _doubtful: dict[str, Run] = field(default_factory=dict, repr=False)

    def holds(self, run: Run) -> bool:
        """Whether the run's own model has files; a doubt says no, which protects the next best."""
        return self._look(run) == "own"

    def serves(self, run: Run) -> bool:
        """Whether a model that the run lists has files, whoever made it."""
        if self._is_elsewhere():  # not ours to look into
            return has_recorded_model(run)
        return self._look(run) in {"own", "linked"}

    def also_best(self, goal: Goal) -> list[Run]:
        """Return the runs asked for that have no model of their own but name what others made.

        The best of those that link to a stored model, and those of which nothing is certain.
        """
        values = {
            run_id: value
            for run_id, run in self._linking.items()
            if (value := goal.value_of(run.data.metrics)) is not None
        }
        top = (min if goal.is_loss else max)(values.values(), default=None)
        best = [self._linking[run_id] for run_id, value in values.items() if value == top]
        return [*best, *self._doubtful.values()]

    def _look(self, run: Run) -> Literal["own", "linked", "doubt", "no"]:
        run_id = run.info.run_id
        latest = latest_records(run_id, run.data.tags).values()
        if any(record.is_unfinished() for record in latest):
            self._doubtful[run_id] = run
            return "doubt"
        if not has_recorded_model(run):
            return "no"
        try:
            return self._look_into_container(run)
        except LocationError:
            self._doubtful[run_id] = run
            return "doubt"

    def _look_into_container(self, run: Run) -> Literal["own", "linked", "no"]:
        if self._misses >= _LOOKED_UP_ONE_BY_ONE and not self._may_hold(run):
            return "no"
        models = models_of_run(self.client, run)
        own = self.finder.recorded(run, models).locations
        if any(self._has_files(location.prefix) for location in own):
            return "own"
        if self._links_to_files(models):
            self._linking[run.info.run_id] = run
            return "linked"
        self._misses += 1
        return "no"

    def _links_to_files(self, models: RunModels) -> bool:
        for model_id in models.linked:
            model = logged_model(self.client, model_id)
            if model is None:
                continue
            location = logged_model_location(
                model.artifact_location,
                model_id,
                self.finder.store,
                artifacts_destination=self.finder.artifacts_destination,
            )
            if self._has_files(location.prefix):
                return True
        return False

    def _has_files(self, prefix: str) -> bool:
        """Whether a real file is there: what deletes files may leave stubs of directories."""
        return any(not blob.is_directory for blob in self.blob_store.list(prefix))

    def _is_elsewhere(self) -> bool:
        try:
            self.finder.blob_path(self.artifact_location)
        except LocationError:
            return True
        return False

    def _may_hold(self, run: Run) -> bool:
        listed = frozenset(output_model_ids(run))
        if self._folders is None:
            root = self.finder.blob_path(self.artifact_location)
            prefix = f"{root}/" if root else ""
            models = self.blob_store.folders(f"{prefix}models/")
            self._folders = models | self.blob_store.folders(prefix)
            here = iter_logged_models(self.client, [run.info.experiment_id])
            self._made = frozenset(model.model_id for model in here)
        if listed - self._made:  # made for another experiment, perhaps: it lies elsewhere
            return True
        return not self._folders.isdisjoint({run.info.run_id, *listed})
