"""The documentation names tests that exist."""

from __future__ import annotations

import re

from jupyter_driver import REPOSITORY


def test_every_failure_that_the_documentation_tells_has_its_test():
    text = (REPOSITORY / "docs" / "failures.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "test_" in line]
    named = [re.findall(r"`(test_\w+)`", row) for row in rows]
    assert len(rows) >= 15
    assert all(named), "a row without a test"
    files = (REPOSITORY / "tests").glob("test_*.py")
    there = {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {name for names in named for name in names} <= there


def test_every_call_that_moves_in_is_there():
    import expmgr

    text = (REPOSITORY / "docs" / "moving_in.md").read_text(encoding="utf-8")
    rows = [
        line.split("|") for line in text.partition("## Its calls")[2].splitlines() if "|" in line
    ]
    named = [name for row in rows for name in re.findall(r"`([\w.]+)[(\[`]", row[1] + row[3])]
    assert len(named) >= 35
    values = {"RetryParams", "RetryConfig"}
    fields = {*expmgr.RetryParams.model_fields, "config"}
    for name in set(named) - values - fields - {"runs", "with"}:
        owner, _, attribute = name.rpartition(".")
        home = getattr(expmgr, owner) if owner and owner != "manager" else None
        home = home or expmgr.ExperimentsManagerWithAzureBlobBackend
        assert callable(getattr(home, attribute)), name
