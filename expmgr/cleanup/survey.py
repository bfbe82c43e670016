"""Reads all runs and models of some experiments at once, for tables and sums.

What it learns of the container is kept for the tables to come, until something is deleted there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from expmgr.catalog.catalog import Catalog
from expmgr.catalog.protection import Evidence
from expmgr.cleanup.memory import Memory
from expmgr.cleanup.reading import Reading
from expmgr.moving_in import initial_homes
from expmgr.tracking.journal import now_ms
from expmgr.tracking.queries import asks_a_server, iter_runs, select_experiments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

    from expmgr.catalog.quality import Goal
    from expmgr.catalog.usage import Scan
    from expmgr.catalog.versions import Versions
    from expmgr.cleanup.locate import Finder
    from expmgr.storage.protocol import Storage

__all__ = ["Survey", "Surveyed"]

_T = TypeVar("_T")


def _begun(job: Callable[[], _T]) -> Callable[[], _T]:
    """Begin a job in a thread of its own; returns what waits for its end.

    A server works at one answer while the one before is taken in here. Who fails before does not
    wait for it.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="expmgr-ask")
    began = pool.submit(job)
    pool.shutdown(wait=False)
    return began.result


@dataclass(frozen=True)
class Surveyed:
    """What was read.

    Attributes
    ----------
    experiments
        Those chosen.
    runs
        Their runs that match the filter, newest first.
    untold
        Runs that list a model of which MLflow tells nothing, and no other.
    forgotten
        Runs that a model names which MLflow does not know any more: what else their files tell is
        not certain to be their model.
    measured
        Runs without a model whose folder was measured.
    trashed
        LoggedModels that lie in the trash, as far as a run of these lists them.
    """

    experiments: tuple[Experiment, ...]
    runs: tuple[Run, ...]
    catalog: Catalog
    untold: frozenset[str] = frozenset()
    forgotten: frozenset[str] = frozenset()
    measured: frozenset[str] = frozenset()
    trashed: frozenset[str] = frozenset()


@dataclass
class Survey:
    """Reads tables for one manager, and keeps what was measured.

    Attributes
    ----------
    is_own
        Whether an experiment is the manager's own.
    goals_of
        What "best" means in an experiment.
    storage
        Returns the manager's storage; None for a manager without a container.
    """

    is_own: Callable[[Experiment], bool]
    goals_of: Callable[[Experiment], tuple[Goal, ...]]
    storage: Callable[[], Storage] | None = None
    memory: Memory = field(default_factory=Memory)
    _versions: Versions | None = None

    def forget(self, ids: Iterable[str]) -> None:
        """Note that what was measured of some runs and models no longer holds."""
        self.memory.forget(ids)

    def remember(self, scan: Scan) -> None:
        """Keep what a scan of the container measured, in place of what was known there."""
        self.memory.remember(scan)

    def choose(
        self, experiments: Iterable[Experiment], selection: str | Iterable[str] | None
    ) -> list[Experiment]:
        """Return the experiments that somebody means; raises NotFoundError for one of no name."""
        return select_experiments(experiments, selection, self.is_own)

    def read(
        self,
        client: MlflowClient,
        finder: Finder,
        experiments: Sequence[Experiment],
        selection: str | Iterable[str] | None = None,
        filter_string: str = "",
        *,
        limit: int | None = None,
    ) -> Surveyed:
        """Read runs and models, and what protects them.

        Parameters
        ----------
        experiments
            All there are, those in the trash included.
        limit
            Only that many of the newest runs, from a few small queries.
        """
        chosen = self.choose(experiments, selection)
        ids = [experiment.experiment_id for experiment in chosen]
        runs: list[Run] = []
        reading = Reading(
            self.memory, self.goals_of, self.storage, client, finder, experiments, ids, runs
        )
        if limit is None and ids and asks_a_server(client):
            reading.listing = _begun(reading.list_models)
        runs += iter_runs(client, ids, filter_string, limit=limit)
        reading.read_models(page=limit is not None)
        if limit is not None:
            homes = initial_homes(experiments)
            evidence = Evidence(self._versions, at=now_ms(), initial_homes=homes)
        elif filter_string:
            evidence = reading.targeted_evidence()
        else:
            evidence = reading.whole_evidence()
        if evidence.versions is not None:
            self._versions = evidence.versions
        goals = {experiment.experiment_id: self.goals_of(experiment) for experiment in chosen}
        catalog = Catalog(
            reading.models,
            reading.makers,
            evidence,
            goals if limit is None else {},
            self.memory.proved,
            reading.doubts,
        )
        return Surveyed(
            tuple(chosen),
            tuple(runs),
            catalog,
            frozenset(reading.untold),
            frozenset(reading.forgotten),
            frozenset(reading.measured_without),
            frozenset(reading.trashed),
        )
