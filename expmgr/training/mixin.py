"""`TrainingMixin`: what a training script or notebook cell calls on the manager. It only wires."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from os import PathLike

    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.credentials import AzureBlobCredentials
    from expmgr.metrics import MetricsAccumulator, MetricValue
    from expmgr.retry import RetryConfig
    from expmgr.storage.blob_store import BlobStore
    from expmgr.storage.store import Store
    from expmgr.training.iterations import FineTuningIteration
    from expmgr.training.model_files import ModelFiles, OnProgress
    from expmgr.training.models import StoredModel
    from expmgr.training.retirement import IterationDeletion
    from expmgr.training.runs import OpenRun
    from expmgr.training.saved_model import SavedModel

__all__ = ["TrainingMixin", "TrialRun"]

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


@dataclass
class _Training:
    """Where this manager's training stands."""

    accumulators: Mapping[str, MetricsAccumulator]
    iteration: Experiment | None = None
    run: OpenRun | None = None
    proxied: bool | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)


class TrainingMixin:
    """Iterations, runs, metrics, models and search memory.

    One manager follows one run at a time; parallel trials use a manager each. Nothing here reads
    or sets MLflow's global state.
    """

    client: MlflowClient
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
    blob_store: BlobStore
    _training: _Training

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
        self._training = _Training(own)

    # ------------------------------------------------------------------------------ iterations

    @property
    def current_iteration_id(self) -> str | None:
        """The experiment id of the iteration that is set."""
        iteration = self._training.iteration
        return None if iteration is None else str(iteration.experiment_id)

    @property
    def current_run_id(self) -> str | None:
        """The id of the run that is under way."""
        return None if self._training.run is None else self._training.run.run_id

    def set_iteration(self, iteration: str | FineTuningIteration) -> str:
        """Work on an iteration from now on: an experiment of this plugin, made where there is none.

        An existing one is opened again, so that a restarted search goes on where it was.

        Parameters
        ----------
        iteration
            A name, with or without ``"{plugin_name} / "`` before it, or a `FineTuningIteration`.

        Returns
        -------
        str
            The experiment id.

        Raises
        ------
        InvalidInputError
            It belongs to another plugin or another main metric, is being deleted, or another
            iteration is set.
        LocationError
            Its artifacts are not in the credentials' container.
        """
        from expmgr.training.iterations import iteration_name, open_iteration

        name = iteration_name(iteration, self.plugin_name)
        with self._training.lock:
            current = self._training.iteration
            if current is not None and current.name != name:
                message = f"{current.name!r} is still set; call finish_iteration() first."
                raise InvalidInputError(message)
            experiment = open_iteration(
                self.client,
                name,
                main_metric=self.main_metric,
                is_loss=self.is_loss,
                store=self._store(),
                proxied=self._is_proxied(),
            )
            self._training.iteration = experiment
            return str(experiment.experiment_id)

    def finish_iteration(self, completed: bool = True) -> None:
        """Leave the iteration and mark it finished.

        Parameters
        ----------
        completed
            False leaves it open: it does not count as a finished iteration, and can be set again.

        Raises
        ------
        InvalidInputError
            No iteration is set, or a run is under way.
        """
        from expmgr.training.iterations import FINISHED, mark

        with self._training.lock:
            experiment = self._iteration()
            if self._training.run is not None:
                raise self._run_is_open()
            if completed:
                mark(self.client, experiment, FINISHED)
            self._training.iteration = None

    @contextmanager
    def iteration(self, iteration: str | FineTuningIteration) -> Iterator[str]:
        """Work on an iteration inside a ``with`` block; yields the experiment id.

        The iteration is finished at the end. An exception leaves it open, a run under way is
        marked FAILED, and the exception goes on.
        """
        experiment_id = self.set_iteration(iteration)
        try:
            yield experiment_id
        except BaseException:
            self._abandon()
            raise
        self.finish_iteration()

    def _abandon(self) -> None:
        run = self._training.run
        if run is not None:
            self._fail_run(run)
        self._training.iteration = None

    def get_experiments(self) -> list[Experiment]:
        """Return this plugin's experiments as MLflow holds them, newest first.

        The initial model's is among them, deleted ones are not.
        """
        from expmgr.training.iterations import iter_plugin_experiments

        return list(iter_plugin_experiments(self.client, self.plugin_name))

    def get_last_iteration(self) -> Experiment | None:
        """Return the newest iteration, the current one included; None where there is none."""
        from expmgr.training.iterations import newest

        return next(newest(self.client, self.plugin_name), None)

    def get_previous_iteration(self) -> Experiment | None:
        """Return the newest iteration before the current one; without a current one the newest."""
        from expmgr.training.iterations import newest

        before = self._training.iteration
        return next(newest(self.client, self.plugin_name, before=before), None)

    def get_last_finished_iteration(self) -> Experiment | None:
        """Return the newest finished iteration before the current one."""
        from expmgr.training.iterations import newest

        before = self._training.iteration
        return next(newest(self.client, self.plugin_name, before=before, finished=True), None)

    def delete_previous_iteration(self, force: bool = False) -> IterationDeletion:
        """Delete the previous iteration: its models, then the experiment, whose name is free again.

        Protection is obeyed: while a model of it must stay, the experiment stays too, and the
        result says which and why. Its best model may go where a later iteration stores one at
        least as good. Interrupted halfway, call it again: it finishes that one first.

        Parameters
        ----------
        force
            Pass the protection.

        Returns
        -------
        IterationDeletion
            True where the iteration is gone.
        """
        from expmgr.training.retirement import (
            IterationDeletion,
            delete_iteration,
            iteration_to_delete,
        )

        client = self.client
        found = iteration_to_delete(client, self.plugin_name, self._training.iteration)
        if found is None:
            message = f"plugin {self.plugin_name!r} has no previous iteration."
            return IterationDeletion("not_found", message=message)
        return delete_iteration(self, client, self.plugin_name, found, force=force)

    # ----------------------------------------------------------------------------------- runs

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
                run.experiment_id,
                self.main_metric,
                is_loss=self.is_loss,
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

    # -------------------------------------------------------------------------------- metrics

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

    def _quality_of(self, run_id: str) -> float | None:
        from expmgr.tracking.queries import asking

        with asking(f"read run {run_id}", run_id=run_id):
            value = self.client.get_run(run_id).data.metrics.get(self.main_metric)
        return None if value is None else float(value)

    def get_best_quality(self) -> float | None:
        """Return the best main metric among the iteration's stored models, None without any."""
        best = self._best_of(str(self._iteration().experiment_id))
        return None if best is None else best.quality

    def get_best_current_run_id(self) -> str | None:
        """Return the run that made the iteration's best stored model, None without any."""
        best = self._best_of(str(self._iteration().experiment_id))
        return None if best is None else best.run_id

    # --------------------------------------------------------------------------------- models

    def save_model(
        self,
        model: object,
        best_only: bool = True,
        flavor: str | None = None,
        *,
        save_options: Mapping[str, Any] | None = None,
        on_progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> SavedModel:
        """Store the run's model.

        Parameters
        ----------
        model
            Of any flavour that MLflow has.
        best_only
            Store it only if the run's main metric beats or equals the iteration's best, and then
            delete the models that it supersedes, in that order. Protected ones are kept and
            reported.
        flavor
            ``sklearn``, ``pytorch``, ...; told by the model's class where it is left out.
        save_options
            Handed to the flavour's ``save_model``.
        on_progress
            Called with a `expmgr.storage.transfer.TransferProgress` from worker threads.
        cancel
            Set it to give up the upload.

        Returns
        -------
        SavedModel
            True where the model was stored; says what was superseded, and what was kept of that.

        Raises
        ------
        InvalidInputError
            No run is under way, or the flavour is unknown or cannot save this model.
        NotFoundError
            ``best_only``, and the main metric was not logged.
        StorageError
            The upload failed; nothing was deleted.
        """
        from expmgr.training.saving import save_model

        run = self._run("save_model")
        return save_model(
            self,
            run,
            model,
            quality=self.get_quality() if best_only else self._quality_of(run.run_id),
            best_only=best_only,
            flavor=flavor,
            options=save_options,
            on_progress=on_progress,
            cancel=cancel,
        )

    def model_is_uploaded(self, run_id: str | None = None) -> bool:
        """Whether a run (the one under way by default) has a stored model."""
        return bool(self._models_of(run_id or self._run("model_is_uploaded").run_id))

    def get_current_model_url(self) -> str | None:
        """Return where the newest stored model of the run under way lies, None without any."""
        models = self._models_of(self._run("get_current_model_url").run_id)
        return max(models, key=lambda model: model.created).uri if models else None

    def get_last_model_url(self) -> str | None:
        """Return where the last model lies (see `download_last_model`), None without any."""
        last = self._last_model()
        return None if last is None else last.uri

    def download_model(
        self,
        run_id: str | None = None,
        *,
        experiment_name: str | None = None,
        run_name: str | None = None,
        flavor: str | None = None,
        destination: str | PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> Any:
        """Download a run's model and load it.

        Parameters
        ----------
        run_id
            The run; or name it by
        experiment_name, run_name
            its experiment (the current iteration by default) and its name.
        flavor
            Load it as this flavour; its own by default.
        destination
            A new or empty folder to keep the files in. Otherwise they lie in a temporary folder
            as long as the model lives.
        on_progress, cancel
            As in `save_model`.

        Returns
        -------
        object
            What the flavour's ``load_model`` gives: the model that was saved.

        Raises
        ------
        NotFoundError
            No such run, or it has no stored model.
        InvalidInputError
            Neither or both ways to name the run, or several runs have that name.
        StorageError
            The download failed, or the model cannot be loaded here.
        """
        from expmgr.training.loading import find_run, model_of_run

        client = self.client
        if (run_id is None) == (run_name is None):
            raise InvalidInputError("name the run by run_id, or by run_name: one of them.")
        if run_id is None:
            if experiment_name is None:
                experiment_name = self._iteration().name
            run_id = find_run(client, self.plugin_name, experiment_name, str(run_name))
        source = model_of_run(client, run_id, self.main_metric, is_loss=self.is_loss)
        return self._load(source, flavor, destination, on_progress, cancel)

    def download_best_model(self, **options: Any) -> Any:
        """Download and load the best stored model of the current iteration.

        Parameters
        ----------
        **options
            ``flavor``, ``destination``, ``on_progress``, ``cancel`` of `download_model`.

        Raises
        ------
        NotFoundError
            The iteration has no stored model of known quality.
        """
        experiment = self._iteration()
        best = self._best_of(str(experiment.experiment_id))
        if best is None:
            message = f"the iteration {experiment.name!r} has no stored model with a main metric."
            raise NotFoundError(message)
        return self._load_stored(best, **options)

    def download_last_model(self, **options: Any) -> Any:
        """Download and load the last model: where a new iteration starts from.

        The best stored model of the newest finished iteration before the current one that has
        any; where none has, the initial model.

        Parameters
        ----------
        **options
            As in `download_best_model`.

        Raises
        ------
        NotFoundError
            There is neither.
        """
        last = self._last_model()
        if last is None:
            message = (
                f"plugin {self.plugin_name!r} has no finished iteration with a stored model and "
                "no initial model; upload_initial_model(model) stores one."
            )
            raise NotFoundError(message)
        return self._load_stored(last, **options)

    # -------------------------------------------------------------------------- initial model

    def upload_initial_model(
        self,
        model: object,
        flavor: str | None = None,
        *,
        save_options: Mapping[str, Any] | None = None,
        on_progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> SavedModel:
        """Store the model that every search of this plugin can start from, once.

        Parameters are those of `save_model`. Clean-up never deletes it.

        Returns
        -------
        SavedModel
            Not saved (and so false) where the plugin has an initial model already, which stays.
        """
        from expmgr.training.saving import save_initial_model

        return save_initial_model(
            self,
            model,
            flavor=flavor,
            options=save_options,
            on_progress=on_progress,
            cancel=cancel,
        )

    def has_initial_model(self) -> bool:
        """Whether this plugin's initial model is stored."""
        return self._initial_model() is not None

    def download_initial_model(self, **options: Any) -> Any:
        """Download and load the initial model; options as in `download_best_model`.

        Raises
        ------
        NotFoundError
            There is none.
        """
        initial = self._initial_model()
        if initial is None:
            message = (
                f"plugin {self.plugin_name!r} has no initial model; upload_initial_model(model) "
                "stores one."
            )
            raise NotFoundError(message)
        return self._load_stored(initial, **options)

    def is_initial_run(self, run_id: str) -> bool:
        """Whether a run holds an initial model; NotFoundError where there is no such run."""
        from expmgr.training.initial_model import is_initial_run

        return is_initial_run(self.client, run_id)

    # -------------------------------------------------------------------------- search memory

    def get_top_params(self, n: int | None = None) -> list[dict[str, Any]]:
        """Return the params of the best runs of the newest finished iteration before this one.

        Parameters
        ----------
        n
            How many; `n_top_runs` by default.

        Returns
        -------
        list of dict
            The best first, ties by time, values as they were before they were logged; empty where
            no iteration is finished.
        """
        finished = self.get_last_finished_iteration()
        if finished is None:
            return []
        return self.get_top_params_by_experiment_id(finished.experiment_id, n)

    def get_top_params_by_experiment_id(
        self, experiment_id: str, n: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the params of the best FINISHED runs of an experiment; see `get_top_params`."""
        from expmgr.training.search_memory import top_params

        return top_params(
            self.client,
            str(experiment_id),
            self.main_metric,
            is_loss=self.is_loss,
            n=self.n_top_runs if n is None else n,
        )

    # ---------------------------------------------------------------------------------- parts

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
        from expmgr.training.iterations import is_proxied

        if self._training.proxied is None:
            self._training.proxied = self.artifacts_destination is not None or is_proxied(
                self.client, self.tracking_uri
            )
        return self._training.proxied

    def _model_files(self) -> ModelFiles:
        from expmgr.training.model_files import ModelFiles

        if self.credentials is None:
            return ModelFiles(self.tracking_uri, self.retry_config)
        return ModelFiles(self.tracking_uri, self.retry_config, self.credentials, self.blob_store)

    def _best_of(self, experiment_id: str) -> StoredModel | None:
        from expmgr.training.models import best_model, stored_models

        client = self.client
        models = stored_models(client, experiment_id, self.main_metric)
        return best_model(client, models, is_loss=self.is_loss)

    def _models_of(self, run_id: str) -> list[StoredModel]:
        from expmgr.training.loading import stored_models_of

        return stored_models_of(self.client, run_id, self.main_metric)

    def _initial_model(self) -> StoredModel | None:
        from expmgr.training.initial_model import find_initial_model

        return find_initial_model(self.client, self.plugin_name, self.main_metric)

    def _last_model(self) -> StoredModel | None:
        from expmgr.training.iterations import newest

        before = self._training.iteration
        for finished in newest(self.client, self.plugin_name, before=before, finished=True):
            best = self._best_of(str(finished.experiment_id))
            if best is not None:
                return best
        return self._initial_model()

    def _load_stored(
        self,
        model: StoredModel,
        *,
        flavor: str | None = None,
        destination: str | PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> Any:
        from expmgr.training.loading import ModelSource

        source = ModelSource(model.uri, model.run_id, model.model_id)
        return self._load(source, flavor, destination, on_progress, cancel)

    def _load(self, source: Any, *options: Any) -> Any:
        from expmgr.training.loading import load

        return load(self._model_files(), source, self, *options)


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
