"""`from_env`: a manager made from what the environment says, and what is said where it does not."""

from __future__ import annotations

import traceback

import pytest

from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend
from expmgr.demo.app import run_app
from expmgr.errors import CredentialsError, InvalidInputError

KEY = "c2VjcmV0LW9mLXRoZS1hY2NvdW50"
ALL = {
    "MLFLOW_TRACKING_URI": "http://mlflow.server",
    "EXPMGR_CONTAINER": "models",
    "EXPMGR_PLUGIN": "churn",
    "EXPMGR_MAIN_METRIC": "auc",
    "AZURE_STORAGE_CONNECTION_STRING": f"AccountName=acct;AccountKey={KEY}",
}
make = ExperimentsManagerWithAzureBlobBackend.from_env


def test_the_process_s_own_environment_makes_a_manager(monkeypatch):
    for name, value in ALL.items():
        monkeypatch.setenv(name, value)
    manager = make()
    assert manager.tracking_uri == manager.registry_uri == "http://mlflow.server"
    assert (manager.plugin_name, manager.main_metric, manager.is_loss) == ("churn", "auc", False)
    assert manager.credentials.container_name == "models"
    assert manager.credentials.account_name == "acct"
    assert manager.artifacts_destination is None


def test_what_may_be_left_out_is_read_where_it_is_set():
    manager = make(
        environ={
            **ALL,
            "EXPMGR_IS_LOSS": "True",
            "MLFLOW_REGISTRY_URI": "http://registry",
            "EXPMGR_ARTIFACTS_DESTINATION": "wasbs://models@acct.blob.core.windows.net/served",
        }
    )
    assert manager.is_loss is True
    assert manager.registry_uri == "http://registry"
    assert manager.artifacts_destination.endswith("/served")


@pytest.mark.parametrize(("said", "meant"), [("no", False), ("0", False), ("", False), ("1", True)])
def test_whether_it_is_a_loss_is_a_word(said, meant):
    assert make(environ={**ALL, "EXPMGR_IS_LOSS": said}).is_loss is meant


def test_an_argument_outweighs_the_environment_and_is_not_looked_for_there():
    credentials = AzureBlobCredentials(
        account_name="other", account_key=KEY, container_name="elsewhere"
    )
    manager = make(
        environ={"MLFLOW_TRACKING_URI": "http://mlflow.server", "EXPMGR_IS_LOSS": "perhaps"},
        azure_blob_credentials=credentials,
        plugin_name="churn",
        main_metric="loss",
        is_loss=True,
        n_top_runs=3,
    )
    assert manager.credentials is credentials
    assert (manager.main_metric, manager.is_loss, manager.n_top_runs) == ("loss", True, 3)


def test_a_subclass_is_made_of_its_own_class():
    class Own(ExperimentsManagerWithAzureBlobBackend):
        pass

    assert type(Own.from_env(environ=ALL)) is Own


def test_all_that_is_missing_or_wrong_is_named_at_once():
    with pytest.raises(InvalidInputError) as caught:
        make(environ={"EXPMGR_IS_LOSS": "perhaps", "EXPMGR_PLUGIN": "  "})
    said = str(caught.value)
    for name in (*ALL, "EXPMGR_IS_LOSS", "AZURE_STORAGE_ACCESS_KEY"):
        assert name in said, name
    assert "such as http://127.0.0.1:5000" in said
    assert "set all" not in said


def test_one_thing_that_is_missing_is_named_alone():
    with pytest.raises(InvalidInputError, match="EXPMGR_MAIN_METRIC") as caught:
        make(environ={**ALL, "EXPMGR_MAIN_METRIC": ""})
    assert "EXPMGR_PLUGIN" not in str(caught.value)
    with pytest.raises(CredentialsError, match="container name"):
        make(environ={**ALL, "EXPMGR_CONTAINER": "NO_SUCH"})


@pytest.mark.parametrize(
    "changed",
    [
        {"EXPMGR_MAIN_METRIC": ""},
        {"EXPMGR_IS_LOSS": "perhaps"},
        {"AZURE_STORAGE_CONNECTION_STRING": f"AccountKey={KEY}"},
        {"EXPMGR_CONTAINER": "NO_SUCH"},
    ],
)
def test_no_secret_is_in_an_error_or_its_traceback(changed):
    environ = {**ALL, "MLFLOW_TRACKING_URI": "http://me:hidden-word@mlflow.server", **changed}
    with pytest.raises(InvalidInputError) as caught:
        make(environ=environ)
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    own = [frame for frame in frames.stack if frame.filename != __file__]
    said = f"{caught.value!r}{[frame.locals for frame in own]}"
    assert "hidden-word" not in said
    assert KEY not in said


def test_a_page_that_may_delete_knows_the_team_s_metric(tmp_path, monkeypatch, capsys):
    for name in ("MLFLOW_TRACKING_URI", "EXPMGR_CONTAINER", "EXPMGR_PLUGIN"):
        monkeypatch.setenv(name, ALL[name])
    monkeypatch.delenv("EXPMGR_MAIN_METRIC", raising=False)
    assert run_app(tmp_path, write=True, browser=False) == 1
    assert "--write needs EXPMGR_MAIN_METRIC" in capsys.readouterr().err
