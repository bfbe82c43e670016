from __future__ import annotations

import math
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml
from trainers import KilledError, classifier, count_calls, make_manager, train

from expmgr import (
    ExperimentsManager,
    InvalidInputError,
    MetricValue,
    NotFoundError,
    StorageError,
)
from expmgr.storage.transfer import AzureFolder

FEATURES = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]


@pytest.fixture
def stored(blob_names):
    """A function: the ids of the models whose ``MLmodel`` lies in the container."""

    def ids():
        return {name.split("/")[-3] for name in blob_names() if name.endswith("/artifacts/MLmodel")}

    return ids


def model_id_of(manager, run_id):
    return manager.client.get_run(run_id).outputs.model_outputs[-1].model_id


# -------------------------------------------------------------------------------------- storing


def test_mlflow_loads_what_was_saved_and_the_card_is_the_one_that_mlflow_writes(
    manager, artifact_root, monkeypatch, tmp_path
):
    import mlflow

    run_id, saved = train(manager, 0.5)
    assert saved
    monkeypatch.setenv("MLFLOW_TRACKING_URI", manager.tracking_uri)
    ours = manager.download_model(run_id, destination=tmp_path / "ours")
    assert list(ours.predict(FEATURES)) == list(classifier().predict(FEATURES))
    mlflow.set_tracking_uri(manager.tracking_uri)
    loaded = mlflow.sklearn.load_model(saved.model_uri)
    assert list(loaded.predict(FEATURES)) == list(classifier().predict(FEATURES))
    generic = mlflow.pyfunc.load_model(saved.model_uri)
    assert list(generic.predict(np.array(FEATURES))) == list(loaded.predict(FEATURES))
    with mlflow.start_run(experiment_id=manager.current_iteration_id) as run:
        fluent = mlflow.sklearn.log_model(
            classifier(),
            name="model",
            pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )
    theirs = mlflow.artifacts.download_artifacts(f"models:/{fluent.model_id}")
    our_card = yaml.safe_load((tmp_path / "ours" / "MLmodel").read_text())
    their_card = yaml.safe_load(Path(theirs, "MLmodel").read_text())
    assert our_card.keys() == their_card.keys()
    assert our_card["flavors"] == their_card["flavors"]
    assert our_card["model_id"] == our_card["model_uuid"] == saved.model_id
    assert (our_card["run_id"], their_card["run_id"]) == (run_id, run.info.run_id)
    assert our_card["artifact_path"] == saved.url
    assert {path.name for path in (tmp_path / "ours").iterdir()} - {"__pycache__"} == {
        path.name for path in Path(theirs).iterdir()
    } - {"registered_model_meta", "__pycache__"}


def test_a_stored_model_is_ready_linked_and_shows_params_and_quality(manager):
    run_id, saved = train(manager, 0.5)
    model = manager.client.get_logged_model(saved.model_id)
    assert model.status.value == "READY"
    assert model.source_run_id == run_id
    assert model.params == {"quality": "0.5", "depth": "2"}
    assert [(metric.key, metric.value) for metric in model.metrics] == [("accuracy", 0.5)]
    assert model_id_of(manager, run_id) == saved.model_id
    history = manager.client.get_metric_history(run_id, "accuracy")
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.5)], "not logged twice"
    assert str(saved).startswith(f"Saved models:/{saved.model_id}: 5 files, ")


def test_saving_and_loading_leave_mlflow_and_the_environment_as_they_were(manager):
    import mlflow

    def state():
        return (
            mlflow.get_tracking_uri(),
            mlflow.get_registry_uri(),
            mlflow.active_run(),
            mlflow.get_active_model_id(),
            dict(os.environ),
        )

    before = state()
    manager.upload_initial_model(classifier(1))
    run_id, _ = train(manager, 0.5)
    manager.set_run({"under": "way"})
    manager.download_model(run_id)
    assert state() == before


def test_the_state_of_the_run_under_way_tells_of_its_model(manager):
    manager.set_run({"a": 1})
    manager.save_metric(MetricValue("accuracy", 0.5))
    assert not manager.model_is_uploaded()
    assert manager.get_current_model_url() is None
    assert manager.get_best_quality() == (None, 0.0)
    assert manager.get_best_current_run_id() == (None, False)
    saved = manager.save_model(classifier())
    assert manager.model_is_uploaded()
    assert manager.get_current_model_url() == saved.url
    assert manager.get_best_quality()[1] == 0.5
    assert manager.get_best_current_run_id()[0] == manager.current_run_id


def test_requirements_are_the_managers_or_those_of_the_flavour(
    sqlite_uri, credentials, plugin_name, tmp_path
):
    import sklearn

    for number, (given, expected) in enumerate(
        [(["numpy", "scikit-learn==1.5"], "numpy"), (None, f"scikit-learn=={sklearn.__version__}")]
    ):
        manager = make_manager(
            sqlite_uri, credentials, f"{plugin_name}-{number}", requirements=given
        )
        manager.set_iteration("one")
        run_id, _ = train(manager, 0.5)
        manager.download_model(run_id, destination=tmp_path / str(number))
        lines = (tmp_path / str(number) / "requirements.txt").read_text().split()
        assert expected in lines


def test_any_flavour_can_be_saved(manager):
    import mlflow.pyfunc

    class Doubler(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return [2 * value for value in model_input]

    manager.set_run({"kind": "pyfunc"})
    saved = manager.save_model(Doubler(), best_only=False)
    assert saved
    assert saved.flavor == "pyfunc"
    run_id = manager.current_run_id
    loaded = manager.download_model(run_id)
    assert loaded.predict(None, [1, 2]) == [2, 4]


@pytest.mark.parametrize(
    ("model", "flavor", "words"),
    [
        ({"a": "dict"}, None, "no MLflow flavour is known for a dict"),
        (object(), "nonsense", "flavour 'nonsense' cannot be used"),
        (object(), "entities", "mlflow.entities is no flavour"),
        (threading.Lock(), "sklearn", "mlflow.sklearn could not save the lock"),
    ],
)
def test_a_model_that_cannot_be_saved_leaves_nothing_behind(
    manager, model, flavor, words, blob_names
):
    manager.set_run({"a": 1})
    with pytest.raises(InvalidInputError, match=words):
        manager.save_model(model, best_only=False, flavor=flavor)
    assert manager.client.search_logged_models([manager.current_iteration_id]) == []
    assert blob_names() == []


def test_progress_is_told_while_the_model_goes_up_and_comes_down(manager):
    seen = []
    run_id, saved = train(manager, 0.5, on_progress=seen.append)
    assert (seen[-1].files, seen[-1].bytes) == (saved.files, saved.bytes)
    seen.clear()
    manager.download_model(run_id, on_progress=seen.append)
    assert seen[-1].files == saved.files


def test_a_bar_is_shown_where_nobody_asks_for_progress(manager, monkeypatch, capsys):
    monkeypatch.setattr("expmgr.training.model_files.SHOWN_AFTER", 0.0)
    run_id, _ = train(manager, 0.5)
    assert "uploading the model" in capsys.readouterr().err
    manager.download_model(run_id)
    assert "downloading the model" in capsys.readouterr().err


def test_a_failed_upload_is_no_stored_model_and_deletes_nothing(manager, stored, monkeypatch):
    _, first = train(manager, 0.5)
    send = AzureFolder.send

    def fail(self, source, path, on_bytes):
        if path == "model.pkl":
            raise OSError("the line is cut")
        send(self, source, path, on_bytes)

    monkeypatch.setattr(AzureFolder, "send", fail)
    manager.set_run({"a": 2})
    manager.save_metric(MetricValue("accuracy", 0.9))
    with pytest.raises(StorageError, match=r"model\.pkl could not be uploaded"):
        manager.save_model(classifier())
    assert not manager.model_is_uploaded()
    assert manager.get_best_quality()[1] == 0.5
    assert stored() == {first.model_id}
    monkeypatch.undo()
    saved = manager.save_model(classifier())
    assert saved
    assert stored() == {saved.model_id}


def test_a_manager_without_azure_stores_models_where_mlflow_does(
    sqlite_uri, plugin_name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    manager = make_manager(sqlite_uri, None, plugin_name, kind=ExperimentsManager)
    manager.set_iteration("one")
    first, _ = train(manager, 0.5)
    second, saved = train(manager, 0.6)
    assert saved
    assert [result.run_id for result in saved.kept] == [first]
    assert "no Azure credentials" in str(saved)
    assert list(manager.download_model(second).predict(FEATURES)) == [0, 2]


# ------------------------------------------------------------------------------------ best only


def test_only_a_model_that_beats_or_equals_the_best_is_saved_and_the_best_stays(manager, stored):
    outcomes = []
    for number, quality in enumerate([0.5, 0.4, 0.7, 0.6, 0.7]):
        _, saved = train(manager, quality, params={"n": number})
        outcomes.append(bool(saved))
        assert len(stored()) == 1
    assert outcomes == [True, False, True, False, True]
    assert stored() == {saved.model_id}
    assert saved.best_quality == 0.7
    assert [result.outcome for result in saved.superseded] == ["deleted"]
    assert manager.get_best_quality()[1] == 0.7


def test_a_loss_turns_it_round(sqlite_uri, credentials, plugin_name, stored):
    manager = make_manager(sqlite_uri, credentials, plugin_name, main_metric="loss", is_loss=True)
    manager.set_iteration("one")
    outcomes = [bool(train(manager, quality)[1]) for quality in (0.5, 0.7, 0.3)]
    assert outcomes == [True, False, True]
    assert manager.get_best_quality()[1] == 0.3
    assert len(stored()) == 1


def test_a_model_that_is_not_saved_says_against_what_it_lost(manager):
    train(manager, 0.7)
    _, saved = train(manager, 0.6)
    assert not saved
    assert (saved.quality, saved.best_quality, saved.superseded) == (0.6, 0.7, ())
    assert str(saved) == "Not saved: 0.6 does not reach the iteration's best, 0.7"


def test_nan_is_never_the_best(manager, stored):
    _, saved = train(manager, math.nan)
    assert not saved
    assert stored() == set()
    assert train(manager, 0.1)[1]
    assert not train(manager, math.nan, params={"again": 1})[1]


def test_without_the_main_metric_there_is_no_best_to_compare_with(manager, stored):
    manager.set_run({"a": 1})
    with pytest.raises(NotFoundError, match="has no value of the main metric 'accuracy'"):
        manager.save_model(classifier())
    assert stored() == set()
    assert manager.save_model(classifier(), best_only=False)


def test_the_previous_best_goes_however_it_was_saved_and_others_stay(manager, stored):
    _, low = train(manager, 0.3, best_only=False)
    _, best = train(manager, 0.5, best_only=False)
    _, new = train(manager, 0.6)
    assert stored() == {low.model_id, new.model_id}
    assert best.model_id not in stored()


def test_a_run_that_saves_every_better_epoch_keeps_its_best_alone(manager, stored, tmp_path):
    manager.set_run({"a": 1})
    run_id = manager.current_run_id
    saves = []
    for depth, quality in ((1, 0.5), (2, 0.9), (3, 0.7)):
        manager.save_metric(MetricValue("accuracy", quality))
        saves.append(manager.save_model(classifier(depth)))
    manager.finish_run()
    assert [bool(saved) for saved in saves] == [True, True, False]
    assert stored() == {saves[1].model_id}
    assert saves[1].superseded[0].run_id == run_id
    assert manager.download_model(run_id).get_depth() == 2
    table = manager.runs().set_index("run_id")
    assert table.loc[run_id, "model"] == "stored"
    assert manager.get_best_quality()[1] == 0.9


@pytest.mark.parametrize("how", ["pinned", "registered"])
def test_a_superseded_model_that_is_protected_is_kept_and_reported(manager, stored, how):
    first, saved = train(manager, 0.5)
    if how == "pinned":
        manager.client.set_tag(first, "expmgr.keep", "true")
    else:
        manager.client.create_registered_model(f"registered-{manager.plugin_name}")
        manager.client.create_model_version(
            f"registered-{manager.plugin_name}", saved.url, run_id=first, model_id=saved.model_id
        )
    _, better = train(manager, 0.6)
    assert better
    assert stored() == {saved.model_id, better.model_id}
    (kept,) = better.kept
    assert (kept.run_id, kept.outcome) == (first, "protected")
    assert how in str(kept.reasons)
    assert f"Superseded run {first}" in str(better)


def test_a_kept_model_is_deleted_by_a_later_save_once_nothing_protects_it(manager, stored):
    first, _ = train(manager, 0.5)
    manager.client.set_tag(first, "expmgr.keep", "true")
    train(manager, 0.6)
    manager.client.delete_tag(first, "expmgr.keep")
    _, best = train(manager, 0.7)
    assert {result.outcome for result in best.superseded} == {"deleted"}
    assert stored() == {best.model_id}


def test_the_model_of_a_failed_run_is_not_the_best(manager, stored):
    manager.set_run({"a": 1})
    manager.save_metric(MetricValue("accuracy", 0.9))
    manager.save_model(classifier())
    manager.finish_run(as_failed=True)
    assert manager.get_best_quality() == (None, 0.0)
    assert manager.download_best_model() is not None, "better than none at all"
    _, saved = train(manager, 0.5)
    assert saved
    assert manager.get_best_quality()[1] == 0.5
    assert len(stored()) == 2, "what is better than the best is never superseded"


def test_saving_asks_for_what_it_needs_and_no_run_but_the_best(manager):
    for number in range(4):
        train(manager, 0.5 + number / 100)
    manager.set_run({"a": 1})
    manager.save_metric(MetricValue("accuracy", 0.1))
    client = count_calls(manager)
    assert not manager.save_model(classifier())
    assert client.calls == ["get_run", "search_logged_models", "get_run"]


# ------------------------------------------------------------------- crashes and parallel trials


def test_wherever_the_process_is_killed_a_model_at_least_as_good_is_left(
    sqlite_uri, credentials, plugin_name, tmp_path, monkeypatch, stored
):
    """A better model is saved over another; killed before every second outside effect in turn."""
    monkeypatch.setattr("expmgr.tracking.journal.LEASE_SECONDS", 0.0)
    empty = Path(sqlite_uri.removeprefix("sqlite:///")).read_bytes()
    send, die_at = AzureFolder.send, 0
    while True:
        path = tmp_path / f"{die_at}.db"
        path.write_bytes(empty)
        uri, plugin = f"sqlite:///{path}", f"{plugin_name}-{die_at}"
        manager = make_manager(uri, credentials, plugin)
        experiment_id = manager.set_iteration("one")
        train(manager, 0.5)
        manager.set_run({"better": True})
        manager.save_metric(MetricValue("accuracy", 0.8))
        client = count_calls(manager, die_at)

        def counted_send(self, source, path, on_bytes, client=client):
            client.count("send")
            send(self, source, path, on_bytes)

        monkeypatch.setattr(AzureFolder, "send", counted_send)
        try:
            manager.save_model(classifier(3))
            killed = False
        except KilledError:
            killed = True
        monkeypatch.setattr(AzureFolder, "send", send)

        restarted = make_manager(uri, credentials, plugin)
        assert restarted.set_iteration("one") == experiment_id
        assert restarted.get_best_quality()[1] >= 0.5, f"none is left after {client.calls}"
        assert restarted.download_best_model().get_depth() in {2, 3}
        if die_at % 5 == 0:
            _, saved = train(restarted, 0.9)
            assert saved
            assert restarted.download_best_model() is not None
        if not killed:
            break
        die_at += 2
    assert die_at >= 20
    assert "send" in client.calls


def test_parallel_trials_leave_the_best_and_nothing_else(
    sqlite_uri, credentials, plugin_name, stored
):
    make_manager(sqlite_uri, credentials, plugin_name).set_iteration("one")
    qualities = [0.5, 0.9, 0.7, 0.9]
    barrier = threading.Barrier(len(qualities), timeout=120)
    failures = []

    def trial(number, quality):
        try:
            manager = make_manager(sqlite_uri, credentials, plugin_name)
            manager.set_iteration("one")
            with manager.run({"n": number}):
                manager.save_metric(MetricValue("accuracy", quality))
                barrier.wait()
                manager.save_model(classifier())
                assert stored(), "at no time is there no model"
                barrier.wait()
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=trial, args=pair) for pair in enumerate(qualities)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    manager = make_manager(sqlite_uri, credentials, plugin_name)
    manager.set_iteration("one")
    best = model_id_of(manager, manager.get_best_current_run_id()[0])
    assert manager.get_best_quality()[1] == 0.9
    assert best in stored()
    assert stored() == {best}


# ---------------------------------------------------------------------------------- downloading


def test_models_are_found_by_run_by_name_by_best_and_by_last(manager):
    first, _ = train(manager, 0.9, depth=3, best_only=False)
    second, _ = train(manager, 0.5, depth=1, best_only=False)
    assert manager.download_model(first).get_depth() == 3
    name = manager.client.get_run(second).info.run_name
    assert manager.download_model(run_name=name).get_depth() == 1
    assert manager.download_model(experiment_name="one", run_name=name).get_depth() == 1
    assert manager.download_best_model().get_depth() == 3
    manager.finish_iteration()
    manager.set_iteration("two")
    assert manager.download_last_model().get_depth() == 3
    assert manager.get_last_model_url().endswith(f"/{model_id_of(manager, first)}/artifacts")


def test_a_model_that_mlflow_2_logged_can_be_downloaded(manager, put_blob, tmp_path):
    import mlflow.sklearn

    manager.set_run({"a": 1})
    run_id = manager.current_run_id
    folder = tmp_path / "old"
    mlflow.sklearn.save_model(
        classifier(3), folder, pip_requirements=[], serialization_format="cloudpickle"
    )
    uri = manager.client.get_run(run_id).info.artifact_uri
    root = uri.split("/", 3)[3]
    for path in folder.iterdir():
        put_blob(f"{root}/nested/model/{path.name}", path.read_bytes())
    tag = f'[{{"run_id": "{run_id}", "artifact_path": "nested/model"}}]'
    manager.client.set_tag(run_id, "mlflow.log-model.history", tag)
    assert manager.download_model(run_id).get_depth() == 3


def test_files_stay_where_somebody_wants_them_and_else_go_with_the_model(manager, tmp_path):
    run_id, saved = train(manager, 0.5)
    manager.download_model(run_id, destination=tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) >= saved.files
    with pytest.raises(InvalidInputError, match="not an empty folder"):
        manager.download_model(run_id, destination=tmp_path / "kept")


def test_there_is_one_clear_error_for_each_model_that_cannot_be_had(manager, caplog):
    empty = "f" * 32
    with pytest.raises(NotFoundError, match=empty):
        manager.download_model(empty)
    manager.set_run({"a": 1})
    run_id = manager.current_run_id
    with pytest.raises(NotFoundError, match="has no stored model"):
        manager.download_model(run_id)
    with pytest.raises(InvalidInputError, match="run_id, or by run_name"):
        manager.download_model()
    with pytest.raises(InvalidInputError, match="run_id, or by run_name"):
        manager.download_model(run_id, run_name="x")
    with pytest.raises(NotFoundError, match=r"no run of .* is named 'nobody'"):
        manager.download_model(run_name="nobody")
    assert manager.download_model(experiment_name="nowhere", run_name="x") is None
    assert "no experiment is named 'nowhere'" in caplog.text
    with pytest.raises(NotFoundError, match="has no stored model with a main metric"):
        manager.download_best_model()
    with pytest.raises(NotFoundError, match=r"no finished iteration.*no initial model"):
        manager.download_last_model()
    with pytest.raises(NotFoundError, match="has no initial model"):
        manager.download_initial_model()
    assert not manager.is_initial_run(empty)
    assert manager.get_last_model_url() is None


def test_two_runs_of_one_name_must_be_told_apart_by_id(manager):
    for _ in range(2):
        manager.client.create_run(manager.current_iteration_id, run_name='twin\'s "run"')
    manager.client.create_run(manager.current_iteration_id, run_name="twins")
    manager.client.create_run(manager.current_iteration_id, run_name="twins")
    with pytest.raises(InvalidInputError, match=r"2 or more runs of .* are named 'twins'"):
        manager.download_model(run_name="twins")


def test_a_deleted_model_is_not_found_and_no_longer_the_best(manager):
    run_id, _ = train(manager, 0.9, best_only=False)
    train(manager, 0.5, best_only=False)
    assert manager.delete_model(run_id, force=True)
    assert manager.get_best_quality()[1] == 0.5
    assert not manager.model_is_uploaded(run_id)
    with pytest.raises(NotFoundError, match="has no stored model"):
        manager.download_model(run_id)


# -------------------------------------------------------------------------------- initial model


def test_the_initial_model_is_uploaded_once_and_clean_up_never_deletes_it(manager, stored):
    assert not manager.has_initial_model()
    saved = manager.upload_initial_model(classifier(4))
    assert saved
    again = manager.upload_initial_model(classifier(1))
    assert not again
    assert again.run_id == saved.run_id
    assert "has an initial model" in str(again)
    assert manager.has_initial_model()
    assert manager.download_initial_model().get_depth() == 4
    assert manager.download_last_model().get_depth() == 4
    assert manager.is_initial_run(saved.run_id)
    result = manager.delete_model(saved.run_id)
    assert result.outcome == "protected"
    assert "initial" in str(result.reasons)
    train(manager, 0.9)
    manager.finish_iteration()
    manager.delete_previous_iteration(force=True)
    assert stored() == {saved.model_id}
    assert manager.get_last_iteration() is None
    with pytest.raises(InvalidInputError, match="holds the initial model"):
        manager.set_iteration("initial model")


def test_an_initial_model_whose_upload_failed_can_be_uploaded_again(manager, monkeypatch):
    def fail(self, source, path, on_bytes):
        raise OSError("the line is cut")

    with monkeypatch.context() as patch:
        patch.setattr(AzureFolder, "send", fail)
        with pytest.raises(StorageError):
            manager.upload_initial_model(classifier(1))
    assert not manager.has_initial_model()
    assert manager.upload_initial_model(classifier(3))
    assert manager.download_initial_model().get_depth() == 3


def test_each_plugin_has_an_initial_model_of_its_own(sqlite_uri, credentials, plugin_name):
    one, other = (make_manager(sqlite_uri, credentials, f"{plugin_name}-{n}") for n in range(2))
    one.upload_initial_model(classifier(1))
    assert not other.has_initial_model()
    train_run = one.set_iteration("one")
    assert train_run
    one.set_run({"a": 1})
    assert not one.is_initial_run(one.current_run_id)
