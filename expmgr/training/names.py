"""What MLflow accepts as the name of a param or metric. Pure.

The rules are those of ``mlflow.utils.validation``, checked here so that a bad name is refused
before anything is sent, and in words.
"""

from __future__ import annotations

import posixpath
import re

from expmgr.errors import InvalidInputError

__all__ = ["MAX_KEY_LENGTH", "check_key"]

MAX_KEY_LENGTH = 250
"""``mlflow.utils.validation.MAX_ENTITY_KEY_LENGTH``"""

_ALLOWED = re.compile(r"[/\w.\- :]+\Z")


def check_key(kind: str, name: object, *, longest: int = MAX_KEY_LENGTH) -> str:
    """Return the name of a param or metric as it is, if MLflow would take it.

    Parameters
    ----------
    kind
        What it names, for the message: ``param`` or ``metric``.
    longest
        Characters that it may have.

    Raises
    ------
    InvalidInputError
        It is not a string, empty, too long, has other characters than letters, digits and
        ``_-.:/`` and space, or reads as a path that is not its own shortest form.
    """
    if not isinstance(name, str):
        message = f"the name of a {kind} is a string, not {type(name).__name__} ({name!r})."
        raise InvalidInputError(message)
    if not name:
        raise InvalidInputError(f"the name of a {kind} must not be empty.")
    if len(name) > longest:
        message = f"the {kind} name {name[:60]!r}... has {len(name)} characters; at most {longest}."
        raise InvalidInputError(message)
    if not _ALLOWED.match(name):
        message = (
            f"the {kind} name {name!r} has characters that MLflow does not take; use letters, "
            "digits, underscores, dashes, periods, spaces, colons and slashes."
        )
        raise InvalidInputError(message)
    if posixpath.normpath(name) != name or name == "." or name.startswith(("..", "/")):
        message = (
            f"the {kind} name {name!r} reads as a path that MLflow refuses; leave out '//', '.', "
            "'..' and slashes at either end."
        )
        raise InvalidInputError(message)
    return name
