"""Search, filters, buttons above the table; totals and page buttons below it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from expmgr.catalog.states import ModelState
from expmgr.formatting import format_bytes, format_count
from expmgr.text import escape, plain
from expmgr.widgets.chooser import ColumnChooser
from expmgr.widgets.table import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    from expmgr.widgets.kit import Kit
    from expmgr.widgets.session.query import Query, Totals

    class ToolbarActions(Protocol):
        """What the toolbar asks for. Every call must return at once."""

        def change_query(self, **changes: Any) -> None: ...
        def clear_soon(self, names: Sequence[str]) -> None: ...
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
    *((state, state) for state in get_args(ModelState)),
)
STATUS_CHOICES = (
    ("Any status", ""),
    *((status, status) for status in ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")),
)

_FILTERS = {
    "search": "search",
    "experiment": "experiment",
    "status": "status",
    "model": "model",
    "owner": "owner",
}
"""What of a query leaves runs out, and what it is called."""


class Toolbar:
    """What stands above the table.

    Parameters
    ----------
    loud
        Tells whether a change of a widget comes from a person: changes that the browser makes
        itself are not heard.
    main_metric
        What the column of the main metric is called.
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
        main_metric: str,
    ) -> None:
        self._kit = kit
        self._actions = actions
        self._loud = loud
        self._experiments: tuple[tuple[str, str], ...] = ()
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
        self.owner = kit.choice(
            [("Anybody", "")], lambda value: ask(owner=value), tooltip="Who made the run"
        )
        self.studies = kit.choice(
            [("Studies folded", False), ("All runs in one list", True)],
            lambda value: ask(flat=value),
            tooltip="Whether children stand under their parent",
        )
        self.studies.layout = kit.gone
        self.more_button = kit.button(
            "Less" if filter_string else "More …",
            self._toggle_more,
            tooltip="Owner, studies, columns, MLflow filter, sizes, pictures",
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
            "metrics.accuracy > 0.9 and params.model = 'tree'",
            self._entered,
            live=False,
            value=filter_string,
        )
        self.apply_button = kit.button("Apply", self._apply, tooltip="Apply the MLflow filter")
        self.filter_error = kit.html("", "xm-bad", "xm-refused")
        inside = (self.filter_box, self.apply_button, self.filter_error)
        self._filter_line = kit.box(inside, "xm-bar-line")
        self._filter_line.layout = kit.shown if filter_string else kit.gone
        parts = (
            self.search,
            self.experiment,
            self.status,
            self.model,
            self.more_button,
            self.refresh_button,
        )
        self._line = kit.box(parts, "xm-bar-line")
        more = (
            self.owner,
            self.studies,
            self.columns_button,
            self.filter_button,
            *((self.measure_button,) if can_measure else ()),
            self.pictures_button,
        )
        self._more = kit.box(more, "xm-bar-line", "xm-more")
        self._more.layout = kit.shown if filter_string else kit.gone
        self.chips = {
            name: kit.button("", partial(actions.clear_soon, (name,)), "xm-chip", shown=False)
            for name in (*_FILTERS, "filter_string")
        }
        self.clear_button = kit.button(
            "Clear all", self._clear_all, "xm-chip", tooltip="Show all runs again", shown=False
        )
        self._chips = kit.box((*self.chips.values(), self.clear_button), "xm-bar-line", "xm-chips")
        self._chips.layout = kit.gone
        self.chooser = ColumnChooser(kit, actions.choose_columns_soon, main_metric, loud)
        self.box = kit.box(
            (self._line, self._more, self._filter_line, self.chooser.box, self._chips),
            "xm-tools",
        )

    def _ask(self, **changes: Any) -> None:
        if self._loud():
            self._actions.change_query(**changes)

    def _entered(self, _: str) -> None:
        if self._loud():
            self._apply()

    def _apply(self) -> None:
        self._actions.filter_soon(str(self.filter_box.value))

    def _clear_all(self) -> None:
        self._actions.clear_soon((*_FILTERS, "filter_string"))

    def _toggle_more(self) -> None:
        hidden = self._more.layout is self._kit.gone
        self._more.layout = self._kit.shown if hidden else self._kit.gone
        self.more_button.description = "Less" if hidden else "More …"
        if not hidden:
            self._filter_line.layout = self.chooser.box.layout = self._kit.gone

    def _toggle_filter(self) -> None:
        hidden = self._filter_line.layout is self._kit.gone
        self._filter_line.layout = self._kit.shown if hidden else self._kit.gone

    def _toggle_columns(self) -> None:
        hidden = self.chooser.box.layout is self._kit.gone
        self.chooser.box.layout = self._kit.shown if hidden else self._kit.gone

    def show_query(self, query: Query, filter_string: str) -> None:
        """Show what is asked for in the lists, and each filter as a chip that clears it.

        What is typed stays as it is: the person may be ahead of the query.
        """
        for name in ("experiment", "status", "model", "owner"):
            control, wanted = getattr(self, name), getattr(query, name)
            if control.value != wanted and any(value == wanted for _, value in control.options):
                control.value = wanted
        self.studies.value = query.flat
        told = {name: str(getattr(query, name)) for name in _FILTERS}
        told["filter_string"] = filter_string
        active = [name for name, value in told.items() if value]
        for name, chip in self.chips.items():
            refused = " (refused)" if self.filter_error.value else ""
            words = f"{_FILTERS.get(name, f'MLflow filter{refused}')}: {told[name]}"
            chip.layout = self._kit.shown if name in active else self._kit.gone
            if name in active:
                chip.description = f"{plain(words, 60)} ✕"
                chip.tooltip = f"Clear {plain(words, 200)}"
        self.clear_button.layout = self._kit.shown if len(active) > 1 else self._kit.gone
        self._chips.layout = self._kit.shown if active else self._kit.gone

    def offer_studies(self, *, nested: bool) -> None:
        """Offer to fold studies, where there are any."""
        self.studies.layout = self._kit.shown if nested else self._kit.gone

    def offer_owners(self, owners: Sequence[str], me: str) -> None:
        """Set the people whose runs can be chosen, oneself first."""
        options = [("Anybody", "")]
        if me in owners:
            options.append((f"Mine ({plain(me, 40)})", me))
        options += [(plain(name, 60), name) for name in owners if name != me]
        if tuple(options) != tuple(self.owner.options):
            chosen = self.owner.value
            self.owner.options = options
            self.owner.value = chosen if chosen in owners else ""

    def offer_experiments(self, experiments: Mapping[str, int | None]) -> None:
        """Set the experiments that can be chosen, each with its bytes, keeping what is chosen."""
        options = [("All experiments", "")]
        for name, size in experiments.items():
            measured = "" if size is None else f" · {format_bytes(size)}"
            options.append((plain(name, 80) + measured, name))
        if tuple(options) != self._experiments:
            self._experiments = tuple(options)
            chosen = self.experiment.value
            self.experiment.options = options
            self.experiment.value = chosen if chosen in experiments else ""

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

    def show_size(self, rows: int) -> None:
        """Show how many rows are on a page, whichever number that is."""
        if rows not in [size for _, size in self.size.options]:
            sizes = sorted({*(size for _, size in self.size.options), rows})
            self.size.options = [(f"{size} rows", size) for size in sizes]
        self.size.value = rows

    def show(
        self,
        totals: Totals,
        *,
        page: int,
        pages: int,
        note: str,
        complete: bool,
        compare: str = "",
    ) -> None:
        """Write the numbers.

        Parameters
        ----------
        page
            From 1.
        note
            When sizes were measured, or "".
        complete
            Whether these are all runs.
        compare
            Address of a page that compares the ticked runs, or "".
        """
        words = escape(totals_text(totals, note, complete=complete), 600)
        link = ""
        if compare:
            where = f'href="{escape(compare, 20_000)}" target="_blank" rel="noopener"'
            link = f" · <a {where}>Compare in MLflow</a>"
        self.totals.value = f'<span role="status">{words}</span>{link}'
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
    if totals.models:
        parts[0] += f" and {format_count(totals.models, 'model')} without a run"
    if totals.shown != totals.runs + totals.models:
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
