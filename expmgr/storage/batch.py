"""One delete request: a batch of blobs, or a single one where batches are not served.

https://learn.microsoft.com/rest/api/storageservices/blob-batch
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Literal

from expmgr.storage.azure_errors import error_code, part_error, status_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azure.storage.blob import ContainerClient

    from expmgr.storage.listing import Blob

__all__ = ["BATCH_SIZE", "Answer", "BatchSupport", "Fate", "delete_batch", "delete_single"]

BATCH_SIZE = 256  # the service's limit; the SDK does not check it

Fate = Literal["deleted", "gone", "changed", "failed", "unclear"]

_ACCEPTED = range(200, 300)
_NOT_FOUND = 404
_TIMED_OUT = 408
_CHANGED = 412
_REFUSED = range(400, 500)  # before anything was done
# A host that does not serve batches answers the request as a whole with one of these.
_NOT_SERVED = frozenset({400, 404, 405, 411, 415, 501})
_PERMANENT_HEADER = "x-ms-delete-type-permanent"


class BatchSupport:
    """Whether an endpoint serves batches, as far as is known; shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._served: bool | None = None

    @property
    def served(self) -> bool | None:
        """True or False once an answer has told; None before."""
        return self._served

    def note(self, *, served: bool) -> None:
        """Record an answer. One batch that was served outweighs any that was not."""
        with self._lock:
            self._served = served or bool(self._served)


@dataclass(frozen=True)
class Answer:
    """What one delete request did.

    Attributes
    ----------
    blobs
        What was asked for.
    fates
        One a blob: ``deleted``; ``gone`` (was not there any more); ``changed`` (left, because it
        is not the blob that the plan saw); ``failed``; ``unclear`` (no answer arrived, so it may
        be there or not).
    errors
        For failed and unclear blobs: index to error.
    permanent
        False where the service said that a blob can still be recovered, None where it did not say.
    served
        False where the endpoint did not serve the batch: single deletes are to do it.
    lasting
        False where that may be a passing fault.
    """

    blobs: Sequence[Blob]
    fates: Sequence[Fate] = ()
    errors: dict[int, Exception] = field(default_factory=dict)
    permanent: bool | None = None
    served: bool = True
    lasting: bool = True


def delete_batch(
    container: ContainerClient, blobs: Sequence[Blob], *, conditional: bool, patient: bool
) -> Answer:
    """Delete up to 256 blobs, with their snapshots, in one request.

    Parameters
    ----------
    container
        Client of the container.
    blobs
        What to delete.
    conditional
        Delete a blob only while it still has the entity tag that the listing showed.
    patient
        Take a server error for the whole batch as passing; otherwise as not served.
    """
    from azure.core.exceptions import AzureError

    targets: list[Any] = [_target(blob, conditional=conditional) for blob in blobs]
    snapshots = None if all(blob.is_directory for blob in blobs) else "include"
    try:
        parts = list(
            container.delete_blobs(*targets, delete_snapshots=snapshots, raise_on_any_failure=False)
        )
    except AzureError as error:
        status = status_of(error)
        if status in _NOT_SERVED and error_code(error) != "ContainerNotFound":
            return Answer(blobs, served=False)
        if not patient and status is not None and status >= 500:  # noqa: PLR2004 - server errors
            return Answer(blobs, served=False, lasting=False)
        fate = _fate(error, conditional=False)
        # "Not found" for the batch as a whole is not about its blobs.
        fate = "failed" if fate == "gone" else fate
        return Answer(blobs, [fate] * len(blobs), dict.fromkeys(range(len(blobs)), error))
    except (ValueError, IndexError, HTTPException):  # an answer that is not a batch answer
        return Answer(blobs, served=False, lasting=False)
    if len(parts) != len(blobs):  # the whole batch was refused, in one part
        return Answer(blobs, served=False)
    fates: list[Fate] = []
    errors: dict[int, Exception] = {}
    flags = set()
    for index, (blob, part) in enumerate(zip(blobs, parts, strict=True)):
        failure = None if part.status_code in _ACCEPTED else part_error(part, blob.name)
        fate = _fate(failure, conditional=conditional)
        fates.append(fate)
        if failure is None:
            flags.add(part.headers.get(_PERMANENT_HEADER))
        elif fate in {"failed", "unclear"}:
            errors[index] = failure
    return Answer(blobs, fates, errors, _permanent(flags))


def delete_single(container: ContainerClient, blob: Blob, *, conditional: bool) -> Answer:
    """Delete one blob with its snapshots. A directory has none, and is not asked for them."""
    from azure.core import MatchConditions
    from azure.core.exceptions import AzureError

    flags = set()

    def keep(response: Any) -> None:
        flags.add(response.http_response.headers.get(_PERMANENT_HEADER))

    snapshots = None if blob.is_directory else "include"
    condition: dict[str, Any] = {}
    if conditional and not blob.is_directory:
        condition = {"etag": f'"{blob.etag}"', "match_condition": MatchConditions.IfNotModified}
    try:
        container.delete_blob(
            blob.name, delete_snapshots=snapshots, raw_response_hook=keep, **condition
        )
    except AzureError as error:
        fate = _fate(error, conditional=conditional)
        errors: dict[int, Exception] = {0: error} if fate in {"failed", "unclear"} else {}
        return Answer([blob], [fate], errors)
    return Answer([blob], ["deleted"], permanent=_permanent(flags))


def _target(blob: Blob, *, conditional: bool) -> Any:
    """Return what the SDK's ``delete_blobs`` takes: a raw name, or a name with its entity tag."""
    if not conditional or blob.is_directory:
        return blob.name
    return {"name": blob.name, "etag": f'"{blob.etag}"'}


def _fate(error: Exception | None, *, conditional: bool) -> Fate:
    if error is None:
        return "deleted"
    code = error_code(error)
    status = status_of(error)
    if status == _NOT_FOUND and code != "ContainerNotFound":
        return "gone"
    if status == _CHANGED and conditional and code in {"ConditionNotMet", ""}:
        return "changed"
    refused = status in _REFUSED and status != _TIMED_OUT
    return "failed" if refused else "unclear"


def _permanent(flags: set[str | None]) -> bool | None:
    if "false" in flags:
        return False
    return True if flags == {"true"} else None
