"""What MLflow recorded as a run's models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from expmgr.tracking.journal import latest_records
from expmgr.tracking.queries import in_parallel, iter_logged_models, logged_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

__all__ = [
    "HISTORY_TAG",
    "RecordedModel",
    "RunModels",
    "has_recorded_model",
    "history_paths",
    "input_model_ids",
    "models_of_run",
    "output_model_ids",
]

HISTORY_TAG = "mlflow.log-model.history"
"""Set by MLflow 2's ``log_model`` (``mlflow.utils.mlflow_tags.MLFLOW_LOGGED_MODELS``)."""


@dataclass(frozen=True)
class RecordedModel:
    """One LoggedModel that a run made."""

    model_id: str
    name: str
    artifact_location: str
    tags: Mapping[str, str]
    in_trash: bool


@dataclass(frozen=True)
class RunModels:
    """The models of one run as MLflow tells them.

    Attributes
    ----------
    made
        LoggedModels whose source run is this run, the trash included.
    linked
        Ids of LoggedModels that the run lists but another run made (or nobody known).
    untold
        Ids that the run lists and MLflow does not tell anything about; their location is not
        guessed.
    history
        Artifact paths of the MLflow 2 tag, as they stand there.
    """

    made: tuple[RecordedModel, ...] = ()
    linked: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    history: tuple[str, ...] = ()

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
    except (ValueError, AttributeError, TypeError):
        return ("",)
    return tuple(dict.fromkeys(paths))


def _recorded(model: LoggedModel, *, in_trash: bool) -> RecordedModel:
    return RecordedModel(
        model.model_id, model.name, model.artifact_location, dict(model.tags), in_trash
    )


def output_model_ids(run: Run) -> tuple[str, ...]:
    """Return the ids of the models that a run lists as outputs."""
    outputs = getattr(run, "outputs", None)
    if outputs is None or not outputs.model_outputs:
        return ()
    return tuple(dict.fromkeys(output.model_id for output in outputs.model_outputs))


def input_model_ids(run: Run) -> tuple[str, ...]:
    """Return the ids of the models that a run lists as inputs (``search_runs`` leaves them out)."""
    inputs = getattr(run, "inputs", None)
    models = getattr(inputs, "model_inputs", None) if inputs is not None else None
    return tuple(dict.fromkeys(entry.model_id for entry in models or ()))


def models_of_run(client: MlflowClient, run: Run, known: Sequence[str] = ()) -> RunModels:
    """Ask MLflow for the models of a run.

    One search for the active models that name the run as their source, and one look-up for each
    model that the run lists beyond those (links to others' models, and models in the trash).

    Parameters
    ----------
    run
        The run, from ``get_run`` or ``search_runs``.
    known
        Model ids from elsewhere (the journal) that may be this run's as well.

    Raises
    ------
    TrackingError
        MLflow could not be asked; nothing is concluded from that.
    """
    run_id = run.info.run_id
    filter_string = f"source_run_id='{run_id}'"
    made = {
        model.model_id: _recorded(model, in_trash=False)
        for model in iter_logged_models(client, [run.info.experiment_id], filter_string)
        if model.source_run_id == run_id
    }
    others = [
        model_id
        for model_id in dict.fromkeys([*output_model_ids(run), *known])
        if model_id not in made
    ]
    linked: list[str] = []
    untold: list[str] = []
    looked_up = in_parallel(lambda model_id: logged_model(client, model_id), others)
    for model_id, model in zip(others, looked_up, strict=True):
        if model is None:
            untold.append(model_id)
        elif model.source_run_id == run_id:
            # The search lists active models of the run's own experiment; one that it did not
            # list lies in the trash or was made for another experiment.
            in_trash = model.experiment_id == run.info.experiment_id
            made[model_id] = _recorded(model, in_trash=in_trash)
        else:
            linked.append(model_id)
    return RunModels(
        tuple(made.values()), tuple(linked), tuple(untold), history_paths(run.data.tags)
    )


def has_recorded_model(run: Run) -> bool:
    """Whether MLflow records a model for a run that no deletion took, whole or in part. Pure."""
    latest = latest_records(run.info.run_id, run.data.tags)
    if any(record.is_unfinished() for record in latest.values()):
        return False
    gone = [path for path, record in latest.items() if record.state == "deleted"]
    ends = [f"/{model_id}/artifacts" for model_id in output_model_ids(run)]
    ends += [
        f"/{run.info.run_id}/artifacts/{path.strip('/')}" for path in history_paths(run.data.tags)
    ]
    return any(not any(f"/{path}".endswith(end) for path in gone) for end in ends)
