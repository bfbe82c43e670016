"""What each run keeps in the container, from one listing an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.errors import LocationError
from expmgr.storage.usage import Scan, attribute
from expmgr.tracking.journal import now_ms
from expmgr.tracking.queries import select_experiments

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator

    from mlflow import MlflowClient

    from expmgr.cleanup.locate import Finder
    from expmgr.storage.usage import ArtifactFolder

__all__ = ["scan_experiments"]

_EVERY = 1000
"""Blobs between two calls of the progress callback."""


class _Stopped(Exception):  # noqa: N818 - not an error: somebody asked to stop
    pass


def scan_experiments(
    finder: Finder,
    client: MlflowClient,
    experiments: str | Iterable[str] | None,
    *,
    prefix: str,
    on_progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
) -> Scan:
    """List the roots of the chosen experiments, each once.

    A root whose listing was cancelled is left out of the result: half a listing would read as
    smaller models.

    Raises
    ------
    NotFoundError, TrackingError, StorageError
        No such experiment, or one side could not be asked.
    """
    began = now_ms()
    roots: dict[str, None] = {}
    for experiment in select_experiments(client, experiments, prefix=prefix):
        try:
            roots[finder.blob_path(experiment.artifact_location)] = None
        except LocationError:
            continue  # kept elsewhere; its runs' state says so
    files = size = 0

    def seen(root: str) -> Iterator[tuple[str, int]]:
        nonlocal files, size
        for blob in finder.list_blobs(f"{root}/" if root else "", cancel=cancel):
            if cancel is not None and cancel.is_set():
                raise _Stopped
            if blob.is_directory:
                continue
            files += 1
            size += blob.bytes
            if on_progress is not None and files % _EVERY == 0:
                on_progress(files, size)
            yield blob.name, blob.bytes

    folders: dict[str, ArtifactFolder] = {}
    done: list[str] = []
    for root in roots:
        if cancel is not None and cancel.is_set():
            break
        try:
            folders.update(attribute(seen(root), root))
        except _Stopped:
            break
        done.append(root)
    if on_progress is not None:
        on_progress(files, size)
    return Scan(tuple(done), folders, began)
