"""What becomes of a run whose delete button was pressed: asked, confirmed, running, ended.

The state belongs to the run, not to the row that happens to show it, so flipping pages loses
nothing. Everything here runs on the loop's thread; the manager's calls run in its pool.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from expmgr.errors import DeletionError, InvalidInputError, ProtectedModelError
from expmgr.formatting import format_bytes, format_count, format_seconds
from expmgr.results import DeletionProgress, DeletionResult
from expmgr.secrecy import said
from expmgr.widgets.notice import waiting_for
from expmgr.widgets.stale import mark_as_killed

if TYPE_CHECKING:
    from collections.abc import Callable

    from expmgr.widgets.loop import Job, Loop, Timer

__all__ = ["Deletion", "Deletions", "Offer", "Phase", "describe_failure", "result_of_error"]

Phase = Literal["planning", "armed", "running", "stopping", "ended"]
PROGRESS_INTERVAL = 0.1
"""Seconds between two updates of a bar."""


@dataclass(frozen=True, eq=False)
class Offer:
    """What one Confirm button is for. Each is another: a late click on an old one finds nothing."""

    text: str


@dataclass
class Deletion:
    """One run's deletion as far as it has come.

    Attributes
    ----------
    phase
        ``planning`` (asking what would go), ``armed`` (waiting for the second click),
        ``running``, ``stopping`` or ``ended``.
    message
        One line for a person.
    offer
        What can be confirmed, None while there is nothing to confirm.
    failed
        True when it ended otherwise than wished.
    log
        Attempt by attempt.
    kind
        ``kill`` is not a deletion: it marks a dead run as killed, with the same two clicks.
        ``many`` is one of many that are deleted together: its row only tells.
    """

    run_id: str
    name: str
    kind: Literal["delete", "kill", "many"] = "delete"
    days: float = 0.0
    phase: Phase = "planning"
    message: str = ""
    plan: Any = None
    offer: Offer | None = None
    progress: DeletionProgress | None = None
    outcome: str = ""
    failed: bool = False
    log: tuple[str, ...] = ()
    cancel: threading.Event = field(default_factory=threading.Event)
    timer: Timer | None = None
    job: Job | None = None
    began: float = 0.0
    reported: float = 0.0

    @property
    def busy(self) -> bool:
        """True while something is under way for this run."""
        return self.phase in ("planning", "running", "stopping")

    @property
    def share(self) -> float | None:
        """How much is done, from 0 to 1; None while that is not known."""
        progress = self.progress
        if progress is None:
            return None
        if progress.total_bytes:
            return progress.bytes / progress.total_bytes
        return progress.files / progress.total_files if progress.total_files else None


def describe_failure(error: BaseException) -> str:
    """Return an error as one line without secrets."""
    text = said(error, 1000) or type(error).__name__
    return (
        text
        if isinstance(error, (DeletionError, ProtectedModelError))
        else (f"{text} ({type(error).__name__})")
    )


def result_of_error(run_id: str, error: Exception, seconds: float) -> DeletionResult:
    """Return what an exception from a deletion means as a result."""
    if isinstance(error, ProtectedModelError):
        return DeletionResult(
            run_id, "protected", message=str(error), error=error, reasons=error.reasons
        )
    log = tuple(getattr(error, "log", ())) or _chain(error)
    return DeletionResult(
        run_id,
        "failed",
        files=getattr(error, "files", 0),
        bytes=getattr(error, "bytes", 0),
        attempts=getattr(error, "attempts", 0),
        seconds=seconds,
        message=describe_failure(error),
        error=error,
        log=log,
    )


def _chain(error: BaseException) -> tuple[str, ...]:
    lines: list[str] = []
    current: BaseException | None = error
    while current is not None and len(lines) < 10:  # noqa: PLR2004 - a chain is never this long
        lines.append(f"{type(current).__name__}: {current}")
        current = current.__cause__ or current.__context__
    return tuple(lines)


class Deletions:
    """Every deletion that this browser began, by run.

    Parameters
    ----------
    manager
        Plans and deletes.
    loop
        Runs this.
    changed
        Told the run whose row should be drawn again.
    finished
        Told each result, so that the table can follow.
    killed
        Told each run that was marked as killed.
    take_back
        Seconds after which an unconfirmed deletion is taken back.
    read_only
        Refuse whatever would change anything.
    """

    def __init__(
        self,
        manager: Any,
        loop: Loop,
        *,
        changed: Callable[[str], None],
        finished: Callable[[DeletionResult], None],
        killed: Callable[[str], None],
        take_back: float = 15.0,
        patience: float = 4.0,
        read_only: bool = False,
    ) -> None:
        self._manager = manager
        self._read_only = read_only
        self._loop = loop
        self._changed = changed
        self._finished = finished
        self._killed = killed
        self._take_back = take_back
        self._patience = patience
        self._by_run: dict[str, Deletion] = {}

    def get(self, run_id: str) -> Deletion | None:
        """Return the run's deletion, or None where none was begun."""
        return self._by_run.get(run_id)

    def running(self) -> int:
        """Return how many are under way."""
        return sum(1 for deletion in self._by_run.values() if deletion.busy)

    def _begin(self, deletion: Deletion) -> bool:
        """Make the deletion the run's, unless another one is under way."""
        if self._read_only:
            raise InvalidInputError("this browser is read-only: it deletes nothing.")
        known = self._by_run.get(deletion.run_id)
        if known is not None and known.phase != "ended":
            return False
        self._by_run[deletion.run_id] = deletion
        return True

    def ask(self, run_id: str, name: str) -> None:
        """First click: find out what would go.

        Raises
        ------
        InvalidInputError
            The browser is read-only.
        """
        deletion = Deletion(run_id, name, message="Finding out what would be deleted …")
        if not self._begin(deletion):
            return

        def slow() -> None:
            deletion.message = waiting_for(self._manager)
            self._changed(run_id)

        deletion.job = self._loop.work(
            lambda: self._manager.plan_deletion([run_id], cancel=deletion.cancel),
            lambda plan, error: self._planned(deletion, plan, error),
            slow=slow,
            slow_after=self._patience,
        )
        self._changed(run_id)

    def ask_to_kill(self, run_id: str, name: str, days: float) -> None:
        """First click on a run that seems dead; raises as :meth:`ask` does."""
        deletion = Deletion(run_id, name, kind="kill", days=days)
        if self._begin(deletion):
            deletion.message = (
                "Nothing has moved for days. Mark this run as KILLED? "
                "Its model can be deleted then."
            )
            self._arm(deletion, "Mark as killed")

    def _arm(self, deletion: Deletion, text: str) -> None:
        deletion.phase, deletion.offer = "armed", Offer(text)
        deletion.timer = self._loop.later(self._take_back, lambda: self.take_back(deletion.run_id))
        self._changed(deletion.run_id)

    def _kill(self, deletion: Deletion) -> None:
        deletion.message = "Marking as killed …"

        def done(words: str | None, error: Exception | None) -> None:
            deletion.phase, deletion.failed = "ended", error is not None
            if error is not None:
                deletion.outcome = "failed"
                deletion.message = f"Not marked as killed: {describe_failure(error)}"
            else:
                deletion.message, deletion.outcome = str(words), "killed"
                self._killed(deletion.run_id)
            self._changed(deletion.run_id)

        deletion.job = self._loop.work(
            lambda: mark_as_killed(self._manager, deletion.run_id, deletion.days), done
        )
        self._changed(deletion.run_id)

    def _planned(self, deletion: Deletion, plan: Any, error: Exception | None) -> None:
        if error is not None:
            self._end(deletion, result_of_error(deletion.run_id, error, 0.0))
            return
        entry = next((run for run in plan.runs if run.run_id == deletion.run_id), None)
        if entry is None:
            self._refuse(deletion, "not_found", "The tracking server does not know this run.")
        elif entry.problem:
            self._refuse(deletion, "failed", entry.problem)
        elif entry.reasons:
            self._refuse(deletion, "protected", "Protected: " + "; ".join(entry.reasons))
        elif not entry.files and entry.model != "interrupted":
            message = "Nothing to delete: no model files are left in storage."
            self._end(deletion, DeletionResult(deletion.run_id, "not_found", message=message))
        else:
            deletion.plan = plan
            self._offer_plan(deletion, entry)

    def _refuse(self, deletion: Deletion, outcome: str, message: str) -> None:
        deletion.phase, deletion.outcome = "ended", outcome
        deletion.failed = outcome == "failed"
        deletion.message = said(message, 600)
        if deletion.failed:
            deletion.offer = Offer("Retry")
        self._changed(deletion.run_id)

    def _offer_plan(self, deletion: Deletion, entry: Any) -> None:
        files = format_count(entry.files, "file")
        if not entry.files:
            deletion.message = "No files are left in storage. Finish the interrupted deletion?"
            self._arm(deletion, "Finish")
            return
        deletion.message = f"Delete {files}, {format_bytes(entry.bytes)}?"
        if entry.model == "interrupted":
            deletion.message = (
                f"A deletion was interrupted: delete the {files}, {format_bytes(entry.bytes)}, "
                "that are left?"
            )
        if entry.raw_artifacts:
            deletion.message = (
                "MLflow recorded no model for this run: delete everything it logged as artifacts, "
                f"{files}, {format_bytes(entry.bytes)}?"
            )
        self._arm(deletion, f"Delete {files}")

    def take_back(self, run_id: str) -> None:
        """Cancel: forget an unconfirmed deletion, or stop a running one after its batches."""
        deletion = self._by_run.get(run_id)
        if deletion is None:
            return
        if deletion.phase in ("armed", "planning"):
            deletion.cancel.set()
            if deletion.job is not None:
                deletion.job.abandon()
            if deletion.timer is not None:
                deletion.timer.cancel()
            del self._by_run[run_id]
        elif deletion.phase == "running":
            deletion.cancel.set()
            deletion.phase = "stopping"
            deletion.message = "Stopping after the batches in flight …"
        self._changed(run_id)

    def confirm(self, run_id: str, offer: Offer) -> None:
        """Second click: delete what the plan shows, or try again as it was planned."""
        deletion = self._by_run.get(run_id)
        if deletion is None or deletion.offer is not offer:
            return
        if deletion.phase == "ended" and deletion.plan is None:
            self.ask(run_id, deletion.name)
        else:
            self._start(deletion)

    def _start(self, deletion: Deletion) -> None:
        if deletion.timer is not None:
            deletion.timer.cancel()
        deletion.cancel, deletion.offer = threading.Event(), None
        deletion.phase, deletion.failed, deletion.log = "running", False, ()
        deletion.message, deletion.progress = "Deleting …", None
        deletion.began = time.monotonic()
        if deletion.kind == "kill":
            self._kill(deletion)
            return

        def on_progress(progress: DeletionProgress) -> None:
            now = time.monotonic()
            if now - deletion.reported < PROGRESS_INTERVAL and not progress.note:
                return
            deletion.reported = now
            self._loop.post(lambda: self._progressed(deletion, progress))

        deletion.job = self._loop.work(
            lambda: self._manager.delete_model(
                deletion.run_id,
                plan=deletion.plan,
                on_progress=on_progress,
                cancel=deletion.cancel,
            ),
            lambda result, error: self._end(
                deletion,
                result
                if result is not None
                else result_of_error(
                    deletion.run_id,
                    error or RuntimeError("the deletion returned nothing"),
                    time.monotonic() - deletion.began,
                ),
            ),
        )
        self._changed(deletion.run_id)

    def _progressed(self, deletion: Deletion, progress: DeletionProgress) -> None:
        if deletion.phase not in ("running", "stopping"):
            return
        deletion.progress = progress
        if deletion.phase == "running":
            of_files = f" of {progress.total_files:,}" if progress.total_files else ""
            of_bytes = f" of {format_bytes(progress.total_bytes)}" if progress.total_bytes else ""
            attempt = f", attempt {progress.attempt}" if progress.attempt > 1 else ""
            note = f" – {said(progress.note, 200)}" if progress.note else ""  # noqa: RUF001
            deletion.message = (
                f"Deleting: {progress.files:,}{of_files} files, "
                f"{format_bytes(progress.bytes)}{of_bytes}{attempt}{note}"
            )
        self._changed(deletion.run_id)

    def _end(self, deletion: Deletion, result: DeletionResult) -> None:
        deletion.phase, deletion.outcome = "ended", result.outcome
        deletion.failed = result.outcome == "failed"
        deletion.log = tuple(said(line, 1000) for line in result.log)
        amount = f"{format_count(result.files, 'file')}, {format_bytes(result.bytes)}"
        if result.message:
            deletion.message = said(result.message, 600)
        elif result.outcome == "deleted":
            deletion.message = f"Deleted {amount} in {format_seconds(result.seconds)}"
            if result.attempts > 1:
                deletion.message += f" ({result.attempts} attempts)"
            if result.left:
                deletion.message += (
                    f"; {format_count(len(result.left), 'file')} newer than the plan stayed"
                )
        elif result.outcome == "not_found":
            deletion.message = "Nothing was there any more: the model had been deleted before."
        elif result.outcome == "protected":
            deletion.message = "The model is protected."
        else:
            deletion.message = "The deletion failed."
        if deletion.failed:
            deletion.offer = Offer("Retry")
        if deletion.failed and not deletion.log and result.error is not None:
            deletion.log = tuple(said(line, 1000) for line in _chain(result.error))
        self._finished(result)
        self._changed(deletion.run_id)

    def settle(self, result: DeletionResult, name: str) -> None:
        """Show a result that came from elsewhere (a bulk deletion) on the run's row."""
        known = self._by_run.get(result.run_id)
        if known is not None and known.busy:
            return
        deletion = Deletion(result.run_id, name)
        self._by_run[result.run_id] = deletion
        self._end(deletion, result)

    def forget(self, run_id: str) -> None:
        """Say no more of a deletion that ended."""
        if run_id in self._by_run and self._by_run[run_id].phase == "ended":
            del self._by_run[run_id]
            self._changed(run_id)

    def forget_ended(self) -> None:
        """Drop what ended well and what was only said; failures stay, with their log and Retry."""
        self._by_run = {
            run_id: deletion
            for run_id, deletion in self._by_run.items()
            if deletion.phase != "ended" or deletion.failed
        }

    def cancel_all(self) -> None:
        """Tell everything under way to stop. Safe from any thread."""
        for deletion in list(self._by_run.values()):
            deletion.cancel.set()
