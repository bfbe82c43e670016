"""A plan as JSON: what a person may keep, send on and load again. Pure.

It holds no secret: ids, names, paths, sizes, entity tags and reasons. Whoever loads a plan may have
changed it, so its shape is checked here, and each location is held against its owner before
anything goes (`Planner.check_again`).
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from expmgr.catalog.parts import as_part
from expmgr.catalog.reason import REASON_KINDS, Reason
from expmgr.catalog.states import ModelState
from expmgr.cleanup.home import Home
from expmgr.errors import InvalidInputError
from expmgr.prices import TierUse
from expmgr.storage.location import Location, LocationKind
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from expmgr.catalog.parts import Part
    from expmgr.cleanup.plan import DeletionPlan, PlannedLocation, RunPlan

__all__ = ["VERSION", "plan_from_json", "plan_to_json"]

VERSION = 1
_FORMAT = "expmgr deletion plan"
_TEXTS = (
    "run_id",
    "run_name",
    "experiment_id",
    "experiment_name",
    "model",
    "problem",
    "note",
    "asked",
    "owner_id",
)
_LISTS = ("model_ids", "linked")
_REASONS = ("reasons", "doubts")
_PLACE = ("account", "container", "path", "kind", "owner_id")
_T = TypeVar("_T")


class _Broken(Exception):  # noqa: N818 - it says what is wrong, and becomes an error of ours
    pass


def plan_to_json(plan: DeletionPlan) -> str:
    """Return a plan as JSON, see `plan_from_json`."""
    home = plan.home
    return json.dumps(
        {
            "format": _FORMAT,
            "version": VERSION,
            "home": None
            if home is None
            else {
                "tracking": home.tracking,
                "account": home.account,
                "container": home.container,
            },
            "note": plan.note,
            "runs": [_run_to_json(run) for run in plan.runs],
            "kept": [
                {"id": one.id, "name": one.name, "why": one.why, "bytes": one.bytes}
                for one in plan.kept
            ],
        },
        indent=1,
    )


def _run_to_json(run: RunPlan) -> dict[str, Any]:
    said: dict[str, Any] = {name: getattr(run, name) for name in _TEXTS}
    said |= {name: list(getattr(run, name)) for name in _LISTS}
    for name in _REASONS:
        said[name] = [[one.kind, one.words, one.subject] for one in getattr(run, name)]
    said["part"] = run.part if isinstance(run.part, str) else list(run.part)
    said["planned_at"] = None if run.planned_at is None else run.planned_at.isoformat()
    said["locations"] = [
        {
            **{name: getattr(planned.location, name) for name in _PLACE},
            "marker_last": planned.location.marker_last,
            "tiers": [[tier, use.bytes, use.owed] for tier, use in planned.tiers.items()],
            "files": [
                [name, etag, planned.sizes.get(name)] for name, etag in planned.etags.items()
            ],
        }
        for planned in run.locations
    ]
    return said


def plan_from_json(text: str) -> DeletionPlan:
    """Return the plan that `plan_to_json` wrote.

    Raises
    ------
    InvalidInputError
        It is no plan, one of another version, or not whole.
    """
    from expmgr.cleanup.plan import DeletionPlan, Kept

    try:
        data = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInputError(f"this is no saved plan: {plain(error)}.") from error
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise InvalidInputError("this is no saved plan: DeletionPlan.save() writes one.")
    if data.get("version") != VERSION:
        message = (
            f"this plan has version {plain(repr(data.get('version')), 40)}, and this expmgr reads "
            f"version {VERSION}: plan again, or use the expmgr that wrote it."
        )
        raise InvalidInputError(message)
    try:
        return DeletionPlan(
            tuple(map(_run, _list(data, "runs"))),
            tuple(
                Kept(
                    _get(one, "id", str),
                    _get(one, "name", str),
                    _get(one, "why", str),
                    None if _one(one).get("bytes") is None else _count(one["bytes"], "bytes"),
                )
                for one in _list(data, "kept")
            ),
            _get(data, "note", str),
            _home(data.get("home")),
        )
    except _Broken as broken:
        message = f"this plan is not whole or was changed: {broken}. Plan again."
        raise InvalidInputError(message) from None


def _home(data: Any) -> Home | None:
    if data is None:
        return None
    return Home(*(_get(data, name, str) for name in ("tracking", "account", "container")))


def _run(data: Any) -> RunPlan:
    from expmgr.cleanup.plan import RunPlan

    texts: dict[str, Any] = {name: _get(data, name, str) for name in _TEXTS}
    _among(texts["model"], get_args(ModelState), "state")
    told: dict[str, Any] = {name: tuple(_texts(data, name)) for name in _LISTS}
    told |= {name: tuple(_reasons(data, name)) for name in _REASONS}
    return RunPlan(
        **texts,
        **told,
        part=_part(data),
        planned_at=_time(data.get("planned_at")),
        locations=tuple(map(_location, _list(data, "locations"))),
    )


def _part(data: Any) -> Part:
    part = _one(data).get("part")
    try:
        return as_part(part if isinstance(part, str) else _texts(data, "part"))
    except InvalidInputError as error:
        raise _Broken(plain(error)) from None


def _location(data: Any) -> PlannedLocation:
    from expmgr.cleanup.plan import PlannedLocation

    place = {name: _get(data, name, str) for name in _PLACE}
    kind: Any = _among(place.pop("kind"), get_args(LocationKind), "kind of location")
    location = Location(**place, kind=kind, marker_last=_get(data, "marker_last", bool))
    etags: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for row in _list(data, "files"):
        name, etag, size = _row(row, "files")
        if not isinstance(name, str) or not isinstance(etag, str):
            raise _Broken("a file has no name and entity tag")
        if not location.holds(name):
            raise _Broken(f"{plain(name)!r} does not lie in {plain(location.path)!r}")
        if name in etags:
            raise _Broken(f"{plain(name)!r} is in it twice")
        etags[name] = etag
        if size is not None:
            sizes[name] = _count(size, "size of a file")
    tiers: dict[str, TierUse] = {}
    for row in _list(data, "tiers"):
        tier, size, owed = _row(row, "tiers")
        number = isinstance(owed, (int, float)) and not isinstance(owed, bool)
        if not isinstance(tier, str) or not number or not 0 <= owed < math.inf:
            raise _Broken("what lies in a tier is no number")
        tiers[tier] = TierUse(_count(size, "size in a tier"), float(owed))
    return PlannedLocation(location, len(sizes), sum(sizes.values()), etags, sizes, tiers=tiers)


def _reasons(data: Any, key: str) -> Iterable[Reason]:
    for row in _list(data, key):
        kind, words, subject = _row(row, key)
        if not isinstance(words, str) or not isinstance(subject, str):
            raise _Broken(f"{key!r} holds something else than reasons")
        known: Any = _among(kind, REASON_KINDS, "kind of reason")
        yield Reason(known, words, subject)


# ------------------------------------------------------------------------------------ the shape


def _one(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _Broken("an entry is none")
    return data


def _get(data: Any, key: str, kind: type[_T]) -> _T:
    value = _one(data).get(key)
    if not isinstance(value, kind):
        raise _Broken(f"{key!r} is missing or of another kind")
    return value


def _list(data: Any, key: str) -> list[Any]:
    value = _one(data).get(key)
    if not isinstance(value, list):
        raise _Broken(f"{key!r} is missing or no list")
    return value


def _texts(data: Any, key: str) -> list[str]:
    values = _list(data, key)
    if not all(isinstance(value, str) for value in values):
        raise _Broken(f"{key!r} holds something else than texts")
    return values


def _row(row: Any, key: str) -> tuple[Any, Any, Any]:
    if not isinstance(row, list) or len(row) != 3:  # noqa: PLR2004 - see `_run_to_json`
        raise _Broken(f"an entry of {key!r} is not of three parts")
    return row[0], row[1], row[2]


def _count(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _Broken(f"a {what} is no number of bytes")
    return value


def _among(value: Any, known: Iterable[str], what: str) -> str:
    if not isinstance(value, str) or value not in set(known):
        raise _Broken(f"{plain(repr(value), 40)} is no {what}")
    return value


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        found = None
    if found is None or found.tzinfo is None:
        raise _Broken(f"{plain(repr(value), 40)} is no time with a zone")
    return found
