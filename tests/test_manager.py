"""The manager's constructor, its run table, its errors, and what it asks the network for."""

from __future__ import annotations

import math
import pickle
import socket
import time

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from lab import METRIC
from servers import container_sas, free_port, signed, wasbs

from expmgr import (
    AzureBlobCredentials,
    ExperimentsManager,
    ExperimentsManagerWithAzureBlobBackend,
)
from expmgr.cleanup.tables import BASE_COLUMNS
from expmgr.errors import (
    FilterError,
    InvalidInputError,
    LocationError,
    NotFoundError,
    TrackingUnreachableError,
)

GOOD = {"tracking_uri": "http://mlflow.server", "main_metric": "accuracy", "plugin_name": "p"}
KEYED = AzureBlobCredentials(
    account_name="account", account_key="c2VjcmV0", container_name="models"
)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("value", ["", "  ", None])
def test_an_empty_setting_is_refused_in_words(name, value):
    with pytest.raises(ValueError, match=name):
        ExperimentsManager(**{**GOOD, name: value})


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3"])
def test_a_wrong_number_of_top_runs_is_refused_in_words(value):
    with pytest.raises(ValueError, match="n_top_runs"):
        ExperimentsManager(**GOOD, n_top_runs=value)


def test_credentials_of_another_type_are_refused():
    with pytest.raises(InvalidInputError, match="azure_blob_credentials"):
        ExperimentsManagerWithAzureBlobBackend(**GOOD, azure_blob_credentials="key")


def test_construction_makes_no_network_call(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    manager = ExperimentsManagerWithAzureBlobBackend(**GOOD, azure_blob_credentials=KEYED)
    assert "c2VjcmV0" not in repr(manager)
    assert manager.n_top_runs == 10


def test_a_password_in_the_tracking_uri_does_not_show():
    manager = ExperimentsManager(**{**GOOD, "tracking_uri": "https://me:s3cret@mlflow.server"})
    assert "s3cret" not in repr(manager)


def test_a_pickle_of_the_manager_holds_no_secret():
    manager = ExperimentsManagerWithAzureBlobBackend(**GOOD, azure_blob_credentials=KEYED)
    with pytest.raises(TypeError) as refused:
        pickle.dumps(manager)
    assert "c2VjcmV0" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "expected"), [(500, True), (503, True), (599, True), (499, False), (404, False)]
)
def test_only_server_errors_are_retryable(status, expected):
    error = HttpResponseError("x")
    error.status_code = status
    assert ExperimentsManager(**GOOD).is_retryable_error(error) is expected


def test_an_error_without_a_status_and_other_errors_are_not_retryable():
    manager = ExperimentsManager(**GOOD)
    assert manager.is_retryable_error(HttpResponseError("x")) is False
    assert manager.is_retryable_error(ServiceRequestError("x")) is False
    assert manager.is_retryable_error(ValueError("x")) is False


def test_the_registry_is_resolved_once(monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://registry.one")
    manager = ExperimentsManager(**GOOD)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://registry.two")
    assert manager.registry_uri == "http://registry.one"
    monkeypatch.delenv("MLFLOW_REGISTRY_URI")
    assert ExperimentsManager(**GOOD).registry_uri == GOOD["tracking_uri"]
    mlflow.set_registry_uri("http://registry.three")
    try:
        assert ExperimentsManager(**GOOD).registry_uri == "http://registry.three"
        assert manager.registry_uri == "http://registry.one"
    finally:
        mlflow.set_registry_uri("")


def test_a_server_that_is_down_is_told_within_seconds():
    manager = ExperimentsManagerWithAzureBlobBackend(
        **{**GOOD, "tracking_uri": f"http://127.0.0.1:{free_port()}"}, azure_blob_credentials=KEYED
    )
    began = time.monotonic()
    with pytest.raises(TrackingUnreachableError, match="nothing answers"):
        manager.runs()
    assert manager.delete_model("some-run").outcome == "failed"
    with pytest.raises(TrackingUnreachableError):
        manager._delete_model("some-run")
    assert time.monotonic() - began < 30


# -------------------------------------------------------------------------------- the run table


def test_no_runs_are_an_empty_table_with_the_columns(lab):
    table = lab.manager().runs()
    assert len(table) == 0
    assert list(table.columns) == list(BASE_COLUMNS)


def test_the_columns_and_what_they_hold(lab):
    run_id = lab.with_model(0.5, tags={"owner": "me"})
    table = lab.manager().runs()
    assert list(table.columns[: len(BASE_COLUMNS)]) == list(BASE_COLUMNS)
    (row,) = table.to_dict("records")
    assert row["run_id"] == run_id
    assert row["experiment_name"] == f"{lab.plugin} / first"
    assert row["metrics.accuracy"] == 0.5
    assert row["params.depth"] == "3"
    assert row["tags.owner"] == "me"
    assert row["model"] == "stored"
    assert row["is_best"]
    assert row["protected_by"].startswith("best: accuracy = 0.5")
    assert table["start_time"].dt.tz is not None
    assert table["bytes"].isna().all()


def test_missing_and_nan_metrics_and_three_experiments_at_once(lab):
    experiments = [lab.experiment_id, lab.experiment("b"), lab.experiment("c")]
    bests = [lab.with_model(0.3, experiment_id=eid) for eid in experiments]
    nan = lab.with_model(float("nan"))
    without = lab.with_model(None)
    table = lab.manager().runs().set_index("run_id")
    assert len(table) == 5
    assert set(table.index[table["is_best"]]) == set(bests)
    assert math.isnan(table.loc[nan, f"metrics.{METRIC}"])
    assert math.isnan(table.loc[without, f"metrics.{METRIC}"])


def test_a_run_that_was_deleted_leaves_the_table_and_comes_back_when_restored(lab):
    run_id = lab.with_model(0.3)
    manager = lab.manager()
    assert len(manager.runs()) == 1
    lab.client.delete_run(run_id)
    assert len(manager.runs()) == 0
    lab.client.restore_run(run_id)
    assert list(manager.runs()["run_id"]) == [run_id]


def test_experiments_are_chosen_by_name_by_id_or_all(lab):
    lab.with_model(0.1)
    other = lab.experiment("x", plugin="somebody")
    foreign = lab.with_model(0.2, experiment_id=other)
    manager = lab.manager()
    assert foreign not in set(manager.runs()["run_id"])
    for chosen in (other, "somebody / x", [other], ["somebody / x"]):
        assert list(manager.runs(chosen)["run_id"]) == [foreign]
    assert len(manager.runs("all")) == 2
    assert len(manager.runs([])) == 0
    with pytest.raises(NotFoundError, match="nothing like this"):
        manager.runs("nothing like this")


def test_a_filter_narrows_and_a_wrong_one_is_told_with_the_servers_words(lab):
    low, high = lab.with_model(0.1), lab.with_model(0.9)
    manager = lab.manager()
    table = manager.runs(filter_string="metrics.accuracy < 0.5")
    assert list(table["run_id"]) == [low]
    assert not table["is_best"].any()
    assert manager.runs(filter_string="metrics.accuracy > 0.5")["is_best"].all()
    assert high
    with pytest.raises(FilterError, match="Invalid"):
        manager.runs(filter_string="this is no filter")


def test_only_models_and_only_the_newest(lab):
    lab.run(0.1)
    with_model = lab.with_model(0.2)
    newest = lab.run(0.3)
    manager = lab.manager()
    assert list(manager.runs(models_only=True)["run_id"]) == [with_model]
    assert list(manager.runs(limit=1)["run_id"]) == [newest]


def test_artifacts_in_another_store_read_elsewhere_and_cannot_be_deleted(lab, tmp_path):
    elsewhere = lab.experiment("local", location=(tmp_path / "artifacts").as_uri())
    local = lab.run(0.1, experiment_id=elsewhere)
    lab.client.log_text(local, "x", "checkpoint.txt")
    other = lab.experiment("other container", location=wasbs("another-container"))
    foreign = lab.run(0.1, experiment_id=other)
    manager = lab.manager()
    states = manager.runs().set_index("run_id")["model"]
    assert states[local] == states[foreign] == "elsewhere"
    result = manager.delete_model(foreign)
    assert result.outcome == "failed"
    assert isinstance(result.error, LocationError)
    assert "another-container" in result.message
    assert lab.backend.container in result.message
    with pytest.raises(LocationError):
        manager._delete_model(local)
    assert (tmp_path / "artifacts").exists()


def test_an_experiment_inside_a_runs_artifacts_is_never_covered(lab):
    lab.best()
    run_id = lab.run(0.1)
    lab.artifacts(run_id, {"checkpoint.pt": b"x"})
    inside = f"{lab.client.get_run(run_id).info.artifact_uri}/nested"
    nested = lab.experiment("nested", location=inside)
    lab.with_model(0.2, experiment_id=nested)
    before = lab.blob_names()
    result = lab.manager().delete_model(run_id)
    assert result.outcome == "failed"
    assert isinstance(result.error, LocationError)
    assert lab.blob_names() == before


@pytest.mark.parametrize("wrong", ["", "  ", None, 7])
def test_a_run_id_that_is_none_is_refused(lab, wrong):
    for call in (lab.manager().plan_deletion, lab.manager().delete_models):
        with pytest.raises(InvalidInputError, match="run id"):
            call([wrong])


def test_ids_of_nothing_are_named_all_at_once(lab):
    run_id = lab.with_model(0.1)
    lab.best()
    plots = lab.run(0.1)
    lab.artifacts(plots, {"plot.png": b"png"})
    assert lab.manager().plan_deletion([plots, lab.run(0.1)]), "they are known, and have no model"
    before = lab.blob_names()
    unknown = ["0" * 32, "m-" + "0" * 32, f"{run_id}/none"]
    with pytest.raises(NotFoundError) as caught:
        lab.manager().plan_deletion([unknown[0], run_id, *unknown[1:]])
    assert all(repr(id_) in str(caught.value) for id_ in unknown)
    assert f"'{run_id}'" not in str(caught.value)
    report = lab.manager().delete_models(unknown, progress=False)
    assert {result.run_id: result.outcome for result in report} == dict.fromkeys(
        unknown, "not_found"
    )
    assert lab.blob_names() == before
    assert lab.manager().delete_model(unknown[0]).outcome == "not_found"


# ----------------------------------------------------------------------------------- what it costs


def test_storage_usage_tells_models_from_other_artifacts(lab):
    recorded = lab.with_model(0.9)
    raw = lab.run(0.1)
    lab.artifacts(raw, {"checkpoint.pt": b"c" * 700})
    marked = lab.run(0.1)
    lab.artifacts(marked, {"MLmodel": b"m", "w": b"w" * 9}, "model")
    lab.artifacts(marked, {"plot.png": b"png"})
    empty = lab.run(0.1)
    manager = lab.manager()
    seen = []
    usage = manager.storage_usage(on_progress=lambda *now: seen.append(now)).set_index("run_id")
    assert seen
    assert usage.loc[recorded, ["files", "bytes", "other_files", "other_bytes"]].tolist() == [
        *(2, 2012, 1, 3)
    ]
    assert usage.loc[raw, ["files", "bytes", "model"]].tolist() == [1, 700, "artifacts"]
    assert usage.loc[marked, ["files", "bytes", "other_files"]].tolist() == [2, 10, 1]
    assert usage.loc[empty, ["files", "model"]].tolist() == [0, "none"]
    assert list(usage["bytes"]) == sorted(usage["bytes"], reverse=True)
    table = manager.runs().set_index("run_id")
    assert table.loc[recorded, "bytes"] == 2012
    assert manager.delete_model(raw)
    assert manager.runs().set_index("run_id").loc[raw, "model"] == "deleted"


def test_what_a_scan_measures_is_what_a_plan_would_delete(lab):
    lab.best()
    runs = [lab.with_model(0.1), lab.run(0.1), lab.run(0.1), lab.run(0.1)]
    lab.history_model(runs[1], "a/model")
    lab.artifacts(runs[2], {"x/MLmodel": b"m", "x/sub/MLmodel": b"m", "y.txt": b"y"})
    lab.artifacts(runs[3], {"MLmodel": b"m", "y.txt": b"y"})
    manager = lab.manager()
    usage = manager.storage_usage().set_index("run_id")
    for run in manager.plan_deletion(runs):
        assert (run.files, run.bytes) == tuple(usage.loc[run.run_id, ["files", "bytes"]]), run


# ------------------------------------------------------------------------------------- preflight


def checks(manager):
    return manager.check().set_index("check")["status"].to_dict()


def test_the_preflight_on_a_good_setup(lab):
    before = lab.blob_names()
    found = checks(lab.manager())
    assert found["tracking server"] == found["model registry"] == "ok"
    assert found["experiments"] == "ok"
    for check in ("list", "read", "write", "delete"):
        assert found[f"container {check}"] == "ok"
    assert found["batch delete"] == "ok"
    assert lab.blob_names() == before


def test_the_live_check_shows_what_this_account_answers_and_leaves_nothing(lab, put_blob):
    put_blob("somebody/else's")
    before = lab.blob_names()
    table = lab.manager().check(live=True).set_index("check")
    live = table[table.index.str.startswith("live: ")]
    assert len(live) == 18
    # Azurite answers 412, and a service may answer 404: expmgr reads neither as "changed".
    missing = live.loc["live: a batch: a missing blob, If-Match", "detail"]
    assert missing == "answers 412; expmgr assumes 404 or 412"
    assert live.loc["live: undelete a deleted blob", "status"] == "unknown"
    assert live.loc["live: cleaned up", "status"] == "ok"
    rest = live.drop(index=["live: undelete a deleted blob"])
    assert set(rest["status"]) == {"ok"}, rest[rest["status"] != "ok"].to_string()
    assert lab.blob_names() == before


def test_the_live_check_names_an_answer_that_expmgr_does_not_expect(lab, monkeypatch):
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob import ContainerClient

    really = ContainerClient.delete_blob
    once = []

    def delete_blob(self, name, **options):
        if not once:
            once.append(name)
            error = HttpResponseError("odd")
            error.status_code, error.error_code = 418, "ATeapot"
            raise error
        return really(self, name, **options)

    monkeypatch.setattr(ContainerClient, "delete_blob", delete_blob)
    before = lab.blob_names()
    table = lab.manager().check(live=True).set_index("check")
    row = table.loc["live: delete a blob"]
    assert row["status"] == "note"
    assert row["detail"] == "answers 418 ATeapot; expmgr assumes 202"
    assert lab.blob_names() == before


def test_the_preflight_says_what_a_narrow_signature_may_not(lab, azurite):
    sas = container_sas(azurite, lab.backend.container, list=True, read=True)
    credentials = signed(azurite, lab.backend.container, sas)
    table = lab.manager(azure_blob_credentials=credentials).check().set_index("check")
    assert table.loc["container list", "status"] == "ok"
    assert table.loc["container write", "status"] == "no"
    assert table.loc["container delete", "status"] == "no"
    assert "Delete permission" in table.loc["container delete", "advice"]
    assert table.loc["soft delete", "status"] == "unknown"
    assert not table.astype(str).apply(lambda column: column.str.contains("sig=")).any().any()


def test_the_preflight_goes_on_where_one_side_is_down(lab, azurite):
    down = lab.manager(tracking_uri=f"http://127.0.0.1:{free_port()}")
    found = checks(down)
    assert found["tracking server"] == "no"
    assert found["model registry"] == "unknown"
    assert found["container list"] == "ok"
    missing = lab.manager(azure_blob_credentials=azurite.credentials("no-such-container"))
    found = missing.check().set_index("check")
    assert found.loc["tracking server", "status"] == "ok"
    assert found.loc["container list", "status"] == "no"
    assert found.loc["container delete", "status"] == "unknown"


def test_the_preflight_says_where_nothing_answers_for_the_account(lab, azurite):
    down = AzureBlobCredentials(
        account_name=azurite.credentials("models").account_name,
        account_key="bXlrZXk=",
        account_url=f"http://127.0.0.1:{free_port()}/devstoreaccount1",
        container_name="models",
    )
    found = lab.manager(azure_blob_credentials=down).check().set_index("check")
    assert found.loc["container list", "status"] == "no"
    assert "account's name" in found.loc["container list", "advice"]
    assert "permission" not in found.loc["container list", "advice"], "nobody refused anything"
    rest = ["container delete", "soft delete", "versioning", "hierarchical namespace"]
    assert set(found.loc[rest, "status"]) == {"unknown"}
    assert set(found.loc[rest, "detail"]) == {"the account did not answer"}


def test_many_bests_whose_files_are_gone_cost_a_few_requests(lab):
    kept, other = lab.with_model(0.5), lab.with_model(0.4)
    for number in range(20):
        vanished = lab.run(0.6 + number / 100)
        model = lab.client.create_logged_model(lab.experiment_id, source_run_id=vanished)
        lab.link(vanished, model.model_id)
    manager = lab.manager()
    asked = []
    exists, folders = manager.blob_store.exists, manager.blob_store.folders
    manager.blob_store.exists = lambda prefix: asked.append(prefix) or exists(prefix)
    manager.blob_store.folders = lambda prefix: asked.append(prefix) or folders(prefix)
    plan = manager.plan_deletion([kept, other])
    assert plan[kept].reasons
    assert plan[other].deletable
    assert len(asked) <= 8


def test_a_plan_of_many_tells_how_far_it_is_and_can_be_given_up(lab):
    import threading

    runs = [lab.run(0.1) for _ in range(12)]
    manager = lab.manager()
    seen = []
    manager.plan_deletion(runs, on_progress=lambda *now: seen.append(now))
    assert seen[:2] == [(4, 12), (8, 12)], "both readings of all count for two thirds"
    assert seen[2:] == [(count, 12) for count in range(9, 13)]
    cancel = threading.Event()
    cancel.set()
    plan = manager.plan_deletion(runs, cancel=cancel)
    assert all("cancelled" in entry.problem for entry in plan)


def test_the_progress_of_many_counts_models_files_and_bytes(lab):
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(5)]
    manager = lab.manager()
    plan = manager.plan_deletion(runs)
    manager.delete_model(runs[0])
    seen = []
    report = manager.delete_models(plan, progress=False, on_progress=seen.append)
    assert report.counts == {"not_found": 1, "deleted": 4}
    counts = [progress.models for progress in seen]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 5)
    assert (seen[-1].files, seen[-1].bytes) == (report.files, report.bytes)
    assert (seen[-1].total_files, seen[-1].total_bytes) == (plan.files, plan.bytes)


def test_a_progress_that_fails_is_logged_and_the_deletion_of_many_goes_on(lab, caplog):
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(3)]
    nothing = lab.run(0.1)
    seen = []

    def fail(progress):
        seen.append(progress.models)
        raise ZeroDivisionError

    report = lab.manager().delete_models([*runs, nothing], progress=False, on_progress=fail)
    assert report.counts == {"deleted": 3, "not_found": 1}
    assert max(seen) == 3, "only what could be deleted is counted"
    assert "on_progress failed" in caplog.text


def test_experiments_that_say_whose_they_are_are_left_to_their_plugin(lab):
    own = lab.experiment("batch 1")
    theirs = lab.experiment("sub / batch 1")
    lab.client.set_experiment_tag(theirs, "expmgr.plugin", f"{lab.plugin} / sub")
    for experiment_id in (own, theirs):
        lab.run(0.1, experiment_id=experiment_id)
    mine = lab.manager()
    assert set(mine.runs()["experiment_id"]) == {own}
    other = lab.manager(plugin_name=f"{lab.plugin} / sub")
    assert set(other.runs()["experiment_id"]) == {theirs}
