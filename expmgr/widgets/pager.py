"""Previous and Next for a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from expmgr.widgets.kit import Kit

__all__ = ["Pager"]


class Pager:
    """Two buttons and where one is.

    Parameters
    ----------
    about
        What is turned, in words: it names the buttons.
    turn
        Told the page to show, from 0. Must return at once.
    """

    def __init__(self, kit: Kit, about: str, turn: Callable[[int], None]) -> None:
        self._kit = kit
        self._page = 0
        self.previous = kit.button(
            "Previous", lambda: turn(self._page - 1), tooltip=f"Previous page of {about}"
        )
        self.where = kit.html("")
        self.next = kit.button(
            "Next", lambda: turn(self._page + 1), tooltip=f"Next page of {about}"
        )
        self.box = kit.box((self.previous, self.where, self.next), "xm-turn")
        self.box.layout = kit.gone

    def show(self, page: int, pages: int) -> None:
        """Say which page of how many is shown; of one page nothing is said."""
        self._page = page
        self.where.value = f"Page {page + 1:,} of {pages:,}"
        self.previous.disabled, self.next.disabled = page <= 0, page >= pages - 1
        self.box.layout = self._kit.shown if pages > 1 else self._kit.gone
