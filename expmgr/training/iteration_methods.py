"""The manager's methods about iterations; each hands on to the module that does the work."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from expmgr.errors import InvalidInputError
from expmgr.training.run_methods import RunMethods

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import Experiment

    from expmgr.training.iterations import FineTuningIteration
    from expmgr.training.retirement import IterationDeletion

__all__ = ["IterationMethods"]


class IterationMethods(RunMethods):
    """Iterations: set, finished, found, deleted."""

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
        from expmgr.training.experiments import open_iteration
        from expmgr.training.iterations import iteration_name

        name = iteration_name(iteration, self.plugin_name)
        with self._training.lock:
            current = self._training.iteration
            if current is not None and current.name != name:
                message = f"{current.name!r} is still set; call finish_iteration() first."
                raise InvalidInputError(message)
            experiment = open_iteration(
                self.client,
                name,
                self.plugin_name,
                self._goal,
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
        from expmgr.training.experiments import mark
        from expmgr.training.iterations import FINISHED
        from expmgr.training.tags import ITERATION_TAG

        with self._training.lock:
            experiment = self._iteration()
            if self._training.run is not None:
                raise self._run_is_open()
            if completed:
                mark(self.client, experiment, {ITERATION_TAG: FINISHED})
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
        return delete_iteration(
            self, client, self._model_files(), self.plugin_name, found, self._goal, force=force
        )
