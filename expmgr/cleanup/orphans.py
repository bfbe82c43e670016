"""What no live run or model owns: trash, by the server's own word, and what is unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from expmgr.catalog.model import Size, Stored
from expmgr.catalog.reason import Reasons
from expmgr.cleanup.drafts import Draft, protected
from expmgr.cleanup.folder_scan import chosen_experiments, hex_of, scan_folders
from expmgr.cleanup.orphan_plans import location_of, subject_of
from expmgr.cleanup.ownership import Judge
from expmgr.cleanup.plan import RunPlan
from expmgr.errors import LocationError
from expmgr.sources import NO_SOURCE
from expmgr.text import words
from expmgr.tracking.queries import ALL_EXPERIMENTS
from expmgr.tracking.sight import hidden_by

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd
    from mlflow.entities import Experiment

    from expmgr.catalog.places import Folder
    from expmgr.catalog.reason import Reason
    from expmgr.cleanup.folder_scan import Seen
    from expmgr.cleanup.inventory import CountBy
    from expmgr.cleanup.planner import Planner
    from expmgr.prices import StoragePrices
    from expmgr.sources import Source

__all__ = ["ORPHAN_COLUMNS", "Orphan", "find_all", "orphans_table"]

ORPHAN_COLUMNS = (
    "kind",
    "prefix",
    "id",
    "name",
    "experiment_id",
    "experiment_name",
    "files",
    "bytes",
    "newest",
    "evidence",
    "protected_by",
    "deletable",
    "seen",
)

OrphanKind = Literal["trash", "unknown"]


@dataclass(frozen=True)
class Orphan:
    """A folder that no live run or model owns.

    Attributes
    ----------
    kind
        ``trash`` or ``unknown``.
    reasons
        Why it must stay all the same.
    deletable
        Whether `delete_orphans` takes it: trash from a table, what is unknown when it is named.
    """

    kind: OrphanKind
    folder: Folder
    seen: Seen
    evidence: str
    name: str = ""
    experiment_id: str = ""
    experiment_name: str = ""
    reasons: tuple[Reason, ...] = ()
    deletable: bool = False

    @property
    def prefix(self) -> str:
        """The blob prefix, with its slash; "" for the files right in the container."""
        return f"{self.folder.path}/" if self.folder.path else ""


def find_all(
    planner: Planner,
    selection: str | Iterable[str] | None,
    is_own: Callable[[Experiment], bool],
    *,
    prices: StoragePrices | None = None,
    inventory: CountBy | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
) -> tuple[list[Orphan], Source]:
    """Return what no live run or model of some experiments owns, with what protects it.

    What lies below no root is asked about with the manager's own experiments, and with all. The
    other value says what told it, see `expmgr.cleanup.folder_scan.scan_folders`.

    Raises
    ------
    NotFoundError, TrackingError, StorageError
        No such experiment; MLflow or storage could not be asked, or it was cancelled.
    """
    gathered = planner.gathered()
    every = list(gathered.experiments.values())
    experiments = chosen_experiments(every, selection, is_own)
    chosen = {experiment.experiment_id for experiment in experiments}
    outside = selection is None or selection == ALL_EXPERIMENTS
    seen, source = scan_folders(
        gathered.finder,
        every,
        None if outside else experiments,
        prices=prices,
        inventory=inventory,
        on_progress=on_progress,
        cancel=cancel,
    )
    hidden = hidden_by(gathered.client)
    judge = Judge(
        gathered.client, gathered.blob_store, gathered.finder, gathered.experiments, hidden
    )
    verdicts = {
        folder: verdict
        for folder, verdict in judge.judge(seen).items()
        if verdict.kind != "owned"
        and (
            outside
            if folder.root is None
            else verdict.experiment_id in chosen or judge.lies_in(folder, chosen)
        )
    }
    drafts = []
    wrong: dict[Folder, str] = {}
    for folder, verdict in verdicts.items():
        size = Size(seen[folder].files, seen[folder].bytes)
        plan = RunPlan("", asked=folder.path, experiment_id=verdict.experiment_id)
        drafts.append(Draft(plan, subject_of(folder, verdict, Stored(size, marked=True))))
        if folder.owner_id:
            try:
                gathered.finder.check(location_of(folder, planner.blob_store.addresses.store))
            except LocationError as error:
                wrong[folder] = str(error)
    found = []
    for (folder, verdict), plan in zip(verdicts.items(), protected(drafts, gathered), strict=True):
        assert verdict.kind != "owned"
        kept = bool(plan.reasons) or folder in wrong or not folder.owner_id
        found.append(
            Orphan(
                verdict.kind,
                folder,
                seen[folder],
                "; ".join(filter(None, (verdict.evidence, wrong.get(folder, "")))),
                verdict.name,
                verdict.experiment_id,
                plan.experiment_name,
                plan.reasons,
                not kept and not (verdict.kind == "unknown" and hidden),
            )
        )
    return found, source


def orphans_table(
    orphans: Sequence[Orphan], *, priced: bool, source: Source = NO_SOURCE
) -> pd.DataFrame:
    """Return the table of `find_orphans`, largest first."""
    import pandas as pd

    from expmgr.whole_table import WholeTable

    rows = sorted(orphans, key=lambda one: (-one.seen.bytes, one.prefix))
    values: dict[str, Any] = {
        "kind": [one.kind for one in rows],
        "prefix": [one.prefix for one in rows],
        "id": [one.folder.owner_id for one in rows],
        "name": [words(one.name) for one in rows],
        "experiment_id": [one.experiment_id for one in rows],
        "experiment_name": [words(one.experiment_name) for one in rows],
        "files": pd.array([one.seen.files for one in rows], dtype="Int64"),
        "bytes": pd.array([one.seen.bytes for one in rows], dtype="Int64"),
        "newest": pd.to_datetime(pd.Series([one.seen.newest for one in rows]), utc=True),
        "evidence": [words(one.evidence) for one in rows],
        "protected_by": [Reasons(one.reasons) for one in rows],
        "deletable": pd.array([one.deletable for one in rows], dtype=bool),
        "seen": [hex_of(one.seen.digest) for one in rows],
    }
    columns = list(ORPHAN_COLUMNS)
    if priced:
        at = columns.index("bytes") + 1
        columns[at:at] = ["monthly", "early"]
        values["monthly"] = [one.seen.monthly for one in rows]
        values["early"] = [one.seen.early for one in rows]
    return WholeTable.said(pd.DataFrame(values, columns=columns), source)
