"""The manager's methods about models: saved, found, downloaded, and what they learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError, NotFoundError
from expmgr.training.iteration_methods import IterationMethods

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping
    from os import PathLike

    from expmgr.training.model_files import OnProgress
    from expmgr.training.saved_model import SavedModel
    from expmgr.training.stored import StoredModel

__all__ = ["ModelMethods"]


class ModelMethods(IterationMethods):
    """Models of runs, the initial model, and search memory."""

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
        """Whether a run (the one under way by default) has a stored model; looks where it lies."""
        return self._newest_of(run_id or self._run("model_is_uploaded").run_id) is not None

    def get_current_model_url(self) -> str | None:
        """Return where the newest stored model of the run under way lies, None without any."""
        newest = self._newest_of(self._run("get_current_model_url").run_id)
        return None if newest is None else newest.uri

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
        source = model_of_run(client, self._model_files(), run_id, self._goal)
        return self._load(source, flavor, destination, on_progress, cancel)

    def download_best_model(self, **options: Any) -> Any:
        """Download and load the best stored model of the current iteration.

        A model of a failed run counts only where there is no other.

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
        best = self._best_of(str(experiment.experiment_id), at_worst_failed=True)
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

    def get_best_quality(self) -> float | None:
        """Return the best main metric among the iteration's stored models, None without any.

        The model is looked at where it lies: one whose files are gone does not count.
        """
        best = self._best_of(str(self._iteration().experiment_id))
        return None if best is None else best.quality

    def get_best_current_run_id(self) -> str | None:
        """Return the run that made the iteration's best stored model, None without any."""
        best = self._best_of(str(self._iteration().experiment_id))
        return None if best is None else best.run_id

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
        return self._top_params(str(finished.experiment_id), n)

    def get_top_params_by_experiment_id(
        self, experiment_id: str, n: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the params of the best FINISHED runs of an experiment; see `get_top_params`.

        Raises
        ------
        NotFoundError
            No such experiment.
        """
        from expmgr.tracking.queries import asking

        with asking(f"read experiment {experiment_id}"):
            self.client.get_experiment(str(experiment_id))  # a search there would find nothing
        return self._top_params(str(experiment_id), n)

    def _top_params(self, experiment_id: str, n: int | None) -> list[dict[str, Any]]:
        from expmgr.training.search_memory import top_params

        return top_params(
            self.client,
            experiment_id,
            self.main_metric,
            is_loss=self.is_loss,
            n=self.n_top_runs if n is None else n,
        )

    def _newest_of(self, run_id: str) -> StoredModel | None:
        from expmgr.training.loading import stored_models_of
        from expmgr.training.stored import first_in_place

        client = self.client
        models = stored_models_of(client, run_id, self._goal)
        models.sort(key=lambda model: -model.created)
        return first_in_place(client, self._model_files(), models)

    def _initial_model(self) -> StoredModel | None:
        from expmgr.training.initial_model import find_initial_model

        return find_initial_model(self.client, self._model_files(), self.plugin_name, self._goal)

    def _last_model(self) -> StoredModel | None:
        from expmgr.training.iterations import newest

        before = self._training.iteration
        for finished in newest(self.client, self.plugin_name, before=before, finished=True):
            best = self._best_of(str(finished.experiment_id), at_worst_failed=True)
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
