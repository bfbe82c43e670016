"""Why models must stay. Pure: the evidence was gathered before.

Protection follows the model: every version and alias of it counts, every pin, and every run naming
it that is itself pinned, initial, active or best. A look-up that failed protects.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from expmgr.catalog.lease import active_words
from expmgr.catalog.model import KEEP_TAG, Model, is_initial, is_pin
from expmgr.catalog.parts import EVERY_PART
from expmgr.catalog.quality import (
    Candidate,
    Siblings,
    best_models,
    newest_entry,
    own_entries,
)
from expmgr.catalog.reason import Reason, distinct
from expmgr.tracking.models import history_paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from expmgr.catalog.model import Maker
    from expmgr.catalog.quality import Entry, Goal, Rank
    from expmgr.catalog.versions import Versions

__all__ = [
    "Evidence",
    "NamingRun",
    "best_in",
    "best_linking",
    "candidates",
    "reasons_beside",
    "reasons_of",
    "zeros",
]

_UPLOAD_HOURS = 24
"""A model without a maker that stays PENDING for longer is no longer being uploaded."""


@dataclass(frozen=True)
class NamingRun:
    """A run that protects by what it is, with the models that it names as output or input.

    Attributes
    ----------
    best_in
        The experiment that it is best in; "" for one that is pinned, initial or active.
    """

    run_id: str
    why: str
    model_ids: frozenset[str]
    best_in: str = ""


@dataclass(frozen=True)
class Evidence:
    """What the rules need to know besides the model and its maker.

    Attributes
    ----------
    versions
        The model registry; None where nobody asked.
    naming
        Pinned, initial, active and best runs.
    best
        Models that are best, by id, with how.
    unknown
        Look-ups that failed; each protects everything.
    at
        Now, in milliseconds since 1970.
    initial_homes
        Experiments whose models are all initial ones, by id.
    """

    versions: Versions | None = None
    naming: tuple[NamingRun, ...] = ()
    best: Mapping[str, tuple[Rank, ...]] = field(default_factory=dict)
    unknown: tuple[Reason, ...] = ()
    at: int = 0
    initial_homes: frozenset[str] = frozenset()


def reasons_of(model: Model, maker: Maker | None, evidence: Evidence) -> tuple[Reason, ...]:
    """Return why a model must stay, each reason once; empty where it may go."""
    reasons = list(_own_reasons(model, maker, evidence))
    reasons += [
        Reason("best", rank.words, f"{model.id} {rank.goal.metric}")
        for rank in evidence.best.get(model.id, ())
    ]
    if evidence.versions is not None:
        reasons += [
            Reason("registered", version.words, version.subject)
            for version in evidence.versions.of(model, _siblings(model, maker))
        ]
    reasons += [
        Reason("used", f"{naming.why} run {naming.run_id} uses this model", naming.run_id)
        for naming in evidence.naming
        if naming.run_id != model.run_id and model.id in naming.model_ids
    ]
    reasons += evidence.unknown
    return distinct(reasons)


def _siblings(model: Model, maker: Maker | None) -> tuple[str, ...]:
    """Return where the other directories lie that the maker recorded as models."""
    if model.kind != "directory" or model.path is None or maker is None:
        return ()
    artifacts = model.path.removesuffix(f"/{model.name}")
    return tuple(
        f"{artifacts}/{path.strip('/')}"
        for path in history_paths(maker.tags)
        if path.strip("/") not in ("", model.name)
    )


def reasons_beside(
    run_id: str, maker: Maker | None, names: Iterable[str], evidence: Evidence
) -> tuple[Reason, ...]:
    """Return why artifacts of a run that lie in no model must stay.

    Parameters
    ----------
    names
        Blob names of which a version that was registered by their place must not lose its own.
    """
    beside = Model(run_id, "raw", "", run_id=run_id)
    reasons = [
        reason for reason in _own_reasons(beside, maker, evidence) if reason.kind in EVERY_PART
    ]
    if evidence.versions is not None:
        reasons += [
            Reason("registered", version.words, version.subject)
            for name in names
            for version in evidence.versions.beside(run_id, name)
        ]
    return distinct([*reasons, *evidence.unknown])


def _own_reasons(model: Model, maker: Maker | None, evidence: Evidence) -> Iterator[Reason]:
    if maker is not None and maker.active:
        words = active_words(maker.id, maker.status, maker.tags, maker.began, evidence.at)
        yield Reason("active", words, maker.id)
    homes = evidence.initial_homes
    initial = maker is not None and is_initial(maker.tags, maker.experiment_id, homes)
    if initial or model.experiment_id in homes:
        yield Reason("initial", "it is the initial model", model.id if maker is None else maker.id)
    if maker is not None:
        if is_pin(maker.tags.get(KEEP_TAG)):
            yield Reason("pinned", f"the run has the tag {KEEP_TAG}", maker.id)
    elif model.status == "PENDING" and evidence.at - model.created < _UPLOAD_HOURS * 3_600_000:
        yield Reason("active", "the model is PENDING: it may still be uploaded", model.id)
    if is_pin(model.tags.get(KEEP_TAG)):
        yield Reason("pinned", f"the model has the tag {KEEP_TAG}", model.id)


# ------------------------------------------------------------------------------------------ best


def candidates(
    models: Iterable[Model],
    makers: Mapping[str, Maker],
    goal: Goal,
    proved: Mapping[Entry, bool | None],
) -> list[Candidate]:
    """Return the models that may be best, with their values by a goal.

    Give all models of a maker together: what its values tell apart depends on its other models.

    Parameters
    ----------
    proved
        Of own values that are exactly 0, whether they were logged as 0 (True) or as NaN, which
        MLflow gives back as 0 for LoggedModels (False); None or missing where that is not known.
    """
    by_maker: dict[str, list[Model]] = defaultdict(list)
    for model in models:
        if model.competes:
            by_maker[model.run_id].append(model)
    found: list[Candidate] = []
    for run_id, siblings in by_maker.items():
        maker = makers.get(run_id) if run_id else None
        outputs = {} if maker is None else maker.outputs
        entries = [
            Siblings(model.id, outputs.get(model.id), _counting(model, goal, proved))
            for model in siblings
        ]
        own = own_entries(run_id, entries, goal)
        of_maker = None
        if maker is not None and maker.status == "FINISHED" and not maker.in_trash:
            of_maker = goal.value_of(maker.metrics)
        for model in siblings:
            value, entry = own.get(model.id, (None, None))
            unproved = entry is not None and entry.value == 0 and proved.get(entry) is None
            whole = model.whole and not unproved
            found.append(Candidate(model.id, run_id, model.created, whole, value, of_maker))
    return found


def _counting(model: Model, goal: Goal, proved: Mapping[Entry, bool | None]) -> Entry | None:
    entry = newest_entry(model.entries, goal.metric)
    return None if entry is not None and proved.get(entry) is False else entry


def zeros(models: Iterable[Model], goals: Iterable[Goal]) -> set[Entry]:
    """Return the own values that are exactly 0, which may have been logged as NaN."""
    metrics = {goal.metric for goal in goals}
    return {
        entry
        for model in models
        if model.competes and model.entries
        for metric in metrics
        if (entry := newest_entry(model.entries, metric)) is not None and entry.value == 0
    }


def best_in(
    experiment_id: str,
    models: Sequence[Model],
    makers: Mapping[str, Maker],
    goal: Goal,
    proved: Mapping[Entry, bool | None],
) -> dict[str, Rank]:
    """Return the best models of an experiment, by id.

    Those that it holds compete with each other; a model that one of its runs made in another
    experiment is best here where it would be, but takes the place from none.
    """
    entered = candidates(models, makers, goal, proved)
    homes = {model.id: model.experiment_id for model in models}
    home = [candidate for candidate in entered if homes[candidate.id] == experiment_id]
    found = best_models(home, goal)
    for guest in entered:
        if homes[guest.id] == experiment_id:
            continue
        maker = makers.get(guest.run_id)
        if maker is not None and maker.experiment_id == experiment_id:
            rank = best_models([*home, guest], goal).get(guest.id)
            if rank is not None:
                found[guest.id] = rank
    return found


def best_linking(
    runs: Iterable[Maker], is_stored: Mapping[str, bool], owners: Iterable[str], goal: Goal
) -> tuple[Maker, ...]:
    """Return the runs that are best of their experiment by a model that others made.

    Of the FINISHED runs that have a stored model or link to one, those with the best value; of
    these the ones without a model of their own.

    Parameters
    ----------
    is_stored
        Whether a LoggedModel has files, by id.
    owners
        Runs that have a stored model of their own.
    """
    own = set(owners)
    values: dict[float, list[Maker]] = defaultdict(list)
    for run in runs:
        value = goal.value_of(run.metrics)
        if value is None or run.status != "FINISHED" or run.in_trash:
            continue
        if run.id in own or any(is_stored.get(model_id) for model_id in run.outputs):
            values[value].append(run)
    top = goal.best(values)
    return () if top is None else tuple(run for run in values[top] if run.id not in own)
