"""Parts on real servers: models predict as before, bytes stay, a killed part is resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from dataclasses import replace

import pytest
from azure.storage.blob import BlobLeaseClient
from lab import Lab
from trainers import classifier, make_manager

from expmgr.storage.blob_store import BlobStore
from expmgr.tracking.journal import read_part_records, write_record
from expmgr.training.stored import FILES_TAG, fault, stored_models

TRAINER = {
    "optimizer.pt": b"o" * 600,
    "scheduler.pt": b"s",
    "rng_state.pth": b"r",
}
LAYOUTS = {
    "trainer": TRAINER,
    "deepspeed": {
        "global_step5/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt": b"o" * 1200,
        "global_step5/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt": b"o" * 1200,
    },
    "fsdp": {
        "optimizer_0/.metadata": b"m",
        "optimizer_0/__0_0.distcp": b"o" * 300,
        "optimizer_0/__1_0.distcp": b"o" * 300,
    },
}
BESIDE = {
    "trainer_state.json": b"{}",
    "training_args.bin": b"a",
    "tokenizer.json": b"{}",
    "config.json": b"{}",
    "latest": b"global_step5",
    "zero_to_fp32.py": b"#",
    "global_step5/mp_rank_00_model_states.pt": b"w" * 400,
    "pytorch_model_fsdp_0/__0_0.distcp": b"w" * 100,
}


@pytest.fixture
def lab(backend, credentials, blob_names, tmp_path, plugin_name):
    return Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)


def saved_classifier(lab, extra):
    """A scikit-learn model as MLflow saves it, with more files in its folder."""
    import mlflow.sklearn

    folder = lab.folder / uuid.uuid4().hex
    mlflow.sklearn.save_model(
        classifier(3), folder, pip_requirements=["scikit-learn"], serialization_format="cloudpickle"
    )
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return files | extra


def contents(credentials):
    store = BlobStore(credentials)
    client = store.container_client()
    found = {name: client.download_blob(name).readall() for name in list(client.list_blob_names())}
    store.close()
    return found


def predictions(lab, uri):
    import mlflow
    from sklearn.datasets import load_iris

    mlflow.set_tracking_uri(lab.backend.tracking_uri)
    features, _ = load_iris(return_X_y=True)
    return mlflow.sklearn.load_model(uri).predict(features).tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_model_without_its_optimizer_states_predicts_the_same(lab, credentials, layout):
    states = LAYOUTS[layout]
    run_id = lab.run(0.99)  # the best: its weights are protected, these states are not
    model_id = lab.logged_model(run_id, saved_classifier(lab, BESIDE | states))
    beside = {f"checkpoint-5/{name}": content for name, content in (BESIDE | states).items()}
    lab.artifacts(run_id, beside | {"plot.png": b"p"})
    lab.with_model(0.1)
    uri = f"models:/{model_id}"
    before, predicted = contents(credentials), predictions(lab, uri)
    manager = lab.manager()

    plan = manager.plan_deletion(run_id, part="optimizer")
    assert plan[run_id].files == 2 * len(states)
    (result,) = manager.delete_models(plan, progress=False).results

    assert (result.outcome, result.files) == ("deleted", 2 * len(states))
    after = contents(credentials)
    gone = {name.split("/artifacts/", 1)[1] for name in before.keys() - after.keys()}
    assert gone == {*states, *(f"checkpoint-5/{name}" for name in states)}
    assert {name: content for name, content in before.items() if name in after} == after
    assert predictions(lab, uri) == predicted
    table = manager.runs().set_index("run_id")
    assert table.loc[run_id, "model"] == "stored"
    assert manager.delete_model(run_id, plan=plan).outcome == "not_found"
    assert contents(credentials) == after


def test_checkpoints_the_rest_and_patterns_go_by_the_planned_names(lab, credentials):
    lab.best()
    run_id = lab.run(0.2)
    lab.history_model(run_id, "model", saved_classifier(lab, {}))
    best = json.dumps({"best_model_checkpoint": "out/checkpoint-20"}).encode()
    checkpoints = {
        f"out/checkpoint-{step}/{name}": content
        for step in (10, 20, 30, 40)
        for name, content in {"model.safetensors": b"w", "trainer_state.json": best}.items()
    }
    lab.artifacts(run_id, checkpoints | {"plots/ü b.png": b"p", "plots/c%2Fd.png": b"p"})
    uri, manager = f"runs:/{run_id}/model", lab.manager()
    predicted = predictions(lab, uri)

    def gone(part):
        before = contents(credentials)
        plan = manager.plan_deletion(run_id, part=part)
        assert manager.delete_models(plan, progress=False).results[0]
        after = contents(credentials)
        assert {name: content for name, content in before.items() if name in after} == after
        return {name.split("/artifacts/", 1)[1] for name in before.keys() - after.keys()}

    assert gone("checkpoints") == {name for name in checkpoints if "-10/" in name or "-30/" in name}
    assert gone("plots/ü*") == {"plots/ü b.png"}
    assert len(gone("other")) == 5
    assert predictions(lab, uri) == predicted


KILLED = """
import os, sys
from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend
uri, container, plugin, run_id = sys.argv[1:]
manager = ExperimentsManagerWithAzureBlobBackend(
    tracking_uri=uri, azure_blob_credentials=AzureBlobCredentials.from_env(container),
    main_metric="accuracy", plugin_name=plugin,
)
plan = manager.plan_deletion(run_id, part="optimizer")
die = lambda seen: os._exit(9) if seen.files else None
manager.delete_models(plan, progress=False, on_progress=die)
"""


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_process_that_is_really_killed_leaves_a_part_that_resume_finishes(
    lab, azurite, container
):
    lab.best()
    run_id = lab.run(0.1)
    many = {f"{at}/optimizer.pt": b"o" for at in range(300)}
    lab.logged_model(run_id, saved_classifier(lab, many))
    before = set(lab.blob_names())
    held = next(name for name in before if name.endswith("/150/optimizer.pt"))
    lease = lab.manager().blob_store.container_client().get_blob_client(held).acquire_lease()
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, lab.backend.tracking_uri, container, lab.plugin, run_id],
        env={**os.environ, "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string},
        check=False,
        capture_output=True,
        timeout=120,
    )
    assert ended.returncode == 9, ended.stderr.decode()
    # Azurite has closed the connection by now, and nothing here tries twice.
    fresh = lab.manager().blob_store.container_client().get_blob_client(held)
    BlobLeaseClient(fresh, lease_id=lease.id).release()
    assert 0 < len(before - set(lab.blob_names())) < len(many)
    (record,) = read_part_records(run_id, lab.tags(run_id))
    assert (record.state, record.part) == ("deleting", "optimizer")
    manager = lab.manager()
    assert manager.runs().set_index("run_id").loc[run_id, "model"] == "stored"
    write_record(lab.client, replace(record, deadline=1))
    told = manager.plan_deletion(run_id, part="optimizer")[run_id].summary
    assert "was interrupted" in told

    (result,) = manager.resume_deletions().results

    assert result.outcome == "deleted"
    gone = {name.split("/artifacts/", 1)[1] for name in before - set(lab.blob_names())}
    assert gone == set(many)


def test_the_trainer_takes_a_model_without_its_optimizer_states_for_whole(
    sqlite_uri, credentials, plugin_name, blob_names
):
    manager = make_manager(sqlite_uri, credentials, plugin_name)
    manager.set_iteration("one")
    manager.set_run({"a": 1})
    saved = manager.save_model(classifier(2), best_only=False)
    manager.finish_run()
    client = manager.client
    location = client.get_logged_model(saved.model_id).artifact_location
    with_states = len(blob_names()) + 1
    store = manager.blob_store
    name = f"{store.addresses.path_of(location)}/optimizer.pt"
    store.container_client().upload_blob(name, b"o" * 100)
    client.set_logged_model_tags(saved.model_id, {FILES_TAG: str(with_states)})

    plan = manager.plan_deletion(saved.model_id, part="optimizer")
    assert manager.delete_models(plan, progress=False).results[0]

    (model,) = stored_models(manager._desk(), manager.current_iteration_id)
    run = client.get_run(saved.run_id)
    names = {name.split("/artifacts/", 1)[1] for name in blob_names()}
    assert model.files == with_states
    assert fault(model, run, names) == ""
    assert "files are left" in fault(model, run, names - {next(iter(names - {"MLmodel"}))})
