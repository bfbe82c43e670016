"""Deleting everything below some locations: passes that converge, and a look that proves the end.

The first pass of a planned deletion deletes the plan's names under their entity tags. Any other
pass lists what is there and deletes it, batches going out while the listing goes on. Whatever a
pass could not delete is seen by the next one, because that lists again; so an answer that was lost
on the way does no harm. And no answer is proof: the end is a listing that shows nothing, made
after the last delete.

The pass runs on the caller's thread, which alone keeps the books; only the delete requests run in
the pool. The first pass of many deletions may share its requests, see `deletion_together`.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import TYPE_CHECKING

from expmgr.errors import StorageError
from expmgr.results import DeletionProgress, tell
from expmgr.storage.azure_errors import is_denied
from expmgr.storage.batch import BATCH_SIZE, Answer, BatchSupport, delete_batch, delete_single
from expmgr.storage.blob_path import is_addressable
from expmgr.storage.deletion_books import Books, Bounds
from expmgr.storage.listing import read_page
from expmgr.storage.listing_check import Advance

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import ThreadPoolExecutor
    from datetime import datetime

    from azure.storage.blob import ContainerClient

    from expmgr.storage.listing import Blob, Page
    from expmgr.storage.location import Location

__all__ = ["Bounds", "Cancelled", "Deletion", "OutOfTime"]


class Cancelled(Exception):  # noqa: N818 - not an error; the caller turns it into one
    """The caller's event was set; what was under way has ended."""


class OutOfTime(Exception):  # noqa: N818 - not an error; the caller turns it into one
    """The deadline passed; what was under way has ended."""


class Deletion:
    """The passes of one call.

    Parameters
    ----------
    planned
        What a plan saw below the locations; None where there is no plan, or it tells too little.
    deadline
        On the clock of ``time.monotonic()``: no request begins after it. One that is under way
        then ends by itself, after its read timeout at the latest.

    Attributes
    ----------
    books
        What is gone, left and kept.
    passes
        Begun so far.
    locations
        What is deleted, none within another.
    begun
        When this was made, on the clock of ``time.monotonic()``.
    """

    def __init__(
        self,
        container: ContainerClient,
        pool: ThreadPoolExecutor,
        locations: Sequence[Location],
        *,
        bounds: Bounds,
        support: BatchSupport,
        in_flight: int,
        is_transient: Callable[[BaseException], bool],
        deadline: float,
        planned: Sequence[Blob] | None = None,
        on_progress: Callable[[DeletionProgress], None] | None = None,
        cancel: threading.Event | None = None,
        total_files: int | None = None,
        total_bytes: int | None = None,
    ) -> None:
        self.passes = 0
        self.begun = time.monotonic()
        self._container = container
        self._pool = pool
        self.locations = _outermost(locations)
        self._markers = frozenset(place.marker for place in locations if place.marker_last)
        self._bounds = bounds
        self.books = Books(self.locations, bounds, self._markers)
        self._support = support
        self._in_flight = in_flight
        self._is_transient = is_transient
        self._deadline = deadline
        self._planned = planned
        self._on_progress = on_progress
        self._cancel = cancel
        self._totals = (total_files, total_bytes)
        self._reported = (0, 0)
        self._batch_failed = False
        self._lost_in_a_row = 0
        self._running: set[Future[Answer]] = set()
        self._singles: deque[Blob] = deque()
        self._unsent: list[Blob] = []

    def run_pass(self) -> None:
        """Delete what the plan saw, or what a listing shows, once; then look, if all went well.

        Raises
        ------
        Cancelled, OutOfTime
            Between two requests.
        Exception
            The error that says most about why something is left.
        """
        self._check()  # before the books of the last pass are closed
        self._begin_pass()
        self._end_pass(self._delete_all)

    def _begin_pass(self) -> None:
        self.passes += 1
        self.books.begin_pass()
        self._begin_requests()

    def _end_pass(self, delete: Callable[[], None]) -> None:
        try:
            delete()
            # An empty listing proves nothing if no other was ever seen.
            if not self.books.failing and (self.books.untold or self._listings() < 2):  # noqa: PLR2004
                self._look()
        finally:  # also on KeyboardInterrupt: nothing goes on deleting behind the caller's back
            for future in self._running:
                future.cancel()
            wait(self._running)
            self.books.end_listing(complete=False)
        error = self.books.verdict(self._is_transient)
        if error is not None:
            raise error

    def settle(self) -> bool:
        """Look what a pass that failed has left, before it is named; return True if nothing is.

        No look is taken where nothing was asked for since the last one, where the credentials are
        refused, or after the deadline.
        """
        if not self.books.untold or self.books.denied:
            return False
        try:
            self._begin_requests()
            self._look()
            if self.books.untold and not self.books.denied:
                self._look()
        except (Cancelled, OutOfTime):
            return False
        finally:
            self.books.end_listing(complete=False)
        return self.books.proved

    # ------------------------------------------------------------------- a pass that is shared

    @property
    def can_share(self) -> bool:
        """Whether others may share its first pass: all is planned, and nothing goes last."""
        return self._planned is not None and not any(
            blob.is_directory or blob.name in self._markers for blob in self._planned
        )

    def begin_shared(self) -> Sequence[Blob]:
        """Begin the first pass; return what somebody else sends the deletes of.

        Each of these blobs is handed back by `note` or by `return_unsent`.
        """
        self._begin_pass()
        return list(self._from_plan())

    def return_unsent(self, blobs: Sequence[Blob]) -> None:
        """Take back what was not sent; `end_shared` sends it."""
        self._unsent.extend(blobs)

    def note(self, answer: Answer) -> None:
        """Enter what an answer says of these blobs."""
        self._note(answer)
        self.report()

    @property
    def awaits_look(self) -> bool:
        """Whether all was sent and answered, so that a listing may prove the end."""
        return not (self._unsent or self._singles or self.books.failing)

    def saw(self, blob: Blob, listed_at: datetime) -> None:
        """Enter a blob that a listing for several deletions shows in one of the locations."""
        if self.books.saw(blob, listed_at):
            self._addressable(blob)

    def end_shared(self) -> None:
        """End the first pass: send what was left to send, and look where nothing told yet.

        Raises
        ------
        Cancelled, OutOfTime, Exception
            As `run_pass`.
        """
        self._end_pass(self._delete_unsent)

    def _delete_unsent(self) -> None:
        blobs, self._unsent = self._unsent, []
        for start in range(0, len(blobs), BATCH_SIZE):
            self._submit(blobs[start : start + BATCH_SIZE])
        if blobs or self._singles:
            self._drain()

    def extend(self, deadline: float) -> None:
        """Move the deadline: it waited while others went on."""
        self._deadline = deadline

    def _listings(self) -> int:
        return self.books.listings + (self._planned is not None)

    def _begin_requests(self) -> None:
        self._batch_failed = False
        self._lost_in_a_row = 0
        self._running = set()
        self._singles = deque()
        self._unsent = []

    def _delete_all(self) -> None:
        """Delete the files, then the stubs of directories, then the markers."""
        first = self.passes == 1 and self._planned is not None
        last = 0
        files: list[Blob] = []
        for blob in self._from_plan() if first else self._listed():
            if blob.is_directory or blob.name in self._markers:
                last += 1
                continue
            files.append(blob)
            if len(files) == BATCH_SIZE:
                self._submit(files)
                files = []
        self._submit(files)
        self._drain()
        if not last:
            return
        if self.books.untold or not self.books.listings:
            self._look()  # what goes last goes when the rest is seen to be gone
        if self.books.untold:
            self._look()  # of what nobody answered, twice
        if self.books.untold:
            return
        for level in self.books.deletable_stubs():
            for start in range(0, len(level), BATCH_SIZE):
                self._submit(level[start : start + BATCH_SIZE])
            self._drain()
        for marker in self.books.deletable_markers():
            self._submit([marker])
        self._drain()

    def _look(self) -> None:
        """List what is there, and delete nothing."""
        for _ in self._listed():
            pass

    # ------------------------------------------------------------------------- what is there

    def _from_plan(self) -> Iterator[Blob]:
        """Yield what the plan saw below the locations."""
        planned = [
            blob
            for blob in self._planned or ()
            if any(location.holds(blob.name) for location in self.locations)
            and self._bounds.concern(blob.name)
        ]
        self.books.plan(planned)
        return filter(self._addressable, planned)

    def _listed(self) -> Iterator[Blob]:
        """List every location; yield what may go and note what stays."""
        self.books.begin_listing()
        complete = True
        for location in self.locations:
            for page in self._pages(location):
                if page is None:
                    complete = False
                    break
                for blob in page.blobs:
                    if self.books.saw(blob, page.date) and self._addressable(blob):
                        yield blob
        self.books.end_listing(complete=complete)

    def _pages(self, location: Location) -> Iterator[Page | None]:
        """Yield the pages of a listing; a None at the end says that it broke off."""
        from azure.core.exceptions import AzureError

        advance = Advance(location.prefix)
        token = None
        while True:
            self._check()
            if self._given_up():
                yield None
                return
            try:
                page = advance.check(
                    read_page(self._container, location.prefix, token, account=location.account)
                )
            except (AzureError, StorageError) as error:
                self.books.fail(error)
                self.books.denied = is_denied(error)
                yield None
                return
            yield page
            token = page.token
            if token is None:
                return

    def _addressable(self, blob: Blob) -> bool:
        if is_addressable(blob.name):
            return True
        self.books.fail(
            StorageError(
                f"{blob.name!r} has a '.' or '..' segment: a request for it would reach another "
                "blob, so it was left. Delete it with the tool that made it"
            )
        )
        return False

    # -------------------------------------------------------------------------------- requests

    def _submit(self, blobs: Sequence[Blob]) -> None:
        """Send one batch, or single deletes, as soon as there is room."""
        if len(blobs) > 1 and self._support.served is not False:
            # A server error may pass; a second one, where no batch ever worked, may not.
            patient = self.passes == 1 or self._support.served is True
            self._start(
                partial(
                    delete_batch,
                    self._container,
                    tuple(blobs),
                    conditions=[self.books.condition(blob) for blob in blobs],
                    patient=patient,
                )
            )
        else:
            self._singles.extend(blobs)
        while self._singles:
            blob = self._singles.popleft()
            condition = self.books.condition(blob)
            self._start(partial(delete_single, self._container, blob, condition=condition))

    def _start(self, request: Callable[[], Answer]) -> None:
        while len(self._running) >= self._in_flight:
            self._collect()
        self._check()
        if not self._given_up():
            self._running.add(self._pool.submit(self._in_time, request))

    def _in_time(self, request: Callable[[], Answer]) -> Answer:
        """Make a request, unless its time passed while it waited behind another deletion."""
        if self._is_cancelled() or self._is_late():
            return Answer(())
        return request()

    def _drain(self) -> None:
        """Wait for all answers."""
        while self._running or self._singles:
            self._submit(())
            self._collect()
        self._check()

    def _collect(self) -> None:
        """Wait for some answer and enter it."""
        if not self._running:
            return
        done, self._running = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            self._note(future.result())
        self.report()

    def _note(self, answer: Answer) -> None:
        if not answer.served:
            if answer.lasting:
                self._support.note(served=False)
            self._batch_failed |= answer.lasting is not False
            self.books.note_unclear(tuple(answer.blobs))
            self._singles.extend(answer.blobs)
            return
        if "deleted" in answer.fates:
            if len(answer.blobs) > 1:
                self._support.note(served=True)
            elif self._batch_failed:  # single deletes work where batches did not
                self._support.note(served=False)
        if answer.fates:
            lost = all(fate == "unclear" for fate in answer.fates)
            self._lost_in_a_row = self._lost_in_a_row + 1 if lost else 0
        self.books.note(answer)

    def _given_up(self) -> bool:
        """Return True where nothing answers any more, or only with refusals: later, if at all."""
        return self.books.denied or self._lost_in_a_row >= self._in_flight

    # ------------------------------------------------------------------------------- the caller

    def _is_cancelled(self) -> bool:
        return self._cancel is not None and self._cancel.is_set()

    def _is_late(self) -> bool:
        return time.monotonic() >= self._deadline

    def _check(self) -> None:
        if not self._is_cancelled() and not self._is_late():
            return
        while self._running:
            self._collect()
        raise Cancelled if self._is_cancelled() else OutOfTime

    def report(self, note: str = "") -> None:
        """Tell the caller how far it has come.

        What an answer said and a listing refuted is not counted back here: it is asked for again.
        """
        if self._on_progress is None:
            return
        self._reported = max(self._reported, (self.books.files, self.books.bytes))
        progress = DeletionProgress(
            files=self._reported[0],
            bytes=self._reported[1],
            total_files=self._totals[0],
            total_bytes=self._totals[1],
            attempt=max(self.passes, 1),
            note=note,
        )
        tell(self._on_progress, progress)


def _outermost(locations: Iterable[Location]) -> tuple[Location, ...]:
    """Drop locations that lie within another one."""
    found: list[Location] = []
    for location in sorted(locations, key=lambda place: place.path.count("/")):
        if not any(outer.path == location.path or outer.holds(location.path) for outer in found):
            found.append(location)
    return tuple(found)
