"""A server between a manager and Azurite that spoils answers, by a schedule drawn from a seed.

Real sockets on both sides: what is cut, reset or lost here is cut, reset or lost for the whole of
urllib3, requests and the Azure SDK. What a request asks for is passed on as it is, but for a
listing's page size, which is small here, so that a few blobs make several pages (a shared access
signature does not cover the query).
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import storage_wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

PAGE = 3  # blobs on a page of a listing

# Honest: the request may be done or not, but no answer says what is not so.
ANYWHERE = (
    *("500", "502", "503", "504", "408", "429"),
    *("done, then 500", "done, then 503"),
    *("reset before", "reset after", "cut", "garbage", "portal page", "late"),
)
ON_BATCHES = ("part twice", "part missing", "parts swapped", "parts done said failed")
ON_LISTINGS = ("marker repeated", "marker of another page")
HONEST = (*ANYWHERE, *ON_BATCHES, *ON_LISTINGS)
# An answer that can be understood and is not true. Two that agree are believed, by whomever: a
# schedule holds one of them at most.
LIES = {
    "batch": ("said done, not done", "said gone, not done", "another batch's answer"),
    "delete": ("said done, not done", "said gone, not done"),
    "list": ("empty", "one left out", "stale"),
}


@dataclass(frozen=True)
class Answer:
    """What a service answered, or what is answered in its place."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    cut: bool = False

    @classmethod
    def of(cls, response) -> Answer:
        """Take over an answer that was made for the wire in memory."""
        return cls(response.status_code, tuple(response.headers.items()), response.content)


RESET = None
"""In place of an answer: the connection is closed."""


@dataclass
class Asked:
    """One request as it came, and what became of it."""

    number: int
    kind: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    fault: str = ""

    @property
    def names(self) -> list[str]:
        """The blobs that it asks to delete."""
        if self.kind == "batch":
            return [name for name, _ in storage_wire.batch_parts(self.body)]
        return [storage_wire.blob_name(self.target)] if self.kind == "delete" else []


class Schedule:
    """What goes wrong with the first, second, ... request; the same for the same seed.

    How many requests are spoilt, for how long and with which faults is drawn once; so some
    schedules are a moment's trouble, and some are a service that is down.
    """

    def __init__(self, seed: str) -> None:
        self.seed = seed
        chance = Random(seed)
        self.density = chance.choice((0.1, 0.3, 0.5, 0.8, 1.0))
        self.length = chance.choice((3, 6, 12, 25, 10_000))
        self.kinds = chance.sample(HONEST, chance.randint(1, 6))
        lies = chance.random() < 0.4
        self._lies_at = chance.randint(0, 12) if lies else None
        self.lied = ""
        self._before: dict[str, list[Answer]] = {}
        self._lock = threading.Lock()

    def __str__(self) -> str:
        lies = f", told {self.lied!r}" if self.lied else ""
        kinds = ", ".join(self.kinds)
        return f"{self.density:.0%} of the first {self.length} requests: {kinds}{lies}"

    def __call__(self, asked: Asked, forward: Callable[[], Answer]) -> Answer | None:
        """Answer a request."""
        chance = Random(f"{self.seed} {asked.number}")
        with self._lock:
            lie = self._lie(asked, chance)
        if lie:
            asked.fault = lie
            return self._told(lie, asked, forward, chance)
        fitting = [kind for kind in self.kinds if _fits(kind, asked.kind)]
        if asked.number < self.length and fitting and chance.random() < self.density:
            asked.fault = chance.choice(fitting)
            return _spoilt(asked.fault, asked, forward, chance)
        answer = forward()
        with self._lock:
            self._before.setdefault(_alike(asked), []).append(answer)
        return answer

    def _lie(self, asked: Asked, chance: Random) -> str:
        """Take the one lie, once it is due and the request is one that it can be told of."""
        if self._lies_at is None or asked.number < self._lies_at:
            return ""
        fitting = [
            lie
            for lie in LIES.get(asked.kind, ())
            if lie not in {"stale", "another batch's answer"} or _alike(asked) in self._before
        ]
        if not fitting:
            return ""
        self._lies_at = None
        self.lied = chance.choice(fitting)
        return self.lied

    def _told(
        self, lie: str, asked: Asked, forward: Callable[[], Answer], chance: Random
    ) -> Answer:
        if lie in {"stale", "another batch's answer"}:
            return self._before[_alike(asked)][0]
        if lie == "empty":
            return _listing(forward(), lambda _: b"", b"")
        if lie == "one left out":
            return _listing(forward(), lambda blobs: _one_less(blobs, chance))
        done = lie == "said done, not done"
        if asked.kind == "batch":
            part = (202, "") if done else (404, "BlobNotFound")
            return Answer.of(storage_wire.batch_answer([part] * len(asked.names)))
        if done:
            return Answer.of(storage_wire.answer(202))
        return Answer.of(storage_wire.failure(404, "BlobNotFound"))


def _alike(asked: Asked) -> str:
    """What an earlier request had in common with one whose answer could be taken for its."""
    return asked.target if asked.kind == "list" else asked.kind


def _fits(fault: str, kind: str) -> bool:
    if fault in ON_BATCHES:
        return kind == "batch"
    return kind == "list" if fault in ON_LISTINGS else True


def _spoilt(  # noqa: PLR0911 - one for each kind of fault
    fault: str, asked: Asked, forward: Callable[[], Answer], chance: Random
) -> Answer | None:
    if fault.isdecimal():
        after = chance.choice(("0", "0.01", "Mon, 01 Jan 2001 00:00:00 GMT", "soon"))
        return Answer.of(storage_wire.failure(int(fault), "Fault", Retry_After=after))
    if fault == "reset before":
        return RESET
    answer = forward()
    if fault == "reset after":
        return RESET
    if fault.startswith("done, then"):
        return Answer.of(storage_wire.failure(int(fault[-3:]), "Fault"))
    if fault == "cut":
        return Answer(answer.status, answer.headers, answer.body + b" " * 9, cut=True)
    if fault == "garbage":
        return Answer(answer.status, (("Content-Type", "application/xml"),), b"<<<\xff")
    if fault == "portal page":
        page = "<html><body>Anmeldung nötig</body></html>".encode("latin-1")
        return Answer(200, (("Content-Type", "text/html"),), page)
    if fault == "late":
        threading.Event().wait(0.02)
        return answer
    if fault in ON_LISTINGS:
        own = re.search(r"[?&]marker=([^&]*)", asked.target)
        again = own[1].encode() if own and fault == "marker repeated" else b"again"
        return _listing(answer, lambda blobs: blobs, again)
    return _batch(fault, answer, chance)


def _listing(
    answer: Answer, change: Callable[[bytes], bytes], marker: bytes | None = None
) -> Answer:
    """Return a listing with its blobs changed, and its marker."""
    found = re.search(rb"(?s)<Blobs>(.*)</Blobs>", answer.body)
    if answer.status != 200 or found is None:
        return answer
    body = answer.body[: found.start(1)] + change(found[1]) + answer.body[found.end(1) :]
    if marker is not None:
        new = b"<NextMarker>" + marker + b"</NextMarker>"
        body = re.sub(rb"(?s)<NextMarker>.*</NextMarker>|<NextMarker ?/>", lambda _: new, body)
    return Answer(answer.status, answer.headers, body)


def _one_less(blobs: bytes, chance: Random) -> bytes:
    entries = re.findall(rb"(?s)<Blob>.*?</Blob>", blobs)
    if entries:
        del entries[chance.randrange(len(entries))]
    return b"".join(entries)


def _batch(fault: str, answer: Answer, chance: Random) -> Answer:
    """Return a batch's answer with its parts changed."""
    kind = next((value for name, value in answer.headers if name.lower() == "content-type"), "")
    if "boundary=" not in kind:
        return answer
    fence = b"--" + kind.split("boundary=")[1].encode()
    before, *parts, after = answer.body.split(fence)
    at = chance.randrange(len(parts))
    if fault == "part twice":
        parts.insert(at, parts[at])
    elif fault == "part missing":
        del parts[at]
    elif fault == "parts swapped":
        parts[0], parts[at] = parts[at], parts[0]
    else:
        parts[at] = re.sub(rb"HTTP/1.1 \d+ [^\r\n]*", b"HTTP/1.1 503 Server Busy", parts[at])
    return Answer(answer.status, answer.headers, fence.join([before, *parts, after]))


class FaultProxy:
    """Serves Azurite on a port of its own; `weather` answers every request.

    Attributes
    ----------
    weather
        Called from the server's threads with what was asked and a function that really asks it.
    asked
        All requests so far.
    """

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self.upstream = (parts.hostname, parts.port)
        self.weather = self.fair
        self.asked: list[Asked] = []
        self._lock = threading.Condition()
        self._open = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}{parts.path}"

    @staticmethod
    def fair(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        """Pass on everything."""
        return forward()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self._server.shutdown()
        self._server.server_close()

    def begin(self, weather) -> None:
        """Count requests anew, under other weather."""
        self.wait_until_idle()
        with self._lock:
            self.asked = []
            self.weather = weather

    def wait_until_idle(self) -> None:
        """Wait until no request is under way, also none of a client that is gone."""
        with self._lock:
            assert self._lock.wait_for(lambda: self._open == 0, timeout=60)

    def enter(self, method: str, target: str, headers, body: bytes) -> Asked:
        """Note a request that begins."""
        url = f"http://localhost{target}"
        kind = storage_wire.kind_of(storage_wire.requests.Request(method, url))
        with self._lock:
            self._open += 1
            asked = Asked(len(self.asked), kind, method, target, tuple(headers), body)
            self.asked.append(asked)
            return asked

    def leave(self) -> None:
        """Note that one has ended."""
        with self._lock:
            self._open -= 1
            self._lock.notify_all()


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = proxy.enter(self.command, self.path, self.headers.items(), body)
            try:
                self.send(proxy.weather(asked, lambda: forward(proxy.upstream, asked)))
            finally:
                proxy.leave()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815 - http.server's names

        def send(self, answer: Answer | None) -> None:
            if answer is RESET:
                self.reset()
                return
            kept = [
                f"{name}: {value}\r\n"
                for name, value in answer.headers
                if name.lower() not in {"content-length", "transfer-encoding", "connection"}
            ]
            length = len(answer.body)
            head = f"HTTP/1.1 {answer.status} Status\r\n{''.join(kept)}Content-Length: {length}\r\n"
            body = b"" if self.command == "HEAD" else answer.body
            if answer.cut:
                body = body[: length // 2]
            try:
                self.wfile.write(head.encode("latin-1") + b"\r\n" + body)
            except OSError:  # the client is gone
                self.close_connection = True
            if answer.cut:
                self.reset()

        def reset(self) -> None:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        def log_message(self, *args) -> None:
            pass

    return Handler


def forward(upstream: tuple[str, int], asked: Asked) -> Answer:
    """Ask Azurite."""
    connection = http.client.HTTPConnection(*upstream, timeout=60)
    try:
        target = asked.target
        if asked.kind == "list":
            target = re.sub(r"maxresults=\d+", f"maxresults={PAGE}", target)
        connection.putrequest(asked.method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in asked.headers:
            if name.lower() != "connection":
                connection.putheader(name, value)
        connection.putheader("Connection", "close")
        connection.endheaders(asked.body or None)
        response = connection.getresponse()
        return Answer(response.status, tuple(response.getheaders()), response.read())
    finally:
        connection.close()
