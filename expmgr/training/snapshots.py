"""A file or folder of this machine held still while it is uploaded: copied, or linked.

A trainer goes on writing. The snapshot lies beside what it was taken of (the same disk, and no
temporary folder in memory that a large checkpoint would fill) and goes when it is done with. One
that a killed process left goes when the next is made there: each is locked while it is in use, and
the lock dies with its process.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from expmgr.errors import InvalidInputError, StorageError
from expmgr.text import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Snapshot", "own_folder", "take_snapshot", "temporary_snapshot"]

logger = logging.getLogger(__name__)

_PREFIX = ".expmgr-checkpoint-"
_LOCK = "lock"
_CARD = "MLmodel"


@dataclass
class Snapshot:
    """Files that nobody else writes to.

    Attributes
    ----------
    folder
        Where they lie.
    linked
        Files that share their content with the trainer's own, with their size and time of
        modification then.
    """

    folder: Path
    linked: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    _parent: Path | None = None
    _lock: IO[bytes] | None = None

    def check(self) -> None:
        """Raise StorageError where a linked file was written to since."""
        changed = [path for path, before in self.linked.items() if _signature(path) != before]
        if changed:
            name = changed[0].relative_to(self.folder).as_posix()
            message = (
                f"{name} was written to while it was uploaded, so what was uploaded may be half of "
                "each; leave out link=True (and wait=True) for files that are written to in place."
            )
            raise StorageError(message)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self._parent or self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()


def take_snapshot(path: Path, *, link: bool = False) -> Snapshot:
    """Hold a file or a folder still; a file lies in the snapshot's folder under its own name.

    Parameters
    ----------
    link
        Link the files in place of copying them, where the disk can: for files that may be replaced
        or deleted, but are not written to in place. The ``MLmodel`` file is copied always.

    Raises
    ------
    InvalidInputError
        There is no such file or folder, or it is empty.
    StorageError
        It could not be copied.
    """
    sources = dict(_sources(path))
    if not sources:
        raise InvalidInputError(f"{path} is an empty folder: it is no checkpoint.")
    snapshot = _empty_beside(path)
    try:
        snapshot.folder.mkdir()
        linked: dict[Path, tuple[int, int]] = {}
        for name, source in sources.items():
            target = snapshot.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if link and name != _CARD and _linked(source, target):
                linked[target] = _signature(target)
            else:
                shutil.copyfile(source, target)
        snapshot.linked = linked
    except OSError as error:
        snapshot.close()
        message = f"the checkpoint {path} could not be copied to {snapshot.folder}: {words(error)}"
        raise StorageError(message) from error
    except BaseException:
        snapshot.close()
        raise
    return snapshot


def temporary_snapshot() -> Snapshot:
    """Return an empty one where temporary files lie, for a model that is saved into it."""
    parent = Path(tempfile.mkdtemp(prefix=_PREFIX))
    return Snapshot(parent / "model", {}, parent)


def own_folder(root: Path) -> Snapshot:
    """Return an empty folder below another one, of this process; one that is killed leaves none."""
    own = _empty_beside(root / _LOCK)
    own.folder.mkdir()
    return own


def _sources(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files by their names below a folder, links followed; a file by its own name."""
    if path.is_file():
        if path.name == _CARD:
            raise InvalidInputError(f"{path} is MLflow's card of a model: give its folder.")
        yield path.name, path
        return
    if not path.is_dir():
        raise InvalidInputError(f"there is no file or folder {path} to save as a checkpoint.")
    for folder, below, names in os.walk(path, followlinks=True):
        here = Path(folder)
        if here.resolve() in _above(here, path):
            below.clear()  # a link to a folder that it lies in
            continue
        for name in names:
            source = here / name
            if source.is_file():
                yield source.relative_to(path).as_posix(), source


def _above(folder: Path, root: Path) -> set[Path]:
    """Return the folders on the way from the root to a folder, as they really are."""
    return {one.resolve() for one in folder.parents if one == root or root in one.parents}


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source.resolve(), target)
    except OSError:
        return False  # another disk, or one that has no links
    return True


def _signature(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _empty_beside(path: Path) -> Snapshot:
    """Return a new empty snapshot on the same disk, else where temporary files lie."""
    beside = path.resolve().parent
    _sweep(beside)
    try:
        parent = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=beside))
    except OSError:
        parent = Path(tempfile.mkdtemp(prefix=_PREFIX))
    return Snapshot(parent / "model", {}, parent, _locked(parent))


def _locked(parent: Path) -> IO[bytes] | None:
    try:
        import fcntl
    except ImportError:
        return None  # no leftovers are known then, and none are removed
    lock = (parent / _LOCK).open("wb")
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _sweep(folder: Path) -> None:
    """Remove the snapshots of processes that died."""
    try:
        import fcntl
    except ImportError:
        return
    for left in folder.glob(f"{_PREFIX}*"):
        try:
            with (left / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                logger.info("removing %s, which a killed process left", left)
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue  # in use, being made, or gone
