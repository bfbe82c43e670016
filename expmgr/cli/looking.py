"""The commands that only look, and those that mend: usage, models, log, check, keep, resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.cli.answer import Answer, Exit, exit_of, of_report, rows_of, told_of
from expmgr.cli.progress import StatusLine
from expmgr.cli.tables import as_text
from expmgr.cli.wanted import chosen_experiments
from expmgr.errors import ExpmgrError
from expmgr.formatting import format_bytes, format_count

if TYPE_CHECKING:
    import argparse

    from expmgr.azure_blob import ExperimentsManagerWithAzureBlobBackend

__all__ = ["check", "keep", "log", "models", "resume", "usage"]

_OF_A_RUN = (
    *("kind", "run_id", "run_name", "experiment_name", "model", "bytes", "other_bytes"),
    *("monthly", "other_monthly"),
)
_OF_A_MODEL = (
    *("model_id", "name", "experiment_name", "created", "quality", "model", "bytes"),
    *("protected_by", "goes"),
)
_OF_A_RECORD = ("when", "who", "id", "name", "part", "state", "bytes", "forced", "due", "note")
_OF_A_MARK = ("id", "name", "goes", "marked_by", "bytes")


def usage(manager: ExperimentsManagerWithAzureBlobBackend, options: argparse.Namespace) -> Answer:
    """Return what everything costs: a row an experiment, or a row a run."""
    from expmgr.catalog.shares import SHARES, by_experiment

    with StatusLine("measuring") as line:
        found = manager.storage_usage(
            chosen_experiments(options), inventory=options.inventory, on_progress=line.measured
        )
    shares = by_experiment(found)
    files = int(found["files"].sum() + found["other_files"].sum())
    size = int(shares["bytes"].sum())
    if options.runs:
        table = as_text(found[[name for name in _OF_A_RUN if name in found]])
    else:
        used = [name for name in SHARES if shares[name].any()]
        rows = shares[["experiment_name", *used, "bytes"]]
        table = as_text(rows.replace({"experiment_name": {"": "(none)"}}), (*used, "bytes"))
    total = f"total: {format_count(files, 'file')}, {format_bytes(size)}"
    told = told_of(found)
    total += f"\n{told['source']}" if told else ""
    document = {
        "files": files,
        "bytes": size,
        "experiments": rows_of(shares),
        "rows": rows_of(found),
        **told,
    }
    return Answer(f"{table}\n{total}" if len(found) else total, document)


def models(manager: ExperimentsManagerWithAzureBlobBackend, options: argparse.Namespace) -> Answer:
    """Return a row a model."""
    chosen = chosen_experiments(options)
    if options.sizes:
        with StatusLine("measuring") as line:
            manager.storage_usage(chosen, on_progress=line.measured)
    found = manager.models(chosen, options.filter)
    said = format_count(len(found), "model")
    if len(found):  # a run's name is people's own, a model's is mostly made up
        named = found["run_name"].where(found["run_name"].astype(bool), found["name"])
        said = f"{as_text(found.assign(name=named)[list(_OF_A_MODEL)])}\n{said}"
    return Answer(said, {"models": rows_of(found)})


def log(manager: ExperimentsManagerWithAzureBlobBackend, options: argparse.Namespace) -> Answer:
    """Return what was deleted and marked, or what is still to go."""
    chosen = chosen_experiments(options)
    found = manager.marks(chosen) if options.marks else manager.deletion_log(chosen)
    nothing = "Nothing is marked." if options.marks else "Nothing was deleted or marked."
    name, columns = ("marks", _OF_A_MARK) if options.marks else ("log", _OF_A_RECORD)
    text = as_text(found[list(columns)]) if len(found) else nothing
    return Answer(text, {name: rows_of(found)})


def check(manager: ExperimentsManagerWithAzureBlobBackend, options: argparse.Namespace) -> Answer:
    """Return what is reachable and permitted."""
    found = manager.check(live=options.live)
    failed = bool((found["status"] == "no").any())
    return Answer(as_text(found), {"checks": rows_of(found)}, Exit.FAILED if failed else Exit.DONE)


def keep(manager: ExperimentsManagerWithAzureBlobBackend, options: argparse.Namespace) -> Answer:
    """Take marks back, of each id for itself."""
    kept: dict[str, bool] = {}
    errors: dict[str, ExpmgrError] = {}
    for id_ in dict.fromkeys(options.ids):
        try:
            kept[id_] = manager.keep(id_)
        except ExpmgrError as error:  # the others are kept all the same
            kept[id_], errors[id_] = False, error
    if len(errors) == len(kept):
        raise next(iter(errors.values()))
    lines = [
        f"{id_}: {'kept' if done else errors.get(id_) or 'has no mark'}"
        for id_, done in kept.items()
    ]
    document = {"kept": [{"id": id_, "kept": done} for id_, done in kept.items()]}
    return Answer("\n".join(lines), document, Exit.DONE if all(kept.values()) else Exit.FAILED)


def resume(manager: ExperimentsManagerWithAzureBlobBackend, options: argparse.Namespace) -> Answer:
    """Finish what was left half done."""
    report = manager.resume_deletions(chosen_experiments(options))
    return Answer(repr(report), of_report(report), exit_of(report))
