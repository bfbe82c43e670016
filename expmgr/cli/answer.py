"""What a command answers: a text for people, or one JSON document, and an exit code. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError, NotFoundError
from expmgr.secrecy import redact
from expmgr.text import words

if TYPE_CHECKING:
    import pandas as pd

    from expmgr.cleanup.plan import DeletionPlan
    from expmgr.cleanup.report import DeletionReport

__all__ = [
    "Answer",
    "Exit",
    "as_json",
    "exit_of",
    "of_plan",
    "of_report",
    "refusal",
    "rows_of",
    "told_of",
]


class Exit(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    PROTECTED = 3
    INTERRUPTED = 130


@dataclass(frozen=True)
class Answer:
    """What a command found or did.

    Attributes
    ----------
    text
        For people.
    document
        The same for programs: bytes as whole numbers, times in ISO 8601 and UTC.
    exit
        How it ended.
    """

    text: str
    document: Mapping[str, Any] = field(default_factory=dict)
    exit: Exit = Exit.DONE

    def to_json(self, command: str) -> str:
        """Return the one document that a command with ``--json`` prints."""
        head = {"command": command, "exit": int(self.exit)}
        return json.dumps({**head, **{key: as_json(one) for key, one in self.document.items()}})


def as_json(value: Any) -> Any:
    """Return a value as JSON has it; what is missing or no number is None."""
    if isinstance(value, Mapping):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(one) for one in value]
    return _time(value) if isinstance(value, datetime) else _scalar(value)


def _scalar(value: Any) -> Any:
    plain = value.item() if hasattr(value, "item") else value  # numpy's numbers
    if isinstance(plain, float):
        return plain if math.isfinite(plain) else None
    if plain is None or isinstance(plain, (str, bool, int)):
        return plain
    return None if str(plain) == "<NA>" else str(plain)


def _time(value: datetime) -> str | None:
    if value != value:  # noqa: PLR0124 - pandas' NaT is a datetime that is not itself
        return None
    at = value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
    return at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def told_of(frame: pd.DataFrame) -> dict[str, str]:
    """Return what a table was counted by, ``source`` and ``taken``, where one may choose."""
    return {str(name): str(value) for name, value in frame.attrs.items()}


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table as JSON has it, an object a row."""
    return [as_json(row) for row in frame.to_dict("records")]


def of_plan(plan: DeletionPlan) -> dict[str, Any]:
    """Return what a plan says: ``files`` and ``bytes`` that would go, ``models`` and ``kept``."""
    found: dict[str, Any] = {
        "files": plan.files,
        "bytes": plan.bytes,
        "note": plan.note,
        "models": [
            {
                "id": run.id,
                "run_id": run.run_id,
                "name": run.run_name,
                "experiment": run.experiment_name,
                "state": run.model,
                "part": run.part if isinstance(run.part, str) else list(run.part),
                "files": run.files,
                "bytes": run.bytes,
                "deletable": run.deletable,
                "protected_by": [
                    {"kind": reason.kind, "words": reason.words} for reason in run.reasons
                ],
                "problem": run.problem,
            }
            for run in plan.runs
        ],
        "kept": [
            {"id": one.id, "name": one.name, "why": one.why, "bytes": one.bytes}
            for one in plan.kept
        ],
    }
    return found


def of_report(report: DeletionReport) -> dict[str, Any]:
    """Return what a deletion did: ``files`` and ``bytes`` that went, ``counts``, ``results``."""
    return {
        "files": report.files,
        "bytes": report.bytes,
        "cancelled": report.cancelled,
        "counts": report.counts,
        "results": [
            {
                "id": result.run_id,
                "name": result.name,
                "outcome": result.outcome,
                "files": result.files,
                "bytes": result.bytes,
                "attempts": result.attempts,
                "seconds": round(result.seconds, 3),
                "message": result.message,
                "protected_by": [
                    {"kind": reason.kind, "words": reason.words} for reason in result.reasons
                ],
                "left": list(result.left),
            }
            for result in report.results
        ],
    }


def exit_of(report: DeletionReport) -> Exit:
    """Return how a deletion ended: interrupted before failed, failed before protected."""
    if report.cancelled:
        return Exit.INTERRUPTED
    if report.counts.get("failed"):
        return Exit.FAILED
    return Exit.PROTECTED if report.counts.get("protected") else Exit.DONE


def refusal(error: Exception) -> Answer:
    """Return what is said of an error: one line, without secrets."""
    bad = isinstance(error, (InvalidInputError, NotFoundError))
    message = words(redact(str(error)))
    return Answer(
        message,
        {"error": {"type": type(error).__name__, "message": message}},
        Exit.BAD_INPUT if bad else Exit.FAILED,
    )
