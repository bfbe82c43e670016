"""Runs as a table needs them, straight from what the server or the database answers.

MLflow's client makes of every metric, param and tag a protobuf message or a database object, then
an entity, and keeps them all: of 10,000 runs of 30 keys that is nine tenths of the time spent
outside of SQL and of the server [measured], and most of the memory. A table reads three
dictionaries a run. So they are made at once: from the JSON of the public REST API, or from rows of
MLflow's tables (`expmgr.tracking.database_runs`). Whatever looks different from what is known here
is left to MLflow's client.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlflow.entities import LoggedModelOutput, Run, RunInfo, RunOutputs
from mlflow.store.entities import PagedList

from expmgr.tracking.patience import READS_JSON, JsonAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlflow import MlflowClient

    Search = Callable[..., PagedList[Run]]

__all__ = ["Same", "json_search", "lean_run", "run_of_json"]

_MOST_KEPT = 250_000


class Same:
    """Gives equal texts as one object: keys, users and file names come with every run."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """Return the text, the object that was seen first where it was."""
        found = self._known.get(text)
        if found is None:
            if len(self._known) < _MOST_KEPT:
                self._known[text] = text
            return text
        return found


@dataclass(frozen=True, slots=True)
class _LeanData:
    """What a run logged, without the entities that ``RunData`` keeps to make messages of again."""

    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]


def lean_run(
    info: RunInfo,
    metrics: dict[str, float],
    params: dict[str, str],
    tags: dict[str, str],
    outputs: Sequence[tuple[str, int]],
) -> Run:
    """Return a run as a search gives it; of its inputs nothing is known.

    Parameters
    ----------
    outputs
        Ids of the models that it lists, with the step.
    """
    listed = [LoggedModelOutput(model_id, step) for model_id, step in outputs]
    return Run(info, _LeanData(metrics, params, tags), None, RunOutputs(listed))


def run_of_json(answer: Mapping[str, Any], same: Same) -> Run:
    """Return a run of the REST API's JSON as ``Run.from_proto`` would, what is missing included.

    Raises
    ------
    AttributeError, KeyError, TypeError, ValueError
        It is not what MLflow's server writes.
    """
    info = answer["info"]
    data = answer.get("data") or {}
    outputs = (answer.get("outputs") or {}).get("model_outputs") or ()
    status = info["status"]
    if status not in _STATUSES:
        raise ValueError(status)
    return lean_run(
        RunInfo(
            run_id=info["run_id"],
            run_name=info.get("run_name") or "",
            experiment_id=same(info["experiment_id"]),
            user_id=same(info.get("user_id") or ""),
            status=same(status),
            start_time=int(info.get("start_time") or 0),
            end_time=int(info.get("end_time") or 0) or None,
            lifecycle_stage=same(info["lifecycle_stage"]),
            artifact_uri=info.get("artifact_uri") or "",
        ),
        # NaN and infinity are texts in JSON, which ``float`` reads as protobuf writes them.
        {
            same(metric["key"]): float(metric.get("value") or 0.0)
            for metric in data.get("metrics") or ()
        },
        _texts(data.get("params") or (), same),
        _texts(data.get("tags") or (), same),
        [(output["model_id"], int(output.get("step") or 0)) for output in outputs],
    )


_STATUSES = frozenset({"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"})


def _texts(entries: Sequence[Mapping[str, str]], same: Same) -> dict[str, str]:
    return {same(entry["key"]): same(entry.get("value") or "") for entry in entries}


def json_search(client: MlflowClient) -> Search | None:
    """Return what searches runs with the first arguments of ``client.search_runs``.

    None where nothing goes over HTTP, or in another way than is known here.
    """
    from mlflow.protos.service_pb2 import SearchRuns
    from mlflow.utils.proto_json_utils import message_to_json

    store = getattr(getattr(client, "_tracking_client", None), "store", None)  # no public way
    call = getattr(store, "_call_endpoint", None)
    if not getattr(store, READS_JSON, False) or call is None:
        return None
    if "response_proto" not in inspect.signature(call).parameters:
        return None  # an older MLflow
    same = Same()

    def search(
        experiment_ids: Sequence[str],
        filter_string: str,
        view: int,
        max_results: int,
        page_token: str | None,
    ) -> PagedList[Run]:
        from mlflow.entities import ViewType

        body = SearchRuns(
            experiment_ids=list(experiment_ids),
            filter=filter_string,
            run_view_type=ViewType.to_proto(view),
            max_results=max_results,
            page_token=page_token,
        )
        answer = JsonAnswer()
        call(SearchRuns, message_to_json(body), response_proto=answer)
        told = answer.content.get("runs") or []
        told.reverse()
        runs = []
        while told:  # so that each half of the memory goes as the other comes
            runs.append(run_of_json(told.pop(), same))
        return PagedList(runs, answer.content.get("next_page_token") or None)

    return search
