"""What lies under an experiment's root, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from expmgr.errors import InvalidInputError
from expmgr.tracking.journal import MODEL_TAG
from expmgr.tracking.models import HISTORY_TAG
from expmgr.tracking.queries import (
    in_parallel,
    iter_logged_models,
    iter_runs,
    logged_model,
    quoted,
    run_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.storage.listing import Blob
    from expmgr.training.desk import Desk

__all__ = ["Holdings", "Owners", "count_files", "find_owners", "holdings"]

_MODELS = "models"
_GROUPED = frozenset({_MODELS, "traces"})


@dataclass(frozen=True)
class Holdings:
    """Files and bytes by the folder that holds them: ``<run id>`` or ``models/<model id>``."""

    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def files(self) -> int:
        """Files in all."""
        return sum(files for files, _ in self.sizes.values())

    @property
    def bytes(self) -> int:
        """Bytes in all."""
        return sum(size for _, size in self.sizes.values())

    @property
    def model_ids(self) -> list[str]:
        """Ids of the LoggedModels that have files, known to MLflow or not."""
        return [name.partition("/")[2] for name in self.sizes if name.startswith(f"{_MODELS}/")]

    @property
    def others(self) -> list[str]:
        """The other folders; those of runs are named by the run's id."""
        return [name for name in self.sizes if name.partition("/")[0] not in _GROUPED]

    def of_model(self, model_id: str) -> tuple[int, int]:
        """Return files and bytes of a LoggedModel."""
        return self.sizes.get(f"{_MODELS}/{model_id}", (0, 0))


def count_files(blobs: Iterable[Blob], prefix: str) -> Holdings:
    """Add up blobs by the folder right below a prefix that holds them. Pure."""
    sizes: dict[str, tuple[int, int]] = {}
    for blob in blobs:
        if blob.is_directory:
            continue
        parts = blob.name[len(prefix) :].split("/")
        folder = "/".join(parts[:2]) if parts[0] in _GROUPED else parts[0]
        files, size = sizes.get(folder, (0, 0))
        sizes[folder] = (files + 1, size + blob.bytes)
    return Holdings(sizes)


def holdings(desk: Desk, experiment: Experiment) -> Holdings:
    """Return what lies under an experiment's root; one listing.

    Raises
    ------
    LocationError
        The root is not in the credentials' container, or it is not known where it is.
    StorageError
        It could not be listed.
    """
    blob_store = desk.files.blob_store
    if blob_store is None:
        raise InvalidInputError("without Azure credentials there is no container to look into.")
    root = blob_store.addresses.path_of(experiment.artifact_location or "")
    prefix = f"{root}/" if root else ""
    return count_files(blob_store.list(prefix), prefix)


@dataclass(frozen=True)
class Owners:
    """Whose the models of an experiment are.

    Attributes
    ----------
    by_model
        LoggedModel id to the run of this experiment that made it; to the model's own id where
        another experiment's run made it, or none that is known. Models in MLflow's trash that
        still have files are among them.
    runs
        Runs with a model that MLflow 2 recorded.
    """

    by_model: Mapping[str, str]
    runs: tuple[str, ...]

    @property
    def ids(self) -> list[str]:
        """Each owner once."""
        return list(dict.fromkeys([*self.by_model.values(), *self.runs]))


def find_owners(client: MlflowClient, experiment_id: str, held: Holdings) -> Owners:
    """Ask MLflow for the models of an experiment: those it lists, and those that have files."""
    there = set(held.model_ids)
    makers = {
        model.model_id: model.source_run_id or ""
        for model in iter_logged_models(client, [experiment_id])
        if model.model_id in there or model.tags.get(MODEL_TAG) != "deleted"
    }
    unlisted = sorted(there - makers.keys())
    for found in in_parallel(lambda model_id: logged_model(client, model_id), unlisted):
        if found is not None:
            makers[found.model_id] = found.source_run_id or ""
    run_ids = [run_id for run_id in dict.fromkeys(makers.values()) if run_id]
    runs = in_parallel(lambda run_id: run_or_none(client, run_id), run_ids)
    here = {
        run.info.run_id
        for run in runs
        if run is not None and run.info.experiment_id == experiment_id
    }
    by_model = {
        model_id: maker if maker in here else model_id for model_id, maker in makers.items()
    }
    history = f"tags.{quoted(HISTORY_TAG)} LIKE '%'"
    logged = (run.info.run_id for run in iter_runs(client, [experiment_id], history))
    return Owners(by_model, tuple(logged))
