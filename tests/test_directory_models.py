"""A directory that a run logged as a model goes by its own id, and nothing of its run with it."""

from __future__ import annotations

import inspect
import json

import pytest
from lab import MODEL_FILES, Lab
from mlflow.entities import Metric
from test_crash_and_resume import Killed, dying_after, expire

from expmgr import ExperimentsManagerWithAzureBlobBackend, NotFoundError
from expmgr.tracking.journal import read_records


@pytest.fixture
def contents(azurite, container):
    """A function that returns every blob's bytes and ETag by name."""
    from azure.storage.blob import BlobServiceClient

    def read() -> dict[str, tuple[bytes, str]]:
        with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
            client = service.get_container_client(container)
            return {
                blob.name: (client.download_blob(blob.name).readall(), blob.etag)
                for blob in client.list_blobs()
            }

    return read


def with_directories(lab, *paths, value=0.1, tagged=True, **options):
    """A run with a plot, and a model at each path."""
    run_id = lab.run(value, **options)
    for path in paths:
        if tagged:
            lab.history_model(run_id, path)
        else:
            lab.artifacts(run_id, MODEL_FILES, path)
    lab.artifacts(run_id, {"plot.png": b"png"})
    return run_id


def below(names, run_id, path):
    return {name for name in names if f"/{run_id}/artifacts/{path}/" in name}


def row(manager, run_id):
    return manager.runs().set_index("run_id").loc[run_id]


def models_of(manager, run_id):
    table = manager.models()
    return table[table["run_id"] == run_id].set_index("model_id")["model"].to_dict()


# ------------------------------------------------------------------------------ one goes, one stays


def test_one_directory_goes_and_its_sibling_stays_byte_for_byte(backend, request, tmp_path):
    lab = Lab(
        backend,
        request.getfixturevalue("credentials"),
        request.getfixturevalue("blob_names"),
        tmp_path / "lab",
        request.getfixturevalue("plugin_name"),
    )
    contents = request.getfixturevalue("contents")
    lab.best()
    run_id = with_directories(lab, "model", "model2", "model-3")
    before = contents()
    going = below(before, run_id, "model")
    manager = lab.manager()
    plan = manager.plan_deletion(f"{run_id}/model")
    (planned,) = plan
    assert (planned.id, planned.run_id, planned.journal_id) == (f"{run_id}/model", run_id, run_id)
    assert (planned.deletable, planned.files, planned.model) == (True, len(going), "stored")
    result = manager.delete_model(f"{run_id}/model")
    assert (result.outcome, result.run_id) == ("deleted", f"{run_id}/model"), result.message
    assert contents() == {name: blob for name, blob in before.items() if name not in going}
    (record,) = read_records(run_id, lab.tags(run_id))
    assert (record.state, record.asked) == ("deleted", f"{run_id}/model")
    assert [location.path.rpartition("/")[2] for location in record.locations] == ["model"]

    again = manager.delete_model(f"{run_id}/model")
    assert again.outcome == "not_found"
    assert row(manager, run_id)["model"] == "stored"
    others = {f"{run_id}/model-3": "stored", f"{run_id}/model2": "stored"}
    assert models_of(manager, run_id) == others
    manager.storage_usage()
    assert row(manager, run_id)[["model", "files"]].tolist() == ["stored", 4]
    assert models_of(manager, run_id) == others
    assert len(manager.resume_deletions()) == 0
    assert manager.plan_deletion(run_id)[run_id].files == 4
    assert manager.delete_model(run_id)
    assert row(manager, run_id)["model"] == "deleted"
    assert below(contents(), run_id, "model2") == set()


def test_several_of_one_run_go_each_with_a_record_of_its_own(lab):
    lab.best()
    run_id = with_directories(lab, "a", "b", "c")
    manager = lab.manager()
    report = manager.delete_models([f"{run_id}/a", f"{run_id}/c"], progress=False)
    assert report.counts == {"deleted": 2}
    records = read_records(run_id, lab.tags(run_id))
    assert [record.asked for record in records] == [f"{run_id}/a", f"{run_id}/c"]
    assert models_of(manager, run_id) == {f"{run_id}/b": "stored"}
    assert manager.delete_models([f"{run_id}/b"], progress=False).counts == {"deleted": 1}
    assert row(manager, run_id)["model"] == "deleted"
    assert [name for name in lab.blob_names() if f"/{run_id}/" in name] == [
        name for name in lab.blob_names() if name.endswith(f"{run_id}/artifacts/plot.png")
    ]


def test_more_directories_than_are_asked_for_one_by_one(lab):
    lab.best()
    runs = [with_directories(lab, "a", "b") for _ in range(10)]
    manager = lab.manager()
    plan = manager.plan_deletion([f"{run_id}/a" for run_id in runs])
    assert [run.id for run in plan.deletable] == [f"{run_id}/a" for run_id in runs]
    assert manager.delete_models(plan, progress=False).counts == {"deleted": 10}
    for run_id in runs:
        assert not below(lab.blob_names(), run_id, "a")
        assert len(below(lab.blob_names(), run_id, "b")) == 2


def test_an_override_is_called_with_the_run_and_handed_this_directory_alone(lab):
    seen = []

    class Own(ExperimentsManagerWithAzureBlobBackend):
        def _delete_model(self, run_id, experiment_id=None):
            with self._hand_overs.taken(run_id, overridden=True) as current:
                seen.append((run_id, [place.path for place in current.locations]))
            return super()._delete_model(run_id, experiment_id)

    lab.best()
    run_id = with_directories(lab, "a", "b")
    assert lab.manager(Own).delete_model(f"{run_id}/a")
    ((called, places),) = seen
    assert called == run_id
    assert [place.rpartition("/")[2] for place in places] == ["a"]
    assert below(lab.blob_names(), run_id, "b")


def test_a_path_that_the_tag_ends_with_a_slash_is_the_same_directory(lab):
    lab.best()
    run_id = with_directories(lab, "model", "other")
    history = [{"artifact_path": "model/"}, {"artifact_path": "other"}]
    lab.client.set_tag(run_id, "mlflow.log-model.history", json.dumps(history))
    manager = lab.manager()
    assert set(models_of(manager, run_id)) == {f"{run_id}/model", f"{run_id}/other"}
    plan = manager.plan_deletion(f"{run_id}/model")
    assert manager.delete_models(plan, progress=False).counts == {"deleted": 1}
    assert below(lab.blob_names(), run_id, "other")


# --------------------------------------------------------------------------------------- protection


def registered_by_run(lab, run_id):
    lab.client.create_registered_model("churn")
    lab.client.create_model_version("churn", f"runs:/{run_id}/a")


def registered_by_source(lab, run_id):
    lab.client.create_registered_model("churn")
    source = f"{lab.client.get_run(run_id).info.artifact_uri}/a"
    lab.client.create_model_version("churn", source, run_id)


PROTECTING = {
    "registered by run": (registered_by_run, "registered"),
    "registered by source": (registered_by_source, "registered"),
    "pinned": (lambda lab, run_id: lab.client.set_tag(run_id, "expmgr.keep", "mine"), "pinned"),
    "initial": (
        lambda lab, run_id: lab.client.set_tag(run_id, "expmgr.initial_model", "true"),
        "initial",
    ),
    "active": (lambda lab, run_id: lab.client.update_run(run_id, "RUNNING"), "active"),
    "best": (lambda lab, run_id: lab.client.log_metric(run_id, "accuracy", 0.999), "best"),
}


@pytest.mark.parametrize("how", PROTECTING)
def test_it_is_refused_for_its_own_reasons_and_the_click_asks_again(lab, contents, how):
    protect, kind = PROTECTING[how]
    lab.best()
    run_id = with_directories(lab, "a", "b")
    manager = lab.manager()
    early = manager.plan_deletion(f"{run_id}/a")
    assert early.deletable
    protect(lab, run_id)
    before = contents()
    (late,) = manager.plan_deletion(f"{run_id}/a")
    assert {reason.kind for reason in late.reasons} == {kind}
    assert (
        manager.models().set_index("model_id").loc[f"{run_id}/a", "protected_by"].startswith(kind)
    )
    results = [
        manager.delete_model(f"{run_id}/a"),
        manager.delete_model(f"{run_id}/a", plan=early, force=True),
        *manager.delete_models(early, progress=False),
    ]
    assert [result.outcome for result in results] == ["protected"] * 3
    assert contents() == before
    assert manager.delete_model(f"{run_id}/a", force=True)
    assert set(contents()) == set(before) - below(before, run_id, "a")


@pytest.mark.parametrize("path", ["a", "my model"])
def test_a_registered_directory_stays_and_its_sibling_goes(lab, contents, path):
    """MLflow writes a version's run beside its place: of that run it is this directory's alone."""
    lab.best()
    run_id = with_directories(lab, path, "b")
    lab.logged_model(run_id)
    root = lab.client.get_run(run_id).info.artifact_uri
    lab.client.create_registered_model("churn")
    lab.client.create_model_version("churn", f"{root}/{path.replace(' ', '%20')}", run_id)
    lab.client.create_registered_model("copy")
    lab.client.copy_model_version("models:/churn/1", "copy")
    manager = lab.manager()
    table = manager.models().set_index("model_id")["protected_by"]
    assert {id_: bool(table[id_]) for id_ in table.index if id_.startswith(run_id)} == {
        f"{run_id}/{path}": True,
        f"{run_id}/b": False,
    }
    before = contents()
    assert manager.delete_model(run_id).outcome == "protected"
    assert manager.delete_model(f"{run_id}/{path}").outcome == "protected"
    assert manager.delete_model(f"{run_id}/b")
    going = below(before, run_id, "b")
    assert contents() == {name: blob for name, blob in before.items() if name not in going}
    # Which LoggedModel of the run a version with its id may mean, nothing tells: they stay.
    (logged,) = (
        id_
        for id_, maker in manager.models()[["model_id", "run_id"]].values
        if maker == run_id and id_.startswith("m-")
    )
    assert manager.delete_model(logged).outcome == "protected"


@pytest.mark.parametrize(
    "source",
    [
        "{root}",
        "{root}/",
        "{root}/b/data",
        "{root}/c/../b",
        "{root}/c",
        "{root}/A",
        "{root}//a",
        "{root}/%2e%2e/x",
        "runs:/{run}/a",
        "runs:/{run}/b",
        "s3://elsewhere/{run}/artifacts/a",
        "{other}",
        "file:///{run}/a",
    ],
)
def test_a_version_of_which_the_place_is_not_certain_is_of_all_models_of_its_run(lab, source):
    lab.best()
    run_id, other = with_directories(lab, "a", "b"), lab.run(0.1)
    root = lab.client.get_run(run_id).info.artifact_uri
    lab.client.create_registered_model("churn")
    place = source.format(root=root, run=run_id, other=lab.client.get_run(other).info.artifact_uri)
    store = lab.client._get_registry_client().store
    # Later ones than 3.7 open a session for reading unless told otherwise.
    asked = inspect.signature(store.ManagedSessionMaker).parameters
    with store.ManagedSessionMaker(**({"read_only": False} if asked else {})) as session:
        from mlflow.store.model_registry.dbmodels.models import SqlModelVersion

        session.add(
            SqlModelVersion(
                name="churn",
                version=1,
                source=place,
                run_id=run_id,
                creation_time=1,
                last_updated_time=1,
                status="READY",
            )
        )
    manager = lab.manager()
    (plan,) = manager.plan_deletion(f"{run_id}/b")
    assert {reason.kind for reason in plan.reasons} == {"registered"}
    assert manager.models().set_index("model_id").loc[f"{run_id}/b", "protected_by"]


def test_a_sibling_that_is_best_stays_and_the_other_goes(lab, contents):
    """A LoggedModel of the same run, which another run evaluated best."""
    lab.best(0.5)
    run_id = with_directories(lab, "a")
    model_id = lab.logged_model(run_id)
    evaluation = lab.run()
    value = Metric("accuracy", 0.97, 1, 0, model_id=model_id, run_id=evaluation)
    lab.client.log_batch(evaluation, metrics=[value])
    manager = lab.manager()
    before = contents()
    assert manager.delete_model(run_id).outcome == "protected", "a run is all or nothing"
    assert manager.delete_model(model_id).outcome == "protected"
    assert manager.delete_model(f"{run_id}/a")
    going = below(before, run_id, "a")
    assert contents() == {name: blob for name, blob in before.items() if name not in going}
    assert models_of(manager, run_id) == {model_id: "stored"}


def test_a_sibling_half_deleted_takes_the_protection_from_nobody(lab):
    """It has the better value and still its MLmodel, but it is whole no more."""
    from mlflow.entities import LoggedModelOutput

    run_id = lab.run()
    models = []
    for step, value in ((1, 0.7), (2, 0.95)):
        model = lab.client.create_logged_model(lab.experiment_id, source_run_id=run_id)
        lab.client.log_model_artifacts(model.model_id, lab._local(MODEL_FILES))
        lab.client.finalize_logged_model(model.model_id, "READY")
        lab.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
        entry = Metric("accuracy", value, step, step, model_id=model.model_id, run_id=run_id)
        lab.client.log_batch(run_id, metrics=[entry])
        models.append(model.model_id)
    with pytest.raises(Killed):
        lab.manager(dying_after(1)).delete_model(models[1], force=True)
    expire(lab, run_id)
    manager = lab.manager()
    manager.storage_usage()
    assert models_of(manager, run_id) == {models[0]: "stored", models[1]: "interrupted"}
    table = manager.models().set_index("model_id")
    assert table.loc[models[0], "protected_by"].startswith("best")
    assert manager.delete_model(models[0]).outcome == "protected"


# --------------------------------------------------------------------- what is named, and how often


def test_where_the_run_is_named_it_includes_the_directory(lab):
    lab.best()
    run_id = with_directories(lab, "a", "b")
    manager = lab.manager()
    for ids in ([run_id, f"{run_id}/a"], [f"{run_id}/b", run_id]):
        plan = manager.plan_deletion(ids)
        assert [run.id for run in plan] == [run_id]
        assert plan.files == 4
    with pytest.raises(NotFoundError, match=f"{run_id}/nothing"):
        manager.plan_deletion([run_id, f"{run_id}/nothing"])


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        ".",
        "..",
        "a/..",
        "../a",
        "b/../a",
        "a/",
        "/a",
        "a//",
        "a\\b",
        "A",
        "%61",
        "c",
        " a",
    ],
)
def test_a_path_that_is_none_of_the_runs_models_is_refused_in_words(lab, path, tagged):
    lab.best()
    run_id = with_directories(lab, "a", *(["b"] if tagged else []), tagged=tagged)
    before = lab.blob_names()
    manager = lab.manager()
    id_ = f"{run_id}/{path}"
    results = [manager.delete_model(id_)]
    if path in {"A", "%61", "c"}:  # it may be one, and the run has none of that name
        with pytest.raises(NotFoundError) as caught:
            manager.plan_deletion([id_])
        assert repr(id_) in str(caught.value)
        results += manager.delete_models([id_], progress=False)
    else:
        (plan,) = manager.plan_deletion(id_)
        assert plan.problem
        assert not plan.deletable
        assert not plan.locations
        results += manager.delete_models([id_], progress=False)
    assert {result.outcome for result in results} <= {"failed", "not_found"}
    assert all(repr(id_) in result.message for result in results)
    assert manager._delete_model(id_) is False
    assert lab.blob_names() == before


@pytest.mark.parametrize("id_", ["0" * 32 + "/a", "/a", "nobody/a"])
def test_a_directory_of_no_run_is_not_found(lab, id_):
    lab.best()
    result = lab.manager().delete_model(id_)
    assert result.outcome in {"not_found", "failed"}
    assert id_ in result.message or "no run" in result.message


def test_a_directory_has_no_raw_artifacts_and_is_no_logged_model(lab):
    lab.best()
    run_id = with_directories(lab, "a", "b")
    model_id = lab.logged_model(run_id)
    before = lab.blob_names()
    manager = lab.manager()
    for options in ({"part": "raw"}, {"model_ids": [model_id]}):
        (plan,) = manager.plan_deletion(f"{run_id}/a", **options)
        assert repr(f"{run_id}/a") in plan.problem
    assert manager.delete_model(f"{run_id}/a", model_ids=[model_id]).outcome == "failed"
    assert lab.blob_names() == before


# ------------------------------------------------------------------------------- one within another


def test_a_directory_within_another_goes_with_that_one_only(lab):
    lab.best()
    run_id = with_directories(lab, "model", "model/inner", "other")
    manager = lab.manager()
    manager.storage_usage()
    outer, inner = f"{run_id}/model", f"{run_id}/model/inner"
    assert models_of(manager, run_id) == {outer: "stored", f"{run_id}/other": "stored"}
    assert row(manager, run_id)["files"] == 6, "each file once"
    assert manager.plan_deletion(run_id).files == 6
    before = lab.blob_names()
    refused = manager.delete_model(inner)
    assert refused.outcome == "failed"
    assert repr(outer) in refused.message
    assert lab.blob_names() == before
    for ids in ([inner, outer], [outer, inner]):
        plan = manager.plan_deletion(ids)
        assert [(run.id, run.files) for run in plan] == [(outer, 4)]
    assert manager.delete_models(plan, progress=False).counts == {"deleted": 1}
    assert not below(lab.blob_names(), run_id, "model")
    assert below(lab.blob_names(), run_id, "other")


@pytest.mark.parametrize("whole", ["", ".", "../x", "a/../.."])
def test_where_one_of_the_paths_may_be_anything_none_goes_and_none_is_offered(lab, whole):
    lab.best()
    run_id = with_directories(lab, "a")
    history = [{"artifact_path": "a"}, {"artifact_path": whole}]
    lab.client.set_tag(run_id, "mlflow.log-model.history", json.dumps(history))
    before = lab.blob_names()
    manager = lab.manager()
    for id_ in (run_id, f"{run_id}/a"):
        assert manager.delete_model(id_, force=True).outcome == "failed"
    assert row(manager, run_id)["model"] == "elsewhere"
    assert models_of(manager, run_id).get(f"{run_id}/a", "elsewhere") == "elsewhere"
    assert lab.blob_names() == before


# ------------------------------------------------------------------------------ told by files alone


def test_of_several_that_only_files_tell_none_goes_without_its_run(lab):
    """A record of one would be all that may ever go of the run: the other would be forgotten."""
    lab.best()
    run_id = with_directories(lab, "a", "b", tagged=False)
    before = lab.blob_names()
    manager = lab.manager()
    refused = manager.delete_model(f"{run_id}/a", force=True)
    assert refused.outcome == "failed"
    assert "goes with its run only" in refused.message
    assert lab.blob_names() == before
    manager.storage_usage()
    told = manager.models().set_index("model_id")["alone"]
    assert not told[f"{run_id}/a"]
    assert not told[f"{run_id}/b"]
    assert "expmgr.model" not in lab.tags(run_id)
    assert [run.id for run in manager.plan_deletion([run_id, f"{run_id}/a"])] == [run_id]
    assert manager.delete_model(run_id)
    assert not below(lab.blob_names(), run_id, "b")


@pytest.mark.parametrize("gone", [None, 1])
def test_the_only_one_that_files_tell_goes_as_its_run_would(lab, gone):
    lab.best()
    run_id = with_directories(lab, "a", tagged=False)
    manager = lab.manager()
    manager.storage_usage()
    assert models_of(manager, run_id) == {f"{run_id}/a": "stored"}
    (planned,) = manager.plan_deletion(f"{run_id}/a")[f"{run_id}/a"].locations
    assert planned.location.marker_last
    assert planned == manager.plan_deletion(run_id)[run_id].locations[0]
    if gone is not None:
        with pytest.raises(Killed):
            lab.manager(dying_after(gone)).delete_model(f"{run_id}/a")
        expire(lab, run_id)
        (result,) = lab.manager().resume_deletions()
        assert result.outcome == "deleted", result.message
    else:
        assert manager.delete_model(f"{run_id}/a")
    assert manager.delete_model(f"{run_id}/a").outcome == "not_found"
    assert lab.manager().delete_model(run_id).outcome == "not_found"
    assert [name for name in lab.blob_names() if f"/{run_id}/" in name] == [
        name for name in lab.blob_names() if name.endswith(f"{run_id}/artifacts/plot.png")
    ]


# ------------------------------------------------------------------------------ killed, and changed


@pytest.mark.parametrize("gone", [0, 1, None])
def test_a_killed_one_is_resumed_and_nothing_else_goes(lab, contents, gone):
    lab.best()
    run_id = with_directories(lab, "a", "b")
    before = contents()
    going = below(before, run_id, "a")
    with pytest.raises(Killed):
        lab.manager(dying_after(gone)).delete_model(f"{run_id}/a")
    manager = lab.manager()
    assert row(manager, run_id)["model"] == "deleting"
    assert models_of(manager, run_id) == {f"{run_id}/a": "deleting", f"{run_id}/b": "stored"}
    assert manager.delete_model(f"{run_id}/b").outcome == "failed", (
        "one deletion of a run at a time"
    )
    assert len(manager.resume_deletions()) == 0
    expire(lab, run_id)
    assert row(manager, run_id)["model"] == "interrupted"
    assert models_of(manager, run_id) == {f"{run_id}/a": "interrupted", f"{run_id}/b": "stored"}
    (result,) = manager.resume_deletions()
    assert (result.outcome, result.run_id) == ("deleted", f"{run_id}/a"), result.message
    assert contents() == {name: blob for name, blob in before.items() if name not in going}
    assert row(manager, run_id)["model"] == "stored"
    assert models_of(manager, run_id) == {f"{run_id}/b": "stored"}
    assert len(manager.resume_deletions()) == 0
    assert manager.delete_model(f"{run_id}/a").outcome == "not_found"


def test_a_resume_asks_protection_again(lab):
    lab.best()
    run_id = with_directories(lab, "a", "b")
    with pytest.raises(Killed):
        lab.manager(dying_after(1)).delete_model(f"{run_id}/a")
    expire(lab, run_id)
    lab.client.set_tag(run_id, "expmgr.keep", "1")
    before = lab.blob_names()
    (result,) = lab.manager().resume_deletions()
    assert result.outcome == "protected"
    assert lab.blob_names() == before


def test_the_runs_restoration_brings_the_directory_back(lab, put_blob):
    from expmgr.storage.restoration import StorageRestoration

    lab.best()
    run_id = with_directories(lab, "a", "b")
    manager = lab.manager()
    before = lab.blob_names()
    assert manager.delete_model(f"{run_id}/a")
    gone = sorted(set(before) - set(lab.blob_names()))

    def undelete(locations):
        assert [location.path.rpartition("/")[2] for location in locations] == ["a"]
        for name in gone:
            put_blob(name)
        return StorageRestoration(len(gone), len(gone), 0.1)

    manager.blob_store.undelete = undelete
    manager.restore_model(run_id)
    assert models_of(manager, run_id) == {f"{run_id}/a": "stored", f"{run_id}/b": "stored"}
    assert manager.delete_model(f"{run_id}/a")


def test_a_plan_of_one_whose_locations_are_the_others_deletes_nothing(lab):
    from dataclasses import replace

    lab.best()
    run_id = with_directories(lab, "a", "b")
    manager = lab.manager()
    plans = [manager.plan_deletion(f"{run_id}/{path}")[f"{run_id}/{path}"] for path in "ab"]
    forged = replace(plans[0], locations=plans[1].locations)
    before = lab.blob_names()
    assert manager.delete_model(f"{run_id}/a", plan=forged).outcome == "failed"
    assert lab.blob_names() == before


def test_what_the_tag_says_no_more_at_the_click_stays(lab):
    lab.best()
    run_id = with_directories(lab, "a", "b")
    manager = lab.manager()
    plan = manager.plan_deletion(f"{run_id}/a")
    before = lab.blob_names()
    for history in (
        [{"artifact_path": "b"}],
        [{"artifact_path": "a"}, {"artifact_path": "a/.."}],
        None,
    ):
        if history is None:
            lab.client.delete_tag(run_id, "mlflow.log-model.history")
        else:
            lab.client.set_tag(run_id, "mlflow.log-model.history", json.dumps(history))
        assert manager.delete_model(f"{run_id}/a", plan=plan).outcome in {"failed", "not_found"}
    assert lab.blob_names() == before
    assert "expmgr.model" not in lab.tags(run_id)


def test_a_file_that_came_after_the_plan_stays(lab, put_blob):
    lab.best()
    run_id = with_directories(lab, "a", "b")
    manager = lab.manager()
    plan = manager.plan_deletion(f"{run_id}/a")
    prefix = plan[f"{run_id}/a"].locations[0].location.prefix
    put_blob(f"{prefix}late.bin")
    (result,) = manager.delete_models(plan, progress=False)
    assert result.outcome == "failed"
    assert below(lab.blob_names(), run_id, "a") == {f"{prefix}late.bin"}


def test_a_run_in_the_trash_records_nothing_so_nothing_goes(lab):
    lab.best()
    run_id = with_directories(lab, "a", "b")
    lab.client.delete_run(run_id)
    before = lab.blob_names()
    result = lab.manager().delete_model(f"{run_id}/a")
    assert result.outcome == "failed"
    assert "trash" in result.message
    assert lab.blob_names() == before
