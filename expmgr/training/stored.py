"""Stored models of an iteration: as MLflow records them, ranked, and looked at where they lie.

What MLflow records is no proof: files go by other hands and by a deletion that died halfway. Who
lets a model go because another one is there, and who says which is the best, looks at that other
one first (`best_model`, `look`), ``MLmodel`` file included, at that moment.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from expmgr.catalog.quality import Entry, Siblings, newest_entry, own_entries
from expmgr.errors import LocationError, NotFoundError, TrackingError
from expmgr.moving_in import MODEL_PATH, UPLOADED
from expmgr.text import words
from expmgr.tracking.journal import MODEL_TAG, latest_records, part_files
from expmgr.tracking.models import history_paths
from expmgr.tracking.queries import (
    asking,
    in_parallel,
    iter_logged_models,
    iter_runs,
    run_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

    from expmgr.catalog.quality import Goal
    from expmgr.training.desk import Desk

__all__ = [
    "BEST_ONLY_TAG",
    "CHECKPOINT_TAG",
    "FILES_TAG",
    "StoredModel",
    "as_stored",
    "best_model",
    "best_of",
    "directories_of",
    "fault",
    "first_in_place",
    "look",
    "own_value",
    "ranked",
    "stored_models",
]

logger = logging.getLogger(__name__)

BEST_ONLY_TAG = "expmgr.best_only"
"""On a LoggedModel: "true" where it was saved to be kept only while it is the best."""

CHECKPOINT_TAG = "expmgr.checkpoint"
"""On a LoggedModel: what `save_checkpoint` was told to keep, as JSON; only it sets this."""

FILES_TAG = "expmgr.files"
"""On a LoggedModel: how many files were stored, so that half a model is not taken for a whole."""

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
        By `expmgr.catalog.quality`: the newest value logged for the model itself, else the last
        one of its run; None where that is not known.
    created
        Milliseconds since 1970.
    best_only
        Whether it was saved to be kept only while it is the best.
    files
        How many files its maker stored, 0 where that is not known.
    checkpoint
        Whether `save_checkpoint` stored it: what supersedes it is other checkpoints of its run.
    path
        Where it lies below its run's artifacts, of a directory that MLflow 2 recorded; "" of a
        LoggedModel. Its id is ``<run_id>/<path>`` then.
    """

    model_id: str
    run_id: str
    experiment_id: str
    uri: str
    quality: float | None
    created: int
    best_only: bool
    files: int = 0
    checkpoint: bool = False
    path: str = ""

    @property
    def artifacts(self) -> str:
        """Where the artifacts of its run lie, for a directory among them."""
        return self.uri.removesuffix(f"/{self.path}")


# ------------------------------------------------------------------------------ as it is recorded


def stored_models(
    desk: Desk, experiment_id: str, *, run_id: str | None = None, directories: bool = False
) -> list[StoredModel]:
    """Return the models that MLflow records as stored in an experiment, or of one run in it.

    With ``directories`` also those of MLflow 2, by one more search (`directory_models`).

    One paged search. Runs are asked one by one, and only where the models do not tell: for the
    last value of a run whose model (made by another tool) has none of its own, and for the output
    steps of models whose values their common run may have copied.
    """
    filter_string = f"source_run_id='{run_id}'" if run_id is not None else None
    by_run: dict[str, list[LoggedModel]] = defaultdict(list)
    for model in iter_logged_models(desk.client, [experiment_id], filter_string):
        if model.source_run_id and run_id in {None, model.source_run_id}:
            by_run[model.source_run_id].append(model)
    stored = [model for siblings in by_run.values() for model in siblings if _is_stored(model)]
    makers = list(dict.fromkeys(model.source_run_id for model in stored))
    qualities: dict[str, float | None] = {}
    for found in in_parallel(lambda maker: _qualities(desk, maker, by_run[maker]), makers):
        qualities.update(found)
    below_runs = directory_models(desk, experiment_id, run_id) if directories else []
    return below_runs + [as_stored(model, qualities[model.model_id]) for model in stored]


def as_stored(model: LoggedModel, quality: float | None) -> StoredModel:
    """Return what a LoggedModel tells, with its quality."""
    files = model.tags.get(FILES_TAG, "")
    return StoredModel(
        model.model_id,
        model.source_run_id,
        model.experiment_id,
        model.artifact_location,
        quality,
        model.creation_timestamp,
        model.tags.get(BEST_ONLY_TAG) == "true",
        int(files) if files.isdecimal() else 0,
        CHECKPOINT_TAG in model.tags,
    )


def own_value(desk: Desk, model: LoggedModel) -> tuple[float | None, bool]:
    """Return the newest value that was logged for this very model, and whether it is in doubt.

    None where there is none that counts. In doubt is a 0 of which nobody can say whether it was
    NaN. Unlike `stored_models` this takes no value for copied: it is for models whose maker logs
    theirs for each.
    """
    entry = _newest_entry(model, desk.goal)
    value = None if entry is None else desk.goal.counts(entry.value)
    if entry is None or value != 0:
        return value, False
    is_zero = _is_zero(desk.client, entry)
    return (value if is_zero else None), is_zero is None


def directory_models(
    desk: Desk, experiment_id: str, run_id: str | None = None
) -> list[StoredModel]:
    """Return the models of MLflow 2 whose runs tell by a metric that they have one."""
    condition = f"metrics.{UPLOADED} = 1"
    if run_id is not None:
        condition += f" AND attributes.run_id = '{run_id}'"
    runs = iter_runs(desk.client, [experiment_id], condition)
    return [model for run in runs for model in directories_of(desk, run)]


def directories_of(desk: Desk, run: Run) -> list[StoredModel]:
    """Return the directories that MLflow 2 recorded as models of a run, the newest last. Pure."""
    told = run.data.metrics.get(UPLOADED) == 1 and not run.outputs.model_outputs
    paths = history_paths(run.data.tags) or ((MODEL_PATH,) if told else ())
    return [
        StoredModel(
            f"{run.info.run_id}/{path}",
            run.info.run_id,
            run.info.experiment_id,
            f"{run.info.artifact_uri.rstrip('/')}/{path}",
            _makers_value(run, desk.goal),
            run.info.end_time or run.info.start_time or 0,
            best_only=False,
            path=path,
        )
        for path in (path.strip("/") for path in paths)
        if path
    ]


def _is_stored(model: LoggedModel) -> bool:
    from mlflow.entities import LoggedModelStatus

    return (
        bool(model.source_run_id)
        and model.status == LoggedModelStatus.READY
        and MODEL_TAG not in model.tags
    )


def _qualities(desk: Desk, maker: str, models: Sequence[LoggedModel]) -> dict[str, float | None]:
    """Return the quality of one run's stored models, by `expmgr.catalog.quality`."""
    client, goal = desk.client, desk.goal
    stored = [model.model_id for model in models if _is_stored(model)]
    each: list[Siblings] = []
    doubtful: set[str] = set()
    for number, model in enumerate(models):
        entry = _newest_entry(model, goal)
        if entry is not None and entry.value == 0.0:
            is_zero = _is_zero(client, entry)
            if is_zero is None:
                doubtful.add(model.model_id)
            elif not is_zero:
                entry = None
        each.append(Siblings(model.model_id, number, entry))
    own = own_entries(maker, each, goal)
    alike = own_entries(maker, [replace(model, step=None) for model in each], goal)
    copied = any(own[one][0] != alike[one][0] for one in stored if one in own)
    run: Run | None = None
    if copied or any(one not in own for one in stored):
        run = run_or_none(client, maker)
    if copied:
        steps = {} if run is None else {out.model_id: out.step for out in run.outputs.model_outputs}
        own = own_entries(maker, [replace(one, step=steps.get(one.id)) for one in each], goal)
    last = _makers_value(run, goal)
    found = {one: own[one][0] if one in own else last for one in stored}
    return {one: None if one in doubtful else value for one, value in found.items()}


def _newest_entry(model: LoggedModel, goal: Goal) -> Entry | None:
    return newest_entry(
        (
            Entry(metric.key, metric.value, metric.timestamp, metric.step, metric.run_id)
            for metric in model.metrics or ()
        ),
        goal.metric,
    )


def _is_zero(client: MlflowClient, entry: Entry) -> bool | None:
    """Whether a 0 is no NaN, which MLflow 3.17 reads back as 0 from a LoggedModel; None: unknown.

    Only the history of the run that logged it tells.
    """
    try:
        with asking(f"read the history of run {entry.run_id}", run_id=entry.run_id):
            history = client.get_metric_history(entry.run_id, entry.key)
    except TrackingError:
        return None
    at = (entry.step, entry.timestamp)
    values = [row.value for row in history if (row.step, row.timestamp) == at]
    return any(not math.isnan(value) for value in values) if values else None


def _makers_value(run: Run | None, goal: Goal) -> float | None:
    if run is None or run.info.status != "FINISHED" or run.info.lifecycle_stage != "active":
        return None
    return goal.value_of(run.data.metrics)


def ranked(models: Iterable[StoredModel], goal: Goal) -> list[StoredModel]:
    """Return the models of known quality, the best first. Pure.

    The order is total, so that processes that rank the same models agree: of equal quality the
    later one comes first, as it is the one that superseded the other.
    """
    sign = 1.0 if goal.is_loss else -1.0
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
        place = f"/{model.model_id}/artifacts"
        if model.path:
            place = f"/{model.run_id}/artifacts/{model.path}"
        if any(path.endswith(place) and record.is_unfinished() for path, record in records.items()):
            return "a deletion of it was begun"
    if not names:
        return "its files are gone"
    if "MLmodel" not in names:
        return "its MLmodel file is gone"
    parts = 0 if run is None else part_files(run.info.run_id, run.data.tags, model.model_id)
    if len(names) < model.files - parts:
        return f"only {len(names)} of its {model.files} files are left"
    return ""


def look(desk: Desk, model: StoredModel) -> str:
    """Look whether a model is there whole at this moment; returns its `fault`, "" where it is.

    Two small requests to MLflow and one listing of the model's folder. A model that lies where
    this manager cannot look counts as not there.

    Raises
    ------
    TrackingError, StorageError
        It could not be looked at, so nothing is known of it.
    """
    if model.path:
        return _seen(desk, model).fault
    try:
        with asking(f"read the logged model {model.model_id}"):
            recorded = desk.client.get_logged_model(model.model_id)
    except NotFoundError:
        return "it is in MLflow's trash"
    if not _is_stored(recorded):
        return "MLflow does not record it as stored any more"
    return _seen(desk, model).fault


@dataclass(frozen=True)
class _Seen:
    model: StoredModel
    fault: str
    failed: bool
    """Whether its run failed or is in the trash."""


def _seen(desk: Desk, model: StoredModel) -> _Seen:
    run = run_or_none(desk.client, model.run_id)
    failed = run is not None and (
        run.info.status in _FAILED or run.info.lifecycle_stage != "active"
    )
    try:
        if model.path:
            names = desk.files.names_below(model.artifacts, model.run_id, model.path)
        else:
            names = desk.files.names(model.uri, model.model_id)
        why = fault(model, run, names)
    except LocationError as error:
        why = str(error)
    if why:
        logger.warning(
            "model %s of run %s is not there: %s", model.model_id, model.run_id, words(why)
        )
    return _Seen(model, why, failed)


def _look_in_turn(desk: Desk, models: Sequence[StoredModel]) -> Iterator[_Seen]:
    """Look at one model, which mostly settles it, and then at a few more at a time."""
    done = 0
    while done < len(models):
        asked = models[done : done + (_LOOKS_AT_ONCE if done else 1)]
        yield from in_parallel(lambda model: _seen(desk, model), asked)
        done += len(asked)


def first_in_place(desk: Desk, models: Sequence[StoredModel]) -> StoredModel | None:
    """Return the first of some recorded models that is there whole, None where none is."""
    seen = _look_in_turn(desk, models)
    return next((one.model for one in seen if not one.fault), None)


def best_of(
    desk: Desk, experiment_id: str, *, at_worst_failed: bool = False, directories: bool = False
) -> StoredModel | None:
    """Return the best stored model of an experiment; see `best_model` and `stored_models`."""
    models = stored_models(desk, experiment_id, directories=directories)
    return best_model(desk, models, at_worst_failed=at_worst_failed)


def best_model(
    desk: Desk, models: Iterable[StoredModel], *, at_worst_failed: bool = False
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
    for seen in _look_in_turn(desk, ranked(models, desk.goal)):
        if seen.fault:
            continue
        if not seen.failed:
            return seen.model
        spare = spare or seen.model
    return spare if at_worst_failed else None
