"""How long a person waits for a tracking server that fails, and what it said meanwhile.

MLflow tries each request again for up to four minutes, without a word. That is right for training,
which must not die of a gateway's bad moment, and wrong for somebody before a table. MLflow takes no
such setting per client, only environment variables, and every client of the process shares its
stores; so the interactive client has stores of its own: copies in which MLflow's own request
functions see a request of ours in place of ``mlflow.utils.rest_utils.http_request``.
"""

from __future__ import annotations

import copy
import logging
import os
import threading
import time
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from expmgr.retry import RetryParams, retrying
from expmgr.secrecy import said
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient

    from expmgr.retry import RetryConfig

__all__ = ["READS_JSON", "JsonAnswer", "Patience"]

logger = logging.getLogger(__name__)

READS_JSON = "expmgr_reads_json"
"""Attribute of a store that fills a `JsonAnswer` in place of a message of protobuf."""

_PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""``mlflow.utils.request_utils._TRANSIENT_FAILURE_RESPONSE_CODES``"""
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_BACKOFF = "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"
_LONGEST_WAIT = 120.0
"""Seconds, ``urllib3.util.Retry.DEFAULT_BACKOFF_MAX``."""
_RECENT = 30.0
"""Seconds for which something that failed is called the trouble of this moment."""


class _Spell(NamedTuple):
    """A time in which one kind of question only failed: since when, when last (monotonic)."""

    since: float
    last: float
    words: str


class JsonAnswer:
    """An answer as the server wrote it, where making a message of it would cost too much."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {}


class _Failed(Exception):  # noqa: N818 - an answer on its way, never seen outside
    """An answer that may pass."""

    def __init__(self, response: Any) -> None:
        super().__init__(f"{response.status_code} {response.reason or ''}".strip())
        self.response = response


class Patience:
    """Tries requests to the tracking server and the registry again, for a while and not in silence.

    What has failed for as long as ``retry.tracking`` allows is asked once from then on, until it
    answers again or was left alone as long: many questions of one plan do not add their waits up.

    Parameters
    ----------
    retry
        Its ``tracking`` counts; where that was not given and the user has set MLflow's own
        ``MLFLOW_HTTP_REQUEST_MAX_RETRIES`` or ``MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR``, they do.
    """

    def __init__(self, retry: RetryConfig) -> None:
        self._retry = retry
        self._lock = threading.Lock()
        self._failing: dict[str, _Spell] = {}

    @property
    def trouble(self) -> str:
        """What fails at this moment, in words, "" where nothing does."""
        with self._lock:
            last = max(self._failing.values(), key=lambda spell: spell.last, default=None)
        recent = last is not None and time.monotonic() - last.last < _RECENT
        return last.words if last is not None and recent else ""

    @property
    def params(self) -> RetryParams:
        """What holds now."""
        from mlflow.environment_variables import (
            MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR,
            MLFLOW_HTTP_REQUEST_MAX_RETRIES,
        )

        chosen = "tracking" in self._retry.model_fields_set
        if chosen or not (os.environ.get(_RETRIES) or os.environ.get(_BACKOFF)):
            return self._retry.tracking
        return RetryParams(
            attempts=MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() + 1,
            wait_initial=MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.get(),
            wait_max=_LONGEST_WAIT,
            deadline=float("inf"),
        )

    def give_to(self, client: MlflowClient) -> None:
        """Make a client's stores its own, and patient like this; those that speak no HTTP stay."""
        from mlflow.store.model_registry.rest_store import RestStore as RegistryStore
        from mlflow.store.tracking.rest_store import RestStore as TrackingStore

        asking: list[Any] = [client._tracking_client]  # noqa: SLF001 - no public way to a store
        if str(client._registry_uri).startswith("http"):  # noqa: SLF001
            asking.append(client._get_registry_client())  # noqa: SLF001
        for inner in asking:
            if type(inner.store) not in {TrackingStore, RegistryStore}:
                continue
            kind = type(inner)
            try:
                own = _own_store(inner.store, self.request)
            except (AttributeError, StopIteration, TypeError) as error:
                logger.warning(
                    "this MLflow is made differently (%s): its own retries hold, for minutes", error
                )
            else:
                inner.__class__ = type(kind.__name__, (kind,), {"store": own})

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """Do what ``mlflow.utils.rest_utils.http_request`` does, with this patience."""
        from mlflow.utils.rest_utils import http_request

        kind = _kind(str(kwargs.get("endpoint")))

        def ask() -> Any:
            try:
                response = http_request(*args, max_retries=0, raise_on_status=False, **kwargs)
            except Exception as error:
                self._note(kind, _why(error))
                raise
            if response.status_code in _PASSING:
                failed = _Failed(response)
                self._note(kind, _why(failed))
                raise failed
            self._note(kind, "")
            return response

        def on_wait(attempt: int, error: BaseException, seconds: float) -> None:
            self._note(kind, _why(error), seconds)
            logger.log(
                logging.WARNING if attempt == 1 else logging.DEBUG,
                "the tracking server %s fails: %s (attempt %d of %d, the next in %.1f s)",
                said(getattr(kwargs.get("host_creds"), "host", "")),
                _why(error),
                attempt,
                params.attempts,
                seconds,
            )

        params = self._left(kind)
        loop = retrying(params, on_wait=on_wait, is_retryable=_may_pass)
        try:
            return loop(ask)
        except _Failed as failed:
            return failed.response  # MLflow puts it into its own words

    def _note(self, kind: str, trouble: str, pause: float = 0.0) -> None:
        """Remember that a kind of question failed, and is not asked for so many seconds."""
        now = time.monotonic()
        with self._lock:
            if trouble:
                known = self._failing.get(kind)
                since = now if known is None else known.since
                self._failing[kind] = _Spell(since, now + pause, trouble)
            else:
                self._failing.pop(kind, None)

    def _left(self, kind: str) -> RetryParams:
        """Return what is left of the patience with one kind of question."""
        params = self.params
        now = time.monotonic()
        with self._lock:
            spell = self._failing.get(kind)
            if spell is not None and now - spell.last > params.deadline:
                del self._failing[kind]
                spell = None
        left = params.deadline - (0 if spell is None else now - spell.since)
        return params.model_copy(update={"deadline": left} if left > 0 else {"attempts": 1})


def _kind(endpoint: str) -> str:
    """Return what is asked about: ``runs`` of ``/api/2.0/mlflow/runs/search``."""
    return next(iter(endpoint.split("/")[4:]), endpoint)


def _cause(error: BaseException) -> BaseException:
    """Return the error of requests that MLflow turned into its own."""
    return error.__cause__ or error.__context__ or error


def _why(error: BaseException) -> str:
    if isinstance(error, _Failed):
        return plain(f"it answers {error}")
    return said(f"{type(_cause(error)).__name__}: {_cause(error)}")


def _may_pass(error: BaseException) -> bool:
    from requests import exceptions

    cause = _cause(error)
    if isinstance(cause, exceptions.SSLError):
        return False
    passing = (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError)
    return isinstance(error, _Failed) or isinstance(cause, passing)


def _own_store(store: Any, request: Callable[..., Any]) -> Any:
    """Return a copy of a store whose requests are made by ``request``.

    The class that sends (``_call_endpoint``) comes in once more, with functions that see
    ``request``, right behind those that call it by ``super()``.
    """
    from mlflow.utils import rest_utils

    parse_dict = rest_utils.parse_dict

    def parse(js_dict: dict[str, Any], message: Any) -> None:
        if isinstance(message, JsonAnswer):
            message.content = js_dict
        else:
            parse_dict(js_dict=js_dict, message=message)

    one = _seeing(rest_utils.call_endpoint, http_request=request, parse_dict=parse)
    several = _seeing(rest_utils.call_endpoints, call_endpoint=one)
    kind = type(store)
    codes = (
        (base, getattr(vars(base).get("_call_endpoint"), "__code__", None)) for base in kind.__mro__
    )
    home = next(base for base, code in codes if code and "call_endpoint" in code.co_names)
    send = _seeing(vars(home)["_call_endpoint"], call_endpoint=one, call_endpoints=several)
    sends = type(kind.__name__, (home,), {"_call_endpoint": send, READS_JSON: True})
    own = copy.copy(store)
    own.__class__ = sends if home is kind else type(kind.__name__, (kind, sends), {})
    return own


def _seeing(function: FunctionType, **names: Any) -> FunctionType:
    """Return a function that is the same but for what a few names of its module are."""
    return FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
