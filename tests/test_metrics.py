from __future__ import annotations

import doctest
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import expmgr.metrics
from expmgr.errors import InvalidInputError
from expmgr.metrics import MetricsAccumulator, MetricValue

finite = st.floats(allow_nan=False, allow_infinity=False)


def values_of(aggregates):
    return dict(aggregates[1:])


def everything(name="loss", window_size=10):
    return MetricsAccumulator(name, True, True, True, True, window_size)


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(expmgr.metrics).failed == 0


@pytest.mark.parametrize(
    "value", [1, 1.5, np.float32(0.5), np.int64(3), np.array(2.0), np.array([2.0]), Fraction(1, 2)]
)
def test_a_value_is_any_single_real_number(value):
    metric = MetricValue("loss", value)
    assert type(metric.value) is float
    assert metric.value == float(np.asarray(value, dtype=float).reshape(()))


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.bool_(1),
        "0.5",
        None,
        1j,
        [0.5],
        np.array([1.0, 2.0]),
        object(),
        10**400,
        Decimal(1),
    ],
)
def test_anything_else_is_refused_by_name(value):
    with pytest.raises(InvalidInputError, match="'loss'"):
        MetricValue("loss", value)


@pytest.mark.parametrize("name", ["", "a" * 243, "100%", "a//b", "../up", "/a", None, 3])
def test_a_name_that_mlflow_would_refuse_is_refused_at_once(name):
    with pytest.raises(InvalidInputError, match="metric"):
        MetricValue(name, 1.0)
    with pytest.raises(InvalidInputError, match="metric"):
        MetricsAccumulator(name)


def test_infinity_is_logged_as_nan_with_a_warning(caplog):
    assert math.isnan(MetricValue("loss", math.inf).loggable)
    assert "loss is infinite" in caplog.text
    assert MetricValue("loss", 2.0).loggable == 2.0


@pytest.mark.parametrize("window_size", [0, -1, 1.5, True, None])
def test_a_window_has_at_least_one_value(window_size):
    with pytest.raises(InvalidInputError, match="window_size"):
        MetricsAccumulator("loss", window_size=window_size)


def test_only_the_aggregates_asked_for_are_given():
    accumulator = MetricsAccumulator("loss", calc_sliding=True, window_size=2)
    for value in (1, 2, 4):
        aggregates = values_of(accumulator.accumulate(MetricValue("loss", value)))
    assert aggregates == {"sliding_loss": 3.0}
    assert MetricsAccumulator("loss").accumulate(MetricValue("loss", 1)) == [("loss", 1.0)]


@given(st.lists(finite, min_size=1, max_size=60), st.integers(1, 12))
def test_aggregates_are_those_of_the_whole_history(history, window_size):
    accumulator = everything(window_size=window_size)
    for value in history:
        aggregates = values_of(accumulator.accumulate(MetricValue("loss", value)))

    def exact_mean(numbers):
        return float(sum(map(Fraction, numbers)) / len(numbers))

    scale = max(abs(value) for value in history)
    close = {"rel_tol": 1e-12, "abs_tol": max(scale * 1e-13, 1e-285)}
    assert math.isclose(aggregates["mean_loss"], exact_mean(history), **close)
    assert math.isclose(aggregates["sliding_loss"], exact_mean(history[-window_size:]), **close)
    assert aggregates["min_loss"] == min(history)
    assert aggregates["max_loss"] == max(history)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_aggregates_agree_with_numpy(history):
    accumulator = everything(window_size=7)
    for value in history:
        aggregates = values_of(accumulator.accumulate(MetricValue("loss", value)))
    assert np.isclose(aggregates["mean_loss"], np.mean(history), rtol=1e-9, atol=1e-9)
    assert np.isclose(aggregates["sliding_loss"], np.mean(history[-7:]), rtol=1e-9, atol=1e-9)


@given(st.lists(st.floats(), max_size=40))
def test_values_that_are_not_finite_leave_no_trace_in_the_aggregates(history):
    mixed, clean = everything(), everything()
    for value in history:
        aggregates = mixed.accumulate(MetricValue("loss", value))
        if math.isfinite(value):
            assert aggregates == clean.accumulate(MetricValue("loss", value))
        else:
            (alone,) = aggregates
            assert alone[0] == "loss"
    assert mixed.count == clean.count


def test_a_long_history_costs_no_memory_and_no_precision():
    accumulator = everything(window_size=5)
    for step in range(100_000):
        aggregates = accumulator.accumulate(MetricValue("loss", 0.1 if step % 2 else 1e9))
    assert accumulator._window.maxlen == len(accumulator._window) == 5
    assert values_of(aggregates)["mean_loss"] == pytest.approx((0.1 + 1e9) / 2, rel=1e-15)


def test_clearing_forgets_and_a_fresh_one_shares_nothing():
    accumulator = everything(window_size=3)
    accumulator.accumulate(MetricValue("loss", 100))
    fresh = accumulator.fresh()
    assert fresh.count == 0
    assert repr(fresh) == repr(accumulator)
    accumulator.clear()
    assert values_of(accumulator.accumulate(MetricValue("loss", 1))) == {
        "mean_loss": 1.0,
        "sliding_loss": 1.0,
        "min_loss": 1.0,
        "max_loss": 1.0,
    }
    assert fresh.count == 0


def test_an_accumulator_can_be_taken_back_to_where_it_was():
    accumulator = everything(window_size=2)
    for value in (1, 2, 3):
        accumulator.accumulate(MetricValue("loss", value))
    go_back = accumulator.remember()
    first = accumulator.accumulate(MetricValue("loss", 100))
    go_back()
    assert accumulator.count == 3
    assert accumulator.accumulate(MetricValue("loss", 100)) == first


def test_an_accumulator_passes_over_the_values_of_another_metric():
    accumulator = everything()
    assert accumulator.accumulate(MetricValue("accuracy", 1)) == []
    assert accumulator.count == 0


def test_what_was_accumulated_can_be_asked_again():
    accumulator = everything(window_size=2)
    assert accumulator.aggregate() == []
    for value in (4, 1, 2):
        told = accumulator.accumulate(MetricValue("loss", value))
    assert told == accumulator.aggregate()
    assert told == [
        ("loss", 2.0),
        ("mean_loss", pytest.approx(7 / 3)),
        ("sliding_loss", 1.5),
        ("min_loss", 1.0),
        ("max_loss", 4.0),
    ]
    accumulator.accumulate(MetricValue("loss", math.nan))
    assert math.isnan(dict(accumulator.aggregate())["loss"])
    assert accumulator.aggregate()[1:] == told[1:]


def test_a_prefix_makes_another_value():
    value = MetricValue("loss", 2)
    assert value.add_prefix("test") == MetricValue("test_loss", 2)
    assert value.name == "loss"
