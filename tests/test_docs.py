"""The documentation stays true: its Python runs, page by page, and what it names exists."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import yaml
from azure.storage.blob import BlobServiceClient
from distributed import Client, LocalCluster
from inventory_reports import Reports
from jupyter_driver import REPOSITORY
from servers import wasbs

import expmgr
from expmgr.cli.parser import build_parser

if TYPE_CHECKING:
    from pathlib import Path

DOCS = REPOSITORY / "docs"
TESTED_ELSEWHERE = {"checkpoints.md", "moving_in.md"}
"""Pages whose Python the tests of their subject run."""


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


PAGES = {name_of(page): page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md"))}
PYTHON = {
    name: found
    for name, text in PAGES.items()
    if (found := re.findall(r"```python\n(.*?)```", text, re.DOTALL))
}


def run(page: str, /, **names):
    """Run a page's Python from top to bottom, as a reader would; return the names that it made."""
    for code in PYTHON[page]:
        exec(code, names)
    return names


def stored(blob_names) -> list[str]:
    return [name for name in blob_names() if not name.startswith("expmgr-journal/")]


def test_every_page_with_python_has_a_test_that_runs_it():
    tree = ast.parse((REPOSITORY / "tests" / "test_docs.py").read_text(encoding="utf-8"))
    named = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and str(node.value).endswith(".md")
    }
    assert set(PYTHON) <= named | TESTED_ELSEWHERE


@pytest.mark.parametrize("page", ["index.md", "how-to/proxied-servers.md"])
def test_a_manager_is_made_without_a_network(page):
    manager = run(page)["manager"]
    assert manager.tracking_uri == "http://mlflow.server"


def test_the_start_shows_a_plan_and_deletes_it(eight_runs, blob_names, capsys):
    connect, look = PYTHON["start.md"]
    names = {}
    exec(connect, names)
    assert names["manager"].plugin_name == "example_plugin"

    names["manager"] = eight_runs
    exec(look, names)

    assert "protected" in capsys.readouterr().out
    assert names["report"].counts == {"deleted": 4, "protected": 1}
    assert len(blob_names()) == 4


def test_credentials_of_each_kind_are_accepted(azurite, monkeypatch):
    for name, value in {
        "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
        "MLFLOW_TRACKING_URI": "http://mlflow.server",
        "EXPMGR_CONTAINER": "models",
        "EXPMGR_PLUGIN": "example_plugin",
        "EXPMGR_MAIN_METRIC": "accuracy",
    }.items():
        monkeypatch.setenv(name, value)
    assert run("how-to/credentials.md")["manager"].main_metric == "accuracy"


def test_every_variable_of_the_environment_is_read():
    read = (REPOSITORY / "expmgr" / "settings.py").read_text(encoding="utf-8")
    table = PAGES["how-to/credentials.md"].split("| variable | is |")[1].split("\n\n")[0]
    named = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert named == set(re.findall(r'"((?:EXPMGR|MLFLOW)_[A-Z_]+)"', read))


def test_a_report_of_azure_s_own_is_read(full_of_reports, capsys):
    (code,) = PYTHON["scale.md"]
    names = {"manager": full_of_reports}
    exec(code, names)
    for table in (names["usage"], names["orphans"]):
        assert "Blob Inventory report inventory/" in table.attrs["source"]
    names["browser"].close()


@pytest.fixture
def full_of_reports(eight_runs, azurite, container):
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        if not service.get_container_client("inventory").exists():
            service.create_container("inventory")
        Reports(service, container, "inventory", rule=container.replace("-", "")).write()
        yield eight_runs


def test_many_containers_are_counted_and_cleaned_by_any_executor(
    azurite, sqlite_uri, lab, container, plugin_name, tmp_path, monkeypatch
):
    other = f"other-{container[-12:]}"
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        service.create_container(other)
    second = lab.experiment("second", location=wasbs(other))
    for value in (0.1, 0.2, 0.9):
        lab.with_model(value)
        lab.with_model(value, experiment_id=second)
    module, by_threads, by_dask = PYTHON["how-to/many-containers.md"]
    module = module.replace('"30d"', '"0s"').replace("best(10)", "best(1)")
    (tmp_path / "many_containers.py").write_text(module, encoding="utf-8")
    for name, value in {
        "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
        "MLFLOW_TRACKING_URI": sqlite_uri,
        "EXPMGR_PLUGIN": plugin_name,
        "EXPMGR_MAIN_METRIC": "accuracy",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)]),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = {"containers": [container, other]}

    exec(by_threads, names)
    usage = names["usage"].groupby("container")[["bytes", "other_bytes"]].sum()
    for one in (container, other):
        listed = pd.DataFrame(
            lab.manager(azure_blob_credentials=azurite.credentials(one)).storage_usage()
        )
        assert list(usage.loc[one]) == list(listed[["bytes", "other_bytes"]].sum())
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        names["scheduler"] = cluster
        exec(by_dask, names)
        with Client(cluster) as client:
            again = names["usage_everywhere"](client.get_executor(), names["containers"])

    left = again.groupby("container")["bytes"].sum()
    assert set(left) == {2012}, "the best of each stays"
    assert names["report"].counts == {"deleted": 4}


def test_the_schedule_marks_and_deletes_nothing_yet(eight_runs, blob_names):
    (code,) = PYTHON["how-to/scheduled-clean-up.md"]
    exec(code.replace('"60d"', '"0s"'), {"manager": eight_runs})
    assert len(eight_runs.marks()) == 8 - 3, "the three best stay, the newest among them"
    assert len(blob_names()) == 8


def test_orphans_go_by_what_they_are(eight_runs, put_blob, blob_names):
    run_id = eight_runs.runs()["run_id"][0]
    eight_runs.client.delete_run(run_id)
    stray = f"old/{'0' * 32}/artifacts/"
    put_blob(f"{stray}weights.bin")
    (code,) = PYTHON["how-to/orphans.md"]
    names = {"manager": eight_runs}

    exec(code.replace("7/<run id>/artifacts/", stray), names)

    assert sorted(names["found"]["kind"]) == ["trash", "unknown"]
    left = stored(blob_names)
    assert len(left) == 7
    assert not [name for name in left if run_id in name or name.startswith(stray)]


def test_the_prices_are_taken_and_told(eight_runs, capsys):
    run("how-to/costs.md", manager=eight_runs, ids=list(eight_runs.runs()["run_id"]))
    assert "; saves " in capsys.readouterr().out


def test_the_retry_settings_are_accepted():
    assert run("how-to/bad-days.md")["retry_config"].delete_model.attempts == 8


def test_deleting_does_what_its_comments_say(eight_runs, blob_names, capsys):
    now, _ = PYTHON["deleting.md"]
    names = {"manager": eight_runs}

    exec(now, names)

    assert names["report"].counts == {"deleted": 4, "protected": 1}
    assert names["result"].outcome == "deleted"
    assert len(blob_names()) == 8 - 4 - 1
    assert "deleted 1 " in capsys.readouterr().out


def test_deleting_later_marks_keeps_and_deletes_nothing_yet(eight_runs, blob_names):
    _, later = PYTHON["deleting.md"]
    runs = eight_runs.runs()
    plan = eight_runs.plan_deletion(runs.run_id.head(5))

    exec(later, {"manager": eight_runs, "runs": runs, "plan": plan})

    assert len(eight_runs.marks()) == 3, "one is protected, one was kept"
    assert sorted(eight_runs.deletion_log()["state"]) == ["kept", "marked", "marked", "marked"]
    assert len(blob_names()) == 8


def test_a_policy_deletes_what_it_says(eight_runs, blob_names, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (code,) = PYTHON["policies.md"]
    names = {"manager": eight_runs}

    exec(code.replace('"30d"', '"0s"').replace('"1GB"', '"0B"'), names)

    kept = {one.id: one.why for one in names["plan"].kept}
    assert sorted(set(kept.values())) == ["kept by best(3) | last(1)", "taken out of the plan"]
    assert names["report"].counts == {"deleted": 8 - len(kept)}
    assert len(blob_names()) == len(kept) == 4


def test_the_training_keeps_one_model(eight_runs, capsys):
    names = run("training.md", manager=eight_runs)
    assert names["best"].get_depth() == 3
    runs = eight_runs.runs("example_plugin / batch 1")
    assert sorted(runs["model"]) == ["deleted", "deleted", "stored"]
    assert eight_runs.get_top_params(3)[0] == {"depth": 3}


# ----------------------------------------------------------------------- what pages name exists


def shell_lines() -> list[tuple[str, str]]:
    found = [
        (name, line)
        for name, text in PAGES.items()
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    assert found
    return found


def test_every_make_command_exists():
    named = {command for text in PAGES.values() for command in re.findall(r"`make ([a-z-]+)", text)}
    named |= {line.split()[1] for _, line in shell_lines() if line.startswith("make ")}
    assert {"demo", "test", "bench"} <= named
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert named <= set(targets)


def test_every_extra_that_is_installed_exists():
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    text = "\n".join(PAGES.values())
    named = set(re.findall(r"pip install [^`\n]*\[(\w+)\]", text))
    assert {"demo", "app", "identity"} <= named
    for extra in named:
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


def test_every_command_and_flag_of_the_command_line_exists():
    parser = build_parser()
    (commands,) = (one.choices for one in parser._actions if one.choices and one.dest == "command")
    page = PAGES["how-to/command-line.md"]
    named = set(re.findall(r"\bexpmgr ([a-z]+)", page))
    assert {"usage", "models", "plan", "delete", "log", "check"} <= named <= set(commands)
    known = {flag for one in commands.values() for flag in one._option_string_actions}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page)) <= known
    for _, line in shell_lines():
        for command in line.split("; "):
            if command.startswith("expmgr "):
                parser.parse_args(shlex.split(command)[1:])


def test_every_parameter_of_the_scheduled_notebook_exists():
    cells = json.loads((REPOSITORY / "notebooks" / "cleanup.ipynb").read_text("utf-8"))["cells"]
    (given,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    known = re.findall(r"^(\w+) = ", "".join(given["source"]), re.MULTILINE)
    named = set(re.findall(r" -p (\w+) ", PAGES["how-to/scheduled-clean-up.md"]))
    assert named
    assert named <= set(known)


def test_every_failure_that_the_documentation_tells_has_its_test():
    rows = [
        line
        for line in PAGES["failures.md"].splitlines()
        if line.startswith("| ") and "test_" in line
    ]
    named = [re.findall(r"`(test_\w+)`", row) for row in rows]
    assert len(rows) >= 15
    assert all(named), "a row without a test"


def test_every_test_that_a_page_names_exists():
    files = (REPOSITORY / "tests").glob("test_*.py")
    there = {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    named = {test for text in PAGES.values() for test in re.findall(r"`(test_\w+)`", text)}
    assert named <= there


def test_every_call_that_moves_in_is_there():
    text = PAGES["moving_in.md"]
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


def test_the_reference_has_every_public_name():
    asked = {
        name
        for page, text in PAGES.items()
        if page.startswith("reference/")
        for name in re.findall(r"^::: (\S+)", text, re.MULTILINE)
    }
    for name in expmgr.__all__:
        home = getattr(expmgr, name).__module__
        assert {f"expmgr.{name}", home, f"{home}.{name}"} & asked, name


def test_every_page_has_its_place_in_the_navigation():
    site = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    shown = [page for section in site["nav"] for pages in section.values() for page in pages]
    assert len(shown) == len(set(shown))
    assert set(shown) == {*PAGES, *(name_of(page) for page in DOCS.rglob("*.ipynb"))}


def test_no_page_names_a_place_of_this_machine():
    for page in [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.])/(?:home|root|work|tmp|Users)/", text), page


# ------------------------------------------------------------------ what `make docs` looks at


def loaded(name: str):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hooks():
    return loaded("hooks")


@pytest.fixture
def built(tmp_path, hooks):
    """A function that writes pages of a site and looks at them; returns what is wrong."""

    def look(**pages: str) -> str:
        for name, text in pages.items():
            (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
        try:
            hooks.on_post_build({"site_dir": str(tmp_path)})
        except SystemExit as end:
            return str(end)
        return ""

    return look


def test_a_site_whose_links_lead_somewhere_passes(built):
    one = '<a href="two.html#here">x</a><a href="#top">y</a><p id="top"><a href="https://a.b">z</a>'
    assert built(one=one, two='<h2 id="here">') == ""


@pytest.mark.parametrize(
    ("link", "wrong"),
    [
        ("three.html", "not there"),
        ("two.html#nowhere", "no such place"),
        ("#nowhere", "no such place"),
        ("../outside.html", "not there"),
        ("two.md", "not there"),
    ],
)
def test_a_link_that_leads_nowhere_ends_the_build(built, link, wrong):
    said = built(one=f'<a href="{link}">x</a>', two='<h2 id="here">')
    assert said.startswith(f"one.html leads to {link}")
    assert wrong in said


@pytest.mark.parametrize(
    "loads",
    [
        '<script src="https://a.b/c.js"></script>',
        "<img alt='' src='//a.b/c.png'>",
        '<link rel="stylesheet" href="https://a.b/c.css">',
        "<style>body { background: url(https://a.b/c.png) }</style>",
        '<script type="module">const x = await import("https://a.b/c.js")</script>',
    ],
)
def test_a_page_that_loads_from_another_host_ends_the_build(built, loads):
    assert "one.html loads from another host" in built(one=loads)


def test_a_notebooks_page_becomes_one_of_ours(hooks):
    source = (
        '<a href="../two.md#here">x</a><a href="https://a.b/two.md">y</a><!-- Load mathjax -->'
        '<script src="https://a.b/c.js"></script><!-- End of mathjax configuration --><p>z'
    )

    class Page:
        class file:  # noqa: N801 - MkDocs calls it so
            src_uri = "tutorials/one.ipynb"

    made = hooks.on_post_page(source, Page)

    assert made == '<a href="../two.html#here">x</a><a href="https://a.b/two.md">y</a><p>z'


def test_code_breaks_between_the_words_of_a_name_and_not_where_it_is_short(hooks):
    class Page:
        class file:  # noqa: N801 - MkDocs calls it so
            src_uri = "one.md"

    source = (
        "<td><code>unknown</code> <code>test_what_is_promised_holds_anyhow</code> "
        "<code>&lt;experiment&gt;/models/&lt;model id&gt;/artifacts</code></td>"
        "<code>expmgr delete --older-than 60d --yes</code>"
        "<pre><code>not_this_one_which_is_a_block_of_code\n</code></pre>"
    )

    assert hooks.on_post_page(source, Page) == (
        '<td><code class="short">unknown</code> '
        "<code>test_<wbr>what_<wbr>is_<wbr>promised_<wbr>holds_<wbr>anyhow</code> "
        "<code>&lt;experiment&gt;/<wbr>models/<wbr>&lt;model id&gt;/<wbr>artifacts</code></td>"
        '<code>expmgr delete <span class="short">--older-than</span> 60d '
        '<span class="short">--yes</span></code>'
        "<pre><code>not_this_one_which_is_a_block_of_code\n</code></pre>"
    )


def test_parameters_that_share_a_description_have_an_entry_each():
    pytest.importorskip("griffe", reason="griffe comes with make docs")
    docstring = (
        "Delete.\n\nParameters\n----------\nfirst\n    One.\nprogress, cancel\n    As in `x`:\n\n"
        "    - a, b\n\nReturns\n-------\nint, str\n    Two."
    )

    assert loaded("parameters").each_its_own(docstring) == (
        "Delete.\n\nParameters\n----------\nfirst\n    One.\n"
        "progress\n    As in `x`:\n\n    - a, b\n"
        "cancel\n    As in `x`:\n\n    - a, b\n\nReturns\n-------\nint, str\n    Two."
    )


def test_the_site_is_no_part_of_the_repository():
    ignored = subprocess.run(
        ["git", "check-ignore", "site/index.html"],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ignored.stdout.strip() == "site/index.html"
