"""Tables that show their texts whole, and nothing that a terminal or a page obeys."""

from __future__ import annotations

import copy
import os
import pickle
from unicodedata import category

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_manager import HOSTILE

from expmgr.whole_table import WholeTable

ADVICE = "Check the container's name and that this identity may list and delete blobs in it. " * 4


def table(**columns):
    return WholeTable({"check": ["container"], "status": ["no"], "advice": [ADVICE], **columns})


@pytest.mark.parametrize("width", [50, 80, 200])
def test_a_long_text_is_wrapped_within_its_column_and_whole(monkeypatch, width):
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_a, **_k: os.terminal_size((width, 24)))
    lines = repr(table()).splitlines()
    assert max(map(len, lines)) <= width
    start = lines[0].index("advice")
    assert " ".join(line[start:].strip() for line in lines[1:]) == ADVICE.strip()
    assert lines[1].split()[:2] == ["container", "no"]


def test_in_a_notebook_it_is_whole_too_and_nothing_in_it_is_obeyed():
    page = table(name=[HOSTILE])._repr_html_()
    assert ADVICE.replace("'", "&#x27;") in page
    assert "<img" not in page
    assert "<script" not in page
    assert "\u202e" not in page


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4), st.integers(22, 90))
def test_nothing_in_a_text_is_obeyed_by_a_terminal(texts, width):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.get_terminal_size", lambda *_a, **_k: os.terminal_size((width, 24)))
        shown = repr(WholeTable({"a": texts, "b": texts}))
    harmless = {"\u200d"}  # joins emoji
    assert all(category(sign) not in ("Cc", "Cf") for sign in set(shown) - harmless - {"\n"})


def test_numbers_stand_right_what_is_missing_is_empty_and_much_is_told():
    numbers = pd.array([5, None, 1234], dtype="Int64")
    shown = repr(WholeTable({"name": ["a", "b", "c"], "bytes": numbers})).splitlines()
    assert [line.split() for line in shown] == [["name", "bytes"], ["a", "5"], ["b"], ["c", "1234"]]
    assert shown[1].endswith("    5")
    many = repr(WholeTable({"run": [f"run {at}" for at in range(500)]}))
    assert "run 29\n…\nrun 470" in many
    assert many.endswith("[500 rows]")
    assert "Empty" in repr(WholeTable())


def test_more_columns_than_fit_stand_below_each_other_and_no_id_is_broken(monkeypatch):
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_a, **_k: os.terminal_size((60, 24)))
    ids = [f"m-{at:032x}" for at in range(3)]
    shown = repr(WholeTable({f"column_{at}": [f"{at}{id_[1:]}" for id_ in ids] for at in range(4)}))
    assert max(map(len, shown.splitlines())) <= 60
    blocks = [block.splitlines() for block in shown.split("\n\n")]
    assert [block[0].split() for block in blocks] == [[f"column_{at}"] for at in range(4)]
    assert [line.split() for line in blocks[2][1:]] == [
        [str(at), f"2{id_[1:]}"] for at, id_ in enumerate(ids)
    ]


def test_lists_arrays_and_an_empty_column_are_shown():
    odd = WholeTable({"a": [[1, 2], pd.Series([3])], "": ["", None]})
    assert "[1, 2]" in repr(odd)
    assert "[1, 2]" in odd._repr_html_()


def test_it_is_a_data_frame_in_all_but_its_looks():
    made = table()
    assert isinstance(made, pd.DataFrame)
    assert type(made[made["status"] == "no"]) is pd.DataFrame
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(made)), made)
    pd.testing.assert_frame_equal(copy.deepcopy(made), pd.DataFrame(made), check_frame_type=False)
