"""What one deletion was, as a value and as the text of a tag. Pure.

The value is JSON that names its owner, so that tags which a tool copied to another run mean nothing
there. MLflow cuts a tag's value silently at 8,000 characters
(``mlflow.utils.validation.MAX_TAG_VAL_LENGTH``), so a longer record is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
import posixpath
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from expmgr.catalog.model import is_model_id, run_and_path
from expmgr.catalog.parts import PARTS, is_named
from expmgr.errors import JournalError
from expmgr.storage.location import Location
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from expmgr.catalog.parts import Part
    from expmgr.storage.location import LocationKind

__all__ = [
    "LEASE_SECONDS",
    "MARK_STATES",
    "MARK_TAG_PREFIX",
    "MODEL_TAG",
    "PART_TAG",
    "PART_TAG_PREFIX",
    "RECORD_TAG_PREFIX",
    "DeletionRecord",
    "PartFiles",
    "RecordState",
    "decode_record",
    "now_ms",
    "owner_of",
    "part_among",
    "part_digest",
    "planned_among",
    "planned_count",
    "seen_digest",
]

RECORD_TAG_PREFIX = "expmgr.deletion."
MARK_TAG_PREFIX = "expmgr.mark."
"""Marks stand beside the deletions, not among them: a mark deletes nothing and tells no state."""
MODEL_TAG = "expmgr.model"
PART_TAG_PREFIX = "expmgr.part."
"""Records of parts have keys of their own: nothing that asks what became of a model reads them."""
PART_TAG = "expmgr.part"
LEASE_SECONDS = 900.0
"""How long a record is believed without being renewed; a longer deletion renews it as it goes."""

_MOST_AHEAD_MS = 3_600_000
"""A deadline further ahead than a lease and this was written by a clock that is wrong."""
_LAST_MS = 253_402_300_799_000  # the year 9999, where `datetime` ends

_MAX_CHARACTERS = 7_500
_MAX_CHARACTERS_AT_END = 7_700  # what could be begun can be ended: times and numbers grow
_MAX_NOTE = 500
_MAX_SEEN = 1_000
_MAX_PART = 500
_DIGEST = 4  # bytes: of a thousand files, a foreign one is taken for a planned one 1 in 4 million
_VERSION = 1
_KIND_TO_CODE: dict[LocationKind, str] = {
    "logged_model": "m",
    "run_model": "r",
    "run_artifacts": "a",
}
_CODE_TO_KIND = {code: kind for kind, code in _KIND_TO_CODE.items()}

RecordState = Literal[
    "deleting", "deleted", "failed", "cancelled", "restored", "marked", "kept", "replaced", "done"
]
MARK_STATES: frozenset[str] = frozenset({"marked", "kept", "replaced", "done"})
"""A deletion that is to happen later, and how that ended."""


def now_ms() -> int:
    """Return the time in milliseconds since 1970, as MLflow counts it."""
    return int(time.time() * 1000)


@dataclass(frozen=True)
class DeletionRecord:
    """One deletion as the journal holds it. Times are milliseconds since 1970 (UTC).

    Attributes
    ----------
    owner_id
        The run, or the model where that has no run, whose tags hold the record.
    planned_at
        The storage service's clock when the plan's listing was made; files written after it are
        not this deletion's. None for a deletion that never had a plan.
    forced
        The protections that ``force=True`` overrode.
    asked
        The model that was named by its own id, where the record is its run's.
    seen
        A short digest of each file that the plan saw, see `seen_digest`; "" where they are too
        many, or there was no plan. Of a part see `part_digest`.
    part
        What of the locations goes: all of it, or a part's files.
    counts
        Of a part: how many files were planned in each location.
    due
        When a mark is to be carried out; None for a deletion.
    unanswered
        Of one that was cancelled: files beside ``files`` that may have gone, as no answer told.
    nobodys
        Of a folder: no server said that its owner was deleted, a person named it.
    """

    record_id: str
    owner_id: str
    state: RecordState
    locations: tuple[Location, ...]
    owner: str
    began: int
    deadline: int
    planned_at: int | None = None
    ended: int | None = None
    files: int = 0
    bytes: int = 0
    forced: tuple[str, ...] = ()
    note: str = ""
    seen: str = ""
    asked: str = ""
    part: Part = "model"
    counts: tuple[int, ...] = ()
    due: int | None = None
    unanswered: int = 0
    nobodys: bool = False

    @property
    def changed_nothing(self) -> bool:
        """Whether it was cancelled before any file went, or may have gone."""
        return self.state == "cancelled" and not self.files and not self.unanswered

    def is_live(self, at: int) -> bool:
        """Whether its owner may still be at work at that time (ms)."""
        latest = at + int(LEASE_SECONDS * 1000) + _MOST_AHEAD_MS
        return self.state == "deleting" and at < self.deadline <= latest

    def is_unfinished(self) -> bool:
        """Whether it may have left half a model.

        One that was cancelled before any file went has left a whole one.
        """
        return self.state in {"deleting", "failed"} or (
            self.state == "cancelled" and not self.changed_nothing
        )

    @property
    def touched(self) -> int:
        """When it was last at work, as far as it tells."""
        renewed_at = self.deadline - int(LEASE_SECONDS * 1000)
        return max(self.began, self.ended or (renewed_at if self.state == "deleting" else 0))

    def to_tag(self) -> tuple[str, str]:
        """Return tag key and JSON value.

        Raises
        ------
        JournalError
            The value would be longer than MLflow keeps whole.
        """
        value = self._json(self.note[:_MAX_NOTE])
        if len(value) > _MAX_CHARACTERS:
            value = self._json(self.note[:_MAX_NOTE], packed=True)
        if len(value) > _MAX_CHARACTERS:  # the words may go, the locations may not
            value = self._json("", packed=True)
        if len(value) > _MAX_CHARACTERS:  # without digests a resume leaves what is in doubt
            value = self._json("", packed=True, seen=False)
        begins = self.state in {"deleting", "marked"}
        if len(value) > (_MAX_CHARACTERS if begins else _MAX_CHARACTERS_AT_END):
            message = (
                f"the deletion of {owner_of(self.owner_id)} has {len(self.locations)} locations, "
                "more than one journal tag can hold, so nothing was deleted. Delete the models in "
                "parts with model_ids=[...]."
            )
            raise JournalError(message, run_id=self.owner_id)
        prefix = MARK_TAG_PREFIX if self.state in MARK_STATES else _prefix(self.part)
        return prefix + self.record_id, value

    def _json(self, note: str, *, packed: bool = False, seen: bool = True) -> str:
        first = self.locations[0]
        root = posixpath.commonpath([location.path for location in self.locations])
        locations = [
            _KIND_TO_CODE[location.kind]
            + ("!" if location.marker_last else ":")
            + location.path[len(root) :].lstrip("/")
            for location in self.locations
        ]
        return json.dumps(
            {
                "v": _VERSION,
                "run": self.owner_id,
                "state": self.state,
                "at": [first.account, first.container, root],
                "locations": _pack(locations) if packed else locations,
                "owner": self.owner,
                "began": self.began,
                "deadline": self.deadline,
                "planned_at": self.planned_at,
                "ended": self.ended,
                "files": self.files,
                "bytes": self.bytes,
                "forced": list(self.forced),
                "note": note,
                **({"seen": self.seen} if self.seen and seen else {}),
                **({"asked": self.asked} if self.asked else {}),
                **({"part": self.part} if self.part != "model" else {}),
                **({"counts": self.counts} if is_named(self.part) else {}),
                **({"due": self.due} if self.due is not None else {}),
                **({"unanswered": self.unanswered} if self.unanswered else {}),
                **({"nobodys": True} if self.nobodys else {}),
            },
            separators=(",", ":"),
        )


def _prefix(part: Part) -> str:
    return PART_TAG_PREFIX if is_named(part) else RECORD_TAG_PREFIX


def _part(data: Mapping[str, object]) -> Part:
    part = data.get("part", "model")
    if isinstance(part, str):
        if part not in PARTS:
            raise ValueError(part)
        return part
    if not isinstance(part, list):
        raise TypeError(part)
    return tuple(map(str, part))


def _pack(entries: Sequence[str]) -> str:
    """Return many locations as one short text; it holds a few hundred models in a tag."""
    return base64.b85encode(zlib.compress("\n".join(entries).encode(), 9)).decode("ascii")


def _unpack(text: str) -> list[str]:
    try:
        return zlib.decompress(base64.b85decode(text)).decode().split("\n")
    except zlib.error as error:
        raise ValueError(text) from error


def _time(value: object) -> int:
    """Return a time in milliseconds; ValueError for one that no clock has shown."""
    number = int(value)  # type: ignore[call-overload]  # a wrong type raises, and tells nothing
    if not 0 <= number <= _LAST_MS:
        raise ValueError(value)
    return int(number)


def decode_record(key: str, value: str, owner_id: str) -> DeletionRecord | None:
    """Return the record that a tag holds, None where it is another owner's or cannot be read."""
    try:
        data = json.loads(value)
        if data["v"] != _VERSION or data["run"] != owner_id:
            return None
        part = _part(data)
        if not key.startswith(_prefix(part)):
            return None  # a part is no deletion of a model, nor the other way round
        account, container, root = data["at"]
        locations = []
        entries = data["locations"]
        for entry in _unpack(entries) if isinstance(entries, str) else entries:
            kind = _CODE_TO_KIND[entry[0]]
            path = posixpath.join(root, entry[2:]) if entry[2:] else root
            owner = path.split("/")[-2] if kind == "logged_model" else owner_id
            locations.append(Location(account, container, path, kind, owner, entry[1] == "!"))
        return DeletionRecord(
            record_id=key[len(_prefix(part)) :],
            owner_id=owner_id,
            state=data["state"],
            locations=tuple(locations),
            owner=str(data["owner"]),
            began=_time(data["began"]),
            deadline=_time(data["deadline"]),
            planned_at=None if data["planned_at"] is None else _time(data["planned_at"]),
            ended=None if data["ended"] is None else _time(data["ended"]),
            files=int(data["files"]),
            bytes=int(data["bytes"]),
            forced=tuple(map(str, data["forced"])),
            note=str(data["note"]),
            seen=str(data.get("seen", "")),
            asked=str(data.get("asked", "")),
            part=part,
            counts=tuple(map(int, data.get("counts", ()))),
            due=None if data.get("due") is None else _time(data["due"]),
            unanswered=int(data.get("unanswered", 0)),
            nobodys=data.get("nobodys") is True,
        )
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None  # not ours, or of a later version: it tells nothing


def owner_of(owner_id: str) -> str:
    """Return how a message calls the owner of a deletion. Pure."""
    if owner_id.endswith("/artifacts/"):  # a folder that nobody owns
        return f"folder {plain(owner_id)}"
    is_model = is_model_id(owner_id) or run_and_path(owner_id) is not None
    return f"{'model' if is_model else 'run'} {plain(owner_id)}"


def _digest(name: str, etag: str) -> bytes:
    return hashlib.blake2b(f"{name}\0{etag}".encode(), digest_size=_DIGEST).digest()


def seen_digest(etags: Mapping[str, str]) -> str:
    """Return what tells later which files a plan saw, "" where they are too many for a tag. Pure.

    Storage times are of a second, so time alone cannot tell a file that the plan saw from one that
    came within that second.
    """
    if len(etags) > _MAX_SEEN:
        return ""
    digests = b"".join(sorted(_digest(name, etag) for name, etag in etags.items()))
    return base64.b85encode(digests).decode("ascii")


def planned_among(record: DeletionRecord, etags: Mapping[str, str]) -> dict[str, str] | None:
    """Return those of some files that the record's plan saw, None where it does not tell. Pure."""
    if not record.seen:
        return None
    try:
        digests = base64.b85decode(record.seen)
    except ValueError:
        return {}
    known = {digests[at : at + _DIGEST] for at in range(0, len(digests), _DIGEST)}
    return {name: etag for name, etag in etags.items() if _digest(name, etag) in known}


def planned_count(record: DeletionRecord) -> int:
    """Return how many files a record's plan saw of whole models, 0 where it does not tell. Pure."""
    try:
        return len(base64.b85decode(record.seen)) // _DIGEST
    except ValueError:
        return 0


@dataclass(frozen=True)
class PartFiles:
    """Those of some files that a recorded part is about.

    Attributes
    ----------
    names
        They bear the name of a recorded file.
    etags
        Those of them that are as the plan saw them, with their entity tag.
    """

    names: frozenset[str]
    etags: Mapping[str, str]


def _part_entry(name: str, etag: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=_DIGEST).digest() + _digest(name, etag)


def part_digest(etags: Mapping[str, str]) -> str:
    """Return what tells later which files a part is about, "" where they are too many. Pure.

    Each file's name and what the plan saw of it: a file that was written anew is told from one
    that the part is not about.
    """
    if len(etags) > _MAX_PART:
        return ""
    entries = b"".join(sorted(_part_entry(name, etag) for name, etag in etags.items()))
    return base64.b85encode(entries).decode("ascii")


def part_among(record: DeletionRecord, etags: Mapping[str, str]) -> PartFiles | None:
    """Return those of some files that a record's part is about, None where it does not tell. Pure.

    Parameters
    ----------
    etags
        Name to entity tag of what lies in the record's locations.
    """
    if not record.seen:
        return None
    try:
        digests = base64.b85decode(record.seen)
    except ValueError:
        return None
    size = 2 * _DIGEST
    entries = {digests[at : at + size] for at in range(0, len(digests), size)}
    names = {entry[:_DIGEST] for entry in entries}
    here = {name: _part_entry(name, etag) for name, etag in etags.items()}
    return PartFiles(
        frozenset(name for name, entry in here.items() if entry[:_DIGEST] in names),
        {name: etags[name] for name, entry in here.items() if entry in entries},
    )
