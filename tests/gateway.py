"""A gateway before a real tracking server that fails as gateways do, where a test tells it to."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

_HOP = {"connection", "transfer-encoding", "content-length", "host", "keep-alive"}


@dataclass(frozen=True)
class Answer:
    """What the gateway answers in the server's place.

    ``reset`` closes the connection instead; ``after`` does so once the server has done its work,
    so that the answer alone is lost.
    """

    status: int = 502
    body: bytes = b"<html><h1>502 Bad Gateway</h1></html>"
    headers: tuple[tuple[str, str], ...] = ()
    reset: bool = False
    after: bool = False


class Gateway:
    """Hands requests on to ``tracking_uri``, except where ``fault(method, path)`` says otherwise.

    Attributes
    ----------
    seen
        Method and path (without query) of every request, in their order.
    """

    def __init__(self, tracking_uri: str = "", port: int = 0) -> None:
        self.behind = urlsplit(tracking_uri)
        self.fault: Callable[[str, str], Answer | None] = lambda method, path: None
        self.seen: list[tuple[str, str]] = []
        self._gone = False

        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                gateway._serve(self)

            def log_message(self, *args) -> None:
                pass

        for method in ("POST", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.do_GET)
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.tracking_uri = f"http://127.0.0.1:{self.port}"

    def count(self, part: str) -> int:
        """How many requests had this in their path."""
        return sum(part in path for _, path in self.seen)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        path = urlsplit(handler.path).path
        self.seen.append((handler.command, path))
        answer = Answer(reset=True) if self._gone else self.fault(handler.command, path)
        if answer is None or answer.after:
            forwarded = self._forward(handler, body)
            answer = forwarded if answer is None else answer
        if answer.reset or answer.after:
            linger = struct.pack("ii", 1, 0)  # a close with this sends RST
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.close_connection = True
            handler.connection.close()
            return
        handler.send_response(answer.status)
        for name, value in answer.headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body)

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self.behind.hostname or "", self.behind.port)
        try:
            headers = {k: v for k, v in handler.headers.items() if k.lower() not in _HOP}
            connection.request(handler.command, handler.path, body, headers)
            response = connection.getresponse()
            kept = tuple((k, v) for k, v in response.getheaders() if k.lower() not in _HOP)
            return Answer(response.status, response.read(), kept)
        finally:
            connection.close()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self._gone = True  # connections that are kept alive outlive the server
        self._server.shutdown()
        self._server.server_close()
