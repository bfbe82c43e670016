"""Whatever names and answers hold, what expmgr says of them is plain and short."""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
import unicodedata
import uuid

import pytest
from gateway import Answer, Gateway
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scripted_manager import ScriptedManager, run_table
from storage_wire import Wire, answer, closing_store

from expmgr import AzureBlobCredentials, ExperimentsManager, RetryConfig, RetryParams, errors
from expmgr.catalog.reason import Reason
from expmgr.cleanup.deletion import failure
from expmgr.cleanup.plan import DeletionPlan, RunPlan
from expmgr.cleanup.report import DeletionReport
from expmgr.errors import DeletionError, ExpmgrError, NotFoundError, StorageError, TrackingError
from expmgr.results import DeletionProgress, DeletionResult
from expmgr.storage.location import Location
from expmgr.text import MESSAGE_LIMIT, plain, words
from expmgr.widgets import RunBrowser

ONCE = RetryConfig(tracking=RetryParams(attempts=1), list_blobs=RetryParams(attempts=1))
EVIL = "\x1b]0;owned\x07\x1b[2J \u202egnp.exe\u202c \u2066x\u2069 \x9b31m \u2028 \ufeff"
# What MLflow takes in a name: everything but "/" and ":" in registered models, and NUL
HOSTILE = st.text(
    st.sampled_from("ab é💥\x1b\x07\x08\x7f\x9b\u202e\u2066\u2069\u200f\u2028\u2029\ufeff\n\r\t"),
    min_size=1,
    max_size=30,
)


def harmful(text):
    return {
        character
        for character in text
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        and character not in {"\n", "\u200d"}
    }


def check(*texts, longest=MESSAGE_LIMIT):
    for text in texts:
        assert not harmful(text), repr(text)
        for line in text.split("\n"):
            assert len(line) <= longest


# ---------------------------------------------------------------------------------- the function


@given(st.text() | HOSTILE, st.integers(0, 50))
@example("\ud800\x00\x85\u00ad\U000e0041", 3)
def test_a_text_becomes_plain_and_says_what_is_left_out(text, longer):
    said = words(text)
    check(said)
    assert "\n" not in said
    assert words(said) == said
    if text.isprintable() and len(text) <= MESSAGE_LIMIT:
        assert said == text
    long = words(text + "x" * (MESSAGE_LIMIT + longer))
    check(long)
    assert words(long) == long
    assert long.endswith(" characters more)") or not (text or longer)


def test_how_much_is_left_out_is_exact_and_a_cell_stays_short():
    text = words("é" * 10_000_000)
    kept, _, rest = text.partition("… (")
    assert set(kept) == {"é"}
    assert rest == f"{10_000_000 - len(kept):,} characters more)"
    assert plain("x" * 300, 5) == "xxxxx…"


# ----------------------------------------------------------------- values that speak, by themselves


def values(text, run_id):
    """Every value that has words of its own, with a text from outside in each of its places."""
    raised = [getattr(errors, name) for name in errors.__all__]
    reason = Reason("registered", f"{text} v3", text)
    failed = DeletionError(text, run_id=text, left=[text], log=[text])
    result = DeletionResult(
        run_id, "failed", message=text, error=ValueError(text), log=(text,), reasons=(reason,)
    )
    plans = DeletionPlan(
        (
            RunPlan(f"{text}1", text, text, text, problem=text),
            RunPlan(f"{text}2", text, text, text, reasons=(reason,) * 3, note=text),
            RunPlan(f"{text}3", text, text, text, note=text),
        )
    )
    report = DeletionReport((result, DeletionResult(text, "deleted")))
    yield from [str(kind(text)) for kind in raised]
    yield from [str(failed), failed.message, *failed.log]
    yield from [str(reason), reason.words]
    yield from [str(result), repr(result), result.message, *result.log]
    yield from [str(plans), plans._repr_html_(), *(run.summary for run in plans)]
    yield from [str(report), report._repr_html_(), *report.to_frame()["error"]]
    yield DeletionProgress(1, 1, note=text).note


@given(HOSTILE)
@example(EVIL)
def test_no_value_says_what_a_terminal_would_obey(text):
    check(*values(text, text), longest=20 * MESSAGE_LIMIT)


def test_the_log_of_a_failure_is_plain(heard):
    result = failure(EVIL, ValueError(EVIL))
    assert len(heard.lines) == 1
    check(*heard.lines, str(result))


def test_ten_megabytes_are_not_said_by_any_value():
    long = "\x1b" + "x" * 10_000_000
    for text in values(long, "\x1b1"):
        check(text, longest=12 * MESSAGE_LIMIT)


def test_a_reason_keeps_its_subject_whole_and_survives_a_pickle():
    reason = Reason("registered", f"{EVIL} v3", f"{EVIL}/3")
    assert reason.subject == f"{EVIL}/3"
    again = pickle.loads(pickle.dumps(reason))
    assert (again, again.key, again.words) == (reason, reason.key, reason.words)


# --------------------------------------------------------------------- real servers, hostile names


class Heard(logging.Handler):
    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines = []

    def emit(self, record):
        self.lines.append(logging.Formatter().format(record))


@pytest.fixture
def heard():
    handler = Heard()
    logger = logging.getLogger("expmgr")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


def world(lab, text):
    """One experiment whose names are all of this text: a best, a registered and a plain run."""
    number = uuid.uuid4().hex[:6]
    lab.experiment_id = lab.experiment(f"{text}{number}")
    made = {}
    for name, value in (("best", 0.9), ("registered", 0.2), ("pinned", 0.1), ("goes", 0.1)):
        made[name] = lab.run(value, tags={"mlflow.runName": f"{text}{name}"})
    lab.client.set_tag(made["pinned"], "expmgr.keep", text.strip() or "kept")
    models = {name: lab.logged_model(run_id) for name, run_id in made.items()}
    registered = text.translate({ord("/"): "", ord(":"): ""}) + number
    lab.client.create_registered_model(registered)
    location = lab.client.get_logged_model(models["registered"]).artifact_location
    lab.client.create_model_version(registered, location, made["registered"])
    return made, lab.client.get_logged_model(models["goes"]).artifact_location.split("/", 3)[3]


def said_of(error_of):
    with pytest.raises((ExpmgrError, ValueError)) as caught:
        error_of()
    return str(caught.value)


def shown(browser):
    """Every text that the browser's widgets send to the page, and its face in a terminal."""
    names = ("value", "tooltip", "description", "placeholder")
    texts = [repr(browser), browser.notice.text, *(row.status for row in browser.rows)]
    for widget in browser._kit._made:
        texts += [v for name in names if isinstance(v := getattr(widget, name, None), str)]
        texts += list(getattr(widget, "_options_labels", ()))
    return [text.replace("\u200b", "") for text in texts]  # ours: what an empty label holds


@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(HOSTILE)
@example(EVIL)
def test_hostile_names_on_real_servers_reach_no_text(lab, put_blob, heard, text):
    made, place = world(lab, text)
    manager = lab.manager()
    plan = manager._planner().plan([*made.values(), f"{text}x"])
    blob = text.translate({ord(c): "" for c in "\n\r\t\x1b\x07\x08\x7f\x9b\ufeff"}).strip() or "b"
    put_blob(f"{place}/{blob}")
    with RunBrowser(manager, [lab.experiment_id]) as browser:
        assert browser.wait(60)
        for row in browser.rows:
            browser._loop.call(lambda id_=row.run_id: browser._session.dialogues.ask(id_, text))
        assert browser.wait(60)
        check(*shown(browser), longest=100_000)
    report = manager.delete_models(plan, progress=False)
    outcomes = {result.run_id: result.outcome for result in report}
    assert [outcomes[made[name]] for name in ("best", "registered", "pinned", "goes")] == [
        *["protected"] * 3,
        "failed",  # a file came after the plan; its name is said
    ]
    check(str(plan), plan._repr_html_(), str(report), report._repr_html_(), longest=100_000)
    check(*(str(result) for result in report), *(repr(result) for result in report))
    for result in report:
        check(*result.log, *result.reasons, str(result.error))
    alone = manager.delete_model(made["goes"])
    assert alone.outcome == "deleted"
    check(str(alone), repr(alone), *alone.log)
    check(
        said_of(lambda: manager.runs(f"{text} is none")),
        said_of(lambda: manager.runs(filter_string=f"tags.`{text}` ~ {text}")),
        said_of(lambda: manager.pin(f"{text}x", "for the audit")),
    )
    nobody = manager.delete_model(f"{text}x")
    assert nobody.outcome in {"not_found", "failed"}
    check(str(nobody))
    with contextlib.suppress(TrackingError):  # such as MLflow's "Invalid run id"
        manager._delete_model(f"{text}x")
    for name in ("protected_by", "model"):
        check(*manager.runs([lab.experiment_id])[name])
        check(*manager.models([lab.experiment_id])[name])
    assert heard.lines
    check(*heard.lines, longest=100_000)


@given(HOSTILE)
@example(EVIL)
@settings(max_examples=5, deadline=None)
def test_a_column_of_any_name_has_a_plain_tooltip(text):
    table = run_table(3)
    table[f"metrics.{text}"] = 0.5
    manager = ScriptedManager(table)
    manager.main_metric = text
    with RunBrowser(manager) as browser:
        assert browser.wait(30)
        assert f"Sort by {plain(text)}" in shown(browser)
        check(*shown(browser), longest=100_000)


# --------------------------------------------------------------------------------- hostile answers


HUGE = b"\x1b]0;owned\x07" + b"x" * 10_000_000


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (502, HUGE),
        (200, HUGE),
        (400, json.dumps({"error_code": "X\x1b[2J", "message": HUGE.decode()}).encode()),
        (400, json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": EVIL}).encode()),
        (200, json.dumps({"experiments": HUGE.decode(), "experiment": HUGE.decode()}).encode()),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_an_answer_of_ten_megabytes_makes_a_short_plain_message(
    heard, monkeypatch, status, body, training
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with Gateway() as gateway:
        gateway.fault = lambda method, path: Answer(status, body)
        manager = ExperimentsManager(gateway.tracking_uri, "accuracy", "churn", retry_config=ONCE)
        with pytest.raises(ExpmgrError) as caught:
            manager.set_iteration("one") if training else manager.runs()
        with RunBrowser(manager) as browser:
            assert browser.wait(30)
            check(*shown(browser), longest=20 * MESSAGE_LIMIT)
    check(str(caught.value), caught.value.message)
    check(str(caught.value.__cause__ or ""))
    check(*heard.lines)


def test_a_large_answer_that_is_an_error_of_mlflow_keeps_its_meaning():
    body = json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "gone " + "x" * 50_000})
    with Gateway() as gateway:
        gateway.fault = lambda method, path: Answer(404, body.encode())
        manager = ExperimentsManager(gateway.tracking_uri, "accuracy", "churn", retry_config=ONCE)
        with pytest.raises(NotFoundError) as caught:
            manager.pin("0" * 32, "for the audit")
    check(str(caught.value))


def test_what_storage_answers_is_said_plainly(heard):
    code = "Server\x1b]0;owned\x07Busy" + "y" * 60_000
    wire = Wire(
        fault=lambda seen, forward: answer(503, HUGE, {"x-ms-error-code": code}),
    )
    credentials = AzureBlobCredentials(
        account_name="account", account_key="a2V5", container_name="models"
    )
    twice = RetryConfig(
        delete_model=RetryParams(attempts=2, wait_initial=0), list_blobs=RetryParams(attempts=1)
    )
    place = Location("account", "models", "1/run1/artifacts", "run_artifacts", "run1")
    notes = []
    with closing_store(wire, credentials, twice) as store:
        with pytest.raises(StorageError) as caught:
            store.exists("1/run1/")
        with pytest.raises(DeletionError) as failed:
            store.delete([place], on_progress=lambda progress: notes.append(progress.note))
    check(str(caught.value), str(failed.value), *failed.value.log)
    assert any("attempt 1 failed" in note for note in notes)
    assert any("attempt 1 failed" in line for line in heard.lines)
    check(*notes, *heard.lines)
