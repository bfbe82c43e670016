"""What a reading of everything told, kept so that a refresh can go on from it."""

from __future__ import annotations

from collections import defaultdict
from copy import copy
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from expmgr.catalog.protection import Evidence
from expmgr.catalog.standings import Standings
from expmgr.cleanup.evidence import REGISTRY, best_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities import Experiment, Run

    from expmgr.catalog.model import Maker, Model
    from expmgr.catalog.protection import NamingRun
    from expmgr.catalog.quality import Goal, Rank
    from expmgr.catalog.reason import Reason
    from expmgr.catalog.versions import Versions
    from expmgr.cleanup.survey import Surveyed
    from expmgr.cleanup.tables import RunsAndModels

__all__ = ["Contest", "Remembered", "remember", "slim"]

Contest = tuple[str, "Goal"]
"""An experiment and what is called best in it."""


@dataclass
class Remembered:
    """What the last reading told, and all that makes the next one cheap.

    Attributes
    ----------
    asked_at
        When it was asked for, in milliseconds since 1970.
    mark
        See `expmgr.cleanup.memory.Memory.since`.
    rows
        Runs of the table, without what only their own row shows.
    versions_at
        When the registry was asked that answered last, as ``asked_at``.
    unknown
        That the registry could not be asked, which protects everything.
    families
        Ids of the models of each run, or of a model without one.
    naming
        Pinned, initial and active runs, by id.
    followed
        Evaluations that ended lately, by run id: when they ended, and the models they name.
    named
        Of runs that were asked for it, the models that they name, inputs included, and when the run
        had ended by then (0: not yet).
    """

    asked_at: int
    mark: int
    experiments: tuple[Experiment, ...]
    goals: dict[str, tuple[Goal, ...]]
    rows: dict[str, Run]
    models: dict[str, Model]
    families: dict[str, tuple[str, ...]]
    makers: dict[str, Maker]
    doubts: dict[str, Reason]
    untold: set[str]
    forgotten: set[str]
    measured: set[str]
    trashed: set[str]
    versions: Versions | None
    versions_at: int
    unknown: tuple[Reason, ...]
    naming: dict[str, NamingRun]
    best_naming: dict[Contest, tuple[NamingRun, ...]]
    other_naming: tuple[NamingRun, ...]
    ranks: dict[Contest, Mapping[str, Rank]]
    other_ranks: dict[str, tuple[Rank, ...]]
    standings: dict[Contest, Standings]
    stars: dict[str, float]
    named: dict[str, tuple[int, frozenset[str]]]
    followed: dict[str, tuple[int, tuple[str, ...]]]
    initial_homes: frozenset[str]
    tables: RunsAndModels

    @property
    def experiment_ids(self) -> list[str]:
        """Ids of the experiments of the table."""
        return [one.experiment_id for one in self.experiments]

    def copied(self) -> Remembered:
        """Return the same with dictionaries and sets of its own, to be changed."""
        held = {one.name: getattr(self, one.name) for one in fields(self)}
        own: dict[str, Any] = {
            name: copy(value) for name, value in held.items() if isinstance(value, (dict, set))
        }
        return replace(self, **own)

    def evidence(self, at: int) -> Evidence:
        """Return what protects."""
        best: dict[str, tuple[Rank, ...]] = defaultdict(tuple)
        for ranks in self.ranks.values():
            for model_id, rank in ranks.items():
                best[model_id] += (rank,)
        for model_id, others in self.other_ranks.items():
            best[model_id] += others
        named = [run for runs in self.best_naming.values() for run in runs]
        naming = (*self.naming.values(), *named, *self.other_naming)
        return Evidence(self.versions, naming, dict(best), self.unknown, at, self.initial_homes)

    def is_stored(self, model_id: str) -> bool:
        """Whether a LoggedModel has files; what is not measured, or lies elsewhere, counts so."""
        model = self.models.get(model_id)
        return model_id not in self.trashed if model is None else model.competes


class _Data:
    """Of a run's data what tells its models; the rest stands in its row."""

    __slots__ = ("metrics", "params", "tags")

    def __init__(self, metrics: dict[str, float], tags: dict[str, str]) -> None:
        self.metrics, self.tags = metrics, tags
        self.params: dict[str, str] = {}


def slim(run: Run) -> Run:
    """Return a run with what tells its models; the rest stands in its row."""
    from mlflow.entities import Run as Whole

    data: Any = _Data(run.data.metrics, run.data.tags)
    return Whole(run.info, data, None, getattr(run, "outputs", None))


def remember(
    surveyed: Surveyed, tables: RunsAndModels, mark: int, asked_at: int
) -> Remembered | None:
    """Take apart what a reading of everything told; None where other look-ups failed than one.

    The registry is asked at each refresh anyhow. What else protects everything until it is read
    again is asked for with everything.
    """
    catalog = surveyed.catalog
    evidence = catalog.evidence
    if _others_failed(evidence):
        return None
    ids = {one.experiment_id for one in surveyed.experiments}
    families: dict[str, list[str]] = {run_id: [] for run_id in catalog.makers}
    for model in catalog.models.values():
        families.setdefault(model.run_id or model.id, []).append(model.id)
    standings = {
        (id_, goal): Standings(id_, goal) for id_, goals in catalog.goals.items() for goal in goals
    }
    for family, members in families.items():
        models = [catalog.models[id_] for id_ in members]
        homes = {model.experiment_id for model in models}
        if family in catalog.makers:
            homes.add(catalog.makers[family].experiment_id)
        for home in homes & ids:
            for goal in catalog.goals[home]:
                standings[home, goal].enter(family, models, catalog.makers, catalog.proved)
    ranks = {contest: one.ranks(catalog.makers) for contest, one in standings.items()}
    other_ranks = {id_: list(told) for id_, told in evidence.best.items()}
    for told in ranks.values():
        for id_, rank in told.items():
            if rank in other_ranks.get(id_, ()):
                other_ranks[id_].remove(rank)
    best = [run for run in evidence.naming if run.best_in]
    ends = {run.info.run_id: run.info.end_time for run in surveyed.runs}
    return Remembered(
        asked_at=asked_at,
        mark=mark,
        experiments=surveyed.experiments,
        goals={id_: tuple(goals) for id_, goals in catalog.goals.items()},
        rows={run.info.run_id: slim(run) for run in surveyed.runs},
        models=dict(catalog.models),
        families={family: tuple(members) for family, members in families.items()},
        makers=dict(catalog.makers),
        doubts=dict(catalog.doubts),
        untold=set(surveyed.untold),
        forgotten=set(surveyed.forgotten),
        measured=set(surveyed.measured),
        trashed=set(surveyed.trashed),
        versions=evidence.versions,
        versions_at=asked_at,
        unknown=evidence.unknown,
        naming={run.run_id: run for run in evidence.naming if not run.best_in},
        best_naming={
            (id_, goal): tuple(
                run for run in best if (run.best_in, run.why) == (id_, best_by(goal))
            )
            for id_, goal in standings
        },
        other_naming=tuple(run for run in best if run.best_in not in ids),
        ranks=dict(ranks),
        other_ranks={id_: tuple(told) for id_, told in other_ranks.items() if told},
        standings=standings,
        stars=catalog.stars(),
        named={run.run_id: (ends.get(run.run_id) or 0, run.model_ids) for run in evidence.naming},
        followed={},
        initial_homes=evidence.initial_homes,
        tables=tables,
    )


def _others_failed(evidence: Evidence) -> bool:
    return any(reason.subject != REGISTRY for reason in evidence.unknown)
