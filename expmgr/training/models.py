"""Models of an iteration: made known to MLflow, ranked by quality, and found again."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expmgr.tracking.queries import asking, iter_logged_models
from expmgr.training.flavors import save_folder
from expmgr.training.model_files import ModelFiles, temporary_folder
from expmgr.training.progress import shown
from expmgr.training.tags import BEST_ONLY_TAG, MODEL_TAG

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric

    from expmgr.storage.transfer import Transfer
    from expmgr.training.model_files import OnProgress

__all__ = ["StoredModel", "best_model", "log_model", "ranked", "stored_models"]

logger = logging.getLogger(__name__)

_MODEL_NAME = "model"
_FAILED = frozenset({"FAILED", "KILLED"})


@dataclass(frozen=True)
class StoredModel:
    """A LoggedModel whose files are stored: finalised by its maker, and not deleted since.

    Attributes
    ----------
    run_id
        The run that made it.
    uri
        Its ``artifact_location``.
    quality
        The main metric as it was when the model was saved; None where that is not known.
    created
        Milliseconds since 1970.
    best_only
        Whether it was saved to be kept only while it is the best.
    """

    model_id: str
    run_id: str
    experiment_id: str
    uri: str
    quality: float | None
    created: int
    best_only: bool


def stored_models(
    client: MlflowClient, experiment_id: str, main_metric: str, *, run_id: str | None = None
) -> list[StoredModel]:
    """Return the stored models of an experiment, or of one run in it.

    One paged search; for models without the metric (that other tools logged) the run's own last
    value is asked for, one run by id.
    """
    filter_string = f"source_run_id='{run_id}'" if run_id is not None else None
    found = []
    for model in iter_logged_models(client, [experiment_id], filter_string):
        if not _is_stored(model) or (run_id is not None and model.source_run_id != run_id):
            continue
        quality = _quality(model, main_metric)
        if quality is None:
            quality = _run_metric(client, model.source_run_id, main_metric)
        found.append(
            StoredModel(
                model.model_id,
                model.source_run_id,
                model.experiment_id,
                model.artifact_location,
                quality,
                model.creation_timestamp,
                model.tags.get(BEST_ONLY_TAG) == "true",
            )
        )
    return found


def _is_stored(model: LoggedModel) -> bool:
    from mlflow.entities import LoggedModelStatus

    return (
        bool(model.source_run_id)
        and model.status == LoggedModelStatus.READY
        and MODEL_TAG not in model.tags
    )


def _quality(model: LoggedModel, main_metric: str) -> float | None:
    values = [metric for metric in model.metrics or () if metric.key == main_metric]
    if not values:
        return None
    return _finite(max(values, key=lambda metric: (metric.timestamp, metric.step)).value)


def _run_metric(client: MlflowClient, run_id: str, main_metric: str) -> float | None:
    with asking(f"read run {run_id}", run_id=run_id):
        return _finite(client.get_run(run_id).data.metrics.get(main_metric))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def ranked(models: Iterable[StoredModel], *, is_loss: bool) -> list[StoredModel]:
    """Return the models of known quality, the best first. Pure.

    The order is total, so that processes that rank the same models agree: of equal quality the
    later one comes first, as it is the one that superseded the other.
    """
    sign = 1.0 if is_loss else -1.0
    known = [(model.quality, model) for model in models if model.quality is not None]
    known.sort(key=lambda entry: (sign * entry[0], -entry[1].created, entry[1].model_id))
    return [model for _, model in known]


def best_model(
    client: MlflowClient,
    models: Iterable[StoredModel],
    *,
    is_loss: bool,
    at_worst_failed: bool = False,
) -> StoredModel | None:
    """Return the best model whose run did not fail; asks for one run at a time, the best first.

    Parameters
    ----------
    at_worst_failed
        Where every run failed, return the best model of those instead of None.
    """
    order = ranked(models, is_loss=is_loss)
    for model in order:
        with asking(f"read run {model.run_id}", run_id=model.run_id):
            info = client.get_run(model.run_id).info
        if info.status not in _FAILED and info.lifecycle_stage == "active":
            return model
    return order[0] if order and at_worst_failed else None


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
                tags=dict(tags),
                params=dict(params),
            )
        try:
            with asking("link the model to its run", run_id=run_id):
                client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
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
