"""Each blob of a listing is counted once, where it would be counted alone."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from expmgr.catalog.model import NOTHING, Size
from expmgr.catalog.usage import attribute

segments = st.sampled_from(
    ["1", "2", "models", "traces", "artifacts", "run1", "m-1", "data", "MLmodel", "", "a.png"]
)
names = st.lists(segments, min_size=1, max_size=8).map("/".join) | st.builds(
    "{}/artifacts/{}".format,
    st.sampled_from(["1/run1", "1/models/m-1", "1/2/run1", "run1", "1/traces/tr-1"]),
    st.lists(segments, min_size=1, max_size=3).map("/".join),
)
blobs = st.lists(
    st.tuples(names, st.integers(1, 1000).map(lambda size: Size(1, size))), max_size=30
)
roots = st.sets(st.sampled_from(["", "1", "2", "1/2", "1/models"]))


def told(blobs, roots):
    """Every size that an attribution gives, by what it is given to."""
    usage, journal, unknown = attribute(blobs, roots)
    found = {("journal",): journal, ("unknown",): unknown}
    for root, one in usage.items():
        found[root, "traces"] = one.traces
        found[root, "unknown"] = one.unknown
        for path, folder in one.folders.items():
            for directory, size in folder.directories.items():
                found[root, path, directory] = size
                found[root, path, directory, "marked"] = Size(directory in folder.marked, 0)
    return found


@given(blobs, roots, st.booleans())
def test_what_is_counted_together_is_the_sum_of_what_is_counted_alone(blobs, roots, in_order):
    blobs = sorted(blobs) if in_order else blobs
    alone = defaultdict(lambda: NOTHING)
    for blob in blobs:
        for key, size in told([blob], roots).items():
            alone[key] = max(alone[key], size) if key[-1] == "marked" else alone[key].plus(size)
    together = told(blobs, roots)
    assert {key: size for key, size in together.items() if size != NOTHING} == {
        key: size for key, size in alone.items() if size != NOTHING
    }
    whole = [size for key, size in together.items() if key[-1] != "marked"]
    assert sum(size.files for size in whole) == len(blobs)
    assert sum(size.bytes for size in whole) == sum(size.bytes for _, size in blobs)
