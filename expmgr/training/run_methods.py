"""The manager's methods about runs and metrics."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError, NotFoundError
from expmgr.training.base import TrainingBase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from expmgr.metrics import MetricValue
    from expmgr.training.runs import OpenRun

__all__ = ["RunMethods", "TrialRun"]

logger = logging.getLogger(__name__)


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


class RunMethods(TrainingBase):
    """Runs: begun, measured, ended."""

    def set_run(self, params: object) -> bool:
        """Begin a run of these params, unless one has finished already.

        Parameters
        ----------
        params
            A dict, a dataclass instance or a pydantic model; see `expmgr.training.params`.

        Returns
        -------
        bool
            True if the iteration has a FINISHED run of exactly this parameter set: skip it, no run
            is begun. A run of theirs that failed or died does not count; a new one is made.

        Raises
        ------
        InvalidInputError
            No iteration is set, a run is under way, or MLflow cannot keep the params whole.
        """
        return self._set_run(params) is not None

    def _set_run(self, params: object) -> str | None:
        from expmgr.training.params import encode_params, plain_params
        from expmgr.training.runs import begin_run, finished_run

        encoded = encode_params(plain_params(params))
        with self._training.lock:
            experiment_id = str(self._iteration().experiment_id)
            if self._training.run is not None:
                raise self._run_is_open()
            client = self.client
            finished = finished_run(client, experiment_id, encoded)
            if finished is None:
                self._clear_accumulators()
                self._training.run = begin_run(client, experiment_id, encoded)
            return finished

    @contextmanager
    def run(self, params: object) -> Iterator[TrialRun]:
        """Run one parameter set inside a ``with`` block.

        An exception marks the run FAILED and goes on.

        Examples
        --------
        >>> for params in search_space:  # doctest: +SKIP
        ...     with manager.run(params) as run:
        ...         if run.already_finished:
        ...             continue
        ...         train(params)
        """
        finished = self._set_run(params)
        if finished is not None:
            yield TrialRun(finished, already_finished=True)
            return
        run = self._run("run")
        try:
            yield TrialRun(run.run_id, already_finished=False)
        except BaseException:
            self._fail_run(run)
            raise
        if self._training.run is run:
            self.finish_run()

    def finish_run(self, as_failed: bool = False) -> None:
        """End the run that is under way.

        Where its best-only model has been superseded meanwhile by a parallel trial, it is deleted.

        Parameters
        ----------
        as_failed
            Mark it FAILED instead of FINISHED.

        Raises
        ------
        InvalidInputError
            No run is under way.
        """
        from expmgr.training.best_only import supersede
        from expmgr.training.runs import end_run

        with self._training.lock:
            run = self._run("finish_run")
            client = self.client
            end_run(client, run.run_id, failed=as_failed)
            self._forget_run()
        if run.best_only and not as_failed:
            supersede(
                self,
                client,
                self._model_files(),
                run.experiment_id,
                self._goal,
                run_id=run.run_id,
                only_run=run.run_id,
            )

    def _fail_run(self, run: OpenRun) -> None:
        """End a run as FAILED while an exception is on its way, which must not be hidden."""
        if self._training.run is not run:
            return
        try:
            self.finish_run(as_failed=True)
        except Exception:
            logger.exception("run %s stays RUNNING: it could not be marked FAILED", run.run_id)
            self._forget_run()

    def _forget_run(self) -> None:
        self._training.run = None
        self._clear_accumulators()

    def _clear_accumulators(self) -> None:
        for accumulator in self.accumulators:
            accumulator.clear()

    def save_metric(
        self, metric: MetricValue | Iterable[MetricValue], step: int | None = None
    ) -> None:
        """Log a metric's value, and its aggregates where it has an accumulator, in one request.

        Parameters
        ----------
        metric
            One value, or several of one step.
        step
            Counted from 0 for each metric unless given.

        Raises
        ------
        InvalidInputError
            No run is under way, or it is no `MetricValue`.
        """
        from expmgr.metrics import MetricValue
        from expmgr.training.runs import log_metrics

        values = [metric] if isinstance(metric, MetricValue) else _values(metric)
        if step is not None and (isinstance(step, bool) or not isinstance(step, int) or step < 0):
            raise InvalidInputError(f"a step is a whole number from 0, not {step!r}.")
        with self._training.lock:
            run = self._run("save_metric")
            log_metrics(self.client, run, values, self._training.accumulators, step)

    def get_quality(self) -> float:
        """Return the main metric of the run under way, as MLflow shows it.

        Raises
        ------
        NotFoundError
            It was not logged yet.
        """
        run = self._run("get_quality")
        quality = self._quality_of(run.run_id)
        if quality is None:
            message = (
                f"run {run.run_id} has no value of the main metric {self.main_metric!r}; log it "
                f"first: save_metric(MetricValue({self.main_metric!r}, ...))."
            )
            raise NotFoundError(message, run_id=run.run_id)
        return quality


def _values(metrics: object) -> Sequence[MetricValue]:
    from expmgr.metrics import MetricValue

    values: list[Any] = list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
    for value in values:
        if not isinstance(value, MetricValue):
            message = f"save_metric takes MetricValue(name, value), not {value!r}."
            raise InvalidInputError(message)
    if not values:
        raise InvalidInputError("save_metric was given no value.")
    return values
