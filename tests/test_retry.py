"""Which errors are tried again, how often and how long."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from pydantic import ValidationError

from expmgr import RetryConfig, RetryParams
from expmgr.retry import is_retryable_error, is_transient_error, retry_after, retrying

NO_WAIT = RetryParams(attempts=4, wait_initial=0, wait_max=0, deadline=60)


class Response:
    reason = "because"

    def __init__(self, status, headers=None):
        self.status_code = status
        self.headers = headers or {}


def http_error(status, kind=HttpResponseError, **headers):
    return kind("no", response=Response(status, headers))


def test_retryable_are_the_server_errors_and_only_they():
    found = [status for status in range(100, 700) if is_retryable_error(http_error(status))]
    assert found == list(range(500, 600))


@pytest.mark.parametrize(
    "error",
    [
        HttpResponseError("no status"),
        IncompleteReadError("cut"),
        ServiceRequestError("refused"),
        ServiceResponseError("reset"),
        AzureError("?"),
        ValueError("500"),
        TimeoutError(),
    ],
)
def test_an_error_without_a_status_is_not_retryable(error):
    assert is_retryable_error(error) is False


@pytest.mark.parametrize(
    "error",
    [
        http_error(500),
        http_error(503),
        http_error(599),
        http_error(408),
        http_error(429),
        ServiceRequestError("refused"),
        ServiceRequestTimeoutError("connect"),
        ServiceResponseError("reset"),
        ServiceResponseTimeoutError("read"),
        IncompleteReadError("cut"),
        DecodeError("half an XML"),
        http_error(200, DecodeError),
        http_error(202),
    ],
)
def test_transient_errors(error):
    assert is_transient_error(error) is True


@pytest.mark.parametrize(
    "error",
    [
        http_error(400),
        http_error(401, ClientAuthenticationError),
        http_error(403),
        http_error(404, ResourceNotFoundError),
        http_error(409, ResourceExistsError),
        http_error(412),
        http_error(400, DecodeError),
        HttpResponseError("no status"),
        ValueError("no"),
        KeyboardInterrupt(),
    ],
)
def test_permanent_errors(error):
    assert is_transient_error(error) is False


def counting(*errors):
    """A function that raises these, then returns "done"; it counts its calls."""
    left = list(errors)

    def call():
        call.times += 1
        if left:
            raise left.pop(0)
        return "done"

    call.times = 0
    return call


@pytest.mark.parametrize("failures", range(4))
def test_success_ends_it(failures):
    call = counting(*[http_error(503)] * failures)

    assert retrying(NO_WAIT)(call) == "done"
    assert call.times == failures + 1


def test_attempts_are_exact_and_the_last_error_is_raised_as_it_is():
    errors = [http_error(500 + number) for number in range(9)]
    call = counting(*errors)

    with pytest.raises(HttpResponseError) as caught:
        retrying(NO_WAIT)(call)
    assert call.times == 4
    assert caught.value is errors[3]


def test_a_permanent_error_is_tried_once():
    call = counting(http_error(403))
    with pytest.raises(HttpResponseError):
        retrying(NO_WAIT)(call)
    assert call.times == 1


def test_one_attempt_means_no_retry():
    call = counting(http_error(503))
    with pytest.raises(HttpResponseError):
        retrying(RetryParams(attempts=1))(call)
    assert call.times == 1


def test_waits_grow_with_full_jitter_and_are_bounded():
    params = RetryParams(attempts=60, wait_initial=1, wait_max=8, deadline=10_000)
    waits = {number: [] for number in range(1, 60)}

    for _ in range(50):
        loop = retrying(params, on_wait=lambda n, error, seconds: waits[n].append(seconds))
        loop.sleep = lambda seconds: None
        with pytest.raises(HttpResponseError):
            loop(counting(*[http_error(503)] * 60))

    for number, ceiling in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (59, 8)]:
        assert all(0 <= wait <= ceiling for wait in waits[number])
        assert max(waits[number]) > ceiling / 2
        assert min(waits[number]) < ceiling / 2


def test_the_deadline_ends_it_before_a_wait_that_would_pass_it():
    call = counting(*[http_error(503, **{"Retry-After": "7"})] * 5)
    begun = time.monotonic()
    with pytest.raises(HttpResponseError):
        retrying(RetryParams(attempts=5, deadline=5))(call)
    assert call.times == 1
    assert time.monotonic() - begun < 3


def test_retry_after_is_the_least_wait():
    waits = []
    params = RetryParams(attempts=2, wait_initial=0, wait_max=0, deadline=60)
    loop = retrying(params, on_wait=lambda number, error, seconds: waits.append(seconds))
    loop.sleep = lambda seconds: None

    loop(counting(http_error(429, **{"Retry-After": "11"})))
    assert waits == [11]


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("3", 3, 3),
        ("0", 0, 0),
        ("-5", 0, 0),
        ("nonsense", 0, 0),
        ("nan", 0, 0),
        ("inf", 0, 0),
        ("", 0, 0),
        ("in an hour", 3500, 3601),
        ("Mon, 23 Nov 2020 04:32:55 GMT", 0, 0),
    ],
)
def test_retry_after_in_all_its_forms(text, low, high):
    if text == "in an hour":  # made now: collecting all tests may have been long ago
        text = format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True)
    assert low <= retry_after(http_error(503, **{"Retry-After": text})) <= high


def test_retry_after_without_an_answer():
    assert retry_after(ServiceRequestError("refused")) == 0
    assert retry_after(None) == 0


def test_an_event_ends_the_wait_and_the_attempts():
    cancel = threading.Event()
    call = counting(*[http_error(503, **{"Retry-After": "50"})] * 5)
    waiting = threading.Event()
    failed = []

    def run():
        try:
            retrying(RetryParams(), cancel=cancel, on_wait=lambda *_: waiting.set())(call)
        except HttpResponseError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert waiting.wait(10)
    cancel.set()
    thread.join(10)
    assert not thread.is_alive()
    assert len(failed) == 1
    assert call.times <= 2


def test_on_wait_is_told_which_attempt_failed_and_why():
    told = []
    errors = [http_error(500), http_error(503)]
    retrying(NO_WAIT, on_wait=lambda *args: told.append(args))(counting(*errors))
    assert [(number, error) for number, error, _ in told] == [(1, errors[0]), (2, errors[1])]


def test_another_predicate_may_decide():
    call = counting(KeyError("x"), KeyError("x"))
    assert retrying(NO_WAIT, is_retryable=lambda e: isinstance(e, KeyError))(call) == "done"


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"wait_initial": -1},
        {"wait_max": float("inf")},
        {"deadline": 0},
        {"tries": 3},
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        RetryParams(**wrong)


def test_parameters_are_per_operation_and_frozen():
    config = RetryConfig(delete_model=RetryParams(attempts=9))
    assert (config.delete_model.attempts, config.list_blobs.attempts) == (9, 5)
    with pytest.raises(ValidationError):
        config.delete_model.attempts = 1
