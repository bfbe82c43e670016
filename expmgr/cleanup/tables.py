"""What was surveyed as pandas tables: a row a run, a row a model. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from expmgr.catalog.model import Size
from expmgr.catalog.quality import newest_entries
from expmgr.catalog.reason import Reasons, distinct
from expmgr.catalog.states import MODEL_STATES, run_state
from expmgr.tracking.marks import earliest_due

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from expmgr.catalog.model import Maker, Model
    from expmgr.catalog.reason import Reason
    from expmgr.cleanup.survey import Surveyed

__all__ = [
    "BASE_COLUMNS",
    "MODEL_COLUMNS",
    "RunRow",
    "RunsAndModels",
    "models_table",
    "rows_by_run",
    "runs_table",
]

_PARENT_TAG = "mlflow.parentRunId"
"""``mlflow.utils.mlflow_tags.MLFLOW_PARENT_RUN_ID``"""

BASE_COLUMNS = (
    "run_id",
    "run_name",
    "experiment_id",
    "experiment_name",
    "parent_run_id",
    "status",
    "start_time",
    "end_time",
    "model",
    "files",
    "bytes",
    "is_best",
    "protected_by",
    "goes",
)


MODEL_COLUMNS = (
    "model_id",
    "name",
    "kind",
    "run_id",
    "run_name",
    "experiment_id",
    "experiment_name",
    "status",
    "step",
    "created",
    "quality",
    "model",
    "files",
    "bytes",
    "is_best",
    "protected_by",
    "alone",
    "goes",
)


@dataclass(frozen=True)
class RunRow:
    """What a run's row shows of its models.

    Attributes
    ----------
    model
        The state, see `expmgr.catalog.states.ModelState`.
    files, bytes
        None until measured.
    goes
        When the first of its marked models goes, in milliseconds since 1970; None without a mark.
    """

    model: str
    files: int | None
    bytes: int | None
    is_best: bool
    reasons: tuple[Reason, ...]
    goes: int | None = None


class RunsAndModels(NamedTuple):
    """Two tables of one reading.

    Attributes
    ----------
    runs
        A row a run, as `runs_table` returns it.
    models
        A row a model, as `models_table` returns it.
    """

    runs: pd.DataFrame
    models: pd.DataFrame


def runs_table(surveyed: Surveyed) -> pd.DataFrame:
    """Return one row a run, in the order given.

    Columns are those of `BASE_COLUMNS`, then ``metrics.*``, ``params.*`` and ``tags.*``, each
    group sorted. Times are UTC; ``files`` and ``bytes`` are nullable integers.
    """
    import pandas as pd

    runs = surveyed.runs
    names = {experiment.experiment_id: experiment.name for experiment in surveyed.experiments}
    infos = [run.info for run in runs]
    by_run = rows_by_run(surveyed)
    rows = [by_run[info.run_id] for info in infos]
    parents = [run.data.tags.get(_PARENT_TAG) or None for run in runs]
    columns: dict[str, Any] = {
        "run_id": pd.Series([info.run_id for info in infos], dtype="object"),
        "run_name": pd.Series([info.run_name or "" for info in infos], dtype="object"),
        "experiment_id": pd.Series([info.experiment_id for info in infos], dtype="object"),
        "experiment_name": pd.Series(
            [names.get(info.experiment_id, "") for info in infos], dtype="object"
        ),
        "parent_run_id": pd.Series(parents, dtype="object"),
        "status": pd.Series([info.status for info in infos], dtype="object"),
        "start_time": _times([info.start_time for info in infos]),
        "end_time": _times([info.end_time for info in infos]),
        "model": pd.Series([row.model for row in rows], dtype="object"),
        "files": pd.Series([row.files for row in rows], dtype="Int64"),
        "bytes": pd.Series([row.bytes for row in rows], dtype="Int64"),
        "is_best": pd.Series([row.is_best for row in rows], dtype="bool"),
        "protected_by": pd.Series([Reasons(row.reasons) for row in rows], dtype="object"),
        "goes": _times([row.goes for row in rows]),
    }
    count = len(runs)
    for group, missing in (("metrics", float("nan")), ("params", None), ("tags", None)):
        values: dict[str, list[Any]] = {}
        for index, run in enumerate(runs):
            for key, value in getattr(run.data, group).items():
                column = values.get(key)
                if column is None:
                    column = values[key] = [missing] * count
                column[index] = value
        dtype = "float64" if group == "metrics" else "object"
        for key in sorted(values):
            columns[f"{group}.{key}"] = pd.Series(values[key], dtype=dtype)
    return pd.DataFrame(columns)


def rows_by_run(surveyed: Surveyed) -> dict[str, RunRow]:
    """Return what each run's row shows of its models, by run id."""
    catalog = surveyed.catalog
    states, reasons, stars = catalog.states(), catalog.reasons(), catalog.stars()
    by_run = catalog.by_run()
    rows: dict[str, RunRow] = {}
    for run in surveyed.runs:
        run_id = run.info.run_id
        models = by_run.get(run_id, [])
        state = run_state(states[model.id] for model in models)
        untold = run_id in surveyed.untold and state in {"none", "deleted"}
        if untold or run_id in surveyed.forgotten:
            state = "unknown"
        stored = [model.stored for model in models]
        size = Size(0, 0)
        for one in stored:
            size = size if one is None else size.plus(one.size)
        known = bool(models) and all(one is not None for one in stored)
        known = known or (not models and run_id in surveyed.measured)
        rows[run_id] = RunRow(
            state,
            size.files if known else None,
            size.bytes if known else None,
            any(model.id in stars for model in models),
            distinct([reason for model in models for reason in reasons[model.id]])
            if state in MODEL_STATES
            else (),
            earliest_due([(run_id, run.data.tags), *((one.id, one.tags) for one in models)]),
        )
    return rows


def models_table(surveyed: Surveyed, filter_string: str = "") -> pd.DataFrame:
    """Return one row a model, newest first.

    Columns are those of `MODEL_COLUMNS`, then ``metrics.*``, each model's newest own values.
    ``created`` is UTC; ``step`` is the step at which its run lists it; ``quality`` its own value
    of the main metric, else its run's.
    """
    import pandas as pd

    catalog = surveyed.catalog
    states, reasons, stars = catalog.states(), catalog.reasons(), catalog.stars()
    names = {experiment.experiment_id: experiment.name for experiment in surveyed.experiments}
    shown = {run.info.run_id for run in surveyed.runs}
    models = [
        model
        for model in catalog.models.values()
        if not model.in_trash
        and (states[model.id] in MODEL_STATES or model.kind == "logged")
        and (model.run_id in shown or (not filter_string and model.experiment_id in names))
    ]
    models.sort(key=lambda model: (-model.created, model.id))
    qualities = catalog.qualities()
    makers = [catalog.makers.get(model.run_id) for model in models]
    sizes = [None if model.stored is None else model.stored.size for model in models]
    columns: dict[str, Any] = {
        "model_id": [model.id for model in models],
        "name": [model.name for model in models],
        "kind": [model.kind for model in models],
        "run_id": [model.run_id for model in models],
        "run_name": ["" if maker is None else maker.name for maker in makers],
        "experiment_id": [model.experiment_id for model in models],
        "experiment_name": [names.get(model.experiment_id, "") for model in models],
        "status": [model.status for model in models],
        "step": pd.array(
            [
                None if maker is None else maker.outputs.get(model.id)
                for model, maker in zip(models, makers, strict=True)
            ],
            dtype="Int64",
        ),
        "created": _times([model.created or None for model in models]),
        "quality": pd.array([qualities.get(model.id) for model in models], dtype="Float64"),
        "model": [states[model.id] for model in models],
        "files": pd.array([None if s is None else s.files for s in sizes], dtype="Int64"),
        "bytes": pd.array([None if s is None else s.bytes for s in sizes], dtype="Int64"),
        "is_best": [model.id in stars for model in models],
        "protected_by": pd.Series([Reasons(reasons[one.id]) for one in models], dtype="object"),
        "alone": [model.alone for model in models],
        "goes": _times([_goes(model, maker) for model, maker in zip(models, makers, strict=True)]),
    }
    values: dict[str, list[float]] = {}
    for index, model in enumerate(models):
        for key, entry in newest_entries(model.entries).items():
            column = values.get(key)
            if column is None:
                column = values[key] = [float("nan")] * len(models)
            column[index] = entry.value
    for key in sorted(values):
        columns[f"metrics.{key}"] = pd.Series(values[key], dtype="float64")
    return pd.DataFrame(columns)


def _goes(model: Model, maker: Maker | None) -> int | None:
    if model.path is None:
        return None
    owners = [(model.id, model.tags)]
    if maker is not None:
        owners.append((maker.id, maker.tags))
    return earliest_due(owners, model.path)


def _times(milliseconds: Sequence[int | None]) -> pd.Series[Any]:
    import pandas as pd

    counts: pd.Series[Any] = pd.Series(list(milliseconds), dtype="Int64")
    return pd.Series(pd.to_datetime(counts, unit="ms", utc=True))
