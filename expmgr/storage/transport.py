"""A transport that keeps shared access signatures out of log lines and error messages.

A request that is authorised by a shared access signature carries the secret in its URL. azure-core
redacts the URLs that it logs, but ``urllib3`` writes the whole path and query of every request at
DEBUG level, and the message of every connection error ends with them ("Max retries exceeded with
url: ..."). Neither can be told not to.

So requests and urllib3 are handed a URL in which the signature is replaced by a placeholder, and
the connection, the last thing above the socket, puts the signature back into the request line.
Nothing above the connection ever formats the real URL, so no logger of anybody has to be changed.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

from requests import Session
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.retry import Retry

if TYPE_CHECKING:
    from azure.core.pipeline.transport import RequestsTransport

__all__ = ["quiet_transport"]

_SIGNATURE = re.compile(r"(?<=[?&]sig=)[^&#]*")
_PLACEHOLDER = "REDACTED"


class _Signatures(threading.local):
    """The signature of the request that this thread is sending; "" where it has none."""

    current: str = ""


_signatures = _Signatures()


def _signed(url: str) -> str:
    """Put the thread's signature back in place of the placeholder."""
    if not _signatures.current:
        return url
    return _SIGNATURE.sub(lambda _: _signatures.current, url, count=1)


class _QuietHTTPConnection(HTTPConnection):
    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        super().putrequest(method, _signed(url), *args, **kwargs)


class _QuietHTTPSConnection(HTTPSConnection):
    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        super().putrequest(method, _signed(url), *args, **kwargs)


class _QuietHTTPPool(HTTPConnectionPool):
    ConnectionCls = _QuietHTTPConnection


class _QuietHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _QuietHTTPSConnection


_POOLS = {"http": _QuietHTTPPool, "https": _QuietHTTPSPool}


class _QuietAdapter(HTTPAdapter):
    """Hands urllib3 a URL without its signature."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def request_url(self, request: Any, proxies: Any) -> str:
        return _SIGNATURE.sub(_PLACEHOLDER, super().request_url(request, proxies), count=1)

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        found = _SIGNATURE.search(request.url or "")
        _signatures.current = found.group() if found else ""
        try:
            return super().send(request, *args, **kwargs)
        finally:
            _signatures.current = ""


def quiet_transport(
    *, pool_size: int, connection_timeout: float, read_timeout: float
) -> RequestsTransport:
    """Make azure-core's own transport over a session that never shows a signature.

    Parameters
    ----------
    pool_size
        Connections kept open; more threads than that would open and drop connections.
    connection_timeout, read_timeout
        Seconds.
    """
    from azure.core.pipeline.transport import RequestsTransport

    session = Session()
    no_retries = Retry(total=False, redirect=False, raise_on_status=False)
    adapter = _QuietAdapter(
        max_retries=no_retries, pool_connections=pool_size, pool_maxsize=pool_size
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return RequestsTransport(
        session=session, connection_timeout=connection_timeout, read_timeout=read_timeout
    )
