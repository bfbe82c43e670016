"""What is published: what is in it, and that it installs. `test_demo.py` runs the wheel's demo."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from jupyter_driver import REPOSITORY
from published import build, folder_on_disk, install, run
from test_package import PYPROJECT

import expmgr

pytestmark = pytest.mark.timeout(600)

PRINT_ALL = "import expmgr; print(expmgr.__file__, *map(expmgr.__getattr__, expmgr.__all__))"


@pytest.fixture(scope="module")
def folder():
    with folder_on_disk() as name:
        yield Path(name).resolve()


@pytest.fixture(scope="module")
def built(folder):
    """(sdist, wheel)."""
    return build(folder)


def test_wheel_and_sdist_hold_what_they_should_and_the_wheel_nothing_else(built):
    sdist, wheel = built
    assert sdist.name == f"expmgr-{expmgr.__version__}.tar.gz"
    assert wheel.name == f"expmgr-{expmgr.__version__}-py3-none-any.whl"

    tracked = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY)
    files = {name for name in tracked.splitlines() if (REPOSITORY / name).is_file()}
    package = {name for name in files if name.startswith("expmgr/")}
    copied = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == package | set(copied.values())

    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    tests = {name for name in files if name.startswith("tests/")}
    assert packed >= package | set(copied) | tests | {"README.md", "CHANGELOG.md", "LICENSE"}
    assert not [name for name in packed if name.endswith((".png", ".webp"))], (
        "large, and on the web"
    )


def test_the_sdist_installs_with_its_hard_dependencies_alone(built, folder):
    sdist, _ = built
    programs = install(folder / "sdist", sdist)

    assert str(programs.parent) in run(programs / "python", "-c", PRINT_ALL, cwd=folder)
    assert "usage: expmgr" in run(programs / "expmgr", "--help", cwd=folder)
    refused = run(programs / "expmgr", "demo", "--data", folder / "none", cwd=folder, code=1)
    assert "pip install 'expmgr[demo]'" in refused
    assert len(refused.splitlines()) == 1
