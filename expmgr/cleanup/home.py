"""Which tracking server and container a plan is about, without who signs in there. Pure."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from expmgr.errors import InvalidInputError
from expmgr.secrecy import redact

if TYPE_CHECKING:
    from expmgr.storage.store import Store

__all__ = ["Home", "check_home", "home_of", "tracking_name"]

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Home:
    """Where what a plan names is at home.

    Attributes
    ----------
    tracking
        The tracking server, see `tracking_name`.
    account, container
        Of the storage.
    """

    tracking: str = ""
    account: str = ""
    container: str = ""

    def __str__(self) -> str:
        return f"tracking server {self.tracking}, container {self.container!r} of {self.account!r}"


def home_of(tracking_uri: str, store: Store) -> Home:
    """Return the home of what a manager plans."""
    return Home(tracking_name(tracking_uri), store.account, store.container)


def tracking_name(uri: str) -> str:
    """Return by what a tracking server is told from another: its URI without user and options.

    A database in a file is told by the file's whole path.

    Examples
    --------
    >>> tracking_name("HTTP://me:secret@MLflow.example:80/team/?token=x")
    'http://mlflow.example/team'
    """
    shown = redact(str(uri))
    scheme, found, rest = shown.partition("://")
    scheme = scheme.lower()
    if not found:
        return f"file://{Path(shown.removeprefix('file:')).absolute()}"
    rest = rest.partition("?")[0].partition("#")[0]
    if scheme == "file" or scheme.startswith("sqlite"):
        path = rest.removeprefix("/") if scheme.startswith("sqlite") else rest
        return f"{scheme.partition('+')[0]}://{Path(path).absolute()}"
    rest = rest.rpartition("@")[2]
    host, _, path = rest.partition("/")
    with suppress(ValueError):
        parts = urlsplit(f"{scheme}://{host}")
        if parts.port is not None and parts.port == _PORTS.get(scheme):
            host = host.rpartition(":")[0]
    return f"{scheme}://{host.lower()}/{path}".rstrip("/")


def check_home(planned: Home | None, here: Home) -> None:
    """Refuse a plan that was made for another server, account or container.

    Parameters
    ----------
    planned
        None for a plan that somebody put together: its locations are checked all the same.

    Raises
    ------
    InvalidInputError
        It was.
    """
    if planned is None or planned == here:
        return
    message = f"this plan was made for {planned}, and this manager has {here}: nothing was deleted."
    raise InvalidInputError(message)
