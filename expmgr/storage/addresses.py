"""The addresses of one store: from an artifact URI to a path or location there, and back. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from expmgr.errors import LocationError
from expmgr.storage.artifact_uri import is_proxied, parse_artifact_uri
from expmgr.storage.blob_path import check_path
from expmgr.storage.location import Location, check_location
from expmgr.storage.uri_readings import readings_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from expmgr.storage.location import LocationKind
    from expmgr.storage.store import Store

__all__ = ["Addresses"]


@dataclass(frozen=True)
class Addresses:
    """What a store knows of its own addresses, proxied ones included.

    Attributes
    ----------
    store
        The credentials' account and container.
    artifacts_destination
        Where a tracking server that proxies artifacts keeps them (its option of the same name);
        without it ``mlflow-artifacts:`` is nowhere.
    """

    store: Store
    artifacts_destination: str | None = None

    def path_of(self, uri: str) -> str:
        """Return the blob path of an artifact URI; LocationError where it is not in the store."""
        return parse_artifact_uri(uri, self.store, artifacts_destination=self.artifacts_destination)

    def path_or_none(self, uri: str) -> str | None:
        """Return the blob path of an artifact URI, None where it is not in the store."""
        try:
            return self.path_of(uri)
        except LocationError:
            return None

    def root_or_none(self, uri: str) -> str | None:
        """Return the blob path of an experiment's root, "" for the container itself.

        Nothing may be deleted there, so it is no path; what lies below it has one.
        """
        path = self.path_or_none(uri)
        if path is None:
            below = self.path_or_none(f"{uri.removesuffix('/')}/-")
            path = None if below is None else below.rpartition("/")[0]
        return path

    def readings_of(self, uri: str) -> frozenset[str]:
        """Return every blob path that an artifact URI may mean, see `uri_readings.readings_of`."""
        return readings_of(uri, self.store, artifacts_destination=self.artifacts_destination)

    def may_lie_at(self, uri: str, path: str) -> bool:
        """Whether what has an artifact URI may lie at a blob path.

        So it does where the path is one of what the URI may mean; and where a tracking server
        keeps it of which nobody said where, anywhere.
        """
        if self.artifacts_destination is None and is_proxied(uri):
            return True
        return path in self.readings_of(uri)

    def uri_of(self, path: str) -> str:
        """Return the artifact URI of a blob path, as MLflow's own client takes it.

        MLflow's client knows the hosts ``blob.core.*`` alone; with an emulator or a private name
        its connection string decides where requests go, and the host only names the account
        (``AzureBlobArtifactRepository.parse_wasbs_uri``).
        """
        cloud = self.store.cloud
        host = cloud if cloud is not None and cloud.startswith("core.") else "core.windows.net"
        return f"wasbs://{self.store.container}@{self.store.account}.blob.{host}/{path}"

    def logged_model(self, uri: str, model_id: str) -> Location:
        """Return the location of a LoggedModel, from its ``artifact_location``.

        Raises
        ------
        LocationError
            Where the URI is not in the store or does not end with ``<model_id>/artifacts``.
        """
        return self._location(self.path_of(uri), "logged_model", model_id)

    def run_artifacts(self, uri: str, run_id: str) -> Location:
        """Return the location of everything under a run's ``artifact_uri``.

        Raises
        ------
        LocationError
            Where the URI is not in the store or does not end with ``<run_id>/artifacts``.
        """
        return self._location(self.path_of(uri), "run_artifacts", run_id)

    def run_model(
        self, uri: str, run_id: str, model_path: str, *, marker_last: bool = False
    ) -> Location:
        """Return the location of a model below a run's artifacts, from its ``artifact_uri``.

        Parameters
        ----------
        uri
            The run's artifact URI.
        run_id
            The run.
        model_path
            The model's path below it, as ``mlflow.log-model.history`` has it (not quoted).
        marker_last
            True where only an ``MLmodel`` file told that there is a model.

        Raises
        ------
        LocationError
            Where the model path is empty or ``.`` (it would be everything the run has), or the URI
            is not in the store, or the id does not stand in its place.
        """
        if model_path.strip().strip("/") in {"", "."}:
            raise LocationError(
                f"the model path {model_path!r} would be all artifacts of run {run_id}: refused",
                run_id=run_id,
            )
        root = self.run_artifacts(uri, run_id).path
        below = check_path(model_path.removesuffix("/"), what="model path")
        return self._location(f"{root}/{below}", "run_model", run_id, marker_last=marker_last)

    def check(self, location: Location, foreign_roots: Iterable[str] = ()) -> Location:
        """Pass a location through the guard, see `expmgr.storage.location.check_location`."""
        return check_location(location, store=self.store, foreign_roots=foreign_roots)

    def _location(
        self, path: str, kind: LocationKind, owner_id: str, *, marker_last: bool = False
    ) -> Location:
        return self.check(
            Location(self.store.account, self.store.container, path, kind, owner_id, marker_last)
        )
