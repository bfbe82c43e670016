"""`ExperimentsManagerWithAzureBlobBackend`: the manager that can delete."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from expmgr.cleanup.report import DeletionReport
from expmgr.credentials import AzureBlobCredentials
from expmgr.errors import InvalidInputError
from expmgr.manager import ExperimentsManager
from expmgr.tracking.runs_view import RunsView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd

    from expmgr.cleanup.deletion import Deleter
    from expmgr.cleanup.plan import DeletionPlan, RunPlan
    from expmgr.cleanup.planner import Planner
    from expmgr.metrics import MetricsAccumulator
    from expmgr.results import DeletionProgress, DeletionResult
    from expmgr.retry import RetryConfig
    from expmgr.storage.blob_store import BlobStore
    from expmgr.storage.restoration import StorageRestoration

__all__ = ["ExperimentsManagerWithAzureBlobBackend"]

logger = logging.getLogger(__name__)


class ExperimentsManagerWithAzureBlobBackend(ExperimentsManager):
    """A manager whose models lie in one container of Azure Blob Storage.

    Parameters are those of `ExperimentsManager`, and

    Parameters
    ----------
    azure_blob_credentials
        The account and container in which models lie; nothing outside is ever deleted.

    Examples
    --------
    >>> manager = ExperimentsManagerWithAzureBlobBackend(
    ...     tracking_uri="http://mlflow.server", azure_blob_credentials=credentials,
    ...     main_metric="accuracy", plugin_name="churn",
    ... )  # doctest: +SKIP
    >>> manager.delete_model("0123456789abcdef0123456789abcdef")  # doctest: +SKIP
    """

    credentials: AzureBlobCredentials

    def __init__(
        self,
        tracking_uri: str,
        azure_blob_credentials: AzureBlobCredentials,
        main_metric: str,
        plugin_name: str,
        accumulators: Sequence[MetricsAccumulator] = (),
        is_loss: bool = False,
        n_top_runs: int = 10,
        requirements: Sequence[str] | None = None,
        retry_config: RetryConfig | None = None,
        registry_uri: str | None = None,
        artifacts_destination: str | None = None,
    ) -> None:
        if not isinstance(azure_blob_credentials, AzureBlobCredentials):
            message = (
                "azure_blob_credentials must be AzureBlobCredentials, not "
                f"{type(azure_blob_credentials).__name__}."
            )
            raise InvalidInputError(message)
        self.credentials = azure_blob_credentials
        self._blob_store: BlobStore | None = None
        self._store_lock = threading.Lock()
        super().__init__(
            tracking_uri,
            main_metric,
            plugin_name,
            accumulators,
            is_loss,
            n_top_runs,
            requirements,
            retry_config,
            registry_uri,
            artifacts_destination,
        )

    @property
    def blob_store(self) -> BlobStore:
        """Azure Blob Storage as the credentials reach it; one store a manager."""
        from expmgr.storage.blob_store import BlobStore

        with self._store_lock:
            if self._blob_store is None:
                self._blob_store = BlobStore(
                    self.credentials, self.retry_config, is_retryable=self.is_retryable_error
                )
            return self._blob_store

    def _make_view(self) -> RunsView:
        return RunsView(self.experiment_prefix, self.goal_of, self._blob_path)

    def _blob_path(self, uri: str) -> str:
        from expmgr.storage.location import Store, parse_artifact_uri

        return parse_artifact_uri(
            uri,
            Store.of(self.credentials),
            artifacts_destination=self.artifacts_destination,
        )

    def _planner(self) -> Planner:
        from expmgr.cleanup.planner import Planner

        return Planner(self.client, self.blob_store, self.artifacts_destination, self.goal_of)

    def _deleter(self) -> Deleter:
        from expmgr.cleanup.deletion import Deleter

        return Deleter(self.client, self.blob_store, self._delete_model)

    def _delete_model(self, run_id: str, experiment_id: str | None = None) -> bool:
        """Delete a run's model files from Azure, with retries and without asking protection.

        The plain primitive under `delete_model`, which resolves, protects and records before it
        calls this one. Called by itself it resolves the run's locations first; where only files
        tell that a directory is a model, the run records that a deletion was begun.

        Parameters
        ----------
        run_id
            The run.
        experiment_id
            Accepted and reserved.

        Returns
        -------
        bool
            True when the files are gone; False, with an error logged, when there was nothing.

        Raises
        ------
        DeletionError
            The error is permanent or the attempts are used up; the cause is Azure's error.
        LocationError
            The model is in another store, or where nothing may be deleted.
        TrackingError
            MLflow could not be asked where the model lies.
        """
        from expmgr.cleanup.primitive import delete_alone, delete_current

        del experiment_id
        (run_id,) = _as_run_ids(run_id)
        deleted = delete_current(self.blob_store, run_id)
        return delete_alone(self._planner(), run_id) if deleted is None else deleted

    def plan_deletion(
        self,
        run_ids: str | Iterable[str],
        *,
        model_ids: Sequence[str] | None = None,
        cancel: threading.Event | None = None,
    ) -> DeletionPlan:
        """Return what deleting these runs' models would remove, and what is protected and why.

        A dry run: nothing is changed.

        Parameters
        ----------
        run_ids
            A run id or several.
        model_ids
            Only these LoggedModels of the run.
        cancel
            Set it to give up.

        Raises
        ------
        InvalidInputError
            No or malformed run ids, or a model that the run did not make.
        TrackingError
            MLflow could not be asked.
        """
        return self._planner().plan(_as_run_ids(run_ids), model_ids=model_ids, cancel=cancel)

    def delete_model(
        self,
        run_id: str,
        experiment_id: str | None = None,
        model_ids: Sequence[str] | None = None,
        force: bool = False,
        *,
        plan: DeletionPlan | RunPlan | None = None,
        on_progress: Callable[[DeletionProgress], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> DeletionResult:
        """Delete one run's model; its params, metrics and other artifacts stay.

        Parameters
        ----------
        run_id
            The run.
        experiment_id
            Accepted and reserved.
        model_ids
            Only these LoggedModels of the run; None for all.
        force
            Pass the protection, with a ``plan`` only what that plan shows of it. The journal
            records what was overridden.
        plan
            An earlier plan: only what it shows goes, and protection is asked again.
        on_progress
            Called from worker threads with a `DeletionProgress`.
        cancel
            Set it to stop after the batches in flight.

        Returns
        -------
        DeletionResult
            ``deleted``, ``not_found``, ``protected`` or ``failed``; true for ``deleted`` only.

        Raises
        ------
        InvalidInputError
            A malformed run id, a model that the run did not make, or a plan of another run.
        """
        from expmgr.cleanup.deletion import failure
        from expmgr.cleanup.plan import DeletionPlan
        from expmgr.errors import ExpmgrError

        del experiment_id
        (run_id,) = _as_run_ids(run_id)
        try:
            if plan is None:
                run_plan = self._planner().plan([run_id], model_ids=model_ids, cancel=cancel)[
                    run_id
                ]
            else:
                plans = plan if isinstance(plan, DeletionPlan) else DeletionPlan((plan,))
                given = plans.of(run_id).only(model_ids)
                (run_plan,) = self._planner().check_again([given])
                force = force and given.shows(run_plan.reasons)
            result = self._deleter().delete(
                run_plan, force=force, on_progress=on_progress, cancel=cancel
            )
        except InvalidInputError:
            raise
        except ExpmgrError as error:
            result = failure(run_id, error)
        self._view.forget_size(run_id)
        return result

    def delete_models(
        self,
        run_ids_or_plan: str | Iterable[str] | DeletionPlan,
        force: bool = False,
        progress: bool = True,
        *,
        on_progress: Callable[[DeletionProgress], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> DeletionReport:
        """Delete the models of several runs, a few at a time.

        Parameters
        ----------
        run_ids_or_plan
            Run ids, or a plan of `plan_deletion`, of which then only what it shows goes.
        force
            Pass the protection, with a plan only what that plan shows of it.
        progress
            Show a progress bar (in a notebook a widget, in a terminal text).
        on_progress
            Called with the totals over all runs.
        cancel
            Set it to stop after the batches in flight; runs not begun are left out of the report.
        """
        from expmgr.cleanup.bulk import delete_all
        from expmgr.cleanup.plan import DeletionPlan

        shown: DeletionPlan | None = None
        if isinstance(run_ids_or_plan, DeletionPlan):
            plan = shown = run_ids_or_plan
        else:
            plan = self.plan_deletion(run_ids_or_plan, cancel=cancel)
        deleter = self._deleter()

        def delete_run(
            run: RunPlan, report: Callable[[DeletionProgress], None], event: threading.Event
        ) -> DeletionResult:
            passes = force and (shown is None or shown.of(run.run_id).shows(run.reasons))
            result = deleter.delete(run, force=passes, on_progress=report, cancel=event)
            self._view.forget_size(run.run_id)
            return result

        return delete_all(
            plan,
            self._planner().check_again,
            delete_run,
            progress=progress,
            on_progress=on_progress,
            cancel=cancel,
        )

    def resume_deletions(self, experiments: str | Iterable[str] | None = None) -> DeletionReport:
        """Finish deletions whose process died, or which failed, after asking protection again.

        Only what the interrupted deletion had planned goes: its locations as the journal holds
        them, without files that came later. Deletions whose owner may still be at work are left,
        and those that somebody cancelled.

        Parameters
        ----------
        experiments
            As in `runs`.
        """
        from expmgr.cleanup.resume import resume_all

        planner = self._planner()
        return DeletionReport(
            tuple(resume_all(planner, self._deleter(), experiments, prefix=self.experiment_prefix))
        )

    def restore_model(self, run_id: str) -> StorageRestoration:
        """Bring a deleted model back, where the account's soft delete or versioning still keeps it.

        Built against the documented protocol; it has not met a real account with soft delete yet.

        Parameters
        ----------
        run_id
            A run whose journal records a deletion.

        Raises
        ------
        NotFoundError
            No such run, or no deletion is recorded.
        StorageError
            The account keeps nothing of it, or does not allow to bring it back.
        """
        from expmgr.cleanup.restore import restore_run

        (run_id,) = _as_run_ids(run_id)
        restored = restore_run(self._planner(), run_id)
        self._view.forget_size(run_id)
        return restored

    def storage_usage(
        self,
        experiments: str | Iterable[str] | None = None,
        *,
        on_progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> pd.DataFrame:
        """Measure what each run keeps in the container; one listing an experiment.

        Parameters
        ----------
        experiments
            As in `runs`.
        on_progress
            Called now and then with the files and bytes seen so far.
        cancel
            Set it to stop; what was measured by then is returned.

        Returns
        -------
        pandas.DataFrame
            One row a run, largest model first: ``run_id``, ``run_name``, ``experiment_id``,
            ``experiment_name``, ``model``, ``files`` and ``bytes`` of its model, ``other_files``
            and ``other_bytes`` of its other artifacts.
        """
        from expmgr.cleanup.usage import scan_experiments

        client = self.client
        scan = scan_experiments(
            self._planner().finder(),
            client,
            experiments,
            prefix=self.experiment_prefix,
            on_progress=on_progress,
            cancel=cancel,
        )
        return self._view.usage(self._view.load(client, experiments, "", scan=scan))

    def check(self) -> pd.DataFrame:
        """Say what is reachable and permitted, and what to do about what is not.

        Writes one small blob of its own, reads it and deletes it again.

        Returns
        -------
        pandas.DataFrame
            Columns ``check``, ``status`` (``ok``, ``no``, ``unknown``, ``note``), ``detail`` and
            ``advice``.
        """
        from expmgr.preflight import Preflight

        return Preflight(
            lambda: self.client, self.blob_store, self._blob_path, self.experiment_prefix
        ).run()


def _as_run_ids(run_ids: str | Iterable[str]) -> list[str]:
    ids = [run_ids] if isinstance(run_ids, str) else list(run_ids)
    for run_id in ids:
        if not isinstance(run_id, str) or not run_id.strip():
            message = f"a run id must be a non-empty string, not {run_id!r}."
            raise InvalidInputError(message)
    return [run_id.strip() for run_id in ids]
