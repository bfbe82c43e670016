"""What an error of Azure Blob Storage means: one line for a person, and what to do about it.

Codes: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.secrecy import said
from expmgr.text import plain

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError

__all__ = [
    "because",
    "describe",
    "error_code",
    "hint",
    "is_broken_connection",
    "is_busy",
    "is_denied",
    "part_error",
    "status_of",
]

_DENIED = frozenset({401, 403})
_BUSY = frozenset({429, 503})
_HINTS = {
    "SnapshotsPresent": "delete its snapshots first",
    "BlobImmutableDueToPolicy": "an immutability policy keeps it until it ends",
    "BlobImmutableDueToLegalHold": "a legal hold keeps it: have it cleared, then delete again",
    "LeaseIdMissing": "somebody holds a lease on it: break the lease, then delete again",
    "ContainerNotFound": "the container does not exist: check container_name",
    "AuthenticationFailed": "the key or the shared access signature is wrong or has expired",
    "AuthorizationPermissionMismatch": (
        "these credentials may not do this: give them the role Storage Blob Data Contributor, or "
        "a shared access signature that may list and delete"
    ),
    "AuthorizationFailure": "a network rule of the account, or its keys being off, refuses this",
    "KeyBasedAuthenticationNotPermitted": (
        "the account does not accept keys: use token_credential with azure-identity"
    ),
    "DirectoryIsNotEmpty": "somebody wrote into it meanwhile: delete again",
}
_DENIED_HINT = (
    "check the credentials, their role (Storage Blob Data Contributor) and the account's network "
    "rules"
)


def status_of(error: BaseException | None) -> int | None:
    """Return the HTTP status of an error, None where there was no answer."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def error_code(error: BaseException | None) -> str:
    """Return Azure's error code, "" where there is none."""
    code = getattr(error, "error_code", None)
    if code is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
        code = None if headers is None else headers.get("x-ms-error-code")
    return str(getattr(code, "value", code) or "")


def is_denied(error: BaseException | None) -> bool:
    """Return True where the credentials are refused (401, 403)."""
    return status_of(error) in _DENIED


def is_busy(error: BaseException | None) -> bool:
    """Return True where the service asks for less or for patience (429, 503)."""
    return status_of(error) in _BUSY


def is_broken_connection(error: BaseException | None) -> bool:
    """Return True where a connection was refused, reset or cut; not where it timed out."""
    from azure.core.exceptions import (
        IncompleteReadError,
        ServiceRequestError,
        ServiceRequestTimeoutError,
        ServiceResponseError,
        ServiceResponseTimeoutError,
    )

    if isinstance(error, (ServiceRequestTimeoutError, ServiceResponseTimeoutError)):
        return False
    return isinstance(error, (ServiceRequestError, ServiceResponseError, IncompleteReadError))


def describe(error: BaseException) -> str:
    """Return one line: status and code where the service answered, else the error's first line.

    Examples
    --------
    >>> describe(ConnectionError("refused"))
    'ConnectionError: refused'
    """
    status = status_of(error)
    code = error_code(error)
    if status is not None:
        reason = code or str(getattr(error, "reason", "") or "")
        return f"{status} {plain(reason)}".strip()
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said(lines[0], 300)}" if lines else type(error).__name__


def hint(error: BaseException | None) -> str:
    """Return what to do about an error, "" where nothing better than trying again is known."""
    found = _HINTS.get(error_code(error), "")
    return found or (_DENIED_HINT if is_denied(error) else "")


def because(error: BaseException) -> str:
    """Return what an error was and, where it is known, what to do about it."""
    advice = hint(error)
    return f"{describe(error)} ({advice})" if advice else describe(error)


def part_error(part: Any, name: str) -> HttpResponseError:
    """Make the error that a single delete would have raised from a part of a batch answer.

    Parameters
    ----------
    part
        The part, as ``ContainerClient.delete_blobs`` returns it.
    name
        The blob that it is about.
    """
    from azure.core.exceptions import HttpResponseError

    code = part.headers.get("x-ms-error-code") or ""
    error = HttpResponseError(f"{part.status_code} {code} for {name}".replace("  ", " "), part)
    error.error_code = code  # type: ignore[attr-defined]  # as the storage SDK sets it
    return error
