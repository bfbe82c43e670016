"""Iterations and models of the system that expmgr replaces, as a search that goes on finds them."""

from __future__ import annotations

import pytest
from lab import Lab
from theirs import their_initial, their_iteration, their_model, their_run
from trainers import AT_ONCE, classifier, train

from expmgr import FineTuningIteration, InvalidInputError, NotFoundError

START = "0f3c" * 8


@pytest.fixture
def manager(lab):
    return lab.manager(retry_config=AT_ONCE)


def names(lab):
    return [one.name for one in lab.client.search_experiments() if one.name != "Default"]


def uploaded(lab, run_id):
    return lab.client.get_run(run_id).data.metrics.get("model_uploaded")


# ---------------------------------------------------------------------------------- iterations


@pytest.mark.parametrize("by", ["iteration", "text", "whole name"])
def test_their_iteration_is_opened_and_not_made_twice(lab, manager, by):
    theirs = their_iteration(lab, START, "b7")
    before = names(lab)
    iteration = FineTuningIteration("b7", START, lab.plugin)
    text = f"iteration / {START} / b7"
    given = {"iteration": iteration, "text": text, "whole name": f"{lab.plugin} / {text}"}[by]
    assert manager.set_iteration(given) == theirs
    manager.finish_iteration()
    assert manager.set_iteration(iteration) == theirs
    assert names(lab) == before


def test_an_experiment_of_the_earlier_naming_goes_on(lab, manager):
    earlier = lab.experiment(f"{START} / b7")
    assert manager.set_iteration(FineTuningIteration("b7", START, lab.plugin)) == earlier
    assert manager.set_iteration(FineTuningIteration("b7", START, lab.plugin)) == earlier
    manager.finish_iteration()
    new = manager.set_iteration(FineTuningIteration("b8", START))
    assert lab.client.get_experiment(new).name == f"{lab.plugin} / iteration / {START} / b8"


def test_a_plugin_called_iteration_confuses_nothing(lab):
    manager = lab.manager(plugin_name="iteration", retry_config=AT_ONCE)
    plain = manager.set_iteration(f"iteration / {START} / b7")
    assert lab.client.get_experiment(plain).name == f"iteration / {START} / b7"
    manager.finish_iteration()
    theirs = manager.set_iteration(FineTuningIteration("b8", START, "iteration"))
    assert lab.client.get_experiment(theirs).name == f"iteration / iteration / {START} / b8"
    manager.set_run({"a": 1})
    told = manager.get_iteration_by_id(manager.current_run_id)
    assert told == FineTuningIteration("b8", START, "iteration")
    manager.finish_run()
    manager.finish_iteration()
    lab.experiment("iteration / initial", plugin="iteration")
    assert manager.get_last_iteration().experiment_id == theirs
    with pytest.raises(InvalidInputError, match="holds the initial model"):
        manager.set_iteration("iteration / iteration / initial")


def test_the_initial_model_s_name_is_no_iteration_s(manager):
    with pytest.raises(InvalidInputError, match="holds the initial model"):
        manager.set_iteration("iteration / initial")


def test_another_iteration_of_theirs_takes_the_place_of_one_that_is_set(lab, manager):
    first = manager.set_iteration(FineTuningIteration("b1", START))
    second = manager.set_iteration(FineTuningIteration("b2", START))
    assert (manager.current_iteration_id, first != second) == (second, True)
    assert lab.client.get_experiment(first).tags["expmgr.iteration"] == "open"
    manager.set_run({"a": 1})
    with pytest.raises(InvalidInputError, match="still under way"):
        manager.set_iteration(FineTuningIteration("b3", START))


def test_what_is_archived_or_initial_is_no_iteration(lab, manager):
    their_initial(lab)
    lab.experiment("iteration / initial_archive")
    lab.experiment(f"iteration / {START} / b0_archive")
    assert name_of(manager.get_last_iteration()) == "first"
    theirs = their_iteration(lab, START)
    assert manager.get_last_iteration().experiment_id == theirs


def name_of(experiment):
    return experiment.name.split(" / ", 1)[1]


def test_their_iteration_is_finished_once_no_run_of_it_is_under_way(lab, manager):
    theirs = their_iteration(lab, START)
    assert manager.get_last_finished_iteration() is None, "nothing was tried"
    run = lab.client.create_run(theirs)
    their_run(lab, theirs, 0.5)
    assert manager.get_last_finished_iteration() is None
    lab.client.set_terminated(run.info.run_id, "FAILED")
    assert manager.get_last_finished_iteration().experiment_id == theirs


# ------------------------------------------------------------------------------------ models


@pytest.mark.parametrize("history", [True, False], ids=["history", "metric alone"])
def test_their_best_model_is_the_last_model(lab, manager, history):
    theirs = their_iteration(lab, START)
    their_run(lab, theirs, 0.6, depth=2)
    best = lab.run(0.8, experiment_id=theirs)
    their_model(lab, best, depth=3, history=history)
    their_run(lab, theirs, 0.9, stored=False)
    manager.set_iteration("next")
    assert manager.download_last_model().get_depth() == 3
    assert manager.get_last_model_url().endswith(f"/{best}/artifacts/model")
    assert manager.model_is_uploaded(best)
    assert manager.download_model(best).get_depth() == 3
    assert manager.download_model_by_run_id(best).get_depth() == 3
    assert manager.get_model_url_by_run_id(best) == manager.get_last_model_url()
    assert manager.delete_model(best, force=True)
    assert not manager.model_is_uploaded(best)
    assert manager.get_model_url_by_run_id(best) is None
    assert manager.download_model_by_run_id(best) is None
    assert manager.download_last_model().get_depth() == 2


def test_their_top_params_come_without_the_iteration_s_own(lab, manager):
    theirs = their_iteration(lab, START)
    run_id = their_run(lab, theirs, 0.6)
    params = {"query_lr": 0.1, "examples_order": "11, 3"}
    assert manager.get_top_params() == [params]
    assert manager.get_top_params_by_experiment_id(theirs) == [params]
    assert manager.get_params_by_run_id(run_id) == params


def test_their_models_compete_in_a_search_that_goes_on(lab, manager):
    theirs = their_iteration(lab, START)
    old = their_run(lab, theirs, 0.6, depth=2)
    manager.set_iteration(FineTuningIteration("batch-1", START))
    assert manager.get_best_quality() == (old, 0.6)
    assert manager.get_best_current_run_id() == (old, False)
    assert manager.get_current_model_url().endswith(f"/{old}/artifacts/model")
    worse, saved = train(manager, 0.5)
    assert not saved
    assert saved.best_quality == 0.6
    assert uploaded(lab, worse) is None
    better, saved = train(manager, 0.7, depth=3)
    assert saved
    assert [str(one.outcome) for one in saved.superseded] == ["deleted"]
    assert not [name for name in lab.blob_names() if f"{old}/artifacts" in name]
    assert (uploaded(lab, old), uploaded(lab, better)) == (0, 1)
    again, saved = train(manager, 0.8, params={"n": 3})
    assert (uploaded(lab, better), uploaded(lab, again)) == (0, 1)
    assert manager.download_best_model().get_depth() == 2
    manager.finish_iteration()
    assert manager.download_best_model(theirs).get_depth() == 2


def test_their_registered_model_is_kept_and_told(lab, manager):
    theirs = their_iteration(lab, START)
    old = their_run(lab, theirs, 0.6, depth=2)
    manager.pin(old, "in production")
    manager.set_iteration(FineTuningIteration("batch-1", START))
    _, saved = train(manager, 0.7)
    assert [one.outcome for one in saved.kept] == ["protected"]
    assert uploaded(lab, old) == 1


def test_their_previous_iteration_goes_once_a_later_one_is_as_good(lab, manager):
    theirs = their_iteration(lab, START)
    their_run(lab, theirs, 0.6)
    their_run(lab, theirs, 0.4)
    manager.set_iteration(FineTuningIteration("b2", START))
    deletion = manager.delete_previous_iteration()
    assert deletion.outcome == "protected"
    assert lab.client.get_experiment(theirs).lifecycle_stage == "active"
    train(manager, 0.7)
    assert manager.delete_previous_iteration().outcome == "deleted"
    assert lab.client.get_experiment(theirs).lifecycle_stage == "deleted"
    assert not [name for name in lab.blob_names() if name.endswith("model.pth")]


# --------------------------------------------------------------------------------- initial model


def test_their_initial_model_is_found_and_not_uploaded_again(lab, manager):
    _home, run_id = their_initial(lab, depth=2)
    assert manager.has_initial_model()
    assert manager.download_initial_model().get_depth() == 2
    assert manager.download_last_model().get_depth() == 2
    assert manager.download_best_model(lab.experiment_id).get_depth() == 2
    assert manager.get_initial_run_id() == manager.get_initial_model_run_id() == run_id
    assert manager.is_initial_run(run_id)
    assert not manager.is_initial_run("f" * 32)
    assert not manager.is_initial_run(lab.run())
    before = lab.blob_names()
    assert not manager.upload_initial_model(classifier(3))
    assert lab.blob_names() == before
    assert manager.get_iteration_by_id(run_id) == FineTuningIteration(plugin_name=lab.plugin)


def test_an_initial_model_that_is_gone_is_uploaded_where_they_look_for_it(lab, manager):
    home, _empty = their_initial(lab, upload=False)
    assert not manager.has_initial_model()
    assert manager.get_initial_model_run_id() is None
    saved = manager.upload_initial_model(classifier(3))
    run = lab.client.get_run(saved.run_id)
    assert (run.info.experiment_id, run.info.run_name) == (home, "initial_model")
    assert manager.download_initial_model().get_depth() == 3
    assert manager.is_initial_run(saved.run_id)
    assert manager.delete_model(saved.run_id).outcome == "protected"


def test_without_theirs_the_initial_model_stays_ours(lab, manager):
    with pytest.raises(NotFoundError):
        manager.download_initial_model()
    saved = manager.upload_initial_model(classifier(2))
    run = lab.client.get_run(saved.run_id)
    assert lab.client.get_experiment(run.info.experiment_id).name == f"{lab.plugin} / initial model"
    assert manager.get_initial_run_id() == saved.run_id
    assert manager.get_iteration_by_id(saved.run_id) == FineTuningIteration(plugin_name=lab.plugin)


@pytest.mark.parametrize("backend", ["proxied"], indirect=True)
def test_their_models_behind_a_server_that_proxies_artifacts(
    backend, credentials, blob_names, tmp_path, plugin_name
):
    lab = Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)
    manager = lab.manager(retry_config=AT_ONCE)
    their_initial(lab, depth=1)
    theirs = their_iteration(lab, START)
    assert manager.download_last_model().get_depth() == 1
    old = their_run(lab, theirs, 0.6, depth=2)
    assert manager.download_last_model().get_depth() == 2
    manager.set_iteration(FineTuningIteration("batch-1", START))
    new, saved = train(manager, 0.7, depth=3)
    assert [one.outcome for one in saved.superseded] == ["deleted"]
    assert (uploaded(lab, old), uploaded(lab, new)) == (0, 1)
    assert manager.download_best_model().get_depth() == 3
    assert not [name for name in blob_names() if f"{old}/artifacts" in name]
