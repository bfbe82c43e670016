"""`save_checkpoint`: a checkpoint uploaded while training goes on, and what became of it.

What is saved is held still on this machine before the call returns (`expmgr.training.snapshots`, or
the flavour's own folder); all else happens on a thread, one checkpoint at a time and in order:
upload as a LoggedModel of the run, and only once that is whole the deletion of those that it
supersedes. The next save, the end of the run and the end of the process wait for it.
"""

from __future__ import annotations

import logging
import math
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor  # noqa: F401 - see `_at_exit`
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expmgr.errors import (
    ExpmgrError,
    InvalidInputError,
    NotFoundError,
    RunError,
    StorageError,
    TrackingError,
    TransferCancelledError,
)
from expmgr.metrics import MetricValue
from expmgr.training.checkpoint_keep import check_keep, keep_to_tag, needs_quality
from expmgr.training.checkpoint_retirement import retire, sweep
from expmgr.training.flavors import PLAIN_FILES, save_folder
from expmgr.training.model_files import Watch
from expmgr.training.runs import now_ms
from expmgr.training.saving import Prepared, publish
from expmgr.training.snapshots import Snapshot, take_snapshot, temporary_snapshot
from expmgr.training.stored import CHECKPOINT_TAG

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from expmgr.catalog.policy import Policy
    from expmgr.results import DeletionResult
    from expmgr.storage.transfer import TransferProgress
    from expmgr.training.desk import Desk
    from expmgr.training.runs import OpenRun
    from expmgr.training.saving import SavedModel

__all__ = ["Checkpoint", "Checkpoints", "NewCheckpoint", "checked"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewCheckpoint:
    """A checkpoint that is to be saved.

    Attributes
    ----------
    what
        Path of a file or folder, or a model of a flavour that MLflow has.
    step
        A whole number from 0.
    metrics
        By name; None is one that was not measured at this step.
    keep
        What stays of the run's checkpoints; None for all.
    link
        Of a path: link its files in place of copying them.
    """

    what: object
    step: int
    metrics: Mapping[str, float | None]
    keep: Policy | None
    flavor: str | None = None
    options: Mapping[str, Any] | None = None
    link: bool = False


class Checkpoint:
    """A checkpoint on its way: what `save_checkpoint` returns at once.

    Attributes
    ----------
    run_id, step
        Of the checkpoint.
    """

    def __init__(self, run_id: str, step: int) -> None:
        self.run_id = run_id
        self.step = step
        self._result: SavedModel | None = None
        self._error: Exception | None = None
        self._told = False
        self._thread: threading.Thread | None = None

    def wait(self, timeout: float | None = None) -> SavedModel:
        """Wait until it is stored and what it supersedes is deleted.

        Parameters
        ----------
        timeout
            Seconds; None waits as long as it takes.

        Returns
        -------
        SavedModel
            With ``superseded``, one result a checkpoint that was to go; protected ones stayed.

        Raises
        ------
        StorageError, TrackingError
            It was not stored. What was stored before is there as it was.
        TimeoutError
            It is still under way.
        """
        self.join(timeout)
        if self._error is not None:
            self._told = True
            raise self._error
        if self._result is None:
            message = f"the checkpoint of step {self.step} is still on its way."
            raise TimeoutError(message)
        return self._result

    @property
    def done(self) -> bool:
        """Whether nothing of it is under way any more."""
        return self._result is not None or self._error is not None

    @property
    def result(self) -> SavedModel | None:
        """How it ended; None while it is under way, and where it failed."""
        return self._result

    @property
    def error(self) -> Exception | None:
        """Why it was not stored; None while it is under way, and where it was."""
        return self._error

    def __repr__(self) -> str:
        state = "failed" if self._error else "stored" if self._result else "on its way"
        return f"<Checkpoint of step {self.step} of run {self.run_id}: {state}>"

    def join(self, timeout: float | None = None) -> None:
        """Wait as `wait` does, and raise nothing: the next save tells what went wrong."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _raise_untold(self) -> None:
        """Raise the error of one that failed, where nobody was told of it yet."""
        if self._error is not None and not self._told:
            self._told = True
            raise self._error


@dataclass(frozen=True)
class _Job:
    """All that the thread works with; it goes with it, and so does the manager in the desk."""

    desk: Desk
    run: OpenRun
    prepared: Prepared
    keep: Policy | None
    watch: Watch
    snapshot: Snapshot
    swept: set[str]
    """Runs that looked once at what others left."""
    told: set[str]
    """Models that the log has said to be protected."""


class Checkpoints:
    """The checkpoints of one manager: at most one is under way."""

    def __init__(self) -> None:
        self._last: Checkpoint | None = None
        self._cancel = threading.Event()
        self._swept: set[str] = set()
        self._told: set[str] = set()
        _open.add(self)

    def wait(self) -> None:
        """Wait for the one under way, without raising what it raised."""
        if self._last is not None:
            self._last.join()

    def give_up(self) -> None:
        """Let the one under way end as soon as it can, without being stored."""
        self._cancel.set()

    def forget(self) -> None:
        """Keep the error of one that failed from the next run, which it is not about."""
        if self._last is not None:
            self._last._told = True  # noqa: SLF001

    def settle(self) -> None:
        """Wait for the one under way; raise its error, once."""
        self.wait()
        if self._last is not None:
            last, self._last = self._last, None
            last._raise_untold()  # noqa: SLF001

    def save(
        self, desk: Desk, run: OpenRun, new: NewCheckpoint, watch: Watch, *, wait: bool
    ) -> Checkpoint:
        """Hold a checkpoint still and begin its upload; the one before must be settled.

        Parameters
        ----------
        wait
            Upload it before this returns, and raise its error.
        """
        prepared, snapshot = _prepare(desk, run, new)
        self._cancel = watch.cancel or threading.Event()
        shown = wait or watch.on_progress is not None
        watch = Watch(watch.on_progress if shown else _silent, self._cancel)
        job = _Job(desk, run, prepared, new.keep, watch, snapshot, self._swept, self._told)
        checkpoint = Checkpoint(run.run_id, new.step)
        if wait:
            _carry_out(job, checkpoint)
            checkpoint.wait()
            return checkpoint
        thread = threading.Thread(
            target=_carry_out, args=(job, checkpoint), name="expmgr-checkpoint"
        )
        try:
            thread.start()
        except BaseException:  # no room for another thread
            snapshot.close()
            raise
        checkpoint._thread = thread  # noqa: SLF001 - the two are one idea
        self._last = checkpoint
        return checkpoint


def _silent(progress: TransferProgress) -> None:
    """Show no bar: training has its own, and this thread must not write into it."""


# ------------------------------------------------------------------------------- before it returns


def checked(desk: Desk, new: NewCheckpoint) -> NewCheckpoint:
    """Return a checkpoint whose step, metrics and policy can be used.

    Raises
    ------
    InvalidInputError
        They cannot; nothing was done.
    """
    if isinstance(new.step, bool) or not isinstance(new.step, int) or new.step < 0:
        raise InvalidInputError(f"a step is a whole number from 0, not {new.step!r}.")
    if not isinstance(new.metrics, Mapping):
        message = f"metrics are a dict of names and numbers, not {type(new.metrics).__name__}."
        raise InvalidInputError(message)
    keep = check_keep(new.keep)
    metrics = {
        name: None if value is None else MetricValue(name, value).value
        for name, value in new.metrics.items()
    }
    if keep is not None and needs_quality(keep) and desk.goal.metric not in metrics:
        message = (
            f"keep={keep!r} ranks checkpoints by {desk.goal.metric!r}, and the metrics of step "
            f"{new.step} ({', '.join(metrics) or 'none'}) do not have it: nothing was saved. Add "
            "it (None where it was not measured), or say keep=last(1)."
        )
        raise InvalidInputError(message)
    if keep is not None:
        keep_to_tag(keep)
        if desk.deleter is None:
            message = (
                f"keep={keep!r} deletes superseded checkpoints, and this manager has no Azure "
                "credentials to delete with; use ExperimentsManagerWithAzureBlobBackend, or "
                "keep=None for all of them to stay."
            )
            raise InvalidInputError(message)
    return replace(new, metrics=metrics, keep=keep)


def _prepare(desk: Desk, run: OpenRun, new: NewCheckpoint) -> tuple[Prepared, Snapshot]:
    from mlflow.models import Model

    card = Model(run_id=run.run_id)
    if isinstance(new.what, (str, PathLike)):
        path = Path(new.what).expanduser()
        snapshot = take_snapshot(path, link=new.link)
        flavor = _describe(card, snapshot, path)
    else:
        snapshot = temporary_snapshot()
        try:
            flavor = save_folder(
                new.what,
                snapshot.folder,
                flavor=new.flavor,
                requirements=desk.requirements,
                mlflow_model=card,
                options=new.options,
            )
        except BaseException:
            snapshot.close()
            raise
    own, beside = _metrics(desk, run, new)
    tags = {CHECKPOINT_TAG: keep_to_tag(new.keep)}
    name = f"checkpoint-{new.step}"
    prepared = Prepared(
        snapshot.folder, card, flavor, name, new.step, tags, own, beside, snapshot.check
    )
    run.model_step = max(run.model_step, new.step)
    for key in new.metrics:
        run.steps[key] = max(run.steps.get(key, 0), new.step + 1)
    return prepared, snapshot


def _describe(card: Any, snapshot: Snapshot, path: Path) -> str:
    """Say in the card what the files are: what their own ``MLmodel`` says, else just files."""
    from mlflow.models import Model

    if (snapshot.folder / "MLmodel").is_file():
        try:
            own = Model.load(str(snapshot.folder))
        except Exception as error:
            snapshot.close()
            message = f"the MLmodel file of {path} cannot be read: {error}"
            raise InvalidInputError(message) from error
        for name, value in vars(own).items():
            if name not in {"run_id", "artifact_path", "model_id", "model_uuid"}:
                setattr(card, name, value)
        return next(iter(own.flavors), PLAIN_FILES)
    card.add_flavor(PLAIN_FILES, path=path.name if path.is_file() else ".")
    return PLAIN_FILES


def _metrics(
    desk: Desk, run: OpenRun, new: NewCheckpoint
) -> tuple[tuple[Metric, ...], tuple[Metric, ...]]:
    """Return the metrics of the model, and those of its run alone.

    NaN is its run's alone: MLflow reads it back as 0 from a model, and a loss of 0 is the best.
    """
    from mlflow.entities import Metric

    at = now_ms()
    own: list[Metric] = []
    beside: list[Metric] = []
    for name, value in new.metrics.items():
        if value is None:
            continue
        logged = run.last.get(name)
        if logged is not None and (logged.value, logged.step) == (value, new.step):
            own.append(logged)  # the very entry that training logged, so that it stands there once
        elif desk.goal.counts(value) is not None:
            own.append(Metric(name, value, at, new.step))
        else:
            loggable = math.nan if math.isinf(value) else value
            beside.append(Metric(name, loggable, at, new.step))
    return tuple(own), tuple(beside)


# ----------------------------------------------------------------------------------- on the thread


def _carry_out(job: _Job, checkpoint: Checkpoint) -> None:
    try:
        job.run.check(job.desk.client, "storing the checkpoint")
        saved = publish(job.desk, job.run, job.prepared, job.watch)
        superseded: tuple[DeletionResult, ...] = ()
        if job.desk.deleter is not None:
            superseded = retire(job.desk, job.run, job.keep, job.told)
            if job.run.run_id not in job.swept:
                superseded = (*superseded, *sweep(job.desk, job.run))
                job.swept.add(job.run.run_id)
        quality = next(
            (one.value for one in job.prepared.metrics if one.key == job.desk.goal.metric), None
        )
        checkpoint._result = replace(saved, quality=quality, superseded=superseded)  # noqa: SLF001
    except TransferCancelledError as error:
        checkpoint._error = error  # noqa: SLF001
    except Exception as error:  # noqa: BLE001 - told to the next who asks, whatever it is
        checkpoint._error = _told(job, error)  # noqa: SLF001
        logger.error("%s", checkpoint._error)  # noqa: SLF001, TRY400 - it is raised later
    finally:
        job.snapshot.close()


def _told(job: _Job, error: Exception) -> ExpmgrError:
    message = (
        f"the checkpoint of step {job.prepared.step} of run {job.run.run_id} was not stored, those "
        f"before it are as they were: {error}"
    )
    plain = isinstance(error, (InvalidInputError, NotFoundError, RunError, TrackingError))
    kind: type[ExpmgrError] = type(error) if plain else StorageError  # type: ignore[assignment]
    told = kind(message, run_id=job.run.run_id)
    told.__cause__ = error
    return told


# ------------------------------------------------------------------------------ end of the process

_open: weakref.WeakSet[Checkpoints] = weakref.WeakSet()


def _at_exit() -> None:
    for checkpoints in list(_open):
        checkpoints.wait()


# Threads are waited for anyway, but by then no pool takes any more work, and uploads and deletions
# need one. What was registered last is called first, so the import of a pool stands above.
getattr(threading, "_register_atexit", lambda _: None)(_at_exit)
