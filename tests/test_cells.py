"""How lines read: runs, studies and models, in the live table, in a saved page and as text."""

from __future__ import annotations

import html
import re
from datetime import datetime, timedelta, timezone
from typing import get_args

import pandas as pd
import pytest
from scripted_manager import HOSTILE, NOON

from expmgr.catalog.states import DELETABLE_STATES, ModelState
from expmgr.widgets.cells import cell_html, cell_of, cell_text
from expmgr.widgets.columns import Context, column_of, default_columns, is_deletable
from expmgr.widgets.family import Family
from expmgr.widgets.signs import MODEL_SIGNS, MODEL_WORDS
from expmgr.widgets.static import page_html, page_text
from expmgr.widgets.theme import style_sheet
from expmgr.widgets.toolbar import MODEL_CHOICES

CONTEXT = Context(
    now=NOON, tracking_uri="http://mlflow.example", main_metric="accuracy", largest=10_000_000
)
COLUMNS = {column.key: column for column in default_columns("accuracy")}
RUN = {
    "run_id": "r1",
    "run_name": "forest",
    "experiment_id": "7",
    "experiment_name": "churn / trees",
    "status": "FINISHED",
    "start_time": pd.Timestamp(NOON - timedelta(hours=2)),
    "end_time": pd.Timestamp(NOON - timedelta(hours=1)),
    "metrics.accuracy": 0.75,
    "model": "stored",
    "files": 3,
    "bytes": 5_000_000,
    "is_best": False,
    "protected_by": "",
}
FAMILY = Family(12, 9, 4, 3, 27, 40_000_000, 2, 0.9731416, best=True)
STUDY = {**RUN, "line": "study", "family": FAMILY, "model": "none", "files": 0, "bytes": 0}
MODEL = {
    **RUN,
    "line": "model",
    "id": "m-1",
    "depth": 1,
    "of": "forest",
    "run_name": "weights",
    "step": 300,
    "status": "READY",
    "end_time": pd.NaT,
}


def said(key, record, context=CONTEXT):
    return cell_of(COLUMNS[key], record, context)


def study(**changes):
    return {**STUDY, "family": Family(**{**vars(FAMILY), **changes})}


def heard(record):
    """What a screen reader says of the name: the tags are no part of it."""
    return html.unescape(re.sub(r"<[^>]*>", "", cell_html(said("run_name", record))))


def page(*records):
    return page_html(tuple(COLUMNS.values()), records, CONTEXT, footer="")


def lines(*records):
    return page_text(tuple(COLUMNS.values()), records, CONTEXT, footer="end").splitlines()[1:-1]


# ------------------------------------------------------------------------------ states and statuses


@pytest.mark.parametrize("state", get_args(ModelState))
def test_every_state_has_a_sign_words_and_a_choice_and_a_row_offers_what_a_plan_may_allow(state):
    assert MODEL_SIGNS[state] not in {"", None}
    assert MODEL_WORDS[state]
    assert (state, state) in MODEL_CHOICES
    cell = said("model", {**RUN, "model": state})
    assert (cell.text, cell.sign) == (state, MODEL_SIGNS[state])
    assert cell.hover == f"{state}: {MODEL_WORDS[state]}"
    assert is_deletable({"model": state, "protected_by": ""}) is (state in DELETABLE_STATES)
    assert not is_deletable({"model": state, "protected_by": "best"})


def test_no_two_states_have_the_same_sign():
    assert len(set(MODEL_SIGNS.values())) == len(MODEL_SIGNS) == len(get_args(ModelState))


@pytest.mark.parametrize(("status", "sign"), [("READY", "✓"), ("PENDING", "○"), ("FAILED", "✕")])
def test_a_models_status_has_a_sign(status, sign):
    assert f'xm-sign">{sign}<' in cell_html(said("status", {**MODEL, "status": status}))
    assert f"{sign} {status}" in lines({**MODEL, "status": status})[0]


def test_a_model_is_not_stale_where_its_run_is():
    stale = Context(now=NOON, stale={"r1": 9.0})
    assert said("status", {**RUN, "status": "RUNNING"}, stale).text == "STALE"
    assert said("status", MODEL, stale).text == "READY"


def test_a_run_whose_lease_ran_out_reads_interrupted_whatever_else_is_said_of_it():
    since = datetime(2026, 11, 20, 8, 5, tzinfo=timezone.utc)
    dead = Context(now=NOON, stale={"r1": 9.0}, interrupted={"r1": since})
    cell = said("status", {**RUN, "status": "RUNNING"}, dead)
    assert (cell.text, cell.sign) == ("interrupted", "!")
    assert cell.hover == "RUNNING, but no sign of life since 2026-11-20 08:05 UTC"
    assert said("status", MODEL, dead).text == "READY"
    assert dead.seems_dead("r1")
    assert not dead.seems_dead("r2")


# --------------------------------------------------------------------------------------- one value


def test_line_page_and_text_say_the_same():
    record = {**RUN, "is_best": True, "protected_by": "best"}
    for key, shown in [
        ("status", "✓ FINISHED"),
        ("metrics.accuracy", "★ 0.7500"),
        ("model", "■ stored"),
        ("protected_by", "◆ best"),
    ]:
        assert cell_text(said(key, record)) == shown
        assert shown in page(record)
        assert shown in lines(record)[0]
        assert re.sub(r"<[^>]*>", "", cell_html(said(key, record))) == shown.replace(" ", "")


def test_what_is_saved_says_when_and_not_how_long_ago():
    assert said("start_time", RUN).text == "2 h ago"
    assert "2026-11-23 10:00" in page(RUN)
    assert "2026-11-23 10:00" in lines(RUN)[0]
    assert "2 h ago" not in page(RUN) + lines(RUN)[0]


def test_a_line_without_a_kind_is_a_run_with_nothing_added():
    missing = {"line": None, "depth": float("nan"), "of": None, "within": pd.NA, "family": None}
    for column in COLUMNS.values():
        plain_run = cell_of(column, RUN, CONTEXT)
        assert cell_of(column, {**RUN, **missing}, CONTEXT) == plain_run
        assert (plain_run.remark, plain_run.aside, plain_run.depth) == ("", "", 0)
    assert cell_html(said("run_name", RUN)) == (
        '<div class="xm-cell" title="forest (r1)"><a href="http://mlflow.example/#/experiments/7'
        '/runs/r1" target="_blank" rel="noopener"><bdi>forest</bdi></a></div>'
    )


# ------------------------------------------------------------------------------------------ studies


def test_a_study_says_how_many_runs_it_has():
    cell = said("run_name", STUDY)
    assert (cell.text, cell.remark) == ("forest", "12 runs")
    assert "forest (r1)" in cell.hover
    assert cell.href.endswith("/runs/r1")
    assert heard(STUDY) == "forest 12 runs"
    assert heard(study(runs=1)) == "forest 1 run"
    assert '</a> <span class="xm-dim">' in cell_html(cell)
    assert "forest</a> · 12 runs<" in page(STUDY)
    assert lines(STUDY)[0].startswith("forest · 12 runs ")


def test_a_study_shows_its_familys_sums():
    size, files = said("bytes", STUDY), said("files", STUDY)
    assert (size.text, size.part) == ("40.0 MB", 1.0)
    assert size.hover == "40,000,000 bytes in 9 models of 12 runs, 2 not measured"
    assert (files.text, files.hover) == ("27", "27 in 9 models of 12 runs, 2 not measured")
    assert said("bytes", study(bytes=2_500_000)).part == 0.25
    assert "not measured" not in said("bytes", study(unmeasured=0)).hover
    assert "--xm-part:100.0%" in cell_html(size)


def test_a_study_of_which_nothing_is_measured_says_so():
    for key in ("bytes", "files"):
        cell = said(key, study(bytes=None, files=None, unmeasured=9))
        assert cell.text == "–"  # noqa: RUF001 - the sign of a missing number
        assert cell.hover == "not measured yet: 9 models of 12 runs"
        assert cell.part is None


def test_a_study_counts_its_models():
    cell = said("model", STUDY)
    assert (cell.text, cell.hover) == ("9 models", "9 models: 4 can be deleted")
    assert cell.sign
    assert said("model", study(models=1, deletable=0)).hover == "1 model: none can be deleted"
    assert said("model", study(models=0)).text == "none"


def test_a_study_counts_what_must_stay():
    cell = said("protected_by", STUDY)
    assert (cell.text, cell.sign, cell.hover) == ("3 of 9 models", "◆", "3 of 9 models must stay")
    own = {**STUDY, "protected_by": "registered as a v3"}
    assert said("protected_by", own).hover == "3 of 9 models must stay; its own: registered as a v3"
    assert said("protected_by", study(protected=0)).text == ""
    active = {**study(protected=0), "protected_by": "the run is RUNNING"}
    assert said("protected_by", active).text == "the run is RUNNING"


def test_a_study_shows_its_own_quality_or_the_best_of_its_runs():
    own = said("metrics.accuracy", STUDY)
    assert (own.text, own.hover) == ("0.7500", "0.75")
    folded = {**STUDY, "metrics.accuracy": float("nan")}
    theirs = said("metrics.accuracy", folded)
    assert (theirs.text, theirs.hover) == ("0.9731", "best of its runs: 0.9731416")
    assert '<span class="xm-hidden">, <bdi>best of its runs</bdi>' in cell_html(theirs)
    nobodys = said("metrics.accuracy", {**study(value=None, best=False), "metrics.accuracy": pd.NA})
    assert cell_html(nobodys) == '<div class="xm-cell xm-right"></div>'
    other = cell_of(column_of("metrics.loss"), {**folded, "metrics.loss": None}, CONTEXT)
    assert other.text == ""


def test_a_study_that_holds_a_best_model_has_a_star():
    assert said("metrics.accuracy", STUDY).star == "holds the best of its experiment"
    assert said("metrics.accuracy", {**STUDY, "is_best": True}).star == "best of its experiment"
    assert said("metrics.accuracy", study(best=False)).star == ""
    assert lines({**STUDY, "metrics.accuracy": None})[0].count("★ 0.9731") == 1


# ------------------------------------------------------------------------------------------- models


def test_a_model_says_its_step_whose_it_is_and_leads_to_its_maker():
    cell = said("run_name", MODEL)
    assert (cell.text, cell.remark) == ("weights", "step 300")
    assert "weights (m-1)" in cell.hover
    assert cell.href.endswith("/runs/r1")
    assert heard(MODEL) == "weights step 300, model of forest"
    assert said("duration", MODEL).text == ""
    assert said("run_name", {**MODEL, "run_name": ""}).text == "m-1"


@pytest.mark.parametrize("nobody", ["", None, float("nan")])
def test_a_model_without_a_run_says_so_and_leads_nowhere(nobody):
    record = {**MODEL, "run_id": nobody, "of": nobody, "depth": 0, "step": pd.NA}
    cell = said("run_name", record)
    assert (cell.remark, cell.href) == ("no run", "")
    assert heard(record) == "weights no run, model"
    assert "<a" not in cell_html(cell) + page(record)
    assert said("run_name", {**record, "step": 7}).remark == "step 7 · no run"
    assert said("run_name", {**record, "depth": 1}).remark == ""


# ------------------------------------------------------------------------------------------- places


@pytest.mark.parametrize(("depth", "level"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_a_line_stands_as_deep_as_it_belongs(depth, level):
    record = {**RUN, "depth": depth, "of": "study-a"}
    assert f'class="xm-cell xm-depth-{level}"' in cell_html(said("run_name", record))
    assert heard(record) == "forest, in study-a"
    assert lines(record)[0].startswith("  " * depth + "forest ")
    assert f"<bdi>{'&#160;&#160;' * depth}<a" in page(record)
    assert f"xm-cell.xm-depth-{level}{{" in style_sheet("xm-1", tuple(COLUMNS.values()))


def test_only_the_name_is_indented():
    record = {**MODEL, "depth": 2}
    for key in COLUMNS:
        assert ("xm-depth" in cell_html(said(key, record))) is (key == "run_name")


def test_what_is_said_only_aloud_is_hidden_by_the_style_sheet():
    assert ".xm-root .xm-hidden{" in style_sheet("xm-1", tuple(COLUMNS.values()))


def test_a_name_that_stands_in_several_studies_tells_which_and_only_once():
    record = {**RUN, "depth": 1, "of": "study-a", "within": "study-a"}
    assert said("run_name", record).remark == "in study-a"
    assert heard(record) == "forest in study-a"
    assert heard({**record, "of": "other"}) == "forest in study-a, in other"
    assert heard({**record, "of": ""}) == "forest in study-a"
    assert heard({**RUN, "depth": 1}) == "forest, in a study"
    assert said("run_name", {**MODEL, "within": "study-a"}).remark == "step 300 · in study-a"
    assert said("run_name", {**STUDY, "within": "study-b"}).remark == "12 runs · in study-b"


# ------------------------------------------------------------------------------------ hostile names


@pytest.mark.parametrize("line", [RUN, STUDY, MODEL])
def test_hostile_names_stay_text_everywhere(line):
    names = ("run_name", "experiment_name", "protected_by", "of", "within", "id", "run_id")
    record = {**line, "depth": 1, **dict.fromkeys(names, HOSTILE)}
    record |= {"status": HOSTILE, "model": HOSTILE}
    live = "".join(cell_html(cell_of(column, record, CONTEXT)) for column in COLUMNS.values())
    for shown in (live, page(record)):
        assert not re.search(r"<(?!/?(div|a|bdi|span|table|thead|tbody|tr|th|td|p)[ >])", shown)
        assert not set(shown) & set("\u202e\x00\x1b")
        assert "onerror=&quot;" in shown
    assert not set(lines(record)[0]) & set("\u202e\x00\x1b\n")


def test_ten_megabytes_in_any_name_make_a_short_cell():
    names = ("run_name", "of", "within", "id")
    record = {**MODEL, **dict.fromkeys(names, "<" * 10_000_000)}
    assert len(cell_html(said("run_name", record))) < 20_000
    assert len(page(record)) < 40_000
    assert len(lines(record)[0]) < 600


def test_a_mark_is_told_where_there_is_still_something_to_go():
    marked = {**RUN, "goes": pd.Timestamp("2026-12-02 10:00", tz="UTC")}
    cell = said("model", marked)
    assert (cell.text, cell.remark) == ("stored", "goes Dec 2")
    assert "marked to be deleted from 2026-12-02 10:00 UTC on" in cell.hover
    assert "goes Dec 2" in cell_html(cell)
    assert said("model", {**marked, "model": "deleted"}).remark == ""
    assert said("model", {**RUN, "goes": pd.NaT}).remark == ""
