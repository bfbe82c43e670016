"""Runs one command: what it answers goes to standard output, what went wrong to standard error."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING

from expmgr.cli.answer import Answer, Exit, refusal
from expmgr.cli.parser import build_parser
from expmgr.errors import ExpmgrError
from expmgr.secrecy import redact
from expmgr.text import words

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["run"]

_DELETING = ("plan", "delete")
_STOPPED = (
    "interrupted. What had begun is in 'expmgr log'; 'expmgr resume' finishes what was left half "
    "done."
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    arguments
        What follows the program's name; None takes it from ``sys.argv``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    command, as_json = "", "--json" in given
    try:
        options = build_parser().parse_args(given)
        command = options.command
        if command in {"demo", "app"}:
            return _served(options)
        answer = _answer(options)
    except KeyboardInterrupt:
        answer = Answer(_STOPPED, {"error": {"message": _STOPPED}}, Exit.INTERRUPTED)
    except ExpmgrError as error:
        answer = refusal(error)
    except Exception as error:  # a person at a terminal gets a line
        if os.environ.get("EXPMGR_TRACEBACK"):
            raise
        message = words(
            f"{type(error).__name__}: {redact(str(error))}. This is not an error that expmgr "
            "expects: EXPMGR_TRACEBACK=1 shows where it came from."
        )
        document = {"error": {"type": type(error).__name__, "message": message}}
        answer = Answer(message, document, Exit.FAILED)
    _tell(answer, command, as_json=as_json)
    return int(answer.exit)


def _answer(options: argparse.Namespace) -> Answer:
    from expmgr.azure_blob import ExperimentsManagerWithAzureBlobBackend
    from expmgr.cli import deleting, looking
    from expmgr.cli.orphans import orphans
    from expmgr.cli.wanted import read_wanted

    if options.command in _DELETING:
        read_wanted(options)  # what is wrong with the flags is told before the environment
    first = "mlflow" not in sys.modules
    if first:  # its news, as of a new database, are no part of an answer
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    manager = ExperimentsManagerWithAzureBlobBackend.from_env()
    if first:
        import mlflow  # noqa: F401 - older ones let alembic tell of each migration, from here on

        logging.getLogger("alembic").setLevel(logging.WARNING)
    commands = {
        "usage": looking.usage,
        "models": looking.models,
        "plan": deleting.plan,
        "delete": deleting.delete,
        "orphans": orphans,
        "keep": looking.keep,
        "resume": looking.resume,
        "log": looking.log,
        "check": looking.check,
    }
    return commands[options.command](manager, options)


def _served(options: argparse.Namespace) -> int:
    if options.command == "app":
        from expmgr.demo.app import run_app

        return run_app(
            options.data,
            write=options.write,
            inventory=options.inventory,
            port=options.port,
            browser=not options.no_browser,
        )
    from expmgr.demo.command import run_demo

    return run_demo(
        options.data,
        check=options.check,
        fresh=options.fresh,
        port=options.port,
        browser=not options.no_browser,
    )


def _tell(answer: Answer, command: str, *, as_json: bool) -> None:
    if "error" in answer.document:
        name = f"expmgr {command}".rstrip()
        print(f"{name}: {answer.text}", file=sys.stderr)
        if not as_json:
            return
    try:
        _write(answer.to_json(command) if as_json else answer.text)
    except BrokenPipeError:  # `expmgr models | head`: nobody reads any more, and nothing is lost
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(text: str) -> None:
    try:
        print(text, flush=True)
    except UnicodeEncodeError:  # a terminal or a pipe that knows ASCII only
        encoding = sys.stdout.encoding or "ascii"
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
