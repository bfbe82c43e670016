"""Reads runs from MLflow into the run table, with what is known of each run's model."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from expmgr.errors import ExpmgrError, LocationError
from expmgr.storage.usage import NOTHING
from expmgr.tracking.journal import read_records
from expmgr.tracking.models import has_recorded_model, history_paths, output_model_ids
from expmgr.tracking.protection import INITIAL_TAG, KEEP_TAG, best_runs, is_pin
from expmgr.tracking.queries import (
    in_parallel,
    iter_logged_models,
    iter_runs,
    logged_model,
    select_experiments,
)
from expmgr.tracking.registry import RegistryIndex, read_registry
from expmgr.tracking.runs_table import (
    RowFacts,
    loading,
    mark_best,
    mark_rows_best,
    runs_table,
)
from expmgr.tracking.state import model_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel, Run

    from expmgr.storage.usage import Scan, Size
    from expmgr.tracking.protection import Goal

__all__ = ["RunsView"]

_MODEL_STATES = ("stored", "artifacts", "interrupted", "deleting")


@dataclass(frozen=True)
class _Maker:
    """Who made a LoggedModel and where it lies; neither ever changes."""

    run_id: str | None
    location: str
    tags: Mapping[str, str] = field(default_factory=dict)


def _nowhere(uri: str) -> str:
    """Say of any URI that it is not in our container, for a manager without one."""
    message = f"{uri} is not in a container that this manager knows."
    raise LocationError(message)


class RunsView:
    """The runs of one tracking server as one manager sees them.

    Parameters
    ----------
    prefix
        What the names of the manager's own experiments begin with.
    goal_of
        What "best" means in an experiment.
    blob_path
        Turns an artifact URI into a blob path of the manager's container, or raises LocationError.
    """

    def __init__(
        self,
        prefix: str,
        goal_of: Callable[[Experiment], Goal | None],
        blob_path: Callable[[str], str] = _nowhere,
    ) -> None:
        self._prefix = prefix
        self._goal_of = goal_of
        self._blob_path = blob_path
        self._lock = threading.Lock()
        self._makers: dict[str, _Maker | None] = {}
        self._sizes: dict[str, tuple[Size, Size, int]] = {}
        self._registry: RegistryIndex | None = None

    def forget_size(self, run_id: str) -> None:
        """Drop a size that no longer holds."""
        with self._lock:
            self._sizes.pop(run_id, None)

    def load(
        self,
        client: MlflowClient,
        experiments: str | Iterable[str] | None,
        filter_string: str,
        *,
        models_only: bool = False,
        limit: int | None = None,
        scan: Scan | None = None,
    ) -> pd.DataFrame:
        """Return the run table, see `ExperimentsManager.runs`.

        Parameters
        ----------
        scan
            A fresh storage scan, from which sizes are taken and kept for the tables to come.
        """
        chosen = select_experiments(client, experiments, prefix=self._prefix)
        ids = [experiment.experiment_id for experiment in chosen]
        with loading():
            runs = list(iter_runs(client, ids, filter_string, limit=limit))
            made = self._models_by_run(client, ids, runs, search=limit is None)
            reasons = self._registry_reasons(client, runs, made, read=limit is None)
            if scan is not None:
                self._measure(runs, made, scan)
            facts = {
                run.info.run_id: self._facts(
                    run, made.get(run.info.run_id, ()), reasons.get(run.info.run_id, ())
                )
                for run in runs
            }
            names = {experiment.experiment_id: experiment.name for experiment in chosen}
            table = runs_table(runs, names, facts)
        if limit is None and not filter_string:
            table = mark_best(table, self._goals(chosen))
        elif limit is None:
            table = self._mark_best_of_all(client, table, chosen)
        if models_only:
            table = table[table["model"].isin(_MODEL_STATES)].reset_index(drop=True)
        return table

    def _goals(self, experiments: Iterable[Experiment]) -> dict[str, Goal]:
        return {
            experiment.experiment_id: goal
            for experiment in experiments
            if (goal := self._goal_of(experiment)) is not None
        }

    def _mark_best_of_all(
        self, client: MlflowClient, table: pd.DataFrame, experiments: Sequence[Experiment]
    ) -> pd.DataFrame:
        """Mark the best among all runs, also where a filter shows only some of them."""
        shown = set(table["experiment_id"])
        goals = [item for item in self._goals(experiments).items() if item[0] in shown]
        found = in_parallel(
            lambda item: best_runs(client, item[0], item[1], has_recorded_model), goals
        )
        return mark_rows_best(table, [run.info.run_id for best in found for run in best.runs])

    def _models_by_run(
        self,
        client: MlflowClient,
        experiment_ids: Sequence[str],
        runs: Sequence[Run],
        *,
        search: bool,
    ) -> dict[str, tuple[tuple[str, _Maker | None], ...]]:
        """Return by run id the models that it made: (model id, what is known of it).

        Models that a run lists and MLflow does not tell of count as made; links do not.
        """
        if search:
            for model in iter_logged_models(client, experiment_ids):
                self._keep(model)
        listed = {run.info.run_id: output_model_ids(run) for run in runs}
        strangers = [
            model_id
            for model_id in dict.fromkeys(mid for ids in listed.values() for mid in ids)
            if model_id not in self._makers
        ]
        for model_id, found in zip(
            strangers,
            in_parallel(lambda model_id: logged_model(client, model_id), strangers),
            strict=True,
        ):
            if found is None:
                self._makers[model_id] = None
            else:
                self._keep(found)
        made: dict[str, dict[str, _Maker | None]] = defaultdict(dict)
        for model_id, maker in list(self._makers.items()):
            if maker is not None and maker.run_id:
                made[maker.run_id][model_id] = maker
        for run_id, ids in listed.items():
            for model_id in ids:
                if self._makers.get(model_id) is None:
                    made[run_id][model_id] = None
        return {run_id: tuple(models.items()) for run_id, models in made.items()}

    def _keep(self, model: LoggedModel) -> None:
        self._makers[model.model_id] = _Maker(
            model.source_run_id, model.artifact_location, dict(model.tags)
        )

    def _registry_reasons(
        self,
        client: MlflowClient,
        runs: Sequence[Run],
        made: Mapping[str, tuple[tuple[str, _Maker | None], ...]],
        *,
        read: bool,
    ) -> dict[str, tuple[str, ...]]:
        failure = ""
        if read:
            try:
                self._registry = read_registry(client, self._blob_path)
            except ExpmgrError as error:
                failure = f"unknown: the model registry could not be read ({error})"
        index = self._registry or RegistryIndex()
        reasons: dict[str, tuple[str, ...]] = {}
        for run in runs:
            run_id = run.info.run_id
            versions = index.versions_of(
                run_id,
                [model_id for model_id, _ in made.get(run_id, ())],
                self._paths(run, made.get(run_id, ())) if index.by_path else (),
            )
            found = [f"registered: {version}" for version in versions]
            reasons[run_id] = tuple([*found, failure] if failure else found)
        return reasons

    def _paths(self, run: Run, made: Sequence[tuple[str, _Maker | None]]) -> list[str]:
        paths = []
        for _, maker in made:
            if maker is not None:
                try:
                    paths.append(self._blob_path(maker.location))
                except LocationError:
                    continue
        try:
            root = self._blob_path(run.info.artifact_uri)
        except LocationError:
            return paths
        paths.extend(f"{root}/{path.strip('/')}" for path in history_paths(run.data.tags))
        return paths

    def _facts(
        self,
        run: Run,
        made: Sequence[tuple[str, _Maker | None]],
        registered: Sequence[str],
    ) -> RowFacts:
        run_id, tags = run.info.run_id, run.data.tags
        size, _, measured = self._sizes.get(run_id, (None, None, 0))
        if any(record.touched > measured for record in read_records(run_id, tags)):
            size = None  # something was deleted since
        state = model_state(
            run_id,
            tags,
            paths=self._paths(run, made),
            recorded=bool(made or history_paths(tags)),
            elsewhere=self._is_elsewhere(run, made),
            files=None if size is None else size.files,
        )
        reasons: list[str] = []
        if run.info.status in {"RUNNING", "SCHEDULED"}:
            reasons.append("active")
        if tags.get(INITIAL_TAG, "").lower() == "true":
            reasons.append("initial")
        if is_pin(tags.get(KEEP_TAG)) or any(
            maker is not None and is_pin(maker.tags.get(KEEP_TAG)) for _, maker in made
        ):
            reasons.append("pinned")
        reasons.extend(registered)
        if state == "deleted":
            size = NOTHING
        return RowFacts(
            state,
            None if size is None else size.files,
            None if size is None else size.bytes,
            tuple(reasons),
        )

    def usage(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the table of `storage_usage` for the runs of a run table, largest model first."""
        import pandas as pd

        columns = ["run_id", "run_name", "experiment_id", "experiment_name", "model"]
        columns += ["files", "bytes"]
        usage = table[columns].copy()
        others = [self._sizes.get(run_id, (None, None, 0))[1] for run_id in usage["run_id"]]
        usage["other_files"] = pd.array(
            [None if other is None else other.files for other in others], dtype="Int64"
        )
        usage["other_bytes"] = pd.array(
            [None if other is None else other.bytes for other in others], dtype="Int64"
        )
        return usage.sort_values("bytes", ascending=False, kind="stable", ignore_index=True)

    def _measure(
        self,
        runs: Sequence[Run],
        made: Mapping[str, tuple[tuple[str, _Maker | None], ...]],
        scan: Scan,
    ) -> None:
        """Keep the sizes of each run's model and of its other artifacts, where scanned."""
        for run in runs:
            run_id = run.info.run_id
            try:
                root = self._blob_path(run.info.artifact_uri)
                locations = [
                    self._blob_path(maker.location)
                    for _, maker in made.get(run_id, ())
                    if maker is not None
                ]
            except LocationError:
                continue
            own = scan.folder(root)
            models = [scan.folder(path) for path in locations]
            if own is None or any(folder is None for folder in models):
                continue
            size = NOTHING
            for folder in models:
                if folder is not None:
                    size = size.plus(folder.size)
            recorded = bool(made.get(run_id) or history_paths(run.data.tags))
            if recorded:
                inside = own.below(history_paths(run.data.tags))
            else:
                begun = read_records(run_id, run.data.tags)
                paths = [
                    location.path[len(root) :]
                    for record in begun
                    for location in record.locations
                    if location.path.startswith(root)
                ]
                if output_model_ids(run):
                    paths = []  # it only links to others' models
                elif not begun:
                    paths = list(own.marked() or [""])
                inside = own.below(paths)
            with self._lock:
                self._sizes[run_id] = (size.plus(inside), own.size.minus(inside), scan.began)

    def _is_elsewhere(self, run: Run, made: Sequence[tuple[str, _Maker | None]]) -> bool:
        """Whether none of the places where this run's model may lie is in our container."""
        uris = [maker.location for _, maker in made if maker is not None]
        for uri in uris or [run.info.artifact_uri]:
            try:
                self._blob_path(uri)
            except LocationError:
                continue
            return False
        return True
