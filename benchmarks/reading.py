"""P3, P4, P6 and P9: what reads much, beside MLflow and Azure's SDK doing so.

Each is measured by a script of its own, which can be run alone and says more; here its numbers
become rows.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.child import measure
from benchmarks.row import Row, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench

NAMES = {"sqlite": "SQLite", "http": "HTTP"}
SEARCH = "`mlflow.search_runs`"
SERVERS_OWN = 4
"""Workers that ``mlflow server`` starts where it is not told."""


def script(_: None, name: str, options: dict[str, object]) -> Callable[[], object]:
    """Return what calls the ``measure`` of a script."""
    module = importlib.import_module(f"benchmarks.{name}")
    return partial(module.measure, **options)


def numbers(name: str, **options: object) -> dict[str, float]:
    """Return what a script measures, in a process of its own."""
    found: dict[str, float] = measure(script, None, name, options).answer
    return found


def table_rows(bench: Bench) -> Iterator[Row]:
    """Return the rows of P3."""
    runs = bench.size(10_000, 50)
    for backend, workers in bench.size(
        (("sqlite", 1), ("http", SERVERS_OWN), ("http", 1)), (("sqlite", 1),)
    ):
        pairs = bench.size(3, 1)
        found = numbers("whole_table", runs=runs, backend=backend, workers=workers, pairs=pairs)
        where = NAMES[backend] + (f", {workers} workers" if workers > 1 else "")
        work = f"whole table of {runs:,} runs x 30 keys, {where}"
        ours, theirs = (
            Side(found[f"{who}_seconds"], *_requests(backend, found[f"{who}_requests"]))
            for who in ("ours", "theirs")
        )
        note = "ours with models and what protects them"
        yield Row("P3", work, ours, theirs, SEARCH, note=note)
        memory = [Side(found[f"{who}_memory"] / 1e6) for who in ("ours", "theirs")]
        yield Row("P3", f"{work}: memory", *memory, SEARCH, unit="MB")


def refresh_rows(bench: Bench) -> Iterator[Row]:
    """Return the rows of P4."""
    runs = bench.size(10_000, 50)
    for backend in bench.size(("sqlite", "http"), ("sqlite",)):
        found = numbers("refresh", runs=runs, backend=backend)
        yield Row(
            "P4",
            f"refresh, {found['changed']:.0f} of {runs:,} runs changed, {NAMES[backend]}",
            Side(found["refresh_seconds"], *_requests(backend, found["refresh_requests"])),
            Side(found["search_runs_seconds"]),
            f"{SEARCH} again",
            note=f"the browser's Refresh {found['browser_seconds']:.2f} s",
        )


def usage_rows(bench: Bench) -> Iterator[Row]:
    """Return the rows of P6."""
    blobs = bench.size(100_000, 1_000)
    found = numbers("usage_listing", blobs=blobs)
    for way, beside in (
        ("list_blobs", "summing `list_blobs`"),
        ("hooked", "`list_blob_names` with a hook"),
    ):
        work = f"`storage_usage()` over {blobs:,} blobs, CPU a blob"
        yield Row("P6", work, Side(found["usage"]), Side(found[way]), beside, unit="µs")


def transfer_rows(bench: Bench) -> Iterator[Row]:
    """Return the rows of P9."""
    for files, megabytes in bench.size(((8, 200), (1, 1_000)), ((2, 2),)):
        found = numbers(
            "transfer",
            files=files,
            megabytes=megabytes,
            rounds=bench.size(9 if files > 1 else 1, 1),
        )
        word = "file" if files == 1 else "files"
        for way, beside in (
            ("download", "`mlflow.artifacts.download_artifacts`"),
            ("upload", "MLflow's `log_artifacts`"),
        ):
            ours, theirs = Side(found[f"{way} s"]), Side(found[f"mlflow {way} s"])
            work = f"{way} of {megabytes:,} MB in {files} {word}"
            yield Row("P9", work, ours, theirs, beside)
            if way == "download" and files > 1:
                floor, plain = Side(found["plain download s"]), "plain GETs to files, all at once"
                note = "a ceiling: below 1 by nature"
                yield Row("P9", work, ours, floor, plain, kind="ceiling", note=note)


def _requests(backend: str, made: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return requests to storage, of which none of these makes one, and to the tracking server."""
    return ((0,), (int(made),)) if backend == "http" else ((), ())


CASES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "P3": table_rows,
    "P4": refresh_rows,
    "P6": usage_rows,
    "P9": transfer_rows,
}
