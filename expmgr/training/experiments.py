"""The experiments behind iterations: where they lie, made, opened again, marked and archived."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from expmgr.catalog.quality import Goal
from expmgr.errors import InvalidInputError, LocationError, NotFoundError, TrackingError
from expmgr.moving_in import is_initial_home
from expmgr.tracking.queries import asking
from expmgr.training.iterations import (
    DELETING,
    ITERATION_TAG,
    LOSS_TAG,
    MAX_NAME,
    METRIC_TAG,
    OPEN,
    PLUGIN_TAG,
    SEPARATOR,
    belongs_to,
    goal_tags,
    is_iteration,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.storage.addresses import Addresses
    from expmgr.training.desk import Desk

__all__ = [
    "artifact_root",
    "create_experiment",
    "free_name",
    "mark",
    "open_iteration",
]

_MAX_SLUG = 60
_PROXIED = "mlflow-artifacts"


def _is_proxied(desk: Desk) -> bool:
    """Whether the tracking server keeps artifacts itself (``mlflow-artifacts:``).

    MLflow has no question for that; where its default experiment lies tells. Experiments are then
    made without a location, since the server decides. Who names an ``artifacts_destination`` has
    said so already.
    """
    if urlsplit(desk.files.tracking_uri).scheme not in {"http", "https"}:
        return False
    if desk.artifacts_destination is not None:
        return True
    try:
        with asking("read the default experiment"):
            default = desk.client.get_experiment("0")
    except NotFoundError:
        return False
    return urlsplit(default.artifact_location or "").scheme == _PROXIED


def artifact_root(addresses: Addresses, name: str) -> str:
    """Return a new artifact location for an experiment of that name.

    It ends in random digits: MLflow accepts one location for two experiments, and then two
    experiments' models would lie in one place.
    """
    parts = [_slug(part) for part in name.split(SEPARATOR)]
    return addresses.uri_of("/".join([*parts[:-1], f"{parts[-1]}-{secrets.token_hex(4)}"]))


def _slug(text: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower())[:_MAX_SLUG].strip("-")
    return slug or "experiment"


def open_iteration(desk: Desk, name: str, earlier: str = "") -> Experiment:
    """Return the iteration of that name, ready for runs: made, or opened again.

    Parameters
    ----------
    earlier
        Another name that it may have had from the start, "" for none.

    Raises
    ------
    InvalidInputError
        The experiment is another plugin's, was tracked by another metric or direction, is being
        deleted, or holds the initial model.
    LocationError
        The experiment's artifacts are not in the credentials' container.
    """
    client = desk.client
    with asking(f"look for the experiment {name!r}"):
        experiment = client.get_experiment_by_name(name)
        if earlier and (experiment is None or experiment.lifecycle_stage == "deleted"):
            found = client.get_experiment_by_name(earlier)
            if found is not None and found.lifecycle_stage == "active":
                experiment, name = found, earlier
    if is_initial_home(name):
        raise InvalidInputError(f"{name!r} holds the initial model; choose another name.")
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        free_name(client, experiment)
        experiment = None
    tags = {
        PLUGIN_TAG: desk.plugin_name,
        **goal_tags(desk.goal),
        ITERATION_TAG: OPEN,
    }
    if experiment is None:
        return create_experiment(desk, name, tags)
    _check_ours(experiment, desk)
    return mark(client, experiment, tags)


def _check_ours(experiment: Experiment, desk: Desk) -> None:
    name, plugin_name, goal = experiment.name, desk.plugin_name, desk.goal
    if not belongs_to(experiment, plugin_name):
        owner = experiment.tags.get(PLUGIN_TAG)
        message = (
            f"{name!r} is an iteration of plugin {owner!r}, and the manager is for "
            f"{plugin_name!r}. Use another name, or a manager with that plugin_name."
        )
        raise InvalidInputError(message)
    if not is_iteration(experiment):
        raise InvalidInputError(f"{name!r} holds the initial model; choose another name.")
    if state_of(experiment) == DELETING:
        message = (
            f"the deletion of {name!r} has begun and is not finished. Call "
            "delete_previous_iteration() to finish it; the name is free then."
        )
        raise InvalidInputError(message)
    told = {**goal_tags(goal), **experiment.tags}  # what it does not record is the manager's
    recorded = Goal(told[METRIC_TAG], told[LOSS_TAG].lower() == "true")
    if recorded != goal:
        message = (
            f"the runs of {name!r} are compared by {recorded.metric!r} "
            f"(is_loss={recorded.is_loss}), the manager's by {goal.metric!r} "
            f"(is_loss={goal.is_loss}). Use another name, or a manager like the first."
        )
        raise InvalidInputError(message)
    uri = experiment.artifact_location or ""
    if desk.addresses is not None and urlsplit(uri).scheme != _PROXIED:
        try:
            desk.addresses.path_of(uri)
        except LocationError as error:
            message = f"the models of {name!r} would not go to the manager's container: {error}"
            raise LocationError(message) from error


def create_experiment(desk: Desk, name: str, tags: dict[str, str]) -> Experiment:
    """Make an experiment, or return the one that somebody else has just made."""
    from mlflow.exceptions import MlflowException

    client, addresses = desk.client, desk.addresses
    root = None if addresses is None or _is_proxied(desk) else artifact_root(addresses, name)
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


def mark(client: MlflowClient, experiment: Experiment, tags: Mapping[str, str]) -> Experiment:
    """Set the tags that differ, and return the experiment as it is then."""
    changed = {key: value for key, value in tags.items() if experiment.tags.get(key) != value}
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
            archived = experiment.name[: MAX_NAME - len(suffix)] + suffix
            client.rename_experiment(experiment.experiment_id, archived)
        client.delete_experiment(experiment.experiment_id)
        left = client.get_experiment(experiment.experiment_id)
    if left.lifecycle_stage != "deleted":
        message = f"MLflow did not delete the experiment {experiment.experiment_id}."
        raise TrackingError(message)
