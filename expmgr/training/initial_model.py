"""The initial model: uploaded once, where every search of the plugin can start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.errors import InvalidInputError
from expmgr.tracking.queries import asking, iter_runs, quoted
from expmgr.training.experiments import artifact_root, create_experiment, free_name
from expmgr.training.iterations import is_certain, iter_plugin_experiments
from expmgr.training.stored import first_in_place, stored_models
from expmgr.training.tags import INITIAL_TAG, PLUGIN_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.catalog.quality import Goal
    from expmgr.storage.store import Store
    from expmgr.training.model_files import ModelFiles
    from expmgr.training.stored import StoredModel

__all__ = ["INITIAL_NAME", "begin_initial_run", "find_initial_model", "is_initial_run"]

INITIAL_NAME = "initial model"


def _homes(client: MlflowClient, plugin_name: str) -> Iterator[Experiment]:
    """Yield the experiments that hold the plugin's initial model: one, as a rule.

    Without a tag only the one name is certain: ``x / sub / initial model`` is plugin ``x / sub``'s.
    """
    condition = f"tags.{quoted(INITIAL_TAG)} = 'true'"
    for experiment in iter_plugin_experiments(client, plugin_name, condition):
        if is_certain(experiment, plugin_name):
            yield experiment


def find_initial_model(
    client: MlflowClient, files: ModelFiles, plugin_name: str, goal: Goal
) -> StoredModel | None:
    """Return the plugin's initial model, the first one where two processes uploaded one each.

    One whose files are gone does not count.
    """
    for experiment in _homes(client, plugin_name):
        condition = f"tags.{quoted(INITIAL_TAG)} = 'true' AND attributes.status = 'FINISHED'"
        experiment_id = experiment.experiment_id
        # A plugin has one such run, or a few of which the others FAILED.
        for run in reversed(list(iter_runs(client, [experiment_id], condition))):
            models = stored_models(client, experiment_id, goal, run_id=run.info.run_id)
            found = first_in_place(client, files, models)
            if found is not None:
                return found
    return None


def begin_initial_run(
    client: MlflowClient, plugin_name: str, store: Store | None, *, proxied: bool
) -> tuple[str, str]:
    """Make the run that will hold the initial model; returns experiment id and run id."""
    experiment = next(_homes(client, plugin_name), None)
    if experiment is None:
        experiment = _make_home(client, plugin_name, store, proxied=proxied)
    with asking("make the initial model's run"):
        run = client.create_run(
            experiment.experiment_id, tags={INITIAL_TAG: "true"}, run_name=INITIAL_NAME
        )
    return experiment.experiment_id, str(run.info.run_id)


def _make_home(
    client: MlflowClient, plugin_name: str, store: Store | None, *, proxied: bool
) -> Experiment:
    name = f"{plugin_name} / {INITIAL_NAME}"
    with asking(f"look for the experiment {name!r}"):
        taken = client.get_experiment_by_name(name)
    if taken is not None and taken.lifecycle_stage == "deleted":
        free_name(client, taken)
    elif taken is not None:
        message = (
            f"the experiment {name!r} is an iteration; rename it, the initial model needs the name."
        )
        raise InvalidInputError(message)
    root = artifact_root(store, name) if store is not None and not proxied else None
    return create_experiment(client, name, root, {INITIAL_TAG: "true", PLUGIN_TAG: plugin_name})


def is_initial_run(client: MlflowClient, run_id: str) -> bool:
    """Whether a run holds an initial model.

    Raises
    ------
    NotFoundError
        No such run.
    """
    with asking(f"read run {run_id}", run_id=run_id):
        tags = client.get_run(run_id).data.tags
    return bool(tags.get(INITIAL_TAG) == "true")
