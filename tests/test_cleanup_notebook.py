"""The notebook ``cleanup.ipynb``, executed by nbconvert as a schedule executes it."""

from __future__ import annotations

import os
import subprocess
import sys

import nbformat
import pytest
from jupyter_driver import REPOSITORY
from lab import METRIC

NOTEBOOK = REPOSITORY / "notebooks" / "cleanup.ipynb"


@pytest.fixture
def scheduled(lab, azurite, container, tmp_path):
    """Executes it with some parameters; returns the process and the report that it wrote."""

    def execute(before="", **parameters):
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        (at,) = [
            at
            for at, cell in enumerate(notebook.cells)
            if "parameters" in cell.metadata.get("tags", ())
        ]
        # What papermill does with -p: a cell of its own behind the one that is tagged.
        lines = [before, *(f"{name} = {value!r}" for name, value in parameters.items())]
        given = nbformat.v4.new_code_cell(
            "\n".join(lines), metadata={"tags": ["injected-parameters"]}
        )
        notebook.cells.insert(at + 1, given)
        file = tmp_path / "scheduled.ipynb"
        nbformat.write(notebook, file)
        options = ("--to", "notebook", "--execute", "--output", "done.ipynb", "--log-level=ERROR")
        process = subprocess.run(
            [sys.executable, "-m", "nbconvert", *options, str(file)],
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                "MLFLOW_TRACKING_URI": lab.backend.tracking_uri,
                "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
                "EXPMGR_CONTAINER": container,
                "EXPMGR_PLUGIN": lab.plugin,
                "EXPMGR_MAIN_METRIC": METRIC,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        report = (tmp_path / "cleanup-report.txt").read_text(encoding="utf-8")
        for told in (report, process.stderr, process.stdout):
            assert azurite.account_key not in told
        return process, report

    return execute


def made(lab, run_id):
    return lab.client.get_run(run_id).outputs.model_outputs[0].model_id


def test_it_is_saved_without_outputs_and_changes_nothing_unless_it_is_told_to():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    (given,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    values = {}
    exec(given.source, values)
    assert values["dry_run"] is True
    assert values["grace"] == "7d"


def test_a_dry_run_changes_nothing_and_says_what_it_would_do(lab, scheduled, tmp_path):
    lab.best()
    poor = lab.with_model(0.1)
    lab.manager().delete_models([poor], after="30min", progress=False)
    before, tags = lab.blob_names(), lab.tags(poor)

    process, report = scheduled(older_than="0s", keep_best=1, keep_last=None, grace=None)

    assert process.returncode == 0, process.stderr
    assert lab.blob_names() == before
    assert lab.tags(poor) == tags
    assert "DeletionPlan: 1 of 1 model, 2 files, 2.01 KB" in report
    assert made(lab, poor) in report
    assert "kept by best(1)" in report
    assert "Nothing was changed" in report
    assert "Nothing failed." in report
    assert "4.03 KB" in report
    saved = nbformat.read(tmp_path / "done.ipynb", as_version=4)
    assert "DeletionPlan" in nbformat.writes(saved)


def test_a_real_run_deletes_what_is_due_and_marks_what_comes_next(lab, scheduled, monkeypatch):
    top, due, later = lab.best(), lab.with_model(0.2), lab.with_model(0.1)
    manager = lab.manager()
    monkeypatch.setattr("expmgr.cleanup.marking.due_after", lambda after, at: at - 5000)
    assert manager.delete_models([due], after="7d", progress=False).counts == {"marked": 1}

    settings = {"older_than": "0s", "keep_best": 1, "keep_last": None, "dry_run": False}
    process, report = scheduled(**settings)

    assert process.returncode == 0, process.stderr
    left = lab.blob_names()
    assert not [name for name in left if made(lab, due) in name]
    assert [name for name in left if made(lab, later) in name]
    assert [name for name in left if made(lab, top) in name]
    (mark,) = manager.marks()["id"]
    assert mark == made(lab, later)
    assert "1 deleted" in report
    assert "1 marked" in report
    goes = list(manager.marks()["goes"])

    assert scheduled(**settings)[0].returncode == 0
    assert list(manager.marks()["goes"]) == goes, "marked anew it would never go"

    process, report = scheduled(**{**settings, "grace": None})
    assert process.returncode == 0, process.stderr
    assert not [name for name in lab.blob_names() if made(lab, later) in name]
    assert [name for name in lab.blob_names() if made(lab, top) in name]
    assert "## Deleted" in report


def test_what_failed_ends_with_an_exit_code_after_the_report_is_written(lab, scheduled):
    lab.best()
    bad, good = lab.with_model(0.2), lab.with_model(0.1)
    break_it = f"""
from expmgr import ExperimentsManagerWithAzureBlobBackend as Manager, TrackingError
plain = Manager._delete_model
def broken(self, run_id, experiment_id=None):
    if run_id == {bad!r}:
        raise TrackingError("the wire was cut")
    return plain(self, run_id, experiment_id)
Manager._delete_model = broken
"""
    settings = {"older_than": "0s", "keep_best": 1, "keep_last": None, "dry_run": False}
    process, report = scheduled(break_it, **settings, grace=None)

    assert process.returncode != 0
    assert "1 failed, see cleanup-report.txt" in process.stderr
    assert "the wire was cut" in report
    assert "## After" in report
    assert report.index("## After") < report.index("## Failed")
    left = lab.blob_names()
    assert [name for name in left if made(lab, bad) in name]
    assert not [name for name in left if made(lab, good) in name]


def test_a_policy_that_is_none_ends_with_an_exit_code_and_changes_nothing(lab, scheduled):
    lab.best()
    before = lab.blob_names()
    process, report = scheduled(older_than="soon", dry_run=False)
    assert process.returncode != 0
    assert "not an age" in process.stderr
    assert "## Before" in report
    assert lab.blob_names() == before
