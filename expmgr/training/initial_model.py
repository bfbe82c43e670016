"""The initial model: uploaded once, where every search of the plugin can start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.catalog.lease import LEASE_TAG, lease_text
from expmgr.catalog.model import INITIAL_TAG
from expmgr.errors import InvalidInputError
from expmgr.moving_in import INITIAL_RUN, initial_home, is_initial_home
from expmgr.tracking.queries import asking, iter_runs, quoted, run_or_none
from expmgr.tracking.user import user_tags
from expmgr.training.experiments import create_experiment, free_name
from expmgr.training.iterations import PLUGIN_TAG, is_certain, iter_plugin_experiments
from expmgr.training.lease import keep
from expmgr.training.runs import OpenRun, end_open_run
from expmgr.training.saving import SavedModel, log_model
from expmgr.training.stored import directories_of, first_in_place, stored_models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.training.desk import Desk
    from expmgr.training.model_files import Watch
    from expmgr.training.saving import NewModel
    from expmgr.training.stored import StoredModel

__all__ = ["INITIAL_NAME", "find_initial_model", "is_initial_run", "save_initial_model"]

INITIAL_NAME = "initial model"


def _homes(desk: Desk) -> Iterator[Experiment]:
    """Yield the experiments that hold the plugin's initial model: one, as a rule, ours first.

    Without a tag only the one name is certain: ``x / sub / initial model`` is plugin ``x / sub``'s.
    """
    condition = f"tags.{quoted(INITIAL_TAG)} = 'true'"
    for experiment in iter_plugin_experiments(desk.client, desk.plugin_name, condition):
        if is_certain(experiment, desk.plugin_name):
            yield experiment
    name = initial_home(desk.plugin_name)
    with asking(f"look for the experiment {name!r}"):
        named = desk.client.get_experiment_by_name(name)
    if named is not None and named.lifecycle_stage == "active" and INITIAL_TAG not in named.tags:
        yield named


def find_initial_model(desk: Desk) -> StoredModel | None:
    """Return the plugin's initial model, the first one where two processes uploaded one each.

    One whose files are gone does not count.
    """
    for experiment in _homes(desk):
        condition = "attributes.status = 'FINISHED'"
        if INITIAL_TAG in experiment.tags:
            condition += f" AND tags.{quoted(INITIAL_TAG)} = 'true'"
        experiment_id = experiment.experiment_id
        # A plugin has one such run, or a few of which the others FAILED.
        for run in reversed(list(iter_runs(desk.client, [experiment_id], condition))):
            models = stored_models(desk, experiment_id, run_id=run.info.run_id)
            models += directories_of(desk, run)
            found = first_in_place(desk, models)
            if found is not None:
                return found
    return None


def save_initial_model(desk: Desk, new: NewModel, watch: Watch) -> SavedModel:
    """Store the plugin's initial model where it has none."""
    there = find_initial_model(desk)
    if there is not None:
        return SavedModel(
            there.run_id,
            False,
            model_id=there.model_id,
            url=there.uri,
            message=f"Not saved: plugin {desk.plugin_name!r} has an initial model, which stays",
        )
    run = _begin(desk)
    try:
        try:
            saved = log_model(desk, run, new, watch, tags={}, quality=None)
        except BaseException:
            end_open_run(desk.client, run, failed=True)
            raise
        end_open_run(desk.client, run, failed=False)
    finally:
        run.stop()
    return saved


def _begin(desk: Desk) -> OpenRun:
    experiment = next(_homes(desk), None)
    if experiment is None:
        experiment = _make_home(desk)
    at = desk.pace.clock()
    with asking("make the initial model's run"):
        run = desk.client.create_run(
            experiment.experiment_id,
            start_time=at,
            tags={INITIAL_TAG: "true", LEASE_TAG: lease_text(at), **user_tags()},
            run_name=INITIAL_NAME if INITIAL_TAG in experiment.tags else INITIAL_RUN,
        )
    run_id = str(run.info.run_id)
    lease = keep(None, run_id, at, desk)
    return OpenRun(run_id, experiment.experiment_id, {}, model_step=0, lease=lease)


def _make_home(desk: Desk) -> Experiment:
    client, plugin_name = desk.client, desk.plugin_name
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
    return create_experiment(desk, name, {INITIAL_TAG: "true", PLUGIN_TAG: plugin_name})


def is_initial_run(client: MlflowClient, run_id: str) -> bool:
    """Whether a run holds an initial model; False where there is no such run."""
    run = run_or_none(client, run_id)
    if run is None:
        return False
    if run.data.tags.get(INITIAL_TAG) == "true":
        return True
    with asking(f"read experiment {run.info.experiment_id}", run_id=run_id):
        return is_initial_home(client.get_experiment(run.info.experiment_id).name)
