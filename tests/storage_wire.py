"""The wire under a BlobStore: records every request and makes the faults that Azurite cannot.

`Wire` is an adapter of a `requests` session, so the whole Azure SDK runs above it, and either
Azurite or a `MemoryService` below it.
"""

from __future__ import annotations

import io
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPResponse
from urllib3.exceptions import ProtocolError

from expmgr.storage.blob_store import BlobStore


@dataclass
class Seen:
    """One request as it went out."""

    kind: str
    method: str
    url: str
    headers: dict
    body: bytes
    status: int | None = None

    @property
    def names(self) -> list[str]:
        """Names of the blobs that it asks to delete."""
        if self.kind == "batch":
            return [name for name, _ in batch_parts(self.body)]
        return [blob_name(self.url)] if self.kind == "delete" else []


class Wire(BaseAdapter):
    """Records requests, and lets `fault` answer in place of the service.

    `fault(seen, forward)` gets the request and a function that really sends it; it returns a
    response, raises, or returns None for a plain answer.
    """

    def __init__(self, inner=None, fault=None):
        super().__init__()
        self.inner = inner or HTTPAdapter(pool_connections=16, pool_maxsize=16)
        self.fault = fault
        self.requests: list[Seen] = []
        self._lock = threading.Lock()

    @property
    def counts(self) -> Counter:
        """Requests by kind."""
        return Counter(seen.kind for seen in self.requests)

    def send(self, request, **kwargs):
        body = request.body or b""
        seen = Seen(
            kind_of(request),
            request.method,
            request.url,
            dict(request.headers),
            body.encode() if isinstance(body, str) else body,
        )
        with self._lock:
            self.requests.append(seen)

        def forward():
            return self.inner.send(request, **kwargs)

        response = self.fault(seen, forward) if self.fault else None
        response = forward() if response is None else response
        response.request = request
        response.url = request.url
        seen.status = response.status_code
        return response

    def close(self):
        self.inner.close()


def kind_of(request) -> str:
    query = parse_qs(urlsplit(request.url).query)
    comp = query.get("comp", [""])[0]
    if request.method == "GET" and comp == "list":
        return "list"
    if request.method == "POST" and comp == "batch":
        return "batch"
    if request.method == "DELETE":
        return "delete"
    return f"{request.method} {comp or 'blob'}"


def store_on(wire, credentials, retry=None, **kwargs) -> BlobStore:
    """A BlobStore whose requests all pass the wire."""
    store = BlobStore(credentials, retry, **kwargs)
    session = requests.Session()
    session.mount("http://", wire)
    session.mount("https://", wire)
    transport = RequestsTransport(session=session)
    store._service = credentials.service_client(transport=transport)
    return store


@contextmanager
def closing_store(wire, credentials, retry=None, **kwargs):
    store = store_on(wire, credentials, retry, **kwargs)
    try:
        yield store
    finally:
        store.close()


# ------------------------------------------------------------------------------------- answers


def answer(status=200, body=b"", headers=None, *, cut=0) -> requests.Response:
    """A response as the service would send it; `cut` bytes of the body never arrive."""
    headers = {"Date": "Mon, 23 Nov 2026 04:32:55 GMT", **(headers or {})}
    headers["Content-Length"] = str(len(body))
    raw = HTTPResponse(
        body=io.BytesIO(body[: len(body) - cut] if cut else body),
        headers=headers,
        status=status,
        preload_content=False,
        enforce_content_length=True,
        request_method="GET",
    )
    return HTTPAdapter().build_response(requests.Request("GET", "http://nowhere").prepare(), raw)


def failure(status, code="", **headers) -> requests.Response:
    body = (
        f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code>'
        f"<Message>{code}</Message></Error>"
    ).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer(
        status, body, {"x-ms-error-code": code, "Content-Type": "application/xml", **names}
    )


def reset() -> requests.ConnectionError:
    return requests.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError()))


def batch_answer(parts: list[tuple[int, str]]) -> requests.Response:
    """A 202 whose parts have these statuses and error codes."""
    lines = []
    for index, (status, code) in enumerate(parts):
        extra = f"x-ms-error-code: {code}\r\n" if code else ""
        if status == 202:
            extra += "x-ms-delete-type-permanent: true\r\n"
        lines.append(
            "--answer\r\nContent-Type: application/http\r\n"
            f"Content-ID: {index}\r\n\r\nHTTP/1.1 {status} Status\r\n{extra}\r\n"
        )
    body = ("".join(lines) + "--answer--\r\n").encode()
    return answer(202, body, {"Content-Type": "multipart/mixed; boundary=answer"})


def batch_parts(body: bytes) -> list[tuple[str, dict]]:
    """The blob names and headers of a batch request."""
    found = []
    for part in body.decode().split("DELETE ")[1:]:
        line, _, rest = part.partition("\n")
        headers = {}
        for header in rest.splitlines():
            name, colon, value = header.partition(":")
            if not colon:
                break
            headers[name.strip().lower()] = value.strip()
        found.append((blob_name(line.split(" HTTP/")[0]), headers))
    return found


def blob_name(url: str) -> str:
    """The blob's name in a URL: after the container (and the emulator's account)."""
    parts = urlsplit(url)
    path = parts.path.removeprefix("/devstoreaccount1")
    return unquote(path.split("/", 2)[2])


# ------------------------------------------------------------------------------- in-memory service


class MemoryService(BaseAdapter):
    """List Blobs, Blob Batch and Delete Blob over a dictionary, with the service's own rules."""

    def __init__(self, names=(), *, page=5000, directories=(), refuse=None):
        super().__init__()
        self.blobs = dict.fromkeys(names, 10)
        self.directories = set(directories)
        self.page = page
        self.refuse = refuse or {}  # name: (status, code)
        self.deleted: list[str] = []
        self._lock = threading.Lock()

    def close(self):
        pass

    def send(self, request, **kwargs):
        kind = kind_of(request)
        if kind == "list":
            return self._list(parse_qs(urlsplit(request.url).query))
        if kind == "batch":
            return batch_answer([self.delete(name) for name, _ in batch_parts(request.body)])
        if kind == "delete":
            status, code = self.delete(blob_name(request.url))
            if status == 202:
                return answer(202, b"", {"x-ms-delete-type-permanent": "true"})
            return failure(status, code)
        return failure(501, "NotImplemented")

    def delete(self, name) -> tuple[int, str]:
        with self._lock:
            if name not in self.blobs:
                return 404, "BlobNotFound"
            if name in self.refuse:
                return self.refuse[name]
            del self.blobs[name]
            self.deleted.append(name)
            return 202, ""

    def _list(self, query):
        prefix = query.get("prefix", [""])[0]
        marker = query.get("marker", [""])[0]
        size = min(int(query.get("maxresults", ["5000"])[0]), self.page)
        with self._lock:
            names = sorted(n for n in self.blobs if n.startswith(prefix) and n >= marker)
        shown, rest = names[:size], names[size:]
        blobs = "".join(self._entry(name) for name in shown)
        return listing_answer(blobs, rest[0] if rest else "", prefix=prefix)

    def _entry(self, name):
        metadata = ""
        if name in self.directories:
            metadata = "<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>"
        return blob_entry(name, self.blobs[name], extra=metadata)


def blob_entry(name, size=10, *, etag="0x1", extra="", properties="") -> str:
    return (
        f"<Blob><Name>{escape(name)}</Name>{extra if '<Version' in extra else ''}<Properties>"
        f"<Last-Modified>Mon, 23 Nov 2026 04:00:00 GMT</Last-Modified><Etag>{etag}</Etag>"
        f"<Content-Length>{size}</Content-Length><BlobType>BlockBlob</BlobType>{properties}"
        f"</Properties>{'' if '<Version' in extra else extra}</Blob>"
    )


def listing_answer(
    blobs: str, marker: str = "", *, prefix="1/run1/artifacts/", container="models", account=None
) -> requests.Response:
    """A listing as the service writes it: it repeats what it was asked."""
    body = (
        '<?xml version="1.0" encoding="utf-8"?><EnumerationResults '
        f'ServiceEndpoint="https://{account or "account"}.blob.core.windows.net/" '
        f'ContainerName="{container}"><Prefix>{escape(prefix)}</Prefix>'
        f"<Blobs>{blobs}</Blobs><NextMarker>{escape(marker)}</NextMarker></EnumerationResults>"
    ).encode()
    return answer(200, body, {"Content-Type": "application/xml"})


def listing_for(seen: Seen, blobs: str, marker: str = "") -> requests.Response:
    """The listing that would answer this request."""
    parts = urlsplit(seen.url)
    segments = parts.path.strip("/").split("/")
    return listing_answer(
        blobs,
        marker,
        prefix=parse_qs(parts.query).get("prefix", [""])[0],
        container=segments[-1],
        account=segments[0] if len(segments) > 1 else None,
    )


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
