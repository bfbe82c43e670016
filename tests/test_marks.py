"""Marks: what is to go later, and everything that may come between."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest
from azure.storage.blob import BlobServiceClient
from lab import Lab
from moved_clock import Clock
from servers import Backend

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.cleanup.grace import due_after
from expmgr.errors import InvalidInputError, NotFoundError, TrackingError
from expmgr.formatting import format_moment
from expmgr.storage.blob_store import BlobStore
from expmgr.storage.location import Location
from expmgr.tracking.journal import (
    LEASE_SECONDS,
    begin,
    deletion_was_begun,
    latest_records,
    next_record_id,
    now_ms,
    read_records,
    write_record,
)
from expmgr.tracking.marks import (
    GOES_TAG,
    ended_mark,
    read_marks,
    standing_marks,
)

WEEK = 7 * 24 * 3_600_000
RUN = "0123456789abcdef0123456789abcdef"


# ---------------------------------------------------------------------------------- words and time


@pytest.mark.parametrize(
    ("after", "milliseconds"),
    [
        ("7d", WEEK),
        ("2w", 2 * WEEK),
        (" 12 h ", 12 * 3_600_000),
        ("1.5h", 5_400_000),
        ("30min", 1_800_000),
        (timedelta(days=7), WEEK),
        (datetime(2026, 1, 8, tzinfo=timezone.utc), WEEK),
        (datetime(2026, 1, 8, 2, tzinfo=timezone(timedelta(hours=2))), WEEK),
    ],
)
def test_an_age_or_a_time_tells_when_a_mark_is_due(after, milliseconds):
    at = int(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp() * 1000)
    assert due_after(after, at) == at + milliseconds


@pytest.mark.parametrize(
    "after",
    [
        *("", "7", "seven days", "-7d", "0d", "0h", "7 months", "1e9d", "9" * 400 + "d", "9999w"),
        *(timedelta(0), timedelta(days=-1), timedelta(days=9999), 7, True, b"7d"),
        datetime(2020, 1, 1, tzinfo=timezone.utc),
        datetime(2099, 1, 1),  # noqa: DTZ001 - of which zone?
    ],
)
def test_what_is_no_time_to_come_is_refused_in_words(after):
    with pytest.raises(InvalidInputError, match="after="):
        due_after(after, now_ms())


# ------------------------------------------------------------------------------- what a mark means


def place(name: str) -> Location:
    return Location("acct", "box", f"r/{RUN}/artifacts/{name}", "run_model", RUN)


def record(number: int, *names: str, state="marked", **changes):
    made = begin(RUN, list(map(place, names)), record_id=str(number), planned_at=5, seen="x")
    return replace(made, **{"state": state, "due": 10 if state == "marked" else None, **changes})


def tags_of(*records) -> dict[str, str]:
    return dict(one.to_tag() for one in records)


def left(*records) -> list[str]:
    return [
        location.path.rpartition("/")[2]
        for mark in standing_marks(RUN, tags_of(*records))
        for location in mark.locations
    ]


def test_a_mark_is_written_beside_the_deletions_and_is_none():
    mark = record(1, "a")
    tags = tags_of(mark)
    assert read_marks(RUN, tags) == (mark,)
    assert read_records(RUN, tags) == ()
    assert latest_records(RUN, tags) == {}
    assert not deletion_was_begun(RUN, tags)
    assert next_record_id(tags) == "2"


def test_what_came_later_holds():
    mark = record(1, "a", "b")
    assert left(mark) == ["a", "b"]
    assert left(mark, record(2, "b")) == ["a", "b"]  # b by the later one
    assert standing_marks(RUN, tags_of(mark, record(2, "b")))[0].locations == (place("a"),)
    assert left(mark, record(2, "a", "b", state="kept", due=10)) == []
    assert left(mark, ended_mark(record(2, "b"), "kept", 5, "by me")) == ["a"]
    assert left(mark, record(2, "a", state="deleting")) == ["b"]
    assert left(mark, record(2, "a", state="deleted")) == ["b"]
    assert left(mark, record(2, "a", state="restored")) == ["b"]
    assert left(mark, record(2, "a", state="failed")) == ["b"]
    assert left(mark, record(2, "a/inner", state="deleted")) == ["b"]
    assert left(mark, record(1, "a", state="deleted")) == ["b"]
    assert left(mark, record(2, "a", state="cancelled", files=1)) == ["b"]


def test_what_came_earlier_or_changed_nothing_takes_nothing_from_a_mark():
    assert left(record(1, "a", state="deleted"), record(2, "a")) == ["a"]
    assert left(record(1, "a"), record(2, "a", state="cancelled")) == ["a"]
    assert left(record(1, "a"), record(2, "ab", state="deleted")) == ["a"]


def test_a_later_word_that_cannot_be_read_ends_a_mark_and_a_copy_of_anothers_does_not():
    tags = tags_of(record(1, "a"))
    for key in ("expmgr.deletion.2", "expmgr.mark.2"):
        assert standing_marks(RUN, {**tags, key: "{"}) == ()
        assert len(standing_marks(RUN, {**tags, key: '{"run":"another"}'})) == 1
    assert len(standing_marks(RUN, {**tags, "expmgr.deletion.0": "{"})) == 1
    assert standing_marks("another", tags) == ()


# ---------------------------------------------------------------------------- on the real servers


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def lab(sqlite_uri, artifact_root, credentials, container, blob_names, tmp_path, plugin_name):
    del artifact_root
    made = Lab(
        Backend("sqlite", sqlite_uri, None, container),
        credentials,
        blob_names,
        tmp_path,
        plugin_name,
    )
    made.best()
    return made


def model_files(lab, id_: str) -> list[str]:
    return [name for name in lab.blob_names() if id_ in name]


def made_model(lab, run_id: str) -> str:
    return lab.client.get_run(run_id).outputs.model_outputs[0].model_id


def test_nothing_goes_before_it_is_due_and_what_is_due_goes(lab, clock):
    run_id = lab.with_model()
    manager = lab.manager()
    before = lab.blob_names()
    report = manager.delete_models([run_id], after="7d", progress=False)
    (result,) = report
    assert result.outcome == "marked"
    assert result.message.startswith("goes ")
    assert not result
    assert (report.files, report.bytes) == (0, 0)
    assert "marked: goes " in repr(report)
    assert lab.blob_names() == before
    row = manager.runs().set_index("run_id").loc[run_id]
    assert row["model"] == "stored"
    assert row["goes"] > pd.Timestamp.now(tz="UTC") + pd.Timedelta(days=6)
    assert "expmgr.model" not in lab.tags(run_id)
    clock.move(days=6, hours=23)
    assert len(manager.delete_due(progress=False)) == 0
    assert lab.blob_names() == before
    clock.move(hours=2)
    (result,) = manager.delete_due(progress=False)
    assert result.outcome == "deleted", result.message
    assert set(before) - set(lab.blob_names()) == {
        name for name in before if made_model(lab, run_id) in name
    }
    assert len(manager.delete_due(progress=False)) == 0
    assert manager.marks().empty
    assert pd.isna(manager.runs().set_index("run_id").loc[run_id]["goes"])
    log = manager.deletion_log()
    assert list(log["state"]) == ["deleted", "done"]
    assert list(log["id"]) == [run_id, run_id]


@pytest.mark.parametrize("behind", ["storage", "machine"])
def test_the_clock_that_is_behind_says_when_it_is_due(lab, clock, behind):
    run_id = lab.with_model()
    manager = lab.manager()
    manager.delete_models([run_id], after="1d", progress=False)
    if behind == "storage":
        clock.ahead = timedelta(days=2)
    else:
        clock.storage_ahead = timedelta(days=2)
    assert len(manager.delete_due(progress=False)) == 0
    assert model_files(lab, made_model(lab, run_id))
    assert not manager.marks().empty


def test_a_mark_is_taken_back_by_anybody(lab, clock):
    run_id = lab.with_model()
    lab.manager().delete_models([run_id], after="1h", progress=False)
    other = lab.manager()
    assert other.keep(run_id) is True
    assert other.keep(run_id) is False
    assert other.marks().empty
    assert lab.tags(run_id)[GOES_TAG] == "kept"
    clock.move(days=1)
    assert len(other.delete_due(progress=False)) == 0
    assert model_files(lab, made_model(lab, run_id))
    (row,) = other.deletion_log().to_dict("records")
    assert row["state"] == "kept"
    assert row["note"].startswith("by ")


def test_keeping_a_model_keeps_what_is_marked_with_it(lab, clock):
    run_id = lab.run(0.1)
    first, second = lab.logged_model(run_id), lab.logged_model(run_id)
    manager = lab.manager()
    manager.delete_models([run_id], after="1h", progress=False)
    assert list(manager.models().set_index("model_id").loc[[first, second]]["goes"].notna()) == [
        True,
        True,
    ]
    assert manager.keep(first)
    clock.move(days=1)
    assert len(manager.delete_due(progress=False)) == 0
    assert model_files(lab, first)
    assert model_files(lab, second)


def test_a_model_of_a_run_is_marked_and_goes_alone(lab, clock):
    run_id = lab.run(0.1)
    first, second = lab.logged_model(run_id), lab.logged_model(run_id)
    manager = lab.manager()
    manager.delete_models([first], after="1h", progress=False)
    frame = manager.models().set_index("model_id")
    assert pd.notna(frame.loc[first]["goes"])
    assert pd.isna(frame.loc[second]["goes"])
    assert manager.keep(second) is False
    clock.move(days=1)
    (result,) = manager.delete_due(progress=False)
    assert (result.run_id, result.outcome) == (first, "deleted")
    assert not model_files(lab, first)
    assert model_files(lab, second)


def test_the_later_mark_replaces_the_earlier(lab, clock):
    run_id = lab.with_model()
    manager = lab.manager()
    manager.delete_models([run_id], after="1d", progress=False)
    (result,) = manager.delete_models([run_id], after="3d", progress=False)
    assert "(before: " in result.message
    assert len(manager.marks()) == 1
    clock.move(days=2)
    assert len(manager.delete_due(progress=False)) == 0
    clock.move(days=2)
    assert [result.outcome for result in manager.delete_due(progress=False)] == ["deleted"]
    assert sorted(manager.deletion_log()["state"]) == ["deleted", "done", "replaced"]


def test_protection_that_came_since_refuses_and_the_mark_stays(lab, clock):
    run_id = lab.with_model()
    manager = lab.manager()
    manager.delete_models([run_id], after="1d", progress=False)
    manager.pin(run_id, "for the audit")
    clock.move(days=2)
    for _ in range(2):
        (result,) = manager.delete_due(progress=False)
        assert result.outcome == "protected"
        assert "mark stays" in result.message
    assert model_files(lab, made_model(lab, run_id))
    assert read_records(run_id, lab.tags(run_id)) == ()
    manager.unpin(run_id)
    assert len(manager.marks()) == 1
    (result,) = manager.delete_due(progress=False)
    assert result.outcome == "deleted"


def test_what_is_protected_is_not_marked(lab):
    best = lab.best(1.0)
    manager = lab.manager()
    (result,) = manager.delete_models([best], after="1d", progress=False)
    assert result.outcome == "protected"
    assert GOES_TAG not in lab.tags(best)
    assert manager.marks().empty


def test_force_cannot_wait(lab):
    with pytest.raises(InvalidInputError, match="force"):
        lab.manager().delete_models(["x"], force=True, after="1d")


def test_files_that_came_or_changed_since_the_mark_stay(lab, clock, put_blob):
    run_id = lab.with_model()
    model_id = made_model(lab, run_id)
    manager = lab.manager()
    manager.delete_models([run_id], after="1d", progress=False)
    weights = next(name for name in model_files(lab, model_id) if name.endswith("weights.bin"))
    put_blob(weights, b"trained on")
    put_blob(weights.replace("weights.bin", "new.bin"), b"new")
    clock.move(days=2)
    (result,) = manager.delete_due(progress=False)
    assert result.outcome == "failed"
    assert "stayed" in result.message
    assert {name.rpartition("/")[2] for name in result.left} == {"weights.bin", "new.bin"}
    assert {name.rpartition("/")[2] for name in model_files(lab, model_id)} == {
        "weights.bin",
        "new.bin",
    }
    assert manager.marks().empty


def test_a_model_that_was_written_anew_is_left_whole(lab, clock, put_blob):
    run_id = lab.with_model()
    model_id = made_model(lab, run_id)
    manager = lab.manager()
    manager.delete_models([run_id], after="1d", progress=False)
    for name in model_files(lab, model_id):
        put_blob(name, b"anew")
    before = lab.blob_names()
    clock.move(days=2)
    (result,) = manager.delete_due(progress=False)
    assert result.outcome == "failed"
    assert "Plan again" in result.message
    assert lab.blob_names() == before
    assert read_records(run_id, lab.tags(run_id)) == ()
    assert manager.marks().empty


def test_a_live_deletion_refuses_a_mark_and_an_unfinished_one_too(lab):
    run_id = lab.with_model()
    manager = lab.manager()
    plan = manager.plan_deletion(run_id)
    location = plan[run_id].locations[0].location
    live = begin(run_id, [location], record_id="1", planned_at=now_ms())
    write_record(lab.client, live)
    (result,) = manager.delete_models(plan, after="1d", progress=False)
    assert result.outcome == "failed"
    assert "being deleted by" in result.message
    write_record(lab.client, replace(live, state="failed"))
    (result,) = manager.delete_models(plan, after="1d", progress=False)
    assert result.outcome == "failed"
    assert "resume_deletions" in result.message
    assert manager.marks().empty


def test_a_killed_process_leaves_what_resume_finishes_and_the_mark_does_not_go_on(
    lab, clock, monkeypatch
):
    run_id = lab.with_model()
    model_id = made_model(lab, run_id)
    manager = lab.manager()
    manager.delete_models([run_id], after="1d", progress=False)
    clock.move(days=2)

    class Killed(BaseException):
        pass

    def dies(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("expmgr.cleanup.primitive.delete_resolved", dies)
        with pytest.raises(Killed):
            manager.delete_due(progress=False)
    other = lab.manager()
    assert other.runs().set_index("run_id").loc[run_id]["model"] == "deleting"
    assert len(other.delete_due(progress=False)) == 0
    assert other.keep(run_id) is False
    clock.move(seconds=LEASE_SECONDS + 5)
    assert len(other.delete_due(progress=False)) == 0
    assert model_files(lab, model_id)
    (result,) = other.resume_deletions()
    assert result.outcome == "deleted", result.message
    assert not model_files(lab, model_id)


def test_two_at_once_delete_each_model_once(lab, clock):
    runs = [lab.with_model() for _ in range(3)]
    lab.manager().delete_models(runs, after="1d", progress=False)
    clock.move(days=2)
    reports = []
    managers = [lab.manager(), lab.manager()]
    threads = [
        threading.Thread(target=lambda m=manager: reports.append(m.delete_due(progress=False)))
        for manager in managers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = [result for report in reports for result in report]
    for run_id in runs:
        mine = [result for result in results if result.run_id == run_id]
        assert any(result.outcome == "deleted" for result in mine)
        assert sum(result.files for result in mine) == 2
        assert not model_files(lab, made_model(lab, run_id))
    assert managers[0].marks().empty


def test_a_mark_that_is_taken_back_while_its_deletion_begins_is_kept(lab, clock, monkeypatch):
    run_id = lab.with_model()
    manager, other = lab.manager(), lab.manager()
    manager.delete_models([run_id], after="1d", progress=False)
    clock.move(days=2)
    write = write_record

    def keeps_first(client, record):
        if record.state == "deleting":
            monkeypatch.setattr("expmgr.cleanup.deletion.write_record", write)
            assert other.keep(run_id)
        write(client, record)

    monkeypatch.setattr("expmgr.cleanup.deletion.write_record", keeps_first)
    (result,) = manager.delete_due(progress=False)
    assert result.outcome == "protected"
    assert "taken back" in result.message
    assert model_files(lab, made_model(lab, run_id))
    assert manager.runs().set_index("run_id").loc[run_id]["model"] == "stored"
    assert manager.delete_model(run_id).outcome == "deleted"


def test_a_model_that_was_deleted_by_hand_is_not_deleted_by_its_mark(lab, clock):
    run_id = lab.with_model()
    manager = lab.manager()
    manager.delete_models([run_id], after="1d", progress=False)
    assert manager.delete_model(run_id)
    assert manager.marks().empty
    clock.move(days=2)
    assert len(manager.delete_due(progress=False)) == 0
    assert sorted(manager.deletion_log()["state"]) == ["deleted", "done"]


def test_ids_of_nothing(lab):
    with pytest.raises(NotFoundError):
        lab.manager().keep("0" * 32)
    with pytest.raises(NotFoundError):
        lab.manager().keep("m-" + "0" * 32)


def test_a_model_without_a_run_is_marked_on_its_own_tags(lab, clock):
    model_id = lab.logged_model("")
    manager = lab.manager()
    (result,) = manager.delete_models([model_id], after="1d", progress=False)
    assert result.outcome == "marked"
    assert pd.notna(manager.models().set_index("model_id").loc[model_id]["goes"])
    (row,) = manager.marks().to_dict("records")
    assert row["id"] == model_id
    clock.move(days=2)
    (result,) = manager.delete_due(progress=False)
    assert (result.run_id, result.outcome) == (model_id, "deleted")
    assert not model_files(lab, model_id)


def test_a_directory_by_its_id_and_raw_artifacts_are_marked(lab, clock):
    two = lab.run(0.1)
    lab.history_model(two, "a")
    lab.history_model(two, "b")
    raw = lab.run(0.1)
    lab.artifacts(raw, {"weights.pt": b"w"})
    manager = lab.manager()
    report = manager.delete_models([f"{two}/a", raw], after="1d", progress=False)
    assert [result.outcome for result in report] == ["marked", "marked"]
    assert manager.keep(f"{two}/b") is False
    clock.move(days=2)
    report = manager.delete_due(progress=False)
    assert sorted(result.outcome for result in report) == ["deleted", "deleted"], repr(report)
    names = model_files(lab, two)
    assert names
    assert all("/b/" in name for name in names)
    assert not model_files(lab, raw)


def test_raw_artifacts_that_are_a_model_by_now_are_left(lab, clock):
    raw = lab.run(0.1)
    lab.artifacts(raw, {"weights.pt": b"w"})
    manager = lab.manager()
    manager.delete_models([raw], after="1d", progress=False)
    lab.artifacts(raw, {"MLmodel": b"flavors: {}"}, "model")
    before = model_files(lab, raw)
    clock.move(days=2)
    (result,) = manager.delete_due(progress=False)
    assert result.outcome == "failed"
    assert "is a model by now" in result.message
    assert model_files(lab, raw) == before
    assert manager.marks().empty


def test_a_delete_step_of_ones_own_takes_nothing_that_came_since(lab, clock, put_blob):
    class Own(ExperimentsManagerWithAzureBlobBackend):
        def _delete_model(self, run_id, experiment_id=None):
            return super()._delete_model(run_id, experiment_id)

    run_id, unchanged = lab.with_model(), lab.with_model()
    manager = lab.manager(Own)
    manager.delete_models([run_id, unchanged], after="1d", progress=False)
    name = model_files(lab, made_model(lab, run_id))[0]
    put_blob(f"{name}.more", b"x")
    clock.move(days=2)
    outcomes = {result.run_id: result.outcome for result in manager.delete_due(progress=False)}
    assert outcomes == {run_id: "failed", unchanged: "deleted"}
    assert len(model_files(lab, made_model(lab, run_id))) == 3


def test_a_run_in_the_trash_is_told_and_left(lab, clock):
    run_id = lab.with_model()
    manager = lab.manager()
    manager.delete_models([run_id], after="1d", progress=False)
    lab.client.delete_run(run_id)
    clock.move(days=2)
    (result,) = manager.delete_due(progress=False)
    assert result.outcome == "failed"
    assert "trash" in result.message
    assert model_files(lab, made_model(lab, run_id))


def test_a_manager_of_another_container_ends_no_mark(lab, clock, azurite):
    run_id = lab.with_model()
    lab.manager().delete_models([run_id], after="1d", progress=False)
    clock.move(days=2)
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        other = service.create_container("elsewhere")
        for name in model_files(lab, made_model(lab, run_id)):  # as a copy of the container has it
            other.upload_blob(name, b"copied")
    other = lab.manager(azure_blob_credentials=azurite.credentials("elsewhere"))
    (result,) = other.delete_due(progress=False)
    assert result.outcome == "failed"
    assert len(lab.manager().marks()) == 1
    assert model_files(lab, made_model(lab, run_id))


def test_a_listing_that_is_empty_once_ends_no_mark(lab, clock, monkeypatch):
    run_id = lab.with_model()
    manager = lab.manager()
    manager.delete_models([run_id], after="1d", progress=False)
    clock.move(days=2)
    measure = BlobStore.measure
    looks = []

    def empty_once(store, location, **options):
        listing = measure(store, location, **options)
        looks.append(location)
        return replace(listing, files=0, bytes=0, etags={}) if len(looks) == 1 else listing

    monkeypatch.setattr(BlobStore, "measure", empty_once)
    (result,) = manager.delete_due(progress=False)
    assert result.outcome == "deleted"


def test_a_deletion_that_is_cancelled_before_a_file_went_leaves_the_mark(lab, clock, monkeypatch):
    run_id = lab.with_model()
    manager = lab.manager()
    manager.delete_models([run_id], after="1d", progress=False)
    clock.move(days=2)
    cancel = threading.Event()
    write = write_record

    def cancels(client, record):
        cancel.set()
        write(client, record)

    with monkeypatch.context() as patch:
        patch.setattr("expmgr.cleanup.deletion.write_record", cancels)
        report = manager.delete_due(progress=False, cancel=cancel)
    assert report.cancelled
    assert model_files(lab, made_model(lab, run_id))
    assert len(manager.marks()) == 1
    assert manager.keep(run_id) is True
    manager.delete_models([run_id], after="1h", progress=False)
    clock.move(days=1)
    assert [result.outcome for result in manager.delete_due(progress=False)] == ["deleted"]


def test_a_mark_that_nobody_can_ask_about_deletes_nothing_and_stays(lab, clock, monkeypatch):
    run_id = lab.with_model()
    manager = lab.manager()
    manager.delete_models([run_id], after="1d", progress=False)
    clock.move(days=2)

    def fails(_client, _owner_id):
        raise TrackingError("the server is away")

    with monkeypatch.context() as patch:
        patch.setattr("expmgr.cleanup.due.owner_by_id", fails)
        (result,) = manager.delete_due(progress=False)
    assert result.outcome == "failed"
    assert model_files(lab, made_model(lab, run_id))
    assert manager.runs().set_index("run_id").loc[run_id]["model"] == "stored"
    assert [result.outcome for result in manager.delete_due(progress=False)] == ["deleted"]


def test_models_of_one_run_that_were_marked_apart_all_go(lab, clock):
    run_id = lab.run(0.1)
    models = [lab.logged_model(run_id) for _ in range(3)]
    manager = lab.manager()
    for chosen in (models[:1], models[1:2]):
        plan = manager.plan_deletion(run_id, model_ids=chosen)
        assert manager.delete_models(plan, after="1d", progress=False).counts == {"marked": 1}
    clock.move(days=2)
    assert manager.delete_due(progress=False).counts == {"deleted": 2}
    assert [bool(model_files(lab, model)) for model in models] == [False, False, True]


def test_the_time_is_told_in_utc():
    at = int(datetime(2026, 12, 2, 10, 0, 59, tzinfo=timezone.utc).timestamp() * 1000)
    assert format_moment(at) == "2026-12-02 10:00 UTC"
