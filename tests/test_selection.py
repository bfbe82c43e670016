"""Which models a policy takes: what is promised of it, and what the words of the design say."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_policies import NOW, combined, keeps, wheres

from expmgr.catalog.catalog import Catalog
from expmgr.catalog.facts import Facts, facts_of
from expmgr.catalog.model import Maker, Model, Size, Stored
from expmgr.catalog.protection import Evidence
from expmgr.catalog.quality import Goal
from expmgr.catalog.reason import Reason
from expmgr.catalog.states import DELETABLE_STATES
from expmgr.cleanup.home import Home
from expmgr.cleanup.plan import DeletionPlan, PlannedLocation, RunPlan
from expmgr.cleanup.selection import only_selected, select
from expmgr.errors import InvalidInputError
from expmgr.policies import best, larger_than, last, mine, older_than, status
from expmgr.storage.location import Location

STATES = ("stored", "stored", "stored", "broken", "uploading", "deleting", "elsewhere", "artifacts")
REASON = Reason("registered", "churn v3", "churn/3")


@st.composite
def tables(draw):
    """Models of two experiments, studies in them, runs in these; some of a run go together only."""
    made = []
    runs = [
        (str(experiment), f"s{study}", f"r{experiment}{study}{run}")
        for experiment in range(2)
        for study in range(2)
        for run in range(2)
    ]
    together = {run for *_, run in runs if draw(st.integers(0, 5)) == 0}
    for number in range(draw(st.integers(0, 10))):
        experiment, study, run = draw(st.sampled_from(runs))
        state = draw(st.sampled_from(STATES))
        kind = "raw" if state == "artifacts" else draw(st.sampled_from(["logged", "directory"]))
        lonely = kind == "logged" and draw(st.integers(0, 6)) == 0
        made.append(
            Facts(
                f"m-{number}",
                f"run of {number}",
                kind,
                state,
                f"x/{number}",
                experiment,
                f"e{experiment}",
                "" if lonely else run,
                "" if lonely else study,
                "" if lonely else draw(st.sampled_from(["FINISHED", "FAILED"])),
                draw(st.sampled_from(["", "ann", "bob"])),
                draw(st.sampled_from([0, NOW.at - 10**9, NOW.at - 10**8, NOW.at - 5 * 10**9])),
                draw(st.sampled_from([None, 0, 1])),
                draw(st.sampled_from([None, 0, 10**4, 2 * 10**9])),
                draw(st.sampled_from([None, 0.1, 0.5, 0.9])),
                "accuracy",
                is_loss=experiment == "1",
                whole=state == "stored" and draw(st.integers(0, 3)) > 0,
                sure=draw(st.integers(0, 3)) > 0,
                alone=not (kind == "directory" and run in together),
                reasons=(REASON,) if draw(st.integers(0, 4)) == 0 else (),
            )
        )
    return made


pers = st.sampled_from(["experiment", "study", "run"])
parts = st.sampled_from(["model", "raw"])


def taken(models, where=None, keep=None, per="experiment", part="model"):
    """The ids of the models whose files would go."""
    selection = select(models, NOW, where, keep, per=per, part=part, everything=True)
    goes = {model.id for model in models if model.path in selection.paths}
    assert len(goes) == len(selection.paths)
    return goes


@given(tables(), combined(wheres), combined(keeps), combined(keeps), pers, parts)
def test_more_keep_never_deletes_more(models, where, keep, more, per, part):
    assert taken(models, where, keep | more, per, part) <= taken(models, where, keep, per, part)
    assert taken(models, where, keep, per, part) <= taken(models, where, None, per, part)
    assert taken(models, where, keep, per, part) <= taken(models, where, keep & more, per, part)


@given(tables(), combined(wheres), combined(wheres), st.none() | combined(keeps), pers, parts)
def test_a_narrower_where_never_deletes_more(models, where, other, keep, per, part):
    assert taken(models, where & other, keep, per, part) <= taken(models, where, keep, per, part)
    assert taken(models, where, keep, per, part) <= taken(models, where | other, keep, per, part)
    assert taken(models, where, keep, per, part) <= taken(models, None, keep, per, part)


@given(tables(), st.none() | combined(wheres), st.none() | combined(keeps), pers, parts)
def test_protection_and_state_win_and_all_is_accounted_for(models, where, keep, per, part):
    goes = taken(models, where, keep, per, part)
    selection = select(models, NOW, where, keep, per=per, part=part, everything=True)
    for model in models:
        if model.id in goes:
            assert not model.reasons
            assert model.state in DELETABLE_STATES
            assert (model.kind == "raw") is (part == "raw")
            assert (model.id if model.alone else model.run_id) in selection.ids
    assert {one.id for one in selection.kept} == {model.id for model in models} - goes
    assert all(one.why for one in selection.kept)
    assert bool(selection.note) is (not goes)


@given(tables(), st.none() | combined(wheres), combined(keeps), pers, st.randoms())
def test_the_order_of_the_models_does_not_matter(models, where, keep, per, chance):
    shuffled = random.Random(chance.random()).sample(models, len(models))
    one, other = (
        select(rows, NOW, where, keep, per=per, everything=True) for rows in (models, shuffled)
    )
    assert one == other


@given(tables(), st.none() | combined(wheres), pers)
def test_the_best_of_each_group_stays(models, where, per):
    goes = taken(models, where, best(1), per)
    groups = {}
    for model in models:
        groups.setdefault(group_of(model, per), []).append(model)
    for group in groups.values():
        assert any(model.id not in goes for model in group)
        whole = [m for m in group if m.whole and m.sure and m.quality is not None]
        if whole:
            top = min(whole, key=lambda m: m.quality if m.is_loss else -m.quality)
            assert {m.id for m in whole if m.quality == top.quality}.isdisjoint(goes)


@given(tables(), pers)
def test_what_goes_with_its_run_goes_with_all_of_it(models, per):
    goes = taken(models, larger_than("1KB"), last(1), per)
    for model in models:
        if model.id in goes and not model.alone:
            assert {m.id for m in models if m.run_id == model.run_id} <= goes


def group_of(model, per):
    if per == "experiment":
        return model.experiment_id
    inner = model.study if per == "study" else model.run_id
    return (model.experiment_id, inner) if model.run_id else (model.experiment_id, model.id)


def expected(models, days, n_best, n_last, per):
    """``where=older_than(days) & larger_than("1KB"), keep=best(n) | last(n)``, read out loud."""
    goes = set()
    for model in models:
        group = [one for one in models if group_of(one, per) == group_of(model, per)]
        sign = 1 if model.is_loss else -1
        better = [
            one
            for one in group
            if None not in (one.quality, model.quality)
            and one.whole
            and one.sure
            and sign * one.quality < sign * model.quality
        ]
        newer = [
            one
            for one in group
            if one.created
            and one.whole
            and (one.created, -1 if one.step is None else one.step)
            > (model.created, -1 if model.step is None else model.step)
        ]
        if (
            model.created
            and NOW.at - model.created > days * 86_400_000
            and model.bytes is not None
            and model.bytes > 1000
            and model.quality is not None
            and len(better) >= n_best
            and len(newer) >= n_last
            and not model.reasons
            and model.kind != "raw"
            and model.state in {"stored", "broken", "uploading", "external", "interrupted"}
        ):
            goes.add(model.id)
    for model in models:
        others = {one.id for one in models if one.run_id == model.run_id}
        if not model.alone and not others <= goes:
            goes -= {one.id for one in models if one.run_id == model.run_id and not one.alone}
    return goes


@given(tables(), st.integers(0, 60), st.integers(1, 3), st.integers(1, 3), pers)
def test_a_policy_takes_what_its_words_say(models, days, n_best, n_last, per):
    where = older_than(f"{days}d") & larger_than("1KB")
    goes = taken(models, where, best(n_best) | last(n_last), per)
    assert goes == expected(models, days, n_best, n_last, per)


# ------------------------------------------------------------------------------ all of it, words

MODEL = Facts(
    "m-1", "forest", path="x/1", experiment_id="1", experiment_name="churn", run_id="r1",
    study="r1", status="FINISHED", created=1, bytes=10, quality=0.5, metric="auc",
)  # fmt: skip
TWO = [MODEL, replace(MODEL, id="m-2", run_id="r2", study="r2", path="x/2", quality=0.7)]


@pytest.mark.parametrize(
    ("models", "where", "keep"),
    [
        (TWO, None, None),
        ([], None, None),
        (TWO, older_than("0s"), None),
        (TWO, larger_than("9B") & status("FINISHED"), None),
        ([*TWO, replace(MODEL, id="m-3", state="broken", whole=False, bytes=1)],
         larger_than("2B"), None),
        ([replace(MODEL, reasons=(REASON,)), TWO[1]], older_than("0s"), None),
        ([replace(TWO[0], whole=False), replace(TWO[1], whole=False)], older_than("0s"), None),
    ],
)  # fmt: skip
def test_all_of_an_experiment_goes_by_an_explicit_word_only(models, where, keep):
    with pytest.raises(InvalidInputError, match="everything=True") as caught:
        select(models, NOW, where, keep)
    assert "'churn' (2 models)" in str(caught.value) or not models
    assert "nothing was planned" in str(caught.value)
    select(models, NOW, where, keep, everything=True)
    select(models, NOW, where, best(1))


def test_raw_artifacts_may_all_go_where_models_stay():
    raw = replace(
        MODEL, id="r3", kind="raw", state="artifacts", run_id="r3", whole=False, path="x/3"
    )
    assert select([*TWO, raw], NOW, older_than("0s"), part="raw").ids == ("r3",)
    with pytest.raises(InvalidInputError, match="churn"):
        select([raw], NOW, older_than("0s"), part="raw")


def why(models, where=None, keep=None, **options):
    kept = select(models, NOW, where, keep, everything=True, **options).kept
    return {one.id: one.why for one in kept}


def test_why_each_stays_is_said():
    large = larger_than("1B")
    assert why([replace(MODEL, bytes=None)], large) == {
        "m-1": 'it was not measured, so it is not selected by larger_than("1B")'
    }
    assert why([MODEL], larger_than("1GB") & mine()) == {"m-1": 'not (larger_than("1GB") & mine())'}
    assert why([replace(MODEL, quality=None)], large, best(2)) == {
        "m-1": "no value of auc tells how good it is, so best(2) keeps it"
    }
    assert why([replace(MODEL, quality=None, metric="")], large, best(2)) == {
        "m-1": "no main metric tells how good it is, so best(2) keeps it"
    }
    assert why(TWO, large, best(1) | last(1)) == {
        "m-1": "kept by best(1) | last(1)",
        "m-2": "kept by best(1) | last(1)",
    }
    assert why([replace(MODEL, reasons=(REASON,))], large) == {"m-1": str(REASON)}
    assert why([replace(MODEL, state="elsewhere", path=None)], large) == {
        "m-1": "it lies in no container of these credentials"
    }
    raw = replace(MODEL, kind="raw", state="artifacts")
    assert "part='raw' only" in why([raw], large)["m-1"]
    assert why([MODEL], large, part="raw") == {"m-1": "part='raw' takes raw artifacts only"}
    pair = [replace(one, alone=False, run_id="r1", kind="directory") for one in TWO]
    assert why(pair, large, best(1)) == {
        "m-1": "it goes with its run only, of which m-2 stays",
        "m-2": "kept by best(1)",
    }
    assert select(pair, NOW, large, everything=True).ids == ("r1",)


def test_an_empty_selection_has_words():
    assert select([], NOW, larger_than("1B")).note == "there are no models in these experiments"
    assert select(TWO, NOW, larger_than("1TB")).note == "nothing to delete: all 2 stay"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"where": "30d"}, "where must be a policy"),
        ({"where": best(1)}, "best(1) is for keep=, not for where="),
        ({"keep": mine()}, "mine() is for where=, not for keep="),
        ({"keep": 3}, "keep must be a policy"),
        ({"where": mine(), "per": "week"}, "per must be one of experiment, study, run"),
    ],
)
def test_what_is_no_policy_is_one_clear_error(options, words):
    with pytest.raises(InvalidInputError) as caught:
        select(TWO, NOW, **options)
    assert words in str(caught.value)


def test_what_a_plan_shows_beyond_the_selection_stays():
    def planned(id_, path, **options):
        location = Location("a", "c", path, "logged_model", id_)
        return RunPlan(
            "r1",
            asked=id_,
            model="stored",
            locations=(PlannedLocation(location, 1, 5, {}),),
            **options,
        )

    selection = select(TWO, NOW, larger_than("1B"), everything=True)
    home = Home("t")
    plan = DeletionPlan(
        (
            planned("m-1", "x/1"),
            planned("m-2", "x/other"),
            planned("m-3", "x/2", reasons=(REASON,)),
        ),
        home=home,
    )
    found = only_selected(plan, selection)
    assert [run.id for run in found] == ["m-1"]
    assert {one.id for one in found.kept} == {"m-2", "m-3"}
    assert found.home is home
    assert not found.note
    assert only_selected(replace(plan, runs=plan.runs[1:]), selection).note


def test_a_model_without_a_run_is_a_group_of_its_own():
    alone = [replace(one, run_id="", study="") for one in TWO]
    for per in ("run", "study"):
        assert len(why(alone, None, best(1), per=per)) == 2
    assert len(why(alone, None, best(1), per="experiment")) == 1


def test_facts_are_the_catalog_s():
    def maker(id_, parent="", **options):
        tags = {"mlflow.parentRunId": parent, "mlflow.user": f"user of {id_}"}
        return Maker(id_, f"run {id_}", "1", "FINISHED", tags, options, {"m-1": 7})

    makers = [maker("top"), maker("mid", "top"), maker("low", "mid", auc=0.5)]
    makers += [maker("ring", "ring 2"), maker("ring 2", "ring"), maker("lost", "gone")]
    stored = Stored(Size(2, 20), marked=True)
    models = [
        Model("m-1", "logged", "1", "low", "net", created=5, path="x/1", stored=stored),
        Model("m-2", "logged", "1", "ring", path="x/2"),
        Model("m-3", "logged", "1", "ring 2", path="x/3"),
        Model("m-4", "logged", "1", "lost", path="x/4", tags={"mlflow.user": "its own"}),
        Model("m-5", "logged", "1", "", "lone", path=None),
        Model("m-6", "logged", "1", path="x/6", in_trash=True),
        Model("m-7", "logged", "2", path="x/7"),
        Model("m-8", "logged", "1", path="x/8", stored=Stored(Size(0, 0), marked=False)),
    ]
    catalog = Catalog(
        {model.id: model for model in models},
        {one.id: one for one in makers},
        Evidence(at=0),
        {"1": [Goal("auc", is_loss=True)]},
    )
    facts = {one.id: one for one in facts_of(catalog, {"1": "churn"})}
    assert set(facts) == {"m-1", "m-2", "m-3", "m-4", "m-5"}
    assert [facts[f"m-{n}"].study for n in range(1, 6)] == ["top", "ring", "ring", "gone", ""]
    assert [facts[f"m-{n}"].user for n in (1, 4, 5)] == ["user of low", "its own", ""]
    one = facts["m-1"]
    assert (one.name, one.status, one.step, one.bytes, one.created) == (
        *("run low", "FINISHED", 7, 20, 5),
    )
    assert (one.quality, one.metric, one.is_loss, one.whole, one.sure) == (
        *(0.5, "auc", True, True, True),
    )
    assert (facts["m-5"].name, facts["m-5"].state, facts["m-5"].bytes) == (
        "lone",
        "elsewhere",
        None,
    )
    assert not facts["m-2"].whole
