"""The training side of a manager."""

from __future__ import annotations


class TrainingMixin:
    """Placeholder until the training side lands."""

    def _init_training(self) -> None:
        """Prepare private state."""
