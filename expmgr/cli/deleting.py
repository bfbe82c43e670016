"""``expmgr plan`` and ``expmgr delete``: the only commands that may lead to a deletion."""

from __future__ import annotations

import shlex
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from expmgr.cleanup.grace import due_after
from expmgr.cleanup.home import check_home, home_of
from expmgr.cleanup.marking import check_markable
from expmgr.cli.answer import Answer, Exit, exit_of, of_plan, of_report, rows_of
from expmgr.cli.progress import StatusLine
from expmgr.cli.tables import as_text
from expmgr.cli.wanted import read_wanted
from expmgr.errors import InvalidInputError
from expmgr.formatting import format_count
from expmgr.interrupt import cancel_by_signals
from expmgr.tracking.journal import now_ms

if TYPE_CHECKING:
    import argparse
    import threading

    from expmgr.azure_blob import ExperimentsManagerWithAzureBlobBackend
    from expmgr.cleanup.plan import DeletionPlan
    from expmgr.cli.wanted import Wanted

__all__ = ["delete", "plan"]

_STOPPED = "Interrupted while it was being planned: nothing was deleted."


def plan(manager: ExperimentsManagerWithAzureBlobBackend, options: argparse.Namespace) -> Answer:
    """Return what a deletion would remove; with ``--save`` write it to a file, too."""
    wanted = read_wanted(options)
    with cancel_by_signals() as cancel:
        found = _planned(manager, wanted, cancel)
        if cancel.is_set():
            return Answer(_STOPPED, {"cancelled": True}, Exit.INTERRUPTED)
    text = repr(found)
    document = {"saved": options.save, **of_plan(found)}
    if options.save is not None:
        try:
            found.save(options.save)
        except OSError as error:
            message = f"the plan could not be written to {options.save!r}: {error.strerror}."
            raise InvalidInputError(message) from error
        again = f"expmgr delete --plan {shlex.quote(options.save)}"
        text += f"\nSaved: {again} shows it, and deletes it with --yes."
    return Answer(text, document, _exit_of(found))


def delete(manager: ExperimentsManagerWithAzureBlobBackend, options: argparse.Namespace) -> Answer:
    """Delete, mark, or, without ``--yes``, only return what would go."""
    wanted = read_wanted(options)
    if options.yes and options.dry_run:
        raise InvalidInputError("--yes and --dry-run do not go together: name one of them.")
    if options.force and options.after is not None:
        raise InvalidInputError("--force cannot wait: leave out --force or --after.")
    if options.after is not None:
        due_after(options.after, now_ms())  # a dry run refuses what could not be done
    with cancel_by_signals() as cancel:
        if wanted.way == "due":
            return _due(manager, wanted, cancel, really=options.yes)
        found = _planned(manager, wanted, cancel)
        if wanted.way == "policy" and options.after is not None and not cancel.is_set():
            from expmgr.cleanup.unmarked import not_marked_yet

            found = not_marked_yet(found, manager.marks(wanted.experiments))
        if cancel.is_set():
            return Answer(_STOPPED, {"cancelled": True}, Exit.INTERRUPTED)
        if not options.yes:
            _check(manager, found, options)
            return _dry_run(found, options)
        report = manager.delete_models(
            found,
            force=options.force,
            progress=StatusLine.is_shown(),
            after=options.after,
            cancel=cancel,
        )
    text = repr(report)
    if report.cancelled:
        left = len(found) - len(report)
        text += f"\nInterrupted: {format_count(left, 'model')} of the plan not begun."
    elif found.note:
        text += f"\n{found.note}"
    return Answer(text, {"dry_run": False, **of_report(report)}, exit_of(report))


def _planned(
    manager: ExperimentsManagerWithAzureBlobBackend, wanted: Wanted, cancel: threading.Event
) -> DeletionPlan:
    if wanted.way == "plan":
        from expmgr.cleanup.plan import DeletionPlan

        return DeletionPlan.load(wanted.file)
    with StatusLine("planning") as line:
        if wanted.way == "ids":
            return manager.plan_deletion(
                wanted.ids, wanted.part, on_progress=line.looked_at, cancel=cancel
            )
        try:
            return manager.plan_cleanup(
                wanted.where,
                wanted.keep,
                per=wanted.per,
                part=wanted.part,
                experiments=wanted.experiments,
                everything=wanted.everything,
                on_progress=line.looked_at,
                cancel=cancel,
            )
        except InvalidInputError as error:
            message = f"{error} (Here keep=best(1) is --keep-best 1, everything=True --everything.)"
            raise InvalidInputError(message) from error


def _check(
    manager: ExperimentsManagerWithAzureBlobBackend,
    found: DeletionPlan,
    options: argparse.Namespace,
) -> None:
    """Refuse what ``--yes`` would refuse."""
    check_home(found.home, home_of(manager.tracking_uri, manager.blob_store.addresses.store))
    if options.after is not None:
        check_markable(found)


def _dry_run(found: DeletionPlan, options: argparse.Namespace) -> Answer:
    done, do = ("deleted", "delete") if options.after is None else ("marked", "mark")
    forced = [run for run in found.protected if options.force and not run.doubts]
    said = f"Nothing was {done}: this is a dry run."
    if found.deletable or forced:
        said += f" Add --yes to {do} what would go"
        said += ", and what is protected as well." if forced else "."
    if len(found.protected) > len(forced):
        said += " What is protected stays."
    document = {"dry_run": True, "forced": [run.id for run in forced], **of_plan(found)}
    exit_ = Exit.DONE if len(forced) == len(found.protected) else Exit.PROTECTED
    return Answer(f"{found!r}\n{said}", document, _problems(found) or exit_)


def _due(
    manager: ExperimentsManagerWithAzureBlobBackend,
    wanted: Wanted,
    cancel: threading.Event,
    *,
    really: bool,
) -> Answer:
    if really:
        report = manager.delete_due(
            wanted.experiments, progress=StatusLine.is_shown(), cancel=cancel
        )
        return Answer(repr(report), {"dry_run": False, **of_report(report)}, exit_of(report))
    marks = manager.marks(wanted.experiments)
    due = marks[marks["goes"] <= datetime.now(timezone.utc)]
    document = {"dry_run": True, "due": rows_of(due), "bytes": int(due["bytes"].sum())}
    if due.empty:
        return Answer("Nothing is due.", document)
    said = "Nothing was deleted: this is a dry run. Add --yes to delete what is due."
    return Answer(f"{as_text(due)}\n{said}", document)


def _exit_of(found: DeletionPlan) -> Exit:
    return _problems(found) or (Exit.PROTECTED if found.protected else Exit.DONE)


def _problems(found: DeletionPlan) -> Exit:
    return Exit.FAILED if any(run.problem for run in found.runs) else Exit.DONE
