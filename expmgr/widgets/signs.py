"""A sign and words for every status and state, so that colour never stands alone. Pure."""

from __future__ import annotations

__all__ = ["MODEL_SIGNS", "MODEL_WORDS", "STATUS_SIGNS"]

STATUS_SIGNS = {
    "FINISHED": "✓",
    "FAILED": "✕",
    "RUNNING": "●",
    "SCHEDULED": "○",
    "KILLED": "■",
    "READY": "✓",
    "PENDING": "○",
}
"""By MLflow's status of a run, and of a model."""
MODEL_SIGNS = {
    "stored": "■",
    "artifacts": "▧",
    "uploading": "↑",
    "broken": "✕",
    "external": "◇",
    "deleting": "◌",
    "interrupted": "!",
    "deleted": "□",
    "elsewhere": "↗",
    "unknown": "?",
    "none": "·",
}
"""By `expmgr.catalog.states.ModelState`."""
MODEL_WORDS = {
    "stored": "MLflow records a model and its files are in this container",
    "artifacts": "no model was recorded, but the run has artifact files that may be one",
    "uploading": "the upload has not ended, or its process died before it did",
    "broken": "the upload failed, or the file MLmodel is missing: it cannot be loaded",
    "external": "MLflow says that it is kept outside; what files it has here can be deleted",
    "deleting": "a deletion is under way",
    "interrupted": "a deletion began and never ended; deleting again finishes it",
    "deleted": "the model was deleted; metrics, params and other artifacts are kept",
    "elsewhere": "stored in another container, account or kind of store: not deleted from here",
    "unknown": "not measured yet",
    "none": "this run stored no model",
}
"""What the state means, for a person."""
