"""What a refresh of the table costs beside asking MLflow for all runs again.

Usage: python benchmarks/refresh.py [--runs 10000] [--backend sqlite|http]

One experiment of runs with thirty keys each, every run with a model of its own, in a database that
is filled row by row. Ten runs end, one model is registered, and the table is refreshed;
``mlflow.search_runs`` is asked for all of it again. The container is an empty one of real Azurite.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CHANGED = 10
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
