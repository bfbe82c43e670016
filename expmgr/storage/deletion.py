"""Deleting everything below some locations: passes that converge.

One pass lists what is there and deletes it, batches going out while the listing goes on. Whatever
a pass could not delete is seen by the next one, because that lists again; so a pass needs no
memory of the one before, and an answer that was lost on the way does no harm.

The pass runs on the caller's thread, which alone keeps the books; only the delete requests run in
the pool.
"""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from expmgr.errors import StorageError
from expmgr.results import DeletionProgress
from expmgr.storage.azure_errors import is_denied
from expmgr.storage.batch import BATCH_SIZE, Answer, BatchSupport, delete_batch, delete_single
from expmgr.storage.blob_path import is_addressable
from expmgr.storage.listing import read_page

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import ThreadPoolExecutor
    from datetime import datetime

    from azure.storage.blob import ContainerClient

    from expmgr.storage.batch import Fate
    from expmgr.storage.listing import Blob
    from expmgr.storage.location import Location

__all__ = ["Bounds", "Cancelled", "Deletion"]

_logger = logging.getLogger(__name__)


class Cancelled(Exception):  # noqa: N818 - not an error; the caller turns it into one
    """The caller's event was set; what was under way has ended."""


@dataclass(frozen=True)
class Bounds:
    """What a deletion may remove.

    Attributes
    ----------
    etags
        Name to entity tag of what the plan saw; None for everything below the locations.
    not_after
        Blobs modified later than this stay.
    """

    etags: Mapping[str, str] | None = None
    not_after: datetime | None = None

    def allow(self, blob: Blob) -> bool:
        """Return True where the blob is what the plan saw."""
        if blob.is_directory:  # deleting what is in a directory changes the directory
            return self.etags is None or blob.name in self.etags
        if self.not_after is not None and blob.last_modified > self.not_after:
            return False
        return self.etags is None or self.etags.get(blob.name) == blob.etag


class Deletion:
    """The passes of one call, and its books.

    Attributes
    ----------
    files, bytes
        Confirmed as deleted by this call.
    passes
        Begun so far.
    kept
        Names that were left because they are not what the plan saw.
    left
        Names that the last pass saw and did not confirm as gone, with their sizes.
    listed_all
        False where a listing of the last pass broke off: there may be more than ``left``.
    permanent
        False where the service said that something can still be recovered; None: it did not say.
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
        self.files = 0
        self.bytes = 0
        self.passes = 0
        self.permanent: bool | None = None
        self.kept: dict[str, None] = {}
        self.left: dict[str, Blob] = {}
        self.listed_all = False
        self._flags: set[bool | None] = set()
        self._unclear: dict[str, Blob] = {}  # asked for, no answer: the next listing tells
        self._begin()

    def _begin(self) -> None:
        self.kept = {}
        self.left = {}
        self.listed_all = False
        self._errors: list[Exception] = []
        self._denied = False
        self._denials = 0
        self._batch_failed = False
        self._gone: set[str] = set()
        self._running: set[Future[Answer]] = set()
        self._singles: deque[Blob] = deque()

    def run_pass(self) -> None:
        """List what is there and delete it, once.

        Raises
        ------
        Cancelled
            When the event was set between two requests.
        Exception
            The error that says most about why something is left: a permanent one first, else
            the one whose server asks for the longest wait.
        """
        from expmgr.retry import retry_after

        self._check_cancel()  # before the books of the last pass are closed
        self.passes += 1
        self._begin()
        try:
            self._files_then_stubs_then_markers()
        except Cancelled:
            if self.left or not self.listed_all:
                raise
        finally:  # also on KeyboardInterrupt: nothing goes on deleting behind the caller's back
            for future in self._running:
                future.cancel()
            wait(self._running)
        self.permanent = _agree(self._flags)
        permanent = [error for error in self._errors if not self._is_transient(error)]
        if permanent:
            raise permanent[0]
        if self._errors:
            raise max(self._errors, key=retry_after)

    def _files_then_stubs_then_markers(self) -> None:
        stubs: list[Blob] = []
        markers: list[Blob] = []
        buffer: list[Blob] = []
        for blob in self._listed():
            if blob.is_directory:
                stubs.append(blob)
            elif blob.name in self._markers:
                markers.append(blob)
            else:
                buffer.append(blob)
                if len(buffer) == BATCH_SIZE:
                    self._submit(buffer)
                    buffer = []
        self._submit(buffer)
        self._drain()
        self._confirm_gone()
        self._delete_stubs(stubs)
        self._delete_markers(markers)

    def _listed(self) -> Iterator[Blob]:
        """List every location; yield what may go and note what stays."""
        from azure.core.exceptions import AzureError

        complete = True
        for location in self._locations:
            pending = {n: b for n, b in self._unclear.items() if location.holds(n)}
            token = None
            while True:
                self._check_cancel()
                if self._denied:
                    return
                try:
                    page = read_page(self._container, location.prefix, token)
                except AzureError as error:
                    self._fail(error)
                    self._denied = is_denied(error)
                    complete = False
                    break
                for blob in page.blobs:
                    pending.pop(blob.name, None)
                    self._unclear.pop(blob.name, None)
                    if self._may_go(blob, location):
                        yield blob
                token = page.token
                if token is None:
                    for name, blob in pending.items():  # the lost answer was: deleted
                        del self._unclear[name]
                        self._count(blob)
                    break
        self.listed_all = complete

    def _may_go(self, blob: Blob, location: Location) -> bool:
        if not location.holds(blob.name):
            raise StorageError(
                f"the listing of {location.prefix!r} returned {blob.name!r}, which is not below "
                "it: nothing of it was deleted"
            )
        if not self._bounds.allow(blob):
            if not blob.is_directory:
                self.kept[blob.name] = None
            return False
        self.left[blob.name] = blob
        if not is_addressable(blob.name):
            self._fail(
                StorageError(
                    f"{blob.name!r} has a '.' or '..' segment: a request for it would reach "
                    "another blob, so it was left. Delete it with the tool that made it"
                )
            )
            return False
        return True

    # -------------------------------------------------------------------------------- requests

    def _submit(self, blobs: Sequence[Blob]) -> None:
        """Send one batch, or single deletes, as soon as there is room."""
        if not blobs:
            return
        if len(blobs) == 1 or self._support.served is False:
            self._singles.extend(blobs)
        else:
            patient = self.passes == 1 or self._support.served is True
            self._start(
                partial(
                    delete_batch,
                    self._container,
                    tuple(blobs),
                    conditional=self._bounds.etags is not None,
                    patient=patient,
                ),
                blobs,
            )
        self._start_singles()

    def _start_singles(self) -> None:
        while self._singles:
            blob = self._singles.popleft()
            self._start(
                partial(
                    delete_single,
                    self._container,
                    blob,
                    conditional=self._bounds.etags is not None,
                ),
                [blob],
            )

    def _start(self, request: Callable[[], Answer], blobs: Sequence[Blob]) -> None:
        while len(self._running) >= self._in_flight:
            self._collect()
        self._check_cancel()
        if not self._denied:
            cancel = self._cancel

            def unless_cancelled() -> Answer:
                if cancel is not None and cancel.is_set():  # it waited behind another deletion
                    return Answer(blobs)
                return request()

            self._running.add(self._pool.submit(unless_cancelled))

    def _drain(self) -> None:
        while self._running or self._singles:
            self._start_singles()
            self._collect()
        self._check_cancel()

    def _collect(self) -> None:
        """Wait for some answer and keep the books."""
        if not self._running:
            return
        done, self._running = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            self._note(future.result())
        self._report()

    def _note(self, answer: Answer) -> None:
        if not answer.served:
            if answer.lasting:
                self._support.note(served=False)
            self._batch_failed = True
            self._unclear.update((blob.name, blob) for blob in answer.blobs)
            self._singles.extend(answer.blobs)
            return
        if "deleted" in answer.fates:
            if len(answer.blobs) > 1:
                self._support.note(served=True)
            elif self._batch_failed:  # single deletes work where batches did not
                self._support.note(served=False)
            self._flags.add(answer.permanent)
        for blob, fate in zip(answer.blobs, answer.fates, strict=False):
            self._settle(blob, fate)
        for error in answer.errors.values():
            self._fail(error)
            self._denials += is_denied(error)
        if self._denials >= BATCH_SIZE and self.files == 0:
            self._denied = True  # nothing further can succeed with these credentials

    def _settle(self, blob: Blob, fate: Fate) -> None:
        if fate == "unclear":
            self._unclear[blob.name] = blob
        elif fate == "changed":
            self.left.pop(blob.name, None)
            self.kept[blob.name] = None
        elif fate == "deleted":
            self._confirm(blob)
        elif fate == "gone":
            self._gone.add(blob.name)
            if blob.name in self._unclear:  # it went with an answer that was lost
                self._confirm(blob)
            else:
                self.left.pop(blob.name, None)

    def _confirm(self, blob: Blob) -> None:
        self.left.pop(blob.name, None)
        self._unclear.pop(blob.name, None)
        self._count(blob)

    def _count(self, blob: Blob) -> None:
        if not blob.is_directory:
            self.files += 1
            self.bytes += blob.bytes

    def _fail(self, error: Exception) -> None:
        if not self._errors or self._errors[-1] is not error:  # one error may be a whole batch's
            self._errors.append(error)

    # ------------------------------------------------------------------------ the order of things

    def _confirm_gone(self) -> None:
        """List again where blobs that were listed were "not found" when they were deleted.

        Mostly somebody else deleted them. But a name that the delete did not reach as it was
        listed would look the same, and must not be reported as gone.
        """
        from azure.core.exceptions import AzureError

        for location in self._locations:
            names = {name for name in self._gone if location.holds(name)}
            token = None
            while names:
                try:
                    page = read_page(self._container, location.prefix, token)
                except AzureError as error:
                    self._fail(error)
                    self.listed_all = False
                    break
                for blob in page.blobs:
                    if blob.name in names:
                        self.left[blob.name] = blob
                        self._fail(
                            StorageError(
                                f"{blob.name!r} is listed, but a delete of it finds nothing: "
                                "it is still there. Delete it with the tool that made it"
                            )
                        )
                token = page.token
                if token is None:
                    break
        self._gone.clear()

    def _delete_stubs(self, stubs: Sequence[Blob]) -> None:
        """Delete directory stubs, deepest first; not those above something that stays."""
        busy = {name for name in self.left if not self.left[name].is_directory}
        above = {parent for name in (*busy, *self.kept) for parent in _parents(name)}
        levels: dict[int, list[Blob]] = {}
        for stub in stubs:
            path = stub.name.rstrip("/")
            if path in above:
                if not self.listed_all or self._errors:
                    continue  # it stays in `left`, with what is in it
                self.left.pop(stub.name, None)
            else:
                levels.setdefault(path.count("/"), []).append(stub)
        for depth in sorted(levels, reverse=True):
            level = levels[depth]
            for start in range(0, len(level), BATCH_SIZE):
                self._submit(level[start : start + BATCH_SIZE])
            self._drain()

    def _delete_markers(self, markers: Sequence[Blob]) -> None:
        """Delete a location's own ``MLmodel`` where nothing else of the location is left."""
        held = {marker.name for marker in markers}
        for marker in markers:
            location = next(place for place in self._locations if place.holds(marker.name))
            others = [name for name in self.left if name not in held and location.holds(name)]
            if others or not self.listed_all:
                continue
            if any(location.holds(name) for name in self.kept):
                self.left.pop(marker.name, None)
                self.kept[marker.name] = None
                continue
            self._submit([marker])
        self._drain()
        self._confirm_gone()

    # ------------------------------------------------------------------------------- the caller

    def _check_cancel(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            while self._running:
                self._collect()
            raise Cancelled

    def _report(self) -> None:
        self.report("")

    def report(self, note: str) -> None:
        """Tell the caller how far it has come; a callback that fails is logged, not obeyed."""
        if self._on_progress is None:
            return
        progress = DeletionProgress(
            files=self.files,
            bytes=self.bytes,
            total_files=self._totals[0],
            total_bytes=self._totals[1],
            attempt=max(self.passes, 1),
            note=note,
        )
        try:
            self._on_progress(progress)
        except Exception:  # a progress bar must not leave half a model
            _logger.exception("on_progress failed; the deletion goes on")


def _outermost(locations: Sequence[Location]) -> tuple[Location, ...]:
    """Drop locations that lie within another one."""
    found: list[Location] = []
    for location in sorted(locations, key=lambda place: place.path.count("/")):
        if not any(outer.path == location.path or outer.holds(location.path) for outer in found):
            found.append(location)
    return tuple(found)


def _parents(name: str) -> Iterator[str]:
    path = name.rstrip("/")
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _agree(flags: set[bool | None]) -> bool | None:
    if False in flags:
        return False
    return True if flags == {True} else None
