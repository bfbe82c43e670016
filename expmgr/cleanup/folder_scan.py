"""What lies in the folders of a container that may be orphans, from one listing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from expmgr.catalog.files import outermost
from expmgr.catalog.places import folder_of, paths_to
from expmgr.storage.listing import use_of
from expmgr.tracking.queries import ALL_EXPERIMENTS, select_experiments

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mlflow.entities import Experiment

    from expmgr.catalog.places import Folder
    from expmgr.cleanup.locate import Finder
    from expmgr.prices import StoragePrices
    from expmgr.storage.listing import Blob

__all__ = ["Seen", "chosen_experiments", "digest_of", "hex_of", "scan_folders"]

_EVERY = 1000
"""Blobs between two calls of the progress callback."""
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

    def add(self, blob: Blob) -> None:
        """Count a blob."""
        self.digest = (self.digest + _digest(blob.name, blob.etag)) % 2 ** (8 * _DIGEST)
        if blob.is_directory:
            return
        self.files += 1
        self.bytes += blob.bytes
        if self.newest is None or blob.last_modified > self.newest:
            self.newest = blob.last_modified


def _digest(name: str, etag: str) -> int:
    told = hashlib.blake2b(f"{name}\0{etag}".encode(), digest_size=_DIGEST).digest()
    return int.from_bytes(told, "big")


def digest_of(etags: Mapping[str, str]) -> str:
    """Return what tells whether some files are still those that were found, in any order. Pure."""
    total = sum(_digest(name, etag) for name, etag in etags.items())
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
    on_progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
) -> dict[Folder, Seen]:
    """List a container, or the roots of some experiments, by the folders that may be orphans.

    Parameters
    ----------
    chosen
        Whose roots are listed; None for the whole container.
    on_progress
        Called now and then with files and bytes seen so far.

    Raises
    ------
    StorageError
        It could not be listed, or ``cancel`` was set: half a listing tells of no folder.
    """
    roots = frozenset(finder.homes(every))
    leading = paths_to(roots)
    homes = [""] if chosen is None else list(finder.homes(chosen))
    wanted = [""] if "" in homes else list(outermost(homes))
    now = datetime.now(timezone.utc)
    found: dict[Folder, Seen] = {}
    files = size = 0
    for root in wanted:
        for blob in finder.list_blobs(f"{root}/" if root else "", cancel=cancel):
            folder = folder_of(blob.name, roots, leading)
            if folder is None:
                continue
            seen = found.setdefault(folder, Seen())
            seen.add(blob)
            files += 1
            size += blob.bytes
            if files % _EVERY == 0 and on_progress is not None:
                on_progress(files, size)
            if prices is not None and not blob.is_directory:
                bill = prices.bill({blob.tier: use_of(blob, now)})
                seen.monthly += bill.monthly
                seen.early += bill.early
    if on_progress is not None:
        on_progress(files, size)
    return {folder: seen for folder, seen in found.items() if seen.files}
