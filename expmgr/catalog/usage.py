"""Which run, model or other owner each blob of a listing belongs to. Pure.

Memory grows with the folders, not with the blobs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from expmgr.catalog.files import is_report, outermost
from expmgr.catalog.model import NOTHING, Size, Stored
from expmgr.catalog.places import place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from expmgr.catalog.model import Model

__all__ = ["ArtifactFolder", "Directory", "RootUsage", "Scan", "attribute", "attribute_directories"]

_MARKER = "MLmodel"


@dataclass
class ArtifactFolder:
    """What lies in one ``artifacts`` folder, by directory.

    Attributes
    ----------
    directories
        Path below the folder ("" for itself) to the size of the files directly in it.
    marked
        Directories that hold an ``MLmodel`` file.
    only_reports
        Whether all files are plots, tables and reports by their endings.
    """

    directories: dict[str, Size] = field(default_factory=dict)
    marked: set[str] = field(default_factory=set)
    only_reports: bool = True

    def add(self, directory: str, file: str, size: Size) -> None:
        """Count a file, by its directory below the folder."""
        self.add_files(directory, size, marked=file == _MARKER, only_reports=is_report(file))

    def add_files(self, directory: str, size: Size, *, marked: bool, only_reports: bool) -> None:
        """Count all files of a directory below the folder, or some."""
        self.directories[directory] = self.directories.get(directory, NOTHING).plus(size)
        if marked:
            self.marked.add(directory)
        self.only_reports = self.only_reports and only_reports

    @property
    def size(self) -> Size:
        """Of everything in it."""
        return self.below("")

    def holding(self, path: str, models: Iterable[Model]) -> Size:
        """Return the size of those of some models that lie in it; it lies at a path itself."""
        inside = NOTHING
        for model in models:
            if model.kind != "logged" and model.path is not None:
                inside = inside.plus(self.below(model.path[len(path) + 1 :]))
        return inside

    def below(self, path: str) -> Size:
        """Return the size of what lies below a path; "" is everything."""
        total = NOTHING
        for directory, size in self.directories.items():
            if not path or directory == path or directory.startswith(f"{path}/"):
                total = total.plus(size)
        return total

    def stored(self, path: str = "") -> Stored:
        """Return what a model at a path has."""
        return Stored(self.below(path), path in self.marked)

    def models(self) -> tuple[str, ...]:
        """Return the outermost directories that hold an ``MLmodel`` file, "" for the folder."""
        return ("",) if "" in self.marked else outermost(self.marked)


@dataclass
class RootUsage:
    """What lies below one experiment's root.

    Attributes
    ----------
    folders
        Artifacts of runs and LoggedModels, by blob path.
    traces
        Of traces.
    unknown
        Of what MLflow would not have put there.
    kept
        Of what the account still keeps beside the blobs, by its kind: see `Directory`.
    """

    folders: dict[str, ArtifactFolder] = field(default_factory=dict)
    traces: Size = NOTHING
    unknown: Size = NOTHING
    kept: dict[str, Size] = field(default_factory=dict)

    def folder(self, path: str) -> ArtifactFolder:
        """Return the folder at a path, an empty one where none was seen yet."""
        if path not in self.folders:
            self.folders[path] = ArtifactFolder()
        return self.folders[path]

    @property
    def size(self) -> Size:
        """Of everything."""
        total = self.traces.plus(self.unknown)
        for folder in self.folders.values():
            total = total.plus(folder.size)
        return total


@dataclass(frozen=True)
class Scan:
    """What listings found.

    Attributes
    ----------
    roots
        By the blob path of an experiment's root, "" for the container itself.
    journal
        Of the journal's blobs.
    unknown
        Of what lies below no root.
    began
        Milliseconds since 1970 when the first listing began.
    kept
        Of what the account still keeps below no root, by its kind: see `Directory`.
    """

    roots: Mapping[str, RootUsage] = field(default_factory=dict)
    journal: Size = NOTHING
    unknown: Size = NOTHING
    began: int = 0
    kept: Mapping[str, Size] = field(default_factory=dict)

    def folder(self, path: str) -> ArtifactFolder | None:
        """Return what lies in an ``artifacts`` folder; None where it was not scanned."""
        covered = False
        for root, usage in self.roots.items():
            if not root or path.startswith(f"{root}/"):
                covered = True
                found = usage.folders.get(path)
                if found is not None:
                    return found
        return ArtifactFolder() if covered else None


def attribute(
    blobs: Iterable[tuple[str, Size]], roots: Iterable[str]
) -> tuple[dict[str, RootUsage], Size, Size]:
    """Sort blobs, given as name and size, by the root and folder that own them.

    A root may lie within another one; the inner one owns what is in it.

    Returns
    -------
    tuple
        Usage by root; the size of the journal; and of what lies below no root.
    """
    found: dict[str, RootUsage] = {root: RootUsage() for root in roots}
    journal = unknown = NOTHING
    above = folder = inside = None  # of the last artifact: those of one directory come together
    for name, one in blobs:
        directory, _, file = name.rpartition("/")
        if folder is not None and inside is not None and directory == above:
            folder.add(inside, file, one)
            continue
        parts = name.split("/")
        place = place_of(parts, found)
        if place.kind == "journal":
            journal = journal.plus(one)
        elif place.root is None:
            unknown = unknown.plus(one)
        elif place.kind == "traces":
            usage = found[place.root]
            usage.traces = usage.traces.plus(one)
        elif place.kind == "artifacts":
            folder = found[place.root].folder("/".join(parts[: place.end]))
            above, inside = directory, "/".join(parts[place.end : -1])
            folder.add(inside, file, one)
        else:
            usage = found[place.root]
            usage.unknown = usage.unknown.plus(one)
    return found, journal, unknown


@dataclass(slots=True)
class Directory:
    """The blobs right in one directory.

    Attributes
    ----------
    path
        "" for the container itself.
    size
        Of the blobs.
    marked, only_reports
        As of an `ArtifactFolder`.
    kept
        What the account still keeps beside them: ``versions``, ``snapshots`` and ``soft-deleted``
        blobs.
    """

    path: str
    size: Size
    marked: bool = False
    only_reports: bool = True
    kept: Mapping[str, Size] = field(default_factory=dict)


def attribute_directories(directories: Iterable[Directory], roots: Iterable[str]) -> Scan:
    """Sort what was counted by directory, in any order, as `attribute` sorts blobs."""
    found: dict[str, RootUsage] = {root: RootUsage() for root in roots}
    journal = unknown = NOTHING
    outside: dict[str, Size] = {}
    for one in directories:
        parts = [*one.path.split("/"), ""] if one.path else [""]
        place = place_of(parts, found)
        usage = None if place.root is None else found[place.root]
        kept = outside if usage is None else usage.kept
        for kind, size in one.kept.items():
            kept[kind] = kept.get(kind, NOTHING).plus(size)
        if not one.size.files:
            continue
        if place.kind == "journal":
            journal = journal.plus(one.size)
        elif usage is None:
            unknown = unknown.plus(one.size)
        elif place.kind == "traces":
            usage.traces = usage.traces.plus(one.size)
        elif place.kind == "artifacts":
            usage.folder("/".join(parts[: place.end])).add_files(
                "/".join(parts[place.end : -1]),
                one.size,
                marked=one.marked,
                only_reports=one.only_reports,
            )
        else:
            usage.unknown = usage.unknown.plus(one.size)
    return Scan(found, journal, unknown, kept=outside)
