"""What was learned of the container and of MLflow that still holds for the next table."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from expmgr.catalog.usage import ArtifactFolder
from expmgr.errors import LocationError
from expmgr.storage.blob_path import is_within
from expmgr.tracking.journal import now_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlflow.entities import LoggedModel

    from expmgr.catalog.quality import Entry
    from expmgr.catalog.usage import Scan
    from expmgr.cleanup.locate import Finder

__all__ = ["Memory"]


@dataclass
class Memory:
    """Remembers what was measured until it is forgotten, and what never changes.

    Attributes
    ----------
    strangers
        LoggedModels that no search lists, by id.
    inputs
        Models that a run names as inputs, by run id.
    proved
        See `expmgr.catalog.protection.candidates`.
    """

    strangers: dict[str, LoggedModel] = field(default_factory=dict)
    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    proved: dict[Entry, bool | None] = field(default_factory=dict)
    _paths: dict[tuple[str, str], str | None] = field(default_factory=dict)
    _roots: tuple[str, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _folders: dict[str, tuple[ArtifactFolder, int]] = field(default_factory=dict)
    _scanned: dict[str, int] = field(default_factory=dict)
    _forgotten: dict[str, int] = field(default_factory=dict)
    _touched: dict[str, int] = field(default_factory=dict)
    _count: int = 0
    _scanned_at: int = 0

    @property
    def mark(self) -> int:
        """What `since` takes to tell what came after now."""
        return self._count

    def touch(self, ids: Iterable[str]) -> None:
        """Note that this manager changed some runs and models, which no search by time shows."""
        with self._lock:
            self._count += 1
            self._touched.update(dict.fromkeys(filter(None, ids), self._count))

    def since(self, mark: int) -> tuple[frozenset[str], bool]:
        """Return what this manager changed since a mark, and whether the container was scanned."""
        with self._lock:
            ids = frozenset(id_ for id_, count in self._touched.items() if count > mark)
            return ids, self._scanned_at > mark

    def path_of(self, model: LoggedModel, finder: Finder) -> str | None:
        """Return where a LoggedModel lies, None where that is not ours to touch.

        A location never changes, and the guard's answer only with the roots that it knows.
        """
        if finder.roots != self._roots:
            self._paths, self._roots = {}, finder.roots
        key = (model.model_id, model.artifact_location)
        if key not in self._paths:
            try:
                location = finder.addresses.logged_model(model.artifact_location, model.model_id)
                self._paths[key] = finder.check(location).path
            except LocationError:
                self._paths[key] = None
        return self._paths[key]

    def forget(self, ids: Iterable[str]) -> None:
        """Note that what was measured of some runs and models no longer holds."""
        gone = list(ids)
        with self._lock:
            self._forgotten.update(dict.fromkeys(gone, now_ms()))
        self.touch(gone)

    def remember(self, scan: Scan) -> None:
        """Keep what a scan of the container measured, in place of what was known there.

        An older one, by a report, changes nothing where something newer is known.
        """
        with self._lock:
            self._count += 1
            self._scanned_at = self._count
            for path, (_, began) in list(self._folders.items()):
                if began <= scan.began and scan.folder(path) is not None:
                    del self._folders[path]
            for root, usage in scan.roots.items():
                newer = [
                    path
                    for path, began in self._scanned.items()
                    if began > scan.began and (not path or is_within(root, path))
                ]
                if newer:
                    continue
                self._scanned[root] = scan.began
                for path, folder in usage.folders.items():
                    self._folders.setdefault(path, (folder, scan.began))

    def measured(self, path: str, changed: int) -> ArtifactFolder | None:
        """Return what lies in an artifacts folder, None where nothing is known that still holds.

        Parameters
        ----------
        changed
            When its owner was last changed, in milliseconds since 1970: an older measurement may
            have missed what came since.
        """
        found = self._folders.get(path)
        if found is None:
            began = max(
                (at for root, at in self._scanned.items() if not root or is_within(path, root)),
                default=None,
            )
            if began is None:
                return None
            found = (ArtifactFolder(), began)
        folder, began = found
        owners = path.split("/")[-3:]
        if began <= changed or any(self._forgotten.get(owner, 0) > began for owner in owners):
            return None
        return folder
