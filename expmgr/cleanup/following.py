"""Keeps the tables of some experiments up to date: read once, then only what changed.

A refresh asks what changed (`expmgr.cleanup.changes`) and adds it to what is known
(`expmgr.cleanup.refreshing`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from expmgr.cleanup.changes import Asked, ask_what_changed
from expmgr.cleanup.refreshing import refreshed
from expmgr.cleanup.remembered import remember
from expmgr.cleanup.tables import RunsAndModels, models_table, runs_table
from expmgr.collector import loading
from expmgr.errors import TrackingError
from expmgr.tracking.journal import now_ms
from expmgr.tracking.queries import is_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.cleanup.locate import Finder
    from expmgr.cleanup.remembered import Remembered
    from expmgr.cleanup.survey import Survey

__all__ = ["CLOCK_MARGIN_MS", "Following"]

CLOCK_MARGIN_MS = 120_000
"""How far the server's clock may be off before a refresh misses something."""


@dataclass
class Following:
    """The tables of some experiments, read once and refreshed from then on.

    It keeps what the last reading told: some 4 KB a run, where the tables take 11 (of 30 keys
    a run) [measured].

    Parameters
    ----------
    survey
        Reads everything.
    ask
        Returns the client, all experiments and what tells where models lie.
    selection
        As ``experiments`` in `expmgr.ExperimentsManager.runs`.

    Attributes
    ----------
    read_at
        When everything was read last (UTC); None before that.
    """

    survey: Survey
    ask: Callable[[], tuple[MlflowClient, Sequence[Experiment], Finder]]
    selection: str | Iterable[str] | None = None
    read_at: datetime | None = None
    _state: Remembered | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> RunsAndModels:
        """Read everything.

        Raises
        ------
        NotFoundError
            No such experiment.
        TrackingError
            The server could not be asked.
        """
        with self._lock, loading():
            return _copied(self._read(*self.ask()))

    def refresh(self) -> RunsAndModels:
        """Read what changed since; everything where that was never read, or cannot be told.

        What it promises to show, whatever else there is: runs that began, ended or are under way,
        with their models and metrics; models that were made or finalized, whoever made them; the
        models that an evaluation names which ended since, in any experiment, with what was logged
        for them (an evaluation that itself made a model is not asked for others); registered
        versions; what this manager deleted, pinned or marked; and of all others what follows from
        that: the star, "best", "registered" and "used". The rest shows when everything is read:
        what others deleted, pinned or tagged, values logged for old models by runs that did not
        end, aliases that moved, and what is best in experiments that were not chosen.

        Costs six requests where nothing changed and one for the models of the runs that did (one
        for each hundred); one more for each evaluation that ended (or run that made no model: only
        itself tells) and each run that is newly best.

        Raises
        ------
        NotFoundError, TrackingError
            As `read`.
        """
        with self._lock, loading():
            client, experiments, finder = self.ask()
            state = self._state
            if state is None or not self._same_experiments(state, experiments):
                return _copied(self._read(client, experiments, finder))
            mark, asked_at = self.survey.memory.mark, now_ms()
            touched, scanned = self.survey.memory.since(state.mark)
            # Time alone makes one interrupted, and whoever deletes it writes to an old run.
            touched |= {m.id for m in state.models.values() if m.journal == "deleting"}
            asked = Asked(client, finder, experiments, state.asked_at - CLOCK_MARGIN_MS, touched)
            try:
                changes = ask_what_changed(asked, state)
            except TrackingError as error:
                if not is_refused(error):
                    raise
                # It does not search by these times.
                return _copied(self._read(client, experiments, finder))
            self.survey.memory.inputs.update(
                {id_: ids for id_, (_, ids) in changes.followed.items()}
            )
            known = refreshed(self.survey, asked, state, changes, scanned=scanned)
            answered = state.versions_at if known.unknown else asked_at
            self._state = replace(known, asked_at=asked_at, mark=mark, versions_at=answered)
            return _copied(self._state.tables)

    def _same_experiments(self, state: Remembered, experiments: Sequence[Experiment]) -> bool:
        chosen = self.survey.choose(experiments, self.selection)
        return [_identity(one) for one in chosen] == [
            _identity(one) for one in state.experiments
        ] and {one.experiment_id: self.survey.goals_of(one) for one in chosen} == state.goals

    def _read(
        self, client: MlflowClient, experiments: Sequence[Experiment], finder: Finder
    ) -> RunsAndModels:
        mark, asked_at = self.survey.memory.mark, now_ms()
        surveyed = self.survey.read(client, finder, experiments, self.selection)
        tables = RunsAndModels(runs_table(surveyed), models_table(surveyed))
        self.read_at = datetime.fromtimestamp(asked_at / 1000, tz=timezone.utc)
        self._state = remember(surveyed, tables, mark, asked_at)
        return tables


def _copied(tables: RunsAndModels) -> RunsAndModels:
    """Return tables of which whoever gets them may do as they like."""
    return RunsAndModels(tables.runs.copy(), tables.models.copy())


def _identity(experiment: Experiment) -> tuple[str, str, str]:
    return experiment.experiment_id, experiment.name, experiment.artifact_location
