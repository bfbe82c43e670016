"""What the callbacks have in common: a framework found, and its metrics as ours."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError
from expmgr.metrics import MetricValue
from expmgr.training.checkpoint_keep import needs_quality

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from expmgr.catalog.policy import Policy

__all__ = ["framework", "metrics_of"]


def framework(names: Sequence[str], advice: str) -> Any:
    """Return the first of some modules that is imported already, else that can be.

    Raises
    ------
    ImportError
        None is installed.
    """
    imported = [name for name in names if name in sys.modules]
    for name in [*imported, *names]:
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in {name, name.partition(".")[0]}:
                raise
    raise ImportError(f"{' or '.join(names)} is not installed: pip install {advice}")


def metrics_of(
    measured: Mapping[str, Any], name: str, main_metric: str, keep: Policy | None, step: int
) -> dict[str, float | None]:
    """Return what a framework measured as a checkpoint's metrics. Pure.

    Parameters
    ----------
    measured
        By the framework's names; empty where nothing was measured at this step. What is no number
        that MLflow takes is left out.
    name
        The framework's name of the main metric, which gets ours.

    Raises
    ------
    InvalidInputError
        ``keep`` ranks by the main metric, and it is not among what was measured.
    """
    found: dict[str, float | None] = {main_metric: None}
    for key, value in measured.items():
        try:
            metric = MetricValue(main_metric if key == name else key, value)
        except InvalidInputError:
            continue
        found[metric.name] = metric.value
    if measured and found[main_metric] is None and needs_quality(keep):
        message = (
            f"checkpoints are ranked by {name!r}, which is not among the metrics of step {step}: "
            f"{', '.join(sorted(measured))}. Log it, or name another one."
        )
        raise InvalidInputError(message)
    return found
