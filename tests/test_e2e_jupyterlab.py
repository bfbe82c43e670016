"""A person opens the notebook in JupyterLab, presses Delete, confirms, and the blobs are gone."""

from __future__ import annotations

import re
import shutil

import pytest
from azure.storage.blob import BlobServiceClient
from jupyter_driver import REPOSITORY, open_notebook
from mlflow import MlflowClient
from playwright.sync_api import expect

from expmgr.demo.recipes import HOSTILE_NAME, Recipe
from expmgr.demo.sample_runs import create_sample_runs

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(420)]

RECIPES = (
    Recipe("wine", "good tree", "DecisionTreeClassifier"),
    Recipe("wine", "poor tree", "DecisionTreeClassifier", {"max_depth": 1}),
    Recipe("wine", "old layout", "GaussianNB", layout="mlflow 2"),
    Recipe("wine", HOSTILE_NAME, "KNeighborsClassifier", {"n_neighbors": 30}),
)
WORST = "poor tree"


@pytest.fixture
def runs(azurite, container, sqlite_uri, artifact_root, plugin_name):
    """Run ids by name."""
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        ids = create_sample_runs(
            MlflowClient(sqlite_uri),
            service.get_container_client(container),
            artifact_root,
            recipes=RECIPES,
            plugin_name=plugin_name,
        )
    return dict(zip((recipe.name for recipe in RECIPES), ids, strict=True))


@pytest.fixture
def environment(azurite, container, sqlite_uri, plugin_name):
    """What the notebook's kernel needs to know."""
    return {
        "MLFLOW_TRACKING_URI": sqlite_uri,
        "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
        "EXPMGR_CONTAINER": container,
        "EXPMGR_PLUGIN": plugin_name,
    }


@pytest.fixture
def notebook(tmp_path):
    """The repository's own notebook, in a folder that may be written to."""
    target = tmp_path / "notebooks" / "browse.ipynb"
    target.parent.mkdir()
    shutil.copyfile(REPOSITORY / "notebooks" / "browse.ipynb", target)
    return target


def _model_prefix(tracking_uri: str, run_id: str) -> str:
    client = MlflowClient(tracking_uri)
    (output,) = client.get_run(run_id).outputs.model_outputs
    location = client.get_logged_model(output.model_id).artifact_location
    return location.split("/", 3)[3].rstrip("/") + "/"


def test_two_clicks_delete_exactly_this_runs_model(
    chromium, notebook, environment, runs, blob_names, sqlite_uri, tmp_path
):
    prefix = _model_prefix(sqlite_uri, runs[WORST])
    before = blob_names()
    doomed = [name for name in before if name.startswith(prefix)]
    assert len(doomed) >= 4

    with open_notebook(chromium, notebook, tmp_path / "jupyter", env=environment) as opened:
        opened.run_all()
        row = opened.row(WORST)
        opened.button("Delete", row).first.click()
        confirm = row.locator(".xm-confirm")
        expect(confirm).to_contain_text(re.compile(rf"{len(doomed)} files"), timeout=60_000)
        assert blob_names() == before, "the first click deletes nothing"

        confirm.click()

        expect(row.get_by_role("status")).to_contain_text("Deleted", timeout=60_000)
        assert opened.page.title() != "owned"
        assert opened.page.locator(".xm-row img, .xm-row script").count() == 0

    assert sorted(set(before) - set(blob_names())) == doomed
    assert set(blob_names()) <= set(before)
    run = MlflowClient(sqlite_uri).get_run(runs[WORST])
    assert run.data.metrics["accuracy"] > 0
    assert run.data.tags["expmgr.model"] == "deleted"
