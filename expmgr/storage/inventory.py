"""Azure's Blob Inventory: which finished report tells of a container what a listing would.

A rule writes a report a day or week into a container of its own choice, below
``YYYY/MM/DD/HH-MM-SS/<rule>/``: files of rows, a manifest, and last the manifest's checksum. Names
in it begin with the container's. Rules and reports are described in
https://learn.microsoft.com/azure/storage/blobs/blob-inventory; this was built against that text and
has not met a report that Azure wrote.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from expmgr.errors import InvalidInputError, StorageError
from expmgr.formatting import ago, format_moment
from expmgr.storage.store import parse_host
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from expmgr.storage.protocol import Storage

__all__ = ["NoReportError", "Report", "ReportFile", "column_name", "newest_report", "report_place"]

_LEVELS = (r"\d{4}", r"\d{2}", r"\d{2}", r"\d{2}-\d{2}-\d{2}", r"[^/]+")
"""Year, month, day, time and rule: the folders above a report."""
_MOST_LOOKED_AT = 100
"""Reports that are looked at, from the newest, before a listing is thought the shorter way."""
_MANIFEST_LIMIT = 64 * 1024 * 1024
_CONTAINER = re.compile(r"[a-z0-9]([a-z0-9-]{1,61}[a-z0-9])|\$[a-z]+")


class NoReportError(StorageError):
    """No report can be used; the message says why in words that follow "because"."""


@dataclass(frozen=True)
class ReportFile:
    """A file of a report: its blob name, size in bytes and entity tag."""

    name: str
    bytes: int
    etag: str


@dataclass(frozen=True)
class Report:
    """A finished report.

    Attributes
    ----------
    container
        That it was written to.
    folder
        Below which it lies there.
    rule
        That wrote it.
    taken
        When the run began, UTC: what came, changed or went since may be missing in it.
    kind
        The format of its files.
    fields
        Names of its columns, as `column_name` has them.
    files
        In no order.
    objects
        Rows that it should have, over all containers.
    leaves_out
        Blobs that the rule does not tell of, in words; "" where it tells of all.
    """

    container: str
    folder: str
    rule: str
    taken: datetime
    kind: Literal["csv", "parquet"]
    fields: frozenset[str]
    files: tuple[ReportFile, ...]
    objects: int
    leaves_out: str = ""

    def words(self, now: datetime) -> str:
        """Return which one it is, how old, and what it does not tell."""
        taken = f"{format_moment(int(self.taken.timestamp() * 1000))}, {ago(self.taken, now)}"
        left = f"; without {self.leaves_out}" if self.leaves_out else ""
        return f"Blob Inventory report {self.container}/{self.folder} (of {taken}{left})"


def column_name(name: str) -> str:
    """Return the name of a column as it is compared: ``contentlength`` for ``Content-Length``."""
    return name.lower().replace("-", "").replace("_", "")


def report_place(inventory: bool | str, own: str) -> tuple[str, tuple[str, ...]]:
    """Return the container that reports are written to, and the folders that are named of it.

    Parameters
    ----------
    inventory
        True for the container ``own``; or a prefix, as inventory rules write one: the container's
        name, and after a slash what begins the reports' path (``inventory/2026/11``).

    Raises
    ------
    InvalidInputError
        It is no such prefix.
    """
    if inventory is True:
        return own, ()
    text = inventory.strip("/") if isinstance(inventory, str) else ""
    container, *folders = text.split("/")
    named = _CONTAINER.fullmatch(container) and len(folders) <= len(_LEVELS)
    if not named or any(
        not re.fullmatch(level, name) for level, name in zip(_LEVELS, folders, strict=False)
    ):
        message = (
            f"inventory must be True, or name where the reports lie: a container of the account, "
            f"or one of its folders YYYY/MM/DD/HH-MM-SS/rule, such as 'inventory' or "
            f"'inventory/2026/11/28'; not {inventory!r}."
        )
        raise InvalidInputError(message)
    return container, tuple(folders)


def newest_report(
    storage: Storage,
    folders: Sequence[str],
    *,
    account: str,
    container: str,
    roots: Collection[str],
    needs: Collection[str],
) -> Report:
    """Return the newest report that is finished, whole, and tells all of what is asked.

    Parameters
    ----------
    storage
        The container that reports are written to.
    folders
        Where in it to look, see `report_place`.
    account, container
        What the report must be about.
    roots
        Paths below which every blob must be told, "" for the container.
    needs
        Columns that it must have, as `column_name` has them.

    Raises
    ------
    NoReportError
        There is none.
    StorageError
        It could not be looked.
    """
    asked = _Asked(storage.addresses.store.container, account, container, roots, needs)
    refused: list[str] = []
    candidates = islice(
        _folders(storage, "".join(f"{one}/" for one in folders), len(folders)), _MOST_LOOKED_AT
    )
    for folder in candidates:
        report = _read(storage, folder, asked)
        if isinstance(report, Report):
            return report
        refused.append(f"{folder}: {report}")
    where = f"container {asked.destination}" + (f", {'/'.join(folders)}" if folders else "")
    if not refused:
        raise NoReportError(f"there is no Blob Inventory report in {where}")
    more = f"; {len(refused) - 1} older ones neither" if len(refused) > 1 else ""
    raise NoReportError(f"no Blob Inventory report in {where} can be used ({refused[0]}{more})")


@dataclass(frozen=True)
class _Asked:
    destination: str
    account: str
    container: str
    roots: Collection[str]
    needs: Collection[str]


def _folders(storage: Storage, prefix: str, level: int) -> Iterator[str]:
    """Yield the folders of reports, the newest first."""
    if level == len(_LEVELS):
        yield prefix.rstrip("/")
        return
    pattern = re.compile(_LEVELS[level])
    names = [name for name in storage.folders(prefix) if pattern.fullmatch(name)]
    for name in sorted(names, reverse=level < len(_LEVELS) - 1):
        yield from _folders(storage, f"{prefix}{name}/", level + 1)


def _read(storage: Storage, folder: str, asked: _Asked) -> Report | str:
    """Return a report, or why it cannot be used."""
    rule = folder.rpartition("/")[2]
    files = {blob.name: blob for blob in storage.list(f"{folder}/")}
    manifest, checksum = (f"{folder}/{rule}-manifest.{end}" for end in ("json", "checksum"))
    if checksum not in files or manifest not in files:
        return "it is still being written"
    text = storage.read_text(manifest, limit=_MANIFEST_LIMIT)
    if not _is_sum_of(storage.read_text(checksum), text):
        return "its manifest is not what its checksum says"
    try:
        told = _Manifest(json.loads(text.removeprefix("\ufeff")))
        why = told.why_not(asked)
        if why:
            return why
        listed = [(name, told_bytes) for name, told_bytes in told.files()]
        lost = [n for n, size in listed if n not in files or files[n].bytes != size]
        if lost:
            return f"{plain(lost[0])} is not there as its manifest says"
        return Report(
            asked.destination,
            folder,
            rule,
            told.taken(),
            told.kind(),
            told.fields(),
            tuple(ReportFile(name, size, files[name].etag) for name, size in listed),
            told.objects(),
            told.leaves_out(),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return f"its manifest cannot be read ({type(error).__name__}: {plain(str(error), 80)})"


def _is_sum_of(checksum: str, text: str) -> bool:
    """Whether a checksum, in hexadecimal digits or base64, is the MD5 of a text."""
    digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    told = checksum.removeprefix("\ufeff").strip().strip('"')
    if told.lower() == digest.hex():
        return True
    try:
        return base64.b64decode(told, validate=True) == digest
    except (binascii.Error, ValueError):
        return False


@dataclass(frozen=True)
class _Manifest:
    """A manifest's JSON; what does not look as described raises."""

    told: Mapping[str, Any]

    @property
    def _rule(self) -> Mapping[str, Any]:
        rule: Mapping[str, Any] = self.told["ruleDefinition"]
        return rule

    @property
    def _filters(self) -> Mapping[str, Any]:
        return self._rule.get("filters") or {}

    def why_not(self, asked: _Asked) -> str:
        """Return why the report does not tell what is asked; "" where it does."""
        status, account = str(self.told["status"]), _account(str(self.told["endpoint"]))
        missing = sorted(set(asked.needs) - self.fields())
        paths = [
            f"{asked.container}/{root}/" if root else f"{asked.container}/" for root in asked.roots
        ]
        untold = [path for path in paths if not self._covers(path)]
        reasons = (
            (status.lower() != "succeeded", f"it ended as {plain(status, 40)!r}"),
            (str(self._rule["objectType"]).lower() != "blob", "it is about containers"),
            (
                str(self.told["destinationContainer"]) != asked.destination,
                "it was written to another container",
            ),
            (account not in ("", asked.account), f"it is about account {plain(account, 40)!r}"),
            (bool(untold), f"it does not tell all of {plain(', '.join(untold[:3]))}"),
            ("blockblob" not in self._types(), "it leaves out block blobs, as models are"),
            (bool(missing), f"it has no column {', '.join(missing)}"),
        )
        return next((why for holds, why in reasons if holds), "")

    def _covers(self, path: str) -> bool:
        only = [str(one) for one in self._filters.get("prefixMatch") or ()]
        but = [str(one) for one in self._filters.get("excludePrefix") or () if one]
        told = not only or any(path.startswith(one) for one in only)
        return told and not any(path.startswith(one) or one.startswith(path) for one in but)

    def _types(self) -> frozenset[str]:
        types = self._filters.get("blobTypes") or ("blockBlob", "appendBlob", "pageBlob")
        return frozenset(str(one).lower() for one in types)

    def leaves_out(self) -> str:
        left = [one for one in ("append", "page") if f"{one}blob" not in self._types()]
        return f"{' and '.join(left)} blobs" if left else ""

    def fields(self) -> frozenset[str]:
        return frozenset(column_name(str(one)) for one in self._rule["schemaFields"])

    def kind(self) -> Literal["csv", "parquet"]:
        kind = str(self._rule["format"]).lower()
        if kind == "csv":
            return "csv"
        if kind == "parquet":
            return "parquet"
        raise ValueError(f"format {kind!r}")

    def files(self) -> Iterator[tuple[str, int]]:
        for one in self.told["files"]:
            yield str(one["blob"]), int(one["size"])

    def taken(self) -> datetime:
        text = str(self.told["inventoryStartTime"]).replace("Z", "+00:00")
        # Azure gives up to seven decimals, of which Python 3.10 reads three or six.
        text = re.sub(r"\.(\d{1,6})\d*", lambda found: f".{found[1]:0<6}", text)
        taken = datetime.fromisoformat(text)
        return taken.replace(tzinfo=timezone.utc) if taken.tzinfo is None else taken

    def objects(self) -> int:
        return int((self.told.get("summary") or {}).get("objectCount") or 0)


def _account(endpoint: str) -> str:
    """Return the account of a blob endpoint, "" where it does not tell."""
    parts = urlsplit(endpoint)
    host = parse_host(parts.hostname or "")
    return parts.path.strip("/").partition("/")[0] if host is None else host.account
