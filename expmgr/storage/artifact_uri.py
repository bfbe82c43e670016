"""From an MLflow artifact URI to a blob path in the one container we may touch. Pure.

The forms follow MLflow's own parsers: ``wasbs`` and ``abfss`` paths are blob names as they stand
(``AzureBlobArtifactRepository.parse_wasbs_uri``, ``_parse_abfss_uri``), ``https`` and
``mlflow-artifacts`` paths are URL paths and are unquoted exactly once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from expmgr.errors import LocationError
from expmgr.secrecy import forgets_arguments, redact
from expmgr.storage.blob_path import check_path
from expmgr.storage.store import parse_host

if TYPE_CHECKING:
    from expmgr.storage.store import Store

__all__ = ["PROXY_ROOT", "is_proxied", "parse_artifact_uri"]

PROXY_ROOT = "/api/2.0/mlflow-artifacts/artifacts"
"""Where a tracking server serves artifacts (``MlflowArtifactsRepository.resolve_uri``)."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_SERVICES = {"wasbs": {"blob"}, "abfss": {"dfs", "blob"}}
_PORTS = {"http": 80, "https": 443, "wasbs": 443, "abfss": 443}


@forgets_arguments
def parse_artifact_uri(uri: str, store: Store, *, artifacts_destination: str | None = None) -> str:
    """Return the blob path that an artifact URI names in the store.

    Parameters
    ----------
    uri
        ``wasbs://container@account.blob.core.windows.net/path``, ``abfss://``, ``https://``
        (account host, private endpoint or path style), ``http://`` only where it is the
        credentials' own endpoint (Azurite), or ``mlflow-artifacts:/path``.
    store
        The credentials' account and container.
    artifacts_destination
        Where a tracking server that proxies artifacts keeps them (its option of the same name);
        needed for ``mlflow-artifacts:``.

    Returns
    -------
    str
        The path, without leading or trailing slash.

    Raises
    ------
    LocationError
        For another account, container or kind of store (naming both sides), and for anything
        that could be read in two ways. A query of the URI is never repeated: it may be a secret.
    """
    parts = _split(uri)
    if parts.scheme == "mlflow-artifacts":
        return _proxied_path(parts.path, uri, store, artifacts_destination)
    if parts.scheme in {"wasbs", "abfss"}:
        return _hadoop_path(parts, uri, store)
    if parts.scheme in {"https", "http"}:
        if artifacts_destination is not None and f"{PROXY_ROOT}/" in parts.path:
            path = parts.path.partition(f"{PROXY_ROOT}/")[2]
            return _proxied_path(path, uri, store, artifacts_destination)
        return _url_path(parts, uri, store)
    kind = f"{parts.scheme}:" if parts.scheme else "a path without a scheme"
    raise LocationError(
        f"{_shown(uri)} is {kind}, not in Azure Blob Storage: the credentials are for {store}"
    )


def is_proxied(uri: str) -> bool:
    """Return True for an artifact URI of what a tracking server keeps."""
    return uri.strip().lower().startswith("mlflow-artifacts:") or f"{PROXY_ROOT}/" in uri


def _split(uri: str) -> SplitResult:
    if not uri:
        raise LocationError("the artifact URI is empty")
    if _CONTROL.search(uri) or uri != uri.strip():
        # urlsplit drops some of these silently, and two readers would see two URIs.
        raise LocationError(f"artifact URI {_shown(uri)} holds control characters or white space")
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError as error:
        raise LocationError(f"artifact URI {_shown(uri)} cannot be read: {error}") from None
    if "?" in uri or "#" in uri:
        raise LocationError(
            f"artifact URI {_shown(uri)} has a query or a fragment: MLflow would drop it, and the "
            "path would not be certain"
        )
    return parts


def _shown(uri: str) -> str:
    """Return the URI without what may be secret: its query, its fragment and a password."""
    return repr(redact(re.split(r"[?#]", uri, maxsplit=1)[0]))


def _mismatch(uri: str, theirs: str, store: Store) -> NoReturn:
    raise LocationError(
        f"{_shown(uri)} is in {theirs}, the credentials are for {store} at {store.endpoint}: "
        "nothing was touched. Use credentials for that store"
    )


def _check_account(host: str, uri: str, store: Store, services: set[str]) -> None:
    found = parse_host(host)
    if found is None or found.service not in services:
        _mismatch(uri, f"the host {host!r}, which is not the credentials' endpoint", store)
    if found.account != store.account:
        _mismatch(uri, f"account {found.account!r}", store)
    if store.cloud is not None and store.cloud != found.cloud:
        _mismatch(uri, f"account {found.account!r} of the cloud {found.cloud}", store)


def _is_endpoint(parts: SplitResult, store: Store) -> bool:
    ours = urlsplit(store.endpoint)
    port = parts.port or _PORTS.get(parts.scheme)
    return (parts.hostname, port) == (ours.hostname, ours.port or _PORTS.get(ours.scheme))


def _hadoop_path(parts: SplitResult, uri: str, store: Store) -> str:
    """``wasbs://container@host/path``: the path is a blob name as it stands."""
    container, at, host = parts.netloc.rpartition("@")
    if not at or not container or "@" in container or ":" in container:
        raise LocationError(
            f"{_shown(uri)} must look like {parts.scheme}://<container>@<account host>/<path>"
        )
    if not (_is_endpoint(parts, store) and parse_host(parts.hostname or "") is None):
        if ":" in host:
            _mismatch(uri, f"the host {host!r}, which is not the credentials' endpoint", store)
        _check_account(host, uri, store, _SERVICES[parts.scheme])
    if container != store.container:
        _mismatch(uri, f"container {container!r}", store)
    return _path(parts.path, uri)


def _url_path(parts: SplitResult, uri: str, store: Store) -> str:
    """``https://host/container/path``, or path style with the account before the container."""
    if "@" in parts.netloc:
        raise LocationError(f"{_shown(uri)} names a user: refused")
    path = parts.path
    if _is_endpoint(parts, store) and parts.scheme == urlsplit(store.endpoint).scheme:
        root = urlsplit(store.endpoint).path
        if root and not path.startswith(f"{root}/"):
            _mismatch(uri, f"{path.split('/')[1] if '/' in path else path!r}", store)
        path = path[len(root) :]
    else:
        if parts.scheme != "https" or parts.port not in {None, 443}:
            _mismatch(uri, f"{parts.scheme}://{parts.netloc}", store)
        _check_account(parts.hostname or "", uri, store, {"blob", "dfs"})
    container, _, rest = path.removeprefix("/").partition("/")
    if container != store.container:
        _mismatch(uri, f"container {container!r}", store)
    return _path(f"/{rest}", uri, quoted=True)


def _proxied_path(path: str, uri: str, store: Store, artifacts_destination: str | None) -> str:
    if artifacts_destination is None:
        raise LocationError(
            f"{_shown(uri)} is kept by the tracking server, and MLflow does not tell where: give "
            "the manager artifacts_destination=, the server's option of the same name"
        )
    if artifacts_destination.startswith("mlflow-artifacts:"):
        raise LocationError("artifacts_destination cannot itself be an mlflow-artifacts: URI")
    below = path.removeprefix(f"{PROXY_ROOT}/").removeprefix("/")
    blob_path = _path(f"/{below}", uri, quoted=True)
    root = artifacts_destination.rstrip("/")
    if _is_container_root(root):
        parse_artifact_uri(f"{root}/x", store)  # raises where it is not our container
        return blob_path
    return check_path(f"{parse_artifact_uri(root, store)}/{blob_path}", what="artifact path")


def _is_container_root(uri: str) -> bool:
    parts = _split(uri)
    if parts.scheme in {"wasbs", "abfss"}:
        return not parts.path.strip("/")
    segments = parts.path.strip("/").split("/")
    host_is_account = parse_host(parts.hostname or "") is not None
    return len(segments) == (1 if host_is_account else 2)


def _path(path: str, uri: str, *, quoted: bool = False) -> str:
    plain = unquote(path, errors="strict") if quoted and _is_utf8(path) else path
    if quoted and plain.count("/") != path.count("/"):
        raise LocationError(f"{_shown(uri)} hides a slash behind percent-encoding: refused")
    if quoted and _ESCAPE.search(plain):
        raise LocationError(f"{_shown(uri)} is percent-encoded twice: refused")
    trimmed = plain.removeprefix("/").removesuffix("/")
    return check_path(trimmed, what=lambda: f"the path of {_shown(uri)},")


def _is_utf8(path: str) -> bool:
    try:
        unquote(path, errors="strict")
    except UnicodeDecodeError:
        return False
    return True
