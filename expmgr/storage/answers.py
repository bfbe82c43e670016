"""The one boundary between what a server sends and us: an unreadable answer is Azure's error.

A page of some proxy, a cut body or a header that is none makes the SDK, the XML parser and our own
reading raise whatever they happen to trip over. Such an answer may pass, so it becomes
``DecodeError`` without a status, which :func:`expmgr.retry.is_transient_error` takes for passing.
"""

from __future__ import annotations

from contextlib import contextmanager
from http.client import HTTPException
from typing import TYPE_CHECKING

from expmgr.secrecy import bare

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["readable"]

# ValueError includes UnicodeError, ArithmeticError includes OverflowError, LookupError includes
# unknown encodings, SyntaxError is the base of ElementTree's ParseError.
_UNREADABLE = (
    ArithmeticError,
    AttributeError,
    HTTPException,
    LookupError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn what reading an answer raises into ``DecodeError``; put nothing else within.

    Parameters
    ----------
    what
        How the message calls the answer.

    Raises
    ------
    azure.core.exceptions.DecodeError
        In place of the errors above; Azure's own pass as they are.
    """
    from azure.core.exceptions import AzureError, DecodeError

    try:
        yield
    except AzureError:
        raise
    except _UNREADABLE as error:
        raise DecodeError(f"{what} cannot be read ({type(error).__name__})") from bare(error)
