"""The errors of expmgr, one tree.

    ExpmgrError
    ├── InvalidInputError (also a ValueError)
    │   ├── CredentialsError       the credentials cannot work as given
    │   ├── LocationError          an artifact URI or path that is not ours to touch
    │   ├── FilterError            MLflow refused the filter string
    │   └── TakesEverythingError   a policy that takes every model, and nothing says so
    ├── NotFoundError (also a LookupError)
    │                              no such run, experiment or model
    ├── ProtectedModelError        the model must stay; carries the reasons
    ├── DeletionError              a deletion did not finish; says what is left
    │   └── DeletionCancelledError somebody cancelled it
    ├── JournalError               the run cannot record the deletion, so nothing was deleted
    ├── RunError                   the run is not what the call needs: at work, or ended meanwhile
    ├── TrackingError              the tracking server or registry did not answer as it should
    │   └── TrackingUnreachableError
    └── StorageError               storage did not answer as it should
        ├── ConflictError          somebody else wrote there meanwhile
        └── TransferCancelledError somebody cancelled an upload or a download

Every message says what was wrong, for which run where there is one, and what to do about it. The
error that led here is always the ``__cause__``: its class, message, status and code, without the
requests and locals that it held, since those hold secrets (`expmgr.secrecy`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.text import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expmgr.catalog.reason import Reason

__all__ = [
    "ConflictError",
    "CredentialsError",
    "DeletionCancelledError",
    "DeletionError",
    "ExpmgrError",
    "FilterError",
    "InvalidInputError",
    "JournalError",
    "LocationError",
    "NotFoundError",
    "ProtectedModelError",
    "RunError",
    "StorageError",
    "TakesEverythingError",
    "TrackingError",
    "TrackingUnreachableError",
    "TransferCancelledError",
]


class ExpmgrError(Exception):
    """Base of every error that expmgr raises on purpose.

    Parameters
    ----------
    message
        What was wrong and what to do; it is kept as plain text of bounded length
        (`expmgr.text.words`), whatever names and answers are in it.
    run_id
        The run that it is about, where there is one.
    """

    def __init__(self, message: str, *, run_id: str | None = None) -> None:
        self.message = words(message)
        super().__init__(self.message)
        self.run_id = run_id


class InvalidInputError(ExpmgrError, ValueError):
    """An argument that cannot be used as it is."""


class CredentialsError(InvalidInputError):
    """Storage credentials that are incomplete, contradictory or malformed."""


class LocationError(InvalidInputError):
    """An artifact URI or blob path that expmgr refuses to touch."""


class FilterError(InvalidInputError):
    """A filter string that the tracking server did not accept."""


class TakesEverythingError(InvalidInputError):
    """A policy that would take every model of an experiment, without the word that says so."""


class NotFoundError(ExpmgrError, LookupError):
    """A run, experiment or model that the tracking server does not have."""


class ProtectedModelError(ExpmgrError):
    """A model that must stay.

    Attributes
    ----------
    reasons
        Why, in words, one entry a reason.
    """

    def __init__(
        self, message: str, *, run_id: str | None = None, reasons: Sequence[Reason] = ()
    ) -> None:
        super().__init__(message, run_id=run_id)
        self.reasons = tuple(reasons)


class DeletionError(ExpmgrError):
    """A deletion that did not finish.

    Attributes
    ----------
    files, bytes
        What was deleted before it stopped.
    attempts
        How many attempts were made.
    left
        Names of blobs known to be still there (it may be cut; ``left_count`` is the number).
    unanswered
        Files whose delete was sent and that nobody told the end of: they may have gone.
    log
        One line an attempt.
    """

    def __init__(
        self,
        message: str,
        *,
        run_id: str | None = None,
        files: int = 0,
        bytes: int = 0,  # noqa: A002 - the word of the field, as in DeletionResult.bytes
        attempts: int = 0,
        left: Sequence[str] = (),
        left_count: int | None = None,
        unanswered: int = 0,
        log: Sequence[str] = (),
    ) -> None:
        super().__init__(message, run_id=run_id)
        self.files = files
        self.bytes = bytes
        self.attempts = attempts
        self.left = tuple(left)
        self.left_count = len(self.left) if left_count is None else left_count
        self.unanswered = unanswered
        self.log = tuple(map(words, log))


class DeletionCancelledError(DeletionError):
    """A deletion that was cancelled between two batches."""


class JournalError(ExpmgrError):
    """The deletion could not be recorded on the run, so it was not begun."""


class RunError(ExpmgrError):
    """A run that is still at work where it must have ended, or that somebody else has ended."""


class TrackingError(ExpmgrError):
    """The MLflow tracking server or model registry answered with an error."""


class TrackingUnreachableError(TrackingError):
    """Nothing answers at the tracking URI."""


class StorageError(ExpmgrError):
    """Storage answered with an error outside a deletion."""


class ConflictError(StorageError):
    """What was to be written or deleted is not what the writer saw last; nothing was changed."""


class TransferCancelledError(StorageError):
    """An upload or download that was cancelled; what had arrived stays where it is."""
