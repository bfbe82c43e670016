"""The flow of the system that expmgr replaces, over real servers, and killed in the middle."""

from __future__ import annotations

import multiprocessing
import signal

import pytest
from their_worker import Params, killed_search, manager_of, one_step, search
from theirs import their_initial, their_iteration, their_model
from trainers import classifier

from expmgr import FineTuningIteration
from expmgr.training.params import encode_params, plain_params

SPACE = [Params(depth=depth) for depth in (1, 2, 3)]


@pytest.fixture
def secrets(azurite, container):
    found = azurite.credentials(container)
    return {
        "account_name": found.account_name,
        "account_key": found.account_key,
        "container_name": container,
        "account_url": found.account_url,
    }


@pytest.fixture
def tracker(lab, secrets):
    return manager_of(lab.backend.tracking_uri, secrets, lab.plugin)


def told_and_there(lab, tracker):
    """Of each run that tells it: whether it has a model by its metric, and by its files."""
    found = {}
    for experiment in tracker.get_experiments():
        for run in lab.client.search_runs([experiment.experiment_id]):
            if "model_uploaded" in run.data.metrics:
                run_id = run.info.run_id
                told = run.data.metrics["model_uploaded"] == 1
                found[run_id] = (told, tracker.model_is_uploaded(run_id))
    return found


def test_the_whole_loop_as_its_workers_run_it(http_lab, secrets):
    lab, tracker = http_lab, manager_of(http_lab.backend.tracking_uri, secrets, http_lab.plugin)
    tracker.upload_initial_model(classifier(1))
    initial = tracker.get_initial_run_id()
    plugin = tracker.get_iteration_by_id(initial).plugin_name
    assert plugin == lab.plugin
    log = []
    first = FineTuningIteration(batch_id="b1", run_id=initial, plugin_name=plugin)
    best, url = search(tracker, first, SPACE, log)
    assert log == ["1 trained", "2 trained", "3 trained"]
    assert (tracker.get_params_by_run_id(best), url.startswith("wasbs://")) == (
        {"depth": 2, "query_lr": 0.1, "examples_order": [11]},
        True,
    )
    assert tracker.get_iteration_by_id(best) == first
    assert lab.client.get_run(best).info.run_name == SPACE[1].id
    metrics = lab.client.get_run(best).data.metrics
    assert metrics["train_loss"] == 0.3
    assert metrics["mean_train_loss"] == pytest.approx(0.4)

    # The next starts from its best: the starting params are among the best ones, and come twice.
    log.clear()
    second = FineTuningIteration(batch_id="b2", run_id=best, plugin_name=plugin)
    newest, url = search(tracker, second, SPACE, log)
    assert log == ["2 trained", "2 done already", "3 trained", "1 trained", "deleted"]
    assert tracker.get_iteration_by_id(newest) == second
    names = [experiment.name for experiment in tracker.get_experiments()]
    assert sorted(names) == sorted(
        [f"{plugin} / first", f"{plugin} / initial model", str(second)]
    ), "the first iteration is gone, and its name free"
    assert tracker.get_top_params()[0]["depth"] == 2
    assert tracker.download_last_model().get_depth() == 2
    assert told_and_there(lab, tracker) == {newest: (True, True)}


def test_what_it_did_before_goes_on_with_ours(lab, tracker):
    """Its own initial model, an iteration with a finished and a dead run, then the same loop."""
    _, initial = their_initial(lab, depth=1)
    home = their_iteration(lab, initial, "b1")
    params = SPACE[0]
    done = lab.client.create_run(home, run_name=params.id).info.run_id
    fields = {"batch_id": "b1", "run_id": initial, "plugin_name": lab.plugin}
    for key, value in {**fields, **encode_params(plain_params(params))}.items():
        lab.client.log_param(done, key, value)
    lab.client.log_metric(done, "test_accuracy", 0.7)
    their_model(lab, done, depth=1)
    lab.client.set_terminated(done)
    lab.client.create_run(home, run_name=SPACE[1].id)
    log = []
    best, _ = search(tracker, FineTuningIteration("b1", initial, lab.plugin), SPACE, log)
    assert log == ["1 done already", "2 trained", "3 trained"]
    assert lab.client.get_run(best).info.experiment_id == home
    assert told_and_there(lab, tracker)[done] == (False, False)
    assert told_and_there(lab, tracker)[best] == (True, True)


def test_a_finished_run_without_its_model_is_trained_again(lab, tracker):
    iteration = FineTuningIteration("b1", "r1", lab.plugin)
    tracker.set_iteration(iteration)
    log = []
    one_step(tracker, SPACE[1], log)
    run_id, _ = tracker.get_best_current_run_id()
    assert tracker.delete_model(run_id, force=True)
    one_step(tracker, SPACE[1], log)
    again, _ = tracker.get_best_current_run_id()
    assert log == ["2 trained", "2 trained"]
    assert again not in {run_id, None}
    one_step(tracker, SPACE[1], log)
    assert log[2:] == ["2 done already"]
    assert tracker.current_run_id is None


@pytest.mark.parametrize("at", ["uploading", "superseding"])
def test_a_search_that_was_killed_is_run_again_and_ends_as_it_would_have(lab, tracker, secrets, at):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["their_worker", "mlflow.sklearn", "azure.storage.blob"])
    process = context.Process(
        target=killed_search, args=(lab.backend.tracking_uri, secrets, lab.plugin, "b1", at)
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL

    initial = tracker.get_initial_run_id()
    log = []
    best, url = search(tracker, FineTuningIteration("b1", initial, lab.plugin), SPACE, log)
    assert log == ["1 done already", "2 trained", "3 trained"]
    assert tracker.get_params_by_run_id(best)["depth"] == 2
    assert tracker.download_last_model().get_depth() == 2
    assert url == tracker.get_model_url_by_run_id(best)
    told = told_and_there(lab, tracker)
    assert told[best] == (True, True)
    assert all(metric == there for metric, there in told.values()), told
