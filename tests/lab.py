"""Makes runs with models in every layout, by MLflow's own client, for tests of deletion."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.errors import DeletionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from servers import Backend

METRIC = "accuracy"
MODEL_FILES = {"MLmodel": b"flavors: {}\n", "data/weights.bin": b"w" * 2000}


class Lab:
    """One backend, one container, one plugin, and short ways to make runs in them."""

    def __init__(
        self, backend: Backend, credentials, blob_names, folder: Path, plugin: str
    ) -> None:
        self.backend = backend
        self.credentials = credentials
        self.blob_names = blob_names
        self.folder = folder
        self.plugin = plugin
        self.client = MlflowClient(backend.tracking_uri, backend.tracking_uri)
        self.experiment_id = self.experiment("first")

    def manager(self, cls=ExperimentsManagerWithAzureBlobBackend, **options):
        settings = {
            "tracking_uri": self.backend.tracking_uri,
            "azure_blob_credentials": self.credentials,
            "main_metric": METRIC,
            "plugin_name": self.plugin,
            "artifacts_destination": self.backend.artifacts_destination,
        }
        return cls(**{**settings, **options})

    def experiment(self, name: str, *, plugin: str | None = None, location: str | None = None):
        full = f"{plugin or self.plugin} / {name}"
        location = location or self.backend.experiment_location(uuid.uuid4().hex[:8])
        return self.client.create_experiment(full, artifact_location=location)

    def run(
        self,
        value: float | None = None,
        *,
        status: str = "FINISHED",
        tags: Mapping[str, str] | None = None,
        experiment_id: str | None = None,
    ) -> str:
        run = self.client.create_run(experiment_id or self.experiment_id, tags=tags)
        run_id = run.info.run_id
        self.client.log_param(run_id, "depth", 3)
        if value is not None:
            self.client.log_metric(run_id, METRIC, value)
        if status != "RUNNING":
            self.client.set_terminated(run_id, status)
        return run_id

    def _local(self, files: Mapping[str, bytes]) -> str:
        folder = self.folder / uuid.uuid4().hex
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return str(folder)

    def logged_model(
        self, run_id: str, files: Mapping[str, bytes] = MODEL_FILES, *, step: int = 0
    ) -> str:
        """MLflow 3: a LoggedModel that the run made at a step; "" for one without a run."""
        home = self.client.get_run(run_id).info.experiment_id if run_id else self.experiment_id
        model = self.client.create_logged_model(home, source_run_id=run_id or None)
        self.client.log_model_artifacts(model.model_id, self._local(files))
        self.client.finalize_logged_model(model.model_id, "READY")
        if run_id:
            self.link(run_id, model.model_id, step=step)
        return model.model_id

    def link(self, run_id: str, model_id: str, *, step: int = 0) -> None:
        self.client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])

    def history_model(
        self, run_id: str, path: str = "model", files: Mapping[str, bytes] = MODEL_FILES
    ) -> None:
        """MLflow 2: artifacts under the run and the tag that ``log_model`` left."""
        self.artifacts(run_id, files, path)
        tags = self.client.get_run(run_id).data.tags
        history = json.loads(tags.get("mlflow.log-model.history", "[]"))
        history.append({"run_id": run_id, "artifact_path": path})
        self.client.set_tag(run_id, "mlflow.log-model.history", json.dumps(history))

    def artifacts(self, run_id: str, files: Mapping[str, bytes], path: str | None = None) -> None:
        self.client.log_artifacts(run_id, self._local(files), path)

    def tags(self, run_id: str) -> dict[str, str]:
        return self.client.get_run(run_id).data.tags

    def with_model(self, value: float | None = 0.5, **options) -> str:
        """A finished run with one LoggedModel and a plot."""
        run_id = self.run(value, **options)
        self.logged_model(run_id)
        self.artifacts(run_id, {"plot.png": b"png"})
        return run_id

    def best(self, value: float = 0.99) -> str:
        """A run that is the best of the experiment, so that others are not."""
        return self.with_model(value)


def only_the_weights(store):
    """A ``delete`` for a store that takes a model's weights and fails at the rest."""

    def delete(_locations, *, etags, **_options):
        (weights,) = (name for name in etags if name.endswith("weights.bin"))
        store.container_client().delete_blob(weights)
        raise DeletionError("the rest may not go", files=1, attempts=1)

    return delete
