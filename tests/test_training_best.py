"""Which of the stored models is the best: the value belongs to the model."""

from __future__ import annotations

import math

import pytest
from mlflow.entities import LoggedModelOutput
from trainers import classifier, count_calls, make_manager, train

from expmgr import MetricValue


@pytest.fixture
def by_loss(sqlite_uri, credentials, plugin_name):
    manager = make_manager(sqlite_uri, credentials, plugin_name, main_metric="loss", is_loss=True)
    manager.set_iteration("one")
    return manager


def evaluate(manager, saved, value):
    """Another run's evaluation, as ``mlflow.models.evaluate("models:/m-...")`` logs it."""
    run = manager.client.create_run(manager.current_iteration_id)
    manager.client.log_metric(run.info.run_id, manager.main_metric, value, model_id=saved.model_id)
    manager.client.set_terminated(run.info.run_id)


def outputs_of(manager, run_id):
    return {one.model_id: one.step for one in manager.client.get_run(run_id).outputs.model_outputs}


def train_in_one_run(manager, qualities, *, step=None, **options):
    manager.set_run({"qualities": qualities, "step": step})
    saves = []
    for depth, quality in enumerate(qualities, 1):
        manager.save_metric(MetricValue(manager.main_metric, quality), step=step)
        saves.append(manager.save_model(classifier(depth), **options))
    manager.finish_run()
    return saves


@pytest.mark.parametrize(("step", "steps"), [(None, [0, 1, 2]), (7, [7, 8, 9])])
def test_the_models_of_one_run_have_output_steps_of_their_own(manager, step, steps):
    saves = train_in_one_run(manager, [0.7, 0.95, 0.6], step=step, best_only=False)
    outputs = outputs_of(manager, saves[0].run_id)
    assert [outputs[saved.model_id] for saved in saves] == steps
    assert manager.get_best_quality()[1] == 0.95
    assert manager.download_best_model().get_depth() == 2


def test_a_model_saved_without_a_metric_has_an_output_step_of_its_own_too(manager):
    manager.set_run({"a": 1})
    saves = [manager.save_model(classifier(depth), best_only=False) for depth in (1, 2)]
    assert set(outputs_of(manager, saves[0].run_id).values()) == {0, 1}


def test_the_best_epoch_of_an_earlier_run_is_not_lost_to_a_later_run(manager):
    manager.set_run({"first": 1})
    for depth, quality in ((1, 0.7), (2, 0.95), (3, 0.6)):
        manager.save_metric(MetricValue("accuracy", quality))
        manager.save_model(classifier(depth))
    manager.finish_run()
    _, second = train(manager, 0.8)
    assert not second
    assert second.best_quality == 0.95
    assert manager.get_best_quality()[1] == 0.95
    assert manager.download_best_model().get_depth() == 2


def test_what_another_run_measured_counts_for_the_model(manager):
    _, low = train(manager, 0.5, depth=1, best_only=False)
    _, high = train(manager, 0.7, depth=2, best_only=False)
    assert manager.get_best_current_run_id()[0] == high.run_id
    evaluate(manager, low, 0.9)
    assert manager.get_best_quality()[1] == 0.9
    assert manager.get_best_current_run_id()[0] == low.run_id
    assert not train(manager, 0.8)[1]
    evaluate(manager, low, 0.1)
    assert manager.get_best_quality()[1] == 0.7, "the newest value counts"


def test_an_infinite_value_is_never_the_best(manager):
    _, diverged = train(manager, 0.4, best_only=False)
    _, good = train(manager, 0.5, best_only=False)
    evaluate(manager, diverged, math.inf)
    stored = manager.client.get_logged_model(diverged.model_id).metrics
    assert max(metric.value for metric in stored) > 1e300, "what this test is about"
    assert manager.get_best_quality()[1] == 0.5
    assert manager.get_best_current_run_id()[0] == good.run_id


def test_nan_that_mlflow_reads_back_as_zero_is_no_loss_and_a_real_zero_is_one(by_loss):
    _, good = train(by_loss, 0.3, best_only=False)
    _, diverged = train(by_loss, math.nan, best_only=False)
    evaluate(by_loss, diverged, math.nan)
    read_back = by_loss.client.get_logged_model(diverged.model_id).metrics
    assert [metric.value for metric in read_back] == [0.0], "what this test is about"
    assert by_loss.get_best_quality()[1] == 0.3
    assert by_loss.get_best_current_run_id()[0] == good.run_id
    _, perfect = train(by_loss, 0.0, best_only=False)
    assert by_loss.get_best_quality()[1] == 0.0
    assert by_loss.get_best_current_run_id()[0] == perfect.run_id


def test_a_zero_of_which_nobody_knows_is_not_the_best(by_loss):
    _, good = train(by_loss, 0.3, best_only=False)
    _, doubtful = train(by_loss, 0.5, best_only=False)
    run = by_loss.client.create_run(by_loss.current_iteration_id)
    by_loss.client.log_metric(run.info.run_id, "loss", 0.0, model_id=doubtful.model_id)
    history = by_loss.client.get_metric_history
    by_loss.client.get_metric_history = lambda run_id, key: (
        [] if run_id == run.info.run_id else history(run_id, key)
    )
    assert by_loss.get_best_quality()[1] == 0.3
    assert by_loss.get_best_current_run_id()[0] == good.run_id


def test_values_that_mlflow_copied_onto_all_models_of_a_run_do_not_tell_them_apart(
    manager, artifact_root, tmp_path
):
    """As the fluent API leaves it: ``log_model``, ``.95``, ``log_model``, ``.6``."""
    client = manager.client
    (tmp_path / "MLmodel").write_text("flavors: {}")
    run_id = client.create_run(manager.current_iteration_id).info.run_id
    models = []
    for _ in range(2):
        model = client.create_logged_model(manager.current_iteration_id, source_run_id=run_id)
        client.log_model_artifacts(model.model_id, str(tmp_path))
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
        client.log_metric(run_id, "accuracy", 0.95, 1000, 0, model_id=model.model_id)
        models.append(model.model_id)
    client.log_metric(run_id, "accuracy", 0.6, 2000, 0, model_id=models[0])
    client.set_terminated(run_id)
    manager.delete_model(run_id, model_ids=models[1:], force=True)
    assert manager.model_is_uploaded(run_id)
    assert manager.get_best_quality()[1] == 0.95


def test_only_runs_whose_models_may_be_confused_are_asked_for_them(manager):
    train_in_one_run(manager, [0.5, 0.6, 0.9])
    train_in_one_run(manager, [0.4, 0.3], best_only=False)
    client = count_calls(manager)
    assert manager.get_best_quality()[1] == 0.9
    assert client.calls == ["search_logged_models", "get_run", "get_run"]
