"""Many models at once: tick, one confirmation, one bar, one summary."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Literal

from expmgr.formatting import format_bytes, format_count, format_seconds
from expmgr.widgets.deletion import PROGRESS_INTERVAL, describe_failure
from expmgr.widgets.row import bar
from expmgr.widgets.text import escape, plain, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from expmgr.results import DeletionProgress, DeletionResult
    from expmgr.widgets.kit import Kit
    from expmgr.widgets.loop import Job, Loop, Timer

__all__ = ["BulkDeletion", "plan_html", "summary_text"]

MOST_LISTED = 100
FEW = 10
"""So many models are listed by name without being asked."""


class BulkDeletion:
    """The panel that asks once and deletes many. Belongs to the loop.

    Parameters
    ----------
    name_of
        The name of a run.
    ended
        Told each result.
    take_back
        Seconds after which an unconfirmed deletion is taken back.

    Attributes
    ----------
    phase
        ``idle``, ``planning``, ``armed``, ``running``, ``stopping`` or ``ended``.
    status
        What the panel says, as plain text.
    summary
        After it ended, one line a run, to be copied.
    """

    def __init__(
        self,
        manager: Any,
        loop: Loop,
        kit: Kit,
        *,
        name_of: Callable[[str], str],
        ended: Callable[[Sequence[DeletionResult]], None],
        take_back: float,
        patience: float,
    ) -> None:
        self._manager = manager
        self._loop = loop
        self._kit = kit
        self._name_of = name_of
        self._ended = ended
        self._take_back = take_back
        self._patience = patience
        self.phase: Literal["idle", "planning", "armed", "running", "stopping", "ended"] = "idle"
        self.status = ""
        self.summary = ""
        self._plan: Any = None
        self._job: Job | None = None
        self._timer: Timer | None = None
        self._cancel = threading.Event()
        self._began = 0.0
        self._reported = 0.0
        self._line = kit.html("", "xm-line")
        self.cancel_button = kit.button(
            "Cancel", lambda: loop.post(self.cancel), "xm-cancel", shown=False
        )
        self.confirm_button = kit.button(
            "Delete", lambda: loop.post(self.confirm), "xm-confirm", shown=False
        )
        self.box = kit.box((self._line, self.cancel_button, self.confirm_button), "xm-bulk")
        self.box.layout = kit.gone

    @property
    def busy(self) -> bool:
        """True while something is under way."""
        return self.phase in ("planning", "running", "stopping")

    def ask(self, run_ids: Sequence[str], *, confirmed: bool = False) -> None:
        """Find out what would go and ask; ``confirmed`` skips the question."""
        if self.busy or not run_ids:
            return
        self._forget_timer()
        cancel = self._cancel = threading.Event()
        self._say(
            "planning", f"Finding out what {format_count(len(run_ids), 'deletion')} would do …"
        )
        self._job = self._loop.work(
            lambda: self._manager.plan_deletion(list(run_ids), cancel=cancel),
            lambda plan, error: self._planned(plan, error, confirmed=confirmed),
            slow=lambda: self._say(
                "planning", "Waiting for the tracking server or the storage account …"
            ),
            slow_after=self._patience,
        )

    def _planned(self, plan: Any, error: Exception | None, *, confirmed: bool) -> None:
        if error is not None:
            self._say("ended", f"Nothing was deleted: {describe_failure(error)}", bad=True)
            return
        self._plan = plan
        if not plan.deletable:
            self._say("ended", "Nothing of this can be deleted.", below=plan_html(plan))
            return
        if confirmed:
            self._phase_armed(plan)
            self.confirm()
            return
        self._phase_armed(plan)
        self._timer = self._loop.later(self._take_back, self.cancel)

    def _phase_armed(self, plan: Any) -> None:
        models = format_count(len(plan.deletable), "model")
        self.confirm_button.description = f"Delete {models}"
        self._say(
            "armed",
            f"Delete {models}: {format_count(plan.files, 'file')}, {format_bytes(plan.bytes)}?",
            below=plan_html(plan),
        )

    def confirm(self) -> None:
        """Delete what the plan shows."""
        if self.phase != "armed":
            return
        self._forget_timer()
        plan, cancel = self._plan, self._cancel
        self._began = time.monotonic()

        def on_progress(progress: DeletionProgress) -> None:
            now = time.monotonic()
            if now - self._reported >= PROGRESS_INTERVAL:
                self._reported = now
                self._loop.post(lambda: self._progressed(progress))

        self._say("running", f"Deleting {format_count(len(plan.deletable), 'model')} …", share=0.0)
        self._job = self._loop.work(
            lambda: self._manager.delete_models(
                plan, progress=False, on_progress=on_progress, cancel=cancel
            ),
            self._finished,
        )

    def cancel(self) -> None:
        """Take the question back, stop after the batches in flight, or close the summary."""
        self._cancel.set()
        if self.phase in ("planning", "armed", "ended"):
            self._forget_timer()
            if self._job is not None:
                self._job.abandon()
            self.phase, self.status = "idle", ""
            self.box.layout = self._kit.gone
        elif self.phase == "running":
            self._say("stopping", "Stopping after the batches in flight …", share=None)

    def stop(self) -> None:
        """Tell what is under way to stop. Safe from any thread."""
        self._cancel.set()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _progressed(self, progress: DeletionProgress) -> None:
        if self.phase != "running":
            return
        total = progress.total_bytes or self._plan.bytes
        files = progress.total_files or self._plan.files
        note = f" – {plain(redact(progress.note), 200)}" if progress.note else ""  # noqa: RUF001
        self._say(
            "running",
            f"Deleting: {progress.files:,} of {files:,} files, "
            f"{format_bytes(progress.bytes)} of {format_bytes(total)}{note}",
            share=progress.bytes / total if total else None,
        )

    def _finished(self, report: Any, error: Exception | None) -> None:
        if error is not None:
            self._say("ended", f"The deletion broke off: {describe_failure(error)}", bad=True)
            return
        seconds = time.monotonic() - self._began
        counts = report.counts
        models = format_count(counts.get("deleted", 0), "model")
        amount = f"{format_count(report.files, 'file')}, {format_bytes(report.bytes)}"
        parts = [f"Deleted {models}, {amount} in {format_seconds(seconds)}"]
        if counts.get("not_found"):
            parts.append(f"{counts['not_found']} had been deleted before")
        if counts.get("protected"):
            parts.append(f"{counts['protected']} turned out to be protected")
        if counts.get("failed"):
            parts.append(f"{counts['failed']} failed")
        left = len(self._plan.deletable) - len(report.results)
        if left > 0 and self._cancel.is_set():
            parts.append(f"stopped before the other {left}")
        self.summary = summary_text(report.results, self._name_of)
        self._say(
            "ended",
            "; ".join(parts),
            bad=bool(counts.get("failed")),
            below=(
                '<details class="xm-log"><summary>Summary to copy</summary>'
                f'<pre class="xm-copy" tabindex="0">{_escaped_block(self.summary)}</pre></details>'
            ),
        )
        self._ended(report.results)

    def _say(
        self,
        phase: Any,
        text: str,
        *,
        share: float | None = None,
        bad: bool = False,
        below: str = "",
    ) -> None:
        self.phase, self.status = phase, text
        sign = "✕" if bad else "✓" if phase == "ended" else "?" if phase == "armed" else ""
        tone = "xm-bad" if bad else "xm-good" if phase == "ended" else "xm-ask"
        mark = f'<span class="xm-sign">{sign}</span>' if sign else ""
        moving = bar(share) if self.busy else ""
        self._line.value = (
            f'<div class="xm-status"><span class="{tone}" role="status">{mark}'
            f"{escape(text, 600)}</span>{moving}</div>{below}"
        )
        kit = self._kit
        self.confirm_button.layout = kit.shown if phase == "armed" else kit.gone
        stoppable = phase in ("planning", "armed", "running", "ended")
        words = {"running": "Stop", "ended": "Close"}
        with self.cancel_button.hold_sync():
            self.cancel_button.description = words.get(phase, "Cancel")
            self.cancel_button.layout = kit.shown if stoppable else kit.gone
        self.box.layout = kit.shown


def _escaped_block(text: str) -> str:
    return "\n".join(escape(line, 400) for line in text.splitlines())


def plan_html(plan: Any) -> str:
    """Return what a plan holds and what it leaves out, folded, as escaped HTML."""
    going = plan.deletable
    raw = [run for run in going if run.raw_artifacts]
    stays = [run for run in plan.runs if not run.deletable]
    parts = []
    if raw:
        parts.append(
            f'<div><span class="xm-sign">!</span>{format_count(len(raw), "run")} recorded no '
            "model: everything they logged as artifacts goes.</div>"
        )
    if going:
        title = f"{format_count(len(going), 'model')} to delete"
        parts.append(_folded(title, going, opened=len(going) <= FEW))
    if stays:
        names = f"{format_count(len(stays), 'run')} left out, because protected or not deletable"
        parts.append(_folded(names, stays, opened=True))
    return "".join(parts)


def _folded(title: str, runs: Sequence[Any], *, opened: bool = False) -> str:
    lines = [
        f"<li><b><bdi>{escape(run.run_name or run.run_id, 80)}</bdi></b>: "
        f"{escape(_why(run), 300)}</li>"
        for run in runs[:MOST_LISTED]
    ]
    if len(runs) > MOST_LISTED:
        lines.append(f"<li>and {len(runs) - MOST_LISTED:,} more</li>")
    state = " open" if opened else ""
    return (
        f'<details class="xm-log"{state}><summary>{escape(title, 200)}</summary>'
        f'<ul class="xm-list">{"".join(lines)}</ul></details>'
    )


def _why(run: Any) -> str:
    if run.deletable:
        return f"{format_count(run.files, 'file')}, {format_bytes(run.bytes)}"
    if run.problem:
        return redact(str(run.problem))
    if run.reasons:
        return "protected: " + "; ".join(run.reasons)
    return "nothing is stored" if not run.files else f"its model is {run.model}"


def summary_text(results: Sequence[DeletionResult], name_of: Callable[[str], str]) -> str:
    """Return one tab-separated line a run: outcome, files, bytes, run id, name, message."""
    lines = ["outcome\tfiles\tbytes\trun_id\trun\tmessage"]
    lines += [
        "\t".join(
            (
                result.outcome,
                str(result.files),
                str(result.bytes),
                result.run_id,
                plain(name_of(result.run_id), 80),
                plain(redact(result.message), 200),
            )
        )
        for result in results
    ]
    return "\n".join(lines)
