"""The run browser and its parts. Import from here only what a notebook needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expmgr.widgets.browser import RunBrowser

__all__ = ["RunBrowser"]


def __getattr__(name: str) -> object:
    if name == "RunBrowser":
        from expmgr.widgets.browser import RunBrowser

        return RunBrowser
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
