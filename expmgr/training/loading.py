"""A stored model found, downloaded and loaded: a run's, or the one to start from."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError, NotFoundError
from expmgr.moving_in import is_iteration_of
from expmgr.tracking.queries import asking, iter_runs
from expmgr.training.flavors import load_folder
from expmgr.training.initial_model import find_initial_model
from expmgr.training.iterations import newest
from expmgr.training.stored import (
    best_of,
    directories_of,
    first_in_place,
    ranked,
    stored_models,
)

if TYPE_CHECKING:
    from os import PathLike

    from mlflow.entities import Experiment

    from expmgr.training.desk import Desk
    from expmgr.training.model_files import ModelFiles, Watch
    from expmgr.training.stored import StoredModel

__all__ = ["ModelSource", "find_run", "last_model", "load", "model_of_run", "newest_model"]


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

    @classmethod
    def of(cls, model: StoredModel) -> ModelSource:
        """Return where a stored model comes from."""
        if model.path:
            return cls(model.artifacts, model.run_id, path=model.path)
        return cls(model.uri, model.run_id, model.model_id)


def find_run(desk: Desk, experiment_name: str, run_name: str) -> str:
    """Return the id of the run of that name, in the experiment of that name.

    The experiment's name may leave out the plugin's. Where runs are named by their params, of
    several the newest FINISHED one is meant.

    Raises
    ------
    NotFoundError
        No such experiment or run.
    InvalidInputError
        Several runs have that name.
    """
    client = desk.client
    with asking(f"look for the experiment {experiment_name!r}"):
        experiment = client.get_experiment_by_name(
            experiment_name
        ) or client.get_experiment_by_name(f"{desk.plugin_name} / {experiment_name}")
    if experiment is None:
        raise NotFoundError(f"no experiment is named {experiment_name!r}.")
    quote = '"' if "'" in run_name else "'"
    condition = f"attributes.run_name = {quote}{run_name}{quote}"
    runs = list(iter_runs(client, [experiment.experiment_id], condition, limit=10))
    if is_iteration_of(experiment.name, desk.plugin_name):
        runs = [run for run in runs if run.info.status == "FINISHED"][:1] or runs
    found = [str(run.info.run_id) for run in runs]
    if not found:
        raise NotFoundError(f"no run of {experiment.name!r} is named {run_name!r}.")
    if len(found) > 1:
        message = (
            f"{len(found)} or more runs of {experiment.name!r} are named {run_name!r}: "
            f"{', '.join(found)}. Give a run_id."
        )
        raise InvalidInputError(message)
    return found[0]


def newest_model(desk: Desk, run_id: str) -> StoredModel | None:
    """Return a run's newest model that is there whole; NotFoundError without such a run."""
    with asking(f"read run {run_id}", run_id=run_id):
        run = desk.client.get_run(run_id)
    models = stored_models(desk, run.info.experiment_id, run_id=run_id)
    models += directories_of(desk, run)
    return first_in_place(desk, sorted(models, key=lambda model: -model.created))


def last_model(desk: Desk, before: Experiment | None) -> StoredModel | None:
    """Return the best of the newest finished iteration that has any, else the initial model.

    Parameters
    ----------
    before
        Only iterations made before this one.
    """
    for finished in newest(desk.client, desk.plugin_name, before=before, finished=True):
        directories = is_iteration_of(finished.name, desk.plugin_name)
        id_ = str(finished.experiment_id)
        best = best_of(desk, id_, at_worst_failed=True, directories=directories)
        if best is not None:
            return best
    return find_initial_model(desk)


def model_of_run(desk: Desk, run_id: str) -> ModelSource:
    """Return where a run's model lies: its best that is there, else the newest.

    Raises
    ------
    NotFoundError
        No such run, or no stored model of it.
    """
    with asking(f"read run {run_id}", run_id=run_id):
        run = desk.client.get_run(run_id)
    models = stored_models(desk, run.info.experiment_id, run_id=run_id)
    newest_first = sorted(models, key=lambda model: -model.created)
    in_turn = dict.fromkeys([*ranked(models, desk.goal), *newest_first])
    best = first_in_place(desk, list(in_turn))
    if best is not None:
        return ModelSource.of(best)
    directories = directories_of(desk, run)
    if directories:
        return ModelSource.of(directories[-1])
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
    watch: Watch,
) -> Any:
    """Download a model and load it.

    Some flavours go on reading their files after loading, so a temporary folder lives as long as
    the model (or, where nothing can watch the model, as ``keeper``).
    """
    if destination is not None:
        folder = Path(destination)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidInputError(f"{folder} is there and not an empty folder.")
        _download(files, source, folder, watch)
        return load_folder(folder, flavor)
    folder = Path(tempfile.mkdtemp(prefix="expmgr-model-"))
    try:
        _download(files, source, folder, watch)
        model = load_folder(folder, flavor)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if isinstance(model, Path):  # paths that are made of it outlive it
        weakref.finalize(keeper, shutil.rmtree, folder, ignore_errors=True)
        return model
    try:
        weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    except TypeError:
        weakref.finalize(keeper, shutil.rmtree, folder, ignore_errors=True)
    return model


def _download(files: ModelFiles, source: ModelSource, folder: Path, watch: Watch) -> None:
    with watch.shown("downloading the model") as shown:
        if source.model_id:
            files.download(source.uri, source.model_id, folder, shown)
        else:
            files.download_run_model(source.uri, source.run_id, source.path, folder, shown)
