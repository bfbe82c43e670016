"""A server that lies: what it says of a deletion is believed only when a listing shows it.

The lies are those of proxies, caches and servers under load: an answer that belongs to another
request, a listing of something else, one that goes in circles, a body that cannot be read.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import datetime, timezone

import pytest
from storage_wire import (
    MemoryService,
    Wire,
    answer,
    batch_answer,
    batch_parts,
    blob_entry,
    closing_store,
    failure,
    listing_answer,
    reset,
)

from expmgr import AzureBlobCredentials, RetryConfig, RetryParams
from expmgr.errors import DeletionError, StorageError
from expmgr.storage.location import Location

CREDENTIALS = AzureBlobCredentials(
    account_name="account", account_key="a2V5", container_name="models"
)
PLACE = Location("account", "models", "1/run1/artifacts", "run_artifacts", "run1")
MARKED = Location("account", "models", "1/run1/artifacts", "run_artifacts", "run1", True)
OUTSIDE = "1/run2/artifacts/x"


def inside(*names):
    return [f"{PLACE.prefix}{name}" for name in names]


def many(number):
    return inside(*(f"{index:05}" for index in range(number)))


def config(attempts=3, deadline=60.0, **wait):
    wait = wait or {"wait_initial": 0, "wait_max": 0}
    params = RetryParams(attempts=attempts, deadline=deadline, **wait)
    return RetryConfig(delete_model=params, list_blobs=params)


@contextmanager
def scene(names, fault=None, retry=None, **options):
    """A store over a service in memory, with its wire."""
    service = MemoryService([*names, OUTSIDE])
    wire = Wire(service, fault and (lambda seen, forward: fault(service, seen, forward)))
    with closing_store(wire, CREDENTIALS, retry or config(), **options) as store:
        yield store, service, wire
    assert OUTSIDE in service.blobs


def below(service):
    return sorted(name for name in service.blobs if PLACE.holds(name))


# --------------------------------------------------------------------------- the end is proved


def test_a_planned_deletion_lists_once_to_plan_and_once_to_prove_the_end():
    with scene(many(1000)) as (store, service, wire):
        plan = store.measure(PLACE)
        done = store.delete([PLACE], etags=plan.etags, sizes=plan.sizes)
        assert wire.counts == {"list": 2, "batch": 4}
        assert [seen.kind for seen in wire.requests[::5]] == ["list", "list"]
    assert (done.files, done.bytes, done.kept, done.attempts) == (1000, 10_000, (), 1)
    assert below(service) == []


def test_an_answer_that_belongs_to_another_batch_is_no_deletion():
    def accept_without_doing(service, seen, forward):
        return batch_answer([(202, "")] * len(seen.names)) if seen.kind == "batch" else None

    with scene(inside("a", "b"), accept_without_doing) as (store, service, wire):
        with pytest.raises(DeletionError, match="still listed") as caught:
            store.delete([PLACE])
        assert (caught.value.files, caught.value.bytes) == (0, 0)
        assert list(caught.value.left) == below(service) == inside("a", "b")
        wire.fault = None
        assert store.delete([PLACE]).files == 2


def test_an_answer_that_was_not_true_once_is_asked_for_again():
    def lie_once(service, seen, forward):
        if seen.kind == "batch" and not service.deleted:
            service.delete(seen.names[0])
            return batch_answer([(202, "")] * len(seen.names))
        return None

    reports = []
    with scene(inside("a", "b", "c"), lie_once) as (store, service, _wire):
        plan = store.measure(PLACE)
        done = store.delete([PLACE], etags=plan.etags, sizes=plan.sizes, on_progress=reports.append)
        assert (done.files, done.bytes, done.attempts) == (3, 30, 2)
        assert below(service) == []
    files = [progress.files for progress in reports]
    assert files == sorted(files)


def swapped(parts):
    """The answer of a batch, its parts in another order."""
    response = batch_answer(parts)
    body = response.content
    first, second = body.index(b"Content-ID: 0"), body.index(b"Content-ID: 1")
    body = bytearray(body)
    body[first + 12], body[second + 12] = body[second + 12], body[first + 12]
    return answer(202, bytes(body), {"Content-Type": "multipart/mixed; boundary=answer"})


def foreign(parts):
    """The answer to a batch of somebody else, who gave his requests other ids."""
    body = batch_answer(parts).content.replace(
        b"Status\r\n", b"Status\r\nx-ms-client-request-id: somebody-else\r\n"
    )
    return answer(202, body, {"Content-Type": "multipart/mixed; boundary=answer"})


def long(parts):
    return batch_answer([*parts, (202, "")])


@pytest.mark.parametrize("lie", [swapped, foreign, long])
def test_parts_that_do_not_belong_are_not_believed_at_all(lie):
    def wrong_once(service, seen, forward):
        if seen.kind == "batch" and wire.counts["batch"] == 1:
            return lie([(404, "BlobNotFound"), (202, ""), (202, "")])
        return None

    with scene(inside("a", "b", "c"), wrong_once) as (store, service, wire):
        done = store.delete([PLACE])
        assert (done.files, done.attempts) == (3, 2)
        assert "is not this batch's" in done.log[0]
        assert wire.counts == {"list": 3, "batch": 2}
        assert below(service) == []


def test_the_marker_stays_while_a_listing_shows_anything_else():
    def accept_without_doing(service, seen, forward):
        return batch_answer([(202, "")] * len(seen.names)) if seen.kind == "batch" else None

    with scene(inside("MLmodel", "a", "b"), accept_without_doing) as (store, service, wire):
        with pytest.raises(DeletionError):
            store.delete([MARKED])
        assert service.deleted == []
        wire.fault = None
        assert store.delete([MARKED]).files == 3
        assert service.deleted[-1] == MARKED.marker


def test_what_goes_last_waits_for_two_listings_where_nobody_answered():
    """Else a model would be left without the file that tells that it is one."""

    def lose_and_hide(service, seen, forward):
        if seen.kind == "batch" and wire.counts["batch"] == 1:
            raise reset()
        if seen.kind == "list" and wire.counts["list"] == 2:
            hidden = {name: service.blobs.pop(name) for name in inside("a", "b")}
            page = forward()
            service.blobs.update(hidden)
            return page
        return None

    with scene(inside("MLmodel", "a", "b"), lose_and_hide) as (store, service, wire):
        assert store.delete([MARKED]).files == 3
        assert service.deleted[-1] == MARKED.marker
        assert below(service) == []


def test_an_empty_listing_alone_is_not_proof_that_nothing_is_there():
    def empty_once(service, seen, forward):
        return listing_answer("") if wire.counts == {"list": 1} else None

    with scene(inside("a", "b"), empty_once) as (store, service, wire):
        assert store.delete([PLACE]).files == 2
        assert below(service) == []


def test_a_listing_that_skips_names_at_the_end_hides_nothing_that_was_planned():
    def skip(service, seen, forward):
        if seen.kind != "list" or not wire.counts["batch"]:
            return None
        return listing_answer("")  # the look sees nothing

    with scene(many(600), skip) as (store, service, wire):
        plan = store.measure(PLACE)
        done = store.delete([PLACE], etags=plan.etags, sizes=plan.sizes)
        assert done.files == 600
        assert below(service) == []


def test_a_listing_that_skips_names_at_the_start_is_corrected_by_the_one_at_the_end():
    def skip_once(service, seen, forward):
        if wire.counts == {"list": 1}:
            return listing_answer(blob_entry(inside("a")[0]))
        return None

    with scene(inside("a", "b", "c"), skip_once) as (store, service, wire):
        done = store.delete([PLACE])
        assert (done.files, done.attempts) == (3, 2)
        assert below(service) == []


def test_a_file_that_comes_while_it_is_deleted_goes_too_or_is_named():
    def write(service, seen, forward):
        if seen.kind == "batch":
            service.blobs[inside("new")[0]] = 10

    with scene(inside("a", "b"), write) as (store, service, wire):
        done = store.delete([PLACE])
        assert (done.files, done.attempts) == (3, 2)
        assert below(service) == []

    def write_always(service, seen, forward):
        if seen.kind in {"batch", "delete"}:
            service.blobs[inside(f"new{len(wire.requests)}")[0]] = 10

    with scene(inside("a", "b"), write_always) as (store, service, wire):
        with pytest.raises(DeletionError, match="came while") as caught:
            store.delete([PLACE])
        assert list(caught.value.left) == below(service)
        assert caught.value.left_count == 1


def test_a_delete_that_was_not_answered_is_not_proved_by_one_listing_without_the_blob():
    """The batch was lost on the way there, and the next listing is a lie: all is still there."""

    def lose_and_lie(service, seen, forward):
        if seen.kind == "batch" and wire.counts["batch"] == 1:
            raise reset()
        if seen.kind == "list" and wire.counts["list"] == 2:
            return listing_answer("")
        return None

    with scene(inside("a", "b", "c"), lose_and_lie) as (store, service, wire):
        done = store.delete([PLACE])
        assert below(service) == []
    assert (done.files, done.bytes) == (3, 30)


def test_an_answer_lost_at_the_last_attempt_names_nothing_that_is_gone():
    def lose(service, seen, forward):
        if seen.kind == "batch":
            forward()
            raise reset()

    with scene(inside("a", "b", "c"), lose, config(1)) as (store, _service, wire):
        done = store.delete([PLACE])
        assert (done.files, done.bytes, done.attempts) == (3, 30, 1)
        assert wire.counts == {"list": 3, "batch": 1}
        assert "nothing was left" in done.log[-1]


def test_a_look_that_fails_loses_nothing_of_what_is_known():
    def fail(service, seen, forward):
        if seen.kind == "batch":
            return batch_answer([(409, "BlobImmutableDueToPolicy")] * len(seen.names))
        return failure(500, "InternalError") if wire.counts["batch"] else None

    with scene(inside("a", "b"), fail) as (store, _service, wire):
        with pytest.raises(DeletionError, match="at least 2 files left") as caught:
            store.delete([PLACE])
        assert list(caught.value.left) == inside("a", "b")


# ----------------------------------------------------------------------- what is not a listing


def without_blobs(body):
    return body.replace(b"<Blobs></Blobs>", b"")


def bare(body):
    return b"<EnumerationResults/>"


def of_another_prefix(body):
    return body.replace(b"<Prefix>1/run1/", b"<Prefix>1/run10/")


def of_no_prefix(body):
    return body.replace(b"<Prefix>1/run1/artifacts/</Prefix>", b"")


def of_another_container(body):
    return body.replace(b'ContainerName="models"', b'ContainerName="models2"')


def of_another_account(body):
    return body.replace(b"https://account.", b"https://stranger.")


def latin_1(body):
    return "<html><p>Anmeldung nötig</p></html>".encode("latin-1")


def deep(body):
    return b"<a>" * 100_000 + b"</a>" * 100_000


@pytest.mark.parametrize(
    "lie",
    [
        without_blobs,
        bare,
        of_another_prefix,
        of_no_prefix,
        of_another_container,
        of_another_account,
        latin_1,
        deep,
    ],
)
def test_what_is_not_the_listing_that_was_asked_for_is_no_listing(lie):
    def fault(service, seen, forward):
        if seen.kind != "list":
            return None
        body = lie(listing_answer("").content)
        return answer(200, body, {"Content-Type": "application/xml"})

    with scene(inside("a", "b"), fault) as (store, _service, wire):
        with pytest.raises(DeletionError, match="could not be listed"):
            store.delete([PLACE])
        assert wire.counts == {"list": 3}  # it may pass
        for read in (store.exists, store.folders, lambda prefix: list(store.list(prefix))):
            with pytest.raises(StorageError):
                read(PLACE.prefix)
        with pytest.raises(StorageError):
            store.measure(PLACE)
        wire.fault = None
        assert store.delete([PLACE]).files == 2


BROKEN_ENTRIES = {
    "a length that is no number": blob_entry(inside("a")[0], "1,5"),
    "a length below zero": blob_entry(inside("a")[0], -5),
    "a blob without a name": blob_entry(inside("a")[0]).replace(
        f"<Name>{inside('a')[0]}</Name>", ""
    ),
}


@pytest.mark.parametrize("entry", BROKEN_ENTRIES.values(), ids=BROKEN_ENTRIES)
def test_an_entry_that_cannot_be_read_makes_the_listing_unreadable(entry):
    def fault(service, seen, forward):
        return listing_answer(entry) if seen.kind == "list" else None

    with scene(inside("a"), fault) as (store, service, _wire):
        with pytest.raises(StorageError):
            list(store.list(PLACE.prefix))
        with pytest.raises(DeletionError):
            store.delete([PLACE])
        assert below(service) == inside("a")


@pytest.mark.parametrize("status", [200, 403, 502])
def test_a_page_of_a_portal_is_an_error_of_storage_whatever_its_bytes(status):
    page = "<html><p>Anmeldung nötig</p></html>".encode("latin-1")

    def fault(service, seen, forward):
        return answer(status, page, {"Content-Type": "text/html; charset=utf-8"})

    with scene(inside("a", "b"), fault) as (store, _service, _wire):
        with pytest.raises(StorageError):
            store.measure(PLACE)
        with pytest.raises(StorageError):
            store.folders("1/")
        with pytest.raises(DeletionError):
            store.delete([PLACE])
        with pytest.raises(DeletionError):
            store.delete([PLACE], etags={inside("a")[0]: "0x1"}, sizes={inside("a")[0]: 1})
        with pytest.raises(StorageError):
            store.undelete([PLACE])
        store.retention()  # for reports only: what cannot be read is not known


@pytest.mark.parametrize(
    "value", ["Mon, 01 Jan 99999999999999", "Mon, 01 Jan 2026 99:99:99 GMT", "1e999"]
)
def test_a_retry_after_that_cannot_be_read_asks_for_nothing(value):
    def fault(service, seen, forward):
        return failure(503, "ServerBusy", Retry_After=value) if len(wire.requests) == 1 else None

    with scene(inside("a", "b"), fault) as (store, _service, wire):
        assert store.delete([PLACE]).files == 2


# -------------------------------------------------------------------------- what goes in circles


@pytest.mark.parametrize("markers", [["same"], ["one", "two"]])
def test_a_next_marker_that_comes_again_ends_the_listing(markers):
    def fault(service, seen, forward):
        if seen.kind != "list":
            return None
        assert len(wire.requests) < 100, "it goes on for ever"
        return listing_answer("", markers[len(wire.requests) % len(markers)])

    with scene(inside("a"), fault) as (store, _service, wire):
        for read in (
            lambda: store.measure(PLACE),
            lambda: store.folders(PLACE.prefix),
            lambda: list(store.list(PLACE.prefix)),
        ):
            wire.requests.clear()
            with pytest.raises(StorageError, match="same NextMarker"):
                read()
        wire.requests.clear()
        with pytest.raises(DeletionError, match="same NextMarker"):
            store.delete([PLACE])


def test_a_listing_that_begins_again_under_new_markers_is_refused():
    def fault(service, seen, forward):
        if seen.kind != "list":
            return None
        assert len(wire.requests) < 100, "it goes on for ever"
        return listing_answer(blob_entry(inside("a")[0]), f"marker{len(wire.requests)}")

    with scene(inside("a", "b"), fault) as (store, _service, wire):
        with pytest.raises(StorageError, match="repeated"):
            store.measure(PLACE)
        wire.requests.clear()
        with pytest.raises(DeletionError, match="repeated"):
            store.delete([PLACE])


def test_empty_pages_without_end_are_refused_and_a_few_are_not():
    def fault(service, seen, forward):
        assert len(wire.requests) < 2000, "it goes on for ever"
        if len(wire.requests) > last:
            return None
        return listing_answer("", f"{inside('a')[0]}{len(wire.requests):05}")

    with scene(inside("b"), fault) as (store, _service, wire):
        last = 5
        assert store.measure(PLACE).files == 1
        last = 10_000
        wire.requests.clear()
        with pytest.raises(StorageError, match="empty pages"):
            store.measure(PLACE)


def test_names_out_of_order_are_refused_in_any_order_that_a_service_may_use():
    def fault(service, seen, forward):
        return listing_answer("".join(map(blob_entry, inside(*names))))

    with scene([], fault) as (store, _service, _wire):
        for names in (
            ("a", "a-b", "a/b"),  # code points
            ("a", "a/b", "a-b"),  # directory by directory
            ("\U0001f389", "\uff5e"),  # UTF-16, as Azurite sorts
        ):
            assert store.measure(PLACE).files == len(names)
        for wrong in (("b", "a"), ("a", "a")):
            names = wrong
            with pytest.raises(StorageError, match="out of order or repeated"):
                store.measure(PLACE)


# ------------------------------------------------------------------------------ "it has changed"


class Conditional(MemoryService):
    """Keeps the rules of conditional deletes, with answers that can be chosen.

    `missing` is what a condition on a blob that is not there is answered with: Azurite says 412,
    for Azure it is not known. `refuse` are the conditions that are always said not to be met.
    """

    def __init__(self, names=(), *, missing=(412, "ConditionNotMet"), refuse=(), **options):
        super().__init__([*names, OUTSIDE], **options)
        self.missing = missing
        self.refused_conditions = refuse
        self.modified = datetime(2026, 11, 23, 4, 0, tzinfo=timezone.utc)

    def send(self, request, **kwargs):
        if "comp=batch" not in request.url:
            return super().send(request, **kwargs)
        return batch_answer(
            [self.conditional(name, headers) for name, headers in batch_parts(request.body)]
        )

    def conditional(self, name, headers):
        asked = {"if-match", "if-unmodified-since"} & headers.keys()
        if asked and name not in self.blobs:
            return self.missing
        if asked & set(self.refused_conditions):
            return 412, "ConditionNotMet"
        return self.delete(name)


def conditional(names, **options):
    service = Conditional(names, **options)
    return service, Wire(service)


@pytest.mark.parametrize("missing", [(412, "ConditionNotMet"), (404, "BlobNotFound")])
@pytest.mark.parametrize("with_sizes", [True, False])
def test_a_planned_file_that_somebody_else_deleted_is_not_one_that_changed(missing, with_sizes):
    service, wire = conditional(inside("a", "b", "c"), missing=missing)
    with closing_store(wire, CREDENTIALS, config()) as store:
        plan = store.measure(PLACE)
        overtaken = []

        def overtake(seen, forward):
            if seen.kind == "batch" and not overtaken:
                overtaken.append(service.delete(inside("b")[0]))

        wire.fault = overtake
        done = store.delete([PLACE], etags=plan.etags, sizes=plan.sizes if with_sizes else None)
        assert (done.files, done.kept, done.attempts) == (2, (), 1)
        assert below(service) == []


def test_an_answer_lost_under_conditions_is_a_deletion_all_the_same():
    _service, wire = conditional(inside("a", "b"))
    with closing_store(wire, CREDENTIALS, config()) as store:
        plan = store.measure(PLACE)

        def lose_once(seen, forward):
            if seen.kind == "batch" and wire.counts["batch"] == 1:
                forward()
                raise reset()

        wire.fault = lose_once
        done = store.delete([PLACE], etags=plan.etags, sizes=plan.sizes)
        assert (done.files, done.kept) == (2, ())


def test_a_tag_said_not_to_match_and_listed_unchanged_is_asked_for_by_time():
    _service, wire = conditional(inside("a", "b"), refuse={"if-match"})
    with closing_store(wire, CREDENTIALS, config()) as store:
        plan = store.measure(PLACE)
        done = store.delete([PLACE], etags=plan.etags, sizes=plan.sizes)
        assert (done.files, done.kept, done.attempts) == (2, (), 2)
        first, second = (batch_parts(seen.body) for seen in wire.requests if seen.kind == "batch")
        assert all("if-match" in headers for _, headers in first)
        assert all(
            headers.get("if-unmodified-since") == "Mon, 23 Nov 2026 04:00:00 GMT"
            and "if-match" not in headers
            for _, headers in second
        )


def test_what_was_written_within_the_minute_is_never_asked_for_by_time():
    service, wire = conditional(inside("a", "b"), refuse={"if-match"})

    def just_written(seen, forward):
        if seen.kind != "list":
            return None
        entries = "".join(map(blob_entry, below(service)))
        return listing_answer(entries.replace("04:00:00", "04:32:30"))  # the Date is 04:32:55

    with closing_store(wire, CREDENTIALS, config()) as store:
        wire.fault = just_written
        plan = store.measure(PLACE)
        with pytest.raises(DeletionError, match="still listed as it was") as caught:
            store.delete([PLACE], etags=plan.etags, sizes=plan.sizes)
        assert list(caught.value.left) == inside("a", "b")
        batches = [batch_parts(seen.body) for seen in wire.requests if seen.kind == "batch"]
        assert all("if-match" in headers for parts in batches for _, headers in parts)


def test_a_service_that_refuses_every_condition_leaves_the_file_and_says_so():
    service, wire = conditional(inside("a", "b"), refuse={"if-match", "if-unmodified-since"})
    with closing_store(wire, CREDENTIALS, config(5)) as store:
        plan = store.measure(PLACE)
        with pytest.raises(DeletionError, match="lists it unchanged") as caught:
            store.delete([PLACE], etags=plan.etags, sizes=plan.sizes)
        assert caught.value.attempts == 2
        assert list(caught.value.left) == below(service) == inside("a", "b")


def test_what_did_change_is_kept_and_named_by_the_look():
    service, wire = conditional(inside("a", "b", "c"), refuse={"if-match"})
    service._entry = lambda name: blob_entry(
        name, etag="0x2" if name == changed and wire.counts["batch"] else "0x1"
    )
    changed = inside("b")[0]
    service.conditional = lambda name, headers: (
        (412, "ConditionNotMet") if name == changed else service.delete(name)
    )
    with closing_store(wire, CREDENTIALS, config()) as store:
        plan = store.measure(PLACE)
        done = store.delete([PLACE], etags=plan.etags, sizes=plan.sizes)
    assert (done.files, done.kept, done.attempts) == (2, (changed,), 1)
    assert below(service) == [changed]


# ------------------------------------------------------------------------- one short answer


def test_one_short_answer_does_not_switch_batches_off():
    def short_once(service, seen, forward):
        if seen.kind == "batch" and wire.counts["batch"] == 1:
            return batch_answer([service.delete(name) for name in seen.names][:-1])
        return None

    with scene(many(301), short_once) as (store, service, wire):
        assert store.delete([PLACE]).files == 301
        assert below(service) == []
        assert wire.counts["delete"] == 0
        assert wire.counts["batch"] <= 3
        service.blobs.update(dict.fromkeys(many(301), 10))
        wire.requests.clear()
        assert store.delete([PLACE]).files == 301
        assert wire.counts == {"list": 3, "batch": 2}  # the last name had no answer


def test_answers_that_stay_short_are_done_one_by_one_and_batches_tried_next_time():
    def always_short(service, seen, forward):
        return batch_answer([(202, "")] * 2) if seen.kind == "batch" else None

    with scene(many(5), always_short) as (store, service, wire):
        assert store.delete([PLACE]).files == 5
        assert below(service) == []
        wire.fault = None
        wire.requests.clear()
        service.blobs.update(dict.fromkeys(many(5), 10))
        assert store.delete([PLACE]).files == 5
        assert wire.counts == {"list": 2, "batch": 1}


# ------------------------------------------------------------------------------- the deadline


def test_no_request_begins_after_the_deadline():
    stalled = threading.Event()

    def stall(service, seen, forward):
        if seen.kind == "batch":
            begun.append(time.monotonic())
            stalled.wait(0.4)
            return failure(503, "ServerBusy")
        return None

    begun = []
    retry = config(50, deadline=2.0)
    with scene(many(256 * 24), stall, retry, workers=2) as (store, service, _wire):
        plan = store.measure(PLACE)
        for options in ({}, {"etags": plan.etags, "sizes": plan.sizes}):
            begun.clear()
            started = time.monotonic()
            with pytest.raises(DeletionError, match="not finished within 2") as caught:
                store.delete([PLACE], **options)
            # 50 attempts of 12 stalls one after another would be 240 s.
            assert time.monotonic() - started < 10
            assert begun, "the listing took the whole deadline"
            assert max(begun) - started < 3
            assert set(below(service)) >= set(caught.value.left)
            assert caught.value.left_count == 256 * 24 or not options  # what was listed so far
            assert caught.value.left_count >= 256
            assert "at least" in str(caught.value)
            assert caught.value.__cause__ is not None


def test_a_service_that_answers_nothing_is_not_asked_for_every_batch_of_a_plan():
    def dead(service, seen, forward):
        if planned:
            raise reset()

    planned = []
    with scene(many(256 * 60), dead, config(2), workers=2) as (store, _service, wire):
        plan = store.measure(PLACE)
        planned.append(True)
        with pytest.raises(DeletionError) as caught:
            store.delete([PLACE], etags=plan.etags, sizes=plan.sizes)
        assert wire.counts["batch"] < 20
        assert caught.value.left_count == 256 * 60
