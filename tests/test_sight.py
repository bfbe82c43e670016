"""What a server with permissions hides reads as if it were not there: nothing is concluded."""

from __future__ import annotations

import uuid
from contextlib import contextmanager

import pytest
from lab import Lab
from servers import Backend, MlflowServer

from expmgr.tracking.queries import connect
from expmgr.tracking.sight import hidden_by

PASSWORD = "a password of a test"


@pytest.fixture(scope="module")
def guarded(azurite, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    with MlflowServer(folder, azurite.connection_string, password=PASSWORD) as server:
        yield server


@pytest.fixture
def login(monkeypatch):
    @contextmanager
    def as_user(name):
        with monkeypatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_USERNAME", name)
            patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
            yield

    return as_user


@pytest.fixture
def lab(guarded, artifact_root, container, credentials, blob_names, tmp_path, plugin_name, login):
    del artifact_root
    backend = Backend("http", guarded.tracking_uri, None, container)
    with login("admin"):
        from mlflow.server import get_app_client

        users = get_app_client("basic-auth", tracking_uri=guarded.tracking_uri)
        name = f"member-{uuid.uuid4().hex[:8]}"
        users.create_user(name, PASSWORD)
        lab = Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)
        lab.member, lab.users = name, users
        yield lab


def test_an_administrator_sees_all_and_another_user_does_not(lab, login):
    assert hidden_by(lab.client) == ""
    table = lab.manager().check().set_index("check")
    assert table.loc["permissions", "status"] == "ok"
    with login(lab.member):
        manager = lab.manager()
        assert "not an administrator" in hidden_by(manager.client)
        table = manager.check().set_index("check")
        assert table.loc["permissions", "status"] == "note"
        assert "as far as this user may read" in table.loc["permissions", "advice"]


def test_what_permissions_hide_is_no_orphan_that_may_go(lab, login):
    run_id = lab.run(0.5)
    lab.artifacts(run_id, {"weights.bin": b"w" * 10})
    assert lab.manager().find_orphans("all").empty
    before = lab.blob_names()
    with login(lab.member):
        manager = lab.manager()
        found = manager.find_orphans()
        assert list(found["kind"]) == ["unknown"]
        assert not found["deletable"].any()
        assert "what is hidden reads as if it were not there" in found["evidence"][0]
        report = manager.delete_orphans(prefixes=found["prefix"], progress=False)
        assert [result.outcome for result in report.results] == ["protected"]
        assert "nothing can be called nobody's" in report.results[0].message
    assert lab.blob_names() == before


def test_raw_artifacts_go_by_somebody_who_sees_all_and_by_nobody_else(lab, login):
    with login(lab.member):
        run_id = lab.run(experiment_id=lab.experiment("a member's"))
        lab.artifacts(run_id, {"weights.bin": b"w" * 10})
        result = lab.manager().delete_model(run_id, force=True)
        assert result.outcome == "protected"
        assert [reason.kind for reason in result.reasons] == ["unknown"]
        assert "raw artifacts go by somebody who sees all" in result.message
    assert lab.manager().delete_model(run_id).outcome == "deleted"


def test_servers_without_permissions_hide_nothing(mlflow_server, sqlite_uri):
    for uri in (mlflow_server.tracking_uri, sqlite_uri):
        assert hidden_by(connect(uri, None)) == ""
