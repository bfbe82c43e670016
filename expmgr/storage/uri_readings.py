"""What an artifact URI that cannot be parsed with certainty may mean. Pure.

MLflow takes a location as it is written and uploads to wherever its own parsers, ``urllib``, the
HTTP client and the storage service between them take it to be. `parse_artifact_uri` refuses what
could be read in two ways, so that nothing is deleted there; but what lies there must not be deleted
with somebody else's files either. So such a URI stands for everything that it may mean.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from expmgr.errors import LocationError
from expmgr.storage.artifact_uri import PROXY_ROOT, parse_artifact_uri
from expmgr.storage.store import parse_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from expmgr.storage.store import Store

__all__ = ["readings_of"]

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#]*))?(.*)", re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9.-]*")
_DROPPED = str.maketrans("", "", "\t\r\n")  # as urllib's urlsplit does
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def readings_of(
    uri: str, store: Store, *, artifacts_destination: str | None = None
) -> frozenset[str]:
    """Return every blob path in the store that an artifact URI may mean.

    Parameters
    ----------
    uri, store, artifacts_destination
        As `parse_artifact_uri` takes them.

    Returns
    -------
    frozenset
        The one path where the URI can be parsed. Nothing where it is in another store, or kept by
        a tracking server whose destination is not known. Else the path raw, percent-decoded once,
        twice and to the end, cut at ``?`` or ``#``, with backslashes as slashes, without control
        characters, with empty and dot segments resolved, with segments trimmed of white space or
        of final dots, and every combination of these.

    Examples
    --------
    >>> store = Store("account", "models", "https://account.blob.core.windows.net")
    >>> uri = "wasbs://models@account.blob.core.windows.net/a//b?c"
    >>> sorted(readings_of(uri, store))
    ['a', 'a//b', 'a//b?c', 'a/b', 'a/b?c']
    """
    try:
        return frozenset(
            {parse_artifact_uri(uri, store, artifacts_destination=artifacts_destination)}
        )
    except LocationError:
        pass
    found: set[str] = set()
    texts = {uri, uri.translate(_DROPPED), _CONTROLS.sub("", uri)}
    for text in texts | {text.strip() for text in texts}:
        match = _URI.fullmatch(text)
        if match is None:
            continue
        scheme, authority, rest = match[1].lower(), match[2] or "", match[3]
        found |= _in_store(scheme, authority, rest, store, artifacts_destination)
    return frozenset(found - {""})


def _in_store(
    scheme: str, authority: str, rest: str, store: Store, artifacts_destination: str | None
) -> set[str]:
    paths = _closure(rest)
    found: set[str] = set()
    if scheme in {"wasbs", "wasb", "abfss", "abfs"}:
        container, _, host = authority.rpartition("@")
        if unquote(container) == store.container and _is_ours(host, store):
            found = paths
            tail = host[len(_host(host)) :]  # where a backslash ends the host for some
            if tail:
                found = found | _closure(tail + rest)
    elif scheme == "mlflow-artifacts":
        found = _below(paths, store, artifacts_destination)
    elif scheme in {"http", "https"}:
        marker = f"{PROXY_ROOT}/".strip("/")
        proxied = {path.partition(marker)[2] for path in paths if marker in path}
        found = _below(proxied, store, artifacts_destination)
        if _is_ours(authority.rpartition("@")[2], store):
            root = urlsplit(store.endpoint).path.strip("/")
            start = f"{root}/{store.container}/".lstrip("/")
            found |= {path.removeprefix(start) for path in paths if path.startswith(start)}
    return {path.strip("/") for path in found}


def _host(authority: str) -> str:
    match = _HOST.match(authority)
    return "" if match is None else match.group()


def _is_ours(authority: str, store: Store) -> bool:
    """Return True where a host, however it is spelled, may be the store's."""
    host = _host(authority).lower().rstrip(".")
    found = parse_host(host)
    return host == urlsplit(store.endpoint).hostname or (
        found is not None and found.account == store.account
    )


def _below(paths: Iterable[str], store: Store, artifacts_destination: str | None) -> set[str]:
    """Return proxied paths below what the tracking server's destination may mean."""
    if artifacts_destination is None:
        return set()
    roots = set(readings_of(artifacts_destination, store))
    # With something below it, a destination that is a container's root has a path as well.
    below = readings_of(f"{artifacts_destination.rstrip('/')}/x", store)
    roots |= {root[:-1].rstrip("/") for root in below if f"/{root}".endswith("/x")}
    return {f"{root}/{path.strip('/')}" for root in roots for path in paths}


def _closure(text: str) -> set[str]:
    once = unquote(text)
    open_ = {text, once, unquote(once)}
    found: set[str] = set()
    while open_:
        path = open_.pop()
        found.add(path)
        open_ |= {reading(path) for reading in _READINGS} - found
    return {path.strip("/") for path in found}


def _decoded(path: str) -> str:
    while (plain := unquote(path)) != path:
        path = plain
    return path


def _by_segment(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda path: "/".join(change(segment) for segment in path.split("/"))


def _resolved(path: str) -> str:
    """Return a path as RFC 3986, 5.2.4, leaves it."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept)


_READINGS: tuple[Callable[[str], str], ...] = (
    _decoded,
    lambda path: path.partition("?")[0],
    lambda path: path.partition("#")[0],
    lambda path: path.replace("\\", "/"),
    lambda path: re.sub("//+", "/", path),
    _resolved,
    lambda path: _CONTROLS.sub("", path),
    _by_segment(str.strip),
    _by_segment(lambda segment: segment.rstrip(". ")),
)
