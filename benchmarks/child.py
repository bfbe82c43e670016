"""Measures a piece of work in a process of its own: seconds and requests.

The process is forked from one that has imported what everybody needs, so that no measurement finds
what an earlier one left, and none waits for imports; a `fresh` one imports everything itself.
Requests are counted where they leave, in `http.client`, whoever makes them and however often.
"""

from __future__ import annotations

import gc
import http.client
import multiprocessing
import os
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

    from benchmarks.stage import Place

REPOSITORY = Path(__file__).resolve().parent.parent
PRELOADED = (
    *(
        "azure.storage.blob",
        "ipywidgets",
        "mlflow",
        "mlflow.tracking",
        "tenacity",
        "benchmarks.stage",
    ),
    "mlflow.store.artifact.azure_blob_artifact_repo",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.utils.search_logged_model_utils",
)
"""Beside all of expmgr, whose modules import one another where they are first used."""
PATIENCE = 1.0
"""Seconds for which a process that has answered may take to end."""


class WorkFailedError(Exception):
    """What was to be measured raised an error, or did something else than it should."""


@dataclass(frozen=True)
class Measured:
    """What a piece of work took.

    Attributes
    ----------
    seconds
        By the clock.
    tracking, storage
        Requests to the tracking server and to the storage account; None where there is none to
        ask (MLflow on SQLite has no server).
    kinds
        Requests to storage by what they are: ``list``, ``batch``, ``DELETE``, ...
    answer
        What the work returned.
    """

    seconds: float
    tracking: int | None = None
    storage: int | None = None
    kinds: Mapping[str, int] = field(default_factory=dict)
    answer: Any = None


def measure(
    work: Callable[..., Callable[[], Any]],
    place: Place | None,
    *arguments: Any,
    fresh: bool = False,
) -> Measured:
    """Measure what ``work(place, *arguments)`` returns, which is called without arguments.

    Parameters
    ----------
    work
        A function of a module, which prepares all that is not to be measured.
    place
        Where the servers are; None where there are none.
    fresh
        In an interpreter of its own, which has imported nothing yet.

    Raises
    ------
    WorkFailedError
        The work failed; with its traceback.
    """
    context = multiprocessing.get_context("spawn" if fresh else "forkserver")
    if not fresh:
        context.set_forkserver_preload([*PRELOADED, *_modules()])
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, work, place, arguments))
    process.start()
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        answer = "its process ended without an answer"
    process.join(PATIENCE)
    process.kill()  # a server that never answers may hold it
    if not isinstance(answer, Measured):
        raise WorkFailedError(f"{work.__module__}.{work.__name__}: {answer}")
    return answer


def _modules() -> list[str]:
    """Return the names of expmgr's modules that a caller may need."""
    package = REPOSITORY / "expmgr"
    return [
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for path in sorted(package.rglob("*.py"))
        if path.relative_to(package).parts[0] not in {"demo", "cli", "__main__.py"}
    ]


def _answer(pipe: Any, work: Any, place: Place | None, arguments: tuple[Any, ...]) -> None:
    try:
        pipe.send(_measured(work, place, arguments))
    except BaseException:  # noqa: BLE001 - told to who asked
        pipe.send(traceback.format_exc())
    finally:
        pipe.close()


def _measured(work: Any, place: Place | None, arguments: tuple[Any, ...]) -> Measured:
    if place is not None:
        os.environ.update(place.environment)
    made = Requests(place.tracking_uri if place is not None else "")
    ready = work(place, *arguments)
    gc.collect()
    with made:
        began = time.perf_counter()
        answer = ready()
        seconds = time.perf_counter() - began
    tracking, storage = made.tracking.copy(), made.storage.copy()
    return Measured(
        seconds,
        tracking.total() if made.over_http else None,
        None if place is None else storage.total(),
        dict(storage),
        answer,
    )


class Requests:
    """Counts the requests of this process while it is entered."""

    def __init__(self, tracking_uri: str) -> None:
        self.over_http = tracking_uri.startswith("http")
        self._port = urlsplit(tracking_uri).port if self.over_http else None
        self._lock = threading.Lock()
        self.tracking: Counter[str] = Counter()
        self.storage: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._put = put = http.client.HTTPConnection.putrequest

        def counted(connection: Any, method: str, url: str, *rest: Any, **options: Any) -> None:
            is_tracking = connection.port == self._port
            kind = _endpoint(method, url) if is_tracking else _storage_kind(method, url)
            with self._lock:
                (self.tracking if is_tracking else self.storage)[kind] += 1
            put(connection, method, url, *rest, **options)

        http.client.HTTPConnection.putrequest = counted  # type: ignore[method-assign]
        return self

    def __exit__(self, *exception: object) -> None:
        http.client.HTTPConnection.putrequest = self._put  # type: ignore[method-assign]


def _endpoint(method: str, url: str) -> str:
    return f"{method} {urlsplit(url).path.rpartition('/mlflow/')[2]}"


def _storage_kind(method: str, url: str) -> str:
    asked = parse_qs(urlsplit(url).query)
    return asked.get("comp", [method])[0]
