"""Many deletions with shared requests: of each is true what would be true of it alone.

The service is in memory, so that what is really there is known exactly; above it runs the whole
Azure SDK, and between them a wire that makes the faults hypothesis draws.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage_wire import MemoryService, Wire, batch_answer, batch_parts, closing_store, failure
from test_blob_store_faults import (
    CREDENTIALS,
    Drawn,
    Fault,
    assert_honest_of,
    cancelling,
    config,
    examples,
    faults,
)
from test_bulk_together import wait_until

from expmgr.errors import DeletionCancelledError, DeletionError, LocationError
from expmgr.storage.deletion_together import delete_together
from expmgr.storage.location import Location
from expmgr.storage.protocol import DeletionOrder, StorageDeletion

FOLDER = "1/models/"
STRANGER = f"{FOLDER}m-{'f' * 32}/artifacts/MLmodel"


def place(number, *, folder=FOLDER):
    model = f"m-{number:032x}"
    return Location("account", "models", f"{folder}{model}/artifacts", "logged_model", model)


def files_of(where, count):
    return [f"{where.prefix}{index:03}" for index in range(count)]


def order(store, where, **options):
    listing = store.measure(where)
    return DeletionOrder((where,), listing.etags, listing.sizes, **options)


def ended(store, orders, **options):
    found = {id(one): end for one, end in store.delete_together(iter(orders), **options)}
    return [found[id(one)] for one in orders]


def test_the_requests_for_a_hundred_models_of_fifty_files_are_exact():
    places = [place(number) for number in range(100)]
    names = [name for where in places for name in files_of(where, 50)]
    service = MemoryService([*names, STRANGER])
    wire = Wire(service)
    with closing_store(wire, CREDENTIALS, config(3)) as store:
        orders = [order(store, where) for where in places]
        wire.requests.clear()
        ends = ended(store, orders)
    assert [(end.files, end.bytes, end.attempts) for end in ends] == [(50, 500, 1)] * 100
    assert all(end.log == ("attempt 1: deleted 50 files",) and end.permanent for end in ends)
    assert set(service.blobs) == {STRANGER}
    # 20 batches of 256 names, and one listing of what is around the models that proves the end.
    assert wire.counts == {"batch": 20, "list": 1}


def test_a_folder_that_holds_far_more_is_left_after_a_page_and_each_looks_by_itself():
    places = [place(number) for number in range(8)]
    names = [name for where in places for name in files_of(where, 2)]
    others = [name for n in range(100, 500) for name in files_of(place(n), 5)]
    service = MemoryService([*names, *others], page=1000)
    wire = Wire(service)
    with closing_store(wire, CREDENTIALS, config(3)) as store:
        orders = [order(store, where) for where in places]
        wire.requests.clear()
        assert all(isinstance(end, StorageDeletion) for end in ended(store, orders))
    assert set(service.blobs) == set(others)
    assert wire.counts == {"batch": 1, "list": 9}


def test_a_failure_is_one_model_s():
    places = [place(number) for number in range(10)]
    held = files_of(places[3], 3)[1]
    refuse = {held: (409, "BlobImmutableDueToPolicy")}
    names = [name for where in places for name in files_of(where, 3)]
    service = MemoryService([*names, STRANGER], refuse=refuse)
    with closing_store(Wire(service), CREDENTIALS, config(3)) as store:
        ends = ended(store, [order(store, where) for where in places])
    failed = ends.pop(3)
    assert [end.files for end in ends] == [3] * 9
    assert isinstance(failed, DeletionError)
    assert (failed.left, failed.files) == ((held,), 2)
    assert "BlobImmutableDueToPolicy" in str(failed)
    assert set(service.blobs) == {held, STRANGER}


def test_what_came_since_the_plan_stays_and_is_named_of_its_own_model_only():
    places = [place(number) for number in range(9)]
    service = MemoryService([name for where in places for name in files_of(where, 2)])
    with closing_store(Wire(service), CREDENTIALS, config(3)) as store:
        orders = [order(store, where) for where in places]
        newer = f"{places[4].prefix}newer"
        service.blobs[newer] = 10
        ends = ended(store, orders)
    assert [end.kept for end in ends] == [(newer,) if at == 4 else () for at in range(9)]
    assert set(service.blobs) == {newer}


def test_what_is_not_safe_fails_before_a_request_and_the_others_go():
    places = [place(number) for number in range(8)]
    service = MemoryService([name for where in places for name in files_of(where, 2)])
    wire = Wire(service)
    with closing_store(wire, CREDENTIALS, config(3)) as store:
        orders = [order(store, where) for where in places]
        foreign = Location("other", "models", "1/models/m-1/artifacts", "logged_model", "m-1")
        bad = DeletionOrder((foreign,), {f"{foreign.prefix}x": "0x1"}, {f"{foreign.prefix}x": 1})
        beside = DeletionOrder((places[0],), only=[f"{places[1].prefix}000"])
        ends = ended(store, [*orders, bad, beside])
    assert all(isinstance(end, StorageDeletion) for end in ends[:8])
    assert all(isinstance(end, LocationError) for end in ends[8:])
    assert not service.blobs


def test_where_batches_are_not_served_each_goes_by_single_deletes():
    places = [place(number) for number in range(8)]
    service = MemoryService([name for where in places for name in files_of(where, 3)])

    def fault(seen, _forward):
        return failure(501, "NotImplemented") if seen.kind == "batch" else None

    wire = Wire(service, fault)
    with closing_store(wire, CREDENTIALS, config(2)) as store:
        orders = [order(store, where) for where in places]
        assert [end.files for end in ended(store, orders)] == [3] * 8
    assert not service.blobs
    assert wire.counts["delete"] == 24


def test_an_order_goes_out_while_the_next_is_still_to_come():
    places = [place(number) for number in range(8)]
    service = MemoryService([name for where in places for name in files_of(where, 100)])
    sent = threading.Event()

    def fault(seen, _forward):
        if seen.kind == "batch":
            sent.set()

    with closing_store(Wire(service, fault), CREDENTIALS, config(3)) as store:
        orders = [order(store, where) for where in places]

        def arriving():
            yield from orders[:4]
            assert sent.wait(30), "a full batch does not wait for the rest"
            yield from orders[4:]

        assert sum(end.files for _, end in store.delete_together(arriving())) == 800


def test_what_is_refused_as_a_whole_is_told_of_each_and_not_ground_through():
    places = [place(number) for number in range(40)]
    service = MemoryService([name for where in places for name in files_of(where, 60)])

    def fault(seen, _forward):
        if seen.kind == "batch":
            return batch_answer([(403, "AuthorizationFailure")] * len(batch_parts(seen.body)))
        return None

    wire = Wire(service, fault)
    with closing_store(wire, CREDENTIALS, config(3), workers=2) as store:
        orders = [order(store, where) for where in places]
        ends = ended(store, orders)
    assert all(isinstance(end, DeletionError) and end.files == 0 for end in ends)
    assert all(len(end.left) == 60 for end in ends)
    assert len(service.blobs) == 2400


def test_cancelled_it_sends_no_more_and_says_of_each_what_went():
    places = [place(number) for number in range(30)]
    service = MemoryService([name for where in places for name in files_of(where, 100)])
    cancel = threading.Event()

    def on_progress(_progress):
        cancel.set()

    with closing_store(Wire(service), CREDENTIALS, config(3), workers=1) as store:
        orders = [order(store, where, on_progress=on_progress) for where in places]
        ends = ended(store, orders, cancel=cancel)
    for where, end in zip(places, ends, strict=True):
        left = [name for name in files_of(where, 100) if name in service.blobs]
        if isinstance(end, StorageDeletion):
            assert not left
        else:
            assert isinstance(end, DeletionCancelledError)
            assert end.files == 100 - len(left)
    assert Counter(map(type, ends))[DeletionCancelledError] > 20


def test_batches_that_wait_for_their_turn_are_not_sent_once_it_is_cancelled():
    places = [place(number) for number in range(12)]
    service = MemoryService([name for where in places for name in files_of(where, 100)])
    cancel, two_wait = threading.Event(), threading.Event()

    def fault(seen, _forward):
        if seen.kind == "batch":
            assert two_wait.wait(30)
            cancel.set()

    wire = Wire(service, fault)
    with closing_store(wire, CREDENTIALS, config(3), workers=1) as store:
        orders = [order(store, where) for where in places]

        def arriving():
            yield from orders[:6]  # two full batches: one is under way, one waits behind it
            two_wait.set()
            yield from orders[6:]

        ends = [end for _, end in store.delete_together(arriving(), cancel=cancel)]
    assert wire.counts["batch"] == 1
    assert len(service.deleted) == 256
    assert sum(end.files for end in ends) == 256


def test_what_two_deletions_are_about_is_seen_by_each_of_them():
    places = [place(number) for number in range(9)]
    service = MemoryService([name for where in places for name in files_of(where, 2)])
    with closing_store(Wire(service), CREDENTIALS, config(3)) as store:
        single = [order(store, where) for where in places]
        listings = [store.measure(where) for where in places[:2]]
        etags = {name: tag for one in listings for name, tag in one.etags.items()}
        sizes = {name: size for one in listings for name, size in one.sizes.items()}
        both = DeletionOrder(tuple(places[:2]), etags, sizes)
        newer = f"{places[0].prefix}newer"
        service.blobs[newer] = 10
        ends = ended(store, [both, single[0], *single[2:]])
    assert ends[0].kept == ends[1].kept == (newer,)


class Waiting:
    """A deletion that cannot share, and counts how often it was told to say that it waits."""

    can_share = False

    def __init__(self):
        self.told = 0

    def extend(self, _deadline):
        pass

    def report(self):
        self.told += 1


def test_those_that_wait_say_so_also_where_others_end_all_the_time(monkeypatch):
    now = 0.0
    turn = threading.Semaphore(1)

    class Clock:
        @staticmethod
        def monotonic():
            return now

    monkeypatch.setattr("expmgr.storage.deletion_together.time", Clock)
    monkeypatch.setattr("expmgr.storage.deletion_together._ALONE_AT_ONCE", 1)

    def carry_out(_deletion, *, shared):
        nonlocal now
        assert not shared
        assert turn.acquire(timeout=30)
        now += 50.0
        return StorageDeletion(1, 1, 1, 50.0)

    class Shared:
        stopped = True

        def finish(self):
            pass

        abandon = finish

    waiting = [Waiting() for _ in range(12)]
    orders = {DeletionOrder((place(at),)): one for at, one in enumerate(waiting)}
    for _ in delete_together(orders, orders.get, carry_out, Shared(), patience=300.0):
        turn.release()
    assert waiting[-1].told >= 3, "600 seconds went by: a lease of 900 would have run out later on"


MODELS = st.lists(
    st.tuples(
        st.integers(0, 4),  # files
        st.booleans(),  # a file comes after the plan
        st.sampled_from(["plan", "plan", "plan", "no plan", "marker", "two"]),
        st.booleans(),  # one file may not go
    ),
    min_size=1,
    max_size=14,
)


@examples(120)
@given(
    models=MODELS,
    script=st.lists(faults, max_size=14),
    attempts=st.integers(1, 4),
    page=st.sampled_from([1, 7, 5000]),
    cancel_after=st.none() | st.integers(0, 6),
)
def test_whatever_fails_of_each_is_true_what_is_said_and_nothing_else_goes(
    models, script, attempts, page, cancel_after
):
    service = MemoryService([STRANGER, "1/models/x", "1/models/m-1/artifacts2/x"], page=page)
    outside = set(service.blobs)
    fault = Drawn(service)

    cancel, reports = threading.Event(), []
    on_progress = cancelling(cancel, reports, cancel_after)

    with closing_store(Wire(service, fault), CREDENTIALS, config(attempts), workers=2) as store:
        cases = [case(service, number, model) for number, model in enumerate(models)]
        fault.schedule[:] = script
        orders = [DeletionOrder(one.places, on_progress=on_progress, **one.plan) for one in cases]
        for one, end in zip(cases, ended(store, orders, cancel=cancel), strict=True):
            assert end.attempts <= attempts
            one.check(service, end)
        assert outside <= set(service.blobs)
        held = [where for one in cases for where in one.places]
        for seen in fault.sent:
            assert all(any(where.holds(name) for where in held) for name in seen.names)
        # When the faults end, doing it again finishes it.
        fault.schedule.clear()
        service.refuse.clear()
        cancel.clear()
        again = [DeletionOrder(one.places, **one.plan) for one in cases]
        assert all(isinstance(end, StorageDeletion) for end in ended(store, again))
        assert set(service.blobs) == outside.union(*(one.newer for one in cases))


@dataclass
class Case:
    """One deletion, and what is there of it."""

    places: tuple
    own: set
    plan: dict
    newer: set
    refused: set

    def check(self, service, end):
        left = self.own & set(service.blobs)
        if isinstance(end, StorageDeletion):
            assert not left
            assert (end.files, end.bytes) == (len(self.own), 10 * len(self.own))
            assert set(end.kept) == self.newer
        else:
            assert isinstance(end, DeletionError)
            assert_honest_of(self.places, end, left, self.own - left)
        assert self.newer | self.refused <= set(service.blobs)


def case(service, number, model):
    count, newcomer, kind, held = model
    places = [place(2 * number)]
    if kind == "two":
        places.append(place(2 * number + 1))
    if kind == "marker":
        path = f"1/run{number}/artifacts/model"
        places = [Location("account", "models", path, "run_model", f"run{number}", True)]
    own = [name for where in places for name in files_of(where, count)]
    if kind == "marker":
        own.append(places[0].marker)
    plan = {"etags": dict.fromkeys(own, "0x1"), "sizes": dict.fromkeys(own, 10)}
    newer = {f"{places[0].prefix}newer"} if newcomer and kind in {"plan", "two"} else set()
    refused = set(own[:1]) if held else set()
    service.blobs.update(dict.fromkeys([*own, *newer], 10))
    service.refuse.update(dict.fromkeys(refused, (409, "BlobImmutableDueToPolicy")))
    return Case(tuple(places), set(own), {} if kind == "no plan" else plan, newer, refused)


@pytest.mark.parametrize("kind", ["reset before", "reset after"])
@pytest.mark.parametrize(("attempts", "resent"), [(3, 1), (1, 0)])
def test_a_batch_whose_connection_breaks_goes_once_more_as_it_was(kind, attempts, resent):
    places = [place(number) for number in range(20)]
    service = MemoryService([name for where in places for name in files_of(where, 32)])
    kinds = iter([kind])

    def fault(seen, forward):
        drawn = next(kinds, None) if seen.kind == "batch" else None
        return Fault(drawn, 0)(service, seen, forward) if drawn else None

    wire = Wire(service, fault)
    with closing_store(wire, CREDENTIALS, config(attempts), workers=1) as store:
        orders = [order(store, where) for where in places]
        wire.requests.clear()
        ends = ended(store, orders)
    if resent:
        assert [(end.files, end.bytes, end.attempts) for end in ends] == [(32, 320, 1)] * 20
        assert wire.counts == {"batch": 4, "list": 1}
    else:
        assert any(isinstance(end, DeletionError) for end in ends) == (kind == "reset before")
        assert wire.counts["batch"] == 3


class Patience(threading.Event):
    """Somebody who may cancel and does not; notes for how long it was waited."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)
        return self.is_set()


@pytest.mark.parametrize("status", [429, 503])
def test_what_a_busy_service_asks_to_wait_is_waited_once_for_all(status):
    """Three batches are under way when it is busy, and one comes later."""
    places = [place(number) for number in range(100)]
    names = [name for where in places for name in files_of(where, 10)]
    service = MemoryService(names)
    together, notes = threading.Barrier(3), []
    busy = [failure(status, "ServerBusy", Retry_After="7") for _ in range(3)]

    def fault(seen, _forward):
        if seen.kind != "batch" or not busy:
            return None
        together.wait(30)
        return busy.pop()

    wire, cancel = Wire(service, fault), Patience()
    with closing_store(wire, CREDENTIALS, config(3)) as store:
        orders = [
            order(store, where, on_progress=lambda told: notes.append(told.note))
            for where in places
        ]
        wire.requests.clear()

        def arriving():
            yield from orders[:77]
            wait_until(lambda: len(busy) == 0)
            yield from orders[77:]

        ends = [end for _, end in store.delete_together(arriving(), cancel=cancel)]
    assert [(end.files, end.attempts) for end in ends] == [(10, 1)] * 100
    assert wire.counts == {"batch": 7, "list": 1}
    assert cancel.waits == [7.0]
    assert "storage is busy; again in 7.0 s" in notes


@pytest.mark.parametrize("cancelled", [True, False])
def test_nobody_waits_for_a_busy_service_past_the_deadline_or_once_cancelled(cancelled):
    places = [place(number) for number in range(20)]
    service = MemoryService([name for where in places for name in files_of(where, 2)])
    cancel = Patience()

    def fault(seen, _forward):
        if seen.kind != "batch":
            return None
        if cancelled:
            cancel.set()
        return failure(503, "ServerBusy", Retry_After="7" if cancelled else "70")

    with closing_store(Wire(service, fault), CREDENTIALS, config(3)) as store:
        ends = ended(store, [order(store, where) for where in places], cancel=cancel)
    kind = DeletionCancelledError if cancelled else DeletionError
    assert {type(end) for end in ends} == {kind}
    assert cancel.waits == []
    assert len(service.blobs) == 40


def test_where_nothing_answers_a_second_batch_in_vain_is_the_last():
    places = [place(number) for number in range(40)]
    service = MemoryService([name for where in places for name in files_of(where, 64)])

    def fault(seen, forward):
        return Fault("reset before", 0)(service, seen, forward) if seen.kind == "batch" else None

    wire = Wire(service, fault)
    with closing_store(wire, CREDENTIALS, config(2), workers=1) as store:
        orders = [order(store, where) for where in places]
        wire.requests.clear()
        ends = ended(store, orders)
    assert all(isinstance(end, DeletionError) and len(end.left) == 64 for end in ends)
    assert len(service.blobs) == 40 * 64
    # Two are under way at a time: both go once more, and no third one of the ten does.
    assert sum(len(seen.names) == 256 for seen in wire.requests) <= 6


def test_a_fault_of_one_batch_costs_only_the_models_in_it():
    places = [place(number) for number in range(20)]
    service = MemoryService([name for where in places for name in files_of(where, 32)])
    kinds = iter(["reset after", "parts fail"])

    def fault(seen, forward):
        kind = next(kinds, None) if seen.kind == "batch" else None
        return Fault(kind, 0b11)(service, seen, forward) if kind else None

    with closing_store(Wire(service, fault), CREDENTIALS, config(5), workers=1) as store:
        ends = ended(store, [order(store, where) for where in places])
    assert all(end.files == 32 for end in ends)
    assert not service.blobs
    assert sorted({end.attempts for end in ends}) == [1, 2]
    assert sum(end.attempts == 1 for end in ends) >= 4


@pytest.mark.parametrize("count", [1, 3])
def test_a_few_are_as_good_as_many(count):
    places = [place(number) for number in range(count)]
    service = MemoryService([name for where in places for name in files_of(where, 2)])
    wire = Wire(service)
    with closing_store(wire, CREDENTIALS, config(3)) as store:
        orders = [order(store, where) for where in places]
        wire.requests.clear()
        assert [end.files for end in ended(store, orders)] == [2] * count
    assert wire.counts == {"batch": 1, "list": count}
