"""What the whole table costs beside ``mlflow.search_runs``: seconds, CPU, memory, requests.

Usage: python benchmarks/whole_table.py [--runs 10000] [--backend sqlite|http|both] [--pairs 3]
                                         [--workers 1]

Every run has ten metrics, ten params and ten tags, and made one LoggedModel with its main metric
(``--without-models`` for runs alone), all copies of what MLflow itself wrote. Each reading is a
process of its own, ours and MLflow's in turn, and what they import is not counted; memory is what
the process grew by at most (``VmHWM``). Ours tells more: ``runs_and_models`` reads models, registry
and what protects as well.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
KEYS = 10
"""Of metrics, of params and of tags, each."""
READ = """
import json, os, sys, time
import requests

uri, side = sys.argv[1:]
import mlflow, pandas
from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend
import expmgr.cleanup.survey, expmgr.cleanup.tables

made = 0
send = requests.Session.send

def counted(self, request, **options):
    global made
    made += 1
    return send(self, request, **options)

requests.Session.send = counted
manager = ExperimentsManagerWithAzureBlobBackend(
    tracking_uri=uri,
    azure_blob_credentials=AzureBlobCredentials(
        account_name="devstoreaccount1", account_key="a2V5", container_name="benchmark"
    ),
    main_metric="metric 0",
    plugin_name="benchmark",
)
experiments = [one.experiment_id for one in manager.client.search_experiments()]
mlflow.set_tracking_uri(uri)

def grown():
    with open("/proc/self/status") as status:
        held = dict(line.split(":", 1) for line in status)
    return int(held["VmHWM"].split()[0]) * 1024

with open("/proc/self/clear_refs", "w") as clear:
    clear.write("5")  # the peak begins anew, see proc(5)
before, made, cpu, began = grown(), 0, time.process_time(), time.perf_counter()
if side == "theirs":
    table = mlflow.search_runs(experiments, max_results=1_000_000)
elif side == "runs":
    table = manager.runs()
else:
    table, models = manager.runs_and_models()
seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
print(json.dumps({
    "seconds": seconds, "cpu": cpu, "memory": grown() - before, "requests": made,
    "rows": len(table), "columns": len(table.columns),
}))
"""


def fill(database: Path, client: Any, root: str, count: int, *, models: bool = True) -> None:
    """Make one run by MLflow itself, then its copies row by row."""
    from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag

    experiment = client.create_experiment("benchmark / whole", artifact_location=root)
    run_id = client.create_run(experiment, run_name="run number 0").info.run_id
    old = [run_id]
    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        [Metric(f"metric {at}", 0.5, now, 0) for at in range(KEYS)],
        [Param(f"param {at}", f"value {at} 0") for at in range(KEYS)],
        [RunTag(f"tag {at}", f"text {at} 0") for at in range(KEYS)],
    )
    if models:
        model_id = client.create_logged_model(experiment, source_run_id=run_id).model_id
        old.append(model_id)
        client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
        client.log_batch(run_id, [Metric("metric 0", 0.5, now, 0, model_id=model_id)])
        client.finalize_logged_model(model_id, "READY")
    client.set_terminated(run_id)
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        new = [[uuid.uuid4().hex, f"m-{uuid.uuid4().hex}"][: len(old)] for _ in range(count - 1)]
        for (table,) in tables.fetchall():
            cursor = connection.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            places = ", ".join("?" for _ in columns)
            rows = [row for row in cursor if any(_names(value, old) for value in row)]
            for row in rows:
                connection.executemany(
                    f'INSERT INTO "{table}" VALUES ({places})',
                    (_copied(columns, row, old, ids, at) for at, ids in enumerate(new, 1)),
                )
    connection.close()


def _names(value: Any, ids: list[str]) -> bool:
    return isinstance(value, str) and any(one in value for one in ids)


def _copied(columns: list[str], row: tuple[Any, ...], old: list[str], new: list[str], at: int):
    def changed(column: str, value: Any) -> Any:
        if column == "input_uuid":
            return uuid.uuid4().hex
        if column in {"value", "metric_value"} and isinstance(value, float):
            return at * 7919 % 99991 / 99991
        if column in {"start_time", "creation_timestamp_ms"}:
            return value + at
        if not isinstance(value, str):
            return value
        if value.startswith(("value ", "text ", "run number ")):
            return f"{value[:-1]}{at if value[0] == 'r' else at * 7919 % 10_007}"
        for one, other in zip(old, new, strict=True):
            value = value.replace(one, other)
        return value

    return [changed(column, value) for column, value in zip(columns, row, strict=True)]


def read(uri: str, side: str, package: Path = REPOSITORY) -> dict[str, float]:
    """Return what one reading in a new process cost: ``ours``, ``runs`` (ours too), ``theirs``."""
    done = subprocess.run(
        [sys.executable, "-c", READ, uri, side],
        cwd=package,  # the first place where ``-c`` looks for a package
        env={**os.environ, "PYTHONPATH": str(package), "MLFLOW_LOGGING_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(
    runs: int,
    backend: str,
    *,
    models: bool = True,
    pairs: int = 1,
    workers: int = 1,
    against: Path | None = None,
) -> dict[str, float]:
    """Return plain numbers: ``ours_seconds``, ``theirs_memory`` ..., and their ``ratio_...``.

    Parameters
    ----------
    backend
        ``sqlite``, or ``http`` for a real ``mlflow server`` on it.
    pairs
        Readings of each side, in turn; the medians count.
    workers
        Processes of the server; `mlflow server` starts four where it is not told.
    against
        Another checkout of expmgr, which is measured as ``other_...``.
    """
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]
    from mlflow import MlflowClient
    from servers import MlflowServer, wasbs

    with tempfile.TemporaryDirectory() as temporary:
        database = Path(temporary) / "mlflow" / "mlflow.db"
        database.parent.mkdir()
        client = MlflowClient(f"sqlite:///{database}")
        fill(database, client, wasbs("benchmark", "root"), runs, models=models)
        if backend == "sqlite":
            return compare(f"sqlite:///{database}", pairs, against)
        with MlflowServer(database.parent, "", workers=workers) as server:
            return compare(server.tracking_uri, pairs, against)


def compare(uri: str, pairs: int, against: Path | None = None) -> dict[str, float]:
    """Return what `measure` returns, of what a tracking server holds."""
    found: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    for _ in range(pairs):
        for side, readings in found.items():
            readings.append(read(uri, side))
        if against is not None:
            found.setdefault("other", []).append(read(uri, "ours", against))
    numbers = {
        f"{side}_{what}": statistics.median(reading[what] for reading in readings)
        for side, readings in found.items()
        for what in readings[0]
    }
    for what in ("seconds", "cpu", "memory"):
        numbers[f"ratio_{what}"] = numbers[f"ours_{what}"] / numbers[f"theirs_{what}"]
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[10_000])
    parser.add_argument("--backend", choices=("sqlite", "http", "both"), default="both")
    parser.add_argument("--without-models", action="store_true")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    options = parser.parse_args()
    for runs in options.runs:
        for backend in ("sqlite", "http") if options.backend == "both" else (options.backend,):
            numbers = measure(
                runs,
                backend,
                models=not options.without_models,
                pairs=options.pairs,
                against=options.against,
            )
            print(f"{runs:,} runs x {3 * KEYS} keys, {backend}:")
            for side in ("ours", "theirs", "other"):
                if f"{side}_seconds" in numbers:
                    print(
                        f"  {side:7} {numbers[f'{side}_seconds']:7.2f} s, "
                        f"CPU {numbers[f'{side}_cpu']:7.2f} s, "
                        f"{numbers[f'{side}_memory'] / 1e6:7,.0f} MB, "
                        f"{numbers[f'{side}_requests']:.0f} requests"
                    )
            print(
                f"  ratio   {numbers['ratio_seconds']:.2f} time, {numbers['ratio_cpu']:.2f} CPU, "
                f"{numbers['ratio_memory']:.2f} memory",
                flush=True,
            )


if __name__ == "__main__":
    main()
