"""Registered versions by what they point at. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from expmgr.storage.blob_path import is_within

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from expmgr.catalog.model import Model

__all__ = ["Version", "Versions", "VersionsBuilder"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a registered model.

    Attributes
    ----------
    words
        Such as ``churn v3 (champion)``.
    subject
        Such as ``churn/3``.
    """

    words: str
    subject: str


@dataclass(frozen=True)
class Versions:
    """What the registry points at.

    Attributes
    ----------
    by_run
        Versions that name a run and no model of it: all of its models.
    by_model
        By LoggedModel id.
    by_path
        By blob path, for versions registered by URI.
    places
        Where the files of a version lie, by version; missing where that is not certain.
    below
        By run, versions whose source names a path below its artifacts, with that path: "" where it
        only tells the run.
    """

    by_run: Mapping[str, tuple[Version, ...]] = field(default_factory=dict)
    by_model: Mapping[str, tuple[Version, ...]] = field(default_factory=dict)
    by_path: Mapping[str, tuple[Version, ...]] = field(default_factory=dict)
    places: Mapping[Version, tuple[str, ...]] = field(default_factory=dict)
    _paths: tuple[str, ...] = ()
    below: Mapping[str, tuple[tuple[str, Version], ...]] = field(default_factory=dict)

    def subjects(self) -> frozenset[str]:
        """Return which versions are known."""
        indexes = (self.by_run, self.by_model, self.by_path)
        return frozenset(
            version.subject
            for index in indexes
            for versions in index.values()
            for version in versions
        )

    def plus(self, other: Versions) -> Versions:
        """Return these versions and those of another reading."""
        by_path = _joined(self.by_path, other.by_path)
        return Versions(
            _joined(self.by_run, other.by_run),
            _joined(self.by_model, other.by_model),
            by_path,
            {**self.places, **other.places},
            tuple(sorted(by_path)),
            _joined(self.below, other.below),
        )

    def of(self, model: Model, siblings: Collection[str] = ()) -> tuple[Version, ...]:
        """Return the versions that point at a model, at its run, or into or around its files.

        A version that names the run is of all of its models, but for one that for certain lies at
        another directory that the run recorded, and not at this one.

        Parameters
        ----------
        siblings
            Blob paths of the other directories that the run recorded as models.
        """
        found = list(self.by_model.get(model.id, ()))
        if model.run_id:
            of_run = self.by_run.get(model.run_id, ())
            found += [
                version for version in of_run if not self._is_of_others(version, model, siblings)
            ]
        if model.path is not None and self.by_path:
            found += self.overlapping(model.path)
        return tuple(dict.fromkeys(found))

    def _is_of_others(self, version: Version, model: Model, siblings: Collection[str]) -> bool:
        if model.kind != "directory" or model.path is None:
            return False
        # One place may be written in several ways; at least one of them must be another's.
        places = self.places.get(version, ())
        artifacts, named, _ = model.path.rpartition(f"/{model.name}")
        beside = all(
            is_within(place, artifacts) and not _overlap(place, model.path) for place in places
        )
        others = any(_overlap(place, sibling) for place in places for sibling in siblings)
        return bool(named) and beside and others

    def beside(self, run_id: str, name: str) -> list[Version]:
        """Return the versions that would lose a blob among a run's artifacts."""
        path = name.partition(f"{run_id}/artifacts/")[2]
        named = self.below.get(run_id, ())
        found = [version for below, version in named if not below or _overlap(path, below)]
        return self.overlapping(name) + found if self.by_path else found

    def overlapping(self, path: str) -> list[Version]:
        """Return the versions whose source is a path, lies within it or around it."""
        segments = path.split("/")
        found: list[Version] = []
        for count in range(1, len(segments) + 1):
            found += self.by_path.get("/".join(segments[:count]), ())
        below = f"{path}/"
        for source in self._paths[bisect_left(self._paths, below) :]:
            if not source.startswith(below):
                break
            found += self.by_path[source]
        return found


def _joined(
    one: Mapping[str, tuple[_T, ...]], other: Mapping[str, tuple[_T, ...]]
) -> dict[str, tuple[_T, ...]]:
    joined = dict(one)
    for key, versions in other.items():
        joined[key] = tuple(dict.fromkeys((*joined.get(key, ()), *versions)))
    return joined


def _overlap(one: str, other: str) -> bool:
    return is_within(one, other) or is_within(other, one)


class VersionsBuilder:
    """Collects versions."""

    def __init__(self) -> None:
        self._by_run: dict[str, dict[Version, None]] = defaultdict(dict)
        self._by_model: dict[str, dict[Version, None]] = defaultdict(dict)
        self._by_path: dict[str, dict[Version, None]] = defaultdict(dict)
        self._places: dict[Version, dict[str, None]] = defaultdict(dict)
        self._below: dict[str, dict[tuple[str, Version], None]] = defaultdict(dict)
        self._uncertain: set[Version] = set()

    def run(self, run_id: str, version: Version) -> None:
        """Note a version of whatever a run made."""
        self._by_run[run_id][version] = None

    def model(self, model_id: str, version: Version) -> None:
        """Note a version of a LoggedModel."""
        self._by_model[model_id][version] = None

    def path(self, path: str, version: Version) -> None:
        """Note a version of what lies at a blob path."""
        self._by_path[path][version] = None
        self._places[version][path] = None

    def below(self, run_id: str, path: str, version: Version) -> None:
        """Note a version of what a run made, at a path below its artifacts, "" for an unknown."""
        self.run(run_id, version)
        self._below[run_id][path, version] = None

    def uncertain(self, version: Version) -> None:
        """Note that a version may lie elsewhere than its paths say."""
        self._uncertain.add(version)

    def build(self) -> Versions:
        """Return what was collected."""
        by_run, by_model, by_path = (
            {key: tuple(versions) for key, versions in index.items()}
            for index in (self._by_run, self._by_model, self._by_path)
        )
        places = {
            version: tuple(paths)
            for version, paths in self._places.items()
            if version not in self._uncertain
        }
        below = {run_id: tuple(found) for run_id, found in self._below.items()}
        return Versions(by_run, by_model, by_path, places, tuple(sorted(by_path)), below)
