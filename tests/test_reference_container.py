"""The demo's container is what a fine-tuning team has, and README's session frees most of it."""

from __future__ import annotations

import logging
import re

import pytest
from jupyter_driver import REPOSITORY
from mlflow import MlflowClient

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.demo.data import CONTAINER, DemoData

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## Free half the bill")[2].partition("\n## ")[0]
SCRIPT = re.search(r"```python\n(.*?)```", SECTION, re.DOTALL)[1]
SAID = re.search(r"```text\n(.*?)```", SECTION, re.DOTALL)[1]
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A manager of the demo's runs, made as the demo makes them, and how MLflow reaches them."""
    data = DemoData(tmp_path_factory.mktemp("reference"))
    level = logging.getLogger("mlflow").level
    with pytest.MonkeyPatch.context() as patch, data.azurite() as azurite:
        patch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
        data.create(azurite)
        yield (
            ExperimentsManagerWithAzureBlobBackend(
                data.tracking_uri, azurite.credentials(CONTAINER), "accuracy", "demo"
            ),
            azurite.connection_string,
        )
    logging.getLogger("mlflow").setLevel(level)


def sizes(text: str) -> list[float]:
    return [float(n) * UNITS[unit] for n, unit in re.findall(r"([\d.]+) ([KM]?B)\b", text)]


def words(text: str) -> str:
    """The text without sizes and without the share, which a library's version may change."""
    return re.sub(r"[\d.]+ [KM]?B\b|\d+ ?%", "#", text)


def test_the_session_of_the_readme_frees_what_it_says_and_every_kept_model_loads(
    reference, capsys, tmp_path, monkeypatch
):
    import mlflow

    manager, connection_string = reference
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string)
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
