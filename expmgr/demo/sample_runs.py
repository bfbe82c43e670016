"""Trains the demo's models and logs them as a team's training code would, in both layouts."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expmgr.demo.recipes import PLUGIN_NAME, RECIPES, make_estimator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from azure.storage.blob import ContainerClient
    from mlflow import MlflowClient

    from expmgr.demo.recipes import Recipe

__all__ = ["Trained", "create_sample_runs", "save_sklearn", "train"]

_HOUR = 3_600_000  # milliseconds, MLflow's unit
_ARTIFACT_PATH = "model"


@dataclass(frozen=True)
class Trained:
    """A trained model and how good it is."""

    model: Any
    accuracy: float
    loss: float
    loss_curve: tuple[float, ...]
    confusion: str


def create_sample_runs(
    client: MlflowClient,
    container: ContainerClient,
    artifact_root: str,
    *,
    recipes: Sequence[Recipe] = RECIPES,
    plugin_name: str = PLUGIN_NAME,
    on_run: Callable[[int, int, str], None] | None = None,
) -> list[str]:
    """Train every recipe and log it; return the run ids in the recipes' order.

    Parameters
    ----------
    client
        Where runs are logged; no global MLflow state is used.
    container
        The container behind ``artifact_root``, to remove blobs behind MLflow's back.
    artifact_root
        ``wasbs://`` URI under which each experiment gets a folder.
    recipes
        What to train.
    plugin_name
        Experiments are named ``"{plugin_name} / {dataset}"``.
    on_run
        Called after each run with its number, the number of all, and its name.
    """
    experiments: dict[str, str] = {}
    run_ids = []
    now = int(time.time() * 1000)
    for number, recipe in enumerate(recipes, start=1):
        if recipe.dataset not in experiments:
            experiments[recipe.dataset] = client.create_experiment(
                f"{plugin_name} / {recipe.dataset}",
                artifact_location=f"{artifact_root}/{recipe.dataset.replace(' ', '-')}",
                tags={"expmgr.main_metric": "accuracy", "expmgr.is_loss": "false"},
            )
        # One run every seven hours, the last one an hour ago.
        start_time = now - _HOUR * (1 + 7 * (len(recipes) - number))
        run_ids.append(_log_run(client, container, experiments[recipe.dataset], recipe, start_time))
        if on_run is not None:
            on_run(number, len(recipes), recipe.name)
    return run_ids


def _log_run(
    client: MlflowClient,
    container: ContainerClient,
    experiment_id: str,
    recipe: Recipe,
    start_time: int,
) -> str:
    run = client.create_run(experiment_id, start_time=start_time, run_name=recipe.name)
    run_id: str = run.info.run_id
    started = time.perf_counter()
    trained = train(recipe)
    seconds = time.perf_counter() - started
    _log_values(client, run_id, recipe, trained, seconds, start_time)
    with tempfile.TemporaryDirectory(prefix="expmgr-demo-") as temporary:
        folder = Path(temporary)
        (folder / "report").mkdir()
        (folder / "report" / "confusion.csv").write_text(trained.confusion, encoding="utf-8")
        client.log_artifacts(run_id, str(folder / "report"), "report")
        if recipe.layout == "raw":
            _log_checkpoints(client, run_id, trained.model, folder / "checkpoints")
        elif recipe.layout == "mlflow 2":
            _log_as_mlflow_2(client, run_id, trained.model, folder / "model")
        else:
            model_id = _log_as_mlflow_3(client, run_id, experiment_id, trained, folder / "model")
            if recipe.trait == "registered":
                _register(client, run_id, model_id)
            if recipe.trait == "gone":
                _remove_blobs(client, container, model_id)
    if recipe.trait == "initial":
        client.set_tag(run_id, "expmgr.initial_model", "true")
    if recipe.trait != "running":
        status = "FAILED" if recipe.trait == "failed" else "FINISHED"
        client.set_terminated(run_id, status, end_time=start_time + 60_000 + int(seconds * 60_000))
    return run_id


def train(recipe: Recipe) -> Trained:
    """Train a recipe's model on its data set and measure it on data that it has not seen."""
    import warnings

    from sklearn import datasets
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
    from sklearn.model_selection import train_test_split

    load = getattr(datasets, f"load_{recipe.dataset.replace(' ', '_')}")
    x, y = load(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.4, random_state=11, stratify=y
    )
    model = make_estimator(recipe)
    with warnings.catch_warnings():
        # A short training is what makes some of these models bad, which is the point.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x_train, y_train)
    predicted = model.predict(x_test)
    classifier = model[-1]
    loss = (
        float(log_loss(y_test, model.predict_proba(x_test)))
        if hasattr(model, "predict_proba")
        else float("nan")
    )
    confusion = confusion_matrix(y_test, predicted)
    return Trained(
        model=model,
        accuracy=float(accuracy_score(y_test, predicted)),
        loss=loss,
        loss_curve=tuple(float(v) for v in getattr(classifier, "loss_curve_", ())),
        confusion="\n".join(",".join(str(n) for n in row) for row in confusion) + "\n",
    )


def _log_values(
    client: MlflowClient,
    run_id: str,
    recipe: Recipe,
    trained: Trained,
    seconds: float,
    start_time: int,
) -> None:
    from mlflow.entities import Metric, Param

    metrics = [
        Metric("accuracy", trained.accuracy, start_time + 60_000, 0),
        Metric("loss", trained.loss, start_time + 60_000, 0),
        Metric("train_seconds", seconds, start_time + 60_000, 0),
        *(
            Metric("train_loss", value, start_time + 1000 * step, step)
            for step, value in enumerate(trained.loss_curve)
        ),
    ]
    params = [Param("estimator", recipe.estimator)]
    params += [Param(key, str(value)) for key, value in recipe.params.items()]
    client.log_batch(run_id, metrics=metrics, params=params)


def save_sklearn(model: Any, folder: Path, **recorded: Any) -> Any:
    """Save by MLflow's scikit-learn flavour to a local folder; return its MLmodel."""
    import warnings

    import mlflow.sklearn
    from mlflow.models import Model

    description = Model(**recorded)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that pickles can run code; these are ours
        mlflow.sklearn.save_model(
            model,
            path=str(folder),
            mlflow_model=description,
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],  # inferring them takes seconds a model
        )
    return description


def _log_as_mlflow_2(client: MlflowClient, run_id: str, model: Any, folder: Path) -> None:
    """Log a directory of the run's artifacts, told by the tag that MLflow 2 set."""
    description = save_sklearn(model, folder, artifact_path=_ARTIFACT_PATH, run_id=run_id)
    client.log_artifacts(run_id, str(folder), _ARTIFACT_PATH)
    entry = {
        "run_id": run_id,
        "artifact_path": _ARTIFACT_PATH,
        "utc_time_created": str(description.utc_time_created),
        "model_uuid": str(description.model_uuid),
        "flavors": {"sklearn": {"serialization_format": "cloudpickle", "code": None}},
    }
    client.set_tag(run_id, "mlflow.log-model.history", json.dumps([entry]))


def _log_as_mlflow_3(
    client: MlflowClient, run_id: str, experiment_id: str, trained: Trained, folder: Path
) -> str:
    """Log a LoggedModel: created, uploaded, linked and finalised as ``log_model`` does it."""
    from mlflow.entities import LoggedModelOutput

    created = client.create_logged_model(experiment_id, name=_ARTIFACT_PATH, source_run_id=run_id)
    model_id: str = created.model_id
    save_sklearn(
        trained.model, folder, artifact_path=_ARTIFACT_PATH, run_id=run_id, model_id=model_id
    )
    client.log_model_artifacts(model_id, str(folder))
    client.log_outputs(run_id, models=[LoggedModelOutput(model_id=model_id, step=0)])
    client.finalize_logged_model(model_id, "READY")
    return model_id


def _log_checkpoints(client: MlflowClient, run_id: str, model: Any, folder: Path) -> None:
    """Log raw files, as a training loop does that never heard of MLflow models."""
    import pickle

    folder.mkdir()
    weights = pickle.dumps(model)
    for epoch in (10, 20, 40):
        (folder / f"epoch-{epoch}.pkl").write_bytes(weights)
    client.log_artifacts(run_id, str(folder), "checkpoints")


def _register(client: MlflowClient, run_id: str, model_id: str) -> None:
    name = "digits-classifier"
    client.create_registered_model(name)
    # Not by "models:/<id>": the registry would look that up at the global tracking URI.
    source = client.get_logged_model(model_id).artifact_location
    version = client.create_model_version(name, source=source, run_id=run_id, model_id=model_id)
    client.set_registered_model_alias(name, "champion", version.version)


def _remove_blobs(client: MlflowClient, container: ContainerClient, model_id: str) -> None:
    """Remove a model's blobs as somebody with a storage browser would, unknown to MLflow."""
    root = str(client.get_logged_model(model_id).artifact_location).split("/", 3)[3]
    for name in list(container.list_blob_names(name_starts_with=f"{root}/")):
        container.delete_blob(name)
