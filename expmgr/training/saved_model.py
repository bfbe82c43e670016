"""What became of a `save_model`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from expmgr.formatting import format_bytes, format_count, format_metric, format_seconds

if TYPE_CHECKING:
    from expmgr.results import DeletionResult

__all__ = ["SavedModel"]


@dataclass(frozen=True)
class SavedModel:
    """How a `save_model` ended; ``bool(saved)`` is whether the model was stored.

    Attributes
    ----------
    run_id
        The run.
    saved
        False where a better model was there already.
    model_id
        MLflow's id of the stored model, else "".
    url
        Where its files lie (the artifact location), else "".
    flavor
        MLflow's flavour, else "".
    quality
        The run's main metric; None where it was not needed and not logged.
    best_quality
        The iteration's best by the main metric before this call, None where there was none.
    files, bytes, seconds
        Of the upload.
    superseded
        How the deletion of each superseded model ended; protected ones were kept.
    message
        Why it was not saved, where that is not the quality.
    """

    run_id: str
    saved: bool
    model_id: str = ""
    url: str = ""
    flavor: str = ""
    quality: float | None = None
    best_quality: float | None = None
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    superseded: tuple[DeletionResult, ...] = ()
    message: str = ""

    def __bool__(self) -> bool:
        return self.saved

    @property
    def model_uri(self) -> str:
        """What MLflow's ``load_model`` takes: ``models:/<model_id>``."""
        return f"models:/{self.model_id}" if self.model_id else ""

    @property
    def kept(self) -> tuple[DeletionResult, ...]:
        """Superseded models that are still there, with the reasons."""
        return tuple(
            result for result in self.superseded if result.outcome in {"protected", "failed"}
        )

    def __str__(self) -> str:
        if self.message:
            return self.message
        if not self.saved:
            return (
                f"Not saved: {format_metric(self.quality)} does not reach the iteration's best, "
                f"{format_metric(self.best_quality)}"
                if self.best_quality is not None
                else f"Not saved: {format_metric(self.quality)} can be compared with nothing"
            )
        size = f"{format_count(self.files, 'file')}, {format_bytes(self.bytes)}"
        lines = [f"Saved {self.model_uri}: {size} in {format_seconds(self.seconds)}"]
        lines.extend(f"Superseded run {result.run_id}: {result}" for result in self.superseded)
        return "\n".join(lines)
