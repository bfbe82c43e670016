"""Credentials: what is refused, in words; and that no secret ever shows."""

from __future__ import annotations

import copy
import logging
import pickle
import pprint
import sys
import traceback
from datetime import datetime, timedelta, timezone

import pytest
import servers
from azure.core.credentials import AccessToken
from azure.storage.blob import (
    AccountSasPermissions,
    ResourceTypes,
    generate_account_sas,
)

from expmgr import AzureBlobCredentials, RetryConfig, RetryParams
from expmgr.errors import CredentialsError, DeletionError, StorageError
from expmgr.storage.blob_store import BlobStore
from expmgr.storage.location import Location
from expmgr.storage.transport import quiet_transport

KEY = "c2VjcmV0LWtleS10aGF0LW11c3Qtbm90LXNob3c="
SAS = "sv=2024-11-04&ss=b&srt=co&sp=rld&se=2030-01-01&sig=SECRETsignature%2Fx%2B%3D"
SECRETS = (KEY, "SECRETsignature", "SECRETtoken")


class Token:
    def get_token(self, *scopes, **kwargs):
        return AccessToken("SECRETtoken", 4102444800)


def make(**changes):
    given = {"account_name": "account", "account_key": KEY, "container_name": "models"}
    return AzureBlobCredentials(**{**given, **changes})


def location_in(account, container):
    return Location(account, container, "1/run1/artifacts", "run_artifacts", "run1")


def assert_silent(text):
    for secret in SECRETS:
        assert secret not in text


# ------------------------------------------------------------------------------------- construction


def test_the_three_ways_to_authenticate():
    assert make().endpoint == "https://account.blob.core.windows.net"
    assert make(account_key=None, sas_token=SAS).sas_token.get_secret_value() == SAS
    assert make(account_key=None, sas_token="?" + SAS).sas_token.get_secret_value() == SAS
    assert make(account_key=None, token_credential=Token()).token_credential is not None


@pytest.mark.parametrize(
    "name", ["", "ab", "a" * 25, "Account", "my-account", "my_account", "a.b", "acc ount", "ünder"]
)
def test_account_names_against_azures_rules(name):
    with pytest.raises(CredentialsError, match="3 to 24 lower-case letters and digits"):
        make(account_name=name)


@pytest.mark.parametrize(
    "name",
    ["", "ab", "a" * 64, "Models", "-models", "models-", "a--b", "a_b", "a.b", "a/b", "mod els"],
)
def test_container_names_against_azures_rules(name):
    with pytest.raises(CredentialsError, match="single hyphens"):
        make(container_name=name)


@pytest.mark.parametrize("name", ["abc", "a-b-c", "1-2", "a" * 63])
def test_good_container_names(name):
    if len(name) >= 3:
        assert make(container_name=name).container_name == name


@pytest.mark.parametrize(
    "changes",
    [
        {"account_key": None},
        {"account_key": ""},
        {"account_key": "  "},
        {"account_key": None, "sas_token": "?"},
    ],
)
def test_no_way_to_authenticate_is_refused(changes):
    with pytest.raises(CredentialsError, match="no way to authenticate"):
        make(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"sas_token": SAS},
        {"token_credential": Token()},
        {"account_key": None, "sas_token": SAS, "token_credential": Token()},
    ],
)
def test_two_ways_at_once_are_refused(changes):
    with pytest.raises(CredentialsError, match="give one way to authenticate, not 2"):
        make(**changes)


def test_a_token_over_plain_http_is_refused():
    with pytest.raises(CredentialsError, match="https"):
        make(
            account_key=None,
            token_credential=Token(),
            account_url="http://127.0.0.1:10000/account",
        )


@pytest.mark.parametrize(
    "url",
    [
        "account.blob.core.windows.net",
        "ftp://account.blob.core.windows.net",
        "https://",
        "https://account.blob.core.windows.net?sig=SECRETsignature",
        "https://user:SECRETsignature@account.blob.core.windows.net",
        "https://account.blob.core.windows.net:port",
        "https://other.blob.core.windows.net",
    ],
)
def test_account_urls_that_cannot_be_are_refused_in_words(url):
    with pytest.raises(CredentialsError, match="account_url") as caught:
        make(account_url=url)
    assert_silent(str(caught.value))


def test_account_urls_are_brought_into_one_form():
    assert make(account_url="https://ACCOUNT.blob.core.windows.net/").endpoint == make().endpoint
    assert make(account_url="http://127.0.0.1:10000/account/").endpoint.endswith(":10000/account")


def test_a_sas_without_a_signature_and_a_wrong_token_object_are_refused():
    with pytest.raises(CredentialsError, match="sig="):
        make(account_key=None, sas_token="sv=2024&sp=rl")
    with pytest.raises(CredentialsError, match="get_token"):
        make(account_key=None, token_credential="SECRETtoken")


def test_what_is_missing_or_unknown_is_named():
    with pytest.raises(CredentialsError, match="container_name"):
        AzureBlobCredentials(account_name="account", account_key=KEY)
    with pytest.raises(CredentialsError, match="acount_key"):
        make(acount_key=KEY)


def test_the_error_is_ours_and_a_value_error():
    with pytest.raises(ValueError, match="account"):
        make(account_name="X")


def test_credentials_are_frozen():
    with pytest.raises(Exception, match="frozen"):
        make().account_name = "other"


def test_a_key_that_is_not_base64_is_refused_before_it_is_used():
    with pytest.raises(CredentialsError, match="not base64"):
        make(account_key="not base64!").service_client()


# ------------------------------------------------------------------------- connection strings, env


@pytest.mark.parametrize(
    ("text", "account", "endpoint"),
    [
        (
            f"DefaultEndpointsProtocol=https;AccountName=account;AccountKey={KEY};EndpointSuffix=core.windows.net",
            "account",
            "https://account.blob.core.windows.net",
        ),
        (
            f"DefaultEndpointsProtocol=https;AccountName=account;AccountKey={KEY};EndpointSuffix=core.chinacloudapi.cn;",
            "account",
            "https://account.blob.core.chinacloudapi.cn",
        ),
        (
            f"AccountName=account;AccountKey={KEY}",
            "account",
            "https://account.blob.core.windows.net",
        ),
        (
            f"accountname=account;accountkey={KEY};blobendpoint=http://127.0.0.1:1/account;",
            "account",
            "http://127.0.0.1:1/account",
        ),
        (
            f"BlobEndpoint=https://account.blob.core.windows.net/;SharedAccessSignature={SAS}",
            "account",
            "https://account.blob.core.windows.net",
        ),
        (
            f"BlobEndpoint=http://127.0.0.1:10000/account;SharedAccessSignature={SAS}",
            "account",
            "http://127.0.0.1:10000/account",
        ),
        (
            "UseDevelopmentStorage=true",
            "devstoreaccount1",
            "http://127.0.0.1:10000/devstoreaccount1",
        ),
    ],
)
def test_connection_strings(text, account, endpoint):
    credentials = AzureBlobCredentials.from_connection_string(text, "models")
    assert (credentials.account_name, credentials.endpoint) == (account, endpoint)
    assert_silent(repr(credentials))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"AccountKey={KEY}",
        f"AccountName=account;{KEY.strip('=')}",
        "AccountName=account",
    ],
)
def test_connection_strings_that_do_not_work_are_refused_and_not_repeated(text):
    with pytest.raises(CredentialsError) as caught:
        AzureBlobCredentials.from_connection_string(text, "models")
    assert_silent(str(caught.value))


def test_the_environment_is_read_in_mlflows_order(monkeypatch):
    string = f"AccountName=fromstring;AccountKey={KEY}"
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "fromname")
    monkeypatch.setenv("AZURE_STORAGE_ACCESS_KEY", KEY)
    assert AzureBlobCredentials.from_env("models").account_name == "fromname"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", string)
    assert AzureBlobCredentials.from_env("models").account_name == "fromstring"
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    monkeypatch.delenv("AZURE_STORAGE_ACCESS_KEY")
    found = AzureBlobCredentials.from_env("models")
    assert type(found.token_credential).__name__ == "DefaultAzureCredential"


def test_an_environment_without_an_account_says_what_to_set():
    with pytest.raises(CredentialsError, match="AZURE_STORAGE_ACCOUNT"):
        AzureBlobCredentials.from_env("models", environ={})


def test_without_azure_identity_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(CredentialsError, match=r"expmgr\[identity\]"):
        AzureBlobCredentials.from_env("models", environ={}, account_name="account")


# --------------------------------------------------------------------------------- secrets stay in

ALL_WAYS = [
    {},
    {"account_key": None, "sas_token": SAS},
    {"account_key": None, "token_credential": Token()},
]


@pytest.mark.parametrize("way", ALL_WAYS)
def test_no_secret_in_any_text_form(way):
    credentials = make(**way)
    for text in (
        repr(credentials),
        str(credentials),
        f"{credentials}",
        pprint.pformat(credentials),
        pprint.pformat(vars(credentials)),
        str(credentials.model_dump()),
        credentials.model_dump_json(),
        str(list(credentials)),
        str(credentials.model_json_schema() if way == {} else ""),
        repr(BlobStore(credentials)),
    ):
        assert_silent(text)


@pytest.mark.parametrize("way", ALL_WAYS)
def test_credentials_are_not_pickled_but_copied(way):
    credentials = make(**way)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="from_env") as caught:
            pickle.dumps({"deep": [credentials]}, protocol=protocol)
        assert_silent(str(caught.value))
    assert copy.copy(credentials) == credentials
    assert copy.deepcopy({"x": credentials})["x"] is credentials


@pytest.mark.parametrize(
    "wrong",
    [
        {"account_name": "Wrong Name"},
        {"container_name": "W"},
        {"sas_token": SAS},
        {"account_url": "nonsense"},
        {"container_name": 5},
        {"account_key": [KEY]},
        {"account_key": {"key": KEY}},
        {"sas_token": [SAS]},
        {"unknown": KEY},
    ],
)
def test_no_secret_in_the_traceback_of_a_refusal(wrong):
    with pytest.raises(CredentialsError) as caught:
        make(**wrong)
    assert_silent(text_of(caught.value))
    assert caught.value.__context__ is None


def text_of(error):
    """A traceback with its causes, its hidden contexts, and what every error of it holds."""
    text = "".join(traceback.format_exception(error))
    seen = []
    todo = [error]
    while todo:
        current = todo.pop()
        if current is None or current in seen:
            continue
        seen.append(current)
        text += f"{current!r} {current} {current.args!r} {getattr(current, 'message', '')}"
        todo += [current.__cause__, current.__context__]
    return text


@pytest.fixture
def container_sas(azurite, container):
    return servers.container_sas(azurite, container)


def signature(sas):
    return sas.split("sig=")[1].split("&")[0]


QUICK = RetryConfig(
    delete_model=RetryParams(attempts=2, wait_initial=0, wait_max=0),
    list_blobs=RetryParams(attempts=2, wait_initial=0, wait_max=0),
)


@pytest.mark.parametrize("secret_kind", ["key", "sas"])
def test_no_secret_in_a_log_at_any_level_or_in_an_error(
    azurite, container, container_sas, put_blob, caplog, secret_kind
):
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "azure", "requests", "expmgr"):
        caplog.set_level(logging.DEBUG, logger=name)
    way = (
        {"account_key": azurite.account_key}
        if secret_kind == "key"
        else {"sas_token": container_sas}
    )
    secrets = [azurite.account_key, signature(container_sas)]
    for number in range(3):
        put_blob(f"1/run1/artifacts/{number}")
    caplog.clear()

    def store_at(endpoint):
        credentials = AzureBlobCredentials(
            account_name=azurite.account_name,
            container_name=container,
            account_url=endpoint,
            **way,
        )
        return BlobStore(credentials, QUICK)

    location = Location(
        azurite.account_name, container, "1/run1/artifacts", "run_artifacts", "run1"
    )
    errors = []
    working = store_at(azurite.endpoint)
    assert working.measure(location).files == 3
    assert working.delete([location]).files == 3
    working.retention()
    url = working.container_client().url
    working.close()
    for scheme in ("http", "https"):
        unreachable = store_at(f"{scheme}://127.0.0.1:9/{azurite.account_name}")
        with pytest.raises(DeletionError) as caught:
            unreachable.delete([location])
        errors.append(caught.value)
        with pytest.raises(StorageError) as caught:
            list(unreachable.list("1/"))
        errors.append(caught.value)
        unreachable.close()

    assert "urllib3.connectionpool" in {record.name for record in caplog.records}
    assert any(record.name.startswith("azure") for record in caplog.records)
    everything = caplog.text + url + "".join(text_of(error) for error in errors)
    assert "127.0.0.1:9" in everything.replace("port=9", "127.0.0.1:9")
    for secret in secrets:
        assert secret not in everything
        for record in caplog.records:
            assert secret not in repr(record.args)
    if secret_kind == "sas":
        assert "sig=REDACTED" in caplog.text


def test_a_signature_stays_hidden_on_the_way_to_a_proxy():
    transport = quiet_transport(pool_size=3, connection_timeout=1, read_timeout=1)
    adapter = transport.session.get_adapter("https://account.blob.core.windows.net")
    direct = adapter.poolmanager.pool_classes_by_scheme
    assert adapter.proxy_manager_for("http://127.0.0.1:9").pool_classes_by_scheme == direct


def test_a_container_sas_deletes_in_batches(
    azurite, container, container_sas, put_blob, blob_names
):
    for number in range(5):
        put_blob(f"1/run1/artifacts/{number} ü")
    store = BlobStore(
        servers.signed(azurite, container, container_sas),
        QUICK,
    )
    location = Location(
        azurite.account_name, container, "1/run1/artifacts", "run_artifacts", "run1"
    )

    assert store.delete([location]).files == 5
    assert store.exists("1/") is False
    assert store.retention().soft_delete_days is None  # it may not ask
    assert blob_names() == []
    store.close()


def test_an_account_sas_deletes_too_where_batches_are_refused_to_it(
    azurite, container, put_blob, blob_names
):
    sas = generate_account_sas(
        azurite.account_name,
        azurite.account_key,
        resource_types=ResourceTypes(container=True, object=True),
        permission=AccountSasPermissions(read=True, list=True, delete=True),
        expiry=datetime.now(timezone.utc) + timedelta(hours=1),
    )
    for number in range(5):
        put_blob(f"1/run1/artifacts/{number}")
    store = BlobStore(
        servers.signed(azurite, container, sas),
        QUICK,
    )
    location = Location(
        azurite.account_name, container, "1/run1/artifacts", "run_artifacts", "run1"
    )

    assert store.delete([location]).files == 5
    assert blob_names() == []
    store.close()


def test_a_sas_that_may_not_delete_says_so(azurite, container, put_blob, blob_names):
    sas = servers.container_sas(azurite, container, read=True, list=True)
    for number in range(3):
        put_blob(f"1/run1/artifacts/{number}")
    store = BlobStore(
        servers.signed(azurite, container, sas),
        QUICK,
    )
    location = Location(
        azurite.account_name, container, "1/run1/artifacts", "run_artifacts", "run1"
    )

    with pytest.raises(DeletionError, match="shared access signature") as caught:
        store.delete([location])
    assert caught.value.attempts == 1
    assert len(caught.value.left) == 3 == len(blob_names())
    assert signature(sas) not in text_of(caught.value)
    store.close()


def test_making_credentials_and_a_store_makes_no_request(monkeypatch):
    import socket

    def refuse(*args):
        raise AssertionError("a network call")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for way in ALL_WAYS:
        store = BlobStore(make(**way))
        store.service_client()
        store.close()
