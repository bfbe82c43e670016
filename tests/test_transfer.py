from __future__ import annotations

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from hypothesis import given, settings
from hypothesis import strategies as st

from expmgr import AzureBlobCredentials
from expmgr.errors import LocationError, NotFoundError, StorageError, TransferCancelledError
from expmgr.retry import RetryParams
from expmgr.storage.blob_store import BlobStore
from expmgr.storage.location import Location
from expmgr.storage.transfer import (
    IN_ONE_REQUEST,
    RemoteFile,
    ServedFolder,
    download_folder,
    upload_folder,
)

if TYPE_CHECKING:
    from pathlib import Path

AT_ONCE = RetryParams(attempts=3, wait_initial=0, wait_max=0)


class MemoryFolder:
    """A remote folder that fails on purpose and counts its calls."""

    where = "memory"

    def __init__(self, contents=None, failures=None):
        self.contents = dict(contents or {})
        self.failures = {path: list(errors) for path, errors in (failures or {}).items()}
        self.calls: list[str] = []
        self.lock = threading.Lock()

    def _call(self, path):
        with self.lock:
            self.calls.append(path)
            errors = self.failures.get(path)
            if errors:
                raise errors.pop(0)

    def files(self):
        return [RemoteFile(path, len(content)) for path, content in self.contents.items()]

    def send(self, source, path, on_bytes):
        on_bytes(1)
        self._call(path)
        content = source.read_bytes()
        on_bytes(len(content))
        self.contents[path] = content

    def fetch(self, file, target, on_bytes):
        self._call(file.path)
        target.write_bytes(self.contents[file.path])
        on_bytes(file.bytes)


def http_error(status):
    error = HttpResponseError(f"status {status}")
    error.status_code = status
    return error


def fill(folder: Path, contents):
    for path, content in contents.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


MODEL = {"MLmodel": b"flavors", "model.pkl": b"x" * 1000, "data/a b/ä%20.bin": b"", "data/c": b"cc"}


@pytest.fixture
def azure_folder(credentials):
    store = BlobStore(credentials)
    account = store.addresses.store.account
    path = "root/m-1/artifacts"
    with store.folder(
        Location(account, credentials.container_name, path, "logged_model", "m-1")
    ) as folder:
        yield folder


def contents_of(folder: Path):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def wire(monkeypatch):
    """What goes over the wire: requests by method, and how often an answer's body is read."""
    from requests import Session
    from urllib3.response import HTTPResponse

    counted = Counter()
    send, read = Session.send, HTTPResponse.read

    def sent(self, request, **options):
        counted[request.method] += 1
        return send(self, request, **options)

    def reading(self, *args, **options):
        counted["reads"] += 1
        return read(self, *args, **options)

    monkeypatch.setattr(Session, "send", sent)
    monkeypatch.setattr(HTTPResponse, "read", reading)
    return counted


def test_a_file_of_common_size_is_one_request_and_a_large_one_goes_in_blocks(
    azure_folder, tmp_path, wire
):
    common = fill(tmp_path / "common", {"w.bin": b"x" * (20 * 1024 * 1024)})
    upload_folder(common, azure_folder, params=AT_ONCE)
    assert wire["PUT"] == 1
    wire.clear()
    download_folder(azure_folder, tmp_path / "back", params=AT_ONCE)
    assert wire["GET"] == 2, "a listing and the file"
    assert wire["reads"] < 60, "not a turn of Python for each 4,096 bytes"
    large = fill(tmp_path / "large", {"w.bin": b"y" * (IN_ONE_REQUEST + 1)})
    wire.clear()
    upload_folder(large, azure_folder, params=AT_ONCE)
    assert wire["PUT"] == 6, "five blocks and their list"


def test_an_answer_is_one_piece_that_nobody_copies(azure_folder, tmp_path, monkeypatch):
    from urllib3.response import HTTPResponse

    size = 20 * 1024 * 1024
    pieces = []
    read = HTTPResponse.read

    def reading(self, *args, **options):
        pieces.append(read(self, *args, **options))
        return pieces[-1]

    upload_folder(fill(tmp_path / "f", {"w.bin": b"x" * size}), azure_folder, params=AT_ONCE)
    monkeypatch.setattr(HTTPResponse, "read", reading)
    written = []
    opened = type(tmp_path).open

    class Watched:
        """A file that notes what is written to it."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            self.file.close()

        def write(self, data):
            written.append(data)
            return self.file.write(data)

    monkeypatch.setattr(type(tmp_path), "open", lambda self, *args: Watched(opened(self, *args)))
    download_folder(azure_folder, tmp_path / "back", params=AT_ONCE)
    assert [len(data) for data in written] == [size]
    assert any(piece is written[0] for piece in pieces)


def test_a_file_that_is_replaced_while_it_comes_is_one_of_the_two(
    azure_folder, put_blob, tmp_path, monkeypatch
):
    from requests import Session

    size = IN_ONE_REQUEST + 10
    upload_folder(fill(tmp_path / "f", {"w.bin": b"o" * size}), azure_folder, params=AT_ONCE)
    send = Session.send
    asked = []

    def sent(self, request, **options):
        if "x-ms-range" in request.headers:
            asked.append(request.headers["x-ms-range"])
            if len(asked) == 2:
                put_blob("root/m-1/artifacts/w.bin", b"n" * size)
        return send(self, request, **options)

    monkeypatch.setattr(Session, "send", sent)
    with pytest.raises(StorageError, match=r"w\.bin could not be downloaded"):
        download_folder(azure_folder, tmp_path / "one", params=RetryParams(attempts=1))
    assert len(asked) == 2
    got = download_folder(azure_folder, tmp_path / "back", params=AT_ONCE)
    assert got.bytes == size
    assert (tmp_path / "back/w.bin").read_bytes() == b"n" * size


def test_an_answer_that_ends_early_is_no_file(tmp_path):
    """The server says more bytes than it sends, and closes."""
    whole = 3 * 1024 * 1024
    listing = (
        '<?xml version="1.0"?><EnumerationResults ServiceEndpoint="https://account.blob.core.'
        'windows.net/" ContainerName="models"><Prefix>root/m-1/artifacts/</Prefix><Blobs><Blob>'
        "<Name>root/m-1/artifacts/w.bin</Name><Properties>"
        f"<Content-Length>{whole}</Content-Length></Properties></Blob></Blobs>"
        "<NextMarker/></EnumerationResults>"
    ).encode()

    class Short(BaseHTTPRequestHandler):
        def do_GET(self):
            is_listing = "comp=list" in self.path
            self.send_response(200 if is_listing else 206)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(listing) if is_listing else whole))
            self.send_header("Content-Range", f"bytes 0-{whole - 1}/{whole}")
            self.end_headers()
            self.wfile.write(listing if is_listing else b"x" * (whole - 1))
            self.close_connection = True

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Short) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = BlobStore(
            AzureBlobCredentials(
                account_name="account",
                account_key="a2V5",
                container_name="models",
                account_url=f"http://127.0.0.1:{server.server_port}/account",
            )
        )
        place = Location("account", "models", "root/m-1/artifacts", "logged_model", "m-1")
        with store.folder(place) as folder, pytest.raises(StorageError, match=r"w\.bin could not"):
            download_folder(folder, tmp_path, params=RetryParams(attempts=1))
        store.close()
        server.shutdown()


def test_a_folder_goes_to_azure_and_comes_back_as_it_was(azure_folder, blob_names, tmp_path):
    folder = fill(tmp_path / "model", {**MODEL, "large.bin": bytes(range(256)) * 80_000})
    sent = upload_folder(folder, azure_folder, params=AT_ONCE)
    assert blob_names() == sorted(f"root/m-1/artifacts/{path}" for path in contents_of(folder))
    got = download_folder(azure_folder, tmp_path / "back", params=AT_ONCE)
    assert contents_of(tmp_path / "back") == contents_of(folder)
    assert (sent.files, sent.bytes, sent.retries) == (5, 20_481_009, 0)
    assert (got.files, got.bytes, got.retries) == (5, 20_481_009, 0)


def test_a_folder_goes_through_mlflows_repository_and_comes_back(tmp_path):
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    model = {path.replace("%20", ""): content for path, content in MODEL.items()}
    folder = fill(tmp_path / "model", model)
    remote = ServedFolder(get_artifact_repository((tmp_path / "served").as_uri()))
    upload_folder(folder, remote, params=AT_ONCE)
    assert contents_of(tmp_path / "served") == model
    download_folder(remote, tmp_path / "back", params=AT_ONCE)
    assert contents_of(tmp_path / "back") == model


def test_the_marker_of_a_model_goes_last_both_ways(tmp_path):
    remote = MemoryFolder()
    upload_folder(fill(tmp_path / "model", MODEL), remote, params=AT_ONCE)
    assert remote.calls[-1] == "MLmodel"
    assert len(remote.calls) == 4
    remote.calls.clear()
    download_folder(remote, tmp_path / "back", params=AT_ONCE)
    assert remote.calls[-1] == "MLmodel"


@pytest.mark.parametrize("error", [http_error(503), http_error(429), ServiceRequestError("reset")])
def test_a_transient_failure_costs_one_more_try_of_that_file_alone(error, tmp_path):
    remote = MemoryFolder(failures={"data/c": [error]})
    seen = []
    done = upload_folder(
        fill(tmp_path / "model", MODEL), remote, params=AT_ONCE, on_progress=seen.append
    )
    assert sorted(remote.calls) == sorted([*MODEL, "data/c"])
    assert done.retries == 1
    assert any("data/c: attempt 1 failed" in progress.note for progress in seen)
    assert seen[-1].files == seen[-1].total_files == 4
    assert seen[-1].bytes == seen[-1].total_bytes == 1009


@pytest.mark.parametrize(("status", "tries"), [(403, 1), (404, 1), (500, 3)])
def test_a_file_that_cannot_be_sent_ends_the_transfer_without_the_marker(status, tries, tmp_path):
    remote = MemoryFolder(failures={"model.pkl": [http_error(status)] * 9})
    with pytest.raises(StorageError, match=r"model\.pkl could not be uploaded to memory") as caught:
        upload_folder(fill(tmp_path / "model", MODEL), remote, params=AT_ONCE)
    assert caught.value.__cause__.status_code == status
    assert remote.calls.count("model.pkl") == tries
    assert "MLmodel" not in remote.contents


def test_bytes_of_a_failed_try_are_not_counted_twice(tmp_path):
    remote = MemoryFolder(failures={"model.pkl": [http_error(500), http_error(500)]})
    seen = []
    upload_folder(fill(tmp_path / "m", MODEL), remote, params=AT_ONCE, on_progress=seen.append)
    assert max(progress.bytes for progress in seen) == 1009


def test_a_cancelled_transfer_stops_and_says_so(tmp_path):
    cancel = threading.Event()
    cancel.set()
    remote = MemoryFolder()
    with pytest.raises(TransferCancelledError):
        upload_folder(fill(tmp_path / "model", MODEL), remote, params=AT_ONCE, cancel=cancel)
    assert remote.contents == {}


def test_cancelling_in_the_middle_leaves_the_marker_out(tmp_path):
    cancel = threading.Event()
    remote = MemoryFolder()
    with pytest.raises(TransferCancelledError):
        upload_folder(
            fill(tmp_path / "model", MODEL),
            remote,
            params=AT_ONCE,
            workers=1,
            on_progress=lambda progress: cancel.set() if progress.files == 2 else None,
            cancel=cancel,
        )
    assert len(remote.contents) == 2
    assert "MLmodel" not in remote.contents


def test_nothing_there_is_not_an_empty_model(tmp_path):
    with pytest.raises(NotFoundError, match="no files are stored under memory"):
        download_folder(MemoryFolder(), tmp_path, params=AT_ONCE)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "a\\..\\evil", "c:/evil"])
def test_a_blob_name_cannot_leave_the_folder(name, tmp_path):
    with pytest.raises(LocationError, match="evil"):
        download_folder(MemoryFolder({name: b"x"}), tmp_path / "in", params=AT_ONCE)
    assert list(tmp_path.rglob("evil")) == []


def test_a_file_that_arrives_short_is_refused(tmp_path):
    remote = MemoryFolder({"model.pkl": b"whole"})
    remote.files = lambda: [RemoteFile("model.pkl", 6)]
    with pytest.raises(StorageError, match="5 bytes arrived of 6"):
        download_folder(remote, tmp_path, params=AT_ONCE)


@given(
    failures=st.dictionaries(st.sampled_from(sorted(MODEL)), st.integers(1, 4), max_size=4),
    workers=st.integers(1, 5),
)
@settings(max_examples=50, deadline=None)
def test_either_all_arrives_or_the_marker_does_not(failures, workers, tmp_path_factory):
    folder = fill(tmp_path_factory.mktemp("model"), MODEL)
    remote = MemoryFolder(failures={path: [http_error(503)] * n for path, n in failures.items()})
    beaten = any(n >= AT_ONCE.attempts for n in failures.values())
    try:
        upload_folder(folder, remote, params=AT_ONCE, workers=workers)
    except StorageError:
        assert beaten
        assert "MLmodel" not in remote.contents
    else:
        assert not beaten
        assert remote.contents == MODEL
