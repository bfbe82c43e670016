"""`expmgr app`, visited by a program over the kernel's websocket instead of by a person."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from azure.storage.blob import BlobServiceClient
from jupyter_driver import REPOSITORY
from kernel_visitor import KernelVisitor
from mlflow import MlflowClient

from expmgr.demo.recipes import Recipe
from expmgr.demo.sample_runs import create_sample_runs
from expmgr.widgets.arming import ARMED_AFTER

pytestmark = pytest.mark.timeout(300)

RECIPES = (
    Recipe("wine", "good tree", "DecisionTreeClassifier"),
    Recipe("wine", "poor tree", "DecisionTreeClassifier", {"max_depth": 1}),
    Recipe("wine", "worse tree", "DecisionTreeClassifier", {"max_depth": 2}),
)


@pytest.fixture
def app(azurite, container, sqlite_uri, artifact_root, plugin_name, tmp_path):
    """A function that starts `expmgr app` on three real runs and returns the page's address."""
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        create_sample_runs(
            MlflowClient(sqlite_uri),
            service.get_container_client(container),
            artifact_root,
            recipes=RECIPES,
            plugin_name=plugin_name,
        )
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_TRACKING_URI": sqlite_uri,
        "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
        "EXPMGR_CONTAINER": container,
        "EXPMGR_PLUGIN": plugin_name,
        "EXPMGR_MAIN_METRIC": "accuracy",
    }
    started = []

    def start(*options):
        command = [sys.executable, "-m", "expmgr", "app", "--data", str(tmp_path / "data")]
        process = subprocess.Popen(
            [*command, "--no-browser", *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("The page"):
                return line.split(": ", 1)[1].strip()
        raise AssertionError("".join(said))

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def visit(url, blob_names, *, rounds=2):
    """Click everything, Delete and Confirm; return what the widgets say, and which blobs went."""
    before = blob_names()
    visitor = KernelVisitor(url)
    try:
        for words in ("", *["Delete"] * rounds, ""):
            if blob_names() != before:
                break
            assert visitor.click(words) > 20
            time.sleep(ARMED_AFTER + 0.7)  # a clock on purpose: so long Confirm takes no click
        until = time.monotonic() + 10
        while blob_names() == before and time.monotonic() < until:
            visitor.ask("kernel_info_request", {})
        said = [state.get("value", "") for state in visitor.widgets().values()]
    finally:
        visitor.close()
    return said, sorted(set(before) - set(blob_names()))


def test_a_read_only_page_deletes_nothing_whatever_is_sent_to_it(app, blob_names):
    said, gone = visit(app(), blob_names)
    assert gone == []
    assert any("This page is read-only" in str(value) for value in said)


def test_the_same_visitor_deletes_where_the_page_may(app, blob_names):
    _, gone = visit(app("--write"), blob_names, rounds=15)  # a plan may take a while
    assert gone != []


def test_a_read_only_page_has_no_widget_that_deletes_or_ticks(app):
    visitor = KernelVisitor(app())
    try:
        states = visitor.widgets().values()
    finally:
        visitor.close()
    assert not [state for state in states if state["_model_name"] == "CheckboxModel"]
    words = [state.get("description", "") for state in states]
    assert "Refresh" in words
    assert not [word for word in words if "Delete" in word or "Confirm" in word]


def test_a_visitor_cannot_run_code(app, tmp_path):
    visitor = KernelVisitor(app())
    mark = tmp_path / "ran"
    try:
        code = f"open({str(mark)!r}, 'w').close()"
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}}
        visitor.send("execute_request", {**content, "allow_stdin": False, "stop_on_error": True})
        visitor.ask("kernel_info_request", {})
    finally:
        visitor.close()
    assert not mark.exists()
