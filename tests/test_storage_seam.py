"""Where models lie is one object behind a protocol: nothing above it knows Azure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jupyter_driver import REPOSITORY
from memory_store import MemoryStore, PassingError
from mlflow import MlflowClient

from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend
from expmgr.retry import RetryConfig, RetryParams

MODEL_FILES = {"MLmodel": b"flavors: {}\n", "data/weights": b"w" * 1000}
FAST = RetryConfig(delete_model=RetryParams(attempts=3, wait_initial=0, wait_max=0))


class InMemory(ExperimentsManagerWithAzureBlobBackend):
    """A manager whose models lie in memory."""

    blob_store = None


class Bench:
    def __init__(self, uri):
        self.store = MemoryStore(FAST)
        self.client = MlflowClient(uri, uri)
        self.manager = InMemory(
            tracking_uri=uri,
            azure_blob_credentials=AzureBlobCredentials(
                account_name="memory", account_key="a2V5", container_name="models"
            ),
            main_metric="accuracy",
            plugin_name="seam",
        )
        self.manager.blob_store = self.store
        self.experiment_id = self.client.create_experiment(
            "seam / first", artifact_location=self.store.addresses.uri_of("first")
        )

    def run(self, value):
        run_id = self.client.create_run(self.experiment_id).info.run_id
        self.client.log_metric(run_id, "accuracy", value)
        self.client.set_terminated(run_id)
        return run_id

    def with_model(self, value):
        run_id = self.run(value)
        model = self.client.create_logged_model(self.experiment_id, source_run_id=run_id)
        self.put(model.artifact_location, MODEL_FILES)
        self.client.finalize_logged_model(model.model_id, "READY")
        return run_id

    def put(self, uri, files):
        path = self.store.addresses.path_of(uri)
        for name, content in files.items():
            self.store.put(f"{path}/{name}", content)


@pytest.fixture
def bench(sqlite_uri):
    return Bench(sqlite_uri)


def test_a_model_in_memory_is_planned_protected_deleted_and_seen(bench):
    best, worse = bench.with_model(0.9), bench.with_model(0.1)
    run = bench.client.get_run(worse)
    bench.put(run.info.artifact_uri, {"plot.png": b"png"})
    manager = bench.manager

    plan = manager.plan_deletion([best, worse])
    assert (plan[worse].files, plan[worse].bytes) == (2, 1012)
    assert plan[worse].deletable
    assert [reason.kind for reason in plan[best].reasons] == ["best"]
    assert manager.delete_model(best).outcome == "protected"
    result = manager.delete_model(worse, plan=plan)
    assert (result.outcome, result.files, result.bytes) == ("deleted", 2, 1012)

    usage = manager.storage_usage()
    left = sum(len(held.content) for held in bench.store.blobs.values())
    assert usage["bytes"].sum() + usage["other_bytes"].sum() == left == 1012 + 3
    table = manager.runs().set_index("run_id")
    assert table.loc[worse, "model"] == "deleted"
    assert table.loc[best, "model"] == "stored"
    assert list(table.index[table["is_best"]]) == [best]


def test_files_that_only_look_like_a_model_go_marker_last(bench):
    bench.with_model(0.9)
    run_id = bench.run(0.1)
    uri = bench.client.get_run(run_id).info.artifact_uri
    bench.put(uri, {"model/MLmodel": b"x", "model/weights": b"w", "plot.png": b"p"})
    weights = next(name for name in bench.store.blobs if name.endswith("model/weights"))
    bench.store.held.add(weights)

    assert bench.manager.delete_model(run_id).outcome == "failed"
    left = sorted(name.rsplit("/", 1)[1] for name in bench.store.blobs if run_id in name)
    assert left == ["MLmodel", "plot.png", "weights"]
    bench.store.held.clear()
    assert bench.manager.delete_model(run_id)
    assert [name for name in bench.store.blobs if run_id in name] == [
        f"first/{run_id}/artifacts/plot.png"
    ]


def test_a_store_that_fails_now_and_then_is_asked_again(bench):
    bench.with_model(0.9)
    run_id = bench.with_model(0.1)
    failures = iter([PassingError("not now"), None, PassingError("not now")])
    bench.store.fault = lambda kind, name: next(failures, None) if kind == "delete" else None

    result = bench.manager.delete_model(run_id)
    assert (result.outcome, result.attempts) == ("deleted", 2)
    assert bench.manager.delete_model(run_id).outcome == "not_found"


@pytest.mark.parametrize("folder", ["catalog", "cleanup", "tracking", "widgets"])
def test_what_stands_above_storage_does_not_say_azure(folder):
    said = [
        f"{path.name}: {line.strip()}"
        for path in sorted((Path(REPOSITORY) / "expmgr" / folder).glob("*.py"))
        for line in path.read_text().splitlines()
        if re.search("(?i)azure(?!BlobBackend)", line)
    ]
    assert said == []
