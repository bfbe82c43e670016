"""From what MLflow recorded to the blob prefixes of a run's model.

The three rules, in order, are those of the README's "What is a run's model": LoggedModels and
MLflow 2's history tag; directories with an ``MLmodel`` file; everything under the run's artifacts
where MLflow never recorded a model and no deletion of one was ever begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from expmgr.errors import InvalidInputError
from expmgr.storage.location import (
    check_location,
    logged_model_location,
    parse_artifact_uri,
    run_artifacts_location,
    run_model_location,
)
from expmgr.storage.uri_readings import readings_of
from expmgr.tracking.journal import deletion_was_begun, read_records

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mlflow.entities import Experiment, Run

    from expmgr.storage.blob_store import Blob
    from expmgr.storage.location import Location, Store
    from expmgr.tracking.models import RunModels

    ListBlobs = Callable[..., Iterator[Blob]]

__all__ = ["Finder", "Found", "experiment_roots", "outermost"]

_MARKER = "/MLmodel"


@dataclass(frozen=True)
class Found:
    """The locations of a run's model, every one of which has passed the guard.

    Attributes
    ----------
    model_ids
        The LoggedModels among them.
    note
        What could not be located and why, or "".
    """

    locations: tuple[Location, ...] = ()
    model_ids: tuple[str, ...] = ()
    note: str = ""


def experiment_roots(
    experiments: Iterable[Experiment], store: Store, artifacts_destination: str | None
) -> tuple[str, ...]:
    """Return the blob paths of the experiments' roots, as far as they lie in our store.

    ``create_experiment`` accepts a location inside another run's artifacts; no deletion may cover
    one. Runs and models lie under their experiment's root, so these roots stand for them. A root
    that cannot be parsed stands for every path that it may mean. Give it all experiments, the
    trash included.
    """
    roots = {
        path
        for experiment in experiments
        for path in readings_of(
            experiment.artifact_location, store, artifacts_destination=artifacts_destination
        )
    }
    return tuple(sorted(roots))


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that lie within no other of them, sorted. Pure."""
    kept: list[str] = []
    for path in sorted(set(paths), key=lambda path: path.split("/")):
        if not kept or not (path + "/").startswith(kept[-1] + "/"):
            kept.append(path)
    return tuple(kept)


@dataclass(frozen=True)
class Finder:
    """Finds locations in one store.

    Attributes
    ----------
    list_blobs
        Lists the blobs under a prefix (`BlobStore.list`).
    roots
        See `experiment_roots`.
    """

    store: Store
    list_blobs: ListBlobs
    artifacts_destination: str | None = None
    roots: tuple[str, ...] = ()

    def blob_path(self, uri: str) -> str:
        """Return the blob path of an artifact URI; LocationError where it is not in our store."""
        return parse_artifact_uri(uri, self.store, artifacts_destination=self.artifacts_destination)

    def checked(self, locations: Iterable[Location]) -> tuple[Location, ...]:
        """Pass every location through the guard and drop those within another."""
        by_path = {location.path: location for location in locations}
        for location in by_path.values():
            check_location(location, store=self.store, foreign_roots=self.roots)
        return tuple(by_path[path] for path in outermost(by_path))

    def recorded(
        self, run: Run, models: RunModels, model_ids: Sequence[str] | None = None
    ) -> Found:
        """Return the locations that MLflow itself tells (rule 1 and the history tag of rule 2).

        Raises
        ------
        InvalidInputError
            ``model_ids`` names a model that the run did not make.
        LocationError
            A location is in another store or not one that may be deleted.
        """
        run_id = run.info.run_id
        wanted = _wanted(run_id, models, model_ids)
        locations = [
            logged_model_location(
                model.artifact_location,
                model.model_id,
                self.store,
                artifacts_destination=self.artifacts_destination,
            )
            for model in models.made
            if wanted is None or model.model_id in wanted
        ]
        untold = [model_id for model_id in models.untold if wanted is None or model_id in wanted]
        # A model that MLflow no longer tells may stand in the journal, which was written when it
        # still did.
        journal = {
            location.owner_id: location
            for record in read_records(run_id, run.data.tags)
            for location in record.locations
            if location.kind == "logged_model"
        }
        locations.extend(journal[model_id] for model_id in untold if model_id in journal)
        lost = [model_id for model_id in untold if model_id not in journal]
        if wanted is None:
            locations.extend(
                run_model_location(
                    run.info.artifact_uri,
                    run_id,
                    path,
                    self.store,
                    artifacts_destination=self.artifacts_destination,
                )
                for path in models.history
            )
        note = ""
        if lost:
            note = f"MLflow does not tell where {', '.join(lost)} lies, and it is not guessed"
        ids = tuple(location.owner_id for location in locations if location.kind == "logged_model")
        return Found(self.checked(locations), ids, note)

    def find(
        self,
        run: Run,
        models: RunModels,
        model_ids: Sequence[str] | None = None,
        *,
        cancel: threading.Event | None = None,
    ) -> Found:
        """Return all locations of a run's model; lists the run's artifacts where it must.

        Raises
        ------
        InvalidInputError, LocationError
            See `recorded`.
        StorageError
            The run's artifacts could not be listed.
        """
        found = self.recorded(run, models, model_ids)
        if model_ids is not None or models.recorded:
            return found
        run_id = run.info.run_id
        if models.linked:
            note = f"the run only links to models that other runs made ({', '.join(models.linked)})"
            return Found(note=note)
        if deletion_was_begun(run_id, run.data.tags):
            # Never widened: what was taken for the model then is all that may ever go.
            begun = {
                location
                for record in read_records(run_id, run.data.tags)
                for location in record.locations
            }
            return Found(self.checked(begun))
        artifacts = run_artifacts_location(
            run.info.artifact_uri,
            run_id,
            self.store,
            artifacts_destination=self.artifacts_destination,
        )
        markers = [
            blob.name[: -len(_MARKER)]
            for blob in self.list_blobs(artifacts.prefix, cancel=cancel)
            if blob.name.endswith(_MARKER) and not blob.is_directory
        ]
        directories = outermost(markers)
        if directories and artifacts.path not in directories:
            return Found(
                self.checked(
                    run_model_location(
                        run.info.artifact_uri,
                        run_id,
                        path[len(artifacts.prefix) :],
                        self.store,
                        artifacts_destination=self.artifacts_destination,
                        marker_last=True,
                    )
                    for path in directories
                )
            )
        return Found(self.checked([artifacts]))


def _wanted(
    run_id: str, models: RunModels, model_ids: Sequence[str] | None
) -> frozenset[str] | None:
    if model_ids is None:
        return None
    wanted = frozenset([model_ids] if isinstance(model_ids, str) else model_ids)
    own = {model.model_id for model in models.made} | set(models.untold)
    foreign = sorted(wanted - own)
    if foreign:
        linked = [model_id for model_id in foreign if model_id in models.linked]
        message = (
            f"run {run_id} did not make {', '.join(foreign)}"
            + (" (it only links to it)" if linked else "")
            + f"; its own models are: {', '.join(sorted(own)) or 'none'}."
        )
        raise InvalidInputError(message, run_id=run_id)
    return wanted
