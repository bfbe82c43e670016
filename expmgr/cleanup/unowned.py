"""Folders of LoggedModels that no search lists: of models in the trash, or of nobody.

MLflow never lists a deleted LoggedModel, so a run whose only model lies in the trash looks as if
it never had one, and its plots would pass for raw checkpoints. The folders below
``<root>/models/`` tell: each that no listed model owns is asked for by its id, and where MLflow
does not know it, its ``MLmodel`` file names the run.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from expmgr.catalog.model import is_model_id
from expmgr.errors import StorageError
from expmgr.tracking.queries import in_parallel, logged_model, read_logged_models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel

    from expmgr.storage.protocol import Storage

__all__ = ["Unowned", "read_unowned", "run_named_by"]

_SHOWN = 3

_RUN = re.compile(r"^run_id:\s*[\"']?([A-Za-z0-9_-]+)", re.MULTILINE)
_MODEL = re.compile(r"^model_id:\s*[\"']?(m-[A-Za-z0-9_-]+)", re.MULTILINE)


@dataclass(frozen=True)
class Unowned:
    """What lies below the ``models`` folders of experiments and is in no list.

    Attributes
    ----------
    trashed
        LoggedModels that MLflow tells by their id alone, by maker ("" without one).
    forgotten
        Ids that MLflow does not know, by the run that their ``MLmodel`` file names.
    doubtful
        Ids of which nothing tells whose they are, by root: any run of that root may have made them.
    """

    trashed: Mapping[str, tuple[LoggedModel, ...]] = field(default_factory=dict)
    forgotten: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    doubtful: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def below(self, root: str) -> Unowned:
        """Return this with the doubts about one root alone."""
        doubtful = {key: ids for key, ids in self.doubtful.items() if key == root}
        return Unowned(self.trashed, self.forgotten, doubtful)

    @property
    def doubt(self) -> str:
        """The doubt in words, "" where there is none."""
        ids = [model_id for ids in self.doubtful.values() for model_id in ids]
        if not ids:
            return ""
        shown = ", ".join(ids[:_SHOWN]) + (" and others" if len(ids) > _SHOWN else "")
        return (
            f"nothing tells which run made {shown}, so these artifacts may be of a run whose model "
            'it is; name them with part="raw" to delete them'
        )


def read_unowned(
    client: MlflowClient,
    blob_store: Storage,
    roots: Mapping[str, Sequence[Experiment]],
    known: Mapping[str, LoggedModel] | None = None,
) -> Unowned:
    """Ask for each model folder that no LoggedModel of its experiments owns, below every root.

    A run may have made its model for another experiment, whose root it then lies below.

    Parameters
    ----------
    roots
        Experiments by the blob path of their root, see `Finder.homes`.
    known
        LoggedModels that were asked for before, by id.
    """
    known = known or {}

    def unlisted(root: str) -> list[tuple[str, str]]:
        prefix = f"{root}/models/" if root else "models/"
        folders = {name for name in blob_store.folders(prefix) if is_model_id(name)}
        if not folders:
            return []
        homes = [experiment.experiment_id for experiment in roots[root]]
        listed = {model.model_id for model in read_logged_models(client, homes)}
        return [(root, model_id) for model_id in sorted(folders - listed)]

    places = [place for found in in_parallel(unlisted, list(roots)) for place in found]
    trashed: dict[str, list[LoggedModel]] = defaultdict(list)
    forgotten: dict[str, list[str]] = defaultdict(list)
    doubtful: dict[str, list[str]] = defaultdict(list)
    told = in_parallel(lambda place: known.get(place[1]) or logged_model(client, place[1]), places)
    for (root, model_id), model in zip(places, told, strict=True):
        name = f"{root}/models/{model_id}/artifacts/MLmodel".lstrip("/")
        if model is not None:
            trashed[model.source_run_id or ""].append(model)
        elif run_id := run_named_by(blob_store, name, model_id):
            forgotten[run_id].append(model_id)
        else:
            doubtful[root].append(model_id)
    return Unowned(
        {run_id: tuple(models) for run_id, models in trashed.items()},
        {run_id: tuple(model_ids) for run_id, model_ids in forgotten.items()},
        {root: tuple(model_ids) for root, model_ids in doubtful.items()},
    )


def run_named_by(blob_store: Storage, name: str, model_id: str) -> str:
    """Return the run that an ``MLmodel`` file of a LoggedModel names, "" where none does."""
    try:
        text = blob_store.read_text(name)
    except StorageError:
        return ""
    run, model = _RUN.search(text), _MODEL.search(text)
    return run[1] if run and model and model[1] == model_id else ""
