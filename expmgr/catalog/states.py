"""In what state a model is, and a run by its models. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from expmgr.catalog.model import Model

__all__ = ["DELETABLE_STATES", "MODEL_STATES", "ModelState", "model_state", "run_state"]

ModelState = Literal[
    "stored",
    "artifacts",
    "uploading",
    "broken",
    "external",
    "deleting",
    "interrupted",
    "deleted",
    "none",
    "unknown",
    "elsewhere",
]

DELETABLE_STATES: frozenset[str] = frozenset(
    {"stored", "artifacts", "interrupted", "uploading", "broken", "external"}
)
"""Only these offer a delete."""

MODEL_STATES: frozenset[str] = DELETABLE_STATES | {"deleting"}
"""Those in which there is a model."""

_ORDER: tuple[ModelState, ...] = (
    "deleting",
    "elsewhere",
    "interrupted",
    "stored",
    "artifacts",
    "uploading",
    "broken",
    "external",
    "unknown",
    "deleted",
    "none",
)


def model_state(model: Model) -> ModelState:  # noqa: PLR0911 - one line a state reads as a table
    """Return the state of one model.

    What a listing has seen since is there, whatever the journal says.
    """
    if model.journal in {"deleting", "interrupted"}:
        return "deleting" if model.journal == "deleting" else "interrupted"
    if model.path is None:
        return "elsewhere"
    files = None if model.stored is None else model.stored.size.files
    if not files and model.journal == "deleted":
        return "deleted"
    if files == 0:
        return "none"
    if model.status == "PENDING":
        return "uploading"
    if model.status == "FAILED":
        return "broken"
    if model.external:
        return "external"
    if model.kind == "raw":
        return "unknown" if files is None else "artifacts"
    if model.stored is not None and not model.stored.marked:
        return "broken"
    return "stored"


def run_state(states: Iterable[ModelState]) -> ModelState:
    """Return the state of a run by those of its models; "none" where it has none.

    A run is all or nothing: a model that lies elsewhere, or where nothing may be deleted, keeps the
    others from being deleted with it.
    """
    found = set(states)
    return next((state for state in _ORDER if state in found), "none")
