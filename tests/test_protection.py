"""The rules of protection as pure code, and the search for the best run against brute force."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expmgr.errors import TrackingError
from expmgr.tracking.protection import (
    BestRuns,
    Goal,
    NamingRun,
    ProtectionFacts,
    Subject,
    best_runs,
    failing_safe,
    is_pin,
    protections,
)
from expmgr.tracking.registry import RegistryIndex

UP = Goal("acc", is_loss=False)
DOWN = Goal("acc", is_loss=True)


def subject(**changes) -> Subject:
    plain = {"run_id": "r", "experiment_id": "1", "status": "FINISHED", "tags": {}}
    return Subject(**{**plain, **changes})


def test_nothing_protects_a_plain_run():
    assert protections(subject(), ProtectionFacts()) == ()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"status": "RUNNING"}, "active"),
        ({"status": "SCHEDULED"}, "active"),
        ({"tags": {"expmgr.keep": ""}}, "pinned"),
        ({"tags": {"expmgr.keep": "true"}}, "pinned"),
        ({"tags": {"expmgr.initial_model": "true"}}, "initial"),
        ({"model_tags": ({"expmgr.keep": "1"},)}, "pinned"),
    ],
)
def test_what_the_run_itself_says(changes, word):
    (reason,) = protections(subject(**changes), ProtectionFacts())
    assert reason.startswith(word)


def test_a_pin_is_taken_back_only_in_words_that_mean_it():
    assert [is_pin(value) for value in (None, "false", " No ", "0")] == [False] * 4
    assert [is_pin(value) for value in ("", "true", "off?", "keep for audit")] == [True] * 4


@given(st.text("abc/", max_size=6), st.text("abc/", max_size=6))
def test_a_version_registered_by_path_protects_what_holds_it_and_what_it_holds(source, path):
    index = RegistryIndex(by_path={source: ("v1",)})
    within = f"{source}/".startswith(f"{path}/") or f"{path}/".startswith(f"{source}/")
    assert bool(index.versions_of("r", [], [path])) is within


def test_a_run_that_names_the_model_protects_it_and_no_other():
    naming = (NamingRun("other", "pinned", frozenset({"m-1"})),)
    facts = ProtectionFacts(naming=naming)
    assert protections(subject(model_ids=frozenset({"m-1", "m-2"})), facts)
    assert not protections(subject(model_ids=frozenset({"m-2"})), facts)
    assert not protections(subject(run_id="other", model_ids=frozenset({"m-1"})), facts)


@pytest.mark.parametrize("goal", [UP, DOWN])
@given(value=st.floats(allow_nan=False, allow_infinity=False), best=st.floats(-1e9, 1e9))
def test_only_a_strictly_better_stored_run_takes_the_protection_away(goal, value, best):
    facts = ProtectionFacts(best={"1": BestRuns("1", goal, best)})
    reasons = protections(subject(value=value), facts)
    beaten = best < value if goal.is_loss else best > value
    assert bool(reasons) is not beaten


def test_where_no_stored_run_is_known_the_run_itself_is_the_best():
    facts = ProtectionFacts(best={"1": BestRuns("1", UP, None)})
    assert protections(subject(value=0.0), facts)
    assert not protections(subject(value=0.0, status="FAILED"), facts)
    assert not protections(subject(value=None), facts)


def test_a_failed_look_up_protects():
    failures: list[str] = []

    def broken():
        raise TrackingError("the server said 503")

    failing_safe("the model registry", failures, broken)
    (reason,) = protections(subject(), ProtectionFacts(failures=tuple(failures)))
    assert "503" in reason


class Server:
    """Answers ``search_runs`` as MLflow does for the two filters that `best_runs` uses."""

    def __init__(self, runs) -> None:
        self.runs = runs
        self.rows = 0

    def search_runs(self, ids, filter_string, run_view_type, max_results, page_token):
        found = [run for run in self.runs if run.info.status == "FINISHED"]
        if match := re.search(r"metrics\.`acc` (>=|<=) (\S+)", filter_string):
            bound = float(match[2])
            kept = []
            for run in found:
                value = run.data.metrics.get("acc")
                if value is None:
                    continue
                # Like the SQL store, which keeps 0 for a NaN.
                value = 0.0 if math.isnan(value) else value
                if value >= bound if match[1] == ">=" else value <= bound:
                    kept.append(run)
            found = kept
        start = int(page_token or 0)
        page = found[start : start + max_results]
        self.rows += len(page)
        more = start + max_results < len(found)
        return Page(page, str(start + max_results) if more else None)


class Page(list):
    def __init__(self, items, token) -> None:
        super().__init__(items)
        self.token = token


def run(index, value, stored, status="FINISHED"):
    metrics = {} if value is None else {"acc": value}
    return SimpleNamespace(
        info=SimpleNamespace(run_id=str(index), status=status, experiment_id="1"),
        data=SimpleNamespace(metrics=metrics, tags={}),
        stored=stored,
    )


values = st.one_of(
    st.none(),
    st.floats(0, 1).map(lambda value: round(value, 2)),
    st.floats(allow_nan=True, allow_infinity=True),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(values, st.booleans(), st.sampled_from(["FINISHED", "FINISHED", "FAILED"])),
        max_size=160,
    ),
    st.booleans(),
)
def test_the_best_runs_are_those_that_brute_force_finds(rows, is_loss):
    runs = [run(index, *row) for index, row in enumerate(rows)]
    goal = Goal("acc", is_loss)
    candidates = [
        one
        for one in runs
        if one.info.status == "FINISHED"
        and one.stored
        and math.isfinite(one.data.metrics.get("acc", math.nan))
    ]
    found = best_runs(Server(runs), "1", goal, lambda one: one.stored)
    if not candidates:
        assert found.value is None
        assert found.runs == ()
        return
    pick = min if is_loss else max
    best = pick(one.data.metrics["acc"] for one in candidates)
    assert found.value == best
    assert {one.info.run_id for one in found.runs} == {
        one.info.run_id for one in candidates if one.data.metrics["acc"] == best
    }


def test_the_best_of_ten_thousand_is_found_without_reading_them_all():
    runs = [run(index, (index * 7919 % 10_007) / 10_007, stored=True) for index in range(10_000)]
    server = Server(runs)
    best_runs(server, "1", UP, lambda one: one.stored)
    assert server.rows < 1_000
