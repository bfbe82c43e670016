"""One line above the table that says what is being waited for or what went wrong: a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["SILENT", "Message", "waiting_for"]


@dataclass(frozen=True)
class Message:
    """What is said, "" for nothing.

    Attributes
    ----------
    text
        Plain text.
    bad
        An error.
    busy, share
        Something is under way: how much of it is done, from 0 to 1, None where that is not known.
    cancel, retry
        Whether it can be cancelled, or tried again.
    """

    text: str = ""
    bad: bool = False
    busy: bool = False
    share: float | None = None
    cancel: bool = False
    retry: bool = False


SILENT = Message()


def waiting_for(manager: Any, what: str = "the tracking server or the storage account") -> str:
    """Return what is said while an answer is waited for, with the reason where one is known."""
    trouble = manager.tracking_trouble
    return f"Waiting for {what}: {trouble} …" if trouble else f"Waiting for {what} …"
