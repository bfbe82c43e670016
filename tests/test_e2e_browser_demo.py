"""Somebody who has never seen the browser frees the most space in eight clicks."""

from __future__ import annotations

import pytest
from azure.storage.blob import BlobServiceClient
from jupyter_driver import open_notebook, write_notebook
from mlflow import MlflowClient
from playwright.sync_api import expect

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.demo.sample_runs import create_sample_runs

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(420)]

CELL = """
import os
from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend
manager = ExperimentsManagerWithAzureBlobBackend(
    tracking_uri=os.environ["MLFLOW_TRACKING_URI"],
    azure_blob_credentials=AzureBlobCredentials.from_env(os.environ["EXPMGR_CONTAINER"]),
    main_metric="accuracy",
    plugin_name=os.environ["EXPMGR_PLUGIN"],
)
manager.browse()
"""


class Clicks:
    """Counts what a person does."""

    def __init__(self):
        self.made = 0

    def __call__(self, locator):
        self.made += 1
        locator.click()


def test_the_three_largest_unprotected_models_go_in_at_most_eight_clicks(
    chromium,
    azurite,
    container,
    credentials,
    sqlite_uri,
    artifact_root,
    plugin_name,
    tmp_path,
    blob_names,
):
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        create_sample_runs(
            MlflowClient(sqlite_uri),
            service.get_container_client(container),
            artifact_root,
            plugin_name=plugin_name,
        )
    manager = ExperimentsManagerWithAzureBlobBackend(
        tracking_uri=sqlite_uri,
        azure_blob_credentials=credentials,
        main_metric="accuracy",
        plugin_name=plugin_name,
    )
    usage = manager.storage_usage().set_index("run_id")
    runs = manager.runs().set_index("run_id")
    free = runs[runs["protected_by"].eq("") & runs["model"].isin(["stored", "artifacts"])]
    doomed = usage.loc[free.index].sort_values("bytes", ascending=False).head(3)
    before = blob_names()

    environment = {
        "MLFLOW_TRACKING_URI": sqlite_uri,
        "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
        "EXPMGR_CONTAINER": container,
        "EXPMGR_PLUGIN": plugin_name,
    }
    notebook = write_notebook(tmp_path / "nb" / "x.ipynb", [CELL])
    with open_notebook(chromium, notebook, tmp_path / "state", env=environment) as opened:
        opened.run_all()
        page = opened.page
        expect(page.locator(".xm-totals")).to_contain_text("sizes of", timeout=60_000)
        measuring = page.locator(".xm-notices").get_by_text("Measuring")
        expect(measuring).to_be_hidden(timeout=60_000)  # else rows move, and take no click then
        click = Clicks()
        click(opened.button("Size").filter(has_not_text="Measure"))
        expect(opened.button("Size ▼")).to_be_visible()
        free_ticks = page.locator(".xm-row:visible input[type=checkbox]:enabled")
        for place in range(3):
            click(free_ticks.nth(place))
        click(opened.button("Delete 3 selected"))
        click(page.locator(".xm-bulk .xm-confirm"))
        expect(page.locator(".xm-bulk")).to_contain_text("Deleted 3 models", timeout=60_000)

    assert click.made <= 8
    after = manager.storage_usage().set_index("run_id")
    assert after.loc[doomed.index, "bytes"].eq(0).all()
    others = usage.index.difference(doomed.index)
    assert after.loc[others, "bytes"].equals(usage.loc[others, "bytes"])
    assert len(before) - len(blob_names()) == doomed["files"].sum()
