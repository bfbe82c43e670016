"""What every store must do, the same in memory and on Azurite (`expmgr.storage.protocol`)."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from memory_store import MemoryStore, PassingError, RefusalError
from storage_wire import Wire, failure, reset, store_on

from expmgr.errors import (
    ConflictError,
    DeletionCancelledError,
    DeletionError,
    LocationError,
    StorageError,
)
from expmgr.retry import RetryConfig, RetryParams
from expmgr.storage.addresses import Addresses
from expmgr.storage.blob_path import JOURNAL_PREFIX
from expmgr.storage.location import Location, check_location
from expmgr.storage.protocol import DeletionOrder, Storage
from expmgr.storage.retention import Retention
from expmgr.storage.store import Store

TRIES = RetryParams(attempts=3, wait_initial=0, wait_max=0, deadline=60)
FAST = RetryConfig(
    delete_model=TRIES, list_blobs=TRIES, upload=TRIES, download=TRIES, inspect=TRIES
)


class InMemory:
    """The store in memory as the tests see it."""

    def __init__(self):
        self.store = MemoryStore(FAST)
        self.put = self.store.put

    def calls(self):
        """The requests since the last time that this was asked, by kind."""
        found, self.store.calls = self.store.calls, Counter()
        return dict(found)

    def fail(self, kind, times=1, *, passing=True):
        """Let the next requests of a kind fail before they do anything."""
        left = [times]

        def fault(seen, name):
            if seen != kind or not left[0]:
                return None
            left[0] -= 1
            return PassingError("a fault that passes") if passing else RefusalError("refused")

        self.store.fault = fault

    @contextmanager
    def held(self, name):
        """Keep a blob from being deleted."""
        self.store.held.add(name)
        yield
        self.store.held.discard(name)

    def names(self):
        return sorted(self.store.blobs)


class OnAzurite:
    """Azure's store on an emulator, as the tests see it."""

    KINDS = {"batch": "delete", "GET blob": "read", "PUT blob": "write"}  # noqa: RUF012

    def __init__(self, credentials, put_blob, blob_names):
        self.wire = Wire()
        self.store = store_on(self.wire, credentials, FAST)
        self.put = lambda name, content=b"12345": put_blob(name, content)
        self.names = blob_names

    def calls(self):
        found = Counter(self.KINDS.get(seen.kind, seen.kind) for seen in self.wire.requests)
        self.wire.requests.clear()
        return dict(found)

    def fail(self, kind, times=1, *, passing=True):
        left = [times]

        def fault(seen, forward):
            if self.KINDS.get(seen.kind, seen.kind) != kind or not left[0]:
                return None
            left[0] -= 1
            return failure(503, "ServerBusy") if passing else failure(403, "AuthorizationFailure")

        self.wire.fault = fault

    @contextmanager
    def held(self, name):
        lease = self.store.container_client().get_blob_client(name).acquire_lease()
        self.calls()
        yield
        lease.release()


@pytest.fixture(params=["memory", "azurite"])
def bench(request):
    if request.param == "memory":
        yield InMemory()
        return
    names = ("credentials", "put_blob", "blob_names")
    bench = OnAzurite(*(request.getfixturevalue(name) for name in names))
    yield bench
    bench.store.close()


@pytest.fixture
def store(bench):
    return bench.store


@pytest.fixture
def place(store):
    """A function that makes the location of a run's artifacts."""

    def location(run_id="run1", path="1/{}/artifacts", **options):
        here = store.addresses.store
        path = path.format(run_id)
        return Location(here.account, here.container, path, "run_artifacts", run_id, **options)

    return location


def in_run(run_id, *files):
    return [f"1/{run_id}/artifacts/{file}" for file in files]


def test_a_store_has_every_method(store):
    assert isinstance(store, Storage)


# ----------------------------------------------------------------------------------------- reading


def test_a_listing_is_in_the_order_of_names_and_stops_at_the_slash(bench, store):
    for name in ("b", "1/run10/x", "1/run1/z", "1/run1/a b", "1/run1/sub/y", "1/run1"):
        bench.put(name)

    assert [blob.name for blob in store.list("1/run1/")] == [
        "1/run1/a b",
        "1/run1/sub/y",
        "1/run1/z",
    ]
    assert [blob.name for blob in store.list("")] == bench.names()
    assert list(store.list("1/run/")) == []
    with pytest.raises(ValueError, match="slash"):
        list(store.list("1/run1"))


def test_a_blob_is_shown_with_its_size_and_a_tag_that_changes_with_it(bench, store):
    bench.put("1/a", b"123")
    (first,) = store.list("1/")
    bench.put("1/a", b"1234")
    (second,) = store.list("1/")

    assert (first.bytes, second.bytes) == (3, 4)
    assert first.etag != second.etag
    assert second.last_modified.utcoffset() == timedelta(0)
    assert not second.is_directory


def test_what_exists_and_which_folders_there_are(bench, store):
    bench.put("1/run10/x")
    bench.put("1/file")
    bench.put("2/models/m-1/x")

    assert store.exists("1/")
    assert not store.exists("1/run1/")
    assert store.folders("1/") == {"run10"}
    assert store.folders("") == {"1", "2"}
    assert store.folders("3/") == frozenset()
    bench.calls()
    store.exists("1/")
    store.folders("1/")
    assert bench.calls() == {"list": 2}


def test_a_measurement_tells_the_sum_and_every_tag(bench, store, place):
    for name in (*in_run("run1", "a", "sub/b"), *in_run("run10", "c")):
        bench.put(name)
    listing = store.measure(place())

    assert (listing.files, listing.bytes) == (2, 10)
    assert dict(listing.etags) == {blob.name: blob.etag for blob in store.list(place().prefix)}
    assert dict(listing.sizes) == dict.fromkeys(in_run("run1", "a", "sub/b"), 5)


def test_what_is_measured_together_is_what_each_would_measure(bench, store, place):
    places = [place(f"run{number}") for number in range(12)]
    for number in range(12):
        names = ("MLmodel", "data/w.bin") if number % 5 else ()
        for name in in_run(f"run{number}", *names):
            bench.put(name)
    for name in in_run("run1", "sub/artifacts/MLmodel"):
        bench.put(name)
    bench.put("1/run2/other/file")
    bench.put("1/run100/artifacts/MLmodel")
    bench.put("1/traces.json")

    found = store.measure_together(places)

    for one in places:
        alone = store.measure(one)
        told = found.get(one)
        assert (told is None) is (not alone.etags), "nothing seen is to be looked at again"
        if told is not None:
            assert (told.files, told.bytes) == (alone.files, alone.bytes)
            assert dict(told.etags) == dict(alone.etags)
            assert dict(told.sizes) == dict(alone.sizes)
            assert told.listed_at <= alone.listed_at


def test_a_listing_that_is_cancelled_does_not_pass_for_a_short_one(bench, store, place):
    bench.put(in_run("run1", "a")[0])
    cancel = threading.Event()
    cancel.set()

    with pytest.raises(StorageError, match="cancelled"):
        store.measure(place(), cancel=cancel)


def test_a_text_is_read_up_to_a_limit_and_a_missing_one_is_an_error(bench, store):
    bench.put("1/MLmodel", "run_id: ä\n".encode() * 100)

    assert store.read_text("1/MLmodel") == "run_id: ä\n" * 100
    assert store.read_text("1/MLmodel", limit=6) == "run_id"
    with pytest.raises(StorageError, match="1/none"):
        store.read_text("1/none")


# ---------------------------------------------------------------------------------------- deleting


def test_only_what_is_below_a_location_goes_and_twice_is_harmless(bench, store, place):
    gone = in_run("run1", "model/MLmodel", "plot.png")
    left = ["1/run1/artifacts", "1/run1/artifacts2/x", "1/run10/artifacts/x", "1/run1/other"]
    for name in gone + left:
        bench.put(name)
    bench.calls()

    done = store.delete([place()])

    assert (done.files, done.bytes, done.attempts, done.kept) == (2, 10, 1, ())
    assert bench.calls() == {"list": 2, "delete": 1}
    assert bench.names() == sorted(left)
    assert store.delete([place()]).files == 0
    assert bench.names() == sorted(left)


def test_a_planned_deletion_leaves_what_came_or_changed_since(bench, store, place):
    for name in in_run("run1", "old", "older", "changed"):
        bench.put(name)
    plan = store.measure(place())
    for name in in_run("run1", "changed", "new"):
        bench.put(name, b"newer")
    bench.calls()

    done = store.delete([place()], etags=plan.etags, sizes=plan.sizes)

    assert done.files == 2
    assert sorted(done.kept) == bench.names() == in_run("run1", "changed", "new")
    assert bench.calls() == {"delete": 1, "list": 1}


def test_what_was_written_after_a_moment_stays(bench, store, place):
    (name,) = in_run("run1", "a")
    bench.put(name)
    at = store.measure(place()).listed_at

    assert store.delete([place()], not_after=at - timedelta(days=1)).kept == (name,)
    assert bench.names() == [name]
    assert store.delete([place()], not_after=at + timedelta(days=1)).files == 1


def test_only_the_names_that_are_told_go_at_every_attempt(bench, store, place):
    states = in_run("run1", "c/optimizer.pt", "c/scheduler.pt")
    others = in_run("run1", "MLmodel", "c/weights", "optimizer.pt")
    for name in states + others:
        bench.put(name)
    plan = store.measure(place())
    some = {name: plan.etags[name] for name in states}
    bench.fail("delete", 1)
    bench.calls()

    done = store.delete([place()], etags=some, sizes=plan.sizes, only=states)

    assert (done.files, done.bytes, done.kept) == (2, 10, ())
    assert done.attempts == 2
    assert bench.names() == sorted(others)
    assert store.delete([place()], etags=some, sizes=plan.sizes, only=states).files == 0
    assert store.delete([place()], only=states).files == 0
    assert bench.names() == sorted(others)


def test_of_the_names_that_are_told_what_changed_stays_and_the_rest_is_not_spoken_of(
    bench, store, place
):
    first, changed, other = in_run("run1", "a", "b", "c")
    for name in (first, changed, other):
        bench.put(name)
    plan = store.measure(place())
    bench.put(changed, b"newer")
    names = [first, changed]

    done = store.delete([place()], etags=plan.etags, sizes=plan.sizes, only=names)

    assert (done.files, done.kept) == (1, (changed,))
    assert bench.names() == [changed, other]
    bench.put(other, b"written while nobody looks")
    assert store.delete([place()], only=[changed]).files == 1
    assert bench.names() == [other]


def test_what_is_left_of_the_names_that_are_told_is_named_and_nothing_else(bench, store, place):
    held, other = in_run("run1", "a", "b")
    for name in (held, other):
        bench.put(name)
    with bench.held(held), pytest.raises(DeletionError) as caught:
        store.delete([place()], only=[held])

    assert caught.value.left == (held,)
    assert bench.names() == [held, other]


def test_no_name_at_all_deletes_nothing_and_one_outside_is_refused(bench, store, place):
    inside, outside = in_run("run1", "a")[0], in_run("run10", "a")[0]
    for name in (inside, outside):
        bench.put(name)

    assert store.delete([place()], only=[]).files == 0
    bench.calls()
    with pytest.raises(LocationError, match="run10"):
        store.delete([place()], only=[inside, outside])
    assert bench.calls() == {}
    assert bench.names() == [inside, outside]


def test_the_marker_stays_while_anything_else_does(bench, store, place):
    for name in in_run("run1", "MLmodel", "a", "weights"):
        bench.put(name)
    with (
        bench.held("1/run1/artifacts/weights"),
        pytest.raises(DeletionError) as caught,
    ):
        store.delete([place(marker_last=True)])

    assert bench.names() == in_run("run1", "MLmodel", "weights")
    assert sorted(caught.value.left) == in_run("run1", "MLmodel", "weights")
    assert caught.value.files == 1
    assert store.delete([place(marker_last=True)]).files == 2
    assert bench.names() == []


def test_several_locations_go_at_once_and_from_several_threads(bench, store, place):
    runs = [f"run{number}" for number in range(6)]
    for run_id in runs:
        for name in in_run(run_id, "a", "b"):
            bench.put(name)

    assert store.delete([place(runs[0]), place(runs[1])]).files == 4
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda run_id: store.delete([place(run_id)]), runs[2:]))
    assert [one.files for one in done] == [2, 2, 2, 2]
    assert bench.names() == []


def test_what_is_deleted_together_ends_as_each_would_alone(bench, store, place):
    runs = [f"run{number}" for number in range(12)]
    for run in runs:
        for name in in_run(run, "MLmodel", "data/w.bin"):
            bench.put(name)
    outside = ["1/run1/artifacts", "1/run10/artifacts2/x", "1/run100/artifacts/x", "1/run1/other"]
    for name in outside:
        bench.put(name)
    listings = {run: store.measure(place(run)) for run in runs}
    newer, changed = in_run("run2", "newer"), in_run("run5", "MLmodel")
    for name in newer + changed:
        bench.put(name, b"newer")
    orders = [
        DeletionOrder((place(run),), listings[run].etags, listings[run].sizes) for run in runs
    ]
    states = in_run("run7", "data/w.bin")
    some = {name: listings["run7"].etags[name] for name in states}
    orders[7] = DeletionOrder((place("run7"),), some, listings["run7"].sizes, only=states)
    with bench.held(in_run("run3", "MLmodel")[0]):
        found = dict(store.delete_together(iter(orders)))
    ends = [found[order] for order in orders]
    left = {2: newer, 3: in_run("run3", "MLmodel"), 5: changed, 7: in_run("run7", "MLmodel")}
    for at, end in enumerate(ends):
        if at == 3:
            assert isinstance(end, DeletionError)
            assert (end.files, list(end.left)) == (1, left[3])
        else:
            assert end.files == (1 if at in {5, 7} else 2)
            assert list(end.kept) == ([] if at == 7 else left.get(at, []))
    assert bench.names() == sorted([*outside, *newer, *changed, *left[3], *left[7]])


def test_what_is_cancelled_together_deletes_nothing_more(bench, store, place):
    for run in ("run1", "run2"):
        bench.put(in_run(run, "a")[0])
    cancel = threading.Event()
    cancel.set()
    orders = [DeletionOrder((place(run),)) for run in ("run1", "run2")]

    ends = dict(store.delete_together(orders, cancel=cancel))

    assert all(isinstance(ends[order], DeletionCancelledError) for order in orders)
    assert len(bench.names()) == 2


def test_progress_is_told(bench, store, place):
    for name in in_run("run1", "a", "b"):
        bench.put(name)
    seen = []
    store.delete([place()], on_progress=seen.append, total_files=2, total_bytes=10)

    assert (seen[-1].files, seen[-1].bytes) == (2, 10)
    assert (seen[-1].total_files, seen[-1].total_bytes) == (2, 10)


def test_a_cancelled_deletion_deletes_nothing_more(bench, store, place):
    for name in in_run("run1", "a", "b"):
        bench.put(name)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(DeletionCancelledError):
        store.delete([place()], cancel=cancel)
    assert bench.names() == in_run("run1", "a", "b")


def test_a_deletion_that_is_cancelled_while_it_waits_tries_no_more(bench, store, place):
    for name in in_run("run1", "a", "b"):
        bench.put(name)
    cancel = threading.Event()
    bench.fail("delete", 1)
    bench.calls()

    def cancel_while_it_waits(progress):
        if progress.note:
            cancel.set()

    with pytest.raises(DeletionCancelledError) as caught:
        store.delete([place()], cancel=cancel, on_progress=cancel_while_it_waits)
    assert caught.value.attempts == 1
    assert bench.calls() == {"list": 1, "delete": 1}
    assert bench.names() == in_run("run1", "a", "b")


# --------------------------------------------------------------------------------- what goes wrong


def test_what_passes_is_tried_again_and_a_success_never_is(bench, store):
    bench.put("1/a")
    bench.calls()
    bench.fail("list", 2)
    assert store.exists("1/")
    assert bench.calls() == {"list": 3}
    assert store.exists("1/")
    assert bench.calls() == {"list": 1}


def test_no_more_is_tried_than_was_allowed(bench, store):
    bench.put("1/a")
    bench.calls()
    bench.fail("list", 4)
    with pytest.raises(StorageError):
        store.exists("1/")
    assert bench.calls() == {"list": 3}


def test_what_does_not_pass_is_not_tried_again(bench, store):
    bench.put("1/a")
    bench.calls()
    bench.fail("list", 1, passing=False)
    with pytest.raises(StorageError):
        store.exists("1/")
    assert bench.calls() == {"list": 1}


def test_an_attempt_at_deleting_that_failed_lists_again(bench, store, place):
    for name in in_run("run1", "a", "b"):
        bench.put(name)
    bench.calls()
    bench.fail("delete", 1)

    done = store.delete([place()])

    assert (done.files, done.attempts) == (2, 2)
    assert bench.calls() == {"list": 3, "delete": 2}


def test_a_deletion_that_gives_up_says_what_is_left_as_a_last_look_shows(bench, store, place):
    (name,) = in_run("run1", "a")
    bench.put(name)
    plan = store.measure(place())
    bench.calls()
    bench.fail("delete", 9)

    with pytest.raises(DeletionError) as caught:
        store.delete([place()], etags=plan.etags, sizes=plan.sizes)

    assert caught.value.attempts == 3
    assert list(caught.value.left) == bench.names() == [name]
    assert bench.calls() == {"delete": 3, "list": 3}


def test_a_listing_that_fails_is_no_empty_listing(bench, store, place):
    for name in in_run("run1", "a", "b"):
        bench.put(name)
    bench.fail("list", 9)
    with pytest.raises(DeletionError):
        store.delete([place()])


# ---------------------------------------------------------------------------------------- the guard


def test_the_guard_stands_before_the_first_request(bench, store, place):
    here = store.addresses.store
    elsewhere = Location(here.account, "other-container", "1/r/artifacts", "run_artifacts", "r")
    bench.put("1/run1/artifacts/a")
    bench.calls()

    for bad in (elsewhere, place(path="1/{}"), place(path=f"{JOURNAL_PREFIX}/{{}}/artifacts")):
        for act in (store.delete, store.undelete):
            with pytest.raises(LocationError):
                act([place(), bad])
        with pytest.raises(LocationError), store.folder(bad):
            pass
    assert bench.calls() == {}
    assert bench.names() == ["1/run1/artifacts/a"]


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        (f"{JOURNAL_PREFIX}/r/artifacts", True),
        (f"{JOURNAL_PREFIX}/a/b/r/artifacts", True),
        (f"{JOURNAL_PREFIX}2/r/artifacts", False),
        (f"x/{JOURNAL_PREFIX}/r/artifacts", False),
    ],
)
def test_no_location_lies_in_the_journal(path, refused):
    here = Store("account", "models", "https://account.blob.core.windows.net")
    location = Location("account", "models", path, "run_artifacts", "r")
    if refused:
        with pytest.raises(LocationError, match="journal"):
            check_location(location, store=here)
    else:
        check_location(location, store=here)


# -------------------------------------------------------------------------------------- the journal

RECORD = f"{JOURNAL_PREFIX}/m-1.json"


def test_a_journal_blob_is_written_read_replaced_and_deleted(bench, store):
    first = store.write_text(RECORD, '{"state": "deleting"}')
    assert store.read_text(RECORD) == '{"state": "deleting"}'
    assert [(blob.name, blob.etag) for blob in store.list(f"{JOURNAL_PREFIX}/")] == [
        (RECORD, first)
    ]
    second = store.write_text(RECORD, '{"state": "dé"}', replaces=first)
    assert store.read_text(RECORD) == '{"state": "dé"}'
    store.delete_text(RECORD, etag=second)
    assert bench.names() == []
    store.delete_text(RECORD, etag=second)  # gone already is as good


def test_only_one_of_two_writers_makes_a_journal_blob(bench, store):
    store.write_text(RECORD, "mine")
    with pytest.raises(ConflictError):
        store.write_text(RECORD, "theirs")
    assert store.read_text(RECORD) == "mine"


def test_a_journal_blob_that_changed_is_neither_replaced_nor_deleted(bench, store):
    first = store.write_text(RECORD, "mine")
    store.write_text(RECORD, "theirs", replaces=first)
    for act in (
        lambda: store.write_text(RECORD, "mine again", replaces=first),
        lambda: store.delete_text(RECORD, etag=first),
    ):
        with pytest.raises(ConflictError):
            act()
    assert store.read_text(RECORD) == "theirs"


def test_a_journal_blob_that_is_gone_cannot_be_replaced(bench, store):
    first = store.write_text(RECORD, "mine")
    store.delete_text(RECORD, etag=first)
    with pytest.raises(ConflictError):
        store.write_text(RECORD, "again", replaces=first)
    assert bench.names() == []


@pytest.mark.parametrize(
    "name",
    [
        "1/run1/artifacts/MLmodel",
        JOURNAL_PREFIX,
        f"{JOURNAL_PREFIX}/",
        f"{JOURNAL_PREFIX}2/a.json",
        f"{JOURNAL_PREFIX}/../1/run1/artifacts/MLmodel",
        f"{JOURNAL_PREFIX}/%2e%2e/x",
        f"/{JOURNAL_PREFIX}/x",
    ],
)
def test_nothing_but_the_journal_is_written_that_way(bench, store, name):
    bench.put("1/run1/artifacts/MLmodel")
    bench.calls()
    with pytest.raises(LocationError):
        store.write_text(name, "x")
    with pytest.raises(LocationError):
        store.delete_text(name, etag="x")
    assert bench.calls() == {}


def test_writing_the_journal_is_tried_again(bench, store):
    bench.fail("write", 2)
    store.write_text(RECORD, "x")
    assert bench.calls()["write"] == 3
    bench.fail("write", 9)
    with pytest.raises(StorageError):
        store.write_text(f"{JOURNAL_PREFIX}/other.json", "x")
    assert bench.calls()["write"] == 3


# --------------------------------------------------------------------------------------- the others


def test_what_is_kept_is_told_and_an_undelete_of_nothing_brings_nothing(bench, store, place):
    assert isinstance(store.retention(), Retention)
    assert store.undelete([place()]).files == 0


def test_files_go_up_and_come_down_through_a_folder(bench, store, place, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"weights")
    sent = []
    with store.folder(place()) as folder:
        folder.send(source, "sub/weights", sent.append)
        (file,) = folder.files()
        folder.fetch(file, tmp_path / "target", sent.append)

    assert (file.path, file.bytes) == ("sub/weights", 7)
    assert (tmp_path / "target").read_bytes() == b"weights"
    assert sent[-1] == 7
    assert bench.names() == in_run("run1", "sub/weights")


def test_an_address_leads_there_and_back(store):
    uri = store.addresses.uri_of("1/run1/artifacts")
    assert store.addresses.path_of(uri) == "1/run1/artifacts"
    assert store.addresses.path_or_none("s3://bucket/x") is None
    assert store.addresses.readings_of(uri) == {"1/run1/artifacts"}
    location = store.addresses.run_model(uri, "run1", "model", marker_last=True)
    assert store.addresses.check(location) is location


def test_proxied_addresses_lead_below_the_destination():
    here = Store("account", "models", "https://account.blob.core.windows.net")
    addresses = Addresses(here, "wasbs://models@account.blob.core.windows.net/served")
    assert addresses.path_of("mlflow-artifacts:/1/run1/artifacts") == "served/1/run1/artifacts"
    assert Addresses(here).path_or_none("mlflow-artifacts:/1/run1/artifacts") is None


# ----------------------------------------------------------------- answers that the wire may lose


def lose_the_answer(kind):
    """Let the service do what it was asked, and the answer be lost, once."""
    lost = []

    def fault(seen, forward):
        if seen.kind == kind and not lost:
            lost.append(seen)
            forward()
            raise reset()

    return fault


@pytest.fixture
def azure(credentials, put_blob, blob_names):
    bench = OnAzurite(credentials, put_blob, blob_names)
    yield bench
    bench.store.close()


def test_a_journal_blob_whose_answer_was_lost_is_the_writers_own(azure):
    azure.wire.fault = lose_the_answer("PUT blob")
    first = azure.store.write_text(RECORD, "mine")
    assert [blob.etag for blob in azure.store.list(f"{JOURNAL_PREFIX}/")] == [first]
    azure.wire.fault = lose_the_answer("PUT blob")
    second = azure.store.write_text(RECORD, "mine too", replaces=first)
    assert azure.store.read_text(RECORD) == "mine too"
    azure.wire.fault = lose_the_answer("delete")
    azure.store.delete_text(RECORD, etag=second)
    assert azure.names() == []


def test_a_lost_answer_does_not_make_somebody_elses_journal_blob_ones_own(azure):
    azure.put(RECORD, b"theirs")

    def lose(seen, forward):
        if seen.kind == "PUT blob" and not lost:
            lost.append(seen)
            raise reset()

    lost = []
    azure.wire.fault = lose
    with pytest.raises(ConflictError):
        azure.store.write_text(RECORD, "mine")
    assert azure.store.read_text(RECORD) == "theirs"
