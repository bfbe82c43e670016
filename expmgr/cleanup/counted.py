"""Listings that tell how far they have come, and what each blob costs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from expmgr.catalog.model import NOTHING, Size
from expmgr.errors import StorageError
from expmgr.storage.listing import use_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from expmgr.cleanup.locate import Finder
    from expmgr.prices import StoragePrices
    from expmgr.storage.listing import Blob

__all__ = ["CountedListing", "Stopped"]

_EVERY = 1000
"""Blobs between two calls of the progress callback."""


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked to stop
    """The listing was cancelled."""


@dataclass
class CountedListing:
    """Counts what listings yield, and tells the caller now and then.

    Attributes
    ----------
    on_progress
        Called with the files and bytes seen so far.
    prices
        None where it is not asked what they cost.
    """

    finder: Finder
    on_progress: Callable[[int, int], None] | None
    cancel: threading.Event | None
    prices: StoragePrices | None = None
    files: int = 0
    bytes: int = 0

    def below(self, path: str) -> Iterator[tuple[Blob, Size]]:
        """Yield what lies below a path, "" for the container; stubs of directories are no files.

        Raises
        ------
        Stopped
            It was cancelled.
        """
        now = datetime.now(timezone.utc)
        for blob in self._blobs(f"{path}/" if path else ""):
            if blob.is_directory:
                yield blob, NOTHING
                continue
            self.files += 1
            self.bytes += blob.bytes
            if self.files % _EVERY == 0:
                self.tell()
            if self.prices is None:
                yield blob, Size(1, blob.bytes)
            else:
                bill = self.prices.bill({blob.tier: use_of(blob, now)})
                yield blob, Size(1, blob.bytes, bill.monthly, bill.early)

    def _blobs(self, prefix: str) -> Iterator[Blob]:
        try:
            for blob in self.finder.list_blobs(prefix, cancel=self.cancel):
                if self.cancel is not None and self.cancel.is_set():
                    raise Stopped
                yield blob
        except StorageError as error:
            if self.cancel is not None and self.cancel.is_set():
                raise Stopped from error
            raise

    def tell(self) -> None:
        """Tell how far it has come."""
        if self.on_progress is not None:
            self.on_progress(self.files, self.bytes)
