"""Where a model's files are written and read: by our own storage, or MLflow's own way.

A transfer that takes a while shows a bar: a widget in a notebook, text in a terminal.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from expmgr.storage.transfer import (
    RemoteFolder,
    ServedFolder,
    Transfer,
    download_folder,
    upload_folder,
)
from expmgr.tracking.queries import asking

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from expmgr.credentials import AzureBlobCredentials
    from expmgr.retry import RetryConfig
    from expmgr.storage.addresses import Addresses
    from expmgr.storage.location import Location
    from expmgr.storage.protocol import Storage
    from expmgr.storage.transfer import TransferProgress

    OnProgress = Callable[[TransferProgress], None]

__all__ = ["SHOWN_AFTER", "ModelFiles", "Watch", "temporary_folder"]

SHOWN_AFTER = 2.0
"""Seconds; a transfer that ends sooner shows no bar."""


@dataclass(frozen=True)
class Watch:
    """Who watches a transfer.

    Attributes
    ----------
    on_progress
        Called from worker threads, instead of the bar that is shown without it.
    cancel
        Set to give the transfer up.
    """

    on_progress: OnProgress | None = None
    cancel: threading.Event | None = None

    @contextmanager
    def shown(self, what: str) -> Iterator[Watch]:
        """Yield what a transfer reports to: the caller's own, else a bar with ``what`` before."""
        if self.on_progress is not None:
            yield self
            return
        from tqdm.auto import tqdm

        with tqdm(
            desc=what, unit="B", unit_scale=True, delay=SHOWN_AFTER, leave=False, total=0
        ) as bar:

            def advance(progress: TransferProgress) -> None:
                bar.total = progress.total_bytes
                bar.update(progress.bytes - bar.n)

            yield Watch(advance, self.cancel)


@dataclass(frozen=True)
class ModelFiles:
    """Moves model folders between this machine and where MLflow says that they lie.

    Attributes
    ----------
    tracking_uri
        The server that proxies ``mlflow-artifacts:``.
    retry
        How often each file is tried.
    credentials, blob_store
        Our own way to Azure; without them MLflow's artifact repositories do the work, with what
        they find in the environment.
    """

    tracking_uri: str
    retry: RetryConfig
    credentials: AzureBlobCredentials | None = None
    blob_store: Storage | None = None

    def names(self, uri: str, model_id: str) -> frozenset[str]:
        """Return the paths of the files in a LoggedModel's folder, as they are at this moment.

        Raises
        ------
        LocationError
            It is not in the credentials' container, or not where MLflow puts that model.
        StorageError, TrackingError
            It could not be listed.
        """
        return self._names(uri, model_id, lambda to: to.logged_model(uri, model_id))

    def names_below(self, uri: str, run_id: str, path: str) -> frozenset[str]:
        """Return the paths of the files in a directory below a run's artifacts (``uri``)."""
        place = f"{uri.rstrip('/')}/{path}"
        return self._names(place, f"{run_id}/{path}", lambda to: to.run_model(uri, run_id, path))

    def _names(
        self, uri: str, model_id: str, locate: Callable[[Addresses], Location]
    ) -> frozenset[str]:
        if self.credentials is None or self.blob_store is None or _is_served(uri):
            with asking(f"look at the files of model {model_id}"):
                return frozenset(file.path for file in self._served(uri).files())
        location = locate(self.blob_store.addresses)
        return frozenset(
            blob.name[len(location.prefix) :]
            for blob in self.blob_store.list(location.prefix)
            if not blob.is_directory
        )

    def upload(self, folder: Path, uri: str, model_id: str, watch: Watch) -> Transfer:
        """Upload a folder as a LoggedModel's files.

        Parameters
        ----------
        uri
            The LoggedModel's ``artifact_location``.

        Raises
        ------
        LocationError
            It is not in the credentials' container, or not where MLflow puts that model.
        StorageError
            A file could not be uploaded.
        """
        with self._folder(uri, lambda to: to.logged_model(uri, model_id)) as remote:
            return upload_folder(
                folder,
                remote,
                params=self.retry.upload,
                on_progress=watch.on_progress,
                cancel=watch.cancel,
            )

    def download(self, uri: str, model_id: str, folder: Path, watch: Watch) -> Transfer:
        """Download a LoggedModel's files."""
        with self._folder(uri, lambda to: to.logged_model(uri, model_id)) as remote:
            return self._download(remote, folder, watch)

    def download_run_model(
        self,
        uri: str,
        run_id: str,
        path: str,
        folder: Path,
        watch: Watch,
    ) -> Transfer:
        """Download a model that MLflow 2 logged below a run's artifacts (``uri``)."""
        with self._folder(uri, lambda to: to.run_model(uri, run_id, path), path) as remote:
            return self._download(remote, folder, watch)

    def _download(self, remote: RemoteFolder, folder: Path, watch: Watch) -> Transfer:
        return download_folder(
            remote,
            folder,
            params=self.retry.download,
            on_progress=watch.on_progress,
            cancel=watch.cancel,
        )

    @contextmanager
    def _folder(
        self, uri: str, locate: Callable[[Addresses], Location], below: str = ""
    ) -> Iterator[RemoteFolder]:
        if self.credentials is None or self.blob_store is None or _is_served(uri):
            yield self._served(f"{uri.rstrip('/')}/{below}" if below else uri)
            return
        with self.blob_store.folder(locate(self.blob_store.addresses)) as folder:
            yield folder

    def _served(self, uri: str) -> ServedFolder:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with asking("open the artifacts of the tracking server"):
            repository = get_artifact_repository(uri, tracking_uri=self.tracking_uri)
        return ServedFolder(repository)


def _is_served(uri: str) -> bool:
    return urlsplit(uri).scheme == "mlflow-artifacts"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a path for a new folder, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="expmgr-model-") as parent:
        yield Path(parent) / "model"
