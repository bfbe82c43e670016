"""One line of the table: a widget that is bound to whichever run the page puts there.

Its height never changes: what is asked, under way or done stands in the line itself, in place of
the cells after the name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.formatting import format_count
from expmgr.text import escape, plain
from expmgr.widgets.arming import ARMED_AFTER, Arming, Slot
from expmgr.widgets.columns import is_deletable, is_missing
from expmgr.widgets.offering import Offering, OfferingLine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    import ipywidgets as widgets

    from expmgr.widgets.kit import Kit
    from expmgr.widgets.offering import OfferActions
    from expmgr.widgets.session.deletion import Deletion

    class RowActions(OfferActions, Protocol):
        """What a row's buttons do. Every call must return at once."""

        def press(self, id_: str) -> None: ...
        def tick(self, id_: str, on: bool) -> None: ...
        def open(self, id_: str) -> None: ...
        def unfold(self, id_: str) -> None: ...
        def redraw(self) -> None: ...


__all__ = ["FACES", "Row", "bar", "popover", "said_html"]


def bar(share: float | None) -> str:
    """Return a progress bar as HTML; None means that the end is not known."""
    role = 'role="progressbar" aria-label="Progress"'
    if share is None:
        return f'<div class="xm-bar xm-unknown" {role}><div></div></div>'
    percent = max(0.0, min(1.0, share)) * 100
    return (
        f'<div class="xm-bar" {role} aria-valuenow="{percent:.0f}" aria-valuemin="0"'
        f' aria-valuemax="100"><div style="width:{percent:.1f}%"></div></div>'
    )


def popover(title: str, body: str, *, opened: bool = False) -> str:
    """Return what unfolds over the table, not in it, so that no row moves; ``body`` is HTML."""
    state = " open" if opened else ""
    return (
        f'<details class="xm-pop"{state}><summary>{escape(title, 200)}</summary>'
        f'<div class="xm-over">{body}</div></details>'
    )


def said_html(deletion: Deletion) -> str:
    """Return what a row says of a deletion, one line that takes the place of its cells."""
    busy = bar(deletion.share) if deletion.busy and deletion.kind != "with others" else ""
    sign, tone = _TONES.get(deletion.outcome, ("✓", "xm-good"))
    if deletion.phase != "ended":
        sign, tone = ("?", "xm-ask") if deletion.phase == "armed" else ("", "xm-busy")
    mark = f'<span class="xm-sign">{sign}</span>' if sign else ""
    text = escape(deletion.message, 600)
    offering = " xm-offering" if deletion.offer is not None else ""
    return (
        f'<div class="xm-say {tone}{offering}" role="status" title="{text}">'
        f'{mark}<span class="xm-words">{text}</span>{busy}</div>'
    )


_TONES = {"failed": ("✕", "xm-bad"), "protected": ("◆", "xm-ask")}


def _face(
    record: Mapping[str, Any], deletion: Deletion | None, *, dead: bool, checking: bool
) -> tuple[str, str]:
    """Return what a click on the row's button means and what it says; ("", "") hides it."""
    if deletion is not None and deletion.kind == "with others":
        return "waiting", "Deleting"
    if deletion is not None:
        return FACES[deletion.phase]
    if dead and not checking:
        return "delete", "Mark killed"
    if not is_deletable(record):
        return "", ""
    if checking:
        return "waiting", "checking …"
    resumes = record.get("resumes", record.get("model") == "interrupted")
    return "delete", "Resume" if resumes else "Delete"


FACES = {
    "planning": ("cancel", "Cancel"),
    "armed": ("cancel", "Cancel"),
    "running": ("cancel", "Stop"),
    "stopping": ("waiting", "Stopping"),
    "ended": ("close", "Close"),
}
"""What the button in Delete's place means and says in each phase of a deletion."""
_ABOUT = {
    "Delete": "the model of {}",
    "Resume": "the deletion of {}",
    "Cancel": "the deletion of {}",
    "Stop": "deleting {}",
    "Stopping": "the deletion of {}",
    "Close": "the message on {}",
}
_MARKING = dict.fromkeys(("Cancel", "Stop", "Stopping"), "marking {} as killed")
"""The same where a run is to be ended, which deletes no model."""


class Row(OfferingLine):
    """A reusable line: tick box, fold and details buttons, cells and a button; in turn, Confirm.

    Attributes
    ----------
    run_id
        The run shown, or the model by its own id, or "" while the row is unused.
    status
        What the row says about a deletion, as plain text; "" when there is nothing to say.
    log
        The lines of a failure, shown in the run's details.
    tick, delete_button
        None in a read-only browser: what does not exist cannot be clicked over a websocket either.
        In the place of Delete the same button says Cancel, Stop and Close.
    fold_button
        Unfolds a study or a run with several models, and folds it again.
    """

    def __init__(self, kit: Kit, actions: RowActions, *, read_only: bool) -> None:
        self._kit = kit
        self._actions = actions
        self._fresh = Arming()
        self._slot: Slot | None = None
        self._binding = False
        self.run_id = self.status = ""
        self.log: tuple[str, ...] = ()
        self.tick: widgets.Checkbox | None = None
        self.delete_button: widgets.Button | None = None
        # What stays the same from run to run costs no message when the page is turned.
        self.details_button = kit.button("▸", self._open, "xm-open", tooltip="Details")
        self.fold_button = kit.button("+", self._unfold, "xm-fold")
        self.fold_button.layout = kit.gone
        self.cells = kit.html("", "xm-cells")
        base: tuple[widgets.Widget, ...] = (self.fold_button, self.details_button, self.cells)
        if not read_only:
            self.tick = kit.checkbox(self._ticked, tooltip="Select for deletion")
            self._slot = Slot(kit, "Delete", self._press, "xm-slot")
            self.delete_button = self._slot.button
            base = (self.tick, *base, self.delete_button)
        self.box = kit.box(base, "xm-row")
        self.box.layout = kit.gone
        self._offering = Offering(kit, actions, self.box, base)

    def _open(self) -> None:
        if self.run_id and self._fresh.takes():
            self._actions.open(self.run_id)

    def _unfold(self) -> None:
        if self.run_id and self._fresh.takes():
            self._actions.unfold(self.run_id)

    def _press(self) -> None:
        if self.run_id and self._fresh.takes():
            self._actions.press(self.run_id)

    def _ticked(self, on: bool) -> None:
        if not self.run_id or self._binding:
            return
        if self._fresh.takes():
            self._actions.tick(self.run_id, on)
        else:
            self._actions.redraw()

    def bind(
        self,
        record: Mapping[str, Any] | None,
        cells: str,
        *,
        deletion: Deletion | None,
        selected: bool,
        opened: widgets.Widget | None = None,
        dead: bool = False,
        checking: bool = False,
        moved: bool = False,
        foldable: bool = False,
    ) -> None:
        """Show a line, or nothing.

        Parameters
        ----------
        record
            The line, or None to hide the row.
        cells
            Its cells as escaped HTML.
        deletion
            Its deletion, where one was begun.
        selected
            Whether its box is ticked.
        opened
            The details panel, where it is open under this row.
        dead
            Whether the run seems dead, so that its button marks it as killed.
        checking
            Whether it is still unknown what protects the run, so that nothing is offered.
        moved
            Whether the row stands elsewhere than before, so that a click may be meant for another.
        foldable
            Whether any line of the table unfolds, so that there is room for the button.
        """
        if record is None:
            self.run_id, self.status, self.log = "", "", ()
            self._offering.show(None)
            self.box.layout = self._kit.gone
            return
        run_id = str(record["id"])
        if run_id != self.run_id or moved:
            self._fresh.start()
        self.run_id = run_id
        self.status = deletion.message if deletion is not None else ""
        self.log = deletion.log if deletion is not None else ()
        self.cells.value = cells + _shield(self._fresh.age)
        self.details_button.description = "▾" if opened is not None else "▸"
        self._show_fold(record, foldable=foldable)
        if self.tick is not None:
            self._binding = True
            try:
                with self.tick.hold_sync():
                    self.tick.value = selected
                    self.tick.disabled = not is_deletable(record)
            finally:
                self._binding = False
        if self._slot is not None:
            kind, text = _face(record, deletion, dead=dead, checking=checking)
            names = (
                _ABOUT | _MARKING if deletion is not None and deletion.kind == "kill" else _ABOUT
            )
            about = names.get(text, "{}").format(_name(record)) if kind else ""
            self._slot.show(kind, text, about=about, dead=kind == "waiting")
        self._offering.show(deletion, *(() if opened is None else (opened,)))
        self.box.layout = self._kit.shown

    def _show_fold(self, record: Mapping[str, Any], *, foldable: bool) -> None:
        button, below = self.fold_button, record.get("unfolds", 0)
        with button.hold_sync():
            if below:
                unfolded = bool(record.get("unfolded"))
                button.description = "−" if unfolded else "+"  # noqa: RUF001 - the minus sign
                doing = "Fold" if unfolded else "Unfold"
                button.tooltip = f"{doing} {_name(record)}: {format_count(below, 'line')}"
            button.layout = (
                self._kit.shown if below else self._kit.ghost if foldable else self._kit.gone
            )

    def let_go(self, widget: widgets.Widget) -> None:
        """Give up the details panel, because another row is about to show it."""
        if widget in self.box.children:
            self.box.children = tuple(child for child in self.box.children if child is not widget)


def _name(record: Mapping[str, Any]) -> str:
    name = record.get("run_name")
    return plain(record["id"] if is_missing(name) else name, 60)


def _shield(age: float) -> str:
    """Return what keeps the pointer off a row that was bound ``age`` seconds ago."""
    if age >= ARMED_AFTER:
        return ""
    return f'<div class="xm-shield" style="animation-delay:-{age:.2f}s"></div>'
