"""How many requests and seconds it takes to delete one model: expmgr, MLflow and the plain SDK.

    python benchmarks/delete_blobs.py --blobs 1000 --rtt 0 20

Runs on Azurite (kept in --azurite, $EXPMGR_AZURITE_DIR or the user's cache). ``--rtt`` adds
so many milliseconds to every request, as a network would; the request counts do not depend on it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import requests

from expmgr.demo.azurite import AzuriteServer
from expmgr.storage.blob_store import BlobStore
from expmgr.storage.location import Location

PREFIX = "1/run1/artifacts"


class Meter:
    """Counts the requests of the whole process, and slows them down."""

    def __init__(self, rtt_ms: float) -> None:
        self.counts: Counter[str] = Counter()
        self._rtt = rtt_ms / 1000
        self._lock = threading.Lock()
        self._send = requests.Session.send

    def __enter__(self):
        meter = self

        def send(session, request, **kwargs):
            kind = {"GET": "list", "POST": "batch", "DELETE": "delete"}.get(request.method, "other")
            with meter._lock:
                meter.counts[kind] += 1
            time.sleep(meter._rtt)
            return meter._send(session, request, **kwargs)

        self._patch = mock.patch.object(requests.Session, "send", send)
        self._patch.start()
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *exc):
        self.seconds = time.perf_counter() - self._begun
        self._patch.stop()


def with_expmgr(server: AzuriteServer, container: str) -> None:
    store = BlobStore(server.credentials(container))
    location = Location(server.account_name, container, PREFIX, "run_artifacts", "run1")
    store.delete([location])
    store.close()


def with_mlflow(server: AzuriteServer, container: str) -> None:
    from mlflow.store.artifact.azure_blob_artifact_repo import AzureBlobArtifactRepository

    host = f"{server.account_name}.blob.core.windows.net"
    AzureBlobArtifactRepository(f"wasbs://{container}@{host}/{PREFIX}").delete_artifacts()


def one_by_one(server: AzuriteServer, container: str) -> None:
    client = server.credentials(container).service_client().get_container_client(container)
    for blob in client.list_blobs(name_starts_with=f"{PREFIX}/"):
        client.delete_blob(blob.name, delete_snapshots="include")


WAYS = {
    "expmgr": with_expmgr,
    "MLflow delete_artifacts": with_mlflow,
    "azure-storage-blob one by one": one_by_one,
}


def fill(server: AzuriteServer, blobs: int) -> str:
    container = f"bench-{uuid.uuid4().hex[:12]}"
    client = server.credentials(container).service_client().get_container_client(container)
    client.create_container()
    with ThreadPoolExecutor(8) as pool:
        names = (f"{PREFIX}/part-{number:06}" for number in range(blobs))
        list(pool.map(lambda name: client.upload_blob(name, b"x" * 100), names))
    return container


def measure(server: AzuriteServer, blobs: int, rtt: float) -> dict[str, Meter]:
    found = {}
    for name, delete in WAYS.items():
        container = fill(server, blobs)
        with Meter(rtt) as meter:
            delete(server, container)
        client = server.credentials(container).service_client().get_container_client(container)
        left = sum(1 for _ in client.list_blob_names())
        assert left == 0, f"{name} left {left} blobs"
        client.delete_container()
        found[name] = meter
    return found


def show(blobs: int, rtt: float, found: dict[str, Meter]) -> None:
    ours = found["expmgr"]
    print(f"\n{blobs:,} blobs, {rtt:g} ms added to every request")
    print(
        f"{'':32}{'list':>6}{'batch':>7}{'delete':>8}{'requests':>10}{'seconds':>9}   against ours"
    )
    for name, meter in found.items():
        counts = meter.counts
        ratio = f"{counts.total() / ours.counts.total():.0f} x requests, " if meter != ours else ""
        times = f"{meter.seconds / ours.seconds:.1f} x time" if meter != ours else ""
        print(
            f"{name:32}{counts['list']:>6}{counts['batch']:>7}{counts['delete']:>8}"
            f"{counts.total():>10}{meter.seconds:>9.2f}   {ratio}{times}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blobs", type=int, nargs="+", default=[1000])
    parser.add_argument("--rtt", type=float, nargs="+", default=[0.0, 20.0])
    parser.add_argument("--azurite", type=Path, default=os.environ.get("EXPMGR_AZURITE_DIR"))
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        AzuriteServer(Path(folder), npm_dir=args.azurite) as server,
        mock.patch.dict(os.environ, AZURE_STORAGE_CONNECTION_STRING=server.connection_string),
    ):
        measure(server, 3, 0)  # imports cost seconds, and are nobody's deletion
        for blobs in args.blobs:
            for rtt in args.rtt:
                show(blobs, rtt, measure(server, blobs, rtt))


if __name__ == "__main__":
    main()
