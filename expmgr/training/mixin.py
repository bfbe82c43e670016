"""`TrainingMixin`: what a training script or notebook cell calls on the manager."""

from __future__ import annotations

from expmgr.training.model_methods import ModelMethods
from expmgr.training.run_methods import TrialRun

__all__ = ["TrainingMixin", "TrialRun"]


class TrainingMixin(ModelMethods):
    """Iterations, runs, metrics, models and search memory.

    One manager follows one run at a time; parallel trials use a manager each. Nothing here reads
    or sets MLflow's global state.
    """
