"""Where one manager's training stands, and what all training methods need of the manager."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from expmgr.catalog.quality import Goal
from expmgr.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.credentials import AzureBlobCredentials
    from expmgr.metrics import MetricsAccumulator
    from expmgr.retry import RetryConfig
    from expmgr.storage.protocol import Storage
    from expmgr.storage.store import Store
    from expmgr.training.model_files import ModelFiles
    from expmgr.training.runs import OpenRun
    from expmgr.training.stored import StoredModel

__all__ = ["TrainingBase", "TrainingState"]


@dataclass
class TrainingState:
    """Where this manager's training stands."""

    accumulators: Mapping[str, MetricsAccumulator]
    iteration: Experiment | None = None
    run: OpenRun | None = None
    proxied: bool | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)


class TrainingBase:
    """What the training methods share: the manager's settings, and where its training stands."""

    tracking_uri: str
    main_metric: str
    is_loss: bool
    plugin_name: str
    n_top_runs: int
    requirements: list[str] | None
    accumulators: list[MetricsAccumulator]
    credentials: AzureBlobCredentials | None
    artifacts_destination: str | None
    retry_config: RetryConfig
    _training: TrainingState

    if TYPE_CHECKING:

        @property
        def client(self) -> MlflowClient:
            """The manager's MLflow client."""

        @property
        def blob_store(self) -> Storage:
            """The manager's storage."""

    def _init_training(self) -> None:
        """Start with no iteration and no run, and with accumulators of this manager's own."""
        from expmgr.metrics import MetricsAccumulator

        own: dict[str, MetricsAccumulator] = {}
        for accumulator in self.accumulators:
            if not isinstance(accumulator, MetricsAccumulator):
                message = f"accumulators are MetricsAccumulator objects, not {accumulator!r}."
                raise InvalidInputError(message)
            if accumulator.name in own:
                message = f"there are two accumulators for the metric {accumulator.name!r}."
                raise InvalidInputError(message)
            own[accumulator.name] = accumulator.fresh()
        self.accumulators = list(own.values())
        self._training = TrainingState(own)

    @property
    def current_iteration_id(self) -> str | None:
        """The experiment id of the iteration that is set."""
        iteration = self._training.iteration
        return None if iteration is None else str(iteration.experiment_id)

    @property
    def current_run_id(self) -> str | None:
        """The id of the run that is under way."""
        return None if self._training.run is None else self._training.run.run_id

    @property
    def _goal(self) -> Goal:
        return Goal(self.main_metric, self.is_loss)

    def _quality_of(self, run_id: str) -> float | None:
        from expmgr.tracking.queries import asking

        with asking(f"read run {run_id}", run_id=run_id):
            value = self.client.get_run(run_id).data.metrics.get(self.main_metric)
        return None if value is None else float(value)

    def _iteration(self) -> Experiment:
        if self._training.iteration is None:
            message = 'no iteration is set; call set_iteration("...") first.'
            raise InvalidInputError(message)
        return self._training.iteration

    def _run(self, what: str) -> OpenRun:
        if self._training.run is None:
            message = (
                f"{what} needs a run under way; call set_run(params) first (it returned True if "
                "these params had finished already: skip them)."
            )
            raise InvalidInputError(message)
        return self._training.run

    def _run_is_open(self) -> InvalidInputError:
        run_id = self.current_run_id
        return InvalidInputError(
            f"run {run_id} is still under way; call finish_run(), or finish_run(as_failed=True).",
            run_id=run_id,
        )

    def _store(self) -> Store | None:
        from expmgr.storage.store import Store

        return None if self.credentials is None else Store.of(self.credentials)

    def _is_proxied(self) -> bool:
        from expmgr.training.experiments import is_proxied

        if self._training.proxied is None:
            self._training.proxied = is_proxied(
                self.client, self.tracking_uri, self.artifacts_destination
            )
        return self._training.proxied

    def _model_files(self) -> ModelFiles:
        from expmgr.training.model_files import ModelFiles

        if self.credentials is None:
            return ModelFiles(self.tracking_uri, self.retry_config)
        return ModelFiles(self.tracking_uri, self.retry_config, self.credentials, self.blob_store)

    def _best_of(self, experiment_id: str, *, at_worst_failed: bool = False) -> StoredModel | None:
        from expmgr.training.stored import best_model, stored_models

        client = self.client
        models = stored_models(client, experiment_id, self._goal)
        return best_model(
            client,
            self._model_files(),
            models,
            self._goal,
            at_worst_failed=at_worst_failed,
        )
