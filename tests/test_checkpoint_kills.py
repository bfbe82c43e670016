"""A training that is killed at any request keeps what it was told to, and the next one cleans up.

``EXPMGR_CHECKPOINT_KILLS`` is how many processes are killed (6); a failure names what draws it
again. Also the ends of a process that nobody kills.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from mlflow.entities import LoggedModelStatus
from requests import Session
from seeds import seed_of
from test_crash_and_resume import expire
from trainers import make_manager

from expmgr import AzureBlobCredentials
from expmgr.policies import best, last
from expmgr.tracking.journal import latest_records

KILLS = int(os.environ.get("EXPMGR_CHECKPOINT_KILLS") or 6)
SEED = seed_of("EXPMGR_CHECKPOINT_KILL_SEED", 77)
FIRST = int(os.environ.get("EXPMGR_CHECKPOINT_KILL_FIRST") or 0)
KEEP = best(2) | last(1)
LAST_REQUEST = 160
"""A kill is drawn among so many requests; where there are fewer the process lives."""
_PRELOADED = ("expmgr.azure_blob", "azure.storage.blob", "mlflow.tracking", "trainers")


def die_at(manager, at: int, *, done: bool) -> None:
    """Kill this process at one of its requests to MLflow and storage, before that or after."""
    left = [at]

    def counted(call):
        @functools.wraps(call)
        def wrapped(*args, **kwargs):
            left[0] -= 1
            if not left[0] and not done:
                os.kill(os.getpid(), signal.SIGKILL)
            dies = not left[0]
            answer = call(*args, **kwargs)
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return wrapped

    class Client:
        def __init__(self, client):
            self._client = client

        def __getattr__(self, name):
            found = getattr(self._client, name)
            return counted(found) if callable(found) and not name.startswith("_") else found

    manager._client = Client(manager.client)
    Session.send = counted(Session.send)


def train(uri, credentials, plugin, folder, qualities, at, done):
    """What the process does that will be killed."""
    manager = make_manager(uri, AzureBlobCredentials(**credentials), plugin)
    manager.set_iteration("one")
    manager.set_run({"doomed": True})
    die_at(manager, at, done=done)
    weights = Path(folder) / "weights.bin"
    for step, quality in enumerate(qualities):
        weights.write_bytes(b"%d" % step)
        manager.save_checkpoint(weights, step, {"accuracy": quality}, KEEP)
    manager.finish_run()


def models_of(manager, run_id):
    found = manager.client.search_logged_models(
        [manager.client.get_run(run_id).info.experiment_id], f"source_run_id='{run_id}'"
    )
    return {one.model_id: one for one in found}


def expected(models):
    """What the policy keeps of all that was ever whole: the last, and the best two."""
    ready = [one for one in models.values() if one.status == LoggedModelStatus.READY]
    ready.sort(key=lambda one: one.creation_timestamp)
    ranked = sorted(ready, key=lambda one: -max(value.value for value in one.metrics))
    return {one.model_id for one in [*ready[-1:], *ranked[:2]]}


def whole(manager, run_id, blob_names):
    """READY ones with both their files, of which no deletion was begun."""
    tags = manager.client.get_run(run_id).data.tags
    begun = {
        path.split("/")[-2]
        for path, record in latest_records(run_id, tags).items()
        if record.is_unfinished()
    }
    files = [name.split("/")[-3] for name in blob_names() if "/models/m-" in name]
    return {
        model_id
        for model_id, one in models_of(manager, run_id).items()
        if one.status == LoggedModelStatus.READY
        and "expmgr.model" not in one.tags
        and files.count(model_id) == 2
        and model_id not in begun
    }


@pytest.fixture
def known(azurite, container):
    """The credentials as plain values, for another process."""
    return {
        "account_name": azurite.account_name,
        "account_key": azurite.account_key,
        "container_name": container,
        "account_url": azurite.endpoint,
    }


class Lab:
    def __init__(self, manager):
        self.client = manager.client

    def tags(self, run_id):
        return self.client.get_run(run_id).data.tags


@pytest.mark.timeout(120 + 20 * KILLS)
def test_wherever_a_training_is_killed_no_checkpoint_is_lost_and_the_next_run_cleans_up(
    sqlite_uri, credentials, known, plugin_name, blob_names, tmp_path, put_blob, record_property
):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    killed, number, left = 0, FIRST, 0
    while killed < KILLS:
        draws = (
            f"EXPMGR_CHECKPOINT_KILL_SEED={SEED} EXPMGR_CHECKPOINT_KILL_FIRST={number} "
            "EXPMGR_CHECKPOINT_KILLS=1"
        )
        chance = Random(f"{SEED} {number}")
        qualities = [round(chance.random(), 6) for _ in range(5)]
        plugin = f"{plugin_name} {number}"
        process = context.Process(
            target=train,
            args=(
                *(sqlite_uri, known, plugin, str(tmp_path), qualities),
                *(chance.randint(1, LAST_REQUEST), chance.random() < 0.5),
            ),
        )
        process.start()
        process.join(120)
        assert process.exitcode in {0, -signal.SIGKILL}, draws
        manager = make_manager(sqlite_uri, credentials, plugin)
        manager.set_iteration("one")
        (doomed,) = manager.client.search_runs([manager.current_iteration_id])
        run_id = doomed.info.run_id
        before = models_of(manager, run_id)
        there = whole(manager, run_id, blob_names)
        assert expected(before) <= there, f"lost: {draws}"
        left += bool(_with_files(before, blob_names) - expected(before))
        if process.exitcode == 0:
            assert expected(before) == there, draws
        else:
            killed += 1
        check_next_run(manager, run_id, blob_names, tmp_path, put_blob, draws)
        number += 1
        assert number - FIRST < 5 * KILLS + 5, "hardly anything was killed"
    record_property("note", f"{left} of {number - FIRST} left something")
    if KILLS >= 6:
        assert left, "none of the killed left anything"


def _with_files(models, blob_names):
    return {name.split("/")[-3] for name in blob_names() if "/models/m-" in name} & set(models)


def check_next_run(manager, run_id, blob_names, tmp_path, put_blob, draws):
    """Nothing goes while the run counts as under way; once it has ended, exactly the rest goes."""
    client = manager.client
    living = client.create_run(manager.current_iteration_id).info.run_id
    upload = client.create_logged_model(
        manager.current_iteration_id,
        source_run_id=living,
        tags={"expmgr.checkpoint": '["last", 1]', "expmgr.files": "2"},
    )
    place = upload.artifact_location.split("windows.net/")[-1]
    put_blob(f"{place}/weights.bin")
    if client.get_run(run_id).info.status == "RUNNING":
        before = _with_files(models_of(manager, run_id), blob_names)
        save_one(manager, tmp_path)
        assert _with_files(models_of(manager, run_id), blob_names) == before, draws
        client.set_terminated(run_id, "KILLED")
        expire(Lab(manager), run_id)
    save_one(manager, tmp_path)
    after = models_of(manager, run_id)
    there = whole(manager, run_id, blob_names)
    assert there == _with_files(after, blob_names) == expected(after), draws
    assert any(upload.model_id in name for name in blob_names()), "another one's upload went"
    assert client.get_logged_model(upload.model_id).status == LoggedModelStatus.PENDING
    client.set_terminated(living, "FAILED")


def save_one(manager, tmp_path):
    manager.set_run({"next": str(Random().random())})
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"next")
    manager.save_checkpoint(weights, 0, {"accuracy": 0.0}, KEEP, wait=True)
    manager.finish_run()


# ---------------------------------------------------------------------------- ends of a process

PROGRAM = """
import json, os, sys
from pathlib import Path
from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend

given = json.loads(sys.argv[1])
manager = ExperimentsManagerWithAzureBlobBackend(
    tracking_uri=given["uri"],
    azure_blob_credentials=AzureBlobCredentials(**given["credentials"]),
    main_metric="accuracy",
    plugin_name=given["plugin"],
)
manager.set_iteration("one")
manager.set_run({})
weights = Path(given["folder"]) / "weights.bin"
weights.write_bytes(b"x" * 100_000)
handle = manager.save_checkpoint(weights, 0, {"accuracy": 0.5})
"""


@pytest.mark.parametrize(
    "end",
    [
        "",
        "raise ZeroDivisionError",
        # A forked child, as a DataLoader's worker is, waits for no thread that it does not have.
        "child = os.fork()\nif not child:\n    sys.exit(0)\nassert os.waitpid(child, 0)[1] == 0",
    ],
    ids=["forgotten", "raises", "forks"],
)
def test_a_process_that_ends_waits_for_its_checkpoint(
    end, known, sqlite_uri, plugin_name, tmp_path, credentials
):
    given = {
        "uri": sqlite_uri,
        "credentials": known,
        "plugin": plugin_name,
        "folder": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + end, json.dumps(given)],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == ("raise" in end), done.stderr
    manager = make_manager(sqlite_uri, credentials, plugin_name)
    manager.set_iteration("one")
    (stored,) = manager.client.search_logged_models([manager.current_iteration_id])
    assert stored.status == LoggedModelStatus.READY, done.stderr
