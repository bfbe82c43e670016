from __future__ import annotations

import dataclasses
import enum
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from expmgr.errors import InvalidInputError
from expmgr.training.params import (
    MAX_VALUE_LENGTH,
    decode_params,
    decode_value,
    encode_params,
    encode_value,
    fingerprint,
    plain_params,
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]))
    | st.sampled_from(["None", "True", "10", "1e-05", "nan", "[1, 2]", '"x"', "(1)", "{}", "1_0"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(scalars.filter(lambda key: key == key), inner, max_size=3)  # noqa: PLR0124
    ),
    max_leaves=8,
)


def same(left, right):
    """Equal, of the same type, in the same order, NaN equal to NaN and 0.0 not to -0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return repr(left) == repr(right)
    return left == right


@given(values)
@example("")
@example(" padded ")
@example("\ud800")
@example(-0.0)
@example([[], (), {}, ((),)])
@example("[" * 500)
@example('"unfinished')
@example({"a": {"b": [1, 2.0, "2", None]}})
def test_every_plain_value_comes_back_as_it_was(value):
    text = encode_value(value)
    assert same(decode_value(text), value)
    text.encode("utf-8")


@given(st.text())
@example("1if 1else 2")
@example('"a\\d"')
@example("(1+2j)")
@example("9" * 5000)
def test_any_text_in_a_param_can_be_read(text):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        decode_value(text)
    assert not warned


@given(st.text('[](){}",: 01.einfaN-+\\u'))
def test_text_comes_back_as_text_however_like_a_value_it_is(text):
    assert same(decode_value(encode_value(text)), text)


@given(st.text('[](){}", 01.e-+\\u') | st.lists(scalars).map(str))
def test_text_is_a_value_if_and_only_if_writing_the_value_gives_the_text_back(text):
    value = decode_value(text)
    assert isinstance(value, str) or encode_value(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (3, "3"),
        (0.001, "0.001"),
        (1e-05, "1e-05"),
        (math.inf, "inf"),
        ("adam", "adam"),
        ("two words", "two words"),
        ("3", '"3"'),
        ("None", '"None"'),
        ([1, None, "a"], '[1, None, "a"]'),
        ((64, 32), "(64, 32)"),
        ({"p": 0.5, "on": True}, '{"p": 0.5, "on": True}'),
    ],
)
def test_values_read_well_in_mlflow(value, text):
    assert encode_value(value) == text


@pytest.mark.parametrize("text", ["1_000", "007", "1e5", "0x10", "(1)", "[1,2]", "[1, 2", "1 2"])
def test_text_that_only_resembles_a_value_stays_text(text):
    assert decode_value(text) == text


class Solver(enum.Enum):
    FAST = "fast"


@dataclasses.dataclass
class Layer:
    units: int
    dropout: float | None = None


@dataclasses.dataclass
class Search:
    layers: list
    solver: Solver = Solver.FAST


class Settings(BaseModel):
    rate: float
    sizes: list[int]
    note: str | None = None


def test_dicts_dataclasses_and_pydantic_models_are_taken():
    assert plain_params({"a": (1, [None])}) == {"a": (1, [None])}
    assert plain_params(Search([Layer(8)])) == {
        "layers": [{"units": 8, "dropout": None}],
        "solver": "fast",
    }
    assert plain_params(Settings(rate=0.1, sizes=[1, 2])) == {
        "rate": 0.1,
        "sizes": [1, 2],
        "note": None,
    }


def test_numpy_values_and_paths_become_plain():
    params = plain_params(
        {"i": np.int64(3), "f": np.float64(0.5), "a": np.array([1, 2]), "p": Path("a/b")}
    )
    assert same(params, {"i": 3, "f": 0.5, "a": [1, 2], "p": "a/b"})


@pytest.mark.parametrize("params", [None, 3, "text", ["a"], Settings, Search])
def test_what_holds_no_params_is_refused(params):
    with pytest.raises(InvalidInputError, match="a dict, a dataclass instance or a pydantic model"):
        plain_params(params)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"model": object()}, "'model'.*object"),
        ({"names": {"a", "b"}}, "'names'.*set"),
        ({"": 1}, "must not be empty"),
        ({3: 1}, "a string, not int"),
        ({"a" * 251: 1}, "251 characters; at most 250"),
        ({"a=b": 1}, "'a=b'"),
        ({"text": "x" * (MAX_VALUE_LENGTH + 1)}, "'text' takes 6,001 characters"),
        ({"big": 10**5000}, "'big'"),
        ({"by pair": {(1, 2): 3}}, "'by pair'.*keys"),
    ],
)
def test_what_mlflow_cannot_keep_whole_is_refused_by_name(params, words):
    with pytest.raises(InvalidInputError, match=words):
        encode_params(plain_params(params))


def test_a_list_that_contains_itself_is_refused():
    endless: list = []
    endless.append(endless)
    with pytest.raises(InvalidInputError, match="'endless' is nested"):
        plain_params({"endless": endless})


@given(st.dictionaries(st.sampled_from("abcdef"), scalars))
def test_the_fingerprint_depends_on_the_values_and_not_on_their_order(params):
    encoded = encode_params(params) if params else {}
    backwards = dict(reversed(list(encoded.items())))
    assert fingerprint(encoded) == fingerprint(backwards)
    assert fingerprint(encoded) != fingerprint({**encoded, "one more": "1"})
    assert len(fingerprint(encoded)) == 32


def test_params_that_differ_only_in_type_are_told_apart():
    sets = [{"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": True}, {"a": [1]}, {"a": (1,)}]
    assert len({fingerprint(encode_params(params)) for params in sets}) == len(sets)
    for params in sets:
        assert same(decode_params(encode_params(params)), params)
