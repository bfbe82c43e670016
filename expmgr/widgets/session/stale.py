"""Runs that died without telling: whose lease ran out, or in which nothing has moved for days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pandas as pd

from expmgr.catalog.lease import LEASE_TAG, interrupted_since, lease_of
from expmgr.errors import RunError
from expmgr.tracking.ending import end_quietly
from expmgr.tracking.queries import asking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "Killing",
    "candidates",
    "interrupted_runs",
    "killing_interrupted",
    "killing_stale",
    "last_sign_of_life",
    "mark_as_killed",
    "stale_days",
]

MOST_ASKED = 200
_LEASE = f"tags.{LEASE_TAG}"


@dataclass(frozen=True)
class Killing:
    """What is asked before a run is marked as killed, and what does it.

    Attributes
    ----------
    end
        Ends the run and returns in words what was done, or raises.
    """

    question: str
    end: Callable[[], str]


def interrupted_runs(frame: pd.DataFrame, now: datetime) -> dict[str, datetime]:
    """Return the runs whose lease ran out, each with its last sign of life. Pure."""
    at = round(now.timestamp() * 1000)
    since = {
        run_id: interrupted_since("RUNNING", tags, began, at)
        for run_id, tags, began in _leased(frame)
    }
    return {
        run_id: datetime.fromtimestamp(sign / 1000, timezone.utc)
        for run_id, sign in since.items()
        if sign is not None
    }


def _leased(frame: pd.DataFrame) -> Iterator[tuple[str, dict[str, str], int]]:
    """Yield the RUNNING runs that have a lease tag, with it and when they began."""
    if frame.empty or not {"status", "start_time", _LEASE} <= set(frame):
        return
    running = frame[(frame["status"] == "RUNNING") & frame[_LEASE].notna()]
    began = pd.to_datetime(running["start_time"], utc=True)
    for run_id, text, start in zip(running["run_id"], running[_LEASE], began, strict=True):
        milliseconds = 0 if pd.isna(start) else round(start.timestamp() * 1000)
        yield str(run_id), {LEASE_TAG: str(text)}, milliseconds


def candidates(frame: pd.DataFrame, days: float, now: datetime) -> list[str]:
    """Return the RUNNING runs without a lease that began more than ``days`` ago. Pure."""
    if frame.empty or "status" not in frame or "start_time" not in frame:
        return []
    begun = pd.to_datetime(frame["start_time"], utc=True)
    old = (frame["status"] == "RUNNING") & (begun < pd.Timestamp(now - timedelta(days=days)))
    told = {run_id for run_id, tags, start in _leased(frame) if lease_of(tags, start) is not None}
    return [str(run_id) for run_id in frame.loc[old, "run_id"] if str(run_id) not in told]


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
        end_quietly(manager.interactive_client, run_id, "KILLED")
    return f"Marked as killed after {still:.0f} days without a sign of life"


def killing_stale(manager: Any, run_id: str, days: float) -> Killing:
    """Return how a run is ended in which nothing has moved for so many days."""
    return Killing(
        "Nothing has moved for days. Mark this run as KILLED? Its model can be deleted then.",
        lambda: mark_as_killed(manager, run_id, days),
    )


def killing_interrupted(manager: Any, run_id: str, since: datetime) -> Killing:
    """Return how a run is ended whose lease ran out."""

    def end() -> str:
        killed = manager.mark_killed(run_id)
        if killed.status != "KILLED":
            raise RunError(str(killed), run_id=run_id)
        return f"Marked as {killed.message}" if killed else f"This run {killed.message}"

    return Killing(
        # What goes is said first: a narrow row shows some forty characters.
        "Unfinished uploads go, all else stays. Mark this run as KILLED? No sign of life since "
        f"{since:%Y-%m-%d %H:%M} UTC.",
        end,
    )
