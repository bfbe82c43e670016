"""Numbers, sizes and times as people read them. Pure."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

__all__ = [
    "ago",
    "format_bytes",
    "format_count",
    "format_metric",
    "format_moment",
    "format_seconds",
]

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def format_bytes(size: int | None) -> str:
    """Return a size with three significant digits in decimal units (1 KB is 1,000 bytes).

    Parameters
    ----------
    size
        Bytes; None reads as not measured.

    Examples
    --------
    >>> format_bytes(999), format_bytes(34_120_000)
    ('999 B', '34.1 MB')
    """
    if size is None:
        return "–"  # noqa: RUF001 - a dash is what a missing number looks like in a table
    value = float(size)
    unit = 0
    while value >= 999.5 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - 999.5 would round to 1,000
        value /= 1000
        unit += 1
    if unit == 0:
        return f"{size} B"
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0  # noqa: PLR2004 - 3 digits
    return f"{value:.{decimals}f} {_UNITS[unit]}"


def format_count(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 file``, ``1,200 files``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_seconds(seconds: float) -> str:
    """Return a duration: ``0.8 s``, ``42 s``, ``3 min 20 s``, ``2 h 5 min``, ``4 d 1 h``."""
    if seconds < 9.95:  # noqa: PLR2004 - below ten seconds a tenth is worth showing
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    days, hours_left = divmod(hours, 24)
    if days == 0:
        return f"{hours} h {minutes_left} min" if minutes_left else f"{hours} h"
    return f"{days} d {hours_left} h" if hours_left else f"{days} d"


def format_metric(value: float | None) -> str:
    """Return a metric with four significant digits; missing and NaN are told apart."""
    if value is None:
        return ""
    if math.isnan(value):
        return "NaN"
    return f"{value:.4g}"


def format_moment(at: int) -> str:
    """Return a time in milliseconds since 1970, to the minute, as people read it.

    Examples
    --------
    >>> format_moment(1_000_000_000_000)
    '2001-09-09 01:46 UTC'
    """
    return f"{datetime.fromtimestamp(at // 1000, timezone.utc):%Y-%m-%d %H:%M} UTC"


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago something was, in one unit: ``2 h ago``.

    Examples
    --------
    >>> noon = datetime(2026, 1, 2, 12)
    >>> ago(noon - timedelta(minutes=130), noon), ago(noon + timedelta(hours=1), noon)
    ('2 h ago', 'just now')
    """
    minutes = (now - then) / timedelta(minutes=1)
    if minutes < 1:
        return "just now"
    for size, unit in ((525_600, "y"), (43_800, "mo"), (1440, "d"), (60, "h"), (1, "min")):
        if minutes >= size:
            return f"{int(minutes // size)} {unit} ago"
    return "just now"
