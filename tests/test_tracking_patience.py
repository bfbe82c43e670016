"""How long a person waits for a tracking server that fails, and what they are told meanwhile."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError

import pytest
from gateway import Answer, Gateway
from lab import METRIC

from expmgr import MetricValue, RetryConfig, RetryParams
from expmgr.errors import FilterError, NotFoundError, TrackingError
from expmgr.tracking.journal import read_records
from expmgr.widgets import RunBrowser

SOON = RetryConfig(tracking=RetryParams(attempts=3, wait_initial=0.01, wait_max=0.01, deadline=60))


@pytest.fixture
def gateway(mlflow_server):
    with Gateway(mlflow_server.tracking_uri) as gateway:
        yield gateway


@pytest.fixture
def lab(http_lab):
    return http_lab


def behind(lab, gateway, **options):
    return lab.manager(tracking_uri=gateway.tracking_uri, **options)


def always(status, **options):
    return lambda method, path: Answer(status, f"<h1>{status}</h1>".encode(), **options)


class Said(logging.Handler):
    """Notes warnings, and sets an event at the first."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []
        self.first = threading.Event()

    def emit(self, record):
        self.lines.append(record.getMessage())
        self.first.set()


@pytest.fixture
def said():
    handler = Said()
    logger = logging.getLogger("expmgr")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.mark.parametrize("status", [502, 503])
def test_the_reason_is_said_soon_and_the_wait_is_bounded(lab, gateway, said, status):
    gateway.fault = always(status)
    manager = behind(lab, gateway)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(manager.runs)
        assert said.first.wait(15)
        assert str(status) in said.lines[0]
        assert gateway.tracking_uri in said.lines[0]
        with pytest.raises(TrackingError, match=rf"could not list the experiments.*{status}"):
            asked.result(45)
    assert 2 <= len(gateway.seen) <= RetryConfig().tracking.attempts
    assert len(said.lines) == 1
    assert manager.tracking_trouble.startswith(f"it answers {status}")


@pytest.mark.parametrize("call", ["runs", "models", "plan", "delete", "usage", "pin", "unpin"])
def test_each_call_ends_with_the_reason_after_its_attempts(lab, gateway, call):
    gateway.fault = always(503)
    manager = behind(lab, gateway, retry_config=SOON)
    run_id = "0" * 32
    calls = {
        "runs": manager.runs,
        "models": manager.models,
        "plan": lambda: manager.plan_deletion([run_id]),
        "usage": manager.storage_usage,
        "pin": lambda: manager.pin(run_id, "for the audit"),
        "unpin": lambda: manager.unpin(run_id),
    }
    if call == "delete":
        result = manager.delete_model(run_id)
        assert result.outcome == "failed"
        assert "503" in result.message
    else:
        with pytest.raises(TrackingError, match="503"):
            calls[call]()
    # A plan asks for the experiments and its run at once, each as often as told.
    assert set(Counter(gateway.seen).values()) == {3}


def test_a_password_in_the_uri_is_said_nowhere(lab, gateway, said):
    gateway.fault = lambda method, path: Answer(reset=True)
    uri = gateway.tracking_uri.replace("://", "://me:hunter2@")
    with pytest.raises(TrackingError) as caught:
        lab.manager(tracking_uri=uri, retry_config=SOON).runs()
    assert "reset" in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + "".join(said.lines)


def test_what_passes_is_tried_again_and_nobody_notices(lab, gateway):
    best, run_id = lab.best(), lab.with_model(0.1)
    failing = [502, 503, 504, 429, 500, 408]

    def now_and_then(method, path):
        return Answer(failing.pop()) if failing and len(gateway.seen) % 2 else None

    gateway.fault = now_and_then
    manager = behind(lab, gateway, retry_config=SOON)
    assert {best, run_id} <= set(manager.runs()["run_id"])
    assert not failing
    assert manager.tracking_trouble == ""
    assert manager.delete_model(run_id)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 501])
def test_what_does_not_pass_is_not_tried_again(lab, gateway, status):
    gateway.fault = always(status)
    with pytest.raises(TrackingError, match=str(status)):
        behind(lab, gateway, retry_config=SOON).runs()
    assert len(gateway.seen) == 1


def test_what_the_server_itself_says_stays_what_it_is(lab, gateway):
    manager = behind(lab, gateway, retry_config=SOON)
    with pytest.raises(FilterError):
        manager.runs(filter_string="nonsense !!")
    with pytest.raises(NotFoundError):
        manager.pin("0" * 32, "for the audit")


def test_a_retry_after_that_would_outlast_the_deadline_is_not_waited_for(lab, gateway):
    gateway.fault = always(429, headers=(("Retry-After", "3600"),))
    began = time.monotonic()
    with pytest.raises(TrackingError, match="429"):
        behind(lab, gateway).runs()
    assert len(gateway.seen) == 1
    assert time.monotonic() - began < 60


def test_a_registry_that_fails_is_waited_for_once_and_protects(lab, gateway):
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(3)]

    def registry(method, path):
        return Answer(503) if "registered-models" in path or "model-versions" in path else None

    gateway.fault = registry
    config = RetryConfig(
        tracking=RetryParams(attempts=50, wait_initial=0.2, wait_max=0.2, deadline=1)
    )
    manager = behind(lab, gateway, retry_config=config)
    for _ in range(2):
        plan = manager.plan_deletion(runs)
        assert [[reason.kind for reason in run.reasons] for run in plan] == [["unknown"]] * 3
        assert all("503" in run.reasons[0] for run in plan)
    table = manager.runs()
    assert set(table["protected_by"].str.contains("503")) == {True}
    patient = gateway.count("model-versions")
    manager.plan_deletion(runs)
    assert gateway.count("model-versions") - patient == 1  # known to fail: asked once, not for long


@pytest.mark.parametrize("reset", [True, False])
def test_a_journal_that_cannot_be_written_is_said_and_nothing_is_deleted(
    lab, gateway, blob_names, reset
):
    lab.best()
    run_id = lab.with_model(0.1)
    before = blob_names()
    gateway.fault = lambda method, path: (
        Answer(502, reset=reset) if path.endswith("runs/log-batch") else None
    )
    result = behind(lab, gateway, retry_config=SOON).delete_model(run_id)
    assert result.outcome == "failed"
    assert "could not record its deletion" in result.message
    assert ("reset" if reset else "502") in result.message
    assert gateway.count("log-batch") == 3
    assert blob_names() == before
    assert not read_records(run_id, lab.tags(run_id))


def test_a_write_whose_answer_was_lost_is_harmless_a_second_time(lab, gateway):
    lab.best()
    run_id, pinned = lab.with_model(0.1), lab.with_model(0.1)
    lost = {"set-tag", "delete-tag", "log-batch", "tags"}

    def lose(method, path):
        last = path.rsplit("/", 1)[-1]
        if method != "GET" and last in lost:
            lost.discard(last)
            return Answer(after=True)
        return None

    gateway.fault = lose
    manager = behind(lab, gateway, retry_config=SOON)
    manager.pin(pinned, "for the audit")
    assert lab.tags(pinned)["expmgr.keep"] == "for the audit"
    assert manager.unpin(pinned) is True
    assert "expmgr.keep" not in lab.tags(pinned)
    assert manager.delete_model(run_id)
    (record,) = read_records(run_id, lab.tags(run_id))
    assert record.state == "deleted"
    assert not lost


def test_mlflows_own_settings_are_obeyed_where_they_are_made(lab, gateway, monkeypatch):
    gateway.fault = always(503)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    with pytest.raises(TrackingError):
        behind(lab, gateway).runs()
    assert len(gateway.seen) == 2
    with pytest.raises(TrackingError):  # what the program says outweighs the environment
        behind(lab, gateway, retry_config=SOON).runs()
    assert len(gateway.seen) == 5


def test_training_keeps_mlflows_long_patience(lab, gateway):
    hiccup = [503, 502]

    def fault(method, path):
        return Answer(hiccup.pop()) if hiccup and path.endswith("log-batch") else None

    once = RetryConfig(tracking=RetryParams(attempts=1))
    manager = behind(lab, gateway, retry_config=once)
    manager.set_iteration("one")
    manager.set_run({"depth": 3})
    gateway.fault = fault
    manager.save_metric(MetricValue(METRIC, 0.5))
    assert not hiccup
    run_id = manager.current_run_id
    manager.finish_run()
    assert lab.client.get_run(run_id).data.metrics[METRIC] == 0.5


def test_training_outlives_a_gateway_that_is_restarted_between_two_metrics(lab, mlflow_server):
    with Gateway(mlflow_server.tracking_uri) as before:
        manager = behind(lab, before)
        manager.set_iteration("one")
        manager.set_run({"depth": 3})
        manager.save_metric(MetricValue(METRIC, 0.5))
    with ThreadPoolExecutor(1) as pool:
        logged = pool.submit(manager.save_metric, MetricValue(METRIC, 0.6))
        with pytest.raises(NotYetError):
            logged.result(1)
        with Gateway(mlflow_server.tracking_uri, before.port):
            logged.result(60)
            run_id = manager.current_run_id
            manager.finish_run()
    assert lab.client.get_run(run_id).data.metrics[METRIC] == 0.6


def test_mlflows_own_stores_are_left_as_they_are(lab, gateway):
    manager = behind(lab, gateway)
    client = manager.interactive_client
    assert client is manager.interactive_client
    assert client is not manager.client
    assert client._tracking_client.store is not manager.client._tracking_client.store
    for own, shared in (
        (client._tracking_client, manager.client._tracking_client),
        (client._get_registry_client(), manager.client._get_registry_client()),
    ):
        assert isinstance(own.store, type(shared.store))
        assert type(shared.store).__module__.startswith("mlflow.")


def test_an_mlflow_that_is_made_differently_is_used_as_it_is(lab, gateway, said, monkeypatch):
    monkeypatch.delattr("mlflow.utils.rest_utils.call_endpoints")
    run_id = lab.with_model(0.1)
    assert run_id in set(behind(lab, gateway).runs()["run_id"])
    assert any("its own retries hold" in line for line in said.lines)


def test_without_http_there_is_one_client(sqlite_uri, credentials):
    from expmgr import ExperimentsManagerWithAzureBlobBackend

    manager = ExperimentsManagerWithAzureBlobBackend(sqlite_uri, credentials, METRIC, "churn")
    assert manager.interactive_client is manager.client


def test_the_browser_says_the_reason_while_it_waits_and_at_the_end(lab, gateway):
    gateway.fault = always(503)
    shown = []
    reason = threading.Event()
    with RunBrowser(behind(lab, gateway), patience=0.2) as browser:
        show = browser.notice.show

        def noted(message):
            show(message)
            text = message.text
            shown.append(text)
            if text.startswith("Waiting") and "503" in text:
                reason.set()

        browser.notice.show = noted
        assert reason.wait(15), shown
        assert browser.wait(60)
        assert browser.notice.text.startswith("The runs could not be loaded")
        assert "503" in browser.notice.text
        assert browser.notice.retry_button.layout.display is None
        gateway.fault = lambda method, path: None
        browser.notice.retry_button.click()
        assert browser.wait(60)
        assert browser.notice.text == ""


def test_a_row_says_why_its_plan_waits(lab, gateway):
    lab.best()
    run_id = lab.with_model(0.1)
    with RunBrowser(behind(lab, gateway), patience=0.2) as browser:
        assert browser.wait(60)
        gateway.fault = always(502)
        seen = threading.Event()
        deletions = browser._session.dialogues
        draw_line = browser._page.draw_line

        def noted(changed_id):
            draw_line(changed_id)
            deletion = deletions.get(changed_id)
            if deletion is not None and "Waiting" in deletion.message and "502" in deletion.message:
                seen.set()

        browser._page.draw_line = noted
        row = next(row for row in browser.rows if row.run_id == run_id)
        browser._loop.post(lambda: deletions.ask(run_id, "worse"))
        assert seen.wait(15), row.status
        assert browser.wait(60)
        assert "502" in row.status
