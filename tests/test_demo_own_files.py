"""What the demo and the app run and read is the user's own, or is refused in one line."""

from __future__ import annotations

import os
import stat

import pytest
from conftest import NPM_DIR

from expmgr.demo.app import run_app, write_app_notebook
from expmgr.demo.azurite import AzuriteServer, install_azurite
from expmgr.demo.command import run_demo
from expmgr.demo.data import DemoData
from expmgr.demo.errors import DemoError
from expmgr.demo.jupyter import JupyterServer
from expmgr.demo.node import find_node
from expmgr.demo.own_files import check_own, private_file

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners and modes here")


def planted(folder):
    """A folder in which something was put that would run."""
    evil = folder / "evil"
    script = f"import pathlib; pathlib.Path({str(evil)!r}).touch()"
    for place in ("config", "data", "runtime"):
        (folder / "jupyter" / place).mkdir(parents=True)
        for name in ("jupyter_server_config.py", "jupyter_config.py", "voila.py"):
            (folder / "jupyter" / place / name).write_text(script)
    startup = folder / "jupyter/ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "00-evil.py").write_text(script)
    return evil


def test_settings_that_were_put_into_the_data_folder_do_not_run(tmp_path):
    evil = planted(tmp_path)
    data = DemoData(tmp_path)
    (tmp_path / "notebooks").mkdir()
    with JupyterServer(tmp_path / "notebooks", data.state_dir):
        assert not evil.exists()
        (private,) = data.state_dir.glob("private-*")
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        for file in (private / "config/voila.json", data.state_dir / "lab.log"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert not private.exists(), "nothing with a token is left"


@pytest.mark.parametrize("app", ["lab", "voila"])
def test_what_lies_beside_the_notebooks_does_not_run(tmp_path, app):
    # Python puts its working directory before the packages, and Voila reads its settings there.
    folder = tmp_path / "notebooks"
    folder.mkdir()
    script = f"import pathlib; pathlib.Path({str(tmp_path / 'evil')!r}).touch()"
    for name in ("voila.py", "jupyter_server_config.py", "colorama.py", "sitecustomize.py"):
        (folder / name).write_text(script)
    with JupyterServer(folder, tmp_path / "jupyter", app=app):
        assert not (tmp_path / "evil").exists()


def test_nothing_lies_beside_the_apps_notebook(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "ipykernel_launcher.py").touch()
    page = write_app_notebook(tmp_path / "app")
    assert list((tmp_path / "app").iterdir()) == [page]


@pytest.mark.parametrize("run", [run_demo, run_app])
@pytest.mark.parametrize("linked", [".", "jupyter", "jupyter/lab-settings"])
def test_a_data_folder_that_leads_elsewhere_is_refused(tmp_path, run, linked, capsys, monkeypatch):
    def start(self):
        raise DemoError("it was started")

    monkeypatch.setattr(JupyterServer, "start", start)
    monkeypatch.setattr(AzuriteServer, "start", start)
    for name in ("MLFLOW_TRACKING_URI", "EXPMGR_CONTAINER", "EXPMGR_PLUGIN"):
        monkeypatch.setenv(name, "sqlite://")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    place = tmp_path / "data" / linked
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(elsewhere)
    assert run(tmp_path / "data", browser=False) == 1
    assert f"{place} is a symbolic link" in capsys.readouterr().err
    assert list(elsewhere.iterdir()) == []


def test_a_script_that_was_put_where_azurite_once_lay_does_not_run(tmp_path):
    version = install_azurite(NPM_DIR, find_node()).parents[5]
    script = tmp_path / "azurite" / version.name / "node_modules/azurite/dist/src/blob/main.js"
    script.parent.mkdir(parents=True)
    script.write_text(f"require('fs').writeFileSync({str(tmp_path / 'evil')!r}, '')")
    with DemoData(tmp_path).azurite() as azurite:
        assert azurite.endpoint
    assert not (tmp_path / "evil").exists()


def spoil_link(folder):
    (folder / "notebooks").symlink_to(folder.parent)


def spoil_mode(folder):
    folder.chmod(0o775)
    (folder / "mlflow.db").touch()
    (folder / "mlflow.db").chmod(0o666)


def spoil_owner(folder):
    (folder / "demo.json").touch()
    os.chown(folder / "demo.json", 12345, 12345)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_link, "notebooks is a symbolic link"),
        (spoil_mode, "may be written by others than you"),
        (spoil_owner, "belongs to another user (12345)"),
    ],
)
@pytest.mark.parametrize("run", [run_demo, run_app])
def test_a_folder_that_others_may_have_written_to_is_refused(
    tmp_path, spoil, said, run, capsys, monkeypatch
):
    if spoil is spoil_owner and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    for name in ("MLFLOW_TRACKING_URI", "EXPMGR_CONTAINER", "EXPMGR_PLUGIN"):
        monkeypatch.setenv(name, "sqlite://")
    folder = tmp_path / "data"
    folder.mkdir()
    spoil(folder)
    assert run(folder, browser=False) == 1
    assert said in capsys.readouterr().err


def test_a_group_may_own_what_lies_in_a_folder_that_only_the_user_enters(tmp_path):
    tmp_path.chmod(0o700)
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o664)
    check_own(tmp_path)


def test_an_azurite_that_others_may_write_to_is_not_run(tmp_path):
    installed = install_azurite(NPM_DIR, find_node())
    script = tmp_path / installed.relative_to(installed.parents[6])
    script.parent.mkdir(parents=True)
    script.write_text(f"require('fs').writeFileSync({str(tmp_path / 'evil')!r}, '')")
    script.chmod(0o666)
    with pytest.raises(DemoError, match="may be written by others than you"):
        AzuriteServer(tmp_path / "blobs", npm_dir=tmp_path).start()
    assert not (tmp_path / "evil").exists()


def test_a_private_file_takes_no_earlier_ones_place(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "file").symlink_to(tmp_path / "target")
    private_file(tmp_path / "file", "new")
    assert (tmp_path / "target").read_text() == "old"
    assert not (tmp_path / "file").is_symlink()
