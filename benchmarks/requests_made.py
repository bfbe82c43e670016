"""How many requests a question costs in an experiment of many runs, over HTTP, and its seconds.

Usage: python benchmarks/requests_made.py [--runs 10000] [--against CHECKOUT]

A real ``mlflow server`` on SQLite holds one experiment in which every run made one model, and real
Azurite the models of the best and newest thousand. Each question is asked once by a manager that is
new to it. With ``--against`` the same questions go to the package of another checkout as well, so
that two versions stand side by side; counts are exact, seconds are those of one run.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
STORED = 1000
"""So many of the runs, the best and newest, have their model's files in the container."""
COUNT = """
import json, sys, time
import requests
from azure.core.pipeline.transport import RequestsTransport
from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend
from expmgr.policies import best, larger_than

wanted = json.loads(sys.argv[1])
made = {"tracking": 0, "storage": 0}
send, transmit = requests.Session.send, RequestsTransport.send

def counted(self, request, **options):
    # Azure's transport sends through such a session, too: told apart by the tracking server's URL.
    made["tracking"] += request.url.startswith(wanted["uri"])
    return send(self, request, **options)

def counted_too(self, request, **options):
    made["storage"] += 1
    return transmit(self, request, **options)

requests.Session.send, RequestsTransport.send = counted, counted_too

def manager():
    return ExperimentsManagerWithAzureBlobBackend(
        tracking_uri=wanted["uri"],
        azure_blob_credentials=AzureBlobCredentials(**wanted["credentials"]),
        main_metric="accuracy",
        plugin_name="benchmark",
    )

questions = {
    "plan of one run": lambda m: m.plan_deletion(wanted["runs"][0]),
    "plan of 100 runs": lambda m: m.plan_deletion(wanted["runs"][:100]),
    "plan of 1,000 runs": lambda m: m.plan_deletion(wanted["runs"]),
    "plan by policy": lambda m: m.plan_cleanup(larger_than("0B"), best(10)),
    "first page (25 runs)": lambda m: m.runs(limit=25),
    "runs()": lambda m: m.runs(),
}
for name, ask in questions.items():
    asked = manager()
    asked.client.get_experiment("0")
    made.update(tracking=0, storage=0)
    began = time.perf_counter()
    ask(asked)
    print(json.dumps([name, made["tracking"], made["storage"], time.perf_counter() - began]))
"""


def fill(database: Path, client, root: str, count: int) -> list[tuple[str, str]]:
    """Make one run with a model by MLflow itself, then its copies row by row; returns the ids."""
    from mlflow.entities import LoggedModelOutput

    experiment = client.create_experiment("benchmark / many", artifact_location=root)
    run_id = client.create_run(experiment).info.run_id
    model_id = client.create_logged_model(experiment, source_run_id=run_id).model_id
    client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
    client.log_metric(run_id, "accuracy", 0.0)
    client.log_param(run_id, "depth", "3")
    client.finalize_logged_model(model_id, "READY")
    client.set_terminated(run_id)
    ids = [(uuid.uuid4().hex, f"m-{uuid.uuid4().hex}") for _ in range(count - 1)]
    with sqlite3.connect(database) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        for table in tables:
            cursor = connection.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            template = [
                row
                for row in cursor
                if any(isinstance(v, str) and (run_id in v or model_id in v) for v in row)
            ]
            places = ", ".join("?" for _ in columns)
            for row in template:
                connection.executemany(
                    f'INSERT INTO "{table}" VALUES ({places})',
                    (
                        _copied(columns, row, (run_id, model_id), new, at, count)
                        for at, new in enumerate(ids, 1)
                    ),
                )
    return [(run_id, model_id), *ids]


def _copied(columns, row, old, new, at: int, count: int) -> list:
    quality = at * 7919 % 9973 / 9973 / (1 if at >= count - STORED else 2)

    def changed(column: str, value):
        if column == "input_uuid":
            return uuid.uuid4().hex
        if column == "value" and isinstance(value, float):
            return quality
        if column in {"start_time", "creation_timestamp_ms"}:
            return value + at
        if isinstance(value, str):
            return value.replace(old[0], new[0]).replace(old[1], new[1])
        return value

    return [changed(column, value) for column, value in zip(columns, row, strict=True)]


def ask(package: Path, wanted: dict) -> dict[str, tuple[int, int, float]]:
    """Return requests to the tracking server, to storage, and seconds, by question."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT, json.dumps(wanted)],
        cwd=package,  # the first place where ``-c`` looks for a package
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return {name: (tracking, storage, seconds) for name, tracking, storage, seconds in lines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    options = parser.parse_args()
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]
    from azure.storage.blob import BlobServiceClient
    from mlflow import MlflowClient
    from servers import MlflowServer, wasbs

    from expmgr.demo.azurite import AzuriteServer

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with AzuriteServer(folder / "azurite") as azurite:
            service = BlobServiceClient.from_connection_string(azurite.connection_string)
            container = service.create_container("benchmark")
            database = folder / "mlflow" / "mlflow.db"
            database.parent.mkdir()
            client = MlflowClient(f"sqlite:///{database}")
            ids = fill(database, client, wasbs("benchmark", "root"), options.runs)

            def store(model_id: str) -> None:
                for name in ("MLmodel", "model.pkl"):
                    container.upload_blob(f"root/models/{model_id}/artifacts/{name}", b"x")

            newest = ids[-STORED:]
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(store, [model_id for _, model_id in newest]))
            with MlflowServer(database.parent, azurite.connection_string) as server:
                key = azurite.credentials("benchmark")
                wanted = {
                    "uri": server.tracking_uri,
                    "credentials": {
                        "account_name": key.account_name,
                        "account_key": azurite.account_key,
                        "container_name": "benchmark",
                        "account_url": azurite.endpoint,
                    },
                    "runs": [run_id for run_id, _ in newest],
                }
                packages = {"this": REPOSITORY}
                if options.against is not None:
                    packages["other"] = options.against
                answers = {name: ask(path, wanted) for name, path in packages.items()}
    print(f"{options.runs:,} runs over HTTP: requests to MLflow + to storage, seconds")
    for question in answers["this"]:
        line = f"{question:22}"
        for name in answers:
            tracking, storage, seconds = answers[name][question]
            line += f"  {name}: {tracking:5} + {storage:3}  {seconds:7.2f} s"
        print(line)


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"({time.monotonic() - began:.0f} s in all)")
