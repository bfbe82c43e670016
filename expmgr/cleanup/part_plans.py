"""What a part is of a run or a model: its folders, the files in them, and what protects these.

A part is resolved in the same way for a plan and right before the deletion, when what the plan
holds must still be among what the part is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

from expmgr.catalog.model import Model, Size, Stored
from expmgr.catalog.parts import EVERY_PART, part_words
from expmgr.catalog.protection import reasons_beside, reasons_of
from expmgr.catalog.states import model_state, run_state
from expmgr.cleanup.directories import directories_of, named, unknown
from expmgr.cleanup.locate import run_model
from expmgr.cleanup.part_files import Folder, select
from expmgr.cleanup.plan import PlannedLocation
from expmgr.errors import InvalidInputError, LocationError
from expmgr.prices import merged
from expmgr.storage.blob_path import is_within
from expmgr.storage.listing import use_of
from expmgr.tracking.journal import journal_of, latest_parts, now_ms, owner_of
from expmgr.tracking.queries import in_parallel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mlflow.entities import LoggedModel, Run

    from expmgr.catalog.model import Maker
    from expmgr.catalog.parts import Part
    from expmgr.catalog.protection import Evidence
    from expmgr.catalog.quality import Goal
    from expmgr.catalog.reason import Reason
    from expmgr.cleanup.locate import Finder
    from expmgr.cleanup.plan import RunPlan
    from expmgr.storage.listing import Blob
    from expmgr.storage.location import Location
    from expmgr.storage.protocol import Storage
    from expmgr.tracking.models import RunModels

__all__ = [
    "Guarded",
    "PartOf",
    "check_still",
    "planned_part",
    "resolve_part",
]


@dataclass(frozen=True)
class Guarded:
    """What protects the files of a part.

    Attributes
    ----------
    part
        Which.
    touched
        Models whose files are among them.
    beside
        Those that lie in no model.
    run_id
        The run among whose artifacts these lie, "" where there are none.
    """

    part: Part
    touched: tuple[Model, ...] = ()
    beside: tuple[str, ...] = ()
    run_id: str = ""

    def reasons(self, maker: Maker | None, evidence: Evidence) -> list[Reason]:
        """Return why the part must stay.

        `EVERY_PART` blocks whatever it is; the rest blocks what lies in a model, but not the
        states of optimizers, without which the model loads as before.
        """
        lenient = self.part == "optimizer"
        found = [
            reason
            for model in self.touched
            for reason in reasons_of(model, maker, evidence)
            if not lenient or reason.kind in EVERY_PART
        ]
        if self.beside:
            found += reasons_beside(self.run_id, maker, () if lenient else self.beside, evidence)
        return found


@dataclass(frozen=True)
class _Place:
    """A folder with its location and what lies there."""

    location: Location
    blobs: Mapping[str, Blob]
    folder: Folder
    models: tuple[Model, ...]


@dataclass(frozen=True)
class PartOf:
    """A part of a run or model, resolved.

    Attributes
    ----------
    locations
        With the names that go, and no others.
    models
        All that were looked at.
    matched
        The patterns that match something.
    places
        Where it was looked for.
    now
        The names that the part is.
    listed
        All names that are there.
    listed_at
        When it was looked at, UTC.
    """

    locations: tuple[PlannedLocation, ...]
    models: tuple[Model, ...]
    guarded: Guarded
    note: str
    matched: frozenset[str]
    places: frozenset[Location]
    now: frozenset[str]
    listed: frozenset[str]
    listed_at: datetime


def resolve_part(
    store: Storage,
    finder: Finder,
    plan: RunPlan,
    *,
    run: Run | None,
    told: RunModels,
    goals: Sequence[Goal],
    entity: LoggedModel | None = None,
    in_trash: bool = False,
    model_ids: Sequence[str] | None = None,
    among: Collection[str] | None = None,
    leave: Collection[str] = (),
) -> PartOf:
    """Return the files of ``plan.part``, as of now.

    Parameters
    ----------
    plan
        Of which the part and what was asked for count.
    run, told
        The run, and what is told of its models; None for a model without a run.
    entity, in_trash
        The model that was asked for by its own id.
    model_ids
        The optimizer states of these LoggedModels of the run only.
    among
        Only these names are asked to go; what the part is besides protects nothing.
    leave
        Nothing below these paths is asked to go.

    Raises
    ------
    InvalidInputError, LocationError, StorageError, TrackingError
        It cannot be told what the part is, or it is none of what was asked for.
    """
    part = plan.part
    by_id = entity is not None or bool(plan.asked)
    if by_id and part in {"checkpoints", "other"}:
        message = f"{plan.asked!r} is a model and has no part {part!r}: name its run."
        raise InvalidInputError(message, run_id=plan.run_id or None)
    found, note = _folders(finder, plan, run, told, entity, in_trash=in_trash, model_ids=model_ids)
    at = datetime.now(timezone.utc)
    listings = in_parallel(partial(_listed, store), [location for location, _ in found])
    places = [
        _place(run, location, blobs, models)
        for (location, models), blobs in zip(found, listings, strict=True)
    ]
    selections = [
        select(part, place.folder, goals, lambda name, limit: store.read_text(name, limit=limit))
        for place in places
    ]
    locations, touched, beside = [], [], []
    for place, selection in zip(places, selections, strict=True):
        names = [
            name
            for name in selection.names
            if (among is None or name in among) and not any(is_within(name, path) for path in leave)
        ]
        if not names:
            continue
        locations.append(_narrowed(place, names, at))
        owners = {place.folder.model_of(name) for name in names}
        touched += _touched(run, place, owners)
        beside += [name for name in names if place.folder.model_of(name) is None]
    matched = frozenset(pattern for one in selections for pattern in one.matched)
    notes = [note, *(one.note for one in selections if one.names or not locations)]
    return PartOf(
        tuple(locations),
        tuple(model for place in places for model in place.models),
        Guarded(part, tuple(touched), tuple(beside), plan.run_id),
        "; ".join(dict.fromkeys(filter(None, notes))),
        matched,
        frozenset(place.location for place in places),
        frozenset(name for one in selections for name in one.names),
        frozenset(name for place in places for name in place.blobs),
        at,
    )


def _folders(
    finder: Finder,
    plan: RunPlan,
    run: Run | None,
    told: RunModels,
    entity: LoggedModel | None,
    *,
    in_trash: bool,
    model_ids: Sequence[str] | None,
) -> tuple[list[tuple[Location, tuple[Model, ...]]], str]:
    """Return where to look, with the models in each place, and what could not be located."""
    if entity is not None:
        one = finder.logged(entity, in_trash=in_trash)
        return [(one.location, (one.model,))], ""
    assert run is not None
    if plan.asked:
        found = directories_of(finder, run, told)
        directory = named(plan.asked, found)
        if directory is None:
            raise InvalidInputError(unknown(plan.asked, found), run_id=plan.run_id)
        return [(replace(directory.location, marker_last=False), (directory.model,))], ""
    note = ""
    if told.recorded and plan.part != "optimizer":  # a model that lies elsewhere is not in question
        models = finder.recorded_directories(run, told.history)
    else:
        tells = told.recorded or model_ids is not None
        every = finder.recorded(run, told, model_ids) if tells else finder.find(run, told)
        models, note = every.models, every.note if tells else ""
    folders: list[tuple[Location, tuple[Model, ...]]] = [
        (one.location, (one.model,))
        for one in models
        if plan.part == "optimizer" and one.model.kind == "logged"
    ]
    if model_ids is None:
        inner = tuple(one.model for one in models if one.model.kind != "logged")
        folders.append((finder.check(finder.artifacts(run)), inner))
    return folders, note


def _listed(store: Storage, location: Location) -> dict[str, Blob]:
    return {blob.name: blob for blob in store.list(location.prefix) if not blob.is_directory}


def _place(
    run: Run | None, location: Location, blobs: Mapping[str, Blob], models: tuple[Model, ...]
) -> _Place:
    paths = tuple(model.path for model in models if model.path is not None)
    at = now_ms()
    of_run = () if run is None else ((run.info.run_id, run.data.tags),)
    stored = tuple(
        replace(
            model,
            stored=_stored(model.path or "", blobs),
            journal=journal_of(model.path, at, *of_run, (model.id, model.tags)),
        )
        for model in models
    )
    whose = owner_of(location.owner_id)
    sizes = {name: blob.bytes for name, blob in blobs.items()}
    return _Place(location, blobs, Folder(location.path, sizes, paths, whose), stored)


def _stored(path: str, blobs: Mapping[str, Blob]) -> Stored:
    sizes = [blob.bytes for name, blob in blobs.items() if is_within(name, path)]
    return Stored(Size(len(sizes), sum(sizes)), f"{path}/MLmodel" in blobs)


def _narrowed(place: _Place, names: Sequence[str], at: datetime) -> PlannedLocation:
    blobs = [place.blobs[name] for name in names]
    sizes = {blob.name: blob.bytes for blob in blobs}
    return PlannedLocation(
        place.location,
        len(sizes),
        sum(sizes.values()),
        {blob.name: blob.etag for blob in blobs},
        sizes,
        tiers=merged({blob.tier: use_of(blob, at)} for blob in blobs),
    )


def _touched(run: Run | None, place: _Place, owners: Iterable[str | None]) -> list[Model]:
    """Return the models that own files; those that files alone tell have no other record."""
    known = {model.path: model for model in place.models}
    found = []
    for path in sorted(path for path in owners if path is not None):
        if path in known:
            found.append(known[path])
        elif run is not None:
            location = replace(place.location, path=path, kind="run_model")
            found.append(replace(run_model(run, location), stored=_stored(path, place.blobs)))
    return found


def planned_part(plan: RunPlan, found: PartOf, tags: Mapping[str, str]) -> RunPlan:
    """Return a plan with what was resolved. Pure.

    Parameters
    ----------
    tags
        Of the journal's owner.
    """
    notes = [plan.note, found.note, _interrupted(plan.journal_id, tags)]
    return replace(
        plan,
        locations=found.locations,
        model_ids=tuple(model.id for model in found.guarded.touched if model.kind == "logged"),
        model=run_state(map(model_state, found.models)),
        planned_at=found.listed_at,
        note="; ".join(filter(None, notes)),
    )


def check_still(plan: RunPlan, found: PartOf) -> None:
    """Check that what a plan holds is what its part is now. Pure.

    Files that are gone are no matter.

    Raises
    ------
    LocationError
        It holds others: it was changed, or a model, a best or a last checkpoint is another now.
    """
    strange = next(
        (
            name
            for planned in plan.locations
            for name in planned.etags
            if planned.location not in found.places
            or not planned.location.holds(name)
            or (name in found.listed and name not in found.now)
        ),
        None,
    )
    if strange is not None:
        message = (
            f"{strange!r} is not among the {part_words(plan.part)} of "
            f"{owner_of(plan.id)} now: the plan or the journal was changed, or something came "
            "since. Nothing was deleted; plan again."
        )
        raise LocationError(message, run_id=plan.run_id or None)


def _interrupted(owner_id: str, tags: Mapping[str, str]) -> str:
    """Return in words which deletions of parts are unfinished, "" where none is. Pure."""
    at = now_ms()
    parts = dict.fromkeys(
        part_words(record.part)
        for record in latest_parts(owner_id, tags)
        if record.is_unfinished() and not record.is_live(at)
    )
    if not parts:
        return ""
    return (
        f"an earlier deletion of its {' and its '.join(parts)} was interrupted: "
        "resume_deletions() finishes it"
    )
