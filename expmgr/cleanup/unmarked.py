"""What of a plan is not marked yet. Pure.

A mark that is made again begins anew: what a daily job marks for a week would never go.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from expmgr.cleanup.plan import DeletionPlan, Kept

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["not_marked_yet"]


def not_marked_yet(plan: DeletionPlan, marks: pd.DataFrame) -> DeletionPlan:
    """Return a plan with what is marked already among what it leaves where it is.

    Parameters
    ----------
    marks
        The standing marks, as the manager's `marks` returns them.
    """
    goes = dict(zip(marks["id"], marks["goes"], strict=True))
    left = tuple(
        Kept(
            run.id,
            run.run_name,
            f"marked already: goes {goes[run.id]:%Y-%m-%d %H:%M} UTC",
            run.bytes,
        )
        for run in plan.runs
        if run.id in goes
    )
    if not left:
        return plan
    runs = tuple(run for run in plan.runs if run.id not in goes)
    note = plan.note if runs else "all that would go is marked already"
    return replace(plan, runs=runs, kept=(*left, *plan.kept), note=note)
