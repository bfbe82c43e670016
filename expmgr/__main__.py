"""The command line: ``expmgr demo`` and ``expmgr app`` (or ``python -m expmgr ...``)."""

from __future__ import annotations

import argparse
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
    parser = argparse.ArgumentParser(
        prog="expmgr",
        description="Browse MLflow runs and delete their models from Azure Blob Storage, safely.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="open the run browser on sample runs, with everything on this machine",
        description="Start Azurite, train sample models, and open JupyterLab on the run browser. "
        "Needs no account: pip install 'expmgr[demo]'.",
    )
    demo.add_argument(
        "--check",
        action="store_true",
        help="no screen: execute the notebook, delete one model through its button, list the "
        "container before and after, and exit with 0, or 1 and why",
    )
    demo.add_argument("--fresh", action="store_true", help="make the sample runs anew")
    app = commands.add_parser(
        "app",
        help="the run browser as a page of its own, read-only unless told otherwise",
        description="Serve the run browser on this machine's loopback address by Voila: of the "
        "team that MLFLOW_TRACKING_URI, EXPMGR_CONTAINER and EXPMGR_PLUGIN name, or of the demo. "
        "Needs: pip install 'expmgr[app]'.",
    )
    app.add_argument("--write", action="store_true", help="offer deletions on the page")
    for command in (demo, app):
        command.add_argument(
            "--data",
            default=".expmgr-demo",
            metavar="DIR",
            help="where everything is kept (default: %(default)s)",
        )
        command.add_argument("--port", type=int, default=0, help="default: a free one")
        command.add_argument("--no-browser", action="store_true", help="open no web browser")
    options = parser.parse_args(arguments)

    if options.command == "app":
        from expmgr.demo.app import run_app

        return run_app(
            options.data, write=options.write, port=options.port, browser=not options.no_browser
        )
    from expmgr.demo.command import run_demo

    return run_demo(
        options.data,
        check=options.check,
        fresh=options.fresh,
        port=options.port,
        browser=not options.no_browser,
    )


if __name__ == "__main__":
    sys.exit(main())
