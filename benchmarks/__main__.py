"""``make bench``: expmgr beside what a user would otherwise run, in one run on one machine.

Prints one table; a whole run writes it into docs/performance.md and its picture beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.bench import Bench
from benchmarks.run import CASES, run
from benchmarks.stage import Stages

TESTS = Path(__file__).resolve().parent.parent / "tests"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = argparse.ArgumentParser(prog="make bench", description=__doc__)
    made.add_argument(
        "--quick", action="store_true", help="small sizes: does every case work? Nothing is judged"
    )
    made.add_argument(
        "--only",
        metavar="P1,P3",
        type=lambda names: names.split(","),
        default=list(CASES),
        help=f"some of {', '.join(CASES)}",
    )
    made.add_argument(
        "--patience",
        type=float,
        metavar="SECONDS",
        help="how long MLflow may be silent in P8 (30; it needs some 250 for a closed port)",
    )
    made.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="write the page and its picture there; a whole run without it into docs/",
    )
    return made


def main() -> int:
    """Run what is wanted, and tell whether all of it worked."""
    options = parser().parse_args()
    unknown = [name for name in options.only if name not in CASES]
    if unknown:
        parser().error(f"there is no {', '.join(unknown)}, only {', '.join(CASES)}")
    sys.path.append(str(TESTS))  # the real servers that tests use
    os.environ.update(QUIET)  # before anything imports MLflow
    patience = options.patience or (1.0 if options.quick else 30.0)
    with contextlib.ExitStack() as ends:
        stages = Stages(Path(ends.enter_context(tempfile.TemporaryDirectory())))
        if options.quick:
            azurite = ends.enter_context(stages.new_azurite())
            server = ends.enter_context(stages.new_server(azurite))
            stages = stages.on(azurite, server)
        rows, failed = run(Bench(stages, options.quick, patience), options.only)
    print(f"{report.machine()}\n\n{report.table(rows)}")
    if failed:
        print(f"Failed, so that nothing was written: {', '.join(failed)}", file=sys.stderr)
        return 1
    whole = not options.quick and options.only == list(CASES)
    folder = options.to or (report.DOCUMENT.parent if whole else None)
    if folder is not None:
        report.write(rows, folder)
        print(f"Written: {folder / report.DOCUMENT.name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
