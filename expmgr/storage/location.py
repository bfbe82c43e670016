"""One blob prefix that holds a model, and the guard that every such location must pass. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from expmgr.errors import LocationError
from expmgr.storage.blob_path import JOURNAL_PREFIX, check_path, is_within

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from expmgr.storage.store import Store

__all__ = ["Location", "LocationKind", "check_location", "check_names"]

LocationKind = Literal["logged_model", "run_model", "run_artifacts"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,256}")
_ARTIFACTS = "artifacts"


@dataclass(frozen=True, order=True)
class Location:
    """One blob prefix that holds model files of one run.

    Attributes
    ----------
    account
        Storage account name.
    container
        Container name.
    path
        Blob path without leading or trailing slash.
    kind
        ``logged_model`` (MLflow 3: ``.../<model_id>/artifacts``), ``run_model`` (MLflow 2:
        ``.../<run_id>/artifacts/<model path>``) or ``run_artifacts`` (``.../<run_id>/artifacts``).
    owner_id
        The run id or model id that must stand as a whole segment in the path.
    marker_last
        True where only an ``MLmodel`` file told that this is a model: that file is deleted last.
    """

    account: str
    container: str
    path: str
    kind: LocationKind
    owner_id: str
    marker_last: bool = False

    @property
    def prefix(self) -> str:
        """The path with its trailing slash, as listings need it."""
        return f"{self.path}/"

    @property
    def marker(self) -> str:
        """The name of the location's own ``MLmodel`` file."""
        return f"{self.path}/MLmodel"

    def holds(self, name: str) -> bool:
        """Return True where a blob name lies below this location."""
        return name.startswith(self.prefix)


def check_location(
    location: Location, *, store: Store, foreign_roots: Iterable[str] = ()
) -> Location:
    """Return a location as it is where deleting everything below it is safe: the guard.

    Parameters
    ----------
    location
        What would be deleted.
    store
        The credentials' account and container.
    foreign_roots
        Blob paths of the roots of other runs, models and experiments (and what a root that cannot
        be parsed may mean, `uri_readings.readings_of`): none may lie within the location, nor
        around it below the owner's own ``artifacts``, where the location would be part of what the
        other one owns.

    Raises
    ------
    LocationError
        With what was wrong. Nothing has been touched.
    """
    if (location.account, location.container) != (store.account, store.container):
        raise LocationError(
            f"{location.path!r} is in container {location.container!r} of account "
            f"{location.account!r}, the credentials are for {store}: nothing was touched"
        )
    check_path(location.path, what="location")
    if is_within(location.path, JOURNAL_PREFIX) or is_within(JOURNAL_PREFIX, location.path):
        raise LocationError(
            f"location {location.path!r} is in {JOURNAL_PREFIX!r}, where the journal of deletions "
            "is kept: nothing was touched"
        )
    if not _ID.fullmatch(location.owner_id):
        raise LocationError(f"{location.owner_id!r} is not an id of MLflow: nothing was touched")
    if location.kind not in get_args(LocationKind):
        raise LocationError(f"{location.kind!r} is not a kind of location: nothing was touched")
    owned = _owned(location)
    if not owned:
        below = "/<model path>" if location.kind == "run_model" else ""
        raise LocationError(
            f"location {location.path!r} does not end with "
            f"'{location.owner_id}/artifacts{below}' as MLflow builds it: nothing was touched"
        )
    for root in (foreign.strip("/") for foreign in foreign_roots):
        around = is_within(location.path, root) and is_within(root, owned)
        if is_within(root, location.path) or around:
            raise LocationError(
                f"location {location.path!r} overlaps the root {root!r} of another run, model or "
                "experiment, or what such a root may mean as it is written: nothing was touched. "
                "Move that experiment's artifacts, or delete by hand what belongs to this run"
            )
    return location


def check_names(
    names: Iterable[str] | None, locations: Sequence[Location]
) -> frozenset[str] | None:
    """Return the names that a deletion is about, each of which lies in a location.

    Raises
    ------
    LocationError
        One lies in none. Nothing has been touched.
    """
    if names is None:
        return None
    only = frozenset(names)
    for name in only:
        if not any(location.holds(name) for location in locations):
            raise LocationError(
                f"{name!r} lies in none of the locations of this deletion: nothing was touched"
            )
    return only


def _ends(path: str, owner_id: str) -> bool:
    return path.split("/")[-2:] == [owner_id, _ARTIFACTS]


def _owned(location: Location) -> str:
    """Return the ``<owner id>/artifacts`` folder that a location is, or lies in; "" where none."""
    if location.kind != "run_model":
        return location.path if _ends(location.path, location.owner_id) else ""
    segments = location.path.split("/")
    for end in range(2, len(segments)):
        if segments[end - 2 : end] == [location.owner_id, _ARTIFACTS]:
            return "/".join(segments[:end])
    return ""
