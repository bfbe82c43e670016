"""The retry loop around the passes of a deletion, its log, and how it ends."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from expmgr.errors import StorageError
from expmgr.formatting import format_seconds
from expmgr.retry import retrying
from expmgr.secrecy import bare
from expmgr.storage.azure_errors import describe
from expmgr.storage.deletion import Cancelled, OutOfTime
from expmgr.storage.deletion_books import StillThereError
from expmgr.storage.deletion_words import attempt_line, cancelled_error, failed_error
from expmgr.storage.protocol import StorageDeletion

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from expmgr.retry import RetryParams
    from expmgr.storage.deletion import Deletion

__all__ = ["carried_out", "run_attempts"]

_logger = logging.getLogger(__name__)


def carried_out(
    deletion: Deletion,
    params: RetryParams,
    *,
    is_transient: Callable[[BaseException], bool],
    cancel: threading.Event | None,
    shared: bool = False,
) -> StorageDeletion:
    """Run a deletion to its end and return what it removed; all else as in `run_attempts`."""
    log = run_attempts(deletion, params, is_transient=is_transient, cancel=cancel, shared=shared)
    return StorageDeletion(
        files=deletion.books.files,
        bytes=deletion.books.bytes,
        attempts=deletion.passes,
        seconds=time.monotonic() - deletion.begun,
        kept=tuple(deletion.books.kept),
        log=log,
        permanent=deletion.books.permanent,
    )


def run_attempts(
    deletion: Deletion,
    params: RetryParams,
    *,
    is_transient: Callable[[BaseException], bool],
    cancel: threading.Event | None,
    shared: bool = False,
) -> tuple[str, ...]:
    """Run passes until one leaves nothing, and return the log: one line an attempt.

    Parameters
    ----------
    shared
        The first pass was begun together with others', see `Deletion.begin_shared`.

    Raises
    ------
    DeletionError
        Where something is left that no further attempt would, or may, delete.
    DeletionCancelledError
        Where ``cancel`` was set before the end.
    """
    from azure.core.exceptions import AzureError

    log: list[str] = []

    def may_pass(error: BaseException) -> bool:
        return isinstance(error, StillThereError) or is_transient(error)

    def before_wait(attempt: int, error: BaseException, seconds: float) -> None:
        log[-1] += f"; next attempt in {format_seconds(seconds)}"
        note = f"attempt {attempt} failed: {describe(error)}; next in {seconds:.1f} s"
        _logger.info("deletion: %s", note)
        deletion.report(note)

    def attempt() -> None:
        done, passes = deletion.books.files, deletion.passes
        run = deletion.run_pass
        if shared and not log:
            done, passes, run = 0, 0, deletion.end_shared
        try:
            run()
        except Exception as error:
            if deletion.passes > passes:
                log.append(attempt_line(deletion, done, error))
            raise
        log.append(attempt_line(deletion, done, None))

    try:
        retrying(params, cancel=cancel, on_wait=before_wait, is_retryable=may_pass)(attempt)
    except Cancelled as stop:
        bare(stop)
        raise cancelled_error(deletion, log) from None
    except OutOfTime as late:
        why = deletion.books.reason(may_pass)
        failed = failed_error(deletion, params, why, log, transient=True, late=True)
        bare(late)
        raise failed from bare(why or late)
    except (AzureError, StorageError) as error:
        transient = may_pass(error)
        if transient and cancel is not None and cancel.is_set():
            raise cancelled_error(deletion, log) from bare(error)
        if deletion.settle():
            log.append("then nothing was left")
        else:
            failed = failed_error(deletion, params, error, log, transient=transient)
            raise failed from bare(error)
    return tuple(log)
