"""A location that cannot be parsed forbids what it may mean, and not its neighbours."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.azure_blob_artifact_repo import AzureBlobArtifactRepository

from expmgr.cleanup.locate import experiment_roots
from expmgr.errors import LocationError
from expmgr.storage.addresses import Addresses
from expmgr.storage.artifact_uri import parse_artifact_uri
from expmgr.storage.location import Location, check_location
from expmgr.storage.store import Store
from expmgr.storage.uri_readings import readings_of

STORE = Store("account", "models", "https://account.blob.core.windows.net")
AZURITE = Store("devstoreaccount1", "models", "http://127.0.0.1:10000/devstoreaccount1")
WASBS = "wasbs://models@account.blob.core.windows.net"
HOSTS = [
    (STORE, f"{WASBS}/", None),
    (STORE, "abfss://models@account.dfs.core.windows.net/", None),
    (STORE, "https://account.blob.core.windows.net/models/", None),
    (AZURITE, "http://127.0.0.1:10000/devstoreaccount1/models/", None),
    (STORE, "mlflow-artifacts:/", WASBS),
    (STORE, "mlflow-artifacts://server:5000/", f"{WASBS}/"),
    (STORE, "https://server/api/2.0/mlflow-artifacts/artifacts/", WASBS),
]
SPELLINGS = {
    "an empty segment": "1/run1/artifacts//sub",
    "a space before": "1/run1/artifacts/ sub",
    "a space after": "1/run1/artifacts/sub /x",
    "an encoded dot": "1/run1/artifacts/%2e/sub",
    "a query": "1/run1/artifacts/sub?x=1",
    "a query at the end of the folder": "1/run1/artifacts?x=1",
    "a fragment": "1/run1/artifacts/sub#x",
    "a backslash": "1/run1/artifacts\\sub",
    "dots": "1/run1/artifacts/...",
    "an encoded slash": "1/run1/artifacts%2Fsub",
    "encoded twice": "1/run1/artifacts/%252e%252e/artifacts/sub",
    "a way round": "1/other/../run1/artifacts/sub",
    "a tab": "1/run1/arti\tfacts/sub",
}


def place(owner="run1"):
    return Location("account", "models", f"1/{owner}/artifacts", "run_artifacts", owner)


def is_refused(roots, owner="run1", store=STORE):
    location = place(owner)
    location = Location(store.account, store.container, location.path, location.kind, owner)
    try:
        check_location(location, store=store, foreign_roots=roots)
    except LocationError as error:
        return "as it is written" in str(error)  # in words
    return False


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize(("store", "host", "destination"), HOSTS)
def test_a_root_that_cannot_be_parsed_forbids_what_it_lies_in(store, host, destination, spelling):
    experiment = SimpleNamespace(artifact_location=host + spelling)
    roots = experiment_roots([experiment], Addresses(store, destination))
    assert is_refused(roots, store=store)
    for neighbour in ("run10", "run", "un1", "Run1", "other", "run2"):
        assert not is_refused(roots, neighbour, store)


def test_a_root_that_can_be_parsed_means_one_path():
    for store, host, destination in HOSTS:
        uri = f"{host}1/run1/artifacts/model"
        assert readings_of(uri, store, artifacts_destination=destination) == {
            "1/run1/artifacts/model"
        }


def test_a_destination_that_cannot_be_parsed_is_read_in_every_way_as_well():
    found = readings_of("mlflow-artifacts:/1//x", STORE, artifacts_destination=f"{WASBS}/served//a")
    assert {"served//a/1//x", "served/a/1/x"} <= found
    assert readings_of("mlflow-artifacts:/1/x", STORE, artifacts_destination=f"{WASBS}/s?t") >= {
        "s/1/x",
        "s?t/1/x",
    }


@pytest.mark.parametrize(
    "uri",
    [
        "wasbs://models@other.blob.core.windows.net/1/run1/artifacts//sub",
        "wasbs://models2@account.blob.core.windows.net/1/run1/artifacts//sub",
        "https://account.blob.core.windows.net/models2/1/run1/artifacts//sub",
        "https://other.blob.core.windows.net/models/1/run1/artifacts//sub",
        "s3://models/1/run1/artifacts//sub",
        "file:///1/run1/artifacts//sub",
        "/1/run1/artifacts//sub",
        "mlflow-artifacts:/1/run1/artifacts//sub",  # kept nobody knows where
        "",
        " ",
    ],
)
def test_a_root_in_another_store_forbids_nothing(uri):
    assert readings_of(uri, STORE) == frozenset()


segments = st.lists(st.sampled_from(["1", "a", "b c", "ü", "x.y", "model"]), max_size=3)


@st.composite
def spellings(draw):
    """A path, written in a way that somebody on the way to the blob may undo."""
    path = "/".join(["1", "run1", "artifacts", *draw(segments)])
    for _ in range(draw(st.integers(1, 4))):
        cut = draw(st.integers(0, len(path)))
        slashes = [index for index, char in enumerate(path) if char == "/"]
        way = draw(
            st.sampled_from(["//", "\\", "%2F", "dot", "round", "?", "#", "quote", " ", "\t"])
        )
        if way == "quote":
            if not set(path) & set("%?#"):  # an encoded "?" is part of the name, and certain
                path = path[:cut] + quote(path[cut:], safe="")
        elif way in {"?", "#"}:
            path += way + draw(st.sampled_from(["", "x=1", "a/b"]))
        elif way in {" ", "\t"}:
            path += way
        elif slashes:
            at = draw(st.sampled_from(slashes))
            new = {"dot": "/./", "round": "/zzz/../"}.get(way, way)
            path = path[:at] + new + path[at + 1 :]
    return path


def examples(number):
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@examples(1_500)
@given(path=spellings(), host=st.sampled_from(HOSTS))
def test_however_it_is_spelled_what_it_lies_in_is_refused_and_the_neighbours_are_not(path, host):
    store, start, destination = host
    roots = readings_of(start + path, store, artifacts_destination=destination)
    assert is_refused(roots, store=store), path
    assert not is_refused(roots, "run10", store)
    assert not is_refused(roots, "run2", store)


@examples(1_500)
@given(
    path=st.text(st.sampled_from("ab/.%2eF?#\\ \t;:@é"), max_size=14)
    | st.text(st.characters(codec="utf-8"), max_size=8)
)
def test_where_mlflow_itself_would_upload_to_is_among_the_readings(path):
    uri = f"{WASBS}/1/{path}"
    try:
        container, account, theirs, _ = AzureBlobArtifactRepository.parse_wasbs_uri(uri)
    except (MlflowException, ValueError):
        return  # MLflow does not upload there
    assert (container, account) == ("models", "account")
    found = readings_of(uri, STORE)
    assert theirs.strip("/") in found
    try:
        assert found == {parse_artifact_uri(uri, STORE)}
    except LocationError:
        assert found


def test_a_hostile_spelling_does_not_take_for_ever():
    uri = f"{WASBS}/" + "%25" * 150 + "2e/ x/./..//\\?#" * 8
    assert len(readings_of(uri, STORE)) < 5000
