"""The runs and models whose tags hold something of the journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from expmgr.catalog.model import is_model_id
from expmgr.errors import NotFoundError
from expmgr.tracking.queries import (
    iter_runs,
    logged_model,
    quoted,
    read_logged_models,
    run_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

__all__ = ["JournalOwner", "journal_owners", "owner_by_id"]


@dataclass(frozen=True)
class JournalOwner:
    """A run or model with its tags.

    Attributes
    ----------
    run_id
        The run itself, or the one that made the model; "" for a model without one.
    name
        The run's, or the model's.
    """

    id: str
    run_id: str
    name: str
    experiment_id: str
    tags: Mapping[str, str] = field(repr=False)


def journal_owners(
    client: MlflowClient, experiment_ids: Sequence[str], tags: Sequence[str]
) -> list[JournalOwner]:
    """Return the runs, those in the trash included, and the models that bear one of some tags.

    MLflow's filters know no "or": a search a tag. LoggedModels in the trash are in no search.

    Raises
    ------
    TrackingError
        The server could not be asked.
    """
    found: dict[str, JournalOwner] = {}
    for tag in tags:
        condition = f"tags.{quoted(tag)} LIKE '%'"
        for run in list(iter_runs(client, experiment_ids, condition, deleted=True)):
            found.setdefault(run.info.run_id, _of_run(run))
        for model in read_logged_models(client, experiment_ids, condition):
            found.setdefault(model.model_id, _of_model(model))
    return list(found.values())


def owner_by_id(client: MlflowClient, owner_id: str) -> JournalOwner:
    """Return one owner as it is now.

    Raises
    ------
    NotFoundError
        There is no such run or model.
    TrackingError
        The server could not be asked.
    """
    if is_model_id(owner_id):
        model = logged_model(client, owner_id)
        owner = None if model is None else _of_model(model)
    else:
        run = run_or_none(client, owner_id)
        owner = None if run is None else _of_run(run)
    if owner is None:
        message = f"the tracking server has no run or model {owner_id!r}; check the id."
        raise NotFoundError(message, run_id=owner_id)
    return owner


def _of_run(run: Run) -> JournalOwner:
    info = run.info
    return JournalOwner(
        info.run_id, info.run_id, info.run_name or "", info.experiment_id, run.data.tags
    )


def _of_model(model: LoggedModel) -> JournalOwner:
    return JournalOwner(
        model.model_id,
        model.source_run_id or "",
        model.name or "",
        str(model.experiment_id),
        dict(model.tags),
    )
