"""``expmgr orphans``: what nobody owns; with ``--yes`` the trash goes, or what is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.cli.answer import Answer, Exit, exit_of, of_report, rows_of, told_of
from expmgr.cli.progress import StatusLine
from expmgr.cli.tables import as_text
from expmgr.cli.wanted import chosen_experiments
from expmgr.errors import StorageError
from expmgr.formatting import format_bytes, format_count
from expmgr.interrupt import cancel_by_signals

if TYPE_CHECKING:
    import argparse
    import threading

    import pandas as pd

    from expmgr.azure_blob import ExperimentsManagerWithAzureBlobBackend

__all__ = ["orphans"]

_SHOWN = ("kind", "prefix", "name", "newest", "bytes", "protected_by", "evidence")


def orphans(manager: ExperimentsManagerWithAzureBlobBackend, options: argparse.Namespace) -> Answer:
    """Return what nobody owns; with ``--yes`` delete the trash, or the named prefixes."""
    with cancel_by_signals() as cancel:
        if options.yes and options.prefix:
            return _delete(manager, cancel, prefixes=options.prefix)
        try:
            with StatusLine("listing") as line:
                found = manager.find_orphans(
                    chosen_experiments(options),
                    inventory=options.inventory,
                    on_progress=line.measured,
                    cancel=cancel,
                )
        except StorageError:
            if not cancel.is_set():
                raise
            said = "Interrupted while it was being listed: nothing was deleted."
            return Answer(said, {"cancelled": True}, Exit.INTERRUPTED)
        if options.yes:
            return _delete(manager, cancel, frame=found[found["kind"] == "trash"])
    return _found(found, options)


def _delete(
    manager: ExperimentsManagerWithAzureBlobBackend,
    cancel: threading.Event,
    *,
    frame: pd.DataFrame | None = None,
    prefixes: list[str] | None = None,
) -> Answer:
    report = manager.delete_orphans(
        frame, prefixes=prefixes, progress=StatusLine.is_shown(), cancel=cancel
    )
    return Answer(repr(report), {"dry_run": False, **of_report(report)}, exit_of(report))


def _found(found: pd.DataFrame, options: argparse.Namespace) -> Answer:
    told = told_of(found)
    if options.prefix:
        wanted = {f"{prefix.removesuffix('/')}/" for prefix in options.prefix}
        found = found[found["prefix"].isin(wanted)]
    would = found if options.prefix else found[found["kind"] == "trash"]
    would = would[would["deletable"]]
    document = {
        "dry_run": True,
        "bytes": int(would["bytes"].sum()),
        "orphans": rows_of(found),
        **told,
    }
    source = f"\n{told['source']}" if told else ""
    if found.empty:
        return Answer(f"Nothing lies there that nobody owns.{source}", document)
    size = format_bytes(int(would["bytes"].sum()))
    said = f"{format_count(len(would), 'folder')}, {size} would go. Nothing was deleted: this is a "
    said += "dry run. Add --yes to delete "
    said += "them." if options.prefix else "the trash; what is unknown goes by --prefix only."
    return Answer(f"{as_text(found[list(_SHOWN)])}\n{said}{source}", document)
