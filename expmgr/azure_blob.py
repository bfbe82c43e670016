"""`ExperimentsManagerWithAzureBlobBackend`: the manager that can delete."""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from expmgr.cleanup.handover import HandOvers
from expmgr.cleanup.report import DeletionReport
from expmgr.credentials import AzureBlobCredentials
from expmgr.errors import InvalidInputError
from expmgr.interrupt import cancel_by_ctrl_c
from expmgr.manager import ExperimentsManager
from expmgr.pictures import drawing
from expmgr.prices import merged
from expmgr.secrecy import forgets_arguments
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    import pandas as pd
    from matplotlib.axes import Axes
    from mlflow.entities import Experiment
    from typing_extensions import Self

    from expmgr.catalog.policy import Policy
    from expmgr.cleanup.deletion import Deleter
    from expmgr.cleanup.inventory import CountBy, Inventory
    from expmgr.cleanup.locate import Finder
    from expmgr.cleanup.plan import DeletionPlan, RunPlan
    from expmgr.cleanup.planner import Planner
    from expmgr.cleanup.selection import Per
    from expmgr.metrics import MetricsAccumulator
    from expmgr.prices import StoragePrices
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
    storage_prices
        What the account costs; usage, plans and reports then say what is paid and saved.

    Examples
    --------
    >>> manager = ExperimentsManagerWithAzureBlobBackend(
    ...     tracking_uri="http://mlflow.server", azure_blob_credentials=credentials,
    ...     main_metric="accuracy", plugin_name="churn",
    ... )  # doctest: +SKIP
    >>> manager.delete_model("0123456789abcdef0123456789abcdef")  # doctest: +SKIP
    """

    credentials: AzureBlobCredentials
    deletes_parts: bool = False
    """Whether a subclass's own ``_delete_model`` leaves the deletion to ``super()``, once and with
    the same arguments, and deletes nothing itself. Without that word no part of a model and no
    folder that nobody owns is handed to it: a step that deletes what the run has would."""

    @forgets_arguments
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
        *,
        storage_prices: StoragePrices | None = None,
    ) -> None:
        if not isinstance(azure_blob_credentials, AzureBlobCredentials):
            message = (
                "azure_blob_credentials must be AzureBlobCredentials, not "
                f"{type(azure_blob_credentials).__name__}."
            )
            raise InvalidInputError(message)
        self.credentials = azure_blob_credentials
        self.storage_prices = storage_prices
        self._blob_store: BlobStore | None = None
        self._store_lock = threading.Lock()
        self._hand_overs = HandOvers()
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
        self._survey.storage = lambda: self.blob_store

    @classmethod
    @forgets_arguments
    def from_env(cls, *, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Return a manager made from what the environment says.

        Reads ``MLFLOW_TRACKING_URI``, ``EXPMGR_CONTAINER``, ``EXPMGR_PLUGIN`` and
        ``EXPMGR_MAIN_METRIC``; where they are set ``EXPMGR_IS_LOSS`` (true or false),
        ``MLFLOW_REGISTRY_URI`` and ``EXPMGR_ARTIFACTS_DESTINATION``; and what MLflow reads to sign
        in to Azure (`AzureBlobCredentials.from_env`). Nothing is sent.

        Parameters
        ----------
        environ
            Variables to read; the process's own by default.
        **overrides
            Arguments of the constructor, which are not looked for in the environment then.

        Raises
        ------
        InvalidInputError
            Something is missing or cannot be read; all of it is named at once, and no secret.
        """
        from expmgr.settings import manager_arguments

        variables = os.environ if environ is None else environ
        return cls(**{**manager_arguments(variables, overrides), **overrides})

    @property
    def blob_store(self) -> BlobStore:
        """Azure Blob Storage as the credentials reach it; one store a manager."""
        from expmgr.storage.blob_store import BlobStore

        with self._store_lock:
            if self._blob_store is None:
                self._blob_store = BlobStore(
                    self.credentials,
                    self.retry_config,
                    artifacts_destination=self.artifacts_destination,
                    is_retryable=self.is_retryable_error,
                )
            return self._blob_store

    @cached_property
    def _inventory(self) -> Inventory:
        from expmgr.cleanup.inventory import Inventory

        return Inventory(self.blob_store)

    def _finder(self, experiments: Iterable[Experiment]) -> Finder:
        return self._planner().finder(experiments)

    def _planner(self) -> Planner:
        from expmgr.cleanup.planner import Planner

        return Planner(self.interactive_client, self.blob_store, self.goals_of)

    def _deleter(self) -> Deleter:
        from expmgr.cleanup.deletion import Deleter

        return Deleter(
            self.interactive_client,
            self.blob_store,
            self._delete_model,
            self._hand_overs,
            takes_parts=self.deletes_parts or not self._overrides_step,
            spans_models=not self._overrides_step,
        )

    @property
    def _overrides_step(self) -> bool:
        own = ExperimentsManagerWithAzureBlobBackend._delete_model
        return getattr(self._delete_model, "__func__", None) is not own

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
        from expmgr.cleanup.handover import DoubtfulCallError
        from expmgr.cleanup.primitive import delete_alone, delete_resolved

        del experiment_id
        (owner_id,) = _as_ids(run_id)
        try:
            with self._hand_overs.taken(owner_id, overridden=self._overrides_step) as current:
                if current is not None:
                    return delete_resolved(self.blob_store, current)
        except DoubtfulCallError:
            logger.error(  # noqa: TRY400 - what happened is said, and there is nothing to trace
                "nothing was deleted for %s: another deletion of it is under way, and nothing "
                "tells whose this call is; call again after it",
                plain(owner_id),
            )
            return False
        return delete_alone(self._planner(), owner_id)

    def plan_deletion(
        self,
        ids: str | Iterable[str],
        part: str | Iterable[str] = "model",
        *,
        model_ids: Sequence[str] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> DeletionPlan:
        """Return what deleting these runs' models would remove, and what is protected and why.

        A dry run: nothing is changed.

        Parameters
        ----------
        ids
            A run id, the id of a model (``m-...``, or ``<run id>/<path>`` for a directory that a
            run logged as one), or several of them. A run is all or nothing: where one of its
            models is protected, name the others by their own ids.
        part
            What of it would go:

            - ``model``: its models.
            - ``optimizer``: the states of optimizer, scheduler, gradient scaler and random numbers
              of Hugging Face's Trainer, accelerate, DeepSpeed and FSDP, in its models and among the
              run's artifacts (`expmgr.catalog.training_files`); the models load as before. What an
              ``MLmodel`` file names stays; so do DeepSpeed's shards where the only weights are in
              them (ZeRO-3), and Lightning's ``.ckpt``, which is weights and optimizer in one.
            - ``checkpoints``: raw checkpoints of a run but its best and its last
              (`expmgr.catalog.checkpoints`).
            - ``raw``: all artifacts of a run for which MLflow recorded no model, also where it is
              in doubt whether they are one.
            - ``other``: all of the run's artifacts but its models.
            - one or several patterns, relative to the run's artifacts, or to a model's own folder
              where a model is named: ``plots/*.png`` stays within a folder, ``plots/**`` does not.

        model_ids
            Only these LoggedModels of the run.
        on_progress
            Called from worker threads with how many were looked at, and how many there are.
        cancel
            Set it to give up; what was not looked at says so.

        Raises
        ------
        InvalidInputError
            Malformed ids, no such part, a pattern that matches nothing, or a model that the run
            did not make.
        NotFoundError
            There are no such runs or models; it names all of them.
        TrackingError
            MLflow could not be asked.
        """
        plan = self._planner().plan(
            _as_ids(ids), model_ids=model_ids, part=part, on_progress=on_progress, cancel=cancel
        )
        return replace(plan.known(), prices=self.storage_prices)

    def plan_cleanup(
        self,
        where: Policy | None = None,
        keep: Policy | None = None,
        *,
        per: Per = "experiment",
        part: str | Iterable[str] = "model",
        experiments: str | Iterable[str] | None = None,
        everything: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> DeletionPlan:
        """Return what a policy would remove, and of every other model why it stays.

        A dry run: nothing is changed. The experiments are measured first. Protected models stay
        whatever a policy says, also with ``force`` later on.

        Parameters
        ----------
        where
            Selects among the models of the experiments (`expmgr.policies`: ``older_than``,
            ``larger_than``, ``status``, ``mine``); None for all of them.
        keep
            Keeps, and always wins (``best``, ``last``); None for nothing but what is protected.
        per
            Of which groups ``keep`` is said: ``experiment``; ``study``, the outermost parent run
            with all below it; ``run``, of which it keeps checkpoints. A model without a run is a
            group of its own.
        part
            ``model``; ``optimizer``, the optimizer states of the selected ones; or ``raw``: only
            raw artifacts, which are left out otherwise. With ``checkpoints``, ``other`` or
            patterns a policy chooses among the runs that have artifacts beside their models: by
            when they began, the bytes of those artifacts, and the run's own main metric.
        experiments
            As in `runs`.
        everything
            Say True where a policy is meant to take every model of an experiment.
        on_progress, cancel
            As in `plan_deletion`.

        Returns
        -------
        DeletionPlan
            Its rows are models, each by its own id where it may go alone; ``kept`` says what stays.

        Raises
        ------
        InvalidInputError
            No policy, or one in the other's place; a TakesEverythingError where it takes every
            model of an experiment.
        NotFoundError
            No such experiment.
        TrackingError, StorageError
            MLflow or storage could not be asked.
        """
        from expmgr.catalog.parts import as_part
        from expmgr.cleanup.policy_plan import plan_policy
        from expmgr.cleanup.selection import check_policy, select

        part = as_part(part)
        check_policy(where, keep, per)
        plan = plan_policy(
            self._planner(),
            self._survey,
            experiments,
            lambda models, asking: select(
                models, asking, where, keep, per=per, part=part, everything=everything
            ),
            part=part,
            on_progress=on_progress,
            cancel=cancel,
        )
        return replace(plan, prices=self.storage_prices)

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
        """Delete one run's model, or one model; params, metrics and other artifacts stay.

        Parameters
        ----------
        run_id
            The run, or the id of a model (``m-...`` or ``<run id>/<path>``).
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
            A malformed run id, a model that the run did not make, or a plan of another run or made
            for another tracking server, account or container.
        """
        from expmgr.cleanup.deletion import failure
        from expmgr.cleanup.home import check_home
        from expmgr.cleanup.plan import DeletionPlan
        from expmgr.errors import ExpmgrError

        del experiment_id
        (run_id,) = _as_ids(run_id)
        name = ""
        try:
            if plan is None:
                (now,) = self._planner().plan([run_id], model_ids=model_ids, cancel=cancel)
            else:
                plans = plan if isinstance(plan, DeletionPlan) else DeletionPlan((plan,))
                check_home(plans.home, self._planner().home)
                given = plans.of(run_id).only(model_ids)
                name = given.run_name
                (now,) = self._planner().check_again([given])
                force = force and given.shows(now.reasons)
            result = self._deleter().delete(
                now, force=force, on_progress=on_progress, cancel=cancel
            )
        except InvalidInputError:
            raise
        except ExpmgrError as error:
            return failure(run_id, error, name=name)
        self._survey.forget([now.run_id, *now.model_ids])
        return result

    def delete_models(
        self,
        ids_or_plan: str | Iterable[str] | DeletionPlan,
        force: bool = False,
        progress: bool = True,
        *,
        after: str | timedelta | datetime | None = None,
        on_progress: Callable[[DeletionProgress], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> DeletionReport:
        """Delete the models of several runs, a few at a time, or mark them to go later.

        Ids of nothing are results, ``not_found``; `plan_deletion` refuses them.

        Parameters
        ----------
        ids_or_plan
            Run and model ids, or a plan of `plan_deletion`, of which then only what it shows goes.
        force
            Pass the protection, with a plan only what that plan shows of it.
        progress
            Show a progress bar (in a notebook a widget, in a terminal text).
        after
            Delete nothing yet, but mark what may go: `delete_due` takes it once that age
            (``"7d"``, ``"12h"``, a timedelta) has passed, or that time (with its zone) has come.
            A later mark replaces an earlier one, so marking again moves the time.
        on_progress
            Called with the totals over all runs.
        cancel
            Set it to stop after the batches in flight; runs not begun are left out of the report.
            Without one Ctrl-C, or a notebook's stop button, does the same where this is called on
            the main thread; a second one raises KeyboardInterrupt.

        Raises
        ------
        InvalidInputError
            Malformed ids, a plan that was made for another tracking server, account or container,
            or ``after`` that is no time to come, or stands together with ``force``; nothing was
            deleted.
        TrackingError
            MLflow could not be asked.
        """
        from expmgr.cleanup.grace import due_after
        from expmgr.cleanup.home import check_home
        from expmgr.cleanup.marking import mark_all
        from expmgr.cleanup.plan import DeletionPlan
        from expmgr.tracking.journal import now_ms

        if after is not None:
            if force:
                message = (
                    "force=True cannot wait: what protects a model when it is due is not known "
                    "yet. Leave out force or after."
                )
                raise InvalidInputError(message)
            due_after(after, now_ms())  # before anything is planned
        shown: DeletionPlan | None = None
        if isinstance(ids_or_plan, DeletionPlan):
            plan = shown = ids_or_plan
            check_home(plan.home, self._planner().home)
        else:
            plan = self._planner().plan(_as_ids(ids_or_plan), cancel=cancel)
        if after is not None:
            marked = mark_all(
                self.interactive_client,
                plan,
                self._planner().check_again,
                after,
                progress=progress,
                on_progress=on_progress,
                cancel=cancel,
            )
            self._survey.memory.touch(id_ for run in plan for id_ in (run.run_id, *run.model_ids))
            return marked
        report = self._carry_out(
            plan,
            self._planner().check_again,
            lambda run: force and (shown is None or shown.of(run.id).shows(run.reasons)),
            progress=progress,
            on_progress=on_progress,
            cancel=cancel,
        )
        again = partial(self.delete_models, force=force, progress=progress, on_progress=on_progress)
        return report.retrying(plan, again)

    def _carry_out(
        self,
        plan: DeletionPlan,
        check_again: Callable[[Sequence[RunPlan]], Sequence[RunPlan]],
        passes: Callable[[RunPlan], bool] = lambda _: False,
        *,
        progress: bool,
        on_progress: Callable[[DeletionProgress], None] | None,
        cancel: threading.Event | None,
    ) -> DeletionReport:
        """Delete what a plan holds and count what that saves.

        Parameters
        ----------
        passes
            Whether what protects a run is passed by force.
        """
        from expmgr.cleanup.bulk import delete_all
        from expmgr.cleanup.bulk_together import Together

        deleter = self._deleter()

        def ended(run: RunPlan, result: DeletionResult) -> DeletionResult:
            self._survey.forget([run.run_id, *run.model_ids])
            return result

        together = Together(
            deleter,
            lambda run, report, event: deleter.begin(
                run, force=passes(run), on_progress=report, cancel=event
            ),
            ended,
        )
        with cancel_by_ctrl_c(cancel) as event:
            report = delete_all(
                plan,
                check_again,
                together.carrier,
                progress=progress,
                on_progress=on_progress,
                cancel=event,
            )

        if self.storage_prices is None:
            return report
        gone = {result.run_id for result in report.results if result.outcome == "deleted"}
        uses = merged(run.tiers for run in plan.runs if run.id in gone)
        return replace(report, saved=self.storage_prices.bill(uses))

    def delete_due(
        self,
        experiments: str | Iterable[str] | None = None,
        progress: bool = True,
        *,
        on_progress: Callable[[DeletionProgress], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> DeletionReport:
        """Delete the marked models that are due, after asking protection again.

        Only files that the mark saw go; what came or changed since stays and is reported. A model
        that something protects by now is reported as ``protected``; its mark stays and is asked
        again the next time. A mark is due when this machine's clock and the storage's both say so.
        What a process leaves half done, which dies here, is finished by `resume_deletions`.

        Parameters
        ----------
        experiments
            As in `runs`.
        progress, on_progress, cancel
            As in `delete_models`.

        Raises
        ------
        NotFoundError, TrackingError
            No such experiment, or MLflow could not be asked.
        """
        from expmgr.cleanup.due import DueMarks

        marks = DueMarks(
            self._planner(),
            self._deleter(),
            exact=self._overrides_step,
            ended=lambda plan: self._survey.forget([plan.run_id, *plan.model_ids]),
        )
        with cancel_by_ctrl_c(cancel) as event:
            return marks.delete(
                experiments, self.is_own, progress=progress, on_progress=on_progress, cancel=event
            )

    def keep(self, id: str) -> bool:  # noqa: A002 - the id of a run or a model
        """Take back the marks of a run's models, or of one model; returns whether there were any.

        Anybody may. A mark of several models together is taken back as a whole. False where there
        is none, or where its deletion has begun.

        Parameters
        ----------
        id
            A run id, or a model's (``m-...``, ``<run id>/<path>``).

        Raises
        ------
        NotFoundError, TrackingError, JournalError
            There is no such run or model, or it takes no tags.
        """
        from expmgr.cleanup.marking import keep

        (id_,) = _as_ids(id)
        kept = keep(self.interactive_client, id_)
        self._survey.memory.touch([id_])
        return kept

    def marks(self, experiments: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Return what is to go later, the next first.

        Parameters
        ----------
        experiments
            As in `runs`.

        Returns
        -------
        pandas.DataFrame
            ``id``, ``name``, ``experiment``, ``goes`` (UTC), ``marked_by``, ``marked_at``,
            ``files`` and ``bytes`` that the mark saw.
        """
        from expmgr.cleanup.deletion_log import marks_table

        return marks_table(self.interactive_client, experiments, self.is_own)

    def deletion_log(self, experiments: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Return all deletions, marks and restorations that the journal holds, the newest first.

        Parameters
        ----------
        experiments
            As in `runs`. Records that are kept as blobs, of what takes no tags, name no
            experiment: they come with None and ``"all"``.

        Returns
        -------
        pandas.DataFrame
            ``when`` and ``ended`` (UTC), ``who``, ``id``, ``run_id``, ``name``, ``experiment``,
            ``part``, ``state`` (``deleting``, ``interrupted``, ``deleted``, ``failed``,
            ``cancelled``, ``restored``; of marks ``marked``, ``kept``, ``replaced``, ``done``;
            ``unknown``), ``files``, ``bytes``, ``forced`` (the protections passed), ``due`` (of
            marks) and ``note``.
        """
        from expmgr.cleanup.deletion_log import log_table

        return log_table(self.interactive_client, self.blob_store, experiments, self.is_own)

    def find_orphans(
        self,
        experiments: str | Iterable[str] | None = None,
        *,
        inventory: bool | str = False,
        on_progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> pd.DataFrame:
        """Find what no live run or model owns: trash, and what is unknown. Changes nothing.

        Trash is what the tracking server itself says was deleted: the artifacts of a run where the
        run was, a LoggedModel where itself or its experiment was. Everything else that nobody
        seems to own is unknown: another server may own it, or this user may not see its owner.
        Traces are never orphans.

        Parameters
        ----------
        experiments
            None for this plugin's experiments, deleted ones too, and all that lies below no
            experiment's root; or those that `runs` takes, and deleted ones by name or id.
        inventory
            As in `storage_usage`. What came or went since the report was taken is told as it was
            then; `delete_orphans` lists each folder again and takes none that changed.
        on_progress
            Called now and then with the files and bytes seen so far.
        cancel
            Set it to give up.

        Returns
        -------
        pandas.DataFrame
            Largest first: ``kind`` (``trash``, ``unknown``), ``prefix``, ``id`` and ``name`` of
            the run or model, ``experiment_id``, ``experiment_name``, ``files``, ``bytes``,
            ``newest`` (UTC: when a file was last written), ``evidence``, ``protected_by``,
            ``deletable`` (whether `delete_orphans` takes it: trash by its row, what is unknown
            when it is named) and ``seen``, which tells later whether the files are still these.
            A model in the trash whose run lives is counted with that run in `storage_usage`, as
            deleting the run takes it too.
            With ``storage_prices`` also ``monthly`` and ``early``, as in `storage_usage`.

        Raises
        ------
        NotFoundError, TrackingError, StorageError
            No such experiment; MLflow or storage could not be asked, or it was cancelled.
        """
        from expmgr.cleanup.orphans import find_all, orphans_table

        prices = self.storage_prices
        orphans, source = find_all(
            self._planner(),
            experiments,
            self.is_own,
            prices=prices,
            inventory=self._by_inventory(inventory),
            on_progress=on_progress,
            cancel=cancel,
        )
        return orphans_table(orphans, priced=prices is not None, source=source)

    def delete_orphans(
        self,
        frame: pd.DataFrame | None = None,
        *,
        prefixes: str | Iterable[str] | None = None,
        progress: bool = True,
        on_progress: Callable[[DeletionProgress], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> DeletionReport:
        """Delete trash that was found, or folders that a person names one by one.

        Each is looked at again right before: whose it is, what protects it, and whether the files
        are still those that were found. The journal keeps the deletion as a blob of the container
        where nothing takes its tags.

        Parameters
        ----------
        frame
            Rows of `find_orphans`. Its trash goes; unknown rows stay and are reported as
            ``protected``.
        prefixes
            Folders ``.../<id>/artifacts/`` of runs or models that nobody owns; these alone may be
            unknown. Other folders are no business of expmgr's.
        progress, on_progress, cancel
            As in `delete_models`.

        Returns
        -------
        DeletionReport
            A result a prefix, or a model in the trash by its id; `DeletionReport.retry` deletes
            what failed.

        Raises
        ------
        InvalidInputError
            Neither or both are given, the table is none of `find_orphans`, or prefixes that are
            no such folders or have a live owner (all of them are named); nothing was deleted.
        TrackingError
            MLflow could not be asked.
        """
        from expmgr.cleanup.orphan_plans import OrphanPlanner, asked_of_table, asked_prefixes, left
        from expmgr.tracking.sight import hidden_by

        if (frame is None) == (prefixes is None):
            message = "give delete_orphans() a table of find_orphans(), or prefixes=[...]."
            raise InvalidInputError(message)
        unknown: list[str] = []
        if frame is not None:
            asked, unknown = asked_of_table(frame)
        else:
            asked = asked_prefixes(() if prefixes is None else prefixes)
        planner = OrphanPlanner(self._planner(), hidden_by(self.interactive_client))

        def carry_out(plan: DeletionPlan, cancel: threading.Event | None = None) -> DeletionReport:
            return self._carry_out(
                plan,
                planner.check_again,
                progress=progress,
                on_progress=on_progress,
                cancel=cancel,
            ).retrying(plan, carry_out)

        report = carry_out(planner.plan(asked), cancel)
        return replace(report, results=(*report.results, *map(left, unknown)))

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
        results = tuple(resume_all(planner, self._deleter(), experiments, self.is_own))
        self._survey.forget(result.run_id for result in results)
        return DeletionReport(results)

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

        (run_id,) = _as_ids(run_id)
        planner = self._planner()
        restored, locations = restore_run(planner, run_id)
        self._survey.forget([run_id, *(location.owner_id for location in locations)])
        return restored

    def storage_usage(
        self,
        experiments: str | Iterable[str] | None = None,
        *,
        inventory: bool | str = False,
        on_progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> pd.DataFrame:
        """Measure what everything costs, to the byte.

        Parameters
        ----------
        experiments
            None for this plugin's experiments and all else that the container holds, by what it
            is; or those that `runs` takes, whose roots alone are listed then.
        inventory
            True to read the newest finished Blob Inventory report in the models' container in
            place of a listing; or where reports lie, as Azure's rules write a prefix: a container
            of the same account, and after a slash a folder of its dates (``"inventory"``,
            ``"inventory/2026/11/28"``). Sizes are those of when the report was taken. Where no
            report can be used the container is listed; a warning says why.
        on_progress
            Called now and then with the files and bytes seen so far.
        cancel
            Set it to stop; what was measured by then is returned.

        Returns
        -------
        pandas.DataFrame
            Largest model first: ``kind``, ``run_id`` (a model's id where that has no run),
            ``run_name``, ``experiment_id``, ``experiment_name``, ``model`` (the state), ``files``
            and ``bytes`` of the model, ``other_files`` and ``other_bytes`` of what else there is.
            Kinds are ``run``; ``model``, one without a run; ``experiment``, one that was not
            chosen; ``traces``; ``trash``, of runs, models and experiments that are deleted;
            ``journal``; and ``unknown``. With ``experiments=None`` all of ``bytes`` and
            ``other_bytes`` is what the container holds. With ``storage_prices`` also ``monthly``
            (cost a month) and ``early`` (fee for deleting it now), and both of what else there is.
            A report also tells what Azure keeps beside the blobs, and bills: rows of kinds
            ``versions`` (earlier ones), ``snapshots`` and ``soft-deleted``, as far as its rule
            includes them. ``attrs["source"]`` then says which report it was and how old, or why
            the container was listed; it stands below the table.

        Raises
        ------
        NotFoundError, TrackingError, StorageError
            No such experiment; MLflow or storage could not be asked.
        InvalidInputError
            ``inventory`` names no place for reports.
        """
        from expmgr.cleanup.usage import scan_storage, usage_table
        from expmgr.collector import loading
        from expmgr.tracking.queries import iter_experiments, select_experiments

        client, prices = self.interactive_client, self.storage_prices
        every = list(iter_experiments(client, deleted=True))
        finder = self._finder(every)
        chosen = select_experiments(every, experiments, self.is_own)
        scan, source = scan_storage(
            finder,
            every,
            None if experiments is None else chosen,
            prices=prices,
            inventory=self._by_inventory(inventory),
            on_progress=on_progress,
            cancel=cancel,
        )
        self._survey.remember(scan)
        with loading():
            surveyed = self._survey.read(client, finder, every, experiments)
        return usage_table(client, finder, every, surveyed, scan, prices=prices, source=source)

    def _by_inventory(self, inventory: bool | str) -> CountBy | None:
        """Return what reads a report; None where nobody asks for one."""
        if inventory is False:
            return None
        return partial(self._inventory.count, inventory)

    def plot_storage(
        self, experiments: str | Iterable[str] | None = None, ax: Axes | None = None
    ) -> Axes:
        """Draw what each experiment stores: models, other artifacts, traces, trash and the rest.

        Measures first. The bars add up to what `storage_usage` says: to the container, where
        ``experiments`` is None.

        Parameters
        ----------
        experiments
            As in `storage_usage`.
        ax
            Where to draw; None for a figure of its own, which a notebook shows.

        Returns
        -------
        matplotlib.axes.Axes
            ``ax.figure.savefig("storage.png")`` writes it.

        Raises
        ------
        ExpmgrError
            matplotlib is not installed, or as `storage_usage`.
        """
        with drawing():
            from expmgr.pictures.draw import draw_storage
        from expmgr.catalog.shares import by_experiment
        from expmgr.pictures.bars import bars_of

        return draw_storage(bars_of(by_experiment(self.storage_usage(experiments))), ax)

    def plot_frontier(
        self,
        plan: DeletionPlan | None = None,
        experiments: str | Iterable[str] | None = None,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw the main metric against bytes, a point a model, and the best for each size.

        Models that were not measured yet are measured first.

        Parameters
        ----------
        plan
            What it would remove is marked.
        experiments
            As in `runs`.
        ax
            As in `plot_storage`.

        Returns
        -------
        matplotlib.axes.Axes
            Below the axis stands how many models have no metric or no size.

        Raises
        ------
        ExpmgrError
            matplotlib is not installed, or as `models` and `storage_usage`.
        """
        with drawing():
            from expmgr.pictures.draw import draw_frontier
        from expmgr.pictures.points import points_of, unmeasured

        models = self.models(experiments)
        if unmeasured(models):
            self.storage_usage(sorted(set(models["experiment_id"])))
            models = self.models(experiments)
        points = points_of(models, plan, is_loss=self.is_loss)
        return draw_frontier(points, self.main_metric, ax, is_loss=self.is_loss)

    def check(self, live: bool = False) -> pd.DataFrame:
        """Say what is reachable and permitted, and what to do about what is not.

        Writes one small blob of its own, reads it and deletes it again.

        Parameters
        ----------
        live
            Delete some twenty blobs of its own in every way that expmgr does, and show what this
            account answers beside what expmgr assumes: what no emulator can tell. Below a prefix
            of its own, which is emptied whatever happens.

        Returns
        -------
        pandas.DataFrame
            Columns ``check``, ``status`` (``ok``, ``no``, ``unknown``, ``note``), ``detail`` and
            ``advice``.
        """
        from expmgr.preflight import Preflight
        from expmgr.storage.live_check import check_live
        from expmgr.storage.self_check import check_container

        store = self.blob_store
        return Preflight(
            lambda: self.interactive_client,
            store.addresses,
            lambda: [*check_container(store), *(check_live(store) if live else ())],
            self.experiment_prefix,
        ).run()


def _as_ids(ids: str | Iterable[str]) -> list[str]:
    found = [ids] if isinstance(ids, str) else list(ids)
    for id_ in found:
        if not isinstance(id_, str) or not id_.strip():
            message = f"a run id or model id must be a non-empty string, not {id_!r}."
            raise InvalidInputError(message)
    return [id_.strip() for id_ in found]
