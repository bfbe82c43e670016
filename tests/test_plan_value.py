"""A plan is a value: it narrows, is saved and loaded; a foreign or changed one reaches nothing."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab import MODEL_FILES, Lab
from scripted_manager import HOSTILE
from servers import Backend

from expmgr.catalog.parts import PARTS
from expmgr.catalog.reason import REASON_KINDS, Reason
from expmgr.cleanup.home import Home, tracking_name
from expmgr.cleanup.plan import DeletionPlan, Kept, PlannedLocation, RunPlan
from expmgr.cleanup.plan_file import plan_to_json
from expmgr.errors import InvalidInputError
from expmgr.storage.location import Location

# ------------------------------------------------------------------------------------- pure

texts = st.text(max_size=12)
files = st.dictionaries(texts, st.tuples(texts, st.none() | st.integers(0, 2**60)), max_size=3)
reasons = st.builds(Reason, st.sampled_from(REASON_KINDS), texts, texts)


@st.composite
def locations(draw):
    place = Location(
        *(draw(texts) for _ in range(3)),
        draw(st.sampled_from(["logged_model", "run_model", "run_artifacts"])),
        draw(texts),
        draw(st.booleans()),
    )
    found = {f"{place.prefix}{name}": what for name, what in draw(files).items()}
    sizes = {name: size for name, (_, size) in found.items() if size is not None}
    etags = {name: etag for name, (etag, _) in found.items()}
    return PlannedLocation(place, len(sizes), sum(sizes.values()), etags, sizes)


runs = st.builds(
    RunPlan,
    texts,
    run_name=texts,
    experiment_id=texts,
    experiment_name=texts,
    model=st.sampled_from(["stored", "artifacts", "unknown", "interrupted"]),
    locations=st.lists(locations(), max_size=2).map(tuple),
    model_ids=st.lists(texts, max_size=2).map(tuple),
    reasons=st.lists(reasons, max_size=2).map(tuple),
    problem=texts,
    linked=st.lists(texts, max_size=2).map(tuple),
    planned_at=st.none() | st.datetimes(timezones=st.just(timezone.utc)),
    note=texts,
    asked=texts,
    owner_id=texts,
    part=st.sampled_from([*PARTS, ("plots/**", "*.csv"), ("a b/[0-9].bin",)]),
    doubts=st.lists(reasons, max_size=1).map(tuple),
)
plans = st.builds(
    DeletionPlan,
    st.lists(runs, max_size=3).map(tuple),
    st.lists(st.builds(Kept, texts, texts, texts, st.none() | st.integers(0)), max_size=2).map(
        tuple
    ),
    texts,
    st.none() | st.builds(Home, texts, texts, texts),
)


@given(plans)
def test_a_plan_is_what_it_was_after_a_round_trip(plan):
    again = DeletionPlan.from_json(plan.to_json())
    assert again == plan
    assert again.to_json() == plan.to_json()
    assert repr(again) == repr(plan)
    for left, right in zip(plan.runs, again.runs, strict=True):
        for one, other in zip(left.locations, right.locations, strict=True):
            assert (one.etags, one.sizes) == (other.etags, other.sizes)
        for one, other in zip(left.reasons, right.reasons, strict=True):
            assert one.key == other.key


def test_every_field_of_a_run_is_kept_but_what_is_read_anew():
    said = json.loads(plan_to_json(DeletionPlan((RunPlan("r1"),))))["runs"][0]
    known = {field.name for field in fields(RunPlan)}
    assert known - set(said) == {
        "problem_error",
        "record_id",
        "unknown",
        "journal",
        "told_after",
        "told_with",
        "nobodys",
    }
    assert set(said) <= known


PLACE = Location("acc", "con", "x/r1/artifacts/model", "run_model", "r1")
FILES = {f"{PLACE.prefix}MLmodel": "e1", f"{PLACE.prefix}w": "e2"}
ONE = RunPlan(
    "r1",
    "forest",
    locations=(PlannedLocation(PLACE, 2, 7, FILES, dict.fromkeys(FILES, 4)),),
    model="stored",
    planned_at=datetime(2026, 1, 2, tzinfo=timezone.utc),
)
PLAN = DeletionPlan(
    (ONE, RunPlan("r2", "tree")), (Kept("m-3", HOSTILE, HOSTILE, 8),), home=Home("t")
)


def broken(path, value):
    """The JSON of a plan with one value changed."""
    data = json.loads(PLAN.to_json())
    *way, last = path
    place = data
    for step in way:
        place = place[step]
    place[last] = value
    return json.dumps(data)


BROKEN = {
    "nothing": "",
    "no JSON": "{",
    "deep": "[" * 100_000,
    "a list": "[]",
    "another thing": '{"a": 1}',
    "a newer one": broken(["version"], 2),
    "no runs": broken(["runs"], None),
    "a run that is a text": broken(["runs", 0], "r1"),
    "an id that is a number": broken(["runs", 0, "run_id"], 1),
    "a state of its own": broken(["runs", 0, "model"], "gone"),
    "a reason of a new kind": broken(["runs", 0, "reasons"], [["liked", "x", ""]]),
    "a reason as a text": broken(["runs", 0, "reasons"], ["best: x"]),
    "a time without a zone": broken(["runs", 0, "planned_at"], "2026-01-01T00:00:00"),
    "a time as a number": broken(["runs", 0, "planned_at"], 7),
    "a kind of location": broken(["runs", 0, "locations", 0, "kind"], "container"),
    "a file elsewhere": broken(["runs", 0, "locations", 0, "files"], [["y/w", "e", 1]]),
    "a file beside it": broken(
        ["runs", 0, "locations", 0, "files"], [[f"{PLACE.path}2/w", "e", 1]]
    ),
    "a file twice": broken(["runs", 0, "locations", 0, "files"], [[f"{PLACE.path}/w", "e", 1]] * 2),
    "a size below nothing": broken(
        ["runs", 0, "locations", 0, "files"], [[f"{PLACE.path}/w", "e", -1]]
    ),
    "a size that is true": broken(
        ["runs", 0, "locations", 0, "files"], [[f"{PLACE.path}/w", "e", True]]
    ),
    "a home without a container": broken(["home"], {"tracking": "t", "account": "a"}),
    "kept bytes as a text": broken(["kept", 0, "bytes"], "8"),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_what_is_no_whole_plan_is_one_clear_error(text):
    with pytest.raises(InvalidInputError, match=r"this plan|no saved plan") as caught:
        DeletionPlan.from_json(text)
    assert len(str(caught.value)) < 600


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(InvalidInputError, match="no plan could be read"):
            DeletionPlan.load(path)
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInputError, match="no plan could be read"):
        DeletionPlan.load(tmp_path / "a.json")


def test_without_leaves_some_where_they_are_and_says_so():
    rest = PLAN.without("r1")
    assert [run.id for run in rest] == ["r2"]
    assert [one.id for one in rest.kept] == ["r1", "m-3"]
    assert rest.home == PLAN.home
    assert "taken out of the plan" in repr(rest)
    assert PLAN.without() == PLAN
    with pytest.raises(InvalidInputError, match="'r9', 'm-3'"):
        PLAN.without("r9", "r1", "m-3")


def test_what_stays_is_shown_beside_what_goes():
    text, page, frame = repr(PLAN), PLAN._repr_html_(), PLAN.to_frame()
    assert "stays: 1 model, 8 B" in text
    assert "stays: 1 model, 8 B" in page
    assert list(frame["run_id"]) == ["r1", "r2", "m-3"]
    assert list(frame["kept"]) == ["", "", PLAN.kept[0].why]
    assert not set(text) & set("\u202e\x00\x1b")
    assert "<script" not in page
    many = DeletionPlan(kept=tuple(Kept(f"m-{n}") for n in range(30)))
    assert len(repr(many).split("\n")) == 2 + 20
    assert "the first 20" in repr(many)
    assert len(many.to_frame()) == 30


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("http://h:5000", "http://h:5000/", True),
        ("http://h", "HTTP://me:pw@H:80/", True),
        ("https://h:443/x?token=1", "https://h/x", True),
        ("http://h", "https://h", False),
        ("http://h:5000", "http://h:5001", False),
        ("http://h/a", "http://h/b", False),
        ("sqlite:////a/b.db", "sqlite:////a/b.db?x=1", True),
        ("sqlite:////a/b.db", "sqlite:////a/c.db", False),
        ("postgresql://u:p@h/db", "postgresql://v:q@h/db", True),
        ("file:///a/mlruns", "/a/mlruns", True),
        ("databricks://one", "databricks://two", False),
    ],
)
def test_a_server_is_told_by_its_address_without_who_signs_in(left, right, same):
    assert (tracking_name(left) == tracking_name(right)) is same
    assert "pw" not in tracking_name(right)


@pytest.mark.parametrize("login", ["u:123/sEcret@", "u:sE/cret@", "sEcret@", "u:sEcret:x@"])
def test_no_login_is_left_in_the_name_of_a_server(login):
    for uri in (f"http://{login}h:5000/x", f"postgresql://{login}h/db?password=sEcret"):
        assert "ecret" not in tracking_name(uri).lower()


# ----------------------------------------------------------------------------- on real servers


@pytest.fixture
def lab(backend, credentials, blob_names, tmp_path, plugin_name):
    return Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)


@pytest.fixture
def sqlite_lab(
    sqlite_uri, artifact_root, container, credentials, blob_names, tmp_path, plugin_name
):
    del artifact_root
    backend = Backend("sqlite", sqlite_uri, None, container)
    return Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)


def test_a_saved_plan_does_what_the_plan_would(lab, tmp_path):
    best, other, third = lab.best(), lab.with_model(0.2), lab.run(0.1)
    lab.history_model(third)
    plan = lab.manager().plan_deletion([best, other, third])
    plan.save(tmp_path / "plan.json")
    later = DeletionPlan.load(tmp_path / "plan.json")
    assert later == plan
    report = lab.manager().delete_models(later, progress=False)
    assert report.counts == {"protected": 1, "deleted": 2}
    assert report.files == plan.files
    again = lab.manager().delete_models(later, progress=False)
    assert again.counts == {"protected": 1, "not_found": 2}


def test_what_changed_since_the_plan_was_saved_stays_and_is_said(sqlite_lab, put_blob):
    lab = sqlite_lab
    lab.best()
    changed, gone, trashed, registered = (lab.with_model(0.2) for _ in range(4))
    text = lab.manager().plan_deletion([changed, gone, trashed, registered]).to_json()
    weights = next(name for name in lab.blob_names() if _of(lab, changed) in name and "bin" in name)
    put_blob(weights, b"others")
    lab.client.delete_run(trashed)
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    lab.client.delete_run(gone)
    SqlAlchemyStore(lab.backend.tracking_uri, "/tmp")._hard_delete_run(gone)
    lab.client.create_registered_model(f"v-{lab.plugin}")
    lab.client.create_model_version(
        f"v-{lab.plugin}", f"runs:/{registered}/model", run_id=registered
    )
    report = lab.manager().delete_models(DeletionPlan.from_json(text), progress=False)
    results = {result.run_id: result for result in report}
    assert results[changed].left == (weights,)
    assert "changed after the plan" in results[changed].message
    assert results[gone].outcome == "failed"
    assert "no run" in results[gone].message
    assert "trash" in results[trashed].message
    assert results[registered].outcome == "protected"
    assert weights in lab.blob_names()


def _of(lab, run_id):
    return lab.client.get_run(run_id).outputs.model_outputs[0].model_id


def test_a_plan_of_another_server_or_container_is_refused_before_anything(sqlite_lab, azurite):
    lab = sqlite_lab
    lab.best()
    run_id = lab.with_model(0.2)
    plan = lab.manager().plan_deletion([run_id])
    before = lab.blob_names()
    for change in ({"tracking": "http://other"}, {"account": "other"}, {"container": "other"}):
        foreign = replace(plan, home=replace(plan.home, **change))
        foreign = DeletionPlan.from_json(foreign.to_json())
        for call in (
            lambda plan=foreign: lab.manager().delete_models(plan, force=True, progress=False),
            lambda plan=foreign: lab.manager().delete_model(run_id, plan=plan),
        ):
            with pytest.raises(InvalidInputError, match="other") as caught:
                call()
            assert "nothing was deleted" in str(caught.value)
    assert lab.blob_names() == before
    elsewhere = lab.manager(azure_blob_credentials=azurite.credentials("another"))
    with pytest.raises(InvalidInputError, match="another"):
        elsewhere.delete_models(plan, progress=False)


def test_a_plan_without_a_home_is_no_passport(sqlite_lab):
    lab = sqlite_lab
    lab.best()
    run_id = lab.with_model(0.2)
    plan = lab.manager().plan_deletion([run_id])
    (run,) = plan.runs
    moved = [replace(p, location=replace(p.location, container="other")) for p in run.locations]
    plan = DeletionPlan((replace(run, locations=tuple(moved)),))
    report = lab.manager().delete_models(plan, force=True, progress=False)
    assert report.counts == {"failed": 1}


TAMPERINGS = {
    "locations exchanged": lambda a, b: (
        {**a, "locations": b["locations"]},
        {**b, "locations": a["locations"]},
    ),
    "locations and models exchanged": lambda a, b: (
        {**a, "locations": b["locations"], "model_ids": b["model_ids"]},
        {**b, "locations": a["locations"], "model_ids": a["model_ids"]},
    ),
    "another's location beside its own": lambda a, b: (
        {**a, "locations": a["locations"] + b["locations"]},
    ),
    "another owner of the record": lambda a, b: ({**a, "owner_id": b["owner_id"] or b["run_id"]},),
    "another run": lambda a, b: ({**a, "run_id": b["run_id"], "owner_id": b["owner_id"]},),
    "asked for another": lambda a, b: ({**a, "asked": b["asked"] or b["run_id"]},),
    "models of another": lambda a, b: ({**a, "model_ids": b["model_ids"] + ["m-" + "0" * 32]},),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
@pytest.mark.parametrize("kind", ["runs", "models", "checkpoints", "directories"])
def test_a_changed_plan_reaches_nothing(sqlite_lab, tampering, kind):
    lab = sqlite_lab
    lab.best()
    if kind in {"runs", "models"}:
        makers = [lab.run(0.1), lab.run(0.2)]
        models = [lab.logged_model(run_id) for run_id in makers]
        ids = makers if kind == "runs" else models
    else:
        run_id = lab.run(0.1)
        if kind == "checkpoints":
            ids = [lab.logged_model(run_id, step=step) for step in (1, 2)]
        else:
            for path in ("a", "b"):
                lab.history_model(run_id, path)
            ids = [f"{run_id}/a", f"{run_id}/b"]
    plan = lab.manager().plan_deletion(ids)
    assert len(plan.deletable) == 2
    data = json.loads(plan.to_json())
    data["runs"] = list(TAMPERINGS[tampering](*data["runs"]))
    data.pop("home")
    before = lab.blob_names()
    changed = DeletionPlan.from_json(json.dumps(data))
    (first, *_), (now, *_) = plan.runs, changed.runs
    if replace(now, owner_id=first.owner_id) == first and now.journal_id == first.journal_id:
        pytest.skip("two checkpoints of a run have its owner and run")
    report = lab.manager().delete_models(changed, force=True, progress=False)
    assert set(report.counts) == {"failed"}, repr(report)
    assert lab.blob_names() == before
    for run in lab.client.search_runs([lab.experiment_id]):
        assert not {key for key in run.data.tags if key.startswith("expmgr.")}


def test_a_plan_that_hides_a_protection_does_not_pass_it(sqlite_lab):
    lab = sqlite_lab
    best = lab.best()
    data = json.loads(lab.manager().plan_deletion([best]).to_json())
    data["runs"][0]["reasons"] = []
    before = lab.blob_names()
    plan = DeletionPlan.from_json(json.dumps(data))
    assert plan.deletable
    for force in (False, True):
        report = lab.manager().delete_models(plan, force=force, progress=False)
        assert report.counts == {"protected": 1}
    assert lab.blob_names() == before


def test_a_loaded_plan_pickles_and_holds_no_secret(sqlite_lab, azurite):
    lab = sqlite_lab
    plan = lab.manager().plan_deletion([lab.with_model(0.2)])
    secret = azurite.connection_string.partition("AccountKey=")[2].partition(";")[0]
    for text in (plan.to_json(), repr(plan), pickle.dumps(plan).decode("latin-1")):
        assert secret[:20] not in text
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert plan.home.container == lab.credentials.container_name
    assert set(plan.runs[0].locations[0].sizes.values()) == set(map(len, MODEL_FILES.values()))
    assert plan.runs[0].planned_at > datetime.now(timezone.utc) - timedelta(hours=1)
