"""What usage over many blobs costs: ``storage_usage`` beside summing ``list_blobs``.

Usage: python benchmarks/usage_listing.py [--blobs 100000] [--azurite]

CPU seconds of this process, which asks; the server is another one, which replays pages of 5,000
blobs as Azure writes them, so that no storage server's own time is in the numbers. ``--azurite``
asks real Azurite in its place, and fills it first. The blobs are those of 100 models, each of a
run, and every way must find the same bytes.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import LoggedModelOutput  # noqa: E402

from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend  # noqa: E402
from expmgr.demo.azurite import AzuriteServer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = 5000
MODELS = 100
CONTAINER = "models"
ROOT = "1"
KEY = "a2V5"
WAYS = {
    "usage": "storage_usage",
    "list_blobs": "summing list_blobs",
    "hooked": "list_blob_names with a hook",
}


def size_of(number: int) -> int:
    """Return the bytes of a blob, by its number."""
    return 1000 + number % 977


def pages(names: list[str], endpoint: str, prefix: str = "") -> list[bytes]:
    """Return the listing of some blobs as Azure writes it, page by page."""
    found = []
    shown = f"<Prefix>{prefix}</Prefix>" if prefix else ""
    for first in range(0, len(names), PAGE):
        entries = []
        for at, name in enumerate(names[first : first + PAGE], first):
            when = f"Sun, 29 Nov 2026 {at // 3600 % 24:02}:{at // 60 % 60:02}:{at % 60:02} GMT"
            entries.append(
                f"<Blob><Name>{name}</Name><Properties><Creation-Time>{when}</Creation-Time>"
                f"<Last-Modified>{when}</Last-Modified><Etag>0x8DE2F0{at:09X}</Etag>"
                f"<Content-Length>{size_of(at)}</Content-Length>"
                "<Content-Type>application/octet-stream</Content-Type><Content-Encoding />"
                "<Content-Language /><Content-CRC64 /><Content-MD5>rtVj7K+0vMVlTFl6QhVHsg=="
                "</Content-MD5><Cache-Control /><Content-Disposition />"
                "<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>"
                "<AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus>"
                "<LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted>"
                "</Properties><OrMetadata /></Blob>"
            )
        marker = f"page{first + PAGE}" if first + PAGE < len(names) else ""
        found.append(
            (
                f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults '
                f'ServiceEndpoint="{endpoint}" ContainerName="{CONTAINER}">{shown}'
                f"<MaxResults>{PAGE}</MaxResults><Blobs>{''.join(entries)}</Blobs>"
                f"<NextMarker>{marker}</NextMarker></EnumerationResults>"
            ).encode()
        )
    return found


def replay(names: list[str], port: multiprocessing.Queue) -> None:
    """Serve the listing of some names; the body of a process."""

    class Replay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            prefix = query.get("prefix", [""])[0]
            if prefix not in bodies:
                below = [name for name in names if name.startswith(prefix)]
                bodies[prefix] = pages(below, endpoint, prefix) or pages([""], endpoint, prefix)
            body = bodies[prefix][int(query.get("marker", ["page0"])[0][4:]) // PAGE]
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Replay) as server:
        endpoint = f"http://127.0.0.1:{server.server_port}/account"
        bodies = {"": pages(names, endpoint)}
        port.put(endpoint)
        server.serve_forever()


@contextmanager
def replaying(names: list[str]) -> Iterator[object]:
    """Credentials for a container that holds blobs of these names, as far as listings tell."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    server = context.Process(target=replay, args=(names, told), daemon=True)
    server.start()
    try:
        yield AzureBlobCredentials(
            account_name="account",
            account_key=KEY,
            container_name=CONTAINER,
            account_url=told.get(timeout=60),
        )
    finally:
        server.terminate()
        server.join()


@contextmanager
def azurite(names: list[str]) -> Iterator[object]:
    """Credentials for a container of a real Azurite that holds such blobs."""
    npm_dir = os.environ.get("EXPMGR_AZURITE_DIR")
    with (
        tempfile.TemporaryDirectory() as folder,
        AzuriteServer(Path(folder), npm_dir=npm_dir) as server,
    ):
        credentials = server.credentials(CONTAINER)
        client = credentials.service_client(pool_size=16).get_container_client(CONTAINER)
        client.create_container()

        def put(numbered: tuple[int, str]) -> None:
            client.upload_blob(numbered[1], b"x" * size_of(numbered[0]))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, enumerate(names)))
        yield credentials


def logged_model(client: MlflowClient, experiment: str) -> str:
    """Make a run with a model that has no files yet, and return the model's id."""
    run = client.create_run(experiment).info.run_id
    model = client.create_logged_model(experiment, source_run_id=run).model_id
    client.finalize_logged_model(model, "READY")
    client.log_outputs(run, [LoggedModelOutput(model, 0)])
    client.set_terminated(run)
    return model


def cpu(work: Callable[[], int]) -> tuple[float, int]:
    """Return the CPU seconds that some work took, the lesser of two runs, and what it returned."""
    spent = []
    for _ in range(2):
        began = time.process_time()
        found = work()
        spent.append(time.process_time() - began)
    return min(spent), found


def measure(blobs: int = 100_000, *, real: bool = False) -> dict[str, float]:
    """Return CPU microseconds a blob by each way, and how often the first goes into the others.

    Parameters
    ----------
    blobs
        How many; a multiple of 100.
    real
        Whether Azurite is asked, and not the replaying server.
    """
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        client = MlflowClient(uri)
        host = "devstoreaccount1" if real else "account"
        root = f"wasbs://{CONTAINER}@{host}.blob.core.windows.net/{ROOT}"
        experiment = client.create_experiment("benchmark / usage", artifact_location=root)
        names = [
            f"{ROOT}/models/{model}/artifacts/data/part-{number:06}.safetensors"
            for model in sorted(logged_model(client, experiment) for _ in range(MODELS))
            for number in range(blobs // MODELS)
        ]
        with (azurite if real else replaying)(names) as credentials:
            container = credentials.service_client().get_container_client(CONTAINER)

            def usage() -> int:
                manager = ExperimentsManagerWithAzureBlobBackend(
                    tracking_uri=uri,
                    azure_blob_credentials=credentials,
                    main_metric="accuracy",
                    plugin_name="benchmark",
                )
                table = manager.storage_usage()
                return int(table["bytes"].sum() + table["other_bytes"].sum())

            def summing() -> int:
                return sum(blob.size for blob in container.list_blobs(results_per_page=PAGE))

            def hooked() -> int:
                total = 0

                def add(response: object) -> None:
                    nonlocal total
                    tree = ET.fromstring(response.http_response.body())
                    total += sum(
                        int(size.text)
                        for size in tree.iterfind("Blobs/Blob/Properties/Content-Length")
                    )

                for _ in container.list_blob_names(results_per_page=PAGE, raw_response_hook=add):
                    pass
                return total

            expected = sum(map(size_of, range(len(names))))
            found: dict[str, float] = {"blobs": len(names)}
            for name, way in (("usage", usage), ("list_blobs", summing), ("hooked", hooked)):
                seconds, counted = cpu(way)
                if counted != expected:
                    raise AssertionError(f"{name} found {counted:,} bytes of {expected:,}")
                found[name] = seconds / len(names) * 1e6
    found["list_blobs / usage"] = found["list_blobs"] / found["usage"]
    found["hooked / usage"] = found["hooked"] / found["usage"]
    return found


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blobs", type=int, default=100_000)
    parser.add_argument("--azurite", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    found = measure(args.blobs, real=args.azurite)
    if args.json:
        print(json.dumps(found))
        return
    print(f"{args.blobs:,} blobs, CPU us a blob, the same bytes each way:")
    for name, words in WAYS.items():
        times = "" if name == "usage" else f"{found[f'{name} / usage']:8.1f} x"
        print(f"{words:30}{found[name]:8.1f}{times}")


if __name__ == "__main__":
    main()
