"""How long a marked model is left: ages and times as people write them. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from expmgr.errors import InvalidInputError

__all__ = ["due_after"]

_AGE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(min|h|d|w)\s*")
_UNITS = {
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_LONGEST = timedelta(days=3653)


def due_after(after: str | timedelta | datetime, at: int) -> int:
    """Return when a mark is due, in milliseconds since 1970.

    Parameters
    ----------
    after
        An age (``"7d"``, ``"12h"``, ``"30min"``, ``"2w"``, a timedelta), or a time with its zone.
    at
        Now, in milliseconds since 1970.

    Raises
    ------
    InvalidInputError
        It cannot be read, is nothing, in the past, or more than ten years away.
    """
    now = datetime.fromtimestamp(at / 1000, timezone.utc)
    if isinstance(after, datetime):
        if after.tzinfo is None:
            message = f"after={after} has no time zone: write datetime(..., tzinfo=timezone.utc)."
            raise InvalidInputError(message)
        left = after - now
    elif isinstance(after, timedelta):
        left = after
    else:
        left = _age(after)
    if left <= timedelta(0):
        message = (
            f"after={str(after)!r} is not in the future. Marked models wait, such as after='7d'; "
            "without after= they are deleted now."
        )
        raise InvalidInputError(message)
    if left > _LONGEST:
        raise InvalidInputError(f"after={str(after)!r} is more than ten years away.")
    return at + max(1, int(left / timedelta(milliseconds=1)))


def _age(text: object) -> timedelta:
    found = _AGE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        message = (
            f"after={text!r} is no age: write '7d', '12h', '30min' or '2w', a timedelta, or a "
            "datetime with its time zone."
        )
        raise InvalidInputError(message)
    try:
        return float(found[1]) * _UNITS[found[2]]
    except OverflowError:
        raise InvalidInputError(f"after={text!r} is more than ten years away.") from None
