"""Bringing deleted blobs back where the account still keeps them.

None of this has met the real service: Azurite deletes for good, whatever its soft delete setting
says. It follows the documented protocol, and tests hold every request against it:

- soft delete: Undelete Blob, one request a blob, brings back the blob with its snapshots
  (https://learn.microsoft.com/rest/api/storageservices/undelete-blob)
- versioning: deleting made the current version a previous one, which undelete does not touch; it
  is copied over the base blob
  (https://learn.microsoft.com/azure/storage/blobs/versioning-overview). Where the versions
  themselves were soft-deleted, they are undeleted first.
- hierarchical accounts need a deletion id for each path, which only the Data Lake API tells:
  refused, with the way to do it by hand.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expmgr.errors import StorageError
from expmgr.secrecy import bare
from expmgr.storage.answers import readable
from expmgr.storage.azure_errors import because
from expmgr.storage.blob_path import is_addressable
from expmgr.text import keep_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor

    from azure.storage.blob import BlobClient, BlobProperties, ContainerClient

    from expmgr.storage.location import Location

__all__ = ["StorageRestoration", "recover_all"]

_POLL = 1.0  # seconds between looks at a copy that is under way
_COPY_DEADLINE = 300.0


@dataclass(frozen=True)
class StorageRestoration:
    """What a restoration brought back.

    Attributes
    ----------
    files, bytes
        Blobs and bytes that are there again.
    seconds
        Wall time.
    failed
        Names that could not be brought back.
    present
        Blobs that were there already and were left as they are.
    log
        One line for each thing worth knowing.
    """

    files: int
    bytes: int
    seconds: float
    failed: tuple[str, ...] = ()
    present: int = 0
    log: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        keep_plain(self, "log")


@dataclass(frozen=True)
class Recoverable:
    """One blob that the account still keeps.

    Attributes
    ----------
    name, bytes
        The blob.
    undelete
        True where it, or its versions, are soft-deleted.
    version_id
        The version to copy back; None where undelete is all.
    """

    name: str
    bytes: int
    undelete: bool
    version_id: str | None = None


def find_recoverable(
    container: ContainerClient, location: Location
) -> tuple[list[Recoverable], int]:
    """List what a location still holds out of sight.

    Returns
    -------
    tuple
        What can be brought back, and how many blobs are there anyway.
    """
    found: list[Recoverable] = []
    present = 0
    for name, entries in _by_name(container, location):
        if any(_is_live(entry) for entry in entries):
            present += 1
            continue
        versions = [entry for entry in entries if entry.version_id is not None]
        if versions:
            alive = [entry for entry in versions if not entry.deleted]
            # Version ids are times in one format, so the newest is the greatest.
            newest = max(alive or versions, key=lambda entry: str(entry.version_id))
            found.append(Recoverable(name, newest.size or 0, not alive, newest.version_id))
        else:
            base = [entry for entry in entries if entry.deleted and entry.snapshot is None]
            if base:
                found.append(Recoverable(name, base[-1].size or 0, undelete=True))
    return found, present


def _by_name(
    container: ContainerClient, location: Location
) -> Iterator[tuple[str, list[BlobProperties]]]:
    """Group a listing, which is in the order of names, by name."""
    name = ""
    entries: list[BlobProperties] = []
    for entry in _listed(container, location):
        if not location.holds(entry.name) or not is_addressable(entry.name):
            continue
        if entries and entry.name != name:
            yield name, entries
            entries = []
        name = entry.name
        entries.append(entry)
    if entries:
        yield name, entries


def _listed(container: ContainerClient, location: Location) -> Iterator[BlobProperties]:
    """List what is kept; one that goes in circles is refused, see `listing_check.Advance`."""
    seen: set[str] = set()
    token: str | None = None
    while True:
        with readable(f"the answer for {location.prefix!r}"):
            pages = container.list_blobs(
                name_starts_with=location.prefix, include=["deleted", "versions"]
            ).by_page(continuation_token=token)
            page = list(next(pages, iter(())))
            token = getattr(pages, "continuation_token", None)
        yield from page
        if not token:
            return
        if token in seen:
            raise StorageError(
                f"the listing of {location.prefix!r} gives the same NextMarker again: it would "
                "never end"
            )
        seen.add(token)


def _is_live(entry: BlobProperties) -> bool:
    if entry.deleted or entry.snapshot is not None:
        return False
    return entry.version_id is None or bool(entry.is_current_version)


def recover_all(
    container: ContainerClient,
    locations: Iterable[Location],
    pool: Executor,
    *,
    again: Callable[[], Callable[..., Any]],
) -> StorageRestoration:
    """Bring back everything that is still kept below some locations, several at once.

    Parameters
    ----------
    container
        Client of the container.
    locations
        Where to look.
    pool
        Runs the requests.
    again
        Makes a retry loop, to be called with a function and its arguments.

    Raises
    ------
    StorageError
        Where the listing failed or nothing could be brought back, with Azure's error as the cause.
    """
    from azure.core.exceptions import AzureError

    begun = time.monotonic()
    found: list[Recoverable] = []
    present = 0
    for location in locations:
        try:
            more, there = again()(find_recoverable, container, location)
        except AzureError as error:
            raise StorageError(
                f"listing what was deleted below {location.prefix!r} failed: {because(error)}"
            ) from bare(error)
        found += more
        present += there
    futures = [(blob, pool.submit(again(), _recover, container, blob)) for blob in found]
    files = 0
    size = 0
    failed: list[str] = []
    log: list[str] = []
    first: Exception | None = None
    for blob, future in futures:
        try:
            future.result()
        except (AzureError, StorageError) as error:
            first = first or error
            failed.append(blob.name)
            log.append(f"{blob.name}: {because(error)}")
        else:
            files += 1
            size += blob.bytes
    if first is not None and not files:
        raise StorageError(
            f"nothing could be restored: {because(first)}; {failed[0]!r} was the first that failed"
        ) from bare(first)
    return StorageRestoration(
        files, size, time.monotonic() - begun, tuple(failed), present, tuple(log)
    )


def _recover(container: ContainerClient, blob: Recoverable) -> None:
    with readable(f"the answer about {blob.name!r}"):
        _undelete(container.get_blob_client(blob.name), container, blob)


def _undelete(client: BlobClient, container: ContainerClient, blob: Recoverable) -> None:
    if blob.undelete:
        client.undelete_blob()
    if blob.version_id is None:
        return
    source = container.get_blob_client(blob.name, version_id=blob.version_id).url
    if "versionid=" not in source:
        source = f"{source}?versionid={blob.version_id}"
    # The service reads the source of a copy with the source URL's own authorisation.
    sas = getattr(container.credential, "signature", None)
    if sas:
        source = f"{source}&{sas}"
    status: Any = client.start_copy_from_url(source)["copy_status"]
    deadline = time.monotonic() + _COPY_DEADLINE
    while status == "pending" and time.monotonic() < deadline:
        threading.Event().wait(_POLL)
        status = client.get_blob_properties().copy.status
    if status != "success":
        raise StorageError(
            f"copying the previous version of {blob.name!r} back ended as {status!r}: look at it "
            "in the portal"
        )
