"""Deleting the models of several runs, a few at a time, with one progress."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from expmgr.cleanup.deletion import failure
from expmgr.cleanup.report import DeletionReport
from expmgr.errors import ExpmgrError
from expmgr.results import DeletionProgress, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from expmgr.cleanup.plan import DeletionPlan, RunPlan
    from expmgr.results import DeletionResult

__all__ = ["DeleteRun", "delete_all"]

_RUNS_AT_ONCE = 4
"""Each run's deletion has its own pool of requests; more runs at once would only share it out."""


_CHECKED_AT_ONCE = 25
"""Runs whose protection is asked again together, right before their deletion begins."""


class DeleteRun(Protocol):
    """Deletes one planned run."""

    def __call__(
        self,
        run: RunPlan,
        report: Callable[[DeletionProgress], None],
        cancel: threading.Event,
        /,
    ) -> DeletionResult:
        """Return how it ended."""


class _Totals:
    """Adds the progress of several runs up; safe to call from their threads."""

    def __init__(
        self, plan: DeletionPlan, on_progress: Callable[[DeletionProgress], None] | None
    ) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, DeletionProgress] = {}
        self._files = self._bytes = self._models = 0
        self._attempt = 1
        self._total_files, self._total_bytes = plan.files, plan.bytes
        self._deletable = {run.id for run in plan.deletable}
        self._on_progress = on_progress

    def report(self, run_id: str, progress: DeletionProgress) -> None:
        """Take note of how far a run has come, and tell of all."""
        if self._on_progress is None:
            return
        with self._lock:
            before = self._seen.get(run_id, DeletionProgress(0, 0))
            self._seen[run_id] = progress
            self._files += progress.files - before.files
            self._bytes += progress.bytes - before.bytes
            self._attempt = max(self._attempt, progress.attempt)
            total = self._total(progress.note)
        tell(self._on_progress, total)

    def ended(self, result: DeletionResult) -> None:
        """Count a run whose model is gone, and tell of all."""
        done = result.outcome in ("deleted", "not_found") and result.run_id in self._deletable
        if self._on_progress is None or not done:
            return
        with self._lock:
            self._models += 1
            total = self._total("")
        tell(self._on_progress, total)

    def _total(self, note: str) -> DeletionProgress:
        return DeletionProgress(
            files=self._files,
            bytes=self._bytes,
            total_files=self._total_files,
            total_bytes=self._total_bytes,
            attempt=self._attempt,
            note=note,
            models=self._models,
        )


def delete_all(
    plan: DeletionPlan,
    check_again: Callable[[Sequence[RunPlan]], Sequence[RunPlan]],
    delete_run: DeleteRun,
    *,
    progress: bool,
    on_progress: Callable[[DeletionProgress], None] | None = None,
    cancel: threading.Event | None = None,
) -> DeletionReport:
    """Delete every run of the plan; protected and impossible ones are reported as such.

    An interrupt (Ctrl-C, the notebook's stop button) sets ``cancel``, waits for the batches in
    flight, so that every journal is closed, and is raised again.

    Parameters
    ----------
    check_again
        Returns plans with their protection as it is now. Asked for a few runs at a time, since a
        long list takes long enough for somebody to register one of its models.
    """
    from tqdm.auto import tqdm

    event = cancel or threading.Event()
    totals = _Totals(plan, on_progress)
    results: dict[str, DeletionResult] = {}

    def work(run: RunPlan) -> DeletionResult | None:
        if event.is_set():
            return None
        result = delete_run(run, lambda seen: totals.report(run.id, seen), event)
        totals.ended(result)
        return result

    bar = tqdm(
        total=len(plan), desc="deleting models", unit="run", disable=not progress, leave=False
    )
    pool = ThreadPoolExecutor(_RUNS_AT_ONCE, thread_name_prefix="expmgr-delete")
    try:
        for first in range(0, len(plan), _CHECKED_AT_ONCE):
            if event.is_set():
                break
            runs = plan.runs[first : first + _CHECKED_AT_ONCE]
            try:
                some = check_again(runs)
            except ExpmgrError as error:  # what is done is reported all the same
                results.update((run.id, failure(run.id, error, name=run.run_name)) for run in runs)
                bar.update(len(runs))
                continue
            futures = {run.id: pool.submit(work, run) for run in some}
            for id_, future in futures.items():
                result = future.result()
                if result is not None:
                    results[id_] = result
                bar.update()
    except BaseException:
        event.set()
        raise
    finally:
        pool.shutdown(wait=True)
        bar.close()
    return DeletionReport(tuple(results.values()), cancelled=event.is_set())
