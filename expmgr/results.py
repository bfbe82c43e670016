"""How one deletion ended, and how far it has come."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from expmgr.formatting import format_bytes, format_count
from expmgr.text import keep_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from expmgr.catalog.reason import Reason

__all__ = ["OUTCOMES", "DeletionProgress", "DeletionResult", "Outcome", "tell"]

logger = logging.getLogger(__name__)

Outcome = Literal["deleted", "not_found", "protected", "failed", "marked"]
OUTCOMES: tuple[str, ...] = get_args(Outcome)


@dataclass(frozen=True)
class DeletionProgress:
    """A snapshot of a running deletion, handed to ``on_progress`` callbacks.

    Callbacks run on a worker thread and must return at once.

    Attributes
    ----------
    files, bytes
        Deleted so far.
    total_files, total_bytes
        What the plan holds; None where there is no plan.
    attempt
        The attempt under way, from 1.
    note
        One line worth showing (why the last attempt ended, how long the wait is), or "".
    models
        Runs and models of the plan that are done with, where several are deleted together: their
        files are gone, or were before.
    """

    files: int
    bytes: int
    total_files: int | None = None
    total_bytes: int | None = None
    attempt: int = 1
    note: str = ""
    models: int = 0

    def __post_init__(self) -> None:
        keep_plain(self, "note")


def tell(on_progress: Callable[[DeletionProgress], None], progress: DeletionProgress) -> None:
    """Call a callback; one that fails is logged, not obeyed.

    A progress bar must not leave half a model, nor lose the report of the others.
    """
    try:
        on_progress(progress)
    except Exception:
        logger.exception("on_progress failed; the deletion goes on")


@dataclass(frozen=True)
class DeletionResult:
    """How the deletion of one run's model ended.

    ``bool(result)`` is True for ``deleted`` only.

    Attributes
    ----------
    run_id
        The run, or the model that was asked for by its id.
    outcome
        ``deleted``, ``not_found``, ``protected`` or ``failed``; ``marked`` where it is to go
        later, and nothing went.
    files, bytes
        Blobs and bytes that this call removed (on ``failed`` what was removed before it stopped).
    attempts
        Attempts made, 0 where none was needed.
    seconds
        Wall time.
    message
        One line for a person: what happened and, where it failed, what to do.
    error
        The exception behind ``failed``, else None.
    log
        Attempt by attempt, one line each.
    left
        Blobs still there: after a failure the ones that remain (cut at 100), after a success
        files that were newer than the plan.
    reasons
        Why the model is protected, or what a forced deletion overrode.
    name
        What people call it: the run's name, or that of a model without a run; "" where nobody
        looked it up.
    """

    run_id: str
    outcome: Outcome
    files: int = 0
    bytes: int = 0
    attempts: int = 0
    seconds: float = 0.0
    message: str = ""
    error: Exception | None = field(default=None, compare=False, repr=False)
    log: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        keep_plain(self, "message", "log")

    def __bool__(self) -> bool:
        return self.outcome == "deleted"

    def __str__(self) -> str:
        return self.message or (
            f"{self.outcome}: {format_count(self.files, 'file')}, {format_bytes(self.bytes)}"
        )
