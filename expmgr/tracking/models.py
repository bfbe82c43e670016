"""Which models runs made, linked to or recorded, as MLflow tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from expmgr.catalog.model import Maker, Model
from expmgr.catalog.quality import Entry
from expmgr.tracking.queries import in_parallel, logged_model, read_logged_models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

__all__ = [
    "HISTORY_TAG",
    "RunModels",
    "history_paths",
    "input_model_ids",
    "maker_of",
    "model_of",
    "models_of_runs",
    "output_model_ids",
]

HISTORY_TAG = "mlflow.log-model.history"
"""Set by MLflow 2's ``log_model`` (``mlflow.utils.mlflow_tags.MLFLOW_LOGGED_MODELS``)."""

_EXTERNAL_TAG = "mlflow.model.isExternal"
"""``mlflow.utils.mlflow_tags.MLFLOW_MODEL_IS_EXTERNAL``"""

_RUNS_A_QUESTION = 100
"""Runs named in one ``source_run_id IN (...)``; their models fit one page then."""


@dataclass(frozen=True)
class RunModels:
    """The models of one run as MLflow tells them.

    Attributes
    ----------
    made
        LoggedModels whose source run is this run, in any experiment.
    trashed
        Ids of those of them that are deleted.
    links
        LoggedModels that the run lists but another run made (or nobody known).
    untold
        Ids that the run lists and MLflow does not tell anything about; their location is not
        guessed.
    history
        Artifact paths of the MLflow 2 tag, as they stand there.
    """

    made: tuple[LoggedModel, ...] = ()
    trashed: frozenset[str] = frozenset()
    links: tuple[LoggedModel, ...] = ()
    untold: tuple[str, ...] = ()
    history: tuple[str, ...] = ()

    @property
    def linked(self) -> tuple[str, ...]:
        """Ids of the models that the run merely links to."""
        return tuple(model.model_id for model in self.links)

    @property
    def recorded(self) -> bool:
        """Whether MLflow recorded any model for the run, be it one that cannot be located."""
        return bool(self.made or self.untold or self.history)


def history_paths(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the artifact paths in MLflow 2's history tag, each once, in order. Pure.

    A tag that is not the JSON list it should be yields one empty path, which every location check
    refuses: better an error than a guess.
    """
    text = tags.get(HISTORY_TAG)
    if text is None:
        return ()
    try:
        entries = json.loads(text)
        paths = [str(entry.get("artifact_path") or "") for entry in entries]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ("",)
    return tuple(dict.fromkeys(paths))


def output_model_ids(run: Run) -> tuple[str, ...]:
    """Return the ids of the models that a run lists as outputs."""
    return tuple(_outputs(run))


def _outputs(run: Run) -> dict[str, int]:
    outputs = getattr(run, "outputs", None)
    listed = None if outputs is None else outputs.model_outputs
    return {output.model_id: output.step for output in listed or ()}


def input_model_ids(run: Run) -> tuple[str, ...]:
    """Return the ids of the models that a run lists as inputs (``search_runs`` leaves them out)."""
    inputs = getattr(run, "inputs", None)
    models = getattr(inputs, "model_inputs", None) if inputs is not None else None
    return tuple(dict.fromkeys(entry.model_id for entry in models or ()))


def maker_of(run: Run, *, whole: bool) -> Maker:
    """Return a run as the catalog sees it; ``whole`` where it came from ``get_run``."""
    info = run.info
    return Maker(
        info.run_id,
        info.run_name or "",
        info.experiment_id,
        info.status,
        run.data.tags,
        run.data.metrics,
        _outputs(run),
        input_model_ids(run) if whole else None,
        info.lifecycle_stage == "deleted",
        info.start_time or 0,
    )


def model_of(model: LoggedModel, path: str | None, *, in_trash: bool = False) -> Model:
    """Return a LoggedModel as the catalog sees it.

    Parameters
    ----------
    path
        Where its files lie in our container, None where they lie elsewhere.
    """
    tags = dict(model.tags or {})
    return Model(
        model.model_id,
        "logged",
        str(model.experiment_id),
        run_id=model.source_run_id or "",
        name=model.name or "",
        status=str(getattr(model.status, "value", model.status)),
        created=model.creation_timestamp or 0,
        path=path,
        tags=tags,
        entries=tuple(
            Entry(metric.key, metric.value, metric.timestamp, metric.step, metric.run_id or "")
            for metric in model.metrics or ()
        ),
        in_trash=in_trash,
        external=str(tags.get(_EXTERNAL_TAG, "")).lower() == "true",
        updated=model.last_updated_timestamp or 0,
    )


def models_of_runs(
    client: MlflowClient,
    runs: Sequence[Run],
    experiment_ids: Sequence[str],
    known: Mapping[str, LoggedModel] | None = None,
    *,
    on_read: Callable[[int], None] = lambda _: None,
) -> dict[str, RunModels]:
    """Ask MLflow for the models of some runs, by run id.

    A search a hundred runs for the active models that name them as their source, and one look-up
    for each model that a run lists beyond those (links to others' models, models in the trash).

    Parameters
    ----------
    experiment_ids
        All there are, those in the trash included: a run may make a model for another experiment,
        and MLflow searches only where it is told to.
    known
        Active models by id, in place of the search.
    on_read
        Told after each search of how many more runs the models were asked for.

    Raises
    ------
    TrackingError
        MLflow could not be asked; nothing is concluded from that.
    """
    made: dict[str, dict[str, LoggedModel]] = {run.info.run_id: {} for run in runs}
    ids = list(made)
    if known is None:
        chunks = [ids[at : at + _RUNS_A_QUESTION] for at in range(0, len(ids), _RUNS_A_QUESTION)]

        def made_by(chunk: Sequence[str]) -> list[LoggedModel]:
            models = _made_by(client, chunk, experiment_ids)
            on_read(len(chunk))
            return models

        answers = in_parallel(made_by, chunks)
        known = {model.model_id: model for answer in answers for model in answer}
    for model in known.values():
        if model.source_run_id in made:
            made[model.source_run_id][model.model_id] = model
    listed = {run.info.run_id: tuple(_outputs(run)) for run in runs}
    strangers = [
        model_id
        for model_id in dict.fromkeys(model_id for ids in listed.values() for model_id in ids)
        if model_id not in known
    ]
    looked_up = in_parallel(lambda model_id: logged_model(client, model_id), strangers)
    told = dict(zip(strangers, looked_up, strict=True))
    found: dict[str, RunModels] = {}
    for run in runs:
        run_id = run.info.run_id
        own = made[run_id]
        others = {mid: told.get(mid) or known.get(mid) for mid in listed[run_id] if mid not in own}
        # No search lists what lies in the trash, but the store tells it by its id.
        trashed = {mid: m for mid, m in others.items() if m and m.source_run_id == run_id}
        found[run_id] = RunModels(
            (*own.values(), *trashed.values()),
            frozenset(trashed),
            tuple(m for mid, m in others.items() if m is not None and mid not in trashed),
            tuple(mid for mid, m in others.items() if m is None),
            history_paths(run.data.tags),
        )
    return found


def _made_by(
    client: MlflowClient, run_ids: Sequence[str], experiment_ids: Sequence[str]
) -> list[LoggedModel]:
    if len(run_ids) == 1:
        condition = f"source_run_id = '{run_ids[0]}'"
    else:
        condition = f"source_run_id IN ({', '.join(map(repr, run_ids))})"
    return read_logged_models(client, experiment_ids, condition)
