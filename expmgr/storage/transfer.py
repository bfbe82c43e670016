"""Folders to and from storage: many files at a time, with progress, each file retried by itself.

Two ways lead there: Azure Blob Storage with our own credentials, and a tracking server that proxies
artifacts. A folder's last file is its ``MLmodel``, both ways: a transfer that was cut short never
looks like a whole model.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from expmgr.errors import (
    ExpmgrError,
    LocationError,
    NotFoundError,
    StorageError,
    TransferCancelledError,
)
from expmgr.formatting import format_bytes, format_count
from expmgr.retry import RetryParams, retrying
from expmgr.secrecy import bare, redact
from expmgr.text import keep_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from azure.storage.blob import ContainerClient
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

    from expmgr.storage.listing import Blob

__all__ = [
    "BLOCK_SIZE",
    "IN_ONE_REQUEST",
    "WORKERS",
    "AzureFolder",
    "RemoteFile",
    "RemoteFolder",
    "ServedFolder",
    "Transfer",
    "TransferProgress",
    "download_folder",
    "upload_folder",
]

WORKERS = 8
"""Files under way at a time."""

BLOCK_SIZE = 8 * 1024 * 1024
"""Bytes a request for large files: small enough for the read timeout on a slow line, and with
Azure's 50,000 blocks a blob enough for 400 GB."""

IN_ONE_REQUEST = 32 * 1024 * 1024
"""Bytes up to which a file goes in one request, which a service checks by its MD5; they are held in
memory for each file under way. In blocks the same file took twice as long [measured]."""

_BLOCKS_AT_A_TIME = 4
_MARKER = "MLmodel"


@dataclass(frozen=True)
class TransferProgress:
    """A snapshot of a running transfer, handed to ``on_progress`` on a worker thread.

    Attributes
    ----------
    files, bytes
        Arrived so far.
    total_files, total_bytes
        In all.
    note
        Why a file is tried again, or "".
    """

    files: int
    bytes: int
    total_files: int
    total_bytes: int
    note: str = ""

    def __post_init__(self) -> None:
        keep_plain(self, "note")

    def __str__(self) -> str:
        done = f"{self.files} of {format_count(self.total_files, 'file')}"
        text = f"{done}, {format_bytes(self.bytes)} of {format_bytes(self.total_bytes)}"
        return f"{text} ({self.note})" if self.note else text


@dataclass(frozen=True)
class Transfer:
    """What was transferred: files, bytes, wall time, and how many tries failed on the way."""

    files: int
    bytes: int
    seconds: float
    retries: int = 0


@dataclass(frozen=True)
class RemoteFile:
    """One file of a remote folder: its path below the folder, with ``/``, and its size."""

    path: str
    bytes: int


class RemoteFolder(Protocol):
    """A folder in storage, one file at a time. Called from several threads at once."""

    @property
    def where(self) -> str:
        """The folder in words, for messages."""

    def files(self) -> list[RemoteFile]:
        """List the folder."""

    def send(self, source: Path, path: str, on_bytes: Callable[[int], None]) -> None:
        """Write one file; ``on_bytes`` is told how many bytes of it have arrived."""

    def fetch(self, file: RemoteFile, target: Path, on_bytes: Callable[[int], None]) -> None:
        """Read one file into ``target``."""


class AzureFolder:
    """A blob prefix, through our own credentials.

    Parameters
    ----------
    container
        A client that does not retry by itself (`AzureBlobCredentials.service_client`).
    path
        Blob path without a slash at the end.
    list_blobs
        Lists the blobs under a prefix (`BlobStore.list`).
    """

    def __init__(
        self,
        container: ContainerClient,
        path: str,
        list_blobs: Callable[[str], Iterator[Blob]],
    ) -> None:
        self._container = container
        self._path = path
        self._list = list_blobs

    @property
    def where(self) -> str:
        """Container and path."""
        return f"{self._container.container_name}/{self._path}"

    def files(self) -> list[RemoteFile]:
        """List the blobs below the path; the stubs that stand for directories are left out."""
        prefix = f"{self._path}/"
        return [
            RemoteFile(blob.name[len(prefix) :], blob.bytes)
            for blob in self._list(prefix)
            if not blob.is_directory
        ]

    def send(self, source: Path, path: str, on_bytes: Callable[[int], None]) -> None:
        """Upload one blob, large ones in blocks; an earlier try's blob is overwritten."""
        size = source.stat().st_size
        with source.open("rb") as content:
            self._container.upload_blob(
                f"{self._path}/{path}",
                content,
                length=size,
                overwrite=True,
                max_concurrency=_concurrency(size),
                progress_hook=lambda sent, _: on_bytes(sent),
            )

    def fetch(self, file: RemoteFile, target: Path, on_bytes: Callable[[int], None]) -> None:
        """Download one blob."""
        with target.open("wb") as content:
            stream = self._container.download_blob(
                f"{self._path}/{file.path}",
                max_concurrency=_concurrency(file.bytes),
                progress_hook=lambda got, _: on_bytes(got),
            )
            stream.readinto(content)


def _concurrency(size: int) -> int:
    return _BLOCKS_AT_A_TIME if size > IN_ONE_REQUEST else 1


class ServedFolder:
    """A folder behind MLflow's own artifact repository: the proxying server, or a local path.

    MLflow's HTTP layer retries by itself.
    """

    def __init__(self, repository: ArtifactRepository) -> None:
        self._repository = repository

    @property
    def where(self) -> str:
        """The artifact URI."""
        return str(self._repository.artifact_uri)

    def files(self) -> list[RemoteFile]:
        """Walk the folder."""
        found: list[RemoteFile] = []
        folders: list[str | None] = [None]
        while folders:
            for entry in self._repository.list_artifacts(folders.pop()):
                if entry.is_dir:
                    folders.append(entry.path)
                else:
                    found.append(RemoteFile(entry.path, int(entry.file_size or 0)))
        return found

    def send(self, source: Path, path: str, on_bytes: Callable[[int], None]) -> None:
        """Hand one file to MLflow, which keeps its name."""
        parent = str(PurePosixPath(path).parent)
        self._repository.log_artifact(str(source), None if parent == "." else parent)
        on_bytes(source.stat().st_size)

    def fetch(self, file: RemoteFile, target: Path, on_bytes: Callable[[int], None]) -> None:
        """Let MLflow write one file to ``target``."""
        self._repository._download_file(file.path, str(target))  # noqa: SLF001 - the one-file form
        on_bytes(file.bytes)


class _Counter:
    """Adds up what the files of one transfer report, from any thread."""

    def __init__(
        self,
        total_files: int,
        total_bytes: int,
        on_progress: Callable[[TransferProgress], None] | None,
        cancel: threading.Event | None,
    ) -> None:
        self.retries = 0
        self._files = 0
        self._bytes: dict[str, int] = {}
        self._sum = 0
        self._totals = total_files, total_bytes
        self._tell = on_progress
        self._cancel = cancel
        self._lock = threading.Lock()
        self.stop = threading.Event()

    def check(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise TransferCancelledError("the transfer was cancelled.")
        if self.stop.is_set():
            raise TransferCancelledError("another file of this transfer failed.")

    def arrived(self, path: str, size: int, note: str = "") -> None:
        with self._lock:
            self._sum += size - self._bytes.get(path, 0)
            self._bytes[path] = size
            if note:
                self.retries += 1
            self._report(note)

    def finished(self, path: str, size: int) -> None:
        with self._lock:
            self._sum += size - self._bytes.get(path, 0)
            self._bytes[path] = size
            self._files += 1
            self._report("")

    def _report(self, note: str) -> None:
        if self._tell is not None:
            self._tell(TransferProgress(self._files, self._sum, *self._totals, note))


def upload_folder(
    folder: Path,
    remote: RemoteFolder,
    *,
    params: RetryParams,
    workers: int = WORKERS,
    on_progress: Callable[[TransferProgress], None] | None = None,
    cancel: threading.Event | None = None,
) -> Transfer:
    """Upload every file below a folder, its ``MLmodel`` after all others.

    Parameters
    ----------
    folder
        A local folder; symbolic links to files are followed.
    remote
        Where to.
    params
        How often and how long each file is tried.
    workers
        Files under way at a time.
    on_progress
        Called on worker threads, one call at a time; must return at once.
    cancel
        When set, the transfer ends with `TransferCancelledError`.

    Raises
    ------
    StorageError
        A file could not be uploaded; the message names it, the error is the cause.
    """
    sources = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    files = [RemoteFile(path, source.stat().st_size) for path, source in sources.items()]

    def send(file: RemoteFile, on_bytes: Callable[[int], None]) -> None:
        remote.send(sources[file.path], file.path, on_bytes)

    return _transfer(
        files, send, f"uploaded to {remote.where}", params, workers, on_progress, cancel
    )


def download_folder(
    remote: RemoteFolder,
    folder: Path,
    *,
    params: RetryParams,
    workers: int = WORKERS,
    on_progress: Callable[[TransferProgress], None] | None = None,
    cancel: threading.Event | None = None,
) -> Transfer:
    """Download every file of a remote folder; parameters as in `upload_folder`.

    Raises
    ------
    NotFoundError
        Nothing is there.
    LocationError
        A file's name would leave ``folder``.
    StorageError
        A file could not be downloaded whole.
    """
    try:
        files = remote.files()
    except ExpmgrError:
        raise
    except Exception as error:
        message = f"{remote.where} could not be listed: {redact(str(error))}"
        bare(error)
        raise StorageError(message) from error
    if not files:
        raise NotFoundError(f"no files are stored under {remote.where}.")
    targets = {file.path: _target(folder, file.path, remote.where) for file in files}

    def fetch(file: RemoteFile, on_bytes: Callable[[int], None]) -> None:
        target = targets[file.path]
        target.parent.mkdir(parents=True, exist_ok=True)
        remote.fetch(file, target, on_bytes)
        size = target.stat().st_size
        if size != file.bytes:
            raise StorageError(f"{size:,} bytes arrived of {file.bytes:,}")

    return _transfer(
        files, fetch, f"downloaded from {remote.where}", params, workers, on_progress, cancel
    )


def _target(folder: Path, path: str, where: str) -> Path:
    parts = PurePosixPath(path).parts
    unsafe = path.startswith("/") or any(
        part in {"..", "."} or "\\" in part or ":" in part or "\0" in part for part in parts
    )
    if unsafe or not parts:
        message = f"{where} holds a file named {path!r}, which no local folder can hold safely."
        raise LocationError(message)
    return folder.joinpath(*parts)


def _transfer(
    files: Sequence[RemoteFile],
    move: Callable[[RemoteFile, Callable[[int], None]], None],
    what: str,
    params: RetryParams,
    workers: int,
    on_progress: Callable[[TransferProgress], None] | None,
    cancel: threading.Event | None,
) -> Transfer:
    began = time.monotonic()
    counter = _Counter(len(files), sum(file.bytes for file in files), on_progress, cancel)

    def one(file: RemoteFile) -> None:
        def on_bytes(size: int) -> None:
            counter.check()
            counter.arrived(file.path, size)

        def on_wait(attempt: int, error: BaseException, seconds: float) -> None:
            note = f"{file.path}: attempt {attempt} failed ({type(error).__name__}), "
            counter.arrived(file.path, 0, f"{note}again in {seconds:.1f} s")

        counter.check()
        attempts: Any = retrying(params, cancel=cancel, on_wait=on_wait)
        try:
            attempts(move, file, on_bytes)
        except TransferCancelledError:
            raise
        except Exception as error:
            counter.stop.set()
            message = f"{file.path} could not be {what}: {redact(str(error))}"
            bare(error)
            raise StorageError(message) from error
        counter.finished(file.path, file.bytes)

    markers = [file for file in files if PurePosixPath(file.path).name == _MARKER]
    others = sorted(set(files) - set(markers), key=lambda file: -file.bytes)
    for group in (others, markers):
        _all_of(one, group, workers)
    seconds = time.monotonic() - began
    return Transfer(len(files), sum(file.bytes for file in files), seconds, counter.retries)


def _all_of(one: Callable[[RemoteFile], None], files: Sequence[RemoteFile], workers: int) -> None:
    if not files:
        return
    with ThreadPoolExecutor(min(workers, len(files)), thread_name_prefix="expmgr-transfer") as pool:
        futures = [pool.submit(one, file) for file in files]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            future.cancel()
        failures = [error for future in done if (error := future.exception()) is not None]
    for error in sorted(failures, key=lambda error: isinstance(error, TransferCancelledError)):
        raise error
