"""Adds keys, names and roles to the page: a module that runs there and knows no run.

It finds the browser's other widgets by their CSS classes, names them for screen readers and turns
keys into clicks. Where it cannot load, here or in the page, the browser works as without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ipywidgets as widgets

    from expmgr.widgets.kit import Kit

__all__ = ["keyboard"]

_SOURCE = Path(__file__).with_name("keyboard.js")


def keyboard(kit: Kit) -> tuple[widgets.DOMWidget, ...]:
    """Return the widget that brings the module into the page; nothing where anywidget is missing.

    It shows nothing and belongs last into the outermost box, so that what stands before it never
    waits for it.
    """
    try:
        import anywidget
    except ImportError:
        return ()

    class Keyboard(anywidget.AnyWidget):
        """The module in ``keyboard.js``; the kernel neither tells it anything nor hears of it."""

        _esm = _SOURCE.read_text(encoding="utf-8")

    return (kit.keep(Keyboard(layout=kit.gone)),)
