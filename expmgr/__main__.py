"""The command line: ``expmgr ...`` (or ``python -m expmgr ...``)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    arguments
        What follows the program's name; None takes it from ``sys.argv``.
    """
    from expmgr.cli.main import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
