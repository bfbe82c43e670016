"""Deletions through a proxy that spoils answers by a schedule: what is promised holds for any.

``EXPMGR_SCHEDULES`` is how many schedules there are (60). A failure names its schedule and what
draws it again; all of them are tried, and up to ten failures told.
"""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import pytest
from azure.storage.blob import (
    BlobServiceClient,
)
from fault_proxy import LIES, PAGE, FaultProxy, Schedule
from lab import Lab
from seeds import seed_of
from servers import Backend, container_sas, signed
from test_deletion_properties import build
from world import empty_tables, wipe

from expmgr import RetryConfig, RetryParams
from expmgr.tracking.journal import read_records

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

SCHEDULES = int(os.environ.get("EXPMGR_SCHEDULES") or 60)
SEED = seed_of("EXPMGR_SCHEDULE_SEED", 828)
FIRST = int(os.environ.get("EXPMGR_SCHEDULE_FIRST") or 0)
MOST_TOLD = 40
BATCH = 4  # blobs in a batch here, so that a few blobs make several
ATTEMPTS = 4
PATIENCE = RetryParams(attempts=ATTEMPTS, wait_initial=0, wait_max=0.001, deadline=20)
RETRY = RetryConfig(
    delete_model=PATIENCE, list_blobs=PATIENCE, upload=PATIENCE, download=PATIENCE, inspect=PATIENCE
)
LAYOUTS = ("logged", "two logged", "soft-deleted", "history", "marker", "raw")
NAMES = ("data/w.bin", "sub dir/ü %2F.txt", "a+b#c?.json", "artifacts/x", "MLmodel")


@pytest.fixture
def bench(_without_fsync, azurite, sqlite_uri, tmp_path, plugin_name, monkeypatch):
    """Makes one small team after another, each in a container of its own behind the proxy."""
    monkeypatch.setattr("expmgr.storage.deletion.BATCH_SIZE", BATCH)
    with (
        BlobServiceClient.from_connection_string(azurite.connection_string) as service,
        FaultProxy(azurite.endpoint) as proxy,
    ):
        yield Bench(azurite, service, proxy, sqlite_uri, tmp_path, plugin_name)


class Bench:
    def __init__(self, azurite, service, proxy, uri, folder, plugin) -> None:
        self.azurite, self.service, self.proxy = azurite, service, proxy
        self.uri, self.folder, self.plugin = uri, folder, plugin
        self.database = uri.removeprefix("sqlite:///")
        self.tables = empty_tables(self.database)

    def team(self, chance: Random, counts=(1, 1, 1, 1, 2)) -> Team:
        """Make a best model and a few others, which are to be deleted."""
        wipe(self.database, self.tables)
        container = self.service.create_container(f"faults-{uuid.uuid4().hex[:16]}")
        name = container.container_name
        sas = container_sas(self.azurite, name)
        credentials = signed(self.azurite, name, sas, endpoint=self.proxy.endpoint)
        lab = Lab(
            Backend("sqlite", self.uri, None, name), credentials, None, self.folder, self.plugin
        )
        make = (lab, container, lab.experiment_id)
        build(*make, "marker", {"w.bin": b"best"}, 0.99, pinned=False)
        models = dict(
            build(*make, chance.choice(LAYOUTS), _files(chance), 0.1, pinned=False)
            for _ in range(chance.choice(counts))
        )
        container.upload_blob("somebody/else's", b"x")
        return Team(lab, container, models)


@dataclass
class Team:
    """Runs to be deleted, each with the names of its model's blobs, and all else there is."""

    lab: Lab
    container: ContainerClient
    models: dict[str, set[str]]

    def blobs(self) -> dict[str, str]:
        """Name and entity tag of everything in the container, asked without the proxy."""
        return {blob.name: blob.etag for blob in self.container.list_blobs()}

    def last_record(self, run_id: str):
        """The journal's last word on a run, None where it holds none."""
        records = read_records(run_id, self.lab.tags(run_id))
        return records[-1] if records else None


def _files(chance: Random) -> dict[str, bytes]:
    names = [f"part-{number:02}" for number in range(chance.choice((1, 3, 8)))]
    names += chance.sample(NAMES, chance.randint(1, len(NAMES)))
    return {name: b"x" * chance.randint(1, 40) for name in names}


@pytest.mark.timeout(300 + 5 * SCHEDULES)
@pytest.mark.parametrize(
    ("counts", "schedules"),
    [((1, 1, 1, 1, 2), SCHEDULES), ((2, 3, 5), max(1, SCHEDULES // 3))],
    ids=["one by one", "together"],
)
def test_what_is_promised_holds_under_any_schedule(
    bench, record_property, monkeypatch, counts, schedules
):
    if max(counts) > 2:
        go_together(monkeypatch)
    failures = []
    requests = 0
    for number in range(FIRST, FIRST + schedules):
        seed = f"{SEED} {number}"
        schedule = Schedule(seed)
        try:
            requests += check_schedule(bench, Random(f"team {seed}"), schedule, counts)
        except Exception as error:  # noqa: BLE001 - whatever it is, the seed is told with it
            draws = f"EXPMGR_SCHEDULE_SEED={SEED} EXPMGR_SCHEDULE_FIRST={number} EXPMGR_SCHEDULES=1"
            asked = "".join(
                f"\n    {asked.number} {asked.kind} {asked.fault}" for asked in bench.proxy.asked
            )
            failures.append(f"{draws}\n  {schedule}: {type(error).__name__}: {error}{asked}")
        if len(failures) == MOST_TOLD:
            break
    record_property("count", number + 1 - FIRST)
    record_property("seed", SEED)
    record_property("failures", len(failures))
    record_property("note", f"{requests:,} requests")
    assert not failures, "\n\n".join(failures)


def go_together(patch) -> None:
    """Let a few runs share requests as many do."""
    patch.setattr("expmgr.cleanup.bulk_together._LEAST_RUNS", 1)
    patch.setattr("expmgr.storage.together._LEAST", 2)
    patch.setattr("expmgr.storage.deletion_together.BATCH_SIZE", BATCH)


def check_schedule(bench: Bench, chance: Random, schedule: Schedule, counts) -> int:
    team = bench.team(chance, counts)
    before = team.blobs()
    doomed = set().union(*team.models.values())
    bench.proxy.begin(schedule)
    manager = team.lab.manager(retry_config=RETRY)
    begun = time.monotonic()
    run_ids = list(team.models)
    if len(run_ids) == 1:
        results = [manager.delete_model(run_ids[0])]
    else:
        results = list(manager.delete_models(run_ids, progress=False))
    seconds = time.monotonic() - begun
    bench.proxy.wait_until_idle()
    asked = bench.proxy.asked
    after = team.blobs()
    bench.proxy.begin(bench.proxy.fair)
    try:
        # Nothing else was touched, nor asked for.
        assert {name for request in asked for name in request.names} <= doomed
        assert {n: e for n, e in after.items() if n not in doomed} == {
            n: e for n, e in before.items() if n not in doomed
        }
        assert len(asked) <= most_requests(team), "requests without bound"
        assert seconds < 60 * len(run_ids)
        assert [result.run_id for result in results] == run_ids
        for result in results:
            check_result(team, result, set(after), schedule)
        if chance.random() < 0.3 and not saw_less(schedule):
            for result in manager.resume_deletions():
                assert result.outcome == "deleted", result.message
        for run_id in run_ids:
            finish(team, manager, run_id, chance)
        assert team.blobs() == {n: e for n, e in before.items() if n not in doomed}
    finally:
        manager.blob_store.close()
        bench.proxy.begin(bench.proxy.fair)
        bench.proxy.asked = asked
        team.container.delete_container()
    return len(asked)


def most_requests(team: Team) -> int:
    """Every listing and delete of every attempt: twice for what is asked one by one after all."""
    blobs = sum(map(len, team.models.values())) + 20  # the best one's, which are looked at, too
    pages = blobs // PAGE + 4 * (len(team.models) + 1)
    return ATTEMPTS * (10 * pages + 3 * blobs)


def check_result(team: Team, result, there: set[str], schedule: Schedule) -> None:
    """Its words are true, and the journal says the same."""
    model = team.models[result.run_id]
    left = model & there
    record = team.last_record(result.run_id)
    assert saw_less(schedule) or "came or changed" not in result.message
    if result.outcome == "deleted":
        assert not left, f"deleted, and there are {sorted(left)}"
        assert result.files <= len(model)
        assert record.state == "deleted"
        assert team.lab.tags(result.run_id)["expmgr.model"] == "deleted"
        return
    if result.outcome == "not_found":
        assert not left, f"not found, and there are {sorted(left)}"
        return
    if result.outcome == "protected":  # what could not be looked up protects
        assert all(reason.kind in {"unknown", "best"} for reason in result.reasons)
        assert left == model
        assert record is None
        return
    assert result.files <= len(model - left)
    if record is None:
        assert left == model, "something went, and the journal does not know"
        return
    assert record.state == "failed"
    assert set(result.left) <= model
    if any(words in result.message for words in ("at least", "could not be listed")):
        return
    if saw_less(schedule):
        assert result.left or not left
        return
    assert set(result.left) == left, result.message


def saw_less(schedule: Schedule) -> bool:
    """Whether a plan may have seen less than there was: the rest then came after it."""
    return schedule.lied in LIES["list"]


def finish(team: Team, manager, run_id: str, chance: Random) -> None:
    """Deleting again in fair weather ends it; once more finds nothing."""
    result = manager.delete_model(run_id)
    assert result.outcome in {"deleted", "not_found"}, result.message
    assert not team.models[run_id] & set(team.blobs())
    assert team.last_record(run_id).state == "deleted", "the journal still thinks otherwise"
    if chance.random() < 0.2:
        assert manager.delete_model(run_id).outcome == "not_found"
