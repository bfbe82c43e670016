"""Ending a run without a word on the screen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["end_quietly"]


def end_quietly(client: MlflowClient, run_id: str, status: str, at: int | None = None) -> None:
    """Set a run's status and end time, as ``MlflowClient.set_terminated`` does.

    That prints where the run is to be seen, for whoever ends a run of their own; in a thread, or
    below a button, it would stand in the middle of something else.

    Parameters
    ----------
    status
        MLflow's, for example ``KILLED``.
    at
        Milliseconds since 1970; None is now.
    """
    from mlflow.entities import RunStatus

    at = int(time.time() * 1000) if at is None else at
    store = getattr(getattr(client, "_tracking_client", None), "store", None)  # no public way
    if store is None:
        client.set_terminated(run_id, status, at)
    else:
        store.update_run_info(run_id, RunStatus.from_string(status), at, None)
