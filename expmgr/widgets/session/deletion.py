"""One deletion as far as it has come: a value that the page draws and a dialogue moves on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from expmgr.errors import DeletionError, NotFoundError, ProtectedModelError
from expmgr.results import DeletionResult
from expmgr.secrecy import said

if TYPE_CHECKING:
    import asyncio

    from expmgr.widgets.session.loop import Answer

__all__ = ["Deletion", "Offer", "Phase", "chain_of", "describe_failure", "result_of_error"]

Phase = Literal["idle", "planning", "armed", "running", "stopping", "ended"]


@dataclass(frozen=True, eq=False)
class Offer:
    """What one Confirm button is for. Each is another: a late click on an old one finds nothing."""

    text: str


@dataclass
class Deletion:
    """What was asked to be deleted, and how far that is.

    Attributes
    ----------
    id
        The line that tells of it, "" for the one above the table.
    name
        What it is about, in words.
    ids
        The runs and models that were asked for.
    kind
        ``kill`` is not a deletion: it marks a dead run as killed, with the same two clicks.
        Nor are ``keep``, which takes a mark back, and ``restore``.
        ``many`` goes with others: a study, or what is ticked. ``with others`` is the line of one
        of these, which only tells.
    resumes
        Whether only an interrupted deletion is to be finished.
    phase
        ``planning`` (asking what would go), ``armed`` (waiting for the second click),
        ``running``, ``stopping`` or ``ended``; ``idle`` where there is nothing to tell.
    message
        One line for a person.
    offer
        What can be confirmed, None while there is nothing to confirm.
    typed
        The number that must be typed before anything is offered, 0 for none.
    offers
        What the offer says that is made then.
    doing
        What is said once it is confirmed.
    share
        How much is done, from 0 to 1; None while that is not known.
    failed
        True when it ended otherwise than wished.
    log
        Attempt by attempt.
    summary
        Of many that ended, one line each, to be copied.
    going
        What of the plan would go.
    results
        What became of each, where many went.
    """

    id: str
    name: str = ""
    ids: tuple[str, ...] = ()
    kind: Literal["one", "many", "kill", "keep", "restore", "with others"] = "one"
    phase: Phase = "planning"
    message: str = ""
    plan: Any = None
    offer: Offer | None = None
    typed: int = 0
    offers: str = ""
    doing: str = "Deleting …"
    resumes: bool = False
    share: float | None = None
    outcome: str = ""
    failed: bool = False
    log: tuple[str, ...] = ()
    summary: str = ""
    going: tuple[Any, ...] = ()
    results: tuple[DeletionResult, ...] = ()
    cancel: threading.Event = field(default_factory=threading.Event)
    began: float = 0.0
    counted: tuple[int, int] = (0, 0)
    answer: Answer[bool] | None = None
    task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """True while something is under way."""
        return self.phase in ("planning", "running", "stopping")


def describe_failure(error: BaseException) -> str:
    """Return an error as one line without secrets."""
    text = said(error, 1000) or type(error).__name__
    return (
        text
        if isinstance(error, (DeletionError, ProtectedModelError))
        else (f"{text} ({type(error).__name__})")
    )


def result_of_error(id_: str, error: Exception, seconds: float) -> DeletionResult:
    """Return what an exception from a deletion means as a result."""
    if isinstance(error, ProtectedModelError):
        return DeletionResult(
            id_, "protected", message=str(error), error=error, reasons=error.reasons
        )
    log = tuple(getattr(error, "log", ())) or chain_of(error)
    gone = isinstance(error, NotFoundError)
    return DeletionResult(
        id_,
        "not_found" if gone else "failed",
        files=getattr(error, "files", 0),
        bytes=getattr(error, "bytes", 0),
        attempts=getattr(error, "attempts", 0),
        seconds=seconds,
        message=describe_failure(error),
        error=error,
        log=log,
    )


def chain_of(error: BaseException) -> tuple[str, ...]:
    """Return an error and what caused it, one line each."""
    lines: list[str] = []
    current: BaseException | None = error
    while current is not None and len(lines) < 10:  # noqa: PLR2004 - a chain is never this long
        lines.append(f"{type(current).__name__}: {current}")
        current = current.__cause__ or current.__context__
    return tuple(lines)
