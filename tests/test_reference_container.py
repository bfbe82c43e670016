"""The demo's container is what a fine-tuning team has, and the tutorial frees most of it."""

from __future__ import annotations

import logging
import re
import shutil

import pytest
from tutorials import execute, saved, shown, words

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.demo.data import CONTAINER, DemoData

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the demo's runs, made as the demo makes them; Azurite is not running."""
    data = DemoData(tmp_path_factory.mktemp("reference"))
    level = logging.getLogger("mlflow").level
    with pytest.MonkeyPatch.context() as patch, data.azurite() as azurite:
        patch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
        data.create(azurite)
    logging.getLogger("mlflow").setLevel(level)
    return data.folder


@pytest.fixture
def reference(made, tmp_path, monkeypatch):
    """The demo's runs in a folder of the test's own, and the Azurite that serves them."""
    data = DemoData(tmp_path / "demo")
    shutil.copytree(made, data.folder)
    with data.azurite() as azurite:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
        yield data, azurite


def sizes(text: str) -> list[float]:
    return [float(n) * UNITS[unit] for n, unit in re.findall(r"([\d.]+) ([KM]?B)\b", text)]


def test_the_tutorial_frees_what_its_page_says_and_every_kept_model_loads(reference, tmp_path):
    data, azurite = reference
    name = "free-half-the-bill.ipynb"
    manager = ExperimentsManagerWithAzureBlobBackend(
        data.tracking_uri, azurite.credentials(CONTAINER), "accuracy", "demo"
    )
    kinds = manager.storage_usage().groupby("kind")["other_bytes"].sum()
    assert kinds["trash"] > 0
    assert kinds["unknown"] > 0
    best = manager.models().query("is_best").set_index("model_id")

    said = execute(name, tmp_path, data.environment(azurite))

    page = shown(saved(name))
    told = {"stored", "delete", "checkpoints", "optimizer", "orphans", "trash", "after", "runs"}
    assert told < set(page) == set(said)
    for cell in told:
        assert sorted(words(said[cell]).split()) == sorted(words(page[cell]).split()), cell
        assert sum(sizes(said[cell])) == pytest.approx(sum(sizes(page[cell])), rel=0.1), cell
    assert int(re.search(r"(\d+)% freed", said["after"])[1]) >= 60
    experiments = {"digits", "breast cancer", "wine", "fine-tuning", "networks"}
    assert set(re.findall(r"^demo / ([\w -]+):", said["kept"], re.MULTILINE)) == experiments
    assert said["plan"].startswith("DeletionPlan: 26 of 26")
    assert azurite.account_key not in str(said)
    models = manager.models().set_index("model_id")
    left = models[models["model"].isin({"stored", "artifacts"})]
    assert set(best.index) <= set(left.index)
    stored = left[left["model"] == "stored"]
    assert len(stored) >= 10
    for model_id, row in stored.iterrows():
        assert_loads(manager.client, model_id, row, tmp_path / model_id)


def assert_loads(client, model_id, row, folder):
    """A model of the table is there, and is one."""
    import mlflow

    if row["kind"] == "logged":
        source = client.get_logged_model(model_id).artifact_location
    else:
        source = f"{client.get_run(row['run_id']).info.artifact_uri}/{row['name']}"
    folder.mkdir(parents=True)
    downloaded = mlflow.artifacts.download_artifacts(source, dst_path=str(folder))
    assert hasattr(mlflow.sklearn.load_model(downloaded), "predict")
