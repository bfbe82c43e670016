"""Why a run's model must stay.

The rules are pure and take a `ProtectionFacts`; `gather_facts` asks MLflow for what they need, once
a plan. Protection follows the model: every run, version and pin that names it counts. A look-up
that fails protects.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from expmgr.catalog.quality import Goal
from expmgr.errors import ExpmgrError
from expmgr.tracking.models import input_model_ids, output_model_ids
from expmgr.tracking.queries import in_parallel, iter_runs, quoted, run_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from expmgr.tracking.registry import RegistryIndex

__all__ = [
    "INITIAL_TAG",
    "KEEP_TAG",
    "BestRuns",
    "Goal",
    "NamingRun",
    "ProtectionFacts",
    "Subject",
    "best_runs",
    "gather_naming_runs",
    "is_pin",
    "naming_runs",
    "protections",
]

KEEP_TAG = "expmgr.keep"
INITIAL_TAG = "expmgr.initial_model"

_ACTIVE = ("RUNNING", "SCHEDULED")
_SAMPLE = 50


def is_pin(value: str | None) -> bool:
    """Whether a value of the tag ``expmgr.keep`` pins; only "false", "no" and "0" take it back."""
    return value is not None and value.strip().lower() not in {"false", "no", "0"}


@dataclass(frozen=True)
class BestRuns:
    """The best runs of one experiment, all of a tie, with the value they share."""

    experiment_id: str
    goal: Goal
    value: float | None
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True)
class NamingRun:
    """A run that protects by what it is, with the models that it names."""

    run_id: str
    why: str
    model_ids: frozenset[str]


@dataclass(frozen=True)
class Subject:
    """A run whose model somebody wants to delete, as the rules see it.

    Attributes
    ----------
    model_ids
        LoggedModels that would go.
    blob_paths
        Paths of the locations that would go.
    value
        The run's main metric, None where it has none or nothing is called best there.
    """

    run_id: str
    experiment_id: str
    status: str
    tags: Mapping[str, str]
    model_ids: frozenset[str] = frozenset()
    model_tags: tuple[Mapping[str, str], ...] = ()
    blob_paths: tuple[str, ...] = ()
    value: float | None = None


@dataclass(frozen=True)
class ProtectionFacts:
    """What the rules need to know, gathered once.

    Attributes
    ----------
    best
        By experiment id; an experiment in which nothing is called best is missing.
    naming
        Pinned, initial, active and best runs and the models that they name.
    failures
        Look-ups that failed, in words; any of them protects everything.
    """

    registry: RegistryIndex | None = None
    best: Mapping[str, BestRuns] = field(default_factory=dict)
    naming: tuple[NamingRun, ...] = ()
    failures: tuple[str, ...] = ()


def protections(subject: Subject, facts: ProtectionFacts) -> tuple[str, ...]:
    """Return why the subject's model must stay, one line a reason; empty where it may go. Pure."""
    reasons: list[str] = []
    if subject.status in _ACTIVE:
        reasons.append(f"active: the run is {subject.status}")
    if subject.tags.get(INITIAL_TAG, "").lower() == "true":
        reasons.append("initial: it is the initial model")
    if is_pin(subject.tags.get(KEEP_TAG)):
        reasons.append(f"pinned: the run has the tag {KEEP_TAG}")
    if any(is_pin(tags.get(KEEP_TAG)) for tags in subject.model_tags):
        reasons.append(f"pinned: the model has the tag {KEEP_TAG}")
    reasons.extend(_best_reason(subject, facts.best.get(subject.experiment_id)))
    if facts.registry is not None:
        reasons.extend(
            f"registered: {version}"
            for version in facts.registry.versions_of(
                subject.run_id, subject.model_ids, subject.blob_paths
            )
        )
    reasons.extend(
        f"{naming.why} (run {naming.run_id} uses this model)"
        for naming in facts.naming
        if naming.run_id != subject.run_id and naming.model_ids & subject.model_ids
    )
    reasons.extend(f"unknown: {failure}" for failure in facts.failures)
    return tuple(dict.fromkeys(reasons))


def _best_reason(subject: Subject, best: BestRuns | None) -> list[str]:
    if best is None or subject.status != "FINISHED" or subject.value is None:
        return []
    if best.value is not None and best.goal.is_better(best.value, subject.value):
        return []
    return [f"best: {best.goal.metric} = {subject.value:.6g} is the best of its experiment"]


def gather_naming_runs(
    client: MlflowClient, experiment_ids: Sequence[str]
) -> tuple[NamingRun, ...]:
    """Ask for every pinned, initial and active run of the experiments, and the models they name.

    Three small searches by filter, then one ``get_run`` for each hit, since ``search_runs`` leaves
    model inputs out.
    """
    asked: list[tuple[str, str, bool]] = [
        (f"tags.{quoted(KEEP_TAG)} LIKE '%'", "pinned", True),
        (f"tags.{quoted(INITIAL_TAG)} ILIKE 'true'", "initial", True),
        *((f"attributes.status = '{status}'", "active", False) for status in _ACTIVE),
    ]
    whys: dict[str, list[str]] = defaultdict(list)

    def search(question: tuple[str, str, bool]) -> list[tuple[str, str]]:
        filter_string, why, deleted = question
        return [
            (run.info.run_id, why)
            for run in iter_runs(client, experiment_ids, filter_string, deleted=deleted)
            if why != "pinned" or is_pin(run.data.tags.get(KEEP_TAG))
        ]

    for found in in_parallel(search, asked):
        for run_id, why in found:
            whys[run_id].append(why)
    return naming_runs(client, {run_id: " and ".join(why) for run_id, why in whys.items()})


def naming_runs(client: MlflowClient, whys: Mapping[str, str]) -> tuple[NamingRun, ...]:
    """Ask for the models that some runs name, inputs included; a run that vanished names none."""
    runs = in_parallel(lambda run_id: run_or_none(client, run_id), list(whys))
    return tuple(
        NamingRun(
            run.info.run_id,
            whys[run.info.run_id],
            frozenset(output_model_ids(run)) | frozenset(input_model_ids(run)),
        )
        for run in runs
        if run is not None
    )


def best_runs(
    client: MlflowClient,
    experiment_id: str,
    goal: Goal,
    is_stored: Callable[[Run], bool],
) -> BestRuns:
    """Return the best FINISHED runs of an experiment whose model is stored.

    Sorting by a metric on the server is slow (seconds at 10,000 runs on SQLite), fetching all runs
    slower. The newest runs are a cheap sample; only runs at least as good as the best of that
    sample can be the best of all, and a filter on the metric finds those few.

    Parameters
    ----------
    is_stored
        Whether a run's model is there; asked from the best run downwards until one tie answers.
    """
    finished = "attributes.status = 'FINISHED'"
    sample = list(iter_runs(client, [experiment_id], finished, limit=_SAMPLE))
    found = _best_stored(sample, goal, is_stored)
    if len(sample) < _SAMPLE:
        return BestRuns(experiment_id, goal, *found)
    filter_string = finished
    if found[0] is not None:
        # One step beyond the value, in case the server's number parser rounds.
        floor = math.nextafter(found[0], math.inf if goal.is_loss else -math.inf)
        comparison = "<=" if goal.is_loss else ">="
        filter_string += f" and metrics.{quoted(goal.metric)} {comparison} {floor!r}"
    candidates = list(iter_runs(client, [experiment_id], filter_string))
    return BestRuns(experiment_id, goal, *_best_stored(candidates, goal, is_stored))


def _best_stored(
    runs: Iterable[Run], goal: Goal, is_stored: Callable[[Run], bool]
) -> tuple[float | None, tuple[Run, ...]]:
    ties: dict[float, list[Run]] = defaultdict(list)
    for run in runs:
        value = goal.value_of(run.data.metrics)
        if value is not None and run.info.status == "FINISHED":
            ties[value].append(run)
    for value in sorted(ties, reverse=not goal.is_loss):
        stored = tuple(run for run in ties[value] if is_stored(run))
        if stored:
            return value, stored
    return None, ()


def failing_safe(what: str, failures: list[str], question: Callable[[], None]) -> None:
    """Ask, and keep the failure instead of raising it: a failed look-up protects."""
    try:
        question()
    except ExpmgrError as error:
        failures.append(f"{what} could not be read ({error})")
