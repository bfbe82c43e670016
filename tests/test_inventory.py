"""Usage and orphans by Azure's own report of a container, in place of a listing."""

from __future__ import annotations

import json
import uuid
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest
from inventory_reports import FIELDS, Reports
from scripted_manager import ScriptedManager, run_table

from expmgr.__main__ import main
from expmgr.catalog.shares import by_experiment
from expmgr.errors import InvalidInputError, StorageError
from expmgr.prices import StoragePrices
from expmgr.storage.blob_store import BlobStore
from expmgr.widgets import RunBrowser

KEPT = [
    {
        "VersionId": "2026-11-01T00:00:00.0000001Z",
        "IsCurrentVersion": "false",
        "Content-Length": 70,
    },
    {"Snapshot": "2026-11-01T00:00:00.0000001Z", "Content-Length": 500},
    {"Deleted": "true", "RemainingRetentionDays": "3", "Content-Length": 9000},
]
AT = datetime(2026, 11, 1, tzinfo=timezone.utc)


@pytest.fixture
def reports(azurite, container):
    from azure.storage.blob import BlobServiceClient

    destination = f"reports-{uuid.uuid4().hex[:12]}"
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        service.create_container(destination)
        yield Reports(service, container, destination)


@pytest.fixture
def full(lab, put_blob):
    """A container with everything that a table tells apart."""
    lab.best()
    lab.plain = lab.with_model(0.3)
    lab.history_model(lab.run(0.2))
    lab.artifacts(lab.run(0.1), {"plot.png": b"png", 'a,b "c"\nd/é.bin': b"odd name"})
    gone = lab.with_model(0.4)
    lab.client.delete_run(gone)
    lab.logged_model("")
    home = lab.client.get_experiment(lab.experiment_id).artifact_location.partition("/")[2]
    home = home.partition("/")[2].partition("/")[2]
    put_blob(f"{home}/traces/tr-{'0' * 32}/artifacts/traces.json", b"trace")
    put_blob(f"{home}/models/m-{'0' * 32}/artifacts/MLmodel", b"nobody's")
    put_blob("somebody/else's", b"unknown")
    put_blob("right here", b"top")
    put_blob(f"{home}/1/artifacts/stub", b"", metadata={"hdi_isfolder": "true"})
    return lab


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    by = [name for name in ("kind", "run_id", "prefix", "experiment_id") if name in one]
    one, other = (pd.DataFrame(f).sort_values(by).reset_index(drop=True) for f in (one, other))
    pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=1e-6)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("prices", [None, StoragePrices(hot=0.02, cool=0.01)])
def test_a_report_says_what_a_listing_says_to_the_byte(full, reports, kind, prices):
    manager = full.manager(storage_prices=prices)
    listed = manager.storage_usage()
    folder = reports.write(kind, files=3, twice=4)

    told = full.manager(storage_prices=prices).storage_usage(inventory=reports.destination)

    same(told, listed)
    assert listed.attrs == {}
    source = told.attrs["source"]
    assert f"{reports.destination}/{folder}" in source
    assert "just now" in source
    assert source in " ".join(repr(told).split())
    assert source in told._repr_html_()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_orphans_by_a_report_are_those_of_a_listing_and_are_deleted_by_it(full, reports, kind):
    listed = full.manager().find_orphans()
    reports.write(kind, files=2, twice=3)
    manager = full.manager()

    told = manager.find_orphans(inventory=reports.destination)

    same(told, listed)
    assert "Blob Inventory report" in told.attrs["source"]
    assert set(told["kind"]) == {"trash", "unknown"}
    report = manager.delete_orphans(told[told["kind"] == "trash"], progress=False)
    assert set(report.counts) == {"deleted"}


def test_what_changed_since_the_report_was_taken_is_listed_again_and_stays(full, reports, put_blob):
    reports.write()
    manager = full.manager()
    told = manager.find_orphans(inventory=reports.destination)
    trash = told[told["kind"] == "trash"]
    put_blob(f"{trash['prefix'].iloc[0]}came-later", b"new")

    report = manager.delete_orphans(trash.head(1), progress=False)

    assert report.counts == {"failed": 1}
    assert "is not what find_orphans() saw" in str(report.results[0])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_azure_keeps_beside_the_blobs_is_counted_apart(full, reports, kind):
    listed = full.manager().storage_usage()
    name = reports.rows()[0]["Name"]
    reports.extra = [{"Name": name, "Last-Modified": AT, **row} for row in KEPT]
    reports.write(kind, twice=6)

    told = full.manager().storage_usage(inventory=reports.destination)

    kinds = {"versions": 70, "snapshots": 500, "soft-deleted": 9000}
    apart = told[told["kind"].isin(kinds)]
    assert by_experiment(told)["kept copies"].sum() == 9570
    assert dict(zip(apart["kind"], apart["other_bytes"], strict=True)) == kinds
    assert set(apart["other_files"]) == {1}
    same(told[~told["kind"].isin(kinds)], listed)


def test_how_old_a_report_is_is_said_and_what_changed_since_is_not_measured_by_it(full, reports):
    reports.write(taken=datetime.now(timezone.utc) - timedelta(hours=26), blobTypes=["blockBlob"])
    manager = full.manager()
    told = manager.storage_usage(inventory=reports.destination)
    assert "1 d ago; without append and page blobs)" in told.attrs["source"]
    assert int(told["bytes"].sum()) > 0
    assert manager.models()["bytes"].isna().all(), "all of it was made since"


def test_rows_of_other_containers_are_not_ours(full, reports):
    listed = full.manager().storage_usage()
    other = {"Content-Length": 10**9, "Last-Modified": AT}
    reports.extra = [
        {"Name": f"{reports.container}2/x/y", **other},
        {"Name": f"a{reports.container}/x/y", **other},
        {"Name": "another/x", **other},
    ]
    reports.write(prefixMatch=[])
    same(full.manager().storage_usage(inventory=reports.destination), listed)


def test_reports_in_the_models_own_container_are_found_by_true(full, reports):
    before = full.manager().storage_usage()
    reports.destination = reports.container
    reports.write()
    told = full.manager().storage_usage(inventory=True)
    same(told, before)
    assert reports.container in told.attrs["source"]


def test_chosen_experiments_are_told_alone(full, reports):
    other = full.experiment("other")
    run = full.with_model(experiment_id=other)
    chosen = [other]
    listed = full.manager().storage_usage(chosen)
    reports.write()
    told = full.manager().storage_usage(chosen, inventory=reports.destination)
    same(told, listed)
    assert list(told["run_id"]) == [run]


def test_the_newest_usable_report_counts(full, reports):
    listed = full.manager().storage_usage()
    now = datetime.now(timezone.utc)
    good = reports.write(taken=now)
    reports.write(rows=[], taken=now - timedelta(days=1))
    bad = reports.rows()[:1]
    for days, options in enumerate(
        (
            {"finished": False},
            {"checksum": "0" * 32},
            {"status": "PartiallySucceeded"},
            {"objectType": "container"},
            {"destinationContainer": "another"},
            {"endpoint": "https://other.blob.core.windows.net"},
            {"prefixMatch": [f"{reports.container}/1"]},
            {"prefixMatch": ["another"]},
            {"excludePrefix": [f"{reports.container}/1/models"]},
            {"excludePrefix": [reports.container[:4]]},
            {"blobTypes": ["pageBlob"]},
            {"schemaFields": ["Name"]},
            {"files": 1, "ruleName": "x", "version": None, "inventoryStartTime": "?"},
        )
    ):
        moment = now + timedelta(minutes=1 + days)
        reports.write(rows=bad, taken=moment, **{"files": 1, **options})

    told = full.manager().storage_usage(inventory=reports.destination)

    same(told, listed)
    assert good in told.attrs["source"]


def test_a_report_lies_in_the_folder_that_is_named(full, reports):
    now = datetime.now(timezone.utc)
    old = reports.write(taken=now - timedelta(days=40))
    reports.write(taken=now - timedelta(days=1))
    manager = full.manager()
    for named in (old, old.rpartition("/")[0], old[:10]):
        told = manager.storage_usage(inventory=f"{reports.destination}/{named}/")
        assert old in told.attrs["source"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"finished": False}, "still being written"),
        ({"status": "Failed"}, "it ended as 'Failed'"),
        ({"checksum": "beef"}, "not what its checksum says"),
        ({"objects": 10_000}, "rows of 10,000"),
        ({"spoil": {"_1.csv": b"Name,Content-Length\nonly one value\n"}}, "cannot be read"),
        ({"kind": "parquet", "spoil": {"_0.parquet": b"PAR1 no"}}, "cannot be read"),
        ({"spoil": {"_0.csv": b"Name\nx\n"}}, "has no column contentlength"),
        ({"prefixMatch": ["another-one"]}, "does not tell all of"),
        ({"fields": ("Name", "Content-Length")}, "has no column etag, lastmodified"),
        ({"format": "orc"}, "manifest cannot be read"),
    ],
)
def test_where_no_report_can_be_used_the_container_is_listed_in_words(
    full, reports, options, why, caplog
):
    listed = full.manager().find_orphans()
    reports.write(**options)
    told = full.manager().find_orphans(inventory=reports.destination)
    same(told, listed)
    assert why in told.attrs["source"]
    assert told.attrs["source"].startswith("The container was listed: ")
    assert why in caplog.text


def test_a_file_that_is_not_as_long_as_its_manifest_says_is_not_used(full, reports):
    folder = reports.write(files=1)
    client = reports.service.get_container_client(reports.destination)
    client.upload_blob(f"{folder}/models_1000000_0.csv", b"Name,Content-Length\n", overwrite=True)
    told = full.manager().storage_usage(inventory=reports.destination)
    assert "is not there as its manifest says" in told.attrs["source"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_report_that_cannot_be_read_to_its_end_is_not_half_believed(
    full, reports, kind, monkeypatch
):
    listed = full.manager().storage_usage()
    reports.write(kind, files=3)
    opened, files = BlobStore.opened, []

    @contextmanager
    def breaks(store, name, size, etag):
        files.append(name)
        with opened(store, name, size, etag) as blob:
            if len(files) == 3:
                blob._read_range = fail
            yield blob

    def fail(_offset, _length):
        raise StorageError("reading failed: 503 ServerBusy")

    monkeypatch.setattr(BlobStore, "opened", breaks)
    told = full.manager().storage_usage(inventory=reports.destination)
    assert len(files) == 3
    same(told, listed)
    assert told.attrs["source"] == "The container was listed: reading failed: 503 ServerBusy"


def test_no_report_at_all_is_said(full, reports, caplog):
    told = full.manager().storage_usage(inventory=reports.destination)
    assert "there is no Blob Inventory report" in told.attrs["source"]
    told = full.manager().storage_usage(inventory="no-such-container")
    assert "ContainerNotFound" in told.attrs["source"]
    assert len(caplog.records) >= 2


@pytest.mark.parametrize("place", ["", "A_B", "x", "reports/26", "reports/2026/1", 3, "a/b/c"])
def test_a_place_that_holds_no_reports_is_refused(lab, place):
    with pytest.raises(InvalidInputError, match="YYYY/MM/DD"):
        lab.manager().storage_usage(inventory=place)


def test_a_report_that_was_read_is_not_read_again(full, reports, monkeypatch):
    reports.write()
    manager = full.manager()
    first = manager.storage_usage(inventory=reports.destination)

    def not_again(*_a, **_k):
        raise AssertionError("the report's files are read again")

    monkeypatch.setattr("expmgr.storage.blob_store.BlobStore.opened", not_again)
    same(manager.storage_usage(inventory=reports.destination), first)
    reports.write(taken=datetime.now(timezone.utc) + timedelta(seconds=2))
    with pytest.raises(AssertionError, match="read again"):
        manager.storage_usage(inventory=reports.destination)


def test_it_tells_how_far_it_is_and_stops_when_it_is_asked(full, reports):
    import threading

    reports.write()
    seen = []
    manager = full.manager()
    total = manager.storage_usage(
        inventory=reports.destination, on_progress=lambda *so_far: seen.append(so_far)
    )
    files = int(total["files"].sum() + total["other_files"].sum())
    assert seen
    assert seen[-1][0] == files
    cancel = threading.Event()
    cancel.set()
    stopped = full.manager().storage_usage(inventory=reports.destination, cancel=cancel)
    assert stopped["bytes"].isna().all()
    with pytest.raises(StorageError, match="cancelled"):
        full.manager().find_orphans(inventory=reports.destination, cancel=cancel)


def test_sizes_of_a_report_do_not_hide_what_is_known_since(full, reports):
    """A model that went after the report was taken reads as gone; a new one as not measured."""
    reports.write()
    manager = full.manager()
    run = full.plain
    assert manager.delete_model(run).outcome == "deleted"
    new = full.with_model(0.05)
    manager.storage_usage(inventory=reports.destination)
    models = manager.models().set_index("run_id")
    assert models.loc[run, "model"] == "deleted"
    assert pd.isna(models.loc[new, "bytes"])


def test_a_plan_lists_again_whatever_a_report_said(full, reports, put_blob):
    reports.write()
    manager = full.manager()
    manager.storage_usage(inventory=reports.destination)
    before = int(manager.models().set_index("run_id").loc[full.plain, "bytes"])
    path = manager.plan_deletion(full.plain).runs[0].locations[0].location.path
    put_blob(f"{path}/came-later", b"12345")
    assert manager.plan_deletion(full.plain).bytes == before + 5
    put_blob(f"{path}/data/weights.bin", b"less")
    assert manager.plan_deletion(full.plain).bytes < before


def test_columns_that_a_report_lacks_are_done_without(full, reports):
    listed = full.manager().storage_usage()
    reports.write(fields=FIELDS[:6])
    told = full.manager().storage_usage(inventory=reports.destination)
    sums = ["bytes", "other_bytes"]
    assert told[sums].sum().equals(listed[sums].sum())


def test_what_somebody_else_deleted_since_the_report_reads_as_deleted(full, reports):
    reports.write()
    assert full.manager().delete_model(full.plain).outcome == "deleted"
    manager = full.manager()

    usage = manager.storage_usage(inventory=reports.destination).set_index("run_id")

    models = manager.models().set_index("run_id")
    assert models.loc[full.plain, "model"] == "deleted"
    assert usage.loc[full.plain, "model"] == "deleted"
    assert pd.isna(models.loc[full.plain, "bytes"])


def test_the_browser_measures_by_a_report_and_says_of_when(full, reports):
    reports.write()
    assert full.manager().delete_model(full.plain).outcome == "deleted"
    listed = full.manager().storage_usage().set_index("run_id")
    manager = full.manager()
    with closing(RunBrowser(manager, inventory=reports.destination)) as browser:
        assert browser.wait(30)
        table = browser.table.set_index("run_id")
        assert f"sizes of {datetime.now(timezone.utc):%Y-%m-%d}" in browser.footer.totals.value
        assert "by the account's report" in browser.footer.totals.value.replace("&#x27;", "'")
        assert browser._size_notice.text == ""
    measured = table["bytes"].dropna()
    assert len(measured) >= 3
    for run, size in measured.items():
        assert size == listed.loc[run, "bytes"]
    assert table.loc[full.plain, "model"] == "deleted"
    assert pd.isna(table.loc[full.plain, "bytes"])


@pytest.mark.parametrize("by_environment", [False, True])
def test_the_browser_says_why_it_listed_in_place_of_reading_a_report(
    full, reports, monkeypatch, by_environment
):
    reports.write(finished=False)
    asked = {"inventory": reports.destination}
    if by_environment:
        monkeypatch.setenv("EXPMGR_INVENTORY", f" {asked.pop('inventory')} ")
    with closing(RunBrowser(full.manager(), **asked)) as browser:
        assert browser.wait(30)
        assert "still being written" in browser._size_notice.text
        assert browser.table["bytes"].notna().sum() >= 3


@pytest.mark.parametrize(
    ("said", "asked"), [("", False), ("False", False), ("0", False), ("TRUE", True), ("1", True)]
)
def test_the_environment_may_say_whether_the_browser_reads_reports(monkeypatch, said, asked):
    told = []

    class Manager(ScriptedManager):
        def storage_usage(self, experiments=None, *, inventory=False, **options):
            told.append(inventory)
            return super().storage_usage(experiments, **options)

    monkeypatch.setenv("EXPMGR_INVENTORY", said)
    with closing(RunBrowser(Manager(run_table(2, measured=False)))) as browser:
        assert browser.wait(30)
    assert set(told) == {asked}


def test_the_command_line_reads_reports(full, reports, monkeypatch, capsys):
    folder = reports.write()
    for name, value in {
        "MLFLOW_TRACKING_URI": full.backend.tracking_uri,
        "EXPMGR_PLUGIN": full.plugin,
        "EXPMGR_MAIN_METRIC": "accuracy",
        "EXPMGR_CONTAINER": reports.container,
    }.items():
        monkeypatch.setenv(name, value)
    for command in ("usage", "orphans"):
        assert main([command, "--inventory", reports.destination, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert folder in document["source"]
        assert document["taken"]
        assert main([command, "--inventory", reports.destination]) == 0
        assert folder in capsys.readouterr().out
    assert main(["usage", "--inventory", "Not A Place"]) != 0
    assert "YYYY/MM/DD" in capsys.readouterr().err
