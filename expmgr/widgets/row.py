"""One line of the table: a widget that is bound to whichever run the page puts there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.widgets.columns import is_deletable
from expmgr.widgets.text import escape, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    import ipywidgets as widgets

    from expmgr.widgets.deletion import Deletion
    from expmgr.widgets.kit import Kit

    class RowActions(Protocol):
        """What a row's buttons do. Every call must return at once."""

        def ask(self, run_id: str) -> None: ...
        def confirm(self, run_id: str) -> None: ...
        def take_back(self, run_id: str) -> None: ...
        def tick(self, run_id: str, on: bool) -> None: ...
        def open(self, run_id: str) -> None: ...


__all__ = ["Row", "bar"]


def bar(share: float | None) -> str:
    """Return a progress bar as HTML; None means that the end is not known."""
    if share is None:
        return '<div class="xm-bar xm-unknown" role="progressbar"><div></div></div>'
    percent = max(0.0, min(1.0, share)) * 100
    return (
        f'<div class="xm-bar" role="progressbar" aria-valuenow="{percent:.0f}" aria-valuemin="0"'
        f' aria-valuemax="100"><div style="width:{percent:.1f}%"></div></div>'
    )


class Row:
    """A reusable line: tick box, details button, cells, delete button and, when needed, a strip.

    Attributes
    ----------
    run_id
        The run shown, or "" while the row is unused.
    status
        What the row says about a deletion, as plain text; "" when there is nothing to say.
    log
        The lines folded under a failure.
    """

    def __init__(self, kit: Kit, actions: RowActions, *, read_only: bool) -> None:
        self._kit = kit
        self._actions = actions
        self._read_only = read_only
        self._strip: widgets.Box | None = None
        self._line: widgets.HTML | None = None
        self._confirm: widgets.Button | None = None
        self._cancel: widgets.Button | None = None
        self._extra: tuple[widgets.Widget, ...] = ()
        self.run_id = ""
        self.status = ""
        self.log: tuple[str, ...] = ()
        self._binding = False
        # What stays the same from run to run costs no message when the page is turned.
        self.tick = kit.checkbox(self._ticked, tooltip="Select for deletion")
        self.details_button = kit.button(
            "▸", lambda: self._act(actions.open), "xm-open", tooltip="Details"
        )
        self.cells = kit.html("", "xm-cells")
        self.delete_button = kit.button("Delete", lambda: self._act(actions.ask), "xm-delete")
        parts = (self.details_button, self.cells)
        self._base = parts if read_only else (self.tick, *parts, self.delete_button)
        self.box = kit.box(self._base, "xm-row")
        self.box.layout = kit.gone

    @property
    def confirm_button(self) -> widgets.Button:
        """The second click."""
        self._make_strip()
        assert self._confirm is not None
        return self._confirm

    @property
    def cancel_button(self) -> widgets.Button:
        """Takes the first click back, or stops a deletion under way."""
        self._make_strip()
        assert self._cancel is not None
        return self._cancel

    def _act(self, action: Callable[[str], None]) -> None:
        if self.run_id:
            action(self.run_id)

    def _ticked(self, on: bool) -> None:
        if self.run_id and not self._binding:
            self._actions.tick(self.run_id, on)

    def _make_strip(self) -> None:
        if self._strip is not None:
            return
        kit, actions = self._kit, self._actions
        self._line = kit.html("", "xm-line")
        self._cancel = kit.button(
            "Cancel", lambda: self._act(actions.take_back), "xm-cancel", shown=False
        )
        self._confirm = kit.button(
            "Delete", lambda: self._act(actions.confirm), "xm-confirm", shown=False
        )
        self._strip = kit.box((self._line, self._cancel, self._confirm), "xm-strip")

    def bind(
        self,
        record: Mapping[str, Any] | None,
        cells: str,
        *,
        deletion: Deletion | None,
        selected: bool,
        opened: widgets.Widget | None = None,
        stale: bool = False,
    ) -> None:
        """Show a run, or nothing.

        Parameters
        ----------
        record
            The run, or None to hide the row.
        cells
            Its cells as escaped HTML.
        deletion
            Its deletion, where one was begun.
        selected
            Whether its box is ticked.
        opened
            The details panel, where it is open under this row.
        stale
            Whether the run seems dead, so that its button marks it as killed.
        """
        if record is None:
            self.run_id, self.status, self.log = "", "", ()
            self._extra = ()
            self._show_children(strip=False)
            self.box.layout = self._kit.gone
            return
        self.run_id = str(record["run_id"])
        self._extra = (opened,) if opened is not None else ()
        self.cells.value = cells
        self.details_button.description = "▾" if opened is not None else "▸"
        if not self._read_only:
            self._bind_controls(record, deletion, selected=selected, stale=stale)
        self._bind_strip(deletion)
        self.box.layout = self._kit.shown

    def _bind_controls(
        self,
        record: Mapping[str, Any],
        deletion: Deletion | None,
        *,
        selected: bool,
        stale: bool,
    ) -> None:
        able = is_deletable(record)
        phase = deletion.phase if deletion is not None else ""
        retry = deletion is not None and deletion.failed
        self._binding = True
        try:
            with self.tick.hold_sync():
                self.tick.value = selected
                self.tick.disabled = not able
        finally:
            self._binding = False
        button = self.delete_button
        with button.hold_sync():
            button.description = "Retry" if retry else "Mark killed" if stale else "Delete"
            button.disabled = phase in ("planning", "running", "stopping")
            offered = (able or retry or stale) and phase != "armed"
            button.layout = self._kit.shown if offered else self._kit.ghost

    def _bind_strip(self, deletion: Deletion | None) -> None:
        if deletion is None:
            self.status, self.log = "", ()
            self._show_children(strip=False)
            if self._confirm is not None and self._cancel is not None:
                self._confirm.layout = self._cancel.layout = self._kit.gone
            return
        self._make_strip()
        assert self._line is not None
        assert self._cancel is not None
        assert self._confirm is not None
        self.status, self.log = deletion.message, deletion.log
        self._line.value = _line_html(deletion)
        armed = deletion.phase == "armed"
        with self._confirm.hold_sync():
            self._confirm.description = deletion.confirm_text
            self._confirm.tooltip = f"{deletion.confirm_text}: {plain(deletion.name, 60)}"
            self._confirm.layout = self._kit.shown if armed else self._kit.gone
        stoppable = deletion.phase in ("planning", "armed", "running")
        with self._cancel.hold_sync():
            self._cancel.description = "Stop" if deletion.phase == "running" else "Cancel"
            self._cancel.layout = self._kit.shown if stoppable else self._kit.gone
        self._show_children(strip=True)

    def let_go(self, widget: widgets.Widget) -> None:
        """Give up the details panel, because another row is about to show it."""
        if widget in self._extra:
            self._extra = ()
            self.box.children = tuple(child for child in self.box.children if child is not widget)

    def _show_children(self, *, strip: bool) -> None:
        children = self._base
        if strip and self._strip is not None:
            children = (*children, self._strip)
        children = (*children, *self._extra)
        if self.box.children != children:
            self.box.children = children


def _line_html(deletion: Deletion) -> str:
    """Return a deletion's line: sign, message, bar, and the folded log."""
    if deletion.phase in ("running", "stopping", "planning"):
        sign, tone = "", "xm-busy"
    elif deletion.phase == "armed":
        sign, tone = "?", "xm-ask"
    elif deletion.failed:
        sign, tone = "✕", "xm-bad"
    else:
        sign, tone = "✓", "xm-good"
        if deletion.outcome == "protected":
            sign, tone = "◆", "xm-ask"
    mark = f'<span class="xm-sign">{sign}</span>' if sign else ""
    name = f'<b class="xm-which"><bdi>{escape(deletion.name, 60)}</bdi></b>'
    text = f'<span class="{tone}" role="status">{mark}{escape(deletion.message, 600)}</span>'
    progress = ""
    if deletion.phase in ("running", "stopping", "planning"):
        progress = bar(_share(deletion))
    folded = ""
    if deletion.log and deletion.failed:
        lines = "\n".join(escape(line, 1000) for line in deletion.log[-50:])
        folded = (
            f"<details class='xm-log'><summary>Log, {len(deletion.log)} "
            f"{'line' if len(deletion.log) == 1 else 'lines'}</summary><pre>{lines}</pre></details>"
        )
    return f'<div class="xm-status">{name}{text}{progress}</div>{folded}'


def _share(deletion: Deletion) -> float | None:
    progress = deletion.progress
    if progress is None:
        return None
    if progress.total_bytes:
        return progress.bytes / progress.total_bytes
    if progress.total_files:
        return progress.files / progress.total_files
    return None
