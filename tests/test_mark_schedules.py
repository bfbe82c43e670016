"""Marks, keeps, pins, deletions, deaths and the passing of time in any order, on real servers.

Nothing goes before it is due, nothing that was kept goes, nothing newer than the mark goes, what is
due goes, and the log tells each. ``EXPMGR_MARK_SCHEDULES`` is how many schedules are drawn.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest
from lab import Lab
from moved_clock import Clock
from seeds import seed_of
from servers import Backend
from test_deletion_properties import build

from expmgr.cleanup import primitive
from expmgr.tracking.journal import now_ms

SCHEDULES = int(os.environ.get("EXPMGR_MARK_SCHEDULES") or 6)
SEED = seed_of("EXPMGR_MARK_SEED", 417)
FIRST = int(os.environ.get("EXPMGR_MARK_FIRST") or 0)
STEPS = 18
HOUR = 3_600_000
LAYOUTS = ("logged", "two logged", "soft-deleted", "history", "marker", "raw")
NAMES = ("sub dir/ü %2F.txt", "a+b#c?.json", "artifacts/x", "w2.bin")


class Killed(BaseException):
    """The process dies."""


@dataclass
class Told:
    """What should be so of one run, by what was done to it.

    Attributes
    ----------
    folder
        Where a file that comes later is put.
    mark
        When it is due (ms), and what it saw: name to entity tag.
    half
        What a deletion that did not end may take.
    states
        Marks by how they ended.
    """

    layout: str
    names: set[str]
    folder: str
    mark: tuple[int, dict[str, str]] | None = None
    half: dict[str, str] | None = None
    pinned: bool = False
    live_until: int = 0
    deletions: int = 0
    states: Counter[str] = field(default_factory=Counter)

    def end_mark(self, state: str) -> None:
        if self.mark is not None:
            self.states[state] += 1
        self.mark = None


@pytest.mark.usefixtures("_without_fsync")
@pytest.mark.timeout(300 + 30 * SCHEDULES)
def test_marks_hold_in_any_order_of_things(
    sqlite_uri, artifact_root, container, credentials, tmp_path, plugin_name
):
    del artifact_root
    backend = Backend("sqlite", sqlite_uri, None, container)
    lab = Lab(backend, credentials, None, tmp_path / "lab", plugin_name)
    failures = []
    for number in range(FIRST, FIRST + SCHEDULES):
        with pytest.MonkeyPatch.context() as patch:
            world = World(lab, Random(f"{SEED} {number}"), Clock(patch))
            try:
                world.play()
            except Exception as error:  # noqa: BLE001 - whatever it is, the seed is told with it
                again = f"EXPMGR_MARK_SEED={SEED} EXPMGR_MARK_FIRST={number}"
                done = "".join(f"\n    {step}" for step in world.done)
                failures.append(f"{again}\n  {type(error).__name__}: {error}{done}")
    assert not failures, "\n\n".join(failures)


class World:
    """One experiment with a few runs, and what is done to it."""

    def __init__(self, lab: Lab, chance: Random, clock: Clock) -> None:
        self.lab, self.chance, self.clock = lab, chance, clock
        self.manager = lab.manager()
        self.container = self.manager.blob_store.container_client()
        self.home = lab.experiment(uuid.uuid4().hex)
        self.done: list[str] = []
        self.runs: dict[str, Told] = {}
        build(lab, self.container, self.home, "marker", {"MLmodel": b"best"}, 0.99, pinned=False)
        for _ in range(3):
            layout = chance.choice(LAYOUTS)
            files = {name: name.encode() for name in chance.sample(NAMES, chance.randint(1, 4))}
            files |= {"w.bin": b"w", "MLmodel": b"m"}
            run_id, names = build(lab, self.container, self.home, layout, files, 0.1, pinned=False)
            folder = next(name for name in sorted(names) if name.endswith("/w.bin"))
            self.runs[run_id] = Told(layout, names, folder.removesuffix("/w.bin"))

    def play(self) -> None:
        steps = [self.mark] * 4 + [self.due] * 5 + [self.passes] * 4 + [self.keep] * 2
        steps += [
            self.pin,
            self.delete,
            self.comes,
            self.changes,
            self.dies,
            self.dies,
            self.resume,
        ]
        before = self.blobs()
        for _ in range(STEPS):
            self.chance.choice(steps)(self.chance.choice(list(self.runs)))
            after = self.blobs()
            own = set().union(*(told.names for told in self.runs.values()))
            lost = {name for name in before if name not in after}
            assert lost <= own, f"what is nobody's went: {sorted(lost - own)}"
            before = after
            self.check_tables()
        self.check_log()

    # -------------------------------------------------------------------------------- what is there

    def blobs(self) -> dict[str, str]:
        return {blob.name: blob.etag for blob in self.container.list_blobs()}

    def there(self, told: Told) -> dict[str, str]:
        return {name: etag for name, etag in self.blobs().items() if name in told.names}

    def unmarked(self, told: Told, there: dict[str, str]) -> bool:
        """Whether only its `MLmodel` files would tell that it is a model, and they are gone."""
        return told.layout == "marker" and not any(name.endswith("/MLmodel") for name in there)

    def now(self) -> int:
        return now_ms()

    def note(self, text: str) -> None:
        self.done.append(text)

    def unchanged(self, before: dict[str, str]) -> None:
        assert self.blobs() == before, "something went, or came"

    # ------------------------------------------------------------------------------- what is done

    def mark(self, run_id: str) -> None:
        told, before = self.runs[run_id], self.blobs()
        hours = self.chance.choice((1, 6, 40))
        there, live = self.there(told), self.now() < told.live_until
        (result,) = self.manager.delete_models([run_id], after=f"{hours}h", progress=False)
        self.note(f"{run_id[:5]} mark {hours}h: {result.outcome} {result.message}")
        self.unchanged(before)
        if live or (told.half is not None and there and not told.pinned):
            assert result.outcome == "failed", result.message
        elif not there or self.unmarked(told, there):
            assert result.outcome in {"not_found", "failed"}, result.message
        elif told.pinned:
            assert result.outcome == "protected", result.message
        else:
            assert result.outcome == "marked", result.message
            told.end_mark("replaced")
            told.mark = (self.now() + hours * HOUR, there)

    def keep(self, run_id: str) -> None:
        told, before = self.runs[run_id], self.blobs()
        kept = self.manager.keep(run_id)
        self.note(f"{run_id[:5]} keep: {kept}")
        self.unchanged(before)
        assert kept is (told.mark is not None)
        told.end_mark("kept")

    def pin(self, run_id: str) -> None:
        told = self.runs[run_id]
        self.note(f"{run_id[:5]} {'un' if told.pinned else ''}pin")
        if told.pinned:
            self.manager.unpin(run_id)
        else:
            self.manager.pin(run_id, "for a while")
        told.pinned = not told.pinned

    def passes(self, _: str) -> None:
        hours = self.chance.choice((1, 5, 30))
        self.note(f"{hours} h pass")
        self.clock.move(hours=hours, seconds=1)

    def comes(self, run_id: str) -> None:
        told = self.runs[run_id]
        name = f"{told.folder}/new-{len(told.names)}.bin"
        self.note(f"{run_id[:5]} {name} comes")
        self.container.upload_blob(name, b"new")
        told.names.add(name)

    def changes(self, run_id: str) -> None:
        there = sorted(self.there(self.runs[run_id]))
        for name in self.chance.sample(there, self.chance.choice((1, len(there))) if there else 0):
            self.note(f"{run_id[:5]} {name} changes")
            self.container.upload_blob(name, b"changed", overwrite=True)

    def delete(self, run_id: str) -> None:
        told = self.runs[run_id]
        there, before = self.there(told), self.blobs()
        live = self.now() < told.live_until
        result = self.manager.delete_model(run_id)
        self.note(f"{run_id[:5]} delete: {result.outcome} {result.message}")
        if live or told.pinned or not there:
            if told.half is None or live or there:
                self.unchanged(before)
            return
        if self.unmarked(told, there):
            assert result.outcome == "failed", result.message
            self.unchanged(before)
            return
        assert result.outcome == "deleted", result.message
        assert not self.there(told)
        told.deletions += 1
        told.half = None
        told.end_mark("done")

    def resume(self, _: str) -> None:
        before = self.blobs()
        results = self.manager.resume_deletions([self.home])
        after = self.blobs()
        allowed: set[str] = set()
        for run_id, told in self.runs.items():
            if told.half is not None and self.now() >= told.live_until and not told.pinned:
                allowed |= {n for n, etag in told.half.items() if before.get(n) == etag}
                if not self.there(told):
                    told.half = None
            self.note(f"{run_id[:5]} resumed")
        assert {name for name in before if name not in after} == allowed, repr(results)

    def due(self, _: str) -> None:
        expected = {run_id: self.expected(told) for run_id, told in self.runs.items()}
        before = self.blobs()
        twice = self.chance.random() < 0.2
        reports = self.delete_due(2 if twice else 1)
        self.note(f"due: {[repr(report) for report in reports]}")
        gone = set(before) - set(self.blobs())
        assert gone == set().union(*(what for _, what in expected.values()))
        for run_id, (outcome, _) in expected.items():
            told = self.runs[run_id]
            told_of = {r.outcome for report in reports for r in report if r.run_id == run_id}
            assert outcome in told_of if outcome else not told_of, f"{run_id}: {told_of}"
            if outcome and outcome != "protected":
                self.carried_out(told, before)

    def expected(self, told: Told) -> tuple[str, set[str]]:
        """What a delete_due() should say of a run now, and what should go."""
        if told.mark is None or told.mark[0] > self.now():
            return "", set()
        there = self.there(told)
        seen = {name for name, etag in told.mark[1].items() if there.get(name) == etag}
        if not there:
            return "not_found", set()
        if not seen:
            return "failed", set()
        if told.pinned:
            return "protected", set()
        return ("deleted" if len(seen) == len(there) else "failed"), seen

    def carried_out(self, told: Told, before: dict[str, str]) -> None:
        assert told.mark is not None
        seen = {name for name, etag in told.mark[1].items() if before.get(name) == etag}
        if seen:
            told.deletions += 1
            told.half = told.mark[1] if self.there(told) else None
        told.end_mark("done")

    def delete_due(self, at_once: int) -> list:
        reports: list = []
        managers = [self.manager, self.lab.manager()][:at_once]
        threads = [
            threading.Thread(
                target=lambda m=manager: reports.append(m.delete_due([self.home], progress=False))
            )
            for manager in managers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(reports) == at_once, "one of them raised"
        return reports

    def dies(self, _: str) -> None:
        """Let the process die in its only deletion, after one file."""
        going = [run_id for run_id, told in self.runs.items() if self.expected(told)[1]]
        if len(going) != 1:
            return
        told, before = self.runs[going[0]], self.blobs()
        _, seen = self.expected(told)
        others = [one for one in self.runs.values() if one is not told and self.expected(one)[0]]

        def dies(_store, _current) -> bool:
            self.container.delete_blob(min(seen))
            raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(primitive, "delete_resolved", dies)
            with pytest.raises(Killed):
                self.manager.delete_due([self.home], progress=False)
        self.note(f"{going[0][:5]} due: killed")
        assert set(before) - set(self.blobs()) == {min(seen)}
        assert told.mark is not None
        told.half, told.live_until = told.mark[1], self.now() + 900_000
        told.deletions += 1
        told.end_mark("done")
        if others:  # whether they were begun before the death is nobody's promise
            self.clock.move(hours=1)
            self.due("")

    # ------------------------------------------------------------------------------ what is told

    def check_tables(self) -> None:
        marked = {run_id: told.mark for run_id, told in self.runs.items() if told.mark}
        table = self.manager.runs([self.home]).set_index("run_id")
        marks = self.manager.marks([self.home]).set_index("id")
        assert set(marks.index) == set(marked)
        assert set(table.index[table["goes"].notna()]) == set(marked)
        for run_id, (due, seen) in marked.items():
            assert abs(table.loc[run_id, "goes"].timestamp() * 1000 - due) < 60_000
            assert marks.loc[run_id, "files"] == len(seen)

    def check_log(self) -> None:
        log = self.manager.deletion_log([self.home])
        assert log["when"].is_monotonic_decreasing
        for run_id, told in self.runs.items():
            mine = log[log["run_id"] == run_id]
            marks = Counter(mine[mine["due"].notna()]["state"])
            assert marks["marked"] == (told.mark is not None)
            assert marks["kept"] == told.states["kept"]
            # What a later word overtook says so once a delete_due() has come by.
            ended = told.states["done"] + told.states["replaced"]
            assert marks["done"] + marks["replaced"] == ended
            deletions = mine[mine["due"].isna()]
            assert len(deletions) >= told.deletions
            if told.half is not None:
                assert deletions.iloc[0]["state"] in {"deleting", "interrupted", "failed"}
            elif told.deletions:
                assert "deleted" in set(deletions["state"])
