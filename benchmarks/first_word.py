"""P8: how long nothing is said where the tracking server is dead, or accepts and never answers.

A word is what a person sees who set up no logging: a line above the browser's table, a warning that
Python prints, or the error. MLflow tries again for minutes in silence (urllib3's warnings are not
printed by themselves), so that it is waited for only as long as the command line says.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from typing import TYPE_CHECKING

from benchmarks.child import measure
from benchmarks.row import Row, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench
    from benchmarks.child import Measured


WAYS = ("browse", "runs", "mlflow")
TROUBLE = ("Waiting for", "could not")
"""What the browser's line says once something is wrong; "Loading" is no word."""


def first_word(_: None, way: str, uri: str, patience: float) -> Callable[[], bool]:
    """Return what waits for a word, and tells whether there was one."""
    said = threading.Event()

    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            del record
            said.set()

    logging.lastResort = Printing(logging.WARNING)
    ask = _mlflow(uri) if way == "mlflow" else _ours(uri, way, said)

    def asked() -> None:
        with contextlib.suppress(Exception):
            ask()
        said.set()

    def wait() -> bool:
        threading.Thread(target=asked, daemon=True).start()
        return said.wait(patience)

    return wait


def _ours(uri: str, way: str, said: threading.Event) -> Callable[[], object]:
    from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend

    manager = ExperimentsManagerWithAzureBlobBackend(
        tracking_uri=uri,
        azure_blob_credentials=AzureBlobCredentials(
            account_name="account", account_key="a2V5", container_name="models"
        ),
        main_metric="accuracy",
        plugin_name="benchmark",
    )

    def browse() -> None:
        browser = manager.browse()
        while not any(word in browser.notice.text for word in TROUBLE) and not said.wait(0.01):
            pass

    return browse if way == "browse" else manager.runs


def _mlflow(uri: str) -> Callable[[], object]:
    import mlflow

    mlflow.set_tracking_uri(uri)
    return lambda: mlflow.search_runs(search_all_experiments=True)


def rows(bench: Bench) -> Iterator[Row]:
    """Return the rows of P8."""
    with socket.socket() as closed, socket.socket() as mute:
        closed.bind(("127.0.0.1", 0))  # it does not listen
        mute.bind(("127.0.0.1", 0))
        mute.listen(50)
        for name, server in (("whose port is closed", closed), ("that never answers", mute)):
            uri = f"http://127.0.0.1:{server.getsockname()[1]}"
            browse, runs, theirs = (
                _side(measure(first_word, None, way, uri, bench.patience)) for way in WAYS
            )
            work = f"first word about a tracking server {name}"
            for called, ours in (("browse", browse), ("runs", runs)):
                yield Row("P8", f"{work}: `{called}()`", ours, theirs, "`mlflow.search_runs`")


def _side(found: Measured) -> Side:
    return Side(found.seconds, at_least=not found.answer)
