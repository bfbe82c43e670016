"""Runs of an iteration: one parameter set each, begun, measured and ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from expmgr.tracking.queries import asking, quoted
from expmgr.training.params import fingerprint
from expmgr.training.tags import PARAMS_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Metric

    from expmgr.metrics import MetricsAccumulator, MetricValue

__all__ = ["OpenRun", "begin_run", "end_run", "finished_run", "log_metrics", "now_ms"]

_PARAMS_PER_REQUEST = 100
"""``mlflow.utils.validation.MAX_PARAMS_TAGS_PER_BATCH``"""


def now_ms() -> int:
    """Return the time in milliseconds since 1970, as MLflow counts it."""
    return int(time.time() * 1000)


@dataclass
class OpenRun:
    """The run that is under way.

    Attributes
    ----------
    params
        As they were logged.
    steps
        The next step of each metric.
    last
        The last value logged of each metric.
    best_only
        Whether a model was saved to be kept only while it is the best.
    model_step
        The output step of the model that was saved last, -1 before the first.
    """

    run_id: str
    experiment_id: str
    params: Mapping[str, str]
    steps: dict[str, int] = field(default_factory=dict)
    last: dict[str, Metric] = field(default_factory=dict)
    best_only: bool = False
    model_step: int = -1


def finished_run(client: MlflowClient, experiment_id: str, params: Mapping[str, str]) -> str | None:
    """Return the id of a FINISHED run of the experiment with exactly these params, or None.

    One request for at most one run, by the tag that identifies the parameter set.
    """
    wanted = (
        f"tags.{quoted(PARAMS_TAG)} = '{fingerprint(params)}' AND attributes.status = 'FINISHED'"
    )
    with asking("look for a finished run of these params"):
        found = client.search_runs([experiment_id], wanted, max_results=1)
    return str(found[0].info.run_id) if found else None


def begin_run(client: MlflowClient, experiment_id: str, params: Mapping[str, str]) -> OpenRun:
    """Make a run and log its params."""
    from mlflow.entities import Param

    with asking("make a run"):
        run = client.create_run(experiment_id, tags={PARAMS_TAG: fingerprint(params)})
    run_id = str(run.info.run_id)
    entries = [Param(name, value) for name, value in params.items()]
    try:
        with asking("log the params", run_id=run_id):
            for at in range(0, len(entries), _PARAMS_PER_REQUEST):
                client.log_batch(run_id, params=entries[at : at + _PARAMS_PER_REQUEST])
    except BaseException:
        end_run(client, run_id, failed=True)
        raise
    return OpenRun(run_id, experiment_id, dict(params))


def end_run(client: MlflowClient, run_id: str, *, failed: bool) -> None:
    """Set the run's status and end time."""
    with asking(f"end run {run_id}", run_id=run_id):
        client.set_terminated(run_id, "FAILED" if failed else "FINISHED")


def log_metrics(
    client: MlflowClient,
    run: OpenRun,
    values: Sequence[MetricValue],
    accumulators: Mapping[str, MetricsAccumulator],
    step: int | None = None,
) -> None:
    """Log values with their aggregates, all in one request.

    Where the request fails nothing has changed: the same values can be logged again.

    Parameters
    ----------
    step
        The step of all of them; None counts each metric's values from 0.
    """
    from mlflow.entities import Metric

    at = now_ms()
    entries: list[Metric] = []
    steps = dict(run.steps)
    undo = [
        accumulators[name].remember()
        for name in dict.fromkeys(value.name for value in values)
        if name in accumulators
    ]
    for value in values:
        own_step = steps.get(value.name, 0) if step is None else step
        aggregates = (
            accumulators[value.name].accumulate(value) if value.name in accumulators else []
        )
        entries.append(Metric(value.name, value.loggable, at, own_step))
        entries.extend(Metric(entry.name, entry.value, at, own_step) for entry in aggregates)
        steps[value.name] = own_step + 1
    try:
        with asking(f"log metrics of run {run.run_id}", run_id=run.run_id):
            client.log_batch(run.run_id, metrics=entries)
    except BaseException:
        for go_back in undo:
            go_back()
        raise
    run.steps.update(steps)
    run.last.update((entry.key, entry) for entry in entries)
