"""What MLflow 3 knows beyond a model a run: checkpoints, an evaluation, a study, a model alone."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from expmgr.demo.recipes import PLUGIN_NAME, STORIES, Recipe
from expmgr.demo.sample_runs import save_sklearn, train

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from expmgr.demo.sample_runs import Trained

__all__ = ["create_stories"]

_DAY = 86_400_000  # milliseconds
_EPOCHS = (2, 12, 40)
_ACCURACIES_LATER = (0.0, -0.02, -0.05)
"""How much worse each checkpoint does on the data that the evaluation brings."""


def create_stories(client: MlflowClient, artifact_root: str) -> None:
    """Log the stories into an experiment of their own.

    - A run with three checkpoints, each with its step and its own accuracy: the best stays, the
      others may go.
    - An evaluation of them in a run of its own, which says otherwise: its values count, and it
      protects nothing by itself.
    - A study: a parent run with three trials.
    - A model that no run made, as ``log_model`` outside a run leaves it.
    """
    experiment_id = client.create_experiment(
        f"{PLUGIN_NAME} / {STORIES}",
        artifact_location=f"{artifact_root}/{STORIES}",
        tags={"expmgr.main_metric": "accuracy", "expmgr.is_loss": "false"},
    )
    at = int(time.time() * 1000) - 30 * _DAY
    checkpoints = _checkpoints(client, experiment_id, at)
    _evaluate(client, experiment_id, at + _DAY, checkpoints)
    _study(client, experiment_id, at + 2 * _DAY)
    alone = train(Recipe("wine", "alone", "GaussianNB"))
    _log_model(client, experiment_id, "", "served by hand", alone, step=0)


def _checkpoints(client: MlflowClient, experiment_id: str, at: int) -> list[tuple[str, Trained]]:
    from mlflow.entities import Metric

    run_id = _run(client, experiment_id, "perceptron, checkpoints", at)
    found = []
    for epochs in _EPOCHS:
        recipe = Recipe(
            "digits",
            "checkpoint",
            "MLPClassifier",
            {"hidden_layer_sizes": (96,), "max_iter": epochs},
        )
        trained = train(recipe)
        name = f"checkpoint-{epochs}"
        model_id = _log_model(client, experiment_id, run_id, name, trained, step=epochs)
        value = Metric(
            "accuracy", trained.accuracy, at + epochs, epochs, model_id=model_id, run_id=run_id
        )
        client.log_batch(run_id, metrics=[value])
        found.append((model_id, trained))
    client.set_terminated(run_id, end_time=at + 3_600_000)
    return found


def _evaluate(
    client: MlflowClient, experiment_id: str, at: int, checkpoints: list[tuple[str, Trained]]
) -> None:
    from mlflow.entities import LoggedModelInput, Metric

    run_id = _run(client, experiment_id, "evaluation on new data", at)
    for (model_id, trained), less in zip(checkpoints, _ACCURACIES_LATER, strict=True):
        client.log_inputs(run_id, models=[LoggedModelInput(model_id)])
        value = Metric("accuracy", trained.accuracy + less, at, 0, model_id=model_id, run_id=run_id)
        client.log_batch(run_id, metrics=[value])
    with tempfile.TemporaryDirectory(prefix="expmgr-demo-") as folder:
        (Path(folder) / "confusion.csv").write_text(checkpoints[-1][1].confusion, encoding="utf-8")
        client.log_artifacts(run_id, folder, "evaluation")
    client.set_terminated(run_id, end_time=at + 60_000)


def _study(client: MlflowClient, experiment_id: str, at: int) -> None:
    parent = _run(client, experiment_id, "depth of a tree, study", at)
    for depth in (2, 5, 9):
        recipe = Recipe("wine", f"tree, depth {depth}", "DecisionTreeClassifier")
        trained = train(replace(recipe, params={"max_depth": depth}))
        tags = {"mlflow.parentRunId": parent}
        run_id = _run(client, experiment_id, recipe.name, at + depth, tags)
        client.log_param(run_id, "max_depth", depth)
        client.log_metric(run_id, "accuracy", trained.accuracy, timestamp=at + depth)
        _log_model(client, experiment_id, run_id, "model", trained, step=0)
        client.set_terminated(run_id, end_time=at + 60_000 + depth)
    client.set_terminated(parent, end_time=at + 120_000)


def _run(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    at: int,
    tags: dict[str, str] | None = None,
) -> str:
    run = client.create_run(experiment_id, start_time=at, run_name=name, tags=tags)
    return str(run.info.run_id)


def _log_model(
    client: MlflowClient,
    experiment_id: str,
    run_id: str,
    name: str,
    trained: Trained,
    *,
    step: int,
) -> str:
    from mlflow.entities import LoggedModelOutput

    created = client.create_logged_model(experiment_id, name=name, source_run_id=run_id or None)
    with tempfile.TemporaryDirectory(prefix="expmgr-demo-") as folder:
        place = Path(folder) / "model"
        recorded = {"run_id": run_id} if run_id else {}
        save_sklearn(trained.model, place, model_id=created.model_id, **recorded)
        client.log_model_artifacts(created.model_id, str(place))
    if run_id:
        client.log_outputs(run_id, [LoggedModelOutput(created.model_id, step)])
    client.finalize_logged_model(created.model_id, "READY")
    return str(created.model_id)
