"""Real libraries write as they do; a deletion takes exactly the models that may go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from mlflow import MlflowClient
from servers import wasbs

from expmgr import ExperimentsManagerWithAzureBlobBackend

SCRIPT = Path(__file__).with_name("real_clients.py")


class Clients:
    """One database and one container in which every library has been at work."""

    def __init__(self, azurite, uri: str, container) -> None:
        self.azurite = azurite
        self.uri = uri
        self.container = container
        self.client = MlflowClient(uri, uri)
        self.made: dict[str, dict] = {}

    def work(self) -> None:
        root = wasbs(self.container.container_name)
        ended = subprocess.run(
            [sys.executable, str(SCRIPT), root],
            env={
                **os.environ,
                "AZURE_STORAGE_CONNECTION_STRING": self.azurite.connection_string,
                "MLFLOW_TRACKING_URI": self.uri,
            },
            check=False,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert ended.returncode == 0, ended.stderr
        self.made = json.loads(ended.stdout.splitlines()[-1])

    def manager(self, metric: str, *, is_loss: bool = False):
        return ExperimentsManagerWithAzureBlobBackend(
            tracking_uri=self.uri,
            azure_blob_credentials=self.azurite.credentials(self.container.container_name),
            main_metric=metric,
            plugin_name="real",
            is_loss=is_loss,
        )

    def scenario(self, name: str):
        """What a scenario made: run ids and model ids."""
        assert "error" not in self.made[name], self.made[name]["error"]
        return self.made[name]["made"]

    def names(self) -> set[str]:
        return set(self.container.list_blob_names())

    def blobs_of(self, *model_ids: str) -> set[str]:
        """The blobs of these LoggedModels, which there are."""
        found = {
            name
            for name in self.names()
            if any(f"/models/{model_id}/artifacts/" in name for model_id in model_ids)
        }
        assert all(any(model_id in name for name in found) for model_id in model_ids)
        return found

    def models_of(self, run_id: str) -> dict[str, str]:
        """Ids by name of the LoggedModels that a run made."""
        experiment_id = self.client.get_run(run_id).info.experiment_id
        made = self.client.search_logged_models([experiment_id])
        return {model.name: model.model_id for model in made if model.source_run_id == run_id}


@pytest.fixture(scope="module")
def clients(azurite, _empty_database, tmp_path_factory):
    from azure.storage.blob import BlobServiceClient

    path = tmp_path_factory.mktemp("clients") / "mlflow.db"
    shutil.copyfile(_empty_database, path)
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        container = service.create_container(f"clients-{uuid.uuid4().hex[:12]}")
        made = Clients(azurite, f"sqlite:///{path}", container)
        made.work()
        yield made


def kinds(result) -> set[str]:
    return {reason.kind for reason in result.reasons}


def check_worse_run_goes(clients, manager, better: str, worse: str) -> None:
    """The better run's models stay; the worse one's go, all of them and nothing else."""
    before = clients.names()
    expected = clients.blobs_of(*clients.models_of(worse).values())
    refused = manager.delete_model(better)
    assert refused.outcome == "protected"
    assert kinds(refused) == {"best"}
    assert clients.names() == before
    result = manager.delete_model(worse)
    assert result.outcome == "deleted"
    assert result.files == len(expected)
    assert before - clients.names() == expected
    assert any(f"/{worse}/artifacts/" in name for name in clients.names()), "its other artifacts"
    assert manager.delete_model(worse).outcome == "not_found"


def test_a_grid_search_keeps_both_models_of_the_better_search(clients):
    better, worse = clients.scenario("grid_search")
    assert set(clients.models_of(better)) == {"model", "best_estimator"}
    manager = clients.manager("best_cv_score")
    children = manager.runs("real / grid_search").set_index("run_id")["parent_run_id"]
    trial = next(run_id for run_id, parent in children.items() if parent == better)
    check_worse_run_goes(clients, manager, better, worse)
    before = clients.names()
    assert manager.delete_model(trial).outcome == "not_found"
    assert clients.names() == before


def test_xgboost_autologging_is_judged_by_its_last_loss(clients):
    better, worse = clients.scenario("xgboost")
    manager = clients.manager("valid-logloss", is_loss=True)
    check_worse_run_goes(clients, manager, better, worse)


def test_lightgbm_autologging_is_judged_by_its_last_loss(clients):
    better, worse = clients.scenario("lightgbm")
    manager = clients.manager("valid-binary_logloss", is_loss=True)
    check_worse_run_goes(clients, manager, better, worse)


def test_a_study_keeps_its_best_trial(clients):
    made = clients.scenario("optuna_study")
    *worse, best = made["trials"]
    manager = clients.manager("score")
    table = manager.runs("real / optuna_study").set_index("run_id")
    assert set(table.loc[made["trials"], "parent_run_id"]) == {made["parent"]}
    before = clients.names()
    expected = clients.blobs_of(
        *(model_id for run_id in worse for model_id in clients.models_of(run_id).values())
    )
    report = manager.delete_models([made["parent"], *made["trials"]], progress=False)
    outcomes = {result.run_id: result.outcome for result in report}
    assert outcomes == {
        made["parent"]: "not_found",
        best: "protected",
        **dict.fromkeys(worse, "deleted"),
    }
    assert before - clients.names() == expected


def test_an_evaluation_in_another_run_tells_which_model_is_best(clients):
    (good, good_model, good_evaluation), (bad, bad_model, bad_evaluation) = clients.scenario(
        "evaluate"
    )
    manager = clients.manager("accuracy_score")
    before = clients.names()
    expected = clients.blobs_of(bad_model)
    for one in (good, good_model):
        refused = manager.delete_model(one)
        assert refused.outcome == "protected"
        assert "best" in kinds(refused)
    # What an evaluation leaves (plots, tables) is no model.
    for evaluation in (good_evaluation, bad_evaluation):
        assert any(f"/{evaluation}/artifacts/" in name for name in before)
        assert manager.delete_model(evaluation).outcome == "not_found"
    assert clients.names() == before
    assert manager.delete_model(bad).outcome == "deleted"
    assert before - clients.names() == expected


def test_of_checkpoints_the_best_by_its_own_value_stays(clients):
    made = clients.scenario("checkpoints")
    first, best, last = made["models"]
    later, later_model = made["later"]
    manager = clients.manager("accuracy")
    table = manager.models("real / checkpoints").set_index("model_id")
    assert list(table.loc[made["models"], "step"]) == [0, 1, 2]
    assert set(table.index[table["is_best"]]) == {best}
    before = clients.names()
    # Best by own values is a checkpoint, best by what runs ended with is the later run.
    for one in (made["run"], best, later, later_model):
        refused = manager.delete_model(one)
        assert refused.outcome == "protected"
        assert kinds(refused) == {"best"}
    assert clients.names() == before
    expected = clients.blobs_of(first, last)
    report = manager.delete_models(made["models"], progress=False)
    outcomes = {result.run_id: result.outcome for result in report}
    assert outcomes == {first: "deleted", best: "protected", last: "deleted"}
    assert before - clients.names() == expected


def test_a_model_that_no_run_made_goes_by_its_id(clients):
    first, second = clients.scenario("without_a_run")
    manager = clients.manager("accuracy")
    table = manager.models("real / without_a_run").set_index("model_id")
    assert set(table.index) == {first, second}
    assert set(table["run_id"]) == {""}
    before = clients.names()
    expected = clients.blobs_of(first)
    assert manager.plan_deletion(first)[first].files == len(expected)
    assert manager.delete_model(first).outcome == "deleted"
    assert before - clients.names() == expected
    assert manager.delete_model(first).outcome == "not_found"
    manager.pin(second, "for the audit")
    refused = manager.delete_model(second)
    assert refused.outcome == "protected"
    assert kinds(refused) == {"pinned"}
    manager.unpin(second)
    assert manager.delete_model(second).outcome == "deleted"


def test_versions_aliases_and_copies_protect_the_model_that_they_are_of(clients):
    made = clients.scenario("registry")
    registered, free = made["models"]
    second, by_run = made["second"]
    name, copy, by_run_name = made["names"]
    manager = clients.manager("accuracy")
    before = clients.names()
    for one, subjects in (
        (registered, {f"{name}/1", f"{copy}/1"}),
        (made["run"], {f"{name}/1", f"{copy}/1"}),
        (second, {f"{by_run_name}/1"}),
        (by_run, {f"{by_run_name}/1"}),
    ):
        refused = manager.delete_model(one)
        assert refused.outcome == "protected"
        assert kinds(refused) == {"registered"}
        assert {reason.subject for reason in refused.reasons} == subjects
    (reason,) = (
        reason
        for reason in manager.plan_deletion(registered)[registered].reasons
        if reason.subject == f"{name}/1"
    )
    assert "champion" in str(reason)
    assert clients.names() == before
    expected = clients.blobs_of(free)
    assert manager.delete_model(free).outcome == "deleted"
    assert before - clients.names() == expected
    clients.client.delete_registered_model(name)
    # The copy alone is left, and it is enough.
    assert manager.delete_model(registered).outcome == "protected"
    clients.client.delete_registered_model(copy)
    expected |= clients.blobs_of(registered)
    assert manager.delete_model(registered).outcome == "deleted"
    assert before - clients.names() == expected
