"""``expmgr demo`` from start to end, as a person at a terminal runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from jupyter_driver import REPOSITORY
from mlflow import MlflowClient
from published import build, folder_on_disk, install, run

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.demo.azurite import ACCOUNT_KEY
from expmgr.demo.data import DemoData
from expmgr.demo.recipes import HOSTILE_NAME, RECIPES

pytestmark = [pytest.mark.demo, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder; the runs are made by the first demo in it."""
    return DemoData(tmp_path_factory.mktemp("demo"))


def _command(data, *options):
    return [sys.executable, "-m", "expmgr", "demo", "--data", str(data.folder), *options]


def _environment():
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def first_check(data):
    """What ``expmgr demo --check`` says in an empty folder, of an environment into which a person
    installed the wheel with the demo's extra and nothing else, outside the checkout."""
    with folder_on_disk() as name:
        folder = Path(name).resolve()
        _, wheel = build(folder)
        programs = install(folder / "environment", f"{wheel}[demo]")
        home = run(programs / "python", "-c", "import expmgr; print(expmgr.__file__)", cwd=folder)
        assert home.startswith(str(folder))
        yield run(programs / "expmgr", "demo", "--data", data.folder, "--check", cwd=folder)


def test_the_check_deletes_one_model_through_its_button(first_check):
    counts = [int(n) for n in re.findall(r"(?:before|after): +([\d,]+) blobs", first_check)]
    removed = re.findall(r"^  - (\S+)", first_check, re.MULTILINE)
    assert counts[0] - counts[1] == len(removed) > 0
    assert f"Deleted {len(removed)} blob" in first_check
    assert len({name.split("/artifacts/")[0] for name in removed}) == 1, "one model's files"


def test_the_executed_notebook_holds_no_secret(first_check, data):
    saved = (data.folder / "check.ipynb").read_text(encoding="utf-8")
    assert '"output_type": "display_data"' in saved or '"execute_result"' in saved
    for secret in (ACCOUNT_KEY, "AccountKey", "sig="):
        assert secret not in saved


def test_the_sample_runs_are_of_every_kind(first_check, data):
    client = MlflowClient(data.tracking_uri)
    experiments = client.search_experiments(filter_string="name LIKE 'demo / %'")
    runs = client.search_runs([one.experiment_id for one in experiments])
    by_name = {run.info.run_name: run for run in runs}

    assert len(experiments) == 5
    assert len(runs) == len(RECIPES) + 9 >= 24
    assert sorted({run.info.status for run in runs}) == ["FAILED", "FINISHED", "RUNNING"]
    assert HOSTILE_NAME in by_name
    assert any("mlflow.log-model.history" in run.data.tags for run in runs)
    assert any(run.outputs and run.outputs.model_outputs for run in runs)
    accuracies = [run.data.metrics.get("accuracy", 1.0) for run in runs]
    assert max(accuracies) - min(accuracies) > 0.5
    champion = client.get_model_version_by_alias("digits-classifier", "champion")
    assert champion.run_id in {run.info.run_id for run in runs}


def test_the_stories_are_what_mlflow_3_knows_beyond_a_model_a_run(first_check, data, monkeypatch):
    client = MlflowClient(data.tracking_uri)
    (home,) = client.search_experiments(filter_string="name = 'demo / fine-tuning'")
    models = client.search_logged_models([home.experiment_id])
    assert sum(model.source_run_id is None for model in models) == 1
    runs = client.search_runs([home.experiment_id])
    assert sum("mlflow.parentRunId" in run.data.tags for run in runs) == 3
    with data.azurite() as azurite:
        manager = ExperimentsManagerWithAzureBlobBackend(
            data.tracking_uri, azurite.credentials("models"), "accuracy", "demo"
        )
        manager.storage_usage()
        table = manager.models("demo / fine-tuning").set_index("name")
    assert len(table) == len(models)
    # The evaluation, which came later, says otherwise than the run: its values count.
    assert table.loc["checkpoint-2", "quality"] < table.loc["checkpoint-40", "quality"] < 1
    assert table.loc[["checkpoint-2", "checkpoint-12"], "protected_by"].tolist() == ["", ""]
    assert table.loc["served by hand", "run_id"] == ""
    assert set(table["model"]) == {"stored"}


def test_a_second_start_makes_nothing_anew(first_check, data):
    again = subprocess.run(
        _command(data, "--check"),
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Training" not in again.stdout


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_ctrl_c_stops_everything_that_was_started(first_check, data):
    demo = subprocess.Popen(
        _command(data, "--no-browser"),
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for line in demo.stdout:
            if "JupyterLab: http://127.0.0.1:" in line:
                break
        started = psutil.Process(demo.pid).children(recursive=True)
        assert len(started) >= 2, "Azurite and JupyterLab"

        demo.send_signal(signal.SIGINT)
        said = demo.communicate(timeout=60)[0]
    finally:
        demo.kill()
        demo.wait()

    assert demo.returncode == 0, said
    assert "Stopped" in said
    _, alive = psutil.wait_procs(started, timeout=5)
    assert alive == []


@pytest.mark.chromium
@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
@pytest.mark.parametrize("options", [(), ("--write", "--inventory")], ids=["read-only", "write"])
def test_the_app_shows_the_runs_and_deletes_only_when_asked_to(
    first_check, data, chromium, options
):
    command = [*_command(data, "--no-browser", *options)]
    command[command.index("demo")] = "app"
    app = subprocess.Popen(
        command,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        url = ""
        for line in app.stdout:
            if line.startswith("The page"):
                url = line.split(": ", 1)[1].strip()
                break
        page = chromium.new_page()
        page.goto(url)
        page.locator(".xm-row").filter(has_text="naive Bayes").first.wait_for(timeout=90_000)
        if options:
            page.get_by_text("The container was listed: ").first.wait_for(timeout=90_000)
        shown = page.locator(".xm-delete:visible").count()
        code = page.locator(".jp-CodeCell .jp-InputArea:visible").count()
        page.goto(url.split("?", maxsplit=1)[0].replace("127.0.0.1", "localhost"))
        rows_without_token = page.locator(".xm-row").count()
        page.close()
        app.send_signal(signal.SIGINT)
        said = app.communicate(timeout=60)[0]
    finally:
        app.kill()
        app.wait()

    assert (shown > 0) is bool(options)
    assert code == 0
    assert rows_without_token == 0
    assert app.returncode == 0, said


def test_the_app_without_runs_says_what_to_do(data, tmp_path, monkeypatch, capsys):
    from expmgr.demo.app import run_app

    assert run_app(tmp_path, browser=False) == 1
    assert "run 'expmgr demo' once" in capsys.readouterr().err

    monkeypatch.setenv("EXPMGR_CONTAINER", "models")
    assert run_app(tmp_path, browser=False) == 1
    assert "MLFLOW_TRACKING_URI, EXPMGR_PLUGIN is not set" in capsys.readouterr().err


def test_a_missing_extra_is_one_line(monkeypatch, capsys, tmp_path):
    from expmgr.demo import command

    monkeypatch.setattr(command, "_NEEDED", ("no_such_package",))

    assert command.run_demo(tmp_path) == 1

    said = capsys.readouterr().err
    assert said == "expmgr demo: no_such_package not installed, run: pip install 'expmgr[demo]'\n"
