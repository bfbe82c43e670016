"""What is best: the one function that table, plan, policies and trainer ask. Pure.

Best is a model, not a run. A model's *own* value is the newest that was logged for it, whoever
logged it; its *maker's* value is the last one of the run that made it; its *quality* is the own
value, else the maker's. The best by each of the three is protected, and quality carries the star.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "MOST_EQUAL",
    "Candidate",
    "Entry",
    "Goal",
    "Rank",
    "best_models",
    "newest_entries",
    "newest_entry",
    "own_entries",
    "star_models",
]

MOST_EQUAL = 10
"""Among equals so many of the newest are best: of a thousand perfect ones the others may go."""

_DIVERGED = 1e300
"""SQL stores keep an infinite metric as 1.797e308 (``SqlAlchemyStore.sanitize_metric_value``)."""


@dataclass(frozen=True)
class Goal:
    """What "best" means in an experiment.

    Attributes
    ----------
    metric
        Name of the main metric.
    is_loss
        True where the smaller value is the better one.
    """

    metric: str
    is_loss: bool

    def counts(self, value: float | None) -> float | None:
        """Return a value that can be compared, None for a missing, NaN or infinite one."""
        if value is None or not math.isfinite(value) or abs(value) >= _DIVERGED:
            return None
        return float(value)

    def value_of(self, metrics: Mapping[str, float]) -> float | None:
        """Return the main metric among a run's, None where none counts."""
        return self.counts(metrics.get(self.metric))

    def is_better(self, left: float, right: float) -> bool:
        """Whether ``left`` beats ``right``; equal values do not."""
        return left < right if self.is_loss else left > right

    def best(self, values: Iterable[float]) -> float | None:
        """Return the best of some values, None of none."""
        return (min if self.is_loss else max)(values, default=None)


@dataclass(frozen=True, slots=True)
class Entry:
    """One value that was logged for a model.

    Attributes
    ----------
    timestamp
        Milliseconds since 1970.
    run_id
        The run that logged it.
    """

    key: str
    value: float
    timestamp: int
    step: int
    run_id: str


def newest_entries(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Return by key the entry that counts: the newest by time, then step, then run id.

    The order is MLflow's (``SqlAlchemyStore._apply_order_by_search_logged_models``), so that a
    search sorted by the metric finds the same models first. Where even these agree (one value a
    data set), any may be meant: the last one given.
    """
    found: dict[str, Entry] = {}
    for entry in entries:
        before = found.get(entry.key)
        if (
            before is None
            or (entry.timestamp, entry.step) > (before.timestamp, before.step)
            or (
                (entry.timestamp, entry.step) == (before.timestamp, before.step)
                and entry.run_id <= before.run_id
            )
        ):
            found[entry.key] = entry
    return found


def newest_entry(entries: Iterable[Entry], key: str) -> Entry | None:
    """Return the entry that counts for one key, see `newest_entries`; None where there is none."""
    return newest_entries(entry for entry in entries if entry.key == key).get(key)


@dataclass(frozen=True, slots=True)
class Siblings:
    """What tells the models of one maker apart."""

    id: str
    step: int | None
    entry: Entry | None


def own_entries(
    maker: str, siblings: Sequence[Siblings], goal: Goal
) -> dict[str, tuple[float, Entry]]:
    """Return the own values of the models of one maker, by model id, with the entries behind them.

    MLflow's fluent API copies what the maker logs onto every model of equal output step, so such
    values do not tell these models apart: they share the best of them. What another run logged (an
    evaluation) is a model's own.

    Parameters
    ----------
    maker
        The run id; "" for models without one.
    siblings
        Its models, each with its newest entry at the goal's metric.
    """
    found: dict[str, tuple[float, Entry]] = {}
    copied: dict[int | None, list[Siblings]] = defaultdict(list)
    for model in siblings:
        value = None if model.entry is None else goal.counts(model.entry.value)
        if model.entry is None or value is None:
            continue
        found[model.id] = (value, model.entry)
        if maker and model.entry.run_id == maker:
            copied[model.step].append(model)
    for alike in copied.values():
        if len(alike) > 1:
            shared = goal.best(found[model.id][0] for model in alike)
            assert shared is not None
            for model in alike:
                found[model.id] = (shared, found[model.id][1])
    return found


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be the best, as the comparison sees it.

    Attributes
    ----------
    run_id
        Its maker, "" where it has none.
    created
        Milliseconds since 1970.
    whole
        Whether it is READY and its files were seen, ``MLmodel`` among them. Others are doubtful:
        they may be protected, but take the protection from nobody.
    own, maker
        Its own value and that of its maker; None where there is none that counts.
    """

    id: str
    run_id: str
    created: int
    whole: bool
    own: float | None = None
    maker: float | None = None

    @property
    def quality(self) -> float | None:
        """The own value, else the maker's."""
        return self.maker if self.own is None else self.own


@dataclass(frozen=True)
class Rank:
    """That a model is best: its value, whose value it is, and how many models equal it."""

    goal: Goal
    value: float
    own: bool
    equal: int = 1

    @property
    def words(self) -> str:
        """For a person."""
        whose = "" if self.own else " of its run"
        words = f"{self.goal.metric} = {self.value:.6g}{whose} is the best of its experiment"
        return words if self.equal == 1 else f"{words}, one of {self.equal:,} equal"


def best_models(candidates: Iterable[Candidate], goal: Goal) -> dict[str, Rank]:
    """Return the models that are protected as best, by id.

    The union of the best by own values alone, by maker values alone, and by quality.
    """
    models = list(candidates)
    found: dict[str, Rank] = {}
    rankings: tuple[tuple[Sequence[Candidate], Callable[[Candidate], float | None], bool], ...] = (
        (models, lambda model: model.own, True),
        (models, lambda model: model.quality, True),
        (_told_apart(models, goal), lambda model: model.maker, False),
    )
    for entered, value_of, own in rankings:
        for model, value, equal in _top(entered, value_of, goal):
            found.setdefault(model.id, Rank(goal, value, own and model.own is not None, equal))
    return found


def star_models(candidates: Iterable[Candidate], goal: Goal) -> dict[str, float]:
    """Return the models that carry the star, by id: the best by quality, with that quality."""
    top = _top(list(candidates), lambda model: model.quality, goal)
    return {model.id: value for model, value, _ in top}


def _top(
    models: Sequence[Candidate], value_of: Callable[[Candidate], float | None], goal: Goal
) -> list[tuple[Candidate, float, int]]:
    """Return the best whole models, and the best doubtful ones where they are better still."""
    values = [value_of(model) for model in models]
    whole, doubtful = (
        goal.best(
            value
            for model, value in zip(models, values, strict=True)
            if value is not None and model.whole == wanted
        )
        for wanted in (True, False)
    )
    found: list[tuple[Candidate, float, int]] = []
    for wanted, best in ((True, whole), (False, doubtful)):
        if best is None or (not wanted and whole is not None and not goal.is_better(best, whole)):
            continue
        equal = [
            model
            for model, value in zip(models, values, strict=True)
            if value == best and model.whole == wanted
        ]
        found += _newest(equal, best)
    return found


def _newest(equal: Sequence[Candidate], value: float) -> list[tuple[Candidate, float, int]]:
    newest = sorted(equal, key=lambda model: (-model.created, model.id))[:MOST_EQUAL]
    return [(model, value, len(equal)) for model in newest]


def _told_apart(models: Sequence[Candidate], goal: Goal) -> list[Candidate]:
    """Return the models without those that a sibling of their run beats by its own value."""
    by_run: dict[str, list[Candidate]] = defaultdict(list)
    for model in models:
        if model.maker is not None:
            by_run[model.run_id].append(model)
    kept: list[Candidate] = []
    for siblings in by_run.values():
        if len(siblings) == 1:
            kept += siblings
            continue
        valued = [model for model in siblings if model.own is not None]
        kept += [model for model in siblings if model.own is None]
        whole = goal.best(model.own for model in valued if model.whole and model.own is not None)
        doubtful = goal.best(
            model.own for model in valued if not model.whole and model.own is not None
        )
        for model in valued:
            if model.whole:
                best = model.own == whole
            else:
                best = model.own == doubtful and (
                    whole is None or (doubtful is not None and goal.is_better(doubtful, whole))
                )
            if best:
                kept.append(model)
    return kept
