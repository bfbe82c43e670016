"""No secret shows: not in objects, errors, their frames' locals and causes, logs or widgets."""

from __future__ import annotations

import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from lab import Lab
from mlflow import MlflowClient
from secret_walk import Walk, loud_logs
from servers import Backend, container_sas, free_port, signed

from expmgr import (
    AzureBlobCredentials,
    ExperimentsManager,
    ExperimentsManagerWithAzureBlobBackend,
    RetryConfig,
    RetryParams,
)
from expmgr.errors import (
    CredentialsError,
    DeletionError,
    ExpmgrError,
    NotFoundError,
    StorageError,
)
from expmgr.policies import best
from expmgr.secrecy import redact, said
from expmgr.storage.azure_errors import describe
from expmgr.storage.blob_store import BlobStore
from expmgr.storage.location import Location
from expmgr.storage.transfer import download_folder, upload_folder
from expmgr.widgets.browser import RunBrowser

KEY = "bWFya2VkLWtleS10aGF0LW11c3Qtbm90LXNob3ctYW55d2hlcmU="
SIG = "MARKEDsignature%2Fx%2Bthat0must0not0show0anywhere%3D"
SAS = f"sv=2024-11-04&ss=b&srt=co&sp=rld&se=2030-01-01&sig={SIG}"
PASSWORD = "MARKED-p4ss-word"
LOGIN = f"trainer:{PASSWORD}"
TOKEN = "MARKED.bearer.token"
CLIENT_SECRET = "MARKEDclientsecret"
STRING = f"DefaultEndpointsProtocol=https;AccountName=account;AccountKey={KEY}"
QUICK = RetryParams(attempts=2, wait_initial=0, wait_max=0)
ONCE = RetryConfig(
    delete_model=QUICK, list_blobs=QUICK, upload=QUICK, download=QUICK, inspect=QUICK
)
PLACE = Location("account", "models", "1/run1/artifacts", "run_artifacts", "run1")


class Token:
    def get_token(self, *scopes, **kwargs):
        return AccessToken(TOKEN, 4102444800)


class RefusedToken:
    """As azure-identity answers where a client secret is wrong: its frames hold it."""

    def get_token(self, *scopes, **kwargs):
        data = {"client_secret": CLIENT_SECRET}
        raise ClientAuthenticationError(f"invalid_client ({len(data)})")


@pytest.fixture
def walk():
    found = Walk(KEY, SIG, PASSWORD, TOKEN, CLIENT_SECRET, logins=(LOGIN,))
    yield found
    found.ends()


def test_the_walk_finds_what_is_there():
    walk = Walk(KEY, PASSWORD, logins=(LOGIN,))

    error = HttpResponseError("no")
    error.response = type("Answer", (), {})()
    error.response.request = type("Request", (), {})()
    error.response.request.headers = {"Authorization": f"Bearer {KEY}"}
    walk.error("held", error)
    walk.value("text", f"http://{LOGIN}@host")
    with walk.refused("frame"):
        # A frame of a library: test frames are the caller's own.
        urllib3.util.parse_url(f"http://{LOGIN}@[host")
    assert {line.partition(":")[0] for line in walk.found} >= {"held", "repr of text", "frame"}


# ------------------------------------------------------------------------------------- constructors

KEYED = {"account_name": "account", "account_key": KEY, "container_name": "models"}
WRONG_CREDENTIALS = {
    "key as account": {"account_name": KEY},
    "string as account": {"account_name": STRING},
    "SAS as account": {"account_name": SAS},
    "key as container": {"container_name": KEY},
    "container as number": {"container_name": 5},
    "container missing": {"container_name": ""},
    "two ways": {"sas_token": SAS},
    "two ways, token": {"token_credential": Token()},
    "no way": {"account_key": None},
    "SAS without sig": {"account_key": None, "sas_token": KEY},
    "URL no URL": {"account_url": KEY},
    "URL with SAS": {"account_url": f"https://account.blob.core.windows.net?{SAS}"},
    "URL with login": {"account_url": f"https://{LOGIN}@account.blob.core.windows.net"},
    "URL of another": {"account_url": "https://other.blob.core.windows.net"},
    "URL with port": {"account_url": f"https://account.blob.core.windows.net:{PASSWORD}"},
    "key in a list": {"account_key": [KEY]},
    "key in bytes": {"account_key": KEY.encode() + b"\xff"},
    "SAS in a dict": {"account_key": None, "sas_token": {"sas": SAS}},
    "unknown": {"acount_key": KEY},
    "token as string": {"account_key": None, "token_credential": TOKEN},
    "token over http": {
        "account_key": None,
        "token_credential": Token(),
        "account_url": "http://127.0.0.1:1/account",
    },
}
WRONG_STRINGS = [
    "",
    KEY,
    f"AccountKey={KEY}",
    f"AccountName=account;{KEY.strip('=')}",
    f"AccountName={KEY};AccountKey={KEY}",
    f"AccountName=account;AccountKey={KEY};BlobEndpoint=ftp://{LOGIN}@host",
    f"BlobEndpoint=https://account.blob.core.windows.net/;SharedAccessSignature={KEY}",
    f"BlobEndpoint=https://[{PASSWORD};AccountKey={KEY}",
    STRING.encode(),
    {"key": KEY},
]


@pytest.mark.parametrize("wrong", WRONG_CREDENTIALS)
def test_refused_credentials_show_none_of_their_arguments(walk, wrong):
    with walk.refused(wrong, CredentialsError):
        AzureBlobCredentials(**{**KEYED, **WRONG_CREDENTIALS[wrong]})


@pytest.mark.parametrize("text", WRONG_STRINGS, ids=range(len(WRONG_STRINGS)))
def test_refused_connection_strings_do_not_show(walk, text):
    with walk.refused("from_connection_string"):
        AzureBlobCredentials.from_connection_string(text, "models")
    environ = {"AZURE_STORAGE_CONNECTION_STRING": text or STRING, "OTHER": PASSWORD}
    with walk.refused("from_env"):
        AzureBlobCredentials.from_env("models" if text else KEY, environ=environ)


@pytest.mark.parametrize(
    "environ",
    [
        {"AZURE_STORAGE_ACCESS_KEY": KEY},
        {"AZURE_STORAGE_ACCOUNT": KEY, "AZURE_STORAGE_ACCESS_KEY": KEY},
        {"AZURE_STORAGE_ACCOUNT": STRING},
    ],
)
def test_a_refused_environment_does_not_show(walk, environ):
    with walk.refused("from_env", CredentialsError):
        AzureBlobCredentials.from_env("models", environ=environ)


def test_a_key_that_is_not_base64_does_not_show(walk):
    credentials = AzureBlobCredentials(**{**KEYED, "account_key": f"{PASSWORD}!"})
    with walk.refused("service_client", CredentialsError):
        credentials.service_client()


GOOD = {"main_metric": "accuracy", "plugin_name": "p"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"main_metric": ""},
        {"plugin_name": None},
        {"n_top_runs": 0},
        {"n_top_runs": f"http://{LOGIN}@host"},
        {"tracking_uri": f"http://{LOGIN}@host".encode()},
        {"azure_blob_credentials": STRING},
        {"azure_blob_credentials": KEY},
    ],
    ids=str,
)
def test_a_refused_manager_shows_none_of_its_arguments(walk, wrong):
    given = {
        "tracking_uri": f"http://{LOGIN}@host",
        "registry_uri": f"http://{LOGIN}@registry",
        "artifacts_destination": f"https://account.blob.core.windows.net/models?{SAS}",
        "azure_blob_credentials": AzureBlobCredentials(**KEYED),
        **GOOD,
        **wrong,
    }
    with walk.refused(f"manager {sorted(wrong)}"):
        ExperimentsManagerWithAzureBlobBackend(**given)
    del given["azure_blob_credentials"]
    if "azure_blob_credentials" not in wrong:
        with walk.refused(f"plain manager {sorted(wrong)}"):
            ExperimentsManager(**given)


# ------------------------------------------------------------------------------ tracking that fails

MISTYPED = [
    "htps://{}@host",
    "http:/{}@host",
    "http//{}@host",
    "{}@host:5000",
    "http://{}#x@host",
    "http://{}/x@host:5000",
    "http://{}@host:port",
    "http://{}@127.0.0.1:1",
    "postgres//{}@host/db",
    "mysql+nothing://{}@host/db",
]


@pytest.mark.parametrize("uri", MISTYPED)
def test_a_tracking_password_in_a_mistyped_uri_does_not_show(walk, uri, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_MAX_RETRIES", "0")
    uri = uri.format(LOGIN)
    assert PASSWORD not in redact(f"cannot use {uri!r}, see http://host/x")
    manager = ExperimentsManager(uri, **GOOD)
    walk.value("manager", manager)
    with loud_logs() as records:
        for name in ("client", "runs", "models", "get_experiments"):
            try:
                value = getattr(manager, name)
                walk.value(name, value)
                value()
            except Exception as error:  # noqa: BLE001 - whichever it is, it is looked at
                walk.error(name, error)
            else:  # MLflow 3.7 takes what has no scheme for a folder of runs
                assert Path(uri).is_dir(), f"{name} raised nothing"
    walk.records("mistyped", records)


class _Hostile(BaseHTTPRequestHandler):
    """Answers every request with one status, and repeats the request in the body, as proxies do."""

    status = 500
    body = b"no"

    def _answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.send_header("x-ms-error-code", "Marked")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, *args):
        pass


@pytest.fixture
def hostile():
    """A function that makes a server with one answer, and returns its port."""
    servers = []

    def serve(status, body=b"no"):
        handler = type("Handler", (_Hostile,), {"status": status, "body": body})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_address[1]

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


RUN = "0" * 32
CALLS = {
    "runs": lambda m: m.runs(),
    "models": lambda m: m.models(),
    "storage_usage": lambda m: m.storage_usage(),
    "resume_deletions": lambda m: m.resume_deletions(),
    "restore_model": lambda m: m.restore_model(RUN),
    "plan_deletion": lambda m: m.plan_deletion(RUN),
    "plan_cleanup": lambda m: m.plan_cleanup(keep=best(1)),
    "delete_models": lambda m: m.delete_models([RUN], progress=False),
    "_delete_model": lambda m: m._delete_model(RUN),
    "pin": lambda m: m.pin(RUN, "words"),
    "unpin": lambda m: m.unpin(RUN),
    "get_experiments": lambda m: m.get_experiments(),
    "set_iteration": lambda m: m.set_iteration("one"),
    "get_top_params": lambda m: m.get_top_params(1),
    "upload_initial_model": lambda m: m.upload_initial_model({"a": 1}),
    "download_last_model": lambda m: m.download_last_model(),
    "download_model": lambda m: m.download_model(RUN),
    "delete_previous_iteration": lambda m: m.delete_previous_iteration(),
}
RESULTS = {
    "check": lambda m: m.check(),
    "delete_model": lambda m: m.delete_model(RUN),
}


def walk_calls(walk, manager):
    """Every call of a manager that cannot work: the errors, and results that carry errors."""
    raised = 0
    for name, call in CALLS.items():
        try:
            walk.value(name, call(manager))
        except ExpmgrError as error:
            walk.error(name, error)
            raised += 1
    for name, call in RESULTS.items():
        result = call(manager)
        walk.value(name, result)
        walk.text(name, result.to_string() if hasattr(result, "to_string") else result)
        if getattr(result, "error", None) is not None:
            walk.error(name, result.error)
    return raised


@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", ["password", "token", "basic"])
@pytest.mark.parametrize("status", [401, 500, 200, None])
def test_a_tracking_server_that_fails_shows_no_login(walk, hostile, way, status, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    port = free_port() if status is None else hostile(status, f"no {LOGIN}@".encode())
    login = ""
    if way == "password":
        login = f"{LOGIN}@"
    elif way == "token":
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "trainer")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    manager = ExperimentsManagerWithAzureBlobBackend(
        f"http://{login}127.0.0.1:{port}",
        AzureBlobCredentials(**KEYED, account_url="http://127.0.0.1:1/account"),
        retry_config=ONCE,
        **GOOD,
    )
    with loud_logs() as records:
        assert walk_calls(walk, manager) > 10
        walk.value("manager", manager)
        with RunBrowser(manager) as browser:
            browser.wait(30)
            for view in ("clean up", "deletions"):
                browser.view = view
                browser.wait(30)
                walk.text(view, str(browser))
            walk.text("widgets", [widget.get_state() for widget in browser._kit._made])
            walk.text("mimebundle", browser._repr_mimebundle_())
            walk.value("browser", browser)
    walk.records("tracking", records)
    assert walk.places > 276


def test_ctrl_c_in_a_tracking_request_leaves_no_login_behind(walk, hostile, monkeypatch):
    manager = ExperimentsManager(f"http://{LOGIN}@127.0.0.1:{hostile(200)}", **GOOD)
    _ = manager.client

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(urllib3.connection.HTTPConnection, "getresponse", interrupt)
    with walk.refused("Ctrl-C", KeyboardInterrupt):
        manager.runs()


# ------------------------------------------------------------------------------- storage that fails


def credentials_at(url, way):
    given = {
        "key": {"account_key": KEY},
        "sas": {"sas_token": SAS},
        "token": {"token_credential": Token()},
        "refused token": {"token_credential": RefusedToken()},
    }[way]
    return AzureBlobCredentials(
        account_name="account", container_name="models", account_url=url, **given
    )


def walk_store(walk, store, tmp_path):
    """Every request that a store makes, where none can work."""
    (tmp_path / "model").mkdir(exist_ok=True)
    (tmp_path / "model" / "weights").write_bytes(b"x" * 10)
    listing_of = {f"1/run1/artifacts/{number}": "0x1" for number in range(3)}
    sizes = dict.fromkeys(listing_of, 1)

    def upload():
        with store.folder(PLACE) as folder:
            upload_folder(tmp_path / "model", folder, params=QUICK)

    def download():
        with store.folder(PLACE) as folder:
            download_folder(folder, tmp_path / "back", params=QUICK)

    for name, call in {
        "list": lambda: list(store.list("1/")),
        "exists": lambda: store.exists("1/"),
        "folders": lambda: store.folders("1/"),
        "read_text": lambda: store.read_text("expmgr-journal/x.json"),
        "write_text": lambda: store.write_text("expmgr-journal/x.json", "{}"),
        "delete_text": lambda: store.delete_text("expmgr-journal/x.json", etag="0x1"),
        "measure": lambda: store.measure(PLACE),
        "undelete": lambda: store.undelete([PLACE]),
        "upload": upload,
        "download": download,
    }.items():
        with walk.refused(name, (StorageError, ExpmgrError)):
            call()
    with walk.refused("delete", DeletionError):
        store.delete([PLACE])
    with walk.refused("delete of a plan", DeletionError):
        store.delete([PLACE], etags=listing_of, sizes=sizes)
    walk.value("retention", store.retention())
    walk.value("store", store)
    walk.value("credentials", store.credentials)
    walk.text("client", repr(vars(store.service_client())))
    walk.text("url", store.container_client().url)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", ["key", "sas"])
@pytest.mark.parametrize("status", [403, 500, 200, None])
def test_storage_that_fails_shows_neither_key_nor_signature(walk, hostile, way, status, tmp_path):
    port = free_port() if status is None else hostile(status, f"see ?{SAS} key".encode())
    with loud_logs() as records:
        store = BlobStore(credentials_at(f"http://127.0.0.1:{port}/account", way), ONCE)
        walk_store(walk, store, tmp_path)
        store.close()
    walk.records("storage", records)
    assert any(record.name == "urllib3.connectionpool" for record in records)
    assert walk.places > 276


@pytest.mark.parametrize("before", [180, 280, 290, 1990])
def test_a_login_that_is_cut_off_in_the_middle_is_not_shown_in_part(before):
    text = f"{'x' * before} http://me:SECRETpassword@mlflow.example refused"
    for limit in (200, 300, 2000):
        assert "SECRET" not in said(text, limit)
    assert "SECRET" not in describe(OSError(text))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", ["token", "refused token"])
def test_storage_that_fails_shows_no_token(walk, way, tmp_path):
    with loud_logs() as records:
        store = BlobStore(credentials_at("https://127.0.0.1:1/account", way), ONCE)
        walk_store(walk, store, tmp_path)
        store.close()
    walk.records("storage", records)


@pytest.mark.parametrize("way", ["key", "sas", "token"])
@pytest.mark.parametrize("where", ["connect", "send", "getresponse"])
def test_ctrl_c_in_a_storage_request_leaves_no_secret_behind(
    walk, hostile, way, where, monkeypatch
):
    url = f"http://127.0.0.1:{hostile(500)}/account"
    if way == "token":
        url = url.replace("http:", "https:")

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    if where == "send" and way != "token":
        monkeypatch.setattr("socket.socket.sendall", interrupt)
    elif where == "getresponse" and way != "token":
        monkeypatch.setattr(HTTPConnection, "getresponse", interrupt)
    else:
        monkeypatch.setattr("urllib3.util.connection.create_connection", interrupt)
    store = BlobStore(credentials_at(url, way), ONCE)
    with walk.refused("list", KeyboardInterrupt):
        store.exists("1/")
    store.close()


def test_a_server_error_stays_retryable_and_keeps_what_it_said(hostile):
    url = f"http://127.0.0.1:{hostile(503)}/account"
    store = BlobStore(credentials_at(url, "key"), ONCE)
    manager = ExperimentsManager("http://host", **GOOD)
    with pytest.raises(StorageError) as caught:
        list(store.list("1/"))
    cause = caught.value.__cause__
    assert isinstance(cause, HttpResponseError)
    assert manager.is_retryable_error(cause)
    assert (cause.status_code, cause.response.status_code) == (503, 503)
    assert cause.response.headers["X-Ms-Error-Code"] == "Marked"
    assert not hasattr(cause.response, "request")
    store.close()


def test_a_signature_reaches_the_service_though_nothing_above_the_socket_has_it(
    walk, azurite, container, put_blob, blob_names, monkeypatch, capsys
):
    sas = container_sas(azurite, container)
    walk.forms += Walk(sas.split("sig=")[1].split("&")[0]).forms
    monkeypatch.setattr(HTTPConnection, "debuglevel", 1)  # http.client prints what it sends
    for number in range(3):
        put_blob(f"1/run1/artifacts/{number} ü")
    capsys.readouterr()
    store = BlobStore(
        signed(azurite, container, sas),
        ONCE,
    )
    place = Location(azurite.account_name, container, PLACE.path, "run_artifacts", "run1")
    listing = store.measure(place)
    assert store.delete([place], etags=listing.etags, sizes=listing.sizes).files == 3
    assert blob_names() == []
    said = capsys.readouterr().out
    assert "reply:" in said
    walk.text("http.client", said)
    walk.value("client", store.service_client())
    store.close()


# ---------------------------------------------------------------------------- what works shows none


@pytest.mark.timeout(180)
def test_the_life_of_a_model_shows_no_secret(
    walk, mlflow_server, azurite, container, blob_names, artifact_root, plugin_name, tmp_path
):
    del artifact_root
    sas = container_sas(azurite, container)
    walk.forms += Walk(azurite.account_key, sas.split("sig=")[1].split("&")[0]).forms
    uri = mlflow_server.tracking_uri.replace("//", f"//{LOGIN}@")
    credentials = signed(azurite, container, sas)
    backend = Backend("http", mlflow_server.tracking_uri, None, container)
    lab = Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)
    best, poor, other = lab.best(), lab.with_model(0.5), lab.with_model(0.4)
    with loud_logs() as records:
        manager = lab.manager(tracking_uri=uri, retry_config=ONCE)
        walk.value("manager", manager)
        for name, value in {
            "runs": manager.runs(),
            "models": manager.models(),
            "usage": manager.storage_usage(),
            "check": manager.check(),
        }.items():
            walk.value(name, value)
            walk.text(name, value.to_csv())
        plan = manager.plan_deletion([best, poor])
        walk.value("plan", plan)
        for run in plan.runs:
            walk.value("run of the plan", run)
            for planned in run.locations:
                walk.value("location", planned)
        result = manager.delete_model(poor)
        report = manager.delete_models([best, other], progress=False)
        assert (result.outcome, [one.outcome for one in report.results]) == (
            "deleted",
            ["protected", "deleted"],
        )
        walk.value("result", result)
        walk.value("report", report)
        tags = MlflowClient(mlflow_server.tracking_uri).get_run(poor).data.tags
        walk.text("tags", tags)
        with manager.browse() as browser:
            assert browser.wait(60)
            browser.rows[0].details_button.click()
            assert browser.wait(60)
            walk.text("widgets", [widget.get_state() for widget in browser._kit._made])
            walk.text("mimebundle", browser._repr_mimebundle_())
            walk.value("browser", browser)
    walk.value("blob store", manager.blob_store)
    walk.value("client", manager.client)
    walk.records("life", records)
    assert {record.name.partition(".")[0] for record in records} >= {"azure", "urllib3"}
    with walk.refused("no such model", NotFoundError):
        manager.pin("m-" + "0" * 32, "words")
    assert walk.places > 276
