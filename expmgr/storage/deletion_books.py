"""What a deletion knows: what is gone, what is left, what stays, what went wrong. No requests.

An answer to a delete is hearsay: it may be lost, cut, or belong to another request. What counts is
the next complete listing. So a blob that was asked for stays in the books as asked until a listing
tells what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from expmgr.errors import StorageError
from expmgr.formatting import format_count
from expmgr.retry import retry_after
from expmgr.storage.azure_errors import is_denied
from expmgr.storage.batch import BATCH_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from expmgr.storage.batch import Answer, Condition, Fate
    from expmgr.storage.listing import Blob
    from expmgr.storage.location import Location

__all__ = ["Books", "Bounds", "StillThereError"]

# `Last-Modified` has seconds. A blob that was last written longer ago than this, by the server's
# own clock, when it was listed cannot be written again with the same one.
_SETTLED = timedelta(seconds=60)


class StillThereError(StorageError):
    """A listing shows what an answer said was gone; another attempt may delete it."""


@dataclass(frozen=True)
class Bounds:
    """What a deletion may remove.

    Attributes
    ----------
    etags
        Name to entity tag of what the plan saw; None for everything below the locations.
    not_after
        Blobs modified later than this stay.
    only
        Names that the deletion is about; what else lies in the locations is not its concern. None
        for everything below them.
    """

    etags: Mapping[str, str] | None = None
    not_after: datetime | None = None
    only: frozenset[str] | None = None

    def concern(self, name: str) -> bool:
        """Return True where the deletion is about a blob."""
        return self.only is None or name in self.only

    def allow(self, blob: Blob) -> bool:
        """Return True where the blob is what the plan saw."""
        if blob.is_directory:  # deleting what is in a directory changes the directory
            return self.etags is None or blob.name in self.etags
        if self.not_after is not None and blob.last_modified > self.not_after:
            return False
        return self.etags is None or self.etags.get(blob.name) == blob.etag


@dataclass(frozen=True, slots=True)
class _Asked:
    """A blob that a delete was sent for, and the last answer."""

    blob: Blob
    fate: Fate
    condition: Condition


class Books:
    """The books of one deletion, kept by one thread.

    Parameters
    ----------
    locations
        What is deleted, none within another.
    bounds
        What of it may go.
    markers
        Names of the ``MLmodel`` files that go last.

    Attributes
    ----------
    files, bytes
        Deleted by this call, as far as answers and listings told; directory stubs are not counted.
    kept
        Names that stay because they are not what the plan saw.
    left
        What was seen and not said to be gone since.
    listed_all
        True where the last listing was complete: there is no more than ``left`` and ``kept``.
    listings
        Complete ones so far.
    denied
        True once nothing further can succeed with these credentials.
    """

    def __init__(
        self, locations: Sequence[Location], bounds: Bounds, markers: frozenset[str] = frozenset()
    ) -> None:
        self.files = 0
        self.bytes = 0
        self.kept: dict[str, None] = {}
        self.left: dict[str, Blob] = {}
        self.listed_all = False
        self.listings = 0
        self._locations = locations
        self._bounds = bounds
        self._markers = markers
        self._permanent: set[bool | None] = set()
        self._asked: dict[str, _Asked] = {}
        self._before: dict[str, _Asked] = {}  # asked before the listing that is under way
        self._silent: dict[str, Blob] = {}  # never answered, and missing in one listing
        self._open = False
        self._unseen: tuple[dict[str, Blob], dict[str, None]] = ({}, {})
        self._unclear: set[str] = set()  # asked once without an answer: that may have done it
        self._by_time: set[str] = set()
        self.begin_pass()

    def begin_pass(self) -> None:
        """Open the books of a new pass; what was counted and asked stays."""
        self.denied = False
        self._denials = 0
        self._errors: list[Exception] = []
        self._lied: list[str] = []
        self._unfindable: list[str] = []
        self._refused: list[str] = []

    @property
    def permanent(self) -> bool | None:
        """True where the service said of every blob that it is gone for good; None: not said."""
        if False in self._permanent:
            return False
        return True if self._permanent == {True} else None

    @property
    def untold(self) -> bool:
        """True where no listing told yet what became of a delete.

        One is enough where the service answered. Where it said nothing two must agree.
        """
        return bool(self._asked or self._before or self._silent)

    @property
    def unanswered(self) -> frozenset[str]:
        """Files that were asked for and of which nobody told yet whether they went.

        They are not counted among ``files``: a request without an answer may have done its work.
        """
        doubtful = dict(self._silent)
        for name, one in {**self._before, **self._asked}.items():
            if one.fate != "deleted" and name in self._unclear:
                doubtful[name] = one.blob
        return frozenset(name for name, blob in doubtful.items() if not blob.is_directory)

    @property
    def failing(self) -> bool:
        """True where this pass noted an error."""
        return bool(self._errors)

    @property
    def proved(self) -> bool:
        """True where a complete listing, after which nothing was asked for, left nothing."""
        return self.listed_all and not self.untold and not self.left

    # -------------------------------------------------------------------------------- listings

    def plan(self, blobs: Iterable[Blob]) -> None:
        """Enter what a plan saw as what is there, before the first listing of this call."""
        self.left.update((blob.name, blob) for blob in blobs)

    def begin_listing(self) -> None:
        """Begin to enter a listing: what was left and kept is read anew."""
        self._before.update(self._asked)
        self._asked = {}
        self._open = True
        self._unseen = (self.left, self.kept)
        self.left = {}
        self.kept = {}
        self.listed_all = False

    def saw(self, blob: Blob, listed_at: datetime) -> bool:
        """Enter a blob that a listing shows; return True where it may go."""
        if not self._bounds.concern(blob.name):
            return False
        self._silent.pop(blob.name, None)
        before = self._before.pop(blob.name, None)
        if before is not None:
            self._contradict(before, blob, listed_at)
        if not self._bounds.allow(blob):
            if not blob.is_directory:
                self.kept[blob.name] = None
            return False
        self.left[blob.name] = blob
        return True

    def end_listing(self, *, complete: bool) -> None:
        """Close a listing: what was asked for, and answered, and is not in it is gone.

        One that broke off proves nothing about what it did not come to. Does nothing where none
        is open.
        """
        if not self._open:
            return
        self._open = False
        if not complete:
            left, kept = self._unseen
            self.left = {**left, **self.left}
            self.kept = {name: None for name in {**kept, **self.kept} if name not in self.left}
            return
        for blob in self._silent.values():
            self._count(blob, 1)
        self._silent = {}
        for name, asked in self._before.items():
            if asked.fate == "unclear":
                self._silent[name] = asked.blob
            elif asked.fate != "deleted" and name in self._unclear:
                self._count(asked.blob, 1)
        self._before = {}
        self.listings += 1
        self.listed_all = True
        above_kept = _above(self.kept)
        for name, blob in list(self.left.items()):
            if blob.is_directory and name.rstrip("/") in above_kept:
                del self.left[name]  # goes with what is kept in it
            elif name in self._markers and self._holds_kept(name):
                del self.left[name]
                self.kept[name] = None

    def _contradict(self, asked: _Asked, blob: Blob, listed_at: datetime) -> None:
        """Enter that what was asked for is still there, or there again."""
        name = blob.name
        if not blob.is_directory and blob.etag != asked.blob.etag:
            return  # written anew, so the answer may have been true
        if asked.fate == "deleted":
            self._lied.append(name)
            self._count(asked.blob, -1)
        elif asked.fate == "gone":
            self._unfindable.append(name)
        elif asked.fate == "unmet" and asked.condition == "time":
            self._refused.append(name)
        elif asked.fate == "unmet":
            self._lied.append(name)
            if blob.last_modified + _SETTLED <= listed_at:
                self._by_time.add(name)

    def _holds_kept(self, name: str) -> bool:
        location = next(place for place in self._locations if place.holds(name))
        return any(location.holds(kept) for kept in self.kept)

    # --------------------------------------------------------------------------------- answers

    def condition(self, blob: Blob) -> Condition:
        """Return what a delete of a blob is to be conditional on.

        What is listed may be written again before the request arrives. Where the service said
        that an entity tag did not match and then listed that very tag, the time is asked for in
        its place.
        """
        if self._bounds == Bounds():
            return "none"
        return "time" if blob.name in self._by_time else "etag"

    def note(self, answer: Answer) -> None:
        """Enter an answer."""
        if "deleted" in answer.fates:
            self._permanent.add(answer.permanent)
        for blob, fate in zip(answer.blobs, answer.fates, strict=False):
            self._settle(blob, fate)
        for error in answer.errors.values():
            self.fail(error)
            self._denials += is_denied(error)
        if self._denials >= BATCH_SIZE and self.files == 0:
            self.denied = True

    def note_unclear(self, blobs: tuple[Blob, ...]) -> None:
        """Enter that blobs were asked for, and that it is not known what was done."""
        for blob in blobs:
            self._settle(blob, "unclear")

    def _settle(self, blob: Blob, fate: Fate) -> None:
        self._asked[blob.name] = _Asked(blob, fate, self.condition(blob))
        if fate == "deleted":
            self.left.pop(blob.name, None)
            self._count(blob, 1)
        elif fate == "unclear":
            self._unclear.add(blob.name)

    def _count(self, blob: Blob, sign: int) -> None:
        if not blob.is_directory:
            self.files += sign
            self.bytes += sign * blob.bytes

    # ---------------------------------------------------------------------------------- errors

    def fail(self, error: Exception) -> None:
        """Enter an error."""
        if not self._errors or self._errors[-1] is not error:  # one error may be a whole batch's
            self._errors.append(error)

    def verdict(self, is_transient: Callable[[BaseException], bool]) -> Exception | None:
        """Return why something is left; None where nothing is, whatever went wrong on the way."""
        if self.proved:
            return None
        return self.reason(is_transient) or StillThereError(
            f"{format_count(len(self.left), 'file')} came while the deletion went on"
        )

    def reason(self, is_transient: Callable[[BaseException], bool]) -> Exception | None:
        """Return what went wrong: a permanent error, else that with the longest wait."""
        errors = [*self._errors, *self._contradictions()]
        permanent = [error for error in errors if not is_transient(error)]
        if permanent:
            return permanent[0]
        return max(errors, key=retry_after, default=None)

    def _contradictions(self) -> Iterator[Exception]:
        for name in self._unfindable[:1]:
            yield StorageError(
                f"{name!r} is listed, but a delete of it finds nothing: it is still there. Delete "
                "it with the tool that made it"
            )
        for name in self._refused[:1]:
            yield StorageError(
                f"the service says that {name!r} changed, but lists it unchanged: it was left. "
                "Delete it with the tool that made it"
            )
        for name in self._lied[:1]:
            yield StillThereError(
                f"{name!r} is still listed as it was, though the service answered otherwise to "
                "the delete of it"
            )

    # ------------------------------------------------------------------------ the order of things

    def deletable_stubs(self) -> Iterator[list[Blob]]:
        """Yield directory stubs level by level, deepest first; not those above what stays."""
        if not self.listed_all:  # what is below them is not known
            return
        above_left = _above(name for name, blob in self.left.items() if not blob.is_directory)
        levels: dict[int, list[Blob]] = {}
        for stub in self.left.values():
            path = stub.name.rstrip("/")
            if stub.is_directory and path not in above_left:
                levels.setdefault(path.count("/"), []).append(stub)
        for depth in sorted(levels, reverse=True):
            yield levels[depth]

    def deletable_markers(self) -> Iterator[Blob]:
        """Yield each ``MLmodel`` that is all that is left of its location."""
        if not self.listed_all:
            return
        for name in sorted(self._markers & self.left.keys()):
            location = next(place for place in self._locations if place.holds(name))
            if not any(location.holds(other) and other not in self._markers for other in self.left):
                yield self.left[name]


def _above(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        path = name.rstrip("/")
        while "/" in path:
            path = path.rpartition("/")[0]
            if path in found:
                break
            found.add(path)
    return found
