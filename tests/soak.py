"""The long form of the tests that draw what they do: ``make soak``.

Usage: python tests/soak.py [--schedules 2000] [--kills 200] [--checkpoints 100]
                            [--worlds 3000] [--browsing 600] [--seed N]

Each part runs by itself, with a new seed unless one is given, and 0 leaves it out. At the end
stands a table of what was run; what failed is shown above it, with what draws it again.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Part:
    """One file of tests, how many of what it is given, and what draws them."""

    name: str
    unit: str
    file: str
    count: str
    seed: str
    default: int


PARTS = (
    Part(
        "schedules",
        "schedules of faults",
        "test_schedules.py",
        "EXPMGR_SCHEDULES",
        "EXPMGR_SCHEDULE_SEED",
        2000,
    ),
    Part("kills", "kills", "test_kills.py", "EXPMGR_KILLS", "EXPMGR_KILL_SEED", 200),
    Part(
        "checkpoints",
        "killed trainings",
        "test_checkpoint_kills.py",
        "EXPMGR_CHECKPOINT_KILLS",
        "EXPMGR_CHECKPOINT_KILL_SEED",
        100,
    ),
    Part("worlds", "worlds", "test_world.py", "EXPMGR_WORLDS", "EXPMGR_WORLD_SEED", 3000),
    Part(
        "browsing",
        "seconds of browsing",
        "test_browsing_long.py",
        "EXPMGR_BROWSING",
        "EXPMGR_BROWSING_SEED",
        600,
    ),
)


def run(part: Part, count: int, seed: int) -> tuple[int, float, str]:
    """Return how many tests failed, how long they took, and what they noted."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        began = time.monotonic()
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "--show-capture=no", "--durations=3"),
                *("-o", "junit_family=xunit1"),
                *(f"--junitxml={report}", str(REPOSITORY / "tests" / part.file)),
            ],
            env={**os.environ, part.count: str(count), part.seed: str(seed)},
            cwd=REPOSITORY,
            check=False,
        )
        seconds = time.monotonic() - began
        cases = list(ET.parse(report).iter("testcase")) if report.is_file() else []
    failed = [case for case in cases if {child.tag for child in case} & {"failure", "error"}]
    notes = [
        found.get("value", "")
        for case in cases
        for found in case.iter("property")
        if found.get("name") == "note"
    ]
    return max(len(failed), int(ended.returncode != 0)), seconds, "; ".join(notes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for part in PARTS:
        parser.add_argument(f"--{part.name}", type=int, default=part.default)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    lines = ["| what | seed | failed tests | seconds | |", "|---|---|---|---|---|"]
    worst = 0
    for part in PARTS:
        count = getattr(options, part.name)
        if count:
            seed = secrets.randbelow(2**32) if options.seed is None else options.seed
            failed, seconds, note = run(part, count, seed)
            worst = max(worst, failed)
            lines.append(f"| {count:,} {part.unit} | {seed} | {failed} | {seconds:,.0f} | {note} |")
    print("\n".join(["", *lines]))  # noqa: T201 - the table is what it is for
    return int(worst > 0)


if __name__ == "__main__":
    sys.exit(main())
