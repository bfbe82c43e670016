"""Which files of a folder a part is: names, resolved once from a listing. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from expmgr.catalog.checkpoints import checkpoints_of, kept_checkpoints, newest_states
from expmgr.catalog.files import marked_directories
from expmgr.catalog.globs import matching
from expmgr.catalog.training_files import optimizer_states
from expmgr.errors import InvalidInputError, StorageError
from expmgr.formatting import format_count
from expmgr.storage.blob_path import is_within
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from expmgr.catalog.parts import Part
    from expmgr.catalog.quality import Goal

__all__ = ["Folder", "Selection", "select"]

_MARKER = "MLmodel"
_LARGEST_STATE = 50_000_000  # bytes; Trainer's log of a long training has some megabytes


@dataclass(frozen=True)
class Folder:
    """What a part is looked for in: a model's folder, or a run's artifacts.

    Attributes
    ----------
    path
        Its blob path.
    sizes
        Whole name to bytes of all files in it, directory stubs left out.
    models
        Blob paths of the models in it, as MLflow or the journal tell; the folder itself where it is
        one. Directories with an ``MLmodel`` file are models besides.
    whose
        How a message calls it.
    """

    path: str
    sizes: Mapping[str, int]
    models: tuple[str, ...]
    whose: str

    @cached_property
    def every_model(self) -> tuple[str, ...]:
        """Blob paths of all models in it, those included that files alone tell."""
        return tuple(dict.fromkeys([*self.models, *marked_directories(self.sizes)]))

    def model_of(self, name: str) -> str | None:
        """Return the path of the model that a file belongs to, the outermost; None for none."""
        around = [path for path in self.every_model if is_within(name, path)]
        return min(around, key=len) if around else None


@dataclass(frozen=True)
class Selection:
    """The files of a part in one folder.

    Attributes
    ----------
    names
        Whole blob names.
    note
        What stays though it may have been meant, or "".
    matched
        The patterns that match something.
    """

    names: tuple[str, ...]
    note: str = ""
    matched: frozenset[str] = frozenset()


def select(
    part: Part, folder: Folder, goals: Sequence[Goal], read: Callable[[str, int], str]
) -> Selection:
    """Return the files of a part in a folder.

    Parameters
    ----------
    goals
        What "best" means for the run.
    read
        Returns the text of a blob up to so many bytes: an ``MLmodel``, or the state of a trainer.

    Raises
    ------
    InvalidInputError
        A pattern matches an ``MLmodel``, or the part is none of such a folder.
    StorageError
        Something that must be known first could not be read.
    """
    if not isinstance(part, str):
        return _matching(part, folder)
    if part == "optimizer":
        return _optimizer(folder, read)
    if part == "checkpoints":
        return _checkpoints(folder, goals, read)
    if folder.path in folder.every_model:
        message = (
            f"everything that {folder.whose} has is its model, so there is nothing besides: name "
            "the model, or part='raw' where MLflow recorded none."
        )
        raise InvalidInputError(message)
    return Selection(tuple(name for name in folder.sizes if folder.model_of(name) is None))


def _relative(folder: str, sizes: Mapping[str, int]) -> dict[str, int]:
    return {name[len(folder) + 1 :]: size for name, size in sizes.items()}


def _matching(patterns: Sequence[str], folder: Folder) -> Selection:
    found = matching(patterns, _relative(folder.path, folder.sizes))
    for pattern, paths in found.items():
        marker = next((path for path in paths if path.split("/")[-1] == _MARKER), None)
        if marker is not None:
            message = (
                f"pattern {pattern!r} matches {marker!r} of {folder.whose}, without which nothing "
                "can load that model: name the model by its id, or narrow the pattern."
            )
            raise InvalidInputError(message)
    nothing = [pattern for pattern, paths in found.items() if not paths]
    return Selection(
        tuple(dict.fromkeys(f"{folder.path}/{path}" for paths in found.values() for path in paths)),
        f"no file of {folder.whose} matches {', '.join(map(repr, nothing))}" if nothing else "",
        frozenset(found).difference(nothing),
    )


def _optimizer(folder: Folder, read: Callable[[str, int], str]) -> Selection:
    found = optimizer_states(_relative(folder.path, folder.sizes))
    names = [f"{folder.path}/{path}" for path in found.paths]
    needed = _named_by_models(names, folder, read)
    notes = []
    if needed:
        notes.append(f"{_some(needed)} stays: the MLmodel file names it")
    if found.inseparable:
        files = _some(found.inseparable)
        notes.append(f"{files} stays: weights and optimizer are one file")
    if found.only_copy:
        notes.append(f"{_some(found.only_copy)} stays: the only weights beside it are in it (ZeRO)")
    return Selection(tuple(name for name in names if name not in needed), "; ".join(notes))


def _named_by_models(
    names: Iterable[str], folder: Folder, read: Callable[[str, int], str]
) -> tuple[str, ...]:
    """Return the files that an ``MLmodel`` names: a model may need what it names to load."""
    inside: dict[str, list[str]] = defaultdict(list)
    markers = [name for name in folder.sizes if name.split("/")[-1] == _MARKER]
    homes = [marker.rpartition("/")[0] for marker in markers]
    for name in names:
        for home in homes:
            if is_within(name, home):
                inside[home].append(name)
    needed: dict[str, None] = {}
    for home, some in inside.items():
        text = " ".join(read(f"{home}/{_MARKER}", 1_000_000).split())
        needed.update(dict.fromkeys(name for name in some if name[len(home) + 1 :] in text))
    return tuple(needed)


def _checkpoints(
    folder: Folder, goals: Sequence[Goal], read: Callable[[str, int], str]
) -> Selection:
    sizes = _relative(folder.path, folder.sizes)
    inner = {name for name in folder.sizes if folder.model_of(name) not in {None, folder.path}}
    found = [
        one
        for one in checkpoints_of(sizes)
        if not any(f"{folder.path}/{path}" in inner for path in one.files)
    ]
    states = {}
    for path in newest_states(found):
        if sizes[path] > _LARGEST_STATE:
            raise _unread(path, folder)
        states[path] = read(f"{folder.path}/{path}", _LARGEST_STATE)
    try:
        kept = kept_checkpoints(found, states, goals)
    except ValueError as error:
        raise _unread(str(error), folder) from error
    names = [f"{folder.path}/{path}" for one in found if one.path not in kept for path in one.files]
    if not found:
        return Selection((), f"{folder.whose} has no raw checkpoints")
    stays = ", ".join(f"{path} ({why})" for path, why in kept.items())
    return Selection(tuple(names), plain(f"{stays} stays", 300))


def _unread(path: str, folder: Folder) -> StorageError:
    return StorageError(
        f"{path!r} of {folder.whose} cannot be read as a trainer's state, so nobody knows which "
        "checkpoint is the best: nothing is planned. Name the ones to go by patterns"
    )


def _some(paths: Sequence[str]) -> str:
    return paths[0].rpartition("/")[2] if len(paths) == 1 else format_count(len(paths), "file")
