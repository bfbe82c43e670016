"""The journal: one small tag a deletion, that names its run and never gets lost in reading."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expmgr.catalog.model import Model, Size, Stored
from expmgr.catalog.states import model_state
from expmgr.errors import JournalError
from expmgr.storage.location import Location
from expmgr.tracking.journal import (
    PART_TAG_PREFIX,
    RECORD_TAG_PREFIX,
    DeletionRecord,
    begin,
    deletion_was_begun,
    journal_of,
    latest_records,
    next_record_id,
    now_ms,
    part_among,
    part_digest,
    planned_among,
    read_part_records,
    read_records,
    seen_digest,
)

RUN = "0123456789abcdef0123456789abcdef"
segments = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\", exclude_categories=["Cc", "Cs"]),
    min_size=1,
    max_size=12,
)
roots = st.lists(segments, max_size=3).map("/".join)


@st.composite
def locations(draw):
    root = draw(roots)
    base = f"{root}/" if root else ""
    found = []
    for kind in draw(st.lists(st.sampled_from("mra"), min_size=1, max_size=8)):
        if kind == "m":
            model_id = "m-" + draw(st.text("0123456789abcdef", min_size=32, max_size=32))
            path = f"{base}models/{model_id}/artifacts"
            found.append(Location("acct", "box", path, "logged_model", model_id))
        elif kind == "r":
            path = f"{base}{RUN}/artifacts/{draw(segments)}"
            found.append(Location("acct", "box", path, "run_model", RUN, draw(st.booleans())))
        else:
            found.append(Location("acct", "box", f"{base}{RUN}/artifacts", "run_artifacts", RUN))
    return tuple(dict.fromkeys(found))


def record(places, **changes) -> DeletionRecord:
    made = begin(RUN, places, record_id="1", planned_at=5, files=3, bytes=7, forced=("best",))
    return DeletionRecord(**{**made.__dict__, **changes})


@given(locations(), st.sampled_from(["deleting", "deleted", "failed"]), st.text(max_size=100))
def test_what_is_written_is_read_again(places, state, note):
    written = record(places, state=state, note=note)
    key, value = written.to_tag()
    assert len(value) < 8000
    assert read_records(RUN, {key: value}) == (written,)


@given(locations())
def test_tags_that_were_copied_to_another_run_are_ignored_there(places):
    tags = dict([record(places).to_tag()])
    assert read_records("another", tags) == ()
    assert not deletion_was_begun("another", tags)


@given(st.one_of(st.text(max_size=50), st.dictionaries(st.text(max_size=5), st.integers())))
def test_a_tag_that_cannot_be_read_still_says_that_a_deletion_was_begun(garbage):
    value = garbage if isinstance(garbage, str) else json.dumps(garbage)
    tags = {RECORD_TAG_PREFIX + "1": value}
    assert read_records(RUN, tags) == ()
    if not (value.startswith("{") and '"run"' in value):
        assert deletion_was_begun(RUN, tags)


def test_a_value_that_mlflow_would_cut_is_refused():
    places = [
        Location("a", "c", f"root/models/m-{uuid.uuid4().hex}/artifacts", "logged_model", "m")
        for _ in range(400)
    ]
    with pytest.raises(JournalError, match="model_ids"):
        record(places).to_tag()


def test_records_are_numbered_on():
    assert next_record_id({}) == "1"
    assert next_record_id({"expmgr.deletion.2": "", "expmgr.deletion.10": "", "x": ""}) == "11"


PLACE = Location("acct", "box", f"r/{RUN}/artifacts/model", "run_model", RUN)


def seen(files, *, path=PLACE.path, kind="directory"):
    stored = None if files is None else Stored(Size(files, files), marked=True)
    return Model("x", kind, "1", run_id=RUN, path=path, stored=stored)


@pytest.mark.parametrize(
    ("state", "deadline", "files", "expected"),
    [
        (None, 0, None, "stored"),
        (None, 0, 0, "none"),
        (None, 0, 4, "stored"),
        ("deleting", 100, None, "deleting"),
        ("deleting", 10, None, "interrupted"),
        ("failed", 10, 3, "interrupted"),
        ("deleted", 10, None, "deleted"),
    ],
)
def test_the_state_of_a_recorded_model(state, deadline, files, expected):
    tags = {}
    if state is not None:
        tags = {
            "expmgr.model": state,
            **dict([record([PLACE], state=state, deadline=deadline).to_tag()]),
        }
    journal = journal_of(PLACE.path, 50, (RUN, tags))
    assert model_state(replace(seen(files), journal=journal)) == expected


@pytest.mark.parametrize(
    ("path", "files", "expected"),
    [
        (PLACE.path, None, "unknown"),
        (PLACE.path, 0, "none"),
        (PLACE.path, 2, "artifacts"),
        (None, None, "elsewhere"),
    ],
)
def test_the_state_where_mlflow_recorded_nothing(path, files, expected):
    assert model_state(seen(files, path=path, kind="raw")) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "PENDING"}, "uploading"),
        ({"status": "FAILED"}, "broken"),
        ({"external": True}, "external"),
        ({"external": True, "path": None}, "elsewhere"),  # a plan finds no location to delete
        ({"stored": Stored(Size(3, 3), marked=False)}, "broken"),
        ({"stored": Stored(Size(0, 0), marked=False), "status": "PENDING"}, "none"),
    ],
)
def test_a_model_that_is_not_whole_says_how(changes, expected):
    assert model_state(replace(seen(3, kind="logged"), **changes)) == expected


# ------------------------------------------------------------------------- what nobody should write


def test_a_deadline_that_a_wrong_clock_wrote_is_not_believed():
    day = 24 * 3_600_000
    assert record([PLACE], deadline=now_ms() + 60_000).is_live(now_ms())
    assert not record([PLACE], deadline=now_ms() + 400 * day).is_live(now_ms())


def test_a_later_deletion_counts_even_where_an_earlier_ones_clock_was_ahead():
    ahead = replace(record([PLACE], state="deleted"), began=now_ms() + 3_600_000)
    later = replace(record([PLACE], state="failed"), record_id="2", began=now_ms())
    tags = dict([ahead.to_tag(), later.to_tag()])
    assert latest_records(RUN, tags)[PLACE.path].state == "failed"


@pytest.mark.parametrize(
    "bad",
    [
        f'{{"v":1,"run":"{RUN}","began":Infinity}}',
        "[" * 100_000,
        (
            f'{{"v":1,"run":"{RUN}","state":"deleting","at":["a","c","r"],"locations":[],"owner":"o",'
            '"began":1,"deadline":2,"planned_at":1e18,"ended":null,"files":0,"bytes":0,"forced":[],'
            '"note":""}'
        ),
    ],
)
def test_a_bad_tag_is_one_runs_problem(bad):
    tags = {f"{RECORD_TAG_PREFIX}1": bad}
    assert read_records(RUN, tags) == ()
    assert deletion_was_begun(RUN, tags)


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=9), max_size=50))
def test_what_a_plan_saw_is_told_from_what_came_later(etags):
    written = record([PLACE], seen=seen_digest(etags))
    (read,) = read_records(RUN, dict([written.to_tag()]))
    later = {f"{name} later": etag for name, etag in etags.items()} | {"x": "y"}
    changed = {name: f"{etag} changed" for name, etag in etags.items()}
    if etags:
        assert planned_among(read, etags) == etags
        assert planned_among(read, changed) == {}
        found = planned_among(read, {**later, **etags})
        assert found is not None
        assert found.items() <= etags.items()


def test_the_digests_of_a_thousand_files_fit_a_tag_and_more_are_left_to_their_time():
    etags = {f"r/{RUN}/artifacts/model/{n}": f"0x{n}" for n in range(1000)}
    _, value = record([PLACE], seen=seen_digest(etags)).to_tag()
    assert len(value) < 8000
    assert seen_digest({**etags, "more": "0x"}) == ""
    assert planned_among(record([PLACE]), etags) is None


# ------------------------------------------------------------------------------------------- parts

PARTS = st.one_of(
    st.sampled_from(["optimizer", "checkpoints", "other"]),
    st.lists(st.sampled_from(["**/*.pt", "plots/*", "ü b,c"]), min_size=1, unique=True).map(tuple),
)


@given(locations(), PARTS, st.sampled_from(["deleting", "deleted", "failed"]))
def test_a_part_is_read_again_and_is_no_deletion_of_a_model(places, part, state):
    written = record(places, part=part, state=state, counts=tuple(range(len(places))))
    key, value = written.to_tag()
    tags = {key: value}
    assert read_part_records(RUN, tags) == (written,)
    assert read_records(RUN, tags) == ()
    assert latest_records(RUN, tags) == {}
    assert not deletion_was_begun(RUN, tags)
    assert next_record_id(tags) == "2"
    # Neither is taken for the other where somebody renamed its key.
    assert read_records(RUN, {RECORD_TAG_PREFIX + "1": value}) == ()
    whole = record(places).to_tag()[1]
    assert read_part_records(RUN, {PART_TAG_PREFIX + "1": whole}) == ()


@pytest.mark.parametrize("part", ["weights of tomorrow", 3, None, {"a": 1}])
def test_a_part_that_nobody_knows_tells_nothing(part):
    place = Location("acct", "box", f"{RUN}/artifacts", "run_artifacts", RUN)
    data = json.loads(record([place], part="optimizer").to_tag()[1])
    value = json.dumps({**data, "part": part})
    assert read_part_records(RUN, {PART_TAG_PREFIX + "1": value}) == ()


ETAGS = st.dictionaries(st.text(min_size=1, max_size=8), st.sampled_from(["1", "2"]), max_size=40)


@given(ETAGS, ETAGS)
def test_the_files_of_a_part_are_told_by_name_and_by_what_the_plan_saw(planned, there):
    made = record(
        [Location("acct", "box", f"{RUN}/artifacts", "run_artifacts", RUN)],
        part="optimizer",
        seen=part_digest(planned),
    )
    told = part_among(made, there)
    if not planned:
        assert told is None
        return
    assert told.names == planned.keys() & there.keys()
    assert dict(told.etags) == {
        name: tag for name, tag in there.items() if planned.get(name) == tag
    }


def test_of_more_files_than_a_tag_holds_nothing_is_told():
    many = {str(at): "1" for at in range(501)}
    assert part_digest(many) == ""
    assert part_digest(dict(list(many.items())[:500]))
