"""Whether this user sees all of the tracking server: what is hidden reads as if it were not there.

MLflow's ``basic-auth`` app leaves experiments, models and versions out of every search that their
reader has no permission for (``mlflow.server.auth``), and a server with workspaces shows one
workspace at a time (``mlflow.utils.workspace_utils``). The storage key sees the files all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.errors import TrackingError
from expmgr.tracking.queries import asking

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["hidden_by", "raw_doubt"]

_CURRENT_USER = "/api/2.0/mlflow/users/current"
_A_USER = "/api/2.0/mlflow/users/get"
"""Of servers with permissions that do not know the other path, as MLflow 3.7."""
_NO_SUCH_USER = "RESOURCE_DOES_NOT_EXIST"
_OK = 200
_NOT_FOUND = 404


def hidden_by(client: MlflowClient) -> str:
    """Return in words what may hide things from this user, "" where nothing does.

    Raises
    ------
    TrackingError
        The server could not be asked.
    """
    store = client._tracking_client.store  # noqa: SLF001 - MLflow has no public question for it
    credentials = getattr(store, "get_host_creds", None)
    if credentials is None:  # a database, or files: no server stands between
        return _workspaces(store)
    if str(client.tracking_uri).partition(":")[0] not in {"http", "https"}:
        return f"what {client.tracking_uri} hides from this user is not known"
    with asking("ask what this user may see"):
        from mlflow.utils.rest_utils import http_request

        login = credentials()
        answer = http_request(login, _CURRENT_USER, "GET")
        if answer.status_code == _NOT_FOUND:
            answer = http_request(login, _A_USER, "GET", params={"username": login.username or ""})
        status = int(answer.status_code)
        user: dict[str, Any] = {}
        if status == _OK:
            said = answer.json()
            user = said.get("user") or {} if isinstance(said, dict) else {}
    if status == _NOT_FOUND and _NO_SUCH_USER not in answer.text:  # nothing knows of users
        return _workspaces(store)
    if user.get("is_admin") is True:
        return _workspaces(store)
    if status == _OK:
        return "the tracking server has permissions, and this user is not an administrator"
    return f"the tracking server does not say what this user may see (HTTP {status})"


def raw_doubt(client: MlflowClient) -> str:
    """Return in words why this user cannot take raw artifacts for a model, "" where that may be.

    A model that the run made may be hidden, or an experiment whose root lies among its artifacts.
    """
    try:
        hidden = hidden_by(client)
    except TrackingError as error:
        hidden = f"what this user may see could not be asked ({error})"
    if not hidden:
        return ""
    return (
        f"{hidden}, so MLflow may have recorded a model of this run all the same, or keep what is "
        "others' among its artifacts: raw artifacts go by somebody who sees all"
    )


def _workspaces(store: Any) -> str:
    with asking("ask for workspaces"):
        enabled = bool(getattr(store, "supports_workspaces", False))
    return "the tracking server has workspaces, of which one is seen at a time" if enabled else ""
