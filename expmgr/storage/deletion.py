"""Deleting everything below some locations: passes that converge.

One pass lists what is there and deletes it, batches going out while the listing goes on. Whatever
a pass could not delete is seen by the next one, because that lists again; so an answer that was
lost on the way does no harm.

The pass runs on the caller's thread, which alone keeps the books; only the delete requests run in
the pool.
"""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import TYPE_CHECKING

from expmgr.errors import StorageError
from expmgr.results import DeletionProgress
from expmgr.storage.azure_errors import is_denied
from expmgr.storage.batch import BATCH_SIZE, Answer, BatchSupport, delete_batch, delete_single
from expmgr.storage.blob_path import is_addressable
from expmgr.storage.deletion_books import Books, Bounds
from expmgr.storage.listing import read_page

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from azure.storage.blob import ContainerClient

    from expmgr.storage.listing import Blob
    from expmgr.storage.location import Location

__all__ = ["Bounds", "Cancelled", "Deletion"]

_logger = logging.getLogger(__name__)


class Cancelled(Exception):  # noqa: N818 - not an error; the caller turns it into one
    """The caller's event was set; what was under way has ended."""


class Deletion:
    """The passes of one call.

    Attributes
    ----------
    books
        What is gone, left and kept.
    passes
        Begun so far.
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
        on_progress: Callable[[DeletionProgress], None] | None = None,
        cancel: threading.Event | None = None,
        total_files: int | None = None,
        total_bytes: int | None = None,
    ) -> None:
        self.books = Books()
        self.passes = 0
        self._container = container
        self._pool = pool
        self._locations = _outermost(locations)
        self._markers = {place.marker for place in locations if place.marker_last}
        self._bounds = bounds
        self._support = support
        self._in_flight = in_flight
        self._is_transient = is_transient
        self._on_progress = on_progress
        self._cancel = cancel
        self._totals = (total_files, total_bytes)
        self._batch_failed = False
        self._running: set[Future[Answer]] = set()
        self._singles: deque[Blob] = deque()

    def run_pass(self) -> None:
        """List what is there and delete it, once.

        Raises
        ------
        Cancelled
            When the event was set between two requests.
        Exception
            The error that says most about why something is left.
        """
        self._check_cancel()  # before the books of the last pass are closed
        self.passes += 1
        self.books.begin_pass()
        self._batch_failed = False
        self._running = set()
        self._singles = deque()
        try:
            self._delete_all()
        except Cancelled:
            if self.books.left or not self.books.listed_all:
                raise
        finally:  # also on KeyboardInterrupt: nothing goes on deleting behind the caller's back
            for future in self._running:
                future.cancel()
            wait(self._running)
        error = self.books.verdict(self._is_transient)
        if error is not None:
            raise error
        if self.books.left or not self.books.listed_all:  # never said to be gone without proof
            raise StorageError("the deletion ended with blobs left and no error that says why")

    def _delete_all(self) -> None:
        """Delete the files, then the stubs of directories, then the markers."""
        stubs: list[Blob] = []
        markers: list[Blob] = []
        files: list[Blob] = []
        for blob in self._listed():
            if blob.is_directory:
                stubs.append(blob)
            elif blob.name in self._markers:
                markers.append(blob)
            else:
                files.append(blob)
                if len(files) == BATCH_SIZE:
                    self._submit(files)
                    files = []
        self._submit(files)
        self._drain()
        for level in self.books.deletable_stubs(stubs):
            for start in range(0, len(level), BATCH_SIZE):
                self._submit(level[start : start + BATCH_SIZE])
            self._drain()
        for marker in markers:
            location = next(place for place in self._locations if place.holds(marker.name))
            if self.books.deletable_marker(marker, location, self._markers):
                self._submit([marker])
        self._drain()

    # -------------------------------------------------------------------------------- listings

    def _listed(self) -> Iterator[Blob]:
        """List every location; yield what may go and note what stays."""
        complete = True
        for location in self._locations:
            unclear = self.books.unclear_in(location)
            for page in self._pages(location):
                if page is None:
                    complete = False
                    break
                for blob in page:
                    unclear.discard(blob.name)
                    if self._may_go(blob, location):
                        yield blob
            else:
                self.books.absent(unclear)
        self.books.listed_all = complete

    def _pages(self, location: Location) -> Iterator[tuple[Blob, ...] | None]:
        """Yield the pages of a listing; a None at the end says that it broke off."""
        from azure.core.exceptions import AzureError

        token = None
        while True:
            self._check_cancel()
            if self.books.denied:
                yield None
                return
            try:
                page = read_page(self._container, location.prefix, token)
            except AzureError as error:
                self.books.fail(error)
                self.books.denied = is_denied(error)
                yield None
                return
            yield page.blobs
            token = page.token
            if token is None:
                return

    def _may_go(self, blob: Blob, location: Location) -> bool:
        if not location.holds(blob.name):
            raise StorageError(
                f"the listing of {location.prefix!r} returned {blob.name!r}, which is not below "
                "it: nothing of it was deleted"
            )
        if not self._bounds.allow(blob):
            if not blob.is_directory:
                self.books.keep(blob.name)
            return False
        self.books.left[blob.name] = blob
        if is_addressable(blob.name):
            return True
        self.books.fail(
            StorageError(
                f"{blob.name!r} has a '.' or '..' segment: a request for it would reach another "
                "blob, so it was left. Delete it with the tool that made it"
            )
        )
        return False

    def _confirm_gone(self) -> None:
        """List again where blobs that were listed were "not found" when they were deleted.

        Mostly somebody else deleted them. But a name that the delete did not reach as it was
        listed would look the same, and must not be reported as gone.
        """
        for location in self._locations:
            names = self.books.gone_in(location)
            if not names:
                continue
            still_there: dict[str, Blob] = {}
            for page in self._pages(location):
                if page is None:
                    self.books.listed_all = False
                    break
                still_there.update((blob.name, blob) for blob in page if blob.name in names)
            else:
                self.books.confirm_gone(names, still_there)

    # -------------------------------------------------------------------------------- requests

    def _submit(self, blobs: Sequence[Blob]) -> None:
        """Send one batch, or single deletes, as soon as there is room."""
        # What is listed may be written again before the request arrives.
        conditional = self._bounds != Bounds()
        if len(blobs) > 1 and self._support.served is not False:
            # A server error may pass; a second one, where no batch ever worked, may not.
            patient = self.passes == 1 or self._support.served is True
            self._start(
                partial(
                    delete_batch,
                    self._container,
                    tuple(blobs),
                    conditional=conditional,
                    patient=patient,
                )
            )
        else:
            self._singles.extend(blobs)
        while self._singles:
            blob = self._singles.popleft()
            self._start(partial(delete_single, self._container, blob, conditional=conditional))

    def _start(self, request: Callable[[], Answer]) -> None:
        while len(self._running) >= self._in_flight:
            self._collect()
        self._check_cancel()
        if not self.books.denied:
            self._running.add(self._pool.submit(_unless_cancelled, self._cancel, request))

    def _drain(self) -> None:
        """Wait for all answers, and look again for what was not found."""
        while self._running or self._singles:
            self._submit(())
            self._collect()
        self._check_cancel()
        self._confirm_gone()

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
            self._batch_failed = True
            self.books.note_unclear(tuple(answer.blobs))
            self._singles.extend(answer.blobs)
            return
        if "deleted" in answer.fates:
            if len(answer.blobs) > 1:
                self._support.note(served=True)
            elif self._batch_failed:  # single deletes work where batches did not
                self._support.note(served=False)
        self.books.note(answer)

    # ------------------------------------------------------------------------------- the caller

    def _check_cancel(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            while self._running:
                self._collect()
            raise Cancelled

    def report(self, note: str = "") -> None:
        """Tell the caller how far it has come; a callback that fails is logged, not obeyed."""
        if self._on_progress is None:
            return
        progress = DeletionProgress(
            files=self.books.files,
            bytes=self.books.bytes,
            total_files=self._totals[0],
            total_bytes=self._totals[1],
            attempt=max(self.passes, 1),
            note=note,
        )
        try:
            self._on_progress(progress)
        except Exception:  # a progress bar must not leave half a model
            _logger.exception("on_progress failed; the deletion goes on")


def _unless_cancelled(cancel: threading.Event | None, request: Callable[[], Answer]) -> Answer:
    """Make a request, unless it was cancelled while it waited behind another deletion."""
    if cancel is not None and cancel.is_set():
        return Answer(())
    return request()


def _outermost(locations: Sequence[Location]) -> tuple[Location, ...]:
    """Drop locations that lie within another one."""
    found: list[Location] = []
    for location in sorted(locations, key=lambda place: place.path.count("/")):
        if not any(outer.path == location.path or outer.holds(location.path) for outer in found):
            found.append(location)
    return tuple(found)
