"""Header and rows: one pool of row widgets that show whichever page is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from expmgr.text import plain
from expmgr.widgets.arming import Arming
from expmgr.widgets.cells import cell_html, cell_of
from expmgr.widgets.columns import is_deletable
from expmgr.widgets.row import Row, said_html

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import ipywidgets as widgets

    from expmgr.widgets.columns import Column, Context
    from expmgr.widgets.kit import Kit
    from expmgr.widgets.row import RowActions
    from expmgr.widgets.session.deletion import Deletion

__all__ = ["MOST_COLUMNS", "MOST_ROWS", "RunTable", "Surroundings"]

MOST_ROWS = 30
"""Rows on a page: with six widgets a row the browser stays under 400 widget models."""
MOST_COLUMNS = 16
"""Columns at once, the usual ones included: each has a header button."""


@dataclass(frozen=True)
class Surroundings:
    """What a row shows besides its run's own columns.

    Attributes
    ----------
    context
        What its cells need to know.
    deletion_of
        Returns a run's deletion, where one was begun.
    is_ticked
        Tells whether a line's box is ticked.
    opened
        The run whose details are open, and their panel.
    checking
        Whether it is still unknown what protects the lines.
    foldable
        Whether any line of the table unfolds into others.
    """

    context: Context
    deletion_of: Callable[[str], Deletion | None]
    is_ticked: Callable[[dict[str, Any]], bool]
    opened: tuple[str, widgets.Widget] | None
    checking: bool
    foldable: bool = False


class RunTable:
    """The table's widgets.

    Parameters
    ----------
    on_sort
        Told the key of the header that was clicked.
    on_tick_all
        Told whether the page's tick boxes were set or cleared at once.
    """

    def __init__(
        self,
        kit: Kit,
        actions: RowActions,
        *,
        read_only: bool,
        on_sort: Callable[[str], None],
        on_tick_all: Callable[[bool], None],
    ) -> None:
        self._kit = kit
        self._actions = actions
        self._read_only = read_only
        self._on_sort = on_sort
        self._on_tick_all = on_tick_all
        self._binding = False
        self._fresh = Arming()
        self._opened = ("", -1)
        self.columns: tuple[Column, ...] = ()
        self.pool: list[Row] = []
        self.headers: list[widgets.Button] = []
        self._grid = kit.box((), "xm-grid", "xm-head-cells")
        self.tick_all: widgets.Checkbox | None = None
        if not read_only:
            tooltip = "Select every deletable run of this page"
            self.tick_all = kit.checkbox(self._ticked_all, tooltip=tooltip)
        inside = (self._grid,) if self.tick_all is None else (self.tick_all, self._grid)
        self._head = kit.box(inside, "xm-head")
        self._rows = kit.box((), "xm-rows")
        self._empty = kit.html("", "xm-empty")
        self._empty.layout = kit.gone
        self.box = kit.box((self._head, self._rows, self._empty), "xm-frame")

    def show_columns(self, columns: Sequence[Column], sort_by: str, *, ascending: bool) -> None:
        """Write the header."""
        self.columns = tuple(columns)
        while len(self.headers) < len(self.columns):
            place = len(self.headers)
            self.headers.append(self._kit.button("", partial(self._sort, place)))
        for button, column in zip(self.headers, self.columns, strict=False):
            mark = (" ▲" if ascending else " ▼") if column.key == sort_by else ""
            with button.hold_sync():
                button.description = f"{plain(column.title, 40)}{mark}"
                button.tooltip = f"Sort by {plain(column.title)}"
                side = ("xm-right",) if column.right else ()
                button.set_trait("_dom_classes", ("xm-button", *side))
        children = tuple(self.headers[: len(self.columns)])
        if self._grid.children != children:
            self._grid.children = children

    def _sort(self, place: int) -> None:
        if place < len(self.columns):
            self._on_sort(self.columns[place].key)

    def _ticked_all(self, on: bool) -> None:
        if self._binding:
            return
        if self._fresh.takes():
            self._on_tick_all(on)
        else:
            self._actions.redraw()

    def make_rows(self, page_size: int) -> None:
        """Have a row, hidden at first, for every run that a page may show.

        They are made before the browser is displayed and not when the first runs arrive: a page
        that is connecting then, as Voila's is, cannot show a widget made meanwhile.
        """
        while len(self.pool) < min(page_size, MOST_ROWS):
            self.pool.append(Row(self._kit, self._actions, read_only=self._read_only))
        children = tuple(row.box for row in self.pool)
        if self._rows.children != children:
            self._rows.children = children

    def show_page(
        self,
        records: Sequence[dict[str, Any]],
        around: Surroundings,
        *,
        page_size: int,
        empty: str,
    ) -> None:
        """Bind the page's runs to the pool's rows."""
        self.make_rows(page_size)
        ids = [str(record["id"]) for record in records]
        if ids != [row.run_id for row in self.pool if row.run_id]:
            self._fresh.start()
        moved = False
        if around.opened is None:
            self._opened = ("", -1)
        else:
            open_id, panel = around.opened
            place = ids.index(open_id) if open_id in ids else -1
            moved = self._opened[0] == open_id and self._opened[1] != place
            self._opened = (open_id, place)
            for row in self.pool:  # a widget may stand in one place only
                if row.run_id != open_id:
                    row.let_go(panel)
        for place, row in enumerate(self.pool):
            if place < len(records):
                self.show_row(row, records[place], around, moved=moved)
            elif row.run_id:
                row.bind(None, "", deletion=None, selected=False)
        self._empty.value = empty if not records else ""
        self._empty.layout = self._kit.gone if records else self._kit.shown
        if self.tick_all is not None:
            able = [record for record in records if is_deletable(record)]
            self._binding = True
            try:
                self.tick_all.value = bool(able) and all(map(around.is_ticked, able))
            finally:
                self._binding = False

    def show_row(
        self, row: Row, record: dict[str, Any], around: Surroundings, *, moved: bool = False
    ) -> None:
        """Bind one run to one row; ``moved`` where the row went elsewhere by itself."""
        run_id = str(record["id"])
        deletion = around.deletion_of(run_id)
        columns = self.columns if deletion is None else self.columns[:1]
        cells = "".join(cell_html(cell_of(column, record, around.context)) for column in columns)
        said = ""
        if deletion is not None:
            said, cells = " xm-said", cells + said_html(deletion)
        row.bind(
            record,
            f'<div class="xm-grid{said}">{cells}</div>',
            deletion=deletion,
            selected=around.is_ticked(record),
            opened=around.opened[1] if around.opened and around.opened[0] == run_id else None,
            dead=around.context.seems_dead(run_id),
            checking=around.checking,
            moved=moved,
            foldable=around.foldable,
        )
