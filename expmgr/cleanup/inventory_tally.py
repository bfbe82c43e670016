"""A Blob Inventory report, counted by directory: what memory grows with is directories, not blobs.

A report may tell a blob twice. Rows are told apart by a hash of what names them, 8 bytes a row in
files that nobody else sees; where two have the same one, those rows are read again and compared.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import IO, TYPE_CHECKING, Any

from expmgr.catalog.files import REPORT_ENDINGS
from expmgr.catalog.model import NOTHING, Size
from expmgr.catalog.usage import Directory
from expmgr.cleanup.counted import Stopped
from expmgr.cleanup.folder_scan import digest_of_row
from expmgr.prices import MINIMUM_DAYS, TierUse
from expmgr.storage.inventory import NoReportError
from expmgr.storage.inventory_rows import BLOB, FOLDER, SNAPSHOT, SOFT_DELETED, VERSION

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from expmgr.prices import StoragePrices
    from expmgr.storage.inventory_rows import ReportRows

    Hashes = npt.NDArray[np.uint64]

__all__ = ["Tally", "count"]

_ROWS_AT_ONCE = 500_000
_KINDS = {VERSION: "versions", SNAPSHOT: "snapshots", SOFT_DELETED: "soft-deleted"}
_REPORT = rf"(?i)[./]({'|'.join(sorted(REPORT_ENDINGS))})$"
_PARTS = 64
_SECONDS_A_DAY = 86_400.0
_OF_PRICES = ("accesstier", "accesstierchangetime", "creationtime", "lastmodified")
_OF_FILES = ("etag", "lastmodified")


@dataclass(slots=True)
class _Sums:
    files: int = 0
    bytes: int = 0
    owed: float = 0.0


@dataclass
class Tally:
    """What a report says of one container.

    Attributes
    ----------
    told_apart
        Whether `digests` and `newest` are counted: of which files a directory is made.
    """

    container: str
    told_apart: bool = False
    rows: int = 0
    files: int = 0
    bytes: int = 0
    digests: dict[str, int] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    _sums: dict[tuple[str, int, str], _Sums] = field(default_factory=dict)
    _marked: set[str] = field(default_factory=set)
    _others: set[str] = field(default_factory=set)

    def add(self, rows: pa.Table, now: datetime, sign: int = 1) -> None:
        """Count rows; with ``sign`` -1 take them out again."""
        import pyarrow as pa
        import pyarrow.compute as pc

        self.rows += sign * rows.num_rows
        above = pc.list_element(pc.split_pattern(rows["name"], "/", max_splits=1, reverse=True), 0)
        own = pc.or_(pc.equal(above, self.container), pc.starts_with(above, f"{self.container}/"))
        table = pa.table(
            {
                "above": above,
                "size": rows["size"],
                "row": rows["row"],
                "tier": rows["tier"] if "tier" in rows.schema.names else _same("", rows),
                "owed": _owed(rows, now),
                "marked": pc.ends_with(rows["name"], "/MLmodel"),
                "other": pc.invert(pc.match_substring_regex(rows["name"], _REPORT)),
            }
        )
        if not pc.all(own).as_py():
            table, rows = table.filter(own), rows.filter(own)
        sums = table.group_by(["above", "row", "tier"]).aggregate(
            [
                ("size", "count"),
                ("size", "sum"),
                ("owed", "sum"),
                ("marked", "any"),
                ("other", "any"),
            ]
        )
        names = (
            "above",
            "row",
            "tier",
            "size_count",
            "size_sum",
            "owed_sum",
            "marked_any",
            "other_any",
        )
        skip = len(self.container) + 1
        for above, row, tier, files, size, owed, marked, other in zip(
            *(sums[name].to_pylist() for name in names), strict=True
        ):
            path = above[skip:]
            found = self._sums.setdefault((path, row, tier), _Sums())
            found.files += sign * files
            found.bytes += sign * size
            found.owed += sign * owed
            if row == BLOB:
                self.files += sign * files
                self.bytes += sign * size
                if marked:
                    self._marked.add(path)
                if other:
                    self._others.add(path)
        if self.told_apart:
            self._tell_apart(rows, table["above"], sign, skip)

    def _tell_apart(self, rows: pa.Table, above: pa.ChunkedArray, sign: int, skip: int) -> None:
        for directory, name, etag, row, at in zip(
            above.to_pylist(),
            *(rows[name].to_pylist() for name in ("name", "etag", "row", "lastmodified")),
            strict=True,
        ):
            if row in (BLOB, FOLDER):
                path = directory[skip:]
                told = digest_of_row(name[skip:], etag.strip('"'))
                self.digests[path] = self.digests.get(path, 0) + sign * told
                if row == BLOB and at > self.newest.get(path, 0):
                    self.newest[path] = at

    def directories(self, prices: StoragePrices | None) -> list[Directory]:
        """Return what was counted."""
        found: dict[str, Directory] = {}
        for (path, row, tier), sums in self._sums.items():
            if row == FOLDER or not sums.files:
                continue
            one = found.get(path)
            if one is None:
                one = found[path] = Directory(
                    path, NOTHING, path in self._marked, path not in self._others, {}
                )
            monthly = early = 0.0
            if prices is not None:
                bill = prices.bill({tier: TierUse(sums.bytes, sums.owed)})
                monthly, early = bill.monthly, bill.early
            size = Size(sums.files, sums.bytes, monthly, early)
            if row == BLOB:
                one.size = one.size.plus(size)
            else:
                kind = _KINDS[row]
                one.kept = {**one.kept, kind: one.kept.get(kind, NOTHING).plus(size)}
        return list(found.values())

    def newest_in(self, path: str) -> datetime | None:
        """Return when a blob right in a directory was last written, UTC."""
        at = self.newest.get(path)
        return (
            None
            if not at
            else datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=at)
        )


def count(
    rows: ReportRows,
    container: str,
    *,
    priced: bool = False,
    told_apart: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
) -> Tally:
    """Count a report, each row once.

    Raises
    ------
    NoReportError
        A file is not what the report says, or rows are missing.
    StorageError
        It could not be read.
    Stopped
        It was cancelled.
    """
    now = datetime.now(timezone.utc)
    columns = {*(_OF_PRICES if priced else ()), *(_OF_FILES if told_apart else ())}
    tally = Tally(container, told_apart)
    with contextlib.closing(_Hashes()) as hashes:
        for table in _tables(rows, columns):
            if cancel is not None and cancel.is_set():
                raise Stopped
            tally.add(table, now)
            hashes.add(_hash(table))
            if on_progress is not None:
                on_progress(tally.files, tally.bytes)
        if tally.rows < rows.report.objects:
            message = f"its files hold {tally.rows:,} rows of {rows.report.objects:,}"
            raise NoReportError(message)
        twice = hashes.twice()
    if len(twice):
        surplus = _surplus(rows, columns, twice)
        if surplus is not None:
            tally.add(surplus, now, -1)
    return tally


def _tables(rows: ReportRows, columns: set[str]) -> Iterator[pa.Table]:
    """Yield the rows some hundred thousands at a time."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    for batch in rows.batches(columns):
        if waiting and batch.schema != waiting[0].schema:  # another file
            yield pa.Table.from_batches(waiting)
            waiting = []
        waiting.append(batch)
        if sum(one.num_rows for one in waiting) >= _ROWS_AT_ONCE:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _same(value: str, rows: pa.Table) -> pa.Array:
    import pyarrow as pa

    return pa.repeat(pa.scalar(value), rows.num_rows)


def _owed(rows: pa.Table, now: datetime) -> Any:
    """Return bytes times days that cooler tiers are still paid for, as in `TierUse`."""
    import numpy as np

    owed = np.zeros(rows.num_rows)
    if "tier" not in rows.schema.names:
        return owed
    tiers = rows["tier"].to_numpy()
    since = np.zeros(rows.num_rows, "int64")
    for name in ("lastmodified", "creationtime", "accesstierchangetime"):  # the last known counts
        if name in rows.schema.names:
            told = rows[name].to_numpy()
            since = np.where(told != 0, told, since)
    days = np.maximum(0.0, now.timestamp() - since / 1e6) / _SECONDS_A_DAY
    for tier, least in MINIMUM_DAYS.items():
        left = np.where((tiers == tier) & (since != 0), np.maximum(0.0, least - days), 0.0)
        owed += left * rows["size"].to_numpy()
    return owed


# ----------------------------------------------------------------------------------- each row once


def _key(rows: pa.Table) -> list[str]:
    """Return the columns that name a row: a deleted blob may have the name of one that is there."""
    names = ("name", "version", "snapshot", "deletion", "row")
    return [name for name in names if name in rows.schema.names]


def _hash(rows: pa.Table) -> Hashes:
    import numpy as np
    import pandas as pd

    found = np.zeros(rows.num_rows, np.uint64)
    for at, name in enumerate(_key(rows)):
        told = pd.util.hash_array(rows[name].to_numpy(), categorize=at > 0)
        found = found * np.uint64(0x9E3779B97F4A7C15) + told
    return found


class _Hashes:
    """Hashes of rows, in temporary files by their first bits: little of them is in memory."""

    def __init__(self) -> None:
        # Closed together, see `close`.
        self._files: list[IO[bytes]] = [
            tempfile.SpooledTemporaryFile(max_size=2**20)  # noqa: SIM115
            for _ in range(_PARTS)
        ]

    def add(self, hashes: Hashes) -> None:
        import numpy as np

        part = (hashes >> np.uint64(58)).astype(np.intp)
        order = np.argsort(part, kind="stable")
        ends = np.cumsum(np.bincount(part, minlength=_PARTS))
        begin = 0
        for file, end in zip(self._files, ends, strict=True):
            file.write(hashes[order[begin:end]].tobytes())
            begin = end

    def twice(self) -> Hashes:
        """Return those that more than one row has, sorted."""
        import numpy as np

        found = []
        for file in self._files:
            file.seek(0)
            part = np.sort(np.frombuffer(file.read(), np.uint64))
            found.append(np.unique(part[1:][part[1:] == part[:-1]]))
        return np.concatenate(found)

    def close(self) -> None:
        for file in self._files:
            file.close()


def _surplus(rows: ReportRows, columns: set[str], twice: Hashes) -> pa.Table | None:
    """Return the rows that were told before: of each, all but the one written last."""
    import numpy as np
    import pyarrow as pa

    some = [
        table.filter(pa.array(np.isin(_hash(table), twice))) for table in _tables(rows, columns)
    ]
    table = pa.concat_tables(some)
    frame = table.select(_key(table)).to_pandas()
    written = "lastmodified" in table.schema.names
    frame["written"] = table["lastmodified"].to_numpy() if written else 0
    frame = frame.sort_values("written", kind="stable")
    told_again = frame.index[frame.duplicated(_key(table), keep="last")]
    return table.take(pa.array(told_again)) if len(told_again) else None
