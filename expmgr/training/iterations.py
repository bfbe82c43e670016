"""Iterations: MLflow experiments named ``"{plugin_name} / ..."``.

Whose an experiment is, the tag ``expmgr.plugin`` says; where it is missing (older versions did not
set it, and people make experiments by hand) the name does. A name of three parts may be of either
of two plugins, so without the tag such an experiment is found but never deleted as an iteration;
`set_iteration` claims it.

An iteration is ``open`` while it is worked on and ``finished`` when `finish_iteration` says so; a
tag on the experiment keeps that. Iterations are ordered by the time MLflow made them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from expmgr.catalog.model import INITIAL_TAG
from expmgr.catalog.quality import Goal
from expmgr.errors import InvalidInputError
from expmgr.tracking.queries import asking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities import Experiment

__all__ = [
    "DELETING",
    "FINISHED",
    "ITERATION_TAG",
    "LOSS_TAG",
    "MAX_NAME",
    "METRIC_TAG",
    "OPEN",
    "PLUGIN_TAG",
    "SEPARATOR",
    "FineTuningIteration",
    "belongs_to",
    "goal_tags",
    "is_certain",
    "is_iteration",
    "iter_plugin_experiments",
    "iteration_name",
    "newest",
    "recorded_goal",
    "state_of",
]

METRIC_TAG = "expmgr.main_metric"
"""On an experiment: the metric by which its runs are compared."""

LOSS_TAG = "expmgr.is_loss"
"""On an experiment: "true" where the smaller value is the better one, else "false"."""

PLUGIN_TAG = "expmgr.plugin"
"""On an experiment: the plugin whose iteration or initial model it holds. The name alone does not
tell: ``x / sub / one`` may be ``sub / one`` of plugin ``x`` or ``one`` of plugin ``x / sub``."""

ITERATION_TAG = "expmgr.iteration"
"""On an experiment: ``open``, ``finished``, or ``deleting`` while it is being deleted."""

OPEN = "open"
FINISHED = "finished"
DELETING = "deleting"

SEPARATOR = " / "
MAX_NAME = 500
"""``mlflow.utils.validation.MAX_EXPERIMENT_NAME_LENGTH``"""
_PAGE = 50
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
        return SEPARATOR.join(
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
    prefix = plugin_name + SEPARATOR
    if isinstance(iteration, FineTuningIteration):
        if iteration.plugin_name and iteration.plugin_name != plugin_name:
            raise _foreign(iteration.plugin_name, plugin_name)
        rest = SEPARATOR.join(part for part in (iteration.run_id, iteration.batch_id) if part)
    elif isinstance(iteration, str):
        rest = iteration.removeprefix(prefix)
        if rest == iteration and SEPARATOR in iteration:
            raise _foreign(iteration.split(SEPARATOR)[0], plugin_name)
    else:
        message = f"an iteration is a name or a FineTuningIteration, not {iteration!r}."
        raise InvalidInputError(message)
    if not rest.strip() or rest != rest.strip():
        message = f"an iteration needs a name without spaces around it, not {rest!r}."
        raise InvalidInputError(message)
    name = prefix + rest
    if len(name) > MAX_NAME:
        message = f"the experiment name {name[:60]!r}... has {len(name)} characters; at most 500."
        raise InvalidInputError(message)
    return name


def _foreign(theirs: str, ours: str) -> InvalidInputError:
    return InvalidInputError(
        f"this is an iteration of plugin {theirs!r}, and the manager is for {ours!r}. Make a "
        "manager with that plugin_name."
    )


# ------------------------------------------------------------------------------------- finding


def belongs_to(experiment: Experiment, plugin_name: str) -> bool:
    """Whether an experiment is the plugin's: by its tag, without one by its name. Pure."""
    tagged = experiment.tags.get(PLUGIN_TAG)
    if tagged is not None:
        return bool(tagged == plugin_name)
    return bool(experiment.name.startswith(plugin_name + SEPARATOR))


def is_certain(experiment: Experiment, plugin_name: str) -> bool:
    """Whether an experiment is the plugin's beyond doubt, so that it may be deleted. Pure."""
    return belongs_to(experiment, plugin_name) and (
        PLUGIN_TAG in experiment.tags
        or SEPARATOR not in experiment.name.removeprefix(plugin_name + SEPARATOR)
    )


def goal_tags(goal: Goal) -> dict[str, str]:
    """Return the tags by which an experiment records what "best" means in it."""
    return {METRIC_TAG: goal.metric, LOSS_TAG: str(goal.is_loss).lower()}


def recorded_goal(experiment: Experiment) -> Goal | None:
    """Return the goal that an experiment's tags record, None where they do not tell one. Pure."""
    metric = experiment.tags.get(METRIC_TAG)
    is_loss = experiment.tags.get(LOSS_TAG, "").lower()
    return Goal(metric, is_loss == "true") if metric and is_loss in {"true", "false"} else None


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
    prefix = plugin_name + SEPARATOR
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
        yield from (
            experiment
            for experiment in page
            if experiment.name.startswith(prefix) and belongs_to(experiment, plugin_name)
        )
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
