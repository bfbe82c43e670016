"""Deleting a group of runs together: journals a few at once, files in batches that span models."""

from __future__ import annotations

import contextlib
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from expmgr.cleanup.bulk import OneByOne, grouped
from expmgr.results import DeletionResult

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from expmgr.cleanup.bulk import Carrier
    from expmgr.cleanup.deletion import Begun, Deleter
    from expmgr.cleanup.plan import DeletionPlan, RunPlan
    from expmgr.results import DeletionProgress
    from expmgr.storage.protocol import DeletionOrder, StorageDeletion

__all__ = ["Together"]

_MOST_RUNS = 100
_LEAST_RUNS = 8
"""Fewer have nothing to share: each is deleted by itself."""
_JOURNALS_AT_ONCE = 4


class Begin(Protocol):
    """Opens the journal for a run, see `Deleter.begin`."""

    def __call__(
        self,
        run: RunPlan,
        report: Callable[[DeletionProgress], None],
        cancel: threading.Event,
        /,
    ) -> Begun | DeletionResult:
        """Return it, or how the deletion ended before that."""


@dataclass(frozen=True)
class Together:
    """Deletes runs in groups whose files share batches.

    Attributes
    ----------
    ended
        Given each run that was deleted, or was to be, with its result; returns what is to be
        reported.
    """

    deleter: Deleter
    begin: Begin
    ended: Callable[[RunPlan, DeletionResult], DeletionResult]
    at_once: ClassVar[int] = 3

    @property
    def carrier(self) -> Carrier:
        """What deletes the runs: a ``_delete_model`` of somebody's own is called run by run."""
        return self if self.deleter.spans_models else OneByOne(self.delete_run)

    def groups(self, plan: DeletionPlan) -> Sequence[Sequence[RunPlan]]:
        """Cut a plan into groups, an owner's runs next to each other."""
        by_owner: dict[str, list[RunPlan]] = {}
        for run in plan.runs:
            by_owner.setdefault(run.journal_id, []).append(run)
        return grouped((run for runs in by_owner.values() for run in runs), _MOST_RUNS)

    def carry_out(
        self,
        runs: Sequence[RunPlan],
        report: Callable[[str, DeletionProgress], None],
        ended: Callable[[DeletionResult], None],
        cancel: threading.Event,
    ) -> None:
        """Delete a group, see `expmgr.cleanup.bulk.Carrier`."""
        if len(runs) < _LEAST_RUNS:
            OneByOne(self.delete_run).carry_out(runs, report, ended, cancel)
        else:
            _Group(self, report, ended, cancel).run(runs)

    def delete_run(
        self, run: RunPlan, report: Callable[[DeletionProgress], None], cancel: threading.Event
    ) -> DeletionResult:
        """Delete one run by itself."""
        begun = self.begin(run, report, cancel)
        if not isinstance(begun, DeletionResult):
            begun = self.deleter.carry_out(begun)
        return self.ended(run, begun)


class _Group:
    """One group on its way."""

    def __init__(
        self,
        wanted: Together,
        report: Callable[[str, DeletionProgress], None],
        ended: Callable[[DeletionResult], None],
        cancel: threading.Event,
    ) -> None:
        self._wanted = wanted
        self._deleter = wanted.deleter
        self._report = report
        self._ended = ended
        self._cancel = cancel
        self._held: Counter[str] = Counter()
        self._under_way: dict[DeletionOrder, Begun] = {}
        self._busy: list[Begun] = []

    def run(self, runs: Sequence[RunPlan]) -> None:
        with ThreadPoolExecutor(_JOURNALS_AT_ONCE, thread_name_prefix="expmgr-journal") as pool:
            begun = [pool.submit(self._begin, run) for run in runs]
            closing: list[Future[None]] = []
            try:
                with contextlib.closing(
                    self._deleter.blob_store.delete_together(
                        self._orders(begun), cancel=self._cancel
                    )
                ) as ends:
                    for order, outcome in ends:
                        one = self._under_way.pop(order)
                        self._release(one)
                        closing.append(pool.submit(self._end, one, outcome))
            finally:
                for one in self._under_way.values():
                    self._release(one)
            closing += [pool.submit(self._carry_out, one) for one in self._busy]
            for future in closing:
                future.result()

    def _begin(self, run: RunPlan) -> Begun | None:
        if self._cancel.is_set():
            return None
        begun = self._wanted.begin(run, lambda seen: self._report(run.id, seen), self._cancel)
        if isinstance(begun, DeletionResult):
            self._tell(run, begun)
            return None
        return begun

    def _orders(self, begun: Sequence[Future[Begun | None]]) -> Iterator[DeletionOrder]:
        """Yield what is to be deleted as soon as the journal has it."""
        for future in begun:
            one = future.result()
            if one is None:
                continue
            if not self._hold(one):
                self._busy.append(one)
                continue
            order = one.current.order()
            self._under_way[order] = one
            yield order

    def _hold(self, one: Begun) -> bool:
        """Hold the owner, once for all of it in this group; False where others delete of it."""
        owner = one.current.owner_id
        if not self._held[owner] and not self._deleter.hand_overs.hold(one.current):
            return False
        self._held[owner] += 1
        return True

    def _release(self, one: Begun) -> None:
        owner = one.current.owner_id
        self._held[owner] -= 1
        if not self._held[owner]:
            self._deleter.hand_overs.release(owner)

    def _end(self, one: Begun, outcome: StorageDeletion | Exception) -> None:
        ended = outcome if isinstance(outcome, Exception) else one.current.ended(outcome)
        self._tell(one.plan, self._deleter.end(one, ended))

    def _carry_out(self, one: Begun) -> None:
        self._tell(one.plan, self._deleter.carry_out(one))

    def _tell(self, run: RunPlan, result: DeletionResult) -> None:
        self._ended(self._wanted.ended(run, result))
