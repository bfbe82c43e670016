"""How the deletion of several runs' models ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

from expmgr.cleanup.naming import NAMED_HEADS, named_cells, named_lines
from expmgr.cleanup.plan import DeletionPlan
from expmgr.errors import InvalidInputError
from expmgr.formatting import format_bytes, format_count
from expmgr.prices import Bill
from expmgr.text import MESSAGE_LIMIT, escape, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pandas as pd
    from typing_extensions import Self

    from expmgr.results import DeletionResult

__all__ = ["DeletionReport"]


@dataclass(frozen=True)
class DeletionReport:
    """One result a run, in the order asked for.

    Attributes
    ----------
    cancelled
        Whether somebody cancelled; runs that were not begun have no result.
    saved
        What the deleted models cost a month, and what deleting them early costs; None without
        prices.
    failed
        The plan of what failed, as it was: what `retry` deletes.
    again
        Deletes a plan as the one of this report was deleted. It is no part of the value: not shown,
        not compared, not pickled.
    """

    results: tuple[DeletionResult, ...] = ()
    cancelled: bool = False
    saved: Bill | None = None
    failed: DeletionPlan = field(default_factory=DeletionPlan, repr=False, compare=False)
    again: Callable[[DeletionPlan], DeletionReport] | None = field(
        default=None, repr=False, compare=False
    )

    def __getstate__(self) -> dict[str, Any]:
        # A manager knows secrets; and what reads the pickle may be anywhere.
        return {**self.__dict__, "again": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def retrying(self, plan: DeletionPlan, again: Callable[[DeletionPlan], DeletionReport]) -> Self:
        """Return the report with what `retry` needs.

        Parameters
        ----------
        plan
            What was to be deleted.
        """
        ids = {result.run_id for result in self.results if result.outcome == "failed"}
        runs = tuple(run for run in plan.runs if run.id in ids)
        return replace(self, failed=DeletionPlan(runs, home=plan.home), again=again)

    def retry(self) -> DeletionReport:
        """Delete again what failed, and nothing else: as it was planned, protection asked anew.

        Returns
        -------
        DeletionReport
            Of these runs alone; empty where nothing failed.

        Raises
        ------
        InvalidInputError
            The report was loaded from a pickle, merged, or is of `resume_deletions` or
            `delete_due`.
        """
        if not any(result.outcome == "failed" for result in self.results):
            return DeletionReport()
        if self.again is None:
            message = "this report has no manager to try again with: "
            message += (
                "a pickle leaves it behind. Pass the plan of what failed to a manager: "
                "manager.delete_models(report.failed)."
                if self.failed.runs
                else "one that was merged leaves that to the single ones, and resume_deletions() "
                "and delete_due() are called again themselves."
            )
            raise InvalidInputError(message)
        return self.again(self.failed)

    @classmethod
    def merged(cls, reports: Iterable[DeletionReport]) -> Self:
        """Return what several calls did as one report, such as those of several containers.

        It cannot `retry`: the single ones know whose each run is.
        """
        every = list(reports)
        bills = [report.saved for report in every if report.saved is not None]
        return cls(
            tuple(result for report in every for result in report),
            any(report.cancelled for report in every),
            reduce(Bill.plus, bills) if bills and len(bills) == len(every) else None,
        )

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[DeletionResult]:
        return iter(self.results)

    @property
    def counts(self) -> dict[str, int]:
        """Number of results by outcome."""
        return dict(Counter(result.outcome for result in self.results))

    @property
    def files(self) -> int:
        """Files removed, those of failed deletions included."""
        return sum(result.files for result in self.results)

    @property
    def bytes(self) -> int:
        """Bytes removed, those of failed deletions included."""
        return sum(result.bytes for result in self.results)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a run: id and name, how it ended, what it took, message and error."""
        import pandas as pd

        columns = [
            "run_id",
            "run_name",
            "outcome",
            "files",
            "bytes",
            "attempts",
            "seconds",
            "message",
            "error",
        ]
        rows = [
            (
                result.run_id,
                result.name,
                result.outcome,
                result.files,
                result.bytes,
                result.attempts,
                result.seconds,
                result.message,
                ""
                if result.error is None
                else words(f"{type(result.error).__name__}: {result.error}"),
            )
            for result in self.results
        ]
        return pd.DataFrame(rows, columns=columns)

    @property
    def summary(self) -> str:
        """One line: what was removed, and how many ended how."""
        ended = ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items())
        removed = f"{format_count(self.files, 'file')}, {format_bytes(self.bytes)} deleted"
        count = format_count(len(self.results), _noun([one.run_id for one in self.results]))
        line = f"{count}: {ended or 'nothing to do'}; {removed}"
        if self.saved is not None:
            line += f"; saves {self.saved.words}"
        return f"{line}; cancelled" if self.cancelled else line

    def __repr__(self) -> str:
        lines = named_lines(
            [(result.name, result.run_id, f"{result.outcome}: {result}") for result in self.results]
        )
        return "\n".join([f"DeletionReport: {self.summary}", *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr>{named_cells(result.name, result.run_id)}<td>{result.outcome}</td>"
            f"<td>{escape(result, MESSAGE_LIMIT)}</td></tr>"
            for result in self.results
        )
        return (
            f"<p>{escape(self.summary)}</p><table><thead><tr>{NAMED_HEADS}<th>outcome</th>"
            f"<th>what happened</th></tr></thead><tbody>{rows}</tbody></table>"
        )


def _noun(ids: list[str]) -> str:
    """Return what the ids are of: runs, models by their own ids, or folders that nobody owns."""
    if any(id_.endswith("/") for id_ in ids):
        return "folder"
    return "model" if any("/" in id_ or id_.startswith("m-") for id_ in ids) else "run"
