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
    from collections.abc import Iterable, Mapping

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

    from expmgr.storage.protocol import Storage

__all__ = ["Unowned", "read_unowned"]

_RUN = re.compile(r"^run_id:\s*[\"']?([A-Za-z0-9_-]+)", re.MULTILINE)
_MODEL = re.compile(r"^model_id:\s*[\"']?(m-[A-Za-z0-9_-]+)", re.MULTILINE)


@dataclass(frozen=True)
class Unowned:
    """What lies below ``<root>/models/`` and is in no list.

    Attributes
    ----------
    trashed
        LoggedModels that MLflow tells by their id alone, by maker ("" without one).
    forgotten
        Ids that MLflow does not know, by the run that their ``MLmodel`` file names.
    doubtful
        Ids of which nothing tells whose they are: any run of this root may have made them.
    """

    trashed: Mapping[str, tuple[LoggedModel, ...]] = field(default_factory=dict)
    forgotten: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    doubtful: tuple[str, ...] = ()

    @property
    def doubt(self) -> str:
        """The doubt about the runs of this root in words, "" where there is none."""
        if not self.doubtful:
            return ""
        shown = ", ".join(self.doubtful[:3]) + (" and others" if len(self.doubtful) > 3 else "")  # noqa: PLR2004
        return (
            f"nothing tells which run made {shown}, so these artifacts may be of a run whose model "
            'it is; name them with part="raw" to delete them'
        )


def read_unowned(
    client: MlflowClient, blob_store: Storage, root: str, experiment_ids: Iterable[str]
) -> Unowned:
    """Ask for each model folder of a root that no LoggedModel of its experiments owns.

    Parameters
    ----------
    root
        Blob path of an experiment's root, without slashes around it.
    experiment_ids
        The experiments whose root it is.
    """
    prefix = f"{root}/models/" if root else "models/"
    folders = {name for name in blob_store.folders(prefix) if is_model_id(name)}
    if not folders:
        return Unowned()
    listed = {model.model_id for model in read_logged_models(client, list(experiment_ids))}
    ids = sorted(folders - listed)
    trashed: dict[str, list[LoggedModel]] = defaultdict(list)
    forgotten: dict[str, list[str]] = defaultdict(list)
    doubtful = []
    told = in_parallel(lambda model_id: logged_model(client, model_id), ids)
    for model_id, model in zip(ids, told, strict=True):
        if model is not None:
            trashed[model.source_run_id or ""].append(model)
        elif run_id := _run_named_by(blob_store, f"{prefix}{model_id}/artifacts/MLmodel", model_id):
            forgotten[run_id].append(model_id)
        else:
            doubtful.append(model_id)
    return Unowned(
        {run_id: tuple(models) for run_id, models in trashed.items()},
        {run_id: tuple(model_ids) for run_id, model_ids in forgotten.items()},
        tuple(doubtful),
    )


def _run_named_by(blob_store: Storage, name: str, model_id: str) -> str:
    try:
        text = blob_store.read_text(name)
    except StorageError:
        return ""
    run, model = _RUN.search(text), _MODEL.search(text)
    return run[1] if run and model and model[1] == model_id else ""
