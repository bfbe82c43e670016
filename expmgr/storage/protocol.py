"""What a store can do for the rest of the package, which knows no other word for where models lie.

Whoever writes another store makes it pass ``tests/test_store_conformance.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import threading
    from collections.abc import (
        Callable,
        Collection,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from contextlib import AbstractContextManager
    from datetime import datetime

    from expmgr.results import DeletionProgress
    from expmgr.storage.addresses import Addresses
    from expmgr.storage.listing import Blob, Listing
    from expmgr.storage.location import Location
    from expmgr.storage.restoration import StorageRestoration
    from expmgr.storage.retention import Retention
    from expmgr.storage.transfer import RemoteFolder

__all__ = ["DeletionOrder", "Storage", "StorageDeletion"]


@dataclass(frozen=True)
class StorageDeletion:
    """What a deletion removed.

    Attributes
    ----------
    files, bytes
        Blobs and bytes removed by this call; directory stubs are not counted. 0 where nothing
        was there.
    attempts
        Attempts made.
    seconds
        Wall time.
    kept
        Blobs that were left because they are not what the plan saw.
    log
        One line an attempt.
    permanent
        True where the service said of every blob that it is gone for good, False where it said
        of some that it can still be recovered (soft delete), None where it did not say.
    """

    files: int
    bytes: int
    attempts: int
    seconds: float
    kept: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    permanent: bool | None = None


@dataclass(frozen=True, eq=False)
class DeletionOrder:
    """One deletion of several that are made together, see `Storage.delete` for what is meant."""

    locations: Sequence[Location]
    etags: Mapping[str, str] | None = None
    sizes: Mapping[str, int] | None = None
    not_after: datetime | None = None
    only: Collection[str] | None = None
    on_progress: Callable[[DeletionProgress], None] | None = None
    total_files: int | None = None
    total_bytes: int | None = None


@runtime_checkable
class Storage(Protocol):
    """One container. Safe to use from several threads; it retries by itself what may pass.

    Names are whole blob names, prefixes end with a slash ("" is the container). Whatever does not
    work raises StorageError, unless another error is named.
    """

    @property
    def addresses(self) -> Addresses:
        """From an artifact URI to a path or location here, and back."""

    # ---------------------------------------------------------------------------------- reading

    def list(self, prefix: str, *, cancel: threading.Event | None = None) -> Iterator[Blob]:
        """Yield the blobs below a prefix, each once, in the order of their names."""

    def exists(self, prefix: str) -> bool:
        """Return whether a blob is below a prefix."""

    def folders(self, prefix: str) -> frozenset[str]:
        """Return the names of the folders right below a prefix."""

    def measure(self, location: Location, *, cancel: threading.Event | None = None) -> Listing:
        """Return how much is in a location, and exactly which versions of which blobs."""

    def measure_together(
        self, locations: Sequence[Location], *, cancel: threading.Event | None = None
    ) -> Mapping[Location, Listing]:
        """Return what is in those of many locations that a few listings show.

        The others are missing, and so is a location in which nothing was seen: each is measured by
        itself then.
        """

    def read_text(self, name: str, *, limit: int = 1_000_000) -> str:
        """Return the beginning of a small text blob, up to ``limit`` bytes."""

    # --------------------------------------------------------------------------------- deleting

    def delete(
        self,
        locations: Sequence[Location],
        *,
        etags: Mapping[str, str] | None = None,
        sizes: Mapping[str, int] | None = None,
        not_after: datetime | None = None,
        only: Collection[str] | None = None,
        on_progress: Callable[[DeletionProgress], None] | None = None,
        cancel: threading.Event | None = None,
        total_files: int | None = None,
        total_bytes: int | None = None,
    ) -> StorageDeletion:
        """Delete everything below some locations, and nothing else; the end is seen in a listing.

        With ``etags`` (name to tag) or ``not_after`` blobs that are not what a plan saw stay and
        are ``kept``. With ``only`` these names alone are deleted, at every attempt: whatever else
        lies in the locations is neither deleted nor ``kept`` nor left, and the end is a listing
        without them. A location's marker goes last where it says so. Raises LocationError before
        the first request where a location is not safe or one of these names is in none,
        DeletionError where something is left, and DeletionCancelledError.
        """

    def delete_together(
        self, orders: Iterable[DeletionOrder], *, cancel: threading.Event | None = None
    ) -> Generator[tuple[DeletionOrder, StorageDeletion | Exception]]:
        """Carry out several deletions, each as `delete` does, and yield how each ended, as it does.

        Their requests may be shared; what goes, what is told and what fails is each one's own. An
        order may be sent for as soon as it arrives.
        """

    def retention(self) -> Retention:
        """Return what is kept of deleted blobs, as far as that may be asked."""

    def undelete(self, locations: Sequence[Location]) -> StorageRestoration:
        """Bring back what was deleted below some locations and is still kept."""

    # ------------------------------------------------------------------------------ the journal

    def write_text(self, name: str, text: str, *, replaces: str | None = None) -> str:
        """Write a small blob of the journal (`blob_path.JOURNAL_PREFIX`), and return its tag.

        Parameters
        ----------
        replaces
            The tag of the one that it replaces; None where there must be none.

        Raises
        ------
        ConflictError
            Somebody else's is there.
        LocationError
            The name is not one of the journal.
        """

    def delete_text(self, name: str, *, etag: str) -> None:
        """Delete a blob of the journal that still has this tag; gone already is as good."""

    # -------------------------------------------------------------------------------- transfers

    def folder(self, location: Location) -> AbstractContextManager[RemoteFolder]:
        """Return a location to upload files to, and to download them from."""
