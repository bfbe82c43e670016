"""Glob patterns over blob paths, segment by segment. Pure.

``*`` and ``?`` stay within a segment, ``**`` as a whole segment stands for any number of them,
``[abc]`` and ``[!abc]`` for one character. Nothing is case-folded: blob names are not.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from expmgr.errors import InvalidInputError, LocationError
from expmgr.storage.blob_path import check_path

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_pattern", "matches", "matching"]

_ANY = "**"
_MAX_LENGTH = 1_000  # characters, about what a blob's name may have
_MAX_ANY = 4
"""Times that ``**`` may stand in one pattern: each one multiplies what must be tried."""


def check_pattern(pattern: str) -> str:
    """Return a pattern as it is where it is certain what it means.

    Raises
    ------
    InvalidInputError
        It is empty, absolute, climbs, has an open bracket, or ``**`` beside other characters.
    """
    if not isinstance(pattern, str):
        message = f"a pattern must be a text such as 'plots/**', not {type(pattern).__name__}."
        raise InvalidInputError(message)
    problem = ""
    if len(pattern) > _MAX_LENGTH:
        problem = f"is longer than {_MAX_LENGTH} characters"
    segments = pattern.split("/")
    if segments.count(_ANY) > _MAX_ANY:
        problem = f"has '**' more than {_MAX_ANY} times"
    if any(_ANY in segment and segment != _ANY for segment in segments):
        problem = "has '**' beside other characters; it stands for whole segments only"
    if not problem:
        try:
            check_path(pattern, what="pattern")
            _compiled(pattern)
        except LocationError as error:
            problem = str(error).partition(f"{pattern!r} ")[2].partition(": refused")[0]
        except re.error:
            problem = "has a bracket that is not closed"
    if problem:
        message = (
            f"pattern {pattern!r} {problem or 'cannot be read'}. Patterns are relative to the "
            "run's artifacts, or to a model's own folder where a model is named: 'plots/**'."
        )
        raise InvalidInputError(message)
    return pattern


def matches(pattern: str, path: str) -> bool:
    """Whether a path is one that a pattern means.

    Examples
    --------
    >>> matches("*.pt", "a.pt"), matches("*.pt", "b/a.pt"), matches("**/*.pt", "a.pt")
    (True, False, True)
    """
    return _compiled(pattern).fullmatch(path) is not None


def matching(patterns: Iterable[str], paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return by pattern the paths that it means."""
    every = tuple(paths)
    return {
        pattern: tuple(path for path in every if matches(pattern, path)) for pattern in patterns
    }


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    segments = pattern.split("/")
    written = ""
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == _ANY:
            written += "(?:[^/]+/)*[^/]+" if last else "(?:[^/]+/)*"
        else:
            written += _segment(segment) + ("" if last else "/")
    return re.compile(written, re.DOTALL)


def _segment(segment: str) -> str:
    written = ""
    at = 0
    while at < len(segment):
        char = segment[at]
        at += 1
        if char == "*":
            written += "[^/]*"
        elif char == "?":
            written += "[^/]"
        elif char == "[":
            end = segment.find("]", at + (segment[at : at + 1] == "!") + 1)
            if end < 0:
                raise re.error(segment)
            inside = segment[at:end]
            negated = inside.startswith("!")
            chars = "".join(char if char == "-" else re.escape(char) for char in inside[negated:])
            written += f"[{'^/' if negated else ''}{chars}]"
            at = end + 1
        else:
            written += re.escape(char)
    return written
