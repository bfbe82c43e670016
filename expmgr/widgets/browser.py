"""The run browser: a page of runs with a delete button on each row."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from expmgr.errors import InvalidInputError
from expmgr.widgets.columns import Context, column_of, default_columns, is_missing
from expmgr.widgets.deletion import Deletions, describe_failure
from expmgr.widgets.kit import Kit
from expmgr.widgets.loader import Loader
from expmgr.widgets.loop import Loop
from expmgr.widgets.notice import Notice
from expmgr.widgets.static import page_html, page_text
from expmgr.widgets.table import MOST_ROWS, RunTable
from expmgr.widgets.theme import style_sheet
from expmgr.widgets.toolbar import Footer, Toolbar, totals_text
from expmgr.widgets.view import Query, deletable_mask, haystack, matching, totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    import ipywidgets as widgets

    from expmgr.results import DeletionResult
    from expmgr.widgets.row import Row

__all__ = ["RunBrowser"]

_numbers = itertools.count(1)


class RunBrowser:
    """A table of runs that deletes models, for a notebook.

    Everything that waits for a server runs in a pool; a widget's callback only posts to a loop
    of the browser's own and returns. The state belongs to that loop's thread.

    Parameters
    ----------
    manager
        An ``ExperimentsManager``; only its public methods are used.
    experiments
        As in ``manager.runs``.
    filter_string
        MLflow's filter, evaluated by the server.
    page_size
        Rows on a page; more than 30 is taken as 30, so that widgets stay few.
    read_only
        Offers nothing that changes anything.
    take_back
        Seconds after which an unconfirmed deletion is taken back.
    patience
        Seconds before the browser says that it is waiting for a server.

    Attributes
    ----------
    widget
        The widget that is displayed.
    """

    def __init__(
        self,
        manager: Any,
        experiments: Any = None,
        filter_string: str = "",
        *,
        page_size: int = 25,
        read_only: bool = False,
        take_back: float = 15.0,
        patience: float = 4.0,
    ) -> None:
        if page_size < 1:
            raise InvalidInputError(f"page_size must be at least 1, not {page_size}.")
        self.manager = manager
        self.read_only = read_only or not hasattr(manager, "plan_deletion")
        self._scope = f"xm-b{next(_numbers)}"
        self._page_size = min(page_size, MOST_ROWS)
        self._page = 0
        self._frame = pd.DataFrame()
        self._positions = np.empty(0, dtype=np.intp)
        self._texts: list[str] | None = None
        self._query = Query()
        self._selected: set[str] = set()
        self._ended: dict[str, tuple[float, DeletionResult]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._opened: tuple[str, widgets.Widget] | None = None
        self._main_metric = str(getattr(manager, "main_metric", ""))
        self._columns = default_columns(self._main_metric)
        self._extra: tuple[str, ...] = ()
        self._shown: list[dict[str, Any]] = []
        self._search_timer: Any = None
        self._closed = False

        self._kit = Kit()
        self._loop = Loop("expmgr-browser", on_error=self._say_error)
        self._deletions = Deletions(
            manager,
            self._loop,
            changed=self._row_changed,
            finished=self._deletion_ended,
            take_back=take_back,
            patience=patience,
        )
        self._build(experiments, filter_string, patience)
        self._loop.post(self._loader.start)

    def _build(self, experiments: Any, filter_string: str, patience: float) -> None:
        kit = self._kit
        self._style = kit.html(style_sheet(self._scope, self._columns))
        self.toolbar = Toolbar(kit, self, filter_string=filter_string, loud=self._loud)
        self.notice = Notice(kit)
        self._table = RunTable(
            kit,
            self,
            read_only=self.read_only,
            on_sort=self._header_clicked,
            on_tick_all=self._page_ticked,
        )
        self.footer = Footer(kit, self, page_size=self._page_size, loud=self._loud)
        self._table.show_columns(self._columns, self._query.sort_by, ascending=False)
        self.widget = kit.box(
            (
                self._style,
                self.toolbar.box,
                self.notice.box,
                self._table.box,
                self.footer.box,
            ),
            "xm-root",
            self._scope,
        )
        self._loader = Loader(
            self.manager,
            self._loop,
            self.notice,
            experiments=experiments,
            filter_string=filter_string,
            first=self._page_size,
            arrived=self._arrived,
            filter_refused=self.toolbar.show_filter_error,
            patience=patience,
        )

    # What a notebook calls ------------------------------------------------------------------

    @property
    def table(self) -> pd.DataFrame:
        """The runs as filtered and sorted, a copy."""
        return self._loop.call(
            lambda: self._frame.iloc[self._positions].reset_index(drop=True).copy()
        )

    @property
    def rows(self) -> list[Row]:
        """The rows of the visible page."""
        return self._loop.call(lambda: [row for row in self._table.pool if row.run_id])

    @property
    def selected(self) -> list[str]:
        """The run ids that are ticked, in the table's order."""
        return self._loop.call(
            lambda: [run for run in self._frame.get("run_id", ()) if run in self._selected]
        )

    @property
    def widget_models(self) -> int:
        """The number of widget models alive, layouts and styles included."""
        return len(self._kit)

    def next_page(self) -> None:
        """Show the next page."""
        self._loop.call(lambda: self._turn("next"))

    def previous_page(self) -> None:
        """Show the previous page."""
        self._loop.call(lambda: self._turn("previous"))

    def sort_by(self, column: str, ascending: bool = True) -> None:
        """Sort by a column of the table; what is missing comes last either way.

        Raises
        ------
        KeyError
            The table has no such column.
        """

        def sort() -> None:
            if column != "duration" and len(self._frame) and column not in self._frame:
                raise KeyError(f"the table has no column {column!r}")
            self._ask(sort_by=column, ascending=ascending)

        self._loop.call(sort)

    def search(self, text: str) -> None:
        """Show the runs in which every word of the text appears."""

        def look() -> None:
            self.toolbar.search.value = text
            self._ask(search=text)

        self._loop.call(look)

    def select(self, run_ids: Sequence[str]) -> None:
        """Tick exactly these runs; those that offer no delete are left out."""
        self._loop.call(lambda: self._select(list(run_ids)))

    def refresh(self) -> None:
        """Fetch what changed, in the background."""
        self._loop.call(self._loader.refresh)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no background work is left. Returns False when the time ran out."""
        return self._loop.wait(timeout)

    def close(self) -> None:
        """Stop the background work and free every thread and widget model."""
        if self._closed:
            return
        self._closed = True
        self._deletions.cancel_all()
        self._loop.close()
        self._kit.close()

    def __enter__(self) -> RunBrowser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return self._loop.call(self._as_text)

    __str__ = __repr__

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, Any]:
        """Return the live widget, and the page as HTML and text for where there is no kernel."""
        deadline = time.monotonic() + 2.0  # a saved notebook should hold the first page
        while not self._loaded_something and time.monotonic() < deadline and not self._closed:
            if self._loop.wait(0.05):
                break
        bundle: dict[str, Any] = {
            "text/plain": self._loop.call(self._as_text),
            "text/html": self._loop.call(self._as_html),
        }
        if not self._closed:
            bundle["application/vnd.jupyter.widget-view+json"] = {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.widget.model_id,
            }
        return bundle

    # What widgets call: post and return --------------------------------------------------------

    def _loud(self) -> bool:
        return not self._loop.inside

    def ask(self, run_id: str) -> None:
        """First click on a row's delete button."""
        self._loop.post(lambda: self._deletions.ask(run_id, self._name_of(run_id)))

    def confirm(self, run_id: str) -> None:
        """Second click."""
        self._loop.post(lambda: self._deletions.confirm(run_id))

    def take_back(self, run_id: str) -> None:
        """Cancel or Stop on a row."""
        self._loop.post(lambda: self._deletions.take_back(run_id))

    def tick(self, run_id: str, on: bool) -> None:
        """A row's tick box changed."""
        self._loop.post(lambda: self._tick([run_id], on))

    def open(self, run_id: str) -> None:
        """A row's details button."""
        self._loop.post(lambda: self._open(run_id))

    def change_query(self, **changes: Any) -> None:
        """A filter changed; a search waits until typing pauses."""

        def change() -> None:
            if self._search_timer is not None:
                self._search_timer.cancel()
            if "search" in changes:
                self._search_timer = self._loop.later(0.2, lambda: self._ask(**changes))
            else:
                self._ask(**changes)

        self._loop.post(change)

    def refresh_soon(self) -> None:
        """The refresh button."""
        self._loop.post(self._loader.refresh)

    def filter_soon(self, filter_string: str) -> None:
        """The MLflow filter's button."""

        def apply() -> None:
            self._loader.filter_string = filter_string.strip()
            self._loader.start()

        self._loop.post(apply)

    def choose_columns_soon(self, keys: tuple[str, ...]) -> None:
        """The column chooser."""
        self._loop.post(lambda: self._choose_columns(keys))

    def measure_soon(self) -> None:
        """The button that measures sizes."""

    def turn_to(self, where: str) -> None:
        """A page button."""
        self._loop.post(lambda: self._turn(where))

    def resize_page(self, rows: int) -> None:
        """The page size."""
        self._loop.post(lambda: self._resize(rows))

    def _header_clicked(self, key: str) -> None:
        def sort() -> None:
            same = key == self._query.sort_by
            text = key in ("run_name", "experiment_name", "status", "model", "protected_by")
            ascending = not self._query.ascending if same else text
            self._ask(sort_by=key, ascending=ascending)

        self._loop.post(sort)

    def _page_ticked(self, on: bool) -> None:
        self._loop.post(
            lambda: self._tick([str(record["run_id"]) for record in self._shown], on)
        )

    # On the loop's thread --------------------------------------------------------------------

    @property
    def _loaded_something(self) -> bool:
        return bool(len(self._frame)) or self._loader.complete or bool(self._loader.failure)

    def _say_error(self, error: BaseException) -> None:
        self.notice.show(f"Something went wrong: {describe_failure(error)}", bad=True)

    def _arrived(self, frame: pd.DataFrame, complete: bool, sent: float) -> None:
        self._frame = self._overlaid(frame, sent)
        self._loader.frame = self._frame
        self._texts = None
        if complete:
            self._selected &= set(self._frame.get("run_id", ()))
        self._offer()
        self._recompute()

    def _overlaid(self, frame: pd.DataFrame, sent: float) -> pd.DataFrame:
        """Put what this browser knows better than the answer on top of it."""
        frame = frame.reset_index(drop=True)
        if frame.empty or "run_id" not in frame:
            return frame
        frame = _with_column(_with_column(frame, "files"), "bytes")
        place = {run_id: at for at, run_id in enumerate(frame["run_id"])}
        for run_id, (files, size) in self._sizes.items():
            if run_id in place:
                _put(frame, place[run_id], files=files, bytes=size)
        for run_id, (when, result) in self._ended.items():
            if run_id in place and when > sent:
                _put(frame, place[run_id], **_after(result))
        return frame

    def _offer(self) -> None:
        names = (
            sorted({str(name) for name in self._frame["experiment_name"].dropna()}, key=str.casefold)
            if "experiment_name" in self._frame
            else []
        )
        standard = {column.key for column in default_columns(self._main_metric)}
        keys = sorted(
            str(key)
            for key in self._frame.columns
            if str(key).startswith(("metrics.", "params.", "tags.")) and key not in standard
        )
        self.toolbar.offer(experiments=names, columns=["run_id", "end_time", *keys])

    def _haystack(self) -> list[str]:
        if self._texts is None:
            self._texts = haystack(self._frame)
        return self._texts

    def _ask(self, **changes: Any) -> None:
        query = replace(self._query, **changes)
        if query == self._query:
            return
        resorted = (query.sort_by, query.ascending) != (self._query.sort_by, self._query.ascending)
        self._query = query
        self._page = 0
        if resorted:
            self._table.show_columns(self._columns, query.sort_by, ascending=query.ascending)
        self._recompute()

    def _recompute(self) -> None:
        self._positions = matching(self._frame, self._query, self._haystack)
        self._draw()

    def _pages(self) -> int:
        return max(1, -(-len(self._positions) // self._page_size))

    def _turn(self, where: str) -> None:
        last = self._pages() - 1
        page = {
            "first": 0,
            "previous": max(0, self._page - 1),
            "next": min(last, self._page + 1),
            "last": last,
        }[where]
        if page != self._page:
            self._page = page
            self._draw()

    def _resize(self, rows: int) -> None:
        top = self._page * self._page_size
        self._page_size = max(1, min(rows, MOST_ROWS))
        self._page = top // self._page_size
        self._draw()

    def _choose_columns(self, keys: Sequence[str]) -> None:
        self._extra = tuple(keys)
        self._columns = (
            *default_columns(self._main_metric),
            *(column_of(key) for key in self._extra),
        )
        self._style.value = style_sheet(self._scope, self._columns)
        self._table.show_columns(
            self._columns, self._query.sort_by, ascending=self._query.ascending
        )
        self._draw()

    def _context(self) -> Context:
        return Context(
            now=datetime.now(timezone.utc),
            tracking_uri=str(getattr(self.manager, "tracking_uri", "")),
            main_metric=self._main_metric,
        )

    def _records(self, page: int) -> list[dict[str, Any]]:
        if self._frame.empty:
            return []
        start = page * self._page_size
        part = self._frame.iloc[self._positions[start : start + self._page_size]]
        records: list[dict[str, Any]] = part.to_dict("records")
        return records

    def _draw(self) -> None:
        self._page = min(self._page, self._pages() - 1)
        self._shown = self._records(self._page)
        self._table.show_page(
            self._shown,
            self._context(),
            deletion_of=self._deletions.get,
            selected=self._selected,
            opened=self._opened,
            page_size=self._page_size,
            empty=self._empty_text(),
        )
        self._draw_footer()

    def _empty_text(self) -> str:
        if not self._loader.complete:
            return "" if self._loader.loading else "No runs could be loaded."
        return "No run matches." if len(self._frame) else "There are no runs yet."

    def _draw_footer(self) -> None:
        self.footer.show(
            totals(self._frame, self._positions, self._selected),
            page=self._page + 1,
            pages=self._pages(),
            note="",
        )

    def _row_changed(self, run_id: str) -> None:
        for row, record in zip(self._table.pool, self._shown, strict=False):
            if row.run_id == run_id:
                self._table.show_row(
                    row,
                    record,
                    self._context(),
                    self._deletions.get,
                    self._selected,
                    self._opened,
                )
                return

    def _deletion_ended(self, result: DeletionResult) -> None:
        self._ended[result.run_id] = (time.monotonic(), result)
        changes = _after(result)
        if changes and "run_id" in self._frame:
            self._sizes.pop(result.run_id, None)
            for at in np.flatnonzero((self._frame["run_id"] == result.run_id).to_numpy()):
                _put(self._frame, int(at), **changes)
            for record in self._shown:
                if record["run_id"] == result.run_id:
                    record.update(changes)
            self._texts = None
            self._selected.discard(result.run_id)
        self._draw_footer()

    def _name_of(self, run_id: str) -> str:
        for record in self._shown:
            if record["run_id"] == run_id and not is_missing(record.get("run_name")):
                return str(record["run_name"])
        return run_id

    def _select(self, run_ids: list[str]) -> None:
        able = set(self._frame.loc[deletable_mask(self._frame), "run_id"]) if len(self._frame) else set()
        self._selected = able.intersection(run_ids)
        self._draw()

    def _tick(self, run_ids: list[str], on: bool) -> None:
        able = set(self._frame.loc[deletable_mask(self._frame), "run_id"])
        before = set(self._selected)
        if on:
            self._selected |= able.intersection(run_ids)
        else:
            self._selected.difference_update(run_ids)
        for run_id in run_ids:
            if len(run_ids) > 1 or (run_id in before) == (run_id in self._selected):
                self._row_changed(run_id)
        self._draw_footer()

    def _open(self, run_id: str) -> None:
        """Show or hide a run's details."""

    def _as_text(self) -> str:
        return page_text(
            self._columns,
            self._shown,
            self._context(),
            footer=self._footer_text(),
            problem=self._loader.failure,
        )

    def _as_html(self) -> str:
        return page_html(
            self._columns,
            self._shown,
            self._context(),
            footer=self._footer_text(),
            problem=self._loader.failure,
        )

    def _footer_text(self) -> str:
        if not self._loader.complete and not len(self._frame):
            return "Runs are not loaded yet"
        return totals_text(totals(self._frame, self._positions, self._selected))


def _with_column(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the table with an integer column that may miss values."""
    values = (
        pd.to_numeric(frame[name], errors="coerce").astype("Int64")
        if name in frame
        else pd.array([pd.NA] * len(frame), dtype="Int64")
    )
    return frame.assign(**{name: values})


def _put(frame: pd.DataFrame, at: int, **values: Any) -> None:
    for name, value in values.items():
        if name in frame:
            frame.iloc[at, frame.columns.get_loc(name)] = value


def _after(result: DeletionResult) -> dict[str, Any]:
    """Return what a deletion changes in its run's row."""
    if result.outcome in ("deleted", "not_found"):
        return {"model": "deleted", "files": 0, "bytes": 0}
    return {}
