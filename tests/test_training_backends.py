"""The life of a model, unchanged on SQLite, over HTTP and with a server that proxies artifacts."""

from __future__ import annotations

import threading

import pytest
from trainers import classifier, make_manager, train

from expmgr import MetricsAccumulator, MetricValue
from expmgr.policies import best


@pytest.fixture
def make(backend, credentials, plugin_name):
    def make():
        return make_manager(
            backend.tracking_uri,
            credentials,
            plugin_name,
            artifacts_destination=backend.artifacts_destination,
            accumulators=[MetricsAccumulator("loss", True, True, True, True, window_size=2)],
        )

    return make


@pytest.fixture
def stored(blob_names):
    """A function: the ids of the models whose ``MLmodel`` lies in the container."""

    def ids():
        return {name.split("/")[-3] for name in blob_names() if name.endswith("/artifacts/MLmodel")}

    return ids


def test_the_life_of_a_model(make, stored, backend):
    manager = make()
    initial = manager.upload_initial_model(classifier(1))
    assert not manager.upload_initial_model(classifier(1))
    with manager.iteration("one"):
        first, superseded = train(manager, 0.5, depth=2, params={"depth": 2, "note": None})
        best, kept = train(manager, 0.7, depth=3, params={"depth": 3, "layers": [1, 2]})
        _, worse = train(manager, 0.6, depth=1, params={"depth": 1})
        assert (bool(superseded), bool(kept), bool(worse)) == (True, True, False)
        assert manager.get_best_quality()[1] == 0.7
        assert manager.get_best_current_run_id()[0] == best
    assert stored() == {initial.model_id, kept.model_id}
    proxied = backend.artifacts_destination is not None
    assert kept.url.startswith("mlflow-artifacts:" if proxied else "wasbs://")

    restarted = make()
    restarted.set_iteration("two")
    assert restarted.get_top_params(2)[0] == {"depth": 3, "layers": [1, 2]}
    assert restarted.get_last_model_url() == kept.url
    assert restarted.download_last_model().get_depth() == 3
    assert restarted.download_model(best).get_depth() == 3
    assert restarted.download_initial_model().get_depth() == 1
    assert restarted.delete_previous_iteration().outcome == "protected"
    with restarted.run({"depth": 4}) as run:
        restarted.save_metric([MetricValue("loss", 2), MetricValue("accuracy", 0.9)])
        restarted.save_metric(MetricValue("loss", 1))
        saved = restarted.save_model(classifier(4))
        assert saved
        assert restarted.model_is_uploaded()
        metrics = restarted.client.get_run(run.run_id).data.metrics
        assert metrics["mean_loss"] == metrics["sliding_loss"] == 1.5
    assert restarted.set_run({"depth": 4}) is True
    deletion = restarted.delete_previous_iteration()
    assert deletion, str(deletion)
    assert stored() == {initial.model_id, saved.model_id}
    remains = restarted.client.get_run(first)
    assert remains.data.metrics["accuracy"] == 0.5
    assert remains.data.params == {"depth": "2", "note": "None"}
    restarted.finish_iteration()
    assert restarted.set_iteration("one") != remains.info.experiment_id


def test_mlflow_loads_what_was_saved(make, backend, artifact_root, monkeypatch):
    import mlflow

    manager = make()
    manager.set_iteration("one")
    _, saved = train(manager, 0.5, depth=3)
    mlflow.set_tracking_uri(backend.tracking_uri)
    assert mlflow.sklearn.load_model(saved.model_uri).get_depth() == 3


def test_a_proxying_server_is_recognised_without_being_told(backend, credentials, plugin_name):
    manager = make_manager(backend.tracking_uri, credentials, plugin_name)
    manager.set_iteration("one")
    _, saved = train(manager, 0.5)
    proxied = backend.artifacts_destination is not None
    assert saved.url.startswith("mlflow-artifacts:" if proxied else "wasbs://")
    assert manager.download_best_model().get_depth() == 2
    # Where the server keeps the files is not known, so a superseded model cannot be deleted.
    _, better = train(manager, 0.6)
    assert better
    assert [result.outcome for result in better.superseded] == ["failed" if proxied else "deleted"]


def test_parallel_trials_end_with_the_best_alone(make, stored):
    make().set_iteration("one")
    barrier = threading.Barrier(3, timeout=120)
    failures = []

    def trial(number, quality):
        try:
            manager = make()
            manager.set_iteration("one")
            with manager.run({"n": number}):
                manager.save_metric(MetricValue("accuracy", quality))
                barrier.wait()
                manager.save_model(classifier())
                barrier.wait()
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=trial, args=pair) for pair in enumerate([0.5, 0.9, 0.7])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    manager = make()
    manager.set_iteration("one")
    assert manager.get_best_quality()[1] == 0.9
    assert len(stored()) == 1
    assert manager.download_best_model() is not None


def test_checkpoints_are_stored_and_superseded(make, stored, tmp_path):
    manager = make()
    manager.set_iteration("one")
    with manager.run({"depth": 2}):
        for step, quality in enumerate([0.5, 0.6, 0.4]):
            (tmp_path / "weights.bin").write_bytes(b"%d" % step)
            metrics = {"accuracy": quality}
            handle = manager.save_checkpoint(tmp_path / "weights.bin", step, metrics, best(1))
    best_one = manager.client.get_logged_model(next(iter(stored())))
    assert (best_one.name, len(stored())) == ("checkpoint-1", 1)
    assert manager.download_best_model().read_bytes() == b"1"
    assert [one.outcome for one in handle.result.superseded] == ["deleted"], "itself"
