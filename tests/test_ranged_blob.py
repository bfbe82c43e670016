"""A blob that is read in blocks: the same bytes, whatever is asked for, as long as it stays."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expmgr.errors import StorageError
from expmgr.storage.blob_store import BlobStore
from expmgr.storage.ranged_blob import RangedBlob

SEEKS = st.tuples(st.sampled_from(["seek", "end", "read"]), st.integers(0, 120))


@given(st.binary(max_size=100), st.integers(1, 30), st.lists(SEEKS, max_size=12))
@settings(deadline=None, max_examples=100)
def test_it_reads_what_a_file_would(content, block, steps):
    asked = []

    def read(offset, length):
        asked.append((offset, length))
        return content[offset : offset + length]

    at = 0
    with RangedBlob(read, len(content), block) as blob:
        assert (blob.size(), blob.readable(), blob.seekable()) == (len(content), True, True)
        for step, number in steps:
            if step == "seek":
                at = blob.seek(number)
                assert at == number
            elif step == "end":
                at = blob.seek(-number, 2)
                assert at == max(0, len(content) - number)
            else:
                assert blob.read(number) == content[at : at + number]
                at = blob.tell()
        assert blob.readall() == content[at:]
    assert all(length <= block and offset % block == 0 for offset, length in asked)
    assert blob.closed


def test_a_blob_that_ends_early_is_no_end_of_file():
    with (
        RangedBlob(lambda _offset, _length: b"", 10, 4) as blob,
        pytest.raises(OSError, match="10"),
    ):
        blob.read()


def test_only_the_blob_that_was_listed_is_read(credentials, put_blob, monkeypatch):
    monkeypatch.setattr("expmgr.storage.blob_store.BLOCK_SIZE", 4)
    put_blob("a/b.bin", b"0123456789" * 4)
    store = BlobStore(credentials)
    (found,) = store.list("a/")
    with store.opened(found.name, found.bytes, found.etag) as blob:
        assert blob.read() == b"0123456789" * 4
        put_blob("a/b.bin", b"other text" * 4)
        blob.seek(-1, 2)
        assert blob.read() == b"9", "what is in memory is of the blob that was listed"
        blob.seek(0)
        with pytest.raises(StorageError, match="ConditionNotMet"):
            blob.read()
