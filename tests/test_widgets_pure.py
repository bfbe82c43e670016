"""The parts of the browser that need no widgets: text, cells, queries, pictures' numbers."""

from __future__ import annotations

import html
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_manager import NOON, run_table

from expmgr.catalog.lease import LEASE_TAG, lease_text
from expmgr.formatting import ago
from expmgr.secrecy import redact
from expmgr.text import escape, plain
from expmgr.widgets.cells import cell_html, cell_of
from expmgr.widgets.columns import (
    Context,
    column_of,
    default_columns,
    is_deletable,
    run_url,
    tracks,
)
from expmgr.widgets.pictures import draw_pictures, frontier
from expmgr.widgets.session.lines import Lines
from expmgr.widgets.session.looking import tree
from expmgr.widgets.session.query import (
    Query,
    but_the_best,
    has_new_best,
    haystack,
    matching,
    merge,
    totals,
)
from expmgr.widgets.session.stale import candidates, interrupted_runs
from expmgr.widgets.static import page_html, page_text

CONTEXT = Context(
    now=NOON, tracking_uri="http://me:pw@mlflow.example/base/", main_metric="accuracy"
)
COLUMNS = {column.key: column for column in default_columns("accuracy")}


def cell(column, record, context):
    return cell_html(cell_of(column, record, context))


def text_of(column, record, context):
    said = cell_of(column, record, context)
    return said.text, said.hover


@pytest.fixture
def frame():
    return run_table(60, now=NOON)


@given(st.text(st.characters(), max_size=400))
def test_any_text_becomes_one_line_that_is_sent_and_shown_as_text(text):
    safe = plain(text)
    safe.encode("utf-8")
    assert "\n" not in safe
    assert len(safe) <= 200 * 10
    assert not any(
        mark in safe for mark in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x00\x1b"
    )
    shown = escape(text)
    assert not set(shown) & set("<>\"'")
    assert html.unescape(shown) == safe


def test_ten_megabytes_are_cut_before_anything_else():
    assert plain("x" * 10_000_000) == "x" * 200 + "…"
    assert (
        len(cell(COLUMNS["run_name"], {"run_id": "r", "run_name": "é<" * 5_000_000}, CONTEXT))
        < 20_000
    )


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("https://a.blob.core.windows.net/c/b?sv=2024&sig=Zm9v%3D&se=1", "Zm9v"),
        ("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=Zm9vYmFy==;", "Zm9vYmFy"),
        ("SharedAccessSignature=sv=1&sig=abc", "abc"),
        ("http://user:hunter2@mlflow.example", "hunter2"),
        ("Authorization: Bearer eyJhbGciOi", "eyJhbGciOi"),
        ("password=hunter2", "hunter2"),
    ],
)
def test_no_secret_survives_in_a_message(text, secret):
    assert secret not in redact(text)


def test_containers_are_not_taken_for_passwords():
    text = "wasbs://models@account.blob.core.windows.net/1/run"
    assert redact(text) == text


def test_links_lead_to_the_run_without_the_password():
    record = {"run_id": "ab/c", "experiment_id": "7"}
    assert (
        run_url(record, CONTEXT.tracking_uri)
        == "http://mlflow.example/base/#/experiments/7/runs/ab%2Fc"
    )
    assert run_url(record, "sqlite:///mlflow.db") == ""


def test_numbers_read_as_people_write_them():
    record = {
        "run_id": "r",
        "metrics.accuracy": 0.9731416,
        "bytes": 34_120_000,
        "files": 1200,
        "start_time": pd.Timestamp(NOON - timedelta(hours=2)),
        "end_time": pd.Timestamp(NOON - timedelta(hours=1, minutes=30)),
        "status": "FINISHED",
        "model": "stored",
    }
    said = {key: text_of(column, record, CONTEXT)[0] for key, column in COLUMNS.items()}
    assert said["metrics.accuracy"] == "0.9731"
    assert said["bytes"] == "34.1 MB"
    assert said["files"] == "1,200"
    assert said["start_time"] == "2 h ago"
    assert said["duration"] == "30 min"
    assert text_of(COLUMNS["start_time"], record, CONTEXT)[1] == "2026-11-23 10:00:00 UTC"


def test_what_is_missing_is_not_an_error():
    record = {"run_id": "r", "metrics.accuracy": float("nan"), "bytes": pd.NA, "start_time": pd.NaT}
    said = {key: text_of(column, record, CONTEXT)[0] for key, column in COLUMNS.items()}
    assert said["run_name"] == "r"
    assert said["bytes"] == "–"  # noqa: RUF001 - the sign of a missing number
    assert (
        said["metrics.accuracy"] == said["start_time"] == said["duration"] == said["status"] == ""
    )


@pytest.mark.parametrize(
    ("back", "words"),
    [
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 min ago"),
        (timedelta(hours=23), "23 h ago"),
        (timedelta(days=3, hours=5), "3 d ago"),
        (timedelta(days=70), "2 mo ago"),
        (timedelta(days=800), "2 y ago"),
    ],
)
def test_ages(back, words):
    assert ago(NOON, NOON + back) == words


def test_the_best_is_marked_besides_its_colour():
    record = {"run_id": "r", "metrics.accuracy": 0.9, "is_best": True}
    assert "★" in cell(COLUMNS["metrics.accuracy"], record, CONTEXT)


@pytest.mark.parametrize(
    ("model", "held", "able"),
    [
        ("stored", "", True),
        ("artifacts", "", True),
        ("interrupted", "", True),
        ("stored", "best", False),
        ("deleting", "", False),
        ("deleted", "", False),
        ("none", "", False),
        ("unknown", "", False),
        ("elsewhere", "", False),
    ],
)
def test_only_stored_unprotected_models_offer_a_delete(model, held, able):
    assert is_deletable({"model": model, "protected_by": held}) is able


def test_no_track_depends_on_what_a_cell_holds():
    words = tracks([*COLUMNS.values(), column_of("params.depth")])
    assert "auto" not in words
    assert "content" not in words


def test_sorting_is_stable_and_puts_missing_last_both_ways(frame):
    frame.loc[[3, 9], "metrics.accuracy"] = float("nan")
    for ascending in (True, False):
        query = Query(sort_by="metrics.accuracy", ascending=ascending)
        sorted_ids = frame["run_id"].iloc[matching(frame, query)].to_list()
        assert sorted_ids[-3:] == [frame["run_id"][at] for at in (3, 4, 9)]
        query = Query(sort_by="status", ascending=ascending)
        same = frame.iloc[matching(frame, query)]
        finished = same[same["status"] == "FINISHED"].index.to_list()
        assert finished == sorted(finished)


def test_params_that_are_numbers_sort_as_numbers(frame):
    order = frame["params.depth"].iloc[
        matching(frame, Query(sort_by="params.depth", ascending=True))
    ]
    assert order.astype(int).is_monotonic_increasing


def test_texts_sort_without_regard_to_case():
    frame = pd.DataFrame({"run_id": ["1", "2", "3"], "run_name": ["b", "A", ""]})
    order = matching(frame, Query(sort_by="run_name", ascending=True))
    assert order.tolist() == [1, 0, 2]


def test_numbers_and_texts_mixed_sort_anyway():
    frame = pd.DataFrame({"run_id": list("abc"), "tags.x": ["10", "two", None]})
    assert matching(frame, Query(sort_by="tags.x", ascending=True)).tolist()[-1] == 2


def test_every_word_must_be_found_somewhere(frame):
    found = frame.iloc[matching(frame, Query(search="TREES model-3"))]
    assert set(found["experiment_name"]) == {"churn / trees"}
    assert found["run_name"].str.contains("model-3").all()
    assert len(matching(frame, Query(search="green"))) == 30
    assert "tags.mlflow.source" not in "".join(
        haystack(frame.assign(**{"tags.mlflow.source": "x"}))
    )


def test_filters_combine(frame):
    query = Query(model="deletable", status="FINISHED", experiment="churn / linear")
    found = frame.iloc[matching(frame, query)]
    assert len(found)
    assert found["protected_by"].eq("").all()
    assert found["model"].eq("stored").all()


def test_an_empty_table_is_no_error():
    empty = run_table(0, now=NOON)
    assert matching(empty, Query(search="x", model="deletable", sort_by="bytes")).tolist() == []
    assert matching(pd.DataFrame(), Query()).tolist() == []
    assert totals(pd.DataFrame(), np.empty(0, dtype=np.intp), ()).runs == 0


def test_totals_count_measured_bytes_only(frame):
    frame.loc[0, "bytes"] = pd.NA
    numbers = totals(frame, np.arange(10), {frame["run_id"][0], frame["run_id"][1]})
    assert (numbers.runs, numbers.shown, numbers.measured) == (60, 10, 9)
    assert numbers.bytes == int(frame["bytes"][1:10].sum())
    assert (numbers.selected, numbers.selected_measured) == (2, 1)


def test_keeping_the_best_counts_protected_runs_and_spares_runs_without_the_metric(frame):
    chosen = but_the_best(frame, np.arange(60), "accuracy", 1, is_loss=False)
    spared = frame[frame["model"].eq("stored") & ~frame["run_id"].isin(chosen)]
    assert spared.groupby("experiment_id")["metrics.accuracy"].max().tolist() == [
        frame[frame["model"].eq("stored") & frame["experiment_id"].eq(str(at))][
            "metrics.accuracy"
        ].max()
        for at in range(3)
    ]
    assert frame["run_id"][4] not in chosen  # its metric is NaN
    assert but_the_best(frame, np.arange(60), "no such metric", 1, is_loss=False) == []
    worst_kept = but_the_best(frame, np.arange(60), "accuracy", 1, is_loss=True)
    assert set(worst_kept) != set(chosen)


def test_a_refresh_replaces_rows_and_puts_new_ones_first(frame):
    news = frame.head(2).assign(run_id=["new", frame["run_id"][5]], run_name="changed")
    merged = merge(frame, news)
    assert len(merged) == 61
    assert merged["run_id"][0] == "new"
    assert merged.set_index("run_id").loc[frame["run_id"][5], "run_name"] == "changed"


def test_a_new_best_run_is_noticed(frame):
    assert not has_new_best(frame, frame.head(2))
    assert has_new_best(frame, frame.tail(2).assign(is_best=True))


def test_what_changed_after_a_query_was_sent_is_newer_than_its_answer(frame):
    runs = Lines(10)
    runs.take(frame, sent=1.0, complete=True)
    runs.content.change(frame["run_id"][0], {"model": "deleted", "bytes": 0})
    runs.take(frame, sent=1.0, complete=True)
    assert runs.content.value(frame["run_id"][0], "model") == "deleted"
    runs.take(frame, sent=float("inf"), complete=True)
    assert runs.content.value(frame["run_id"][0], "model") == "stored"


def test_only_old_running_runs_can_be_dead(frame):
    assert candidates(frame, 7, NOON) == []
    assert candidates(frame, 7, NOON + timedelta(days=8)) == [frame["run_id"][2]]


def test_a_lease_tells_more_than_stillness(frame):
    later = NOON + timedelta(days=8)
    run_id, began = frame["run_id"][2], frame["start_time"][2]
    sign = pd.Timestamp(began).to_pydatetime() + timedelta(hours=1)
    frame[f"tags.{LEASE_TAG}"] = None
    assert interrupted_runs(frame, later) == {}
    frame.loc[2, f"tags.{LEASE_TAG}"] = lease_text(round(sign.timestamp() * 1000))
    assert candidates(frame, 7, later) == []
    assert interrupted_runs(frame, sign + timedelta(hours=24)) == {}
    assert list(interrupted_runs(frame, later)) == [run_id]
    frame.loc[2, "status"] = "KILLED"
    assert interrupted_runs(frame, later) == {}


def test_a_tree_shows_folders_with_their_sums():
    assert tree([("a/b/x", 1), ("a/y", 2), ("z", 4)]) == [
        (0, "a/", 3),
        (1, "b/", 1),
        (2, "x", 1),
        (1, "y", 2),
        (0, "z", 4),
    ]
    assert tree([("a/x", None)]) == [(0, "a/", None), (1, "x", None)]


def test_the_frontier_holds_what_no_smaller_run_beats():
    sizes, values = np.array([3.0, 1.0, 2.0, 3.0]), np.array([0.9, 0.5, 0.5, 0.8])
    assert frontier(sizes, values, is_loss=False).tolist() == [True, True, False, False]
    assert frontier(sizes, -values, is_loss=True).tolist() == [True, True, False, False]


@pytest.mark.parametrize("count", [0, 1])
def test_a_picture_of_nothing_is_a_sentence(count):
    drawn = draw_pictures(run_table(count, now=NOON), "accuracy", is_loss=False)
    assert "Fewer than two" in drawn


def test_hostile_names_in_pictures_stay_text(frame):
    frame["run_name"] = "<script>alert(1)</script> $x^2$ \x00"
    frame["experiment_name"] = "</svg><img src=x onerror=alert(1)> $\\frac"
    drawn = draw_pictures(frame, "accuracy", is_loss=False)
    assert "<script" not in drawn
    assert "<img" not in drawn
    assert drawn.count("</svg>") == 3


def test_static_pages_are_escaped_and_say_when(frame):
    frame.loc[0, "run_name"] = "<b>bold</b>"
    records = frame.head(3).to_dict("records")
    page = page_html(tuple(COLUMNS.values()), records, CONTEXT, footer="3 runs", problem="<i>x</i>")
    assert "<b>bold" not in page
    assert "<i>" not in page
    assert "as of 2026-11-23 12:00 UTC" in page
    lines = page_text(tuple(COLUMNS.values()), records, CONTEXT, footer="3 runs").splitlines()
    assert lines[0].startswith("Run")
    assert len(lines) == 5


def test_times_without_a_zone_are_utc():
    record = {"run_id": "r", "start_time": datetime(2026, 11, 23, 11)}  # noqa: DTZ001 - on purpose
    assert text_of(COLUMNS["start_time"], record, CONTEXT)[0] == "1 h ago"
    assert NOON.tzinfo is timezone.utc
