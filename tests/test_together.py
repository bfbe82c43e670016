"""Many models are listed by what is around them, few one by one: the plan is the same."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expmgr.storage.listing import Blob, Page, Tally
from expmgr.storage.location import Location
from expmgr.storage.together import side_by_side, tally_together

NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)
owners = st.sampled_from([f"m-{number}" for number in range(14)])
names = st.builds(
    "{}/{}".format,
    st.builds("1/models/{}".format, owners) | st.just("1/models") | st.just("1/models/m-1x"),
    st.sampled_from(
        ["artifacts/MLmodel", "artifacts/a/b", "artifacts", "artifacts0/c", "x", "m-2"]
    ),
)


def place(owner: str, root: str = "1/models") -> Location:
    return Location("account", "container", f"{root}/{owner}/artifacts", "logged_model", owner)


def blob(name: str) -> Blob:
    return Blob(name, len(name), f"tag of {name}", NOW)


def pages(blobs, rows=3):
    listed = [blob(name) for name in sorted(blobs)]
    chunks = [listed[at : at + rows] for at in range(0, len(listed), rows)] or [[]]
    for number, chunk in enumerate(chunks, 1):
        yield Page(tuple(chunk), "more" if number < len(chunks) else None, NOW)


@given(st.sets(names), st.sets(owners, min_size=1))
def test_each_location_gets_exactly_its_own_blobs(listed, asked):
    locations = [place(owner) for owner in sorted(asked)]
    found = tally_together(pages(listed), "1/models/", locations)
    for location in locations:
        own = {name for name in listed if location.holds(name)}
        if not own:
            assert location not in found
        elif found:
            tally = Tally(NOW)
            for name in sorted(own):
                tally.add(blob(name))
            assert found[location] == tally.listing()
            assert set(found[location].etags) == own


def test_a_folder_that_holds_far_more_is_given_up():
    few = [place("m-1")]
    others = [f"1/models/z{number}/artifacts/MLmodel" for number in range(500)]
    asked = Counter()

    def counted():
        for page in pages(["1/models/m-1/artifacts/MLmodel", *others], rows=150):
            asked["pages"] += 1
            yield page

    assert tally_together(counted(), "1/models/", few) == {}
    assert asked["pages"] == 1


def test_few_and_nested_locations_are_in_no_group():
    assert side_by_side([place(f"m-{number}") for number in range(7)]) == {}
    many = [place(f"m-{number}") for number in range(9)]
    assert list(side_by_side([*many, *many])) == ["1/models/"]
    inner = Location("account", "container", "1/models/m-1/artifacts/x", "run_model", "m-1")
    assert inner not in side_by_side([*many, inner])["1/models/"]
    top = [
        Location("a", "c", f"{number}/artifacts", "run_artifacts", f"{number}")
        for number in range(9)
    ]
    assert side_by_side(top) == {}, "the whole container is nobody's neighbourhood"


@pytest.fixture
def requests(monkeypatch):
    """Requests by kind: GET of storage, and of the tracking server's single models."""
    from azure.core.pipeline.transport import RequestsTransport

    made = Counter()
    send = RequestsTransport.send

    def counted(self, request, **options):
        made["storage"] += 1
        return send(self, request, **options)

    monkeypatch.setattr(RequestsTransport, "send", counted)
    return made


def test_many_are_planned_as_each_alone_with_one_listing(lab, requests):
    runs = [lab.run(number / 100) for number in range(12)]
    models = [lab.logged_model(run_id) for run_id in runs]
    second = lab.logged_model(runs[3], step=1)
    lab.client.delete_logged_model(models[5])
    for name in lab.blob_names(
        lab.manager().blob_store.addresses.path_of(
            lab.client.get_logged_model(models[7]).artifact_location
        )
    ):
        lab.manager().blob_store.container_client().delete_blob(name)
    lab.manager().pin(models[4], "kept")
    manager = lab.manager()
    requests.clear()

    together = manager.plan_deletion(runs)

    assert requests["storage"] == 3, "one for all, and two for what seems empty"
    requests.clear()
    by_model = manager._planner().plan([*models, second], makers=runs)
    assert requests["storage"] == 3
    for run_id in runs:
        (alone,) = manager.plan_deletion(run_id)
        assert facts(together[run_id]) == facts(alone)
    for model_id in [*models, second]:
        (alone,) = manager.plan_deletion(model_id)
        assert facts(by_model[model_id]) == facts(alone)


def facts(plan):
    """All that a plan says but when it was made."""
    files = {one.location: (dict(one.etags), dict(one.sizes)) for one in plan.locations}
    return plan.id, plan.model, plan.reasons, plan.problem, plan.model_ids, plan.deletable, files
