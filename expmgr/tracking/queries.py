"""Paged questions to MLflow, with its errors put into our words.

Everything goes through one ``MlflowClient``; MLflow's global tracking URI is never read or set.
Nothing here retries: that is the client's business (`expmgr.tracking.patience`, or MLflow's HTTP
layer, for up to four minutes). What is added is a connection check of a few seconds, so that a
server that is down is told at once.
"""

from __future__ import annotations

import os
import socket
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from expmgr.errors import (
    ExpmgrError,
    FilterError,
    NotFoundError,
    TrackingError,
    TrackingUnreachableError,
)
from expmgr.secrecy import Address, bare, clear_frames, forgets_arguments, redact
from expmgr.text import MESSAGE_LIMIT, words
from expmgr.tracking import page_size
from expmgr.tracking.page_size import PageSize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

    from expmgr.tracking.patience import Patience

__all__ = [
    "ALL_EXPERIMENTS",
    "UNDER_WAY",
    "asking",
    "asks_a_server",
    "connect",
    "ensure_reachable",
    "in_parallel",
    "is_forbidden",
    "is_refused",
    "iter_experiments",
    "iter_logged_models",
    "iter_model_versions",
    "iter_ranked_models",
    "iter_registered_models",
    "iter_runs",
    "iter_versions_since",
    "lies_in_trash",
    "logged_model",
    "quoted",
    "read_logged_models",
    "run_or_none",
    "runs_by_id",
    "select_experiments",
    "tag_model",
]

ALL_EXPERIMENTS = "all"
UNDER_WAY = "attributes.status LIKE '%U%'"
"""Filters runs: of MLflow's statuses RUNNING and SCHEDULED alone hold a "U"."""

_PAGE = 1000
"""Rows a page where there are never many."""
_VERSIONS = 10_000
"""The client's own default (``SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT``): mostly one page."""

_READINGS = 4
"""Readings of a list that does not fit one page, until two agree; what any showed counts."""
_RANKED = (50, 1_000, page_size.MOST_HERE)
"""Rows of the first pages of a ranking; a look at storage for each goes on between them."""
_FEW_VERSIONS = 100
_ONE_BY_ONE = 8
_IDS_A_QUERY = 100

_CONNECT_TIMEOUT = 4.0
_LOOKED_THROUGH = 3 * MESSAGE_LIMIT  # a secret that begins in what is shown ends in this
_MOST_IN_A_ROW = 25
_WORKERS = 8

_T = TypeVar("_T")
_R = TypeVar("_R")


def connect(
    tracking_uri: str, registry_uri: str | None, patience: Patience | None = None
) -> MlflowClient:
    """Return a client bound to both URIs for good.

    A client made without a registry URI follows whatever ``mlflow.set_registry_uri`` says later,
    which would blind the protection of registered models; so it is resolved here, once.

    Parameters
    ----------
    patience
        How its requests are tried again; None leaves that to MLflow.

    Raises
    ------
    TrackingError
        Nothing answers, or MLflow cannot use one of the URIs.
    """
    from mlflow import MlflowClient

    tracking_uri, registry_uri = Address(tracking_uri), Address(registry_uri or tracking_uri)
    ensure_reachable(tracking_uri)
    with asking("open the tracking server"):
        client = MlflowClient(tracking_uri=tracking_uri, registry_uri=registry_uri)
        if patience is not None:
            patience.give_to(client)
        return client


@forgets_arguments
def ensure_reachable(tracking_uri: str, timeout: float = _CONNECT_TIMEOUT) -> None:
    """Raise TrackingUnreachableError where nothing listens at an http(s) tracking URI.

    Parameters
    ----------
    tracking_uri
        Any MLflow tracking URI; other schemes than http and https pass.
    timeout
        Seconds to wait for the TCP connection.
    """
    parts = urlsplit(tracking_uri)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        port = -1
    if port == -1 or parts.query or parts.fragment:
        raise TrackingError(
            "the tracking URI cannot be read: it is http(s)://user:password@host:port, and the "
            "characters / ? # @ : % of a password are percent-encoded in it"
        )
    if any(os.environ.get(name) for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy")):
        return  # the proxy is what must be reached then, and only requests knows the exceptions
    try:
        socket.create_connection((parts.hostname, port), timeout=timeout).close()
    except OSError as error:
        shown = f"{parts.scheme}://{parts.hostname}:{port}"
        message = (
            f"nothing answers at the tracking server {shown} ({error}). Check the address, the "
            "network and that the server runs; then try again."
        )
        raise TrackingUnreachableError(message) from bare(error)


@contextmanager
def asking(what: str, *, run_id: str | None = None) -> Iterator[None]:
    """Turn MLflow's and requests' errors into ours; ``what`` completes "could not ...".

    Raises
    ------
    NotFoundError
        MLflow says RESOURCE_DOES_NOT_EXIST.
    TrackingError
        Anything else that MLflow or its HTTP layer raised.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except ExpmgrError:
        raise
    except MlflowException as error:
        kind = NotFoundError if error.error_code == "RESOURCE_DOES_NOT_EXIST" else TrackingError
        raise kind(f"could not {what}: {_plain(error)}", run_id=run_id) from bare(error)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        message = f"could not {what}: {redact(str(error))}"
        raise TrackingError(message, run_id=run_id) from bare(error)
    except BaseException as error:
        if type(error).__module__.startswith(("sqlalchemy", "google.protobuf")):
            message = f"could not {what}: {_plain(error)}"
            raise TrackingError(message, run_id=run_id) from bare(error)
        clear_frames(error)  # Ctrl-C, too: MLflow's frames hold the request's headers
        raise


def _plain(error: BaseException) -> str:
    """Return an error's message, made plain in the error itself: a traceback shows that, too.

    MLflow's message of a broken connection holds the URI with its password.
    """
    text = str(getattr(error, "message", error))
    start = redact(text[:_LOOKED_THROUGH])
    said = words(start + text[_LOOKED_THROUGH:] if len(start) > MESSAGE_LIMIT else start)
    error.args = (said,)
    if hasattr(error, "message"):
        error.message = said
    return said


def is_forbidden(error: BaseException) -> bool:
    """Whether the server refused because of permissions: what was asked for may be there."""
    return getattr(error.__cause__, "error_code", "") == "PERMISSION_DENIED"


def asks_a_server(client: MlflowClient) -> bool:
    """Whether the client's questions are answered by another process, over HTTP."""
    return str(getattr(client, "tracking_uri", "")).startswith("http")


def is_refused(error: BaseException) -> bool:
    """Whether the server does not take such a question; another one may be answered."""
    return getattr(error.__cause__, "error_code", "") == "INVALID_PARAMETER_VALUE"


def in_parallel(function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    """Return ``function`` of each item, in order, by a few threads; the first error is raised.

    Of many items a thread takes some in a row: handing each over costs as much as a short answer.
    """
    if len(items) <= 1:
        return [function(item) for item in items]
    size = max(1, min(_MOST_IN_A_ROW, len(items) // (_WORKERS * _WORKERS)))
    rows = [items[at : at + size] for at in range(0, len(items), size)]
    with ThreadPoolExecutor(min(_WORKERS, len(rows)), thread_name_prefix="expmgr-ask") as pool:
        answers = pool.map(lambda row: [function(item) for item in row], rows)
        return [answer for row in answers for answer in row]


def quoted(name: str) -> str:
    """Return a metric, param or tag name as a filter string needs it (backticks around)."""
    return f"`{name}`"


def _paged(what: str, ask: Callable[[str | None], Any]) -> Iterator[Any]:
    """Yield what every page holds; ``ask`` takes a page token (None for the first page)."""
    token: str | None = None
    while True:
        with asking(what):
            page = ask(token)
        yield from page
        token = page.token
        if not token:
            return


_most_rows: weakref.WeakKeyDictionary[MlflowClient, dict[str, int]] = weakref.WeakKeyDictionary()
"""What a server did not refuse, by what was asked for: it costs a wait to be refused again."""


def _sized(
    what: str,
    client: MlflowClient,
    ask: Callable[[str | None, int], Any],
    values_of: Callable[[Any], int],
) -> Iterator[Any]:
    """Yield what every page holds, as pages of the size that the server takes well.

    A page that does not come is asked for again, once, in the size of the last one that came.

    Parameters
    ----------
    ask
        Takes a page token and a number of rows.
    values_of
        Returns how many metrics, params and tags a row carries.
    """
    most = _most_rows.setdefault(client, {})
    allowed = page_size.MOST if asks_a_server(client) else page_size.MOST_HERE
    size = PageSize(page_size.FIRST, most.get(what, allowed))
    token: str | None = None
    while True:
        with asking(what):
            began = time.monotonic()
            try:
                page = ask(token, size.rows)
            except Exception:
                if not size.refused():
                    raise
                most[what] = size.most
                began = time.monotonic()
                page = ask(token, size.rows)
            size.arrived(time.monotonic() - began, sum(map(values_of, page)))
        yield from page
        token = page.token
        if not token:
            return


def _settled(
    ask: Callable[..., Any],
    read: Callable[[Callable[..., Any]], Iterable[_T]],
    key: Callable[[_T], object],
    *,
    once: bool = False,
) -> list[_T]:
    """Return what a list holds, read again where it took several pages until two readings agree.

    MLflow pages by offset: a row that goes, or that a change moves to the front, takes another one
    out of sight. What any reading showed counts.

    Parameters
    ----------
    ask
        Asks for a page.
    read
        Yields what every page holds, with what asks for them.
    key
        What tells a row from others.
    once
        One reading is enough.
    """
    found: dict[object, _T] = {}
    for _ in range(_READINGS):
        pages: list[int] = []

        def counted(*question: Any, pages: list[int] = pages) -> Any:
            pages.append(1)
            return ask(*question)

        before = len(found)
        reading = {key(one): one for one in read(counted)}
        whole = found.keys() <= reading.keys()
        found.update(reading)
        if once or len(pages) <= 1 or (before and whole and len(found) == before):
            break
    return list(found.values())


def iter_experiments(client: MlflowClient, *, deleted: bool = False) -> Iterator[Experiment]:
    """Yield every experiment, newest first; with ``deleted`` those in the trash as well."""
    from mlflow.entities import ViewType

    view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY

    def ask(token: str | None) -> Any:
        return client.search_experiments(view_type=view, max_results=_PAGE, page_token=token)

    yield from _settled(ask, partial(_paged, "list the experiments"), lambda one: one.experiment_id)


def select_experiments(
    experiments: Iterable[Experiment],
    selection: str | Iterable[str] | None,
    is_own: Callable[[Experiment], bool],
) -> list[Experiment]:
    """Return the active experiments that a caller means. Pure.

    Parameters
    ----------
    experiments
        Those there are; what lies in the trash is left out.
    selection
        None: those that ``is_own`` accepts; ``"all"``: all; else a name, an id, or an iterable of
        either.

    Raises
    ------
    NotFoundError
        A name or id that no active experiment has.
    """
    known = [experiment for experiment in experiments if experiment.lifecycle_stage == "active"]
    if selection is None:
        return [experiment for experiment in known if is_own(experiment)]
    if selection == ALL_EXPERIMENTS:
        return known
    wanted = [selection] if isinstance(selection, str) else [str(item) for item in selection]
    by_name = {experiment.name: experiment for experiment in known}
    by_id = {experiment.experiment_id: experiment for experiment in known}
    chosen: dict[str, Experiment] = {}
    for name in wanted:
        experiment = by_name.get(name) or by_id.get(name)
        if experiment is None:
            message = (
                f"no experiment has the name or id {name!r}. Known names: "
                f"{', '.join(sorted(by_name)[:10]) or 'none'}."
            )
            raise NotFoundError(message)
        chosen[experiment.experiment_id] = experiment
    return list(chosen.values())


def iter_runs(
    client: MlflowClient,
    experiment_ids: Sequence[str],
    filter_string: str = "",
    *,
    limit: int | None = None,
    deleted: bool = False,
    steady: bool = False,
) -> Iterator[Run]:
    """Yield runs, newest first (MLflow's own order, and the fast one).

    Parameters
    ----------
    limit
        Rows at most; None for all.
    deleted
        Also those in the trash.
    steady
        None is hidden by another one that goes, or matches no more, between two pages: each page
        after the first is asked for by when the last run before it began, rather than by offset.
        For what protection needs to know.

    Raises
    ------
    FilterError
        The server refused ``filter_string``; the message is the server's.
    """
    from mlflow.entities import ViewType
    from mlflow.exceptions import MlflowException

    from expmgr.tracking.database_runs import database_runs
    from expmgr.tracking.lean_runs import json_search

    if not experiment_ids or limit == 0:
        return
    view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    if not filter_string and limit is None and not deleted:
        with asking("list the runs"):
            read = database_runs(client, experiment_ids)
        if read is not None:
            yield from read
            return
    search = json_search(client) or client.search_runs
    condition = filter_string

    def ask(token: str | None, rows: int) -> Any:
        nonlocal search
        rows = rows if limit is None else min(rows, limit)
        question = (list(experiment_ids), condition, view, rows)
        try:
            try:
                return search(*question, page_token=token)
            except (AttributeError, KeyError, TypeError, ValueError):
                if search == client.search_runs:
                    raise
                search = client.search_runs  # the answer is not as it is known here
                return search(*question, page_token=token)
        except MlflowException as error:
            if filter_string and error.error_code == "INVALID_PARAMETER_VALUE":
                message = f"MLflow refused the filter {filter_string!r}: {_plain(error)}"
                raise FilterError(message) from bare(error)
            raise

    def ask_by_time(token: str | None, rows: int) -> Any:
        """Ask for a page; what tells the next one is when its last run began, where that may."""
        nonlocal condition
        page = ask(None if token == condition else token, rows)
        began = page[-1].info.start_time if page else 0
        further = " and ".join(filter(None, (f"attributes.start_time <= {began}", filter_string)))
        if page.token and began and further != condition:
            condition = page.token = further
        return page

    asked = _sized("list the runs", client, ask_by_time if steady else ask, _values_of_run)
    once = _each_once(asked, lambda run: str(run.info.run_id)) if steady else asked
    yield from islice(once, limit)


def _each_once(rows: Iterable[_T], key: Callable[[_T], str]) -> Iterator[_T]:
    seen: set[str] = set()
    for row in rows:
        if key(row) not in seen:
            seen.add(key(row))
            yield row


def _values_of_run(run: Run) -> int:
    return len(run.data.metrics) + len(run.data.params) + len(run.data.tags)


def _values_of_model(model: LoggedModel) -> int:
    return len(model.metrics or ()) + len(model.params or ()) + len(model.tags or ())


def runs_by_id(
    client: MlflowClient,
    experiment_ids: Sequence[str],
    run_ids: Sequence[str],
    on_read: Callable[[int], None] = lambda _: None,
) -> dict[str, Run]:
    """Return some runs by id, those in the trash included; ids that no run has are missing.

    A few are asked for one by one, and come with their model inputs; many by searches of a hundred
    ids each, which leave the inputs out.

    Parameters
    ----------
    on_read
        Told after each of those searches how many more were asked for.
    """
    wanted = list(dict.fromkeys(run_ids))
    if len(wanted) <= _ONE_BY_ONE:
        found = in_parallel(lambda run_id: run_or_none(client, run_id), wanted)
    else:
        chunks = [wanted[at : at + _IDS_A_QUERY] for at in range(0, len(wanted), _IDS_A_QUERY)]

        def search(ids: Sequence[str]) -> list[Run]:
            condition = f"attributes.run_id IN ({', '.join(map(repr, ids))})"
            runs = list(iter_runs(client, experiment_ids, condition, deleted=True))
            on_read(len(ids))
            return runs

        found = [run for runs in in_parallel(search, chunks) for run in runs]
    return {run.info.run_id: run for run in found if run is not None}


def read_logged_models(
    client: MlflowClient,
    experiment_ids: Sequence[str],
    filter_string: str | None = None,
    *,
    once: bool = False,
) -> list[LoggedModel]:
    """Return the active LoggedModels of some experiments (those in the trash are not searchable).

    MLflow pages by offset, so a model that is deleted between two pages takes another one's place
    out of sight. They are read oldest first, so that new ones do not move the others, and where
    that took more than one page a second time; what either reading showed counts.

    Parameters
    ----------
    once
        One reading is enough: for a table, where the plan asks again.
    """
    if not experiment_ids:
        return []
    order = [{"field_name": "creation_timestamp", "ascending": True}]

    def ask(token: str | None, rows: int) -> Any:
        return client.search_logged_models(
            list(experiment_ids),
            filter_string=filter_string,
            max_results=rows,
            order_by=order,
            page_token=token,
        )

    def read(ask: Callable[..., Any]) -> Iterator[LoggedModel]:
        return _sized("list the logged models", client, ask, _values_of_model)

    return _settled(ask, read, lambda model: model.model_id, once=once)


def iter_logged_models(
    client: MlflowClient, experiment_ids: Sequence[str], filter_string: str | None = None
) -> Iterator[LoggedModel]:
    """Yield what `read_logged_models` returns."""
    yield from read_logged_models(client, experiment_ids, filter_string)


def iter_ranked_models(
    client: MlflowClient, experiment_id: str, metric: str, *, ascending: bool
) -> Iterator[LoggedModel]:
    """Yield an experiment's active LoggedModels by their newest value of a metric.

    The server's order (newest value by time, step and run id; infinite values and NaN, which it
    keeps as 0, among the others; without any value last), a small page first. The next ones begin
    at the top again: by offset a model that goes meanwhile would hide another one.
    """
    order = [{"field_name": f"metrics.{metric}", "ascending": ascending}]

    def ranked() -> Iterator[LoggedModel]:
        sizes = iter(_RANKED)
        rows, token = next(sizes), None
        while True:
            with asking("rank the logged models"):
                page = client.search_logged_models(
                    [experiment_id], max_results=rows, order_by=order, page_token=token
                )
            yield from page
            if not page.token:
                return
            more = next(sizes, None)
            rows, token = (rows, page.token) if more is None else (more, None)

    return _each_once(ranked(), lambda model: str(model.model_id))


def iter_model_versions(client: MlflowClient) -> Iterator[ModelVersion]:
    """Yield every version of every registered model.

    ``run_id IN (...)`` breaks at about 100 ids over HTTP, so the whole registry is paged through:
    the last updated first, so that one which somebody touches meanwhile changes its place.
    """

    def ask(token: str | None) -> Any:
        return client.search_model_versions(max_results=_VERSIONS, page_token=token)

    yield from _settled(
        ask, partial(_paged, "read the model registry"), lambda one: (one.name, str(one.version))
    )


def iter_versions_since(client: MlflowClient, since: int) -> Iterator[ModelVersion]:
    """Yield the registered model versions that were made or changed since, newest first.

    Parameters
    ----------
    since
        Milliseconds since 1970.
    """
    newest = _paged(
        "read the model registry",
        lambda token: client.search_model_versions(
            max_results=_FEW_VERSIONS,
            order_by=["last_updated_timestamp DESC"],
            page_token=token,
        ),
    )
    for version in newest:
        if (version.last_updated_timestamp or 0) < since:
            return
        yield version


def iter_registered_models(client: MlflowClient) -> Iterator[RegisteredModel]:
    """Yield every registered model, with its aliases."""
    return _paged(
        "read the model registry",
        lambda token: client.search_registered_models(max_results=100, page_token=token),
    )


def logged_model(client: MlflowClient, model_id: str) -> LoggedModel | None:
    """Return one LoggedModel, also from the trash; None where MLflow does not tell.

    The public getter hides soft-deleted models; the store's takes ``allow_deleted`` (MLflow 3,
    ``AbstractStore.get_logged_model``). A store without that parameter is asked without it.
    """
    store = client._tracking_client.store  # noqa: SLF001 - the only way to see the trash
    try:
        with asking(f"read the logged model {model_id}"):
            try:
                return store.get_logged_model(model_id, allow_deleted=True)
            except TypeError:
                return client.get_logged_model(model_id)
    except NotFoundError:
        return None


def tag_model(client: MlflowClient, model_id: str, tags: Mapping[str, str]) -> None:
    """Set tags on a LoggedModel: one request.

    The public method asks for the model first, only to word its error; the store's raises the
    same of one that is not there or in the trash (``MlflowClient.set_logged_model_tags``).
    """
    with asking(f"tag the logged model {model_id}"):
        client._tracking_client.set_logged_model_tags(model_id, dict(tags))  # noqa: SLF001


def lies_in_trash(
    client: MlflowClient, model: LoggedModel, experiments: Mapping[str, Experiment]
) -> bool:
    """Whether a LoggedModel that was read by its id lies in the trash: itself, or its experiment.

    Parameters
    ----------
    experiments
        All there are, by id, those in the trash included.
    """
    home = experiments.get(str(model.experiment_id))
    if home is not None and home.lifecycle_stage == "deleted":
        return True
    try:
        with asking(f"read the logged model {model.model_id}"):
            client.get_logged_model(model.model_id)
    except NotFoundError:  # MLflow's public getter hides what is in the trash
        return True
    return False


def run_or_none(client: MlflowClient, run_id: str) -> Run | None:
    """Return a run (also one in the trash), or None where the server has none of that id."""
    from mlflow.exceptions import MlflowException

    with asking(f"read run {run_id}", run_id=run_id):
        try:
            return client.get_run(run_id)
        except MlflowException as error:
            # An id that MLflow's own check refuses ("Invalid run ID") can belong to no run either.
            if error.error_code == "RESOURCE_DOES_NOT_EXIST" or "Invalid run ID" in str(error):
                return None
            raise
