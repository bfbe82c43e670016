"""Fixtures on real servers: Azurite for Azure Blob Storage, MLflow on SQLite and over HTTP."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import uuid
from collections import Counter
from pathlib import Path

import pytest
import urllib3
from jupyter_driver import chromium_browser, find_chromium
from lab import Lab
from requests import Session
from servers import Backend, MlflowServer, wasbs

from expmgr.demo.azurite import AzuriteServer, default_npm_dir

NPM_DIR = default_npm_dir()

os.environ.update(
    MLFLOW_DISABLE_TELEMETRY="true",
    DO_NOT_TRACK="true",
    GIT_PYTHON_REFRESH="quiet",
    MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING="false",
)
BACKENDS = ("sqlite", "http", "proxied")

MEMORY_DISK = Path("/dev/shm")
"""Where Linux keeps files in memory. Half of the time on a disk goes to waiting for SQLite's
``fsync``; what a test session leaves below it goes with the session."""
_ENOUGH = 4 * 2**30

if (
    "PYTEST_DEBUG_TEMPROOT" not in os.environ
    and os.access(MEMORY_DISK, os.W_OK)
    and shutil.disk_usage(MEMORY_DISK).free > _ENOUGH
):
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY_DISK)


def pytest_report_header() -> str:
    found = find_chromium()
    return f"chromium: {found or 'NOT FOUND - browser tests are skipped (apt install chromium)'}"


def pytest_configure(config: pytest.Config) -> None:
    """Before 2.0 urllib3 leaves the connections of a pool that nobody holds to the collector."""
    if urllib3.__version__.startswith("1."):
        config.addinivalue_line("filterwarnings", "ignore:unclosed <socket:ResourceWarning")


_LONG = ("test_schedules", "test_kills", "test_mark_schedules", "test_world", "test_browsing_long")
_BROWSER = ("test_e2e_", "test_demo.py", "test_benchmarks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with long tests first, so that workers end together.

    Between two that drive a browser there is one that draws its cases: two browsers at once are
    slow for both.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    drawing = [path for path in files if path.name.startswith(_LONG)]
    driving = [path for path in files if path.name.startswith(_BROWSER)]
    rest = [path for path in files if path not in {*drawing, *driving}]
    first = rest[: max(0, len(driving) - len(drawing))]
    between = itertools.zip_longest(driving, [*drawing, *first])
    order = [*(path for pair in between for path in pair if path), *rest[len(first) :]]
    items[:] = [item for path in order for item in files[path]]


@pytest.fixture(autouse=True)
def _no_ambient_settings(monkeypatch):
    """Keep the developer's own MLflow and Azure settings, and another test's, out of every test."""
    import mlflow

    for name in list(os.environ):
        if name.startswith(("AZURE_", "MLFLOW_TRACKING_", "MLFLOW_REGISTRY_")):
            monkeypatch.delenv(name)
    yield
    # A tracking URI that was set outweighs the environment variable for the rest of the process.
    mlflow.set_tracking_uri(None)


@pytest.fixture
def hears_ctrl_c():
    """Ctrl-C as a terminal sends it: a shell's background job is started with it ignored."""
    import signal

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory):
    """A fresh Azurite for this session."""
    with AzuriteServer(tmp_path_factory.mktemp("azurite"), npm_dir=NPM_DIR) as server:
        yield server


def _service(azurite):
    from azure.storage.blob import BlobServiceClient

    return BlobServiceClient.from_connection_string(azurite.connection_string)


@pytest.fixture
def container(request, azurite):
    """The name of an empty container: a fresh one, or the proxying server's."""
    if _backend_kind(request) == "proxied":
        server = request.getfixturevalue("mlflow_proxy")
        name = server.artifacts_destination.split("//")[1].split("@")[0]
        with _service(azurite) as service:
            client = service.get_container_client(name)
            for blob in client.list_blob_names():
                client.delete_blob(blob, delete_snapshots="include")
        return name
    name = f"test-{uuid.uuid4().hex[:16]}"
    with _service(azurite) as service:
        service.create_container(name)
    return name


@pytest.fixture
def credentials(azurite, container):
    """AzureBlobCredentials for the container."""
    return azurite.credentials(container)


@pytest.fixture
def blob_names(azurite, container):
    """A function that lists the names of all blobs in the container, sorted."""

    def names(prefix: str = "") -> list[str]:
        with _service(azurite) as service:
            client = service.get_container_client(container)
            return sorted(client.list_blob_names(name_starts_with=prefix or None))

    return names


@pytest.fixture
def put_blob(azurite, container):
    """A function that writes one blob into the container."""

    def put(name: str, content: bytes = b"x", **options) -> None:
        with _service(azurite) as service:
            client = service.get_container_client(container)
            client.upload_blob(name, content, overwrite=True, **options)

    return put


@pytest.fixture(scope="session")
def _empty_database(tmp_path_factory) -> Path:
    """A migrated MLflow database: migrating takes seconds, copying does not."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments(max_results=1)
    return path


@pytest.fixture
def sqlite_uri(tmp_path, _empty_database) -> str:
    """A tracking URI on an empty SQLite database."""
    path = tmp_path / "mlflow.db"
    shutil.copyfile(_empty_database, path)
    return f"sqlite:///{path}"


@pytest.fixture
def _without_fsync():
    """MLflow's databases in this process do not wait for the disk: for tests that make hundreds."""
    from sqlalchemy import Engine, event

    def do_not_sync(connection, _record) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", do_not_sync)
    yield
    event.remove(Engine, "connect", do_not_sync)


@pytest.fixture
def artifact_root(azurite, container, monkeypatch) -> str:
    """A ``wasbs://`` root in the container; MLflow's own client is pointed at Azurite."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    return wasbs(container)


@pytest.fixture(scope="session")
def mlflow_server(azurite, tmp_path_factory):
    """``mlflow server`` whose clients talk to the storage themselves."""
    with MlflowServer(tmp_path_factory.mktemp("direct"), azurite.connection_string) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_proxy(azurite, tmp_path_factory):
    """``mlflow server`` that proxies artifacts into a container of Azurite."""
    container = f"proxied-{uuid.uuid4().hex[:12]}"
    with _service(azurite) as service:
        service.create_container(container)
    folder = tmp_path_factory.mktemp("proxied")
    destination = wasbs(container, "served")
    with MlflowServer(folder, azurite.connection_string, destination) as server:
        yield server


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium; the tests that need one are skipped, loudly, where there is none."""
    if find_chromium() is None:
        reason = "NO CHROMIUM FOUND: the browser tests did not run (apt install chromium)"
        if os.environ.get("EXPMGR_REQUIRE_CHROMIUM"):
            pytest.fail(reason)
        pytest.skip(reason)
    with chromium_browser() as browser:
        yield browser


def _backend_kind(request) -> str | None:
    callspec = getattr(request.node, "callspec", None)
    return callspec.params.get("backend") if callspec else None


@pytest.fixture(params=BACKENDS)
def backend(request, azurite, container, monkeypatch) -> Backend:
    """Each way to run MLflow; ``credentials``, ``container`` and ``blob_names`` fit it.

    The servers live for the whole session: give experiments and registered models unique names.
    """
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    if request.param == "sqlite":
        return Backend("sqlite", request.getfixturevalue("sqlite_uri"), None, container)
    if request.param == "http":
        server = request.getfixturevalue("mlflow_server")
    else:
        server = request.getfixturevalue("mlflow_proxy")
    return Backend(request.param, server.tracking_uri, server.artifacts_destination, container)


@pytest.fixture
def plugin_name() -> str:
    """A plugin name that no other test uses."""
    return f"plugin-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def server(mlflow_server):
    """The tracking server of `http_lab` and `counted`; a file may have one of its own."""
    return mlflow_server


@pytest.fixture
def http_lab(server, artifact_root, container, credentials, blob_names, tmp_path, plugin_name):
    del artifact_root
    backend = Backend("http", server.tracking_uri, None, container)
    return Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)


@pytest.fixture
def counted(monkeypatch, server):
    """Requests to the tracking server by method and endpoint; all others are storage's."""
    made = Counter()
    send = Session.send

    def sent(self, request, **options):
        path = request.url.split("?")[0]
        if path.startswith(server.tracking_uri):
            endpoint = re.sub(r"/m-[0-9a-f]{32}", "", path.rpartition("/mlflow/")[2])
            made[f"{request.method} {endpoint}"] += 1
        else:
            made[f"storage {request.method}"] += 1
        return send(self, request, **options)

    monkeypatch.setattr(Session, "send", sent)
    return made


@pytest.fixture
def manager(sqlite_uri, credentials, plugin_name):
    """One with an iteration under way; files that need another have their own."""
    from trainers import make_manager

    manager = make_manager(sqlite_uri, credentials, plugin_name)
    manager.set_iteration("one")
    return manager


@pytest.fixture
def lab(
    sqlite_uri, artifact_root, container, credentials, blob_names, tmp_path, plugin_name
) -> Lab:
    """Runs and models in every layout on SQLite; files that test on servers have their own."""
    del artifact_root
    backend = Backend("sqlite", sqlite_uri, None, container)
    return Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)


@pytest.fixture
def eight_runs(sqlite_uri, credentials, artifact_root, put_blob):
    """A manager of eight runs with a small model each, on which README and documentation run."""
    from mlflow import MlflowClient

    from expmgr import ExperimentsManagerWithAzureBlobBackend

    client = MlflowClient(sqlite_uri)
    experiment_id = client.create_experiment(
        "example_plugin / readme", artifact_location=f"{artifact_root}/readme"
    )
    for number in range(8):
        run_id = client.create_run(experiment_id).info.run_id
        client.log_metric(run_id, "accuracy", number / 10)
        history = [{"run_id": run_id, "artifact_path": "model"}]
        client.set_tag(run_id, "mlflow.log-model.history", json.dumps(history))
        put_blob(f"mlflow/readme/{run_id}/artifacts/model/MLmodel")
        client.set_terminated(run_id)
    return ExperimentsManagerWithAzureBlobBackend(
        tracking_uri=sqlite_uri,
        azure_blob_credentials=credentials,
        main_metric="accuracy",
        plugin_name="example_plugin",
    )


@pytest.fixture
def browse():
    """A function that opens a browser over a manager, without a page, and waits for its runs."""
    from expmgr.widgets import RunBrowser

    opened = []

    def make(manager, **options):
        browser = RunBrowser(manager, **{"measure": False, **options})
        opened.append(browser)
        assert browser.wait(10)
        return browser

    yield make
    for browser in opened:
        browser.close()
