"""What the name of a blob tells of its place: below which root, and in whose folder. Pure.

What MLflow keeps below an experiment's root: ``<run id>/artifacts``, of LoggedModels
``models/<model id>/artifacts``, and ``traces/<trace id>/artifacts``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from expmgr.catalog.model import is_model_id
from expmgr.storage.blob_path import JOURNAL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["Folder", "Place", "folder_of", "paths_to", "place_of"]

_ARTIFACTS = "artifacts"
_MODELS = "models"
_TRACES = "traces"
_ID = re.compile(r"[0-9a-f]{32}|m-[0-9a-f]{32}")
"""Run ids are ``uuid4().hex``, LoggedModel ids ``m-`` and the same (``mlflow.store.tracking``)."""
_TRACE = re.compile(r"tr-[0-9a-f]{32}")


class Place(NamedTuple):
    """Where a blob lies.

    Attributes
    ----------
    kind
        ``journal``; ``outside`` every root; ``traces``; ``artifacts`` of a run or LoggedModel; or
        ``other``: what MLflow would not have put there.
    root
        The innermost root around it; None where it is below none.
    depth
        Segments of the root.
    end
        Segments of its ``artifacts`` folder; 0 where it lies in none.
    """

    kind: Literal["journal", "outside", "traces", "artifacts", "other"]
    root: str | None = None
    depth: int = 0
    end: int = 0


def place_of(parts: list[str], roots: Collection[str]) -> Place:
    """Return the place of a blob, from its name's segments.

    Parameters
    ----------
    roots
        Blob paths of experiments' roots, "" for the container itself. One may lie within another;
        the inner one owns what is in it.
    """
    if parts[0] == JOURNAL_PREFIX:
        return Place("journal")
    root: str | None = "" if "" in roots else None
    depth = 0
    path = ""
    for at, part in enumerate(parts[:-1], 1):
        path = f"{path}/{part}" if path else part
        if path in roots:
            root, depth = path, at
    if root is None:
        return Place("outside")
    if parts[depth] == _TRACES:
        return Place("traces", root, depth)
    end = depth + (3 if parts[depth] == _MODELS else 2)
    if len(parts) <= end or parts[end - 1] != _ARTIFACTS:
        return Place("other", root, depth)
    return Place("artifacts", root, depth, end)


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder that a blob is counted with where nobody may own it.

    Attributes
    ----------
    path
        Without a slash at its end; "" for the container itself.
    owner_id
        The id of the run or model whose ``artifacts`` this would be; "" for another folder, which
        MLflow did not make.
    root
        The experiment's root that it lies below; None below none.
    loose
        Whether only the files directly in it are meant: more lies below that has another owner.
    """

    path: str
    owner_id: str = ""
    root: str | None = None
    loose: bool = False

    @property
    def is_model(self) -> bool:
        """Whether it is a LoggedModel's."""
        return is_model_id(self.owner_id)


def paths_to(roots: Iterable[str]) -> frozenset[str]:
    """Return the paths of folders that are a root or hold one."""
    found = set()
    for root in roots:
        parts = root.split("/")
        found |= {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return frozenset(found)


def folder_of(name: str, roots: Collection[str], leading: Collection[str]) -> Folder | None:
    """Return with which folder a blob goes; None for the journal and for traces.

    Parameters
    ----------
    leading
        `paths_to` the roots: such a folder holds what has another owner.

    Below no root an ``artifacts`` folder counts as one where an id as MLflow makes them stands
    before it: an experiment that was purged leaves such folders.
    """
    parts = name.split("/")
    place = place_of(parts, roots)
    if place.kind in {"journal", "traces"} or (place.kind == "other" and _holds_trace(parts)):
        return None
    if place.kind == "artifacts":
        return Folder("/".join(parts[: place.end]), parts[place.end - 2], place.root)
    if place.kind == "outside":
        for at in range(1, len(parts) - 1):
            if parts[at - 1] == _TRACES and _TRACE.fullmatch(parts[at]):
                return None
            if parts[at] == _ARTIFACTS and _ID.fullmatch(parts[at - 1]):
                return Folder("/".join(parts[: at + 1]), parts[at - 1])
        least = 1
    else:
        least = place.depth + (3 if parts[place.depth] == _MODELS else 2)
    for end in range(least, len(parts)):
        path = "/".join(parts[:end])
        if path not in leading:
            return Folder(path, "", place.root)
    return Folder("/".join(parts[:-1]), "", place.root, loose=True)


def _holds_trace(parts: list[str]) -> bool:
    """Whether a blob is a trace's of an experiment that was purged, whose root lay in another."""
    return any(
        parts[at - 1] == _TRACES and _TRACE.fullmatch(parts[at]) for at in range(1, len(parts) - 1)
    )
