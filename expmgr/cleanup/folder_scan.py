"""What lies in the folders of a container that may be orphans, from one listing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from expmgr.catalog.files import outermost
from expmgr.catalog.model import NOTHING, Size
from expmgr.catalog.places import folder_of, paths_to
from expmgr.cleanup.counted import CountedListing, Stopped
from expmgr.errors import StorageError
from expmgr.sources import NO_SOURCE, Source
from expmgr.tracking.queries import ALL_EXPERIMENTS, select_experiments

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from mlflow.entities import Experiment

    from expmgr.catalog.places import Folder
    from expmgr.cleanup.inventory import CountBy
    from expmgr.cleanup.locate import Finder
    from expmgr.prices import StoragePrices
    from expmgr.storage.listing import Blob

__all__ = ["Seen", "chosen_experiments", "digest_of", "digest_of_row", "hex_of", "scan_folders"]

_DIGEST = 8  # bytes


@dataclass
class Seen:
    """What a listing showed of a folder.

    Attributes
    ----------
    digest
        See `digest_of`.
    monthly, early
        What it costs, where prices are known.
    """

    files: int = 0
    bytes: int = 0
    newest: datetime | None = None
    digest: int = 0
    monthly: float = 0.0
    early: float = 0.0

    def add(self, blob: Blob, size: Size) -> None:
        """Count a blob, and what it costs."""
        told = digest_of_row(blob.name, blob.etag)
        if blob.is_directory:
            self.add_files(told, NOTHING, None)
        else:
            self.add_files(told, size, blob.last_modified)

    def add_files(self, digest: int, size: Size, newest: datetime | None) -> None:
        """Count some blobs, by the sum of what they add to the digest."""
        self.digest = (self.digest + digest) % 2 ** (8 * _DIGEST)
        self.files += size.files
        self.bytes += size.bytes
        self.monthly += size.monthly
        self.early += size.early
        if newest is not None and (self.newest is None or newest > self.newest):
            self.newest = newest


def digest_of_row(name: str, etag: str) -> int:
    """Return what one file adds to a digest. Pure."""
    told = hashlib.blake2b(f"{name}\0{etag}".encode(), digest_size=_DIGEST).digest()
    return int.from_bytes(told, "big")


def digest_of(etags: Mapping[str, str]) -> str:
    """Return what tells whether some files are still those that were found, in any order. Pure."""
    total = sum(digest_of_row(name, etag) for name, etag in etags.items())
    return hex_of(total % 2 ** (8 * _DIGEST))


def hex_of(digest: int) -> str:
    """Return a digest as text."""
    return f"{digest:0{2 * _DIGEST}x}"


def chosen_experiments(
    every: Sequence[Experiment],
    selection: str | Iterable[str] | None,
    is_own: Callable[[Experiment], bool],
) -> list[Experiment]:
    """Return the experiments that a caller means, those in the trash among them.

    Raises
    ------
    NotFoundError
        A name or id that no experiment has.
    """
    gone = [experiment for experiment in every if experiment.lifecycle_stage == "deleted"]
    if selection is None:
        return [*select_experiments(every, None, is_own), *filter(is_own, gone)]
    if selection == ALL_EXPERIMENTS:
        return list(every)
    wanted = [selection] if isinstance(selection, str) else [str(item) for item in selection]
    named = {key: one for one in gone for key in (one.name, one.experiment_id)}
    found = [named[name] for name in wanted if name in named]
    live = [name for name in wanted if name not in named]
    return [*select_experiments(every, live, is_own), *found] if live else found


def scan_folders(
    finder: Finder,
    every: Sequence[Experiment],
    chosen: Sequence[Experiment] | None,
    *,
    prices: StoragePrices | None = None,
    inventory: CountBy | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
) -> tuple[dict[Folder, Seen], Source]:
    """List a container, or the roots of some experiments, by the folders that may be orphans.

    Parameters
    ----------
    chosen
        Whose roots are listed; None for the whole container.
    inventory
        Counts by a report, where one is asked for.
    on_progress
        Called now and then with files and bytes seen so far.

    Returns
    -------
    tuple
        The folders; and which report told of them, or why none did, see
        `expmgr.cleanup.usage.scan_storage`.

    Raises
    ------
    StorageError
        It could not be listed, or ``cancel`` was set: half a listing tells of no folder.
    """
    roots = frozenset(finder.homes(every))
    leading = paths_to(roots)
    source = NO_SOURCE
    if inventory is not None:
        asked = None if chosen is None else list(finder.homes(chosen))
        try:
            counted = inventory(
                asked, prices=prices, told_apart=True, on_progress=on_progress, cancel=cancel
            )
        except Stopped:
            raise StorageError("the reading of the report was cancelled") from None
        if not isinstance(counted, Source):
            return counted.folders(roots, asked), counted.source
        source = counted
    homes = [""] if chosen is None else list(finder.homes(chosen))
    wanted = [""] if "" in homes else list(outermost(homes))
    listing = CountedListing(finder, on_progress, cancel, prices)
    found: dict[Folder, Seen] = {}
    try:
        for root in wanted:
            for blob, size in listing.below(root):
                folder = folder_of(blob.name, roots, leading)
                if folder is not None:
                    found.setdefault(folder, Seen()).add(blob, size)
    except Stopped:
        raise StorageError("the listing was cancelled") from None
    listing.tell()
    return {folder: seen for folder, seen in found.items() if seen.files}, source
