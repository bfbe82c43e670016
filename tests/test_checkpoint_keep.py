"""Policies of checkpoints as tags keep them, and snapshots of a trainer's files."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from expmgr import InvalidInputError, StorageError
from expmgr.policies import best, last
from expmgr.training.checkpoint_keep import keep_from_tag, keep_to_tag, needs_quality
from expmgr.training.snapshots import take_snapshot


@pytest.mark.parametrize(
    "keep",
    [
        best(3),
        last(1),
        best(3) | last(1),
        best(3) | last(1) & best(9),
        (best(3) | last(1)) & ~best(1),
        ~(best(1) | last(2)),
    ],
)
def test_a_policy_is_read_from_its_tag_as_it_was(keep):
    assert repr(keep_from_tag(keep_to_tag(keep))) == repr(keep)


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "3", "[]", '["best"]', '["best", 0]', '["best", "3"]', '["worst", 3]'),
        *('["|"]', '["~", ["best", 1], ["last", 1]]', '{"best": 3}', "[" * 1500, "x" * 9000),
    ],
)
def test_what_is_no_policy_keeps_everything(text):
    assert keep_from_tag(text) is None


def test_which_policies_ask_how_good_a_checkpoint_is():
    assert needs_quality(best(3) | last(1))
    assert needs_quality(~best(3))
    assert not needs_quality(last(2))
    assert not needs_quality(None)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"before")
    (folder / "MLmodel").write_text("flavors: {}")
    return folder


def test_a_copy_is_of_the_moment(folder):
    snapshot = take_snapshot(folder)
    (folder / "weights.bin").write_bytes(b"after!")
    assert (snapshot.folder / "weights.bin").read_bytes() == b"before"
    snapshot.check()
    snapshot.close()
    assert [one.name for one in folder.parent.iterdir()] == [folder.name]


def test_a_link_takes_no_room_outlives_its_file_and_tells_what_was_written_to(folder):
    snapshot = take_snapshot(folder, link=True)
    linked = snapshot.folder / "weights.bin"
    assert linked.samefile(folder / "weights.bin")
    assert not (snapshot.folder / "MLmodel").samefile(folder / "MLmodel"), "we write to that one"
    snapshot.check()
    (folder / "weights.bin").write_bytes(b"longer than before")
    with pytest.raises(StorageError, match=r"weights.bin was written to .* leave out link=True"):
        snapshot.check()
    (folder / "weights.bin").unlink()
    assert linked.is_file()
    snapshot.close()


def test_where_links_cannot_be_made_files_are_copied(folder, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    snapshot = take_snapshot(folder, link=True)
    assert not snapshot.linked
    assert (snapshot.folder / "weights.bin").read_bytes() == b"before"
    snapshot.close()


def test_a_disk_that_is_full_says_so_and_leaves_nothing(folder, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", refuse)
    with pytest.raises(StorageError, match=r"checkpoint-1 could not be copied.*No space left"):
        take_snapshot(folder)
    assert [one.name for one in folder.parent.iterdir()] == [folder.name]


def test_a_card_by_itself_is_no_checkpoint(folder):
    with pytest.raises(InvalidInputError, match="give its folder"):
        take_snapshot(folder / "MLmodel")


def test_what_a_killed_process_left_on_the_disk_goes_with_the_next_and_a_living_one_s_stays(folder):
    program = (
        "import os, signal, sys; from pathlib import Path; "
        "from expmgr.training.snapshots import take_snapshot; "
        "take_snapshot(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], check=False)
    assert len(list(folder.parent.iterdir())) == 2, "what this test is about"
    living = take_snapshot(folder)
    again = take_snapshot(folder)
    assert living.folder.is_dir()
    assert len(list(folder.parent.iterdir())) == 3
    living.close()
    again.close()
    assert [one.name for one in folder.parent.iterdir()] == [folder.name]
