"""Runs of a local MLflow database, read by a few statements over its tables.

MLflow's store makes an object of SQLAlchemy of every row, expires each when its session ends, and
asks again from the start for every page: 0.4 ms a run of 30 keys, rising with their number, beside
0.1 ms here [measured]. The tables are MLflow's own (``mlflow.store.tracking.dbmodels.models``),
which its releases may change: so the newest runs are read by MLflow as well, and unless they are
the same in all that a table shows, everything is left to MLflow.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from expmgr.tracking.lean_runs import Same, lean_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["database_runs"]

logger = logging.getLogger(__name__)

_STORE = ("mlflow.store.tracking.sqlalchemy_store", "SqlAlchemyStore")
_COMPARED = 3
"""Of the newest runs, so many are read by MLflow as well."""
_AT_ONCE = 500
"""Runs of which a statement asks, as SQLAlchemy's own ``selectinload`` does."""


def database_runs(client: MlflowClient, experiment_ids: Sequence[str]) -> list[Run] | None:
    """Return all active runs of some experiments in MLflow's order, newest first.

    None where the client has no database, or one that is not as it is known here.
    """
    store = getattr(getattr(client, "_tracking_client", None), "store", None)  # no public way
    kind = type(store)  # named, since its module takes a second to import
    if (kind.__module__, kind.__name__) != _STORE:  # one that is aware of workspaces shows less
        return None
    first = client.search_runs(list(experiment_ids), max_results=_COMPARED)
    if not first:
        return None
    try:
        runs = _read(store, experiment_ids)
    except Exception as error:  # noqa: BLE001 - MLflow's own way is there for whatever it is
        logger.debug("MLflow reads the runs: its database is not as known here (%s)", error)
        return None
    if [_shown(run) for run in first] != [_shown(run) for run in runs[: len(first)]]:
        return None  # they changed meanwhile, or mean something else
    return runs


def _shown(run: Run) -> tuple[Any, ...]:
    """Return all that is read of a run."""
    outputs = run.outputs.model_outputs if run.outputs is not None else ()
    return (
        dict(run.info),
        {key: repr(value) for key, value in run.data.metrics.items()},  # NaN equals nothing
        run.data.params,
        run.data.tags,
        sorted((output.model_id, output.step) for output in outputs),
    )


def _read(store: Any, experiment_ids: Sequence[str]) -> list[Run]:
    from mlflow.entities import LifecycleStage
    from mlflow.store.tracking.dbmodels.models import SqlRun
    from sqlalchemy import select

    same = Same()
    runs: list[Run] = []
    with store.ManagedSessionMaker() as session:
        infos = session.execute(
            select(
                SqlRun.run_uuid,
                SqlRun.name,
                SqlRun.experiment_id,
                SqlRun.user_id,
                SqlRun.status,
                SqlRun.start_time,
                SqlRun.end_time,
                SqlRun.lifecycle_stage,
                SqlRun.artifact_uri,
            )
            .where(
                SqlRun.experiment_id.in_([int(one) for one in experiment_ids]),
                SqlRun.lifecycle_stage == LifecycleStage.ACTIVE,
            )
            .order_by(SqlRun.start_time.desc(), SqlRun.run_uuid)
        ).all()
        for at in range(0, len(infos), _AT_ONCE):
            runs += _with_data(session, infos[at : at + _AT_ONCE], same)
    return runs


def _with_data(session: Any, infos: Sequence[Any], same: Same) -> Iterator[Run]:
    from mlflow.entities import RunInfo
    from mlflow.store.tracking.dbmodels.models import SqlInput, SqlLatestMetric, SqlParam, SqlTag
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
    from sqlalchemy import select

    ids = [info[0] for info in infos]
    metrics: dict[str, dict[str, float]] = defaultdict(dict)
    params: dict[str, dict[str, Any]] = defaultdict(dict)
    tags: dict[str, dict[str, Any]] = defaultdict(dict)
    outputs: dict[str, list[tuple[str, int]]] = defaultdict(list)
    # Every answer is taken whole: an open cursor would keep others from writing to SQLite.
    logged = SqlLatestMetric
    for run_id, key, value, is_nan in session.execute(
        select(logged.run_uuid, logged.key, logged.value, logged.is_nan).where(
            logged.run_uuid.in_(ids)
        )
    ).all():
        metrics[run_id][same(key)] = float("nan") if is_nan else value
    kinds: tuple[tuple[Any, dict[str, dict[str, Any]]], ...] = ((SqlParam, params), (SqlTag, tags))
    for kind, into in kinds:
        for run_id, key, value in session.execute(
            select(kind.run_uuid, kind.key, kind.value).where(kind.run_uuid.in_(ids))
        ).all():
            into[run_id][same(key)] = value if value is None else same(value)
    for run_id, model_id, step in session.execute(
        select(SqlInput.source_id, SqlInput.destination_id, SqlInput.step).where(
            SqlInput.source_type == "RUN_OUTPUT",
            SqlInput.source_id.in_(ids),
            SqlInput.destination_type == "MODEL_OUTPUT",
        )
    ).all():
        outputs[run_id].append((model_id, step))
    for run_id, name, home, user, status, start, end, stage, uri in infos:
        info = RunInfo(
            run_id=run_id,
            run_name=name or tags[run_id].get(MLFLOW_RUN_NAME) or name,
            experiment_id=same(str(home)),
            user_id=user if user is None else same(user),
            status=same(status),
            start_time=start,
            end_time=end,
            lifecycle_stage=same(stage),
            artifact_uri=uri,
        )
        yield lean_run(info, metrics[run_id], params[run_id], tags[run_id], outputs[run_id])
