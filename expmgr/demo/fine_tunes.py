"""What fine-tuning leaves behind: checkpoints with optimizer states, trash, and a purged run."""

from __future__ import annotations

import json
import pickle
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expmgr.demo.recipes import FINE_TUNES, PLUGIN_NAME
from expmgr.demo.sample_runs import save_sklearn

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.storage.blob import ContainerClient
    from mlflow import MlflowClient

__all__ = ["create_fine_tunes"]

_DAY = 86_400_000  # milliseconds
_EPOCHS = 3
_STEPS = 200
"""Between two checkpoints."""
PURGED = "0123456789abcdef0123456789abcdef"
"""The id of a run that the tracking server knows no more."""


def create_fine_tunes(client: MlflowClient, container: ContainerClient, artifact_root: str) -> None:
    """Train three networks as Trainer, accelerate and DeepSpeed would have stored them.

    Each run keeps a checkpoint an epoch among its artifacts, with the weights and the states of
    Adam (twice the weights), and logs its last state as a model that holds those states too. Two
    more runs and a model lie in the trash, and a folder is a purged run's.

    Parameters
    ----------
    container
        The container behind ``artifact_root``, for what MLflow knows no more.
    """
    experiment_id = client.create_experiment(
        f"{PLUGIN_NAME} / {FINE_TUNES}",
        artifact_location=f"{artifact_root}/{FINE_TUNES}",
        tags={"expmgr.main_metric": "accuracy", "expmgr.is_loss": "false"},
    )
    at = int(time.time() * 1000) - 60 * _DAY
    layouts = {"trainer": _trainer, "accelerate": _accelerate, "deepspeed": _deepspeed}
    for number, (name, layout) in enumerate(layouts.items()):
        _fine_tune(client, experiment_id, f"network, {name}", layout, number, at + number * _DAY)
    for number in (3, 4):
        run_id = _fine_tune(
            client, experiment_id, f"network, try {number}", _trainer, number, at + number * _DAY
        )
        client.delete_run(run_id)
    (model, *_) = client.search_logged_models(
        [experiment_id], filter_string=f"source_run_id = '{run_id}'"
    )
    client.delete_logged_model(model.model_id)
    folder = f"{_path(artifact_root)}/{FINE_TUNES}/{PURGED}/artifacts"
    container.upload_blob(f"{folder}/weights.pkl", b"w" * 200_000)


def _path(artifact_root: str) -> str:
    return artifact_root.split("/", 3)[3]


def _fine_tune(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    layout: Callable[[Path, int, Any], None],
    seed: int,
    at: int,
) -> str:
    from mlflow.entities import LoggedModelOutput, Metric, Param
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    x_train, x_test, y_train, y_test = train_test_split(
        *load_digits(return_X_y=True), test_size=0.4, random_state=11
    )
    network = MLPClassifier((320, 160), random_state=seed, learning_rate_init=0.001 * (seed + 1))
    run_id = str(client.create_run(experiment_id, start_time=at, run_name=name).info.run_id)
    client.log_batch(run_id, params=[Param("learning_rate", str(network.learning_rate_init))])
    with tempfile.TemporaryDirectory(prefix="expmgr-demo-") as temporary:
        folder = Path(temporary)
        for epoch in range(1, _EPOCHS + 1):
            network.partial_fit(x_train, y_train, classes=range(10))
            accuracy = float(network.score(x_test, y_test))
            step = epoch * _STEPS
            client.log_batch(run_id, metrics=[Metric("accuracy", accuracy, at + step, step)])
            checkpoint = folder / "checkpoints" / f"checkpoint-{step}"
            checkpoint.mkdir(parents=True)
            layout(checkpoint, step, network)
        client.log_artifacts(run_id, str(folder / "checkpoints"))
        created = client.create_logged_model(experiment_id, name=name, source_run_id=run_id)
        recorded = {"run_id": run_id, "model_id": created.model_id}
        save_sklearn(network, folder / "model", **recorded)
        _states(folder / "model" / "optimizer.pt", network)
        client.log_model_artifacts(created.model_id, str(folder / "model"))
    client.log_outputs(run_id, [LoggedModelOutput(created.model_id, step)])
    client.finalize_logged_model(created.model_id, "READY")
    client.set_terminated(run_id, end_time=at + 3_600_000)
    return run_id


def _weights(path: Path, network: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps((network.coefs_, network.intercepts_)))


def _states(path: Path, network: Any) -> None:
    """Write what Adam keeps: two numbers a weight."""
    adam = network._optimizer  # noqa: SLF001 - scikit-learn shows it nowhere else
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps((adam.ms, adam.vs)))


def _trainer(folder: Path, step: int, network: Any) -> None:
    _weights(folder / "pytorch_model.bin", network)
    _states(folder / "optimizer.pt", network)
    (folder / "scheduler.pt").write_bytes(pickle.dumps({"last_epoch": step}))
    (folder / "rng_state.pth").write_bytes(pickle.dumps(network.random_state))
    state = {"global_step": step, "log_history": []}
    (folder / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")


def _accelerate(folder: Path, step: int, network: Any) -> None:
    _weights(folder / "pytorch_model.bin", network)
    _states(folder / "optimizer.bin", network)
    (folder / "scheduler.bin").write_bytes(pickle.dumps({"last_epoch": step}))
    (folder / "random_states_0.pkl").write_bytes(pickle.dumps(network.random_state))


def _deepspeed(folder: Path, step: int, network: Any) -> None:
    shards = folder / f"global_step{step}"
    _weights(shards / "mp_rank_00_model_states.pt", network)
    _states(shards / "zero_pp_rank_0_mp_rank_00_optim_states.pt", network)
    (folder / "latest").write_text(f"global_step{step}", encoding="utf-8")
    (folder / "zero_to_fp32.py").write_text("# puts the shards together\n", encoding="utf-8")
