"""Data as the system that expmgr replaces leaves them: MLflow 2 models, its names, its metrics."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from lab import METRIC

if TYPE_CHECKING:
    from lab import Lab

FILES = {
    "MLmodel": b"flavors: {}\n",
    "data/model.pth": b"p" * 3000,
    "data/pickle_module_info.txt": b"mlflow.pytorch.pickle_module",
    "requirements.txt": b"torch\n",
}


def their_model(lab: Lab, run_id: str, *, history: bool = True) -> None:
    """What ``mlflow.pytorch.log_model(model, "model")`` of MLflow 2 left, and its metric."""
    if history:
        lab.history_model(run_id, "model", FILES)
    else:
        lab.artifacts(run_id, FILES, "model")
    lab.client.log_metric(run_id, "model_uploaded", 1)


def their_initial(lab: Lab, *, upload: bool = True) -> tuple[str, str]:
    """The initial model's experiment and run; returns their ids."""
    experiment_id = lab.experiment("iteration / initial")
    run = lab.client.create_run(experiment_id, run_name="initial_model")
    if upload:
        their_model(lab, run.info.run_id)
    lab.client.set_terminated(run.info.run_id)
    return experiment_id, run.info.run_id


def their_iteration(lab: Lab, start: str, batch: str = "batch-1") -> str:
    return lab.experiment(f"iteration / {start} / {batch}")


def their_run(
    lab: Lab, experiment_id: str, value: float | None, *, stored: bool = True, name: str = ""
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
        their_model(lab, run_id)
    lab.client.set_terminated(run_id)
    return run_id
