"""Deleting the models of several runs as a pipeline, with one progress.

The plan is cut into groups. A group's protection is asked again right before its first journal is
opened; while one group's files go and its journals are closed, the next is asked about.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from expmgr.cleanup.deletion import failure
from expmgr.cleanup.report import DeletionReport
from expmgr.errors import ExpmgrError
from expmgr.results import DeletionProgress, DeletionResult, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from expmgr.cleanup.plan import DeletionPlan, RunPlan

__all__ = ["Carrier", "DeleteRun", "OneByOne", "delete_all", "grouped"]

_RUNS_AT_ONCE = 4
"""Each run's deletion has its own pool of requests; more runs at once would only share it out."""
_CHECKED_AT_ONCE = 25
"""Runs whose protection is asked again together where each is deleted by itself."""
_MOST_FILES = 5000
"""A group is asked about at once and then goes within seconds; 5,000 names are 20 batches."""


def grouped(runs: Iterable[RunPlan], most: int) -> list[list[RunPlan]]:
    """Cut runs into groups of so many at most, and of no more files than go within seconds. Pure.

    Somebody may register the last of a group while the first ones go.
    """
    groups: list[list[RunPlan]] = []
    files = 0
    for run in runs:
        if not groups or len(groups[-1]) == most or files + run.files > _MOST_FILES:
            groups.append([])
            files = 0
        groups[-1].append(run)
        files += run.files
    return groups


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


class Carrier(Protocol):
    """Deletes a group of planned runs."""

    @property
    def at_once(self) -> int:
        """Groups under way at the same time."""

    def groups(self, plan: DeletionPlan) -> Sequence[Sequence[RunPlan]]:
        """Cut a plan into groups, of each of which protection is asked again at once."""

    def carry_out(
        self,
        runs: Sequence[RunPlan],
        report: Callable[[str, DeletionProgress], None],
        ended: Callable[[DeletionResult], None],
        cancel: threading.Event,
    ) -> None:
        """Delete a group; each result is handed to ``ended``, from whatever thread.

        Parameters
        ----------
        report
            Told how far a run has come, by its id.
        """


class OneByOne:
    """Deletes runs each by itself, a few at a time."""

    at_once = 1

    def __init__(self, delete_run: DeleteRun) -> None:
        self._delete_run = delete_run

    def groups(self, plan: DeletionPlan) -> Sequence[Sequence[RunPlan]]:
        """Cut a plan into groups of a few runs."""
        return grouped(plan.runs, _CHECKED_AT_ONCE)

    def carry_out(
        self,
        runs: Sequence[RunPlan],
        report: Callable[[str, DeletionProgress], None],
        ended: Callable[[DeletionResult], None],
        cancel: threading.Event,
    ) -> None:
        """Delete a group, see `Carrier`."""

        def work(run: RunPlan) -> None:
            if not cancel.is_set():
                ended(self._delete_run(run, lambda seen: report(run.id, seen), cancel))

        with ThreadPoolExecutor(_RUNS_AT_ONCE, thread_name_prefix="expmgr-delete") as pool:
            for future in [pool.submit(work, run) for run in runs]:
                future.result()


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
    carrier: Carrier,
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
        Returns plans with their protection as it is now. Asked for a group at a time, right before
        that begins, since a long list takes long enough for somebody to register one of its models.
    """
    from tqdm.auto import tqdm

    event = cancel or threading.Event()
    totals = _Totals(plan, on_progress)
    results: dict[str, DeletionResult] = {}
    told: SimpleQueue[DeletionResult | Future[None]] = SimpleQueue()

    def ended(result: DeletionResult) -> None:
        totals.ended(result)
        told.put(result)

    def work(runs: Sequence[RunPlan]) -> None:
        if event.is_set():
            return
        try:
            checked = check_again(runs)
        except ExpmgrError as error:  # what is done is reported all the same
            for run in runs:
                ended(failure(run.id, error, name=run.run_name))
            return
        carrier.carry_out(checked, totals.report, ended, event)

    bar = tqdm(
        total=len(plan), desc="deleting models", unit="model", disable=not progress, leave=False
    )
    pool = ThreadPoolExecutor(carrier.at_once, thread_name_prefix="expmgr-group")
    try:
        for one in _in_turn(carrier, plan, pool, work, told):
            results[one.run_id] = one
            bar.update()
    except BaseException:
        event.set()
        raise
    finally:
        pool.shutdown(wait=True)
        bar.close()
    order = {run.id: at for at, run in enumerate(plan.runs)}
    in_order = sorted(results.values(), key=lambda one: order.get(one.run_id, len(order)))
    return DeletionReport(tuple(in_order), cancelled=event.is_set())


def _in_turn(
    carrier: Carrier,
    plan: DeletionPlan,
    pool: ThreadPoolExecutor,
    work: Callable[[Sequence[RunPlan]], None],
    told: SimpleQueue[DeletionResult | Future[None]],
) -> Iterator[DeletionResult]:
    """Run the groups, a few at once but none beside another of the same owner; yield results.

    An owner's deletions are numbered by what its tags say when its group is asked about.
    """
    waiting = deque(carrier.groups(plan))
    running: dict[Future[None], frozenset[str]] = {}
    while waiting or running:
        while waiting and len(running) < carrier.at_once:
            owners = frozenset(run.journal_id for run in waiting[0])
            if any(owners & others for others in running.values()):
                break
            future = pool.submit(work, waiting.popleft())
            running[future] = owners
            future.add_done_callback(told.put)
        one = told.get()
        if isinstance(one, DeletionResult):
            yield one
        else:
            del running[one]
            one.result()
