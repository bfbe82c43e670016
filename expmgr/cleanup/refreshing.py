"""From what was known and what changed to what is known then, with its tables.

The models of what was read again are told by the rules of every reading (`expmgr.cleanup.reading`),
compete with all others (`expmgr.catalog.standings`), and of the others those rows are made anew of
which anything is different by that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from expmgr.catalog.model import ACTIVE_STATUSES, KEEP_TAG, is_initial, is_pin
from expmgr.catalog.protection import NamingRun
from expmgr.catalog.standings import JudgedCatalog
from expmgr.cleanup.contest import prove
from expmgr.cleanup.evidence import best_by, naming_runs
from expmgr.cleanup.patching import in_order, patched
from expmgr.cleanup.reading import Reading, last_change
from expmgr.cleanup.remembered import slim
from expmgr.cleanup.survey import Surveyed
from expmgr.cleanup.tables import RunsAndModels, models_table, runs_table
from expmgr.tracking.journal import now_ms
from expmgr.tracking.models import history_paths, output_model_ids

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlflow.entities import Run

    from expmgr.catalog.protection import Evidence
    from expmgr.catalog.quality import Candidate
    from expmgr.cleanup.changes import Asked, Changes
    from expmgr.cleanup.remembered import Contest, Remembered
    from expmgr.cleanup.survey import Survey

__all__ = ["refreshed"]


def refreshed(
    survey: Survey, asked: Asked, before: Remembered, changes: Changes, *, scanned: bool
) -> Remembered:
    """Return what is known with what changed; what was known before stays as it is.

    Parameters
    ----------
    scanned
        Whether the container was scanned since: then all models are measured anew.

    Raises
    ------
    TrackingError
        The server could not be asked for what a model or a run that is best by now names.
    """
    return _Step(survey, asked, before, changes, scanned=scanned).next()


class _Step:
    """One refresh: from what was known and what changed to what is known then."""

    def __init__(
        self, survey: Survey, asked: Asked, before: Remembered, changes: Changes, *, scanned: bool
    ) -> None:
        self._survey = survey
        self._asked = asked
        self._before = before
        self._changes = changes
        self._proved = survey.memory.proved
        self._ids = [one.experiment_id for one in before.experiments]
        self._again: set[str] = set(changes.families | changes.alone)
        self._whole: set[str] = set()
        self.state = replace(
            before.copied(),
            versions=changes.versions or before.versions,
            unknown=changes.unknown,
            named={
                **before.named,
                **{id_: (end, frozenset(ids)) for id_, (end, ids) in changes.followed.items()},
            },
            followed=changes.followed,
        )
        reading = self._take_runs(scanned=scanned)
        self._take_models(reading, scanned=scanned)

    def next(self) -> Remembered:
        """Return what is known then."""
        self._compete()
        if not self._again and not self._unsettled() and self._same_evidence():
            return self.state
        at = now_ms()
        evidence = self.state.evidence(at)
        old = self._before.evidence(at)
        stars: dict[str, float] = {}
        for (experiment_id, goal), standing in self.state.standings.items():
            if goal == self.state.goals[experiment_id][0]:
                stars |= standing.stars()
        self.state = replace(self.state, stars=stars)
        again = self._again | {
            self._family(id_) for id_ in self._judged_anew(old, evidence) | self._unsettled()
        }
        return replace(self.state, tables=self._tables(again, evidence))

    # -------------------------------------------------------------------------------------- models

    def _take_runs(self, *, scanned: bool) -> Reading:
        """Enter the runs that were read again; returns the reading that tells their models."""
        state, changes = self.state, self._changes
        for run_id in changes.gone:
            state.rows.pop(run_id, None)
            state.makers.pop(run_id, None)
        state.makers.update(changes.makers)
        for run_id, run in changes.runs.items():
            if run.info.experiment_id in self._ids:
                state.rows[run_id] = slim(run)
                self._whole.add(run_id)
            self._take_naming(run)
        if scanned:
            self._again |= state.rows.keys()
            read = {id_ for id_ in state.rows if not self._is_recorded(id_)} | changes.families
        else:
            read = changes.families
        return Reading(
            self._survey.memory,
            self._survey.goals_of,
            self._survey.storage,
            self._asked.client,
            self._asked.finder,
            self._asked.experiments,
            self._ids,
            [state.rows[run_id] for run_id in sorted(read & state.rows.keys())],
        )

    def _is_recorded(self, run_id: str) -> bool:
        """Whether MLflow recorded a model of the run, rather than its files telling one."""
        run = self.state.rows[run_id]
        outputs = output_model_ids(run)
        models = (self.state.models[id_] for id_ in self.state.families.get(run_id, ()))
        return (
            run_id in self.state.untold
            or bool(history_paths(run.data.tags))
            or any(m.kind == "logged" and (not m.in_trash or m.id in outputs) for m in models)
        )

    def _take_naming(self, run: Run) -> None:
        """Enter a run that is pinned, initial or active by now, or take it out."""
        run_id, tags = run.info.run_id, run.data.tags
        kinds = (
            ("pinned", is_pin(tags.get(KEEP_TAG))),
            ("initial", is_initial(tags, run.info.experiment_id, self.state.initial_homes)),
            ("active", run.info.status in ACTIVE_STATUSES),
        )
        whys = [why for why, is_so in kinds if is_so]
        before = self.state.naming.pop(run_id, None)
        if not whys:
            return
        names = frozenset(output_model_ids(run))
        if whys != ["active"]:
            names |= self._names([run_id]).get(run_id, frozenset())
        elif before is not None:  # what it evaluates meanwhile is asked for when it ended
            names |= before.model_ids
        self.state.naming[run_id] = NamingRun(run_id, " and ".join(whys), names)

    def _take_models(self, reading: Reading, *, scanned: bool) -> None:
        """Enter the models of the runs that were read again, in place of those known."""
        state = self.state
        read = {run.info.run_id for run in reading.runs}
        replaced = self._changes.families | self._changes.alone | read
        replaced |= {model.model_id for model in self._changes.listed}
        for family in replaced:
            for model_id in state.families.pop(family, ()):
                state.models.pop(model_id, None)
                state.doubts.pop(model_id, None)
                state.trashed.discard(model_id)
        state.untold -= replaced
        state.forgotten -= replaced
        state.measured -= replaced
        reading.elsewhere = state.models.keys()
        reading.makers = {
            m.source_run_id: state.makers[m.source_run_id]
            for m in self._changes.listed
            if m.source_run_id in state.makers
        }
        reading.read_models(page=True, listed=self._changes.listed)
        if scanned:
            self._measure_again(reading)
        state.makers.update(reading.makers)
        state.models.update(reading.models)
        families: dict[str, list[str]] = {family: [] for family in replaced & state.makers.keys()}
        for model in reading.models.values():
            families.setdefault(model.run_id or model.id, []).append(model.id)
        for family, members in families.items():
            kept_ids = state.families.get(family, ()) if scanned else ()
            state.families[family] = tuple(dict.fromkeys((*kept_ids, *members)))
        self._again |= families.keys()
        state.doubts.update(reading.doubts)
        state.untold.update(reading.untold)
        state.forgotten.update(reading.forgotten)
        state.measured.update(reading.measured_without)
        state.trashed.update(reading.trashed)

    def _measure_again(self, reading: Reading) -> None:
        """Look up what the container was seen to hold of the models that were not read again."""
        finder, makers = self._asked.finder, self.state.makers
        reading.makers = {**makers, **reading.makers}
        for model in self.state.models.values():
            run = self.state.rows.get(model.run_id)
            if model.kind == "logged":
                path, below, changed = model.path, "", model.updated
            elif run is not None:
                path = finder.path_or_none(run.info.artifact_uri)
                below, changed = model.name, last_change(run)
            else:
                continue
            reading.models.setdefault(model.id, reading.as_known(model, path, below, changed))

    # ------------------------------------------------------------------------------------ judgement

    def _family(self, model_id: str) -> str:
        model = self.state.models.get(model_id)
        return model_id if model is None or not model.run_id else model.run_id

    def _compete(self) -> None:
        """Let the models that were read again compete with all others."""
        state = self.state
        families = {
            family: [state.models[id_] for id_ in state.families.get(family, ())]
            for family in self._again
        }
        homes: set[str] = set()
        for known in (self._before, state):
            for family in families:
                if family in known.makers:
                    homes.add(known.makers[family].experiment_id)
                homes |= {known.models[id_].experiment_id for id_ in known.families.get(family, ())}
        logged = any(model.kind == "logged" for model in state.models.values())
        for contest in list(state.standings):
            experiment_id, goal = contest
            if experiment_id in homes:
                concerned = [model for models in families.values() for model in models]
                prove(self._asked.client, concerned, [goal], self._proved)
                standing = state.standings[contest] = state.standings[contest].copy()
                for family, models in families.items():
                    standing.enter(family, models, state.makers, self._proved)
                state.ranks[contest] = standing.ranks(state.makers)
            if logged and self._again:  # a run may be best by a model of another experiment
                self._name_best(contest)

    def _name_best(self, contest: Contest) -> None:
        """Tell what the best runs name; one that is newly best is asked for its inputs."""
        state, (experiment_id, goal) = self.state, contest
        standing, ranks = state.standings[contest], state.ranks[contest]
        linking = standing.linking(state.makers, state.is_stored)
        makers = {state.models[model_id].run_id for model_id in ranks}
        run_ids = sorted(filter(None, makers | {run.id for run in linking}))
        known = self._names(run_ids)
        state.best_naming[contest] = tuple(
            NamingRun(
                run_id,
                best_by(goal),
                known[run_id] | frozenset(state.makers[run_id].outputs),
                experiment_id,
            )
            for run_id in run_ids
            if run_id in known and run_id in state.makers
        )

    def _names(self, run_ids: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return the models that runs name; one that was never asked since it ended is asked."""
        named = self.state.named

        def ended(run_id: str) -> int:
            run = self._changes.runs.get(run_id) or self.state.rows.get(run_id)
            return 0 if run is None else run.info.end_time or 0

        wanted = list(run_ids)
        known = {
            run_id: named[run_id][1]
            for run_id in wanted
            if run_id in named
            and (run_id not in self._changes.runs or named[run_id][0] == ended(run_id))
        }
        ask = dict.fromkeys((run_id for run_id in wanted if run_id not in known), "")
        for run in naming_runs(self._asked.client, ask):
            named[run.run_id] = ended(run.run_id), run.model_ids
            known[run.run_id] = run.model_ids
        return known

    def _judged_anew(self, old: Evidence, new: Evidence) -> set[str]:
        """Return the models of which another thing is true by now: best, used, registered, star."""
        state = self.state
        found = {
            id_
            for id_ in old.best.keys() | new.best.keys()
            if old.best.get(id_) != new.best.get(id_)
        }
        before, after = set(old.naming), set(new.naming)
        found |= {id_ for run in before ^ after for id_ in run.model_ids}
        found |= {
            id_
            for id_ in state.stars.keys() | self._before.stars.keys()
            if state.stars.get(id_) != self._before.stars.get(id_)
        }
        if old.unknown != new.unknown or (old.versions is None) != (new.versions is None):
            return set(state.models)
        if old.versions is not None and new.versions is not None and new.versions != old.versions:
            found |= {
                id_
                for id_, model in state.models.items()
                if old.versions.of(model) != new.versions.of(model)
            }
        return found & state.models.keys()

    def _same_evidence(self) -> bool:
        now, before = self.state, self._before
        return (now.naming, now.versions, now.unknown) == (
            before.naming,
            before.versions,
            before.unknown,
        )

    def _unsettled(self) -> set[str]:
        """Return the models that time alone changes: PENDING for so long that nobody uploads."""
        return {
            id_
            for id_, model in self.state.models.items()
            if model.status == "PENDING" and not model.run_id
        }

    # --------------------------------------------------------------------------------------- tables

    def _tables(self, again: set[str], evidence: Evidence) -> RunsAndModels:
        """Make the rows of some families anew."""
        state, before = self.state, self._before.tables
        models = {
            id_: state.models[id_] for family in again for id_ in state.families.get(family, ())
        }
        compared: dict[str, Candidate] = {}
        for (experiment_id, goal), standing in state.standings.items():
            if goal == state.goals[experiment_id][0]:
                compared |= standing.compared(again)
        part = Surveyed(
            state.experiments,
            tuple(
                self._changes.runs[id_] if id_ in self._whole else state.rows[id_]
                for id_ in again
                if id_ in state.rows
            ),
            JudgedCatalog(
                models,
                state.makers,
                evidence,
                state.goals,
                self._proved,
                state.doubts,
                state.stars,
                compared,
            ),
            frozenset(state.untold),
            frozenset(state.forgotten),
            frozenset(state.measured),
        )
        runs = patched(
            before.runs,
            runs_table(part),
            key="run_id",
            gone=self._changes.gone,
            cells=again - self._whole,
        )
        old = {id_ for family in again for id_ in self._before.families.get(family, ())}
        found = patched(before.models, models_table(part), key="model_id", gone=old)
        return RunsAndModels(
            in_order(runs, "start_time", "run_id"), in_order(found, "created", "model_id")
        )
