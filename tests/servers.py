"""The real servers that tests run against: an MLflow tracking server in a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from expmgr.demo.child import start_child, stop_child

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from expmgr import AzureBlobCredentials

ACCOUNT_HOST = "devstoreaccount1.blob.core.windows.net"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wasbs(container: str, path: str = "mlflow") -> str:
    """An artifact root that MLflow sends to Azurite, as the connection string overrides it."""
    return f"wasbs://{container}@{ACCOUNT_HOST}/{path}"


def container_sas(azurite, container: str, **permissions: bool) -> str:
    """A shared access signature for a container, for an hour; all that expmgr needs by default."""
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    permissions = permissions or {"read": True, "write": True, "list": True, "delete": True}
    return generate_container_sas(
        azurite.account_name,
        container,
        account_key=azurite.account_key,
        permission=ContainerSasPermissions(**permissions),
        expiry=datetime.now(timezone.utc) + timedelta(hours=1),
    )


def signed(azurite, container: str, sas: str, *, endpoint: str = "") -> AzureBlobCredentials:
    """Credentials that hold a shared access signature, at Azurite or what stands before it."""
    from expmgr import AzureBlobCredentials

    return AzureBlobCredentials(
        account_name=azurite.account_name,
        container_name=container,
        sas_token=sas,
        account_url=endpoint or azurite.endpoint,
    )


def wait_until_answers(url: str, process, log: Path, patience: float = 90.0) -> None:
    deadline = time.monotonic() + patience
    pause = threading.Event()
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{url} did not answer:\n{log.read_text()[-2000:]}")
        pause.wait(0.1)


class MlflowServer:
    """``mlflow server`` on a free loopback port, on SQLite.

    Without ``artifacts_destination`` clients talk to the blob storage themselves (direct); with
    it the server proxies artifacts (``mlflow-artifacts:``) and keeps them there. With a password
    it has users and permissions (the app ``basic-auth``): it is that of ``admin``, and others see
    nothing that they were not given.
    """

    def __init__(
        self,
        folder: Path,
        connection_string: str,
        artifacts_destination: str | None = None,
        *,
        password: str = "",
        workers: int = 1,
    ) -> None:
        self.password = password
        self.workers = workers
        self.folder = folder
        self.connection_string = connection_string
        self.artifacts_destination = artifacts_destination
        self.tracking_uri = ""
        self._process = None

    @property
    def database_uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        if self.artifacts_destination is None:
            artifacts = ["--no-serve-artifacts", "--default-artifact-root", wasbs("nowhere")]
        else:
            artifacts = ["--serve-artifacts", "--artifacts-destination", self.artifacts_destination]
        log = self.folder / "server.log"
        self._process = start_child(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
                *("--port", str(port), "--workers", str(self.workers)),
                *("--backend-store-uri", self.database_uri),
                *artifacts,
                *(("--app-name", "basic-auth") if self.password else ()),
            ],
            log=log,
            env={
                **os.environ,
                "AZURE_STORAGE_CONNECTION_STRING": self.connection_string,
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                **self._auth(),
            },
            cwd=self.folder,
        )
        self.tracking_uri = f"http://127.0.0.1:{port}"
        try:
            wait_until_answers(f"{self.tracking_uri}/health", self._process, log)
        except BaseException:
            self.stop()
            raise
        return self

    def _auth(self) -> dict[str, str]:
        if not self.password:
            return {}
        config = self.folder / "auth.ini"
        config.write_text(
            "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
            f"database_uri = sqlite:///{self.folder / 'auth.db'}\nadmin_username = admin\n"
            f"admin_password = {self.password}\n"  # MLflow 3.7 reads no variable
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        return {
            "MLFLOW_AUTH_CONFIG_PATH": str(config),
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a test",
        }

    def stop(self) -> None:
        if self._process is not None:
            stop_child(self._process)
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception) -> None:
        self.stop()


@dataclass(frozen=True)
class Backend:
    """One way in which a team may run MLflow, for tests that must pass on each.

    Attributes
    ----------
    kind
        ``sqlite``, ``http`` or ``proxied``.
    tracking_uri
        For ``MlflowClient`` and the managers.
    artifacts_destination
        Where a proxying server keeps artifacts, else None; as the managers take it.
    container
        The container that artifacts end up in; the ``credentials`` fixture is for this one.
    """

    kind: str
    tracking_uri: str
    artifacts_destination: str | None
    container: str

    def experiment_location(self, name: str) -> str | None:
        """The ``artifact_location`` to create an experiment with; None lets the server choose."""
        if self.artifacts_destination is not None:
            return None
        return wasbs(self.container, f"mlflow/{name}")
