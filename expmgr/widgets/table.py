"""Header and rows: one pool of row widgets that show whichever page is asked for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from expmgr.widgets.columns import cell, is_deletable
from expmgr.widgets.row import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import ipywidgets as widgets

    from expmgr.widgets.columns import Column, Context
    from expmgr.widgets.deletion import Deletion
    from expmgr.widgets.kit import Kit
    from expmgr.widgets.row import RowActions

__all__ = ["MOST_COLUMNS", "MOST_ROWS", "RunTable"]

MOST_ROWS = 30
"""Rows on a page: with nine widgets a row the browser stays under 400 widget models."""
MOST_COLUMNS = 16
"""Columns at once, the usual ones included: each has a header button."""


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
        self.columns: tuple[Column, ...] = ()
        self.pool: list[Row] = []
        self.headers: list[widgets.Button] = []
        self._binding = False
        self._grid = kit.box((), "xm-grid", "xm-head-cells")
        self.tick_all = kit.checkbox(
            lambda on: None if self._binding else on_tick_all(on),
            tooltip="Select every deletable run of this page",
        )
        spaces = (kit.html("", "xm-space-open"), self._grid)
        inside = spaces if read_only else (self.tick_all, *spaces, kit.html("", "xm-space-delete"))
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
                button.description = f"{column.title[:40]}{mark}"
                button.tooltip = f"Sort by {column.title[:200]}"
                side = ("xm-right",) if column.right else ()
                button.set_trait("_dom_classes", ("xm-button", *side))
        children = tuple(self.headers[: len(self.columns)])
        if self._grid.children != children:
            self._grid.children = children

    def _sort(self, place: int) -> None:
        if place < len(self.columns):
            self._on_sort(self.columns[place].key)

    def show_page(
        self,
        records: Sequence[dict[str, Any]],
        context: Context,
        *,
        deletion_of: Callable[[str], Deletion | None],
        selected: set[str],
        opened: tuple[str, widgets.Widget] | None,
        page_size: int,
        empty: str,
    ) -> None:
        """Bind the page's runs to the pool's rows."""
        while len(self.pool) < min(page_size, MOST_ROWS, max(len(records), len(self.pool))):
            self.pool.append(Row(self._kit, self._actions, read_only=self._read_only))
        if opened is not None:
            for row in self.pool:  # a widget may stand in one place only
                if row.run_id != opened[0]:
                    row.let_go(opened[1])
        for place, row in enumerate(self.pool):
            if place < len(records):
                self.show_row(row, records[place], context, deletion_of, selected, opened)
            elif row.run_id:
                row.bind(None, "", deletion=None, selected=False)
        children = tuple(row.box for row in self.pool)
        if self._rows.children != children:
            self._rows.children = children
        self._empty.value = empty if not records else ""
        self._empty.layout = self._kit.gone if records else self._kit.shown
        able = {str(record["run_id"]) for record in records if is_deletable(record)}
        self._binding = True
        try:
            self.tick_all.value = bool(able) and able <= selected
        finally:
            self._binding = False

    def show_row(
        self,
        row: Row,
        record: dict[str, Any],
        context: Context,
        deletion_of: Callable[[str], Deletion | None],
        selected: set[str],
        opened: tuple[str, widgets.Widget] | None,
    ) -> None:
        """Bind one run to one row."""
        run_id = str(record["run_id"])
        cells = "".join(cell(column, record, context) for column in self.columns)
        row.bind(
            record,
            f'<div class="xm-grid">{cells}</div>',
            deletion=deletion_of(run_id),
            selected=run_id in selected,
            opened=opened[1] if opened is not None and opened[0] == run_id else None,
            stale=run_id in (context.stale or {}),
        )
