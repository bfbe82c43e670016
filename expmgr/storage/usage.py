"""Which run or model owns which blobs, from one listing of an experiment's root. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["NOTHING", "ArtifactFolder", "Scan", "Size", "artifact_folder", "attribute"]

_MARKER = "MLmodel"


class Size(NamedTuple):
    """Number of files and of bytes."""

    files: int
    bytes: int

    def plus(self, other: Size) -> Size:
        """Return the sum."""
        return Size(self.files + other.files, self.bytes + other.bytes)

    def minus(self, other: Size) -> Size:
        """Return the difference."""
        return Size(self.files - other.files, self.bytes - other.bytes)


NOTHING = Size(0, 0)


def artifact_folder(name: str, root: str) -> str | None:
    """Return the ``artifacts`` folder of a run or LoggedModel that a blob lies in.

    ``<root>/models/<id>/artifacts`` or ``<root>/<id>/artifacts``; None for anything else below the
    root (traces, strangers) and for what does not lie below it.
    """
    prefix = f"{root}/" if root else ""
    if not name.startswith(prefix):
        return None
    parts = name[len(prefix) :].split("/")
    depth = 3 if parts[0] == "models" else 2
    if parts[0] == "traces" or len(parts) <= depth or parts[depth - 1] != "artifacts":
        return None
    return prefix + "/".join(parts[:depth])


@dataclass
class ArtifactFolder:
    """The blobs of one ``artifacts`` folder: name below it to bytes."""

    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def size(self) -> Size:
        """Of everything in it."""
        return Size(len(self.sizes), sum(self.sizes.values()))

    def below(self, paths: Iterable[str]) -> Size:
        """Return the size of what lies below any of these paths; an empty path is everything."""
        chosen = [path.strip("/") for path in paths]
        if "" in chosen:
            return self.size
        prefixes = tuple(f"{path}/" for path in chosen)
        found = [size for name, size in self.sizes.items() if name.startswith(prefixes)]
        return Size(len(found), sum(found))

    def marked(self) -> tuple[str, ...]:
        """Return the directories that hold an ``MLmodel`` file, "" for the folder itself."""
        return tuple(
            name[: -len(_MARKER)].rstrip("/")
            for name in self.sizes
            if name == _MARKER or name.endswith(f"/{_MARKER}")
        )


@dataclass(frozen=True)
class Scan:
    """What listings of some roots found.

    Attributes
    ----------
    roots
        Blob paths that were listed to the end.
    folders
        By the path of the ``artifacts`` folder.
    began
        Milliseconds since 1970 when the first listing began.
    """

    roots: tuple[str, ...] = ()
    folders: Mapping[str, ArtifactFolder] = field(default_factory=dict)
    began: int = 0

    def folder(self, path: str) -> ArtifactFolder | None:
        """Return what lies in an ``artifacts`` folder; None where it was not scanned."""
        found = self.folders.get(path)
        if found is not None:
            return found
        covered = any(not root or path.startswith(f"{root}/") for root in self.roots)
        return ArtifactFolder() if covered else None


def attribute(blobs: Iterable[tuple[str, int]], root: str) -> dict[str, ArtifactFolder]:
    """Sort blobs, given as (name, bytes), into the folders that own them."""
    folders: dict[str, ArtifactFolder] = defaultdict(ArtifactFolder)
    for name, size in blobs:
        folder = artifact_folder(name, root)
        if folder is not None:
            folders[folder].sizes[name[len(folder) + 1 :]] = size
    return dict(folders)
