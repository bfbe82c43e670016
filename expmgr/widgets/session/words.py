"""What a deletion says: of its plan, its progress and its end, for one line and for many. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expmgr.formatting import format_bytes, format_count, format_seconds
from expmgr.secrecy import said
from expmgr.text import plain
from expmgr.widgets.session.deletion import chain_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from expmgr.results import DeletionProgress, DeletionResult

__all__ = [
    "Asked",
    "Verdict",
    "end_of_many",
    "end_of_one",
    "left",
    "planning_words",
    "progress_of_many",
    "progress_of_one",
    "summary_text",
    "verdict_on_many",
    "verdict_on_one",
    "verdict_on_resume",
]

MOST_UNTYPED = 100
"""Above so many models the number must be typed."""
MOST_SHARE = 0.5
"""Above this share of all bytes the number must be typed."""
SETTLED_AFTER = 2.0
"""Seconds after which a pace means something."""


@dataclass(frozen=True)
class Asked:
    """What many were asked for.

    Attributes
    ----------
    ids
        In the table's order.
    elsewhere
        How many of them are not on the page in sight.
    bytes
        What is known of their sizes.
    all_bytes
        The same of all lines.
    unmeasured
        How many of them have no known size.
    checking
        Whether it is still unknown what protects them.
    """

    ids: tuple[str, ...] = ()
    elsewhere: int = 0
    bytes: int = 0
    all_bytes: int = 0
    unmeasured: int = 0
    checking: bool = False


@dataclass(frozen=True)
class Verdict:
    """What is to be said, and what can be confirmed.

    Attributes
    ----------
    message
        One line for a person.
    offer
        What a Confirm button says, "" where nothing can be confirmed.
    outcome
        How it ended, "" where it has not.
    typed
        The number that must be typed first, 0 for none.
    """

    message: str
    offer: str = ""
    outcome: str = ""
    failed: bool = False
    log: tuple[str, ...] = ()
    typed: int = 0


def verdict_on_one(id_: str, plan: Any) -> Verdict:
    """Return what a plan for one line comes to."""
    entry = next((run for run in plan.runs if run.id == id_), None)
    if entry is None:
        return Verdict("The tracking server does not know this run.", outcome="not_found")
    return _refusal(entry) or _offer_of_one(entry, plan)


def verdict_on_resume(id_: str, plan: Any) -> Verdict:
    """Return what a plan comes to where only an interrupted deletion is to be finished."""
    entry = next((run for run in plan.runs if run.id == id_), None)
    if entry is not None and _refusal(entry) is None:
        if entry.model != "interrupted":
            why = "Nothing of it is interrupted any more: the Runs view tells how it stands."
            return Verdict(why, outcome="protected")
        if _whole_ones(entry):
            why = "The run has whole models beside it: manager.resume_deletions() leaves those."
            return Verdict(why, outcome="protected")
    return verdict_on_one(id_, plan)


def _refusal(entry: Any) -> Verdict | None:
    """Return why nothing of a plan can go, or has to."""
    if entry.problem:
        return Verdict(said(entry.problem, 600), "Retry", outcome="failed", failed=True)
    if entry.reasons:
        why = said("Protected: " + "; ".join(entry.reasons), 600)
        return Verdict(why, outcome="protected")
    if not entry.files and entry.model != "interrupted":
        why = "Nothing to delete: no model files are left in storage."
        return Verdict(why, outcome="not_found")
    return None


def _offer_of_one(entry: Any, plan: Any) -> Verdict:
    files = format_count(entry.files, "file")
    count = len(entry.locations)
    models = f"{format_count(count, 'model')}: " if count > 1 else ""
    amount = f"{models}{files}, {format_bytes(entry.bytes)}"
    interrupted = entry.model == "interrupted" and not _whole_ones(entry)
    if not entry.files:
        return Verdict("No files are left in storage. Finish the interrupted deletion?", "Finish")
    message = f"Delete {amount}?{_saves(plan)}"
    if interrupted:
        message = f"A deletion was interrupted: delete the {amount}, that are left?"
    if entry.raw_artifacts:
        message = (
            "MLflow recorded no model for this run: delete everything it logged as artifacts, "
            f"{amount}?"
        )
    if entry.note:
        message += f" {said(entry.note, 200)}."
    if count > MOST_UNTYPED:
        return Verdict(f"{message} Type {count} to confirm.", f"Delete {files}", typed=count)
    return Verdict(message, f"Delete {files}")


def _whole_ones(entry: Any) -> bool:
    """Tell whether a plan holds models of which no deletion was begun."""
    return any(
        planned.files and planned.model is not None and planned.model.journal != "interrupted"
        for planned in entry.locations
    )


def verdict_on_many(asked: Asked, plan: Any) -> Verdict:
    """Return what a plan for many comes to."""
    count = sum(len(run.locations) for run in plan.deletable)
    if not count:
        return Verdict("Nothing of this can be deleted.", outcome="protected")
    models = format_count(count, "model")
    words = f"Delete {models}: {format_count(plan.files, 'file')}, {format_bytes(plan.bytes)}?"
    words += _saves(plan)
    raw = sum(1 for run in plan.deletable if run.raw_artifacts)
    if raw:
        words += f" {format_count(raw, 'run')} recorded no model: all their artifacts go."
    if asked.elsewhere:
        words += f" {asked.elsewhere:,} of those ticked are not on this page."
    notes = sum(1 for run in plan.deletable if run.note)
    if notes:
        words += f" Of {format_count(notes, 'run')} something stays, see below."
    large = bool(asked.all_bytes) and asked.bytes > MOST_SHARE * asked.all_bytes
    if asked.unmeasured:  # the table knows too little, the plan has looked
        large = plan.bytes > MOST_SHARE * max(asked.all_bytes, plan.bytes)
    if count > MOST_UNTYPED or large:
        return Verdict(f"{words} Type {count} to confirm.", f"Delete {models}", typed=count)
    return Verdict(words, f"Delete {models}")


def _saves(plan: Any) -> str:
    """Return what a plan saves, and what going early costs; "" where no prices are known."""
    return "" if plan.bill is None else f" It saves {plan.bill.words}."


def end_of_one(result: DeletionResult) -> Verdict:
    """Return how the deletion of one line ended."""
    failed = result.outcome == "failed"
    log = tuple(said(line, 1000) for line in result.log)
    if failed and not log and result.error is not None:
        log = tuple(said(line, 1000) for line in chain_of(result.error))
    return Verdict(
        _ended(result), "Retry" if failed else "", result.outcome, failed=failed, log=log
    )


def _ended(result: DeletionResult) -> str:
    if result.message:
        return said(result.message, 600)
    if result.outcome == "deleted":
        amount = f"{format_count(result.files, 'file')}, {format_bytes(result.bytes)}"
        words = f"Deleted {amount} in {format_seconds(result.seconds)}"
        if result.attempts > 1:
            words += f" ({result.attempts} attempts)"
        if result.left:
            words += f"; {format_count(len(result.left), 'file')} newer than the plan stayed"
        return words
    return {
        "not_found": "Nothing was there any more: the model had been deleted before.",
        "protected": "The model is protected.",
    }.get(result.outcome, "The deletion failed.")


def end_of_many(
    report: Any, going: Sequence[Any], seconds: float, *, stopped: bool, every: bool = False
) -> Verdict:
    """Return how the deletion of many ended.

    Parameters
    ----------
    going
        What could go by the plan; of other results nothing is said, but where there is no plan,
        and ``every`` one counts.
    """
    ids = {result.run_id for result in report.results} if every else {run.id for run in going}
    counts = Counter(result.outcome for result in report.results if result.run_id in ids)
    amount = f"{format_count(report.files, 'file')}, {format_bytes(report.bytes)}"
    gone = {result.run_id for result in report.results if result.outcome == "deleted"}
    count = sum(len(run.locations) for run in going if run.id in gone)  # as the question counted
    models = format_count(count if going else counts["deleted"], "model")
    parts = [f"Deleted {models}, {amount} in {format_seconds(seconds)}"]
    for outcome, words in (
        ("not_found", "had been deleted before"),
        ("protected", "turned out to be protected"),
        ("failed", "failed"),
    ):
        if counts.get(outcome):
            parts.append(f"{counts[outcome]} {words}")
    if report.saved is not None:
        parts.append(f"saves {report.saved.words}")
    remaining = len(ids) - counts.total()
    if remaining > 0 and stopped:
        parts.append(f"stopped before the other {remaining}")
    failed = bool(counts.get("failed"))
    return Verdict("; ".join(parts), outcome="failed" if failed else "deleted", failed=failed)


def planning_words(count: int, counted: tuple[int, int], seconds: float, patience: float) -> str:
    """Return how far the plan for many is."""
    done, total = counted
    words = f"Finding out what {format_count(count, 'deletion')} would do"
    if total:
        words += f": {done:,} of {total:,}{left(done, total, seconds)}"
    if seconds >= patience:
        words += f"; waiting for {format_seconds(seconds)}" + (
            "" if total else " for the tracking server or the storage account"
        )
    return f"{words} …"


def progress_of_one(progress: DeletionProgress) -> str:
    """Return how far the deletion of one line is."""
    of_files = f" of {progress.total_files:,}" if progress.total_files else ""
    of_bytes = f" of {format_bytes(progress.total_bytes)}" if progress.total_bytes else ""
    attempt = f", attempt {progress.attempt}" if progress.attempt > 1 else ""
    return (
        f"Deleting: {progress.files:,}{of_files} files, "
        f"{format_bytes(progress.bytes)}{of_bytes}{attempt}{_note(progress)}"
    )


def progress_of_many(progress: DeletionProgress, what: str, seconds: float) -> str:
    """Return how far the deletion of many is; ``what`` is how many, in words."""
    total, files = progress.total_bytes or 0, progress.total_files or 0
    rate = ""
    if seconds >= SETTLED_AFTER and progress.bytes:
        rate = f", {format_bytes(round(progress.bytes / seconds))} a second"
    return (
        f"Deleting: {progress.models:,} of {what}, "
        f"{progress.files:,} of {files:,} files, "
        f"{format_bytes(progress.bytes)} of {format_bytes(total)}"
        f"{rate}{left(progress.bytes, total, seconds)}{_note(progress)}"
    )


def _note(progress: DeletionProgress) -> str:
    return f" – {said(progress.note, 200)}" if progress.note else ""  # noqa: RUF001


def left(done: float, total: float, seconds: float) -> str:
    """Return the time that is left at the pace so far, "" while there is no pace to speak of."""
    if not done or seconds < SETTLED_AFTER or done > total:
        return ""
    return f", about {format_seconds(round((total - done) * seconds / done))} left"


def summary_text(results: Sequence[DeletionResult], name_of: Callable[[str], str]) -> str:
    """Return one tab-separated line a model: outcome, files, bytes, id, name, message."""
    lines = ["outcome\tfiles\tbytes\trun_id\trun\tmessage"]
    lines += [
        "\t".join(
            (
                result.outcome,
                str(result.files),
                str(result.bytes),
                result.run_id,
                plain(name_of(result.run_id), 80),
                said(result.message, 200),
            )
        )
        for result in results
    ]
    return "\n".join(lines)
