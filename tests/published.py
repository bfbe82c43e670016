"""Builds what is published, and installs it into empty environments outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from typing import TYPE_CHECKING

from jupyter_driver import REPOSITORY

from expmgr.demo.azurite import default_npm_dir

if TYPE_CHECKING:
    from pathlib import Path

PINS = REPOSITORY / "constraints.txt"
UV = (sys.executable, "-m", "uv")


def folder_on_disk() -> tempfile.TemporaryDirectory[str]:
    """A folder outside the checkout, on a disk, where installing links to what is cached."""
    return tempfile.TemporaryDirectory(prefix="expmgr-published-")


def run(*command: object, cwd: Path, code: int = 0) -> str:
    """Return what a program says that knows nothing of the checkout and its environment."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"EXPMGR_AZURITE_DIR": str(default_npm_dir()), "UV_SYSTEM_CERTS": "true"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def build(folder: Path) -> tuple[Path, Path]:
    """Build sdist and wheel as they are published: the wheel is built from the sdist."""
    out = folder / "dist"
    run(sys.executable, "-m", "build", "--no-isolation", "-o", out, REPOSITORY, cwd=folder)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def install(home: Path, wanted: object) -> Path:
    """Make an environment that holds what is wanted and its dependencies, at the pins.

    Returns the folder of its programs.
    """
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    pins = ("--constraints", PINS, "--build-constraints", PINS)
    try:
        run(*UV, "venv", "--quiet", "--python", sys.executable, home, cwd=home.parent)
        run(*UV, "pip", "install", "--quiet", "--python", home, *pins, wanted, cwd=home.parent)
    except AssertionError as error:  # a network that only pip is set up for: slower
        warnings.warn(f"uv could not install, so pip does: {error}", stacklevel=2)
        run(sys.executable, "-m", "venv", "--clear", home, cwd=home.parent)
        pip = (programs / "python", "-m", "pip", "install", "--quiet", "-c", PINS)
        run(*pip, wanted, cwd=home.parent)
    return programs
