"""What nobody owns: found with evidence, and deleted only where the server or a person says so."""

from __future__ import annotations

import json
import uuid

import pytest
from lab import Lab

from expmgr.errors import InvalidInputError, NotFoundError

NOBODY = uuid.uuid4().hex


@pytest.fixture
def every(backend, credentials, blob_names, tmp_path, plugin_name):
    """The lab on each way to run MLflow, for what depends on addresses and answers."""
    return Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)


def roots(lab, experiment_id=None):
    """The blob path of an experiment's root."""
    experiment = lab.client.get_experiment(experiment_id or lab.experiment_id)
    return lab.manager().blob_store.addresses.path_of(experiment.artifact_location)


def uri_of(lab, path):
    """How somebody registers what lies at a path, past the server."""
    return lab.manager().blob_store.addresses.uri_of(path)


def by_id(frame):
    return frame.set_index("id")


def outcomes(report):
    return {result.outcome for result in report.results}


def trashed_run(lab, **options):
    run_id = lab.run(0.1, **options)
    lab.artifacts(run_id, {"weights.bin": b"w" * 100, "plots/a.png": b"p"})
    lab.client.delete_run(run_id)
    return run_id


def trashed_model(lab, run_id):
    model_id = lab.logged_model(run_id)
    lab.client.delete_logged_model(model_id)
    return model_id


def test_what_was_deleted_is_trash_and_what_lives_is_nothing(every):
    lab = every
    live = lab.with_model(0.9)
    run_id, model_id = trashed_run(lab), trashed_model(lab, live)
    alone = trashed_model(lab, "")
    found = lab.manager().find_orphans()
    assert set(found["id"]) == {run_id, model_id, alone}
    assert set(found["kind"]) == {"trash"}
    assert found["deletable"].all()
    row = by_id(found).loc[run_id]
    assert (row["files"], row["bytes"]) == (2, 101)
    assert row["prefix"] == f"{roots(lab)}/{run_id}/artifacts/"
    assert f"says that run {run_id} is deleted" in row["evidence"]
    assert row["experiment_name"] == f"{lab.plugin} / first"


def test_a_live_model_of_a_deleted_run_is_no_trash(lab):
    run_id = lab.with_model(0.1)
    lab.client.delete_run(run_id)
    found = lab.manager().find_orphans()
    assert list(found["id"]) == [run_id], "the run's plot alone"


def test_a_deleted_experiment_makes_trash_of_its_runs_and_models(every):
    lab = every
    gone = lab.experiment("gone")
    run_id = lab.with_model(0.9, experiment_id=gone)
    (model,) = lab.client.search_logged_models([gone])
    lab.client.delete_experiment(gone)
    manager = lab.manager()
    found = manager.find_orphans()
    assert set(found["id"]) == {run_id, model.model_id}
    assert set(found["kind"]) == {"trash"}
    assert list(manager.find_orphans(f"{lab.plugin} / gone")["kind"]) == ["trash", "trash"]
    assert manager.find_orphans(f"{lab.plugin} / first").empty
    assert outcomes(manager.delete_orphans(found, progress=False)) == {"deleted"}
    assert not [name for name in lab.blob_names() if not name.startswith("expmgr-journal/")]


def test_what_the_server_says_nothing_of_is_unknown_and_named_with_what_is_known(every, put_blob):
    lab = every
    root, outside = roots(lab), uuid.uuid4().hex
    lab.with_model(0.9)
    put_blob(f"{root}/{NOBODY}/artifacts/model/MLmodel")
    put_blob(
        f"{root}/models/m-{NOBODY}/artifacts/MLmodel",
        f"run_id: {NOBODY}\nmodel_id: m-{NOBODY}".encode(),
    )
    put_blob(f"{root}/stray/deep/er/file.bin", b"123")
    put_blob(f"{root}/loose.txt", b"12")
    put_blob(f"{root}/traces/tr-{NOBODY}/artifacts/traces.json")
    put_blob(f"{outside}/7/{NOBODY}/artifacts/weights.bin")
    put_blob(f"{outside}/traces/tr-{NOBODY}/artifacts/traces.json")
    put_blob(f"{outside}-data/part/0.csv")
    manager = lab.manager()
    found = manager.find_orphans().set_index("prefix")
    assert set(found["kind"]) == {"unknown"}
    assert set(found.index) == {
        f"{root}/{NOBODY}/artifacts/",
        f"{root}/models/m-{NOBODY}/artifacts/",
        f"{root}/stray/deep/",
        f"{root}/",
        f"{outside}/7/{NOBODY}/artifacts/",
        f"{outside}-data/",
    }
    deletable = {prefix for prefix, one in found["deletable"].items() if one}
    assert deletable == {prefix for prefix in found.index if prefix.endswith("/artifacts/")}
    evidence = found["evidence"]
    assert f"no run {NOBODY}" in evidence[f"{root}/{NOBODY}/artifacts/"]
    assert f"names run {NOBODY}" in evidence[f"{root}/models/m-{NOBODY}/artifacts/"]
    assert "below no experiment's root" in evidence[f"{outside}-data/"]
    assert evidence.str.contains("another server or tool may own it").all()
    inner = set(manager.find_orphans(f"{lab.plugin} / first")["prefix"])
    assert inner == {prefix for prefix in found.index if prefix.startswith(f"{root}/")}


def test_a_copy_of_what_was_deleted_is_no_trash(lab, put_blob):
    run_id, model_id = trashed_run(lab), trashed_model(lab, "")
    copies = {f"copy/{run_id}/artifacts/", f"copy/models/{model_id}/artifacts/"}
    for prefix in copies:
        put_blob(f"{prefix}weights.bin")
    found = lab.manager().find_orphans().set_index("prefix")
    assert set(found.index[found["kind"] == "unknown"]) == copies
    assert found.loc[list(copies), "evidence"].str.contains("in the trash and keeps its").all()


@pytest.mark.parametrize("backend", ["proxied"], indirect=True)
@pytest.mark.parametrize("below", [None, "/elsewhere"])
def test_nothing_that_lives_is_unknown_to_who_did_not_say_where_the_server_keeps_it(every, below):
    lab = every
    live, deleted = lab.with_model(0.9), trashed_run(lab)
    (output,) = lab.client.get_run(live).outputs.model_outputs
    told = None if below is None else lab.backend.artifacts_destination + below
    manager = lab.manager(artifacts_destination=told)
    found = by_id(manager.find_orphans("all"))
    assert not {live, output.model_id} & set(found.index)
    assert found.loc[deleted, "kind"] == "unknown"
    assert "may keep its artifacts here" in found.loc[deleted, "evidence"]
    before = lab.blob_names()
    folders = (f"{live}/artifacts/", f"models/{output.model_id}/artifacts/")
    for folder in folders:
        with pytest.raises(InvalidInputError, match="a live run or model owns"):
            manager.delete_orphans(prefixes=f"{roots(lab)}/{folder}", progress=False)
    assert lab.blob_names() == before


def test_every_byte_that_usage_calls_trash_or_unknown_is_in_the_table(lab, put_blob):
    trashed_run(lab)
    trashed_model(lab, lab.with_model(0.9))
    put_blob(f"{roots(lab)}/{NOBODY}/artifacts/model/MLmodel", b"12345")
    put_blob(f"{roots(lab)}/stray.txt", b"123")
    put_blob("outside/of/it.bin", b"1234567")
    manager = lab.manager()
    usage = manager.storage_usage().groupby("kind")[["bytes", "other_bytes"]].sum().sum(axis=1)
    found = manager.find_orphans().groupby("kind")["bytes"].sum()
    assert found["unknown"] == usage["unknown"] == 15
    # MLflow still tells a deleted model of a live run: usage counts it with its run.
    assert found["trash"] >= usage["trash"] > 0


def test_trash_goes_and_nothing_else(every, put_blob):
    lab = every
    live = lab.with_model(0.9)
    run_id, model_id = trashed_run(lab), trashed_model(lab, live)
    unknown = f"{roots(lab)}/{NOBODY}/artifacts/"
    put_blob(f"{unknown}weights.bin")
    before = set(lab.blob_names())
    manager = lab.manager()
    found = manager.find_orphans()
    report = manager.delete_orphans(found, progress=False)
    gone = before - set(lab.blob_names())
    assert gone == {n for n in before if f"{run_id}/artifacts/" in n or f"{model_id}/" in n}
    assert {result.run_id: result.outcome for result in report.results} == {
        f"{roots(lab)}/{run_id}/artifacts/": "deleted",
        model_id: "deleted",
        unknown: "protected",
    }
    assert list(manager.find_orphans()["prefix"]) == [unknown]
    again = manager.delete_orphans(found[found["kind"] == "trash"], progress=False)
    assert outcomes(again) == {"not_found"}


def test_the_journal_keeps_the_deletion_of_trash_as_a_blob(lab):
    run_id, model_id = trashed_run(lab), trashed_model(lab, "")
    manager = lab.manager()
    assert outcomes(manager.delete_orphans(manager.find_orphans(), progress=False)) == {"deleted"}
    journal = [name for name in lab.blob_names() if name.startswith("expmgr-journal/")]
    assert journal == sorted(f"expmgr-journal/{id_}.1.json" for id_ in (run_id, model_id))
    log = manager.deletion_log().set_index("id")
    assert list(log["state"]) == ["deleted", "deleted"]
    assert (log.loc[f"{roots(lab)}/{run_id}/artifacts/", "bytes"]) == 101
    assert manager.storage_usage().set_index("kind").loc["journal", "other_files"] == 2
    assert "expmgr-journal/" not in set(manager.find_orphans()["prefix"])


@pytest.mark.parametrize("how", ["pinned", "registered", "registered by path", "initial"])
def test_trash_obeys_protection(lab, how):
    run_id = lab.run(0.1)
    lab.history_model(run_id)
    name = f"kept-{uuid.uuid4().hex[:8]}"
    if how == "pinned":
        lab.manager().pin(run_id, "for the paper")
    elif how == "initial":
        lab.client.set_tag(run_id, "expmgr.initial_model", "true")
    else:
        lab.client.create_registered_model(name)
        path = f"{roots(lab)}/{run_id}/artifacts/model"
        named = {"run_id": run_id} if how == "registered" else {}
        lab.client.create_model_version(name, uri_of(lab, path), **named)
    lab.client.delete_run(run_id)
    manager = lab.manager()
    found = manager.find_orphans()
    assert how.split()[0] in found["protected_by"][0]
    assert not found["deletable"][0]
    before = lab.blob_names()
    report = manager.delete_orphans(found, progress=False)
    assert outcomes(report) == {"protected"}
    assert lab.blob_names() == before


def test_a_deleted_model_that_a_pinned_run_uses_stays(lab):
    model_id = lab.logged_model(lab.run(0.1))
    user = lab.run(0.2, tags={"expmgr.keep": "yes"})
    lab.link(user, model_id)
    lab.client.delete_logged_model(model_id)
    manager = lab.manager()
    found = manager.find_orphans()
    assert "used" in found["protected_by"][0]
    before = lab.blob_names()
    assert outcomes(manager.delete_orphans(found, progress=False)) == {"protected"}
    assert lab.blob_names() == before


def test_what_was_restored_or_changed_since_stays(every, put_blob):
    lab = every
    restored, changed, added = trashed_run(lab), trashed_run(lab), trashed_run(lab)
    manager = lab.manager()
    found = manager.find_orphans()
    lab.client.restore_run(restored)
    put_blob(f"{roots(lab)}/{changed}/artifacts/weights.bin", b"other")
    put_blob(f"{roots(lab)}/{added}/artifacts/more.bin")
    before = lab.blob_names()
    report = manager.delete_orphans(found, progress=False)
    assert outcomes(report) == {"failed"}
    assert lab.blob_names() == before
    messages = "\n".join(result.message for result in report.results)
    assert "is no trash" in messages
    assert "find again" in messages


def test_what_is_unknown_goes_only_by_name(every, put_blob):
    lab = every
    one, other = (f"{roots(lab)}/{uuid.uuid4().hex}/artifacts/" for _ in range(2))
    put_blob(f"{one}weights.bin")
    put_blob(f"{other}weights.bin")
    manager = lab.manager()
    report = manager.delete_orphans(prefixes=[one], progress=False)
    assert [(r.run_id, r.outcome) for r in report.results] == [(one, "deleted")]
    assert [name for name in lab.blob_names() if name.startswith((one, other))] == [
        f"{other}weights.bin"
    ]
    record = json.loads(
        manager.blob_store.read_text(
            next(name for name in lab.blob_names() if name.startswith("expmgr-journal/"))
        )
    )
    assert record["state"] == "deleted"


def test_an_unknown_folder_that_the_registry_names_stays(lab, put_blob):
    prefix = f"{roots(lab)}/{NOBODY}/artifacts/"
    put_blob(f"{prefix}model/MLmodel")
    name = f"kept-{uuid.uuid4().hex[:8]}"
    lab.client.create_registered_model(name)
    lab.client.create_model_version(name, uri_of(lab, f"{prefix}model"))
    manager = lab.manager()
    assert not manager.find_orphans()["deletable"].any()
    report = manager.delete_orphans(prefixes=prefix, progress=False)
    assert outcomes(report) == {"protected"}


def test_a_prefix_that_is_none_or_is_owned_is_refused_and_all_are_named(lab, put_blob):
    live = lab.with_model(0.9)
    root = roots(lab)
    put_blob(f"{root}/stray/file.bin")
    put_blob(f"{root}/{NOBODY}/artifacts/weights.bin")
    before = lab.blob_names()
    manager = lab.manager()
    wrong = [f"{root}/stray/", f"{root}/", f"{root}/{live}/", "expmgr-journal/x/artifacts/"]
    owned = f"{root}/{live}/artifacts/"
    inside = f"{root}/{NOBODY}/artifacts/weights/"
    with pytest.raises(InvalidInputError) as error:
        manager.delete_orphans(
            prefixes=[*wrong, inside, owned, f"{root}/{NOBODY}/artifacts/"], progress=False
        )
    for prefix in (*wrong, inside, owned):
        assert prefix in str(error.value)
    assert lab.blob_names() == before
    for prefix in ("", "/", " ", "../x/artifacts/", f"{root}//{NOBODY}/artifacts", 7):
        with pytest.raises(InvalidInputError):
            manager.delete_orphans(prefixes=[prefix], progress=False)
    assert lab.blob_names() == before


def test_bad_calls_are_one_clear_error(lab):
    manager = lab.manager()
    with pytest.raises(InvalidInputError, match="prefixes"):
        manager.delete_orphans()
    with pytest.raises(InvalidInputError, match="find_orphans"):
        manager.delete_orphans(manager.runs())
    with pytest.raises(NotFoundError):
        manager.find_orphans("nowhere")
    assert not manager.delete_orphans(manager.find_orphans(), progress=False).results


def test_a_root_that_two_experiments_share_is_said(lab):
    location = lab.client.get_experiment(lab.experiment_id).artifact_location
    lab.client.create_experiment(f"other-{uuid.uuid4().hex[:8]} / twin", location)
    trashed_run(lab)
    found = lab.manager().find_orphans()
    assert "share the root" in found["evidence"][0]


def died(manager, call=None, *, whole=False):
    """A deletion, of orphans or by a call, whose process dies after one file, or the last."""

    class Died(BaseException):
        pass

    def delete(locations, *, etags, **options):
        first = min(etags)
        if whole:
            real(locations, etags=etags, **options)
        else:
            real(locations, etags={first: etags[first]}, only=frozenset({first}))
        raise Died

    real, manager.blob_store.delete = manager.blob_store.delete, delete
    try:
        with pytest.raises(Died):
            (call or (lambda: manager.delete_orphans(manager.find_orphans(), progress=False)))()
    finally:
        manager.blob_store.delete = real


def test_what_a_dead_process_left_of_trash_is_finished_and_no_more(every, put_blob):
    lab = every
    run_id = trashed_run(lab)
    manager = lab.manager()
    died(manager)
    folder = f"{roots(lab)}/{run_id}/artifacts/"
    assert len([name for name in lab.blob_names() if name.startswith(folder)]) == 1
    (journal,) = (name for name in lab.blob_names() if name.startswith("expmgr-journal/"))
    assert list(manager.deletion_log()["state"]) == ["deleting"]
    assert not manager.resume_deletions().results, "its owner may still be at work"
    refused = manager.delete_orphans(manager.find_orphans(), progress=False)
    assert "is being deleted by" in refused.results[0].message
    late(lab, manager, journal)
    put_blob(f"{folder}newer.bin")
    assert list(manager.deletion_log()["state"]) == ["interrupted"]
    report = manager.resume_deletions()
    assert [name for name in lab.blob_names() if name.startswith(folder)] == [f"{folder}newer.bin"]
    assert "came or changed after the plan" in report.results[0].message
    assert [name for name in lab.blob_names() if name.startswith("expmgr-journal/")] == [journal]


def late(lab, manager, name):
    """Let the deadline of a journal's blob pass."""
    (blob,) = (one for one in manager.blob_store.list("expmgr-journal/") if one.name == name)
    record = json.loads(manager.blob_store.read_text(name))
    record["deadline"] = record["began"] + 1
    manager.blob_store.write_text(name, json.dumps(record), replaces=blob.etag)


def test_what_was_restored_meanwhile_is_not_resumed(lab):
    run_id = trashed_run(lab)
    manager = lab.manager()
    died(manager)
    (journal,) = (name for name in lab.blob_names() if name.startswith("expmgr-journal/"))
    late(lab, manager, journal)
    lab.client.restore_run(run_id)
    before = lab.blob_names()
    assert outcomes(manager.resume_deletions()) == {"failed"}
    assert lab.blob_names() == before
    assert not manager.resume_deletions(f"{lab.plugin} / first").results


def test_what_this_server_does_not_know_any_more_goes_on_by_name_only(lab):
    run_id = trashed_run(lab)
    manager = lab.manager()
    died(manager)
    (journal,) = (name for name in lab.blob_names() if name.startswith("expmgr-journal/"))
    late(lab, manager, journal)
    lab.client._tracking_client.store._hard_delete_run(run_id)
    before = lab.blob_names()
    (result,) = manager.resume_deletions().results
    assert result.outcome == "failed"
    assert "It may live on another one" in result.message
    assert lab.blob_names() == before
    folder = f"{roots(lab)}/{run_id}/artifacts/"
    assert outcomes(manager.delete_orphans(prefixes=folder, progress=False)) == {"deleted"}
    assert not [name for name in lab.blob_names() if name.startswith(folder)]
    assert not manager.resume_deletions().results


def test_a_folder_that_somebody_named_is_finished(lab):
    run_id = trashed_run(lab)
    lab.client._tracking_client.store._hard_delete_run(run_id)
    manager = lab.manager()
    folder = f"{roots(lab)}/{run_id}/artifacts/"
    died(manager, lambda: manager.delete_orphans(prefixes=folder, progress=False))
    (journal,) = (name for name in lab.blob_names() if name.startswith("expmgr-journal/"))
    late(lab, manager, journal)
    assert outcomes(manager.resume_deletions()) == {"deleted"}
    assert not [name for name in lab.blob_names() if name.startswith(folder)]


def test_a_record_whose_run_goes_to_the_trash_midway_closes_as_a_blob(lab):
    lab.best()
    run_id = lab.with_model(0.1)
    manager = lab.manager()
    real = manager.blob_store.delete

    def delete(locations, **options):
        lab.client.delete_run(run_id)
        return real(locations, **options)

    manager.blob_store.delete = delete
    result = manager.delete_model(run_id)
    assert result
    assert "could not record" not in result.message
    assert f"expmgr-journal/{run_id}.1.json" in lab.blob_names()
    assert list(manager.deletion_log()["state"]) == ["deleted"], "and its tag is not counted too"
    assert not manager.resume_deletions().results
