"""Runs with studies, several models, and models without a run, as a manager's tables hold them.

By name: "search A" has 6 trials, the third with three checkpoints; "search B" has 3 trials of the
same names, and a model of its own; "sweep" has a child "fold 1" that has two children of its own;
"four checkpoints" made four models; "plain 0" .. are runs of one model; two models have no run.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pandas as pd
from scripted_manager import ScriptedManager, run_table

from expmgr.catalog.reason import Reason, Reasons
from expmgr.cleanup.tables import MODEL_COLUMNS

PLAIN = 6
FREE = Reasons()
BEST = Reasons([Reason("best", "best accuracy of its experiment", "m-best")])


def study_tables(*, now=None):
    """Runs and models."""
    now = now or datetime.now(timezone.utc)
    names = ["search A", *(f"trial {at}" for at in range(6))]
    parents = [None, *["search A"] * 6]
    names += ["search B", *(f"trial {at}" for at in range(3))]
    parents += [None, *["search B"] * 3]
    names += ["sweep", "fold 1", "leaf 1", "leaf 2", "four checkpoints"]
    parents += [None, "sweep", "fold 1", "fold 1", None]
    names += [f"plain {at}" for at in range(PLAIN)]
    parents += [None] * PLAIN
    table = run_table(len(names), now=now, experiments=1)
    table["run_name"] = names
    table["status"] = "FINISHED"
    first = {name: table["run_id"][at] for at, name in reversed(list(enumerate(names)))}
    table["parent_run_id"] = [None if name is None else first[name] for name in parents]
    parent = table["run_name"].isin({name for name in parents if name})
    table["model"] = ["none" if is_parent else "stored" for is_parent in parent]
    table.loc[table["run_name"] == "search B", "model"] = "stored"
    table["bytes"] = pd.array([1000 * (at + 1) for at in range(len(table))], dtype="Int64")
    table["files"] = pd.array([3] * len(table), dtype="Int64")
    table.loc[table["model"] == "none", ["files", "bytes"]] = 0
    table["metrics.accuracy"] = [0.5 + at / 100 for at in range(len(table))]
    table.loc[parent, "metrics.accuracy"] = float("nan")
    table["is_best"] = False
    table["protected_by"] = pd.Series([FREE] * len(table), dtype=object)
    rows = []

    def add(run_id, name, step=None, quality=None, size=1000, *, held=FREE, at=0):
        rows.append(
            {
                "model_id": f"m-{len(rows):032x}",
                "name": name,
                "kind": "logged",
                "run_id": run_id,
                "run_name": table.set_index("run_id")["run_name"].get(run_id, ""),
                "experiment_id": "0",
                "experiment_name": table["experiment_name"][0],
                "status": "READY",
                "step": step,
                "created": pd.Timestamp(now - timedelta(minutes=at)),
                "quality": quality,
                "model": "stored",
                "files": 3,
                "bytes": size,
                "is_best": bool(held),
                "protected_by": held,
                "alone": True,
                "goes": pd.NaT,
                "metrics.accuracy": float("nan") if quality is None else quality,
            }
        )

    columns = ["run_id", "run_name", "model", "metrics.accuracy"]
    for run_id, name, model, accuracy in table[columns].to_numpy().tolist():
        if name == "four checkpoints":
            for step in range(4):
                add(run_id, "checkpoint", step * 100, 0.9 + step / 100, 250, at=step)
            rows[-1] |= {"is_best": True, "protected_by": BEST}
        elif name == "trial 2" and run_id == table["run_id"][3]:
            for step in range(3):
                add(run_id, "model", step, None if step else 0.4, 300)
        elif model == "stored":
            add(run_id, "model", quality=None if accuracy != accuracy else accuracy)  # noqa: PLR0124
    add("", "imported", quality=0.7, size=5000, at=10)
    add("gone", "left behind", quality=0.2, size=7000, at=2000)
    held = table["run_name"] == "four checkpoints"
    table.loc[held, ["bytes", "is_best"]] = [1000, True]
    protected = [BEST if one else FREE for one in held]
    table["protected_by"] = pd.Series(protected, dtype=object)
    table.loc[3, ["files", "bytes"]] = [9, 900]
    models = pd.DataFrame(rows)[[*MODEL_COLUMNS, "metrics.accuracy"]]
    models["protected_by"] = pd.Series([row["protected_by"] for row in rows], dtype=object)
    for name in ("step", "files", "bytes"):
        models[name] = models[name].astype("Int64")
    models["quality"] = models["quality"].astype("Float64")
    return table, models


def study_manager(**options):
    """A manager that holds them."""
    table, models = study_tables()
    return ScriptedManager(table, models=models, **options)
