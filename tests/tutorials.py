"""Executes a tutorial of the documentation, and compares what it shows with what its page shows."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import nbformat
from jupyter_driver import REPOSITORY
from nbclient import NotebookClient

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOLDER = REPOSITORY / "docs" / "tutorials"


def shown(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What each cell of code shows as text, by the cell's id."""
    return {
        cell.id: "".join(
            output.get("text") or output.get("data", {}).get("text/plain", "")
            for output in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def saved(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / name, as_version=4)


def execute(name: str, folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Execute a tutorial as it stands; return what its cells show."""
    notebook = saved(name)
    client = NotebookClient(
        notebook,
        timeout=240,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment})
    return shown(notebook)


def words(text: str) -> str:
    """The text without ids, sizes, shares and blanks, which differ from one making to another."""
    text = re.sub(r"\b(?:m-)?[0-9a-f]{32}\b", "<id>", text)
    text = re.sub(r"[\d.]+ ?(?:[KMG]?B\b|%)", "#", text)
    return re.sub(r"\s+", " ", text).strip()
