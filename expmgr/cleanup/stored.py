"""Whether a run that may be the best still has its model, told from the container itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from expmgr.errors import ExpmgrError
from expmgr.tracking.models import has_recorded_model, models_of_run, output_model_ids

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from expmgr.cleanup.locate import Finder
    from expmgr.storage.blob_store import BlobStore

__all__ = ["StoredModels"]

_LOOKED_UP_ONE_BY_ONE = 5


@dataclass
class StoredModels:
    """Answers for the runs of one experiment, asked from the best downwards.

    Mostly the first run asked for has its model. Where many of the best are gone (a lifecycle rule
    took them, say), asking for each would take minutes, so after a few misses the folders that
    exist at all are listed once, and only runs that have one are looked up.

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

    def holds(self, run: Run) -> bool:
        """Whether the run's model has files; a doubt says no, which protects the next best."""
        if not has_recorded_model(run):
            return False
        try:
            if self._misses >= _LOOKED_UP_ONE_BY_ONE and not self._may_hold(run):
                return False
            found = self.finder.recorded(run, models_of_run(self.client, run))
            stored = any(self.blob_store.exists(location.prefix) for location in found.locations)
        except ExpmgrError:
            return False
        self._misses += not stored
        return stored

    def _may_hold(self, run: Run) -> bool:
        if self._folders is None:
            root = self.finder.blob_path(self.artifact_location)
            prefix = f"{root}/" if root else ""
            models = self.blob_store.folders(f"{prefix}models/")
            self._folders = models | self.blob_store.folders(prefix)
        return not self._folders.isdisjoint({run.info.run_id, *output_model_ids(run)})
