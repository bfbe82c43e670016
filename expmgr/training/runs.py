"""Runs of an iteration: one parameter set each, begun, measured, ended and learned from."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from expmgr.catalog.lease import LEASE_TAG, lease_text
from expmgr.errors import InvalidInputError
from expmgr.metrics import MetricsAccumulator, MetricValue
from expmgr.moving_in import FIELDS, is_iteration_of, run_name_of
from expmgr.tracking.queries import asking, quoted
from expmgr.tracking.user import user_tags
from expmgr.training.params import decode_params, encode_params, fingerprint, plain_params

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Metric, Run

    from expmgr.training.desk import Desk
    from expmgr.training.lease import Lease

__all__ = [
    "OpenRun",
    "TrialRun",
    "begin_run",
    "end_open_run",
    "end_run",
    "finished_run",
    "log_metrics",
    "new_run",
    "now_ms",
    "own_accumulators",
    "params_of",
    "quality_of",
    "top_params",
]

PARAMS_TAG = "expmgr.params"
"""On a run: what identifies its parameter set (`expmgr.training.params.fingerprint`)."""

_PARAMS_PER_REQUEST = 100
"""``mlflow.utils.validation.MAX_PARAMS_TAGS_PER_BATCH``"""


@dataclass(frozen=True)
class TrialRun:
    """What ``with manager.run(params)`` hands over.

    Attributes
    ----------
    run_id
        The run under way, or the one that had finished before.
    already_finished
        True where a run of these params had finished; nothing is under way then, and the body is
        left with ``continue`` or ``return``.
    """

    run_id: str
    already_finished: bool


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
    name
        What it is called, "" for a name of MLflow's.
    steps
        The next step of each metric.
    last
        The last value logged of each metric.
    best_only
        Whether a model was saved to be kept only while it is the best.
    directories
        Whether models of MLflow 2 compete with its own, and a metric tells that it has one.
    model_step
        The output step of the model that was saved last, -1 before the first.
    lease
        What says that this process lives; None before it is renewed.
    """

    run_id: str
    experiment_id: str
    params: Mapping[str, str]
    name: str = ""
    steps: dict[str, int] = field(default_factory=dict)
    last: dict[str, Metric] = field(default_factory=dict)
    best_only: bool = False
    directories: bool = False
    model_step: int = -1
    lease: Lease | None = None

    def check(self, client: MlflowClient, what: str) -> None:
        """Raise RunError where somebody else has ended the run; see `Lease.check`."""
        if self.lease is not None:
            self.lease.check(client, what)

    def stop(self) -> None:
        """Renew its lease no more."""
        if self.lease is not None:
            self.lease.stop()


def finished_run(
    client: MlflowClient, experiment_id: str, params: Mapping[str, str], name: str = ""
) -> str | None:
    """Return the id of a FINISHED run of the experiment with exactly these params, or None.

    One request for at most one run, by the tag that identifies the parameter set; with a ``name``
    that identifies it too a second one, for a run of that name.
    """
    wanted = [f"tags.{quoted(PARAMS_TAG)} = '{fingerprint(params)}'"]
    if name:
        wanted.append(f"attributes.run_name = '{name}'")
    for condition in wanted:
        with asking("look for a finished run of these params"):
            found = client.search_runs(
                [experiment_id], f"{condition} AND attributes.status = 'FINISHED'", max_results=1
            )
        if found:
            return str(found[0].info.run_id)
    return None


def new_run(experiment: Experiment, plugin_name: str, params: object) -> OpenRun:
    """Return a run of an iteration that is not begun, so without an id. Pure.

    Raises
    ------
    InvalidInputError
        MLflow cannot keep the params whole.
    """
    encoded = encode_params(plain_params(params))
    named = is_iteration_of(experiment.name, plugin_name)
    name = run_name_of(params) if named else ""
    return OpenRun("", str(experiment.experiment_id), encoded, name, directories=named)


def begin_run(client: MlflowClient, new: OpenRun, at: int) -> OpenRun:
    """Make a run that begins now and log its params.

    Parameters
    ----------
    new
        What it is of; its id is not known yet.
    at
        Now, in milliseconds since 1970: when it begins, and its first sign of life.
    """
    from mlflow.entities import Param

    with asking("make a run"):
        tags = {PARAMS_TAG: fingerprint(new.params), LEASE_TAG: lease_text(at), **user_tags()}
        run = client.create_run(
            new.experiment_id, start_time=at, tags=tags, run_name=new.name or None
        )
    run_id = str(run.info.run_id)
    entries = [Param(name, value) for name, value in new.params.items()]
    try:
        with asking("log the params", run_id=run_id):
            for first in range(0, len(entries), _PARAMS_PER_REQUEST):
                client.log_batch(run_id, params=entries[first : first + _PARAMS_PER_REQUEST])
    except BaseException:
        end_run(client, run_id, failed=True)
        raise
    return replace(new, run_id=run_id)


def end_run(client: MlflowClient, run_id: str, *, failed: bool) -> None:
    """Set the run's status and end time."""
    with asking(f"end run {run_id}", run_id=run_id):
        client.set_terminated(run_id, "FAILED" if failed else "FINISHED")


def end_open_run(client: MlflowClient, run: OpenRun, *, failed: bool) -> None:
    """End the run that is under way, unless somebody else has.

    Raises
    ------
    RunError
        Somebody else has, otherwise than it was to end; FAILED and KILLED come to the same.
    """
    if run.lease is None:
        end_run(client, run.run_id, failed=failed)
        return
    ended = run.lease.ended_by_others(client)
    if not ended:
        with run.lease.ending():
            end_run(client, run.run_id, failed=failed)
    elif not failed and ended != "FINISHED":
        run.check(client, "finish_run()")


def own_accumulators(given: Iterable[MetricsAccumulator]) -> list[MetricsAccumulator]:
    """Return empty accumulators like those given, of which no two are for one metric."""
    own: dict[str, MetricsAccumulator] = {}
    for accumulator in given:
        if not isinstance(accumulator, MetricsAccumulator):
            message = f"accumulators are MetricsAccumulator objects, not {accumulator!r}."
            raise InvalidInputError(message)
        if accumulator.name in own:
            message = f"there are two accumulators for the metric {accumulator.name!r}."
            raise InvalidInputError(message)
        own[accumulator.name] = accumulator.fresh()
    return list(own.values())


def log_metrics(
    client: MlflowClient,
    run: OpenRun,
    metric: MetricValue | Iterable[MetricValue],
    own: Iterable[MetricsAccumulator],
    step: int | None = None,
) -> None:
    """Log values with their aggregates, all in one request.

    Where the request fails nothing has changed: the same values can be logged again.

    Parameters
    ----------
    step
        The step of all of them; None counts each metric's values from 0.

    Raises
    ------
    InvalidInputError
        It is no `MetricValue`, or there is none.
    """
    from mlflow.entities import Metric

    values = _values(metric)
    accumulators = {accumulator.name: accumulator for accumulator in own}
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
            accumulators[value.name].accumulate(value)[1:] if value.name in accumulators else []
        )
        entries.append(Metric(value.name, value.loggable, at, own_step))
        entries.extend(Metric(name, number, at, own_step) for name, number in aggregates)
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


def _values(metrics: object) -> list[MetricValue]:
    values: list[Any] = list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
    for value in values:
        if not isinstance(value, MetricValue):
            message = f"save_metric takes MetricValue(name, value), not {value!r}."
            raise InvalidInputError(message)
    if not values:
        raise InvalidInputError("save_metric was given no value.")
    return values


def quality_of(desk: Desk, run_id: str) -> float | None:
    """Return a run's last value of the main metric as MLflow shows it, None before the first."""
    with asking(f"read run {run_id}", run_id=run_id):
        value = desk.client.get_run(run_id).data.metrics.get(desk.goal.metric)
    return None if value is None else float(value)


def params_of(run: Run) -> dict[str, Any]:
    """Return a run's params as the values they were.

    Those of its iteration, which another system logged among them, are left out.
    """
    others = () if PARAMS_TAG in run.data.tags else FIELDS
    params = decode_params(run.data.params)
    if not set(others) <= params.keys():
        return params
    return {name: value for name, value in params.items() if name not in others}


def top_params(desk: Desk, experiment_id: str, n: int | None = None) -> list[dict[str, Any]]:
    """Return the params of the best FINISHED runs, the best first, as the values they were.

    One request for at most ``n`` runs (`Desk.n_top_runs` without it), sorted by the server (which
    puts NaN and missing values last); of equal quality the earlier run comes first.

    Raises
    ------
    InvalidInputError
        ``n`` is below 1.
    """
    n = desk.n_top_runs if n is None else n
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InvalidInputError(f"the number of top runs is a whole number from 1, not {n!r}.")
    order = "ASC" if desk.goal.is_loss else "DESC"
    with asking(f"read the best runs of experiment {experiment_id}"):
        runs = desk.client.search_runs(
            [experiment_id],
            "attributes.status = 'FINISHED'",
            order_by=[f"metrics.{quoted(desk.goal.metric)} {order}", "attributes.start_time ASC"],
            max_results=n,
        )
    return [
        params_of(run)
        for run in runs
        if math.isfinite(run.data.metrics.get(desk.goal.metric, math.nan))
    ]
