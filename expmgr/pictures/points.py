"""Models as points of quality against size: which are beaten, which go, which must stay. Pure.

It imports no matplotlib, so that what a picture says can be tested as numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from expmgr.catalog.parts import is_named, part_words
from expmgr.catalog.states import MODEL_STATES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from expmgr.cleanup.plan import DeletionPlan, RunPlan

__all__ = ["Points", "frontier", "going_ids", "points_of", "unmeasured"]

_STORED = MODEL_STATES | {"unknown", "elsewhere"}
"""States of models that a picture owes a word: what was deleted is no part of it."""


@dataclass(frozen=True)
class Points:
    """What `plot_frontier` shows.

    Attributes
    ----------
    sizes, values
        Bytes and main metric, a number a model.
    front
        Of which models no smaller one is as good.
    going, held
        Those that the plan would remove, and those that are protected.
    left_out
        Stored models without a metric or a size, which are no points.
    takes
        What the plan takes of those that are going, in words; "" without a plan.
    """

    sizes: NDArray[np.float64]
    values: NDArray[np.float64]
    front: NDArray[np.bool_]
    going: NDArray[np.bool_]
    held: NDArray[np.bool_]
    left_out: int = 0
    takes: str = ""

    def __len__(self) -> int:
        return len(self.sizes)


def frontier(
    sizes: NDArray[np.float64], values: NDArray[np.float64], *, is_loss: bool
) -> NDArray[np.bool_]:
    """Return which models no other one beats in both size and quality.

    Examples
    --------
    >>> frontier(np.array([1., 2., 3.]), np.array([.5, .4, .9]), is_loss=False).tolist()
    [True, False, True]
    """
    better = -values if is_loss else values
    order = np.lexsort((-better, sizes))
    mask = np.zeros(len(sizes), dtype=bool)
    best = -np.inf
    for at in order:
        if better[at] > best:
            best = better[at]
            mask[at] = True
    return mask


def points_of(models: pd.DataFrame, plan: DeletionPlan | None, *, is_loss: bool) -> Points:
    """Return the points of a table of models.

    Parameters
    ----------
    models
        As the manager's `models` returns it, measured.
    plan
        Whose models are going; None for none.
    """
    stored = models[models["model"].isin(_STORED)]
    sizes, values = _numbers(stored["bytes"]), _numbers(stored["quality"])
    known = np.isfinite(sizes) & np.isfinite(values) & (sizes > 0)
    shown = stored[known]
    going = going_ids(plan) if plan is not None else frozenset()
    parts = {run.part for run in plan.deletable} if plan is not None else set()
    words = [part_words(part) if is_named(part) else "" for part in parts]
    return Points(
        sizes[known],
        values[known],
        frontier(sizes[known], values[known], is_loss=is_loss),
        shown["model_id"].isin(going).to_numpy(dtype=bool),
        np.array([bool(reasons) for reasons in shown["protected_by"]], dtype=bool),
        len(stored) - len(shown),
        "" if plan is None else " and ".join(filter(None, words)) or "the model",
    )


def unmeasured(models: pd.DataFrame) -> bool:
    """Whether a table of models holds some that could be measured and were not yet."""
    within_reach = models["model"].isin(_STORED - {"elsewhere"})
    return bool(models.loc[within_reach, "bytes"].isna().any())


def going_ids(plan: DeletionPlan) -> frozenset[str]:
    """Return the ids, as the table of models has them, of all that a plan would remove."""
    return frozenset(id_ for run in plan.deletable for id_ in _ids(run))


def _ids(run: RunPlan) -> set[str]:
    found = {run.asked} if run.asked else set()
    for planned in run.locations:
        place = planned.location
        below = place.path.partition(f"{place.owner_id}/artifacts/")[2]
        is_directory = place.kind == "run_model" and below
        found.add(f"{place.owner_id}/{below}" if is_directory else place.owner_id)
    return found


def _numbers(column: pd.Series[float]) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = pd.to_numeric(column, errors="coerce").to_numpy(
        dtype=float, na_value=np.nan
    )
    return numbers
