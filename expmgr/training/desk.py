"""What every module of the training side works with: one value, gathered anew for each call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from expmgr.errors import InvalidInputError
from expmgr.training.lease import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mlflow import MlflowClient

    from expmgr.catalog.quality import Goal
    from expmgr.cleanup.plan import DeletionPlan
    from expmgr.results import DeletionResult
    from expmgr.storage.addresses import Addresses
    from expmgr.training.model_files import ModelFiles

__all__ = ["DeletesModels", "Desk"]


class DeletesModels(Protocol):
    """What training needs of a manager that can delete."""

    def plan_deletion(
        self,
        ids: str | Iterable[str],
        part: str = "model",
        *,
        model_ids: Sequence[str] | None = None,
    ) -> DeletionPlan:
        """See `ExperimentsManagerWithAzureBlobBackend.plan_deletion`."""

    def delete_model(
        self,
        run_id: str,
        experiment_id: str | None = None,
        model_ids: Sequence[str] | None = None,
        force: bool = False,  # noqa: FBT001, FBT002, RUF100 - the manager's signature
        *,
        plan: DeletionPlan | None = None,
    ) -> DeletionResult:
        """See `ExperimentsManagerWithAzureBlobBackend.delete_model`."""


@dataclass(frozen=True)
class Desk:
    """Who is asked, where files go, and what is wanted.

    Attributes
    ----------
    client
        MLflow, just seen to answer.
    files
        Where model files are written and read.
    goal
        What "best" means.
    plugin_name
        Whose iterations they are.
    n_top_runs
        How many of the best runs are looked back at, unless told otherwise.
    requirements
        pip requirements that saved models declare; None takes the flavour's own defaults.
    artifacts_destination
        Where a server that proxies artifacts really keeps them.
    deleter
        Plans and deletes, with protection and journal; None without Azure credentials.
    connect
        Returns a client that gives up soon, for requests nobody waits for; None: `client` does.
    pace
        When the leases of runs are renewed.
    """

    client: MlflowClient
    files: ModelFiles
    goal: Goal
    plugin_name: str
    n_top_runs: int = 10
    requirements: Sequence[str] | None = None
    artifacts_destination: str | None = None
    deleter: DeletesModels | None = None
    connect: Callable[[], MlflowClient] | None = None
    pace: Pace = field(default_factory=Pace)

    @property
    def addresses(self) -> Addresses | None:
        """Those of the manager's store, None where it has none."""
        return None if self.files.blob_store is None else self.files.blob_store.addresses

    def deletes(self) -> DeletesModels:
        """Return the deleter; InvalidInputError where there is none."""
        if self.deleter is None:
            message = (
                "this manager has no Azure credentials to delete models with; use "
                "ExperimentsManagerWithAzureBlobBackend."
            )
            raise InvalidInputError(message)
        return self.deleter
