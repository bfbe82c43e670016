"""What a table was counted by, where one may choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["NO_SOURCE", "Source"]


@dataclass(frozen=True)
class Source:
    """What a table was counted by.

    Attributes
    ----------
    words
        Which report, and how old; or why none could be used. "" where none was asked for.
    taken
        As of when it is true, UTC; None for now.
    """

    words: str = ""
    taken: datetime | None = None


NO_SOURCE = Source()
