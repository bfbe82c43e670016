"""Deletion on a wire that fails at random: what is promised holds whatever happens.

The service is in memory, so that what is really there is known exactly; above it runs the whole
Azure SDK, and between them a wire that makes the faults hypothesis draws.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from dataclasses import dataclass

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_wire import (
    MemoryService,
    Wire,
    answer,
    batch_answer,
    batch_parts,
    closing_store,
    failure,
    listing_answer,
    reset,
)

from expmgr import AzureBlobCredentials, RetryConfig, RetryParams
from expmgr.errors import DeletionCancelledError, DeletionError, StorageError
from expmgr.storage.blob_store import BlobStore
from expmgr.storage.location import Location

CREDENTIALS = AzureBlobCredentials(
    account_name="account", account_key="a2V5", container_name="models"
)
PLACE = Location("account", "models", "1/run1/artifacts", "run_artifacts", "run1")
MARKED = Location("account", "models", "1/run1/artifacts", "run_artifacts", "run1", True)
OUTSIDE = [
    "1/run1/artifacts",
    "1/run1/artifacts2/x",
    "1/run10/artifacts/x",
    "1/run1/x",
    "1/run2/artifacts/MLmodel",
]


@dataclass
class Fault:
    """One thing that goes wrong with one request."""

    kind: str
    seed: int = 0

    def __call__(self, service, seen, forward):
        if self.kind in {"500", "503", "502", "504", "408", "429"}:
            return failure(int(self.kind), "Fault", Retry_After="0")
        if self.kind == "reset before":
            raise reset()
        if self.kind == "reset after":
            forward()
            raise reset()
        if self.kind == "timeout after":
            forward()
            raise requests.ReadTimeout("read timed out")
        if self.kind == "cut":
            body = forward().content
            return answer(202 if seen.kind != "list" else 200, body + b" " * 9, cut=len(body) // 2)
        if self.kind == "garbage":
            forward()
            return answer(202 if seen.kind != "list" else 200, b"<<<", {"Content-Type": "text/xml"})
        if self.kind == "proxy page":
            return answer(200, b"<html><body/></html>", {"Content-Type": "text/html"})
        if self.kind == "proxy xml":
            return answer(200, b"<html><body/></html>", {"Content-Type": "application/xml"})
        return self._parts(service, seen)

    def _parts(self, service, seen):
        """Faults inside a batch answer; nothing for other requests."""
        if seen.kind != "batch":
            return None
        names = [name for name, _ in batch_parts(seen.body)]
        if self.kind == "batch refused":
            return batch_answer([(400, "InvalidInput")])
        if self.kind == "says gone":
            return batch_answer([(404, "BlobNotFound")] * len(names))
        if self.kind == "short answer":
            return batch_answer([service.delete(name) for name in names][:-1])
        parts = []
        for index, name in enumerate(names):
            bad = (self.seed >> (index % 16)) & 1
            if not bad:
                parts.append(service.delete(name))
            elif self.kind == "parts fail after":
                service.delete(name)
                parts.append((500, "InternalError"))
            else:
                parts.append((503, "ServerBusy"))
        return batch_answer(parts)


KINDS = [
    "500",
    "502",
    "503",
    "504",
    "408",
    "429",
    "reset before",
    "reset after",
    "timeout after",
    "cut",
    "garbage",
    "proxy page",
    "proxy xml",
    "batch refused",
    "short answer",
    "says gone",
    "parts fail",
    "parts fail after",
]
faults = st.none() | st.builds(Fault, st.sampled_from(KINDS), st.integers(0, 2**16))
files = st.lists(
    st.sampled_from(
        [
            f"{folder}{name}"
            for folder in ("", "a/", "a/b/", "z/")
            for name in ("1", "2", "ü %?", "M")
        ]
    ),
    unique=True,
    max_size=16,
)


def config(attempts):
    params = RetryParams(attempts=attempts, wait_initial=0, wait_max=0, deadline=60)
    return RetryConfig(delete_model=params, list_blobs=params)


def assert_honest(error, remaining, gone):
    """A failure claims no more than is gone, and names what remains."""
    assert_honest_of([PLACE], error, remaining, gone)


def assert_honest_of(places, error, remaining, gone):
    assert error.files <= len(gone)
    assert len(gone) <= error.files + error.unanswered
    assert error.bytes == 10 * error.files
    assert isinstance(error, DeletionCancelledError) or error.__cause__ is not None
    unsure = ("at least", "could not be listed", "nothing was begun")
    if not any(words in str(error) for words in unsure):
        assert remaining <= set(error.left)
    assert all(any(place.holds(name) for place in places) for name in error.left)
    assert error.log or error.attempts == 0


class Drawn:
    """A wire's fault that makes what a schedule holds, in turn, and notes what was sent."""

    def __init__(self, service):
        self.schedule = []
        self.sent = []
        self._service = service
        self._lock = threading.Lock()

    def __call__(self, seen, forward):
        with self._lock:
            planned = self.schedule.pop(0) if self.schedule else None
            self.sent.append(seen)
        return planned(self._service, seen, forward) if planned else None


def cancelling(cancel, reports, after):
    """A callback that notes the files told, and cancels after some; None for never."""

    def on_progress(progress):
        reports.append(progress.files)
        if after is not None and len(reports) > after:
            cancel.set()

    return on_progress


def below(service):
    return {name for name in service.blobs if PLACE.holds(name)}


def examples(number):
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@examples(250)
@given(
    names=files,
    script=st.lists(faults, max_size=14),
    attempts=st.integers(1, 5),
    page=st.sampled_from([1, 3, 5000]),
    marked=st.booleans(),
    stubs=st.booleans(),
    cancel_after=st.none() | st.integers(0, 6),
    planned=st.booleans(),
)
def test_whatever_fails_nothing_else_goes_and_nothing_is_said_that_is_not_so(
    names, script, attempts, page, marked, stubs, cancel_after, planned
):
    own = [f"{PLACE.prefix}{name}" for name in names]
    if marked:
        own.append(PLACE.marker)
    folders = {f"{PLACE.prefix}a", f"{PLACE.prefix}a/b"} if stubs else set()
    service = MemoryService([*own, *folders, *OUTSIDE], page=page, directories=folders)
    fault = Drawn(service)

    place = MARKED if marked else PLACE
    cancel, reports = threading.Event(), []
    on_progress = cancelling(cancel, reports, cancel_after)

    with closing_store(Wire(service, fault), CREDENTIALS, config(attempts), workers=3) as store:
        plan = store.measure(place)
        bounds = {"etags": plan.etags, "sizes": plan.sizes} if planned else {}
        fault.schedule[:] = script
        error = None
        try:
            done = store.delete([place], cancel=cancel, on_progress=on_progress, **bounds)
        except DeletionError as caught:
            error = caught
        remaining = below(service)
        if error is None:
            assert remaining == set()
            assert (done.files, done.bytes) == (len(own), 10 * len(own))
            assert done.attempts <= attempts
        else:
            assert error.attempts <= attempts
            assert_honest(error, remaining, set(own) - remaining)
        # Never anything outside, whatever was answered.
        assert set(OUTSIDE) <= set(service.blobs)
        asked = [name for seen in fault.sent for name in seen.names]
        assert all(PLACE.holds(name) for name in asked)
        assert reports == sorted(reports)
        # The marker is the last file to go.
        files_gone = [name for name in service.deleted if name not in folders]
        if marked and PLACE.marker in files_gone:
            assert files_gone[-1] == PLACE.marker
        # When the faults end, the next call finishes it.
        fault.schedule.clear()
        store.delete([place])
        assert below(service) == set()
        assert set(service.blobs) == set(OUTSIDE)
        assert store.delete([place]).files == 0


@examples(80)
@given(
    names=files.filter(lambda names: len(names) > 2),
    refused=st.sets(st.integers(0, 15), min_size=1),
    script=st.lists(faults, max_size=5),
    code=st.sampled_from([(409, "BlobImmutableDueToPolicy"), (412, "LeaseIdMissing")]),
)
def test_what_may_not_go_is_left_and_named_and_all_else_goes(names, refused, script, code):
    own = [f"{PLACE.prefix}{name}" for name in names]
    held = {own[index % len(own)] for index in refused}
    service = MemoryService([*own, *OUTSIDE], refuse=dict.fromkeys(held, code))
    schedule = list(script)

    def fault(seen, forward):
        planned = schedule.pop(0) if schedule else None
        return planned(service, seen, forward) if planned else None

    with closing_store(Wire(service, fault), CREDENTIALS, config(20), workers=2) as store:
        with pytest.raises(DeletionError) as caught:
            store.delete([PLACE])
        assert held <= below(service)
        assert below(service) <= set(caught.value.left)
        schedule.clear()
        with pytest.raises(DeletionError) as caught:
            store.delete([PLACE])
        assert below(service) == held == set(caught.value.left)
        assert caught.value.left_count == len(held)
        assert code[1] in str(caught.value)


def test_many_blobs_with_many_faults_converge():
    names = [f"{PLACE.prefix}{number:05}" for number in range(3000)]
    service = MemoryService([*names, *OUTSIDE], page=700)
    kinds = iter([kind for kind in KINDS if kind != "says gone"] * 3)

    def fault(seen, forward):
        kind = next(kinds, None)
        return Fault(kind, 0b1010010001)(service, seen, forward) if kind else None

    with closing_store(Wire(service, fault), CREDENTIALS, config(50)) as store:
        done = store.delete([PLACE])
    assert done.files == 3000
    assert set(service.blobs) == set(OUTSIDE)


def test_without_faults_the_requests_are_exact():
    names = [f"{PLACE.prefix}{number:05}" for number in range(12_000)]
    wire = Wire(MemoryService(names))
    with closing_store(wire, CREDENTIALS, config(3)) as store:
        assert store.delete([PLACE]).files == 12_000
    # Pages of 5,000, batches of 256, and one page that shows that nothing is left.
    assert wire.counts == {"list": 4, "batch": 47}


def test_batches_go_out_while_the_listing_goes_on():
    names = [f"{PLACE.prefix}{number:05}" for number in range(600)]
    service = MemoryService(names, page=300)
    batch_seen = threading.Event()

    def fault(seen, forward):
        if seen.kind == "batch":
            batch_seen.set()
        elif "marker=" in seen.url:
            assert batch_seen.wait(30)  # the second page waits for the first batch

    with closing_store(Wire(service, fault), CREDENTIALS, config(1)) as store:
        assert store.delete([PLACE]).files == 600


def test_cancelled_between_two_pages_is_cancelled_even_if_all_that_was_seen_is_gone():
    names = [f"{PLACE.prefix}{number:05}" for number in range(300)]
    service = MemoryService(names, page=256)
    batch_done = threading.Event()
    cancel = threading.Event()

    def fault(seen, forward):
        if seen.kind == "batch":
            response = forward()
            batch_done.set()
            return response
        if "marker=" in seen.url:
            assert batch_done.wait(30)
            cancel.set()
            return listing_answer("", marker=names[257])  # Azure may answer with an empty page
        return None

    with closing_store(Wire(service, fault), CREDENTIALS, config(1)) as store:
        with pytest.raises(DeletionCancelledError) as caught:
            store.delete([PLACE], cancel=cancel)
        assert (caught.value.files, len(below(service))) == (256, 44)


def test_what_is_not_found_is_looked_for_again():
    names = [f"{PLACE.prefix}{number}" for number in range(5)]
    service = MemoryService(names)
    wire = Wire(service, lambda seen, forward: Fault("says gone")(service, seen, forward))

    with (
        closing_store(wire, CREDENTIALS, config(3)) as store,
        pytest.raises(DeletionError, match="still there") as caught,
    ):
        store.delete([PLACE])
    assert caught.value.left == tuple(names)
    assert wire.counts == {"list": 2, "batch": 1}


def test_the_pool_is_bounded():
    names = [f"{PLACE.prefix}{number:05}" for number in range(256 * 12)]
    service = MemoryService(names)
    running = []
    most = []
    lock = threading.Lock()

    def fault(seen, forward):
        if seen.kind != "batch":
            return None
        with lock:
            running.append(seen)
            most.append(len(running))
        try:
            return forward()
        finally:
            with lock:
                running.remove(seen)

    with closing_store(Wire(service, fault), CREDENTIALS, config(1), workers=3) as store:
        assert store.delete([PLACE]).files == len(names)
    assert max(most) <= 3


def test_refused_credentials_do_not_grind_through_a_million_blobs():
    names = [f"{PLACE.prefix}{number:05}" for number in range(20_000)]
    service = MemoryService(names, page=1000)

    def fault(seen, forward):
        if seen.kind == "list":
            return None
        return failure(403, "AuthorizationPermissionMismatch")

    wire = Wire(service, fault)
    with (
        closing_store(wire, CREDENTIALS, config(3), workers=2) as store,
        pytest.raises(DeletionError, match="Storage Blob Data Contributor") as caught,
    ):
        store.delete([PLACE])
    assert caught.value.attempts == 1
    assert wire.counts["batch"] < 12
    assert "at least" in str(caught.value)


def test_a_storage_that_accepts_and_says_nothing_is_given_up_after_the_read_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        credentials = AzureBlobCredentials(
            account_name="account",
            account_key="a2V5",
            container_name="models",
            account_url=f"http://127.0.0.1:{silent.getsockname()[1]}/account",
        )
        retry = RetryConfig(
            list_blobs=RetryParams(attempts=2, wait_initial=0),
            connection_timeout=5,
            read_timeout=0.2,
        )
        with closing(BlobStore(credentials, retry)) as store:
            began = time.monotonic()
            with pytest.raises(StorageError, match="timed out"):
                store.exists("1/run1/")
            assert time.monotonic() - began < 30  # not the 60 s of one attempt
