"""Hears when a page has every widget of a browser, so that nothing said before is lost to it.

A page that connects to a running kernel asks for the state of all widgets and then makes its own
models of them. What the kernel changes between the answer and the last model never arrives:
nobody is listening yet. Voila's pages always begin like that, and so does a reloaded one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

if TYPE_CHECKING:
    from collections.abc import Callable

    from expmgr.widgets.kit import Kit

__all__ = ["PageWatch"]

_NOT_YET = "not yet"


class PageWatch:
    """Calls back, on the kernel's thread, for each page that has a box and all that is in it.

    A link that lives in the page copies a value of the box to a word that is not displayed. The
    page can do so only when it has the box, and it has the box only when it has its children.

    Parameters
    ----------
    box
        The outermost box of what is displayed.
    connected
        Must return at once.
    """

    def __init__(self, kit: Kit, box: widgets.Box, connected: Callable[[], None]) -> None:
        self._connected = connected
        self._word = kit.text("", self._heard)
        self._word.value = _NOT_YET
        kit.keep(widgets.jsdlink((box, "box_style"), (self._word, "value")))

    def _heard(self, word: str) -> None:
        if word != _NOT_YET:
            self._word.value = _NOT_YET  # for the next page
            self._connected()
