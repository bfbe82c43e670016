"""The XML of a listing, read as it streams by: a tree of it would be 130,000 elements a page.

Those are objects that the garbage collector counts and looks through again and again: beside a
notebook's other objects a tree cost 42 microseconds a blob, and these handlers cost 14 [measured].
Format: https://learn.microsoft.com/rest/api/storageservices/list-blobs
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar
from urllib.parse import unquote
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Enumeration", "read_enumeration"]

_T = TypeVar("_T")

_ROOT, _PART, _ITEM, _FIELD, _ENTRY = range(1, 6)
"""How deep an element lies: ``EnumerationResults/Blobs/Blob/Properties/Etag``."""

_READ = frozenset(
    {
        *("AccessTier", "AccessTierChangeTime", "Content-Length", "Creation-Time", "Etag"),
        *("Last-Modified", "ResourceType", "hdi_isfolder"),
    }
)
"""Properties and metadata that somebody reads, which hold no elements."""


@dataclass(frozen=True)
class Enumeration(Generic[_T]):
    """What an answer to List Blobs says.

    Attributes
    ----------
    tag
        Of its outermost element, ``EnumerationResults`` where it is a listing.
    endpoint, container
        Which account and container it says it is about.
    prefix
        What it says it was asked for.
    has_blobs
        Whether it has an element for blobs at all.
    blobs
        In its order.
    folders
        What stands for the blobs below a delimiter, in its order.
    marker
        Where the next page begins; "" on the last one.
    """

    tag: str
    endpoint: str
    container: str
    prefix: str
    has_blobs: bool
    blobs: tuple[_T, ...]
    folders: tuple[str, ...]
    marker: str


def read_enumeration(
    body: bytes, blob: Callable[[str, Mapping[str, str], bool], _T]
) -> Enumeration[_T]:
    """Read an answer. What it holds beside what is looked for is passed over.

    Parameters
    ----------
    body
        The whole answer, in UTF-8.
    blob
        Makes a blob of its name, its properties as they stand there, and whether its metadata call
        it a directory; called in their order.

    Raises
    ------
    ValueError
        It is no XML, or cut off, or has a document type (whose entities are never expanded), or
        elements where text belongs; or as ``blob`` raises it.
    """
    reading = _Reading(blob)
    _walk(body, reading)
    return reading.enumeration()


def _walk(body: bytes, reading: _Reading[Any]) -> None:
    """Go through an answer and tell of what is in it; a field comes with all its entries.

    The handlers are called 60 times a blob: they keep to variables of their own.
    """
    depth = last = 0  # of the element that is open, and of the one that was opened last
    text = ""
    own: dict[str, str] = {}  # attributes of the one that was opened last
    entries: dict[str, str] = {}

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, last, text, own
        depth += 1
        last = depth
        text = ""
        own = attributes
        if depth < _FIELD:
            reading.begin(depth, tag, attributes)

    def data(more: str) -> None:
        nonlocal text
        text += more

    def end(tag: str) -> None:
        nonlocal depth, entries
        if depth == _ENTRY:
            if last == _ENTRY:
                entries[tag] = text
            elif tag in _READ:
                raise ValueError(f"<{tag}> holds elements")
        elif depth == _FIELD:
            reading.end_field(tag, text if last == _FIELD else None, own, entries)
            entries = {}
        elif depth < _FIELD:
            reading.end(depth, tag, text if last == depth else None, own)
        depth -= 1

    def refuse(*_: object) -> NoReturn:
        raise ValueError("it has a document type")

    parser = expat.ParserCreate("utf-8", "}")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.CharacterDataHandler = data
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise ValueError(f"no XML: {error}") from None


class _Reading(Generic[_T]):
    """Takes down what a walk through an answer meets."""

    def __init__(self, blob: Callable[[str, Mapping[str, str], bool], _T]) -> None:
        self._blob = blob
        self._tags = [""] * _FIELD
        self._root: Mapping[str, str] = {}
        self._parts: dict[str, str] = {}
        self._blobs: list[_T] = []
        self._folders: list[str] = []
        self._new_item()

    def _new_item(self) -> None:
        self._name = ""
        self._properties: Mapping[str, str] = {}
        self._is_directory = False

    def begin(self, depth: int, tag: str, attributes: Mapping[str, str]) -> None:
        """Take an element at its beginning."""
        self._tags[depth] = tag
        if depth == _ITEM:
            self._new_item()
        elif depth == _ROOT:
            self._root = attributes

    def end_field(
        self, tag: str, text: str | None, own: Mapping[str, str], entries: Mapping[str, str]
    ) -> None:
        """Take a field of an item at its end; its text is None where it held elements."""
        if tag == "Name":
            self._name = _name(tag, text, own)
            if self._tags[_ITEM] == "BlobPrefix" and self._tags[_PART] == "Blobs":
                self._folders.append(self._name)
        elif tag == "Properties":
            self._properties = entries
        elif tag == "Metadata":
            self._is_directory = any(
                key.lower() == "hdi_isfolder" and value.lower() == "true"
                for key, value in entries.items()
            )

    def end(self, depth: int, tag: str, text: str | None, own: Mapping[str, str]) -> None:
        """Take an item, or what is above it, at its end."""
        if depth == _ITEM:
            if tag == "Blob" and self._tags[_PART] == "Blobs":
                self._blobs.append(self._blob(self._name, self._properties, self._is_directory))
        elif depth == _PART and tag not in self._parts:
            self._parts[tag] = ""
            if tag == "Prefix":
                self._parts[tag] = _name(tag, text, own)
            elif tag == "NextMarker":
                self._parts[tag] = _text(tag, text)

    def enumeration(self) -> Enumeration[_T]:
        """Return what was taken down."""
        return Enumeration(
            tag=self._tags[_ROOT],
            endpoint=self._root.get("ServiceEndpoint", ""),
            container=self._root.get("ContainerName", ""),
            prefix=self._parts.get("Prefix", ""),
            has_blobs="Blobs" in self._parts,
            blobs=tuple(self._blobs),
            folders=tuple(self._folders),
            marker=self._parts.get("NextMarker", ""),
        )


def _text(tag: str, text: str | None) -> str:
    if text is None:
        raise ValueError(f"<{tag}> holds elements")
    return text


def _name(tag: str, text: str | None, own: Mapping[str, str]) -> str:
    """Return the name that an element holds, decoded where XML could not hold it."""
    name = _text(tag, text)
    return unquote(name) if own.get("Encoded") == "true" else name
