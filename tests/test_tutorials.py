"""The documentation's tutorials are kept as they were executed, and executed again."""

from __future__ import annotations

import re

import pytest
from tutorials import FOLDER, execute, saved, shown

NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))
SEARCH = "a-search-that-keeps-its-best.ipynb"


def lines(pattern: str, text: str) -> list:
    return re.findall(pattern, text, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_is_kept_whole_and_without_what_would_not_be_true_elsewhere(name):
    notebook = saved(name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert kinds <= {"stream", "execute_result", "display_data"}, "no cell failed"
    assert "widgets" not in notebook.metadata
    for cell in code:
        assert "execution" not in cell.metadata, "times of one machine"
        for output in cell.outputs:
            assert output.get("name") != "stderr", output
    for said in shown(notebook).values():
        assert not re.search(r"\b20\d\d-\d\d-\d\d\b|\b\d\d:\d\d\b|\bago\b", said), said


def test_the_search_keeps_its_best(sqlite_uri, azurite, container, tmp_path, blob_names):
    environment = {
        "MLFLOW_TRACKING_URI": sqlite_uri,
        "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
        "EXPMGR_CONTAINER": container,
    }
    said = execute(SEARCH, tmp_path, environment)

    trials = lines(r"^ *(\d+)  (0\.\d+|1\.000)  (stored|not stored)", said["search"])
    assert [int(number) for number, _, _ in trials] == list(range(12))
    best = -1.0
    for _, value, ended in trials:
        assert (ended == "stored") == (float(value) >= best), "only what beats or equals it"
        best = max(best, float(value))
    stored = dict(lines(r"^(\w+) +(\d+) +\d+$", said["stored"]))
    assert stored["stored"] == "1"
    assert sum(map(int, stored.values())) == 12
    assert said["again"].startswith(f"accuracy {best:.3f}")
    assert lines(r"^ *(\d+)  ", said["restart"]) == ["12"], "the rest was done before"
    assert len(lines(r"^{'width': \d+, 'rate': [\d.]+, 'epochs': \d+}$", said["next"])) == 3
    assert len(lines("stored$|deleted$", said["close"])) == 6
    assert len(lines(" stored ", said["policy"])) == 3
    assert lines(r"^digits study / (\w+) +(\d)", said["end"]) == [
        ("close", "1"),
        ("three", "3"),
        ("wide", "1"),
    ]
    assert len({name.split("/models/")[1].split("/")[0] for name in blob_names()}) == 5
    assert {cell: bool(text) for cell, text in said.items()} == {
        cell: bool(text) for cell, text in shown(saved(SEARCH)).items()
    }

    again = execute(SEARCH, tmp_path, environment)
    assert lines(r"^ *(\d+)  ", again["search"] + again["restart"]) == [], "all was done before"
    assert again["end"] == said["end"]
