"""A scripted manager that plans clean-ups, keeps a log, and says what it was asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pandas as pd
from scripted_manager import ScriptedManager, run_table

from expmgr.cleanup.deletion_log import LOG_COLUMNS
from expmgr.cleanup.plan import DeletionPlan, Kept
from expmgr.cleanup.report import DeletionReport
from expmgr.errors import TakesEverythingError
from expmgr.results import DeletionProgress, DeletionResult
from expmgr.storage.restoration import StorageRestoration

NOW = datetime.now(timezone.utc)


def record(id_, state="deleted", *, hours=1.0, **values):
    """One row of a deletion log, begun so many hours ago."""
    row = {
        "when": NOW - timedelta(hours=hours),
        "ended": NOW - timedelta(hours=hours) if state != "marked" else None,
        "who": "ann@desk",
        "id": id_,
        "run_id": id_,
        "name": f"name of {id_}",
        "experiment": "churn / trees",
        "part": "model",
        "state": state,
        "files": 3,
        "bytes": 1_000_000,
        "forced": "",
        "due": None,
        "note": "",
    }
    return {**row, **values}


def log_of(records):
    frame = pd.DataFrame(records, columns=list(LOG_COLUMNS))
    for name in ("when", "ended", "due"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    for name in ("files", "bytes"):
        frame[name] = frame[name].astype("Int64")
    return frame.sort_values("when", ascending=False, kind="stable").reset_index(drop=True)


class CleaningManager(ScriptedManager):
    """Plans to delete ``goes`` of its runs, whatever the policy is, and keeps the others."""

    def __init__(self, count=40, *, goes=range(5, 15), records=(), **options):
        super().__init__(run_table(count).assign(model="stored"), **options)
        self.goes = [self.table["run_id"].iloc[at] for at in goes]
        self.asked = []
        self.prices = None
        self.takes_everything = False
        self.part = "model"
        self.log = list(records)
        self.marked = []
        self.kept = []
        self.keeps = True
        self.blob_store = SimpleNamespace(
            retention=lambda: SimpleNamespace(keeps=self.keeps), list=lambda _: []
        )

    def plan_cleanup(self, *, on_progress=None, cancel=None, **asked):
        self.asked.append(asked)
        self._called("plan_cleanup")
        if self.takes_everything and not asked.get("everything"):
            raise TakesEverythingError("it takes every model of 'churn' (40 models)")
        if on_progress is not None:
            on_progress(3, len(self.goes))
        rest = [one for one in self.table["run_id"] if one not in self.goes]
        return DeletionPlan(
            tuple(replace(self.plan_of(run_id), part=self.part) for run_id in self.goes),
            tuple(
                Kept(one, f"kept {at}", "kept by best(3)", self.size)
                if at % 3
                else Kept(one, f"kept {at}", f"registered: churn v{at}", self.size, "registered")
                for at, one in enumerate(rest)
            ),
            prices=self.prices,
        )

    def delete_models(self, plan, force=False, progress=True, *, after=None, **options):
        if after is None:
            return super().delete_models(plan, force, progress, **options)
        self._called("mark_models")
        self.marked += [(run.id, after) for run in plan]
        options["on_progress"](DeletionProgress(0, 0, models=len(plan)))
        done = [DeletionResult(run.id, "marked", message="goes 6 Dec: 12 files") for run in plan]
        return DeletionReport(
            tuple(self.results.get(one.run_id, one) for one in done),
        )

    def deletion_log(self, experiments=None):
        self._called("deletion_log")
        return log_of(self.log)

    def _end(self, id_, state):
        self.log = [
            {**one, "state": state, "due": None} if one["id"] == id_ else one for one in self.log
        ]

    def keep(self, id_):
        self._called("keep")
        self.kept.append(id_)
        self._end(id_, "kept")
        return True

    def restore_model(self, run_id):
        self._called("restore_model")
        self._end(run_id, "restored")
        return StorageRestoration(3, 1_000_000, 0.5)

    def delete_due(self, experiments=None, progress=True, *, on_progress=None, cancel=None):
        self._called("delete_due")
        due = [one for one in self.log if one["state"] == "marked" and one["due"] <= NOW]
        for one in due:
            self._end(one["id"], "deleted")
        return DeletionReport(
            tuple(DeletionResult(one["id"], "deleted", 3, 1_000_000, 1, 0.1) for one in due)
        )


def failing(manager, id_, message="403: not permitted"):
    """Have the deletion of one run fail."""
    result = DeletionResult(id_, "failed", message=message, name=f"name of {id_}")
    manager.results[id_] = result
    return replace(result)
