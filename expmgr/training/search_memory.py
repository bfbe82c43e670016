"""What earlier iterations learned: the params of their best runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError
from expmgr.tracking.queries import asking, quoted
from expmgr.training.params import decode_params

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["top_params"]


def top_params(
    client: MlflowClient, experiment_id: str, main_metric: str, *, is_loss: bool, n: int
) -> list[dict[str, Any]]:
    """Return the params of the best FINISHED runs, the best first, as the values they were.

    One request for at most ``n`` runs, sorted by the server (which puts NaN and missing values
    last); of equal quality the earlier run comes first.

    Raises
    ------
    InvalidInputError
        ``n`` is below 1.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InvalidInputError(f"the number of top runs is a whole number from 1, not {n!r}.")
    order = "ASC" if is_loss else "DESC"
    with asking(f"read the best runs of experiment {experiment_id}"):
        runs = client.search_runs(
            [experiment_id],
            "attributes.status = 'FINISHED'",
            order_by=[f"metrics.{quoted(main_metric)} {order}", "attributes.start_time ASC"],
            max_results=n,
        )
    return [
        decode_params(run.data.params)
        for run in runs
        if math.isfinite(run.data.metrics.get(main_metric, math.nan))
    ]
