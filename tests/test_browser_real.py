"""The browser's buttons over a real manager, MLflow and Azurite."""

from __future__ import annotations

import socket
import time
from datetime import timedelta

import pytest
from azure.storage.blob import BlobServiceClient
from lab import METRIC, only_the_weights
from mlflow import MlflowClient
from mlflow.entities import Metric
from moved_clock import Clock

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.catalog.lease import LEASE_TAG, lease_text
from expmgr.demo.recipes import HOSTILE_NAME, Recipe
from expmgr.demo.sample_runs import create_sample_runs
from expmgr.widgets import RunBrowser

RECIPES = (
    Recipe("wine", "good tree", "DecisionTreeClassifier"),
    Recipe("wine", "poor tree", "DecisionTreeClassifier", {"max_depth": 1}),
    Recipe("wine", "old layout", "GaussianNB", layout="mlflow 2"),
    Recipe("wine", "raw files", "GaussianNB", layout="raw"),
    Recipe("wine", HOSTILE_NAME, "KNeighborsClassifier", {"n_neighbors": 30}),
)


@pytest.fixture(autouse=True)
def _armed_at_once(monkeypatch):
    """Buttons take clicks at once here; test_browser_arming.py is about that they do not."""
    monkeypatch.setattr("expmgr.widgets.arming.ARMED_AFTER", 0.0)


@pytest.fixture
def manager_class():
    return ExperimentsManagerWithAzureBlobBackend


@pytest.fixture
def manager(manager_class, azurite, container, credentials, sqlite_uri, artifact_root, plugin_name):
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        create_sample_runs(
            MlflowClient(sqlite_uri),
            service.get_container_client(container),
            artifact_root,
            recipes=RECIPES,
            plugin_name=plugin_name,
        )
    return manager_class(
        tracking_uri=sqlite_uri,
        azure_blob_credentials=credentials,
        main_metric="accuracy",
        plugin_name=plugin_name,
    )


def row_of(browser, name):
    (run_id,) = browser.table.loc[browser.table["run_name"] == name, "run_id"]
    return next(row for row in browser.rows if row.run_id == run_id)


@pytest.mark.timeout(120)
def test_a_button_deletes_one_model_and_the_table_follows(manager, blob_names):
    with manager.browse() as browser:
        assert browser.wait(60)
        before = blob_names()
        sizes = browser.table.set_index("run_name")
        assert sizes["bytes"].notna().all()
        assert sizes["model"]["raw files"] == "artifacts"
        row = row_of(browser, "poor tree")
        row.delete_button.click()
        assert browser.wait(60)
        assert row.status.startswith(f"Delete {sizes['files']['poor tree']} files")
        assert blob_names() == before
        row.confirm_button.click()
        assert browser.wait(60)
        assert row.status.startswith(f"Deleted {sizes['files']['poor tree']} files")
        assert len(before) - len(blob_names()) == sizes["files"]["poor tree"]
        browser.refresh()
        assert browser.wait(60)
        assert browser.table.set_index("run_name")["model"]["poor tree"] == "deleted"
        row = row_of(browser, "poor tree")
        row.details_button.click()
        assert browser.wait(60)
        assert ": deleted, " in browser.details.html.value


@pytest.mark.timeout(120)
@pytest.mark.parametrize("many", [False, True])
def test_what_failed_half_way_is_no_stored_model_any_more(lab, browse, many):
    lab.best()
    run_id = lab.with_model(0.1)
    manager = lab.manager()
    store = manager.blob_store

    browser = browse(manager)
    store.delete = only_the_weights(store)
    if many:
        browser.select([run_id])
        browser.delete_selected(confirmed=True)
    else:
        row = next(row for row in browser.rows if row.run_id == run_id)
        row.delete_button.click()
        assert browser.wait(60)
        row.confirm_button.click()
    assert browser.wait(60)
    told = browser.table.set_index("run_id")["model"]
    assert told[run_id] == manager.plan_deletion(run_id)[run_id].model == "interrupted"


def test_what_is_kept_in_the_page_is_kept_by_every_plan(manager, blob_names):
    with manager.browse() as browser:
        assert browser.wait(60)
        row = row_of(browser, "poor tree")
        row.details_button.click()
        assert browser.wait(60)
        browser.details.keeping.reason.value = "for the audit"
        browser.details.keeping.button.click()
        assert browser.wait(60)
        said = browser.shown.set_index("run_name")["protected_by"]["poor tree"]
        (entry,) = manager.plan_deletion([row.run_id]).runs
        assert [reason.kind for reason in entry.reasons] == ["pinned"]
        assert said == str(entry.reasons[0]), "the page says what the plan says"
        browser.refresh()
        assert browser.wait(60)
        assert browser.shown.set_index("run_name")["protected_by"]["poor tree"] == said
        assert manager.interactive_client.get_run(row.run_id).data.tags["expmgr.keep"] == (
            "for the audit"
        )
        browser.details.keeping.button.click()
        assert browser.wait(60)
        assert manager.plan_deletion([row.run_id]).deletable
        assert row_of(browser, "poor tree").delete_button.description == "Delete"


@pytest.mark.timeout(120)
def test_the_best_of_a_few_runs_is_starred_and_offers_no_delete(manager):
    with manager.browse() as browser:
        assert browser.wait(60)
        table = browser.table.set_index("run_name")
        (best,) = table.index[table["is_best"]]
        row = row_of(browser, best)
        assert "★" in row.cells.value
        assert row.delete_button.layout.visibility == "hidden"


@pytest.mark.timeout(120)
def test_raw_artifacts_are_said_in_words_and_the_hostile_name_is_text(manager):
    with manager.browse() as browser:
        assert browser.wait(60)
        row = row_of(browser, "raw files")
        row.delete_button.click()
        assert browser.wait(60)
        assert "MLflow recorded no model for this run" in row.status
        assert "<img" not in row_of(browser, HOSTILE_NAME).cells.value


@pytest.mark.timeout(120)
def test_a_filter_that_the_server_refuses_is_told_in_its_words(manager):
    with manager.browse() as browser:
        assert browser.wait(60)
        browser.toolbar.filter_box.value = "metrics.accuracy >"
        browser.toolbar.apply_button.click()
        assert browser.wait(60)
        assert "metrics.accuracy &gt;" in browser.toolbar.filter_error.value
        assert len(browser.rows) == 5
        browser.toolbar.filter_box.value = "metrics.accuracy < 0.9"
        browser.toolbar.apply_button.click()
        assert browser.wait(60)
        assert browser.toolbar.filter_error.value == ""
        assert (browser.table["metrics.accuracy"] < 0.9).all()


@pytest.mark.timeout(120)
def test_no_secret_is_in_any_trait_or_text(manager, azurite, credentials):
    with manager.browse() as browser:
        assert browser.wait(60)
        browser.rows[0].details_button.click()
        browser.rows[1].delete_button.click()
        assert browser.wait(60)
        state = repr([widget.get_state() for widget in browser._kit._made])
        shown = state + repr(browser._repr_mimebundle_())
        assert "poor tree" in shown
        assert azurite.account_key not in shown
        assert "AccountKey" not in shown


@pytest.mark.timeout(120)
def test_a_run_that_died_is_told_from_one_that_is_at_work(
    manager, sqlite_uri, plugin_name, artifact_root
):
    client = MlflowClient(sqlite_uri)
    experiment = client.create_experiment(f"{plugin_name} / dead", f"{artifact_root}/dead")
    now = int(time.time() * 1000)
    nine_days_ago = now - 9 * 86_400_000
    dead = client.create_run(experiment, start_time=nine_days_ago, run_name="dead").info.run_id
    client.log_metric(dead, "accuracy", 0.5, timestamp=nine_days_ago + 1000)
    alive = client.create_run(experiment, start_time=nine_days_ago, run_name="alive").info.run_id
    client.log_metric(alive, "accuracy", 0.5, timestamp=now)
    with manager.browse() as browser:
        assert browser.wait(60)
        assert "STALE" in row_of(browser, "dead").cells.value
        assert "STALE" not in row_of(browser, "alive").cells.value
        row = row_of(browser, "dead")
        assert row.delete_button.description == "Mark killed"
        row.delete_button.click()
        browser.wait(60)
        row.confirm_button.click()
        assert browser.wait(60)
        assert row.status.startswith("Marked as killed after 9 days")
    assert client.get_run(dead).info.status == "KILLED"
    assert client.get_run(alive).info.status == "RUNNING"


@pytest.mark.timeout(60)
def test_a_server_that_is_not_there_is_one_line_within_seconds_and_can_be_tried_again(
    free_port, credentials
):
    manager = ExperimentsManagerWithAzureBlobBackend(
        tracking_uri=f"http://me:hunter2@127.0.0.1:{free_port}",
        azure_blob_credentials=credentials,
        main_metric="accuracy",
        plugin_name="nobody",
    )
    with manager.browse() as browser:
        began = time.monotonic()
        while not browser.notice.text.startswith(("Waiting", "The runs could not")):
            assert time.monotonic() - began < 5
            browser.wait(0.05)
        assert browser.wait(30)
        assert browser.notice.text.startswith("The runs could not be loaded")
        assert browser.notice.retry_button.layout.display is None
        assert browser.rows == []
        assert "hunter2" not in repr(browser._repr_mimebundle_()) + browser.notice.text


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Override(ExperimentsManagerWithAzureBlobBackend):
    """Somebody's own way to delete."""

    calls: list[str]

    def _delete_model(self, run_id, experiment_id=None):
        self.calls.append(run_id)
        return super()._delete_model(run_id, experiment_id)


class TestOverride:
    @pytest.fixture
    def manager_class(self):
        Override.calls = []
        return Override

    @pytest.mark.timeout(120)
    def test_the_button_goes_through_a_subclass_s_delete_model(self, manager):
        with RunBrowser(manager) as browser:
            assert browser.wait(60)
            row = row_of(browser, "old layout")
            row.delete_button.click()
            assert browser.wait(60)
            row.confirm_button.click()
            assert browser.wait(60)
            assert row.status.startswith("Deleted")
            assert manager.calls == [row.run_id]


def line_of(browser, id_):
    return next(row for row in browser.rows if row.run_id == id_)


@pytest.mark.timeout(120)
def test_checkpoints_children_and_models_without_a_run_are_lines_that_go_alone(lab):
    parent = lab.run(None)
    children = [lab.run(0.1 * at) for at in range(1, 4)]
    for child in children:
        lab.client.set_tag(child, "mlflow.parentRunId", parent)
        lab.logged_model(child)
    several = lab.run(None)
    checkpoints = [lab.logged_model(several, step=step) for step in range(3)]
    for step, model_id in enumerate(checkpoints):
        entry = Metric(METRIC, 0.5 + step / 10, step + 1, step, model_id=model_id, run_id=several)
        lab.client.log_batch(several, metrics=[entry])
    loose = lab.logged_model("")

    def files_of(model_id):
        return [name for name in lab.blob_names() if f"/{model_id}/" in name]

    with lab.manager().browse() as browser:
        assert browser.wait(60)
        assert {row.run_id for row in browser.rows} == {parent, several, loose}
        for id_ in (parent, several):
            line_of(browser, id_).fold_button.click()
            assert browser.wait(60)
        assert {row.run_id for row in browser.rows} == {
            *(parent, several, loose),
            *children,
            *checkpoints,
        }
        offered = {
            row.run_id for row in browser.rows if row.delete_button.layout is browser._kit.shown
        }
        allowed = {
            entry.id
            for entry in lab.manager().plan_deletion([row.run_id for row in browser.rows])
            if entry.deletable
        }
        assert offered - {parent} == {loose, *children, *checkpoints[:2]}, "the best stays"
        assert offered - {parent} >= allowed

        row = line_of(browser, checkpoints[0])
        row.delete_button.click()
        assert browser.wait(60)
        row.confirm_button.click()
        assert browser.wait(60)
        assert row.status.startswith("Deleted")
        assert files_of(checkpoints[0]) == []
        assert files_of(checkpoints[1])
        assert files_of(checkpoints[2])

        row = line_of(browser, parent)
        row.delete_button.click()
        assert browser.wait(60)
        if row.count_box is not None:
            row.count_box.value = "3"
            assert browser.wait(60)
        assert row.confirm_button.description == "Delete 3 models"
        row.confirm_button.click()
        assert browser.wait(60)
        assert row.status.startswith("Deleted 3 models")
        assert files_of(loose)
        browser.refresh()
        assert browser.wait(60)
        states = browser.shown.set_index("run_id")["model"]
        assert set(states[children]) == {"deleted"}
        assert (states[several], states[loose]) == ("stored", "stored")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("read_only", [False, True])
def test_a_run_whose_lease_ran_out_is_ended_from_its_row_with_what_it_left_half_done(
    lab, blob_names, monkeypatch, read_only
):
    Clock(monkeypatch).storage_ahead = timedelta(days=2)
    days_ago = {days: int(time.time() * 1000) - days * 86_400_000 for days in (9, 3, 2)}
    client = lab.client

    def begin(days, lease):
        tags = {LEASE_TAG: lease_text(lease)}
        return client.create_run(lab.experiment_id, days_ago[days], tags).info.run_id

    alive = begin(9, int(time.time() * 1000))
    dead = begin(3, days_ago[2])
    whole = lab.logged_model(dead)
    half = client.create_logged_model(lab.experiment_id, source_run_id=dead).model_id
    client.log_model_artifacts(half, lab._local({"weights.bin": b"w" * 1000}))
    stored = blob_names()
    lab.best()
    with lab.manager().browse(read_only=read_only) as browser:
        assert browser.wait(60)
        rows = {row.run_id: row for row in browser.rows}
        assert "RUNNING" in rows[alive].cells.value
        assert "xm-status-interrupted" in rows[dead].cells.value
        assert "interrupted: no sign of life since" in rows[dead].cells.value
        assert browser.table.set_index("run_id")["status"][dead] == "RUNNING"
        if read_only:
            return
        assert rows[alive].delete_button.layout.visibility == "hidden"
        row = rows[dead]
        row.details_button.click()
        assert browser.wait(60)
        assert f"manager.mark_killed(&quot;{dead}&quot;)" in browser.details.html.value
        assert row.delete_button.description == "Mark killed"
        row.delete_button.click()
        assert browser.wait(60)
        assert row.status.startswith("Unfinished uploads go, all else stays. "), "uncut if narrow"
        assert "Mark this run as KILLED? No sign of life since " in row.status
        name = browser.table.set_index("run_id")["run_name"][dead]
        assert row.delete_button.tooltip == f"Cancel marking {name} as killed"
        row.confirm_button.click()
        assert browser.wait(60)
        assert row.status.startswith("Marked as KILLED after no sign of life since ")
        assert row.status.endswith("deleted 1 unfinished upload (1 file, 1.00 KB)")
        table = browser.table.set_index("run_id")
        assert (table["status"][dead], table["protected_by"][dead]) == ("KILLED", "")
        row.delete_button.click()
        assert browser.wait(60)
        assert row.delete_button.description == "Delete"
    assert {name for name in stored if half in name} == set(stored) - set(blob_names())
    assert any(whole in name for name in blob_names())


@pytest.mark.timeout(120)
def test_a_run_that_woke_meanwhile_is_not_ended_from_its_row(lab):
    began = int(time.time() * 1000) - 3 * 86_400_000
    tags = {LEASE_TAG: lease_text(began)}
    run_id = lab.client.create_run(lab.experiment_id, began, tags).info.run_id
    with lab.manager().browse() as browser:
        assert browser.wait(60)
        (row,) = [row for row in browser.rows if row.run_id == run_id]
        row.delete_button.click()
        assert browser.wait(60)
        lab.client.set_tag(run_id, LEASE_TAG, lease_text(int(time.time() * 1000)))
        row.confirm_button.click()
        assert browser.wait(60)
        assert row.status.startswith(f"Not marked as killed: run {run_id} gave a sign of life")
    assert lab.client.get_run(run_id).info.status == "RUNNING"
