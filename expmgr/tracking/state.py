"""The state of a run's model, from what MLflow says alone. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from expmgr.tracking.journal import deletion_was_begun, now_ms, read_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["DELETABLE_STATES", "ModelState", "model_state"]

ModelState = Literal[
    "stored",
    "artifacts",
    "deleting",
    "interrupted",
    "deleted",
    "none",
    "unknown",
    "elsewhere",
]

DELETABLE_STATES: frozenset[str] = frozenset({"stored", "artifacts", "interrupted"})
"""Only these offer a delete."""


def model_state(  # noqa: PLR0911 - one line a state reads as the table it is
    run_id: str,
    tags: Mapping[str, str],
    *,
    paths: Iterable[str],
    recorded: bool,
    elsewhere: bool,
    files: int | None = None,
    at: int | None = None,
) -> ModelState:
    """Return the state of a run's model.

    Parameters
    ----------
    paths
        Blob paths of the models that MLflow records for the run, as far as they can be told.
    recorded
        Whether MLflow records any model for the run.
    elsewhere
        Whether the run's artifacts lie in another container, account or kind of store.
    files
        Model files found by a storage scan; None where nothing was measured.
    at
        Now, in milliseconds since 1970.
    """
    at = now_ms() if at is None else at
    records = read_records(run_id, tags)
    if any(record.is_live(at) for record in records):
        return "deleting"
    gone = {
        location.path
        for record in records
        if record.state == "deleted"
        for location in record.locations
    }
    unfinished = {
        location.path
        for record in records
        if record.is_unfinished()
        for location in record.locations
    } - gone
    if unfinished:
        return "interrupted"
    if elsewhere:
        return "elsewhere"
    left = set(paths) - gone
    if files == 0 and not (gone and not left):
        return "none"
    if recorded and left:
        return "stored"
    if gone:
        return "deleted"
    if recorded:
        return "unknown"  # recorded, but MLflow does not tell where
    if deletion_was_begun(run_id, tags):
        return "deleted" if not files else "artifacts"
    return "artifacts" if files else "unknown"
