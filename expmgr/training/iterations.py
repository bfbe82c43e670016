"""Iterations: MLflow experiments named ``"{plugin_name} / ..."``.

An iteration is ``open`` while it is worked on and ``finished`` when `finish_iteration` says so; a
tag on the experiment keeps that. Iterations are ordered by the time MLflow made them.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from expmgr.errors import InvalidInputError, LocationError, NotFoundError, TrackingError
from expmgr.storage.location import parse_artifact_uri
from expmgr.tracking.queries import asking
from expmgr.training.tags import INITIAL_TAG, ITERATION_TAG, LOSS_TAG, METRIC_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.storage.store import Store

__all__ = [
    "DELETING",
    "FINISHED",
    "OPEN",
    "FineTuningIteration",
    "artifact_root",
    "create_experiment",
    "free_name",
    "is_iteration",
    "is_proxied",
    "iter_plugin_experiments",
    "iteration_name",
    "mark",
    "newest",
    "open_iteration",
    "state_of",
]

OPEN = "open"
FINISHED = "finished"
DELETING = "deleting"

_SEPARATOR = " / "
_MAX_NAME = 500
"""``mlflow.utils.validation.MAX_EXPERIMENT_NAME_LENGTH``"""
_PAGE = 50
_MAX_SLUG = 60
_PROXIED = "mlflow-artifacts"
_UNQUOTABLE = re.compile(r"""['"`\\%]""")


@dataclass(frozen=True)
class FineTuningIteration:
    """What an iteration is about; its name is made of the parts that are given.

    Attributes
    ----------
    batch_id
        The batch of data that is trained on.
    run_id
        The run whose model is the starting point.
    plugin_name
        The plugin; empty for the manager's own.

    Examples
    --------
    >>> str(FineTuningIteration("batch 7", plugin_name="texts"))
    'texts / batch 7'
    """

    batch_id: str = ""
    run_id: str = ""
    plugin_name: str = ""

    def __str__(self) -> str:
        return _SEPARATOR.join(
            part for part in (self.plugin_name, self.run_id, self.batch_id) if part
        )


def iteration_name(iteration: str | FineTuningIteration, plugin_name: str) -> str:
    """Return the experiment name of an iteration. Pure.

    A text is the name, with or without ``"{plugin_name} / "`` before it.

    Raises
    ------
    InvalidInputError
        It is empty, too long, or names another plugin.
    """
    prefix = plugin_name + _SEPARATOR
    if isinstance(iteration, FineTuningIteration):
        if iteration.plugin_name and iteration.plugin_name != plugin_name:
            raise _foreign(iteration.plugin_name, plugin_name)
        rest = _SEPARATOR.join(part for part in (iteration.run_id, iteration.batch_id) if part)
    elif isinstance(iteration, str):
        rest = iteration.removeprefix(prefix)
        if rest == iteration and _SEPARATOR in iteration:
            raise _foreign(iteration.split(_SEPARATOR)[0], plugin_name)
    else:
        message = f"an iteration is a name or a FineTuningIteration, not {iteration!r}."
        raise InvalidInputError(message)
    if not rest.strip() or rest != rest.strip():
        message = f"an iteration needs a name without spaces around it, not {rest!r}."
        raise InvalidInputError(message)
    name = prefix + rest
    if len(name) > _MAX_NAME:
        message = f"the experiment name {name[:60]!r}... has {len(name)} characters; at most 500."
        raise InvalidInputError(message)
    return name


def _foreign(theirs: str, ours: str) -> InvalidInputError:
    return InvalidInputError(
        f"this is an iteration of plugin {theirs!r}, and the manager is for {ours!r}. Make a "
        "manager with that plugin_name."
    )


# ------------------------------------------------------------------------------------- finding


def is_iteration(experiment: Experiment) -> bool:
    """Whether an experiment of the plugin is an iteration, and not the initial model's."""
    return INITIAL_TAG not in experiment.tags


def state_of(experiment: Experiment) -> str:
    """Return ``open``, ``finished`` or ``deleting``; an iteration without a mark is open."""
    return str(experiment.tags.get(ITERATION_TAG, OPEN))


def iter_plugin_experiments(
    client: MlflowClient, plugin_name: str, condition: str = ""
) -> Iterator[Experiment]:
    """Yield the plugin's active experiments, newest first, a small page at a time.

    Parameters
    ----------
    condition
        A further condition in MLflow's filter syntax.
    """
    # Neither MLflow's quoting nor its LIKE has an escape, so what would need one is matched by
    # the wildcard for one character, and the answer is checked.
    prefix = plugin_name + _SEPARATOR
    pattern = _UNQUOTABLE.sub("_", prefix)
    filter_string = f"name LIKE '{pattern}%'"
    if condition:
        filter_string += f" AND {condition}"
    token: str | None = None
    while True:
        with asking("list the iterations"):
            page = client.search_experiments(
                filter_string=filter_string,
                order_by=["creation_time DESC", "experiment_id DESC"],
                max_results=_PAGE,
                page_token=token,
            )
        yield from (experiment for experiment in page if experiment.name.startswith(prefix))
        token = page.token
        if not token:
            return


def newest(
    client: MlflowClient,
    plugin_name: str,
    *,
    before: Experiment | None = None,
    finished: bool = False,
) -> Iterator[Experiment]:
    """Yield iterations, newest first.

    Parameters
    ----------
    before
        Only those made before this one.
    finished
        Only finished ones.
    """
    condition = f"tags.`{ITERATION_TAG}` = '{FINISHED}'" if finished else ""
    for experiment in iter_plugin_experiments(client, plugin_name, condition):
        if is_iteration(experiment) and (before is None or _age(experiment) < _age(before)):
            yield experiment


def _age(experiment: Experiment) -> tuple[int, int, str]:
    number = experiment.experiment_id
    return experiment.creation_time or 0, int(number) if number.isdigit() else 0, number


# -------------------------------------------------------------------------------------- making


def is_proxied(client: MlflowClient, tracking_uri: str) -> bool:
    """Whether the tracking server keeps artifacts itself (``mlflow-artifacts:``).

    MLflow has no question for that; where its default experiment lies tells. Experiments are then
    made without a location, since the server decides.
    """
    if urlsplit(tracking_uri).scheme not in {"http", "https"}:
        return False
    try:
        with asking("read the default experiment"):
            default = client.get_experiment("0")
    except NotFoundError:
        return False
    return urlsplit(default.artifact_location or "").scheme == _PROXIED


def artifact_root(store: Store, name: str) -> str:
    """Return a new artifact location for an experiment of that name.

    It ends in random digits: MLflow accepts one location for two experiments, and then two
    experiments' models would lie in one place.
    """
    cloud = store.cloud
    # MLflow's client knows blob.core.* hosts alone; with Azurite or a private name its connection
    # string decides where requests go, and the host only names the account.
    host = cloud if cloud is not None and cloud.startswith("core.") else "core.windows.net"
    parts = [_slug(part) for part in name.split(_SEPARATOR)]
    path = "/".join([*parts[:-1], f"{parts[-1]}-{secrets.token_hex(4)}"])
    return f"wasbs://{store.container}@{store.account}.blob.{host}/{path}"


def _slug(text: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower())[:_MAX_SLUG].strip("-")
    return slug or "experiment"


def open_iteration(
    client: MlflowClient,
    name: str,
    *,
    main_metric: str,
    is_loss: bool,
    store: Store | None,
    proxied: bool,
) -> Experiment:
    """Return the iteration of that name, ready for runs: made, or opened again.

    Raises
    ------
    InvalidInputError
        The experiment was tracked by another metric or direction, is being deleted, or holds the
        initial model.
    LocationError
        The experiment's artifacts are not in the credentials' container.
    """
    with asking(f"look for the experiment {name!r}"):
        experiment = client.get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        free_name(client, experiment)
        experiment = None
    if experiment is None:
        tags = {
            METRIC_TAG: main_metric,
            LOSS_TAG: "true" if is_loss else "false",
            ITERATION_TAG: OPEN,
        }
        root = artifact_root(store, name) if store is not None and not proxied else None
        return create_experiment(client, name, root, tags)
    _check_ours(experiment, main_metric, is_loss, store)
    return mark(client, experiment, OPEN, main_metric=main_metric, is_loss=is_loss)


def _check_ours(
    experiment: Experiment, main_metric: str, is_loss: bool, store: Store | None
) -> None:
    name = experiment.name
    if not is_iteration(experiment):
        raise InvalidInputError(f"{name!r} holds the initial model; choose another name.")
    if state_of(experiment) == DELETING:
        message = (
            f"the deletion of {name!r} has begun and is not finished. Call "
            "delete_previous_iteration() to finish it; the name is free then."
        )
        raise InvalidInputError(message)
    metric = experiment.tags.get(METRIC_TAG, main_metric)
    loss = experiment.tags.get(LOSS_TAG, str(is_loss)).lower() == "true"
    if (metric, loss) != (main_metric, is_loss):
        message = (
            f"the runs of {name!r} are compared by {metric!r} (is_loss={loss}), the manager's by "
            f"{main_metric!r} (is_loss={is_loss}). Use another name, or a manager like the first."
        )
        raise InvalidInputError(message)
    uri = experiment.artifact_location or ""
    if store is not None and urlsplit(uri).scheme != _PROXIED:
        try:
            parse_artifact_uri(uri, store)
        except LocationError as error:
            message = f"the models of {name!r} would not go to the manager's container: {error}"
            raise LocationError(message) from error


def create_experiment(
    client: MlflowClient, name: str, root: str | None, tags: dict[str, str]
) -> Experiment:
    """Make an experiment, or return the one that somebody else has just made."""
    from mlflow.exceptions import MlflowException

    with asking(f"make the experiment {name!r}"):
        try:
            experiment_id = client.create_experiment(name, artifact_location=root, tags=tags)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            made = client.get_experiment_by_name(name)
            if made is None or made.lifecycle_stage != "active":
                raise
            return made
        return client.get_experiment(experiment_id)


def mark(
    client: MlflowClient,
    experiment: Experiment,
    state: str,
    *,
    main_metric: str | None = None,
    is_loss: bool | None = None,
) -> Experiment:
    """Set the tags that differ, and return the experiment as it is then."""
    wanted = {ITERATION_TAG: state}
    if main_metric is not None:
        wanted[METRIC_TAG] = main_metric
    if is_loss is not None:
        wanted[LOSS_TAG] = "true" if is_loss else "false"
    changed = {key: value for key, value in wanted.items() if experiment.tags.get(key) != value}
    if not changed:
        return experiment
    with asking(f"mark the experiment {experiment.name!r}"):
        for key, value in changed.items():
            client.set_experiment_tag(experiment.experiment_id, key, value)
        return client.get_experiment(experiment.experiment_id)


def free_name(client: MlflowClient, experiment: Experiment) -> None:
    """Give a name back that an experiment holds, in the trash or not, and leave it in the trash.

    MLflow keeps the names of deleted experiments taken and renames active ones only.
    """
    suffix = f" (archived {experiment.experiment_id})"
    with asking(f"free the name {experiment.name!r}"):
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
        if not experiment.name.endswith(suffix):
            archived = experiment.name[: _MAX_NAME - len(suffix)] + suffix
            client.rename_experiment(experiment.experiment_id, archived)
        client.delete_experiment(experiment.experiment_id)
        left = client.get_experiment(experiment.experiment_id)
    if left.lifecycle_stage != "deleted":
        message = f"MLflow did not delete the experiment {experiment.experiment_id}."
        raise TrackingError(message)
