"""What can be missing on a machine that runs the demo."""

from __future__ import annotations

from expmgr.errors import ExpmgrError

__all__ = ["DemoError"]


class DemoError(ExpmgrError):
    """The demo cannot go on; the message is one line that says what is missing and what to do."""
