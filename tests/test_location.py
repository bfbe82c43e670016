"""Artifact URIs as MLflow writes them, and the guard."""

from __future__ import annotations

import pytest

from expmgr import AzureBlobCredentials
from expmgr.errors import LocationError
from expmgr.storage.addresses import Addresses
from expmgr.storage.artifact_uri import parse_artifact_uri
from expmgr.storage.location import Location, check_location
from expmgr.storage.store import Store

RUN = "3f2a9c0d1e4b5a6978877665544332211"
MODEL = "m-0123456789abcdef0123456789abcdef"
PUBLIC = Store("account", "models", "https://account.blob.core.windows.net")
CHINA = Store("account", "models", "https://account.blob.core.chinacloudapi.cn")
AZURITE = Store("devstoreaccount1", "models", "http://127.0.0.1:10000/devstoreaccount1")
PRIVATE = Store("account", "models", "https://blobs.intern.example:8443")
DOCKER = Store("account", "models", "http://azurite:10000/account")


@pytest.mark.parametrize(
    ("uri", "store", "path"),
    [
        ("wasbs://models@account.blob.core.windows.net/1/r/artifacts", PUBLIC, "1/r/artifacts"),
        ("wasbs://models@account.blob.core.windows.net/1/r/artifacts/", PUBLIC, "1/r/artifacts"),
        ("wasbs://models@ACCOUNT.blob.core.windows.net/1/R", PUBLIC, "1/R"),
        ("wasbs://models@account.blob.core.chinacloudapi.cn/x", CHINA, "x"),
        ("wasbs://models@account.blob.core.usgovcloudapi.net/x", PRIVATE, "x"),
        ("wasbs://models@devstoreaccount1.blob.core.windows.net/x/y", AZURITE, "x/y"),
        ("wasbs://models@account.blob.core.windows.net/a b/ü", PUBLIC, "a b/ü"),
        ("wasbs://models@account.blob.core.windows.net/a%20b", PUBLIC, "a%20b"),  # as MLflow
        ("wasbs://models@blobs.intern.example:8443/x", PRIVATE, "x"),
        (
            "wasbs://models@blobs.example/x",
            Store("account", "models", "https://blobs.example"),
            "x",
        ),
        ("abfss://models@account.dfs.core.windows.net/x/y", PUBLIC, "x/y"),
        ("abfss://models@account.blob.core.windows.net/x/y", PUBLIC, "x/y"),
        ("https://account.blob.core.windows.net/models/x/y", PUBLIC, "x/y"),
        ("https://account.blob.core.windows.net:443/models/x/y", PUBLIC, "x/y"),
        ("https://account.blob.core.windows.net/models/a%20b/%C3%BC", PUBLIC, "a b/ü"),
        ("https://account.dfs.core.windows.net/models/x", PUBLIC, "x"),
        ("https://account.privatelink.blob.core.windows.net/models/x", PUBLIC, "x"),
        ("https://account-secondary.blob.core.windows.net/models/x", PUBLIC, "x"),
        ("https://account.z12.blob.storage.azure.net/models/x", PUBLIC, "x"),
        ("https://account.blob.core.chinacloudapi.cn/models/x", CHINA, "x"),
        ("https://blobs.intern.example:8443/models/x", PRIVATE, "x"),
        ("https://account.blob.core.windows.net/models/x", PRIVATE, "x"),
        ("http://127.0.0.1:10000/devstoreaccount1/models/x/y", AZURITE, "x/y"),
        ("http://azurite:10000/account/models/x", DOCKER, "x"),
    ],
)
def test_uris_that_name_the_store(uri, store, path):
    assert parse_artifact_uri(uri, store) == path


@pytest.mark.parametrize(
    ("uri", "store", "theirs"),
    [
        ("wasbs://models@other.blob.core.windows.net/x", PUBLIC, "'other'"),
        ("wasbs://else@account.blob.core.windows.net/x", PUBLIC, "'else'"),
        ("wasbs://Models@account.blob.core.windows.net/x", PUBLIC, "'Models'"),
        ("wasbs://models@account.blob.core.chinacloudapi.cn/x", PUBLIC, "chinacloudapi"),
        ("wasbs://models@account.blob.core.windows.net/x", CHINA, "windows.net"),
        ("wasbs://models@account.dfs.core.windows.net/x", PUBLIC, "dfs"),
        ("wasbs://models@account.blob.core.windows.net.evil.example/x", PUBLIC, "evil"),
        ("wasbs://models@account.evil.example/x", PUBLIC, "evil"),
        ("wasbs://models@account.blob.core.windows.net:8443/x", PUBLIC, "8443"),
        ("abfss://models@other.dfs.core.windows.net/x", PUBLIC, "'other'"),
        ("https://other.blob.core.windows.net/models/x", PUBLIC, "'other'"),
        ("https://account.blob.core.windows.net/else/x", PUBLIC, "'else'"),
        ("https://account.blob.core.windows.net/x", PUBLIC, "'x'"),
        ("https://account.file.core.windows.net/models/x", PUBLIC, "file"),
        ("https://evil.example/models/x", PUBLIC, "evil"),
        ("https://account.blob.core.windows.net:444/models/x", PUBLIC, "444"),
        ("http://account.blob.core.windows.net/models/x", PUBLIC, "http://account"),
        ("http://127.0.0.1:10001/devstoreaccount1/models/x", AZURITE, "10001"),
        ("http://127.0.0.1:10000/devstoreaccount2/models/x", AZURITE, "devstoreaccount2"),
        ("http://127.0.0.1:10000/models/x", AZURITE, "models"),
    ],
)
def test_another_store_is_refused_and_both_sides_are_named(uri, store, theirs):
    with pytest.raises(LocationError) as caught:
        parse_artifact_uri(uri, store)
    assert theirs in str(caught.value)
    assert repr(store.account) in str(caught.value)
    assert repr(store.container) in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/x",
        "gs://bucket/x",
        "file:///tmp/x",
        "/tmp/mlruns/0/x/artifacts",
        "./mlruns",
        "dbfs:/x",
        "runs:/abc/model",
        "models:/name/1",
        "wasb://models@account.blob.core.windows.net/x",
        "abfs://models@account.dfs.core.windows.net/x",
        "",
    ],
)
def test_other_kinds_of_store_are_refused(uri):
    with pytest.raises(LocationError):
        parse_artifact_uri(uri, PUBLIC)


BAD_PATHS = [
    "",
    "/",
    "..",
    "a/../b",
    "a/..",
    "a/./b",
    ".",
    "a//b",
    "//a",
    "a/b//",
    "a\\b",
    "a/..\\b",
    "a/%2e%2e/b",
    "a/%2E./b",
    "a/.%2e",
    "a%2fb",
    "a%2Fb",
    "a%5cb",
    "a/%252e%252e/b",
    "a%252fb",
    "a%2525",
    "a/%00",
    "a/%0a",
    "a\nb",
    "a\tb",
    "a\rb",
    "a\x00b",
    "a\x7fb",
    "a\u2028b",
    " a",
    "a ",
    "a/ b",
    "a/...",
    "a?b",
    "a#b",
    "a?sig=secret",
    "x" * 1025,
]


BAD_ROOTS = [
    "wasbs://models@account.blob.core.windows.net/",
    "abfss://models@account.dfs.core.windows.net/",
    "https://account.blob.core.windows.net/models/",
    "mlflow-artifacts:/",
]


@pytest.mark.parametrize(
    ("root", "path"),
    # "mlflow-artifacts:///a" has an empty authority, as file:///a has, and no empty segment.
    [(r, p) for r in BAD_ROOTS for p in BAD_PATHS if (r, p) != ("mlflow-artifacts:/", "//a")],
)
def test_paths_that_could_be_read_in_two_ways_are_refused(root, path):
    with pytest.raises(LocationError) as caught:
        parse_artifact_uri(
            root + path,
            PUBLIC,
            artifacts_destination="wasbs://models@account.blob.core.windows.net/served",
        )
    assert "secret" not in str(caught.value)


def test_the_message_never_repeats_a_signature_or_a_password():
    for uri in (
        "https://other.blob.core.windows.net/models/x?sv=1&sig=abcSECRET",
        "https://user:SECRET@account.blob.core.windows.net/models/x",
        "wasbs://models:SECRET@account.blob.core.windows.net/x",
        "s3://key:SECRET@bucket/x",
    ):
        with pytest.raises(LocationError) as caught:
            parse_artifact_uri(uri, PUBLIC)
        assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "destination", "path"),
    [
        (
            "mlflow-artifacts:/1/r/artifacts",
            "wasbs://models@account.blob.core.windows.net/served",
            "served/1/r/artifacts",
        ),
        (
            "mlflow-artifacts:/1/r/artifacts",
            "wasbs://models@account.blob.core.windows.net",
            "1/r/artifacts",
        ),
        (
            "mlflow-artifacts:/1/r/artifacts",
            "wasbs://models@account.blob.core.windows.net/",
            "1/r/artifacts",
        ),
        (
            "mlflow-artifacts://server:5000/1/r/artifacts",
            "https://account.blob.core.windows.net/models/deep/root/",
            "deep/root/1/r/artifacts",
        ),
        (
            "mlflow-artifacts:/api/2.0/mlflow-artifacts/artifacts/1/r",
            "wasbs://models@account.blob.core.windows.net/served",
            "served/1/r",
        ),
        (
            "https://mlflow.example/api/2.0/mlflow-artifacts/artifacts/1/r",
            "wasbs://models@account.blob.core.windows.net/served",
            "served/1/r",
        ),
        (
            "mlflow-artifacts:/1/a%20b",
            "wasbs://models@account.blob.core.windows.net/served",
            "served/1/a b",
        ),
    ],
)
def test_proxied_artifacts(uri, destination, path):
    assert parse_artifact_uri(uri, PUBLIC, artifacts_destination=destination) == path


def test_proxied_artifacts_need_the_destination():
    with pytest.raises(LocationError, match="artifacts_destination="):
        parse_artifact_uri("mlflow-artifacts:/1/r", PUBLIC)


@pytest.mark.parametrize(
    "destination",
    [
        "wasbs://else@account.blob.core.windows.net/served",
        "wasbs://else@account.blob.core.windows.net",
        "s3://bucket/served",
        "mlflow-artifacts:/x",
        "/var/mlflow",
    ],
)
def test_a_destination_elsewhere_is_refused(destination):
    with pytest.raises(LocationError):
        parse_artifact_uri("mlflow-artifacts:/1/r", PUBLIC, artifacts_destination=destination)


CONTAINER = "wasbs://models@account.blob.core.windows.net"
ROOT = f"{CONTAINER}/1"


def test_the_three_kinds_of_location():
    model = Addresses(PUBLIC).logged_model(f"{ROOT}/models/{MODEL}/artifacts", MODEL)
    assert (model.path, model.kind, model.owner_id) == (
        f"1/models/{MODEL}/artifacts",
        "logged_model",
        MODEL,
    )
    run_model = Addresses(PUBLIC).run_model(
        f"{ROOT}/{RUN}/artifacts", RUN, "deep/model", marker_last=True
    )
    assert (run_model.path, run_model.kind, run_model.marker_last) == (
        f"1/{RUN}/artifacts/deep/model",
        "run_model",
        True,
    )
    artifacts = Addresses(PUBLIC).run_artifacts(f"{ROOT}/{RUN}/artifacts", RUN)
    assert (artifacts.prefix, artifacts.kind) == (f"1/{RUN}/artifacts/", "run_artifacts")
    assert artifacts.marker == f"1/{RUN}/artifacts/MLmodel"


@pytest.mark.parametrize(
    "path", ["", ".", "/", " ", "..", "../other", "a/..", "a//b", "/abs", "a\\b"]
)
def test_a_model_path_that_is_no_directory_of_its_own_is_refused(path):
    with pytest.raises(LocationError):
        Addresses(PUBLIC).run_model(f"{ROOT}/{RUN}/artifacts", RUN, path)


@pytest.mark.parametrize(
    "uri",
    [
        ROOT,
        f"{ROOT}/{RUN}",
        f"{ROOT}/{RUN}/artifacts/model",
        f"{ROOT}/{RUN}0/artifacts",
        f"{ROOT}/x{RUN}/artifacts",
        f"{ROOT}/{RUN.upper()}/artifacts",
        f"{ROOT}/{RUN}/Artifacts",
        f"{ROOT}/{RUN}/x/artifacts",
        f"{ROOT}/artifacts/{RUN}",
        f"{ROOT}/x-{RUN}-y/artifacts",
    ],
)
def test_the_id_must_be_a_whole_segment_in_its_place(uri):
    with pytest.raises(LocationError, match="as MLflow builds it"):
        Addresses(PUBLIC).run_artifacts(uri, RUN)
    with pytest.raises(LocationError, match="as MLflow builds it"):
        Addresses(PUBLIC).logged_model(uri, RUN)
    with pytest.raises(LocationError, match="as MLflow builds it"):
        Addresses(PUBLIC).run_model(uri, RUN, "model")


@pytest.mark.parametrize("owner", ["", ".", "..", "a/b", "a b", "%2e", "artifacts/x", "é"])
def test_an_id_that_is_none_is_refused(owner):
    location = Location("account", "models", f"1/{owner}/artifacts", "run_artifacts", owner)
    with pytest.raises(LocationError):
        check_location(location, store=PUBLIC)


@pytest.mark.parametrize(
    ("root", "refused"),
    [
        (f"1/{RUN}/artifacts/model", True),
        (f"1/{RUN}/artifacts/model/", True),
        (f"1/{RUN}/artifacts/model/sub/otherrun/artifacts", True),
        (f"1/{RUN}/artifacts/model2", False),
        (f"1/{RUN}/artifacts", True),
        (f"1/{RUN}/artifacts/mode", False),
        ("1/other/artifacts", False),
        ("", False),
    ],
)
def test_a_location_that_overlaps_a_foreign_root_is_refused(root, refused):
    location = Addresses(PUBLIC).run_model(f"{ROOT}/{RUN}/artifacts", RUN, "model")
    if refused:
        with pytest.raises(LocationError, match="overlaps the root"):
            check_location(location, store=PUBLIC, foreign_roots=["1/x/artifacts", root])
    else:
        check_location(location, store=PUBLIC, foreign_roots=["1/x/artifacts", root])


@pytest.mark.parametrize("root", [f"{RUN}/{RUN}", RUN, "artifacts"])
def test_a_root_above_the_owners_folder_may_bear_its_name(root):
    location = Addresses(PUBLIC).run_artifacts(f"{CONTAINER}/{RUN}/{RUN}/artifacts", RUN)
    check_location(location, store=PUBLIC, foreign_roots=[root])


def test_a_location_of_another_container_or_account_is_refused():
    for account, container in (("other", "models"), ("account", "else")):
        location = Location(account, container, f"1/{RUN}/artifacts", "run_artifacts", RUN)
        with pytest.raises(LocationError, match="nothing was touched"):
            check_location(location, store=PUBLIC)


def test_an_unknown_kind_is_refused():
    location = Location("account", "models", f"1/{RUN}/artifacts", "experiment", RUN)
    with pytest.raises(LocationError, match="kind"):
        check_location(location, store=PUBLIC)


def test_the_store_of_credentials():
    credentials = AzureBlobCredentials(
        account_name="account", account_key="a2V5", container_name="models"
    )
    assert Store.of(credentials) == PUBLIC
    assert (PUBLIC.cloud, CHINA.cloud) == ("core.windows.net", "core.chinacloudapi.cn")
    assert (AZURITE.cloud, PRIVATE.cloud) == (None, None)
