"""A transport that alone knows the signature of a shared access signature.

A request that is authorised by a shared access signature carries the secret in its URL, and a
batch in the URL of each of its parts. azure-core redacts the URLs that it logs, but ``urllib3``
writes the whole path and query of every request at DEBUG level, the message of every connection
error ends with them, and an error keeps its requests alive. None of them can be told not to.

So the SDK is given a signature that is none, as long as the real one, and the connection, the last
thing above the socket, puts the real one in its place. Nothing above the connection ever holds it,
so no logger of anybody has to be changed. Frames that hold a key's or token's headers are emptied
as an error leaves here.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from azure.core.pipeline.transport import RequestsTransport
from pydantic import SecretBytes
from requests import Session
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.retry import Retry

from expmgr.secrecy import clear_frames

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["Veil", "quiet_transport"]

_READ_AT_ONCE = 1024 * 1024
"""Bytes of an answer that are read together: of azure-core's 4,096 each costs a turn of Python."""
_AS_ONE = 64 * 1024 * 1024
"""Bytes up to which an answer that is streamed is read as one piece. The SDK joins the pieces
before it writes them: one piece is not copied, and what is not copied is not held twice."""

_SIGNATURE = re.compile(r"((?:^|&)sig=)([^&#]*)")


class Veil:
    """A shared access signature without its signature, and what puts that back.

    Parameters
    ----------
    token
        The shared access signature.

    Attributes
    ----------
    sas
        What the SDK is given. The lengths are equal, so that what a batch's header says of its
        body stays true.
    """

    def __init__(self, token: SecretStr) -> None:
        sas = token.get_secret_value()
        found = _SIGNATURE.search(sas)
        # As requests would have sent it, which quotes what cannot be in a URL.
        signature = quote(found[2], safe="%/+=~") if found else ""
        shown = f"REDACTED{secrets.token_hex(len(signature) // 2 + 1)}"[: len(signature)]
        self.sas = _SIGNATURE.sub(lambda match: match[1] + shown, sas, count=1)
        self._shown = b"sig=" + shown.encode()
        self._signed = SecretBytes(b"sig=" + signature.encode())

    def lift(self, data: bytes) -> bytes:
        """Return what is sent in place of some bytes of a request."""
        return data.replace(self._shown, self._signed.get_secret_value())


class _Lifting:
    """Beside one of urllib3's connections: lifts the veil from what reaches the socket."""

    veil: Veil

    def send(self, data: Any) -> None:
        lifted = self.veil.lift(data) if isinstance(data, bytes) else data
        if lifted is data:
            super().send(data)  # type: ignore[misc]  # the connection's
            return
        # Not by http.client's own, which prints what it sends where its debuglevel says so.
        connection: Any = self
        if connection.sock is None:
            connection.connect()
        connection.sock.sendall(lifted)


def _pools(veil: Veil) -> dict[str, type[HTTPConnectionPool]]:
    known = {"veil": veil}
    plain = type("_HTTPConnection", (_Lifting, HTTPConnection), known)
    secure = type("_HTTPSConnection", (_Lifting, HTTPSConnection), known)
    return {
        "http": type("_HTTPPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("_HTTPSPool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }


class _LiftingAdapter(HTTPAdapter):
    """Makes connections that lift the veil, also those to a proxy."""

    def __init__(self, veil: Veil, **kwargs: Any) -> None:
        self._pools = _pools(veil)
        super().__init__(**kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager


class _QuietTransport(RequestsTransport):  # type: ignore[misc]  # azure-core exports it lazily
    """azure-core's own, whose errors (Ctrl-C among them) leave frames without locals behind.

    Its answers are read in one piece where they are streamed, see ``_AS_ONE``.
    """

    def send(self, request: Any, **kwargs: Any) -> Any:
        streamed = kwargs.get("stream")
        try:
            response = super().send(request, **kwargs)
        except BaseException as error:
            clear_frames(error)
            raise
        length = response.headers.get("Content-Length") or ""
        if streamed and length.isdecimal() and 0 < int(length) <= _AS_ONE:
            response.block_size = int(length)
        return response


def quiet_transport(
    *, pool_size: int, connection_timeout: float, read_timeout: float, veil: Veil | None = None
) -> RequestsTransport:
    """Make azure-core's own transport over a session that never shows a signature.

    Parameters
    ----------
    pool_size
        Connections kept open; more threads than that would open and drop connections.
    connection_timeout, read_timeout
        Seconds.
    veil
        What the SDK was given in place of a shared access signature, where it uses one.
    """
    session = Session()
    options: dict[str, Any] = {
        "max_retries": Retry(total=False, redirect=False, raise_on_status=False),
        "pool_connections": pool_size,
        "pool_maxsize": pool_size,
    }
    adapter = HTTPAdapter(**options) if veil is None else _LiftingAdapter(veil, **options)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return _QuietTransport(
        session=session,
        connection_timeout=connection_timeout,
        read_timeout=read_timeout,
        connection_data_block_size=_READ_AT_ONCE,
    )
