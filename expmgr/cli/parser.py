"""The command line's words: commands, flags and what ``--help`` says of them."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from typing import NoReturn

from expmgr.errors import InvalidInputError

__all__ = ["build_parser"]

_EXITS = """\
exit codes:
  0 done, or nothing to do        3 something was protected, and stayed
  1 something failed              130 interrupted: the report says what was done
  2 bad usage or bad input
"""
_ENVIRONMENT = """\
environment:
  MLFLOW_TRACKING_URI, EXPMGR_CONTAINER, EXPMGR_PLUGIN, EXPMGR_MAIN_METRIC; where needed
  EXPMGR_IS_LOSS, MLFLOW_REGISTRY_URI, EXPMGR_ARTIFACTS_DESTINATION, EXPMGR_PRICES
  (hot=0.018,cool=0.01,currency=USD); and to sign in to Azure
  AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_ACCESS_KEY or a
  login that azure-identity finds. No flag takes a secret.
"""


class _Parser(argparse.ArgumentParser):
    """Says what was wrong as an error of ours: one line, in JSON where that was asked for."""

    def error(self, message: str) -> NoReturn:
        raise InvalidInputError(f"{message}. See {self.prog} --help.")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; ``command`` names the one that was chosen."""
    parser = _Parser(
        prog="expmgr",
        description="Browse MLflow runs and delete their models from Azure Blob Storage, safely.",
        epilog=f"{_EXITS}\n{_ENVIRONMENT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="commands"
    )

    def command(name: str, said: str, description: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=said,
            description=textwrap.fill(description or f"{said[0].upper()}{said[1:]}.", 90),
            epilog=_EXITS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # half of a flag that deletes is none
        )

    for add in (
        *(_usage, _models, _plan, _delete, _orphans, _keep, _resume, _log, _check),
        *(_demo, _app),
    ):
        add(command)
    return parser


_Command = Callable[..., argparse.ArgumentParser]
"""Adds a command: its name, what it is for, and the same at length."""


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def _experiments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--experiment",
        action="append",
        metavar="NAME",
        help="a name or an id, several times for several (default: those of EXPMGR_PLUGIN)",
    )
    which.add_argument("--all", action="store_true", help="every experiment of the server")


def _inventory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--inventory",
        nargs="?",
        const=True,
        default=False,
        metavar="PLACE",
        help="by the newest Blob Inventory report in the models' container, or in this one "
        "(inventory, inventory/2026/11), in place of a listing",
    )


def _usage(command: _Command) -> None:
    parser = command("usage", "what everything in the container costs, to the byte")
    parser.add_argument("--runs", action="store_true", help="a row a run, not an experiment")
    _inventory(parser)
    _experiments(parser)
    _json(parser)


def _models(command: _Command) -> None:
    parser = command("models", "a row a model: where it comes from, how good, how large")
    parser.add_argument("--filter", default="", metavar="TEXT", help="MLflow's search of runs")
    parser.add_argument("--sizes", action="store_true", help="measure first, which lists all files")
    _experiments(parser)
    _json(parser)


def _selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help="runs and models by their ids, or ...")
    policy = parser.add_argument_group("... a policy", "Flags of one line must all hold.")
    policy.add_argument("--older-than", metavar="AGE", help="made longer ago: 12h, 30d, 2w")
    policy.add_argument("--larger-than", metavar="SIZE", help="1GB is 10^9 bytes, 1GiB 2^30")
    policy.add_argument(
        "--status", action="append", metavar="NAME", help="of its run: FAILED, KILLED ..."
    )
    policy.add_argument("--mine", action="store_true", help="made by the user who asks")
    policy.add_argument("--keep-best", type=int, metavar="N", help="keep the best, by the metric")
    policy.add_argument("--keep-last", type=int, metavar="N", help="keep the newest")
    policy.add_argument(
        "--per", choices=("experiment", "study", "run"), help="of each (default: experiment)"
    )
    policy.add_argument(
        "--everything", action="store_true", help="also where nothing of an experiment stays"
    )
    _experiments(parser)
    parser.add_argument(
        "--part",
        action="append",
        metavar="PART",
        help="model (default), optimizer, checkpoints, raw, other, or a pattern",
    )


def _plan(command: _Command) -> None:
    parser = command(
        "plan",
        "what a deletion would remove, what stays and why",
        "What deleting some models would remove, and what stays and why. Nothing is changed.",
    )
    _selection(parser)
    parser.add_argument("--save", metavar="FILE", help="write the plan, for delete --plan")
    _json(parser)


def _delete(command: _Command) -> None:
    parser = command(
        "delete",
        "delete models, with --yes; without it only say what would go",
        "Delete models: by their ids, by a policy, as a saved plan says, or those whose time has "
        "come. Without --yes nothing is deleted: the plan is shown.",
    )
    _selection(parser)
    parser.add_argument("--plan", metavar="FILE", help="what plan --save wrote, and no more")
    parser.add_argument("--due", action="store_true", help="what was marked with --after, now due")
    parser.add_argument("--yes", action="store_true", help="do it")
    parser.add_argument("--dry-run", action="store_true", help="do not (the default)")
    parser.add_argument(
        "--after", metavar="AGE", help="mark it to go later: 12h, 7d; --due deletes it then"
    )
    parser.add_argument("--force", action="store_true", help="pass the protection of named ids")
    _json(parser)


def _orphans(command: _Command) -> None:
    parser = command(
        "orphans",
        "what nobody owns: trash and unknown folders; --yes deletes the trash",
        "What no live run or model owns, with evidence. With --yes the trash among it is deleted, "
        "which is what the tracking server itself says was deleted; what is unknown goes only by "
        "--prefix.",
    )
    parser.add_argument(
        "--prefix", action="append", metavar="PREFIX", help="only this folder, several times"
    )
    parser.add_argument("--yes", action="store_true", help="do it")
    _inventory(parser)
    _experiments(parser)
    _json(parser)


def _keep(command: _Command) -> None:
    parser = command("keep", "take back marks of delete --after; anybody may")
    parser.add_argument("ids", nargs="+", metavar="ID", help="runs and models by their ids")
    _json(parser)


def _resume(command: _Command) -> None:
    parser = command("resume", "finish deletions that a killed process left half done")
    _experiments(parser)
    _json(parser)


def _log(command: _Command) -> None:
    parser = command("log", "what was deleted or marked: who, when, what, how it ended")
    parser.add_argument("--marks", action="store_true", help="only what is still to go")
    _experiments(parser)
    _json(parser)


def _check(command: _Command) -> None:
    parser = command("check", "what is reachable and permitted, and what to do about the rest")
    parser.add_argument(
        "--live", action="store_true", help="delete some blobs of its own in every way"
    )
    _json(parser)


def _demo(command: _Command) -> None:
    demo = command(
        "demo",
        "the run browser on sample runs, all on this machine",
        "Start Azurite, train sample models, and open JupyterLab on the run browser. "
        "Needs no account: pip install 'expmgr[demo]'.",
    )
    demo.add_argument(
        "--check",
        action="store_true",
        help="no screen: execute the notebook, delete one model through its button, list the "
        "container before and after, and exit with 0, or 1 and why",
    )
    demo.add_argument("--fresh", action="store_true", help="make the sample runs anew")
    _served(demo)


def _app(command: _Command) -> None:
    app = command(
        "app",
        "the run browser as a page of its own, read-only",
        "Serve the run browser on this machine's loopback address by Voila: of the team that "
        "MLFLOW_TRACKING_URI, EXPMGR_CONTAINER and EXPMGR_PLUGIN name, or of the demo. "
        "Needs: pip install 'expmgr[app]'.",
    )
    app.add_argument("--write", action="store_true", help="offer deletions on the page")
    _inventory(app)
    _served(app)


def _served(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        default=".expmgr-demo",
        metavar="DIR",
        help="where everything is kept (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--no-browser", action="store_true", help="open no web browser")
