"""What a refresh of the table costs beside asking MLflow for all runs again.

Usage: python benchmarks/refresh.py [--runs 10000] [--backend sqlite|http]

One experiment of runs with thirty keys each, every run with a model of its own, in a database that
is filled row by row. Ten runs are made, each with a model, and end; then the table is refreshed, by
`ExperimentsManager.follow` alone and by the whole browser; ``mlflow.search_runs`` is asked for all
of it again. No question here reaches the storage account.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CHANGED = 10
"""Runs that changed before each refresh."""
ROUNDS = 5
KEYS = 10
"""Metrics, params and tags of a run, so many of each."""


def fill(database: Path, client, root: str, count: int) -> str:
    """Make one run with a model by MLflow itself, then its copies row by row; returns the home."""
    from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag

    experiment = client.create_experiment("benchmark / many", artifact_location=root)
    run_id = client.create_run(experiment, start_time=int(time.time() * 1000) - 86_400_000)
    run_id = run_id.info.run_id
    client.log_batch(
        run_id,
        [Metric("accuracy", 0.5, 0, 0), *(Metric(f"m{at}", 1.5, 0, 0) for at in range(KEYS - 1))],
        [Param(f"p{at}", "3") for at in range(KEYS)],
        [RunTag(f"t{at}", "x") for at in range(KEYS - 2)],
    )
    model_id = client.create_logged_model(experiment, source_run_id=run_id).model_id
    client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
    client.finalize_logged_model(model_id, "READY")
    client.set_terminated(run_id, end_time=int(time.time() * 1000) - 80_000_000)
    ids = [(uuid.uuid4().hex, f"m-{uuid.uuid4().hex}") for _ in range(count - 1)]
    with sqlite3.connect(database) as connection:
        named = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in named.fetchall():
            cursor = connection.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            rows = [
                row
                for row in cursor
                if any(isinstance(v, str) and (run_id in v or model_id in v) for v in row)
            ]
            places = ", ".join("?" for _ in columns)
            for row in rows:
                connection.executemany(
                    f'INSERT INTO "{table}" VALUES ({places})',
                    (
                        _copied(columns, row, (run_id, model_id), new, at)
                        for at, new in enumerate(ids, 1)
                    ),
                )
        # None of them is new to a refresh.
        connection.execute(
            "UPDATE logged_models SET creation_timestamp_ms = creation_timestamp_ms - 80000000, "
            "last_updated_timestamp_ms = last_updated_timestamp_ms - 80000000"
        )
    return experiment


def _copied(columns, row, old, new, at: int) -> list:
    def changed(column: str, value):
        if column == "input_uuid":
            return uuid.uuid4().hex
        if column == "value" and value == 0.5:
            return at * 7919 % 9973 / 9973
        if column == "start_time":
            return value + at
        if isinstance(value, str):
            return value.replace(old[0], new[0]).replace(old[1], new[1])
        return value

    return [changed(column, value) for column, value in zip(columns, row, strict=True)]


def change(client, experiment: str) -> None:
    """Let ten runs begin, make a model each, and end; one of them is the best so far."""
    from mlflow.entities import LoggedModelOutput

    for at in range(CHANGED):
        run_id = client.create_run(experiment).info.run_id
        client.log_metric(run_id, "accuracy", at / CHANGED)
        model_id = client.create_logged_model(experiment, source_run_id=run_id).model_id
        client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
        client.finalize_logged_model(model_id, "READY")
        client.set_terminated(run_id)


@contextlib.contextmanager
def served(folder: Path, backend: str):
    """Yield the tracking URI of the database in a folder."""
    if backend == "sqlite":
        yield f"sqlite:///{folder / 'mlflow.db'}"
        return
    sys.path.append(str(REPOSITORY / "tests"))
    from servers import MlflowServer

    with MlflowServer(folder, "UseDevelopmentStorage=true") as server:
        yield server.tracking_uri


def timed(question) -> tuple[float, float]:
    """Return the seconds that a question takes, and those of this process's CPU."""
    gc.collect()
    began, busy = time.perf_counter(), time.process_time()
    question()
    return time.perf_counter() - began, time.process_time() - busy


def measure(runs: int = 10_000, backend: str = "sqlite") -> dict[str, float]:
    """Return seconds (medians), seconds of CPU, and requests; see the module.

    Parameters
    ----------
    runs
        In the experiment.
    backend
        ``sqlite`` or ``http``.
    """
    import mlflow
    import requests
    from mlflow import MlflowClient

    from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend
    from expmgr.widgets import RunBrowser

    made = 0
    send = requests.Session.send

    def counted(self, request, **options):
        nonlocal made
        made += 1
        return send(self, request, **options)

    with tempfile.TemporaryDirectory() as temporary:
        database = Path(temporary) / "mlflow.db"
        root = "wasbs://benchmark@devstoreaccount1.blob.core.windows.net/root"
        filling = MlflowClient(f"sqlite:///{database}", f"sqlite:///{database}")
        experiment = fill(database, filling, root, runs)
        with served(Path(temporary), backend) as uri:
            client = MlflowClient(uri, uri)
            mlflow.set_tracking_uri(uri)
            manager = ExperimentsManagerWithAzureBlobBackend(
                tracking_uri=uri,
                azure_blob_credentials=AzureBlobCredentials(
                    account_name="devstoreaccount1", account_key="a2V5", container_name="benchmark"
                ),
                main_metric="accuracy",
                plugin_name="benchmark",
            )
            whole = [timed(lambda: mlflow.search_runs([experiment])) for _ in range(2)]
            following = manager.follow()
            read = timed(following.read)
            refreshed = []
            requests.Session.send = counted
            try:
                for _ in range(ROUNDS):
                    change(client, experiment)
                    made = 0
                    refreshed.append((*timed(following.refresh), made))
            finally:
                requests.Session.send = send
            with contextlib.closing(RunBrowser(manager, measure=False)) as browser:
                browser.wait(600)

                def click() -> None:
                    browser.refresh()
                    browser.wait(600)

                clicked = []
                for _ in range(ROUNDS):
                    change(client, experiment)
                    clicked.append(timed(click)[0])
            mlflow.set_tracking_uri(None)
    seconds = statistics.median(one[0] for one in refreshed)
    return {
        "runs": runs,
        "changed": CHANGED,
        "search_runs_seconds": min(one[0] for one in whole),
        "search_runs_cpu": min(one[1] for one in whole),
        "read_seconds": read[0],
        "refresh_seconds": seconds,
        "refresh_cpu": statistics.median(one[1] for one in refreshed),
        "refresh_requests": max(one[2] for one in refreshed),
        "browser_seconds": statistics.median(clicked),
        "ratio": min(one[0] for one in whole) / seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--backend", choices=("sqlite", "http"), default="sqlite")
    options = parser.parse_args()
    sys.path.insert(0, str(REPOSITORY))
    print(json.dumps(measure(options.runs, options.backend), indent=2))


if __name__ == "__main__":
    main()
