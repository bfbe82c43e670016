"""Faults of deleting by policy, by part, later and of what nobody owns, each as it was found."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
from test_orphans import died, late, outcomes, roots, trashed_model, trashed_run

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.__main__ import main
from expmgr.catalog.parts import as_part
from expmgr.catalog.places import folder_of, paths_to
from expmgr.cleanup.home import Home
from expmgr.cleanup.orphan_plans import Asked, OrphanPlanner
from expmgr.errors import DeletionError, InvalidInputError
from expmgr.policies import older_than
from expmgr.storage.addresses import Addresses
from expmgr.storage.store import Store
from expmgr.tracking.journal import read_records, write_record

ExperimentsManager = ExperimentsManagerWithAzureBlobBackend


def journal_of(lab):
    return [name for name in lab.blob_names() if name.startswith("expmgr-journal/")]


# ----------------------------------------------------------------------------- resumed orphans


@pytest.mark.parametrize("what", ["run", "model"])
def test_a_process_that_died_after_the_last_file_of_trash_is_closed_by_resume(lab, what):
    if what == "run":
        trashed_run(lab)
    else:
        trashed_model(lab, "")
    manager = lab.manager()
    died(manager, whole=True)
    (journal,) = journal_of(lab)
    late(lab, manager, journal)
    assert list(manager.deletion_log()["state"]) == ["interrupted"]
    assert outcomes(manager.resume_deletions()) == {"deleted"}, "gone already is success by now"
    assert list(manager.deletion_log()["state"]) == ["deleted"]
    assert not manager.resume_deletions().results


def test_a_model_of_an_experiment_in_the_trash_is_resumed_from_its_own_record(lab):
    gone = lab.experiment("gone")
    model_id = lab.logged_model(lab.run(0.9, experiment_id=gone))
    lab.client.delete_experiment(gone)
    manager = lab.manager()
    died(manager, whole=True)
    (record,) = records_of(lab, model_id)
    assert record.state == "deleting"
    write_record(lab.client, replace(record, deadline=1))
    assert not manager.resume_deletions(f"{lab.plugin} / first").results
    assert outcomes(manager.resume_deletions()) == {"deleted"}
    assert [one.state for one in records_of(lab, model_id)] == ["deleted"]


def records_of(lab, model_id):
    return read_records(model_id, dict(lab.client.get_logged_model(model_id).tags))


def test_what_somebody_brought_back_from_the_trash_is_not_resumed_for_ever(lab):
    run_id = trashed_run(lab)
    manager = lab.manager()
    store = manager.blob_store
    real = store.delete

    def half(_locations, *, etags, **_options):
        store.container_client().delete_blob(min(etags))
        raise DeletionError("Azure said no", files=1, attempts=1)

    store.delete = half
    assert outcomes(manager.delete_orphans(manager.find_orphans(), progress=False)) == {"failed"}
    store.delete = real
    lab.client.restore_run(run_id)
    before = lab.blob_names()
    (result,) = manager.resume_deletions()
    assert result.outcome == "failed"
    assert "a live run or model owns" in result.message
    assert lab.blob_names() == before
    assert not manager.resume_deletions().results
    assert list(manager.deletion_log()["state"]) == ["cancelled"]
    lab.client.delete_run(run_id)
    assert outcomes(manager.delete_orphans(manager.find_orphans(), progress=False)) == {"deleted"}


def test_a_directory_of_a_run_that_went_to_the_trash_midway_is_not_resumed_for_ever(lab):
    lab.best()
    run_id = lab.run(0.1)
    lab.history_model(run_id)
    manager = lab.manager()
    real = manager.blob_store.delete

    def delete(_locations, **_options):
        lab.client.delete_run(run_id)
        raise DeletionError("Azure said no", run_id=run_id)

    manager.blob_store.delete = delete
    assert manager.delete_model(run_id).outcome == "failed"
    manager.blob_store.delete = real
    assert journal_of(lab), "the tags of a run in the trash cannot be written"
    assert not manager.resume_deletions().results
    assert outcomes(manager.delete_orphans(manager.find_orphans(), progress=False)) == {"deleted"}
    assert not manager.resume_deletions().results


# --------------------------------------------------------------- a _delete_model of somebody's own


class DeletesByQuery(ExperimentsManagerWithAzureBlobBackend):
    """Somebody's own way: all models of the run, as MLflow tells them."""

    def _delete_model(self, run_id, experiment_id=None):
        if run_id.startswith("m-"):
            models = [self.client.get_logged_model(run_id)]
        else:
            models = [
                model
                for model in self.client.search_logged_models([experiment_id])
                if model.source_run_id == run_id
            ]
        finder = self._planner().finder()
        self.blob_store.delete([finder.logged(model).location for model in models])
        return bool(models)


@pytest.mark.parametrize("on", ["class", "instance"])
def test_a_folder_in_the_trash_is_not_given_to_a_step_that_takes_a_run_for_its_models(lab, on):
    lab.best()
    run_id = lab.with_model(0.1)
    lab.client.delete_run(run_id)
    manager = lab.manager(DeletesByQuery if on == "class" else ExperimentsManager)
    if on == "instance":
        manager._delete_model = DeletesByQuery._delete_model.__get__(manager)
    found = manager.find_orphans()
    assert list(found["id"]) == [run_id], "the plot of the run; its model lives"
    before = lab.blob_names()
    report = manager.delete_orphans(found, progress=False)
    assert lab.blob_names() == before
    assert outcomes(report) == {"failed"}
    assert "deletes_parts" in report.results[0].message


def test_a_model_elsewhere_is_not_what_its_unknown_folder_is(lab, put_blob):
    lab.best()
    run_id = lab.with_model(0.1)
    (model,) = (
        one
        for one in lab.client.search_logged_models([lab.experiment_id])
        if one.source_run_id == run_id
    )
    copy = f"copied/models/{model.model_id}/artifacts/"
    put_blob(f"{copy}weights.bin")
    before = lab.blob_names()
    report = lab.manager(DeletesByQuery).delete_orphans(prefixes=[copy], progress=False)
    assert lab.blob_names() == before
    assert outcomes(report) == {"failed"}
    assert outcomes(lab.manager().delete_orphans(prefixes=[copy], progress=False)) == {"deleted"}


def test_a_step_that_calls_expmgrs_and_says_so_deletes_folders(lab):
    class Calls(ExperimentsManager):
        deletes_parts = True

        def _delete_model(self, run_id, experiment_id=None):
            return super()._delete_model(run_id, experiment_id)

    trashed_run(lab)
    manager = lab.manager(Calls)
    assert outcomes(manager.delete_orphans(manager.find_orphans(), progress=False)) == {"deleted"}


# --------------------------------------------------------------------------------------- input


@pytest.mark.parametrize("age", ["6M", " 1M", "1.5 M"])
def test_an_age_in_months_is_not_taken_for_minutes(age):
    with pytest.raises(InvalidInputError, match="months"):
        older_than(age)


def test_a_name_of_a_part_in_a_list_is_refused_and_not_taken_for_a_file():
    with pytest.raises(InvalidInputError, match="by itself"):
        as_part(["optimizer", "checkpoints"])
    with pytest.raises(InvalidInputError, match="'raw'"):
        as_part(["plots/**", "raw"])
    assert as_part(["model.bin", "plots/**"]) == ("model.bin", "plots/**")


@pytest.mark.parametrize("seen", ["", float("nan"), None, 12345, "0123"])
def test_a_row_that_does_not_tell_what_was_found_is_refused(lab, put_blob, seen):
    run_id = trashed_run(lab)
    manager = lab.manager()
    found = manager.find_orphans()
    put_blob(f"{found['prefix'][0]}since.bin")
    found["seen"] = pd.Series([seen], dtype="object")
    before = lab.blob_names()
    with pytest.raises(InvalidInputError, match=run_id):
        manager.delete_orphans(found, progress=False)
    assert lab.blob_names() == before


def test_a_table_that_went_through_a_file_in_any_order_and_twice_deletes_the_same(lab, tmp_path):
    for _ in range(3):
        trashed_run(lab)
    trashed_model(lab, "")
    manager = lab.manager()
    manager.find_orphans().to_csv(tmp_path / "found.csv")
    read = pd.read_csv(tmp_path / "found.csv", dtype={"seen": str})
    report = manager.delete_orphans(pd.concat([read, read]).sample(frac=1), progress=False)
    assert [result.outcome for result in report.results] == ["deleted"] * 4
    assert manager.find_orphans().empty


# ---------------------------------------------------------------------------------- what is found


@pytest.mark.parametrize("root", ["", "mlruns"])
def test_traces_of_a_purged_experiment_below_a_live_root_are_no_orphans(root):
    prefix = f"{root}/" if root else ""
    roots = frozenset([root])
    name = f"{prefix}7/traces/tr-{'a' * 32}/artifacts/traces.json"
    assert folder_of(name, roots, paths_to(roots)) is None
    other = f"{prefix}7/traces/of-mine/artifacts/traces.json"
    assert folder_of(other, roots, paths_to(roots)) is not None


# -------------------------------------------------------------------------------------- requests


def test_deleting_models_in_the_trash_lists_no_active_ones(lab):
    """A list of all models has as many pages as the server has models, for each 25 of the trash."""
    for _ in range(10):
        trashed_model(lab, "")
    manager = lab.manager()
    found = manager.find_orphans()
    client, asked = manager.interactive_client, []
    search = client.search_logged_models
    client.search_logged_models = lambda *a, **k: (asked.append((a, k)), search(*a, **k))[1]
    assert outcomes(manager.delete_orphans(found, progress=False)) == {"deleted"}
    lists = [options for _, options in asked if options.get("max_results", 1000) > 100]
    assert not lists


def test_ten_thousand_folders_of_the_trash_are_told_apart_at_once(lab):
    manager = lab.manager()
    for _ in range(20):
        lab.experiment(uuid.uuid4().hex)
    planner = OrphanPlanner(manager._planner())
    gathered = planner.planner.gathered()
    asked = [Asked(f"{roots(lab)}/{number:032x}/artifacts") for number in range(10_000)]
    counted = Counter()
    finder = gathered.finder

    class Counts:
        def homes(self, experiments):
            counted["homes"] += 1
            return finder.homes(experiments)

    object.__setattr__(gathered, "finder", Counts())
    assert None not in planner._folders(asked, gathered).values()
    assert counted["homes"] == 1


# --------------------------------------------------------------------- policies and dry runs


def test_a_raw_run_is_no_failure_of_a_policy_for_what_runs_have_beside_models(lab):
    lab.best()
    raw = lab.run(0.3)
    lab.artifacts(raw, {"checkpoint-1/model.safetensors": b"w" * 100})
    manager = lab.manager()
    plan = manager.plan_cleanup(part="other", everything=True)
    assert not [run.problem for run in plan.runs if run.problem]
    (kept,) = (one for one in plan.kept if one.id == raw)
    assert "is its model" in kept.why
    assert outcomes(manager.delete_models(plan, progress=False)) == {"deleted"}
    named = manager.plan_deletion(raw, part="other")
    assert "is its model" in named.runs[0].problem, "who names the run is told so"


def test_a_dry_run_refuses_what_yes_would_refuse(lab, monkeypatch, capsys, tmp_path):
    for name, value in {
        "MLFLOW_TRACKING_URI": lab.backend.tracking_uri,
        "EXPMGR_CONTAINER": lab.credentials.container_name,
        "EXPMGR_PLUGIN": lab.plugin,
        "EXPMGR_MAIN_METRIC": "accuracy",
    }.items():
        monkeypatch.setenv(name, value)
    run_id = lab.with_model(0.1)
    plan = lab.manager().plan_deletion(run_id)
    file = str(tmp_path / "plan.json")
    replace(plan, home=Home("http://elsewhere", "other", "container")).save(file)
    late = ["--after", "7d", "--part", "optimizer"]
    for line in (["--plan", file], [run_id, *late]):
        for yes in ([], ["--yes"]):
            assert main(["delete", *line, *yes]) == 2
    assert "elsewhere" in capsys.readouterr().err


# ----------------------------------------------------------- an experiment at the container's top


@pytest.fixture
def top(lab):
    """An experiment whose root is the container itself."""
    base = lab.client.get_experiment(lab.experiment_id).artifact_location
    location = base[: base.index("/mlflow")]
    return lab.client.create_experiment(f"{lab.plugin} / top", location)


def test_what_an_experiment_at_the_top_stores_and_left_is_told(lab, top):
    live = lab.with_model(0.9, experiment_id=top)
    run_id = lab.run(0.1, experiment_id=top)
    lab.artifacts(run_id, {"weights.bin": b"w" * 100})
    lab.client.delete_run(run_id)
    model_id = trashed_model(lab, live)
    elsewhere = trashed_run(lab)
    manager = lab.manager()
    assert set(manager.find_orphans(f"{lab.plugin} / top")["id"]) == {run_id, model_id}
    assert set(manager.find_orphans()["id"]) == {run_id, model_id, elsewhere}
    usage = manager.storage_usage().set_index("kind")
    assert "unknown" not in usage.index
    assert usage["bytes"].sum() + usage["other_bytes"].sum() == sum(
        blob.bytes for blob in manager.blob_store.list("")
    )
    assert outcomes(manager.delete_orphans(manager.find_orphans(), progress=False)) == {"deleted"}
    left = {name for name in lab.blob_names() if not name.startswith("expmgr-journal/")}
    assert {name.partition("/")[0] for name in left} == {live, "models"}
    assert len(left) == 3


def test_a_run_at_the_top_whose_model_is_in_the_trash_is_not_raw(lab, top):
    lab.with_model(0.99, experiment_id=top)
    run_id = lab.run(0.1, experiment_id=top)
    model = lab.client.create_logged_model(top, source_run_id=run_id)
    lab.client.log_model_artifacts(model.model_id, lab._local({"MLmodel": b"flavors: {}\n"}))
    lab.artifacts(run_id, {"notes/raw.bin": b"n" * 10})
    lab.client.delete_logged_model(model.model_id)
    assert lab.manager().delete_model(run_id)
    assert f"{run_id}/artifacts/notes/raw.bin" in lab.blob_names()
    assert f"models/{model.model_id}/artifacts/MLmodel" not in lab.blob_names()


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("wasbs://c@acct.blob.core.windows.net", ""),
        ("wasbs://c@acct.blob.core.windows.net/", ""),
        ("https://acct.blob.core.windows.net/c", ""),
        ("wasbs://c@acct.blob.core.windows.net/a/b", "a/b"),
        ("wasbs://c@acct.blob.core.windows.net//", None),
        ("wasbs://c@acct.blob.core.windows.net/a//", None),
        ("wasbs://c@acct.blob.core.windows.net/a/..", None),
        ("wasbs://c@acct.blob.core.windows.net/a ", None),
        ("wasbs://c@acct.blob.core.windows.net/a?x", None),
        ("wasbs://other@acct.blob.core.windows.net", None),
        ("mlflow-artifacts:/", "kept"),
        ("", None),
    ],
)
def test_a_root_is_a_path_or_the_container_itself(uri, root):
    kept = "wasbs://c@acct.blob.core.windows.net/kept"
    addresses = Addresses(Store("acct", "c", ""), kept)
    assert addresses.root_or_none(uri) == root


# --------------------------------------------------------------------------------------- words


def test_a_folder_of_the_trash_is_called_a_folder(lab):
    run_id = trashed_run(lab)
    manager = lab.manager()
    found = manager.find_orphans()
    assert outcomes(manager.delete_orphans(found, progress=False)) == {"deleted"}
    (again,) = manager.delete_orphans(found, progress=False).results
    prefix = f"{roots(lab)}/{run_id}/artifacts/"
    assert again.message == (
        f"Nothing to delete: folder {prefix} has no files left in the container"
    )


def test_the_log_counts_all_that_a_resumed_deletion_took(lab):
    trashed_run(lab)
    manager = lab.manager()
    died(manager)
    (journal,) = journal_of(lab)
    late(lab, manager, journal)
    assert outcomes(manager.resume_deletions()) == {"deleted"}
    (row,) = manager.deletion_log().to_dict("records")
    assert (row["files"], row["bytes"]) == (2, 101)


def test_usage_counts_a_model_in_the_trash_with_its_living_maker(lab):
    live = lab.with_model(0.9)
    of_run, alone = trashed_model(lab, live), trashed_model(lab, "")
    manager = lab.manager()
    usage = manager.storage_usage()
    trash = usage.loc[usage["kind"] == "trash", ["bytes", "other_bytes"]].sum().sum()
    found = manager.find_orphans().set_index("id")["bytes"]
    assert set(found.index) == {of_run, alone}
    assert trash == found[alone], "deleting the run would take the other one"
    assert usage.set_index("run_id").loc[live, "bytes"] > found[of_run]


def test_records_kept_as_blobs_are_read_several_at_a_time(lab):
    for _ in range(6):
        trashed_run(lab)
    manager = lab.manager()
    assert outcomes(manager.delete_orphans(manager.find_orphans(), progress=False)) == {"deleted"}
    store = manager.blob_store
    together = threading.Barrier(2, timeout=20)
    read = store.read_text
    store.read_text = lambda name, **options: (together.wait(), read(name, **options))[1]
    assert len(manager.deletion_log()) == 6
