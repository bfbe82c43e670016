"""How many requests a deletion of many makes, exactly."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from lab import Lab
from requests import Session
from servers import Backend, MlflowServer


@pytest.fixture
def server(azurite, tmp_path):
    """A server of its own: what other tests left on a shared one asks for more."""
    with MlflowServer(tmp_path / "server", azurite.connection_string) as started:
        yield started


@pytest.fixture
def lab(server, artifact_root, container, credentials, blob_names, tmp_path, plugin_name):
    del artifact_root
    backend = Backend("http", server.tracking_uri, None, container)
    return Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)


@pytest.fixture
def made(monkeypatch, server):
    """Requests to the tracking server by method and endpoint; all others are storage's."""
    counted = Counter()
    send = Session.send

    def sent(self, request, **options):
        path = request.url.split("?")[0]
        if path.startswith(server.tracking_uri):
            endpoint = re.sub(r"/m-[0-9a-f]{32}", "", path.rpartition("/mlflow/")[2])
            counted[f"{request.method} {endpoint}"] += 1
        else:
            counted[f"storage {request.method}"] += 1
        return send(self, request, **options)

    monkeypatch.setattr(Session, "send", sent)
    return counted


def test_runs_side_by_side_cost_three_requests_of_the_tracking_server_each_and_share_storage_s(
    lab, made
):
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(12)]
    manager = lab.manager()
    plan = manager.plan_deletion(runs)
    assert len(plan.deletable) == 12
    made.clear()

    assert manager.delete_models(plan, progress=False).counts == {"deleted": 12}

    assert made.pop("POST runs/log-batch") == 24, "begun and ended"
    assert made.pop("PATCH logged-models/tags") == 12
    assert made.pop("storage POST") == 1, "one batch for all"
    assert made.pop("storage GET") == 2, "one listing for all that confirms, a look at the best"
    assert sum(made.values()) < 20, "protection is asked again for all together"


def test_a_step_of_somebody_s_own_is_called_run_by_run(lab, made):
    called = []

    class Own(type(lab.manager())):
        def _delete_model(self, run_id, experiment_id=None):
            called.append(run_id)
            return super()._delete_model(run_id, experiment_id)

    lab.best()
    runs = [lab.with_model(0.1) for _ in range(9)]
    manager = lab.manager(Own)
    plan = manager.plan_deletion(runs)
    made.clear()
    assert manager.delete_models(plan, progress=False).counts == {"deleted": 9}
    assert sorted(called) == sorted(runs)
    assert made.pop("storage POST") == 9, "no batch spans what it is called for"

    runs = [lab.with_model(0.1) for _ in range(9)]
    manager = lab.manager()
    plan = manager.plan_deletion(runs)
    step = manager._delete_model
    manager._delete_model = lambda *arguments: called.append(arguments[0]) or step(*arguments)
    called.clear()
    assert manager.delete_models(plan, progress=False).counts == {"deleted": 9}
    assert sorted(called) == sorted(runs), "on the instance, too"
