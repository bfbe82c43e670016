"""How a deletion that is under way, failed or was cancelled is put into words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.errors import DeletionCancelledError, DeletionError
from expmgr.formatting import format_bytes, format_count, format_seconds
from expmgr.storage.azure_errors import because
from expmgr.storage.deletion import Cancelled, Deletion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expmgr.retry import RetryParams

__all__ = ["attempt_line", "cancelled_error", "failed_error"]

_SHOWN = 5  # names in a message
_CARRIED = 1000  # names in an error's `left`


def attempt_line(deletion: Deletion, before: int, error: Exception | None) -> str:
    """Return the log's line on one attempt."""
    line = (
        f"attempt {deletion.passes}: deleted {format_count(deletion.books.files - before, 'file')}"
    )
    if isinstance(error, Cancelled):
        return f"{line}, then cancelled"
    if error is not None:
        line = f"{line}, {_left_count(deletion)} left: {because(error)}"
    if deletion.books.kept:
        line = f"{line}; kept {format_count(len(deletion.books.kept), 'file')} newer than the plan"
    return line


def _left_count(deletion: Deletion) -> str:
    count = format_count(len(_known_left(deletion)), "file")
    return count if deletion.books.listed_all else f"at least {count}"


def _known_left(deletion: Deletion) -> list[str]:
    doubtful = deletion.books.unanswered
    return [name for name in deletion.books.left if name not in doubtful]


def _what_is_left(deletion: Deletion) -> str:
    if not _known_left(deletion):
        return "what is left could not be listed" if deletion.passes else "nothing was begun"
    return f"{_left_count(deletion)} left: {_left_names(deletion)}"


def _left_names(deletion: Deletion) -> str:
    names = _known_left(deletion)
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def _deleted(deletion: Deletion) -> str:
    books = deletion.books
    text = f"deleted {format_count(books.files, 'file')} ({format_bytes(books.bytes)})"
    doubtful = len(books.unanswered)
    if doubtful:
        text += f", of {format_count(doubtful, 'more file')} nobody told whether they went"
    return text


def cancelled_error(deletion: Deletion, log: Sequence[str]) -> DeletionCancelledError:
    """Make the error of a deletion that was cancelled."""
    return DeletionCancelledError(
        f"cancelled: {_deleted(deletion)}; {_what_is_left(deletion)}. Delete again for the rest",
        files=deletion.books.files,
        bytes=deletion.books.bytes,
        attempts=deletion.passes,
        left=list(deletion.books.left)[:_CARRIED],
        left_count=len(deletion.books.left),
        unanswered=len(deletion.books.unanswered),
        log=log,
    )


def failed_error(
    deletion: Deletion,
    params: RetryParams,
    error: Exception | None,
    log: Sequence[str],
    *,
    transient: bool,
    late: bool = False,
) -> DeletionError:
    """Make the error of a deletion that left something: why, what, and what to do.

    Parameters
    ----------
    late
        True where the deadline ended an attempt, whatever the number of attempts.
    """
    if not transient:
        how = "cannot be finished"
    elif deletion.passes >= params.attempts and not late:
        how = f"not finished after {format_count(deletion.passes, 'attempt')}"
    else:
        how = f"not finished within {format_seconds(params.deadline)}"
    why = "" if error is None else f": {because(error)}"
    text = f"deletion {how}{why}; {_deleted(deletion)}"
    if deletion.books.left or not deletion.books.listed_all:
        text = f"{text}; {_what_is_left(deletion)}"
    if transient:
        text = f"{text}. Delete again for the rest"
    return DeletionError(
        text,
        files=deletion.books.files,
        bytes=deletion.books.bytes,
        attempts=deletion.passes,
        left=list(deletion.books.left)[:_CARRIED],
        left_count=len(deletion.books.left),
        unanswered=len(deletion.books.unanswered),
        log=log,
    )
