"""A Jupyter server on loopback (JupyterLab, Notebook 7 or Voila), with settings of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from expmgr.demo.child import start_child, stop_child
from expmgr.demo.errors import DemoError
from expmgr.demo.own_files import private_file

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["JupyterApp", "JupyterServer"]

JupyterApp = Literal["lab", "notebook", "voila"]
_MODULES = {"lab": "jupyterlab", "notebook": "notebook", "voila": "voila"}
_PATHS = {"lab": "doc/tree", "notebook": "notebooks", "voila": "voila/render"}
_LAB_SETTINGS: dict[str, dict[str, object]] = {
    # Neither questions about news nor look-ups of updates: the demo stays on this machine.
    "apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
    # Every cell is in the page, also those out of sight: a table keeps its place when scrolled.
    "notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
}


class JupyterServer:
    """One Jupyter server for the notebooks of one folder, to be used as a context manager.

    Parameters
    ----------
    folder
        Its root: the notebooks that it serves.
    state_dir
        Where it keeps settings, workspaces, runtime files and its log; the user's own Jupyter
        settings are neither read nor written.
    app
        ``lab``, ``notebook`` (version 7) or ``voila``.
    env
        Variables that its kernels get in addition to ours.
    port
        0 for a free one.
    """

    def __init__(
        self,
        folder: str | Path,
        state_dir: str | Path,
        *,
        app: JupyterApp = "lab",
        env: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.folder = Path(folder).resolve()
        self.app: JupyterApp = app
        self._state_dir = Path(state_dir).resolve()
        self._env = dict(env or {})
        self._port = port
        self._token = secrets.token_hex(24)
        self._process: subprocess.Popen[bytes] | None = None
        self._private: Path | None = None

    def url(self, notebook: str) -> str:
        """Return the address that opens one of its notebooks, the token included."""
        path = f"{_PATHS[self.app]}/{quote(notebook)}"
        return f"http://127.0.0.1:{self._port}/{path}?token={self._token}"

    def start(self, *, patience: float = 90.0) -> Self:
        """Start it and wait until it answers.

        Raises
        ------
        DemoError
            It ended, or did not answer within ``patience`` seconds.
        """
        if self._port == 0:
            self._port = _free_port()
        self._state_dir.mkdir(parents=True, exist_ok=True)
        log = private_file(self._state_dir / f"{self.app}.log")  # it says the token
        environment = {**os.environ, **self._env, **self._own_environment()}
        self._process = start_child(
            [sys.executable, "-m", _MODULES[self.app], *self._options()],
            log=log,
            env=environment,
            # Python imports from its working directory, and Voila reads settings there.
            cwd=self._private,
        )
        try:
            self._await_answer(log, patience)
        except BaseException:
            self.stop()
            raise
        return self

    def wait(self) -> int:
        """Wait until it ends by itself; return its exit code."""
        return 0 if self._process is None else self._process.wait()

    def stop(self) -> None:
        """Stop it and the kernels that it started."""
        process, self._process = self._process, None
        if process is not None:
            stop_child(process, patience=15.0)  # it shuts its kernels down first
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _options(self) -> list[str]:
        options = ["--no-browser", f"--port={self._port}"]
        if self.app == "voila":
            return [str(self.folder), *options, "--Voila.ip=127.0.0.1"]
        options += [
            "--ServerApp.ip=127.0.0.1",
            "--ServerApp.port_retries=0",
            "--ServerApp.open_browser=False",
            f"--ServerApp.root_dir={self.folder}",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.append("--allow-root")
        return options

    def _own_environment(self) -> dict[str, str]:
        settings = self._state_dir / "lab-settings"
        for name, content in _LAB_SETTINGS.items():
            file = settings / "@jupyterlab" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(content), encoding="utf-8")
        # What runs at a start (Python settings, kernels, IPython's start-up files) is made anew.
        self._private = Path(tempfile.mkdtemp(prefix="private-", dir=self._state_dir))
        config, data, runtime, ipython = (
            self._private / name for name in ("config", "data", "runtime", "ipython")
        )
        config.mkdir()
        data.mkdir()  # nbformat 5.10.0 writes a notebook's signing key there and makes no folder
        # Tokens go by the environment or a file of our own: arguments can be read by others.
        private_file(config / "voila.json", json.dumps({"Voila": {"token": self._token}}))
        return {
            "JUPYTER_TOKEN": self._token,
            "JUPYTER_CONFIG_DIR": str(config),
            "JUPYTER_DATA_DIR": str(data),
            "JUPYTER_RUNTIME_DIR": str(runtime),
            "JUPYTERLAB_SETTINGS_DIR": str(settings),
            "JUPYTERLAB_WORKSPACES_DIR": str(self._state_dir / "workspaces"),
            "IPYTHONDIR": str(ipython),
        }

    def _await_answer(self, log: Path, patience: float) -> None:
        assert self._process is not None
        path = "" if self.app == "voila" else "api/status"
        address = f"http://127.0.0.1:{self._port}/{path}?token={self._token}"
        deadline = time.monotonic() + patience
        pause = threading.Event()
        while True:
            if self._process.poll() is not None:
                message = f"Jupyter ended while it was starting, see {log}"
                raise DemoError(message)
            with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=10):
                return
            if time.monotonic() > deadline:
                message = f"Jupyter did not answer within {patience:.0f} s, see {log}"
                raise DemoError(message)
            pause.wait(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
