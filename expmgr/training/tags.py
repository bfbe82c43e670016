"""The tags by which the training side marks experiments, runs and models."""

from __future__ import annotations

__all__ = [
    "BEST_ONLY_TAG",
    "INITIAL_TAG",
    "ITERATION_TAG",
    "LOSS_TAG",
    "METRIC_TAG",
    "MODEL_TAG",
    "PARAMS_TAG",
]

METRIC_TAG = "expmgr.main_metric"
"""On an experiment: the metric by which its runs are compared."""

LOSS_TAG = "expmgr.is_loss"
"""On an experiment: "true" where the smaller value is the better one, else "false"."""

ITERATION_TAG = "expmgr.iteration"
"""On an experiment: ``open``, ``finished``, or ``deleting`` while it is being deleted."""

INITIAL_TAG = "expmgr.initial_model"
"""On a run and its experiment: "true" for the initial model."""

PARAMS_TAG = "expmgr.params"
"""On a run: what identifies its parameter set (`expmgr.training.params.fingerprint`)."""

MODEL_TAG = "expmgr.model"
"""On a run and a LoggedModel: how far its deletion is (`expmgr.tracking.journal`)."""

BEST_ONLY_TAG = "expmgr.best_only"
"""On a LoggedModel: "true" where it was saved to be kept only while it is the best."""
