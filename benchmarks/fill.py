"""Fills databases with runs and containers with blobs, many times faster than a client would."""

from __future__ import annotations

import http.client
import sqlite3
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from benchmarks.stage import METRIC

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.stage import Place

FILES = ("MLmodel", "model.pkl")
THREADS = 8
_VARIED = "zero"
"""In the first run's values what differs between runs."""


class Made(NamedTuple):
    """A run and the model that it made."""

    run_id: str
    model_id: str

    def names(self, files: Iterable[str] = FILES) -> list[str]:
        """Return the blobs of the model, below the root of `Place.root`."""
        return [f"root/models/{self.model_id}/artifacts/{name}" for name in files]


def fill_runs(
    place: Place, count: int, *, keys: int = 1, newest_best: int | None = None
) -> list[Made]:
    """Make an experiment of finished runs, oldest first, that made a model each.

    MLflow itself makes the first, its rows are copied for the others. The first is never the best.

    Parameters
    ----------
    count
        Runs.
    keys
        Metrics, and as many parameters and tags, a run.
    newest_best
        So many of the newest have better values than all others; None: no such rule.
    """
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag

    client = MlflowClient(f"sqlite:///{place.database}")
    experiment = client.create_experiment(f"{place.plugin} / many", artifact_location=place.root)
    run_id = client.create_run(experiment).info.run_id
    model_id = client.create_logged_model(experiment, source_run_id=run_id).model_id
    client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
    names = [METRIC, *(f"metric_{at}" for at in range(1, keys))]
    client.log_batch(
        run_id,
        metrics=[Metric(name, 0.0, 1, 0) for name in names],
        params=[Param(f"param_{at}", f"{at} of {_VARIED}") for at in range(keys)],
        tags=[RunTag(f"tag_{at}", f"{at} of {_VARIED}") for at in range(keys)],
    )
    client.finalize_logged_model(model_id, "READY")
    client.set_terminated(run_id)
    first = Made(run_id, model_id)
    copies = [Made(uuid.uuid4().hex, f"m-{uuid.uuid4().hex}") for _ in range(count - 1)]
    newest = count if newest_best is None else newest_best
    with sqlite3.connect(place.database, timeout=60) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            cursor = connection.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            own = [row for row in cursor if _names(row, first)]
            places = ", ".join("?" for _ in columns)
            for row in own:
                connection.executemany(
                    f'INSERT INTO "{table}" VALUES ({places})',
                    (
                        _copied(columns, row, first, new, at, count, newest)
                        for at, new in enumerate(copies, 1)
                    ),
                )
    connection.close()
    return [first, *copies]


def _names(row: Sequence[Any], made: Made) -> bool:
    return any(isinstance(v, str) and (made.run_id in v or made.model_id in v) for v in row)


def _copied(
    columns: Sequence[str],
    row: Sequence[Any],
    old: Made,
    new: Made,
    at: int,
    count: int,
    newest: int,
) -> list[Any]:
    quality = (1 + at * 7919 % 9973) / 9974 / 2 + (0.5 if at >= count - newest else 0.0)

    def changed(column: str, value: Any) -> Any:
        if column == "input_uuid":
            return uuid.uuid4().hex
        if column in {"value", "metric_value"} and isinstance(value, float):
            return quality
        if column in {"start_time", "creation_timestamp_ms"}:
            return value + at
        if isinstance(value, str):
            own = value.replace(old.run_id, new.run_id).replace(old.model_id, new.model_id)
            return own.replace(_VARIED, str(at * 7919 % 10_007))
        return value

    return [changed(column, value) for column, value in zip(columns, row, strict=True)]


def put_blobs(place: Place, names: Iterable[str], content: bytes = b"x" * 100) -> int:
    """Write a blob for each name, a request each over a few open connections; return how many.

    Half of the SDK's time for a small blob is its own; a hundred thousand would take minutes.
    """
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    sas = generate_container_sas(
        place.account_name,
        place.container,
        account_key=place.account_key,
        permission=ContainerSasPermissions(write=True, create=True),
        expiry="2099-01-01T00:00:00Z",
    )
    host = urlsplit(place.endpoint)
    base = f"{host.path}/{place.container}"
    wanted = list(names)

    def put(some: list[str]) -> None:
        connection = http.client.HTTPConnection(str(host.hostname), host.port)
        for name in some:
            headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-12-02"}
            connection.request("PUT", f"{base}/{quote(name)}?{sas}", content, headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != http.client.CREATED:
                raise RuntimeError(f"{name}: {answer.status} {said[:300]!r}")
        connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(put, [wanted[at::THREADS] for at in range(THREADS)]))
    return len(wanted)
