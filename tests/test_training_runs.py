from __future__ import annotations

import dataclasses
import math
import threading

import pytest
from pydantic import BaseModel
from trainers import count_calls, make_manager, train

from expmgr import (
    InvalidInputError,
    MetricsAccumulator,
    MetricValue,
    NotFoundError,
    TrackingError,
    TrackingUnreachableError,
)


@pytest.fixture
def manager(sqlite_uri, credentials, plugin_name):
    manager = make_manager(
        sqlite_uri,
        credentials,
        plugin_name,
        accumulators=[MetricsAccumulator("loss", True, True, True, True, window_size=2)],
    )
    manager.set_iteration("one")
    return manager


def all_runs(manager):
    return manager.client.search_runs([manager.current_iteration_id])


def test_a_finished_parameter_set_is_skipped_by_a_restarted_search(
    manager, sqlite_uri, credentials
):
    space = [{"depth": 1}, {"depth": 2}, {"depth": None, "layers": [64, 32]}]
    for params in space[:2]:
        assert manager.set_run(params) is False
        manager.finish_run()
    restarted = make_manager(sqlite_uri, credentials, manager.plugin_name)
    restarted.set_iteration("one")
    assert [restarted.set_run(params) for params in space] == [True, True, False]
    assert len(all_runs(restarted)) == 3


def test_the_order_of_the_names_does_not_matter_and_the_types_do(manager):
    manager.set_run({"a": 1, "b": 2})
    manager.finish_run()
    assert manager.set_run({"b": 2, "a": 1}) is True
    assert manager.set_run({"a": 1.0, "b": 2}) is False


def test_failed_and_abandoned_runs_are_tried_again(manager, sqlite_uri, credentials):
    manager.set_run({"a": 1})
    manager.finish_run(as_failed=True)
    assert manager.set_run({"a": 1}) is False
    restarted = make_manager(sqlite_uri, credentials, manager.plugin_name)
    restarted.set_iteration("one")
    assert restarted.set_run({"a": 1}) is False, "the first process may have died in it"
    assert sorted(run.info.status for run in all_runs(manager)) == ["FAILED", "RUNNING", "RUNNING"]


def test_another_iteration_does_not_know_the_params(manager):
    manager.set_run({"a": 1})
    manager.finish_run()
    manager.finish_iteration()
    manager.set_iteration("two")
    assert manager.set_run({"a": 1}) is False


class Settings(BaseModel):
    rate: float
    sizes: list[int]


@dataclasses.dataclass
class Search:
    rate: float
    sizes: list


@pytest.mark.parametrize(
    "params",
    [
        {"rate": 0.5, "sizes": [1, 2]},
        Settings(rate=0.5, sizes=[1, 2]),
        Search(rate=0.5, sizes=[1, 2]),
    ],
)
def test_params_in_any_form_are_logged_readably_and_are_one_set(manager, params):
    manager.set_run(params)
    (run,) = all_runs(manager)
    assert run.data.params == {"rate": "0.5", "sizes": "[1, 2]"}
    manager.finish_run()
    assert manager.set_run({"sizes": [1, 2], "rate": 0.5}) is True


def test_no_params_are_a_parameter_set_too(manager):
    assert manager.set_run({}) is False
    manager.finish_run()
    assert manager.set_run({}) is True


def test_more_params_than_one_request_takes_are_logged_whole(manager):
    params = {f"p{number}": number for number in range(250)}
    client = count_calls(manager)
    manager.set_run(params)
    assert client.calls == ["search_runs", "create_run", *["log_batch"] * 3]
    assert len(all_runs(manager)[0].data.params) == 250


@pytest.mark.parametrize("params", [{"a": "x" * 6001}, {"a" * 251: 1}, {"a": object()}, None, 7])
def test_params_that_mlflow_cannot_keep_make_no_run(manager, params):
    with pytest.raises(InvalidInputError):
        manager.set_run(params)
    assert all_runs(manager) == []
    assert manager.current_run_id is None


def test_beginning_a_run_asks_for_one_run_and_no_more(manager):
    for number in range(3):
        manager.set_run({"n": number})
        manager.finish_run()
    client = count_calls(manager)
    manager.set_run({"n": 1})
    assert client.calls == ["search_runs"]


def test_a_run_begins_where_the_one_before_ends(manager):
    manager.set_run({"a": 1})
    first = manager.current_run_id
    with pytest.raises(InvalidInputError):
        manager.set_run({"a": object()})
    assert manager.current_run_id == first, "what cannot begin ends nothing"
    assert manager.set_run({"a": 2}) is False
    assert manager.current_run_id != first
    assert {run.info.run_id: run.info.status for run in all_runs(manager)} == {
        first: "FINISHED",
        manager.current_run_id: "RUNNING",
    }


def test_a_block_inside_a_run_and_a_run_without_an_iteration_are_refused(
    manager, sqlite_uri, credentials
):
    manager.set_run({"a": 1})
    with (
        pytest.raises(InvalidInputError, match=r"is still under way; call finish_run\(\)"),
        manager.run({"a": 2}),
    ):
        pass
    other = make_manager(sqlite_uri, credentials, manager.plugin_name)
    with pytest.raises(InvalidInputError, match="no iteration is set"):
        other.set_run({"a": 2})


def test_nothing_is_saved_outside_a_run(manager):
    for call in (
        lambda: manager.save_metric(MetricValue("accuracy", 1)),
        lambda: manager.save_model(object()),
        manager.finish_run,
        manager.get_quality,
        manager.model_is_uploaded,
    ):
        with pytest.raises(InvalidInputError, match="needs a run under way"):
            call()
    assert manager.get_current_model_url() is None


def test_a_with_block_finishes_the_run(manager):
    with manager.run({"a": 1}) as run:
        assert run.run_id == manager.current_run_id
        assert not run.already_finished
    (found,) = all_runs(manager)
    assert (found.info.run_id, found.info.status) == (run.run_id, "FINISHED")
    with manager.run({"a": 1}) as again:
        assert again.already_finished
        assert again.run_id == run.run_id
        assert manager.current_run_id is None
    assert len(all_runs(manager)) == 1


@pytest.mark.parametrize("error", [ValueError("diverged"), KeyboardInterrupt()])
def test_an_exception_in_a_with_block_marks_the_run_failed_and_goes_on(manager, error):
    def broken():
        with manager.run({"a": 1}):
            raise error

    with pytest.raises(type(error)) as caught:
        broken()
    assert caught.value is error
    assert [run.info.status for run in all_runs(manager)] == ["FAILED"]
    assert manager.set_run({"a": 1}) is False


def test_a_tracking_error_does_not_hide_the_exception_of_the_training(manager, caplog):
    def broken():
        with manager.run({"a": 1}):
            manager.client.set_terminated = None
            manager._client = None
            manager.tracking_uri = "http://127.0.0.1:9"
            raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        broken()
    assert "stays RUNNING" in caplog.text
    assert manager.current_run_id is None


def test_a_server_that_is_down_is_one_clear_error(credentials, plugin_name):
    manager = make_manager("http://127.0.0.1:9", credentials, plugin_name)
    with pytest.raises(TrackingUnreachableError, match=r"127\.0\.0\.1:9"):
        manager.set_iteration("one")


def test_a_run_that_was_finished_inside_its_block_is_left_so(manager):
    with manager.run({"a": 1}):
        manager.finish_run(as_failed=True)
    assert [run.info.status for run in all_runs(manager)] == ["FAILED"]


# ------------------------------------------------------------------------------------- metrics


def history(manager, run_id, name):
    return [(m.step, m.value) for m in manager.client.get_metric_history(run_id, name)]


def test_a_value_and_its_aggregates_are_one_request(manager):
    manager.set_run({"a": 1})
    run_id = manager.current_run_id
    client = count_calls(manager)
    for value in (4, 2, 6):
        manager.save_metric(MetricValue("loss", value))
    assert client.calls == ["log_batch"] * 3
    assert history(manager, run_id, "loss") == [(0, 4), (1, 2), (2, 6)]
    assert history(manager, run_id, "mean_loss") == [(0, 4), (1, 3), (2, 4)]
    assert history(manager, run_id, "sliding_loss") == [(0, 4), (1, 3), (2, 4)]
    assert history(manager, run_id, "min_loss") == [(0, 4), (1, 2), (2, 2)]
    assert history(manager, run_id, "max_loss") == [(0, 4), (1, 4), (2, 6)]


def test_a_value_that_could_not_be_logged_can_be_logged_again(manager, monkeypatch):
    manager.set_run({"a": 1})
    run_id = manager.current_run_id
    manager.save_metric(MetricValue("loss", 4))

    def refuse(*args, **kwargs):
        raise ConnectionError("reset")

    with monkeypatch.context() as patch:
        patch.setattr(manager.client, "log_batch", refuse)
        with pytest.raises(TrackingError, match=f"could not log metrics of run {run_id}"):
            manager.save_metric(MetricValue("loss", 2))
    manager.save_metric(MetricValue("loss", 2))
    assert history(manager, run_id, "loss") == [(0, 4), (1, 2)]
    assert history(manager, run_id, "mean_loss") == [(0, 4), (1, 3)]


def test_several_values_of_one_step_are_one_request(manager):
    manager.set_run({"a": 1})
    run_id = manager.current_run_id
    client = count_calls(manager)
    manager.save_metric([MetricValue("loss", 4), MetricValue("accuracy", 0.5)], step=7)
    assert client.calls == ["log_batch"]
    assert history(manager, run_id, "accuracy") == [(7, 0.5)]
    assert history(manager, run_id, "max_loss") == [(7, 4)]
    manager.save_metric(MetricValue("accuracy", 0.6))
    assert history(manager, run_id, "accuracy") == [(7, 0.5), (8, 0.6)]


def test_accumulators_and_steps_start_anew_with_every_run(manager):
    def diverge():
        with manager.run({"a": 3}):
            manager.save_metric(MetricValue("loss", 100))
            raise RuntimeError

    for number in range(2):
        manager.set_run({"a": number})
        run_id = manager.current_run_id
        manager.save_metric(MetricValue("loss", 5))
        assert history(manager, run_id, "mean_loss") == [(0, 5)]
        manager.finish_run()
    with pytest.raises(RuntimeError):
        diverge()
    manager.set_run({"a": 2})
    manager.save_metric(MetricValue("loss", 1))
    assert history(manager, manager.current_run_id, "max_loss") == [(0, 1)]


def test_accumulators_belong_to_one_manager(sqlite_uri, credentials, plugin_name):
    shared = [MetricsAccumulator("loss", calc_mean=True)]
    managers = [
        make_manager(sqlite_uri, credentials, f"{plugin_name}-{n}", accumulators=shared)
        for n in range(2)
    ]
    for number, manager in enumerate(managers):
        manager.set_iteration("one")
        manager.set_run({"a": 1})
        manager.save_metric(MetricValue("loss", 10 * number))
    for number, manager in enumerate(managers):
        assert history(manager, manager.current_run_id, "mean_loss") == [(0, 10 * number)]
    assert shared[0].count == 0


def test_nan_is_kept_and_infinity_becomes_nan(manager):
    manager.set_run({"a": 1})
    run_id = manager.current_run_id
    for value in (1.0, math.nan, math.inf, 3.0):
        manager.save_metric(MetricValue("loss", value))
    values = [value for _, value in history(manager, run_id, "loss")]
    assert values[0] == 1.0
    assert math.isnan(values[1])
    assert math.isnan(values[2])
    assert values[3] == 3.0
    assert history(manager, run_id, "mean_loss") == [(0, 1.0), (3, 2.0)]


@pytest.mark.parametrize("metric", [0.5, None, "accuracy", [], [0.5], ("accuracy", 0.5)])
def test_what_is_no_metric_value_is_refused(manager, metric):
    manager.set_run({"a": 1})
    with pytest.raises(InvalidInputError, match="save_metric"):
        manager.save_metric(metric)


@pytest.mark.parametrize("step", [-1, 1.5, True, "1"])
def test_a_step_is_a_whole_number(manager, step):
    manager.set_run({"a": 1})
    with pytest.raises(InvalidInputError, match="a step is"):
        manager.save_metric(MetricValue("loss", 1), step=step)


@pytest.mark.parametrize(
    "accumulators",
    [["loss"], [MetricsAccumulator("loss"), MetricsAccumulator("loss")]],
)
def test_accumulators_that_make_no_sense_are_refused(credentials, plugin_name, accumulators):
    with pytest.raises(InvalidInputError, match="accumulators"):
        make_manager("sqlite://", credentials, plugin_name, accumulators=accumulators)


def test_the_quality_of_a_run_is_its_last_main_metric(manager):
    manager.set_run({"a": 1})
    with pytest.raises(NotFoundError, match="has no value of the main metric 'accuracy'"):
        manager.get_quality()
    manager.save_metric(MetricValue("accuracy", 0.5))
    manager.save_metric(MetricValue("accuracy", 0.4))
    client = count_calls(manager)
    assert manager.get_quality() == 0.4
    assert client.calls == ["get_run"]


# ------------------------------------------------------------------------------- search memory


def search(manager, name, qualities):
    with manager.iteration(name):
        for params, quality in qualities:
            with manager.run(params):
                if quality is not None:
                    manager.save_metric(MetricValue(manager.main_metric, quality))


def test_the_best_params_of_the_previous_finished_iteration_come_back_typed(manager):
    manager.finish_iteration(completed=False)
    assert manager.get_top_params() is None
    search(manager, "old", [({"old": 1}, 1.0)])
    search(
        manager,
        "new",
        [
            ({"lr": 0.1, "layers": [8, 4], "note": None}, 0.7),
            ({"lr": 1e-05, "layers": (), "on": True}, 0.9),
            ({"lr": "0.1"}, 0.7),
            ({"never": "measured"}, None),
            ({"diverged": 1}, math.nan),
            ({"worst": 1}, 0.1),
        ],
    )
    manager.set_iteration("one")  # opened before "old" and "new", and not finished
    assert manager.get_top_params() is None
    manager.finish_iteration(completed=False)
    manager.set_iteration("newest")
    expected = [
        {"lr": 1e-05, "layers": (), "on": True},
        {"lr": 0.1, "layers": [8, 4], "note": None},
        {"lr": "0.1"},
        {"worst": 1},
    ]
    assert manager.get_top_params() == expected
    assert manager.get_top_params(2) == expected[:2]
    manager.n_top_runs = 3
    client = count_calls(manager)
    assert manager.get_top_params() == expected[:3]
    assert client.calls == ["search_experiments", "search_runs"]


def test_for_a_loss_the_smallest_is_the_best(sqlite_uri, credentials, plugin_name):
    manager = make_manager(
        sqlite_uri, credentials, plugin_name, main_metric="val loss", is_loss=True
    )
    search(manager, "one", [({"n": n}, value) for n, value in enumerate([0.5, math.nan, -1, 0.2])])
    assert manager.get_top_params(2) == [{"n": 2}, {"n": 3}]


def test_failed_runs_taught_nothing(manager):
    manager.finish_iteration()
    with manager.iteration("two"):
        train(manager, 0.5)
        manager.set_run({"failed": True})
        manager.save_metric(MetricValue("accuracy", 0.99))
        manager.finish_run(as_failed=True)
    assert manager.get_top_params() == [{"quality": 0.5, "depth": 2}]


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_top_runs_are_counted_from_one(manager, n):
    with pytest.raises(InvalidInputError, match="from 1"):
        manager.get_top_params_by_experiment_id(manager.current_iteration_id, n)


def test_an_unknown_experiment_has_no_top_params_but_an_error(manager):
    with pytest.raises(NotFoundError, match="4711"):
        manager.get_top_params_by_experiment_id("4711")


# ----------------------------------------------------------------------------------- isolation


def test_two_threads_with_a_manager_each_do_not_disturb_each_other(
    sqlite_uri, credentials, plugin_name
):
    import mlflow

    before = (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.active_run())
    barrier = threading.Barrier(2, timeout=60)
    failures = []

    def work(name):
        try:
            manager = make_manager(
                sqlite_uri,
                credentials,
                f"{plugin_name}-{name}",
                accumulators=[MetricsAccumulator("loss", calc_max=True)],
            )
            with manager.iteration("one"):
                for number in range(3):
                    barrier.wait()
                    with manager.run({"by": name, "n": number}) as run:
                        assert mlflow.active_run() is None
                        manager.save_metric(MetricValue("loss", number if name == "a" else 100))
                        found = manager.client.get_run(run.run_id)
                        assert found.data.params["by"] == name
                        top = number if name == "a" else 100
                        assert found.data.metrics["max_loss"] == top
            assert manager.get_top_params() is None
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.active_run()) == before
