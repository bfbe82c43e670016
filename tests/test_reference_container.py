"""The demo's container is what a fine-tuning team has, and README's session frees most of it."""

from __future__ import annotations

import logging
import re
import shutil

import pytest
from jupyter_driver import REPOSITORY
from mlflow import MlflowClient
from tutorials import execute, saved, shown, words

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.demo.data import CONTAINER, DemoData

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## Free half the bill")[2].partition("\n## ")[0]
SCRIPT = re.search(r"```python\n(.*?)```", SECTION, re.DOTALL)[1]
SAID = re.search(r"```text\n(.*?)```", SECTION, re.DOTALL)[1]
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


def test_the_session_of_the_readme_frees_what_it_says_and_every_kept_model_loads(
    reference, capsys, tmp_path
):
    import mlflow

    data, azurite = reference
    manager = ExperimentsManagerWithAzureBlobBackend(
        data.tracking_uri, azurite.credentials(CONTAINER), "accuracy", "demo"
    )
    client = MlflowClient(manager.tracking_uri)
    kinds = manager.storage_usage().groupby("kind")["other_bytes"].sum()
    assert kinds["trash"] > 0
    assert kinds["unknown"] > 0
    best = manager.models().query("is_best").set_index("model_id")
    names = {"manager": manager}

    exec(SCRIPT, names)

    said = capsys.readouterr().out
    assert words(said) == words(SAID)
    assert sizes(said) == pytest.approx(sizes(SAID), rel=0.1)
    assert int(re.search(r"(\d+) ?%", said)[1]) >= 60
    models = manager.models().set_index("model_id")
    left = models[models["model"].isin({"stored", "artifacts"})]
    assert set(best.index) <= set(left.index)
    for model_id, row in left[left["model"] == "stored"].iterrows():
        if row["kind"] == "logged":
            source = client.get_logged_model(model_id).artifact_location
        else:
            source = f"{client.get_run(row['run_id']).info.artifact_uri}/{row['name']}"
        folder = mlflow.artifacts.download_artifacts(source, dst_path=str(tmp_path / model_id))
        model = mlflow.sklearn.load_model(folder)
        assert hasattr(model, "predict")
    assert (left["model"] == "stored").sum() >= 10


def test_the_tutorial_frees_what_its_page_says(reference, tmp_path):
    data, azurite = reference
    name = "free-half-the-bill.ipynb"

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
