"""The line above the table that selects many, asks once, and tells how their deletion goes.

It is always there, as high as ever, so that an offer or a result moves no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.formatting import format_bytes, format_count
from expmgr.secrecy import redact
from expmgr.text import escape
from expmgr.widgets.arming import Slot
from expmgr.widgets.errand_line import said_of_many, summary_html
from expmgr.widgets.offering import Offering, OfferingLine
from expmgr.widgets.row import FACES, popover

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from expmgr.widgets.kit import Kit
    from expmgr.widgets.offering import OfferActions
    from expmgr.widgets.session.deletion import Deletion
    from expmgr.widgets.session.words import Asked

    class ManyActions(OfferActions, Protocol):
        """What the line asks for. Every call must return at once."""

        def press_many(self) -> None: ...
        def pick_many(self, which: str) -> None: ...


__all__ = ["ManyLine", "plan_html"]

MOST_LISTED = 100
FEW = 10
"""So many models are listed by name without being asked."""


class ManyLine(OfferingLine):
    """What is ticked, and what becomes of it.

    Parameters
    ----------
    keep
        How many of the best "all but the best" offers, besides the usual numbers.
    loud
        Tells whether a change of a widget comes from a person.

    Attributes
    ----------
    phase
        As of `expmgr.widgets.session.deletion.Deletion`.
    status
        What the line says, as plain text.
    summary
        After it ended, one line a model, to be copied.
    delete_button
        Delete selected, and in its place Cancel, Stop and Close.
    """

    def __init__(
        self, kit: Kit, actions: ManyActions, *, keep: int, loud: Callable[[], bool]
    ) -> None:
        self._kit = kit
        self._actions = actions
        self.phase = "idle"
        self.status = self.summary = ""
        best = [
            (f"All but the best {count} of each experiment", f"best {count}")
            for count in sorted({1, 3, 5, keep})
        ]
        each = ("All but the best model of each run", "best of each run")

        def chosen(which: str) -> None:
            if which and loud():
                actions.pick_many(which)
                self.select.value = ""

        self.select = kit.choice(
            [("Select …", ""), ("All that match", "all"), *best, each, ("None", "none")],
            chosen,
            "xm-select",
            tooltip="Tick many at once; protected ones stay out",
        )
        self._slot = Slot(kit, "", actions.press_many, "xm-delete-many")
        self.delete_button = self._slot.button
        self._line = kit.html("", "xm-line")
        base = (self.delete_button, self.select, self._line)
        self.box = kit.box(base, "xm-bulk")
        self._offering = Offering(kit, actions, self.box, base)

    def cancel(self) -> None:
        """Take back what is asked, stop what is under way, or close what has ended."""
        if self.phase != "idle":
            self._actions.press_many()

    def show_ticked(self, asked: Asked) -> None:
        """Say what is ticked, while nothing becomes of it."""
        self._say_ticked(asked)
        self._turn_to(None)

    def show_deletion(self, deletion: Deletion) -> None:
        """Say what becomes of what was ticked."""
        self._say_deletion(deletion)
        self._turn_to(deletion)

    def _turn_to(self, deletion: Deletion | None) -> None:
        self.phase = "idle" if deletion is None else deletion.phase
        self.summary = "" if deletion is None else deletion.summary
        self.select.layout = self._kit.shown if deletion is None else self._kit.gone
        self._offering.show(deletion)

    def _say_ticked(self, asked: Asked) -> None:
        count = len(asked.ids)
        words = "Selecting many waits until all runs are there." if asked.checking else ""
        if count:
            words = f"{count:,} selected"
            words += f", {format_bytes(asked.bytes)}" if asked.bytes else ""
            words += f"; {asked.elsewhere:,} not on this page" if asked.elsewhere else ""
        self._say(words)
        self.select.disabled = asked.checking
        label = f"Delete {count:,} selected" if count else "Delete selected"
        self._slot.show("delete", label, dead=count == 0 or asked.checking)

    def _say_deletion(self, deletion: Deletion) -> None:
        folded = summary_html(deletion)
        if not folded and deletion.plan is not None and deletion.phase in ("armed", "ended"):
            opened = deletion.phase == "armed" and len(deletion.plan.runs) <= FEW
            folded = popover("What goes", plan_html(deletion.plan), opened=opened)
        self.status = deletion.message
        self._line.value = said_of_many(deletion) + folded
        kind, label = FACES[deletion.phase]
        about = "the summary" if kind == "close" else "the deletion of many"
        self._slot.show(kind, label, about=about, dead=kind == "waiting")

    def _say(self, text: str) -> None:
        self.status = text
        words = escape(text, 600)
        self._line.value = (
            f'<div class="xm-say xm-ask" role="status" title="{words}">'
            f'<span class="xm-words">{words}</span></div>'
        )


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
        f"<li><b><bdi>{escape(run.run_name or run.id, 80)}</bdi></b>: {escape(_why(run), 300)}</li>"
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
        size = f"{format_count(run.files, 'file')}, {format_bytes(run.bytes)}"
        return size + (f"; {redact(run.note)}" if run.note else "")
    if run.problem:
        return redact(str(run.problem))
    if run.reasons:
        return "protected: " + "; ".join(run.reasons)
    return "nothing is stored" if not run.files else f"its model is {run.model}"
