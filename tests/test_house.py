"""What a newcomer is told is there: CONTRIBUTING's files and names, the workflow's commands."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml
from jupyter_driver import REPOSITORY
from test_package import PROJECT

CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
GITHUB = REPOSITORY / ".github"
YAML = [
    *sorted(GITHUB.rglob("*.yml")),
    REPOSITORY / ".pre-commit-config.yaml",
    REPOSITORY / "environment.yml",
]


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_every_yaml_file_is_one_document(path):
    assert isinstance(read(path), dict)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_every_file_that_is_named_exists(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    quoted = re.findall(r"`([\w./-]+/[\w.-]*|[\w-]+\.(?:py|toml|md))`", text)
    named = {*quoted, *re.findall(r"\]\(([^)#:]+)\)", text)}
    assert len(named) >= (30 if name == "CONTRIBUTING.md" else 1)
    folders = ["", "expmgr/", "expmgr/storage/", "expmgr/cleanup/", "expmgr/widgets/"]
    missing = [one for one in named if not any((REPOSITORY / f / one).exists() for f in folders)]
    assert missing == []


def test_every_name_that_a_trace_gives_is_in_the_file_that_it_gives():
    """`name` in or beside the next `file` of its sentence."""
    traces = CONTRIBUTING.split("## Where a change goes")[1].split("## Habits")[0]
    for sentence in re.split(r"[.;:]\s", traces.replace("\n", " ")):
        files = re.findall(r"`([\w/]+\.py)`", sentence)
        names = re.findall(r"`([A-Za-z_]+)`", sentence)
        texts = [
            path.read_text(encoding="utf-8")
            for file in files
            for path in (REPOSITORY / file, REPOSITORY / "expmgr/storage" / file)
            if path.is_file()
        ]
        for name in names:
            assert not texts or any(re.search(rf"\b{name}\b", text) for text in texts), sentence


def test_the_workflow_runs_what_a_change_must_pass_on_every_python():
    jobs = read(GITHUB / "workflows" / "ci.yml")["jobs"]
    ran = {job: [step["run"] for step in of["steps"] if "run" in step] for job, of in jobs.items()}
    assert ran["all"] == [".ci/run"]
    minors = re.findall(r":: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert jobs["all"]["strategy"]["matrix"]["python"] == minors
    assert ran["lowest"] == ["make test-lowest"]


def test_every_command_that_is_told_exists():
    workflow = (GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8")
    told = re.findall(r"(?:^|`|run: )make ([a-z-]+)", CONTRIBUTING + workflow, re.MULTILINE)
    assert {"check", "test", "test-lowest", "help"} <= set(told)
    for command in told:
        subprocess.run(
            ["make", "--dry-run", command], cwd=REPOSITORY, check=True, capture_output=True
        )


def test_the_hooks_are_what_make_check_runs():
    hooks = [
        hook
        for repo in read(REPOSITORY / ".pre-commit-config.yaml")["repos"]
        for hook in repo["hooks"]
    ]
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    checked = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
    for hook in hooks:
        tool = re.search(r"-m (\w+(?: check| format)?)", hook["entry"])[1]
        assert f"-m {tool}" in checked
        assert hook["language"] == "system"
    assert len(hooks) == checked.count("$(PY) -m")


def test_make_help_is_one_screen():
    said = subprocess.run(
        ["make", "help"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert len(said) <= 24
    assert max(map(len, said)) <= 100
    assert {line.split()[1] for line in said if line.startswith("make ")} >= {
        "demo",
        "test",
        "check",
    }
