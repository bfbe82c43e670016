"""What is best, from values alone."""

from __future__ import annotations

import copy
import pickle
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expmgr.catalog.quality import (
    Candidate,
    Entry,
    Goal,
    Siblings,
    best_models,
    newest_entries,
    newest_entry,
    own_entries,
    star_models,
)
from expmgr.catalog.reason import Reason, Reasons, covered

UP, DOWN = Goal("accuracy", is_loss=False), Goal("loss", is_loss=True)


def entry(value, *, timestamp=1, step=0, run_id="maker", key="accuracy"):
    return Entry(key, value, timestamp, step, run_id)


def model(id_, own=None, maker=None, *, run_id=None, whole=True, created=0):
    return Candidate(id_, id_ if run_id is None else run_id, created, whole, own, maker)


def own(entries_by_model, *, steps=None, maker="maker", goal=UP):
    steps = steps or {}
    siblings = [
        Siblings(id_, steps.get(id_, 0), newest_entry(entries, goal.metric))
        for id_, entries in entries_by_model.items()
    ]
    return {id_: value for id_, (value, _) in own_entries(maker, siblings, goal).items()}


def best(*models, goal=UP):
    return set(best_models(models, goal))


# ------------------------------------------------------------------------------------ own values


def test_the_newest_value_counts_in_mlflows_order():
    entries = [
        entry(0.1, timestamp=2, step=1, run_id="b"),
        entry(0.2, timestamp=2, step=1, run_id="a"),
        entry(0.3, timestamp=1, step=9),
        entry(0.4, timestamp=9, key="other"),
    ]
    for order in (entries, entries[::-1]):
        newest = newest_entry(order, "accuracy")
        assert newest is not None
        assert newest.value == 0.2
    assert newest_entry(entries, "missing") is None


def test_one_pass_over_all_keys_finds_the_newest_of_each():
    chance = Random(3)
    for _ in range(200):
        entries = [
            entry(
                at,
                key=chance.choice("abc"),
                timestamp=chance.randrange(2),
                step=chance.randrange(2),
                run_id=chance.choice("xy"),
            )
            for at in range(chance.randrange(12))
        ]
        found = newest_entries(entries)
        assert set(found) == {one.key for one in entries}
        for key, newest in found.items():
            last_first = [one for one in reversed(entries) if one.key == key]
            order = sorted(last_first, key=lambda one: (-one.timestamp, -one.step, one.run_id))
            assert newest is order[0]
            assert newest_entry(entries, key) is newest


def test_checkpoints_of_different_steps_keep_their_own_values():
    values = own({"a": [entry(0.95)], "b": [entry(0.6)]}, steps={"a": 1, "b": 2})
    assert values == {"a": 0.95, "b": 0.6}


def test_values_that_the_maker_logged_do_not_tell_equal_steps_apart():
    # Fluent defaults: log ck1, metric .95, log ck2, metric .6 give the truth reversed.
    entries = {"ck1": [entry(0.95), entry(0.6, timestamp=2)], "ck2": [entry(0.95)]}
    assert own(entries) == {"ck1": 0.95, "ck2": 0.95}


def test_an_evaluation_tells_siblings_apart():
    entries = {
        "a": [entry(0.9), entry(0.3, timestamp=5, run_id="evaluation")],
        "b": [entry(0.9)],
    }
    assert own(entries) == {"a": 0.3, "b": 0.9}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1.797e308])
def test_a_newest_value_that_is_no_number_hides_older_ones(value):
    assert own({"a": [entry(0.9), entry(value, timestamp=2)]}) == {}
    assert UP.value_of({"accuracy": value}) is None


# ------------------------------------------------------------------------------------------ best


def test_best_by_own_value_by_maker_and_by_quality_are_all_protected():
    models = [
        model("evaluated", own=0.99, maker=0.1),
        model("by run", own=0.2, maker=0.95),
        model("no own", maker=0.9),
        model("other", own=0.5, maker=0.5),
    ]
    assert best(*models) == {"evaluated", "by run"}
    assert set(star_models(models, UP)) == {"evaluated"}


def test_the_best_without_an_own_value_counts_by_quality():
    models = [model("by run", own=0.2, maker=0.95), model("no own", maker=0.9)]
    assert best(*models) == {"by run", "no own"}
    assert set(star_models(models, UP)) == {"no own"}


def test_within_the_best_run_its_best_checkpoint_stays():
    checkpoints = [
        model(f"ck{step}", own=value, maker=0.95, run_id="r")
        for step, value in enumerate([0.7, 0.93, 0.8])
    ]
    assert best(*checkpoints, model("x", own=0.94, maker=0.6)) == {"ck1", "x"}


def test_checkpoints_that_are_not_told_apart_all_stay():
    assert best(*(model(f"ck{n}", maker=0.95, run_id="r") for n in range(3))) == {
        "ck0",
        "ck1",
        "ck2",
    }


def test_a_doubtful_model_never_takes_the_protection_from_a_whole_one():
    models = [model("raw", maker=0.99, whole=False), model("whole", maker=0.5)]
    assert best(*models) == {"raw", "whole"}
    assert best(model("raw", maker=0.4, whole=False), model("whole", maker=0.5)) == {"whole"}


def test_of_doubtful_models_alone_only_the_best_stays():
    models = [model(f"raw{n}", maker=n / 100, whole=False) for n in range(50)]
    assert best(*models) == {"raw49"}


def test_among_equals_the_ten_newest_stay_and_the_reason_counts_them():
    models = [model(f"m{n:04}", maker=1.0, created=n) for n in range(1000)]
    found = best_models(models, UP)
    assert set(found) == {f"m{n:04}" for n in range(990, 1000)}
    assert found["m0999"].words.endswith("one of 1,000 equal")


def test_smaller_is_better_for_a_loss():
    assert best(model("a", maker=0.1), model("b", maker=0.2), goal=DOWN) == {"a"}


VALUES = st.one_of(st.none(), st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]))
MODELS = st.lists(
    st.builds(
        Candidate,
        id=st.uuids().map(str),
        run_id=st.sampled_from(["", "r1", "r2", "r3"]),
        created=st.integers(0, 3),
        whole=st.booleans(),
        own=VALUES,
        maker=VALUES,
    ),
    max_size=12,
    unique_by=lambda candidate: candidate.id,
)


@given(MODELS, st.sampled_from([UP, DOWN]))
def test_a_best_whole_model_is_always_among_the_best(models, goal):
    found = best_models(models, goal)
    for value_of in (lambda c: c.own, lambda c: c.quality):
        known = [c for c in models if c.whole and value_of(c) is not None]
        if known:
            top = goal.best(value_of(c) for c in known)
            assert any(c.id in found for c in known if value_of(c) == top)
    assert set(star_models(models, goal)) <= set(found)


@given(MODELS, st.sampled_from([UP, DOWN]))
def test_taking_the_others_away_changes_nothing_for_the_best(models, goal):
    found = best_models(models, goal)
    assert set(best_models([c for c in models if c.id in found], goal)) == set(found)


# --------------------------------------------------------------------------------------- reasons


def test_a_reason_is_text_and_keeps_its_parts_through_copies():
    reason = Reason("registered", "churn v3 (champion)", "churn/3")
    for twin in (reason, copy.copy(reason), pickle.loads(pickle.dumps(reason))):
        assert twin == "registered: churn v3 (champion)"
        assert twin.key == ("registered", "churn/3")


def test_several_reasons_are_one_text_and_are_never_parsed_back():
    held = [
        Reason("active", "the run is RUNNING; no end", "r1"),
        Reason("used", "by run r2; active: since Monday", "r2"),
    ]
    both = Reasons(held)
    assert both == "active: the run is RUNNING; no end; used: by run r2; active: since Monday"
    assert pickle.loads(pickle.dumps(both)).parts == tuple(held)
    assert both.without("active").parts == (held[1],)
    assert not Reasons([held[0]]).without("active")


def test_a_reason_is_covered_only_by_one_of_its_kind_and_subject():
    shown = [Reason("pinned", "the run has the tag expmgr.keep", "r1")]
    assert covered([Reason("pinned", "other words", "r1")], shown)
    assert not covered([Reason("pinned", "the run has the tag expmgr.keep", "r2")], shown)
    assert not covered([Reason("used", "the run has the tag expmgr.keep", "r1")], shown)
