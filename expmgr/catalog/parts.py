"""What of a run a plan takes: a name, or patterns; and how that reads. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.catalog.globs import check_pattern
from expmgr.errors import InvalidInputError
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from expmgr.catalog.reason import ReasonKind

__all__ = [
    "EVERY_PART",
    "MARKABLE_PARTS",
    "PARTS",
    "Part",
    "as_part",
    "is_named",
    "is_of_run",
    "part_words",
]

Part = str | tuple[str, ...]
"""One of `PARTS`, or patterns."""

_WORDS = {
    "model": "model",
    "raw": "all artifacts of the run",
    "optimizer": "optimizer states",
    "checkpoints": "raw checkpoints but the best and the last",
    "other": "all artifacts but the models",
}
PARTS: tuple[str, ...] = tuple(_WORDS)

MARKABLE_PARTS = ("model", "raw")
"""Parts of which a mark's locations and digests tell all: these can go later."""

EVERY_PART: frozenset[ReasonKind] = frozenset({"active", "pinned", "unknown"})
"""Reasons that block every part; the others block the weights and what a pattern matches."""

_WHOLE = frozenset({"model", "raw"})
_SIGNS = frozenset("*?[/.")
"""A text without any of these may be a misspelt name of a part rather than a file's."""


def as_part(part: str | Iterable[str]) -> Part:
    """Return what somebody asked for.

    Raises
    ------
    InvalidInputError
        There is no such part, or a pattern of which it is not certain what it means.
    """
    if isinstance(part, str):
        if part in PARTS:
            return part
        if not _SIGNS & set(part):
            names = ", ".join(PARTS)
            message = f"part must be one of {names}, or patterns such as 'plots/**', not {part!r}."
            raise InvalidInputError(message)
        return (check_pattern(part),)
    try:
        patterns = tuple(dict.fromkeys(map(check_pattern, part)))
    except TypeError:
        patterns = ()
    named = [pattern for pattern in patterns if pattern in PARTS]
    if named:  # one that is taken for a file's name would take nothing, and say so late
        message = (
            f"part={list(patterns)!r} names {', '.join(map(repr, named))} in a list, where "
            "patterns stand: give one part by its name alone, and plan each part by itself."
        )
        raise InvalidInputError(message)
    if not patterns:
        message = (
            f"part must be one of {', '.join(PARTS)}, or one or several patterns, not {part!r}."
        )
        raise InvalidInputError(message)
    return patterns


def is_named(part: Part) -> bool:
    """Whether a part is some files of a folder, each by its name, rather than all below it."""
    return part not in _WHOLE


def is_of_run(part: Part) -> bool:
    """Whether a part is of what a run has beside its models, rather than of each of its models."""
    return part not in {"model", "raw", "optimizer"}


def part_words(part: Part) -> str:
    """Return how a part reads."""
    if isinstance(part, str):
        return _WORDS[part]
    return f"files that match {_listed(part)}"


def _listed(patterns: Sequence[str]) -> str:
    return ", ".join(repr(plain(pattern)) for pattern in patterns)
