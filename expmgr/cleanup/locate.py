"""From what MLflow recorded to the models of a run and the blob prefixes of their files.

The three rules, in order, are those of the README's "What is a run's model": LoggedModels and
MLflow 2's history tag; directories with an ``MLmodel`` file; everything under the run's artifacts
where MLflow never recorded a model, no deletion of one was ever begun, and the artifacts may be
one: results of an evaluation are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from expmgr.catalog.files import is_report, marked_directories, outermost
from expmgr.catalog.model import Model
from expmgr.errors import InvalidInputError, LocationError, StorageError
from expmgr.storage.addresses import Addresses
from expmgr.storage.store import Store
from expmgr.tracking.journal import deletion_was_begun, read_records
from expmgr.tracking.models import input_model_ids, model_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mlflow.entities import Experiment, LoggedModel, Run

    from expmgr.storage.listing import Blob
    from expmgr.storage.location import Location
    from expmgr.storage.protocol import Storage
    from expmgr.tracking.models import RunModels

    ListBlobs = Callable[..., Iterator[Blob]]

__all__ = [
    "Finder",
    "Found",
    "Located",
    "experiment_roots",
    "finder_of",
    "foreign",
    "nowhere",
    "parent_of",
    "run_model",
    "two_stories",
]


@dataclass(frozen=True)
class Located:
    """A model and where its files lie; the location has passed the guard."""

    model: Model
    location: Location


@dataclass(frozen=True)
class Found:
    """The models of a run.

    Attributes
    ----------
    note
        What could not be located and why, or "".
    """

    models: tuple[Located, ...] = ()
    note: str = ""

    @property
    def locations(self) -> tuple[Location, ...]:
        """Where they lie."""
        return tuple(found.location for found in self.models)


def experiment_roots(experiments: Iterable[Experiment], addresses: Addresses) -> tuple[str, ...]:
    """Return the blob paths of the experiments' roots, as far as they lie in our store.

    ``create_experiment`` accepts a location inside another run's artifacts; no deletion may cover
    one. Runs and models lie under their experiment's root, so these roots stand for them. A root
    that cannot be parsed stands for every path that it may mean. Give it all experiments, the
    trash included.
    """
    roots = {
        path
        for experiment in experiments
        for path in addresses.readings_of(experiment.artifact_location)
    }
    return tuple(sorted(roots))


@dataclass(frozen=True)
class Finder:
    """Finds locations in one store.

    Attributes
    ----------
    list_blobs
        Lists the blobs under a prefix (`Storage.list`).
    roots
        See `experiment_roots`.
    """

    addresses: Addresses
    list_blobs: ListBlobs
    roots: tuple[str, ...] = ()

    def blob_path(self, uri: str) -> str:
        """Return the blob path of an artifact URI; LocationError where it is not in our store."""
        return self.addresses.path_of(uri)

    def path_or_none(self, uri: str) -> str | None:
        """Return the blob path of an artifact URI, None where it is not in our store."""
        return self.addresses.path_or_none(uri)

    def homes(self, experiments: Iterable[Experiment]) -> dict[str, list[Experiment]]:
        """Return experiments by the blob path of their root, as far as that is in our store.

        The path is "" where the root is the container itself.
        """
        found: dict[str, list[Experiment]] = {}
        for experiment in experiments:
            path = self.addresses.root_or_none(experiment.artifact_location)
            if path is not None:
                found.setdefault(path, []).append(experiment)
        return found

    def check(self, location: Location) -> Location:
        """Pass a location through the guard."""
        return self.addresses.check(location, self.roots)

    def logged(self, model: LoggedModel, *, in_trash: bool = False) -> Located:
        """Return a LoggedModel with its location.

        Raises
        ------
        LocationError
            It is in another store or not where a model may be deleted.
        """
        location = self.addresses.logged_model(model.artifact_location, model.model_id)
        return Located(model_of(model, location.path, in_trash=in_trash), self.check(location))

    def recorded(
        self, run: Run, models: RunModels, model_ids: Sequence[str] | None = None
    ) -> Found:
        """Return the models that MLflow itself tells (rule 1 and the history tag of rule 2).

        Raises
        ------
        InvalidInputError
            ``model_ids`` names a model that the run did not make.
        LocationError
            A location is in another store or not one that may be deleted.
        """
        run_id = run.info.run_id
        wanted = _wanted(run_id, models, model_ids)
        found = [
            self.logged(model, in_trash=model.model_id in models.trashed)
            for model in models.made
            if wanted is None or model.model_id in wanted
        ]
        untold = [model_id for model_id in models.untold if wanted is None or model_id in wanted]
        # A model that MLflow no longer tells may stand in the journal, which was written when it
        # still did.
        root = parent_of(self.blob_path(run.info.artifact_uri)) if untold else ""
        journal = {
            location.owner_id: location
            for record in read_records(run_id, run.data.tags)
            for location in record.locations
            if location.kind == "logged_model" and location.path == _usual(root, location.owner_id)
        }
        for model_id in untold:
            if model_id in journal:
                location = self.check(journal[model_id])
                gone = Model(
                    model_id,
                    "logged",
                    run.info.experiment_id,
                    run_id=run_id,
                    path=location.path,
                    in_trash=True,
                )
                found.append(Located(gone, location))
        lost = [model_id for model_id in untold if model_id not in journal]
        if wanted is None:
            found.extend(self.recorded_directories(run, models.history))
        note = ""
        if lost:
            note = f"MLflow does not tell where {', '.join(lost)} lies, and it is not guessed"
        return Found(_without_inner(found), note)

    def find(
        self,
        run: Run,
        models: RunModels,
        model_ids: Sequence[str] | None = None,
        *,
        raw: bool = False,
        cancel: threading.Event | None = None,
    ) -> Found:
        """Return all models of a run; lists the run's artifacts where it must.

        Parameters
        ----------
        raw
            Take all the artifacts of a run without a recorded model, whatever they look like.

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
        if models.linked and not raw:
            note = f"the run only links to models that other runs made ({', '.join(models.linked)})"
            return Found(note=note)
        if deletion_was_begun(run_id, run.data.tags) and not raw:
            # Never widened: what was taken for the model then is all that may ever go.
            begun = {
                location.path: location
                for record in read_records(run_id, run.data.tags)
                for location in record.locations
            }
            return Found(
                _without_inner(
                    [
                        Located(run_model(run, location), self.check(location))
                        for location in begun.values()
                    ]
                )
            )
        return self._by_files(run, raw=raw, cancel=cancel)

    def _by_files(self, run: Run, *, raw: bool, cancel: threading.Event | None) -> Found:
        """Tell by the files of a run of which MLflow recorded nothing (rules 2 and 3)."""
        artifacts = self.artifacts(run)
        names = self._own_names(artifacts, cancel=cancel)
        directories = marked_directories(names)
        if directories and artifacts.path not in directories and not raw:
            self._agree(artifacts, directories, cancel=cancel)
            below = [path[len(artifacts.prefix) :] for path in directories]
            return Found(tuple(self.directories(run, below, marker_last=True)))
        if not raw and names and artifacts.path not in directories:
            if input_model_ids(run):
                return Found(note="its artifacts are results of an evaluation, not a model")
            if all(map(is_report, names)):
                return Found(note="its artifacts are plots, tables and reports, not a model")
        return Found((Located(run_model(run, artifacts), self.check(artifacts)),))

    def _agree(
        self, artifacts: Location, directories: Sequence[str], *, cancel: threading.Event | None
    ) -> None:
        """List again: a directory that one listing left out would stay, and the run read deleted.

        Raises
        ------
        StorageError
            The second listing shows other directories with a model.
        """
        again = marked_directories(self._own_names(artifacts, cancel=cancel))
        changed = sorted(set(directories) ^ set(again))
        if changed:
            raise two_stories(changed[0], artifacts)

    def verify(self, run: Run | None, models: RunModels, location: Location) -> None:
        """Check that a location belongs to its owner by what MLflow and the container say now.

        A plan is a value that anybody can change, and the journal is text that anybody can edit.

        Parameters
        ----------
        run
            The run that the deletion is of, None for a model without one, which is then all that
            ``models`` holds.

        Raises
        ------
        LocationError
            It does not.
        """
        self.check(location)
        if location.kind == "logged_model":
            expected = [
                self.blob_path(model.artifact_location)
                for model in models.made
                if model.model_id == location.owner_id
            ]
            if run is not None and location.owner_id in models.untold:
                root = parent_of(self.blob_path(run.info.artifact_uri))
                expected.append(_usual(root, location.owner_id))
            if location.path not in expected:
                raise foreign(location)
            return
        if run is None or location.owner_id != run.info.run_id:
            raise foreign(location)
        artifacts = self.artifacts(run)
        if location.kind == "run_model" and models.recorded:
            known = {f"{artifacts.prefix}{path.removesuffix('/')}" for path in models.history}
            if location.path not in known:
                raise foreign(location)
            return
        if models.recorded:
            raise foreign(location)
        names = self._own_names(artifacts)
        directories = marked_directories(names)
        if not any(location.holds(name) for name in names):
            return  # nothing is left there that could belong to somebody else
        whole = not directories or artifacts.path in directories
        if location.path not in ([artifacts.path] if whole else directories):
            raise foreign(location)

    def _own_names(
        self, artifacts: Location, *, cancel: threading.Event | None = None
    ) -> list[str]:
        """List a run's files, without those of experiments that lie within its artifacts."""
        inner = tuple(f"{root}/" for root in self.roots if artifacts.holds(f"{root}/"))
        return [
            blob.name
            for blob in self.list_blobs(artifacts.prefix, cancel=cancel)
            if not blob.is_directory and not blob.name.startswith(inner)
        ]

    def artifacts(self, run: Run) -> Location:
        """Return where a run's artifacts lie; LocationError where that is not ours to touch."""
        return self.addresses.run_artifacts(run.info.artifact_uri, run.info.run_id)

    def recorded_directories(self, run: Run, paths: Iterable[str]) -> tuple[Located, ...]:
        """Return the models that a run logged at paths; one within another is part of that one.

        Raises
        ------
        LocationError
            One is not where a model may be deleted: what the others hold is not certain then.
        """
        return _without_inner(self.directories(run, paths))

    def directories(
        self, run: Run, paths: Iterable[str], *, marker_last: bool = False
    ) -> Iterator[Located]:
        """Yield models that lie at paths below a run's artifacts; each passes the guard."""
        for path in paths:
            location = self.addresses.run_model(
                run.info.artifact_uri, run.info.run_id, path, marker_last=marker_last
            )
            yield Located(run_model(run, location), self.check(location))


def finder_of(storage: Storage, experiments: Iterable[Experiment]) -> Finder:
    """Return a finder for a store that knows the roots of all experiments, the trash included."""
    addresses = storage.addresses
    return Finder(addresses, storage.list, experiment_roots(experiments, addresses))


def two_stories(directory: str, artifacts: Location) -> StorageError:
    """Return the error of a directory that was a model in one listing of two."""
    return StorageError(
        f"{directory}/MLmodel was in one listing of {artifacts.path} and not in another a moment "
        "apart: somebody writes there, or something between here and the account tells what is "
        "not so. Plan again"
    )


def nowhere() -> Finder:
    """Return a finder to which every place is somebody else's, for a manager without storage."""
    return Finder(Addresses(Store("", "", "")), lambda *_, **__: iter(()))


def parent_of(artifacts: str) -> str:
    """Return the root that a run's artifacts (``<root>/<run_id>/artifacts``) lie under. Pure."""
    return "/".join(artifacts.split("/")[:-2])


def _usual(root: str, model_id: str) -> str:
    """Return where MLflow keeps a LoggedModel's files below an experiment's root."""
    return f"{root}/models/{model_id}/artifacts" if root else f"models/{model_id}/artifacts"


def run_model(run: Run, location: Location) -> Model:
    """Return the model that lies in a location of a run, as far as the location tells."""
    run_id = run.info.run_id
    if location.kind == "logged_model":
        return Model(
            location.owner_id,
            "logged",
            run.info.experiment_id,
            run_id=run_id,
            path=location.path,
            in_trash=True,
        )
    below = location.path.partition(f"{run_id}/artifacts")[2].strip("/")
    return Model(
        f"{run_id}/{below}" if below else run_id,
        "directory" if below else "raw",
        run.info.experiment_id,
        run_id=run_id,
        name=below,
        # Nothing tells when its files were written but that it was before the run ended.
        created=run.info.end_time or run.info.start_time or 0,
        path=location.path,
    )


def _without_inner(found: Iterable[Located]) -> tuple[Located, ...]:
    """Drop models that lie within another one."""
    by_path = {located.location.path: located for located in found}
    return tuple(by_path[path] for path in outermost(by_path))


def foreign(location: Location) -> LocationError:
    """Return the error of a location that is not its owner's."""
    message = (
        f"{location.path!r} is not where MLflow keeps {location.owner_id} now: the plan or the "
        "journal was changed. Nothing was deleted; plan again."
    )
    return LocationError(message)


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
