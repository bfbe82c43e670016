"""The run browser: a page of runs and models with a delete button on each line."""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError
from expmgr.widgets.page import Page
from expmgr.widgets.pictures import draw_pictures
from expmgr.widgets.session.session import CLEAN_UP_VIEW, RUNS_VIEW, Session, views_of
from expmgr.widgets.static import page_html, page_text, sentence_html
from expmgr.widgets.table import MOST_COLUMNS, MOST_ROWS
from expmgr.widgets.toolbar import totals_text
from expmgr.widgets.view_state import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    from typing_extensions import Self

    from expmgr.cleanup.plan import DeletionPlan
    from expmgr.widgets.row import Row

__all__ = ["RunBrowser"]

_numbers = itertools.count(1)
_NO, _YES = ("0", "false", "no"), ("1", "true", "yes")


class RunBrowser:
    """A table of runs and models that deletes models, for a notebook.

    What waits for a server runs in a pool, and what changes the table on a loop of the browser's
    own: no widget callback waits, so the kernel stays free.

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
        Lines on a page; more than 30 is taken as 30, so that widgets stay few.
    read_only
        Offers nothing that changes anything. None: as the environment's EXPMGR_READ_ONLY says,
        and where that says nothing, yes in an app (Voila) and no in a notebook.
    take_back
        Seconds after which an unconfirmed deletion on a line is taken back.
    patience
        Seconds before the browser says that it is waiting for a server.
    stale_after
        Days without a sign of life after which a RUNNING run is called stale.
    measure
        Measure all sizes once the runs are there; one listing an experiment, in the background.
    inventory
        Measure by the account's own report in place of listings, as the manager's
        ``storage_usage`` does; the footer says how old the sizes are. None: as the environment's
        EXPMGR_INVENTORY says (``true``, or a place), and where that says nothing, no.
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
        inventory: bool | str | None = None,
        view_state: Mapping[str, Any] | None = None,
    ) -> None:
        if page_size < 1:
            raise InvalidInputError(f"page_size must be at least 1, not {page_size}.")
        look = _checked({} if view_state is None else view_state, manager)
        self.manager = manager
        self.read_only = _read_only_here(read_only) or not hasattr(manager, "plan_deletion")
        self._closed = False
        self._session = session = Session(
            manager,
            experiments=experiments,
            filter_string=look.get("filter_string", filter_string),
            page_size=min(look.get("page_size", page_size), MOST_ROWS),
            read_only=self.read_only,
            take_back=take_back,
            patience=patience,
            stale_after=stale_after,
            measure=measure,
            inventory=_inventory_here(inventory),
            draw_pictures=self._draw_pictures,
        )
        self._loop = session.loop
        self._page = page = Page(session, f"xm-b{next(_numbers)}")
        session.view = page
        self._kit, self._table, self._pictures = page.kit, page.table, page.pictures
        self._size_notice = page.size_notice
        self.toolbar, self.footer, self.notice = page.toolbar, page.footer, page.notice
        self.bulk, self.details = page.many, page.details
        self.widget = page.widget
        if look:
            self._loop.call(lambda: page.look_as(look))
        self._loop.post(session.loading.start)

    def _draw_pictures(self, table: pd.DataFrame) -> str:
        return draw_pictures(table, self._session.main_metric, is_loss=self._session.is_loss)

    @property
    def shown(self) -> pd.DataFrame:
        """What is filtered and sorted, on all pages, with every column of `runs`; a copy.

        Runs, and models without a run: of those ``run_id`` holds the model's own id, which is what
        `plan_deletion` takes.
        """
        return self._loop.call(self._session.lines.table)

    @property
    def table(self) -> pd.DataFrame:
        """The same as `shown`."""
        return self.shown

    @property
    def view_state(self) -> dict[str, Any]:
        """How the table is looked at, as a plain value (texts, numbers, a list) to keep as JSON.

        ``columns`` (keys of the table, in order), ``sort_by`` and ``ascending``, the filters
        ``search``, ``experiment``, ``status``, ``model`` and ``owner`` ("" for none), ``flat``
        (children in one list with their parents), ``filter_string`` (MLflow's), ``page_size`` and
        ``view``, as `view` tells it.
        Setting it, or some of its parts, changes the view at once; InvalidInputError where a part
        is not one, and nothing changes.
        """
        return self._loop.call(self._session.look)

    @view_state.setter
    def view_state(self, state: Mapping[str, Any]) -> None:
        look = _checked(state, self.manager)
        self._loop.call(lambda: self._page.look_as(look))

    @property
    def view(self) -> str:
        """What is shown: ``"runs"``, ``"clean up"`` or ``"deletions"``; may be set.

        InvalidInputError where the manager does not know enough for that view.
        """
        return self._session.shown

    @view.setter
    def view(self, view: str) -> None:
        self._loop.call(lambda: self._session.show(view))

    @property
    def plan(self) -> DeletionPlan | None:
        """What the Clean up view shows that would go; None where nothing is planned.

        `DeletionPlan.save` keeps it, ``manager.delete_models(plan)`` carries it out.
        """
        cleaning = self._session.cleaning
        return self._loop.call(lambda: cleaning.plan if cleaning.fresh else None)

    @property
    def rows(self) -> list[Row]:
        """The rows of the visible page."""
        return self._loop.call(lambda: [row for row in self._table.pool if row.run_id])

    @property
    def selected(self) -> list[str]:
        """The ids of the runs and models that are ticked, in the table's order."""
        return self._loop.call(self._session.lines.chosen)

    @property
    def widget_models(self) -> int:
        """The number of widget models alive, layouts and styles included."""
        return len(self._kit)

    def next_page(self) -> None:
        """Show the next page."""
        self._loop.call(lambda: self._session.turn("next"))

    def previous_page(self) -> None:
        """Show the previous page."""
        self._loop.call(lambda: self._session.turn("previous"))

    def sort_by(self, column: str, ascending: bool = True) -> None:
        """Sort by a column of the table; what is missing comes last either way.

        Raises
        ------
        KeyError
            The table has no such column.
        """

        def sort() -> None:
            frame = self._session.lines.frame
            if column != "duration" and len(frame) and column not in frame:
                raise KeyError(f"the table has no column {column!r}")
            self._session.ask(sort_by=column, ascending=ascending)

        self._loop.call(sort)

    def search(self, text: str) -> None:
        """Show the lines in which every word of the text appears."""
        self._loop.call(lambda: self._page.look_as({"search": text}))

    def select(self, ids: Sequence[str]) -> None:
        """Tick exactly these runs and models; those that offer no delete are left out."""
        self._loop.call(lambda: self._session.pick(list(ids)))

    def delete_selected(self, *, confirmed: bool = False) -> None:
        """Ask for one confirmation to delete what is ticked, in the background.

        Parameters
        ----------
        confirmed
            Delete without asking. What is protected stays either way.

        Raises
        ------
        InvalidInputError
            The browser is read-only.
        """
        self._loop.call(lambda: self._session.delete_picked(confirmed=confirmed))

    def refresh(self) -> None:
        """Fetch what changed, in the background; rows forget what they said of ended deletions."""
        self._loop.call(self._session.refresh)

    def measure_sizes(self) -> None:
        """Ask the storage account for all sizes, in the background."""
        self._loop.call(self._session.measure)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no background work is left. Returns False when the time ran out."""
        return self._loop.wait(timeout)

    def close(self) -> None:
        """Stop the background work and free every thread and widget model."""
        if self._closed:
            return
        self._closed = True
        self._session.close()
        self._kit.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return self._loop.call(lambda: self._as(page_text))

    __str__ = __repr__

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """Return the live widget, and the page as HTML and text for where there is no kernel."""
        del include, exclude
        deadline = time.monotonic() + 2.0  # a saved notebook should hold the first page
        while time.monotonic() < deadline and not self._loaded_something:
            if self._loop.wait(0.05):
                break
        bundle: dict[str, Any] = {
            "text/plain": self._loop.call(lambda: self._as(page_text)),
            "text/html": self._loop.call(lambda: self._as(page_html)),
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
        loading = self._session.loading
        return bool(len(self._session.lines.frame)) or loading.complete or bool(loading.failure)

    def _as(self, write: Any) -> str:
        session, lines = self._session, self._session.lines
        if session.shown != RUNS_VIEW:
            said = session.cleaning if session.shown == CLEAN_UP_VIEW else session.logbook
            told = str(said)
            return told if write is page_text else sentence_html(told)
        loaded = session.loading.complete or len(lines.frame)
        text: str = write(
            session.columns,
            lines.records,
            session.context,
            footer=totals_text(lines.totals(), complete=lines.complete)
            if loaded
            else "Runs are not loaded yet",
            problem=session.loading.failure,
        )
        return text


def _checked(state: Mapping[str, Any], manager: Any) -> dict[str, Any]:
    views = views_of(manager)
    return checked(state, most_rows=MOST_ROWS, most_columns=MOST_COLUMNS, views=views)


def _inventory_here(asked: bool | str | None) -> bool | str:
    if asked is not None:
        return asked
    said = os.environ.get("EXPMGR_INVENTORY", "").strip()
    if said.lower() in ("", *_NO):
        return False
    return True if said.lower() in _YES else said


def _read_only_here(asked: bool | None) -> bool:
    if asked is not None:
        return asked
    said = os.environ.get("EXPMGR_READ_ONLY", "").strip().lower()
    if said:
        return said not in _NO
    return os.environ.get("SERVER_SOFTWARE", "").lower().startswith("voila")
