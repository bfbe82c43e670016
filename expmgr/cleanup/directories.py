"""A directory that a run logged as a model, named by its own id: which it is, and may it go alone.

Its id is ``<run_id>/<path>``. What MLflow recorded goes alone, for the run's other models stay told
by the tag. What only its files tell to be a model goes alone only where it is the run's only one:
the journal of a deletion is all that may ever go of such a run, so that a record of one directory
would make its siblings forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.catalog.model import run_and_path
from expmgr.errors import InvalidInputError, LocationError
from expmgr.storage.blob_path import check_path, is_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities import Run

    from expmgr.catalog.parts import Part
    from expmgr.cleanup.locate import Finder, Located
    from expmgr.tracking.models import RunModels

__all__ = ["check_alone", "check_id", "directories_of", "goes_with", "named", "unknown"]


_OF_RUNS = frozenset({"raw", "checkpoints", "other"})
"""Parts that only a run has."""


def check_id(id_: str, part: Part, model_ids: Sequence[str] | None) -> None:
    """Refuse an id of which it is not certain what it names, and what no directory has. Pure.

    Raises
    ------
    InvalidInputError
        It names no run, or its path is empty, climbs or may be read in two ways; or a ``part`` of
        it, or LoggedModels, are wanted.
    """
    run_id, _, path = id_.partition("/")
    if part in _OF_RUNS or model_ids is not None:
        what = f"part {part!r}" if model_ids is None else "LoggedModels (model_ids)"
        message = f"{id_!r} is a model among the artifacts of its run and has no {what}."
        raise InvalidInputError(message, run_id=run_id)
    try:
        check_path(run_id, what="run id")
        check_path(path, what="path")
    except LocationError as error:
        message = f"{id_!r} is not the id of a model (<run id>/<path>): {error}."
        raise InvalidInputError(message, run_id=run_id) from error


def directories_of(finder: Finder, run: Run, models: RunModels) -> tuple[Located, ...]:
    """Return the models that lie among a run's artifacts, also those that lie within another one.

    Raises
    ------
    LocationError
        One of them is not where a model may be deleted: then none of them is certain.
    StorageError
        Only files tell, and they could not be listed.
    """
    if models.recorded:
        return tuple(finder.directories(run, models.history))
    return finder.find(run, models).models


def named(id_: str, found: Sequence[Located]) -> Located | None:
    """Return the one that has this id, None where none has. Pure."""
    return next((located for located in found if located.model.id == id_), None)


def unknown(id_: str, found: Sequence[Located]) -> str:
    """Return the sentence that a run has no such model. Pure."""
    ids = ", ".join(sorted({repr(located.model.id) for located in found})) or "none"
    return f"there is no model {id_!r}; those among the artifacts of its run are: {ids}."


def goes_with(one: Located, found: Sequence[Located], *, recorded: bool) -> str:
    """Return the id of what a directory goes with: its own where it goes alone. Pure.

    Parameters
    ----------
    found
        All of its run.
    recorded
        Whether MLflow recorded them; otherwise only files tell.
    """
    path = one.location.path
    if not recorded and any(located.location.path != path for located in found):
        return one.model.run_id
    around = [located for located in found if is_within(path, located.location.path)]
    return min(around, key=lambda located: len(located.location.path)).model.id


def check_alone(id_: str, goes_with_id: str) -> None:
    """Refuse a directory that goes with another one, or with its run, only. Pure.

    Raises
    ------
    InvalidInputError
        It does.
    """
    if goes_with_id == id_:
        return
    if run_and_path(goes_with_id) is not None:
        message = f"{id_!r} lies within {goes_with_id!r} and goes with it only: name that one."
    else:
        message = (
            f"{id_!r} goes with its run only: MLflow recorded no model of that run, files alone "
            "tell that it has several, and a deletion of one would make the others forgotten. "
            f"Name the run, {goes_with_id}."
        )
    raise InvalidInputError(message, run_id=id_.partition("/")[0])
