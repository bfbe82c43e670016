"""Policies: what they say of a model, how they combine, read and compare, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expmgr import policies
from expmgr.catalog.facts import Facts
from expmgr.catalog.policy import Asking
from expmgr.errors import InvalidInputError
from expmgr.policies import best, larger_than, last, mine, older_than, status

DAY = 86_400_000
NOW = Asking(1000 * DAY, "ann")
MODEL = Facts("m-1", status="FINISHED", user="ann", created=NOW.at - 10 * DAY, bytes=10**9)
NAMES = {name: getattr(policies, name) for name in policies.__all__}

wheres = st.one_of(
    st.builds(
        lambda n, unit: older_than(f"{n}{unit}"), st.integers(0, 900), st.sampled_from("smhdw")
    ),
    st.builds(larger_than, st.sampled_from(["1GB", "1 GiB", "0.5tb", "0B", "10kb"])),
    st.builds(
        lambda some: status(*some), st.sets(st.sampled_from(["FAILED", "KILLED"]), min_size=1)
    ),
    st.just(mine()),
)
keeps = st.one_of(st.builds(best, st.integers(1, 5)), st.builds(last, st.integers(1, 5)))


def combined(simple):
    return st.recursive(
        simple,
        lambda parts: st.one_of(
            st.builds(lambda a, b: a & b, parts, parts),
            st.builds(lambda a, b: a | b, parts, parts),
            st.builds(lambda a: ~a, parts),
        ),
        max_leaves=6,
    )


def says(policy, *models):
    return policy.judge(models, NOW)


@pytest.mark.parametrize(
    ("policy", "change", "expected"),
    [
        (older_than("9d"), {}, True),
        (older_than("10d"), {}, False),
        (older_than("240h"), {}, False),
        (older_than("1.4w"), {}, True),
        (older_than("1d"), {"created": 0}, None),
        (larger_than("999.9MB"), {}, True),
        (larger_than("1GB"), {}, False),
        (larger_than("1GB"), {"bytes": 10**9 + 1}, True),
        (larger_than("1gib"), {"bytes": 2**30}, False),
        (larger_than("0B"), {"bytes": None}, None),
        (status("failed", "FINISHED"), {}, True),
        (status("FAILED"), {}, False),
        (status("FAILED"), {"status": ""}, None),
        (mine(), {}, True),
        (mine(), {"user": "bob"}, False),
        (mine(), {"user": ""}, None),
    ],
)
def test_where_says_of_one_model(policy, change, expected):
    model = replace(MODEL, **change)
    assert says(policy, model) == [expected]
    assert says(~policy, model) == [None if expected is None else not expected]
    assert bool(policy.unknown(model)) is (expected is None)


def test_nobody_is_mine_where_nothing_tells_who_asks():
    assert mine().judge([MODEL], Asking(NOW.at)) == [None]


def with_quality(*values, **options):
    return [replace(MODEL, id=f"m-{n}", quality=v, **options) for n, v in enumerate(values)]


def test_best_keeps_ties_and_what_has_no_value():
    assert says(best(2), *with_quality(0.1, 0.9, 0.5, 0.5, None)) == [False, True, True, True, None]
    losses = with_quality(0.1, 0.9, 0.5, None, is_loss=True)
    assert says(best(1), *losses) == [True, False, False, None]
    assert says(best(9), *losses) == [True, True, True, None]


@pytest.mark.parametrize("doubt", [{"whole": False}, {"sure": False}])
def test_half_a_model_takes_the_place_of_no_whole_one(doubt):
    low, high, half = with_quality(0.1, 0.5, 0.9)
    half = replace(half, created=NOW.at, **doubt)
    assert says(best(1), low, high, half) == [False, True, True]
    if not half.whole:
        high = replace(high, created=MODEL.created + 1)
        assert says(last(1), low, high, half) == [False, True, True]
        assert says(last(1), half) == [True]


def test_last_goes_by_creation_and_then_by_step():
    models = [
        replace(MODEL, id="a", step=3),
        replace(MODEL, id="b", step=7),
        replace(MODEL, id="c", step=None),
        replace(MODEL, id="d", created=MODEL.created - 1, step=99),
        replace(MODEL, id="e", created=0),
    ]
    assert says(last(1), *models) == [False, True, False, False, None]
    assert says(last(3), *models) == [True, True, True, False, None]


def test_what_is_unknown_stays_so_unless_the_rest_decides():
    unknown = replace(MODEL, bytes=None)
    larger, mine_, other = larger_than("1B"), mine(), ~mine()
    assert says(larger & mine_, unknown) == [None]
    assert says(larger & other, unknown) == [False]
    assert says(larger | mine_, unknown) == [True]
    assert says(larger | other, unknown) == [None]
    assert says(~(larger | other), unknown) == [None]


@given(st.one_of(combined(wheres), combined(keeps)))
def test_a_policy_reads_as_the_python_that_makes_an_equal_one(policy):
    again = eval(repr(policy), dict(NAMES))
    assert again == policy
    assert hash(again) == hash(policy)
    assert repr(again) == repr(policy)


def test_policies_read_and_compare():
    both = older_than(" 30d ") & larger_than("1GB")
    assert repr(both) == 'older_than("30d") & larger_than("1GB")'
    assert repr(~(both | mine()) & mine()) == f"~({both!r} | mine()) & mine()"
    assert repr((mine() | both) & mine()) == f"(mine() | {both!r}) & mine()"
    assert older_than("1w") == older_than("7d")
    assert older_than("1w") != older_than("8d")
    assert best(2) != last(2)
    assert len({status("FAILED", "KILLED"), status("KILLED", "failed"), mine(), mine()}) == 2


WRONG = {
    "age": lambda: older_than("30"),
    "unit": lambda: older_than("3y"),
    "signed": lambda: older_than("-3d"),
    "number": lambda: older_than(30),
    "digits": lambda: older_than("٣d"),
    "endless": lambda: older_than("9" * 5000 + "d"),
    "size": lambda: larger_than("big"),
    "size in days": lambda: larger_than("3d"),
    "bytes": lambda: larger_than(1000),
    "none": lambda: best(0),
    "half": lambda: last(1.5),
    "true": lambda: best(True),
    "text": lambda: last("1"),
    "status": lambda: status("FAILED", "DONE"),
    "status of none": status,
    "status of what": lambda: status(["FAILED"]),
    "mixed": lambda: older_than("1d") & best(1),
    "mixed the other way": lambda: best(1) | older_than("1d"),
    "a text": lambda: older_than("1d") & "1GB",
    "a text first": lambda: "1GB" | mine(),
    "and": lambda: mine() and older_than("1d"),
    "or": lambda: best(1) or last(1),
    "not": lambda: not best(1),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_meant_is_one_clear_error(wrong):
    with pytest.raises(InvalidInputError) as caught:
        WRONG[wrong]()
    assert len(str(caught.value)) < 2100
    assert str(caught.value).endswith(".")
