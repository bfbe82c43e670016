"""What keeps secrets out of messages and tracebacks.

A traceback with locals (IPython's ``%xmode Verbose``, ``capture_locals=True``, error trackers)
shows every argument of every frame that an error passed, and what the error keeps alive. So an
error of a constructor leaves from a frame that holds no argument any more (`forgets_arguments`),
what led to an error is stripped before it becomes the ``__cause__`` (`bare`), and an address shows
itself without who signs in (`Address`).
"""

from __future__ import annotations

import re
import traceback
from functools import wraps
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from expmgr.errors import ExpmgrError
from expmgr.text import CELL_LIMIT, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import ParamSpec, Self

    _P = ParamSpec("_P")
    _R = TypeVar("_R")

__all__ = ["Address", "bare", "clear_frames", "forgets_arguments", "redact", "said"]

_E = TypeVar("_E", bound=BaseException)

_VALUES = re.compile(
    r"(?i)\b(sig|signature|accountkey|sharedaccesssignature|sharedaccesskey|password|passwd|token|"
    r"secret|authorization)(\s*[=:]\s*)(bearer\s+|basic\s+|sharedkey\s+)?[^\s&;,\"'<>)]+"
)
# user:password@, whatever the password is made of and however the scheme is mistyped, or token@
# behind a scheme. host:5000/ and models:/x@y are none. Bounded, so that no text takes long.
_LOGIN = re.compile(
    r"(?i)(?P<scheme>\b[a-z][a-z0-9+.-]{0,30}:?/{1,3})?(?<![^\s/@'\"<>(=])"
    r"(?:[^\s/:@'\"<>(=]{1,200}:(?!\d+/|/)\S{1,2000}|(?<=//)[^\s/:@'\"<>]{1,2000})@"
)


_MOST = 20_000
"""Characters of a text that are looked through: megabytes would take seconds."""
_LONGEST = 2_300  # characters of a login, see `_LOGIN`: one that begins before the cut ends there


def redact(text: str) -> str:
    """Return a message without the values of signatures, keys and passwords; long ones end early.

    Examples
    --------
    >>> redact("https://a.blob.core.windows.net/c?sv=1&sig=abc%3D&x=1 AccountKey=xyz==;")
    'https://a.blob.core.windows.net/c?sv=1&sig=***&x=1 AccountKey=***;'
    >>> redact("http://me:secret@mlflow.example/api"), redact("htps:/me:s/e@c@mlflow.example")
    ('http://***@mlflow.example/api', 'htps:/***@mlflow.example')
    """
    if len(text) > _MOST:
        start = redact(text[:_MOST])[:-_LONGEST]
        return f"{start}… ({len(text) - len(start):,} characters more)"

    def hide(match: re.Match[str]) -> str:
        return f"{match[1]}{match[2]}***"

    def hide_login(match: re.Match[str]) -> str:
        scheme = match["scheme"] or ""
        # wasbs://container@account names a container, not a user
        names = scheme.lower().startswith(("wasb", "abfs")) and ":" not in match[0][len(scheme) :]
        return match[0] if names else f"{scheme}***@"

    return _VALUES.sub(hide, _LOGIN.sub(hide_login, text))


def said(value: object, limit: int = CELL_LIMIT) -> str:
    """Return what somebody else said as plain text without secrets.

    Cut last: what is cut off in the middle is not known for a secret any more.
    """
    return plain(redact(str(value)), limit)


class Address(str):
    """A URI: a string like any other, whose ``repr`` leaves passwords and signatures out.

    Examples
    --------
    >>> Address("http://me:secret@mlflow.example")
    'http://***@mlflow.example'
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(redact(str(self)))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        if redact(str(self)) != str(self):
            raise TypeError(f"{self!r} is not pickled: the pickle would hold its password")
        return super().__reduce_ex__(protocol)


def clear_frames(error: BaseException) -> None:
    """Empty the frames of an error, and of those that it holds, that have ended; the lines stay.

    Frames still at work keep their locals: those are the caller's, and must hold no secret.
    """
    for one in _held_by(error):
        traceback.clear_frames(one.__traceback__)


def bare(error: _E) -> _E:
    """Return an error, to be raised ``from``, without what it keeps alive.

    Its class, its lines, its message (`redact`) and its plain attributes (``status_code``,
    ``error_code``) stay, of its answer the status, the reason and the headers. Requests (which hold
    their authorisation), clients, locals and the errors before it go.
    """
    clear_frames(error)
    if isinstance(error, ExpmgrError):  # words and numbers only, and what led to it is bare
        return error
    error.__cause__ = error.__context__ = None
    error.args = tuple(_plain(value) for value in error.args)
    for name, value in list(vars(error).items()):
        if name == "response" and value is not None:
            error.__dict__[name] = SimpleNamespace(
                status_code=getattr(value, "status_code", None),
                reason=getattr(value, "reason", None),
                headers=getattr(value, "headers", {}),
            )
        elif name != "__notes__":
            error.__dict__[name] = _plain(value)
    return error


def forgets_arguments(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let an error of a function that is given secrets leave from frames that hold none of them."""

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - raised again below
            refusal = bare(error)
        del args, kwargs
        raise refusal

    return call


def _held_by(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and every error that it holds: causes, contexts, arguments, attributes."""
    seen: set[int] = set()
    todo: list[Any] = [error]
    while todo:
        one = todo.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [one.__cause__, one.__context__, *one.args, *vars(one).values()]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        hidden = redact(value)
        return value if hidden == value else hidden
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, BaseException):
        return redact(str(value))
    return type(value)() if type(value) in {bytes, dict, list, tuple} else None
