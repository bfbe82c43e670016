"""The calls, parameters and fields of the system that expmgr replaces, by its names."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pandas as pd
import pytest
from pydantic import ValidationError
from trainers import AT_ONCE, classifier, make_manager, train

from expmgr import (
    ExperimentsManager,
    ExperimentsManagerWithAzureBlobBackend,
    FineTuningIteration,
    InvalidInputError,
    MetricsAccumulator,
    MetricValue,
    RetryConfig,
    RetryParams,
)
from expmgr.moving_in import parsed_iteration
from expmgr.training.loading import find_run

RUN = "0f3c" * 8
NOBODY = "f" * 32


@pytest.fixture
def manager(lab):
    return lab.manager(retry_config=AT_ONCE, accumulators=[MetricsAccumulator("accuracy")])


# --------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (f"texts / iteration / {RUN} / b7", ("b7", RUN, "texts")),
        ("texts / iteration /  / b7", ("b7", "", "texts")),
        ("texts / iteration / initial", ("", "", "texts")),
        ("iteration / iteration / r1 / b7", ("b7", "r1", "iteration")),
        ("iteration / iteration / initial", ("", "", "iteration")),
        ("x / y / iteration / r1 / b7", ("b7", "r1", "x / y")),
        (f"texts / {RUN} / b7", ("b7", RUN, "texts")),
        ("texts / batch 7", ("batch 7", "", "texts")),
        ("texts / sub / one", ("sub / one", "", "texts")),
        ("iteration / initial", ("initial", "", "iteration")),
    ],
)
def test_the_name_of_an_iteration_is_parsed(name, told):
    found = FineTuningIteration.parse(name)
    assert (found.batch_id, found.run_id, found.plugin_name) == told
    if found.batch_id and " / " not in found.batch_id:
        assert FineTuningIteration.parse(str(found)) == found


def test_a_plugin_that_is_known_tells_its_names_apart():
    assert parsed_iteration("x / iteration / r / b", "x / iteration") == {
        "batch_id": "r / b",
        "run_id": "",
        "plugin_name": "x / iteration",
    }


@pytest.mark.parametrize("name", ["Default", "", " / iteration / r / b"])
def test_a_name_of_no_iteration_is_refused(name):
    with pytest.raises(ValueError, match="no iteration's name"):
        FineTuningIteration.parse(name)


def test_a_batch_or_run_with_the_separator_is_refused(manager):
    with pytest.raises(InvalidInputError, match="without ' / '"):
        manager.set_iteration(FineTuningIteration("a / b", RUN))


def test_retries_by_their_names():
    params = RetryParams(max_attempts=7, wait_time_seconds=60)
    assert (params.attempts, params.wait_initial, params.wait_max) == (7, 60, 60)
    assert (params.max_attempts, params.wait_time_seconds) == (7, 60)
    assert params.deadline > 7 * 60, "nothing but the attempts ends them"
    for none in (None, 0, 1):
        assert RetryParams(max_attempts=none).attempts == 1
    assert RetryParams().max_attempts == RetryParams().attempts
    with pytest.raises(ValidationError, match="attempts or max_attempts"):
        RetryParams(max_attempts=2, attempts=3)
    with pytest.raises(ValidationError, match="wait_time_seconds, or wait_initial"):
        RetryParams(wait_time_seconds=2, wait_max=3)
    with pytest.raises(ValidationError):
        RetryParams(max_attempts="many")


def test_a_retry_config_by_operation():
    default = RetryParams(max_attempts=2, wait_time_seconds=0)
    mine = RetryParams(max_attempts=9, wait_time_seconds=1)
    config = RetryConfig(default_params=default, download=mine)
    assert config.default_params == default
    assert config.upload == config["log_model"] == config["upload"] == default
    assert config.download == config["load_model"] == mine
    assert config["no such operation"] == default
    assert config.inspect == RetryConfig().inspect, "reports give up soon"
    config["log_model"] = mine
    assert config.upload == config["log_model"] == mine
    config["search_runs"] = mine
    assert config.tracking == config["end_run"] == mine
    assert "tracking" in config.model_fields_set
    assert RetryConfig().upload == RetryParams(), "no other config has changed"
    with pytest.raises(InvalidInputError, match=r"no operation .lunch.*log_model"):
        config["lunch"] = mine
    with pytest.raises(InvalidInputError, match="RetryParams, not 3"):
        config["upload"] = 3


def test_an_upload_is_tried_as_often_as_the_config_says(manager):
    manager.retry_config["log_model"] = RetryParams(max_attempts=3, wait_time_seconds=0)
    assert manager._desk().files.retry["log_model"].attempts == 3


# ---------------------------------------------------------------------------------------- calls


def test_a_manager_from_another(lab):
    first = lab.manager(retry_config=AT_ONCE, requirements=["scikit-learn"])
    second = ExperimentsManagerWithAzureBlobBackend.from_wrapper(
        wrapper=first, main_metric="loss", plugin_name="other", accumulators=[], is_loss=True
    )
    assert type(second) is ExperimentsManagerWithAzureBlobBackend
    assert (second.plugin_name, second.main_metric, second.is_loss) == ("other", "loss", True)
    assert second.tracking_uri == first.tracking_uri
    assert second.credentials is first.credentials
    assert second.requirements == ["scikit-learn"]
    assert second.retry_config is first.retry_config
    wrapper = SimpleNamespace(tracking_uri="http://x", requirements=None, retry_config=None)
    plain = ExperimentsManager.from_wrapper(wrapper, "loss", "other", [], n_top_runs=3)
    assert (plain.tracking_uri, plain.n_top_runs) == ("http://x", 3)
    with pytest.raises(InvalidInputError, match="has no Azure credentials"):
        ExperimentsManagerWithAzureBlobBackend.from_wrapper(wrapper, "loss", "other", [])


def test_iterations_by_id(lab, manager):
    assert manager.get_last_iteration_id() is None
    first = manager.set_iteration(FineTuningIteration("b1", RUN))
    manager.finish_iteration()
    assert manager.get_previous_iteration_id() is None, "no iteration is set"
    second = manager.set_iteration(FineTuningIteration("b2", RUN))
    assert manager.get_previous_iteration_id() == first
    assert manager.get_last_iteration_id() == first
    assert manager.get_last_finished_iteration_id() == first
    manager.finish_iteration(completed=False)
    manager.set_iteration(FineTuningIteration("b1", RUN))
    assert manager.get_last_iteration_id() == second, "made later"
    assert manager.get_previous_iteration_id() == lab.experiment_id
    assert manager.get_last_finished_iteration_id() is None


def test_runs_by_id(lab, manager):
    experiment_id = manager.set_iteration(FineTuningIteration("b1", RUN))
    run_id, _ = train(manager, 0.5)
    without = lab.run(experiment_id=experiment_id)
    assert manager.get_experiment_id(run_id) == experiment_id
    assert manager.get_iteration_by_id(run_id) == FineTuningIteration("b1", RUN, lab.plugin)
    assert manager.get_params_by_run_id(run_id) == {"quality": 0.5, "depth": 2}
    assert manager.get_model_url_by_run_id(run_id).startswith("wasbs://")
    assert manager.get_model_url_by_run_id(without) is None
    assert list(manager.get_runs(experiment_id).run_id) == [without, run_id]
    assert list(manager.get_runs(experiment_id, models_only=True).run_id) == [run_id]
    assert list(manager.get_run_by_id(run_id).run_id) == [run_id]
    assert list(manager.get_run_by_id(run_id, models_only=True).run_id) == [run_id]
    assert manager.get_run_by_id(without, models_only=True).empty
    for absent in (
        manager.get_experiment_id,
        manager.get_iteration_by_id,
        manager.get_params_by_run_id,
        manager.get_model_url_by_run_id,
        manager.download_model_by_run_id,
    ):
        assert absent(NOBODY) is None
    nobody = manager.get_run_by_id(NOBODY)
    assert isinstance(nobody, pd.DataFrame)
    assert nobody.empty


def test_models_by_the_name_of_their_run(lab, manager, caplog):
    manager.set_iteration(FineTuningIteration("b1", RUN))
    home = f"{lab.plugin} / iteration / {RUN} / b1"
    run_id, _ = train(manager, 0.5, depth=3)
    lab.client.update_run(run_id, name="trial 3")
    assert manager.download_model(home, "trial 3").get_depth() == 3
    assert manager.download_model(experiment_name=home, run_name="trial 3").get_depth() == 3
    assert manager.download_model(home, "trial 4") is None
    assert "trial 4" in caplog.text
    assert manager.download_model("nowhere", "trial 3") is None
    for status in ("FINISHED", "FAILED"):
        run = lab.client.create_run(manager.current_iteration_id, run_name="trial 5")
        if status == "FINISHED":
            lab.logged_model(run.info.run_id)
        lab.client.set_terminated(run.info.run_id, status)
    assert manager.get_model_url_by_run_id(find_run(manager._desk(), home, "trial 5"))
    assert manager.download_model_by_run_id(run_id).get_depth() == 3
    assert manager.get_current_model_url() == manager.get_model_url_by_run_id(run_id)
    manager.finish_iteration()
    assert manager.get_current_model_url() is None
    assert manager.get_best_current_run_id() == (None, True)


def test_after_a_run_that_was_done_already_its_calls_are_about_that_run(lab, manager):
    manager.set_iteration(FineTuningIteration("b1", RUN))
    first, _ = train(manager, 0.5, params={"n": 1})
    second, _ = train(manager, 0.7, params={"n": 2})
    assert manager.set_run({"n": 1}) is True
    assert manager.get_quality() == 0.5
    assert not manager.model_is_uploaded(), "the better one superseded it"
    assert manager.get_best_quality() == (second, 0.7)
    assert manager.get_current_model_url() == manager.get_model_url_by_run_id(second)
    manager.finish_run()
    with pytest.raises(InvalidInputError, match="needs a run under way"):
        manager.get_quality()
    assert manager.set_run({"n": 2}) is True
    assert manager.model_is_uploaded()
    manager.finish_run(as_failed=True)
    assert lab.client.get_run(second).info.status == "FINISHED", "it is not theirs to fail"
    assert manager.set_run({"n": 1}) is True
    manager.save_metric(MetricValue("accuracy", 0.9))
    assert manager.current_run_id not in {None, first, second}
    assert manager.get_quality() == 0.9
    assert manager.save_model(classifier(2))
    manager.finish_run()
    assert manager.set_run({"n": 1}) is True
    assert manager.get_quality() == 0.9, "the newest counts"
    manager.finish_iteration()


def test_params_by_their_values_and_metrics_by_prefix(manager):
    manager.set_iteration("one")
    manager.set_run({"layers": [1, 2], "rate": 0.1, "name": "10", "none": None})
    run_id = manager.current_run_id
    params = {"layers": [1, 2], "rate": 0.1, "name": "10", "none": None}
    assert manager.get_params_by_run_id(run_id) == params
    manager.save_metric(MetricValue("accuracy", 0.5).add_prefix("test"))
    assert manager.client.get_run(run_id).data.metrics == {"test_accuracy": 0.5}
    manager.save_metric(MetricValue("accuracy", math.nan))


def test_none_for_no_top_params(sqlite_uri, credentials, plugin_name):
    manager = make_manager(sqlite_uri, credentials, plugin_name)
    assert manager.get_top_params() is None
    experiment_id = manager.set_iteration("one")
    assert manager.get_top_params_by_experiment_id(experiment_id) is None
