"""The notebook ``track.ipynb``, executed as it stands."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

REPOSITORY = Path(__file__).resolve().parent.parent
NOTEBOOK = REPOSITORY / "notebooks" / "track.ipynb"

CHECK = """
import json
assert browser.wait(60)
print(json.dumps({
    "browser": [str(row.run_id) for row in browser.rows],
    "experiments": [e.name for e in manager.get_experiments()],
    "runs": manager.runs()[["experiment_name", "run_id", "status", "model"]].to_dict("records"),
}))
"""


@pytest.fixture
def executed(backend, azurite, container):
    """A function that executes the notebook; returns cell id -> what the cell printed."""

    def execute():
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        notebook.cells.append(nbformat.v4.new_code_cell(CHECK, id="check"))
        client = NotebookClient(
            notebook,
            timeout=240,
            kernel_name="python3",
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        )
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "MLFLOW_TRACKING_URI": backend.tracking_uri,
            "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
            "EXPMGR_CONTAINER": container,
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        }
        client.execute(env=environment)
        saved = nbformat.writes(notebook)
        assert azurite.account_key not in saved, "a saved notebook holds no secret"
        return {
            cell.id: "".join(
                output.get("text", "")
                for output in cell.get("outputs", ())
                if output.output_type == "stream"
            )
            for cell in notebook.cells
        }

    return execute


def test_the_saved_notebook_has_no_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_search_keeps_the_best_restarts_and_ends_in_the_browser(executed, blob_names):
    import json

    said = executed()
    assert "Saved models:/m-" in said["data"]
    first = re.findall(r"^ *0\.\d+ .*", said["first"], re.MULTILINE)
    assert len(first) == 3
    assert "here the kernel dies" in said["first"]
    assert said["restart"].count("skipped") == 3
    assert len(re.findall(r"(stored|not stored)$", said["restart"], re.MULTILINE)) == 3
    assert said["next"].count("'alpha'") == 9
    assert "Deleted the iteration" in said["delete"]
    state = json.loads(said["check"])
    assert len(state["browser"]) == 7
    stored = [run for run in state["runs"] if run["model"] == "stored"]
    assert len(stored) == 2, "the initial model and the best one"
    assert {run["status"] for run in state["runs"]} == {"FINISHED"}
    models = {name.split("/models/")[1].split("/")[0] for name in blob_names()}
    assert len(models) == 2


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_it_can_be_executed_again(executed, blob_names):
    executed()
    said = executed()
    assert "has an initial model, which stays" in said["data"]
    assert said["restart"].count("skipped") == 3
    models = {name.split("/models/")[1].split("/")[0] for name in blob_names()}
    assert len(models) == 3, "the initial model and the best of each search that was kept"
