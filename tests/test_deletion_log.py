"""The log tells all that the journal holds, and nothing that it should not."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
from lab import Lab
from moved_clock import Clock

from expmgr.cleanup.deletion_log import LOG_COLUMNS, MARK_COLUMNS
from expmgr.errors import NotFoundError
from expmgr.storage.blob_path import JOURNAL_PREFIX
from expmgr.tracking.journal import begin, now_ms, write_record
from expmgr.tracking.marks import GOES_TAG


@pytest.fixture
def lab(backend, credentials, blob_names, tmp_path, plugin_name):
    made = Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)
    made.best()
    return made


def test_the_log_tells_who_did_what_and_how_it_ended(lab):
    gone, forced, marked, alone = lab.with_model(), lab.best(1.0), lab.with_model(), lab.run(0.1)
    one = lab.logged_model(alone)
    lab.logged_model(alone)
    free = lab.logged_model("")
    manager = lab.manager()
    manager.delete_model(gone)
    manager.delete_model(forced, force=True)
    manager.delete_models([marked, free], after="2d", progress=False)
    manager.delete_model(one)
    log = manager.deletion_log()
    assert tuple(log.columns) == LOG_COLUMNS
    assert list(log["id"])[:1] == [one]
    assert set(log["id"][1:3]) == {marked, free}
    assert list(log["id"])[3:] == [forced, gone]
    rows = log.set_index("id")
    assert rows.loc[one, "run_id"] == alone
    assert rows.loc[one, "files"] == 2
    assert rows.loc[gone, "state"] == "deleted"
    assert rows.loc[gone, "name"] == lab.client.get_run(gone).info.run_name
    assert rows.loc[gone, "experiment"] == f"{lab.plugin} / first"
    assert "@" in rows.loc[gone, "who"]
    assert rows.loc[gone, "ended"] >= rows.loc[gone, "when"]
    assert "best" in rows.loc[forced, "forced"]
    assert rows.loc[marked, "state"] == "marked"
    assert rows.loc[marked, "due"] > pd.Timestamp.now(tz="UTC")
    assert rows.loc[free, "run_id"] == ""
    assert tuple(manager.marks().columns) == MARK_COLUMNS
    assert set(manager.marks()["id"]) == {marked, free}
    shown = repr(log) + log._repr_html_()
    assert forced in shown
    assert log["who"][0] in shown


def test_marks_are_carried_out_on_every_backend(lab, monkeypatch):
    clock = Clock(monkeypatch)
    runs = [lab.with_model(), lab.run(0.1)]
    lab.history_model(runs[1])
    model = lab.logged_model("")
    manager = lab.manager()
    report = manager.delete_models([*runs, model], after="1h", progress=False)
    assert [result.outcome for result in report] == ["marked"] * 3
    assert manager.keep(runs[1])
    clock.move(hours=2)
    report = manager.delete_due(progress=False)
    assert {result.run_id: result.outcome for result in report} == {
        runs[0]: "deleted",
        model: "deleted",
    }
    assert any(runs[1] in name for name in lab.blob_names())
    assert not any(model in name for name in lab.blob_names())


def test_a_run_in_the_trash_is_told_and_an_experiment_that_is_not_there_is_an_error(lab):
    run_id = lab.with_model()
    manager = lab.manager()
    manager.delete_model(run_id)
    lab.client.delete_run(run_id)
    assert list(manager.deletion_log()["id"]) == [run_id]
    with pytest.raises(NotFoundError):
        manager.deletion_log("nowhere")
    with pytest.raises(NotFoundError):
        manager.marks("nowhere")
    with pytest.raises(NotFoundError):
        manager.delete_due("nowhere", progress=False)


def test_what_cannot_be_read_is_a_row_and_a_copy_of_anothers_is_none(lab):
    run_id, other = lab.with_model(), lab.with_model()
    manager = lab.manager()
    manager.delete_models([run_id], after="1d", progress=False)
    for key, value in lab.tags(run_id).items():
        if key.startswith("expmgr."):
            lab.client.set_tag(other, key, value)
    assert set(manager.marks()["id"]) == {run_id}
    assert set(manager.deletion_log()["id"]) == {run_id}
    lab.client.set_tag(run_id, "expmgr.deletion.9", '{"v":2}')
    log = manager.deletion_log()
    assert list(log["state"]) == ["done", "unknown"]
    assert "cannot be read" in log["note"][1]
    assert manager.marks().empty, "in doubt nothing goes later"


def test_a_process_that_died_reads_as_interrupted(lab):
    run_id = lab.with_model()
    manager = lab.manager()
    location = manager.plan_deletion(run_id)[run_id].locations[0].location
    live = begin(run_id, [location], record_id="1", planned_at=now_ms())
    write_record(lab.client, live)
    assert list(manager.deletion_log()["state"]) == ["deleting"]
    write_record(lab.client, replace(live, deadline=now_ms() - 1))
    assert list(manager.deletion_log()["state"]) == ["interrupted"]


def test_records_that_are_kept_as_blobs_are_in_the_log_of_all(lab):
    run_id = lab.with_model()
    manager = lab.manager()
    location = manager.plan_deletion(run_id)[run_id].locations[0].location
    record = begin(run_id, [location], record_id="4", planned_at=None, files=2, bytes=9)
    _, text = replace(record, state="deleted", ended=now_ms()).to_tag()
    manager.blob_store.write_text(f"{JOURNAL_PREFIX}/{run_id}.4.json", text)
    manager.blob_store.write_text(f"{JOURNAL_PREFIX}/broken.json", "{")
    log = manager.deletion_log()
    assert list(log["state"]) == ["deleted", "unknown"]
    assert list(log["id"]) == [run_id, ""]
    assert manager.deletion_log(f"{lab.plugin} / first").empty


def test_no_secret_of_a_note_is_repeated(lab):
    run_id = lab.with_model()
    manager = lab.manager()
    location = manager.plan_deletion(run_id)[run_id].locations[0].location
    record = begin(run_id, [location], record_id="1", planned_at=None)
    note = "https://a.blob.core.windows.net/c/x?sv=2024&sig=SECRETSIGNATURE%3D failed"
    write_record(lab.client, replace(record, state="failed", note=note))
    log = manager.deletion_log()
    shown = json.dumps(log["note"].tolist()) + repr(log) + log._repr_html_()
    assert "failed" in shown
    assert "SECRETSIGNATURE" not in shown


def test_nothing_is_an_empty_table_with_its_columns(lab):
    manager = lab.manager()
    assert manager.marks().empty
    assert manager.deletion_log().empty
    assert tuple(manager.deletion_log().columns) == LOG_COLUMNS
    assert f"tags.{GOES_TAG}" not in manager.runs().columns


def test_parts_are_in_the_log_by_what_they_took(lab):
    run_id = lab.run(0.1)
    files = {"MLmodel": b"flavors: {}\n", "w.bin": b"w", "optimizer.pt": b"o"}
    model_id = lab.logged_model(run_id, files)
    lab.artifacts(run_id, {"plots/c.png": b"p", "plots/d.csv": b"c"})
    manager = lab.manager()
    for id_, part in ((model_id, "optimizer"), (run_id, ["plots/*.png", "plots/*.csv"])):
        manager.delete_models(manager.plan_deletion(id_, part=part), progress=False)
    log = manager.deletion_log()
    assert list(log["part"]) == ["plots/*.png, plots/*.csv", "optimizer"]
    assert set(log["state"]) == {"deleted"}
    manager.delete_model(run_id)
    assert manager.deletion_log()["part"].iloc[0] == "model"
