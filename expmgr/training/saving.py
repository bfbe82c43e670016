"""`save_model` and `upload_initial_model`, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.training.best_only import beats_or_equals, supersede
from expmgr.training.initial_model import begin_initial_run, find_initial_model
from expmgr.training.models import log_model
from expmgr.training.runs import end_run, now_ms
from expmgr.training.saved_model import SavedModel
from expmgr.training.stored import best_model, stored_models
from expmgr.training.tags import BEST_ONLY_TAG

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Metric

    from expmgr.catalog.quality import Goal
    from expmgr.results import DeletionResult
    from expmgr.training.base import TrainingBase
    from expmgr.training.model_files import OnProgress
    from expmgr.training.runs import OpenRun
    from expmgr.training.stored import StoredModel

__all__ = ["save_initial_model", "save_model"]


def save_model(
    manager: TrainingBase,
    run: OpenRun,
    model: object,
    *,
    quality: float | None,
    best_only: bool,
    flavor: str | None,
    options: Mapping[str, Any] | None,
    on_progress: OnProgress | None,
    cancel: threading.Event | None,
) -> SavedModel:
    """Store the model, unless a better one is there; then delete what it supersedes."""
    client, goal = manager.client, manager._goal  # noqa: SLF001 - see below
    files = manager._model_files()  # noqa: SLF001 - the mixin is this module's other half
    best: StoredModel | None = None
    if best_only:
        models = stored_models(client, run.experiment_id, goal)
        best = best_model(client, files, models, goal)
        best_quality = None if best is None else best.quality
        compared = goal.counts(quality)
        if compared is None or not beats_or_equals(goal, compared, best_quality):
            return SavedModel(run.run_id, False, quality=quality, best_quality=best_quality)
    entry = _entry(client, run, goal, quality)
    # What tells the models of one run apart: their output steps (MLflow's fluent API copies the
    # run's values onto every model of the step), so no two have the same.
    run.model_step = max(run.model_step + 1, 0 if entry is None else entry.step)
    logged, done = log_model(
        client,
        files,
        model,
        run_id=run.run_id,
        experiment_id=run.experiment_id,
        flavor=flavor,
        requirements=manager.requirements,
        options=options,
        params=run.params,
        tags={BEST_ONLY_TAG: "true"} if best_only else {},
        quality=entry,
        step=run.model_step,
        on_progress=on_progress,
        cancel=cancel,
    )
    superseded: tuple[DeletionResult, ...] = ()
    if best_only:
        run.best_only = True
        superseded = supersede(
            manager,
            client,
            files,
            run.experiment_id,
            goal,
            run_id=run.run_id,
            previous_best=best,
        )
    return SavedModel(
        run.run_id,
        True,
        model_id=logged.model_id,
        url=logged.artifact_location,
        quality=quality,
        best_quality=None if best is None else best.quality,
        files=done.files,
        bytes=done.bytes,
        seconds=done.seconds,
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


def save_initial_model(
    manager: TrainingBase,
    model: object,
    *,
    flavor: str | None,
    options: Mapping[str, Any] | None,
    on_progress: OnProgress | None,
    cancel: threading.Event | None,
) -> SavedModel:
    """Store the plugin's initial model where it has none."""
    client, plugin_name = manager.client, manager.plugin_name
    files = manager._model_files()  # noqa: SLF001 - see above
    there = find_initial_model(client, files, plugin_name, manager._goal)  # noqa: SLF001 - above
    if there is not None:
        return SavedModel(
            there.run_id,
            False,
            model_id=there.model_id,
            url=there.uri,
            message=f"Not saved: plugin {plugin_name!r} has an initial model, which stays",
        )
    experiment_id, run_id = begin_initial_run(
        client,
        plugin_name,
        manager._store(),  # noqa: SLF001 - see above
        proxied=manager._is_proxied(),  # noqa: SLF001
    )
    try:
        logged, done = log_model(
            client,
            files,
            model,
            run_id=run_id,
            experiment_id=experiment_id,
            flavor=flavor,
            requirements=manager.requirements,
            options=options,
            params={},
            tags={},
            quality=None,
            step=0,
            on_progress=on_progress,
            cancel=cancel,
        )
    except BaseException:
        end_run(client, run_id, failed=True)
        raise
    end_run(client, run_id, failed=False)
    return SavedModel(
        run_id,
        True,
        model_id=logged.model_id,
        url=logged.artifact_location,
        files=done.files,
        bytes=done.bytes,
        seconds=done.seconds,
    )
