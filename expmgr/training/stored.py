"""Stored models of an iteration: as MLflow records them, ranked, and looked at where they lie.

What MLflow records is no proof: files go by other hands and by a deletion that died halfway. Who
lets a model go because another one is there, and who says which is the best, looks at that other
one first (`best_model`, `look`), ``MLmodel`` file included, at that moment.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from expmgr.errors import LocationError, NotFoundError
from expmgr.tracking.journal import latest_records
from expmgr.tracking.queries import asking, in_parallel, iter_logged_models, run_or_none
from expmgr.training.tags import BEST_ONLY_TAG, FILES_TAG, MODEL_TAG

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

    from expmgr.training.model_files import ModelFiles

__all__ = [
    "StoredModel",
    "best_model",
    "fault",
    "first_in_place",
    "look",
    "ranked",
    "stored_models",
]

logger = logging.getLogger(__name__)

_FAILED = frozenset({"FAILED", "KILLED"})
_LOOKS_AT_ONCE = 8


@dataclass(frozen=True)
class StoredModel:
    """A LoggedModel that its maker finalised and that no deletion is known to have taken.

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
    files
        How many files its maker stored, 0 where that is not known.
    """

    model_id: str
    run_id: str
    experiment_id: str
    uri: str
    quality: float | None
    created: int
    best_only: bool
    files: int = 0


# ------------------------------------------------------------------------------ as it is recorded


def stored_models(
    client: MlflowClient, experiment_id: str, main_metric: str, *, run_id: str | None = None
) -> list[StoredModel]:
    """Return the models that MLflow records as stored in an experiment, or of one run in it.

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
        files = model.tags.get(FILES_TAG, "")
        found.append(
            StoredModel(
                model.model_id,
                model.source_run_id,
                model.experiment_id,
                model.artifact_location,
                quality,
                model.creation_timestamp,
                model.tags.get(BEST_ONLY_TAG) == "true",
                int(files) if files.isdecimal() else 0,
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


# ---------------------------------------------------------------------------------- as it is there


def fault(model: StoredModel, run: Run | None, names: Collection[str]) -> str:
    """Return why a recorded model is not there whole, in words; "" where it is. Pure.

    Parameters
    ----------
    run
        Its maker, whose journal tells of deletions that were begun; None where it is gone.
    names
        Paths of the files that lie in the model's folder.
    """
    if run is not None:
        records = latest_records(run.info.run_id, run.data.tags)
        if any(
            path.endswith(f"/{model.model_id}/artifacts") and record.is_unfinished()
            for path, record in records.items()
        ):
            return "a deletion of it was begun"
    if not names:
        return "its files are gone"
    if "MLmodel" not in names:
        return "its MLmodel file is gone"
    if len(names) < model.files:
        return f"only {len(names)} of its {model.files} files are left"
    return ""


def look(client: MlflowClient, files: ModelFiles, model: StoredModel) -> str:
    """Look whether a model is there whole at this moment; returns its `fault`, "" where it is.

    Two small requests to MLflow and one listing of the model's folder. A model that lies where
    this manager cannot look counts as not there.

    Raises
    ------
    TrackingError, StorageError
        It could not be looked at, so nothing is known of it.
    """
    try:
        with asking(f"read the logged model {model.model_id}"):
            recorded = client.get_logged_model(model.model_id)
    except NotFoundError:
        return "it is in MLflow's trash"
    if not _is_stored(recorded):
        return "MLflow does not record it as stored any more"
    return _seen(client, files, model).fault


@dataclass(frozen=True)
class _Seen:
    model: StoredModel
    fault: str
    failed: bool
    """Whether its run failed or is in the trash."""


def _seen(client: MlflowClient, files: ModelFiles, model: StoredModel) -> _Seen:
    run = run_or_none(client, model.run_id)
    failed = run is not None and (
        run.info.status in _FAILED or run.info.lifecycle_stage != "active"
    )
    try:
        why = fault(model, run, files.names(model.uri, model.model_id))
    except LocationError as error:
        why = str(error)
    if why:
        logger.warning("model %s of run %s is not there: %s", model.model_id, model.run_id, why)
    return _Seen(model, why, failed)


def _look_in_turn(
    client: MlflowClient, files: ModelFiles, models: Sequence[StoredModel]
) -> Iterator[_Seen]:
    """Look at one model, which mostly settles it, and then at a few more at a time."""
    done = 0
    while done < len(models):
        asked = models[done : done + (_LOOKS_AT_ONCE if done else 1)]
        yield from in_parallel(lambda model: _seen(client, files, model), asked)
        done += len(asked)


def first_in_place(
    client: MlflowClient, files: ModelFiles, models: Sequence[StoredModel]
) -> StoredModel | None:
    """Return the first of some recorded models that is there whole, None where none is."""
    seen = _look_in_turn(client, files, models)
    return next((one.model for one in seen if not one.fault), None)


def best_model(
    client: MlflowClient,
    files: ModelFiles,
    models: Iterable[StoredModel],
    *,
    is_loss: bool,
    at_worst_failed: bool = False,
) -> StoredModel | None:
    """Return the best model that is there whole and whose run did not fail.

    They are looked at from the best downwards, until one is found: a run and a listing each.

    Parameters
    ----------
    at_worst_failed
        Where every run failed, return the best model of those instead of None.

    Raises
    ------
    TrackingError, StorageError
        One that may be the best could not be looked at.
    """
    spare: StoredModel | None = None
    for seen in _look_in_turn(client, files, ranked(models, is_loss=is_loss)):
        if seen.fault:
            continue
        if not seen.failed:
            return seen.model
        spare = spare or seen.model
    return spare if at_worst_failed else None
