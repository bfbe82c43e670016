"""`save_model`: a model stored on its run and made known to MLflow, and what became of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from expmgr.errors import TrackingError
from expmgr.formatting import format_bytes, format_count, format_metric, format_seconds
from expmgr.moving_in import UPLOADED
from expmgr.text import keep_plain
from expmgr.tracking.queries import asking
from expmgr.training.best_only import beats_or_equals, supersede
from expmgr.training.flavors import save_folder
from expmgr.training.model_files import temporary_folder
from expmgr.training.runs import now_ms
from expmgr.training.stored import BEST_ONLY_TAG, FILES_TAG, best_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.models import Model

    from expmgr.catalog.quality import Goal
    from expmgr.results import DeletionResult
    from expmgr.training.desk import Desk
    from expmgr.training.model_files import Watch
    from expmgr.training.runs import OpenRun
    from expmgr.training.stored import StoredModel

__all__ = ["NewModel", "Prepared", "SavedModel", "log_model", "publish", "save_model"]

logger = logging.getLogger(__name__)

_MODEL_NAME = "model"


@dataclass(frozen=True)
class NewModel:
    """A model that is to be stored.

    Attributes
    ----------
    flavor
        MLflow's flavour; None tells it by the model's class.
    options
        Handed to the flavour's ``save_model``.
    """

    model: object
    flavor: str | None = None
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class SavedModel:
    """How a `save_model` ended; ``bool(saved)`` is whether the model was stored.

    Attributes
    ----------
    run_id
        The run.
    saved
        False where a better model was there already.
    model_id
        MLflow's id of the stored model, else "".
    url
        Where its files lie (the artifact location), else "".
    flavor
        MLflow's flavour, else "".
    quality
        The run's main metric; None where it was not needed and not logged.
    best_quality
        The iteration's best by the main metric before this call, None where there was none.
    files, bytes, seconds
        Of the upload.
    superseded
        How the deletion of each superseded model ended; protected ones were kept.
    message
        Why it was not saved, where that is not the quality.
    """

    run_id: str
    saved: bool
    model_id: str = ""
    url: str = ""
    flavor: str = ""
    quality: float | None = None
    best_quality: float | None = None
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    superseded: tuple[DeletionResult, ...] = ()
    message: str = ""

    def __post_init__(self) -> None:
        keep_plain(self, "message")

    def __bool__(self) -> bool:
        return self.saved

    @property
    def model_uri(self) -> str:
        """What MLflow's ``load_model`` takes: ``models:/<model_id>``."""
        return f"models:/{self.model_id}" if self.model_id else ""

    @property
    def kept(self) -> tuple[DeletionResult, ...]:
        """Superseded models that are still there, with the reasons."""
        return tuple(
            result for result in self.superseded if result.outcome in {"protected", "failed"}
        )

    def __str__(self) -> str:
        if self.message:
            return self.message
        if not self.saved:
            return (
                f"Not saved: {format_metric(self.quality)} does not reach the iteration's best, "
                f"{format_metric(self.best_quality)}"
                if self.best_quality is not None
                else f"Not saved: {format_metric(self.quality)} can be compared with nothing"
            )
        size = f"{format_count(self.files, 'file')}, {format_bytes(self.bytes)}"
        lines = [f"Saved {self.model_uri}: {size} in {format_seconds(self.seconds)}"]
        lines.extend(f"Superseded run {result.run_id}: {result}" for result in self.superseded)
        return "\n".join(lines)


def save_model(
    desk: Desk,
    run: OpenRun,
    new: NewModel,
    watch: Watch,
    *,
    quality: float | None,
    best_only: bool,
) -> SavedModel:
    """Store the model, unless a better one is there; then delete what it supersedes."""
    best: StoredModel | None = None
    if best_only:
        best = best_of(desk, run.experiment_id, directories=run.directories)
        best_quality = None if best is None else best.quality
        compared = desk.goal.counts(quality)
        if compared is None or not beats_or_equals(desk.goal, compared, best_quality):
            return SavedModel(run.run_id, False, quality=quality, best_quality=best_quality)
    entry = _entry(desk.client, run, desk.goal, quality)
    # What tells the models of one run apart: their output steps (MLflow's fluent API copies the
    # run's values onto every model of the step), so no two have the same.
    run.model_step = max(run.model_step + 1, 0 if entry is None else entry.step)
    tags = {BEST_ONLY_TAG: "true"} if best_only else {}
    saved = log_model(desk, run, new, watch, tags=tags, quality=entry)
    superseded: tuple[DeletionResult, ...] = ()
    if best_only:
        run.best_only = True
        superseded = supersede(
            desk,
            run.experiment_id,
            run_id=run.run_id,
            previous_best=best,
            directories=run.directories,
        )
    return replace(
        saved,
        quality=quality,
        best_quality=None if best is None else best.quality,
        superseded=superseded,
    )


def _entry(client: MlflowClient, run: OpenRun, goal: Goal, quality: float | None) -> Metric | None:
    """Return the main metric's entry in the run's history, as it is repeated for the model.

    None where it is no number that counts: MLflow reads NaN back as 0 from a model.
    """
    from mlflow.entities import Metric

    if goal.counts(quality) is None:
        return None
    metric = goal.metric
    entry = run.last.get(metric)
    if entry is None or entry.value != quality:
        history = client.get_metric_history(run.run_id, metric)
        same = [one for one in history if one.value == quality]
        entry = max(same, key=lambda one: (one.timestamp, one.step), default=None)
    return Metric(metric, quality, now_ms(), 0) if entry is None else entry


def log_model(
    desk: Desk,
    run: OpenRun,
    new: NewModel,
    watch: Watch,
    *,
    tags: Mapping[str, str],
    quality: Metric | None,
) -> SavedModel:
    """Store a model and make it known to MLflow as a LoggedModel of the run.

    The order leaves no doubt about a model that is not whole: saved on this machine first, then
    made known (PENDING), uploaded, and last finalised (READY). A crash leaves it PENDING, an error
    FAILED; neither counts as stored. The ``MLmodel`` file holds what MLflow's fluent ``log_model``
    writes, so that ``mlflow.<flavor>.load_model("models:/<model_id>")`` works.

    Parameters
    ----------
    run
        Its params are shown beside the model in MLflow, and its ``model_step`` is the model's
        output step, by which it is told from other models of the run.
    quality
        The run's main metric, which is logged for the model too.

    Raises
    ------
    RunError
        Somebody else has ended the run, and may have deleted what was not whole.
    """
    from mlflow.models import Model

    run.check(desk.client, "storing the model")
    with temporary_folder() as folder:
        card = Model(run_id=run.run_id)
        flavor = save_folder(
            new.model,
            folder,
            flavor=new.flavor,
            requirements=desk.requirements,
            mlflow_model=card,
            options=new.options,
        )
        own = () if quality is None else (quality,)
        prepared = Prepared(folder, card, flavor, _MODEL_NAME, run.model_step, tags, own)
        return publish(desk, run, prepared, watch)


@dataclass(frozen=True)
class Prepared:
    """A folder of this machine that is to become a LoggedModel.

    Attributes
    ----------
    card
        What goes into its ``MLmodel`` file, but for what only the LoggedModel tells.
    step
        The output step.
    metrics
        Logged for the model, and so for its run.
    beside
        Logged for the run only.
    check
        Called before it is called READY; raises where it must not be.
    """

    folder: Path
    card: Model
    flavor: str
    name: str
    step: int
    tags: Mapping[str, str]
    metrics: Sequence[Metric] = ()
    beside: Sequence[Metric] = ()
    check: Callable[[], None] | None = None


def publish(desk: Desk, run: OpenRun, prepared: Prepared, watch: Watch) -> SavedModel:
    """Upload a folder as a LoggedModel of the run; see `log_model`."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    client, run_id, folder = desk.client, run.run_id, prepared.folder
    card = prepared.card
    files = {path for path in folder.rglob("*") if path.is_file()} | {folder / "MLmodel"}
    with asking("make the model known", run_id=run_id):
        logged = client.create_logged_model(
            run.experiment_id,
            name=prepared.name,
            source_run_id=run_id,
            tags={**prepared.tags, FILES_TAG: str(len(files))},
            params=dict(run.params),
        )
    model_id, url = str(logged.model_id), str(logged.artifact_location)
    try:
        with asking("link the model to its run", run_id=run_id):
            client.log_outputs(run_id, [LoggedModelOutput(model_id, prepared.step)])
        card.artifact_path = url
        card.model_id = card.model_uuid = model_id
        card.save(str(folder / "MLmodel"))
        with watch.shown("uploading the model") as shown:
            done = desk.files.upload(folder, url, model_id, shown)
        run.check(client, "finalising the model")  # it may have been asleep for days
        if prepared.check is not None:
            prepared.check()
        with asking("finalise the model", run_id=run_id):
            metrics = [_of_model(one, run_id, model_id) for one in prepared.metrics]
            metrics.extend(prepared.beside)
            if metrics:
                client.log_batch(run_id, metrics=metrics)
            client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    except BaseException:
        _mark_failed(client, model_id)
        raise
    if run.directories:
        _tell_uploaded(client, run_id)
    return SavedModel(
        run_id,
        True,
        model_id=model_id,
        url=url,
        flavor=prepared.flavor,
        files=done.files,
        bytes=done.bytes,
        seconds=done.seconds,
    )


def _of_model(metric: Metric, run_id: str, model_id: str) -> Metric:
    from mlflow.entities import Metric

    return Metric(
        metric.key, metric.value, metric.timestamp, metric.step, model_id=model_id, run_id=run_id
    )


def _tell_uploaded(client: MlflowClient, run_id: str) -> None:
    """Say by a metric that the run has a model, which is stored whatever becomes of that."""
    try:
        with asking("tell by a metric that the model is stored", run_id=run_id):
            client.log_metric(run_id, UPLOADED, 1)
    except TrackingError as error:
        logger.warning("run %s has a model, and its metric %s lacks: %s", run_id, UPLOADED, error)


def _mark_failed(client: MlflowClient, model_id: str) -> None:
    from mlflow.entities import LoggedModelStatus

    try:
        client.finalize_logged_model(model_id, LoggedModelStatus.FAILED)
    except Exception:  # noqa: BLE001 - the first error is the one to raise
        logger.warning("model %s stays PENDING: MLflow could not mark it FAILED", model_id)
