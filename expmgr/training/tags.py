"""The tags by which the training side marks experiments, runs and models."""

from __future__ import annotations

from expmgr.catalog.model import INITIAL_TAG
from expmgr.tracking.journal import MODEL_TAG

__all__ = [
    "BEST_ONLY_TAG",
    "FILES_TAG",
    "INITIAL_TAG",
    "ITERATION_TAG",
    "LOSS_TAG",
    "METRIC_TAG",
    "MODEL_TAG",
    "PARAMS_TAG",
    "PLUGIN_TAG",
]

METRIC_TAG = "expmgr.main_metric"
"""On an experiment: the metric by which its runs are compared."""

LOSS_TAG = "expmgr.is_loss"
"""On an experiment: "true" where the smaller value is the better one, else "false"."""

ITERATION_TAG = "expmgr.iteration"
"""On an experiment: ``open``, ``finished``, or ``deleting`` while it is being deleted."""

PLUGIN_TAG = "expmgr.plugin"
"""On an experiment: the plugin whose iteration or initial model it holds. The name alone does not
tell: ``x / sub / one`` may be ``sub / one`` of plugin ``x`` or ``one`` of plugin ``x / sub``."""

PARAMS_TAG = "expmgr.params"
"""On a run: what identifies its parameter set (`expmgr.training.params.fingerprint`)."""

BEST_ONLY_TAG = "expmgr.best_only"
"""On a LoggedModel: "true" where it was saved to be kept only while it is the best."""

FILES_TAG = "expmgr.files"
"""On a LoggedModel: how many files were stored, so that half a model is not taken for a whole."""
