"""One delete request: a batch of blobs, or a single one where batches are not served.

https://learn.microsoft.com/rest/api/storageservices/blob-batch

What an answer says is not proof: a later listing is. It only tells what to do next, and why.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from expmgr.storage.answers import readable
from expmgr.storage.azure_errors import error_code, part_error, status_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azure.core.exceptions import AzureError
    from azure.storage.blob import ContainerClient

    from expmgr.storage.listing import Blob

__all__ = [
    "BATCH_SIZE",
    "Answer",
    "BatchSupport",
    "Condition",
    "Fate",
    "delete_batch",
    "delete_single",
]

BATCH_SIZE = 256  # the service's limit; the SDK does not check it

Fate = Literal["deleted", "gone", "unmet", "failed", "unclear"]
Condition = Literal["none", "etag", "time"]
"""Delete only a blob that still has the entity tag (``If-Match``), or was not written after the
``Last-Modified`` (``If-Unmodified-Since``), that the listing showed. Directories change with what
is in them and are asked for without."""

_ACCEPTED = range(200, 300)
_NOT_FOUND = 404
_TIMED_OUT = 408
_UNMET = 412
_UNMET_CODES = frozenset({"", "ConditionNotMet", "TargetConditionNotMet"})
_SERVER_ERRORS = range(500, 600)
_REFUSED = range(400, 500)  # before anything was done
# A host that does not serve batches answers the request as a whole with one of these.
_NOT_SERVED = frozenset({400, 404, 405, 411, 415, 501})
_PERMANENT_HEADER = "x-ms-delete-type-permanent"
_ID_HEADER = "x-ms-client-request-id"
_CONTENT_ID = re.compile(rb"^Content-ID:[ \t]*(\d+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


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
        One a blob: ``deleted``; ``gone`` (was not there any more); ``unmet`` (the condition was
        not met: it changed, or it is gone, see `delete_batch`); ``failed``; ``unclear`` (no
        answer that can be understood, so it may be there or not).
    errors
        For failed and unclear blobs: index to error.
    permanent
        False where the service said that a blob can still be recovered, None where it did not say.
    served
        False where the endpoint did not serve the batch: single deletes are to do it.
    lasting
        True where the endpoint never will, False where that was a passing fault, None where single
        deletes that work are to tell.
    """

    blobs: Sequence[Blob]
    fates: Sequence[Fate] = ()
    errors: dict[int, Exception] = field(default_factory=dict)
    permanent: bool | None = None
    served: bool = True
    lasting: bool | None = True


_WRITING = threading.Lock()


class _Turn:
    """Holds a lock from its context's beginning until `end`, or the end of the context.

    To put a batch together takes the interpreter's time, 0.1 ms a blob [measured]. Batches that
    are put together side by side all leave when the last one is done; in turn, the first is under
    way meanwhile.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._held = False

    def __enter__(self) -> None:
        self._lock.acquire()
        self._held = True

    def end(self, _request: object = None) -> None:
        """Let the next one begin."""
        if self._held:
            self._held = False
            self._lock.release()

    def __exit__(self, *_error: object) -> None:
        self.end()


def delete_batch(
    container: ContainerClient,
    blobs: Sequence[Blob],
    *,
    conditions: Sequence[Condition],
    patient: bool,
) -> Answer:
    """Delete up to 256 blobs, with their snapshots, in one request.

    Parameters
    ----------
    container
        Client of the container.
    blobs
        What to delete.
    conditions
        One a blob.
    patient
        Take a server error for the whole batch, and an answer that cannot be understood, as
        passing; otherwise as a batch that is not served.

    Notes
    -----
    To ``If-Match`` on a blob that is not there Azurite answers 412, not 404; what Azure answers
    has not been seen. On accounts with versions 412 has been reported for ``If-Match`` on a blob
    that did not change. So ``unmet`` alone says neither "changed" nor "gone".
    """
    from azure.core.exceptions import AzureError, DecodeError

    targets = [_target(blob, condition) for blob, condition in zip(blobs, conditions, strict=True)]
    snapshots = None if all(blob.is_directory for blob in blobs) else "include"
    bodies: list[bytes] = []
    turn = _Turn(_WRITING)
    try:
        with turn, readable("the answer to a batch"):
            parts = list(
                container.delete_blobs(
                    *targets,
                    delete_snapshots=snapshots,
                    raise_on_any_failure=False,
                    raw_request_hook=turn.end,
                    raw_response_hook=lambda response: bodies.append(response.http_response.body()),
                )
            )
            if len(parts) == 1 < len(blobs) and parts[0].status_code in _NOT_SERVED:
                return Answer(blobs, served=False)  # refused as a whole, in one part
            why = _why_not_ours(parts, bodies[-1], len(blobs))
            if why:
                raise DecodeError(f"the answer is not this batch's: {why}")
            return _read_parts(blobs, conditions, parts)
    except AzureError as error:
        return _whole(blobs, error, patient=patient)


def _whole(blobs: Sequence[Blob], error: AzureError, *, patient: bool) -> Answer:
    """Return what became of a batch that has one answer for all its blobs."""
    from azure.core.exceptions import DecodeError

    status = status_of(error)
    if status in _NOT_SERVED and error_code(error) != "ContainerNotFound":
        return Answer(blobs, served=False)
    if status in _SERVER_ERRORS and not patient:
        return Answer(blobs, served=False, lasting=None)
    if status is None and isinstance(error, DecodeError) and not patient:
        return Answer(blobs, served=False, lasting=False)
    fate = _fate(error, "none")
    # "Not found" for the batch as a whole is not about its blobs.
    fate = "failed" if fate == "gone" else fate
    return Answer(blobs, [fate] * len(blobs), dict.fromkeys(range(len(blobs)), error))


def _read_parts(
    blobs: Sequence[Blob], conditions: Sequence[Condition], parts: Sequence[Any]
) -> Answer:
    fates: list[Fate] = []
    errors: dict[int, Exception] = {}
    flags = set()
    for index, (blob, part) in enumerate(zip(blobs, parts, strict=True)):
        failure = None if part.status_code in _ACCEPTED else part_error(part, blob.name)
        fate = _fate(failure, conditions[index])
        fates.append(fate)
        if failure is None:
            flags.add(part.headers.get(_PERMANENT_HEADER))
        elif fate in {"failed", "unclear"}:
            errors[index] = failure
    return Answer(blobs, fates, errors, _permanent(flags))


def delete_single(container: ContainerClient, blob: Blob, *, condition: Condition) -> Answer:
    """Delete one blob with its snapshots. A directory has none, and is not asked for them."""
    from azure.core import MatchConditions
    from azure.core.exceptions import AzureError

    flags = set()

    def keep(response: Any) -> None:
        flags.add(response.http_response.headers.get(_PERMANENT_HEADER))

    snapshots = None if blob.is_directory else "include"
    options = _options(blob, condition)
    if "etag" in options:
        options["match_condition"] = MatchConditions.IfNotModified
    try:
        with readable(f"the answer about {blob.name!r}"):
            container.delete_blob(
                blob.name, delete_snapshots=snapshots, raw_response_hook=keep, **options
            )
    except AzureError as error:
        fate = _fate(error, condition)
        errors: dict[int, Exception] = {0: error} if fate in {"failed", "unclear"} else {}
        return Answer([blob], [fate], errors)
    return Answer([blob], ["deleted"], permanent=_permanent(flags))


def _why_not_ours(parts: Sequence[Any], body: bytes, asked: int) -> str:
    """Return why an answer does not belong to the batch that was sent, "" where it may.

    Parts carry the ``Content-ID`` of their request, counted from 0, and where the service repeats
    it, the request's own id.
    """
    if len(parts) != asked:
        return f"{len(parts)} parts for {asked} blobs"
    ids = [int(number) for number in _CONTENT_ID.findall(body)]
    if len(ids) == len(parts) and ids != list(range(asked)):
        return "its parts are in another order"
    for part in parts:
        theirs = part.headers.get(_ID_HEADER)
        ours = getattr(part.request, "headers", {}).get(_ID_HEADER)
        if theirs and ours and theirs != ours:
            return "a part has the id of another request"
    return ""


def _target(blob: Blob, condition: Condition) -> Any:
    """Return what the SDK's ``delete_blobs`` takes: a raw name, or a name with its condition."""
    options = _options(blob, condition)
    return {"name": blob.name, **options} if options else blob.name


def _options(blob: Blob, condition: Condition) -> dict[str, Any]:
    if condition == "none" or blob.is_directory:
        return {}
    if condition == "time":
        return {"if_unmodified_since": blob.last_modified}
    return {"etag": f'"{blob.etag}"'}


def _fate(error: Exception | None, condition: Condition) -> Fate:
    if error is None:
        return "deleted"
    code = error_code(error)
    status = status_of(error)
    if status == _NOT_FOUND and code != "ContainerNotFound":
        return "gone"
    if status == _UNMET and condition != "none" and code in _UNMET_CODES:
        return "unmet"
    refused = status in _REFUSED and status != _TIMED_OUT
    return "failed" if refused else "unclear"


def _permanent(flags: set[str | None]) -> bool | None:
    if "false" in flags:
        return False
    return True if flags == {"true"} else None
