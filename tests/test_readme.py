"""The README stays true: its Python runs, its commands and pictures exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess

import pytest
from jupyter_driver import REPOSITORY
from PIL import Image

import expmgr
from expmgr.cli.parser import build_parser

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
NOTEBOOK, SCRIPT, LATER, FREE, CLEANUP, ORPHANS, PRICES, TRAINING, CREDENTIALS, RETRY = PYTHON


@pytest.fixture
def manager(eight_runs):
    return eight_runs


def test_the_notebook_code_makes_a_manager_without_a_network():
    code, shown = NOTEBOOK.rstrip().rsplit("\n", 1)
    assert shown == "manager.browse()"
    names = {}
    exec(code, names)
    assert names["manager"].tracking_uri == "http://mlflow.server"


def test_the_prices_are_taken_and_told(manager, capsys):
    exec(PRICES, {"manager": manager, "ids": list(manager.runs()["run_id"])})
    assert "; saves " in capsys.readouterr().out


def test_the_script_code_does_what_its_comments_say(manager, blob_names, capsys):
    names = {"manager": manager}

    exec(SCRIPT, names)

    assert names["report"].counts["deleted"] == 4, "the best one of the five is protected"
    assert names["report"].counts["protected"] == 1
    assert names["result"].outcome == "deleted"
    assert len(blob_names()) == 8 - 4 - 1
    assert "deleted 1 " in capsys.readouterr().out


def test_the_cleanup_code_deletes_what_its_policy_says(manager, blob_names, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    small = CLEANUP.replace('"30d"', '"0s"').replace('"1GB"', '"0B"')
    names = {"manager": manager}

    exec(small, names)

    kept = {one.id: one.why for one in names["plan"].kept}
    assert sorted(set(kept.values())) == ["kept by best(3) | last(1)", "taken out of the plan"]
    assert names["report"].counts == {"deleted": 8 - len(kept)}
    assert len(blob_names()) == len(kept) == 4
    assert (tmp_path / "cleanup.json").is_file()


def test_the_code_for_later_marks_keeps_and_deletes_nothing_yet(manager, blob_names):
    runs = manager.runs()
    names = {"manager": manager, "runs": runs, "plan": manager.plan_deletion(runs.run_id.head(5))}

    exec(LATER, names)

    assert len(manager.marks()) == 3, "one is protected, one was kept"
    assert list(manager.runs()["goes"].notna())[:5] == [False, True, False, True, True]
    assert sorted(manager.deletion_log()["state"]) == ["kept", "marked", "marked", "marked"]
    assert len(blob_names()) == 8


def test_the_code_for_orphans_takes_the_trash_and_what_is_named(manager, put_blob, blob_names):
    run_id = manager.runs()["run_id"][0]
    manager.client.delete_run(run_id)
    stray = f"old/{'0' * 32}/artifacts/"
    put_blob(f"{stray}weights.bin")
    names = {"manager": manager}

    exec(ORPHANS.replace("7/<run id>/artifacts/", stray), names)

    assert sorted(names["found"]["kind"]) == ["trash", "unknown"]
    left = [name for name in blob_names() if not name.startswith("expmgr-journal/")]
    assert len(left) == 7
    assert not [name for name in left if run_id in name or name.startswith(stray)]


def test_the_training_code_keeps_one_model(manager, capsys):
    names = {"manager": manager}

    exec(TRAINING, names)

    assert names["best"].get_depth() == 3
    runs = manager.runs("example_plugin / batch 1")
    assert sorted(runs["model"]) == ["deleted", "deleted", "stored"]
    assert manager.get_top_params(3)[0] == {"depth": 3}


def test_the_credentials_are_accepted(azurite, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    exec(CREDENTIALS, {"AzureBlobCredentials": expmgr.AzureBlobCredentials})


def test_the_retry_settings_are_accepted():
    names = {}
    exec(RETRY, names)
    assert names["retry_config"].delete_model.attempts == 8


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


def test_every_command_and_flag_of_the_command_line_exists():
    section = README.split("## On the command line")[1].split("## What it costs")[0]
    parser = build_parser()
    (commands,) = (one.choices for one in parser._actions if one.choices and one.dest == "command")
    named = set(re.findall(r"\bexpmgr ([a-z]+)", section))
    assert {"usage", "models", "plan", "delete", "log", "check"} <= named <= set(commands)
    known = {flag for one in commands.values() for flag in one._option_string_actions}
    own = {"--to", "--execute", "--help"}  # of nbconvert, and argparse's
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section)) - own <= known
    for line in re.findall(r"expmgr delete [^;`]*--yes", section):
        assert parser.parse_args(shlex.split(line)[1:]).yes


def test_every_parameter_of_the_scheduled_notebook_exists():
    cells = json.loads((REPOSITORY / "notebooks" / "cleanup.ipynb").read_text("utf-8"))["cells"]
    (given,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    known = re.findall(r"^(\w+) = ", "".join(given["source"]), re.MULTILINE)
    text = README + "".join("".join(cell["source"]) for cell in cells)
    named = set(re.findall(r" -p (\w+) ", text))
    assert named
    assert named <= set(known)


def test_every_picture_and_link_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (REPOSITORY / target).is_file(), target
    first_screen = "\n".join(README.splitlines()[:20])
    moving = re.search(r"!\[[^]]+\]\((\S+\.webp)\)", first_screen)
    with Image.open(REPOSITORY / moving[1]) as picture:
        assert picture.size[0] == 1280
        assert picture.n_frames >= 10
    assert (REPOSITORY / moving[1]).stat().st_size < 1_500_000
    assert "make demo" in first_screen
    assert "make test" in first_screen
