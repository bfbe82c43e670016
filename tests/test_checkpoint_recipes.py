"""The recipes of docs/checkpoints.md do what they say."""

from __future__ import annotations

import re

import lightgbm
import numpy as np
import pytest
import xgboost
from jupyter_driver import REPOSITORY
from sklearn.datasets import load_breast_cancer

DOC = (REPOSITORY / "docs" / "checkpoints.md").read_text(encoding="utf-8")
PLAIN, HUGGING_FACE, LIGHTNING, XGBOOST, LIGHTGBM = re.findall(
    r"```python\n(.*?)```", DOC, re.DOTALL
)


@pytest.fixture
def data():
    features, labels = load_breast_cancer(return_X_y=True)
    odd = np.arange(len(labels)) % 2 == 1
    return features[odd], labels[odd], features[~odd], labels[~odd]


def stored(manager):
    table = manager.models()
    return table[table["model"] == "stored"].set_index("step")["quality"]


def test_the_first_example_saves_a_file_that_is_written_over_and_over(
    manager, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    left = iter([0.5, 0.9, 0.7])
    names = {
        "manager": manager,
        "params": {},
        "train_one_epoch": lambda name: (tmp_path / name).write_bytes(b"w"),
        "measure": lambda: next(left),
    }
    exec(PLAIN, names)
    assert dict(stored(manager)) == {0: 0.5, 1: 0.9, 2: 0.7}


def after_training(manager, code, names):
    """What a recipe of six rounds stored, by step, and the best of it."""
    with manager.run({}):
        exec(code, names)
    found = stored(manager)
    assert len(found) >= 3
    assert 5 in found, "the last"
    return found, manager.download_best_model()


def test_the_recipe_for_xgboost(manager, data):
    features, labels, valid, valid_labels = data
    names = {
        "manager": manager,
        "xgboost": xgboost,
        "params": {
            "objective": "binary:logistic",
            "eval_metric": "error",
            "max_depth": 2,
            "nthread": 1,
        },
        "train": xgboost.DMatrix(features, labels),
        "valid": xgboost.DMatrix(valid, valid_labels),
        "rounds": 6,
    }
    found, model = after_training(manager, XGBOOST, names)
    assert isinstance(model, xgboost.Booster)
    right = (model.predict(names["valid"]) > 0.5) == valid_labels
    assert right.mean() == pytest.approx(found.max())


def test_the_recipe_for_lightgbm(manager, data):
    features, labels, valid, valid_labels = data
    train = lightgbm.Dataset(features, labels)
    names = {
        "manager": manager,
        "lightgbm": lightgbm,
        "params": {
            "objective": "binary",
            "metric": "binary_error",
            "verbose": -1,
            "num_threads": 1,
        },
        "train": train,
        "valid": lightgbm.Dataset(valid, valid_labels, reference=train),
        "rounds": 6,
    }
    found, model = after_training(manager, LIGHTGBM, names)
    assert isinstance(model, lightgbm.Booster)
    right = (model.predict(valid) > 0.5) == valid_labels
    assert right.mean() == pytest.approx(found.max())


@pytest.mark.parametrize("code", [HUGGING_FACE, LIGHTNING])
def test_the_callbacks_are_named_as_they_are(code):
    (module,) = re.findall(r"from (expmgr\.\S+) import CheckpointCallback", code)
    assert (REPOSITORY / f"{module.replace('.', '/')}.py").is_file()
    compile(code, module, "exec")
