"""What a confirmed dialogue does and how it is told, as a value: one for each kind of deed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from expmgr.formatting import format_bytes, format_count, format_seconds
from expmgr.results import DeletionProgress, DeletionResult
from expmgr.secrecy import said
from expmgr.widgets.session.words import Verdict, end_of_many, left, progress_of_many

if TYPE_CHECKING:
    import threading
    from typing import TypeAlias

__all__ = ["Errand", "Tells", "deletion_of", "due_of", "keeping_of", "marking_of", "restoring_of"]

Tells: TypeAlias = Callable[[DeletionProgress], None]


@dataclass(frozen=True)
class Errand:
    """Something to be done in the pool, once it is confirmed.

    Attributes
    ----------
    act
        Does it. Told whom to tell of progress and what says that it is to stop.
    doing
        Said while it is done.
    progress
        Says how far it is, given the seconds that it takes.
    end
        Says how it ended, given the seconds that it took and whether it was told to stop.
    broke
        What is said before an error that it raised.
    results
        Returns what became of each run or model, out of what ``act`` returned.
    going
        The plans of what goes, whose lines in the table tell of it.
    again
        Returns what is done on Retry, given what ``act`` returned; None where nothing is to be.
    retries
        Whether it can simply be tried again where it raised.
    """

    act: Callable[[Tells, threading.Event], Any]
    doing: str
    progress: Callable[[DeletionProgress, float], str]
    end: Callable[[Any, float, bool], Verdict]
    broke: str
    results: Callable[[Any], Sequence[DeletionResult]] = lambda report: report.results
    going: Sequence[Any] = ()
    again: Callable[[Any], Errand | None] = lambda _: None
    retries: bool = False

    def ended(self, done: Any, seconds: float, *, stopped: bool) -> tuple[Verdict, Errand | None]:
        """Return how it ended, and what Retry does."""
        verdict, again = self.end(done, seconds, stopped), self.again(done)
        if again is not None and verdict.failed and not verdict.offer:
            verdict = replace(verdict, offer="Retry the failures")
        return verdict, again


def deletion_of(manager: Any, plan: Any, *, retries: bool = False) -> Errand:
    """Return the deletion of a plan, as it was planned.

    Parameters
    ----------
    retries
        Whether the failures can be tried again from the line that tells of all.
    """
    going = plan.deletable
    count = format_count(sum(len(run.locations) for run in going), "model")
    several = any(len(run.locations) > 1 for run in going)
    what = format_count(len(going), "run" if several else "model")

    def act(tells: Tells, cancel: threading.Event) -> Any:
        return manager.delete_models(plan, progress=False, on_progress=tells, cancel=cancel)

    return Errand(
        act,
        f"Deleting {count} …",
        lambda progress, seconds: progress_of_many(progress, what, seconds),
        lambda report, seconds, stopped: end_of_many(report, going, seconds, stopped=stopped),
        "The deletion broke off",
        going=going,
        again=partial(_again, plan, lambda rest: deletion_of(manager, rest, retries=True))
        if retries
        else lambda _: None,
    )


def _again(plan: Any, errand: Callable[[Any], Errand], report: Any) -> Errand | None:
    """Return the same for what failed, as it was planned: `report.retry()` that can be stopped."""
    failed = {result.run_id for result in report.results if result.outcome == "failed"}
    others = [run.id for run in plan.runs if run.id not in failed]
    return errand(plan.without(*others)) if failed else None


def marking_of(manager: Any, plan: Any, after: str) -> Errand:
    """Return the marking of a plan's models, which go after some time."""
    going = replace(plan, runs=plan.deletable)  # what stays was shown, and needs no refusal
    count = format_count(len(going.runs), "deletion")

    def act(tells: Tells, cancel: threading.Event) -> Any:
        return manager.delete_models(
            going, progress=False, after=after, on_progress=tells, cancel=cancel
        )

    def progress(told: DeletionProgress, seconds: float) -> str:
        rest = left(told.models, len(going.runs), seconds)
        return f"Marking: {told.models:,} of {count}{rest}"

    def end(report: Any, seconds: float, stopped: bool) -> Verdict:
        counts = Counter(result.outcome for result in report.results)
        marked = [result.message for result in report.results if result.outcome == "marked"]
        when = marked[0].partition(":")[0] if marked else ""
        # the first one's time: all are marked within seconds
        parts = [f"Marked {format_count(len(marked), 'deletion')} in {format_seconds(seconds)}"]
        parts[0] += f": {when}, or later; Keep takes a mark back" if when else ""
        parts += [
            f"{counts[outcome]:,} {words}"
            for outcome, words in (
                ("protected", "turned out to be protected"),
                ("failed", "failed"),
            )
            if counts[outcome]
        ]
        rest = len(going.runs) - counts.total()
        parts += [f"stopped before the other {rest:,}"] if stopped and rest > 0 else []
        failed = bool(counts["failed"])
        return Verdict("; ".join(parts), outcome="failed" if failed else "marked", failed=failed)

    return Errand(
        act,
        f"Marking {count} …",
        progress,
        end,
        "The marking broke off",
        again=partial(_again, going, lambda rest: marking_of(manager, rest, after)),
    )


def due_of(manager: Any, experiments: Any, ids: Sequence[str]) -> Errand:
    """Return the deletion of all marks that are due."""
    what = format_count(len(ids), "mark")

    def act(tells: Tells, cancel: threading.Event) -> Any:
        return manager.delete_due(experiments, progress=False, on_progress=tells, cancel=cancel)

    def end(report: Any, seconds: float, stopped: bool) -> Verdict:
        return end_of_many(report, (), seconds, stopped=stopped, every=True)

    return Errand(
        act,
        "Deleting what is due …",
        lambda progress, seconds: progress_of_many(progress, what, seconds),
        end,
        "The deletion broke off",
    )


def _one_request(
    act: Callable[[], Any],
    doing: str,
    end: Callable[[Any, float, bool], Verdict],
    failed: str,
) -> Errand:
    """Return an errand that has no progress and leaves no results of models."""
    return Errand(
        lambda _tells, _cancel: act(),
        doing,
        lambda _progress, _seconds: doing,
        end,
        failed,
        results=lambda _: (),
        retries=True,
    )


def keeping_of(manager: Any, id_: str) -> Errand:
    """Return the taking back of a run's or a model's marks."""
    doing = "Taking the mark back …"

    def end(kept: Any, seconds: float, stopped: bool) -> Verdict:
        del seconds, stopped
        if kept:
            return Verdict("Kept: the mark is taken back, nothing goes.", outcome="kept")
        why = "There is no mark any more, or its deletion has begun: refresh to see which."
        return Verdict(why, outcome="not_found")

    return _one_request(lambda: manager.keep(id_), doing, end, "Not kept")


def restoring_of(manager: Any, run_id: str) -> Errand:
    """Return the restoration of what was deleted of a run."""
    doing = "Bringing it back …"

    def end(restored: Any, seconds: float, stopped: bool) -> Verdict:
        del stopped
        amount = f"{format_count(restored.files, 'file')}, {format_bytes(restored.bytes)}"
        if restored.failed:
            count = format_count(len(restored.failed), "file")
            why = f"Restored in part: {amount}; {count} could not be brought back."
            return Verdict(why, "Retry", "failed", failed=True, log=tuple(restored.log))
        there = f"; {restored.present:,} were there" if restored.present else ""
        words = f"Restored {amount}{there} in {format_seconds(seconds)}"
        return Verdict(said(words, 600), outcome="restored")

    return _one_request(lambda: manager.restore_model(run_id), doing, end, "Not restored")
