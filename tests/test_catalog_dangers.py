"""What was lost while models were judged by their runs, one test a way, on MLflow and Azurite."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from lab import METRIC, MODEL_FILES
from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput, Metric

from expmgr.cleanup import contest
from expmgr.tracking import sight
from expmgr.tracking.journal import read_records, write_record


def unlinked(lab, run_id, *, experiment_id=None):
    """A LoggedModel of a run that the run does not list."""
    home = experiment_id or lab.experiment_id
    model = lab.client.create_logged_model(home, source_run_id=run_id)
    lab.client.log_model_artifacts(model.model_id, lab._local(MODEL_FILES))
    lab.client.finalize_logged_model(model.model_id, "READY")
    return model.model_id


def log_for(lab, run_id, model_id, value, *, step=0, timestamp=1, key=METRIC):
    entry = Metric(key, value, timestamp, step, model_id=model_id, run_id=run_id)
    lab.client.log_batch(run_id, metrics=[entry])


def below(lab, part):
    return [name for name in lab.blob_names() if f"/{part}/" in f"/{name}"]


def kinds(reasons):
    return {reason.kind for reason in reasons}


# ----------------------------------------------------------------- raw artifacts, taken for a model


def test_a_run_whose_only_model_lies_in_the_trash_keeps_its_plots(lab):
    lab.best()
    run_id = lab.run(0.1)
    lab.artifacts(run_id, {"plot.bin": b"p"})
    model_id = unlinked(lab, run_id)
    lab.client.delete_logged_model(model_id)
    assert lab.manager().delete_model(run_id)
    assert below(lab, run_id), "the run's own artifacts stay"
    assert not below(lab, model_id), "the model in the trash was the run's model"


def test_a_run_whose_model_was_made_for_another_experiment_keeps_its_plots(lab):
    lab.best()
    run_id = lab.run(0.1)
    lab.artifacts(run_id, {"plot.bin": b"p"})
    model_id = unlinked(lab, run_id, experiment_id=lab.experiment("second"))
    assert lab.manager().delete_model(run_id, force=True)
    assert below(lab, run_id)
    assert not below(lab, model_id)


def test_a_folder_that_nobody_knows_is_a_doubt_about_raw_artifacts_until_they_are_named(
    lab, put_blob
):
    lab.best()
    run_id = lab.run(0.1)
    lab.artifacts(run_id, {"weights.bin": b"w"})
    root = lab.client.get_experiment(lab.experiment_id).artifact_location.split("/", 3)[3]
    put_blob(f"{root}/models/m-{'0' * 32}/artifacts/weights.bin")
    manager = lab.manager()
    refused = manager.delete_model(run_id)
    assert refused.outcome == "protected"
    assert kinds(refused.reasons) == {"unknown"}
    assert "nothing tells which run made" in refused.message
    plan = manager.plan_deletion(run_id)
    forced = [
        manager.delete_model(run_id, force=True),
        manager.delete_model(run_id, force=True, plan=plan),
        *manager.delete_models(plan, force=True, progress=False),
    ]
    assert [result.outcome for result in forced] == ["protected"] * 3
    assert all('part="raw"' in result.message for result in forced)
    assert below(lab, run_id)
    manager.storage_usage()
    row = manager.runs().set_index("run_id").loc[run_id]
    assert row["protected_by"].startswith("unknown: ")
    assert manager.delete_models(manager.plan_deletion(run_id, part="raw"), progress=False)
    assert not below(lab, run_id)


def test_a_forgotten_model_whose_file_names_the_run_says_that_the_run_had_one(lab, put_blob):
    lab.best()
    run_id = lab.run(0.1)
    lab.artifacts(run_id, {"weights.bin": b"w"})
    root = lab.client.get_experiment(lab.experiment_id).artifact_location.split("/", 3)[3]
    model_id = f"m-{'1' * 32}"
    card = f"run_id: {run_id}\nmodel_id: {model_id}\n".encode()
    put_blob(f"{root}/models/{model_id}/artifacts/MLmodel", card)
    before = lab.blob_names()
    assert lab.manager().delete_model(run_id).outcome == "failed"
    assert lab.blob_names() == before


def test_who_does_not_see_all_takes_no_raw_artifacts_for_a_model(lab, monkeypatch):
    monkeypatch.setattr(sight, "hidden_by", lambda client: "the server hides things")
    run_id, made = lab.run(), lab.run()
    lab.artifacts(run_id, {"weights.bin": b"w"})
    lab.logged_model(made)
    before = lab.blob_names()
    manager = lab.manager()
    for part in ("model", "raw"):
        plan = manager.plan_deletion([run_id, made], part)
        assert kinds(plan[run_id].reasons) == {"unknown"}
        assert plan[run_id].doubts == plan[run_id].reasons
        assert not plan[made].reasons, "what MLflow recorded is told whoever asks"
    assert not manager._delete_model(run_id)
    manager.storage_usage()
    row = manager.runs().set_index("run_id").loc[run_id]
    assert row["protected_by"] == plan[run_id].reasons[0]
    report = manager.delete_models(manager.plan_deletion(run_id), force=True, progress=False)
    assert [result.outcome for result in report.results] == ["protected"]
    assert lab.blob_names() == before


def test_results_of_an_evaluation_are_no_model(lab):
    run_id = lab.with_model(0.5)
    (model_id,) = (model.model_id for model in lab.client.search_logged_models([lab.experiment_id]))
    by_input = lab.run(0.99)
    lab.client.log_inputs(by_input, models=[LoggedModelInput(model_id)])
    lab.artifacts(by_input, {"explainer.bin": b"e"})
    by_files = lab.run(0.98)
    lab.artifacts(by_files, {"roc.png": b"p", "eval_results_table.json": b"{}"})
    manager = lab.manager()
    manager.storage_usage()
    table = manager.runs().set_index("run_id")
    for evaluation in (by_input, by_files):
        assert manager.delete_model(evaluation).outcome == "not_found"
        assert below(lab, evaluation)
        assert table.loc[evaluation, "model"] == "none"
        assert not table.loc[evaluation, "is_best"]
    assert table.loc[run_id, "is_best"]


# ------------------------------------------------------------------------------------- what is best


def test_a_model_that_another_run_evaluated_best_stays(lab):
    evaluated, favourite = lab.run(0.3), lab.run(0.9)
    model_id = lab.logged_model(evaluated)
    lab.logged_model(favourite)
    evaluation = lab.run()
    lab.client.log_inputs(evaluation, models=[LoggedModelInput(model_id)])
    log_for(lab, evaluation, model_id, 0.97)
    manager = lab.manager()
    result = manager.delete_model(evaluated)
    assert result.outcome == "protected"
    assert kinds(result.reasons) == {"best"}
    manager.storage_usage()
    table = manager.runs().set_index("run_id")
    assert table.loc[evaluated, "is_best"]
    assert table.loc[[evaluated, favourite], "protected_by"].str.startswith("best").all()


def test_what_the_best_run_uses_stays_though_its_own_model_lies_in_another_experiment(
    lab, monkeypatch
):
    monkeypatch.setattr(contest, "_ASKED_BY_RUN", 0)  # as after thirty runs without a model
    home, third = lab.experiment("elsewhere"), lab.experiment("third")
    lab.with_model(0.9, experiment_id=third)
    worse = lab.with_model(0.1, experiment_id=third)
    (used,) = lab.client.get_run(worse).outputs.model_outputs
    best = lab.run(0.9)
    lab.link(best, unlinked(lab, best, experiment_id=home))
    lab.client.log_inputs(best, models=[LoggedModelInput(used.model_id)])
    (plan,) = lab.manager().plan_deletion(worse).runs
    assert [(reason.kind, reason.subject) for reason in plan.reasons] == [("used", best)]


def test_the_best_checkpoint_stays_though_the_run_ended_worse(lab):
    run_id = lab.run()
    models = [lab.logged_model(run_id) for _ in range(3)]
    for step, (model_id, value) in enumerate(zip(models, (0.7, 0.95, 0.6), strict=True), 1):
        lab.client.log_outputs(run_id, [])
        log_for(lab, run_id, model_id, value, step=step, timestamp=step)
    other = lab.with_model(0.8)
    manager = lab.manager()
    plan = manager.plan_deletion(models)
    # Their output steps are equal, so what the run logged does not tell them apart: all stay.
    assert all(kinds(plan[model_id].reasons) == {"best"} for model_id in models)
    assert kinds(manager.plan_deletion(other)[other].reasons) == {"best"}


def test_checkpoints_with_steps_are_told_apart_and_the_worse_may_go(lab):
    from mlflow.entities import LoggedModelOutput

    run_id = lab.run(0.6)
    models = []
    for step, value in ((1, 0.7), (2, 0.95), (3, 0.6)):
        model_id = unlinked(lab, run_id)
        lab.client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])
        log_for(lab, run_id, model_id, value, step=step, timestamp=step)
        models.append(model_id)
    manager = lab.manager()
    assert manager.delete_model(run_id).outcome == "protected", "a run is all or nothing"
    report = manager.delete_models(models, progress=False)
    assert [result.outcome for result in report] == ["deleted", "protected", "deleted"]
    assert below(lab, models[1])
    assert not below(lab, models[0])
    # Each deletion is in the journal, though both are of one run.
    records = read_records(run_id, lab.tags(run_id))
    assert [location.owner_id for r in records for location in r.locations] == [
        models[0],
        models[2],
    ]


@pytest.mark.parametrize("diverged", [float("inf"), 1.797e308])
def test_a_diverged_run_is_not_the_best(lab, diverged):
    good = lab.with_model(0.9)
    bad = lab.with_model(diverged)
    manager = lab.manager()
    assert kinds(manager.plan_deletion(good)[good].reasons) == {"best"}
    assert manager.delete_model(bad)


def test_a_nan_on_a_model_is_not_the_best_loss(lab):
    runs = {}
    for name, value in (("good", 0.4), ("diverged", float("nan"))):
        run_id = lab.run()
        model_id = lab.logged_model(run_id)
        log_for(lab, run_id, model_id, value)
        runs[name] = run_id
    manager = lab.manager(is_loss=True)
    assert kinds(manager.plan_deletion(runs["good"])[runs["good"]].reasons) == {"best"}
    assert manager.delete_model(runs["diverged"])


@pytest.mark.parametrize("how", ["PENDING", "FAILED", "external", "no MLmodel"])
def test_a_model_that_is_not_whole_takes_best_from_nobody(lab, how):
    whole = lab.with_model(0.5)
    broken = lab.run(0.9)
    files = MODEL_FILES if how != "no MLmodel" else {"data/weights.bin": b"w"}
    tags = {"mlflow.model.isExternal": "true"} if how == "external" else {}
    model = lab.client.create_logged_model(lab.experiment_id, source_run_id=broken, tags=tags)
    lab.client.log_model_artifacts(model.model_id, lab._local(files))
    if how != "PENDING":
        lab.client.finalize_logged_model(model.model_id, "FAILED" if how == "FAILED" else "READY")
    lab.link(broken, model.model_id)
    manager = lab.manager()
    assert manager.delete_model(whole).outcome == "protected"
    manager.storage_usage()
    state = manager.models().set_index("model_id").loc[model.model_id, "model"]
    expected = {"PENDING": "uploading", "external": "external"}.get(how, "broken")
    assert state == expected


def test_a_model_whose_run_is_gone_for_good_stops_no_plan(lab):
    """It was evaluated, has the better value, and `mlflow gc` took its run."""
    whole, other = lab.with_model(0.5), lab.with_model(0.4)
    maker, evaluation = lab.run(), lab.run()
    orphan = lab.logged_model(maker)
    log_for(lab, evaluation, orphan, 0.9)
    lab.client.delete_run(maker)
    lab.client._tracking_client.store._hard_delete_run(maker)
    manager = lab.manager()
    plan = manager.plan_deletion([whole, other])
    assert plan[other].deletable
    assert kinds(manager.plan_deletion(orphan)[orphan].reasons) == {"best"}


def test_of_raw_checkpoints_alone_only_the_best_stays(lab):
    runs = [lab.run(value / 10) for value in range(5)]
    for run_id in runs:
        lab.artifacts(run_id, {"weights.bin": b"w"})
    plan = lab.manager().plan_deletion(runs)
    assert [bool(plan[run_id].reasons) for run_id in runs] == [False] * 4 + [True]


def test_the_goal_that_an_experiment_records_counts_beside_the_managers(lab):
    client, experiment_id = lab.client, lab.experiment_id
    client.set_experiment_tag(experiment_id, "expmgr.main_metric", "f1")
    client.set_experiment_tag(experiment_id, "expmgr.is_loss", "false")
    by_accuracy, by_f1, neither = lab.with_model(0.9), lab.with_model(0.2), lab.with_model(0.3)
    for run_id, value in ((by_accuracy, 0.1), (by_f1, 0.8), (neither, 0.3)):
        client.log_metric(run_id, "f1", value)
    plan = lab.manager().plan_deletion([by_accuracy, by_f1, neither])
    assert "f1 = 0.8" in plan[by_f1].reasons[0]
    assert f"{METRIC} = 0.9" in plan[by_accuracy].reasons[0]
    assert plan[neither].deletable


# ----------------------------------------------------------------------------------------- registry


def test_a_source_with_percent_encoding_protects_what_it_means(lab):
    lab.best()
    run_id = lab.run(0.1)
    lab.history_model(run_id, "my model")
    lab.client.create_registered_model("spaced")
    uri = f"{lab.client.get_run(run_id).info.artifact_uri}/my%20model"
    lab.client.create_model_version("spaced", uri)
    assert kinds(lab.manager().delete_model(run_id).reasons) == {"registered"}


def test_a_copy_of_a_registered_model_whose_name_begins_like_a_models_id_protects(lab):
    lab.best()
    run_id = lab.run(0.1)
    model_id = lab.logged_model(run_id)
    location = lab.client.get_logged_model(model_id).artifact_location
    lab.client.create_registered_model("m-production")
    lab.client.create_model_version("m-production", location)
    lab.client.create_registered_model("copy")
    lab.client.copy_model_version("models:/m-production/1", "copy")
    lab.client.delete_model_version("m-production", "1")
    assert kinds(lab.manager().delete_model(run_id).reasons) == {"registered"}


def test_a_version_of_what_a_run_links_to_protects_it(lab, monkeypatch):
    lab.best()
    maker, linking = lab.run(0.1), lab.run(0.2)
    model_id = lab.logged_model(maker)
    lab.link(linking, model_id)
    lab.client.create_registered_model("linked")
    lab.client.create_model_version("linked", f"runs:/{linking}/model")
    assert kinds(lab.manager().delete_model(maker).reasons) == {"registered"}


# ------------------------------------------------------------------------ plans, force, the journal


def test_force_with_a_plan_passes_the_same_version_and_no_other(lab):
    lab.best()
    run_id = lab.run(0.1)
    model_id = lab.logged_model(run_id)
    location = lab.client.get_logged_model(model_id).artifact_location
    lab.client.create_registered_model("shown")
    lab.client.create_model_version("shown", location)
    manager = lab.manager()
    plan = manager.plan_deletion(run_id)
    lab.client.create_registered_model("later")
    lab.client.create_model_version("later", location)
    result = manager.delete_model(run_id, force=True, plan=plan)
    assert result.outcome == "protected"
    lab.client.delete_registered_model("later")
    assert manager.delete_model(run_id, force=True, plan=plan)


def test_a_plan_whose_locations_were_exchanged_reaches_nothing_else(lab):
    lab.best()
    mine, other = lab.run(0.1), lab.run(0.2)
    lab.logged_model(mine)
    lab.logged_model(other)
    lab.artifacts(mine, {"plot.png": b"p"})
    manager = lab.manager()
    plan, foreign = manager.plan_deletion(mine)[mine], manager.plan_deletion(other)[other]
    before = lab.blob_names()
    forged = replace(plan, locations=foreign.locations, model_ids=foreign.model_ids)
    assert manager.delete_model(mine, plan=forged, force=True).outcome == "failed"
    (report,) = manager.delete_models(type(manager.plan_deletion(mine))((forged,)), progress=False)
    assert report.outcome == "failed"
    assert lab.blob_names() == before


@pytest.mark.parametrize("layout", ["logged", "history"])
def test_an_edited_journal_does_not_reach_the_runs_plots(lab, layout):
    lab.best()
    run_id = lab.run(0.1)
    if layout == "logged":
        lab.logged_model(run_id)
    else:
        lab.history_model(run_id)
    lab.artifacts(run_id, {"plot.png": b"p"})
    manager = lab.manager()
    assert manager.delete_model(run_id)
    before = lab.blob_names()
    key = "expmgr.deletion.1"
    record = json.loads(lab.tags(run_id)[key])
    root = lab.client.get_run(run_id).info.artifact_uri.split("/", 3)[3]
    record.update(state="failed", at=[*record["at"][:2], root], locations=["a:"], seen="")
    lab.client.set_tag(run_id, key, json.dumps(record))
    lab.client.set_tag(run_id, "expmgr.model", "failed")
    (result,) = manager.resume_deletions()
    assert result.outcome == "failed"
    assert lab.blob_names() == before


def test_a_resume_leaves_a_file_that_came_within_the_plans_second(lab, monkeypatch, put_blob):
    lab.best()
    run_id = lab.run(0.1)
    model_id = lab.logged_model(run_id)
    manager = lab.manager()

    def die(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(manager.blob_store, "delete", die)
        with pytest.raises(KeyboardInterrupt):
            manager.delete_model(run_id)
    (record,) = read_records(run_id, lab.tags(run_id))
    location = record.locations[0]
    put_blob(f"{location.prefix}came-later.bin")
    # As if the clocks had stood still: the new file is no younger than the plan.
    write_record(lab.client, replace(record, deadline=1, planned_at=record.planned_at + 60_000))
    (result,) = manager.resume_deletions()
    assert result.outcome == "failed"
    assert [name.rpartition("/")[2] for name in below(lab, model_id)] == ["came-later.bin"]


def test_a_plan_that_holds_a_run_twice_deletes_it_once_and_says_so(lab):
    lab.best()
    run_id = lab.with_model(0.1)
    manager = lab.manager()
    plan = manager.plan_deletion(run_id)
    twice = type(plan)((*plan.runs, *plan.runs))
    report = manager.delete_models(twice, progress=False)
    assert [result.outcome for result in report] == ["deleted"]


# ----------------------------------------------------------------------------- invisible, misjudged


def test_a_model_without_a_run_is_seen_measured_and_deleted_by_its_id(lab):
    model = lab.client.create_logged_model(lab.experiment_id, name="alone")
    lab.client.log_model_artifacts(model.model_id, lab._local(MODEL_FILES))
    lab.client.finalize_logged_model(model.model_id, "READY")
    lab.best()
    manager = lab.manager()
    usage = manager.storage_usage()
    assert usage.loc[usage["kind"] == "model", ["run_id", "bytes"]].values.tolist() == [
        [model.model_id, 2012]
    ]
    row = manager.models().set_index("model_id").loc[model.model_id]
    assert (row["model"], row["run_id"], row["protected_by"]) == ("stored", "", "")
    assert manager.delete_model(model.model_id)
    assert not below(lab, model.model_id)
    tags = MlflowClient(lab.backend.tracking_uri).get_logged_model(model.model_id).tags
    assert tags["expmgr.model"] == "deleted"
    assert manager.models().set_index("model_id").loc[model.model_id, "model"] == "deleted"
    assert manager.delete_model(model.model_id).outcome == "not_found"


def test_one_bad_tag_is_that_runs_problem(lab):
    lab.best()
    bad, good = lab.with_model(0.1), lab.with_model(0.2)
    for number, value in enumerate(("[" * 5_000, json.dumps({"v": 1, "run": bad, "began": 1e400}))):
        lab.client.set_tag(bad, f"expmgr.deletion.{number}", value)
    lab.client.set_tag(bad, "expmgr.model", "deleting")
    manager = lab.manager()
    assert len(manager.runs()) == 3
    assert len(manager.storage_usage()) >= 3
    assert len(manager.resume_deletions()) == 0
    assert manager.delete_model(good)


def test_a_record_of_another_place_is_that_runs_problem(lab):
    lab.best()
    bad, good = lab.run(0.1), lab.with_model(0.2)
    lab.artifacts(bad, {"weights.bin": b"w"})
    manager = lab.manager()
    assert manager.delete_model(bad)
    key = "expmgr.deletion.1"
    record = json.loads(lab.tags(bad)[key])
    record["at"][2] = "somewhere/else"
    lab.client.set_tag(bad, key, json.dumps(record))
    assert manager.runs().set_index("run_id").loc[bad, "model"] == "elsewhere"
    assert manager.delete_model(bad).outcome == "failed"
    assert manager.delete_model(good)


def test_every_byte_of_the_container_is_in_the_usage(lab, put_blob, blob_names, azurite, container):
    lab.best()
    trashed, deleted = lab.with_model(0.2), lab.run(0.1)
    (model_id,) = (
        model.model_id
        for model in lab.client.search_logged_models([lab.experiment_id])
        if model.source_run_id == trashed
    )
    lab.client.delete_logged_model(model_id)
    lab.artifacts(deleted, {"weights.bin": b"w" * 50})
    lab.client.delete_run(deleted)
    gone = lab.experiment("gone")
    lab.artifacts(lab.run(0.1, experiment_id=gone), {"x.bin": b"x" * 70})
    lab.client.delete_experiment(gone)
    other = lab.experiment("theirs", plugin="another")
    lab.artifacts(lab.run(0.1, experiment_id=other), {"y.bin": b"y" * 90})
    root = lab.client.get_experiment(lab.experiment_id).artifact_location.split("/", 3)[3]
    put_blob(f"{root}/traces/tr-1/artifacts/traces.json", b"t" * 11)
    put_blob(f"{root}/stranger.txt", b"s" * 13)
    put_blob("elsewhere/file", b"e" * 17)
    put_blob("expmgr-journal/m-1.json", b"j" * 19)
    usage = lab.manager().storage_usage()
    sums = (usage["bytes"] + usage["other_bytes"]).groupby(usage["kind"]).sum().to_dict()
    assert sums["traces"] == 11
    assert sums["journal"] == 19
    assert sums["unknown"] == 13 + 17
    assert sums["trash"] == 50 + 70
    assert sums["experiment"] == 90
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        blobs = list(service.get_container_client(container).list_blobs())
    assert sum(sums.values()) == sum(blob.size for blob in blobs)
