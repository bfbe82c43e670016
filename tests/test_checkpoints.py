"""`save_checkpoint`: what is there afterwards is what ``keep`` says, and nothing else went."""

from __future__ import annotations

import gc
import logging
import math
import threading
import weakref
from dataclasses import replace

import pytest
from beats import HOUR, Beats
from mlflow.entities import LoggedModelStatus
from trainers import classifier, count_calls, make_manager

from expmgr import (
    ExperimentsManager,
    InvalidInputError,
    MetricValue,
    RunError,
    StorageError,
    TransferCancelledError,
)
from expmgr.policies import best, larger_than, last
from expmgr.storage.transfer import AzureFolder
from expmgr.tracking.journal import read_records, write_record


@pytest.fixture
def manager(sqlite_uri, credentials, plugin_name):
    manager = make_manager(sqlite_uri, credentials, plugin_name)
    manager.set_iteration("one")
    manager.set_run({"depth": 2})
    return manager


@pytest.fixture
def weights(tmp_path):
    """A trainer's file, which it writes over and over."""
    path = tmp_path / "trainer" / "weights.bin"
    path.parent.mkdir()
    path.write_bytes(b"before")
    return path


@pytest.fixture
def stored(blob_names):
    """A function: the ids of the models of which any file lies in the container."""
    return lambda: {name.split("/")[-3] for name in blob_names() if "/models/m-" in name}


@pytest.fixture
def held(monkeypatch):
    """Uploads wait for ``held.go``; ``held.begun`` tells that one has come so far."""

    class Held:
        go, begun, fail = threading.Event(), threading.Event(), None

    send = AzureFolder.send

    def wait(self, source, path, on_bytes):
        Held.begun.set()
        assert Held.go.wait(60)
        if Held.fail:
            raise Held.fail
        return send(self, source, path, on_bytes)

    monkeypatch.setattr(AzureFolder, "send", wait)
    yield Held
    Held.go.set()


def save(manager, path, qualities, **options):
    """Checkpoints of steps 0, 10, 20 ... one after another; returns their ids by step."""
    options = {"wait": True, **options}
    ids = {}
    for number, quality in enumerate(qualities):
        step = 10 * number
        path.write_bytes(b"%d" % step)
        ids[step] = manager.save_checkpoint(path, step, {"accuracy": quality}, **options)
    return {step: handle.wait().model_id for step, handle in ids.items()}


def ready(manager, run_id=None):
    run_id = run_id or manager.current_run_id
    experiment = manager.client.get_run(run_id).info.experiment_id
    found = manager.client.search_logged_models([experiment], f"source_run_id='{run_id}'")
    return {
        one.model_id
        for one in found
        if one.status == LoggedModelStatus.READY and "expmgr.model" not in one.tags
    }


# ------------------------------------------------------------------------------------ what stays


@pytest.mark.parametrize(
    ("keep", "steps"),
    [
        (best(2) | last(1), {10, 30, 40}),
        (last(2), {10, 30, 40}),  # the best of the experiment is protected
        (best(1) & last(3), {10}),
        (None, {0, 10, 20, 30, 40}),
    ],
)
def test_exactly_what_keep_says_is_there(manager, weights, stored, keep, steps):
    ids = save(manager, weights, [0.1, 0.9, 0.3, 0.5, 0.2], keep=keep)
    expected = {ids[step] for step in steps}
    assert ready(manager) == stored() == expected


def test_the_default_keeps_the_best_three_and_the_last_and_by_loss_the_smallest(
    sqlite_uri, credentials, plugin_name, weights, stored
):
    manager = make_manager(sqlite_uri, credentials, plugin_name, main_metric="loss", is_loss=True)
    manager.set_iteration("one")
    manager.set_run({})
    ids = []
    for step, loss in enumerate([0.4, math.nan, 0.1, 0.2, math.nan, 0.3, 0.9]):
        ids.append(manager.save_checkpoint(weights, step, {"loss": loss}))
    manager.finish_run()
    kept = {step for step, one in enumerate(ids) if one.result.model_id in stored()}
    assert kept == {2, 3, 5, 6}, "NaN, which MLflow reads back as a loss of 0, is never the best"


def test_what_was_not_measured_is_never_the_best(manager, weights, stored):
    ids = save(manager, weights, [0.1, None, None, 0.2, None])
    assert stored() == {ids[step] for step in (0, 30, 40)}
    manager.finish_run()
    assert manager.runs()["metrics.accuracy"].tolist() == [0.2], "None is not logged"


def test_equal_ones_stay_together(manager, weights, stored):
    ids = save(manager, weights, [0.5, 0.5, 0.1, 0.5], keep=best(1))
    assert stored() == {ids[0], ids[10], ids[30]}


def test_two_of_one_step_are_each_as_good_as_its_own_metrics(manager, weights, stored):
    ids = []
    for quality in (0.9, 0.1, 0.8):
        handle = manager.save_checkpoint(weights, 7, {"accuracy": quality}, best(2), wait=True)
        ids.append(handle.wait().model_id)
    assert stored() == {ids[0], ids[2]}


def test_a_policy_that_keeps_none_takes_none(manager, weights, stored, caplog):
    ids = save(manager, weights, [0.5, 0.1], keep=best(1) & last(1))
    assert stored() == set(ids.values())
    assert "keeps none of its checkpoints" in caplog.text


def test_models_of_other_means_are_never_taken(manager, weights, stored, tmp_path):
    manager.save_metric(MetricValue("accuracy", 0.01))
    saved = manager.save_model(classifier(), best_only=False)
    (tmp_path / "MLmodel").write_text("flavors: {}")
    other = manager.client.create_logged_model(
        manager.current_iteration_id, name="checkpoint-3", source_run_id=manager.current_run_id
    )
    ids = save(manager, weights, [0.2, 0.3, 0.4, 0.5], keep=last(1))
    assert stored() == {saved.model_id, ids[30]}
    assert manager.client.get_logged_model(other.model_id).status == LoggedModelStatus.PENDING


def test_a_better_model_supersedes_no_checkpoint(manager, weights, stored):
    ids = save(manager, weights, [0.2, 0.9], keep=best(1))
    manager.save_metric(MetricValue("accuracy", 0.95))
    saved = manager.save_model(classifier())
    assert saved
    assert not saved.superseded
    assert stored() == {ids[10], saved.model_id}


def test_protected_ones_stay_and_the_log_says_so(manager, weights, stored, caplog):
    ids = save(manager, weights, [0.5, 0.6], keep=None)
    manager.pin(ids[0], "for the paper")
    manager.client.create_registered_model(f"of {manager.plugin_name}")
    location = manager.client.get_logged_model(ids[10]).artifact_location
    manager.client.create_model_version(f"of {manager.plugin_name}", location)
    with caplog.at_level(logging.WARNING, "expmgr"):
        handle = manager.save_checkpoint(weights, 20, {"accuracy": 0.7}, last(1), wait=True)
    assert stored() == {*ids.values(), handle.result.model_id}
    assert [one.outcome for one in handle.result.kept] == ["protected"] * 2
    assert "pinned" in caplog.text
    assert "registered" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "expmgr"):
        manager.save_checkpoint(weights, 30, {"accuracy": 0.8}, last(1), wait=True)
    assert not caplog.text, "said once"


def test_the_best_of_the_iteration_goes_only_where_one_as_good_stays(manager, weights, stored):
    ids = save(manager, weights, [0.9, 0.5], keep=last(1))
    assert stored() == set(ids.values()), "best of its experiment, though not the last"
    ids[20] = manager.save_checkpoint(weights, 20, {"accuracy": 0.9}, last(1), wait=True)
    assert stored() == {ids[20].result.model_id}


def end_and_begin(manager, weights, status):
    """End the run, and save a checkpoint in the next one; returns that one's id."""
    manager.client.set_terminated(manager.current_run_id, status)
    manager._forget_run()
    manager.set_run({"next": status})
    return manager.save_checkpoint(weights, 0, {"accuracy": 0.99}, wait=True).result.model_id


@pytest.mark.parametrize(("status", "goes"), [("FINISHED", False), ("KILLED", True)])
def test_only_a_dead_run_is_cleaned_up_after(manager, weights, stored, status, goes):
    ids = save(manager, weights, [0.5, 0.6], keep=None)
    manager.pin(ids[0], "for now")
    ids[20] = manager.save_checkpoint(weights, 20, {"accuracy": 0.7}, last(1), wait=True)
    ids[20] = ids[20].result.model_id
    manager.unpin(ids[0])
    assert stored() == {ids[0], ids[20]}
    new = end_and_begin(manager, weights, status)
    assert stored() == {new, ids[20], *([] if goes else [ids[0]])}


def test_what_somebody_restored_stays(manager, weights, stored, put_blob):
    ids = save(manager, weights, [0.5, 0.6], keep=last(1))
    run_id = manager.current_run_id
    (record,) = read_records(run_id, manager.client.get_run(run_id).data.tags)
    assert ids[0] in record.locations[0].path
    for name in ("MLmodel", "weights.bin"):
        put_blob(f"{record.locations[0].path}/{name}")
    write_record(manager.client, replace(record, state="restored"))
    manager.client.delete_logged_model_tag(ids[0], "expmgr.model")
    ids[20] = manager.save_checkpoint(weights, 20, {"accuracy": 0.7}, last(1), wait=True)
    ids[20] = ids[20].result.model_id
    assert stored() == {ids[0], ids[20]}
    assert {ids[0], ids[20]} < {end_and_begin(manager, weights, "KILLED"), *stored()}


def test_one_that_is_not_there_whole_takes_no_place(manager, weights, stored, azurite, container):
    from azure.storage.blob import ContainerClient

    ids = save(manager, weights, [0.9, 0.5], keep=best(2))
    with ContainerClient.from_connection_string(azurite.connection_string, container) as client:
        for name in client.list_blob_names():
            if ids[0] in name and name.endswith("weights.bin"):
                client.delete_blob(name)
    handle = manager.save_checkpoint(weights, 20, {"accuracy": 0.7}, best(2), wait=True)
    assert {ids[10], handle.result.model_id} <= stored(), "two whole ones, as keep says"


def test_what_is_asked_of_the_tracking_server(manager, weights):
    save(manager, weights, [0.5, 0.6], keep=best(1))
    client = count_calls(manager)
    manager.save_checkpoint(weights, 20, {"accuracy": 0.7, "f1": 0.5}, keep=None, wait=True)
    assert client.calls == [
        *("create_logged_model", "log_outputs", "log_batch", "finalize_logged_model"),
        *("search_logged_models", "get_run"),
    ]


# ---------------------------------------------------------------------------------- what is stored


def test_it_is_a_logged_model_of_the_run_with_its_step_and_metrics(manager, weights):
    saved = manager.save_checkpoint(weights, 500, {"accuracy": 0.7, "f1": 0.6}, wait=True).result
    model = manager.client.get_logged_model(saved.model_id)
    assert (model.name, model.source_run_id) == ("checkpoint-500", manager.current_run_id)
    assert {(one.key, one.value, one.step) for one in model.metrics} == {
        ("accuracy", 0.7, 500),
        ("f1", 0.6, 500),
    }
    row = manager.models().iloc[0]
    assert (row["model"], row["step"], row["quality"]) == ("stored", 500, 0.7)
    run = manager.client.get_run(manager.current_run_id)
    assert run.data.metrics == {"accuracy": 0.7, "f1": 0.6}
    assert saved.quality == 0.7
    assert saved.files == 2


def test_what_training_logged_stands_there_once(manager, weights):
    manager.save_metric(MetricValue("accuracy", 0.7), step=3)
    manager.save_checkpoint(weights, 3, {"accuracy": 0.7}, wait=True)
    manager.save_metric(MetricValue("accuracy", 0.8))
    history = manager.client.get_metric_history(manager.current_run_id, "accuracy")
    assert [(one.step, one.value) for one in history] == [(3, 0.7), (4, 0.8)]
    assert manager.get_quality() == 0.8


def test_a_file_comes_back_as_a_file_and_a_folder_as_a_folder(manager, weights, tmp_path):
    manager.save_checkpoint(weights, 1, {"accuracy": 0.5}, wait=True)
    path = manager.download_model(manager.current_run_id)
    gc.collect()
    assert (path.name, path.read_bytes()) == ("weights.bin", b"before")
    folder = tmp_path / "checkpoint-2"
    (folder / "optimizer").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"w")
    (folder / "optimizer" / "state.pt").write_bytes(b"o")
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "last.bin").symlink_to(folder / "model.safetensors")
    manager.save_checkpoint(folder, 2, {"accuracy": 0.6}, wait=True, link=True)
    found = manager.download_best_model(destination=tmp_path / "down")
    names = {one.relative_to(found).as_posix() for one in found.rglob("*") if one.is_file()}
    assert names == {"MLmodel", "model.safetensors", "last.bin", "optimizer/state.pt"}
    assert sorted(one.name for one in folder.iterdir()) == [
        *("again", "last.bin", "model.safetensors", "optimizer"),
    ]


def test_a_model_and_a_folder_that_mlflow_saved_load_as_what_they_are(manager, tmp_path):
    import mlflow

    manager.save_checkpoint(classifier(), 1, {"accuracy": 0.5}, wait=True)
    assert manager.download_best_model().get_depth() == 2
    folder = tmp_path / "saved"
    mlflow.sklearn.save_model(
        classifier(1),
        folder,
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )
    card = (folder / "MLmodel").read_bytes()
    saved = manager.save_checkpoint(folder, 2, {"accuracy": 0.6}, link=True, wait=True).result
    assert saved.flavor in {"python_function", "sklearn"}
    assert manager.download_best_model().get_depth() == 1
    assert (folder / "MLmodel").read_bytes() == card, "the trainer's own is as it was"


def test_a_run_that_somebody_ended_takes_no_checkpoint_and_loses_none(manager, weights, stored):
    beats = Beats()
    manager.finish_run()
    manager._pace = beats.pace
    manager.set_run({"asleep": True})
    ids = save(manager, weights, [0.5, 0.6], keep=last(1))
    manager.client.set_terminated(manager.current_run_id, "KILLED")
    beats.ahead = 48 * HOUR
    with pytest.raises(RunError, match=r"step 20.*KILLED"):
        manager.save_checkpoint(weights, 20, {"accuracy": 0.7}, last(1), wait=True)
    assert stored() == {ids[10]}


# ------------------------------------------------------------------------- while training goes on


def test_it_returns_at_once_and_stores_what_was_there_then(manager, weights, held, tmp_path):
    handle = manager.save_checkpoint(weights, 0, {"accuracy": 0.5})
    assert held.begun.wait(60)
    assert (handle.done, handle.result, handle.error) == (False, None, None)
    with pytest.raises(TimeoutError, match="step 0"):
        handle.wait(0.0)
    weights.write_bytes(b"after")
    held.go.set()
    assert handle.wait()
    assert handle.done
    found = manager.download_best_model(destination=tmp_path / "down")
    assert found.read_bytes() == b"before"
    assert [one.name for one in weights.parent.iterdir()] == ["weights.bin"]


def test_the_next_save_and_the_end_of_the_run_wait_for_it(manager, weights, held, stored):
    first = manager.save_checkpoint(weights, 0, {"accuracy": 0.5}, last(1))
    assert held.begun.wait(60)
    threading.Timer(0.05, held.go.set).start()
    second = manager.save_checkpoint(weights, 1, {"accuracy": 0.5}, last(1))
    assert first.done
    run_id = manager.current_run_id
    manager.finish_run()
    assert second.done
    assert stored() == {second.result.model_id} == ready(manager, run_id)


def test_an_error_is_raised_by_the_next_call_once_and_loses_nothing(manager, weights, held, stored):
    held.go.set()
    before = save(manager, weights, [0.5], keep=last(1))
    held.fail = PermissionError("no")
    failed = manager.save_checkpoint(weights, 10, {"accuracy": 0.6}, last(1))
    with pytest.raises(StorageError, match=r"step 10 of run \w+ was not stored.*weights.bin"):
        manager.save_checkpoint(weights, 20, {"accuracy": 0.7}, last(1))
    assert stored() == set(before.values())
    assert isinstance(failed.error, StorageError)
    held.fail = None
    again = manager.save_checkpoint(weights, 20, {"accuracy": 0.7}, last(1))
    manager.finish_run()
    assert stored() == {again.result.model_id}


def test_an_error_of_the_last_is_raised_by_finish_run_and_the_run_stays(manager, weights, held):
    held.go.set()
    held.fail = PermissionError("no")
    manager.save_checkpoint(weights, 10, {"accuracy": 0.6})
    run_id = manager.current_run_id
    with pytest.raises(StorageError, match="step 10"):
        manager.finish_run()
    assert manager.current_run_id == run_id
    manager.finish_run()
    assert manager.client.get_run(run_id).info.status == "FINISHED"


def test_an_error_of_the_last_fails_a_run_of_a_with_block_and_is_not_the_next_one_s(
    manager, weights, held
):
    manager.finish_run()
    held.go.set()
    held.fail = PermissionError("no")
    with pytest.raises(StorageError, match="step 10"), manager.run({"depth": 3}) as run:
        manager.save_checkpoint(weights, 10, {"accuracy": 0.6})
    assert manager.client.get_run(run.run_id).info.status == "FAILED"
    with pytest.raises(ZeroDivisionError), manager.run({"depth": 4}):
        1 / manager.save_checkpoint(weights, 10, {"accuracy": 0.6}).step.real.imag
    held.fail = None
    with manager.run({"depth": 5}):
        manager.save_checkpoint(weights, 10, {"accuracy": 0.6})


def test_an_error_that_was_told_is_not_told_again(manager, weights, held):
    held.go.set()
    held.fail = PermissionError("no")
    with pytest.raises(StorageError):
        manager.save_checkpoint(weights, 10, {"accuracy": 0.6}).wait()
    with pytest.raises(StorageError):
        manager.save_checkpoint(weights, 20, {"accuracy": 0.6}, wait=True)
    manager.finish_run()


def test_an_upload_can_be_given_up(manager, weights, held, stored):
    cancel = threading.Event()
    cancel.set()
    held.go.set()
    with pytest.raises(TransferCancelledError):
        manager.save_checkpoint(weights, 10, {"accuracy": 0.6}, wait=True, cancel=cancel)
    assert not stored()


def test_a_half_that_failed_goes_with_the_next(manager, tmp_path, stored, monkeypatch):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name in ("a.bin", "b.bin"):
        (folder / name).write_bytes(b"x")
    send = AzureFolder.send

    def fail(self, source, path, on_bytes):
        if path == "MLmodel":
            raise PermissionError(path)
        return send(self, source, path, on_bytes)

    monkeypatch.setattr(AzureFolder, "send", fail)
    with pytest.raises(StorageError):
        manager.save_checkpoint(folder, 1, {"accuracy": 0.5}, wait=True)
    assert len(stored()) == 1
    monkeypatch.undo()
    handle = manager.save_checkpoint(folder, 2, {"accuracy": 0.5}, wait=True)
    assert stored() == {handle.result.model_id}


def test_a_manager_is_let_go_when_its_checkpoint_is_stored(
    sqlite_uri, credentials, plugin_name, weights
):
    manager = make_manager(sqlite_uri, credentials, plugin_name)
    manager.set_iteration("one")
    manager.set_run({})
    handle = manager.save_checkpoint(weights, 1, {"accuracy": 0.5})
    handle.wait()
    manager.finish_run()
    alive = weakref.ref(manager)
    del manager
    gc.collect()
    assert alive() is None
    assert handle.result


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("{path}", -1, {"accuracy": 0.5}), "a step is a whole number"),
        (("{path}", True, {"accuracy": 0.5}), "a step is a whole number"),
        (("{path}", 1, 0.5), "metrics are a dict"),
        (("{path}", 1, {"accuracy": "high"}), "takes one real number"),
        (("{path}", 1, {"f1": 0.5}), r"ranks checkpoints by 'accuracy'.*step 1 \(f1\)"),
        (("{path}", 1, {"accuracy": 0.5}, 3), "keep must be a policy of what stays"),
        (("{path}", 1, {"accuracy": 0.5}, larger_than("1GB")), "keep must be a policy"),
        (("{path}.no", 1, {"accuracy": 0.5}), "there is no file or folder"),
        (("{folder}", 1, {"accuracy": 0.5}), "is an empty folder"),
        ((object(), 1, {"accuracy": 0.5}), "no MLflow flavour"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_stored(
    manager, weights, arguments, says, blob_names, tmp_path
):
    (tmp_path / "empty").mkdir()
    what, *rest = arguments
    if isinstance(what, str):
        what = what.format(path=weights, folder=tmp_path / "empty")
    with pytest.raises(InvalidInputError, match=says):
        manager.save_checkpoint(what, *rest)
    assert not blob_names()
    assert not manager.client.search_logged_models([manager.current_iteration_id])


def test_without_a_run_or_without_credentials_it_says_what_to_do(
    manager, sqlite_uri, plugin_name, weights, artifact_root
):
    manager.finish_run()
    with pytest.raises(InvalidInputError, match="save_checkpoint needs a run under way"):
        manager.save_checkpoint(weights, 1, {})
    plain = make_manager(sqlite_uri, None, f"{plugin_name} plain", kind=ExperimentsManager)
    plain.client.create_experiment(f"{plugin_name} plain / one", artifact_location=artifact_root)
    plain.set_iteration("one")
    plain.set_run({})
    with pytest.raises(InvalidInputError, match="or keep=None for all of them"):
        plain.save_checkpoint(weights, 1, {"accuracy": 0.5})
    assert plain.save_checkpoint(weights, 1, {}, None, wait=True).result
