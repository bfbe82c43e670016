"""An npm package as a package lock pins it, with all that it needs: installed once, by checksum."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from expmgr.demo.errors import DemoError

if TYPE_CHECKING:
    from expmgr.demo.node import Node

__all__ = ["install_locked"]

_FILES = ("package.json", "package-lock.json")


def install_locked(name: str, lock_dir: Path, home: Path, node: Node) -> Path:
    """Install a package into a folder of its own below ``home``, once, and return that folder.

    Several processes may call this at once: the folder appears complete or not at all.

    Parameters
    ----------
    name
        What it is called in messages.
    lock_dir
        Where its ``package.json`` and ``package-lock.json`` lie, which name versions and checksums.

    Raises
    ------
    DemoError
        npm failed or the registry could not be reached.
    """
    lock = (lock_dir / "package-lock.json").read_bytes()
    target = home / hashlib.sha256(lock).hexdigest()[:12]
    if (target / "node_modules").is_dir():
        return target
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="installing-") as temporary:
        work = Path(temporary) / "package"
        work.mkdir()
        for file in _FILES:
            shutil.copyfile(lock_dir / file, work / file)
        _run_npm(name, node, work)
        with contextlib.suppress(OSError):  # another process was first
            work.rename(target)
    if not (target / "node_modules").is_dir():
        message = f"npm installed no {name} into {target}: remove that folder and try again"
        raise DemoError(message)
    return target


def _run_npm(name: str, node: Node, folder: Path) -> None:
    environment = {
        "NODE_USE_SYSTEM_CA": "1",  # as pip and curl do: a company's proxy may sign with its own CA
        **os.environ,
        "PATH": os.pathsep.join([str(node.executable.parent), os.environ.get("PATH", "")]),
    }
    command = [
        *node.npm,
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=1000",
        "--loglevel=error",
    ]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=900,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"{name} could not be installed: npm did not finish ({type(error).__name__})"
        raise DemoError(message) from error
    if done.returncode != 0:
        message = (
            f"{name} could not be installed from the npm registry (is the network there?): "
            f"{_reason(done.stderr)}"
        )
        raise DemoError(message)


def _reason(stderr: str) -> str:
    """Return npm's error in one line, without the address of the registry."""
    lines = [
        line.split("npm error", 1)[1].strip() for line in stderr.splitlines() if "npm error" in line
    ]
    said = " ".join([line for line in lines if line and "complete log" not in line][:3])
    return re.sub(r"https?://\S+", "the registry", said)[:200] or "npm gave no reason"
