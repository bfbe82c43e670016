"""The names of the system that expmgr replaces: in its data, and in the code that called it.

Who never used EulerSearch's embedding_studio can skip this file; nothing else knows these names.
What each stands for in expmgr, and which to prefer, says ``docs/moving_in.md``. The facts are those
of its public source (``embedding_studio/experiments/``, 2025-04-25).
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from expmgr.errors import ExpmgrError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    from mlflow.entities import Experiment
    from typing_extensions import Self

    from expmgr.metrics import MetricsAccumulator
    from expmgr.training.iterations import FineTuningIteration
    from expmgr.training.tracker import Tracker as _Tracker
else:
    _Tracker = object

__all__ = [
    "FIELDS",
    "INITIAL_RUN",
    "MODEL_PATH",
    "OPERATIONS",
    "UPLOADED",
    "MovedIn",
    "initial_home",
    "initial_homes",
    "is_aside",
    "is_initial_home",
    "is_iteration_of",
    "is_run_id",
    "iteration_text",
    "metrics_after_deletion",
    "metrics_after_restoration",
    "names_its_iteration",
    "parsed_iteration",
    "retry_params",
    "run_name_of",
]

logger = logging.getLogger(__name__)

_SEPARATOR = " / "
_WORD = "iteration"
_INITIAL = "initial"
_ARCHIVED = "_archive"

INITIAL_RUN = "initial_model"
"""The name of the initial model's run."""

MODEL_PATH = "model"
"""Where below a run's artifacts its model lies, which MLflow 2 recorded."""

UPLOADED = "model_uploaded"
"""A metric of a run: 1 while it has a stored model, by which its models are found."""
_DELETED = "model_deleted"

FIELDS = ("batch_id", "run_id", "plugin_name")
"""Of an iteration; each of its runs has them among its params."""

# ------------------------------------------------------------------------------- names in the data


def iteration_text(batch_id: str, run_id: str, plugin_name: str) -> str:
    """Return the name of an iteration's experiment, without a plugin what follows it. Pure."""
    plugin = (plugin_name,) if plugin_name else ()
    return _SEPARATOR.join((*plugin, _WORD, str(run_id), str(batch_id)))


def parsed_iteration(name: str, plugin_name: str = "") -> dict[str, str] | None:
    """Return what an experiment's name says of its iteration, by `FIELDS`. Pure.

    Parameters
    ----------
    plugin_name
        Whose it is, where that is known: a plugin's name may hold " / " or be "iteration".

    Returns
    -------
    dict or None
        Of an initial model's experiment the plugin alone; of expmgr's own names
        (``"<plugin> / <name>"``) the name is the batch. None where it names no plugin.
    """
    parts = name.split(_SEPARATOR)
    if plugin_name and name.startswith(plugin_name + _SEPARATOR):
        parts = [plugin_name, *name[len(plugin_name + _SEPARATOR) :].split(_SEPARATOR)]
    elif _WORD in parts[2:] and parts[1:2] != [_WORD]:
        at = parts.index(_WORD, 2)
        parts = [_SEPARATOR.join(parts[:at]), *parts[at:]]
    plugin, *rest = parts
    if not plugin or not rest:
        return None
    if rest == [_WORD, _INITIAL]:
        return dict(zip(FIELDS, ("", "", plugin), strict=True))
    if rest[0] == _WORD and len(rest) >= len(FIELDS):
        run_id, batch_id = rest[1], _SEPARATOR.join(rest[2:])
    elif len(rest) > 1 and is_run_id(rest[0]):
        run_id, batch_id = rest[0], _SEPARATOR.join(rest[1:])
    else:
        run_id, batch_id = "", _SEPARATOR.join(rest)
    return dict(zip(FIELDS, (batch_id, run_id, plugin), strict=True))


def is_run_id(text: str) -> bool:
    """Whether a text is made as MLflow makes the ids of runs. Pure."""
    return _is_hex(text, 32)


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and set(text) <= set("0123456789abcdef")


def names_its_iteration(text: str) -> bool:
    """Whether a text is an iteration's name, or the initial model's, without its plugin. Pure."""
    word, *rest = text.split(_SEPARATOR)
    return word == _WORD and (rest == [_INITIAL] or len(rest) == len(FIELDS) - 1)


def is_iteration_of(name: str, plugin_name: str) -> bool:
    """Whether an experiment's name is that of a plugin's iteration, by these names. Pure.

    Examples
    --------
    >>> is_iteration_of("texts / iteration / r1 / b1", "texts")
    True
    >>> is_iteration_of("iteration / r1 / b1", "iteration")
    False
    """
    prefix = plugin_name + _SEPARATOR
    rest = name[len(prefix) :].split(_SEPARATOR) if name.startswith(prefix) else []
    return len(rest) == len(FIELDS) and rest[0] == _WORD


def initial_home(plugin_name: str) -> str:
    """Return the name of the experiment of a plugin's initial model. Pure."""
    return _SEPARATOR.join((plugin_name, _WORD, _INITIAL))


def is_aside(name: str) -> bool:
    """Whether an experiment is an initial model's, or archived and about to be deleted. Pure."""
    plain = name.removesuffix(_ARCHIVED)
    return is_initial_home(plain) or (plain != name and _WORD in name.split(_SEPARATOR)[1:-1])


def is_initial_home(name: str) -> bool:
    """Whether an experiment of that name holds a plugin's initial model. Pure.

    Examples
    --------
    >>> is_initial_home("texts / iteration / initial")
    True
    """
    plugin, *rest = name.rsplit(_SEPARATOR, 2)
    return bool(plugin) and rest == [_WORD, _INITIAL]


def initial_homes(experiments: Iterable[Experiment]) -> frozenset[str]:
    """Return the ids of the experiments that hold an initial model by their name. Pure."""
    return frozenset(str(one.experiment_id) for one in experiments if is_initial_home(one.name))


def metrics_after_deletion(metrics: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Return what a run's metrics have to say once its last model is deleted. Pure.

    Nothing where they do not say that it has one: most runs know none of these names.
    """
    return ((_DELETED, 1.0), (UPLOADED, 0.0)) if metrics.get(UPLOADED) == 1 else ()


def metrics_after_restoration(metrics: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Return what they have to say once the model is brought back. Pure."""
    return ((_DELETED, 0.0), (UPLOADED, 1.0)) if metrics.get(_DELETED) == 1 else ()


def run_name_of(params: object) -> str:
    """Return the name that a run of these params has: their SHA-256, where they tell one. Pure."""
    name: Any = None if isinstance(params, dict) else getattr(params, "id", None)
    return name if isinstance(name, str) and _is_hex(name, 64) else ""


# -------------------------------------------------------------------------------- names of retries

_OF_THE_TRACKING_SERVER = (
    "create_experiment",
    "delete_experiment",
    "end_run",
    "get_experiment",
    "get_run",
    "log_metric",
    "log_param",
    "log_params",
    "rename_experiment",
    "search_experiments",
    "search_runs",
    "start_run",
)
OPERATIONS: dict[str, str] = {
    **dict.fromkeys(_OF_THE_TRACKING_SERVER, "tracking"),
    "list_artifacts": "list_blobs",
    "load_model": "download",
    "log_model": "upload",
}
"""Names of operations, with the field of `expmgr.RetryConfig` that each is."""

_OTHER_WORK = 300.0
"""Seconds for the attempts themselves, beside the waits between them."""


def retry_params(data: Any) -> Any:
    """Return the fields of `expmgr.RetryParams` for those given by other names. Pure.

    ``max_attempts`` is ``attempts`` (None and 0 are one), ``wait_time_seconds`` the longest wait.
    As nothing else ended the attempts there, the deadline is behind the last of them.

    Raises
    ------
    ValueError
        Both names of one field are given.
    """
    if not isinstance(data, dict) or not {"max_attempts", "wait_time_seconds"} & data.keys():
        return data
    new = dict(data)
    if "max_attempts" in data:
        if "attempts" in data:
            raise ValueError("give attempts or max_attempts, which are one thing, not both")
        most = new.pop("max_attempts")
        new["attempts"] = max(1, most) if isinstance(most, int) else 1 if most is None else most
    if "wait_time_seconds" in data:
        if {"wait_initial", "wait_max"} & data.keys():
            raise ValueError("give wait_time_seconds, or wait_initial and wait_max, not both")
        new["wait_initial"] = new["wait_max"] = new.pop("wait_time_seconds")
    attempts, wait = new.get("attempts", 5), new.get("wait_max", 20.0)
    if isinstance(attempts, int) and isinstance(wait, (int, float)):
        new.setdefault("deadline", attempts * max(0.0, wait) + _OTHER_WORK)
    return new


# ------------------------------------------------------------------------------------------- calls


class MovedIn(_Tracker):
    """Calls of a manager by the names that code which moves in has for them."""

    if TYPE_CHECKING:

        def runs(
            self,
            experiments: str | Iterable[str] | None = None,
            filter_string: str = "",
            models_only: bool = False,
            *,
            limit: int | None = None,
        ) -> pd.DataFrame:
            """See `expmgr.ExperimentsManager.runs`."""

    @classmethod
    def from_wrapper(
        cls,
        wrapper: Any,
        main_metric: str,
        plugin_name: str,
        accumulators: Sequence[MetricsAccumulator] = (),
        is_loss: bool = False,
        n_top_runs: int = 10,
    ) -> Self:
        """Return a manager for another plugin that asks the same servers in the same way.

        Parameters
        ----------
        wrapper
            A manager; or what has its ``tracking_uri``, ``requirements`` and ``retry_config``.
        main_metric, plugin_name, accumulators, is_loss, n_top_runs
            As where a manager is made.

        Raises
        ------
        InvalidInputError
            Managers of this class need credentials, and the wrapper has none.
        """
        taken = {
            "tracking_uri": "tracking_uri",
            "requirements": "requirements",
            "retry_config": "retry_config",
            "registry_uri": "registry_uri",
            "artifacts_destination": "artifacts_destination",
            "storage_prices": "storage_prices",
            "azure_blob_credentials": "credentials",
        }
        wanted = inspect.signature(cls).parameters
        options = {
            name: value
            for name, attribute in taken.items()
            if name in wanted and (value := getattr(wrapper, attribute, None)) is not None
        }
        if "azure_blob_credentials" in wanted and "azure_blob_credentials" not in options:
            message = (
                f"{type(wrapper).__name__} has no Azure credentials; make the manager itself: "
                f"{cls.__name__}(tracking_uri, azure_blob_credentials, ...)."
            )
            raise InvalidInputError(message)
        make: Any = cls
        manager: Self = make(
            main_metric=main_metric,
            plugin_name=plugin_name,
            accumulators=accumulators,
            is_loss=is_loss,
            n_top_runs=n_top_runs,
            **options,
        )
        return manager

    # ------------------------------------------------------------------------------ initial model

    def get_initial_run_id(self) -> str | None:
        """Return the run of the initial model, None where there is none; its files are looked at.

        The same as `get_initial_model_run_id`.
        """
        from expmgr.training.initial_model import find_initial_model

        found = find_initial_model(self._desk())
        return None if found is None else found.run_id

    def get_initial_model_run_id(self) -> str | None:
        """Return the run of the initial model, None where none is stored."""
        return self.get_initial_run_id()

    # --------------------------------------------------------------------------------- iterations

    def get_previous_iteration_id(self) -> str | None:
        """Return the experiment id of `get_previous_iteration`; None where no iteration is set."""
        return None if self._current is None else _id_of(self.get_previous_iteration())

    def get_last_iteration_id(self) -> str | None:
        """Return the newest iteration but the current one; None where no iteration is set."""
        from expmgr.training.iterations import newest

        desk, current = self._desk(), self.current_iteration_id
        if current is None:
            return None
        others = (
            experiment.experiment_id
            for experiment in newest(desk.client, desk.plugin_name)
            if experiment.experiment_id != current
        )
        return next(map(str, others), None)

    def get_last_finished_iteration_id(self) -> str | None:
        """Return the experiment id of `get_last_finished_iteration`; None where none is set."""
        return None if self._current is None else _id_of(self.get_last_finished_iteration())

    def get_iteration_by_id(self, run_id: str) -> FineTuningIteration | None:
        """Return what the name of a run's experiment says of its iteration, None of no run."""
        from expmgr.catalog.model import INITIAL_TAG
        from expmgr.tracking.queries import asking, run_or_none
        from expmgr.training.iterations import PLUGIN_TAG, FineTuningIteration

        client = self._desk().client
        run = run_or_none(client, run_id)
        if run is None:
            logger.error("there is no run %s", run_id)
            return None
        with asking(f"read the experiment of run {run_id}", run_id=run_id):
            experiment = client.get_experiment(run.info.experiment_id)
        plugin = experiment.tags.get(PLUGIN_TAG, "")
        if plugin and INITIAL_TAG in experiment.tags:
            return FineTuningIteration(plugin_name=plugin)
        return FineTuningIteration.parse(experiment.name, plugin)

    # --------------------------------------------------------------------------------------- runs

    def get_experiment_id(self, run_id: str) -> str | None:
        """Return the experiment that a run is in, None where there is no such run."""
        from expmgr.tracking.queries import run_or_none

        run = run_or_none(self._desk().client, run_id)
        return None if run is None else str(run.info.experiment_id)

    def get_run_by_id(self, run_id: str, models_only: bool = False) -> pd.DataFrame:
        """Return one run as `runs` does: one row, or none where there is no such run.

        Parameters
        ----------
        models_only
            No row where it has no model to delete.
        """
        experiment_id = self.get_experiment_id(run_id)
        if experiment_id is None:
            return self.runs([])
        condition = f"attributes.run_id = '{run_id}'"
        return self.runs([experiment_id], condition, models_only, limit=1)

    def get_runs(self, experiment_id: str, models_only: bool = False) -> pd.DataFrame:
        """Return the runs of an experiment as `runs` does.

        Parameters
        ----------
        models_only
            Only those that have a model to delete.
        """
        return self.runs([str(experiment_id)], models_only=models_only)

    def get_params_by_run_id(self, run_id: str) -> dict[str, Any] | None:
        """Return a run's params as the values they were, None where there is no such run."""
        from expmgr.tracking.queries import run_or_none
        from expmgr.training.runs import params_of

        run = run_or_none(self._desk().client, run_id)
        return None if run is None else params_of(run)

    # ------------------------------------------------------------------------------------- models

    def get_model_url_by_run_id(self, run_id: str) -> str | None:
        """Return where a run's newest stored model lies, None where it has none, or is no run."""
        from expmgr.errors import NotFoundError
        from expmgr.training.loading import newest_model

        try:
            model = newest_model(self._desk(), run_id)
        except NotFoundError:
            return None
        return None if model is None else model.uri

    def download_model_by_run_id(self, run_id: str, **options: Any) -> Any:
        """Download and load a run's model as `download_model` does; None where that fails.

        Why it did is logged.
        """
        try:
            return self.download_model(run_id, **options)
        except ExpmgrError:
            logger.exception("the model of run %s was not loaded", run_id)
            return None


def _id_of(experiment: Experiment | None) -> str | None:
    return None if experiment is None else str(experiment.experiment_id)
