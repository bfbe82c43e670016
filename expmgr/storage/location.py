"""Where a run's model lies in Azure, and the guard that every location must pass. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from expmgr.errors import LocationError
from expmgr.storage.artifact_uri import parse_artifact_uri
from expmgr.storage.blob_path import check_path, is_within
from expmgr.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Location",
    "LocationKind",
    "Store",
    "check_location",
    "logged_model_location",
    "parse_artifact_uri",
    "run_artifacts_location",
    "run_model_location",
]

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


def logged_model_location(
    uri: str, model_id: str, store: Store, *, artifacts_destination: str | None = None
) -> Location:
    """Return the location of a LoggedModel, from its ``artifact_location``.

    Raises
    ------
    LocationError
        Where the URI is not in the store or does not end with ``<model_id>/artifacts``.
    """
    path = parse_artifact_uri(uri, store, artifacts_destination=artifacts_destination)
    location = Location(store.account, store.container, path, "logged_model", model_id)
    return check_location(location, store=store)


def run_model_location(
    uri: str,
    run_id: str,
    model_path: str,
    store: Store,
    *,
    artifacts_destination: str | None = None,
    marker_last: bool = False,
) -> Location:
    """Return the location of a model below a run's artifacts, from the run's ``artifact_uri``.

    Parameters
    ----------
    uri
        The run's artifact URI.
    run_id
        The run.
    model_path
        The model's path below it, as the ``mlflow.log-model.history`` tag has it (not quoted).
    store
        The credentials' account and container.
    artifacts_destination
        See :func:`parse_artifact_uri`.
    marker_last
        True where only an ``MLmodel`` file told that there is a model.

    Raises
    ------
    LocationError
        Where the model path is empty or ``.`` (it would be everything the run has), or the URI is
        not in the store, or the id does not stand in its place.
    """
    if model_path.strip().strip("/") in {"", "."}:
        raise LocationError(
            f"the model path {model_path!r} would be all artifacts of run {run_id}: refused",
            run_id=run_id,
        )
    root = parse_artifact_uri(uri, store, artifacts_destination=artifacts_destination)
    below = check_path(model_path.removesuffix("/"), what="model path")
    location = Location(
        store.account, store.container, f"{root}/{below}", "run_model", run_id, marker_last
    )
    if not _ends(root, run_id):
        raise _misplaced(location, f"{run_id}/artifacts/<model path>")
    return check_location(location, store=store)


def run_artifacts_location(
    uri: str, run_id: str, store: Store, *, artifacts_destination: str | None = None
) -> Location:
    """Return the location of everything under a run's ``artifact_uri``.

    Raises
    ------
    LocationError
        Where the URI is not in the store or does not end with ``<run_id>/artifacts``.
    """
    path = parse_artifact_uri(uri, store, artifacts_destination=artifacts_destination)
    location = Location(store.account, store.container, path, "run_artifacts", run_id)
    return check_location(location, store=store)


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
    if not _ID.fullmatch(location.owner_id):
        raise LocationError(f"{location.owner_id!r} is not an id of MLflow: nothing was touched")
    if location.kind in {"logged_model", "run_artifacts"}:
        if not _ends(location.path, location.owner_id):
            raise _misplaced(location, f"{location.owner_id}/artifacts")
    elif location.kind == "run_model":
        if not _is_below(location.path, location.owner_id):
            raise _misplaced(location, f"{location.owner_id}/artifacts/<model path>")
    else:
        raise LocationError(f"{location.kind!r} is not a kind of location: nothing was touched")
    owned = _owned(location)
    for root in (foreign.strip("/") for foreign in foreign_roots):
        around = is_within(location.path, root) and is_within(root, owned)
        if is_within(root, location.path) or around:
            raise LocationError(
                f"location {location.path!r} overlaps the root {root!r} of another run, model or "
                "experiment, or what such a root may mean as it is written: nothing was touched. "
                "Move that experiment's artifacts, or delete by hand what belongs to this run"
            )
    return location


def _ends(path: str, owner_id: str) -> bool:
    return path.split("/")[-2:] == [owner_id, _ARTIFACTS]


def _is_below(path: str, run_id: str) -> bool:
    segments = path.split("/")
    return any(
        segments[index : index + 2] == [run_id, _ARTIFACTS] for index in range(len(segments) - 2)
    )


def _owned(location: Location) -> str:
    """Return the ``<owner id>/artifacts`` folder that a location is, or lies in."""
    segments = location.path.split("/")
    index = segments.index(location.owner_id)
    return "/".join(segments[: index + 2])


def _misplaced(location: Location, expected: str) -> LocationError:
    return LocationError(
        f"location {location.path!r} does not end with {expected!r} as MLflow builds it: "
        "nothing was touched"
    )
