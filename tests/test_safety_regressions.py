"""What must not happen: deleting what was not asked for or is protected, and untrue claims.

One test a danger, each on a real SQLite MLflow and Azurite.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from lab import MODEL_FILES
from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput
from mlflow.exceptions import MlflowException

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.errors import InvalidInputError, JournalError, TrackingUnreachableError
from expmgr.storage import deletion
from expmgr.storage.location import Location
from expmgr.tracking.journal import begin, read_records, write_record
from expmgr.training.best_only import passable


def below(lab, *parts):
    return [name for name in lab.blob_names() if any(f"/{part}/" in f"/{name}" for part in parts)]


def state(manager, run_id):
    return manager.runs().set_index("run_id").loc[run_id, "model"]


def protected(lab, run_id, word):
    before = lab.blob_names()
    result = lab.manager().delete_model(run_id)
    assert result.outcome == "protected", result
    assert word in result.message
    assert lab.blob_names() == before


# ------------------------------------------------------------------ only what was asked for goes


def test_a_plan_of_another_run_is_refused(lab):
    lab.best()
    asked, other = lab.with_model(0.1), lab.with_model(0.2)
    manager = lab.manager()
    plan = manager.plan_deletion([other])
    before = lab.blob_names()
    for wrong in (plan, plan[other]):
        with pytest.raises(InvalidInputError, match=asked):
            manager.delete_model(asked, plan=wrong)
    assert lab.blob_names() == before


def test_model_ids_narrow_a_plan_of_the_whole_run(lab):
    lab.best()
    run_id = lab.run(0.1)
    first, second = lab.logged_model(run_id), lab.logged_model(run_id)
    manager = lab.manager()
    plan = manager.plan_deletion([run_id])
    assert manager.delete_model(run_id, model_ids=[first], plan=plan)
    assert below(lab, first) == []
    assert below(lab, second)
    with pytest.raises(InvalidInputError, match="m-unknown"):
        manager.delete_model(run_id, model_ids=["m-unknown"], plan=plan)


def test_a_subclass_that_deletes_on_another_thread_keeps_to_what_was_asked_for(lab):
    class Threaded(ExperimentsManagerWithAzureBlobBackend):
        def _delete_model(self, run_id, experiment_id=None):
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(super()._delete_model, run_id, experiment_id).result()

    lab.best()
    run_id = lab.run(0.1)
    first, second = lab.logged_model(run_id), lab.logged_model(run_id)
    assert lab.manager(Threaded).delete_model(run_id, model_ids=[first])
    assert below(lab, first) == []
    assert below(lab, second)


def test_a_deletion_that_was_cancelled_is_not_resumed(lab):
    lab.best()
    run_id = lab.with_model(0.1)
    manager = lab.manager()
    cancel = threading.Event()
    plan = manager.plan_deletion([run_id])
    cancel.set()
    before = lab.blob_names()
    assert manager.delete_model(run_id, plan=plan, cancel=cancel).outcome == "failed"
    assert lab.blob_names() == before
    assert state(manager, run_id) == "stored"
    assert len(manager.resume_deletions()) == 0
    assert lab.blob_names() == before
    assert manager.delete_model(run_id)


def test_a_record_that_names_another_runs_model_is_not_resumed(lab):
    lab.best()
    run_id, other = lab.run(0.1), lab.run(0.2)
    own, foreign = lab.logged_model(run_id), lab.logged_model(other)
    manager = lab.manager()
    manager.delete_model(run_id)
    key = "expmgr.deletion.1"
    record = json.loads(lab.tags(run_id)[key].replace(own, foreign))
    lab.client.set_tag(run_id, key, json.dumps({**record, "state": "failed"}))
    lab.client.set_tag(run_id, "expmgr.model", "failed")
    (result,) = manager.resume_deletions()
    assert result.outcome == "failed"
    assert below(lab, foreign)


def test_resuming_a_bare_deletion_leaves_files_that_came_after_it_began(lab, monkeypatch):
    lab.best()
    run_id = lab.run(0.1)
    lab.artifacts(run_id, MODEL_FILES, "model")
    manager = lab.manager()

    def die(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(manager.blob_store, "delete", die)
    with pytest.raises(KeyboardInterrupt):
        manager._delete_model(run_id)
    (record,) = read_records(run_id, lab.tags(run_id))
    early = record.began - 60_000
    planned_at = None if record.planned_at is None else early
    write_record(
        lab.client,
        replace(record, state="deleting", began=early, planned_at=planned_at, deadline=1),
    )
    before = lab.blob_names()
    (result,) = lab.manager().resume_deletions()
    assert result.outcome == "failed"
    assert lab.blob_names() == before


# ------------------------------------------------------------------------ what is protected stays


def test_the_best_run_protects_a_model_of_its_own_experiment_that_it_only_links_to(lab):
    maker, best, third = lab.run(0.1), lab.run(0.9), lab.with_model(0.5)
    model_id = lab.logged_model(maker)
    lab.link(best, model_id)
    protected(lab, maker, "best")
    protected(lab, third, "best")


def test_the_best_run_protects_the_model_that_it_started_from(lab):
    maker, best = lab.run(0.1), lab.run(0.9)
    model_id = lab.logged_model(maker)
    lab.logged_model(best)
    lab.client.log_inputs(best, models=[LoggedModelInput(model_id)])
    protected(lab, maker, "best")


def test_the_best_of_another_experiment_is_the_one_whose_files_are_there(lab):
    lab.best()
    maker = lab.run(0.1)
    model_id = lab.logged_model(maker)
    other = lab.experiment("other")
    gone = lab.with_model(0.9, experiment_id=other)
    lab.manager()._delete_model(gone)
    user = lab.run(0.5, experiment_id=other)
    lab.link(user, model_id)
    protected(lab, maker, "best")


def test_an_initial_run_protects_what_it_names_however_its_tag_is_written(lab):
    lab.best()
    maker = lab.run(0.1)
    model_id = lab.logged_model(maker)
    initial = lab.run(0.1, tags={"expmgr.initial_model": "True"})
    lab.link(initial, model_id)
    protected(lab, maker, "initial")


def test_directory_stubs_do_not_make_a_best_run(lab, put_blob):
    first, second = lab.run(0.9), lab.with_model(0.8)
    model_id = lab.logged_model(first)
    (marker,) = [name for name in below(lab, model_id) if name.endswith("/MLmodel")]
    lab.manager()._delete_model(first)
    put_blob(marker.replace("/MLmodel", "/data"), b"", metadata={"hdi_isfolder": "true"})
    protected(lab, second, "best")


def test_a_copied_version_protects_what_it_was_copied_from(lab):
    lab.best()
    client = lab.client
    run_id = lab.run(0.1)
    model_id = lab.logged_model(run_id)
    client.create_registered_model("staging")
    source = client.get_logged_model(model_id).artifact_location
    client.create_model_version("staging", source)
    client.copy_model_version("models:/staging/1", "production")
    client.delete_model_version("staging", "1")
    protected(lab, run_id, "production v1")


def test_a_version_whose_source_is_written_unusually_protects(lab, container):
    lab.best()
    client = lab.client
    run_id = lab.run(0.1)
    model_id = lab.logged_model(run_id)
    client.create_registered_model("odd")
    location = client.get_logged_model(model_id).artifact_location
    client.create_model_version("odd", location.replace("/models/", "//models/"))
    protected(lab, run_id, "odd v1")


def test_a_pinned_run_that_vanishes_while_it_is_read_is_no_error(lab, monkeypatch):
    lab.best()
    run_id = lab.with_model(0.1)
    pinned = lab.with_model(0.1, tags={"expmgr.keep": "1"})
    manager = lab.manager()
    client = manager.client
    get_run = client.get_run

    def vanishing(wanted):
        if wanted == pinned:
            raise MlflowException("no such run", error_code=1001)
        return get_run(wanted)

    monkeypatch.setattr(client, "get_run", vanishing)
    result = manager.delete_model(run_id)
    assert result.outcome in {"deleted", "protected"}


@pytest.mark.parametrize("best", [0.0, 1e-07, -1e-05, 1e299, -2.5, 12345678.9, 1e22, 1e17])
def test_the_best_among_many_is_found_whatever_its_value(lab, best):
    client = lab.client
    top = lab.with_model(best)
    other = lab.with_model(best - abs(best) - 1)
    for _ in range(50):
        run = client.create_run(lab.experiment_id)
        client.set_terminated(run.info.run_id)
    plan = lab.manager().plan_deletion([top, other])
    assert any(reason.startswith("best") for reason in plan[top].reasons)
    assert plan[other].deletable, plan


# -------------------------------------------------------- what is said is so, and no run sticks


def test_an_unfinished_deletion_is_resumed_whatever_was_deleted_after_it(lab):
    lab.best()
    run_id = lab.run(0.1)
    first, second = lab.logged_model(run_id), lab.logged_model(run_id)
    manager = lab.manager()

    class Failing(ExperimentsManagerWithAzureBlobBackend):
        def _delete_model(self, run_id, experiment_id=None):
            raise OSError("disk on fire")

    assert not lab.manager(Failing).delete_model(run_id, model_ids=[first])
    assert manager.delete_model(run_id, model_ids=[second])
    assert state(manager, run_id) == "interrupted"
    (result,) = manager.resume_deletions()
    assert result.outcome == "deleted"
    assert below(lab, first, second) == []


def test_a_second_deletion_that_fails_is_not_hidden_by_a_first_that_succeeded(lab):
    lab.best()
    run_id = lab.run(0.1)
    model_id = lab.logged_model(run_id)
    manager = lab.manager()
    assert manager.delete_model(run_id)
    lab.client.log_model_artifacts(model_id, lab._local(MODEL_FILES))

    class Failing(ExperimentsManagerWithAzureBlobBackend):
        def _delete_model(self, run_id, experiment_id=None):
            raise OSError("disk on fire")

    assert lab.manager(Failing).delete_model(run_id).outcome == "failed"
    assert below(lab, model_id)
    assert state(manager, run_id) == "interrupted"
    (result,) = manager.resume_deletions()
    assert result.outcome == "deleted"
    assert below(lab, model_id) == []
    assert state(manager, run_id) == "deleted"


def test_a_scan_that_finds_files_of_a_deleted_model_says_so(lab):
    lab.best()
    run_id = lab.run(0.1)
    model_id = lab.logged_model(run_id)
    manager = lab.manager()
    assert manager.delete_model(run_id)
    lab.client.log_model_artifacts(model_id, lab._local(MODEL_FILES))
    row = manager.storage_usage().set_index("run_id").loc[run_id]
    assert row["files"] == len(MODEL_FILES)
    assert row["model"] == "stored"
    assert manager.delete_model(run_id)
    assert state(manager, run_id) == "deleted"


def test_a_model_that_could_not_be_located_is_mentioned(lab):
    lab.best()
    run_id = lab.run(0.1)
    known = lab.logged_model(run_id)
    lab.link(run_id, "m-00000000000000000000000000000000")
    result = lab.manager().delete_model(run_id)
    assert result.outcome == "deleted"
    assert below(lab, known) == []
    assert "m-00000000000000000000000000000000" in result.message


def test_an_interrupt_from_the_keyboard_leaves_the_run_ready_to_be_deleted(lab):
    class Impatient(ExperimentsManagerWithAzureBlobBackend):
        def _delete_model(self, run_id, experiment_id=None):
            raise KeyboardInterrupt

    lab.best()
    run_id = lab.with_model(0.1)
    with pytest.raises(KeyboardInterrupt):
        lab.manager(Impatient).delete_model(run_id)
    assert lab.manager().delete_model(run_id)


def test_a_long_reason_or_note_does_not_keep_the_journal_from_being_closed(lab):
    class Wordy(ExperimentsManagerWithAzureBlobBackend):
        def _delete_model(self, run_id, experiment_id=None):
            raise OSError("\u2603" * 3000)

    lab.best()
    run_id = lab.run(0.1)
    for number in range(110):
        lab.artifacts(
            run_id, {"MLmodel": b"m"}, f"checkpoints-{number}/a-rather-long-name-of-a-step"
        )
    assert lab.manager(Wordy).delete_model(run_id).outcome == "failed"
    assert state(lab.manager(), run_id) == "interrupted"
    assert lab.manager().delete_model(run_id)


def test_superseded_checkpoints_that_were_deleted_do_not_make_every_run_the_best(lab):
    manager = lab.manager()
    runs = []
    for value in (0.9, 0.5, 0.4):
        run_id = lab.run(value)
        old, _ = lab.logged_model(run_id), lab.logged_model(run_id)
        assert manager.delete_model(run_id, model_ids=[old], force=True)
        runs.append(run_id)
    best, second, third = runs
    assert [run.deletable for run in manager.plan_deletion(runs)] == [False, True, True]
    protected(lab, best, "best")
    assert list(manager.runs("all", "metrics.accuracy > 0.1").query("is_best")["run_id"]) == [best]
    assert manager.delete_model(second)
    assert manager.delete_model(third)


def test_best_only_saving_does_not_pass_the_best_run_of_another_experiment(lab):
    lab.best()
    maker = lab.run(0.1)
    model_id = lab.logged_model(maker)
    user = lab.run(0.3, experiment_id=lab.experiment("other"))
    lab.link(user, model_id)
    reasons = lab.manager().plan_deletion([maker])[maker].reasons
    assert reasons
    assert not passable(reasons, same_run=True)


def test_bulk_reports_what_it_did_where_the_tracking_server_dies_on_the_way(lab, monkeypatch):
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(3)]
    monkeypatch.setattr("expmgr.cleanup.bulk_together._MOST_RUNS", 2)
    monkeypatch.setattr("expmgr.cleanup.bulk_together.Together.at_once", 1)
    manager = lab.manager()
    plan = manager.plan_deletion(runs)
    planner = type(manager._planner())
    check_again = planner.check_again
    calls = []

    def dying(self, plans):
        calls.append(plans)
        if len(calls) > 1:
            raise TrackingUnreachableError("nothing answers")
        return check_again(self, plans)

    monkeypatch.setattr(planner, "check_again", dying)
    report = manager.delete_models(plan, progress=False)
    assert [result.outcome for result in report] == ["deleted", "deleted", "failed"]
    assert "nothing answers" in str(report.results[-1])


def test_the_journal_does_not_wait_minutes_for_a_server_that_went_away(lab, monkeypatch):
    lab.best()
    run_id = lab.with_model(0.1)
    manager = lab.manager()
    manager.delete_model(run_id)
    (record,) = read_records(run_id, lab.tags(run_id))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # 13 seconds instead of 247
    began = time.monotonic()
    with pytest.raises(JournalError):
        write_record(MlflowClient("http://127.0.0.1:9"), record)
    assert time.monotonic() - began < 8


def test_a_file_that_is_written_again_while_a_resume_deletes_it_stays(lab, put_blob, monkeypatch):
    lab.best()
    run_id = lab.run(0.1)
    model_id = lab.logged_model(run_id)
    manager = lab.manager()

    class Failing(ExperimentsManagerWithAzureBlobBackend):
        def _delete_model(self, run_id, experiment_id=None):
            raise OSError("disk on fire")

    assert not lab.manager(Failing).delete_model(run_id)
    (weights,) = [name for name in below(lab, model_id) if name.endswith("weights.bin")]
    send = deletion.delete_batch

    def written_before(*args, **options):
        put_blob(weights, b"of a training that goes on")
        return send(*args, **options)

    monkeypatch.setattr(deletion, "delete_batch", written_before)
    (result,) = manager.resume_deletions()
    assert result.outcome == "failed"
    assert below(lab, model_id) == [weights]


def test_force_with_a_plan_passes_what_the_plan_shows_and_nothing_that_came_since(lab):
    run_id = lab.best()
    manager = lab.manager()
    plan = manager.plan_deletion([run_id])
    assert plan[run_id].reasons
    lab.client.set_tag(run_id, "expmgr.keep", "1")
    before = lab.blob_names()
    result = manager.delete_model(run_id, force=True, plan=plan)
    assert result.outcome == "protected"
    assert "pinned" in result.message
    assert lab.blob_names() == before
    assert manager.delete_model(run_id, force=True, plan=manager.plan_deletion([run_id]))


def test_the_journal_holds_hundreds_of_locations():
    run_id = "ab" * 16
    root = f"7/{run_id}/artifacts/checkpoints"
    steps = [
        Location("acct", "cont", f"{root}/step-{number:06}", "run_model", run_id, marker_last=True)
        for number in range(600)
    ]
    ids = [f"m-{uuid.uuid4().hex}" for _ in range(150)]
    models = [Location("acct", "cont", f"7/models/{i}/artifacts", "logged_model", i) for i in ids]
    record = begin(run_id, [*steps, *models], record_id="1", planned_at=1)
    key, value = record.to_tag()
    assert len(value) < 8_000
    assert read_records(run_id, {key: value}) == (record,)


@pytest.mark.parametrize("uri", ["nonsense://x", "sqlite:////proc/no/such/folder/x.db"])
def test_a_tracking_server_that_cannot_be_opened_is_a_result(lab, uri, monkeypatch):
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)
    result = lab.manager(tracking_uri=uri).delete_model("0" * 32)
    assert result.outcome == "failed"


@pytest.mark.parametrize("force", [False, True])
def test_a_plan_of_a_pinned_run_that_has_no_files_ends_as_not_found(lab, force):
    run_id = lab.run(0.1, tags={"expmgr.keep": "1"})
    manager = lab.manager()
    plan = manager.plan_deletion([run_id])
    assert manager.delete_model(run_id, force=force, plan=plan).outcome == "not_found"
    (result,) = manager.delete_models(plan, force=force, progress=False)
    assert result.outcome == "not_found"


def test_a_listing_that_misses_the_marker_does_not_make_a_models_neighbours_raw(lab, monkeypatch):
    """The first listing of the artifacts leaves the MLmodel out; the plots must not go with it."""
    lab.best()
    run_id = lab.run(0.1)
    lab.artifacts(run_id, MODEL_FILES, "model")
    lab.artifacts(run_id, {"plot.png": b"png"})
    manager = lab.manager()
    listed = manager.blob_store.list

    def without_marker(prefix, **options):
        return (blob for blob in listed(prefix, **options) if not blob.name.endswith("/MLmodel"))

    monkeypatch.setattr(manager.blob_store, "list", without_marker)
    before = lab.blob_names()
    result = manager.delete_model(run_id)
    assert result.outcome == "failed"
    assert "MLmodel was in one listing of" in result.message
    assert lab.blob_names() == before
    monkeypatch.undo()
    assert manager.delete_model(run_id)
    assert any(name.endswith("/plot.png") and run_id in name for name in lab.blob_names())


def test_a_listing_that_misses_one_of_two_markers_does_not_read_as_deleted(lab, monkeypatch):
    """The first listing leaves one model directory out: the other must not go and read deleted."""
    lab.best()
    run_id = lab.run(0.1)
    for name in ("one", "two"):
        lab.artifacts(run_id, MODEL_FILES, name)
    manager = lab.manager()
    listed = manager.blob_store.list
    lies = [True]

    def without_the_second(prefix, **options):
        # The best is looked at meanwhile: that listing is another one.
        lied = run_id in prefix and lies and lies.pop()
        return (b for b in listed(prefix, **options) if not (lied and "/two/" in b.name))

    monkeypatch.setattr(manager.blob_store, "list", without_the_second)
    before = lab.blob_names()
    result = manager.delete_model(run_id)
    assert (result.outcome, lies) == ("failed", [])
    assert "two/MLmodel was in one listing of" in result.message
    assert lab.blob_names() == before
    assert manager.delete_model(run_id)
    assert not any(run_id in name for name in lab.blob_names())


def test_a_listing_that_is_empty_once_is_asked_again(lab, monkeypatch):
    from expmgr.storage import blob_store

    lab.best()
    run_id = lab.with_model(0.1)
    manager = lab.manager()
    read_page = blob_store.read_page
    told = set()

    def empty_once(container, prefix, token=None, **options):
        page = read_page(container, prefix, token, **options)
        if prefix in told:
            return page
        told.add(prefix)
        return replace(page, blobs=(), token=None, folders=())

    monkeypatch.setattr(blob_store, "read_page", empty_once)
    (planned,) = manager.plan_deletion(run_id)
    assert planned.files == len(MODEL_FILES)
    assert manager.delete_model(run_id).outcome == "deleted"
