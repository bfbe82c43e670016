"""A model made known to MLflow and uploaded: what `save_model` does once it is decided."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from expmgr.tracking.queries import asking
from expmgr.training.flavors import save_folder
from expmgr.training.model_files import ModelFiles, temporary_folder
from expmgr.training.progress import shown
from expmgr.training.tags import FILES_TAG

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric

    from expmgr.storage.transfer import Transfer
    from expmgr.training.model_files import OnProgress

__all__ = ["log_model"]

logger = logging.getLogger(__name__)

_MODEL_NAME = "model"


def log_model(
    client: MlflowClient,
    files: ModelFiles,
    model: object,
    *,
    run_id: str,
    experiment_id: str,
    flavor: str | None,
    requirements: Sequence[str] | None,
    options: Mapping[str, Any] | None,
    params: Mapping[str, str],
    tags: Mapping[str, str],
    quality: Metric | None,
    step: int,
    on_progress: OnProgress | None,
    cancel: threading.Event | None,
) -> tuple[LoggedModel, Transfer]:
    """Store a model and make it known to MLflow as a LoggedModel of the run.

    The order leaves no doubt about a model that is not whole: saved on this machine first, then
    made known (PENDING), uploaded, and last finalised (READY). A crash leaves it PENDING, an error
    FAILED; neither counts as stored. The ``MLmodel`` file holds what MLflow's fluent ``log_model``
    writes, so that ``mlflow.<flavor>.load_model("models:/<model_id>")`` works.

    Parameters
    ----------
    params
        Shown beside the model in MLflow.
    quality
        The run's main metric, which is logged for the model too.
    step
        The model's output step, by which it is told from other models of the run.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    with temporary_folder() as folder:
        card = Model(run_id=run_id)
        flavor = save_folder(
            model,
            folder,
            flavor=flavor,
            requirements=requirements,
            mlflow_model=card,
            options=options,
        )
        with asking("make the model known", run_id=run_id):
            logged = client.create_logged_model(
                experiment_id,
                name=_MODEL_NAME,
                source_run_id=run_id,
                tags={**tags, FILES_TAG: str(sum(path.is_file() for path in folder.rglob("*")))},
                params=dict(params),
            )
        try:
            with asking("link the model to its run", run_id=run_id):
                client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step)])
            card.artifact_path = logged.artifact_location
            card.model_id = card.model_uuid = logged.model_id
            card.save(str(folder / "MLmodel"))
            with shown("uploading the model", on_progress) as report:
                done = files.upload(
                    folder,
                    logged.artifact_location,
                    logged.model_id,
                    on_progress=report,
                    cancel=cancel,
                )
            with asking("finalise the model", run_id=run_id):
                if quality is not None:
                    client.log_batch(run_id, metrics=[_of_model(quality, run_id, logged.model_id)])
                logged = client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        except BaseException:
            _mark_failed(client, logged.model_id)
            raise
    return logged, done


def _of_model(metric: Metric, run_id: str, model_id: str) -> Metric:
    from mlflow.entities import Metric

    return Metric(
        metric.key, metric.value, metric.timestamp, metric.step, model_id=model_id, run_id=run_id
    )


def _mark_failed(client: MlflowClient, model_id: str) -> None:
    from mlflow.entities import LoggedModelStatus

    try:
        client.finalize_logged_model(model_id, LoggedModelStatus.FAILED)
    except Exception:  # noqa: BLE001 - the first error is the one to raise
        logger.warning("model %s stays PENDING: MLflow could not mark it FAILED", model_id)
