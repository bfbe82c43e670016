"""The loop of the system that expmgr replaces, call by call, over a manager of ours.

Written from what its workers call and what they do with the answers; training itself is a number.
"""

from __future__ import annotations

import hashlib
import os
import signal
from typing import TYPE_CHECKING

from pydantic import BaseModel
from trainers import AT_ONCE, classifier

from expmgr import (
    AzureBlobCredentials,
    ExperimentsManagerWithAzureBlobBackend,
    FineTuningIteration,
    MetricsAccumulator,
    MetricValue,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

ACCUMULATORS = [
    MetricsAccumulator("train_loss", calc_mean=True, calc_sliding=True, window_size=2),
    MetricsAccumulator("test_accuracy"),
]


class Params(BaseModel):
    depth: int
    query_lr: float = 0.1
    examples_order: list[int] = [11]

    @property
    def id(self) -> str:
        text = " / ".join(f"{key}: {value}" for key, value in sorted(dict(self).items()))
        return hashlib.sha256(text.encode()).hexdigest()


def manager_of(uri: str, credentials: dict, plugin: str) -> ExperimentsManagerWithAzureBlobBackend:
    return ExperimentsManagerWithAzureBlobBackend(
        uri,
        AzureBlobCredentials(**credentials),
        "test_accuracy",
        plugin,
        ACCUMULATORS,
        retry_config=AT_ONCE,
    )


def quality_of(params: Params) -> float:
    return {1: 0.7, 2: 0.9, 3: 0.8, 4: 0.6}[params.depth]


def one_step(tracker, params: Params, log: list[str]) -> float | None:
    """One parameter set, as the workers try it."""
    is_finished = tracker.set_run(params)
    try:
        start, quality = True, None
        if is_finished:
            quality = tracker.get_quality()
            _, best_quality = tracker.get_best_quality()
            if quality is not None and best_quality is not None:
                start = not (quality < best_quality or tracker.model_is_uploaded())
        log.append(f"{params.depth} {'trained' if start else 'done already'}")
        if start:
            for loss in (0.5, 0.3):
                tracker.save_metric(MetricValue("loss", loss).add_prefix("train"))
            tracker.save_metric(MetricValue("accuracy", quality_of(params)).add_prefix("test"))
            quality = tracker.get_quality()
            tracker.save_model(classifier(params.depth), True)
        tracker.finish_run()
    except Exception:
        tracker.finish_run(as_failed=True)
        raise
    return quality


def search(tracker, iteration: FineTuningIteration, space: Sequence[Params], log: list[str]):
    """A whole iteration, as a worker runs it; returns the best run and where its model lies."""
    if not tracker.has_initial_model():
        tracker.upload_initial_model(classifier(1))
    tracker.set_iteration(iteration)
    best_params: list[Params] = []
    if not tracker.is_initial_run(iteration.run_id):
        started = tracker.get_params_by_run_id(iteration.run_id)
        home = tracker.get_experiment_id(iteration.run_id)
        best = tracker.get_top_params_by_experiment_id(home)
        assert started is not None
        assert best is not None
        best_params = [Params(**params) for params in (started, *best)]
    model = tracker.download_model_by_run_id(iteration.run_id)
    assert model is not None
    for params in best_params or space:
        one_step(tracker, params, log)
    if best_params:
        log.append(tracker.delete_previous_iteration().outcome)
    tracker.finish_iteration()
    tracker.set_iteration(iteration)
    best_run_id, _ = tracker.get_best_current_run_id()
    url = tracker.get_current_model_url()
    tracker.finish_iteration()
    tracker.finish_iteration()
    return best_run_id, url


def killed_search(uri: str, credentials: dict, plugin: str, batch: str, at: str) -> None:
    """What a process does that is killed in its second run, when ``at`` is reached."""
    import expmgr.training.best_only
    import expmgr.training.saving

    tracker = manager_of(uri, credentials, plugin)
    log: list[str] = []

    def die(*_args, **_options) -> None:
        if len(log) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    if at == "uploading":
        upload = expmgr.training.saving.save_folder

        def dies(*args, **options):
            die()
            return upload(*args, **options)

        expmgr.training.saving.save_folder = dies
    else:
        supersede = expmgr.training.saving.supersede

        def dies(*args, **options):
            die()
            return supersede(*args, **options)

        expmgr.training.saving.supersede = dies
    if not tracker.has_initial_model():
        tracker.upload_initial_model(classifier(1))
    iteration = FineTuningIteration(batch, tracker.get_initial_run_id(), plugin)
    search(tracker, iteration, [Params(depth=depth) for depth in (1, 2, 3)], log)
