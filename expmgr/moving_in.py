"""The names of the system that expmgr replaces: in its data, and in the code that called it.

Who never used EulerSearch's embedding_studio can skip this file; nothing else knows these names.
What each stands for in expmgr, and which to prefer, says ``docs/moving_in.md``. The facts are those
of its public source (``embedding_studio/experiments/``, 2025-04-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlflow.entities import Experiment

__all__ = [
    "UPLOADED",
    "initial_homes",
    "is_initial_home",
    "metrics_after_deletion",
    "metrics_after_restoration",
]

_SEPARATOR = " / "
_WORD = "iteration"
_INITIAL = "initial"

UPLOADED = "model_uploaded"
"""A metric of a run: 1 while it has a stored model, by which its models are found."""
_DELETED = "model_deleted"

# ------------------------------------------------------------------------------- names in the data


def is_initial_home(name: str) -> bool:
    """Whether an experiment of that name holds a plugin's initial model. Pure.

    Examples
    --------
    >>> is_initial_home("texts / iteration / initial")
    True
    """
    plugin, *rest = name.rsplit(_SEPARATOR, 2)
    return bool(plugin) and rest == [_WORD, _INITIAL]


def initial_homes(experiments: Iterable[Experiment]) -> frozenset[str]:
    """Return the ids of the experiments that hold an initial model by their name. Pure."""
    return frozenset(str(one.experiment_id) for one in experiments if is_initial_home(one.name))


def metrics_after_deletion(metrics: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Return what a run's metrics have to say once its last model is deleted. Pure.

    Nothing where they do not say that it has one: most runs know none of these names.
    """
    return ((_DELETED, 1.0), (UPLOADED, 0.0)) if metrics.get(UPLOADED) == 1 else ()


def metrics_after_restoration(metrics: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Return what they have to say once the model is brought back. Pure."""
    return ((_DELETED, 0.0), (UPLOADED, 1.0)) if metrics.get(_DELETED) == 1 else ()
