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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from expmgr.catalog.model import INITIAL_TAG
from expmgr.catalog.quality import Goal
from expmgr.errors import InvalidInputError
from expmgr.moving_in import (
    is_aside,
    is_iteration_of,
    iteration_text,
    names_its_iteration,
    parsed_iteration,
)
from expmgr.tracking.queries import UNDER_WAY, asking, iter_runs

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
    "earlier_name",
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
    >>> iteration = FineTuningIteration("batch 7", "0f3c", "texts")
    >>> str(iteration)
    'texts / iteration / 0f3c / batch 7'
    >>> FineTuningIteration.parse(str(iteration)) == iteration
    True
    """

    batch_id: str = ""
    run_id: str = ""
    plugin_name: str = ""

    def __str__(self) -> str:
        return iteration_text(self.batch_id, self.run_id, self.plugin_name)

    @staticmethod
    def parse(experiment_name: str, plugin_name: str = "") -> FineTuningIteration:
        """Return what an experiment's name says of its iteration.

        Parameters
        ----------
        experiment_name
            ``"<plugin> / iteration / <run_id> / <batch_id>"``, or ``"<plugin> / <name>"``, whose
            name is taken for the batch. Of an initial model's the plugin alone is told.
        plugin_name
            Whose experiment it is, where that is known: a plugin's name may hold ``" / "``.

        Raises
        ------
        InvalidInputError
            It is no name of an iteration.
        """
        told = parsed_iteration(experiment_name, plugin_name)
        if told is None:
            message = f"{experiment_name!r} is no iteration's name, such as 'texts / batch 7'."
            raise InvalidInputError(message)
        return FineTuningIteration(**told)


def iteration_name(iteration: str | FineTuningIteration, plugin_name: str) -> str:
    """Return the experiment name of an iteration. Pure.

    A text is the name, with or without ``"{plugin_name} / "`` before it; of a `FineTuningIteration`
    it is its text.

    Raises
    ------
    InvalidInputError
        It is empty, too long, or names another plugin.
    """
    prefix = plugin_name + SEPARATOR
    if isinstance(iteration, FineTuningIteration):
        if iteration.plugin_name and iteration.plugin_name != plugin_name:
            raise _foreign(iteration.plugin_name, plugin_name)
        told = (str(iteration.run_id), str(iteration.batch_id))
        rest = str(replace(iteration, plugin_name="")) if any(told) else ""
        if any(part != part.strip() or SEPARATOR in part for part in told):
            message = f"run and batch of an iteration are names without ' / ', not {iteration!r}."
            raise InvalidInputError(message)
    elif isinstance(iteration, str):
        rest = iteration.removeprefix(prefix)
        if rest == iteration and SEPARATOR in iteration and not names_its_iteration(iteration):
            raise _foreign(iteration.split(SEPARATOR)[0], plugin_name)
    else:
        message = f"an iteration is a name or a FineTuningIteration, not {iteration!r}."
        raise InvalidInputError(message)
    if not rest.strip() or (isinstance(iteration, str) and rest != rest.strip()):
        message = f"an iteration needs a name without spaces around it, not {rest!r}."
        raise InvalidInputError(message)
    name = prefix + rest
    if len(name) > MAX_NAME:
        message = f"the experiment name {name[:60]!r}... has {len(name)} characters; at most 500."
        raise InvalidInputError(message)
    return name


def earlier_name(iteration: str | FineTuningIteration, plugin_name: str) -> str:
    """Return the name that an earlier expmgr gave a `FineTuningIteration`, "" for a text. Pure."""
    if isinstance(iteration, str):
        return ""
    return SEPARATOR.join(filter(None, (plugin_name, iteration.run_id, iteration.batch_id)))


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
        or is_iteration_of(experiment.name, plugin_name)
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
    marked = ITERATION_TAG in experiment.tags
    return INITIAL_TAG not in experiment.tags and (marked or not is_aside(experiment.name))


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
    for experiment in iter_plugin_experiments(client, plugin_name):
        younger = before is not None and _age(experiment) >= _age(before)
        if younger or not is_iteration(experiment):
            continue
        if not finished or _is_finished(client, experiment, plugin_name):
            yield experiment


def _is_finished(client: MlflowClient, experiment: Experiment, plugin_name: str) -> bool:
    """Whether an iteration is finished: by its mark; of those that never get one, by its runs."""
    if ITERATION_TAG in experiment.tags or not is_iteration_of(experiment.name, plugin_name):
        return state_of(experiment) == FINISHED
    ids = [experiment.experiment_id]
    under_way = iter_runs(client, ids, UNDER_WAY, limit=1)
    ended = iter_runs(client, ids, "attributes.status = 'FINISHED'", limit=1)
    return next(under_way, None) is None and next(ended, None) is not None


def _age(experiment: Experiment) -> tuple[int, int, str]:
    number = experiment.experiment_id
    return experiment.creation_time or 0, int(number) if number.isdigit() else 0, number
