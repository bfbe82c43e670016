"""The names of the system that expmgr replaces: in its data, and in the code that called it.

Who never used EulerSearch's embedding_studio can skip this file; nothing else knows these names.
What each stands for in expmgr, and which to prefer, says ``docs/moving_in.md``. The facts are those
of its public source (``embedding_studio/experiments/``, 2025-04-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlflow.entities import Experiment

__all__ = ["initial_homes", "is_initial_home"]

_SEPARATOR = " / "
_WORD = "iteration"
_INITIAL = "initial"

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
