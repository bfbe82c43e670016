"""What the browser's widgets ask for. Each call posts to the loop and returns at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.widgets.actions import BrowserActions
from expmgr.widgets.table import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expmgr.widgets.deletion import Offer

__all__ = ["BrowserCallbacks"]


class BrowserCallbacks(BrowserActions):
    """The face of the browser towards its own widgets; runs on the kernel's thread."""

    def _loud(self) -> bool:
        return not self._loop.inside

    def press(self, run_id: str) -> None:
        """Delete, Cancel, Stop or Close on a row."""
        self._loop.post(lambda: self._press_row(run_id))

    def confirm(self, run_id: str, offer: Offer) -> None:
        """Second click."""
        self._loop.post(lambda: self._deletions.confirm(run_id, offer))

    def redraw(self) -> None:
        """Show again what holds: a click that did not count may have changed a tick box."""
        self._loop.post(self._draw)

    def tick(self, run_id: str, on: bool) -> None:
        """Take note of a row's tick box."""
        self._loop.post(lambda: self._tick([run_id], on=on))

    def open(self, run_id: str) -> None:
        """Open or close a row's details."""
        self._loop.post(lambda: self._open(run_id))

    def change_query(self, **changes: Any) -> None:
        """Follow a filter; a search waits until typing pauses."""

        def change() -> None:
            if "search" in changes:
                if self._search_timer is not None:
                    self._search_timer.cancel()
                self._search_timer = self._loop.later(0.2, lambda: self._ask(**changes))
            else:
                self._ask(**changes)

        self._loop.post(change)

    def refresh_soon(self) -> None:
        """Fetch what changed."""
        self._loop.post(self._refresh)

    def filter_soon(self, filter_string: str) -> None:
        """Ask the server with another filter."""
        self._loop.post(lambda: self._filter(filter_string.strip()))

    def clear_soon(self, names: Sequence[str]) -> None:
        """Leave no run out for these filters."""
        self._loop.post(lambda: self._clear(names))

    def choose_columns_soon(self, keys: tuple[str, ...]) -> None:
        """Show these columns, in this order, the run's name first."""
        self._loop.post(lambda: self._show_columns(keys))

    def measure_soon(self) -> None:
        """Measure all sizes."""
        self._loop.post(self._measure)

    def pictures_soon(self) -> None:
        """Change between the table and the pictures."""
        self._loop.post(self._toggle_pictures)

    def select_soon(self, which: str) -> None:
        """Tick many: ``all``, ``none`` or ``best N``."""
        self._loop.post(lambda: self._select_many(which))

    def turn_to(self, where: str) -> None:
        """Turn the page: ``first``, ``previous``, ``next`` or ``last``."""
        self._loop.post(lambda: self._turn(where))

    def resize_page(self, rows: int) -> None:
        """Change the rows on a page."""

        def resize() -> None:
            self._runs.resize(max(1, min(rows, MOST_ROWS)))
            self._draw()

        self._loop.post(resize)

    def _header_clicked(self, key: str) -> None:
        def sort() -> None:
            query = self._runs.query
            texts = ("run_name", "experiment_name", "status", "model", "protected_by")
            first_up = key in texts or key.startswith(("params.", "tags."))
            ascending = not query.ascending if key == query.sort_by else first_up
            self._ask(sort_by=key, ascending=ascending)

        self._loop.post(sort)

    def _page_ticked(self, on: bool) -> None:
        self._loop.post(
            lambda: self._tick([str(record["run_id"]) for record in self._runs.records], on=on)
        )
