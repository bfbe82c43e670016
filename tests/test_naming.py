"""Plans and reports show the names that people know, and the ids that scripts take."""

from __future__ import annotations

import html
import re
from dataclasses import fields

import pytest
from scripted_manager import HOSTILE

from expmgr.cleanup.naming import named_lines
from expmgr.cleanup.plan import DeletionPlan, RunPlan
from expmgr.cleanup.report import DeletionReport
from expmgr.results import DeletionResult
from expmgr.text import plain

NAMES = {"a" * 32: "forest", "m-" + "b" * 32: "", "c1": "森の木", "d1": "e\u0301toile"}
PLAN = DeletionPlan(tuple(RunPlan(id_, name, "7", "churn / trees") for id_, name in NAMES.items()))
REPORT = DeletionReport(
    tuple(
        DeletionResult(id_, "deleted", message="Deleted it", name=name)
        for id_, name in NAMES.items()
    )
)
EVIL = (
    DeletionPlan((RunPlan("r1", HOSTILE, "7", HOSTILE), RunPlan(HOSTILE, "fine"))),
    DeletionReport(
        (DeletionResult("r1", "deleted", name=HOSTILE), DeletionResult(HOSTILE, "failed"))
    ),
)


@pytest.mark.parametrize("value", [PLAN, REPORT])
def test_text_shows_name_and_id_in_columns(value):
    _, *lines = repr(value).split("\n")
    assert [line.split()[:2] for line in lines] == [
        ["forest", "a" * 32],
        ["m-" + "b" * 32, lines[1].split()[1]],
        ["森の木", "c1"],
        ["e\u0301toile", "d1"],
    ]
    # 森の木 takes six columns as forest does; the accent of é, written apart, takes none
    starts = [line.index(id_) for line, id_ in zip(lines, NAMES, strict=True)]
    assert starts == [10, 10, 10 - 3, 10 + 1]
    words = "nothing is stored" if value is PLAN else "deleted: Deleted it"
    assert [line.index(words) - start for line, start in zip(lines, starts, strict=True)] == [
        36
    ] * 4


def test_where_nothing_has_a_name_there_is_no_column_of_names():
    assert named_lines([("", "r1", "x"), ("", "r10", "y")]) == ["  r1   x", "  r10  y"]
    assert named_lines([]) == []
    assert repr(DeletionPlan()) == "DeletionPlan: 0 of 0 runs, 0 files, 0 B"


def test_a_plan_counts_what_its_rows_are():
    checkpoints = DeletionPlan((RunPlan("r1", asked="m-1"), RunPlan("r1", asked="m-2")))
    assert repr(checkpoints).startswith("DeletionPlan: 0 of 2 models, ")
    assert repr(DeletionPlan((RunPlan("r1"),))).startswith("DeletionPlan: 0 of 1 run, ")


@pytest.mark.parametrize(
    ("ids", "counted"),
    [
        (["r1"], "1 run: "),
        (["m-1", "m-2"], "2 models: "),
        (["r1/model"], "1 model: "),
        (["7/r1/artifacts/", "m-1"], "2 folders: "),
    ],
)
def test_a_report_counts_what_its_rows_are(ids, counted):
    report = DeletionReport(tuple(DeletionResult(one, "deleted") for one in ids))
    assert report.summary.startswith(counted)


def test_a_name_without_end_moves_no_id_out_of_sight():
    (line,) = named_lines([("\x1b" + "x" * 10_000_000, "r1", "words")])
    assert line == f"  ␛{'x' * 39}…  r1  words"
    (line,) = named_lines([("\u202e" * 300, "r1", "words")])
    assert len(line) < 60


@pytest.mark.parametrize("value", [PLAN, REPORT])
def test_html_shows_name_and_id_in_cells(value):
    page = value._repr_html_()
    assert "<tr><th>run</th><th>id</th><th>" in page
    for id_, name in NAMES.items():
        assert f"<tr><td>{name}</td><td>{id_}</td><td>" in page


@pytest.mark.parametrize("value", EVIL)
def test_hostile_names_stay_text(value):
    page = value._repr_html_()
    assert not re.search(r"<(?!/?(p|table|thead|tbody|tr|th|td)>)", page)
    assert page.count(html.escape(plain(HOSTILE))) >= 2
    for text in (page, repr(value)):
        assert not set(text) & set("\u202e\x00\x1b")
    assert len(repr(value).split("\n")) == 3


@pytest.mark.parametrize("value", [PLAN, REPORT])
def test_frames_hold_id_and_name(value):
    frame = value.to_frame()
    assert list(frame.columns[:2]) == ["run_id", "run_name"]
    assert dict(zip(frame["run_id"], frame["run_name"], strict=True)) == NAMES
    assert list(type(value)().to_frame().columns) == list(frame.columns)


def test_the_name_is_the_last_field_of_a_result_and_may_be_missing():
    assert fields(DeletionResult)[-1].name == "name"
    assert DeletionResult("r1", "deleted").name == ""
