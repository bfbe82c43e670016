"""A run's model, found, downloaded and loaded."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError, NotFoundError
from expmgr.tracking.models import history_paths
from expmgr.tracking.queries import asking, iter_runs
from expmgr.training.flavors import load_folder
from expmgr.training.progress import shown
from expmgr.training.stored import first_in_place, ranked, stored_models

if TYPE_CHECKING:
    import threading
    from os import PathLike

    from mlflow import MlflowClient

    from expmgr.catalog.quality import Goal
    from expmgr.training.model_files import ModelFiles, OnProgress
    from expmgr.training.stored import StoredModel

__all__ = ["ModelSource", "find_run", "load", "model_of_run", "stored_models_of"]


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from.

    Attributes
    ----------
    uri
        A LoggedModel's location, or a run's artifacts.
    model_id
        "" for a model that MLflow 2 logged, which lies at ``path`` below the run's artifacts.
    """

    uri: str
    run_id: str
    model_id: str = ""
    path: str = ""


def find_run(client: MlflowClient, plugin_name: str, experiment_name: str, run_name: str) -> str:
    """Return the id of the run of that name, in the experiment of that name.

    The experiment's name may leave out the plugin's.

    Raises
    ------
    NotFoundError
        No such experiment or run.
    InvalidInputError
        Several runs have that name.
    """
    with asking(f"look for the experiment {experiment_name!r}"):
        experiment = client.get_experiment_by_name(
            experiment_name
        ) or client.get_experiment_by_name(f"{plugin_name} / {experiment_name}")
    if experiment is None:
        raise NotFoundError(f"no experiment is named {experiment_name!r}.")
    quote = '"' if "'" in run_name else "'"
    condition = f"attributes.run_name = {quote}{run_name}{quote}"
    found = [
        str(run.info.run_id)
        for run in iter_runs(client, [experiment.experiment_id], condition, limit=10)
    ]
    if not found:
        raise NotFoundError(f"no run of {experiment.name!r} is named {run_name!r}.")
    if len(found) > 1:
        message = (
            f"{len(found)} or more runs of {experiment.name!r} are named {run_name!r}: "
            f"{', '.join(found)}. Give a run_id."
        )
        raise InvalidInputError(message)
    return found[0]


def stored_models_of(client: MlflowClient, run_id: str, goal: Goal) -> list[StoredModel]:
    """Return the stored models of one run; NotFoundError where there is no such run."""
    with asking(f"read run {run_id}", run_id=run_id):
        experiment_id = client.get_run(run_id).info.experiment_id
    return stored_models(client, experiment_id, goal, run_id=run_id)


def model_of_run(client: MlflowClient, files: ModelFiles, run_id: str, goal: Goal) -> ModelSource:
    """Return where a run's model lies: its best that is there, else the newest.

    Raises
    ------
    NotFoundError
        No such run, or no stored model of it.
    """
    with asking(f"read run {run_id}", run_id=run_id):
        run = client.get_run(run_id)
    models = stored_models(client, run.info.experiment_id, goal, run_id=run_id)
    newest_first = sorted(models, key=lambda model: -model.created)
    in_turn = dict.fromkeys([*ranked(models, goal), *newest_first])
    best = first_in_place(client, files, list(in_turn))
    if best is not None:
        return ModelSource(best.uri, run_id, best.model_id)
    paths = history_paths(run.data.tags)
    if paths:
        return ModelSource(run.info.artifact_uri, run_id, path=paths[-1])
    message = (
        f"run {run_id} has no stored model: none was saved, or it was deleted. The table of "
        "manager.runs() says which."
    )
    raise NotFoundError(message, run_id=run_id)


def load(
    files: ModelFiles,
    source: ModelSource,
    keeper: object,
    flavor: str | None,
    destination: str | PathLike[str] | None,
    on_progress: OnProgress | None,
    cancel: threading.Event | None,
) -> Any:
    """Download a model and load it.

    Some flavours go on reading their files after loading, so a temporary folder lives as long as
    the model (or, where nothing can watch the model, as ``keeper``).
    """
    if destination is not None:
        folder = Path(destination)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidInputError(f"{folder} is there and not an empty folder.")
        _download(files, source, folder, on_progress, cancel)
        return load_folder(folder, flavor)
    folder = Path(tempfile.mkdtemp(prefix="expmgr-model-"))
    try:
        _download(files, source, folder, on_progress, cancel)
        model = load_folder(folder, flavor)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    except TypeError:
        weakref.finalize(keeper, shutil.rmtree, folder, ignore_errors=True)
    return model


def _download(
    files: ModelFiles,
    source: ModelSource,
    folder: Path,
    on_progress: OnProgress | None,
    cancel: threading.Event | None,
) -> None:
    with shown("downloading the model", on_progress) as report:
        if source.model_id:
            files.download(source.uri, source.model_id, folder, on_progress=report, cancel=cancel)
        else:
            files.download_run_model(
                source.uri, source.run_id, source.path, folder, on_progress=report, cancel=cancel
            )
