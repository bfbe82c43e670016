"""Counting a container by the account's own report of it, see `expmgr.storage.inventory`."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Protocol

from expmgr.catalog.files import outermost
from expmgr.catalog.model import NOTHING
from expmgr.catalog.places import folder_of, paths_to
from expmgr.catalog.usage import Scan, attribute_directories
from expmgr.cleanup.counted import Stopped
from expmgr.cleanup.folder_scan import Seen
from expmgr.cleanup.inventory_tally import count
from expmgr.errors import StorageError
from expmgr.sources import Source
from expmgr.storage.blob_path import is_within
from expmgr.storage.inventory import newest_report, report_place
from expmgr.storage.inventory_rows import ReportRows

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager

    from expmgr.catalog.places import Folder
    from expmgr.catalog.usage import Directory
    from expmgr.cleanup.inventory_tally import Tally
    from expmgr.prices import StoragePrices
    from expmgr.storage.blob_store import BlobStore
    from expmgr.storage.inventory import Report, ReportFile
    from expmgr.storage.ranged_blob import RangedBlob

__all__ = ["CountBy", "Counted", "Inventory"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counted:
    """What a report says of a container, by directory."""

    report: Report
    tally: Tally
    directories: Sequence[Directory]
    prices: StoragePrices | None

    @property
    def source(self) -> Source:
        """Which report it was, how old it is now, and what it does not tell."""
        return Source(self.report.words(datetime.now(timezone.utc)), self.report.taken)

    def scan(self, every: Collection[str], wanted: Collection[str] | None) -> Scan:
        """Return what listings would have found when the report was taken.

        Parameters
        ----------
        every
            Paths of all experiments' roots.
        wanted
            Those that are asked about; None for the whole container.
        """
        whole = attribute_directories(self.directories, every)
        began = int(self.report.taken.timestamp() * 1000)
        if wanted is None:
            return Scan(whole.roots, whole.journal, whole.unknown, began, whole.kept)
        tops = _tops(wanted)
        roots = {
            path: usage
            for path, usage in whole.roots.items()
            if any(not top or is_within(path, top) for top in tops)
        }
        return Scan(roots, began=began)

    def folders(self, every: Collection[str], wanted: Collection[str] | None) -> dict[Folder, Seen]:
        """Return the folders that may be orphans, as `expmgr.cleanup.folder_scan.scan_folders`."""
        roots = frozenset(every)
        leading = paths_to(roots)
        tops = None if wanted is None else _tops(wanted)
        directories = {one.path: one for one in self.directories}
        found: dict[Folder, Seen] = {}
        for path, digest in self.tally.digests.items():
            if tops is not None and not any(not top or is_within(path, top) for top in tops):
                continue
            folder = folder_of(f"{path}/-" if path else "-", roots, leading)
            if folder is not None:
                one = directories.get(path)
                size = NOTHING if one is None else one.size
                seen = found.setdefault(folder, Seen())
                seen.add_files(digest, size, self.tally.newest_in(path))
        return {folder: seen for folder, seen in found.items() if seen.files}


class CountBy(Protocol):
    """Counts by a report, see `Inventory.count`."""

    def __call__(
        self,
        roots: Collection[str] | None,
        /,
        *,
        prices: StoragePrices | None = None,
        told_apart: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Counted | Source:
        """Return what the report says, or the source that a listing is, with the reason."""


@dataclass
class Inventory:
    """Reads the newest report that can be used; what it read last is kept.

    Attributes
    ----------
    blob_store
        The container that is asked about.
    """

    blob_store: BlobStore
    _last: Counted | None = field(default=None, repr=False)

    def count(
        self,
        inventory: bool | str,
        roots: Collection[str] | None,
        *,
        prices: StoragePrices | None = None,
        told_apart: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Counted | Source:
        """Return what the report says, or the source that a listing is, with the reason.

        Parameters
        ----------
        inventory
            See `expmgr.storage.inventory.report_place`.
        roots
            Below which it must tell everything; None for the whole container.
        told_apart
            Whether it must tell which files a directory is made of.

        Raises
        ------
        InvalidInputError
            ``inventory`` names no place.
        Stopped
            It was cancelled.
        """
        own = self.blob_store.store
        container, folders = report_place(inventory, own.container)
        needs = {"name", "contentlength"}
        needs |= {"accesstier"} if prices is not None else set()
        needs |= {"etag", "lastmodified"} if told_apart else set()
        try:
            with closing(self.blob_store.beside(container)) as storage:
                report = newest_report(
                    storage,
                    folders,
                    account=own.account,
                    container=own.container,
                    roots=[""] if roots is None else _tops(roots),
                    needs=needs,
                )
                last = self._last
                same = last is not None and (last.report, last.prices) == (report, prices)
                if last is not None and same and (last.tally.told_apart or not told_apart):
                    return last
                rows = ReportRows(report, partial(_opened, storage))
                tally = count(
                    rows,
                    own.container,
                    priced=prices is not None,
                    told_apart=told_apart,
                    on_progress=on_progress,
                    cancel=cancel,
                )
        except StorageError as error:
            if cancel is not None and cancel.is_set():
                raise Stopped from error
            why = f"The container was listed: {error}"
            _logger.warning("%s", why)
            return Source(why)
        self._last = Counted(report, tally, tally.directories(prices), prices)
        return self._last


def _opened(storage: BlobStore, file: ReportFile) -> AbstractContextManager[RangedBlob]:
    return storage.opened(file.name, file.bytes, file.etag)


def _tops(roots: Collection[str]) -> tuple[str, ...]:
    return ("",) if "" in roots else outermost(roots)
