"""What everything in the container costs, to the byte."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from expmgr.catalog.files import outermost
from expmgr.catalog.model import NOTHING, Size, is_model_id
from expmgr.catalog.usage import Scan, attribute
from expmgr.cleanup.counted import CountedListing, Stopped
from expmgr.cleanup.tables import rows_by_run
from expmgr.sources import NO_SOURCE, Source
from expmgr.tracking.journal import now_ms
from expmgr.tracking.queries import in_parallel, logged_model, runs_by_id

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.catalog.model import Model
    from expmgr.catalog.usage import ArtifactFolder
    from expmgr.cleanup.inventory import CountBy
    from expmgr.cleanup.locate import Finder
    from expmgr.cleanup.survey import Surveyed
    from expmgr.prices import StoragePrices

__all__ = ["scan_roots", "scan_storage", "usage_table"]


def _files_below(listing: CountedListing, path: str) -> Iterator[tuple[str, Size]]:
    return ((blob.name, size) for blob, size in listing.below(path) if size.files)


def scan_roots(
    finder: Finder,
    experiments: Sequence[Experiment],
    chosen: Sequence[Experiment],
    *,
    prices: StoragePrices | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
) -> Scan:
    """List the roots of some experiments, each once.

    A root whose listing was cancelled is left out of the result: half a listing would read as
    smaller models.

    Raises
    ------
    StorageError
        A root could not be listed.
    """
    began = now_ms()
    every = finder.homes(experiments)
    wanted = finder.homes(chosen)
    listing = CountedListing(finder, on_progress, cancel, prices)
    done: dict[str, Any] = {}
    try:
        for root in outermost(wanted) if "" not in wanted else ("",):
            usage, _, _ = attribute(_files_below(listing, root), every)
            done.update({path: found for path, found in usage.items() if _within(path, root)})
    except Stopped:
        pass
    listing.tell()
    return Scan(done, began=began)


def scan_container(
    finder: Finder,
    experiments: Sequence[Experiment],
    *,
    prices: StoragePrices | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
) -> Scan:
    """List the whole container; nothing is returned of a listing that was cancelled.

    Raises
    ------
    StorageError
        It could not be listed.
    """
    began = now_ms()
    listing = CountedListing(finder, on_progress, cancel, prices)
    try:
        usage, journal, unknown = attribute(_files_below(listing, ""), finder.homes(experiments))
    except Stopped:
        return Scan(began=began)
    finally:
        listing.tell()
    return Scan(usage, journal, unknown, began)


def scan_storage(
    finder: Finder,
    experiments: Sequence[Experiment],
    chosen: Sequence[Experiment] | None,
    *,
    prices: StoragePrices | None = None,
    inventory: CountBy | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    cancel: threading.Event | None = None,
) -> tuple[Scan, Source]:
    """Measure some experiments, or the whole container, by a report or by listings.

    Parameters
    ----------
    chosen
        None for the container.
    inventory
        Counts by a report, where one is asked for.

    Returns
    -------
    tuple
        What was measured; and which report told it, or why none did, where one was asked for.

    Raises
    ------
    StorageError
        It could not be listed.
    """
    source = NO_SOURCE
    if inventory is not None:
        homes = finder.homes(experiments)
        wanted = None if chosen is None else list(finder.homes(chosen))
        try:
            counted = inventory(wanted, prices=prices, on_progress=on_progress, cancel=cancel)
        except Stopped:
            return Scan(began=now_ms()), source
        if not isinstance(counted, Source):
            return counted.scan(homes, wanted), counted.source
        source = counted
    if chosen is None:
        scan = scan_container(
            finder, experiments, prices=prices, on_progress=on_progress, cancel=cancel
        )
    else:
        scan = scan_roots(
            finder, experiments, chosen, prices=prices, on_progress=on_progress, cancel=cancel
        )
    return scan, source


def _within(path: str, root: str) -> bool:
    return not root or path == root or path.startswith(f"{root}/")


@dataclass(frozen=True)
class _UsageRow:
    kind: str
    model: Size | None = None
    other: Size | None = None
    run_id: str = ""
    run_name: str = ""
    experiment_id: str = ""
    experiment_name: str = ""
    state: str = ""


@dataclass
class _Usage:
    """Gives each byte of a scan to one row."""

    client: MlflowClient
    finder: Finder
    experiments: Sequence[Experiment]
    surveyed: Surveyed
    scan: Scan
    rows: list[_UsageRow] = field(default_factory=list)
    _counted: set[str] = field(default_factory=set)

    def all_rows(self) -> list[_UsageRow]:
        """Return them."""
        names = {experiment.experiment_id: experiment.name for experiment in self.experiments}
        catalog = self.surveyed.catalog
        states = catalog.states()
        by_run = catalog.by_run()
        self._runs(by_run, names)
        for model in catalog.models.values():
            if model.path is None or model.path in self._counted or model.kind != "logged":
                continue
            folder = self._folder(model.path)
            if folder is not None and folder.size.files and not model.in_trash:
                self._counted.add(model.path)
                self.rows.append(
                    _UsageRow(
                        "model",
                        folder.size,
                        NOTHING,
                        model.id,
                        model.name,
                        model.experiment_id,
                        names.get(model.experiment_id, ""),
                        states[model.id],
                    )
                )
        self._roots(names)
        self._kept(self.scan.kept)
        self._rest("journal", self.scan.journal)
        self._rest("unknown", self.scan.unknown)
        return self.rows

    def _folder(self, path: str) -> ArtifactFolder | None:
        return self.scan.folder(path)

    def _runs(self, by_run: Mapping[str, Sequence[Model]], names: Mapping[str, str]) -> None:
        states = {run_id: row.model for run_id, row in rows_by_run(self.surveyed).items()}
        for run in self.surveyed.runs:
            info = run.info
            path = self.finder.path_or_none(info.artifact_uri)
            folder = None if path is None else self._folder(path)
            models = by_run.get(info.run_id, ())
            inside = size = NOTHING
            for model in models:
                if model.path is None or model.kind != "logged":
                    continue
                own = self._folder(model.path)
                if own is not None and model.path not in self._counted:
                    self._counted.add(model.path)
                    size = size.plus(own.size)
            if folder is not None and path is not None:
                inside = folder.holding(path, models)
            if path is not None and folder is not None:
                self._counted.add(path)
            self.rows.append(
                _UsageRow(
                    "run",
                    None if folder is None else size.plus(inside),
                    None if folder is None else folder.size.minus(inside),
                    info.run_id,
                    info.run_name or "",
                    info.experiment_id,
                    names.get(info.experiment_id, ""),
                    states[info.run_id],
                )
            )

    def _roots(self, names: Mapping[str, str]) -> None:
        chosen = {experiment.experiment_id for experiment in self.surveyed.experiments}
        owners = self.finder.homes(self.experiments)
        left: dict[str, str] = {}
        for root, usage in self.scan.roots.items():
            here = owners.get(root, [])
            own = [experiment for experiment in here if experiment.experiment_id in chosen]
            first = (own or here)[0] if here else None
            id_ = "" if first is None else first.experiment_id
            if not own:
                deleted = all(experiment.lifecycle_stage == "deleted" for experiment in here)
                rest = usage.traces.plus(usage.unknown)
                for path, folder in usage.folders.items():
                    if path not in self._counted:
                        rest = rest.plus(folder.size)
                self._rest("trash" if deleted else "experiment", rest, id_, names.get(id_, ""))
                self._kept(usage.kept, id_, names.get(id_, ""))
                continue
            self._rest("traces", usage.traces, id_, names.get(id_, ""))
            self._rest("unknown", usage.unknown, id_, names.get(id_, ""))
            self._kept(usage.kept, id_, names.get(id_, ""))
            left.update({path: id_ for path in usage.folders if path not in self._counted})
        self._classify(left, names, chosen)

    def _classify(
        self, left: Mapping[str, str], names: Mapping[str, str], chosen: set[str]
    ) -> None:
        """Tell of folders that no row counts whether they are trash, another's, or nobody's."""
        every = [experiment.experiment_id for experiment in self.experiments]
        ids = {path: path.split("/")[-2] for path in left}
        runs = runs_by_id(self.client, every, [id_ for id_ in ids.values() if not is_model_id(id_)])
        asked = [id_ for id_ in ids.values() if is_model_id(id_)]
        told = in_parallel(lambda model_id: logged_model(self.client, model_id), asked)
        models = {model.model_id: model for model in told if model is not None}
        sums: dict[tuple[str, str], Size] = {}
        for path, experiment_id in left.items():
            id_ = ids[path]
            folder = self._folder(path)
            size = NOTHING if folder is None else folder.size
            kind = "unknown"
            if id_ in models:
                other = str(models[id_].experiment_id) not in chosen
                kind = "experiment" if other else "trash"
            elif id_ in runs:
                info = runs[id_].info
                kind = "trash" if info.lifecycle_stage == "deleted" else "experiment"
            key = (kind, experiment_id)
            sums[key] = sums.get(key, NOTHING).plus(size)
        for (kind, experiment_id), size in sums.items():
            self._rest(kind, size, experiment_id, names.get(experiment_id, ""))

    def _kept(self, kept: Mapping[str, Size], experiment_id: str = "", name: str = "") -> None:
        for kind, size in kept.items():
            self._rest(kind, size, experiment_id, name)

    def _rest(self, kind: str, size: Size, experiment_id: str = "", name: str = "") -> None:
        if size.files:
            self.rows.append(_UsageRow(kind, NOTHING, size, "", "", experiment_id, name))


def usage_table(
    client: MlflowClient,
    finder: Finder,
    experiments: Sequence[Experiment],
    surveyed: Surveyed,
    scan: Scan,
    *,
    prices: StoragePrices | None = None,
    source: Source = NO_SOURCE,
) -> pd.DataFrame:
    """Return the table of `storage_usage`, largest first.

    Parameters
    ----------
    experiments
        All there are, those in the trash included.
    source
        See `scan_storage`.
    """
    import pandas as pd

    from expmgr.whole_table import WholeTable

    rows = _Usage(client, finder, experiments, surveyed, scan).all_rows()
    columns: dict[str, Any] = {
        "kind": [row.kind for row in rows],
        "run_id": [row.run_id for row in rows],
        "run_name": [row.run_name for row in rows],
        "experiment_id": [row.experiment_id for row in rows],
        "experiment_name": [row.experiment_name for row in rows],
        "model": [row.state for row in rows],
    }
    for prefix, sizes in (
        ("", [row.model for row in rows]),
        ("other_", [row.other for row in rows]),
    ):
        columns[f"{prefix}files"] = pd.array(
            [None if size is None else size.files for size in sizes], dtype="Int64"
        )
        columns[f"{prefix}bytes"] = pd.array(
            [None if size is None else size.bytes for size in sizes], dtype="Int64"
        )
        if prices is not None:
            for name in ("monthly", "early"):
                columns[f"{prefix}{name}"] = [
                    math.nan if size is None else getattr(size, name) for size in sizes
                ]
    frame = pd.DataFrame(columns)
    frame = frame.sort_values("bytes", ascending=False, kind="stable", ignore_index=True)
    return WholeTable.said(frame, source)
