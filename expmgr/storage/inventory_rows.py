"""The rows of a Blob Inventory report, batch by batch, by pyarrow's datasets.

Memory does not grow with the report.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expmgr.storage.inventory import NoReportError, column_name
from expmgr.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from expmgr.storage.inventory import Report, ReportFile
    from expmgr.storage.ranged_blob import RangedBlob

__all__ = ["BLOB", "FOLDER", "SNAPSHOT", "SOFT_DELETED", "VERSION", "ReportRows"]

BLOB, VERSION, SNAPSHOT, SOFT_DELETED, FOLDER = range(5)
"""What a row is about: a blob; an earlier version, a snapshot or a deleted blob that Azure still
keeps; or the empty stub of a directory."""

_BLOCK = 8 * 1024 * 1024
"""Bytes of CSV that are parsed at a time."""
_MOST_OF_A_HEADER = 16_384
"""Bytes in which a CSV's first row ends; the names of all columns there are take some 800."""
_READ_AHEAD = 4
_TELL_APART = (
    *("versionid", "snapshot", "iscurrentversion", "deleted", "deletedid", "deletionid"),
    *("hdiisfolder", "metadata"),
)
"""``DeletedId`` on Azure's page, ``DeletionId`` in its REST reference."""


@dataclass(frozen=True)
class ReportRows:
    """Reads a report.

    Attributes
    ----------
    open_file
        Opens a file of the report.
    """

    report: Report
    open_file: Callable[[ReportFile], AbstractContextManager[RangedBlob]]

    def batches(self, columns: Collection[str]) -> Iterator[pa.RecordBatch]:
        """Yield all rows, in no order.

        Parameters
        ----------
        columns
            Wanted beside the name and the size, as `column_name` has them: ``etag``,
            ``lastmodified``, ``accesstier``, ``accesstierchangetime``, ``creationtime``. What the
            report does not have is missing.

        Yields
        ------
        pyarrow.RecordBatch
            ``name``, with the container's in front; ``size`` in bytes; ``row``, one of `BLOB` and
            its like; ``version``, ``snapshot`` and ``deletion`` where the report has them; what is
            wanted, times in microseconds since 1970, 0 for none.

        Raises
        ------
        NoReportError
            A file is not what the report says.
        StorageError
            It could not be read.
        """
        for file in self.report.files:
            yield from self._of(file, {*columns, *_TELL_APART})

    def _of(self, file: ReportFile, columns: Collection[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        import pyarrow.dataset as ds

        try:
            with self.open_file(file) as blob:
                fragment, schema = self._fragment(blob)
                known = {column_name(name): name for name in schema.names}
                lost = sorted({"name", "contentlength"} - known.keys())
                if lost:
                    raise NoReportError(f"{plain(file.name)} has no column {', '.join(lost)}")
                scanner = fragment.scanner(
                    schema=schema,
                    columns={
                        short: ds.field(known[short])
                        for short in ("name", "contentlength", *columns)
                        if short in known
                    },
                    batch_readahead=_READ_AHEAD,
                    fragment_readahead=1,
                )
                for batch in scanner.to_batches():
                    if batch.num_rows:
                        yield _tidy(batch)
        except (pa.ArrowException, OSError, csv.Error) as error:
            why = plain(str(error), 120)
            raise NoReportError(f"{plain(file.name)} cannot be read ({why})") from error

    def _fragment(self, blob: RangedBlob) -> tuple[Any, pa.Schema]:
        """Return a file as a fragment of a dataset, and its columns."""
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.dataset as ds

        if self.report.kind == "parquet":
            fragment = ds.ParquetFileFormat().make_fragment(pa.PythonFile(blob, mode="r"))
            return fragment, fragment.physical_schema
        head = io.StringIO(blob.read(_MOST_OF_A_HEADER).decode(errors="ignore"), newline="")
        names = next(csv.reader(head), [])
        blob.seek(0)
        types = {
            name: pa.int64() if column_name(name) == "contentlength" else pa.string()
            for name in (name.removeprefix("\ufeff") for name in names)
        }
        kind = ds.CsvFileFormat(
            read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK),
            # A blob's name may hold a line break.
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types, strings_can_be_null=False
            ),
        )
        return kind.make_fragment(pa.PythonFile(blob, mode="r")), pa.schema(list(types.items()))


_NAMING = {
    "versionid": "version",
    "snapshot": "snapshot",
    "deletedid": "deletion",
    "deletionid": "deletion",
    "etag": "etag",
    "accesstier": "tier",
}


def _tidy(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch in the columns that are promised."""
    import pyarrow as pa
    import pyarrow.compute as pc

    has = frozenset(batch.schema.names)
    found: dict[str, Any] = {
        "name": batch["name"].cast(pa.string()),
        "size": pc.fill_null(batch["contentlength"].cast(pa.int64()), 0),
        "row": _kind_of_row(batch),
    }
    for short, name in _NAMING.items():
        if short in has:
            found[name] = _text(batch[short])
    for short in ("lastmodified", "accesstierchangetime", "creationtime"):
        if short in has:
            found[short] = _moment(batch[short])
    return pa.RecordBatch.from_pydict(found)


def _text(column: pa.Array) -> pa.Array:
    """Return a column as texts, "" for none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.fill_null(column.cast(pa.string()), "")
    return pc.if_else(pc.equal(pc.utf8_lower(text), "null"), "", text)


def _is_true(column: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.equal(pc.utf8_lower(pc.fill_null(column.cast(pa.string()), "")), "true")


def _kind_of_row(batch: pa.RecordBatch) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    has = frozenset(batch.schema.names)
    kind: Any = pa.repeat(pa.scalar(BLOB, pa.int8()), batch.num_rows)
    if "hdiisfolder" in has:
        kind = pc.if_else(_is_true(batch["hdiisfolder"]), pa.scalar(FOLDER, pa.int8()), kind)
    if "metadata" in has:
        said = pc.match_substring_regex(_text(batch["metadata"]), r"(?i)hdi_isfolder\W{1,5}true")
        stub = pc.and_(said, pc.equal(batch["contentlength"].cast(pa.int64()), 0))
        kind = pc.if_else(stub, pa.scalar(FOLDER, pa.int8()), kind)
    if "versionid" in has:
        current = (
            _is_true(batch["iscurrentversion"])
            if "iscurrentversion" in has
            else pa.repeat(pa.scalar(True), batch.num_rows)
        )
        older = pc.and_(pc.not_equal(_text(batch["versionid"]), ""), pc.invert(current))
        kind = pc.if_else(older, pa.scalar(VERSION, pa.int8()), kind)
    if "snapshot" in has:
        taken = pc.not_equal(_text(batch["snapshot"]), "")
        kind = pc.if_else(taken, pa.scalar(SNAPSHOT, pa.int8()), kind)
    if "deleted" in has:
        kind = pc.if_else(_is_true(batch["deleted"]), pa.scalar(SOFT_DELETED, pa.int8()), kind)
    return kind


def _moment(column: pa.Array) -> pa.Array:
    """Return times, given as timestamps, milliseconds or text, in microseconds since 1970."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        return pc.fill_null(column.cast(pa.timestamp("us")).cast(pa.int64()), 0)
    if pa.types.is_integer(column.type):
        return pc.multiply(pc.fill_null(column.cast(pa.int64()), 0), 1000)
    read = pd.to_datetime(
        pd.Series(_text(column).to_numpy(zero_copy_only=False), dtype=object),
        utc=True,
        format="mixed",
        errors="coerce",
    )
    whole = read.dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    return pa.array(np.where(np.isnat(whole), 0, whole.astype("int64")), pa.int64())
