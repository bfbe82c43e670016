"""Small blobs of the journal, written and deleted only as the writer last saw them.

https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.errors import ConflictError, LocationError, StorageError
from expmgr.secrecy import bare
from expmgr.storage.answers import readable
from expmgr.storage.azure_errors import because, status_of
from expmgr.storage.blob_path import JOURNAL_PREFIX, check_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.storage.blob import BlobClient, ContainerClient

__all__ = ["check_journal_name", "delete_journal_blob", "write_journal_blob"]

_LARGEST = 1_000_000  # bytes
_REFUSED = range(400, 500)  # before anything was done
_TIMED_OUT = 408
_NOT_FOUND = 404
_EXISTS_OR_CHANGED = frozenset({409, 412})


def check_journal_name(name: str) -> str:
    """Return a blob name as it is where it is one of the journal. Pure.

    Raises
    ------
    LocationError
        It is not: models must not be overwritten through here.
    """
    if not name.startswith(f"{JOURNAL_PREFIX}/"):
        raise LocationError(f"{name!r} is not below {JOURNAL_PREFIX!r}: nothing was touched")
    return check_path(name, what="journal blob")


def write_journal_blob(
    container: ContainerClient,
    name: str,
    text: str,
    *,
    replaces: str | None,
    again: Callable[[], Callable[..., Any]],
) -> str:
    """Write a blob where there is none, or in place of the one with the tag ``replaces``.

    Returns the new tag. An answer that was lost is found out about at the next attempt: what is
    there then is compared with what was written.

    Raises
    ------
    ConflictError, LocationError, StorageError
        See `expmgr.storage.protocol.Storage.write_text`.
    """
    from azure.core import MatchConditions
    from azure.core.exceptions import AzureError
    from azure.storage.blob import ContentSettings

    client = container.get_blob_client(check_journal_name(name))
    content = text.encode()
    if len(content) > _LARGEST:
        raise StorageError(f"{name!r} would be {len(content):,} bytes: too much for a journal")
    options: dict[str, Any] = {"overwrite": False}
    if replaces is not None:
        options = {
            "overwrite": True,
            "etag": f'"{replaces}"',
            "match_condition": MatchConditions.IfNotModified,
        }
    unclear = False

    def write() -> str:
        nonlocal unclear
        try:
            with readable(f"the answer about {name!r}"):
                answer = client.upload_blob(
                    content,
                    content_settings=ContentSettings(content_type="application/json"),
                    **options,
                )
                return str(answer["etag"]).strip('"')
        except AzureError as error:
            status = status_of(error)
            if status in _EXISTS_OR_CHANGED and unclear:
                tag = _tag_of(client, content)
                if tag is not None:
                    return tag
            unclear = unclear or status not in _REFUSED or status == _TIMED_OUT
            raise

    try:
        return str(again()(write))
    except AzureError as error:
        if status_of(error) in _EXISTS_OR_CHANGED:
            raise ConflictError(
                f"{name!r} was written by somebody else meanwhile: read it again"
            ) from bare(error)
        raise StorageError(f"writing {name!r} failed: {because(error)}") from bare(error)


def delete_journal_blob(
    container: ContainerClient, name: str, *, etag: str, again: Callable[[], Callable[..., Any]]
) -> None:
    """Delete a blob that still has a tag; one that is gone is as good.

    Raises
    ------
    ConflictError, LocationError, StorageError
        See `expmgr.storage.protocol.Storage.delete_text`.
    """
    from azure.core import MatchConditions
    from azure.core.exceptions import AzureError

    client = container.get_blob_client(check_journal_name(name))

    def delete() -> None:
        try:
            with readable(f"the answer about {name!r}"):
                client.delete_blob(etag=f'"{etag}"', match_condition=MatchConditions.IfNotModified)
        except AzureError as error:
            # To If-Match on a missing blob Azurite answers 412; "changed" is believed after a look.
            status = status_of(error)
            if status == _NOT_FOUND or (status in _EXISTS_OR_CHANGED and not _exists(client)):
                return
            raise

    try:
        again()(delete)
    except AzureError as error:
        if status_of(error) in _EXISTS_OR_CHANGED:
            raise ConflictError(f"{name!r} changed meanwhile, and was left") from bare(error)
        raise StorageError(f"deleting {name!r} failed: {because(error)}") from bare(error)


def _exists(client: BlobClient) -> bool:
    with readable(f"the answer about {client.blob_name!r}"):
        return client.exists()


def _tag_of(client: BlobClient, content: bytes) -> str | None:
    """Return the tag of what is there where it is this very content, else None."""
    with readable(f"the answer about {client.blob_name!r}"):
        stream = client.download_blob(offset=0, length=len(content) + 1, max_concurrency=1)
        return str(stream.properties.etag).strip('"') if stream.readall() == content else None
