"""Many models at once: tick, one confirmation, one bar, one summary, in a line of its own.

The line is always there, as high as ever, so that an offer or a result moves no row.
"""

from __future__ import annotations

import inspect
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from expmgr.formatting import format_bytes, format_count, format_seconds
from expmgr.secrecy import redact, said
from expmgr.text import escape, plain
from expmgr.widgets.arming import Slot, armed_button
from expmgr.widgets.deletion import PROGRESS_INTERVAL, Deletion, Offer, describe_failure
from expmgr.widgets.row import FACES, bar, popover

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import ipywidgets as widgets

    from expmgr.results import DeletionProgress, DeletionResult
    from expmgr.widgets.kit import Kit
    from expmgr.widgets.loop import Job, Loop

__all__ = ["BulkDeletion", "Ticked", "plan_html", "summary_text"]

MOST_LISTED = 100
FEW = 10
"""So many models are listed by name without being asked."""
MOST_UNTYPED = 100
"""Above so many models the number must be typed."""
SETTLED_AFTER = 2.0
"""Seconds after which a pace means something."""
MOST_SHARE = 0.5
"""Above this share of all bytes the number must be typed."""


@dataclass(frozen=True)
class Ticked:
    """What is ticked.

    Attributes
    ----------
    run_ids
        In the table's order.
    elsewhere
        How many of them are not on the page in sight.
    bytes
        What is known of their sizes.
    all_bytes
        The same of all runs.
    checking
        Whether it is still unknown what protects them.
    """

    run_ids: tuple[str, ...] = ()
    elsewhere: int = 0
    bytes: int = 0
    all_bytes: int = 0
    checking: bool = False


class BulkDeletion:
    """The line that selects, asks once and deletes many. Belongs to the loop.

    Parameters
    ----------
    name_of
        The name of a run.
    ticked
        Returns what is ticked.
    ended
        Told each result.
    changed
        Told when other rows than before are being deleted.
    choose
        Ticks many: ``all``, ``none`` or ``best N``.
    keep
        How many of the best "all but the best" offers, besides the usual numbers.

    Attributes
    ----------
    phase
        ``idle``, ``planning``, ``armed``, ``running``, ``stopping`` or ``ended``.
    status
        What the line says, as plain text.
    summary
        After it ended, one line a run, to be copied.
    delete_button
        Delete selected, and in its place Cancel, Stop and Close.
    confirm_button, count_box
        Made anew for each offer: the second click, and where many go, the box for their number.
    """

    def __init__(
        self,
        manager: Any,
        loop: Loop,
        kit: Kit,
        *,
        name_of: Callable[[str], str],
        ticked: Callable[[], Ticked],
        ended: Callable[[Sequence[DeletionResult]], None],
        changed: Callable[[], None],
        choose: Callable[[str], None],
        keep: int,
        patience: float,
    ) -> None:
        self._manager = manager
        self._loop = loop
        self._kit = kit
        self._name_of = name_of
        self._ticked = ticked
        self._ended = ended
        self._changed = changed
        self._patience = patience
        self.phase: Literal["idle", "planning", "armed", "running", "stopping", "ended"] = "idle"
        self.status = self.summary = ""
        self._plan: Any = None
        self._offered: Offer | None = None
        self._asked = Ticked()
        self._job: Job | None = None
        self._cancel = threading.Event()
        self._began = self._reported = 0.0
        self._counted = (0, 0)
        self._going: dict[str, Deletion] = {}
        best = [
            (f"All but the best {count} of each experiment", f"best {count}")
            for count in sorted({1, 3, 5, keep})
        ]

        def chosen(which: str) -> None:
            if which and not loop.inside:
                choose(which)
                self.select.value = ""

        self.select = kit.choice(
            [("Select …", ""), ("All that match", "all"), *best, ("None", "none")],
            chosen,
            "xm-select",
            tooltip="Tick many runs at once; protected ones stay out",
        )
        self._slot = Slot(kit, "", lambda: loop.post(self.press), "xm-delete-many")
        self.delete_button = self._slot.button
        self._line = kit.html("", "xm-line")
        self._base = (self.delete_button, self.select, self._line)
        self.confirm_button: widgets.Button | None = None
        self.count_box: widgets.Text | None = None
        self.box = kit.box(self._base, "xm-bulk")
        self.show_ticked()

    @property
    def busy(self) -> bool:
        """True while something is under way."""
        return self.phase in ("planning", "running", "stopping")

    def deletion_of(self, run_id: str) -> Deletion | None:
        """Return what to say of a run while it is deleted with the others."""
        return self._going.get(run_id)

    def press(self) -> None:
        """Do what the button says: ask, cancel, stop or close."""
        if self.phase == "idle":
            self.ask(self._ticked())
        else:
            self.cancel()

    def ask(self, ticked: Ticked, *, confirmed: bool = False) -> None:
        """Find out what would go and ask; ``confirmed`` skips the question."""
        if self.busy or not ticked.run_ids:
            return
        self._asked = ticked
        cancel = self._cancel = threading.Event()
        self._began, self._counted = time.monotonic(), (0, 0)
        keywords: dict[str, Any] = {"cancel": cancel}

        def on_progress(done: int, total: int) -> None:
            self._counted = (done, total)  # shown by the clock below

        if "on_progress" in inspect.signature(self._manager.plan_deletion).parameters:
            keywords["on_progress"] = on_progress
        self._job = self._loop.work(
            lambda: self._manager.plan_deletion(list(ticked.run_ids), **keywords),
            lambda plan, error: self._planned(plan, error, confirmed=confirmed),
        )
        self._tell_planning(self._job)

    def _tell_planning(self, job: Job) -> None:
        """Say how far the plan is, now and every second until it is there."""
        seconds = time.monotonic() - self._began
        done, total = self._counted
        count = format_count(len(self._asked.run_ids), "deletion")
        said = f"Finding out what {count} would do"
        if total:
            said += f": {done:,} of {total:,}{_left(done, total, seconds)}"
        if seconds >= self._patience:
            said += f"; waiting for {format_seconds(seconds)}" + (
                "" if total else " for the tracking server or the storage account"
            )
        share = done / total if total else None
        self._say("planning", f"{said} …", share=share)
        self._loop.later(1.0, lambda: None if job.settled else self._tell_planning(job))

    def _planned(self, plan: Any, error: Exception | None, *, confirmed: bool) -> None:
        if error is not None:
            self._say("ended", f"Nothing was deleted: {describe_failure(error)}", bad=True)
            return
        self._plan = plan
        count = len(plan.deletable)
        if not count:
            self._say("ended", "Nothing of this can be deleted.", more=plan_html(plan))
            return
        if confirmed:
            self._start()
            return
        models = format_count(count, "model")
        asked = f"Delete {models}: {format_count(plan.files, 'file')}, {format_bytes(plan.bytes)}?"
        raw = sum(1 for run in plan.deletable if run.raw_artifacts)
        if raw:
            asked += f" {format_count(raw, 'run')} recorded no model: all their artifacts go."
        if self._asked.elsewhere:
            asked += f" {self._asked.elsewhere:,} of those ticked are not on this page."
        whole = self._asked.all_bytes
        large = bool(whole) and self._asked.bytes > MOST_SHARE * whole
        if count > MOST_UNTYPED or large:
            asked += f" Type {count} to confirm."
            self.count_box = self._kit.text(f"Type {count}", self._typed, "xm-count")
        else:
            self._offer()
        few = len(plan.runs) <= FEW
        self._say("armed", asked, more=plan_html(plan), opened=few)

    def _typed(self, text: str) -> None:
        right = text.strip().replace(",", "") == str(len(self._plan.deletable))

        def follow() -> None:
            if self.phase == "armed" and right != (self.confirm_button is not None):
                if right:
                    self._offer()
                    self._show_children()
                else:
                    self._withdraw(keep=self.count_box)

        self._loop.post(follow)

    def _offer(self) -> None:
        offer = self._offered = Offer(f"Delete {format_count(len(self._plan.deletable), 'model')}")
        self.confirm_button = armed_button(
            self._kit, offer.text, lambda: self._loop.post(lambda: self._confirm(offer))
        )

    def _withdraw(self, keep: widgets.Widget | None = None) -> None:
        """End the widgets of an offer."""
        dead = [self.confirm_button, *(() if keep is not None else (self.count_box,))]
        self._offered, self.confirm_button, self.count_box = None, None, keep
        self._show_children()
        for widget in dead:
            if widget is not None:
                self._kit.end(widget)

    def _show_children(self) -> None:
        offer = (self.count_box, self.confirm_button)
        children = (*self._base, *(widget for widget in offer if widget is not None))
        if self.box.children != children:
            self.box.children = children

    def _confirm(self, offer: Offer) -> None:
        if self.phase == "armed" and offer is self._offered:
            self._start()

    def _start(self) -> None:
        plan, cancel = self._plan, self._cancel
        self._began = time.monotonic()
        with_others = f"Being deleted, with {format_count(len(plan.deletable), 'model')} in all"
        self._going = {
            run.run_id: Deletion(run.run_id, "", "many", phase="running", message=with_others)
            for run in plan.deletable
        }

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
        self._changed()

    def cancel(self) -> None:
        """Take the question back, stop after the batches in flight, or close the summary."""
        self._cancel.set()
        if self.phase in ("planning", "armed", "ended"):
            if self._job is not None:
                self._job.abandon()
            self.phase = "idle"
            self.show_ticked()
        elif self.phase == "running":
            self._say("stopping", "Stopping after the batches in flight …")

    def stop(self) -> None:
        """Tell what is under way to stop. Safe from any thread."""
        self._cancel.set()

    def _progressed(self, progress: DeletionProgress) -> None:
        if self.phase != "running":
            return
        total = progress.total_bytes or self._plan.bytes
        files = progress.total_files or self._plan.files
        note = f" – {said(progress.note, 200)}" if progress.note else ""  # noqa: RUF001
        told = f"{progress.models:,} of {format_count(len(self._plan.deletable), 'model')}, "
        seconds = time.monotonic() - self._began
        rate = ""
        if seconds >= SETTLED_AFTER and progress.bytes:
            rate = f", {format_bytes(round(progress.bytes / seconds))} a second"
        self._say(
            "running",
            f"Deleting: {told}{progress.files:,} of {files:,} files, "
            f"{format_bytes(progress.bytes)} of {format_bytes(total)}"
            f"{rate}{_left(progress.bytes, total, seconds)}{note}",
            share=progress.bytes / total if total else None,
        )

    def _finished(self, report: Any, error: Exception | None) -> None:
        self._going = {}
        if error is not None:
            self._say("ended", f"The deletion broke off: {describe_failure(error)}", bad=True)
            self._changed()
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
        copied = f'<pre class="xm-copy" tabindex="0">{_escaped_block(self.summary)}</pre>'
        bad = bool(counts.get("failed"))
        self._say("ended", "; ".join(parts), bad=bad, more=copied, title="Summary to copy")
        self._ended(report.results)

    def show_ticked(self) -> None:
        """Say what is ticked, while nothing else is to be said."""
        if self.phase != "idle":
            return
        ticked = self._ticked()
        count = len(ticked.run_ids)
        words = "Selecting many waits until all runs are there." if ticked.checking else ""
        if count:
            words = f"{count:,} selected"
            words += f", {format_bytes(ticked.bytes)}" if ticked.bytes else ""
            words += f"; {ticked.elsewhere:,} not on this page" if ticked.elsewhere else ""
        self._say("idle", words)
        self.select.disabled = ticked.checking
        label = f"Delete {count:,} selected" if count else "Delete selected"
        self._slot.show("delete", label, dead=count == 0 or ticked.checking)

    def _say(
        self,
        phase: Any,
        text: str,
        *,
        share: float | None = None,
        bad: bool = False,
        more: str = "",
        title: str = "What goes",
        opened: bool = False,
    ) -> None:
        self.phase, self.status = phase, text
        sign = "✕" if bad else "✓" if phase == "ended" else "?" if phase == "armed" else ""
        tone = "xm-bad" if bad else "xm-good" if phase == "ended" else "xm-ask"
        mark = f'<span class="xm-sign">{sign}</span>' if sign else ""
        moving = bar(share) if self.busy else ""
        words = escape(text, 600)
        folded = popover(title, more, opened=opened) if more else ""
        self._line.value = (
            f'<div class="xm-say {tone}" role="status" title="{words}">{mark}'
            f'<span class="xm-words">{words}</span>{moving}</div>{folded}'
        )
        self.select.layout = self._kit.shown if phase == "idle" else self._kit.gone
        if phase != "idle":
            kind, label = FACES[phase]
            about = "the summary" if kind == "close" else "the deletion of many"
            self._slot.show(kind, label, about=about, dead=kind == "waiting")
        if phase == "armed":
            self._show_children()
        else:
            self._withdraw()


def _left(done: float, total: float, seconds: float) -> str:
    """Return the time that is left at the pace so far, "" while there is no pace to speak of."""
    if not done or seconds < SETTLED_AFTER or done > total:
        return ""
    return f", about {format_seconds(round((total - done) * seconds / done))} left"


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
                said(result.message, 200),
            )
        )
        for result in results
    ]
    return "\n".join(lines)
