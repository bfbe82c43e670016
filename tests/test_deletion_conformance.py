"""What deleting does, the same on SQLite, over HTTP, and where the server proxies artifacts."""

from __future__ import annotations

import json
import logging

import pytest
from lab import MODEL_FILES, Lab

from expmgr.cleanup.planner import Planner
from expmgr.errors import InvalidInputError, LocationError, ProtectedModelError, TrackingError


@pytest.fixture
def lab(backend, credentials, blob_names, tmp_path, plugin_name):
    return Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)


@pytest.fixture
def manager(lab):
    return lab.manager()


def below(names, *parts):
    return [name for name in names if any(f"/{part}/" in f"/{name}" for part in parts)]


# ------------------------------------------------------------------------- what is a run's model


def test_a_logged_model_goes_and_everything_else_stays(lab, manager):
    lab.best()
    run_id = lab.run(0.4)
    model_id = lab.logged_model(run_id)
    lab.artifacts(run_id, {"plot.png": b"png", "model/readme.txt": b"not a model"})
    before = lab.blob_names()
    result = manager.delete_model(run_id)
    assert result, result
    assert (result.files, result.bytes) == (len(MODEL_FILES), sum(map(len, MODEL_FILES.values())))
    assert lab.blob_names() == [name for name in before if model_id not in name]
    run = lab.client.get_run(run_id)
    assert run.data.params == {"depth": "3"}
    assert run.data.metrics == {"accuracy": 0.4}
    assert lab.client.get_logged_model(model_id).tags["expmgr.model"] == "deleted"


def test_the_primitive_says_true_once_and_false_with_an_error_logged_after(lab, manager, caplog):
    run_id = lab.with_model()
    assert manager._delete_model(run_id, lab.experiment_id) is True
    assert below(lab.blob_names(), "models") == []
    with caplog.at_level(logging.ERROR, logger="expmgr"):
        assert manager._delete_model(run_id, lab.experiment_id) is False
    assert run_id in caplog.text


def test_the_primitive_says_false_for_a_run_that_nobody_knows(lab, manager, caplog):
    with caplog.at_level(logging.ERROR, logger="expmgr"):
        assert manager._delete_model("run123", "exp456") is False
    assert "run123" in caplog.text


def test_all_models_of_a_run_go_or_only_those_named(lab, manager):
    lab.best()
    run_id = lab.run(0.1)
    first, second, third = (lab.logged_model(run_id) for _ in range(3))
    assert manager.delete_model(run_id, model_ids=[second])
    assert below(lab.blob_names(), second) == []
    assert below(lab.blob_names(), first)
    assert below(lab.blob_names(), third)
    table = manager.runs().set_index("run_id")
    assert table.loc[run_id, "model"] == "stored"
    assert manager.delete_model(run_id)
    assert below(lab.blob_names(), first, third) == []
    assert manager.runs().set_index("run_id").loc[run_id, "model"] == "deleted"


def test_a_model_that_the_run_did_not_make_cannot_be_named(lab, manager):
    maker, user = lab.with_model(0.9), lab.run(0.1)
    model_id = lab.logged_model(maker)
    lab.link(user, model_id)
    before = lab.blob_names()
    with pytest.raises(InvalidInputError, match="only links to it"):
        manager.delete_model(user, model_ids=[model_id])
    assert lab.blob_names() == before


def test_a_model_that_a_run_merely_links_to_is_never_deleted_through_the_link(lab, manager):
    lab.best()
    maker, user = lab.run(0.2), lab.run(0.1)
    model_id = lab.logged_model(maker)
    lab.link(user, model_id)
    lab.artifacts(user, {"report.html": b"<p>"})
    before = lab.blob_names()
    assert manager.delete_model(user).outcome != "deleted"
    assert manager._delete_model(user) is False
    assert lab.blob_names() == before


def test_a_soft_deleted_logged_model_is_found_and_goes(lab, manager):
    lab.best()
    run_id = lab.run(0.2)
    model_id = lab.logged_model(run_id)
    lab.client.delete_logged_model(model_id)
    assert manager.runs().set_index("run_id").loc[run_id, "model"] == "stored"
    assert manager.delete_model(run_id)
    assert below(lab.blob_names(), model_id) == []


def test_mlflow_2_models_go_by_the_history_tag_and_their_siblings_stay(lab, manager):
    lab.best()
    run_id = lab.run(0.2)
    lab.history_model(run_id, "models/deep/model")
    lab.artifacts(run_id, MODEL_FILES, "models/deep/model2")
    lab.artifacts(run_id, {"plot.png": b"png"})
    before = lab.blob_names()
    assert manager.delete_model(run_id)
    gone = set(before) - set(lab.blob_names())
    assert len(gone) == len(MODEL_FILES)
    assert all(f"/{run_id}/artifacts/models/deep/model/" in name for name in gone)


@pytest.mark.parametrize("path", ["", ".", "..", "model/../../other", "/", "a//b"])
def test_a_history_path_that_is_no_path_is_refused_and_nothing_goes(lab, manager, path):
    lab.best()
    run_id = lab.run(0.2)
    lab.artifacts(run_id, MODEL_FILES, "model")
    history = json.dumps([{"run_id": run_id, "artifact_path": path}])
    lab.client.set_tag(run_id, "mlflow.log-model.history", history)
    before = lab.blob_names()
    result = manager.delete_model(run_id)
    assert result.outcome == "failed"
    assert isinstance(result.error, LocationError)
    with pytest.raises(LocationError):
        manager._delete_model(run_id)
    assert lab.blob_names() == before


def test_a_directory_with_an_mlmodel_file_is_a_model_and_is_taken_once(lab, manager):
    lab.best()
    run_id = lab.run(0.2)
    lab.artifacts(run_id, MODEL_FILES, "out/model")
    lab.artifacts(run_id, {"plot.png": b"png"})
    before = lab.blob_names()
    plan = manager.plan_deletion([run_id])
    assert not plan[run_id].raw_artifacts
    assert manager.delete_model(run_id, plan=plan)
    left = lab.blob_names()
    assert set(before) - set(left) == set(below(before, f"{run_id}/artifacts/out/model"))
    # Without the MLmodel file the rest must not be taken for raw artifacts now.
    assert manager.delete_model(run_id).outcome == "not_found"
    assert manager._delete_model(run_id) is False
    assert lab.blob_names() == left


def test_the_primitive_alone_never_widens_what_it_took_for_the_model(lab, manager):
    run_id = lab.run(0.2)
    lab.artifacts(run_id, MODEL_FILES, "model")
    lab.artifacts(run_id, {"plot.png": b"png"})
    assert manager._delete_model(run_id) is True
    left = lab.blob_names()
    assert [name for name in left if name.endswith("plot.png")]
    assert manager._delete_model(run_id) is False
    assert manager.delete_model(run_id).outcome == "not_found"
    assert lab.blob_names() == left


def test_raw_artifacts_are_the_model_where_mlflow_recorded_none(lab, manager):
    lab.best()
    run_id = lab.run(0.2)
    lab.artifacts(run_id, {"checkpoint-1.pt": b"1" * 500, "sub/checkpoint-2.pt": b"2" * 500})
    assert manager.runs().set_index("run_id").loc[run_id, "model"] == "unknown"
    plan = manager.plan_deletion([run_id])
    assert plan[run_id].raw_artifacts
    assert "all artifacts" in plan[run_id].summary
    assert plan[run_id].model == "artifacts"
    assert manager.delete_model(run_id).files == 2
    assert below(lab.blob_names(), run_id) == []


def test_a_run_without_anything_is_not_found(lab, manager, caplog):
    run_id = lab.run(0.2)
    with caplog.at_level(logging.ERROR, logger="expmgr"):
        assert manager.delete_model(run_id).outcome == "not_found"
        assert manager._delete_model(run_id) is False
    assert run_id in caplog.text
    assert not [key for key in lab.tags(run_id) if key.startswith("expmgr.")]


# ----------------------------------------------------------------------------- how it may end


def test_deleting_twice_is_harmless(lab, manager):
    lab.best()
    run_id = lab.with_model(0.1)
    assert manager.delete_model(run_id).outcome == "deleted"
    left = lab.blob_names()
    assert manager.delete_model(run_id).outcome == "not_found"
    assert lab.blob_names() == left


def test_the_journal_tells_before_and_after(lab, manager):
    lab.best()
    run_id = lab.with_model(0.1)
    seen = []

    class Watching(type(manager)):
        def _delete_model(self, run_id, experiment_id=None):
            seen.append(lab.tags(run_id)["expmgr.model"])
            return super()._delete_model(run_id, experiment_id)

    assert lab.manager(Watching).delete_model(run_id)
    tags = lab.tags(run_id)
    record = json.loads(tags["expmgr.deletion.1"])
    assert seen == ["deleting"]
    assert tags["expmgr.model"] == record["state"] == "deleted"
    assert record["run"] == run_id
    assert record["files"] == len(MODEL_FILES)


def test_a_plan_lets_go_only_what_it_shows(lab, manager):
    lab.best()
    run_id = lab.run(0.1)
    model_id = lab.logged_model(run_id)
    plan = manager.plan_deletion([run_id])
    lab.client.log_model_artifacts(model_id, lab._local({"late.bin": b"late"}))
    result = manager.delete_model(run_id, plan=plan)
    assert result.outcome == "failed"
    (left,) = below(lab.blob_names(), model_id)
    assert left.endswith("late.bin")
    assert result.left == (left,)
    assert manager.runs().set_index("run_id").loc[run_id, "model"] == "interrupted"
    assert manager.delete_model(run_id)
    assert below(lab.blob_names(), model_id) == []


def test_a_run_in_the_trash_cannot_record_so_nothing_is_deleted(lab, manager):
    run_id = lab.with_model(0.1)
    lab.client.delete_run(run_id)
    before = lab.blob_names()
    result = manager.delete_model(run_id, force=True)
    assert result.outcome == "failed"
    assert "trash" in result.message
    assert lab.blob_names() == before


def test_many_runs_end_in_one_report(lab, manager):
    best = lab.best()
    runs = [lab.with_model(value) for value in (0.1, 0.2)]
    empty = lab.run(0.3)
    report = manager.delete_models([*runs, best, empty, "nobody"], progress=False)
    outcomes = {result.run_id: result.outcome for result in report}
    assert outcomes == {
        runs[0]: "deleted",
        runs[1]: "deleted",
        best: "protected",
        empty: "not_found",
        "nobody": "not_found",
    }
    assert report.files == 2 * len(MODEL_FILES)
    assert len(report.to_frame()) == 5


def test_every_result_bears_the_name_that_people_know(lab, manager):
    named = {
        lab.with_model(value, tags={"mlflow.runName": name}): name
        for name, value in (("best", 0.9), ("goes", 0.1), ("goes alone", 0.2))
    }
    best, goes, alone = named
    empty = lab.run(0.3, tags={"mlflow.runName": "empty"})
    one = manager.delete_model(alone)
    assert (one.outcome, one.name) == ("deleted", "goes alone")
    report = manager.delete_models([best, goes, empty, "nobody"], progress=False)
    assert {result.run_id: (result.outcome, result.name) for result in report} == {
        best: ("protected", "best"),
        goes: ("deleted", "goes"),
        empty: ("not_found", "empty"),
        "nobody": ("not_found", ""),
    }
    model_id = lab.client.create_logged_model(lab.experiment_id, name="weights").model_id
    lab.client.log_model_artifacts(model_id, lab._local({"MLmodel": b"1"}))
    assert manager.delete_model(model_id).name == "weights"


def test_what_ends_before_it_begins_bears_its_name_too(lab, manager, monkeypatch):
    lab.best()
    run_id = lab.with_model(0.1, tags={"mlflow.runName": "goes"})
    plan = manager.plan_deletion([run_id])

    def refuse(*_, **__):
        raise TrackingError("the server is away")

    monkeypatch.setattr(Planner, "check_again", refuse)
    (many,) = manager.delete_models(plan, progress=False)
    one = manager.delete_model(run_id, plan=plan)
    assert [(end.outcome, end.name) for end in (many, one)] == [("failed", "goes")] * 2


# ------------------------------------------------------------------------------------ protection


def protected(manager, run_id, word):
    before = manager.plan_deletion([run_id])
    assert any(word in reason for reason in before[run_id].reasons), before
    result = manager.delete_model(run_id)
    assert result.outcome == "protected"
    assert isinstance(result.error, ProtectedModelError)
    assert manager.plan_deletion([run_id])[run_id].files == before[run_id].files > 0


def test_the_best_and_all_that_tie_with_it_are_protected(lab, manager):
    worse, *ties = (lab.with_model(value) for value in (0.5, 0.9, 0.9))
    better_but_failed = lab.with_model(0.95, status="FAILED")
    better_without_model = lab.run(0.97)
    for run_id in ties:
        protected(manager, run_id, "best")
    table = manager.runs().set_index("run_id")
    assert list(table.index[table["is_best"]]) == ties[::-1]
    assert not manager.delete_model(better_without_model)
    assert manager.delete_model(better_but_failed)
    assert manager.delete_model(worse)


def test_the_best_whose_files_are_gone_does_not_unprotect_the_next(lab, manager):
    first, second = lab.with_model(0.9), lab.with_model(0.8)
    assert manager._delete_model(first)
    protected(manager, second, "best")


def test_with_a_loss_the_smallest_is_the_best(lab):
    manager = lab.manager(is_loss=True)
    low, high = lab.with_model(0.1), lab.with_model(0.9)
    protected(manager, low, "best")
    assert manager.delete_model(high)


def test_nan_is_never_the_best(lab, manager):
    nan, real = lab.with_model(float("nan")), lab.with_model(0.1)
    protected(manager, real, "best")
    assert manager.delete_model(nan)


def test_another_plugins_experiment_has_no_best(lab, manager):
    foreign = lab.experiment("x", plugin=f"other-{lab.plugin}")
    run_id = lab.with_model(0.9, experiment_id=foreign)
    assert manager.plan_deletion([run_id])[run_id].deletable
    lab.client.set_experiment_tag(foreign, "expmgr.main_metric", "accuracy")
    lab.client.set_experiment_tag(foreign, "expmgr.is_loss", "false")
    protected(manager, run_id, "best")


def test_an_active_run_is_protected(lab, manager):
    lab.best()
    protected(manager, lab.with_model(0.1, status="RUNNING"), "active")


def test_a_pinned_run_and_a_pinned_model_are_protected(lab, manager):
    lab.best()
    pinned = lab.with_model(0.1, tags={"expmgr.keep": "for the audit"})
    protected(manager, pinned, "pinned")
    run_id = lab.run(0.1)
    model_id = lab.logged_model(run_id)
    lab.client.set_logged_model_tags(model_id, {"expmgr.keep": "yes"})
    protected(manager, run_id, "pinned")
    lab.client.set_logged_model_tags(model_id, {"expmgr.keep": "false"})
    assert manager.delete_model(run_id)


def test_the_initial_model_is_protected(lab, manager):
    lab.best()
    protected(manager, lab.with_model(0.1, tags={"expmgr.initial_model": "true"}), "initial")


def test_a_model_that_a_protected_run_names_is_protected(lab, manager):
    lab.best()
    maker = lab.run(0.1)
    model_id = lab.logged_model(maker)
    other = lab.experiment("other")
    pinned = lab.run(0.1, experiment_id=other, tags={"expmgr.keep": "1"})
    lab.link(pinned, model_id)
    protected(manager, maker, "pinned")
    lab.client.delete_tag(pinned, "expmgr.keep")
    lab.client.log_metric(pinned, "accuracy", 0.3)
    protected(manager, maker, "best")  # the naming run is the best of its own experiment


def test_registered_versions_protect_however_they_name_the_model(lab, manager):
    lab.best()
    client = lab.client
    name = f"registered-{lab.plugin}"
    client.create_registered_model(name)
    by_run = lab.run(0.1)
    lab.history_model(by_run)
    source = f"{client.get_run(by_run).info.artifact_uri}/model"
    version = client.create_model_version(name, source, run_id=by_run)
    client.set_registered_model_alias(name, "champion", version.version)
    protected(manager, by_run, f"{name} v1 (champion)")
    by_uri = lab.run(0.1)
    model_id = lab.logged_model(by_uri)
    # A proxying server takes no bare artifact URI from a client.
    proxied = lab.backend.kind == "proxied"
    if proxied:
        client.create_model_version(name, f"models:/{model_id}", model_id=model_id)
    else:
        location = client.get_logged_model(model_id).artifact_location
        client.create_model_version(name, location)
    protected(manager, by_uri, f"{name} v2")
    table = manager.runs().set_index("run_id")
    assert "champion" in table.loc[by_run, "protected_by"]
    assert f"{name} v2" in table.loc[by_uri, "protected_by"]


def test_protection_is_asked_again_when_a_plan_is_carried_out(lab, manager):
    lab.best()
    run_id = lab.with_model(0.1)
    plan = manager.plan_deletion([run_id])
    assert plan[run_id].deletable
    lab.client.set_tag(run_id, "expmgr.keep", "1")
    assert manager.delete_model(run_id, plan=plan).outcome == "protected"
    (result,) = manager.delete_models(plan, progress=False)
    assert result.outcome == "protected"


def test_force_passes_and_the_journal_records_what_it_overrode(lab, manager):
    run_id = lab.best()
    assert manager.delete_model(run_id, force=True)
    record = json.loads(lab.tags(run_id)["expmgr.deletion.1"])
    assert any("best" in reason for reason in record["forced"])


def test_a_registry_that_cannot_be_read_protects(lab, tmp_path):
    lab.best()
    run_id = lab.with_model(0.1)
    manager = lab.manager(registry_uri="http://127.0.0.1:9")
    before = lab.blob_names()

    result = manager.delete_model(run_id)
    assert result.outcome == "protected"
    assert "registry" in result.message
    assert lab.blob_names() == before
