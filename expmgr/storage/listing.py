"""What a container holds under a prefix: one page of a listing, and what is measured from it.

``ContainerClient.list_blobs`` builds a model object a blob, at 150..280 microseconds each.
``list_blob_names`` skips that; its ``raw_response_hook`` sees the page's XML, which is read there
once (`expmgr.storage.listing_xml`) and by nobody else, and its ``raw_request_hook`` asks for the
metadata that marks directories, or for the folders alone.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from expmgr.prices import MINIMUM_DAYS, TierUse
from expmgr.storage.answers import readable
from expmgr.storage.listing_check import why_not_a_listing
from expmgr.storage.listing_xml import read_enumeration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure.storage.blob import ContainerClient

__all__ = ["PAGE_SIZE", "Blob", "Listing", "Page", "Tally", "read_page", "use_of"]

PAGE_SIZE = 5000  # the most that the service returns in one answer
_OK = 200


@dataclass(frozen=True, slots=True)
class Blob:
    """One blob as a listing shows it.

    Attributes
    ----------
    name
        The whole name, as the container has it.
    bytes
        Content length.
    etag
        Its entity tag, without quotes.
    last_modified
        UTC, to the second.
    is_directory
        True for the empty stubs that stand for directories (metadata ``hdi_isfolder``, or a
        directory of a hierarchical account).
    tier
        Its access tier (``Hot``, ``Cool``, ``Cold``, ``Archive``), "" where it has none.
    tier_since
        Since when it is in a cooler tier, UTC; None in the others, which ask for no least time.
    """

    name: str
    bytes: int
    etag: str
    last_modified: datetime
    is_directory: bool = False
    tier: str = ""
    tier_since: datetime | None = None


@dataclass(frozen=True)
class Listing:
    """What was under a location when it was measured.

    Attributes
    ----------
    files, bytes
        Blobs and their bytes; directory stubs are not counted.
    etags
        Name to entity tag, directory stubs included: what a later deletion may remove.
    listed_at
        The server's own time when the listing began (from its ``Date`` header), UTC.
    sizes
        Name to bytes; directory stubs are not among them.
    tiers
        What of it lies in which access tier, as of ``listed_at``.
    """

    files: int
    bytes: int
    etags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    listed_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    sizes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    tiers: Mapping[str, TierUse] = field(default_factory=lambda: MappingProxyType({}), repr=False)


class Tally:
    """Counts the blobs of a location into a `Listing`.

    Parameters
    ----------
    listed_at
        The server's time when the listing began.
    """

    def __init__(self, listed_at: datetime) -> None:
        self._listed_at = listed_at
        self._bytes = 0
        self._etags: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._tiers: dict[str, TierUse] = {}

    def add(self, blob: Blob) -> None:
        """Count a blob."""
        self._etags[blob.name] = blob.etag
        if blob.is_directory:
            return
        self._sizes[blob.name] = blob.bytes
        self._bytes += blob.bytes
        use = self._tiers.get(blob.tier, TierUse())
        self._tiers[blob.tier] = use.plus(use_of(blob, self._listed_at))

    def listing(self) -> Listing:
        """Return what was counted."""
        return Listing(
            len(self._sizes),
            self._bytes,
            MappingProxyType(self._etags),
            self._listed_at,
            MappingProxyType(self._sizes),
            MappingProxyType(self._tiers),
        )


@dataclass(frozen=True)
class Page:
    """One page of a listing.

    Attributes
    ----------
    blobs
        In the order of their names.
    token
        Where the next page begins; None on the last one.
    date
        The server's time.
    folders
        The names below which there is more, with their trailing slash; where they were asked for.
    """

    blobs: tuple[Blob, ...]
    token: str | None
    date: datetime
    folders: tuple[str, ...] = ()


def read_page(
    container: ContainerClient,
    prefix: str,
    token: str | None = None,
    *,
    account: str,
    size: int = PAGE_SIZE,
    delimiter: str = "",
) -> Page:
    """Ask for one page of the blobs whose names begin with ``prefix``: one request, no retry.

    Parameters
    ----------
    container
        Client of the container.
    prefix
        With its trailing slash.
    token
        The previous page's ``token``.
    account
        Whose account the answer must be about.
    size
        Most blobs wanted.
    delimiter
        "/" for what lies right below the prefix: blobs, and folders in place of their blobs.

    Raises
    ------
    azure.core.exceptions.AzureError
        As the SDK raises it; ``DecodeError`` where a success is not the listing that was asked
        for. A page of some proxy must not pass for an empty listing, which says that all is gone.
    """
    from azure.core.exceptions import DecodeError

    answers: list[tuple[bytes, Mapping[str, str]]] = []
    extra = f"&delimiter={quote(delimiter, safe='')}" if delimiter else "&include=metadata"

    def ask_for_more(request: Any) -> None:
        url = request.http_request.url
        if extra not in url:
            request.http_request.url = url + extra

    def keep(response: Any) -> None:
        http = response.http_response
        if http.status_code == _OK:
            answers[:] = [(http.body(), http.headers)]
            _leave_undecoded(response.context)

    with readable(f"the answer for {prefix!r}"):
        pages = container.list_blob_names(
            name_starts_with=prefix,
            results_per_page=size,
            raw_request_hook=ask_for_more,
            raw_response_hook=keep,
        ).by_page(continuation_token=token)
        next(pages, None)
        body, headers = answers[-1]
        media_type = headers.get("Content-Type") or ""
        if "xml" not in media_type.partition(";")[0].lower():
            raise DecodeError(f"the answer for {prefix!r} is {media_type[:80]!r}, not XML")
        answer = read_enumeration(body, _blob)
        why = why_not_a_listing(
            answer, account=account, container=container.container_name, prefix=prefix
        )
        if why:
            raise DecodeError(f"the answer for {prefix!r} is not its listing: {why}")
        return Page(answer.blobs, answer.marker or None, _date(headers.get("Date")), answer.folders)


def _leave_undecoded(context: Any) -> None:
    """Keep azure-core from making a tree of an answer that is read here.

    The hook comes before ``ContentDecodePolicy``, which leaves what is asked for as a stream to
    whoever asked; the SDK finds an empty listing in the place where that puts what it decoded.
    """
    from azure.core.pipeline.policies import ContentDecodePolicy

    empty = ET.Element("EnumerationResults")
    ET.SubElement(empty, "Blobs")
    context.options["stream"] = True
    context[ContentDecodePolicy.CONTEXT_NAME] = empty


def _date(text: str | None) -> datetime:
    if not text:
        return datetime.now(timezone.utc)
    try:
        return _rfc1123(text)
    except (ValueError, OverflowError):
        return datetime.now(timezone.utc)


_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: f"{number:02}" for number, name in enumerate(_NAMES, 1)}


@functools.lru_cache(maxsize=4096)  # the files of a model were written within seconds
def _rfc1123(text: str) -> datetime:
    try:  # "Mon, 23 Nov 2026 04:32:55 GMT"; 8 times as fast as email.utils
        return datetime.fromisoformat(
            f"{text[12:16]}-{_MONTHS[text[8:11]]}-{text[5:7]}T{text[17:25]}+00:00"
        )
    except (KeyError, ValueError):
        return parsedate_to_datetime(text).astimezone(timezone.utc)


def _blob(name: str, properties: Mapping[str, str], is_directory: bool) -> Blob:
    told = properties.get
    size = int(told("Content-Length") or 0)
    if not name or size < 0:
        raise ValueError("an entry without a name, or with a length below zero")
    modified = _date(told("Last-Modified"))
    tier = told("AccessTier", "")
    cooler: datetime | None = None
    if tier in MINIMUM_DAYS:
        # Written again, a blob is created anew; until its tier is changed it is in it since then.
        since = told("AccessTierChangeTime") or told("Creation-Time")
        cooler = _date(since) if since else modified
    return Blob(
        name,
        size,
        told("Etag", "").strip('"'),
        modified,
        is_directory or told("ResourceType") == "directory",
        tier,
        cooler,
    )


def use_of(blob: Blob, at: datetime) -> TierUse:
    """Return what a blob uses of its tier at a time."""
    if blob.tier_since is None:
        return TierUse(blob.bytes)
    return TierUse.of(blob.bytes, blob.tier, (at - blob.tier_since).total_seconds())
