"""Search, filters, buttons above the table; totals and page buttons below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.formatting import format_bytes, format_count
from expmgr.text import escape, plain
from expmgr.widgets.table import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from expmgr.widgets.kit import Kit
    from expmgr.widgets.view import Totals

    class ToolbarActions(Protocol):
        """What the toolbar asks for. Every call must return at once."""

        def change_query(self, **changes: Any) -> None: ...
        def refresh_soon(self) -> None: ...
        def filter_soon(self, filter_string: str) -> None: ...
        def choose_columns_soon(self, keys: tuple[str, ...]) -> None: ...
        def measure_soon(self) -> None: ...
        def pictures_soon(self) -> None: ...
        def turn_to(self, where: str) -> None: ...
        def resize_page(self, rows: int) -> None: ...


__all__ = ["MODEL_CHOICES", "Footer", "Toolbar"]

MODEL_CHOICES = (
    ("Any model", ""),
    ("Can be deleted", "deletable"),
    ("stored", "stored"),
    ("artifacts", "artifacts"),
    ("deleting", "deleting"),
    ("interrupted", "interrupted"),
    ("deleted", "deleted"),
    ("none", "none"),
    ("unknown", "unknown"),
    ("elsewhere", "elsewhere"),
)
STATUS_CHOICES = (
    ("Any status", ""),
    *((status, status) for status in ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")),
)


class Toolbar:
    """What stands above the table.

    Parameters
    ----------
    loud
        Tells whether a change of a widget comes from a person: changes that the browser makes
        itself are not heard.
    can_measure
        Whether there is a storage account to ask for sizes.
    """

    def __init__(
        self,
        kit: Kit,
        actions: ToolbarActions,
        *,
        filter_string: str,
        loud: Callable[[], bool],
        can_measure: bool,
    ) -> None:
        self._kit = kit
        self._actions = actions
        self._loud = loud
        self._column_keys: tuple[str, ...] = ()
        self._experiments: tuple[str, ...] = ()
        ask = self._ask
        self.search = kit.text("Search runs, params, tags", lambda text: ask(search=text))
        self.experiment = kit.choice(
            [("All experiments", "")], lambda value: ask(experiment=value), tooltip="Experiment"
        )
        self.status = kit.choice(
            STATUS_CHOICES, lambda value: ask(status=value), tooltip="Status of the run"
        )
        self.model = kit.choice(
            MODEL_CHOICES, lambda value: ask(model=value), tooltip="State of the model"
        )
        self.columns_button = kit.button(
            "Columns", self._toggle_columns, tooltip="Choose what the table shows"
        )
        self.filter_button = kit.button(
            "MLflow filter", self._toggle_filter, tooltip="Filter on the tracking server"
        )
        self.measure_button = kit.button(
            "Measure sizes", actions.measure_soon, tooltip="Ask the storage account for all sizes"
        )
        self.pictures_button = kit.button(
            "Pictures", actions.pictures_soon, tooltip="Quality against size, and more"
        )
        self.refresh_button = kit.button(
            "Refresh", actions.refresh_soon, tooltip="Fetch what changed"
        )
        self.filter_box = kit.text(
            "metrics.accuracy > 0.9 and params.model = 'tree'", lambda _: None, live=False
        )
        self.filter_box.value = filter_string
        self.apply_button = kit.button("Apply", self._apply, tooltip="Apply the MLflow filter")
        self.filter_error = kit.html("", "xm-bad", "xm-refused")
        inside = (self.filter_box, self.apply_button, self.filter_error)
        self._filter_line = kit.box(inside, "xm-bar-line")
        self._filter_line.layout = kit.shown if filter_string else kit.gone
        self.chooser: Any = None
        self._hint: Any = None
        parts = (
            self.search,
            self.experiment,
            self.status,
            self.model,
            self.columns_button,
            self.filter_button,
            *((self.measure_button,) if can_measure else ()),
            self.pictures_button,
            self.refresh_button,
        )
        self._line = kit.box(parts, "xm-bar-line")
        self._choosing = kit.box((), "xm-chooser")
        self._choosing.layout = kit.gone
        self.box = kit.box(
            (self._line, self._filter_line, self._choosing),
            "xm-tools",
        )

    def _ask(self, **changes: Any) -> None:
        if self._loud():
            self._actions.change_query(**changes)

    def _apply(self) -> None:
        self._actions.filter_soon(str(self.filter_box.value))

    def _toggle_filter(self) -> None:
        hidden = self._filter_line.layout is self._kit.gone
        self._filter_line.layout = self._kit.shown if hidden else self._kit.gone

    def _toggle_columns(self) -> None:
        if self._choosing.layout is self._kit.shown:
            self._choosing.layout = self._kit.gone
            return
        if self.chooser is None:
            self.chooser = self._kit.many(
                [(plain(key, 80), key) for key in self._column_keys],
                self._choose,
                tooltip="Columns to add to the table",
            )
            self._hint = self._kit.html()
            self.say_room(0, 0)
            self._choosing.children = (self._hint, self.chooser)
        self._choosing.layout = self._kit.shown

    def say_room(self, room: int, chosen: int) -> None:
        """Say above the chooser how it works, or that not all that was chosen fits."""
        words = "Columns to add to the table; Ctrl or Shift for several."
        if chosen > room:
            words = f"The first {room} of the {chosen} chosen columns are shown; more do not fit."
        if self._hint is not None:
            self._hint.value = f'<span class="xm-dim" role="status">{words}</span>'

    def _choose(self, keys: tuple[str, ...]) -> None:
        if self._loud():
            self._actions.choose_columns_soon(keys)

    def offer(self, *, experiments: Sequence[str], columns: Sequence[str]) -> None:
        """Set what can be chosen, keeping what is chosen."""
        names = tuple(experiments)
        if names != self._experiments:
            self._experiments = names
            chosen = self.experiment.value
            options = [("All experiments", ""), *((plain(name, 80), name) for name in names)]
            with self.experiment.hold_trait_notifications():
                self.experiment.options = options
                self.experiment.value = chosen if chosen in names else ""
        keys = tuple(columns)
        if keys != self._column_keys:
            self._column_keys = keys
            if self.chooser is not None:
                chosen_keys = [key for key in self.chooser.value if key in keys]
                self.chooser.options = [(plain(key, 80), key) for key in keys]
                self.chooser.value = chosen_keys

    def show_filter_error(self, text: str) -> None:
        """Show what the server said about the filter, under the filter."""
        self.filter_error.value = (
            f'<span role="alert"><span class="xm-sign">✕</span>{escape(text, 600)}</span>'
            if text
            else ""
        )
        if text:
            self._filter_line.layout = self._kit.shown


class Footer:
    """Totals and page buttons."""

    def __init__(
        self, kit: Kit, actions: ToolbarActions, *, page_size: int, loud: Callable[[], bool]
    ) -> None:
        self.totals = kit.html("", "xm-totals")
        turn = actions.turn_to
        self.first = kit.button("First", lambda: turn("first"), tooltip="First page")
        self.previous = kit.button("Previous", lambda: turn("previous"), tooltip="Previous page")
        self.where = kit.html("")
        self.next = kit.button("Next", lambda: turn("next"), tooltip="Next page")
        self.last = kit.button("Last", lambda: turn("last"), tooltip="Last page")
        sizes = sorted({10, 25, MOST_ROWS, page_size})
        self.size = kit.choice(
            [(f"{size} rows", size) for size in sizes],
            lambda value: actions.resize_page(int(value)) if loud() else None,
            tooltip="Rows on a page",
            value=page_size,
        )
        self.pager = kit.box(
            (self.first, self.previous, self.where, self.next, self.last, self.size), "xm-pager"
        )
        self.box = kit.box((self.totals, self.pager), "xm-foot")

    def show(self, totals: Totals, *, page: int, pages: int, note: str, complete: bool) -> None:
        """Write the numbers.

        Parameters
        ----------
        page
            From 1.
        note
            When sizes were measured, or "".
        complete
            Whether these are all runs.
        """
        words = escape(totals_text(totals, note, complete=complete), 600)
        self.totals.value = f'<span role="status">{words}</span>'
        self.where.value = f"Page {page:,} of {pages:,}" if complete else f"Page {page:,} of …"
        for button, dead in (
            (self.first, page <= 1),
            (self.previous, page <= 1),
            (self.next, page >= pages),
            (self.last, page >= pages),
        ):
            button.disabled = dead


def totals_text(totals: Totals, note: str = "", *, complete: bool = True) -> str:
    """Return the footer as one line of plain text."""
    parts = [format_count(totals.runs, "run") if complete else f"{totals.runs:,} of … runs"]
    if totals.shown != totals.runs:
        parts.append(f"{totals.shown:,} shown")
    if totals.measured:
        size = format_bytes(totals.bytes)
        if totals.measured < totals.shown:
            size += f" in the {totals.measured:,} measured"
        parts.append(size)
    if totals.selected:
        size = f", {format_bytes(totals.selected_bytes)}" if totals.selected_measured else ""
        if 0 < totals.selected_measured < totals.selected:
            size += f" in the {totals.selected_measured:,} measured"
        parts.append(f"{totals.selected:,} selected{size}")
    if note:
        parts.append(note)
    return " · ".join(parts)
