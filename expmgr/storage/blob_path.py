"""Which blob paths are safe to list and delete under. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import unquote

from expmgr.errors import LocationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["JOURNAL_PREFIX", "check_path", "is_addressable", "is_within"]

JOURNAL_PREFIX = "expmgr-journal"
"""The folder in the container that holds the journal of what can take no tags; nothing of it is
ever a location."""

_MAX_NAME = 1024  # characters in a blob name (REST: Naming and referencing containers and blobs)
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})  # Unicode categories
_SEPARATORS = re.compile(r"[/\\]")


def is_within(name: str, path: str) -> bool:
    """Return True where a blob path is ``path`` or lies below it, segment by segment.

    Examples
    --------
    >>> is_within("a/run1/m", "a/run1"), is_within("a/run10/m", "a/run1")
    (True, False)
    """
    return name == path or name.startswith(f"{path}/")


def is_addressable(name: str) -> bool:
    """Return False for a name that a URL cannot carry unchanged.

    HTTP clients and servers resolve ``.`` and ``..`` segments of a URL's path (RFC 3986, 5.2.4),
    so a delete of ``a/../b`` would be a delete of ``b``. Azure takes a backslash for a slash.
    """
    return not any(segment in {".", ".."} for segment in _SEPARATORS.split(name))


def check_path(path: str, *, what: str | Callable[[], str] = "path") -> str:
    """Return a path as it is where every reader would understand it the same way.

    Parameters
    ----------
    path
        Blob path without leading or trailing slash.
    what
        How the message calls it, or what returns that.

    Raises
    ------
    LocationError
        For an empty path, empty, ``.`` or ``..`` segments, backslashes, control characters,
        escapes that hide any of these or another escape, and paths longer than Azure allows.
    """
    problem = _problem(path)
    if problem:
        name = what if isinstance(what, str) else what()
        raise LocationError(
            f"{name} {path!r} {problem}: refused, because what would be deleted is not certain"
        )
    return path


def _problem(path: str) -> str:
    segments = path.split("/")
    # What is ASCII and printable holds none, and almost all the thousands of a table are.
    controls = not (path.isascii() and path.isprintable()) and any(
        unicodedata.category(char) in _CONTROLS for char in path
    )
    rules = (
        (not path, "is empty"),
        (len(path) > _MAX_NAME, f"is longer than {_MAX_NAME} characters"),
        (controls, "holds control characters"),
        ("\\" in path, "holds a backslash"),
        ("" in segments, "has an empty segment"),
        (any(set(segment) == {"."} for segment in segments), "has a segment of dots only"),
        (
            any(segment != segment.strip() for segment in segments),
            "has a segment that begins or ends with white space",
        ),
    )
    found = next((words for broken, words in rules if broken), "")
    return found or (_hidden(path) if _ESCAPE.search(path) else "")


def _hidden(path: str) -> str:
    """Return what is wrong with a path once its percent-encoding is undone."""
    plain = unquote(path)
    if _ESCAPE.search(plain):
        return "is percent-encoded twice"
    if plain.count("/") != path.count("/") or _problem(plain):
        return "hides separators, dots or control characters behind percent-encoding"
    return ""
