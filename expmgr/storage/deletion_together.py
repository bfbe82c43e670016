"""The first attempts of many deletions at once: shared batches, one look for those side by side.

Each deletion keeps books of its own, so what of it is gone, left or changed is told as if it had
been alone. Only requests are shared: a batch of 256 names may be of several models, and where
models lie side by side one listing of what is around them proves the end of all. Whatever does not
go as planned is the one deletion's own business again: it goes on alone.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Protocol

from expmgr.errors import StorageError
from expmgr.retry import retry_after
from expmgr.storage.azure_errors import is_broken_connection, is_busy, is_denied
from expmgr.storage.batch import BATCH_SIZE, Answer, delete_batch
from expmgr.storage.listing import read_page
from expmgr.storage.listing_check import Advance
from expmgr.storage.together import is_crowded, owner_path, side_by_side

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from typing import TypeAlias

    from azure.storage.blob import ContainerClient

    from expmgr.storage.batch import BatchSupport
    from expmgr.storage.deletion import Deletion
    from expmgr.storage.listing import Blob, Page
    from expmgr.storage.protocol import DeletionOrder, StorageDeletion

__all__ = ["SharedPass", "delete_together"]

_ALONE_AT_ONCE = 4
"""Deletions that go on alone at the same time; each has several requests under way."""
_WAITS_TOLD_EVERY = 60.0
"""Seconds after which those that wait say so, which renews what they hold."""

_Part = tuple["Deletion", "Blob"]


class SharedPass:
    """Sends the deletes of several deletions in full batches, then looks for all of them.

    Parameters
    ----------
    deadline
        On the clock of ``time.monotonic()``: no shared request begins after it.
    resend
        Send a batch once more, as it was, where its connection broke before an answer, or where
        the service was busy: a server that closes an idle connection, or asks to wait for a moment,
        is no reason to ask for each model by itself.
    """

    def __init__(
        self,
        container: ContainerClient,
        pool: ThreadPoolExecutor,
        *,
        support: BatchSupport,
        in_flight: int,
        deadline: float,
        cancel: threading.Event | None,
        resend: bool,
    ) -> None:
        self._container = container
        self._pool = pool
        self._support = support
        self._in_flight = in_flight
        self._deadline = deadline
        self._cancel = cancel
        self._resend = resend
        self._given_up = False
        self._lost_in_a_row = self._denials = self._deleted = 0
        self._open: list[_Part] = []
        self._running: dict[Future[Answer | None], Sequence[_Part]] = {}
        self._resent: set[Future[Answer | None]] = set()
        self._begun: dict[Future[Answer | None], float] = {}
        self._waited_until = time.monotonic()
        self._joined: list[Deletion] = []

    @property
    def stopped(self) -> bool:
        """Whether nothing more is sent: batches are not served, nothing answers, or it is over."""
        return (
            self._given_up
            or self._support.served is False
            or time.monotonic() >= self._deadline
            or (self._cancel is not None and self._cancel.is_set())
        )

    def add(self, deletion: Deletion) -> None:
        """Begin a deletion's first pass; its files go with the next batches."""
        self._joined.append(deletion)
        for blob in deletion.begin_shared():
            self._open.append((deletion, blob))
            if len(self._open) == BATCH_SIZE:
                self._send()

    def finish(self) -> None:
        """Send what is left, wait for all answers, and look."""
        self._send()
        while self._running:
            self._collect()
        self._look()

    def abandon(self) -> None:
        """Begin nothing more and wait for what is under way."""
        self._given_up = True
        while self._running:
            self._collect()

    # -------------------------------------------------------------------------------- batches

    def _send(self) -> None:
        parts, self._open = self._open, []
        while len(self._running) >= self._in_flight:
            self._collect()
        if self.stopped or len(parts) == 1:
            _return_unsent(parts)
        elif parts:
            self._start(parts)

    def _start(self, parts: Sequence[_Part]) -> Future[Answer | None]:
        request = partial(
            delete_batch,
            self._container,
            tuple(blob for _, blob in parts),
            conditions=[deletion.books.condition(blob) for deletion, blob in parts],
            patient=True,
        )
        begun = time.monotonic()
        future = self._pool.submit(self._in_time, request)
        self._running[future], self._begun[future] = parts, begun
        return future

    def _in_time(self, request: Callable[[], Answer]) -> Answer | None:
        """Make a request, unless nothing more is sent since it waited behind others."""
        return None if self.stopped else request()

    def _collect(self) -> None:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            parts, begun = self._running.pop(future), self._begun.pop(future)
            try:
                answer = future.result()
            except Exception as error:  # noqa: BLE001 - each deletion that it concerns fails by it
                blobs = tuple(blob for _, blob in parts)
                errors: dict[int, Exception] = dict.fromkeys(range(len(parts)), error)
                answer = Answer(blobs, ["unclear"] * len(parts), errors)
            if answer is None:
                _return_unsent(parts)
            elif future in self._resent or not self._send_again(answer, parts, begun):
                self._note(answer, parts)

    def _send_again(self, answer: Answer, parts: Sequence[_Part], begun: float) -> bool:
        """Send a batch whose connection broke, or that came to a busy service, once more.

        Of a busy one after the time that it asks for, which is waited once for all that were under
        way: else each of the deletions would wait for it by itself, a few at a time, and ask anew.
        Returns False where it is not to be sent.
        """
        errors = answer.errors.values()
        whole = len(errors) == len(parts)
        again = whole and (all(map(is_broken_connection, errors)) or all(map(is_busy, errors)))
        if not (again and self._resend) or self._lost_in_a_row or self.stopped:
            return False
        pause = max(map(retry_after, errors)) if begun >= self._waited_until else 0.0
        if time.monotonic() + pause >= self._deadline or self._cancelled_within(pause, parts):
            return False
        for deletion, share in _shares(answer, parts):
            deletion.books.note_unclear(tuple(share.blobs))  # that request may have done it
        self._resent.add(self._start(parts))
        return True

    def _cancelled_within(self, seconds: float, parts: Sequence[_Part]) -> bool:
        if not seconds:
            return False
        for deletion in _by_deletion(parts):
            deletion.report(f"storage is busy; again in {seconds:.1f} s")
        cancel = threading.Event() if self._cancel is None else self._cancel
        cancelled = cancel.wait(seconds)
        self._waited_until = time.monotonic()
        return cancelled

    def _note(self, answer: Answer, parts: Sequence[_Part]) -> None:
        if not answer.served:
            self._given_up = True
            if answer.lasting:
                self._support.note(served=False)
        elif "deleted" in answer.fates:
            self._support.note(served=True)
        self._deleted += answer.fates.count("deleted")
        self._denials += sum(map(is_denied, answer.errors.values()))
        lost = bool(answer.fates) and all(fate == "unclear" for fate in answer.fates)
        self._lost_in_a_row = self._lost_in_a_row + 1 if lost else 0
        refused = self._denials >= BATCH_SIZE and not self._deleted
        self._given_up |= refused or self._lost_in_a_row >= self._in_flight
        for deletion, share in _shares(answer, parts):
            deletion.note(share)

    # ------------------------------------------------------------------------------- the look

    def _look(self) -> None:
        """List what is around those that lie side by side, for all of them at once."""
        places = {
            location: deletion
            for deletion in self._joined
            if deletion.awaits_look
            for location in deletion.locations
        }
        groups = side_by_side(places)
        # A place of two, of which a blob would be entered in the books of one, shows neither's end.
        shown = {place for group in groups.values() for place in group}
        seen = {
            one
            for one in places.values()
            if shown.issuperset(one.locations) and all(places[at] is one for at in one.locations)
        }
        for deletion in seen:
            deletion.books.begin_listing()
        unsure: set[Deletion] = set()
        for folder, group in groups.items():
            owners = {place.path: places[place] for place in group if places[place] in seen}
            if owners and not self._look_below(folder, owners):
                unsure.update(owners.values())
        for deletion in seen:
            deletion.books.end_listing(complete=deletion not in unsure)

    def _look_below(self, folder: str, owners: Mapping[str, Deletion]) -> bool:
        """Enter what a listing shows; return False where it broke off, or held too much else."""
        strangers = 0
        try:
            for page in self._pages(folder):
                for blob in page.blobs:
                    deletion = owners.get(owner_path(folder, blob.name))
                    if deletion is None:
                        strangers += 1
                    else:
                        deletion.saw(blob, page.date)
                if page.token is not None and is_crowded(strangers, len(owners)):
                    return False
        except _Unread:
            return False
        return True

    def _pages(self, folder: str) -> Iterator[Page]:
        from azure.core.exceptions import AzureError

        account = next(iter(self._joined)).locations[0].account
        advance = Advance(folder)
        token = None
        while True:
            if self.stopped:
                raise _Unread
            try:
                page = read_page(self._container, folder, token, account=account)
                yield advance.check(page)
            except (AzureError, StorageError) as error:  # each will ask, and tell, by itself
                raise _Unread from error
            token = page.token
            if token is None:
                return


class _Unread(Exception):  # noqa: N818 - not an error: those that it concerns look by themselves
    """A listing for several deletions broke off."""


if TYPE_CHECKING:
    _End: TypeAlias = tuple[DeletionOrder, StorageDeletion | Exception]
    _Alone: TypeAlias = dict[Future[StorageDeletion | Exception], tuple[DeletionOrder, Deletion]]


class _CarryOut(Protocol):
    def __call__(self, deletion: Deletion, *, shared: bool) -> StorageDeletion: ...


def delete_together(
    orders: Iterable[DeletionOrder],
    make: Callable[[DeletionOrder], Deletion],
    carry_out: _CarryOut,
    together: SharedPass,
    *,
    patience: float,
) -> Generator[tuple[DeletionOrder, StorageDeletion | Exception]]:
    """Carry out several deletions and yield how each ended, as it does.

    Parameters
    ----------
    make
        Returns the deletion of an order, or raises why there is none.
    carry_out
        Runs a deletion to its end; ``shared`` where its first pass was begun here.
    patience
        Seconds that a deletion which goes on alone has from then on.
    """
    alone: _Alone = {}
    shared: list[tuple[DeletionOrder, Deletion]] = []
    begun: set[Deletion] = set()

    def run(deletion: Deletion, *, of_shared: bool) -> StorageDeletion | Exception:
        begun.add(deletion)
        deletion.extend(time.monotonic() + patience)
        return _ended(carry_out, deletion, shared=of_shared)

    pool = ThreadPoolExecutor(_ALONE_AT_ONCE, thread_name_prefix="expmgr-alone")
    try:
        for order in orders:
            try:
                deletion = make(order)
            except Exception as error:  # noqa: BLE001 - this one's end
                yield order, error
                continue
            if deletion.can_share and not together.stopped:
                together.add(deletion)
                shared.append((order, deletion))
            else:
                alone[pool.submit(run, deletion, of_shared=False)] = (order, deletion)
        together.finish()
        for order, deletion in shared:
            if deletion.books.proved:
                yield order, _ended(carry_out, deletion, shared=True)
            else:
                alone[pool.submit(run, deletion, of_shared=True)] = (order, deletion)
        yield from _as_they_end(alone, begun)
    finally:
        together.abandon()
        pool.shutdown(wait=True, cancel_futures=True)


def _as_they_end(alone: _Alone, begun: Collection[Deletion]) -> Iterator[_End]:
    """Yield how those that go on alone end; those that wait for it say so, whoever ends."""
    told = time.monotonic()
    while alone:
        done, waiting = wait(alone, _WAITS_TOLD_EVERY, return_when=FIRST_COMPLETED)
        for future in done:
            order, _ = alone.pop(future)
            yield order, future.result()
        if time.monotonic() - told < _WAITS_TOLD_EVERY:
            continue
        told = time.monotonic()
        for future in waiting:
            _, deletion = alone[future]
            if deletion not in begun:
                deletion.report()


def _ended(
    carry_out: _CarryOut, deletion: Deletion, *, shared: bool
) -> StorageDeletion | Exception:
    try:
        return carry_out(deletion, shared=shared)
    except Exception as error:  # noqa: BLE001 - returned: one's failure is not the others'
        return error


def _by_deletion(parts: Sequence[_Part]) -> dict[Deletion, list[int]]:
    """Return where each deletion's blobs stand among the parts."""
    found: dict[Deletion, list[int]] = defaultdict(list)
    for at, (deletion, _) in enumerate(parts):
        found[deletion].append(at)
    return found


def _return_unsent(parts: Sequence[_Part]) -> None:
    """Give blobs that were not asked for back to their deletions."""
    for deletion, ats in _by_deletion(parts).items():
        deletion.return_unsent([parts[at][1] for at in ats])


def _shares(answer: Answer, parts: Sequence[_Part]) -> Iterator[tuple[Deletion, Answer]]:
    """Yield what an answer says to each of the deletions whose blobs it is about. Pure."""
    for deletion, ats in _by_deletion(parts).items():
        yield (
            deletion,
            Answer(
                tuple(parts[at][1] for at in ats),
                [answer.fates[at] for at in ats] if answer.fates else (),
                {new: answer.errors[at] for new, at in enumerate(ats) if at in answer.errors},
                answer.permanent,
                answer.served,
                answer.lasting,
            ),
        )
