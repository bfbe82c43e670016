"""The README stays true: its Python runs, its commands and pictures exist."""

from __future__ import annotations

import re
import subprocess

import pytest
from jupyter_driver import REPOSITORY
from PIL import Image

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
LEAD, NOTEBOOK, SCRIPT, POLICY, TRAINING = PYTHON


@pytest.fixture
def manager(eight_runs):
    return eight_runs


def test_the_notebook_code_makes_a_manager_without_a_network():
    code, shown = NOTEBOOK.rstrip().rsplit("\n", 1)
    assert shown == "manager.browse()"
    names = {}
    exec(code, names)
    assert names["manager"].tracking_uri == "http://mlflow.server"


def test_the_four_lines_make_a_manager_of_the_environment(monkeypatch):
    for name, value in {
        "MLFLOW_TRACKING_URI": "http://mlflow.server",
        "EXPMGR_CONTAINER": "models",
        "EXPMGR_PLUGIN": "example_plugin",
        "EXPMGR_MAIN_METRIC": "accuracy",
        "AZURE_STORAGE_CONNECTION_STRING": "AccountName=myaccount;AccountKey=bXlrZXk=",
    }.items():
        monkeypatch.setenv(name, value)
    names = {}
    exec(LEAD.partition("manager.browse()")[0], names)
    assert names["manager"].plugin_name == "example_plugin"


def test_the_script_code_does_what_its_comments_say(manager, blob_names, capsys):
    names = {"manager": manager}

    exec(SCRIPT, names)

    assert names["report"].counts["deleted"] == 4, "the best one of the five is protected"
    assert names["report"].counts["protected"] == 1
    assert names["result"].outcome == "deleted"
    assert len(blob_names()) == 8 - 4 - 1
    assert "deleted 1 " in capsys.readouterr().out


def test_the_policy_marks_and_deletes_nothing_yet(manager, blob_names):
    names = {"manager": manager}

    exec(POLICY.replace('"30d"', '"0s"').replace('"1GB"', '"0B"'), names)

    assert len(manager.marks()) == len(names["plan"].deletable) == 5
    assert len(blob_names()) == 8


def test_the_training_code_keeps_one_model(manager, capsys):
    names = {"manager": manager}

    exec(TRAINING, names)

    assert names["best"].get_depth() == 3
    runs = manager.runs("example_plugin / batch 1")
    assert sorted(runs["model"]) == ["deleted", "deleted", "stored"]
    assert manager.get_top_params(3)[0] == {"depth": 3}


def test_every_make_command_exists():
    commands = set(re.findall(r"\bmake ([a-z]+)", README))
    assert {"demo", "test", "check"} <= commands
    for command in commands:
        subprocess.run(
            ["make", "--dry-run", command],
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
        )


def test_every_picture_and_link_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (REPOSITORY / target).is_file(), target
    first_screen = "\n".join(README.splitlines()[:24])
    moving = re.search(r"!\[[^]]+\]\((\S+\.webp)\)", first_screen)
    with Image.open(REPOSITORY / moving[1]) as picture:
        assert picture.size[0] == 1280
        assert picture.n_frames >= 10
    assert (REPOSITORY / moving[1]).stat().st_size < 1_500_000
    assert "make demo" in first_screen
    assert "make test" in first_screen
