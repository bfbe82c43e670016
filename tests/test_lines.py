"""Lines of runs, studies and models: what is folded, sorted, summed up, ticked and followed."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_tables import study_tables

from expmgr.catalog.reason import Reason, Reasons
from expmgr.results import DeletionResult
from expmgr.widgets.session.lines import Lines
from expmgr.widgets.session.query import haystack


@pytest.fixture
def lines():
    lines = Lines(100, "accuracy")
    runs, models = study_tables()
    lines.take(runs, 1.0, complete=True, models=models)
    return lines


def names(lines):
    return [f"{'  ' * record['depth']}{record['run_name']}" for record in lines.records]


def id_of(lines, name, at=0):
    frame = lines.frame
    return frame.loc[frame["run_name"] == name, "run_id"].iloc[at]


def line(lines, id_):
    return next(record for record in lines.records if record["id"] == id_)


PLAIN = [f"plain {at}" for at in range(6)]
TOPS = ["search A", "imported", "search B", "sweep", "four checkpoints", *PLAIN, "left behind"]


def test_children_lie_folded_under_their_parent_and_models_without_a_run_are_lines(lines):
    assert names(lines) == TOPS
    kinds = {record["run_name"]: record["line"] for record in lines.records}
    assert kinds["search A"] == kinds["sweep"] == "study"
    assert kinds["imported"] == kinds["left behind"] == "model"
    assert kinds["four checkpoints"] == "run"
    assert [line(lines, id_of(lines, name))["unfolds"] for name in TOPS[:5]] == [6, 0, 4, 1, 4]


def test_a_study_unfolds_into_its_own_models_and_its_children(lines):
    lines.unfold(id_of(lines, "search B"))
    at = names(lines).index("search B")
    trials = [f"  trial {number}" for number in range(3)]
    assert names(lines)[at : at + 6] == ["search B", "  model", *trials, "sweep"]
    assert line(lines, id_of(lines, "trial 0", 1))["of"] == "search B"
    lines.unfold(id_of(lines, "search B"))
    assert names(lines) == TOPS


def test_studies_within_studies_unfold_level_by_level(lines):
    lines.unfold(id_of(lines, "fold 1"))
    assert names(lines) == TOPS, "it is folded away itself"
    lines.unfold(id_of(lines, "sweep"))
    at = names(lines).index("sweep")
    assert names(lines)[at : at + 4] == ["sweep", "  fold 1", "    leaf 1", "    leaf 2"]


def test_models_of_a_run_are_lines_in_the_table_s_order(lines):
    run_id = id_of(lines, "four checkpoints")
    lines.unfold(run_id)
    lines.ask(sort_by="metrics.accuracy", ascending=False)
    own = [record for record in lines.records if record.get("of") == "four checkpoints"]
    assert [record["step"] for record in own] == [300, 200, 100, 0]
    assert [record["is_best"] for record in own] == [True, False, False, False]
    assert {record["run_id"] for record in own} == {run_id}
    assert own[0]["metrics.accuracy"] == 0.93


def test_a_study_sums_up_what_matches_below_it(lines):
    family = line(lines, id_of(lines, "search A"))["family"]
    assert (family.runs, family.models, family.deletable) == (6, 8, 8)
    assert family.bytes == sum(1000 * at for at in (2, 3, 5, 6, 7)) + 900
    assert family.value == pytest.approx(0.56)
    deep = line(lines, id_of(lines, "sweep"))["family"]
    assert (deep.runs, deep.models) == (3, 2)
    lines.ask(search="trial")
    trials = [f"trial {at}" for at in range(6)] + [f"trial {at}" for at in range(3)]
    assert names(lines) == trials, "the parent does not match"
    whose = [record["within"] for record in lines.records]
    assert whose == ["search A"] * 3 + [""] * 3 + ["search B"] * 3
    lines.ask(search="")
    lines.ask(status="FINISHED", model="deletable")
    assert line(lines, id_of(lines, "search B"))["family"].runs == 3
    assert "search A" not in names(lines), "it has no model of its own"
    assert lines.family(id_of(lines, "search A")) == [id_of(lines, "search A")] + [
        id_of(lines, f"trial {at}") for at in range(6)
    ]


def test_a_study_is_sorted_by_what_it_holds(lines):
    lines.ask(sort_by="bytes", ascending=False)
    sums = {
        record["run_name"]: record["family"].bytes if record["line"] == "study" else record["bytes"]
        for record in lines.records
    }
    assert list(sums.values()) == sorted(sums.values(), reverse=True)
    lines.ask(sort_by="metrics.accuracy", ascending=True)
    order = [name for name in names(lines) if name in ("search A", "search B", "sweep")]
    assert order == ["search A", "search B", "sweep"]
    lines.ask(ascending=False)
    order = [name for name in names(lines) if name in ("search A", "search B", "sweep")]
    assert order == ["sweep", "search B", "search A"]


def test_one_list_tells_whose_a_repeated_name_is(lines):
    lines.ask(flat=True)
    assert len(lines.records) == len(lines.frame)
    told = {record["id"]: record["within"] for record in lines.records if record.get("within")}
    assert told[id_of(lines, "trial 0", 0)] == "search A"
    assert told[id_of(lines, "trial 0", 1)] == "search B"
    assert id_of(lines, "trial 5") not in told, "that name is there once"
    assert lines.content.name(id_of(lines, "trial 0", 1)) == "trial 0 in search B"
    checkpoint = lines.content.models_of(id_of(lines, "four checkpoints"))["model_id"].iloc[0]
    assert lines.content.name(checkpoint) == "checkpoint of four checkpoints"


def test_a_tick_on_a_run_takes_those_of_its_models_and_the_other_way_round(lines):
    run_id = id_of(lines, "trial 2")
    own = list(lines.content.models_of(run_id)["model_id"])
    lines.unfold(id_of(lines, "search A"))
    lines.unfold(run_id)
    lines.tick([run_id], on=True)
    assert all(lines.is_ticked(line(lines, id_)) for id_ in own), "they go with it"
    lines.tick([own[1]], on=True)
    assert lines.chosen() == [run_id]
    lines.tick([own[1]], on=False)
    assert lines.chosen() == [own[0], own[2]], "the others stay ticked"
    assert lines.totals().selected == 2
    assert lines.totals().selected_bytes == 600
    assert not lines.is_ticked(line(lines, run_id))
    lines.tick([run_id, *own], on=True)
    assert lines.chosen() == [run_id]
    best = lines.content.models_of(id_of(lines, "four checkpoints"))["model_id"].iloc[3]
    lines.tick([best], on=True)
    assert lines.chosen() == [run_id], "what is protected cannot be ticked"


def test_a_study_is_ticked_when_all_is_that_can_go_with_it(lines):
    study = id_of(lines, "search A")
    lines.tick(lines.family(study), on=True)
    assert lines.is_ticked(line(lines, study))
    lines.tick([id_of(lines, "trial 4")], on=False)
    assert not lines.is_ticked(line(lines, study))


@pytest.mark.parametrize("state", ["deleted", "broken", "elsewhere", "interrupted"])
def test_what_is_gone_or_half_there_takes_the_place_of_no_best(lines, state):
    """Whole ones are ranked among themselves: otherwise every one that is left would be ticked."""
    run_id = id_of(lines, "four checkpoints")
    own = list(lines.content.models_of(run_id)["model_id"])
    lines.content.change(own[3], {"model": state})
    assert lines.but_its_best(run_id) == own[:2]
    told = lines.content.by_quality().set_index("run_id")["metrics.accuracy"]
    assert told[run_id] == 0.92
    for id_ in own:
        lines.content.change(id_, {"model": "deleted"})
    lines.content.change(run_id, {"model": "deleted"})
    told = lines.content.by_quality().set_index("run_id")["metrics.accuracy"]
    assert np.isnan(told[run_id])


def test_all_but_its_best_leaves_what_is_not_told_apart(lines):
    run_id = id_of(lines, "four checkpoints")
    own = list(lines.content.models_of(run_id)["model_id"])
    assert lines.but_its_best(run_id) == own[:3]
    assert lines.but_its_best(id_of(lines, "trial 2")) == [], "two of three have no value"
    assert lines.but_its_best(id_of(lines, "plain 0")) == []


def test_a_model_that_goes_with_its_run_only_offers_no_delete_of_its_own():
    runs, models = study_tables()
    run_id = runs.loc[3, "run_id"]
    models.loc[models["run_id"] == run_id, "alone"] = False
    lines = Lines(100, "accuracy")
    lines.take(runs, 1.0, complete=True, models=models)
    own = set(models.loc[models["run_id"] == run_id, "model_id"])
    assert not own & lines.content.deletable()
    lines.tick(own, on=True)
    assert lines.chosen() == []
    assert lines.record(min(own))["alone"] is False
    assert run_id in lines.content.deletable()


def test_the_line_of_a_run_follows_its_models(lines):
    run_id = id_of(lines, "four checkpoints")
    own = list(lines.content.models_of(run_id)["model_id"])
    lines.tick([own[0]], on=True)
    for id_ in own[:3]:
        lines.ended(DeletionResult(id_, "deleted", 3, 250))
    assert lines.selected == set()
    assert lines.content.value(run_id, "model") == "stored"
    assert lines.content.value(run_id, "bytes") == 250
    assert str(lines.content.value(run_id, "protected_by")).startswith("best")
    lines.ended(DeletionResult(own[3], "deleted", 3, 250))
    assert lines.content.value(run_id, "model") == "deleted"
    assert lines.content.value(run_id, "protected_by") is None
    assert not lines.content.value(run_id, "is_best")


def test_models_go_with_their_run(lines):
    run_id = id_of(lines, "trial 2")
    lines.ended(DeletionResult(run_id, "deleted", 9, 900))
    own = lines.content.models_of(run_id)
    assert set(own["model"]) == {"deleted"}
    assert own["bytes"].sum() == 0
    assert not lines.content.deletable() & {run_id, *own["model_id"]}


def test_what_became_of_a_model_outlives_an_older_answer(lines):
    runs, models = study_tables()
    own = lines.content.models_of(id_of(lines, "trial 2"))["model_id"].iloc[0]
    lines.ended(DeletionResult(own, "deleted", 3, 300))
    lines.take(runs, 1.0, complete=True, models=models)
    assert lines.content.value(own, "model") == "deleted"
    lines.take(runs, float("inf"), complete=True, models=models)
    assert lines.content.value(own, "model") == "stored"


def test_a_newer_protection_is_not_lost_to_an_older_note_beside_a_newer_size(lines):
    """Each value has a time of its own."""
    run_id = id_of(lines, "plain 0")
    began = time.monotonic()
    lines.content.change(run_id, {"protected_by": Reasons()}, when=began)
    usage = pd.DataFrame({"run_id": [run_id], "model": ["stored"], "files": [4], "bytes": [44]})
    lines.measured(usage, began + 1e-9)
    runs, models = study_tables()
    held = Reasons([Reason("registered", "registered as churn version 3", "churn/3")])
    runs.at[lines.content.place[run_id], "protected_by"] = held
    lines.take(runs, began + 1e-9, complete=True, models=models)
    assert str(lines.content.value(run_id, "protected_by")) == str(held)
    assert lines.content.value(run_id, "bytes") == 44


def test_a_search_finds_what_has_changed_without_making_all_texts_anew(lines, monkeypatch):
    lines.ask(search="interrupted")
    assert names(lines) == []
    made = []
    monkeypatch.setattr(
        "expmgr.widgets.session.content.haystack",
        lambda frame: (made.append(len(frame)), haystack(frame))[1],
    )
    lines.content.change(id_of(lines, "plain 3"), {"model": "interrupted", "bytes": 5})
    usage = pd.DataFrame(
        {"run_id": list(lines.frame["run_id"]), "model": "stored", "files": 1, "bytes": 1}
    )
    usage.loc[usage["run_id"] == id_of(lines, "plain 4"), "model"] = "interrupted"
    lines.measured(usage, 0.0)
    lines.recompute()
    assert sorted(names(lines)) == ["plain 3", "plain 4"]
    assert sum(made) < 15


def test_what_a_plan_did_not_hold_stays(lines):
    run_id = id_of(lines, "trial 2")
    own = list(lines.content.models_of(run_id)["model_id"])
    lines.ended(DeletionResult(run_id, "deleted", 6, 600), planned={run_id: own[:2]})
    assert list(lines.content.models_of(run_id)["model"]) == ["deleted", "deleted", "stored"]
    assert lines.content.value(run_id, "model") == "stored"
    assert lines.content.value(run_id, "bytes") == 300


def test_a_run_resumes_where_nothing_whole_is_left_of_it(lines):
    run_id = id_of(lines, "trial 2")
    own = list(lines.content.models_of(run_id)["model_id"])
    lines.content.change(run_id, {"model": "interrupted"})
    lines.content.change(own[0], {"model": "interrupted"})
    assert lines.record(run_id)["resumes"] is False
    for id_ in own[1:]:
        lines.content.change(id_, {"model": "deleted"})
    assert lines.record(run_id)["resumes"] is True


def test_sizes_of_single_models_are_taken(lines):
    own = lines.content.models_of(id_of(lines, "trial 2"))["model_id"]
    usage = pd.DataFrame({"model_id": own, "model": "broken", "files": 1, "bytes": [1, 2, 3]})
    lines.measured(usage, float("inf"))
    assert lines.content.models_of(id_of(lines, "trial 2"))["bytes"].to_list() == [1, 2, 3]


def test_without_models_the_table_is_what_it_was():
    lines = Lines(10, "accuracy")
    runs, _ = study_tables()
    lines.take(runs.drop(columns="parent_run_id"), 1.0, complete=True)
    assert not lines.foldable
    assert [record["line"] for record in lines.records] == ["run"] * 10


@settings(deadline=None)
@given(
    parents=st.lists(st.integers(-1, 11), min_size=1, max_size=12),
    matching=st.lists(st.booleans(), min_size=12, max_size=12),
    ascending=st.booleans(),
    unfold=st.lists(st.integers(0, 11), max_size=12),
    page_size=st.integers(1, 5),
)
def test_unfolded_every_match_is_shown_once_and_below_its_parent(
    parents, matching, ascending, unfold, page_size
):
    """Whatever the parents are, runs that are their own ancestors included."""
    count = len(parents)
    ids = [f"r{at}" for at in range(count)]
    frame = pd.DataFrame(
        {
            "run_id": ids,
            "run_name": ids,
            "parent_run_id": [ids[at] if 0 <= at < count else None for at in parents],
            "status": ["FINISHED" if matching[at] else "FAILED" for at in range(count)],
            "model": "stored",
            "files": 1,
            "bytes": range(count),
            "is_best": False,
            "protected_by": "",
            "experiment_id": "0",
            "experiment_name": "e",
        }
    )
    lines = Lines(page_size, "accuracy")
    lines.take(frame, 1.0, complete=True)
    lines.ask(sort_by="bytes", ascending=ascending, status="FINISHED")
    wanted = {id_ for id_, one in zip(ids, matching, strict=False) if one}
    for at in unfold:
        lines.unfold(f"r{at}")

    def walk():
        seen = []
        for page in range(lines.pages):
            lines.turn(page)
            seen += lines.records
        return seen

    shown = [record["id"] for record in walk()]
    assert len(shown) == len(set(shown))
    assert set(shown) <= wanted
    for id_ in ids:  # unfold what is still folded
        if id_ not in lines._unfolded:
            lines.unfold(id_)
    seen = walk()
    assert {record["id"] for record in seen} == wanted
    assert len(seen) == len(wanted)
    above = {record["id"]: at for at, record in enumerate(seen)}
    of = dict(zip(ids, frame["parent_run_id"], strict=True))
    for record in seen:
        if record["depth"]:
            parent = of[record["id"]]
            assert above[parent] < above[record["id"]]
            assert seen[above[parent]]["depth"] == record["depth"] - 1
    tops = [record for record in seen if not record["depth"]]
    sums = [one["family"].bytes if one["line"] == "study" else one["bytes"] for one in tops]
    assert sums == sorted(sums, reverse=not ascending)
    assert np.sum(sums) == sum(int(id_[1:]) for id_ in wanted)
