"""Listing and deleting on a real Azurite: exact requests, exact blobs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from azure.core.exceptions import HttpResponseError
from storage_wire import Wire, answer, batch_answer, closing_store, failure, reset, store_on

from expmgr import AzureBlobCredentials
from expmgr.errors import DeletionCancelledError, DeletionError, LocationError, StorageError
from expmgr.retry import RetryConfig, RetryParams
from expmgr.storage.batch import delete_batch
from expmgr.storage.location import Location

FAST = RetryConfig(
    delete_model=RetryParams(attempts=3, wait_initial=0, wait_max=0, deadline=60),
    list_blobs=RetryParams(attempts=3, wait_initial=0, wait_max=0, deadline=60),
    inspect=RetryParams(attempts=1, deadline=10),
)


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def store(wire, credentials):
    with closing_store(wire, credentials, FAST) as store:
        yield store


@pytest.fixture
def place(store):
    """A function that makes the location of a run's artifacts."""

    def location(run_id="run1", **options):
        return Location(
            store.store.account,
            store.store.container,
            f"1/{run_id}/artifacts",
            "run_artifacts",
            run_id,
            **options,
        )

    return location


@pytest.fixture
def put(store, wire):
    """A function that writes many small blobs, and then forgets the requests for it."""

    def write(*names, content=b"12345", **options):
        container = store.container_client()
        with ThreadPoolExecutor(4) as pool:
            list(
                pool.map(
                    lambda name: container.upload_blob(name, content, overwrite=True, **options),
                    names,
                )
            )
        wire.requests.clear()

    return write


def in_run(run_id, *files):
    return [f"1/{run_id}/artifacts/{file}" for file in files]


def test_a_thousand_blobs_take_a_listing_four_batches_and_a_look(store, wire, place, put):
    for _ in range(3):
        put(*in_run("run1", *(f"part-{number:04}" for number in range(1000))))
        seen = []
        done = store.delete([place()], on_progress=seen.append)
        if done.attempts == 1:
            break  # Azurite fails a request now and then on a busy machine: rightly tried again

    assert wire.counts == {"list": 2, "batch": 4}
    assert (done.files, done.bytes, done.attempts) == (1000, 5000, 1)
    assert done.permanent is True
    sizes = sorted(len(request.names) for request in wire.requests if request.kind == "batch")
    assert sizes == [232, 256, 256, 256]
    assert [progress.files for progress in seen] == sorted(progress.files for progress in seen)
    assert seen[-1].files == 1000
    assert not store.exists(place().prefix)


def test_a_batch_is_put_together_while_another_is_under_way(store, wire, place, put):
    put(*in_run("run1", *(f"{number:03}" for number in range(512))))
    both = threading.Barrier(2, timeout=30)

    def fault(seen, _forward):
        if seen.kind == "batch":
            both.wait()  # neither is answered before the other is sent

    wire.fault = fault
    assert store.delete([place()]).files == 512


def test_a_batch_that_cannot_be_put_together_lets_the_next_one_begin(store, place, put):
    class Broken:
        def delete_blobs(self, *_names, **_options):
            raise ValueError("no such name")

    put(*in_run("run1", "1", "2"))
    blobs = list(store.list(place().prefix))
    answer = delete_batch(Broken(), blobs, conditions=["none"] * 2, patient=True)
    assert answer.fates == ["unclear"] * 2
    assert store.delete([place()]).files == 2


def test_only_what_is_below_the_location_goes(store, place, put, blob_names):
    put(
        "1/run1/artifacts/model/MLmodel",
        "1/run1/artifacts/plots/a.png",
        "1/run1/artifacts",  # a blob with the very name of the location
        "1/run1/artifacts2/x",
        "1/run10/artifacts/model/MLmodel",
        "1/run1/other",
        "1/Run1/artifacts/x",
    )

    assert store.delete([place()]).files == 2

    assert blob_names() == [
        "1/Run1/artifacts/x",
        "1/run1/artifacts",
        "1/run1/artifacts2/x",
        "1/run1/other",
        "1/run10/artifacts/model/MLmodel",
    ]


def test_nothing_there_is_looked_for_twice_and_no_files(store, wire, place):
    done = store.delete([place()])

    assert (done.files, done.attempts) == (0, 1)
    assert wire.counts == {"list": 2}


def test_deleting_twice_is_harmless(store, place, put):
    put(*in_run("run1", "a", "b"))

    assert store.delete([place()]).files == 2
    assert store.delete([place()]).files == 0


def test_a_single_blob_needs_no_batch(store, wire, place, put):
    put(*in_run("run1", "a"))

    assert store.delete([place()]).files == 1
    assert wire.counts == {"list": 2, "delete": 1}


NAMES = [
    "plain",
    "with space",
    " leading and trailing ",
    "100%",
    "50%25",
    "slash%2Fquoted",
    "%2e%2e",
    "question?mark=1&b",
    "hash#tag",
    "plus+plus",
    "ünïcödé/日本語/🎉",
    "e\u0301 decomposed",
    "quote'\"double",
    "a<b>&amp;c",
    "[brackets]{braces}",
    "semi;colon:comma,",
    "tilde~at@dollar$",
    "double//slash",
    "trailing-slash/",
    "trailing-dot.",
    "deep/" * 50 + "file",
    "long" * 200,
]


def test_names_that_need_quoting_go_and_nothing_else_does(store, place, put, blob_names):
    put(*in_run("run1", *NAMES), *in_run("run10", *NAMES))

    done = store.delete([place()])

    assert done.files == len(NAMES)
    assert blob_names("1/run1/") == []
    assert blob_names("1/run10/") == sorted(in_run("run10", *NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_names_that_need_quoting_go_one_by_one_as_well(store, place, put, blob_names, name):
    put(*in_run("run1", name), "1/run10/artifacts/x")

    assert store.delete([place()]).files == 1
    assert blob_names() == ["1/run10/artifacts/x"]


def test_snapshots_go_with_their_blob(store, place, put):
    put(*in_run("run1", "a", "b"))
    for name in in_run("run1", "a", "b"):
        store.container_client().get_blob_client(name).create_snapshot()

    assert store.delete([place()]).files == 2
    left = list(store.container_client().list_blobs(include=["snapshots"]))
    assert left == []


def test_overlapping_locations_are_counted_once(store, wire, place, put):
    put(*in_run("run1", "model/MLmodel", "model/weights", "plot.png"))
    inner = Location(
        store.store.account,
        store.store.container,
        "1/run1/artifacts/model",
        "run_model",
        "run1",
    )

    assert store.delete([inner, place(), place()]).files == 3
    assert wire.counts == {"list": 2, "batch": 1}


def test_several_locations_share_batches(store, wire, place, put):
    put(*in_run("run1", "a", "b"), *in_run("run2", "a", "b"), *in_run("run3", "a"))

    assert store.delete([place("run1"), place("run2")]).files == 4
    assert wire.counts == {"list": 4, "batch": 1}


def test_the_guard_stands_before_the_first_request(store, wire, place):
    elsewhere = Location(
        store.store.account, "other-container", "1/r/artifacts", "run_artifacts", "r"
    )
    whole_run = Location(
        store.store.account, store.store.container, "1/run1", "run_artifacts", "run1"
    )

    for bad in (elsewhere, whole_run):
        with pytest.raises(LocationError):
            store.delete([place(), bad])
    assert wire.requests == []


# ------------------------------------------------------------------------------ what must stay


def test_files_newer_than_the_plan_are_left_and_named(store, place, put, blob_names):
    put(*in_run("run1", "old", "changed"))
    plan = store.measure(place())
    put(*in_run("run1", "changed", "new"), content=b"newer")

    done = store.delete([place()], etags=plan.etags)

    assert (plan.files, plan.bytes) == (2, 10)
    assert done.files == 1
    assert sorted(done.kept) == in_run("run1", "changed", "new")
    assert blob_names() == in_run("run1", "changed", "new")


def test_a_file_that_changes_between_listing_and_delete_is_left(
    store, wire, credentials, place, put, blob_names, put_blob
):
    put(*in_run("run1", "a", "b", "c"))
    plan = store.measure(place())

    def overwrite_before_the_batch(seen, forward):
        if seen.kind == "batch":
            put_blob("1/run1/artifacts/b", b"written meanwhile")

    wire.fault = overwrite_before_the_batch
    done = store.delete([place()], etags=plan.etags)

    assert done.files == 2
    assert list(done.kept) == in_run("run1", "b")
    assert blob_names() == in_run("run1", "b")


def test_not_after_leaves_what_was_written_later(store, place, put):
    put(*in_run("run1", "a"))
    plan = store.measure(place())

    assert store.delete([place()], not_after=plan.listed_at - timedelta(days=1)).kept == tuple(
        in_run("run1", "a")
    )
    assert store.delete([place()], not_after=plan.listed_at + timedelta(days=1)).files == 1


def test_the_marker_goes_last(store, wire, place, put):
    names = in_run("run1", "MLmodel", "a", "b", "deep/MLmodel", "z")
    put(*names)

    assert store.delete([place(marker_last=True)]).files == 5
    # It goes when the rest is seen to be gone, and is looked for in turn.
    assert wire.counts == {"list": 3, "batch": 1, "delete": 1}
    assert wire.requests[-2].names == in_run("run1", "MLmodel")


def test_the_marker_stays_while_anything_else_does(store, wire, place, put, blob_names):
    put(*in_run("run1", "MLmodel", "a", "held", "z"))
    lease = store.container_client().get_blob_client("1/run1/artifacts/held").acquire_lease()
    wire.requests.clear()

    with pytest.raises(DeletionError) as caught:
        store.delete([place(marker_last=True)])

    assert blob_names() == in_run("run1", "MLmodel", "held")
    assert sorted(caught.value.left) == in_run("run1", "MLmodel", "held")
    lease.release()
    assert store.delete([place(marker_last=True)]).files == 2
    assert blob_names() == []


def test_directory_stubs_go_deepest_first_after_the_files(store, wire, place, put):
    folder = {"hdi_isfolder": "true"}
    put(*in_run("run1", "model/data/weights", "model/MLmodel"))
    put(*in_run("run1", "model", "model/data", "model/data/empty"), content=b"", metadata=folder)

    done = store.delete([place()])

    assert (done.files, done.bytes) == (2, 10)
    assert [request.names for request in wire.requests if request.kind != "list"] == [
        in_run("run1", "model/MLmodel", "model/data/weights"),
        in_run("run1", "model/data/empty"),
        in_run("run1", "model/data"),
        in_run("run1", "model"),
    ]
    assert not store.exists(place().prefix)


def test_stubs_above_a_kept_file_stay(store, place, put, blob_names):
    folder = {"hdi_isfolder": "true"}
    put(*in_run("run1", "a/b/old", "c/old"))
    put(*in_run("run1", "a", "a/b", "c"), content=b"", metadata=folder)
    plan = store.measure(place())
    put(*in_run("run1", "a/b/new"))

    done = store.delete([place()], etags=plan.etags)

    assert (plan.files, done.files, done.kept) == (2, 2, tuple(in_run("run1", "a/b/new")))
    assert blob_names() == in_run("run1", "a", "a/b", "a/b/new")


# -------------------------------------------------------------------------------- what goes wrong


def test_a_permanent_error_ends_it_at_once_but_the_rest_is_done(
    store, wire, place, put, blob_names
):
    put(*in_run("run1", *(f"f{number}" for number in range(20))))
    store.container_client().get_blob_client("1/run1/artifacts/f7").acquire_lease()
    wire.requests.clear()

    with pytest.raises(DeletionError) as caught:
        store.delete([place()])

    error = caught.value
    assert wire.counts == {"list": 2, "batch": 1}
    assert (error.files, error.bytes, error.attempts) == (19, 95, 1)
    assert error.left == tuple(in_run("run1", "f7")) == tuple(blob_names())
    assert "'1/run1/artifacts/f7'" in str(error)
    assert "LeaseIdMissing" in str(error)
    assert "break the lease" in str(error)
    assert isinstance(error.__cause__, HttpResponseError)
    assert error.__cause__.status_code == 412


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (409, "SnapshotsPresent"),
        (409, "BlobImmutableDueToPolicy"),
        (409, "BlobImmutableDueToLegalHold"),
        (403, "AuthorizationPermissionMismatch"),
        (401, "NoAuthenticationInformation"),
    ],
)
def test_permanent_parts_are_not_tried_again(store, wire, place, put, status, code):
    put(*in_run("run1", "a", "b", "c"))

    def refuse(seen, forward):
        if seen.kind == "batch":
            for name in in_run("run1", "a", "c"):
                store.container_client().delete_blob(name)
            return batch_answer([(202, ""), (status, code), (202, "")])
        return None

    wire.fault = refuse
    with pytest.raises(DeletionError, match=code) as caught:
        store.delete([place()])

    assert (wire.counts["list"], wire.counts["batch"]) == (2, 1)
    assert caught.value.left == tuple(in_run("run1", "b"))
    assert caught.value.__cause__.status_code == status


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_transient_parts_are_tried_again_and_only_those(store, wire, place, put, status):
    put(*in_run("run1", "a", "b", "c"))

    def fail_once(seen, forward):
        if seen.kind == "batch" and wire.counts["batch"] == 1:
            for name in in_run("run1", "a", "c"):
                store.container_client().delete_blob(name)
            return batch_answer([(202, ""), (status, "Busy"), (202, "")])
        return None

    wire.fault = fail_once
    done = store.delete([place()])

    assert (done.files, done.bytes, done.attempts) == (3, 15, 2)
    assert [s.names for s in wire.requests if s.kind == "delete"][-1] == in_run("run1", "b")
    assert wire.counts["list"] == 3
    assert "Busy" in done.log[0]
    assert "next attempt" in done.log[0]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_listing_that_fails_is_tried_again_exactly(store, wire, place, put, status):
    put(*in_run("run1", "a", "b"))

    def fail_twice(seen, forward):
        return failure(status, "Busy") if wire.counts["list"] <= 2 else None

    wire.fault = fail_twice
    done = store.delete([place()])

    assert (done.files, done.attempts) == (2, 3)
    assert wire.counts == {"list": 4, "batch": 1}


def test_attempts_are_bounded_and_the_error_says_what_is_left(store, wire, place, put, blob_names):
    put(*in_run("run1", "a", "b", "c"))
    wire.fault = lambda seen, forward: failure(503, "ServerBusy") if seen.kind != "list" else None

    with pytest.raises(DeletionError) as caught:
        store.delete([place()])

    error = caught.value
    assert (error.attempts, error.files, error.left_count) == (3, 0, 3)
    assert wire.counts["list"] == 4
    assert "3 attempts" in str(error)
    assert "ServerBusy" in str(error)
    assert "Delete again" in str(error)
    assert len(error.log) == 3
    assert error.left == tuple(blob_names())


def test_an_answer_lost_on_the_way_is_counted_when_the_next_listing_shows_it(
    store, wire, place, put
):
    put(*in_run("run1", "a", "b", "c"))

    def lose_the_answer(seen, forward):
        if seen.kind == "batch":
            forward()
            raise reset()

    wire.fault = lose_the_answer
    done = store.delete([place()])

    assert (done.files, done.bytes, done.attempts) == (3, 15, 2)
    assert wire.counts == {"list": 3, "batch": 1}  # no answer: two listings must agree


def test_a_cut_answer_is_tried_again(store, wire, place, put):
    put(*in_run("run1", "a", "b", "c"))

    def cut_once(seen, forward):
        if seen.kind == "list" and wire.counts["list"] == 1:
            return answer(200, b"<?xml version='1.0'?><EnumerationResults>" + b" " * 90, cut=50)
        return None

    wire.fault = cut_once
    assert store.delete([place()]).files == 3
    assert wire.counts == {"list": 3, "batch": 1}


def test_where_batches_are_not_served_single_deletes_do_it(store, wire, place, put):
    put(*in_run("run1", "a", "b", "c"), *in_run("run2", "a", "b"))
    wire.fault = lambda seen, forward: (
        batch_answer([(400, "InvalidInput")]) if seen.kind == "batch" else None
    )

    done = store.delete([place("run1")])
    assert (done.files, done.attempts) == (3, 1)
    assert wire.counts == {"list": 2, "batch": 1, "delete": 3}

    wire.requests.clear()
    assert store.delete([place("run2")]).files == 2
    assert wire.counts == {"list": 2, "delete": 2}  # it has learned


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_a_batch_refused_as_a_whole_is_done_one_by_one(store, wire, place, put, status):
    put(*in_run("run1", "a", "b", "c"))
    wire.fault = lambda seen, forward: (
        failure(status, "Unsupported") if seen.kind == "batch" else None
    )

    done = store.delete([place()])
    assert (done.files, done.attempts) == (3, 1)


def test_a_short_batch_answer_is_never_taken_for_a_deletion(store, wire, place, put, blob_names):
    put(*in_run("run1", "a", "b", "c"))
    wire.fault = lambda seen, forward: (
        batch_answer([(202, ""), (202, "")]) if seen.kind == "batch" else None
    )

    assert store.delete([place()]).files == 3
    assert blob_names() == []


def test_a_blob_that_is_listed_but_not_found_is_not_reported_gone(
    store, wire, place, put, blob_names
):
    put(*in_run("run1", "a", "b", "c"))
    wire.fault = lambda seen, forward: (
        batch_answer([(404, "BlobNotFound")] * 3) if seen.kind == "batch" else None
    )

    with pytest.raises(DeletionError) as caught:
        store.delete([place()])
    assert caught.value.left == tuple(blob_names()) == tuple(in_run("run1", "a", "b", "c"))
    assert caught.value.files == 0


def test_blobs_that_somebody_else_deletes_meanwhile_are_no_error(store, wire, place, put):
    put(*in_run("run1", "a", "b", "c"))
    done_before = []

    def overtake(seen, forward):
        if seen.kind == "batch" and not done_before:
            done_before.append(True)
            store.container_client().delete_blob("1/run1/artifacts/b")

    wire.fault = overtake
    done = store.delete([place()])
    assert (done.files, done.attempts) == (2, 1)
    assert wire.counts == {"list": 2, "batch": 1, "delete": 1}  # a listing confirms it


def test_a_listing_that_strays_from_the_prefix_deletes_nothing_of_it(
    store, wire, place, put, blob_names
):
    from storage_wire import blob_entry, listing_for

    put("1/run2/artifacts/precious")
    wire.fault = lambda seen, forward: (
        listing_for(seen, blob_entry("1/run2/artifacts/precious")) if seen.kind == "list" else None
    )

    with pytest.raises(DeletionError, match="not below"):
        store.delete([place()])
    assert blob_names() == ["1/run2/artifacts/precious"]
    assert wire.counts == {"list": 1}


@pytest.mark.parametrize("name", ["../../run2/artifacts/x", "a/./b", "a/..", "..\\x"])
def test_a_name_that_a_url_would_resolve_is_never_sent(store, wire, place, put, blob_names, name):
    from storage_wire import blob_entry, listing_for

    put("1/run2/artifacts/x")
    bad = f"1/run1/artifacts/{name}"
    wire.fault = lambda seen, forward: (
        listing_for(seen, blob_entry(bad)) if seen.kind == "list" else None
    )

    with pytest.raises(DeletionError, match="another blob") as caught:
        store.delete([place()])
    assert caught.value.left == (bad,)
    assert wire.counts == {"list": 1}


def test_cancelling_ends_it_between_two_requests(wire, credentials, place, put, blob_names):
    put(*in_run("run1", *(f"f{number:03}" for number in range(600))))
    cancel = threading.Event()
    store = store_on(wire, credentials, FAST, workers=1)

    with pytest.raises(DeletionCancelledError) as caught:
        store.delete([place()], cancel=cancel, on_progress=lambda progress: cancel.set())

    error = caught.value
    assert error.files in {256, 512}
    assert wire.counts["batch"] == error.files // 256
    assert len(blob_names()) == 600 - error.files == error.left_count
    assert store.delete([place()]).files == error.left_count
    store.close()


def test_cancelled_before_it_began_makes_no_request(store, wire, place):
    cancel = threading.Event()
    cancel.set()

    with pytest.raises(DeletionCancelledError, match="nothing was begun") as caught:
        store.delete([place()], cancel=cancel)
    assert caught.value.attempts == 0
    assert wire.requests == []


def test_cancelling_ends_a_long_wait(store, wire, place, put):
    put(*in_run("run1", "a", "b"))
    cancel = threading.Event()
    wire.fault = lambda seen, forward: (
        failure(503, "ServerBusy", Retry_After="40") if seen.kind == "batch" else None
    )

    def cancel_while_it_waits(progress):
        if "next in" in progress.note:
            assert "40.0 s" in progress.note  # Retry-After is honoured
            cancel.set()

    with pytest.raises(DeletionCancelledError) as caught:
        store.delete([place()], cancel=cancel, on_progress=cancel_while_it_waits)
    assert wire.counts == {"list": 1, "batch": 1}
    assert caught.value.attempts == 1


def test_a_broken_progress_callback_does_not_stop_it(store, place, put, caplog):
    put(*in_run("run1", "a", "b"))

    assert store.delete([place()], on_progress=lambda progress: 1 / 0).files == 2
    assert "on_progress failed" in caplog.text


def test_a_missing_container_is_an_error_and_no_success(wire, azurite):
    credentials = azurite.credentials("there-is-none")
    with closing_store(wire, credentials, FAST) as store:
        location = store.addresses.run_artifacts(
            "wasbs://there-is-none@devstoreaccount1.blob.core.windows.net/1/r/artifacts", "r"
        )
        with pytest.raises(DeletionError, match="the container does not exist") as caught:
            store.delete([location])
        assert caught.value.__cause__.status_code == 404
        assert wire.counts == {"list": 1}
        with pytest.raises(StorageError, match="the container does not exist"):
            store.measure(location)


def test_wrong_keys_end_it_at_the_first_request(wire, azurite, container):
    credentials = AzureBlobCredentials(
        account_name=azurite.account_name,
        account_key="d3Jvbmcga2V5",
        container_name=container,
        account_url=azurite.endpoint,
    )
    with closing_store(wire, credentials, FAST) as store:
        location = Location(
            azurite.account_name, container, "1/run1/artifacts", "run_artifacts", "run1"
        )
        with pytest.raises(DeletionError, match=r"AuthenticationFailed|AuthorizationFailure"):
            store.delete([location])
        assert wire.counts == {"list": 1}


def test_an_unreachable_service_is_tried_as_often_as_told(azurite, container):
    wire = Wire(fault=lambda seen, forward: (_ for _ in ()).throw(reset()))
    with closing_store(wire, azurite.credentials(container), FAST) as store:
        location = Location(
            azurite.account_name, container, "1/run1/artifacts", "run_artifacts", "run1"
        )
        with pytest.raises(DeletionError, match="could not be listed") as caught:
            store.delete([location])
    assert wire.counts == {"list": 3}
    assert caught.value.attempts == 3


def test_the_managers_own_idea_of_retryable_is_asked(wire, credentials, place, put):
    put(*in_run("run1", "a", "b"))
    with closing_store(wire, credentials, FAST, is_retryable=lambda error: False) as strict:
        wire.fault = lambda seen, forward: failure(500, "InternalError")
        with pytest.raises(DeletionError) as caught:
            strict.delete([place()])
    assert caught.value.attempts == 1


# --------------------------------------------------------------------------------------- reading


def test_measuring_counts_files_and_not_stubs(store, wire, place, put):
    put(*in_run("run1", "a", "b/c"))
    put(*in_run("run1", "b"), content=b"", metadata={"hdi_isfolder": "true"})
    put("1/run10/artifacts/x")

    listing = store.measure(place())

    assert (listing.files, listing.bytes) == (2, 10)
    assert sorted(listing.etags) == in_run("run1", "a", "b", "b/c")
    assert listing.listed_at.tzinfo is not None
    assert wire.counts == {"list": 1}


def test_listing_goes_page_by_page_and_repeats_a_page_that_fails(store, wire, put, monkeypatch):
    put(*in_run("run1", *(f"f{number}" for number in range(7))))
    failed = []

    def small_pages(seen, forward):
        if len(wire.requests) == 2 and not failed:
            failed.append(True)
            return failure(503, "ServerBusy")
        return None

    wire.fault = small_pages
    names = [blob.name for page in store._pages("1/run1/", size=3) for blob in page.blobs]

    assert names == in_run("run1", *(f"f{number}" for number in range(7)))
    assert wire.counts == {"list": 4}


def test_part_of_a_listing_never_passes_for_all_of_it(store, put, place):
    put(*in_run("run1", "a", "b", "c"))
    cancel = threading.Event()
    pages = store._pages("1/run1/", size=2, cancel=cancel)
    next(pages)
    cancel.set()
    with pytest.raises(StorageError, match="cancelled"):
        next(pages)
    with pytest.raises(StorageError, match="cancelled"):
        store.measure(place(), cancel=cancel)


def test_a_prefix_without_its_slash_is_refused(store, wire):
    with pytest.raises(ValueError, match="slash"):
        list(store.list("1/run1"))
    assert wire.requests == []


def test_exists_is_one_small_request(store, wire, place, put):
    put(*in_run("run1", "a", "b"), *in_run("run10", "a"))

    assert store.exists(place("run1").prefix)
    assert not store.exists(place("run2").prefix)
    assert wire.counts == {"list": 3}  # what is empty is asked for twice
    assert all("maxresults=1&" in request.url for request in wire.requests)


def test_listing_shows_what_the_sdk_shows(store, put):
    put(*in_run("run1", *NAMES))

    ours = {blob.name: (blob.bytes, blob.last_modified) for blob in store.list("")}
    theirs = {
        blob.name: (blob.size, blob.last_modified) for blob in store.container_client().list_blobs()
    }
    assert ours == theirs


def test_several_threads_share_one_store(store, place, put, blob_names):
    runs = [f"run{number}" for number in range(6)]
    for run_id in runs:
        put(*in_run(run_id, *(f"f{number}" for number in range(5))))

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda run_id: store.delete([place(run_id)]), runs))

    assert [result.files for result in done] == [5] * 6
    assert blob_names() == []


def test_no_thread_is_left_behind(credentials, wire, place, put):
    put(*in_run("run1", "a", "b"))
    with closing_store(wire, credentials, FAST) as store:
        store.delete([place()])
    assert not any(thread.name.startswith("expmgr-blobs") for thread in threading.enumerate())
