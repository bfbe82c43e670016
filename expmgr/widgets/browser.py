"""The run browser: a page of runs with a delete button on each row."""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError
from expmgr.widgets.bulk import BulkDeletion
from expmgr.widgets.callbacks import BrowserCallbacks
from expmgr.widgets.columns import default_columns
from expmgr.widgets.deletion import Deletions
from expmgr.widgets.details import Details
from expmgr.widgets.keyboard import keyboard
from expmgr.widgets.kit import Kit
from expmgr.widgets.loader import Loader
from expmgr.widgets.loop import Loop
from expmgr.widgets.notice import Notice
from expmgr.widgets.page_watch import PageWatch
from expmgr.widgets.shown import ShownRuns
from expmgr.widgets.sizes import SizeScan
from expmgr.widgets.static import page_html, page_text
from expmgr.widgets.table import MOST_COLUMNS, MOST_ROWS, RunTable
from expmgr.widgets.theme import style_sheet
from expmgr.widgets.toolbar import Footer, Toolbar, totals_text
from expmgr.widgets.view_state import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    from typing_extensions import Self

    from expmgr.widgets.row import Row

__all__ = ["RunBrowser"]

_numbers = itertools.count(1)
_READ_ONLY = '<span role="note">This page is read-only: nothing can be deleted here.</span>'


class RunBrowser(BrowserCallbacks):
    """A table of runs that deletes models, for a notebook.

    Everything that waits for a server runs in a pool; a widget's callback only posts to a loop
    of the browser's own and returns. The state belongs to that loop's thread.

    Parameters
    ----------
    manager
        An ``ExperimentsManager``; only its public face is used. One that cannot delete gives a
        read-only browser.
    experiments
        As in ``manager.runs``.
    filter_string
        MLflow's filter, evaluated by the server.
    page_size
        Rows on a page; more than 30 is taken as 30, so that widgets stay few.
    read_only
        Offers nothing that changes anything. None: as the environment's EXPMGR_READ_ONLY says,
        and where that says nothing, yes in an app (Voila) and no in a notebook.
    take_back
        Seconds after which an unconfirmed deletion is taken back.
    patience
        Seconds before the browser says that it is waiting for a server.
    stale_after
        Days without a sign of life after which a RUNNING run is called stale.
    measure
        Measure all sizes once the runs are there; one listing an experiment, in the background.
    view_state
        How the table is looked at, as `view_state` of another browser told it; any part may be
        missing. Its ``filter_string`` and ``page_size`` outweigh those above.

    Attributes
    ----------
    widget
        The widget that is displayed.
    """

    def __init__(
        self,
        manager: Any,
        experiments: str | Iterable[str] | None = None,
        filter_string: str = "",
        *,
        page_size: int = 25,
        read_only: bool | None = None,
        take_back: float = 15.0,
        patience: float = 4.0,
        stale_after: float = 7.0,
        measure: bool = True,
        view_state: Mapping[str, Any] | None = None,
    ) -> None:
        if page_size < 1:
            raise InvalidInputError(f"page_size must be at least 1, not {page_size}.")
        view = checked(
            {} if view_state is None else view_state, most_rows=MOST_ROWS, most_columns=MOST_COLUMNS
        )
        page_size = view.get("page_size", page_size)
        filter_string = view.get("filter_string", filter_string)
        self.manager = manager
        can_delete = hasattr(manager, "plan_deletion")
        self.read_only = _read_only_here(read_only) or not can_delete
        self._main_metric = str(getattr(manager, "main_metric", ""))
        self._scope = f"xm-b{next(_numbers)}"
        self._columns = default_columns(self._main_metric)
        self._runs = ShownRuns(min(page_size, MOST_ROWS))
        self._stale: dict[str, float] = {}
        self._stale_after = stale_after
        self._search_timer = None
        self._picture_job = None
        self._show_pictures = False
        self._measure_first = measure
        self._closed = False

        self._kit = kit = Kit()
        self._loop = loop = Loop("expmgr-browser", on_error=self._say_error)
        self._deletions = Deletions(
            manager,
            loop,
            changed=self._row_changed,
            finished=self._deletion_ended,
            killed=self._run_killed,
            take_back=take_back,
            patience=patience,
            read_only=self.read_only,
        )
        self._style = kit.html(style_sheet(self._scope, self._columns))
        self.toolbar = Toolbar(
            kit,
            self,
            filter_string=filter_string,
            loud=self._loud,
            can_measure=hasattr(manager, "storage_usage"),
            main_metric=self._main_metric,
        )
        self.notice = Notice(kit, "loading the runs")
        self._size_notice = Notice(kit, "measuring the sizes")
        self.bulk = None
        if self.read_only:
            many = kit.html(_READ_ONLY, "xm-read-only")
        else:
            self.bulk = BulkDeletion(
                manager,
                loop,
                kit,
                name_of=self._runs.name,
                ticked=self._ticked,
                ended=self._bulk_ended,
                changed=self._draw,
                choose=self.select_soon,
                keep=int(getattr(manager, "n_top_runs", 10)),
                patience=patience,
            )
            many = self.bulk.box
        self.details = Details(
            manager,
            loop,
            kit,
            patience=patience,
            can_delete=can_delete,
            deletion_of=self._deletion_of,
            kept=None if self.read_only else self._kept,
        )
        self._pictures = kit.html("", "xm-picture-page")
        self._pictures.layout = kit.gone
        self._table = RunTable(
            kit,
            self,
            read_only=self.read_only,
            on_sort=self._header_clicked,
            on_tick_all=self._page_ticked,
        )
        self.toolbar.chooser.show([column.key for column in self._columns])
        self._table.make_rows(self._runs.page_size)
        self._table.show_columns(self._columns, self._runs.query.sort_by, ascending=False)
        self.footer = Footer(kit, self, page_size=self._runs.page_size, loud=self._loud)
        self._sizes = SizeScan(manager, loop, self._size_notice, self._measured, patience=patience)
        self._loader = Loader(
            manager,
            loop,
            self.notice,
            experiments=experiments,
            filter_string=filter_string,
            first=self._runs.page_size,
            arrived=self._arrived,
            filter_refused=self._filter_refused,
            patience=patience,
        )
        parts = (
            self._style,
            self.toolbar.box,
            many,
            kit.box((self.notice.box, self._size_notice.box), "xm-notices"),
            self._pictures,
            self._table.box,
            self.footer.box,
            *keyboard(kit),
        )
        look = () if self.bulk is not None else ("xm-looking",)
        self.widget = kit.box(parts, "xm-root", self._scope, *look)
        PageWatch(kit, self.widget, lambda: loop.post(kit.say_again))
        if view:
            loop.call(lambda: self._look_as(view))
        loop.post(self._loader.start)

    @property
    def shown(self) -> pd.DataFrame:
        """The runs as filtered and sorted, on all pages, with every column of `runs`; a copy."""
        return self._loop.call(self._runs.table)

    @property
    def table(self) -> pd.DataFrame:
        """The same as `shown`."""
        return self.shown

    @property
    def view_state(self) -> dict[str, Any]:
        """How the table is looked at, as a plain value (texts, numbers, a list) to keep as JSON.

        ``columns`` (keys of the table, in order), ``sort_by`` and ``ascending``, the filters
        ``search``, ``experiment``, ``status``, ``model`` and ``owner`` ("" for none),
        ``filter_string`` (MLflow's) and ``page_size``. Setting it, or some of its parts, changes
        the view at once; InvalidInputError where a part is not one, and nothing changes.
        """
        return self._loop.call(self._view)

    @view_state.setter
    def view_state(self, state: Mapping[str, Any]) -> None:
        view = checked(state, most_rows=MOST_ROWS, most_columns=MOST_COLUMNS)
        self._loop.call(lambda: self._look_as(view))

    @property
    def rows(self) -> list[Row]:
        """The rows of the visible page."""
        return self._loop.call(lambda: [row for row in self._table.pool if row.run_id])

    @property
    def selected(self) -> list[str]:
        """The run ids that are ticked, in the table's order."""
        return self._loop.call(self._selected_in_order)

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
            frame = self._runs.frame
            if column != "duration" and len(frame) and column not in frame:
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

    def delete_selected(self, *, confirmed: bool = False) -> None:
        """Ask for one confirmation to delete the ticked runs' models, in the background.

        Parameters
        ----------
        confirmed
            Delete without asking. What is protected stays either way.

        Raises
        ------
        InvalidInputError
            The browser is read-only.
        """
        bulk = self.bulk
        if bulk is None:
            raise InvalidInputError("this browser is read-only: it deletes nothing.")
        self._loop.call(lambda: bulk.ask(self._ticked(), confirmed=confirmed))

    def refresh(self) -> None:
        """Fetch what changed, in the background; rows forget what they said of ended deletions."""
        self._loop.call(self._refresh)

    def measure_sizes(self) -> None:
        """Ask the storage account for all sizes, in the background."""
        self._loop.call(self._measure)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no background work is left. Returns False when the time ran out."""
        return self._loop.wait(timeout)

    def close(self) -> None:
        """Stop the background work and free every thread and widget model."""
        if self._closed:
            return
        self._closed = True
        self._deletions.cancel_all()
        if self.bulk is not None:
            self.bulk.stop()
        self._sizes.stop()
        self._loop.close()
        self._kit.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return self._loop.call(lambda: self._page_as(page_text))

    __str__ = __repr__

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """Return the live widget, and the page as HTML and text for where there is no kernel."""
        del include, exclude
        deadline = time.monotonic() + 2.0  # a saved notebook should hold the first page
        while time.monotonic() < deadline and not self._loaded_something:
            if self._loop.wait(0.05):
                break
        bundle: dict[str, Any] = {
            "text/plain": self._loop.call(lambda: self._page_as(page_text)),
            "text/html": self._loop.call(lambda: self._page_as(page_html)),
        }
        if not self._closed:
            bundle["application/vnd.jupyter.widget-view+json"] = {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.widget.model_id,
            }
        return bundle

    @property
    def _loaded_something(self) -> bool:
        return bool(len(self._runs.frame)) or self._loader.complete or bool(self._loader.failure)

    def _page_as(self, write: Any) -> str:
        context = self._context()
        loaded = self._loader.complete or len(self._runs.frame)
        footer = (
            totals_text(self._runs.totals(), complete=self._runs.complete)
            if loaded
            else "Runs are not loaded yet"
        )
        text: str = write(
            self._columns,
            self._runs.records,
            context,
            footer=footer,
            problem=self._loader.failure,
        )
        return text


def _read_only_here(asked: bool | None) -> bool:
    if asked is not None:
        return asked
    said = os.environ.get("EXPMGR_READ_ONLY", "").strip().lower()
    if said:
        return said not in ("0", "false", "no")
    return os.environ.get("SERVER_SOFTWARE", "").lower().startswith("voila")
