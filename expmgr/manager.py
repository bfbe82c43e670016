"""`ExperimentsManager`: the one object a notebook holds. It wires, it does not compute."""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from expmgr.catalog.quality import Goal
from expmgr.cleanup.survey import Survey
from expmgr.errors import InvalidInputError
from expmgr.moving_in import MovedIn
from expmgr.retry import RetryConfig, RetryParams, is_retryable_error
from expmgr.secrecy import Address, forgets_arguments
from expmgr.tracking.patience import Patience
from expmgr.training.desk import Desk
from expmgr.training.iterations import PLUGIN_TAG, recorded_goal
from expmgr.training.model_files import ModelFiles
from expmgr.training.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.cleanup.following import Following
    from expmgr.cleanup.locate import Finder
    from expmgr.cleanup.survey import Surveyed
    from expmgr.cleanup.tables import RunsAndModels
    from expmgr.credentials import AzureBlobCredentials
    from expmgr.metrics import MetricsAccumulator
    from expmgr.storage.protocol import Storage
    from expmgr.training.killing import KilledRun
    from expmgr.widgets.browser import RunBrowser

__all__ = ["ExperimentsManager"]


def _resolved_registry_uri(registry_uri: str | None, tracking_uri: str) -> str:
    """Return the registry that an MLflow client made now would use, by MLflow's own order.

    A global registry URI can only have been set where mlflow is imported already, so this never
    imports it. Source: ``mlflow.tracking._model_registry.utils._resolve_registry_uri``.
    """
    if registry_uri:
        return registry_uri
    utils = sys.modules.get("mlflow.tracking._model_registry.utils")
    chosen = getattr(utils, "_registry_uri", None) if utils is not None else None
    return chosen or os.environ.get("MLFLOW_REGISTRY_URI") or tracking_uri


def _connect_impatiently(tracking_uri: str, registry_uri: str) -> MlflowClient:
    """Return a client that tries each request once and says nothing: its user comes again."""
    from expmgr.tracking.queries import connect

    once = RetryConfig(tracking=RetryParams(attempts=1))
    return connect(tracking_uri, registry_uri, Patience(once))


class ExperimentsManager(MovedIn, Tracker):
    """Tracks fine-tuning with MLflow and shows its runs.

    Constructing one makes no network call. Two managers in one process do not disturb each other:
    MLflow's global state is neither read nor set later on.

    Parameters
    ----------
    tracking_uri
        MLflow tracking URI (``http://...``, ``sqlite:///...``).
    main_metric
        The metric by which runs are compared.
    plugin_name
        What this manager's experiments are named after: ``"{plugin_name} / ..."``.
    accumulators
        Metrics of which running aggregates are logged.
    is_loss
        True where a smaller main metric is the better one.
    n_top_runs
        How many of the best runs `get_top_params` returns.
    requirements
        pip requirements that saved models declare; None takes the flavour's own defaults.
    retry_config
        How often and how long Azure and the tracking server are tried, by operation.
    registry_uri
        Model registry; None takes the one MLflow would use now, and keeps it.
    artifacts_destination
        Where a server that proxies artifacts (``mlflow-artifacts:``) really keeps them, as its
        ``--artifacts-destination`` says.

    Raises
    ------
    ValueError
        An empty tracking URI, main metric or plugin name, or ``n_top_runs`` below 1
        (`expmgr.errors.InvalidInputError`).
    """

    credentials: AzureBlobCredentials | None = None

    @forgets_arguments
    def __init__(
        self,
        tracking_uri: str,
        main_metric: str,
        plugin_name: str,
        accumulators: Sequence[MetricsAccumulator] = (),
        is_loss: bool = False,
        n_top_runs: int = 10,
        requirements: Sequence[str] | None = None,
        retry_config: RetryConfig | None = None,
        registry_uri: str | None = None,
        artifacts_destination: str | None = None,
    ) -> None:
        for name, value, example in (
            ("tracking_uri", tracking_uri, "http://127.0.0.1:5000"),
            ("main_metric", main_metric, "accuracy"),
            ("plugin_name", plugin_name, "my plugin"),
        ):
            if not isinstance(value, str) or not value.strip():
                given = "an empty one" if isinstance(value, str) else type(value).__name__
                message = f"{name} must be a non-empty string such as {example!r}, not {given}."
                raise InvalidInputError(message)
        if isinstance(n_top_runs, bool) or not isinstance(n_top_runs, int) or n_top_runs < 1:
            message = "n_top_runs must be a whole number of at least 1."
            raise InvalidInputError(message)
        super().__init__(accumulators)
        self.tracking_uri: str = Address(tracking_uri)
        self.registry_uri: str = Address(_resolved_registry_uri(registry_uri, tracking_uri))
        self.main_metric = main_metric
        self.plugin_name = plugin_name
        self.is_loss = bool(is_loss)
        self.n_top_runs = n_top_runs
        self.requirements = list(requirements) if requirements is not None else None
        self.retry_config = retry_config or RetryConfig()
        self.artifacts_destination = artifacts_destination and Address(artifacts_destination)
        self._lock = threading.Lock()
        self._client: MlflowClient | None = None
        self._interactive: MlflowClient | None = None
        self._patience = Patience(self.retry_config)
        self._survey = Survey(self.is_own, self.goals_of)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(tracking_uri={self.tracking_uri!r}, "
            f"main_metric={self.main_metric!r}, plugin_name={self.plugin_name!r})"
        )

    @property
    def client(self) -> MlflowClient:
        """The MLflow client, bound to this manager's tracking server and registry.

        It is as patient as MLflow (four minutes a request, unless its environment variables say
        otherwise): training works with it, which must not die of a gateway's bad moment.

        Raises
        ------
        TrackingUnreachableError
            Nothing answers at the tracking URI (checked within seconds, on the first use).
        """
        from expmgr.tracking.queries import connect

        with self._lock:
            if self._client is None:
                self._client = connect(self.tracking_uri, self.registry_uri)
            return self._client

    @property
    def interactive_client(self) -> MlflowClient:
        """The client for what a person waits for: tables, plans, deletions, the browser.

        Where the server fails it logs why within seconds, and gives up after
        ``retry_config.tracking``. The same as `client` where nothing goes over HTTP.

        Raises
        ------
        TrackingUnreachableError
            Nothing answers at the tracking URI (checked within seconds, on every use).
        """
        from expmgr.tracking.queries import connect, ensure_reachable

        if not any(uri.startswith("http") for uri in (self.tracking_uri, self.registry_uri)):
            return self.client
        ensure_reachable(self.tracking_uri)
        with self._lock:
            if self._interactive is None:
                self._interactive = connect(self.tracking_uri, self.registry_uri, self._patience)
            return self._interactive

    @property
    def tracking_trouble(self) -> str:
        """What fails between `interactive_client` and its server at this moment, else ""."""
        return self._patience.trouble

    @property
    def blob_store(self) -> Storage:
        """Where models lie, as the credentials reach it."""
        message = (
            f"{type(self).__name__} has no Azure credentials; use "
            "ExperimentsManagerWithAzureBlobBackend."
        )
        raise InvalidInputError(message)

    @property
    def experiment_prefix(self) -> str:
        """What the names of this manager's experiments begin with."""
        return f"{self.plugin_name} / "

    def is_retryable_error(self, error: BaseException) -> bool:
        """Whether Azure answered with a server error (HttpResponseError, status 500..599)."""
        return is_retryable_error(error)

    def goals_of(self, experiment: Experiment) -> tuple[Goal, ...]:
        """Return what "best" means in an experiment, the manager's own goal first.

        For this manager's own experiments its main metric and direction, and for any experiment
        what its tags ``expmgr.main_metric`` and ``expmgr.is_loss`` record: where the two differ,
        the best by either stays. Empty where nothing is called best.
        """
        own = Goal(self.main_metric, self.is_loss) if self.is_own(experiment) else None
        return tuple(dict.fromkeys(filter(None, (own, recorded_goal(experiment)))))

    def is_own(self, experiment: Experiment) -> bool:
        """Whether an experiment is this plugin's: by its tag ``expmgr.plugin``, else by its name.

        A name alone does not tell plugin ``x`` from plugin ``x / y``.
        """
        plugin = experiment.tags.get(PLUGIN_TAG)
        if plugin is not None:
            return bool(plugin == self.plugin_name)
        return str(experiment.name).startswith(self.experiment_prefix)

    def runs(
        self,
        experiments: str | Iterable[str] | None = None,
        filter_string: str = "",
        models_only: bool = False,
        *,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Return runs as a table, newest first.

        Parameters
        ----------
        experiments
            None for this plugin's experiments, a name, an id, a list of either, or "all".
        filter_string
            MLflow's search syntax, such as ``metrics.accuracy > 0.9``.
        models_only
            Only runs that have a model to delete.
        limit
            Only that many of the newest runs, from one small query. What needs all runs
            (``is_best``) or the whole registry is left for a call without a limit.

        Returns
        -------
        pandas.DataFrame
            One row a run: MLflow's columns and ``run_name``, ``experiment_name``,
            ``parent_run_id``, ``model``, ``files``, ``bytes`` (missing until measured),
            ``is_best``, ``protected_by``, ``goes`` (UTC: when the first of its marked models is
            to go; missing without a mark).

        Raises
        ------
        NotFoundError
            No such experiment.
        FilterError
            The server refused the filter.
        TrackingError
            The server could not be asked.
        """
        from expmgr.catalog.states import MODEL_STATES
        from expmgr.cleanup.tables import runs_table
        from expmgr.collector import loading

        with loading():
            table = runs_table(self._read(experiments, filter_string, limit=limit))
        if models_only:
            table = table[table["model"].isin(MODEL_STATES)].reset_index(drop=True)
        return table

    def models(
        self, experiments: str | Iterable[str] | None = None, filter_string: str = ""
    ) -> pd.DataFrame:
        """Return models as a table, newest first: those of runs, and those that have no run.

        Parameters
        ----------
        experiments, filter_string
            As in `runs`; with a filter only the models of runs that match it.

        Returns
        -------
        pandas.DataFrame
            One row a model: ``model_id`` (``m-...``, ``<run_id>/<path>`` or ``<run_id>``),
            ``name``, ``kind`` (``logged``, ``directory``, ``raw``), ``run_id`` and ``run_name`` of
            the run that made it, ``experiment_id``, ``experiment_name``, ``status`` (READY,
            PENDING, FAILED), ``step``, ``created``, ``quality`` (its own value of the main metric,
            else its run's), ``model`` (the state), ``files``, ``bytes`` (missing until measured),
            ``is_best``, ``protected_by``, ``alone`` (whether it may go by its own id, or with its
            run only), ``goes`` (UTC: when it is marked to go), and ``metrics.*``, its newest own
            values.

        Raises
        ------
        NotFoundError, FilterError, TrackingError
            As in `runs`.
        """
        from expmgr.cleanup.tables import models_table
        from expmgr.collector import loading

        with loading():
            return models_table(self._read(experiments, filter_string), filter_string)

    def runs_and_models(
        self,
        experiments: str | Iterable[str] | None = None,
        filter_string: str = "",
        *,
        limit: int | None = None,
    ) -> RunsAndModels:
        """Return the tables of `runs` and `models` from one reading: what `runs` alone costs.

        Parameters
        ----------
        experiments, filter_string
            As in `runs`.
        limit
            As in `runs`; the models are those of the runs shown, of which nothing is compared:
            ``quality`` is missing and ``is_best`` False.

        Returns
        -------
        RunsAndModels
            ``runs`` and ``models``, two DataFrames that agree with each other.

        Raises
        ------
        NotFoundError, FilterError, TrackingError
            As in `runs`.
        """
        from expmgr.cleanup.tables import RunsAndModels, models_table, runs_table
        from expmgr.collector import loading

        with loading():
            surveyed = self._read(experiments, filter_string, limit=limit)
            return RunsAndModels(runs_table(surveyed), models_table(surveyed, filter_string))

    def _read(
        self,
        experiments: str | Iterable[str] | None,
        filter_string: str,
        *,
        limit: int | None = None,
    ) -> Surveyed:
        client, every, finder = self._ask()
        return self._survey.read(client, finder, every, experiments, filter_string, limit=limit)

    def _ask(self) -> tuple[MlflowClient, list[Experiment], Finder]:
        """Return whom a reading asks, all experiments, and what tells where models lie."""
        from expmgr.tracking.queries import iter_experiments

        client = self.interactive_client
        every = list(iter_experiments(client, deleted=True))
        return client, every, self._finder(every)

    def follow(self, experiments: str | Iterable[str] | None = None) -> Following:
        """Return what keeps the tables of `runs_and_models` up to date; it asks for nothing yet.

        Its ``read()`` reads everything, as `runs_and_models` does; each ``refresh()`` from then on
        only what changed, by a handful of requests however many runs there are
        (`expmgr.cleanup.following.Following` tells what it promises to show). Both return the two
        tables; ``read_at`` is when everything was read last.

        Parameters
        ----------
        experiments
            As in `runs`.
        """
        from expmgr.cleanup.following import Following

        several = experiments is not None and not isinstance(experiments, str)
        return Following(
            self._survey, self._ask, list(experiments or ()) if several else experiments
        )

    def _finder(self, experiments: Iterable[Experiment]) -> Finder:
        """Return what tells where models lie: nowhere, for a manager without a container."""
        from expmgr.cleanup.locate import nowhere

        del experiments
        return nowhere()

    def _desk(self) -> Desk:
        """Return what training works with, read now: a setting may be changed between two calls."""
        own_way = () if self.credentials is None else (self.credentials, self.blob_store)
        deletes: Any = self if hasattr(self, "delete_model") else None
        return Desk(
            self.client,
            ModelFiles(self.tracking_uri, self.retry_config, *own_way),
            Goal(self.main_metric, self.is_loss),
            self.plugin_name,
            self.n_top_runs,
            self.requirements,
            self.artifacts_destination,
            deletes,
            partial(_connect_impatiently, self.tracking_uri, self.registry_uri),
            self._pace,
        )

    def pin(self, id: str, reason: str) -> None:  # noqa: A002 - the id of a run or a model
        """Keep a run's models, or one model, until somebody takes the pin back.

        Parameters
        ----------
        id
            A run id, for all models of the run and those that it names; or a model's (``m-...``).
        reason
            Why, in words; everybody sees it (tag ``expmgr.keep``).

        Raises
        ------
        InvalidInputError
            The reason is no words.
        NotFoundError, TrackingError
            There is no such run or model, or it takes no tags.
        """
        from expmgr.tracking.pins import pin

        pin(self.interactive_client, id, reason)
        self._survey.memory.touch([id])

    def unpin(self, id: str) -> bool:  # noqa: A002 - as above
        """Take a pin back; returns whether there was one.

        Raises
        ------
        NotFoundError, TrackingError
            There is no such run or model, or it takes no tags.
        """
        from expmgr.tracking.pins import unpin

        taken_back = unpin(self.interactive_client, id)
        self._survey.memory.touch([id])
        return taken_back

    def mark_killed(self, run_id: str, force: bool = False) -> KilledRun:
        """End a run as KILLED whose process has died: past 24 h without a sign of life.

        Runs that expmgr began say every ten minutes that they live (tag ``expmgr.lease``); after a
        day without that they are called interrupted, and stay protected until they are ended. Of a
        run so ended the models go that were still PENDING, which nobody ever had whole; what else
        it stored stays. A manager without Azure credentials deletes nothing.

        Parameters
        ----------
        run_id
            The run.
        force
            End a run without a lease, which others began, too; then nothing goes.

        Returns
        -------
        KilledRun
            True where this call has ended it; one that had ended before is no error.

        Raises
        ------
        RunError
            It gave a sign of life within the day, has no lease, or lies in the trash.
        NotFoundError, TrackingError
            There is no such run, or MLflow could not be asked.
        """
        from expmgr.training.killing import Leftovers, mark_killed

        deleter: Any = self if hasattr(self, "delete_model") else None
        leftovers = None if deleter is None else Leftovers(deleter, self.blob_store)
        killed = mark_killed(self.interactive_client, run_id, leftovers, force=force)
        self._survey.memory.touch([run_id])
        return killed

    def browse(
        self,
        experiments: str | Iterable[str] | None = None,
        filter_string: str = "",
        **options: Any,
    ) -> RunBrowser:
        """Return the run browser, which displays itself in a notebook.

        Parameters
        ----------
        experiments, filter_string
            As in `runs`.
        **options
            Of `expmgr.widgets.RunBrowser` (``page_size``, ``read_only``).
        """
        from expmgr.widgets.browser import RunBrowser

        return RunBrowser(self, experiments, filter_string, **options)
