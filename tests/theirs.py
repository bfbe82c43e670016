"""Data as the system that expmgr replaces leaves them: MLflow 2 models, its names, its metrics."""

from __future__ import annotations

import functools
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from lab import METRIC
from trainers import classifier

if TYPE_CHECKING:
    from lab import Lab

FILES = {
    "MLmodel": b"flavors: {}\n",
    "data/model.pth": b"p" * 3000,
    "data/pickle_module_info.txt": b"mlflow.pytorch.pickle_module",
    "requirements.txt": b"torch\n",
}


@functools.cache
def _loadable(depth: int) -> dict[str, bytes]:
    """The files of a small model that MLflow loads."""
    import mlflow.sklearn

    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        mlflow.sklearn.save_model(
            classifier(depth),
            folder,
            pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def their_model(lab: Lab, run_id: str, *, depth: int = 0, history: bool = True) -> None:
    """What ``log_model(model, "model")`` of MLflow 2 left, and its metric; loads with a depth."""
    files = _loadable(depth) if depth else FILES
    if history:
        lab.history_model(run_id, "model", files)
    else:
        lab.artifacts(run_id, files, "model")
    lab.client.log_metric(run_id, "model_uploaded", 1)


def their_initial(lab: Lab, *, upload: bool = True, depth: int = 0) -> tuple[str, str]:
    """The initial model's experiment and run; returns their ids."""
    experiment_id = lab.experiment("iteration / initial")
    run = lab.client.create_run(experiment_id, run_name="initial_model")
    if upload:
        their_model(lab, run.info.run_id, depth=depth)
    lab.client.set_terminated(run.info.run_id)
    return experiment_id, run.info.run_id


def their_iteration(lab: Lab, start: str, batch: str = "batch-1") -> str:
    return lab.experiment(f"iteration / {start} / {batch}")


def their_run(
    lab: Lab,
    experiment_id: str,
    value: float | None,
    *,
    stored: bool = True,
    name: str = "",
    depth: int = 0,
) -> str:
    """A finished run, named by its params, with their iteration's fields among the params."""
    run = lab.client.create_run(experiment_id, run_name=name or uuid.uuid4().hex)
    run_id = run.info.run_id
    fields = {"batch_id": "batch-1", "run_id": "r0", "plugin_name": lab.plugin}
    for key, text in {**fields, "query_lr": "0.1", "examples_order": "11, 3"}.items():
        lab.client.log_param(run_id, key, text)
    lab.client.log_metric(run_id, "model_uploaded", 0)
    if value is not None:
        lab.client.log_metric(run_id, METRIC, value)
    if stored:
        their_model(lab, run_id, depth=depth)
    lab.client.set_terminated(run_id)
    return run_id
