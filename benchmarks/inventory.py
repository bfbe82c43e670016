"""P10: usage of a container by Azure's Blob Inventory report of it, in place of a listing.

The report is as Azure describes one: files of a million rows, in no order, with a manifest and its
checksum, and it lies in Azurite. A listing of so many blobs is that many thousand requests in a
row; Azurite cannot hold them, so the report tells of blobs that are not there.
"""

from __future__ import annotations

import hashlib
import io
import json
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.child import WorkFailedError, measure
from benchmarks.fill import fill_runs
from benchmarks.row import Row, side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench
    from benchmarks.fill import Made
    from benchmarks.stage import Place

ROWS_A_FILE = 1_000_000
ROWS_A_LISTING = 5_000
HUNDRED_MILLION = 100_000_000
_STATUS = Path("/proc/self/status")
_PEAK_BEGINS_ANEW = Path("/proc/self/clear_refs")


def usage(place: Place) -> Callable[[], dict[str, int]]:
    manager = place.manager()

    def work() -> dict[str, int]:
        if _PEAK_BEGINS_ANEW.exists():
            _PEAK_BEGINS_ANEW.write_text("5", encoding="ascii")  # see proc(5)
        table = manager.storage_usage(inventory=reports_of(place))
        if not table.attrs["source"].startswith(f"Blob Inventory report {reports_of(place)}/"):
            raise WorkFailedError(table.attrs["source"])
        total = int(table["bytes"].sum() + table["other_bytes"].sum())
        return {"bytes": total, "peak": _peak()}

    return work


def reports_of(place: Place) -> str:
    """Return the container that reports are written to: each place has its own."""
    return f"{place.container}-reports"


def _peak() -> int:
    """Return the most bytes of memory that this process held, 0 where nothing tells."""
    if not _STATUS.exists():
        return 0
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    held = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(held["VmHWM"].split()[0]) * 1024


def write_report(place: Place, made: list[Made], files: int, kind: str) -> int:
    """Write a report of so many files a model; return the bytes that it tells of."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    generator = np.random.default_rng(len(made))
    rows = len(made) * files
    order = generator.permutation(rows)
    folders = np.array(
        [f"{place.container}/root/models/{one.model_id}/artifacts/part-" for one in made], object
    )
    client = place.container_client(reports_of(place))
    client.create_container()
    folder = f"{datetime.now(timezone.utc):%Y/%m/%d/%H-%M-%S}/all"
    listed = []
    total = 0
    for first in range(0, rows, ROWS_A_FILE):
        some = order[first : first + ROWS_A_FILE]
        sizes = generator.integers(0, 2**32, len(some))
        total += int(sizes.sum())
        numbers = np.array([f"{at:06}" for at in range(files)], object)
        told = np.array(["2026-11-28T03:12:44.0000000Z"], object).repeat(len(some))
        tags = np.array([f"0x8DE2F0{at:09X}" for at in range(first, first + len(some))], object)
        table = pa.table(
            {
                "Name": pa.array(folders[some // files] + numbers[some % files]),
                "Creation-Time": pa.array(told),
                "Last-Modified": pa.array(told),
                "Etag": pa.array(tags),
                "Content-Length": pa.array(sizes),
                "BlobType": pa.array(["BlockBlob"]).take(pa.array(np.zeros(len(some), int))),
                "AccessTier": pa.array(["Hot"]).take(pa.array(np.zeros(len(some), int))),
            }
        )
        sink = io.BytesIO()
        if kind == "csv":
            pyarrow.csv.write_csv(table, sink)
        else:
            pyarrow.parquet.write_table(table, sink)
        name = f"{folder}/all_1000000_{first // ROWS_A_FILE}.{kind}"
        client.upload_blob(name, sink.getvalue(), max_concurrency=2)
        listed.append({"blob": name, "size": sink.tell()})
    manifest = json.dumps(
        {
            "destinationContainer": reports_of(place),
            "endpoint": place.endpoint,
            "files": listed,
            "inventoryStartTime": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
            "ruleDefinition": {
                "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [place.container]},
                "format": kind,
                "objectType": "blob",
                "schedule": "daily",
                "schemaFields": table.schema.names,
            },
            "ruleName": "all",
            "status": "Succeeded",
            "summary": {"objectCount": rows, "totalObjectSize": total},
            "version": "1.0",
        }
    ).encode()
    client.upload_blob(f"{folder}/all-manifest.json", manifest)
    digest = hashlib.md5(manifest, usedforsecurity=False).hexdigest()
    client.upload_blob(f"{folder}/all-manifest.checksum", digest.encode())
    return total


def rows(bench: Bench) -> Iterator[Row]:
    """Return the rows of P10."""
    models, files = bench.size((10_000, 1_000), (20, 30))
    for kind in ("csv", "parquet"):
        with bench.stage() as opened:
            stage = opened.emptied()
            made = fill_runs(stage.near, models, newest_best=1)
            total = write_report(stage.near, made, files, kind)
            (found,) = bench.in_turn(partial(measure, usage, stage.place), rounds=1)
        answer: dict[str, Any] = found[-1].answer
        if answer["bytes"] != total:
            raise WorkFailedError(f"{answer['bytes']:,} bytes of {total:,}")
        blobs = models * files
        minutes = found[-1].seconds / blobs * HUNDRED_MILLION / 60
        more = f" 100 million would take some {minutes:.0f} min;" if blobs >= ROWS_A_FILE else ""
        yield Row(
            "P10",
            f"usage of {blobs:,} blobs of {models:,} runs by a report in {kind}",
            side(found),
            kind="alone",
            note=f"{answer['peak'] / 1e6:,.0f} MB of memory at most, imports included;{more} "
            f"a listing is {max(1, blobs // ROWS_A_LISTING):,} requests in a row",
        )
