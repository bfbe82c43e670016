"""Azurite, Microsoft's emulator of Azure Blob Storage: installed from npm, run on loopback."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from expmgr.demo.child import start_child, stop_child
from expmgr.demo.errors import DemoError
from expmgr.demo.locked_package import install_locked
from expmgr.demo.node import find_node
from expmgr.demo.own_files import check_own

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from expmgr.credentials import AzureBlobCredentials
    from expmgr.demo.node import Node

__all__ = ["AzuriteServer", "default_npm_dir", "install_azurite"]

ACCOUNT_NAME = "devstoreaccount1"
# Azurite's well-known development key, published in Microsoft's documentation. Not a secret.
ACCOUNT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_LOCK_DIR = Path(__file__).parent / "npm"
_ENTRY = Path("node_modules", "azurite", "dist", "src", "blob", "main.js")
_LISTENS = re.compile(rb"successfully listens on (http://127\.0\.0\.1:\d+)")


def default_npm_dir() -> Path:
    """Return where Azurite is kept once it was installed: in this user's cache.

    ``EXPMGR_AZURITE_DIR`` names another folder.
    """
    chosen = os.environ.get("EXPMGR_AZURITE_DIR")
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "expmgr" / "azurite"


def install_azurite(npm_dir: Path, node: Node) -> Path:
    """Install the pinned Azurite into a folder, once, and return its entry script.

    Raises
    ------
    DemoError
        npm failed or the registry could not be reached.
    """
    return install_locked("Azurite", _LOCK_DIR, npm_dir, node) / _ENTRY


class AzuriteServer:
    """An Azurite blob service on a free loopback port, to be used as a context manager.

    Parameters
    ----------
    data_dir
        Where it keeps its blobs; they are there again at the next start with the same folder.
    npm_dir
        Where Azurite is, or is to be, installed; None for the user's cache folder.

    Attributes
    ----------
    account_name, account_key
        Azurite's published development account.
    endpoint
        The blob endpoint, ``http://127.0.0.1:PORT/devstoreaccount1``, once it was started.
    """

    def __init__(self, data_dir: str | Path, *, npm_dir: str | Path | None = None) -> None:
        self.account_name = ACCOUNT_NAME
        self.account_key = ACCOUNT_KEY
        self._data_dir = Path(data_dir)
        self._npm_dir = default_npm_dir() if npm_dir is None else Path(npm_dir)
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoint = ""

    @property
    def endpoint(self) -> str:
        """The blob endpoint of the running server."""
        if not self._endpoint:
            message = "Azurite was not started: use it in a with statement, or call start()"
            raise DemoError(message)
        return self._endpoint

    @property
    def connection_string(self) -> str:
        """What AZURE_STORAGE_CONNECTION_STRING must hold for MLflow to use this server."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={self.account_name};"
            f"AccountKey={self.account_key};BlobEndpoint={self.endpoint};"
        )

    def credentials(self, container_name: str) -> AzureBlobCredentials:
        """Return credentials for one container of this server."""
        from expmgr.credentials import AzureBlobCredentials

        return AzureBlobCredentials(
            account_name=self.account_name,
            account_key=self.account_key,
            container_name=container_name,
            account_url=self.endpoint,
        )

    def start(self, *, patience: float = 60.0) -> Self:
        """Install Azurite where it is missing, start it and wait until it listens.

        Parameters
        ----------
        patience
            Seconds to wait for it to listen.

        Raises
        ------
        DemoError
            It could not be installed, did not start, or lies where others can write.
        """
        if self._process is not None:
            return self
        node = find_node()
        entry = install_azurite(self._npm_dir, node)
        check_own(entry.parents[len(_ENTRY.parts) - 1], inner_links=True)
        self._data_dir.mkdir(parents=True, exist_ok=True)
        # Node itself, not npm's wrapper: stopping the process then stops Azurite.
        self._process = start_child(
            [
                str(node.executable),
                str(entry),
                "--blobHost=127.0.0.1",
                "--blobPort=0",
                f"--location={self._data_dir}",
                "--silent",
                "--skipApiVersionCheck",
                "--disableProductStyleUrl",
                "--disableTelemetry",
            ],
            stdout=subprocess.PIPE,
        )
        said: queue.Queue[bytes] = queue.Queue()
        threading.Thread(
            target=_read_lines, args=(self._process, said), name="azurite-output", daemon=True
        ).start()
        try:
            self._endpoint = f"{_await_listening(said, patience)}/{self.account_name}"
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop it: asked first, killed after a few seconds."""
        process, self._process, self._endpoint = self._process, None, ""
        if process is not None:
            stop_child(process)

    def remove_data(self) -> None:
        """Stop it and remove everything it kept."""
        self.stop()
        shutil.rmtree(self._data_dir, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _read_lines(process: subprocess.Popen[bytes], said: queue.Queue[bytes]) -> None:
    """Drain its output, so that it never blocks on a full pipe; an empty line marks the end."""
    assert process.stdout is not None
    with contextlib.suppress(ValueError):  # closed by stop()
        for line in process.stdout:
            said.put(line)
    said.put(b"")


def _await_listening(said: queue.Queue[bytes], patience: float) -> str:
    heard = b""
    while True:
        try:
            line = said.get(timeout=patience)
        except queue.Empty:
            message = f"Azurite did not listen within {patience:.0f} s"
            raise DemoError(message) from None
        if not line:
            last = heard.decode(errors="replace").strip()[-300:]
            message = f"Azurite ended while it was starting: {last or 'it said nothing'}"
            raise DemoError(message)
        heard += line
        found = _LISTENS.search(line)
        if found:
            return found.group(1).decode()
