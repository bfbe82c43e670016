from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
from beats import HOUR, Beats
from moved_clock import Clock
from servers import free_port
from trainers import classifier, count_calls, make_manager, train

from expmgr import ExperimentsManager, MetricValue, RunError
from expmgr.catalog.lease import (
    LEASE_LASTS,
    LEASE_TAG,
    active_words,
    interrupted_since,
    lease_of,
    lease_text,
)
from expmgr.manager import _connect_impatiently
from expmgr.training import killing
from expmgr.training import lease as leases

AT = 1_795_969_157_042
SRC = str(Path(__file__).parent.parent)


# ------------------------------------------------------------------------------------ what it says


@pytest.mark.parametrize("at", [AT, AT + 958, 0, AT // 1000 * 1000])
def test_a_lease_reads_back_as_the_time_it_was_written(at):
    assert lease_of({LEASE_TAG: lease_text(at)}, 0) == at


def test_a_lease_is_written_in_utc_to_the_millisecond():
    assert lease_text(AT) == "2026-11-29T16:19:17.042Z"


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-11-29", "2026-02-30T16:19:17.042Z", "2026-11-29T16:19:17.042Z x"],
)
def test_what_is_no_lease_leaves_a_run_active_for_ever(text):
    assert interrupted_since("RUNNING", {LEASE_TAG: text}, 0, AT + 10**12) is None


def test_a_lease_that_was_copied_from_an_older_run_is_none():
    assert lease_of({LEASE_TAG: lease_text(AT)}, AT + 1) is None


def test_a_run_is_interrupted_past_24_hours_and_only_while_it_is_running():
    tags = {LEASE_TAG: lease_text(AT)}
    assert interrupted_since("RUNNING", tags, AT, AT + 24 * HOUR) is None
    assert interrupted_since("RUNNING", tags, AT, AT + 24 * HOUR + 1) == AT
    for status in ("SCHEDULED", "FINISHED", "FAILED", "KILLED"):
        assert interrupted_since(status, tags, AT, AT + 10**12) is None
    assert interrupted_since("RUNNING", {}, AT, AT + 10**12) is None


def test_what_an_active_run_reads():
    tags = {LEASE_TAG: lease_text(AT)}
    assert active_words("r1", "RUNNING", tags, AT, AT + HOUR) == "the run is RUNNING"
    assert active_words("r1", "RUNNING", {}, AT, AT + 10**12) == "the run is RUNNING"
    assert active_words("r1", "RUNNING", tags, AT, AT + 25 * HOUR) == (
        'interrupted: no sign of life since 2026-11-29 16:19 UTC; mark_killed("r1") ends it'
    )


# ------------------------------------------------------------------------------------- kept alive


@pytest.fixture
def beats():
    return Beats()


@pytest.fixture
def make(sqlite_uri, credentials, plugin_name, beats):
    def make(**options):
        manager = make_manager(sqlite_uri, credentials, plugin_name, **options)
        manager._pace = beats.pace
        manager.set_iteration("one")
        return manager

    return make


@pytest.fixture
def manager(make):
    return make()


def run_of(manager, run_id=None):
    return manager.client.get_run(run_id or manager.current_run_id)


def lease_time(manager, run_id=None):
    run = run_of(manager, run_id)
    return lease_of(run.data.tags, run.info.start_time)


def test_a_lease_is_renewed_until_the_run_ends_and_not_after(manager, beats):
    client = count_calls(manager)
    manager.set_run({"a": 1})
    assert client.calls == ["search_runs", "create_run", "log_batch"], "the lease costs no request"
    run_id, lease = manager.current_run_id, manager._run.lease
    began = run_of(manager).info.start_time
    assert lease_time(manager) == began
    beats.ahead = HOUR
    client.calls.clear()
    beats.renew(lease)
    assert client.calls == ["get_run", "set_tag", "get_run"]
    renewed = lease_time(manager)
    assert renewed >= began + HOUR
    manager.finish_run()
    lease._thread.join(30)
    assert not lease._thread.is_alive()
    lease.renew(manager.client)
    assert lease_time(manager, run_id) == renewed
    assert run_of(manager, run_id).info.status == "FINISHED"


def test_a_save_within_half_a_day_of_the_last_sign_asks_nothing_more(manager, beats):
    manager.set_run({"a": 1})
    beats.ahead = 11 * HOUR
    client = count_calls(manager)
    manager._run.check(client, "a save")
    assert client.calls == []
    beats.ahead = 13 * HOUR
    manager._run.check(client, "a save")
    assert client.calls == ["get_run", "set_tag", "get_run"]


def test_a_renewal_that_fails_is_tried_again_and_reaches_nobody(
    manager, beats, monkeypatch, caplog
):
    manager.set_run({"a": 1})
    first = lease_time(manager)

    def refuse(*_):
        raise OSError("the cable is out")

    with monkeypatch.context() as patch, caplog.at_level(logging.DEBUG, "expmgr"):
        patch.setattr(manager.client, "set_tag", refuse)
        beats.ahead = HOUR
        beats.renew(manager._run.lease)
    (line,) = [one for one in caplog.records if "the cable is out" in one.getMessage()]
    assert line.levelno == logging.DEBUG
    assert lease_time(manager) == first
    beats.renew(manager._run.lease)
    assert lease_time(manager) >= first + HOUR


def test_a_fork_that_goes_on_with_a_run_renews_its_lease_and_does_not_end_it(
    manager, beats, monkeypatch
):
    manager.set_run({"a": 1})
    lease = manager._run.lease
    parents, inbox = lease._thread, lease._inbox
    beats.renew(lease)
    with monkeypatch.context() as patch:
        patch.setattr(leases.os, "getpid", lambda: 1)
        manager._run.check(manager.client, "a save")
        assert lease._thread is not parents
        assert lease._inbox is not inbox
        lease.abandon()
        assert lease._inbox.empty()
        assert not lease.is_ours
    inbox.put("stop")
    parents.join(30)
    assert run_of(manager).info.status == "RUNNING"


def loud(caplog):
    return [one for one in caplog.records if one.name.startswith(("expmgr", "urllib3", "mlflow"))]


@pytest.mark.timeout(120)
def test_over_http_the_thread_renews_and_ends_by_a_client_of_its_own(
    mlflow_server, plugin_name, beats, monkeypatch, capfd
):
    uri = mlflow_server.tracking_uri
    manager = make_manager(uri, None, plugin_name, kind=ExperimentsManager)
    manager._pace = beats.pace
    manager.set_iteration("one")
    manager.set_run({"a": 1})
    lease, client, run_id = manager._run.lease, manager.client, manager.current_run_id
    thread = lease._thread
    monkeypatch.setattr(client, "set_tag", killed)  # patient for minutes, and in use by training
    end, ended_by = leases.end_quietly, []
    monkeypatch.setattr(leases, "end_quietly", lambda by, *of: [ended_by.append(by), end(by, *of)])
    beats.ahead = HOUR
    beats.renew(lease)
    assert lease_time(manager) >= client.get_run(run_id).info.start_time + HOUR
    del manager
    gc.collect()
    thread.join(30)
    assert client.get_run(run_id).info.status == "FAILED"
    assert ended_by[0] is not client
    assert "View run" not in "".join(capfd.readouterr())


def test_a_server_that_is_gone_is_given_up_at_once_and_in_silence(beats, caplog, capfd):
    uri = f"http://127.0.0.1:{free_port()}"
    connect = partial(_connect_impatiently, uri, uri)
    lease = leases.Lease("0" * 32, beats.now(), connect, beats.pace)
    with caplog.at_level(logging.INFO):
        beats.renew(lease)
        lease.abandon()
        lease._thread.join(30)
    assert not lease._thread.is_alive()
    assert loud(caplog) == []
    assert capfd.readouterr().err == ""


def test_the_initial_models_run_has_a_lease_and_gives_it_up(manager):
    saved = manager.upload_initial_model(classifier())
    assert lease_time(manager, saved.run_id) is not None
    assert not [one for one in leases._open if one.run_id == saved.run_id and one._thread.join(30)]


# ------------------------------------------------------------------------------------- interrupted


@pytest.fixture
def clock(monkeypatch, beats):
    """All clocks together: of this machine, of the storage and of the leases."""
    clock = Clock(monkeypatch)
    move = clock.move

    def both(**ahead):
        move(**ahead)
        beats.ahead = int(clock.ahead.total_seconds() * 1000)

    clock.move = both
    return clock


def half_upload(manager, monkeypatch, die=KeyboardInterrupt):
    """Begin a run and upload a model whose process dies before it is READY."""
    from expmgr.training.model_files import ModelFiles

    upload = ModelFiles.upload

    def dies(files, *args):
        upload(files, *args)
        raise die

    manager.set_run({"half": 1})
    manager.save_metric(MetricValue("accuracy", 0.5))
    with monkeypatch.context() as patch:
        patch.setattr(ModelFiles, "upload", dies)
        patch.setattr("expmgr.training.saving._mark_failed", lambda *_: None)
        with pytest.raises(die):
            manager.save_model(classifier())
    (model,) = manager.client.search_logged_models([manager.current_iteration_id])
    assert str(model.status) == "PENDING"
    return manager.current_run_id, model.model_id


def row(table, key, id_):
    (found,) = table[table[key] == id_].to_dict("records")
    return found


def told(manager, run_id, model_id):
    """What table, page's source and plan say of a run's protection, all the same."""
    runs, models = manager.runs_and_models()
    (plan,) = manager.plan_deletion(run_id)
    (of_model,) = manager.plan_deletion(model_id)
    said = {
        str(row(runs, "run_id", run_id)["protected_by"]),
        str(row(models, "model_id", model_id)["protected_by"]),
        "; ".join(plan.reasons),
        "; ".join(of_model.reasons),
    }
    assert row(runs, "run_id", run_id)["status"] == run_of(manager, run_id).info.status
    assert len(said) == 1, said
    return said.pop()


def test_a_dead_run_reads_interrupted_everywhere_stays_and_ends_by_mark_killed(
    make, manager, clock, monkeypatch, blob_names
):
    run_id, model_id = half_upload(manager, monkeypatch)
    kept, _ = train(make(), 0.9, params={"a": 2})
    others = [name for name in blob_names() if model_id not in name]
    assert told(manager, run_id, model_id) == "active: the run is RUNNING"
    with pytest.raises(RunError, match=r"gave a sign of life at .* UTC, so it is taken to be"):
        manager.mark_killed(run_id)
    with pytest.raises(RunError, match="gave a sign of life"):
        manager.mark_killed(run_id, force=True)
    following = manager.follow()
    following.read()
    clock.move(hours=24, minutes=1)
    words = told(manager, run_id, model_id)
    assert words.startswith("active: interrupted: no sign of life since ")
    assert words.endswith(f'UTC; mark_killed("{run_id}") ends it')
    assert str(row(following.refresh().runs, "run_id", run_id)["protected_by"]) == words
    assert manager.delete_model(run_id).outcome == "protected"
    assert any(model_id in name for name in blob_names())

    killed = make().mark_killed(run_id)
    assert killed
    assert (killed.status, [one.outcome for one in killed.leftovers]) == ("KILLED", ["deleted"])
    assert "deleted 1 unfinished upload (" in str(killed)
    assert blob_names() == others
    assert run_of(manager, run_id).info.status == "KILLED"
    (record,) = manager.deletion_log().to_dict("records")
    assert (record["run_id"], record["state"]) == (run_id, "deleted")
    assert run_of(manager, kept).info.status == "FINISHED"

    again = make().mark_killed(run_id)
    assert (bool(again), again.leftovers) == (False, ())
    assert str(again) == f"run {run_id}: had ended before: it is KILLED"


def test_what_a_process_killed_between_storing_and_deleting_left_is_superseded_in_time(
    make, manager, clock, monkeypatch, blob_names
):
    def models():
        return {name.split("/models/")[1][:34] for name in blob_names()}

    _, first = train(make(), 0.5, params={"a": 1})
    with monkeypatch.context() as patch:
        patch.setattr("expmgr.training.saving.supersede", killed)
        manager.set_run({"a": 2})
        manager.save_metric(MetricValue("accuracy", 0.6))
        with pytest.raises(KeyboardInterrupt):
            manager.save_model(classifier())
    dead = manager.current_run_id
    assert len(models()) == 2
    _, third = train(make(), 0.7, params={"a": 3})
    (its,) = models() - {third.model_id}
    assert its != first.model_id, "of a run that ended it goes, of one that reads RUNNING it stays"
    clock.move(days=2)
    assert make().mark_killed(dead).leftovers == ()
    assert its in models(), "it was whole"
    _, fourth = train(make(), 0.8, params={"a": 4})
    assert models() == {fourth.model_id}


def killed(*_args, **_options):
    raise KeyboardInterrupt


def test_what_else_a_killed_run_stored_stays(make, manager, clock, blob_names):
    manager.set_run({"a": 1})
    manager.save_metric(MetricValue("accuracy", 0.7))
    whole = manager.save_model(classifier(), best_only=False)
    run_id = manager.current_run_id
    stored = blob_names()
    clock.move(days=2)
    killed = make().mark_killed(run_id)
    assert (bool(killed), killed.leftovers) == (True, ())
    assert blob_names() == stored
    assert any(whole.model_id in name for name in stored)


def test_an_iteration_with_a_dead_run_stays_and_says_how_that_ends(make, manager, clock):
    manager.set_run({"a": 1})
    run_id, other = manager.current_run_id, make()
    other.finish_iteration()
    clock.move(days=2)
    deletion = other.delete_previous_iteration()
    assert deletion.outcome == "protected"
    assert "interrupted: no sign of life since " in str(deletion)
    assert f'mark_killed("{run_id}") ends it' in str(deletion)
    assert other.mark_killed(run_id)
    assert other.delete_previous_iteration()


def test_a_run_without_a_lease_is_active_for_ever_and_ends_only_by_force(
    manager, clock, blob_names, artifact_root, tmp_path
):
    del artifact_root  # for MLflow's own client
    client = manager.client
    run_id = client.create_run(manager.current_iteration_id).info.run_id
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "weights.bin").write_bytes(b"w" * 100)
    model = client.create_logged_model(manager.current_iteration_id, source_run_id=run_id)
    client.log_model_artifacts(model.model_id, str(tmp_path / "half"))
    clock.move(days=400)
    stored = blob_names()
    assert told(manager, run_id, model.model_id) == "active: the run is RUNNING"
    with pytest.raises(RunError, match=r"has no lease: nothing tells .* force=True"):
        manager.mark_killed(run_id)
    killed = manager.mark_killed(run_id, force=True)
    assert (bool(killed), killed.leftovers, killed.last_sign) == (True, (), None)
    assert manager.mark_killed(run_id).leftovers == ()
    assert blob_names() == stored


def test_a_run_that_ended_by_itself_is_no_error(manager, clock):
    run_id, _ = train(manager, 0.5)
    clock.move(days=2)
    ended = manager.mark_killed(run_id)
    assert (bool(ended), ended.status) == (False, "FINISHED")
    assert run_of(manager, run_id).info.status == "FINISHED"


def test_a_process_that_wakes_after_its_run_was_ended_stores_nothing_and_revives_nothing(
    make, manager, clock, blob_names
):
    manager.set_run({"a": 1})
    manager.save_metric(MetricValue("accuracy", 0.7))
    run_id, lease = manager.current_run_id, manager._run.lease
    clock.move(days=2)
    assert make().mark_killed(run_id)
    ended = run_of(manager)
    with pytest.raises(RunError, match=f"run {run_id} was ended as KILLED by somebody else"):
        manager.save_model(classifier())
    assert blob_names() == []
    lease.renew(manager.client)
    with pytest.raises(RunError, match="was ended as KILLED"):
        manager.finish_run()
    after = run_of(manager, run_id)
    assert after.info.status == "KILLED"
    assert after.info.end_time == ended.info.end_time
    assert after.data.tags == ended.data.tags, "the lease is as it was"
    lease._thread.join(30)
    assert not lease._thread.is_alive()
    assert manager.set_run({"a": 1}) is False, "its params are to be tried again"


def test_a_thread_that_wakes_first_notices_too(make, manager, clock, beats):
    manager.set_run({"a": 1})
    run_id, lease = manager.current_run_id, manager._run.lease
    clock.move(days=2)
    make().mark_killed(run_id)
    tags = run_of(manager).data.tags
    beats._idle.acquire()
    lease._inbox.put("renew")
    lease._thread.join(30)
    assert (lease.ended, run_of(manager).data.tags) == ("KILLED", tags)
    manager.finish_run(as_failed=True)
    assert run_of(manager, run_id).info.status == "KILLED"


@pytest.mark.parametrize("both", [True, False])
def test_an_upload_that_sleeps_for_days_is_not_finalised_once_its_run_was_ended(
    make, manager, clock, monkeypatch, both, blob_names
):
    from expmgr.training.model_files import ModelFiles

    upload = ModelFiles.upload
    killed = []

    def sleeps(files, *args):
        done = upload(files, *args)
        clock.move(days=2, storage=both)
        killed.append(make().mark_killed(manager.current_run_id))
        return done

    manager.set_run({"a": 1})
    manager.save_metric(MetricValue("accuracy", 0.7))
    monkeypatch.setattr(ModelFiles, "upload", sleeps)
    with pytest.raises(RunError, match="finalising the model was given up"):
        manager.save_model(classifier())
    (model,) = manager.client.search_logged_models([manager.current_iteration_id])
    assert str(model.status) == "FAILED"
    (leftover,) = killed[0].leftovers
    if both:
        assert leftover.outcome == "deleted"
        assert blob_names() == []
    else:  # the storage's own clock says that somebody has just written there
        assert leftover.outcome == "protected"
        assert "its files were written until" in str(killed[0])
        assert blob_names()


def test_a_sign_of_life_in_the_moment_of_the_end_keeps_every_file(
    make, manager, clock, monkeypatch, blob_names
):
    run_id, _ = half_upload(manager, monkeypatch)
    stored = blob_names()
    clock.move(days=2)
    other = make()
    end = killing.end_quietly

    def wakes_first(*args):
        manager._run.lease.renew(manager.client)  # the process looked before the end came
        end(*args)

    monkeypatch.setattr(killing, "end_quietly", wakes_first)
    killed = other.mark_killed(run_id)
    assert "gave a sign of life just then: nothing was deleted" in str(killed)
    assert blob_names() == stored
    monkeypatch.undo()
    assert make().mark_killed(run_id).leftovers == ()
    assert blob_names() == stored


def test_what_could_not_go_goes_when_it_is_called_again(
    make, manager, clock, monkeypatch, blob_names
):
    run_id, model_id = half_upload(manager, monkeypatch)
    manager.pin(model_id, "for a look")
    clock.move(days=2)
    killed = make().mark_killed(run_id)
    assert killed
    assert [one.outcome for one in killed.leftovers] == ["protected"]
    assert "for a look" in str(killed) or "expmgr.keep" in str(killed)
    assert blob_names()
    manager.unpin(model_id)
    again = make().mark_killed(run_id)
    assert not again
    assert [one.outcome for one in again.leftovers] == ["deleted"]
    assert blob_names() == []


def test_a_manager_without_a_container_ends_a_run_and_deletes_nothing(
    manager, clock, monkeypatch, sqlite_uri, plugin_name, blob_names
):
    run_id, _ = half_upload(manager, monkeypatch)
    stored = blob_names()
    clock.move(days=2)
    plain = make_manager(sqlite_uri, None, plugin_name, kind=ExperimentsManager)
    killed = plain.mark_killed(run_id)
    assert (bool(killed), killed.leftovers) == (True, ())
    assert blob_names() == stored
    assert make_manager(sqlite_uri, manager.credentials, plugin_name).mark_killed(run_id).leftovers


# ------------------------------------------------------------------------------------------ dropped


@pytest.mark.parametrize("ended", ["", "FINISHED", "KILLED"])
def test_a_manager_that_is_dropped_ends_its_run_and_leaves_an_ended_one(make, ended, sqlite_uri):
    from mlflow import MlflowClient

    manager = make()
    manager.set_run({"a": 1})
    run_id, lease = manager.current_run_id, manager._run.lease
    if ended == "FINISHED":
        manager.finish_run()
    elif ended:
        MlflowClient(sqlite_uri).set_terminated(run_id, ended)
    thread = lease._thread
    del manager
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()
    status = MlflowClient(sqlite_uri).get_run(run_id).info.status
    assert status == (ended or "FAILED")


def test_an_exit_waits_for_runs_to_end_for_seconds_in_all(monkeypatch):
    class Stuck:
        def __init__(self, run_id):
            self.run_id, self.is_ours, self.told = run_id, run_id != "a fork's", []

        def abandon(self):
            self.told.append("abandoned")

        def join(self, seconds):
            self.told.append(seconds)
            now[0] += 4.0

    now = [100.0]
    stuck = [Stuck("one"), Stuck("two"), Stuck("three"), Stuck("a fork's")]
    monkeypatch.setattr(leases, "_open", set(stuck))
    monkeypatch.setattr(leases.time, "monotonic", lambda: now[0])
    leases._at_exit()
    waits = sorted((one.told[1] for one in stuck[:3]), reverse=True)
    assert waits == [5.0, 1.0, 0.0]
    assert stuck[3].told == []


EXITS = """
    import os, sys
    from expmgr import ExperimentsManager

    manager = ExperimentsManager(sys.argv[1], "accuracy", sys.argv[2])
    manager.set_iteration("exits")
    manager.set_run({"a": 1})
    run_id = manager.current_run_id
    pid = os.fork()
    if pid == 0:
        sys.exit(0)  # a fork's exit, with all that is done at exits
    os.waitpid(pid, 0)
    print(run_id, manager.client.get_run(run_id).info.status, flush=True)
"""


def test_a_process_that_exits_ends_its_run_and_a_fork_of_it_does_not(sqlite_uri, plugin_name):
    from mlflow import MlflowClient

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(EXITS), sqlite_uri, plugin_name],
        env={**os.environ, "PYTHONPATH": SRC},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    run_id, status = done.stdout.split()
    assert status == "RUNNING", "the fork ended it"
    assert MlflowClient(sqlite_uri).get_run(run_id).info.status == "FAILED"
    assert "Error" not in done.stderr


DIES = """
    import os, signal, sys
    from beats import Beats
    from trainers import classifier
    from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend, MetricValue
    from expmgr.training.model_files import ModelFiles

    upload = ModelFiles.upload

    def dies(files, *args):
        upload(files, *args)
        os.kill(os.getpid(), signal.SIGKILL)

    ModelFiles.upload = dies
    uri, plugin, account, container, url, key = sys.argv[1:]
    manager = ExperimentsManagerWithAzureBlobBackend(
        uri,
        AzureBlobCredentials(
            account_name=account, container_name=container, account_url=url, account_key=key
        ),
        "accuracy",
        plugin,
    )
    manager.set_iteration("one")
    manager.set_run({"a": 1})
    manager.save_metric(MetricValue("accuracy", 0.5))
    manager.save_model(classifier())
"""


def test_what_a_process_killed_before_ready_leaves_goes_by_mark_killed_and_by_nothing_else(
    make, manager, clock, sqlite_uri, plugin_name, credentials, blob_names
):
    arguments = [
        *(sqlite_uri, plugin_name, credentials.account_name, credentials.container_name),
        *(credentials.account_url, credentials.account_key.get_secret_value()),
    ]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DIES), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([SRC, str(Path(__file__).parent)])},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -9, done.stderr.decode()
    (model,) = manager.client.search_logged_models([manager.current_iteration_id])
    run_id = model.source_run_id
    left = [name for name in blob_names() if model.model_id in name]
    assert (str(model.status), run_of(manager, run_id).info.status) == ("PENDING", "RUNNING")
    assert left

    train(manager, 0.9, params={"a": 2})  # the next save of the iteration
    assert manager.delete_model(run_id).outcome == "protected"
    assert [name for name in blob_names() if model.model_id in name] == left
    clock.move(days=1, minutes=1)
    before = set(blob_names())
    killed = manager.mark_killed(run_id)
    assert (bool(killed), len(killed.leftovers)) == (True, 1)
    assert before - set(blob_names()) == set(left)
    assert row(manager.runs(), "run_id", run_id)["status"] == "KILLED"
    assert LEASE_LASTS == 24 * HOUR
