"""The journal: one small tag a deletion, that names its run and never gets lost in reading."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expmgr.errors import JournalError
from expmgr.storage.location import Location
from expmgr.tracking.journal import (
    RECORD_TAG_PREFIX,
    DeletionRecord,
    begin,
    deletion_was_begun,
    next_record_id,
    read_records,
)
from expmgr.tracking.state import model_state

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
    tags = {} if state is None else dict([record([PLACE], state=state, deadline=deadline).to_tag()])
    paths = [PLACE.path]
    assert (
        model_state(RUN, tags, paths=paths, recorded=True, elsewhere=False, files=files, at=50)
        == expected
    )


@pytest.mark.parametrize(
    ("elsewhere", "files", "expected"),
    [
        (False, None, "unknown"),
        (False, 0, "none"),
        (False, 2, "artifacts"),
        (True, None, "elsewhere"),
    ],
)
def test_the_state_where_mlflow_recorded_nothing(elsewhere, files, expected):
    state = model_state(RUN, {}, paths=[], recorded=False, elsewhere=elsewhere, files=files, at=0)
    assert state == expected
