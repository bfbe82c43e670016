"""When a request is made again: one retry layer, bounded, and cancellable."""

from __future__ import annotations

import math
import random
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from expmgr.errors import InvalidInputError
from expmgr.moving_in import OPERATIONS, retry_params

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    import tenacity

__all__ = [
    "RetryConfig",
    "RetryParams",
    "is_retryable_error",
    "is_transient_error",
    "retry_after",
    "retrying",
]

_TRANSIENT_STATUSES = frozenset({408, 429})
_SUCCESS = range(200, 300)
_SERVER_ERRORS = range(500, 600)
_LONGEST = 86_400.0  # seconds; more than a clock can wait for in one piece is no request to wait


class RetryParams(BaseModel):
    """How often and how long one operation is tried.

    Attributes
    ----------
    attempts
        Attempts in all, the first one included.
    wait_initial, wait_max
        Seconds. The wait before attempt ``n + 1`` is drawn evenly from 0 to
        ``min(wait_max, wait_initial * 2 ** (n - 1))`` (full jitter), and is never shorter than a
        ``Retry-After`` that the server sent.
    deadline
        Seconds from the first attempt after which no further attempt begins.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _take_earlier_names(cls, data: Any) -> Any:
        return retry_params(data)

    @property
    def max_attempts(self) -> int:
        """Another name of ``attempts``."""
        return self.attempts

    @property
    def wait_time_seconds(self) -> float:
        """Another name of ``wait_max``; given in its place it is ``wait_initial`` as well."""
        return self.wait_max

    attempts: int = Field(default=5, ge=1)
    wait_initial: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    wait_max: float = Field(default=20.0, ge=0, allow_inf_nan=False)
    deadline: float = Field(default=300.0, gt=0)


class RetryConfig(BaseModel):
    """Retry parameters, one set an operation.

    ``config["upload"]`` reads one by its name and ``config["upload"] = RetryParams(...)`` sets it,
    until it is used; the names that another system gives them are those of
    `expmgr.moving_in.OPERATIONS`.

    Attributes
    ----------
    delete_model
        A whole deletion: every attempt lists what is left and deletes it.
    list_blobs
        One page of a listing.
    upload, download
        One file.
    inspect
        A look at the account's properties, for reports only: gives up soon.
    tracking
        One request to the tracking server or the registry while a person waits: tables, plans,
        deletions, the browser. Training keeps MLflow's own patience of four minutes. Where it is
        not given, MLflow's ``MLFLOW_HTTP_REQUEST_MAX_RETRIES`` and
        ``MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR`` hold in its place if they are set;
        ``MLFLOW_HTTP_REQUEST_TIMEOUT`` (seconds, 120) bounds each attempt in any case.
    default_params
        Of all these but ``inspect`` that are not given.
    connection_timeout, read_timeout
        Seconds in which storage must accept a connection, and must send the next bytes of an
        answer, before an attempt counts as failed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _spread_default(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("default_params") is not None:
            return {**dict.fromkeys(_BY_DEFAULT, data["default_params"]), **data}
        return data

    def __getitem__(self, operation: str) -> RetryParams:
        """Return the params of an operation; ``default_params`` of one that there is not."""
        params: RetryParams = getattr(self, _field_of(operation), self.default_params)
        return params

    def __setitem__(self, operation: str, params: RetryParams) -> None:
        field = _field_of(operation)
        if not field:
            known = ", ".join(sorted({*OPERATIONS, *_OPERATIONS}))
            raise InvalidInputError(f"there is no operation {operation!r} to retry; {known} are.")
        if not isinstance(params, RetryParams):
            raise InvalidInputError(f"an operation is retried by RetryParams, not {params!r}.")
        self.__dict__[field] = params
        self.__pydantic_fields_set__.add(field)

    default_params: RetryParams = RetryParams()
    delete_model: RetryParams = RetryParams()
    list_blobs: RetryParams = RetryParams()
    upload: RetryParams = RetryParams()
    download: RetryParams = RetryParams()
    inspect: RetryParams = RetryParams(attempts=2, deadline=10)
    tracking: RetryParams = RetryParams(attempts=10, wait_initial=1, wait_max=4, deadline=12)
    connection_timeout: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    read_timeout: float = Field(default=60.0, gt=0, allow_inf_nan=False)


_BY_DEFAULT = ("delete_model", "list_blobs", "upload", "download", "tracking")
_OPERATIONS = (*_BY_DEFAULT, "inspect")


def _field_of(operation: str) -> str:
    """Return the field of an operation, "" where there is none."""
    field = OPERATIONS.get(operation, operation)
    return field if field in _OPERATIONS else ""


def is_retryable_error(error: BaseException) -> bool:
    """Return True only for an ``HttpResponseError`` whose status is 500..599.

    Examples
    --------
    >>> is_retryable_error(ValueError("no"))
    False
    """
    from azure.core.exceptions import HttpResponseError

    if not isinstance(error, HttpResponseError):
        return False
    status = error.status_code
    return status is not None and status in _SERVER_ERRORS


def is_transient_error(error: BaseException) -> bool:
    """Return True for errors that may pass: the server's own, throttling and the transport's.

    Besides `is_retryable_error` these are the statuses 408 and 429, connections that were
    refused, reset or timed out (``ServiceRequestError``, ``ServiceResponseError``), and answers
    that were cut short (``IncompleteReadError``, or the error of a success that cannot be read).
    """
    from azure.core.exceptions import (
        DecodeError,
        HttpResponseError,
        IncompleteReadError,
        ServiceRequestError,
        ServiceResponseError,
    )

    if is_retryable_error(error):
        return True
    if isinstance(error, (ServiceRequestError, ServiceResponseError, IncompleteReadError)):
        return True
    if not isinstance(error, HttpResponseError):
        return False
    status = error.status_code
    if status is None:
        return isinstance(error, DecodeError)
    return status in _TRANSIENT_STATUSES or status in _SUCCESS


def retry_after(error: BaseException | None) -> float:
    """Return the seconds that the server asked to wait, 0 where it asked for none.

    Both forms of the header are read: seconds, and an HTTP date. One that cannot be read asks for
    nothing.
    """
    response = getattr(error, "response", None)
    headers = getattr(response, "headers", None)
    text = "" if headers is None else str(headers.get("Retry-After") or "").strip()
    if not text:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return 0.0
        if at.tzinfo is None:
            at = at.replace(tzinfo=timezone.utc)
        seconds = (at - datetime.now(timezone.utc)).total_seconds()
    return min(seconds, _LONGEST) if math.isfinite(seconds) and seconds > 0 else 0.0


def retrying(
    params: RetryParams,
    *,
    cancel: threading.Event | None = None,
    on_wait: Callable[[int, BaseException, float], None] | None = None,
    is_retryable: Callable[[BaseException], bool] | None = None,
) -> tenacity.Retrying:
    """Build the retry loop for one call.

    Build a new one for every call: tenacity keeps statistics on the object, and threads that
    share it would mix theirs.

    Parameters
    ----------
    params
        How often and how long.
    cancel
        When set, a wait ends at once and no further attempt begins: the last error is raised.
    on_wait
        Called before each wait with the number of the attempt that failed (from 1), its error and
        the seconds to wait.
    is_retryable
        Which errors are worth another attempt; `is_transient_error` by default.

    Returns
    -------
    tenacity.Retrying
        Call it with the function; it raises the function's own last error.
    """
    import tenacity

    predicate = is_transient_error if is_retryable is None else is_retryable

    def wait(state: tenacity.RetryCallState) -> float:
        exponent = min(state.attempt_number - 1, 64)
        ceiling = min(params.wait_max, params.wait_initial * 2.0**exponent)
        error = None if state.outcome is None else state.outcome.exception()
        return max(random.uniform(0, ceiling), retry_after(error))

    def before_sleep(state: tenacity.RetryCallState) -> None:
        error = None if state.outcome is None else state.outcome.exception()
        if on_wait is not None and error is not None:
            on_wait(state.attempt_number, error, state.upcoming_sleep)

    stops: list[tenacity.stop.stop_base] = [
        tenacity.stop_after_attempt(params.attempts),
        tenacity.stop_before_delay(params.deadline),
    ]
    sleep: Callable[[int | float], None] = tenacity.nap.sleep
    if cancel is not None:
        stops.append(tenacity.stop_when_event_set(cancel))
        sleep = tenacity.sleep_using_event(cancel)
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(predicate),
        stop=tenacity.stop_any(*stops),
        wait=wait,
        sleep=sleep,
        before_sleep=before_sleep,
        reraise=True,
    )
