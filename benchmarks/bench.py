"""What every case is given: servers to start, and how much is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from benchmarks.row import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from benchmarks.child import Measured
    from benchmarks.stage import Stage, Stages

T = TypeVar("T")


@dataclass(frozen=True)
class Bench:
    """How the cases are run.

    Attributes
    ----------
    stages
        The servers.
    quick
        Small sizes, each once: to see that it works, not how fast.
    patience
        Seconds for which something that may say nothing is waited for.
    """

    stages: Stages
    quick: bool = False
    patience: float = 30.0

    def size(self, full: T, quick: T) -> T:
        """Return one of two sizes."""
        return quick if self.quick else full

    def stage(
        self, *, server: bool = False, round_trip: float = 0.0
    ) -> AbstractContextManager[Stage]:
        """Start servers, see `Stages.open`."""
        return self.stages.open(server=server, round_trip=round_trip)

    def in_turn(self, *sides: Callable[[], Measured], rounds: int = 3) -> list[list[Measured]]:
        """Measure sides in turn, see `benchmarks.row.in_turn`."""
        return in_turn(self.size(rounds, 1), *sides)
