"""A process that is killed at any request of a deletion leaves what resume finishes, and no more.

``EXPMGR_KILLS`` is how many processes are killed (10); a failure names what draws it again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass
from random import Random

import pytest
from seeds import seed_of
from test_crash_and_resume import expire, state
from test_schedules import RETRY, bench, go_together  # noqa: F401 - a fixture

from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend

KILLS = int(os.environ.get("EXPMGR_KILLS") or 10)
SEED = seed_of("EXPMGR_KILL_SEED", 68)
FIRST = int(os.environ.get("EXPMGR_KILL_FIRST") or 0)
LAST_REQUEST, LAST_DELETE = 24, 3
"""A kill is drawn among so many requests, or deletes; where there are fewer the process lives."""
_PRELOADED = (
    *("expmgr.azure_blob", "expmgr.cleanup.planner", "expmgr.cleanup.deletion"),
    *("expmgr.storage.blob_store", "azure.storage.blob", "mlflow.tracking"),
    "mlflow.store.tracking.sqlalchemy_store",
)


def delete(uri: str, credentials: dict, plugin: str, run_ids: list[str]) -> None:
    """What the process does that will be killed: of several runs all together."""
    manager = ExperimentsManagerWithAzureBlobBackend(
        tracking_uri=uri,
        azure_blob_credentials=AzureBlobCredentials(**credentials),
        main_metric="accuracy",
        plugin_name=plugin,
        retry_config=RETRY,
    )
    if len(run_ids) == 1:
        manager.delete_model(run_ids[0])
        return
    with pytest.MonkeyPatch.context() as patch:
        go_together(patch)
        manager.delete_models(run_ids, progress=False)


@dataclass
class Killer:
    """Weather in which a process dies at one request, before that is done or after."""

    at: int
    kinds: frozenset[str]
    done: bool
    process: multiprocessing.Process | None = None

    def __call__(self, asked, forward):
        if asked.kind not in self.kinds or self.at > 0:
            self.at -= asked.kind in self.kinds
            return forward()
        answer = forward() if self.done else None
        os.kill(self.process.pid, signal.SIGKILL)
        self.done = False  # what else is under way comes to nothing
        return answer


@pytest.mark.timeout(200 + 15 * KILLS)
def test_wherever_a_process_is_killed_resume_finishes_and_nothing_else_goes(
    bench,  # noqa: F811
    record_property,
):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    killed = midway = 0
    number = FIRST
    while killed < KILLS:
        seed = f"{SEED} {number}"
        try:
            found = check_kill(bench, Random(seed), context)
        except Exception as error:
            draws = f"EXPMGR_KILL_SEED={SEED} EXPMGR_KILL_FIRST={number} EXPMGR_KILLS=1"
            raise AssertionError(draws) from error
        killed += found is not None
        midway += bool(found)
        number += 1
        assert number - FIRST < 5 * KILLS + 5, "hardly anything was killed"
    record_property("note", f"{midway} of the killed had deleted something")
    if KILLS >= 10:
        assert midway, "none of the kills hit a deletion that had begun"


def check_kill(bench, chance: Random, context) -> bool | None:  # noqa: F811
    """Kill one; returns whether some of its files were gone, None where it ended before."""
    team = bench.team(chance, (1, 1, 3, 5))
    run_ids = list(team.models)
    doomed = set().union(*team.models.values())
    before = team.blobs()
    outside = {name: tag for name, tag in before.items() if name not in doomed}
    known = team.lab.credentials
    credentials = {
        "account_name": known.account_name,
        "container_name": known.container_name,
        "account_url": known.account_url,
        "sas_token": known.sas_token.get_secret_value(),
    }
    deletes = frozenset({"batch", "delete"})
    if chance.random() < 0.6:
        killer = Killer(chance.randrange(LAST_DELETE), deletes, chance.random() < 0.7)
    else:
        kinds = deletes | {"list"}
        killer = Killer(chance.randrange(LAST_REQUEST), kinds, chance.random() < 0.5)
    process = context.Process(
        target=delete, args=(bench.uri, credentials, team.lab.plugin, run_ids), daemon=True
    )
    killer.process = process
    bench.proxy.begin(killer)
    process.start()
    process.join(120)
    bench.proxy.begin(bench.proxy.fair)
    try:
        assert process.exitcode in {0, -signal.SIGKILL}
        after = team.blobs()
        assert {name: tag for name, tag in after.items() if name not in doomed} == outside
        manager = team.lab.manager(retry_config=RETRY)
        if process.exitcode == 0:
            assert not doomed & set(after)
            return None
        open_ = 0
        for run_id, model in team.models.items():
            record = team.last_record(run_id)
            if record is None:
                assert model <= set(after), "something went, and the journal does not know"
                assert manager.delete_model(run_id).outcome == "deleted"
            elif record.state != "deleted":
                open_ += 1
                assert record.state == "deleting"
                assert state(manager, run_id) == "deleting"
                expire(team.lab, run_id)
                assert state(manager, run_id) == "interrupted"
            else:
                assert not model & set(after), "said to be deleted, and is there"
        results = manager.resume_deletions()
        assert [result.outcome for result in results] == ["deleted"] * open_
        assert team.blobs() == outside
        assert all(team.last_record(run_id).state == "deleted" for run_id in run_ids)
        manager.blob_store.close()
        return not doomed <= set(after)
    finally:
        team.container.delete_container()
