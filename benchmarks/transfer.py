"""What a model's way from and to storage takes: expmgr's beside MLflow's own.

Usage: python benchmarks/transfer.py [--files 8] [--megabytes 200] [--rounds 5]

A fresh Azurite holds the files; both ways download them in turn, into a folder that is removed
again, and then upload them in turn. Beside them plain GETs of ``http.client`` to files, all at
once: the most that Azurite and this machine can do. Medians of seconds and of this process's CPU
seconds; Azurite's own work is in the seconds of all. What arrives is compared. ``TMPDIR=/dev/shm``
keeps the disk out of it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import http.client
import json
import logging
import os
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock
from urllib.parse import urlsplit

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from azure.storage.blob import ContainerSasPermissions, generate_container_sas  # noqa: E402
from mlflow.artifacts import download_artifacts  # noqa: E402
from mlflow.store.artifact.artifact_repository_registry import (  # noqa: E402
    get_artifact_repository,
)

from expmgr.demo.azurite import AzuriteServer  # noqa: E402
from expmgr.retry import RetryParams  # noqa: E402
from expmgr.storage.blob_store import BlobStore  # noqa: E402
from expmgr.storage.location import Location  # noqa: E402
from expmgr.storage.transfer import download_folder, upload_folder  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

CONTAINER = "models"
MEGABYTE = 2**20


def fill(folder: Path, files: int, size: int) -> None:
    """Write files of random content, ``size`` bytes in all."""
    folder.mkdir()
    for number in range(files):
        with (folder / f"part-{number}.safetensors").open("wb") as content:
            left = size // files
            while left > 0:
                content.write(os.urandom(min(left, 8 * MEGABYTE)))
                left -= 8 * MEGABYTE


def digests(folder: Path) -> list[str]:
    """Return what the files below a folder hold, by name."""
    return [
        f"{path.name} {hashlib.blake2b(path.read_bytes()).hexdigest()}"
        for path in folder.rglob("*")
        if path.is_file()
    ]


def signature(server: AzuriteServer) -> str:
    """Return a shared access signature that reads the container."""
    now = dt.datetime.now(dt.timezone.utc)
    return generate_container_sas(
        server.account_name,
        CONTAINER,
        account_key=server.account_key,
        permission=ContainerSasPermissions(read=True),
        expiry=now + dt.timedelta(hours=4),
    )


def plain_get(url: str, target: Path) -> None:
    """Write what a URL answers to a file, a megabyte at a time into the same memory."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    piece = memoryview(bytearray(MEGABYTE))
    with target.open("wb", buffering=0) as content:
        while got := answer.readinto(piece):
            content.write(piece[:got])
    connection.close()


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds and the CPU seconds that some work took."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


def measure(files: int = 8, megabytes: int = 200, rounds: int = 5) -> dict[str, float]:
    """Return seconds by way, and what share of MLflow's ours are.

    Parameters
    ----------
    files
        How many.
    megabytes
        Of all files together, in 2**20 bytes.
    rounds
        How often each way is taken; medians count.
    """
    at_once = RetryParams(attempts=1)
    spent: dict[str, list[tuple[float, float]]] = {}
    with (
        tempfile.TemporaryDirectory() as scratch,
        AzuriteServer(
            Path(scratch, "azurite"), npm_dir=os.environ.get("EXPMGR_AZURITE_DIR")
        ) as server,
        mock.patch.dict(os.environ, AZURE_STORAGE_CONNECTION_STRING=server.connection_string),
    ):
        credentials = server.credentials(CONTAINER)
        credentials.service_client().create_container(CONTAINER)
        store = BlobStore(credentials)
        source, target = Path(scratch, "source"), Path(scratch, "target")
        fill(source, files, megabytes * MEGABYTE)
        host = f"{server.account_name}.blob.core.windows.net"

        def location(owner: str) -> Location:
            path = f"1/models/{owner}/artifacts"
            return Location(server.account_name, CONTAINER, path, "logged_model", owner)

        def upload(owner: str) -> None:
            with store.folder(location(owner)) as remote:
                upload_folder(source, remote, params=at_once)

        def download(owner: str) -> None:
            with store.folder(location(owner)) as remote:
                download_folder(remote, target, params=at_once)

        def upload_by_mlflow(owner: str) -> None:
            uri = f"wasbs://{CONTAINER}@{host}/{location(owner).path}"
            get_artifact_repository(uri).log_artifacts(str(source))

        def download_by_mlflow(owner: str) -> None:
            target.mkdir()
            uri = f"wasbs://{CONTAINER}@{host}/{location(owner).path}"
            download_artifacts(artifact_uri=uri, dst_path=str(target))

        signed = signature(server)

        def download_plainly() -> None:
            target.mkdir()
            folder = f"{server.endpoint}/{CONTAINER}/{location('m-0').path}"
            names = [path.name for path in source.iterdir()]
            with ThreadPoolExecutor(len(names)) as pool:
                urls = [f"{folder}/{name}?{signed}" for name in names]
                list(pool.map(plain_get, urls, [target / name for name in names]))

        def take(name: str, work: Callable[[], object]) -> None:
            spent.setdefault(name, []).append(timed(work))

        expected = digests(source)
        upload("m-0")
        download("m-0")  # imports and first connections are nobody's transfer
        shutil.rmtree(target)
        download_by_mlflow("m-0")
        ways = {
            "download": lambda: download("m-0"),
            "mlflow download": lambda: download_by_mlflow("m-0"),
            "plain download": download_plainly,
        }
        for name, way in [*ways.items()] * rounds:
            shutil.rmtree(target)
            take(name, way)
            if sorted(digests(target)) != sorted(expected):
                raise AssertionError("something else arrived")
        for number in range(rounds):
            take("upload", lambda number=number: upload(f"m-{number}a"))
            take("mlflow upload", lambda number=number: upload_by_mlflow(f"m-{number}b"))
        store.close()
    return summed_up(spent)


def summed_up(spent: dict[str, list[tuple[float, float]]]) -> dict[str, float]:
    """Return medians by way, and what share of MLflow's ours are."""
    found: dict[str, float] = {}
    for name, both in spent.items():
        found[f"{name} s"] = statistics.median(seconds for seconds, _ in both)
        found[f"{name} cpu s"] = statistics.median(cpu for _, cpu in both)
    for way in ("download", "upload"):
        for unit in ("s", "cpu s"):
            found[f"{way} / mlflow {unit}"] = found[f"{way} {unit}"] / found[f"mlflow {way} {unit}"]
    return found


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    found = measure(args.files, args.megabytes, args.rounds)
    if args.json:
        print(json.dumps(found))
        return
    print(f"{args.megabytes} MB in {args.files} files")
    for name, value in found.items():
        print(f"{name:24}{value:8.3f}")


if __name__ == "__main__":
    main()
