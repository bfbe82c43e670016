"""Tables for a terminal: sizes and times as people read them, all rows. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from expmgr.catalog.reason import Reasons
from expmgr.formatting import format_bytes, format_metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = ["as_text"]

_SIZES = ("bytes", "other_bytes")
_HELD = "\u00a0"  # a space at which no line is broken


def as_text(frame: pd.DataFrame, sizes: Sequence[str] = _SIZES) -> str:
    """Return a table as text that fits the terminal, of all its rows.

    Parameters
    ----------
    sizes
        Columns of bytes. Of reasons their kinds are shown, of times the minute; empty columns not
        at all.
    """
    import pandas as pd

    from expmgr.whole_table import WholeTable

    shown = {}
    for name in frame.columns:
        said = [_said(one, size=name in sizes) for one in frame[name]]
        if any(one not in ("", None) for one in said):
            shown[name] = pd.Series(said, dtype="object")
    table = WholeTable(pd.DataFrame(shown)).as_text(most_rows=max(2, len(frame)))
    return table.replace(_HELD, " ")


class _Bytes(int):
    """A number that reads as a size, so that it stands at the right of its column."""

    __slots__ = ()

    def __str__(self) -> str:
        return format_bytes(int(self)).replace(" ", _HELD)


def _said(value: Any, *, size: bool) -> Any:
    import pandas as pd

    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if size:
        return _Bytes(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}{_HELD}{value:%H:%M}"
    if isinstance(value, float):
        return _Measure(value)
    if isinstance(value, Reasons):
        return ", ".join(dict.fromkeys(reason.kind for reason in value.parts))
    return value


class _Measure(float):
    """A number that reads as a metric does."""

    __slots__ = ()

    def __str__(self) -> str:
        return format_metric(float(self))
