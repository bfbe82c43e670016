"""Whatever a report holds, in whatever order and however often: it says what a listing says."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from expmgr.catalog.model import Size
from expmgr.catalog.places import folder_of, paths_to
from expmgr.catalog.usage import Scan, attribute, attribute_directories
from expmgr.cleanup import inventory_tally
from expmgr.cleanup.folder_scan import Seen, digest_of
from expmgr.cleanup.inventory import Counted
from expmgr.storage.inventory import Report
from expmgr.storage.inventory_rows import BLOB, SNAPSHOT, VERSION

ID, MODEL, TRACE = "0" * 31 + "1", "m-" + "0" * 32, "tr-" + "0" * 32
SEGMENTS = st.sampled_from(
    ["1", "2", ID, MODEL, TRACE, "models", "traces", "artifacts", "expmgr-journal", "data", "é,\n"]
)
FILES = st.sampled_from(
    ["MLmodel", "a.png", "weights.bin", "csv", "x.CSV", "MLmodel.txt", "\u2028"]
)
ROOTS = st.sets(st.sampled_from(["", "1", "1/2", "2", "data/1", f"1/{ID}/artifacts/2"]))
NAMES = st.dictionaries(
    st.builds(lambda above, file: "/".join([*above, file]), st.lists(SEGMENTS, max_size=6), FILES),
    st.integers(0, 2**40),
    max_size=25,
)


class Rows:
    """A report's rows that never were in a file."""

    def __init__(self, rows, batch):
        self.rows, self.batch = rows, batch
        self.report = Report("c", "f", "r", None, "csv", frozenset(), (), len(set(rows)))

    def batches(self, columns):
        for at in range(0, len(self.rows), self.batch):
            names, sizes, kinds, versions = zip(*self.rows[at : at + self.batch], strict=True)
            yield pa.RecordBatch.from_pydict(
                {
                    "name": pa.array(names, pa.string()),
                    "size": pa.array(sizes, pa.int64()),
                    "row": pa.array(kinds, pa.int8()),
                    "version": pa.array(versions, pa.string()),
                    "etag": pa.array([f'"0x{size}"' for size in sizes], pa.string()),
                    "lastmodified": pa.array([size + 1 for size in sizes], pa.int64()),
                }
            )


@settings(max_examples=300, deadline=None)
@given(NAMES, ROOTS, st.data())
def test_directories_of_a_report_are_attributed_as_the_blobs_of_a_listing(names, roots, data):
    rows = [(f"box/{name}", size, BLOB, "") for name, size in names.items()]
    kept = [
        (f"box/{name}", 7, data.draw(st.sampled_from([VERSION, SNAPSHOT])), "v") for name in names
    ]
    others = [(f"{other}/{name}", 5, BLOB, "") for name in names for other in ("bo", "box2")]
    every = [*rows, *kept, *others]
    again = data.draw(st.lists(st.sampled_from(every), max_size=9)) if every else []
    told = data.draw(st.permutations(every + again))
    report = Rows(told, data.draw(st.integers(1, 9)))

    tally = inventory_tally.count(report, "box", told_apart=True)
    directories = tally.directories(None)
    scan = attribute_directories(directories, roots)

    found, journal, unknown = attribute(((n, Size(1, size)) for n, size in names.items()), roots)
    assert (scan.journal, scan.unknown) == (journal, unknown)
    without = {root: replace(usage, kept={}) for root, usage in scan.roots.items()}
    assert without == found
    sizes = [size for usage in (*scan.roots.values(), scan) for size in usage.kept.values()]
    assert sum(size.bytes for size in sizes) == 7 * len(kept)
    assert (tally.files, tally.bytes) == (len(names), sum(names.values()))

    counted = Counted(report.report, tally, directories, None)
    leading = paths_to(roots)
    listed: dict = {}
    for name, size in names.items():
        folder = folder_of(name, roots, leading)
        if folder is not None:
            listed.setdefault(folder, {})[name] = (f"0x{size}", size)
    seen = counted.folders(roots, None)
    assert seen.keys() == listed.keys()
    for folder, files in listed.items():
        one: Seen = seen[folder]
        assert f"{one.digest:016x}" == digest_of({name: tag for name, (tag, _) in files.items()})
        assert (one.files, one.bytes) == (len(files), sum(size for _, size in files.values()))


@settings(max_examples=50, deadline=None)
@given(st.permutations([3, 1, 2]), st.integers(1, 3))
def test_of_a_blob_that_is_told_twice_with_two_sizes_the_later_counts(sizes, batch):
    rows = [("box/1/a/x.bin", size, BLOB, "") for size in sizes]  # written at their size
    tally = inventory_tally.count(Rows(rows, batch), "box", told_apart=True)
    assert (tally.files, tally.bytes, tally.rows) == (1, 3, 1)
    assert tally.digests == {"1/a": int(digest_of({"1/a/x.bin": "0x3"}), 16)}


def test_two_names_of_one_hash_are_told_apart(monkeypatch):
    real = inventory_tally._hash
    monkeypatch.setattr(inventory_tally, "_hash", lambda rows: real(rows) & 0)
    rows = [(f"box/1/{at}", at, BLOB, "") for at in range(5)]
    tally = inventory_tally.count(Rows([*rows, rows[0], rows[4]], 2), "box")
    assert (tally.files, tally.bytes) == (5, 10)
    assert isinstance(attribute_directories(tally.directories(None), ["1"]), Scan)
