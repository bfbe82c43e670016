"""What a deletion knows: what is gone, what is left, what stays, what went wrong. No requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from expmgr.errors import StorageError
from expmgr.retry import retry_after
from expmgr.storage.azure_errors import is_denied
from expmgr.storage.batch import BATCH_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from expmgr.storage.batch import Answer, Fate
    from expmgr.storage.listing import Blob
    from expmgr.storage.location import Location

__all__ = ["Books", "Bounds"]


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


class Books:
    """The books of one deletion, kept by one thread.

    Attributes
    ----------
    files, bytes
        Confirmed as deleted by this call; directory stubs are not counted.
    kept
        Names that were left because they are not what the plan saw.
    left
        What the last pass saw and did not confirm as gone.
    listed_all
        False where a listing of the last pass broke off: there may be more than ``left``.
    denied
        True once nothing further can succeed with these credentials.
    """

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self._permanent: set[bool | None] = set()
        # Asked for, but the answer was lost or unclear: a later listing or answer tells.
        self._unclear: dict[str, Blob] = {}
        self.begin_pass()

    def begin_pass(self) -> None:
        """Open the books of a new pass; what was counted stays."""
        self.kept: dict[str, None] = {}
        self.left: dict[str, Blob] = {}
        self.listed_all = False
        self.denied = False
        self._denials = 0
        self._errors: list[Exception] = []
        self._gone: dict[str, Blob] = {}

    @property
    def permanent(self) -> bool | None:
        """True where the service said of every blob that it is gone for good; None: not said."""
        if False in self._permanent:
            return False
        return True if self._permanent == {True} else None

    # -------------------------------------------------------------------------------- listings

    def keep(self, name: str) -> None:
        """Note a blob that stays because the plan did not see it as it is."""
        self.left.pop(name, None)
        self.kept[name] = None

    def unclear_in(self, location: Location) -> set[str]:
        """Return the names of a location whose fate the next listing of it tells."""
        return {name for name in self._unclear if location.holds(name)}

    def absent(self, names: set[str]) -> None:
        """Note names that a complete listing did not show: the answer that was lost was yes."""
        for name in names:
            blob = self._unclear.pop(name, None)
            if blob is not None:
                self._count(blob)

    # --------------------------------------------------------------------------------- answers

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
        self._unclear.update((blob.name, blob) for blob in blobs)

    def _settle(self, blob: Blob, fate: Fate) -> None:
        if fate == "deleted":
            self.left.pop(blob.name, None)
            self._unclear.pop(blob.name, None)
            self._count(blob)
        elif fate == "gone":
            self._gone[blob.name] = blob  # it stays in `left` until a listing confirms it
        elif fate == "changed":
            self.keep(blob.name)
        elif fate == "unclear":
            self._unclear[blob.name] = blob

    def _count(self, blob: Blob) -> None:
        if not blob.is_directory:
            self.files += 1
            self.bytes += blob.bytes

    # ------------------------------------------------------------------------------ "not found"

    def gone_in(self, location: Location) -> set[str]:
        """Return names that were listed, and then not found, and are to be looked for again."""
        return {name for name in self._gone if location.holds(name)}

    def confirm_gone(self, names: set[str], still_there: Mapping[str, Blob]) -> None:
        """Enter what a second, complete listing showed of names that were not found."""
        for name in sorted(names):
            del self._gone[name]
            if name not in still_there:
                self.left.pop(name, None)
            else:
                self.fail(
                    StorageError(
                        f"{name!r} is listed, but a delete of it finds nothing: it is still "
                        "there. Delete it with the tool that made it"
                    )
                )
        self.absent(names - still_there.keys())  # asked for earlier, so it went with that

    # ---------------------------------------------------------------------------------- errors

    def fail(self, error: Exception) -> None:
        """Enter an error."""
        if not self._errors or self._errors[-1] is not error:  # one error may be a whole batch's
            self._errors.append(error)

    def verdict(self, is_transient: Callable[[BaseException], bool]) -> Exception | None:
        """Return the error that says most: a permanent one, else that with the longest wait."""
        permanent = [error for error in self._errors if not is_transient(error)]
        if permanent:
            return permanent[0]
        return max(self._errors, key=retry_after, default=None)

    # ------------------------------------------------------------------------ the order of things

    def deletable_stubs(self, stubs: list[Blob]) -> Iterator[list[Blob]]:
        """Yield directory stubs level by level, deepest first; not those above what stays."""
        if not self.listed_all:  # what is below them is not known
            return
        above_left = _above(name for name, blob in self.left.items() if not blob.is_directory)
        above_kept = _above(self.kept)
        levels: dict[int, list[Blob]] = {}
        for stub in stubs:
            path = stub.name.rstrip("/")
            if path in above_left:
                continue
            if path in above_kept:
                self.left.pop(stub.name, None)
            else:
                levels.setdefault(path.count("/"), []).append(stub)
        for depth in sorted(levels, reverse=True):
            yield levels[depth]

    def deletable_marker(self, marker: Blob, location: Location, markers: set[str]) -> bool:
        """Return True where a location's ``MLmodel`` is all that is left of it."""
        if not self.listed_all:
            return False
        if any(location.holds(name) and name not in markers for name in self.left):
            return False
        if any(location.holds(name) for name in self.kept):
            self.keep(marker.name)
            return False
        return True


def _above(names: Iterator[str] | Mapping[str, None]) -> set[str]:
    found: set[str] = set()
    for name in names:
        path = name.rstrip("/")
        while "/" in path:
            path = path.rpartition("/")[0]
            if path in found:
                break
            found.add(path)
    return found
