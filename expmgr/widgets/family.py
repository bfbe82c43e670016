"""What a study sums up: the runs folded under a parent run, and their models. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Family"]


@dataclass(frozen=True)
class Family:
    """The sums that the line of a study shows.

    Attributes
    ----------
    runs
        Children and their children.
    models
        Models of the study that are there.
    deletable, protected
        How many of these can be deleted, and how many must stay.
    files, bytes
        Sums of what is measured; None while nothing is.
    unmeasured
        Models without a size.
    value
        The best main metric among the family, None where none has one.
    best
        Whether the family holds a best model.
    """

    runs: int = 0
    models: int = 0
    deletable: int = 0
    protected: int = 0
    files: int | None = None
    bytes: int | None = None
    unmeasured: int = 0
    value: float | None = None
    best: bool = False
