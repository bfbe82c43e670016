"""Whether an answer is the listing that was asked for, and whether a listing advances. Pure.

What a listing does not show is taken for gone, and what it shows is deleted: so an answer about
another container or prefix is no answer, and one that goes in circles is none either.
Format: https://learn.microsoft.com/rest/api/storageservices/list-blobs
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from expmgr.errors import StorageError
from expmgr.storage.store import parse_host

if TYPE_CHECKING:
    from collections.abc import Iterable

    from expmgr.storage.listing import Page
    from expmgr.storage.listing_xml import Enumeration

__all__ = ["Advance", "why_not_a_listing"]

_EMPTY_PAGES = 1000  # in a row; the service may answer with a few


def why_not_a_listing(
    answer: Enumeration[Any], *, account: str, container: str, prefix: str
) -> str:
    """Return why an answer is not a listing of this prefix, "" where it is one.

    The service repeats what it was asked: ``ServiceEndpoint`` and ``ContainerName``, and
    ``Prefix`` where one was given. An endpoint that does not tell an account (a custom domain)
    proves nothing and is not held against it.
    """
    if answer.tag != "EnumerationResults":
        return f"it is <{answer.tag[:80]}>"
    if not answer.has_blobs:
        return "it has no <Blobs>"
    theirs = answer.container.rstrip("/").rpartition("/")[2]
    if theirs != container:
        return f"it is about container {theirs[:80]!r}"
    host = parse_host(urlsplit(answer.endpoint).hostname or "")
    if host is not None and host.account != account:
        return f"it is about account {host.account!r}"
    if answer.prefix != prefix:
        return f"it is about the prefix {answer.prefix[:200]!r}"
    return ""


class Advance:
    """Follows the pages of one listing and refuses one that strays or does not advance.

    Parameters
    ----------
    prefix
        What was asked for.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._last: dict[str, str] = {}
        self._tokens: set[str] = set()
        self._empty = 0

    def check(self, page: Page) -> Page:
        """Return the page as it is where it goes on from the last one.

        Raises
        ------
        StorageError
            For names that are not below the prefix or not in ascending order (a repeated one is
            not), a ``NextMarker`` that came before, and a thousand empty pages in a row.
        """
        self._ascend("blob", (blob.name for blob in page.blobs))
        self._ascend("folder", page.folders)
        self._empty = 0 if page.blobs or page.folders else self._empty + 1
        if page.token is not None:
            if page.token in self._tokens:
                raise self._refused("gives the same NextMarker again: it would never end")
            if self._empty >= _EMPTY_PAGES:
                raise self._refused(f"gave {self._empty:,} empty pages in a row: it may never end")
            self._tokens.add(page.token)
        return page

    def _ascend(self, kind: str, names: Iterable[str]) -> None:
        last = self._last.get(kind)
        for name in names:
            if not name.startswith(self._prefix):
                raise self._refused(
                    f"returned {name!r}, which is not below it: nothing of it was deleted"
                )
            if last is not None and not _ascends(last, name):
                raise self._refused(f"returned {name!r} after {last!r}: out of order or repeated")
            last = name
        if last is not None:
            self._last[kind] = last

    def _refused(self, why: str) -> StorageError:
        return StorageError(f"the listing of {self._prefix or 'everything'!r} {why}")


def _ascends(one: str, two: str) -> bool:
    """Return True where a name comes after another in an order that a service may use.

    Code points; UTF-16 units, as Azurite sorts; or a slash before all else, as hierarchical
    accounts list their directories.
    """
    if one < two:
        return True
    if one == two:
        return False
    if one.replace("/", "\0") < two.replace("/", "\0"):
        return True
    return one.encode("utf-16-be", "surrogatepass") < two.encode("utf-16-be", "surrogatepass")
