"""Runs that died without telling: RUNNING, but nothing has moved for days."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pandas as pd

from expmgr.tracking.queries import asking

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["candidates", "last_sign_of_life", "mark_as_killed", "stale_days"]

MOST_ASKED = 200


def candidates(frame: pd.DataFrame, days: float, now: datetime) -> list[str]:
    """Return the RUNNING runs that began more than ``days`` ago. Pure."""
    if frame.empty or "status" not in frame or "start_time" not in frame:
        return []
    begun = pd.to_datetime(frame["start_time"], utc=True)
    old = (frame["status"] == "RUNNING") & (begun < pd.Timestamp(now - timedelta(days=days)))
    return [str(run_id) for run_id in frame.loc[old, "run_id"]]


def last_sign_of_life(manager: Any, run_id: str) -> datetime:
    """Return when a run began, logged its last metric or wrote its last artifact.

    Raises
    ------
    Exception
        Whatever the servers answer: a run that cannot be asked about is not called dead.
    """
    with asking(f"read run {run_id}", run_id=run_id):
        run = manager.interactive_client.get_run(run_id)
    moments = [run.info.start_time, *(metric.timestamp for metric in run.data.to_proto().metrics)]
    latest = datetime.fromtimestamp(max(moments) / 1000, timezone.utc)
    store = manager.blob_store
    path = store.addresses.path_of(run.info.artifact_uri)
    for blob in store.list(f"{path}/"):
        latest = max(latest, blob.last_modified)
    return latest


def stale_days(
    manager: Any, run_ids: Sequence[str], days: float, now: datetime
) -> dict[str, float]:
    """Return the runs that have been still for more than ``days``, each with its days."""
    stale: dict[str, float] = {}
    for run_id in run_ids[:MOST_ASKED]:
        try:
            still = (now - last_sign_of_life(manager, run_id)) / timedelta(days=1)
        except Exception:  # noqa: BLE001, S112 - unknown is not dead
            continue
        if still > days:
            stale[run_id] = still
    return stale


def mark_as_killed(manager: Any, run_id: str, days: float) -> str:
    """End a run as KILLED if it is still still; returns what was done, in words.

    Raises
    ------
    ValueError
        It has moved, or has ended by itself.
    """
    with asking(f"read run {run_id}", run_id=run_id):
        run = manager.interactive_client.get_run(run_id)
    if run.info.status != "RUNNING":
        raise ValueError(
            f"the run has ended by itself: it is {run.info.status}. Refresh the table."
        )
    still = (datetime.now(timezone.utc) - last_sign_of_life(manager, run_id)) / timedelta(days=1)
    if still <= days:
        raise ValueError("the run has moved since: it is alive.")
    with asking(f"end run {run_id}", run_id=run_id):
        manager.interactive_client.set_terminated(run_id, status="KILLED")
    return f"Marked as killed after {still:.0f} days without a sign of life"
