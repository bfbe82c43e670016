"""The state of a run's model, from what MLflow says alone. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from expmgr.tracking.journal import latest_records, now_ms, read_records

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
        Model files found by a storage scan since the last deletion; None where nothing was
        measured.
    at
        Now, in milliseconds since 1970.
    """
    at = now_ms() if at is None else at
    if any(record.is_live(at) for record in read_records(run_id, tags)):
        return "deleting"
    latest = latest_records(run_id, tags)
    if any(record.is_unfinished() for record in latest.values()):
        return "interrupted"
    gone = {path for path, record in latest.items() if record.state == "deleted"}
    if elsewhere:
        return "elsewhere"
    left = set(paths) - gone
    if files == 0 and not (gone and not left):
        return "none"
    if recorded and (left or (gone and files)):
        return "stored"  # what a scan has seen since is there, whatever the journal says
    if gone and not files:
        return "deleted"
    if recorded:
        return "unknown"  # recorded, but MLflow does not tell where
    return "artifacts" if files else "unknown"
