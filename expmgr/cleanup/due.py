"""Carrying out the marks that are due: what each saw, where nothing protects it by now."""

from __future__ import annotations

import logging
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from expmgr.catalog.files import marked_directories
from expmgr.cleanup.bulk import delete_all
from expmgr.cleanup.bulk_together import Together
from expmgr.cleanup.plan import DeletionPlan, PlannedLocation, RunPlan
from expmgr.cleanup.report import DeletionReport
from expmgr.errors import DeletionCancelledError, ExpmgrError
from expmgr.formatting import format_moment
from expmgr.text import words
from expmgr.tracking.journal import (
    RECORD_TAG_PREFIX,
    now_ms,
    owner_of,
    planned_among,
    read_records,
    record_order,
)
from expmgr.tracking.journal_owners import JournalOwner, journal_owners, owner_by_id
from expmgr.tracking.marks import (
    GOES_TAG,
    ended_mark,
    read_marks,
    standing_marks,
    write_marks,
)
from expmgr.tracking.queries import in_parallel, iter_experiments, select_experiments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mlflow.entities import Experiment

    from expmgr.cleanup.deletion import Begun, Deleter
    from expmgr.cleanup.locate import Finder
    from expmgr.cleanup.planner import Planner
    from expmgr.results import DeletionProgress, DeletionResult
    from expmgr.storage.listing import Listing
    from expmgr.storage.location import Location
    from expmgr.tracking.journal import DeletionRecord

__all__ = ["DueMarks"]

logger = logging.getLogger(__name__)

_NUMBERS = 1_000
_STRIDE = 128
"""More than models are checked together, whose numbers of one owner follow one another."""


@dataclass
class _Job:
    """One due mark, and what became of it.

    Attributes
    ----------
    changed
        Why the mark means nothing any more, or "".
    begun
        Whether its deletion was recorded.
    kept
        Whether it was taken back in the last moment.
    """

    owner: JournalOwner
    mark: DeletionRecord
    changed: str = ""
    begun: bool = False
    kept: bool = False

    @property
    def plan(self) -> RunPlan:
        """What the mark says, not yet looked at."""
        mark = self.mark
        sizes = [(mark.files, mark.bytes), *[(0, 0)] * (len(mark.locations) - 1)]
        is_run = self.owner.run_id == self.owner.id
        return RunPlan(
            self.owner.id if is_run else "",
            run_name=self.owner.name,
            experiment_id=self.owner.experiment_id,
            model="stored",
            locations=tuple(
                PlannedLocation(location, *size, {})
                for location, size in zip(mark.locations, sizes, strict=True)
            ),
            model_ids=tuple(
                place.owner_id for place in mark.locations if place.kind == "logged_model"
            ),
            asked=mark.asked or ("" if is_run else self.owner.id),
            owner_id=self.owner.id,
            part=mark.part,
        )


@dataclass(frozen=True)
class DueMarks:
    """Carries out the marks of some experiments.

    Attributes
    ----------
    exact
        Whether only models go of which nothing changed since the mark: somebody's own
        ``_delete_model`` cannot be told to leave what came later.
    ended
        Told of each plan that was carried out.
    """

    planner: Planner
    deleter: Deleter
    exact: bool = False
    ended: Callable[[RunPlan], None] = field(default=lambda _: None, repr=False)

    def delete(
        self,
        experiments: str | Iterable[str] | None,
        is_own: Callable[[Experiment], bool],
        *,
        progress: bool,
        on_progress: Callable[[DeletionProgress], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> DeletionReport:
        """Delete what is due, a few at a time; see `delete_due` of the manager."""
        jobs = self._due(experiments, is_own)
        event = cancel or threading.Event()
        results: list[DeletionResult] = []
        while jobs and not event.is_set():
            # Several marks may bear the same id: of some models of a run, and of its others.
            now = {job.plan.id: job for job in reversed(jobs)}
            now = dict(reversed(now.items()))
            jobs = [job for job in jobs if now[job.plan.id] is not job]
            results += self._round(now, progress, on_progress, event)
        return DeletionReport(tuple(results), cancelled=event.is_set())

    def _due(
        self, experiments: str | Iterable[str] | None, is_own: Callable[[Experiment], bool]
    ) -> list[_Job]:
        client = self.planner.client
        chosen = select_experiments(iter_experiments(client), experiments, is_own)
        ids = [experiment.experiment_id for experiment in chosen]
        at = now_ms()
        jobs = []
        for owner in journal_owners(client, ids, [GOES_TAG]):
            standing = standing_marks(owner.id, owner.tags)
            self._end_overtaken(owner, standing)
            jobs += [_Job(owner, mark) for mark in standing if (mark.due or at + 1) <= at]
        return jobs

    def _end_overtaken(self, owner: JournalOwner, standing: Sequence[DeletionRecord]) -> None:
        """Say of marks that a later deletion overtook that they are done with."""
        left = {mark.record_id for mark in standing}
        overtaken = [
            mark
            for mark in read_marks(owner.id, owner.tags)
            if mark.state == "marked" and mark.record_id not in left
        ]
        if overtaken:
            self._end(overtaken, owner, "a later deletion or mark holds")

    def _round(
        self,
        jobs: dict[str, _Job],
        progress: bool,
        on_progress: Callable[[DeletionProgress], None] | None,
        cancel: threading.Event,
    ) -> list[DeletionResult]:
        finder = self.planner.finder()

        def check(plans: Sequence[RunPlan]) -> Sequence[RunPlan]:
            measure = self._measuring(plans)
            looked = in_parallel(
                lambda plan: self._looked_at(plan, jobs[plan.id], finder, measure), plans
            )
            there = [plan for plan in looked if plan is not None]
            ask = [plan for plan in there if not plan.problem]
            checked = self.planner.check_again(ask) if ask else ()
            # A problem found by now is not asked away.
            return [*checked, *(plan for plan in there if plan.problem)]

        def begin(
            plan: RunPlan, report: Callable[[DeletionProgress], None], event: threading.Event
        ) -> Begun | DeletionResult:
            return self._begin(plan, jobs[plan.id], report, event)

        def ended(plan: RunPlan, result: DeletionResult) -> DeletionResult:
            self.ended(plan)
            return self._ended(jobs[plan.id], result)

        every = DeletionPlan(tuple(job.plan for job in jobs.values()))
        report = delete_all(
            every,
            check,
            Together(self.deleter, begin, ended).carrier,
            progress=progress,
            on_progress=on_progress,
            cancel=cancel,
        )
        return list(report)

    def _measuring(self, plans: Sequence[RunPlan]) -> Callable[[Location], Listing]:
        """Return what lists a location; those that lie side by side are listed here at once."""
        store = self.planner.blob_store
        known: Mapping[Location, Listing] = {}
        with suppress(ExpmgrError):  # what cannot be listed so is listed by itself
            known = store.measure_together(
                [planned.location for plan in plans for planned in plan.locations]
            )
        return lambda place: known.get(place) or store.measure(place)

    def _looked_at(
        self, plan: RunPlan, job: _Job, finder: Finder, measure: Callable[[Location], Listing]
    ) -> RunPlan | None:
        """Return the plan with what lies there now; None where the storage's clock says: not yet.

        What the mark did not see is a problem only where nothing else is there.
        """
        places = [planned.location for planned in plan.locations]
        try:
            for place in places:  # a manager of another container has no say in it
                finder.check(place)
            listings = list(map(measure, places))
            if not any(listing.etags for listing in listings):
                listings = list(map(measure, places))  # what is empty must be so twice
        except ExpmgrError as error:
            return replace(plan, problem=words(error), problem_error=error)
        plan = replace(
            plan,
            locations=tuple(map(PlannedLocation.of, places, listings)),
            planned_at=min(listing.listed_at for listing in listings),
        )
        assert plan.planned_at is not None
        assert job.mark.due is not None
        if plan.planned_at.timestamp() * 1000 < job.mark.due:
            logger.info("%s: not due by the storage's clock yet", owner_of(plan.id))
            return None
        job.changed = self._why_changed(plan, job.mark)
        return replace(plan, problem=job.changed)

    def _why_changed(self, plan: RunPlan, mark: DeletionRecord) -> str:
        etags = {name: tag for planned in plan.locations for name, tag in planned.etags.items()}
        seen = planned_among(mark, etags)
        models = [
            found
            for planned in plan.locations
            if planned.location.kind == "run_artifacts" and plan.part == "model"
            for found in marked_directories(planned.sizes)
            if found != planned.location.path
        ]
        what = ""
        if models:  # what was marked are the artifacts of a run without a model
            what = f"{models[0]} is a model by now"
        elif etags and seen is not None and not seen:
            what = "nothing that the mark saw is there any more"
        elif etags and self.exact and seen is None:
            what = "it holds too many files to tell whether one of them changed"
        elif etags and self.exact and len(seen or ()) < len(etags):
            what = "it changed, and a _delete_model of your own would take what came since"
        return what and (
            f"the mark of {owner_of(plan.id)}, made {format_moment(mark.began)}, holds no more: "
            f"{what}, so nothing was deleted. Plan again."
        )

    def _begin(
        self,
        plan: RunPlan,
        job: _Job,
        on_progress: Callable[[DeletionProgress], None],
        cancel: threading.Event,
    ) -> Begun | DeletionResult:
        mark = job.mark

        def begun(record: DeletionRecord) -> None:
            """Look whether the mark still stands, now that whoever keeps it sees the deletion."""
            try:
                owner = owner_by_id(self.planner.client, mark.owner_id)
            except ExpmgrError as error:  # nothing went, and the mark stays
                message = f"nobody told whether the mark of {owner_of(plan.id)} still stands"
                raise DeletionCancelledError(f"{message}: {error}", run_id=plan.id) from error
            # Of several that begin at once the lowest number goes on, so that one always does.
            yields = {
                RECORD_TAG_PREFIX + one.record_id
                for one in read_records(owner.id, owner.tags)
                if one.state == "deleting" and record_order(one) >= record_order(record)
            }
            tags = {key: value for key, value in owner.tags.items() if key not in yields}
            standing = {one.record_id: one for one in standing_marks(owner.id, tags)}
            now = standing.get(mark.record_id)
            if now is None or now.locations != mark.locations or now.due != mark.due:
                job.kept = True
                message = f"the mark of {owner_of(plan.id)} was taken back or changed meanwhile."
                raise DeletionCancelledError(message, run_id=plan.id)
            job.begun = True

        # A deletion of its own number, kept to what the mark saw. Another process that carries out
        # this mark at the same time would count to the same one, and write over this record.
        number = int(plan.record_id) + _STRIDE * secrets.randbelow(_NUMBERS)
        keeps_to = replace(
            mark, record_id=str(number), state="deleting", began=now_ms(), due=None, note=""
        )
        return self.deleter.begin(
            plan, on_progress=on_progress, cancel=cancel, resumes=keeps_to, begun=begun
        )

    def _ended(self, job: _Job, result: DeletionResult) -> DeletionResult:
        """Write how the mark ended, and return the result in its words."""
        if job.kept:
            message = "Kept: the mark was taken back or changed meanwhile; nothing was deleted"
            return replace(result, outcome="protected", message=message, error=None)
        error = result.error
        if isinstance(error, DeletionCancelledError) and not (error.files or error.unanswered):
            return result  # before any file went: the mark stands as it stood
        if job.begun or job.changed or result.outcome == "not_found":
            self._end([job.mark], job.owner, words(f"{result.outcome}: {result.message}"))
        elif result.outcome == "protected":
            message = f"{result.message}. The mark stays; keep() takes it back"
            return replace(result, message=message)
        return result

    def _end(self, marks: Sequence[DeletionRecord], owner: JournalOwner, note: str) -> None:
        """Write how marks ended; where that fails, the deletion's own record tells it as well."""
        numbers = {mark.record_id for mark in marks}
        try:
            tags = owner_by_id(self.planner.client, owner.id).tags
            ended = [
                ended_mark(mark, "done", now_ms(), note)
                for mark in read_marks(owner.id, tags)
                if mark.record_id in numbers and mark.state == "marked"
            ]
            if ended:
                write_marks(self.planner.client, ended, tags)
        except ExpmgrError as error:
            logger.warning("%s: the mark's end was not recorded: %s", owner_of(owner.id), error)
