"""P7: ``import expmgr`` beside ``import mlflow``, each in an interpreter that has just started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.child import Measured
from benchmarks.row import Row, side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

REPOSITORY = Path(__file__).resolve().parent.parent
TIMED = """
import sys, time
began = time.perf_counter()
import {name}
print(time.perf_counter() - began)
"""


def imported(name: str) -> Measured:
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(name=name)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Measured(float(done.stdout))


def rows(bench: Bench) -> Iterator[Row]:
    """Return the row of P7."""
    ours, theirs = bench.in_turn(lambda: imported("expmgr"), lambda: imported("mlflow"), rounds=5)
    yield Row("P7", "`import expmgr`", side(ours), side(theirs), "`import mlflow`")
