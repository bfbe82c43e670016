"""The command line on real servers: what it prints, what it does, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from jupyter_driver import REPOSITORY
from lab import METRIC, Lab

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.__main__ import main
from expmgr.catalog.shares import by_experiment
from expmgr.cleanup.plan import DeletionPlan, RunPlan
from expmgr.cleanup.report import DeletionReport
from expmgr.errors import TrackingError
from expmgr.interrupt import cancel_by_signals

ALL = ("--older-than", "0s")
NEVER_A_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
def lab(lab, sqlite_uri, container, plugin_name, monkeypatch):
    """The lab, and an environment that says it."""
    for name, value in {
        "MLFLOW_TRACKING_URI": sqlite_uri,
        "EXPMGR_CONTAINER": container,
        "EXPMGR_PLUGIN": plugin_name,
        "EXPMGR_MAIN_METRIC": METRIC,
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("EXPMGR_IS_LOSS", "EXPMGR_ARTIFACTS_DESTINATION", "EXPMGR_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    return lab


@pytest.fixture
def say(capsys):
    """Runs a command; returns its exit code, its output and its complaints."""

    def run(*arguments):
        capsys.readouterr()
        code = main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def ask(say):
    """Runs a command with --json; returns its exit code and its document."""

    def run(*arguments):
        code, out, _ = say(*arguments, "--json")
        (line,) = out.splitlines()
        document = json.loads(line)
        assert document["exit"] == code
        return code, document

    return run


def made(lab, run_id):
    return lab.client.get_run(run_id).outputs.model_outputs[0].model_id


# ------------------------------------------------------------------------------- words and flags


def python(*arguments, **environ):
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_help_is_one_screen_and_loads_nothing_heavy():
    program = (
        "import sys; from expmgr.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    heavy = {"mlflow", "azure", "pandas", "numpy", "ipywidgets", "pydantic", "tenacity", "tqdm"}
    for command in ((), ("plan",), ("delete",)):
        said = python("-c", program, *command, "--help", COLUMNS="100").stdout
        *lines, modules = said.splitlines()
        assert not heavy & set(modules.split())
        assert len(lines) < 60
        assert max(map(len, lines)) <= 100
        assert "3 something was protected" in said
    first = python("-m", "expmgr", "--help", COLUMNS="100").stdout
    assert len(first.splitlines()) <= 36
    for name in ("usage", "models", "plan", "delete", "log", "check", "keep", "resume", "demo"):
        assert re.search(rf"^ +{name} ", first, re.MULTILINE)
    assert "secret" in first


def test_bad_usage_is_one_line_before_any_environment_is_read(say, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for arguments, words in (
        ((), "COMMAND"),
        (("dance",), "dance"),
        (("plan",), "say what: ids, or a policy"),
        (("delete",), "--plan FILE or --due"),
        (("plan", "run", *ALL), "ids and a policy do not go together"),
        (("delete", "run", "--due"), "ids and --due"),
        (("delete", "--due", "--plan", "x"), "--plan and --due"),
        (("plan", "run", "--per", "run"), "--per means nothing with ids"),
        (("plan", "run", "--all"), "--experiment and --all means nothing"),
        (("plan", "--older-than", "soon"), "not an age"),
        (("plan", "--larger-than", "big"), "not a size"),
        (("plan", "--status", "SAD"), "no status"),
        (("plan", "--keep-best", "0"), "best(0)"),
        (("plan", "--keep-best", "many"), "--keep-best"),
        (("plan", *ALL, "--part", "weights"), "part must be one of"),
        (("plan", "run", "--part", "../x"), "../x"),
        (("delete", *ALL, "--force"), "--force means nothing with a policy"),
        (("delete", "--plan", "x", "--force"), "--force means nothing with --plan"),
        (("delete", "--due", "--after", "7d"), "--after means nothing with --due"),
        (("usage", "--all", "--experiment", "x"), "not allowed with"),
    ):
        code, out, err = say(*arguments)
        assert (code, out) == (2, ""), arguments
        assert words in err
        assert err.startswith("expmgr")
        assert len(err.splitlines()) == 1


def test_what_the_environment_does_not_say_is_one_line_and_one_document(ask, say, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "EXPMGR_CONTAINER", "EXPMGR_PLUGIN", "EXPMGR_MAIN_METRIC"):
        monkeypatch.delenv(name, raising=False)
    code, out, err = say("usage")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    for name in ("MLFLOW_TRACKING_URI", "EXPMGR_CONTAINER", "EXPMGR_PLUGIN", "EXPMGR_MAIN_METRIC"):
        assert name in err
    code, document = ask("usage")
    assert code == 2
    assert document["command"] == "usage"
    assert document["error"]["type"] == "InvalidInputError"
    assert "EXPMGR_CONTAINER" in document["error"]["message"]
    code, document = ask("plan", "--keep-best", "0")
    assert "best(0)" in document["error"]["message"]


class Listener:
    """A manager that plans something and takes note of every call that changes anything."""

    def __init__(self):
        self.changes = []
        run = RunPlan("r" * 32, model="stored", reasons=())
        self.plan = DeletionPlan((run,))

    def plan_deletion(self, *_, **__):
        return self.plan

    plan_cleanup = plan_deletion

    def marks(self, *_):
        when = pd.to_datetime(["2020-01-01"], utc=True)
        return pd.DataFrame({"id": ["r" * 32], "goes": when, "bytes": [1]})

    def delete_models(self, *arguments, **options):
        self.changes.append((arguments, options))
        return DeletionReport()

    delete_due = delete_models


FLAGS = st.lists(
    st.sampled_from(
        [
            *(("run",), ("--older-than", "1d"), ("--keep-best", "1"), ("--status", "FAILED")),
            *(("--mine",), ("--everything",), ("--all",), ("--experiment", "x"), ("--due",)),
            *(("--force",), ("--after", "7d"), ("--part", "raw"), ("--per", "run"), ("--json",)),
            *(("--dry-run",), ("--ye",), ("--y",), ("--forc",), ("--keep-last", "2")),
        ]
    ),
    unique=True,
    max_size=6,
)


@given(flags=FLAGS, really=st.booleans())
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_said_nothing_changes_without_yes_and_no_force_without_the_word(
    flags, really, monkeypatch, capsys
):
    listener = Listener()
    monkeypatch.setattr(
        ExperimentsManagerWithAzureBlobBackend, "from_env", classmethod(lambda _: listener)
    )
    words = [word for flag in flags for word in flag] + ["--yes"] * really
    code = main(["delete", *words])
    capsys.readouterr()
    if not really or code != 0:
        assert listener.changes == []
    for arguments, options in listener.changes:
        assert options.get("force", False) is ("--force" in words)
        assert not options.get("force") or ("run" in words and "--after" not in words)
        planned = arguments[0].runs if "--due" not in words else ()
        assert {run.id for run in planned} <= {run.id for run in listener.plan.runs}
    assert not {"--ye", "--y", "--forc"} & set(words) or code == 2
    event(f"exit {code}, {len(listener.changes)} changed")


# --------------------------------------------------------------------------------------- looking


def test_mlflow_s_news_are_no_part_of_an_answer(tmp_path):
    told = python(
        *("-m", "expmgr", "models"),
        MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/fresh.db",
        EXPMGR_PLUGIN="x",
        EXPMGR_CONTAINER="models",
        EXPMGR_MAIN_METRIC=METRIC,
        AZURE_STORAGE_CONNECTION_STRING="AccountName=acct;AccountKey=c2VjcmV0",
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "0 models\n", "")


def test_usage_adds_up_to_the_container(lab, say, ask, put_blob):
    lab.best()
    other = lab.experiment("second", plugin="another")
    lab.with_model(0.2, experiment_id=other)
    put_blob("strange/file.bin", b"s" * 77)
    code, document = ask("usage")
    assert code == 0
    assert document["bytes"] == 2 * (2012 + 3) + 77
    assert document["bytes"] == sum(row["bytes"] for row in document["experiments"])
    assert document["files"] == len(lab.blob_names())
    (own,) = [row for row in document["experiments"] if row["experiment_name"].endswith("/ first")]
    assert (own["models"], own["other artifacts"]) == (2012, 3)
    assert {row["kind"] for row in document["rows"]} == {"run", "experiment", "unknown"}
    code, out, err = say("usage")
    assert (code, err) == (0, "")
    assert "total: 7 files, 4.11 KB" in out
    assert "2.01 KB" in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 100
    assert "run_id" in say("usage", "--runs")[1]
    chosen = ask("usage", "--experiment", f"{lab.plugin} / first")[1]
    assert chosen["bytes"] == 2015


@pytest.mark.parametrize("width", [60, 80, 200])
def test_tables_fit_the_terminal(lab, say, monkeypatch, width):
    lab.best()
    poor = lab.with_model(0.1)
    say("delete", poor, "--after", "7d", "--yes")
    monkeypatch.setenv("COLUMNS", str(width))
    for command in (("usage",), ("usage", "--runs"), ("models", "--sizes"), ("log",), ("check",)):
        code, out, _ = say(*command)
        assert code == 0
        assert max(map(len, out.splitlines())) <= width, command


@pytest.mark.parametrize("backend", ["http", "proxied"], indirect=True)
def test_a_server_that_proxies_artifacts_is_as_good(
    backend, credentials, blob_names, tmp_path, plugin_name, monkeypatch, ask
):
    lab = Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)
    for name, value in {
        "MLFLOW_TRACKING_URI": backend.tracking_uri,
        "EXPMGR_CONTAINER": backend.container,
        "EXPMGR_PLUGIN": plugin_name,
        "EXPMGR_MAIN_METRIC": METRIC,
        "EXPMGR_ARTIFACTS_DESTINATION": backend.artifacts_destination or "",
    }.items():
        monkeypatch.setenv(name, value)
    top, poor = lab.best(), lab.with_model(0.1)
    own = ask("usage", "--experiment", lab.experiment_id)[1]
    assert own["bytes"] == 2 * 2015
    code, document = ask("delete", *ALL, "--keep-best", "1", "--yes")
    assert (code, document["counts"]) == (0, {"deleted": 1})
    assert not [name for name in lab.blob_names() if made(lab, poor) in name]
    assert [name for name in lab.blob_names() if made(lab, top) in name]


def test_the_shares_of_a_usage_are_all_of_it(lab):
    lab.best()
    lab.artifacts(lab.run(0.1), {"weights.bin": b"w" * 50})
    usage = lab.manager().storage_usage()
    shares = by_experiment(usage)
    assert shares["bytes"].sum() == usage["bytes"].sum() + usage["other_bytes"].sum()
    assert by_experiment(usage.iloc[:0]).empty


def test_models_are_told_with_their_sizes_where_those_are_wanted(lab, say, ask):
    top, poor = lab.best(), lab.with_model(0.1)
    code, document = ask("models", "--sizes")
    assert code == 0
    rows = {row["model_id"]: row for row in document["models"]}
    assert rows.keys() == {made(lab, top), made(lab, poor)}
    assert rows[made(lab, top)]["is_best"] is True
    assert rows[made(lab, top)]["bytes"] == 2012
    assert rows[made(lab, top)]["quality"] == 0.99
    assert rows[made(lab, poor)]["goes"] is None
    assert NEVER_A_TIME.fullmatch(rows[made(lab, poor)]["created"])
    assert ask("models")[1]["models"][0]["bytes"] is None
    assert len(ask("models", "--filter", f"metrics.{METRIC} > 0.5")[1]["models"]) == 1
    code, out, _ = say("models", "--sizes")
    assert "2.01 KB" in out
    assert out.rstrip().endswith("2 models")
    assert made(lab, poor) in out
    code, out, err = say("models", "--experiment", "nowhere")
    assert (code, out) == (2, "")
    assert "nowhere" in err


def test_check_says_what_is_reachable(lab, say, ask):
    lab.best()
    code, document = ask("check")
    assert code == 0
    assert {row["check"] for row in document["checks"]} >= {"tracking server", "model registry"}
    assert "tracking server" in say("check")[1]


def test_a_check_that_fails_ends_with_1(lab, say, monkeypatch):
    monkeypatch.setenv("EXPMGR_CONTAINER", "no-such-container")
    assert say("check")[0] == 1


# -------------------------------------------------------------------------------------- planning


def test_a_plan_by_a_policy_changes_nothing_and_can_be_saved(lab, say, ask, tmp_path):
    top, second, poor = lab.best(), lab.with_model(0.5), lab.with_model(0.1)
    before = lab.blob_names()
    file = tmp_path / "plan.json"
    code, document = ask("plan", *ALL, "--keep-best", "2", "--save", str(file))
    assert code == 0
    assert [row["id"] for row in document["models"]] == [made(lab, poor)]
    assert (document["files"], document["bytes"]) == (2, 2012)
    kept = {row["id"]: row["why"] for row in document["kept"]}
    assert kept.keys() == {made(lab, top), made(lab, second)}
    assert lab.blob_names() == before
    code, out, err = say("plan", *ALL, "--keep-best", "2")
    assert (code, err) == (0, "")
    assert out.strip() == repr(DeletionPlan.load(file)).strip()
    odd = tmp_path / "a plan; of mine"
    assert f"expmgr delete --plan '{odd}' shows it" in say("plan", poor, "--save", str(odd))[1]

    code, out, _ = say("delete", "--plan", str(file))
    assert code == 0
    assert "Nothing was deleted: this is a dry run. Add --yes to delete what would go." in out
    assert lab.blob_names() == before
    code, document = ask("delete", "--plan", str(file), "--yes")
    assert (code, document["dry_run"]) == (0, False)
    assert document["counts"] == {"deleted": 1}
    assert (document["files"], document["bytes"]) == (2, 2012)
    assert {name for name in before if made(lab, poor) in name} == set(before) - set(
        lab.blob_names()
    )


def test_a_plan_that_is_none_is_bad_input(lab, say, tmp_path):
    assert say("delete", "--plan", str(tmp_path / "no.json"), "--yes")[0] == 2
    (tmp_path / "no.json").write_text("{}")
    assert "no saved plan" in say("delete", "--plan", str(tmp_path / "no.json"), "--yes")[2]
    lab.best()
    poor = lab.with_model(0.1)
    code, _, err = say("plan", poor, "--save", str(tmp_path / "no" / "such" / "folder"))
    assert code == 2
    assert "could not be written" in err


def test_all_of_an_experiment_goes_by_a_word_only(lab, say, ask):
    lab.best()
    other = lab.experiment("second")
    poor = lab.with_model(status="FAILED", experiment_id=other)
    code, _, err = say("delete", "--status", "FAILED", "--yes")
    assert code == 2
    assert "--everything" in err
    # MLflow 3.7, which this process has imported, tells of a new database.
    assert len([line for line in err.splitlines() if " INFO " not in line]) == 1
    assert ask("plan", "--status", "FAILED", "--everything")[1]["models"][0]["id"] == made(
        lab, poor
    )
    assert ask("plan", "--everything", "--experiment", other)[1]["bytes"] == 2012


def test_what_a_policy_needs_is_passed_on(lab, ask):
    first = lab.run(0.9)
    models = [lab.logged_model(first, step=step) for step in (1, 2, 3)]
    for step, model in enumerate(models):
        lab.client.log_metric(first, METRIC, 0.7 + step / 10, model_id=model)
    document = ask("plan", *ALL, "--per", "run", "--keep-best", "2")[1]
    assert [row["id"] for row in document["models"]] == [models[0]]
    document = ask("plan", *ALL, "--per", "run", "--keep-best", "2", "--larger-than", "1GB")[1]
    assert document["models"] == []
    assert "all 3 stay" in document["note"]
    raw = lab.run(0.1)
    lab.artifacts(raw, {"weights.bin": b"w" * 50})
    assert ask("plan", *ALL, "--part", "raw")[1]["models"][0]["part"] == "raw"
    lab.artifacts(first, {"plots/a.png": b"a", "log.txt": b"l"})
    document = ask(
        "plan", *ALL, "--part", "plots/*", "--part", "*.txt", "--experiment", lab.experiment_id
    )[1]
    assert {row["id"]: row["files"] for row in document["models"]} == {first: 2}
    assert ask("plan", *ALL, "--mine", "--keep-last", "9")[1]["models"] == []


# -------------------------------------------------------------------------------------- deleting


def test_deleting_is_a_dry_run_without_a_word(lab, say, ask):
    lab.best()
    poor = lab.with_model(0.1)
    before = lab.blob_names()
    for flags in ((), ("--dry-run",)):
        code, out, _ = say("delete", poor, *flags)
        assert code == 0
        assert "Nothing was deleted" in out
        assert "--yes" in out
        assert poor in out
    assert ask("delete", poor)[1]["dry_run"] is True
    assert say("delete", poor, "--yes", "--dry-run")[0] == 2
    assert lab.blob_names() == before
    code, out, _ = say("delete", poor, "--yes")
    assert code == 0
    assert "1 deleted" in out
    assert not [name for name in lab.blob_names() if made(lab, poor) in name]
    assert say("delete", poor, "--yes")[0] == 0, "nothing to do"


def test_what_is_protected_stays_and_ends_with_3(lab, say, ask):
    top = lab.best()
    before = lab.blob_names()
    assert say("plan", top)[0] == 3
    code, out, _ = say("delete", top)
    assert code == 3
    assert "What is protected stays." in out
    assert "Add --yes" not in out
    code, document = ask("delete", top, "--yes")
    assert code == 3
    assert document["counts"] == {"protected": 1}
    assert document["results"][0]["protected_by"][0]["kind"] == "best"
    assert lab.blob_names() == before
    code, out, _ = say("delete", top, "--force")
    assert code == 0
    assert "Add --yes to delete what would go, and what is protected as well." in out
    assert lab.blob_names() == before
    assert say("delete", top, "--force", "--yes")[0] == 0
    assert not [name for name in lab.blob_names() if made(lab, top) in name]
    assert ask("log")[1]["log"][0]["forced"].startswith("best: ")


def test_ids_of_nothing_are_named_at_once_and_nothing_goes(lab, say, ask):
    lab.best()
    poor = lab.with_model(0.1)
    before = lab.blob_names()
    code, out, err = say("delete", poor, "f" * 32, "e" * 32, "--yes")
    assert (code, out) == (2, "")
    assert "f" * 32 in err
    assert "e" * 32 in err
    assert ask("plan", "f" * 32)[1]["error"]["type"] == "NotFoundError"
    assert lab.blob_names() == before


def test_a_part_goes_by_its_name_and_by_patterns(lab, ask):
    lab.best()
    run = lab.run(0.1)
    lab.logged_model(run, {"MLmodel": b"flavors: {}\n", "optimizer.pt": b"o" * 500, "w": b"w"})
    lab.artifacts(run, {"plots/a.png": b"a", "plots/b.png": b"b", "log.txt": b"l"})
    assert ask("delete", run, "--part", "optimizer", "--yes")[1]["bytes"] == 500
    document = ask("delete", run, "--part", "plots/*.png", "--part", "*.txt", "--yes")[1]
    assert document["files"] == 3
    assert len([name for name in lab.blob_names() if run in name]) == 0
    assert ask("delete", run, "--part", "no/such/**", "--yes")[0] == 2


def test_what_fails_ends_with_1_and_the_rest_goes(lab, ask, say, monkeypatch):
    lab.best()
    good, bad = lab.with_model(0.2), lab.with_model(0.1)
    delete = ExperimentsManagerWithAzureBlobBackend._delete_model

    def refuse(self, run_id, experiment_id=None):
        if run_id == bad:
            raise TrackingError("the wire was cut")
        return delete(self, run_id, experiment_id)

    class Torn(ExperimentsManagerWithAzureBlobBackend):
        _delete_model = refuse

    monkeypatch.setattr("expmgr.azure_blob.ExperimentsManagerWithAzureBlobBackend", Torn)
    code, document = ask("delete", good, bad, "--yes")
    assert code == 1
    assert {row["id"]: row["outcome"] for row in document["results"]} == {
        good: "deleted",
        bad: "failed",
    }
    monkeypatch.undo()


def test_an_error_of_somebody_else_s_is_one_line_too(lab, ask, say, monkeypatch):
    def break_down(self, *_, **__):
        raise RuntimeError("AccountKey=c2VjcmV0; it broke")

    monkeypatch.setattr(ExperimentsManagerWithAzureBlobBackend, "deletion_log", break_down)
    code, out, err = say("log")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "it broke" in err
    assert "c2VjcmV0" not in err
    assert ask("log")[1]["error"]["type"] == "RuntimeError"
    monkeypatch.setenv("EXPMGR_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        main(["log"])


def test_a_server_that_is_down_ends_with_1(lab, say, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    code, out, err = say("models")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "nothing answers" in err


# ----------------------------------------------------------------------------- later, and stopped


def test_marks_wait_can_be_taken_back_and_go_when_they_are_due(lab, say, ask, monkeypatch):
    lab.best()
    poor, other = lab.with_model(0.2), lab.with_model(0.1)
    before = lab.blob_names()
    code, out, _ = say("delete", poor, other, "--after", "7d")
    assert code == 0
    assert "Nothing was marked: this is a dry run. Add --yes to mark what would go." in out
    assert ask("log", "--marks")[1]["marks"] == []
    code, document = ask("delete", poor, other, "--after", "7d", "--yes")
    assert document["counts"] == {"marked": 2}
    marks = ask("log", "--marks")[1]["marks"]
    assert {row["id"] for row in marks} == {poor, other}
    assert NEVER_A_TIME.fullmatch(marks[0]["goes"])
    assert ask("delete", "--due", "--yes")[1]["results"] == []
    assert say("delete", "--due")[1].strip() == "Nothing is due."

    assert say("keep", other)[:2] == (0, f"{other}: kept\n")
    code, document = ask("keep", other)
    assert (code, document["kept"]) == (1, [{"id": other, "kept": False}])
    nobody = "f" * 32
    assert say("keep", nobody)[0] == 2
    say("delete", other, "--after", "7d", "--yes")
    code, out, _ = say("keep", nobody, other)
    assert (code, out.splitlines()[1]) == (1, f"{other}: kept")
    assert nobody in out.splitlines()[0]
    lab.manager().delete_models([poor], after="30min", progress=False)
    assert lab.blob_names() == before
    for word in ((), ("--yes",)):
        assert say("delete", poor, "--after", "soon", *word)[0] == 2
    assert say("delete", poor, "--after", "7d", "--force", "--yes")[0] == 2


def test_what_is_due_is_shown_first_and_goes_with_a_word(lab, say, ask, monkeypatch):
    lab.best()
    poor = lab.with_model(0.2)
    monkeypatch.setattr("expmgr.cleanup.marking.due_after", lambda after, at: at - 5000)
    assert ask("delete", poor, "--after", "7d", "--yes")[1]["counts"] == {"marked": 1}
    before = lab.blob_names()
    code, document = ask("delete", "--due")
    assert (code, document["dry_run"], document["bytes"]) == (0, True, 2012)
    assert [row["id"] for row in document["due"]] == [poor]
    code, out, _ = say("delete", "--due")
    assert "Add --yes" in out
    assert lab.blob_names() == before
    code, document = ask("delete", "--due", "--yes")
    assert document["counts"] == {"deleted": 1}
    assert not [name for name in lab.blob_names() if made(lab, poor) in name]


def test_a_policy_that_marks_every_day_leaves_the_first_day_s_time(lab, ask):
    lab.best()
    lab.with_model(0.2)
    mark = ("delete", *ALL, "--keep-best", "1", "--after", "7d", "--yes")
    assert ask(*mark)[1]["counts"] == {"marked": 1}
    first = ask("log", "--marks")[1]["marks"]
    assert ask(*mark)[1]["counts"] == {}
    shown = ask("delete", *ALL, "--keep-best", "1", "--after", "7d")[1]
    assert shown["models"] == []
    assert shown["note"] == "all that would go is marked already"
    assert [row["why"][:21] for row in shown["kept"]][:1] == ["marked already: goes "]
    assert ask("log", "--marks")[1]["marks"] == first


@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_ctrl_c_ends_with_a_report_of_what_is_done(lab, ask, monkeypatch):
    lab.best()
    poor = [lab.with_model(value / 100) for value in range(4)]
    before = signal.getsignal(signal.SIGINT)
    events = []
    bulk = ExperimentsManagerWithAzureBlobBackend.delete_models
    delete = ExperimentsManagerWithAzureBlobBackend._delete_model

    class Pressed(ExperimentsManagerWithAzureBlobBackend):
        def delete_models(self, *arguments, cancel, **options):
            events.append(cancel)
            return bulk(self, *arguments, cancel=cancel, **options)

        def _delete_model(self, run_id, experiment_id=None):
            done = delete(self, run_id, experiment_id)
            os.kill(os.getpid(), signal.SIGINT)
            assert events[0].wait(30)
            return done

    monkeypatch.setattr("expmgr.azure_blob.ExperimentsManagerWithAzureBlobBackend", Pressed)
    monkeypatch.setattr("expmgr.cleanup.bulk._RUNS_AT_ONCE", 1)
    code, document = ask("delete", *poor, "--yes")
    assert code == 130
    assert document["cancelled"] is True
    assert [row["outcome"] for row in document["results"]] == ["deleted"]
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    left = [run for run in poor if any(made(lab, run) in name for name in lab.blob_names())]
    assert len(left) == 3


@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_what_whoever_started_it_ignores_ends_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with cancel_by_signals() as cancel:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not cancel.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
            assert cancel.wait(30)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(os.name == "nt", reason="a terminal as POSIX has it")
def test_progress_is_for_a_terminal_and_the_answer_for_a_pipe(lab):
    import fcntl
    import pty
    import struct
    import termios

    lab.best()
    poor = lab.with_model(0.1)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "expmgr", "delete", poor, "--yes", "--json"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that the other end was closed
            while some := os.read(ours, 4096):
                shown += some
        document = json.loads(process.stdout.read())
    os.close(ours)
    assert document["counts"] == {"deleted": 1}
    assert b"deleting models" in shown
    another = lab.with_model(0.1)
    quiet = python("-m", "expmgr", "delete", another, "--yes", "--json")
    assert (quiet.returncode, quiet.stderr) == (0, "")


@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_ctrl_c_while_it_looks_deletes_nothing(lab, ask, say, monkeypatch):
    def press(self, *_, cancel=None, **__):
        os.kill(os.getpid(), signal.SIGINT)
        assert cancel.wait(30)
        return DeletionPlan()

    monkeypatch.setattr(ExperimentsManagerWithAzureBlobBackend, "plan_cleanup", press)
    code, document = ask("delete", *ALL, "--keep-best", "1", "--yes")
    assert (code, document["cancelled"]) == (130, True)
    code, out, _ = say("plan", *ALL, "--keep-best", "1")
    assert code == 130
    assert "nothing was deleted" in out

    def interrupt(self, *_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ExperimentsManagerWithAzureBlobBackend, "models", interrupt)
    code, out, err = say("models")
    assert (code, out) == (130, "")
    assert "interrupted" in err


def test_resume_finishes_and_the_log_tells_all(lab, say, ask):
    lab.best()
    poor = lab.with_model(0.2)
    assert ask("resume")[1]["results"] == []
    assert say("log")[1].strip() == "Nothing was deleted or marked."
    say("delete", poor, "--yes")
    (row,) = ask("log")[1]["log"]
    assert (row["id"], row["state"], row["bytes"]) == (poor, "deleted", 2012)
    assert NEVER_A_TIME.fullmatch(row["when"])
    assert poor in say("log")[1]


def test_a_document_has_the_keys_that_the_readme_names(lab, ask):
    lab.best()
    poor, other = lab.with_model(0.1), lab.with_model(0.2)
    told = ["id", "bytes", "deletable", "protected_by"]
    goes = {"files", "bytes", "note", "models", "kept"}
    done = {"files", "bytes", "cancelled", "counts", "results"}
    for command, keys in (
        (("usage",), {"files", "bytes", "experiments", "rows"}),
        (("models",), {"models"}),
        (("plan", poor), {"saved", *goes}),
        (("delete", poor), {"dry_run", "forced", *goes}),
        (("delete", "--due"), {"dry_run", "due", "bytes"}),
        (("delete", poor, "--yes"), {"dry_run", *done}),
        (("delete", other, "--after", "7d", "--yes"), {"dry_run", *done}),
        (("orphans",), {"dry_run", "bytes", "orphans"}),
        (("orphans", "--yes"), {"dry_run", *done}),
        (("resume",), done),
        (("log",), {"log"}),
        (("log", "--marks"), {"marks"}),
        (("check",), {"checks"}),
        (("keep", other), {"kept"}),
        (("models", "--experiment", "nowhere"), {"error"}),
    ):
        document = ask(*command)[1]
        assert set(document) == {"command", "exit", *keys}, command
    assert set(told) <= set(ask("plan", other)[1]["models"][0])
    page = (REPOSITORY / "docs" / "how-to" / "command-line.md").read_text(encoding="utf-8")
    table = page.split("It has `command`, `exit` and")[1].split("Errors are one line")[0]
    named = set(re.findall(r"`([a-z_]+)`", table))
    assert goes | done | set(told) <= named
    assert {"saved", "forced", "due", "dry_run", "error", "experiments", "rows", "checks"} <= named


def test_python_m_expmgr_is_the_same_on_a_pipe_that_knows_ascii_only(lab):
    lab.best()
    poor = lab.with_model(0.1)
    lab.client.set_tag(poor, "mlflow.runName", "naïve 模型")
    told = python("-m", "expmgr", "plan", poor, PYTHONIOENCODING="ascii")
    assert told.returncode == 0
    assert told.stderr == ""
    assert "DeletionPlan: 1 of 1 run, 2 files, 2.01 KB" in told.stdout
    shut = subprocess.Popen(
        [sys.executable, "-m", "expmgr", "models"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    shut.stdout.close()
    assert shut.stderr.read() == ""
    assert shut.wait(120) == 0
