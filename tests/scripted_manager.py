"""A manager that says what a test tells it to, waits where it tells it to, and counts its calls."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pandas as pd

from expmgr.cleanup.plan import DeletionPlan, PlannedLocation, RunPlan
from expmgr.cleanup.report import DeletionReport
from expmgr.cleanup.tables import MODEL_COLUMNS, RunsAndModels
from expmgr.results import DeletionProgress, DeletionResult
from expmgr.storage.location import Location

HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    " $E=mc^2$ \u202egnorts\u202c \x00\x1b 💥"
)
NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


def run_table(count, *, now=None, measured=True, experiments=3):
    """A table as `manager.runs` returns it, newest first, with a protected run now and then."""
    now = now or datetime.now(timezone.utc)
    begins = [now - timedelta(minutes=37 * at + 5) for at in range(count)]
    names = ["churn / trees", "churn / linear", "churn / a very long experiment name for fits"]
    return pd.DataFrame(
        {
            "run_id": [f"{at:032x}" for at in range(count)],
            "run_name": [f"spry-model-{at}" for at in range(count)],
            "experiment_id": [str(at % experiments) for at in range(count)],
            "experiment_name": [names[at % experiments % 3] for at in range(count)],
            "status": [
                "RUNNING" if at == 2 else "FAILED" if at == 5 else "FINISHED" for at in range(count)
            ],
            "start_time": pd.to_datetime(begins, utc=True),
            "end_time": pd.to_datetime(
                [
                    None if at == 2 else begin + timedelta(seconds=40 + at)
                    for at, begin in enumerate(begins)
                ],
                utc=True,
            ),
            "model": [
                "deleted" if at % 11 == 7 else "none" if at % 13 == 9 else "stored"
                for at in range(count)
            ],
            "files": pd.array(
                [3 + at % 4 if measured else pd.NA for at in range(count)], dtype="Int64"
            ),
            "bytes": pd.array(
                [(at * 7919 % 1000 + 1) * 10_000 if measured else pd.NA for at in range(count)],
                dtype="Int64",
            ),
            "is_best": [at == 1 for at in range(count)],
            "protected_by": [
                "best" if at == 1 else "active run" if at == 2 else "" for at in range(count)
            ],
            "metrics.accuracy": [
                float("nan") if at == 4 else 0.99 - (at * 31 % 400) / 1000 for at in range(count)
            ],
            "params.depth": [str(at % 12) for at in range(count)],
            "tags.team": ["blue" if at % 2 else "green" for at in range(count)],
        }
    )


class ScriptedManager:
    """Only the public face that the browser uses."""

    tracking_uri = "http://127.0.0.1:5999"
    main_metric = "accuracy"
    plugin_name = "churn"
    is_loss = False
    n_top_runs = 10
    tracking_trouble = ""

    def __init__(self, table, *, files=12, size=34_120_000, models=None):
        self.table = table
        self.models_frame = pd.DataFrame(columns=list(MODEL_COLUMNS)) if models is None else models
        self.files, self.size = files, size
        self.calls = Counter()
        self.threads = set()
        self.gates = {}
        self.faults = {}
        self.results = {}
        self.reasons = {}
        self.raw = set()
        self.pins = {}
        self.cancelled = []
        self.interactive_client = SimpleNamespace(
            get_run=lambda _: SimpleNamespace(data=SimpleNamespace(tags={})),
            search_model_versions=lambda _: [SimpleNamespace(name="churn", version=3)],
        )

    def hold(self, name):
        """Make calls of a method wait until the event that is returned is set."""
        self.gates[name] = threading.Event()
        return self.gates[name]

    def _called(self, name):
        self.calls[name] += 1
        self.threads.add(threading.current_thread().name)
        gate = self.gates.get(name)
        if gate is not None:
            assert gate.wait(30), f"the test never let {name} go on"
        fault = self.faults.get(name)
        if isinstance(fault, list):
            fault = fault.pop(0) if fault else None
        if fault is not None:
            raise fault

    def runs(self, experiments=None, filter_string="", models_only=False, *, limit=None):
        self._called("runs" if limit is None else "runs(limit)")
        self.calls[f"filter: {filter_string}"] += 1
        if limit is None:
            return self.table.copy()
        return self._page_of(self.table.head(limit))

    def _page_of(self, frame):
        """What needs all runs or the registry is left out."""
        known = frame["protected_by"].where(frame["protected_by"] == "active run", "")
        return frame.assign(is_best=False, protected_by=known)

    def runs_and_models(self, experiments=None, filter_string="", *, limit=None):
        """One reading, which counts, waits and fails as `runs` does."""
        runs = self.runs(experiments, filter_string, limit=limit)
        if limit is None:
            return RunsAndModels(runs, self.models_frame.copy())
        made = self.models_frame[self.models_frame["run_id"].isin(runs["run_id"])]
        return RunsAndModels(runs, self._page_of(made))

    def _model(self, id_):
        """The row of a model by its id, None where it is a run's."""
        rows = self.models_frame[self.models_frame["model_id"] == id_]
        is_run = rows.empty or (self.table["run_id"] == id_).any()
        return None if is_run else rows.iloc[0]

    def plan_of(self, run_id):
        model = self._model(run_id)
        if model is not None:
            return self._plan_of_model(model)
        row = self.table.loc[self.table["run_id"] == run_id].iloc[0]
        kind = "run_artifacts" if run_id in self.raw else "logged_model"
        location = Location(
            "account", "models", f"1/models/m-{run_id}/artifacts", kind, f"m-{run_id}"
        )
        return RunPlan(
            run_id=run_id,
            run_name=row["run_name"],
            experiment_id=row["experiment_id"],
            experiment_name=row["experiment_name"],
            model=row["model"],
            locations=(PlannedLocation(location, self.files, self.size, {}),),
            reasons=tuple(self.reasons.get(run_id, ())),
        )

    def _plan_of_model(self, row):
        id_, run_id = row["model_id"], row["run_id"]
        logged = row["kind"] == "logged"
        place = (
            (f"1/models/{id_}/artifacts", "logged_model", id_)
            if logged
            else (f"1/{run_id}/artifacts/{row['name']}", "run_model", run_id)
        )
        return RunPlan(
            run_id=run_id,
            run_name=row["run_name"],
            experiment_id=row["experiment_id"],
            experiment_name=row["experiment_name"],
            model=row["model"],
            model_ids=(id_,) if logged else (),
            locations=(
                PlannedLocation(Location("account", "models", *place), self.files, self.size, {}),
            ),
            reasons=tuple(self.reasons.get(id_, ())),
            asked=id_,
            owner_id=run_id or id_,
        )

    def plan_deletion(self, run_ids, *, model_ids=None, cancel=None):
        self._called("plan_deletion")
        return DeletionPlan(tuple(self.plan_of(run_id) for run_id in run_ids))

    def delete_model(
        self,
        run_id,
        experiment_id=None,
        model_ids=None,
        force=False,
        *,
        plan=None,
        on_progress=None,
        cancel=None,
    ):
        assert not force
        assert plan is not None
        if on_progress is not None:
            on_progress(DeletionProgress(3, self.size // 4, self.files, self.size))
        self._called("delete_model")
        if cancel is not None and cancel.is_set():
            self.cancelled.append(run_id)
            return DeletionResult(
                run_id, "failed", 3, self.size // 4, 1, 0.4, "Cancelled after 3 files."
            )
        if run_id in self.results:
            return self.results[run_id]
        self._gone(run_id)
        return DeletionResult(run_id, "deleted", self.files, self.size, 1, 0.8)

    def pin(self, run_id, reason):
        self._called("pin")
        self.pins[run_id] = reason

    def unpin(self, run_id):
        self._called("unpin")
        return self.pins.pop(run_id, None) is not None

    def _gone(self, id_):
        """A run goes with all of its models, and reads deleted once the last of them went."""
        frame = self.models_frame
        model = self._model(id_)
        run_id = id_ if model is None else model["run_id"]
        chosen = frame["run_id" if model is None else "model_id"] == id_
        frame.loc[chosen, ["model"]] = "deleted"
        if (frame.loc[frame["run_id"] == run_id, "model"] == "deleted").all():
            self.table.loc[self.table["run_id"] == run_id, ["model"]] = "deleted"

    def delete_models(
        self, run_ids_or_plan, force=False, progress=True, *, on_progress=None, cancel=None
    ):
        self._called("delete_models")
        assert not progress
        done = []
        for at, run in enumerate(run_ids_or_plan.deletable):
            if cancel is not None and cancel.is_set():
                break
            done.append(
                self.results.get(
                    run.id, DeletionResult(run.id, "deleted", run.files, run.bytes, 1, 0.1)
                )
            )
            if on_progress is not None:
                on_progress(
                    DeletionProgress(
                        (at + 1) * self.files,
                        (at + 1) * self.size,
                        run_ids_or_plan.files,
                        run_ids_or_plan.bytes,
                    )
                )
        return DeletionReport(tuple(done))

    def storage_usage(self, experiments=None, *, on_progress=None, cancel=None):
        self._called("storage_usage")
        if on_progress is not None:
            on_progress(10, 1000)
        wanted = self.table[self.table["experiment_id"].isin(experiments)]
        return pd.DataFrame(
            {
                "run_id": wanted["run_id"],
                "experiment_id": wanted["experiment_id"],
                "model": wanted["model"],
                "files": 4,
                "bytes": 4_000_000,
            }
        )

    def models(self, experiments=None, filter_string=""):
        self._called("models")
        chosen = self.models_frame["experiment_id"].isin(experiments or [])
        return self.models_frame[chosen | (experiments is None)].reset_index(drop=True)
