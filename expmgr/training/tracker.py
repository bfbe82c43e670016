"""`Tracker`: what a training script or notebook cell calls on the manager."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError, NotFoundError, RunError
from expmgr.moving_in import is_iteration_of, is_run_id
from expmgr.text import words
from expmgr.tracking.queries import asking
from expmgr.training.best_only import supersede
from expmgr.training.checkpoint_keep import DEFAULT_KEEP
from expmgr.training.checkpoints import Checkpoints, NewCheckpoint, checked
from expmgr.training.experiments import mark, open_iteration
from expmgr.training.initial_model import find_initial_model, is_initial_run, save_initial_model
from expmgr.training.iterations import (
    FINISHED,
    ITERATION_TAG,
    earlier_name,
    iter_plugin_experiments,
    iteration_name,
    newest,
)
from expmgr.training.lease import Pace, keep
from expmgr.training.loading import (
    ModelSource,
    find_run,
    last_model,
    load,
    model_of_run,
    newest_model,
)
from expmgr.training.model_files import Watch
from expmgr.training.retirement import IterationDeletion, delete_iteration, iteration_to_delete
from expmgr.training.runs import (
    TrialRun,
    begin_run,
    end_open_run,
    finished_run,
    log_metrics,
    new_run,
    own_accumulators,
    quality_of,
    top_params,
)
from expmgr.training.saving import NewModel, save_model
from expmgr.training.stored import best_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from os import PathLike

    from mlflow.entities import Experiment

    from expmgr.catalog.policy import Policy
    from expmgr.metrics import MetricsAccumulator, MetricValue
    from expmgr.training.checkpoints import Checkpoint
    from expmgr.training.desk import Desk
    from expmgr.training.iterations import FineTuningIteration
    from expmgr.training.model_files import OnProgress
    from expmgr.training.runs import OpenRun
    from expmgr.training.saving import SavedModel
    from expmgr.training.stored import StoredModel

__all__ = ["Tracker"]

logger = logging.getLogger(__name__)


class Tracker(ABC):
    """Iterations, runs, metrics, models and search memory.

    One tracker follows one run at a time; parallel trials use one each. Nothing here reads or sets
    MLflow's global state.

    Parameters
    ----------
    accumulators
        Metrics of which running aggregates are logged; the tracker keeps its own copies, empty.
    """

    def __init__(self, accumulators: Iterable[MetricsAccumulator] = ()) -> None:
        self.accumulators = own_accumulators(accumulators)
        self._current: Experiment | None = None
        self._run: OpenRun | None = None
        self._done: OpenRun | None = None
        self._training = threading.RLock()
        self._checkpoints = Checkpoints()
        self._pace = Pace()

    @abstractmethod
    def _desk(self) -> Desk:
        """Return what the work needs, as it is set at this moment, with a server that answers."""

    # -------------------------------------------------------------------------------- iterations

    @property
    def current_iteration_id(self) -> str | None:
        """The experiment id of the iteration that is set."""
        return None if self._current is None else str(self._current.experiment_id)

    def set_iteration(self, iteration: str | FineTuningIteration) -> str:
        """Work on an iteration from now on: an experiment of this plugin, made where there is none.

        An existing one is opened again, so that a restarted search goes on where it was.

        Parameters
        ----------
        iteration
            A name, with or without ``"{plugin_name} / "`` before it, or a `FineTuningIteration`,
            which takes the place of an iteration that is still set; that one stays open.

        Returns
        -------
        str
            The experiment id.

        Raises
        ------
        InvalidInputError
            It belongs to another plugin or another main metric, is being deleted, or another
            iteration is set by a name, or has a run under way.
        LocationError
            Its artifacts are not in the credentials' container.
        """
        with self._training:
            desk = self._desk()
            name = iteration_name(iteration, desk.plugin_name)
            earlier = earlier_name(iteration, desk.plugin_name)
            current = self._current
            if current is not None and current.name not in {name, earlier}:
                if isinstance(iteration, str):
                    message = f"{current.name!r} is still set; call finish_iteration() first."
                    raise InvalidInputError(message)
                self._refuse_open_run()
            self._current = open_iteration(desk, name, earlier)
            self._done = None
            return str(self._current.experiment_id)

    def finish_iteration(self, completed: bool = True) -> None:
        """Leave the iteration and mark it finished; without one nothing is left to do.

        Parameters
        ----------
        completed
            False leaves it open: it does not count as a finished iteration, and can be set again.

        Raises
        ------
        InvalidInputError
            A run is under way.
        """
        with self._training:
            self._refuse_open_run()
            if completed and self._current is not None:
                mark(self._desk().client, self._current, {ITERATION_TAG: FINISHED})
            self._current = self._done = None

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
            if self._run is not None:
                self._fail_run(self._run)
            self._current = self._done = None
            raise
        self.finish_iteration()

    def get_experiments(self) -> list[Experiment]:
        """Return this plugin's experiments as MLflow holds them, newest first.

        The initial model's is among them, deleted ones are not.
        """
        desk = self._desk()
        return list(iter_plugin_experiments(desk.client, desk.plugin_name))

    def get_last_iteration(self) -> Experiment | None:
        """Return the newest iteration, the current one included; None where there is none."""
        return self._newest(None)

    def get_previous_iteration(self) -> Experiment | None:
        """Return the newest iteration before the current one; without a current one the newest."""
        return self._newest(self._current)

    def get_last_finished_iteration(self) -> Experiment | None:
        """Return the newest finished iteration before the current one."""
        return self._newest(self._current, finished=True)

    def _newest(self, before: Experiment | None, *, finished: bool = False) -> Experiment | None:
        desk = self._desk()
        return next(newest(desk.client, desk.plugin_name, before=before, finished=finished), None)

    def delete_previous_iteration(self, force: bool = False) -> IterationDeletion:
        """Delete the previous iteration: its models, then the experiment, whose name is free again.

        Protection is obeyed: while a model of it must stay, the experiment stays too, and the
        result says which and why. Its best model may go where a later iteration stores one at
        least as good, which is looked at right before. Interrupted halfway, call it again: it
        finishes that one first. An experiment that may be another plugin's (no tag tells, and the
        name has three parts) is refused; `set_iteration` claims it.

        Parameters
        ----------
        force
            Pass the protection.

        Returns
        -------
        IterationDeletion
            True where the iteration is gone.
        """
        desk = self._desk()
        found = iteration_to_delete(desk, self._current)
        if found is None:
            message = f"plugin {desk.plugin_name!r} has no previous iteration."
            return IterationDeletion("not_found", message=message)
        return delete_iteration(desk, found, force=force)

    def _iteration(self) -> Experiment:
        if self._current is None:
            raise InvalidInputError('no iteration is set; call set_iteration("...") first.')
        return self._current

    # -------------------------------------------------------------------------------------- runs

    @property
    def current_run_id(self) -> str | None:
        """The id of the run that is under way."""
        return None if self._run is None else self._run.run_id

    def set_run(self, params: object) -> bool:
        """Begin a run of these params, unless one has finished already.

        A run that is still under way is finished first.

        Parameters
        ----------
        params
            A dict, a dataclass instance or a pydantic model; see `expmgr.training.params`.

        Returns
        -------
        bool
            True if the iteration has a FINISHED run of exactly this parameter set: skip it, no run
            is begun. Until the next one `get_quality`, `model_is_uploaded` and `finish_run` are
            about that run; who trains all the same (`save_metric`, `save_model`) begins a new one.
            A run of theirs that failed or died does not count; a new one is made.

        Raises
        ------
        InvalidInputError
            No iteration is set, or MLflow cannot keep the params whole.
        """
        with self._training:
            new = new_run(self._iteration(), self._desk().plugin_name, params)
            if self._run is not None:
                self.finish_run()
            finished = self._begin(new)
            self._done = None if finished is None else replace(new, run_id=finished)
            return finished is not None

    def _begin(self, new: OpenRun) -> str | None:
        self._done = None
        client = self._desk().client
        finished = finished_run(client, new.experiment_id, new.params, new.name)
        if finished is None:
            self._start(new)
        return finished

    def _start(self, new: OpenRun) -> None:
        self._clear_accumulators()
        desk = self._desk()
        at = desk.pace.clock()
        self._run = begin_run(desk.client, new, at)
        self._run.lease = keep(self, self._run.run_id, at, desk)

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
        with self._training:
            new = new_run(self._iteration(), self._desk().plugin_name, params)
            self._refuse_open_run()
            finished = self._begin(new)
        if finished is not None:
            yield TrialRun(finished, already_finished=True)
            return
        run = self._open_run("run")
        try:
            yield TrialRun(run.run_id, already_finished=False)
        except BaseException:
            self._fail_run(run)
            raise
        if self._run is run:
            try:
                self.finish_run()
            except BaseException:
                self._fail_run(run)
                raise

    def finish_run(self, as_failed: bool = False) -> None:
        """End the run that is under way, or leave the one that `set_run` found finished.

        Where its best-only model has been superseded meanwhile by a parallel trial, it is deleted.
        A checkpoint on its way is waited for.

        Parameters
        ----------
        as_failed
            Mark it FAILED instead of FINISHED.

        Raises
        ------
        InvalidInputError
            No run is under way.
        StorageError, TrackingError
            Its last checkpoint was not stored, and nobody was told yet. The run is still under way:
            save it again, or call this again, which ends the run without it.
        RunError
            Somebody else has ended it, after a day without a sign of life: it stays as it is.
        """
        if self._run is None and self._done is not None:
            self._forget_run()
            return
        self._open_run("finish_run")
        try:
            if as_failed:
                self._checkpoints.wait()
            else:
                self._checkpoints.settle()
        except KeyboardInterrupt:
            self._checkpoints.give_up()
            if as_failed:
                self._end_run(failed=True)
            raise
        run, desk = self._end_run(failed=as_failed)
        if run.best_only and not as_failed:
            supersede(
                desk,
                run.experiment_id,
                run_id=run.run_id,
                only_run=run.run_id,
                directories=run.directories,
            )

    def _end_run(self, *, failed: bool) -> tuple[OpenRun, Desk]:
        with self._training:
            run = self._open_run("finish_run")
            desk = self._desk()
            try:
                end_open_run(desk.client, run, failed=failed)
            except RunError:
                self._forget_run()
                raise
            self._forget_run()
            return run, desk

    def _fail_run(self, run: OpenRun) -> None:
        """End a run as FAILED while an exception is on its way, which must not be hidden."""
        if self._run is not run:
            return
        try:
            self.finish_run(as_failed=True)
        except Exception:
            logger.exception("run %s stays RUNNING: it could not be marked FAILED", run.run_id)
            self._forget_run()

    def _forget_run(self) -> None:
        if self._run is not None:
            self._run.stop()
        self._run = self._done = None
        self._checkpoints.forget()
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
        if step is not None and (isinstance(step, bool) or not isinstance(step, int) or step < 0):
            raise InvalidInputError(f"a step is a whole number from 0, not {step!r}.")
        with self._training:
            run = self._trained_run("save_metric")
            log_metrics(self._desk().client, run, metric, self.accumulators, step)

    def get_quality(self) -> float:
        """Return the main metric of the run under way (or found finished), as MLflow shows it.

        Raises
        ------
        NotFoundError
            It was not logged yet.
        """
        run = self._done or self._open_run("get_quality")
        desk = self._desk()
        quality = quality_of(desk, run.run_id)
        if quality is None:
            message = (
                f"run {run.run_id} has no value of the main metric {desk.goal.metric!r}; log it "
                f"first: save_metric(MetricValue({desk.goal.metric!r}, ...))."
            )
            raise NotFoundError(message, run_id=run.run_id)
        return quality

    def _open_run(self, what: str) -> OpenRun:
        if self._run is None:
            message = (
                f"{what} needs a run under way; call set_run(params) first (it returned True if "
                "these params had finished already: skip them)."
            )
            raise InvalidInputError(message)
        return self._run

    def _trained_run(self, what: str) -> OpenRun:
        """Return the run under way; who goes on training finished params has a new one begun."""
        with self._training:
            if self._run is None and self._done is not None:
                again, self._done = self._done, None
                self._start(again)
            return self._open_run(what)

    def _refuse_open_run(self) -> None:
        run_id = self.current_run_id
        if run_id is not None:
            message = (
                f"run {run_id} is still under way; call finish_run(), or "
                "finish_run(as_failed=True)."
            )
            raise InvalidInputError(message, run_id=run_id)

    # ------------------------------------------------------------------------------------ models

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
            Called with a `expmgr.storage.transfer.TransferProgress` from worker threads, instead
            of the progress bar that an upload of some seconds shows.
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
        RunError
            Somebody else has ended the run, after a day without a sign of life.
        StorageError
            The upload failed; nothing was deleted.
        """
        run = self._trained_run("save_model")
        desk = self._desk()
        self._checkpoints.wait()  # its metrics may be what this one is compared by
        return save_model(
            desk,
            run,
            NewModel(model, flavor, save_options),
            Watch(on_progress, cancel),
            quality=self.get_quality() if best_only else quality_of(desk, run.run_id),
            best_only=best_only,
        )

    def save_checkpoint(
        self,
        path_or_model: object,
        step: int,
        metrics: Mapping[str, float | None],
        keep: Policy | None = DEFAULT_KEEP,
        *,
        flavor: str | None = None,
        save_options: Mapping[str, Any] | None = None,
        link: bool = False,
        wait: bool = False,
        on_progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> Checkpoint:
        """Store a checkpoint of the run under way, while training goes on.

        It is held still on this machine (a path is copied, a model is serialised) and uploaded by
        a thread, as a LoggedModel with its step and metrics. Once it is whole, those of the run's
        checkpoints that ``keep`` does not keep are deleted; protected ones stay, and the log says
        so. At most one is on its way: the next save, `finish_run` and the end of the process wait
        for it, and the first of the next save and `finish_run` raises its error.

        Parameters
        ----------
        path_or_model
            A file or folder, stored as it is; or a model as in `save_model`.
        step
            A whole number from 0; MLflow shows it as the model's.
        metrics
            Of this checkpoint, by name; None is one that was not measured at this step. They are
            logged for the run, too.
        keep
            What stays of the checkpoints of this run (`expmgr.policies`); None for all. ``best``
            ranks by the main metric in the checkpoint's own metrics; missing or NaN is never best.
        flavor, save_options
            Of a model, as in `save_model`.
        link
            Of a path: link the files in place of copying them, where the disk can. For large files
            that are replaced or deleted, but not written to in place; that is checked afterwards.
        wait
            Return when it is stored; the files are linked then.
        on_progress, cancel
            As in `save_model`.

        Returns
        -------
        Checkpoint
            ``wait()`` returns a `SavedModel` or raises what went wrong; ``done``, ``result`` and
            ``error`` tell without waiting.

        Raises
        ------
        InvalidInputError
            No run is under way, there is no such file, ``keep`` ranks by a metric that is not
            among ``metrics``, or the manager cannot delete what ``keep`` does not keep.
        StorageError, TrackingError
            The checkpoint before was not stored, and nobody was told yet; this one was not begun:
            call again. With ``wait`` this one.
        """
        run = self._trained_run("save_checkpoint")
        desk = self._desk()
        link = link or wait  # nobody writes while the caller waits, and that is checked
        new = checked(
            desk, NewCheckpoint(path_or_model, step, metrics, keep, flavor, save_options, link)
        )
        self._checkpoints.settle()
        watch = Watch(on_progress, cancel)
        return self._checkpoints.save(desk, run, new, watch, wait=wait)

    def model_is_uploaded(self, run_id: str | None = None) -> bool:
        """Whether a run has a stored model; looks where it lies.

        By default the run under way, or the one that `set_run` found finished.
        """
        run_id = run_id or (self._done or self._open_run("model_is_uploaded")).run_id
        return newest_model(self._desk(), run_id) is not None

    def get_current_model_url(self) -> str | None:
        """Return where the newest stored model of the run under way lies, None without any.

        Outside a run that is the iteration's best model.
        """
        run = self._run
        if run is None:
            model = None if self._current is None else self._best()
        else:
            model = newest_model(self._desk(), run.run_id)
        return None if model is None else model.uri

    def get_last_model_url(self) -> str | None:
        """Return where the last model lies (see `download_last_model`), None without any."""
        last = last_model(self._desk(), self._current)
        return None if last is None else last.uri

    def download_model(
        self,
        run_id: str | None = None,
        run_name: str | None = None,
        *,
        experiment_name: str | None = None,
        flavor: str | None = None,
        destination: str | PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> Any:
        """Download a run's model and load it.

        Parameters
        ----------
        run_id
            The run.
        experiment_name, run_name
            In place of its id: its experiment (the current iteration by default) and its name. By
            position these two: ``download_model("texts / batch 7", "trial 3")``.
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
            What the flavour's ``load_model`` gives: the model that was saved. Of a checkpoint that
            was saved as a file or folder, its path. None where the run is named by experiment and
            name, and there is no such run, or no stored model of it.

        Raises
        ------
        NotFoundError
            No such run, or it has no stored model, and it was not named by experiment and name.
        InvalidInputError
            Neither or both ways to name the run, or several runs have that name.
        StorageError
            The download failed, or the model cannot be loaded here.
        """
        desk = self._desk()
        two = run_id is not None and run_name is not None and experiment_name is None
        if two and not is_run_id(str(run_id)):
            run_id, experiment_name = None, run_id  # by position
        if (run_id is None) == (run_name is None):
            raise InvalidInputError("name the run by run_id, or by run_name: one of them.")
        by_name = experiment_name is not None
        try:
            if run_id is None:
                run_id = find_run(desk, experiment_name or self._iteration().name, str(run_name))
            source = model_of_run(desk, run_id)
        except NotFoundError as error:
            if not by_name:
                raise
            logger.warning("%s", words(error))
            return None
        return load(desk.files, source, self, flavor, destination, Watch(on_progress, cancel))

    def download_best_model(self, experiment_id: str | None = None, **options: Any) -> Any:
        """Download and load the best stored model of an iteration.

        A model of a failed run counts only where there is no other.

        Parameters
        ----------
        experiment_id
            The iteration's, or the initial model where it has none; the current one by default.
        **options
            ``flavor``, ``destination``, ``on_progress``, ``cancel`` of `download_model`.

        Raises
        ------
        NotFoundError
            The iteration has no stored model of known quality; there is no such experiment.
        """
        desk = self._desk()
        if experiment_id is None:
            experiment = self._iteration()
        else:
            with asking(f"read experiment {experiment_id}"):
                experiment = desk.client.get_experiment(str(experiment_id))
        best = self._best_in(experiment, at_worst_failed=True)
        if best is None and experiment_id is not None:
            return self.download_initial_model(**options)
        if best is None:
            message = f"the iteration {experiment.name!r} has no stored model with a main metric."
            raise NotFoundError(message)
        return self._load(desk, best, **options)

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
        desk = self._desk()
        last = last_model(desk, self._current)
        if last is None:
            message = (
                f"plugin {desk.plugin_name!r} has no finished iteration with a stored model and "
                "no initial model; upload_initial_model(model) stores one."
            )
            raise NotFoundError(message)
        return self._load(desk, last, **options)

    def get_best_quality(self) -> tuple[str | None, float]:
        """Return the best of the iteration's stored models: its run's id and its main metric.

        The model is looked at where it lies: one whose files are gone does not count. Without any
        it is None and 0.0, which is then no quality.
        """
        best = self._best()
        return (None, 0.0) if best is None else (best.run_id, float(best.quality or 0.0))

    def get_best_current_run_id(self) -> tuple[str | None, bool]:
        """Return the run that made the iteration's best stored model, None without any.

        With it comes whether there is only the initial model: no iteration is set.
        """
        if self._current is None:
            return None, True
        return self.get_best_quality()[0], False

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
        new = NewModel(model, flavor, save_options)
        return save_initial_model(self._desk(), new, Watch(on_progress, cancel))

    def has_initial_model(self) -> bool:
        """Whether this plugin's initial model is stored."""
        return find_initial_model(self._desk()) is not None

    def download_initial_model(self, **options: Any) -> Any:
        """Download and load the initial model; options as in `download_best_model`.

        Raises
        ------
        NotFoundError
            There is none.
        """
        desk = self._desk()
        initial = find_initial_model(desk)
        if initial is None:
            message = (
                f"plugin {desk.plugin_name!r} has no initial model; upload_initial_model(model) "
                "stores one."
            )
            raise NotFoundError(message)
        return self._load(desk, initial, **options)

    def is_initial_run(self, run_id: str) -> bool:
        """Whether a run holds an initial model; False where there is no such run."""
        return is_initial_run(self._desk().client, run_id)

    def get_top_params(self, n: int | None = None) -> list[dict[str, Any]] | None:
        """Return the params of the best runs of the newest finished iteration before this one.

        Parameters
        ----------
        n
            How many; `n_top_runs` by default.

        Returns
        -------
        list of dict, or None
            The best first, ties by time, values as they were before they were logged; None where
            no iteration is finished, or no run of it is with a main metric.
        """
        finished = self.get_last_finished_iteration()
        if finished is None:
            return None
        return top_params(self._desk(), str(finished.experiment_id), n) or None

    def get_top_params_by_experiment_id(
        self, experiment_id: str, n: int | None = None
    ) -> list[dict[str, Any]] | None:
        """Return the params of the best FINISHED runs of an experiment; see `get_top_params`.

        Raises
        ------
        NotFoundError
            No such experiment.
        """
        desk = self._desk()
        with asking(f"read experiment {experiment_id}"):
            desk.client.get_experiment(str(experiment_id))  # a search there would find nothing
        return top_params(desk, str(experiment_id), n) or None

    def _best(self) -> StoredModel | None:
        return self._best_in(self._iteration())

    def _best_in(
        self, experiment: Experiment, *, at_worst_failed: bool = False
    ) -> StoredModel | None:
        desk = self._desk()
        return best_of(
            desk,
            str(experiment.experiment_id),
            at_worst_failed=at_worst_failed,
            directories=is_iteration_of(experiment.name, desk.plugin_name),
        )

    def _load(
        self,
        desk: Desk,
        model: StoredModel,
        *,
        flavor: str | None = None,
        destination: str | PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> Any:
        watch = Watch(on_progress, cancel)
        return load(desk.files, ModelSource.of(model), self, flavor, destination, watch)
