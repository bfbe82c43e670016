"""What the account keeps, and restoring it: the documented protocol, request by request.

Azurite has no soft delete that keeps anything and no versions, so a script answers as the REST
documentation says.
"""

from __future__ import annotations

import logging
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from storage_wire import (
    Wire,
    answer,
    blob_entry,
    blob_name,
    closing_store,
    failure,
    listing_answer,
)

from expmgr import AzureBlobCredentials, RetryConfig, RetryParams
from expmgr.errors import LocationError, StorageError
from expmgr.storage.blob_store import BlobStore
from expmgr.storage.location import Location
from expmgr.storage.retention import Retention

KEY = {"account_key": "a2V5"}
SAS = {"sas_token": "sv=2024-11-04&sr=c&sp=rwdl&sig=SECRET"}
PLACE = Location("account", "models", "1/run1/artifacts", "run_artifacts", "run1")
QUICK = RetryConfig(
    list_blobs=RetryParams(attempts=3, wait_initial=0, wait_max=0),
    inspect=RetryParams(attempts=2, wait_initial=0, wait_max=0, deadline=10),
)


def access(way=None):
    return AzureBlobCredentials(account_name="account", container_name="models", **(way or KEY))


class Account:
    """Answers for an account with these settings, and remembers what was asked of it."""

    def __init__(self, *, listing="", soft_delete="", hierarchical="false", refuse=()):
        self.listing = listing
        self.soft_delete = soft_delete
        self.hierarchical = hierarchical
        self.refuse = refuse
        self.copies = iter(())
        self.wire = Wire(fault=self.answer)

    def answer(self, seen, forward):
        query = parse_qs(urlsplit(seen.url).query)
        comp = query.get("comp", [""])[0]
        restype = query.get("restype", [""])[0]
        if (comp, restype) in self.refuse:
            return failure(403, "AuthorizationResourceTypeMismatch")
        if comp == "properties":
            return self.account_information() if restype == "account" else self.properties()
        if comp == "list":
            return listing_answer(self.listing)
        if comp == "undelete":
            return answer(200)
        return self.copy(seen)

    def account_information(self):
        return answer(
            200,
            headers={
                "x-ms-sku-name": "Standard_LRS",
                "x-ms-account-kind": "StorageV2",
                "x-ms-is-hns-enabled": self.hierarchical,
            },
        )

    def properties(self):
        body = (
            '<?xml version="1.0" encoding="utf-8"?><StorageServiceProperties>'
            f"<DeleteRetentionPolicy>{self.soft_delete}</DeleteRetentionPolicy>"
            "</StorageServiceProperties>"
        )
        return answer(200, body.encode(), {"Content-Type": "application/xml"})

    def copy(self, seen):
        """Begin a copy, or tell how far it is."""
        assert seen.method == "HEAD" or "x-ms-copy-source" in seen.headers
        return answer(
            200 if seen.method == "HEAD" else 202,
            headers={
                "x-ms-copy-id": "1",
                "x-ms-copy-status": next(self.copies, "success"),
                "x-ms-blob-type": "BlockBlob",
            },
        )

    @property
    def asked(self):
        """Requests beyond the questions about the account, in words."""
        return [
            (seen.method, blob_name(seen.url), sorted(parse_qs(urlsplit(seen.url).query)))
            for seen in self.wire.requests
            if seen.method in {"PUT", "HEAD", "DELETE"}
        ]


SOFT = "<Enabled>true</Enabled><Days>7</Days>"
OFF = "<Enabled>false</Enabled>"
WITH_VERSION = blob_entry(
    "x",
    extra="<VersionId>2026-11-23T04:00:00.0000000Z</VersionId><IsCurrentVersion>true</IsCurrentVersion>",
)


@pytest.mark.parametrize(
    ("account", "expected", "keeps"),
    [
        (Account(soft_delete=OFF, listing=blob_entry("x")), Retention(0, False, False), False),
        (Account(soft_delete=SOFT, listing=blob_entry("x")), Retention(7, False, False), True),
        (Account(soft_delete=OFF, listing=WITH_VERSION), Retention(0, True, False), True),
        (Account(soft_delete=OFF), Retention(0, None, False), None),
        (Account(soft_delete=OFF, hierarchical="true"), Retention(0, False, True), False),
        (
            Account(listing=blob_entry("x"), refuse={("properties", "service")}),
            Retention(None, False, False),
            None,
        ),
        (
            Account(
                refuse={("properties", "service"), ("properties", "account"), ("list", "container")}
            ),
            Retention(None, None, None),
            None,
        ),
    ],
)
def test_what_the_account_keeps(account, expected, keeps):
    with closing_store(account.wire, access(), QUICK) as store:
        found = store.retention()
    assert found == expected
    assert found.keeps is keeps
    assert str(found)
    assert len(account.wire.requests) <= 3


def test_an_account_that_does_not_answer_is_unknown_and_asked_twice_at_most():
    wire = Wire(fault=lambda seen, forward: failure(503, "ServerBusy"))
    with closing_store(wire, access(), QUICK) as store:
        assert store.retention() == Retention(None, None, None)
    assert len(wire.requests) == 6


def test_azurite_is_asked_without_an_error(credentials, put_blob):
    put_blob("1/run1/artifacts/x")
    store = BlobStore(credentials)
    found = store.retention()
    store.close()
    assert found == Retention(0, False, False)


def deleted(name, size=10, extra=""):
    return blob_entry(name, size, extra=f"<Deleted>true</Deleted>{extra}")


def version(name, version_id, *, current=False, gone=False):
    return blob_entry(
        name,
        extra=f"<VersionId>{version_id}</VersionId>"
        + ("<IsCurrentVersion>true</IsCurrentVersion>" if current else "")
        + ("<Deleted>true</Deleted>" if gone else ""),
    )


def test_soft_deleted_blobs_are_undeleted_one_by_one():
    a, b = f"{PLACE.prefix}a", f"{PLACE.prefix}b ü%"
    account = Account(
        listing=deleted(a)
        + deleted(b, 5)
        + deleted("1/run10/artifacts/x")
        + blob_entry(f"{PLACE.prefix}there")
    )
    with closing_store(account.wire, access(), QUICK) as store:
        done = store.undelete([PLACE])

    assert (done.files, done.bytes, done.failed, done.present) == (2, 15, (), 1)
    assert sorted(account.asked) == [("PUT", a, ["comp"]), ("PUT", b, ["comp"])]
    listing = next(seen for seen in account.wire.requests if seen.kind == "list")
    query = parse_qs(urlsplit(listing.url).query)
    assert query["prefix"] == [PLACE.prefix]
    assert sorted(query["include"][0].split(",")) == ["deleted", "versions"]


@pytest.mark.parametrize("way", [KEY, SAS])
def test_of_a_versioned_account_the_newest_version_is_copied_back(way, caplog):
    caplog.set_level(logging.DEBUG)
    name = f"{PLACE.prefix}a"
    old, new = "2026-11-20T00:00:00.0000000Z", "2026-11-22T00:00:00.0000000Z"
    account = Account(listing=version(name, old) + version(name, new))
    with closing_store(account.wire, access(way), QUICK) as store:
        done = store.undelete([PLACE])

    assert (done.files, done.failed) == (1, ())
    assert [(method, asked) for method, asked, _ in account.asked] == [("PUT", name)]
    copy = account.wire.requests[-1]
    source = urlsplit(copy.headers["x-ms-copy-source"])
    assert source.netloc == "account.blob.core.windows.net"
    assert unquote(source.path) == f"/models/{name}"
    query = parse_qs(source.query)
    assert query["versionid"] == [new]
    assert ("sig" in query) is (way is SAS)
    assert "SECRET" not in caplog.text


def test_versions_that_were_soft_deleted_are_undeleted_first():
    name = f"{PLACE.prefix}a"
    account = Account(listing=version(name, "2026-11-20T00:00:00.0000000Z", gone=True))
    with closing_store(account.wire, access(), QUICK) as store:
        assert store.undelete([PLACE]).files == 1
    first, second = account.wire.requests[-2:]
    assert "comp=undelete" in first.url
    assert "x-ms-copy-source" in second.headers


def test_a_current_version_is_left_alone():
    name = f"{PLACE.prefix}a"
    account = Account(
        listing=version(name, "2026-11-20T00:00:00.0000000Z")
        + version(name, "2026-11-22T00:00:00.0000000Z", current=True)
    )
    with closing_store(account.wire, access(), QUICK) as store:
        done = store.undelete([PLACE])
    assert (done.files, done.present) == (0, 1)
    assert account.asked == []


def test_a_copy_that_is_under_way_is_waited_for(monkeypatch):
    monkeypatch.setattr("expmgr.storage.restoration._POLL", 0)
    account = Account(listing=version(f"{PLACE.prefix}a", "2026-11-20T00:00:00.0000000Z"))
    account.copies = iter(["pending", "pending", "success"])
    with closing_store(account.wire, access(), QUICK) as store:
        assert store.undelete([PLACE]).files == 1
    assert [method for method, _, _ in account.asked] == ["PUT", "HEAD", "HEAD"]


def test_a_copy_that_fails_is_reported(monkeypatch):
    monkeypatch.setattr("expmgr.storage.restoration._POLL", 0)
    account = Account(listing=version(f"{PLACE.prefix}a", "2026-11-20T00:00:00.0000000Z"))
    account.copies = iter(["pending", "failed"])
    with (
        closing_store(account.wire, access(), QUICK) as store,
        pytest.raises(StorageError, match="'failed'"),
    ):
        store.undelete([PLACE])


def test_what_fails_is_named_and_the_rest_comes_back():
    a, b = f"{PLACE.prefix}a", f"{PLACE.prefix}b"
    account = Account(listing=deleted(a) + deleted(b))
    plain = account.answer

    def refuse_one(seen, forward):
        if seen.method == "PUT" and blob_name(seen.url) == a:
            return failure(409, "BlobNotRecoverable")
        return plain(seen, forward)

    account.wire.fault = refuse_one
    with closing_store(account.wire, access(), QUICK) as store:
        done = store.undelete([PLACE])
    assert (done.files, done.failed) == (1, (a,))
    assert "BlobNotRecoverable" in done.log[0]


def test_undelete_is_tried_again_after_a_passing_fault():
    account = Account(listing=deleted(f"{PLACE.prefix}a"))
    plain = account.answer
    failed = []

    def fail_once(seen, forward):
        if seen.method == "PUT" and not failed:
            failed.append(True)
            return failure(503, "ServerBusy")
        return plain(seen, forward)

    account.wire.fault = fail_once
    with closing_store(account.wire, access(), QUICK) as store:
        assert store.undelete([PLACE]).files == 1
    assert len(account.asked) == 2


def test_nothing_kept_is_no_error():
    account = Account()
    with closing_store(account.wire, access(), QUICK) as store:
        assert store.undelete([PLACE]).files == 0
    assert account.asked == []


def test_hierarchical_accounts_are_refused_with_the_way_to_do_it():
    account = Account(hierarchical="true")
    with (
        closing_store(account.wire, access(), QUICK) as store,
        pytest.raises(StorageError, match="datalake"),
    ):
        store.undelete([PLACE])
    assert account.asked == []


def test_restoring_passes_the_guard():
    account = Account()
    bad = Location("account", "models", "1/run1", "run_artifacts", "run1")
    with (
        closing_store(account.wire, access(), QUICK) as store,
        pytest.raises(LocationError),
    ):
        store.undelete([bad])
    assert account.wire.requests == []


def test_directories_of_a_hierarchical_account_and_names_outside_xml_are_understood():
    listing = blob_entry(
        f"{PLACE.prefix}Dir", 0, properties="<ResourceType>directory</ResourceType>"
    ) + blob_entry("NAME").replace("<Name>NAME", f'<Name Encoded="true">{PLACE.prefix}a%EF%BF%BFb')
    account = Account(listing=listing)
    with closing_store(account.wire, access(), QUICK) as store:
        found = list(store.list(PLACE.prefix))
    assert [(blob.name, blob.is_directory) for blob in found] == [
        (f"{PLACE.prefix}Dir", True),
        (f"{PLACE.prefix}a\uffffb", False),
    ]


def test_a_soft_deleting_account_is_not_said_to_have_freed_anything():
    def answer_as_soft_delete_does(seen, forward):
        if seen.kind == "list":
            return listing_answer("" if deleted else blob_entry(f"{PLACE.prefix}a"))
        deleted.append(seen)
        return answer(202, headers={"x-ms-delete-type-permanent": "false"})

    deleted = []
    with closing_store(Wire(fault=answer_as_soft_delete_does), access(), QUICK) as store:
        assert store.delete([PLACE]).permanent is False
