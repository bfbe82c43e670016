"""Whose a folder is, by the tracking server's own word.

Absence is not evidence: of what the server says nothing, nothing is concluded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from expmgr.cleanup.unowned import run_named_by
from expmgr.errors import TrackingError
from expmgr.tracking.queries import (
    in_parallel,
    is_forbidden,
    lies_in_trash,
    logged_model,
    read_logged_models,
    run_or_none,
    runs_by_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel, Run

    from expmgr.catalog.places import Folder
    from expmgr.cleanup.locate import Finder
    from expmgr.storage.protocol import Storage

__all__ = ["Judge", "Verdict"]

_T = TypeVar("_T")

_FEW_MODELS = 8
"""So many are asked for one by one; of more the active ones are listed first."""
_READ_MARKERS = 200
"""``MLmodel`` files that are read for evidence, one request each."""


@dataclass(frozen=True)
class Verdict:
    """What the tracking server says of a folder.

    Attributes
    ----------
    kind
        ``owned``: by a live run or model; ``trash``; ``unknown``.
    evidence
        Why, in words.
    run
        The run whose folder it is, or that made the model.
    model
        The model whose folder it is.
    """

    kind: Literal["owned", "trash", "unknown"]
    evidence: str = ""
    name: str = ""
    experiment_id: str = ""
    run: Run | None = field(default=None, repr=False, compare=False)
    model: LoggedModel | None = field(default=None, repr=False, compare=False)


@dataclass
class Judge:
    """Asks the tracking server about folders: whose they are, by targeted questions.

    Attributes
    ----------
    experiments
        All there are, by id, those in the trash included.
    hidden
        What may hide things from this user, in words; "" where nothing does.
    lists
        Whether many models are listed first: most of those whose folders a container holds are
        active. Those that are to be deleted are not, and no list has them.
    """

    client: MlflowClient
    blob_store: Storage
    finder: Finder
    experiments: Mapping[str, Experiment]
    hidden: str = ""
    lists: bool = True
    _homes: dict[str, list[Experiment]] = field(init=False)
    _folders: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._homes = self.finder.homes(self.experiments.values())

    def judge(self, folders: Iterable[Folder]) -> dict[Folder, Verdict]:
        """Return what the server says of each.

        Raises
        ------
        TrackingError, StorageError
            It could not be asked; nothing is concluded from that.
        """
        asked = list(folders)
        owned = [folder for folder in asked if folder.owner_id]
        runs = self._runs([folder.owner_id for folder in owned if not folder.is_model])
        models = self._models([folder.owner_id for folder in owned if folder.is_model])
        named = self._named(
            [one for one in owned if one.is_model and models.get(one.owner_id) is None]
        )
        found: dict[Folder, Verdict] = {}
        for folder in asked:
            if not folder.owner_id:
                found[folder] = self._unknown(folder, _not_mlflows(folder))
            elif folder.is_model:
                found[folder] = self._of_model(folder, models.get(folder.owner_id), named)
            else:
                found[folder] = self._of_run(folder, runs.get(folder.owner_id))
        return self._with_makers(found)

    def _with_makers(self, found: dict[Folder, Verdict]) -> dict[Folder, Verdict]:
        """Return the verdicts with the runs that made the models in question."""
        wanted = {
            folder: verdict.model.source_run_id
            for folder, verdict in found.items()
            if verdict.kind != "owned" and verdict.model is not None
        }
        makers = self._runs([run_id for run_id in wanted.values() if run_id])
        for folder, run_id in wanted.items():
            found[folder] = replace(found[folder], run=makers.get(run_id or ""))
        return found

    def lies_in(self, folder: Folder, experiment_ids: Collection[str]) -> bool:
        """Whether a folder lies below the root of one of some experiments."""
        here = self._homes.get(folder.root, []) if folder.root is not None else []
        return any(experiment.experiment_id in experiment_ids for experiment in here)

    def shared(self, folder: Folder) -> str:
        """Return in words which experiments share the root that a folder lies below, or ""."""
        here = self._homes.get(folder.root, []) if folder.root is not None else []
        if len(here) < 2:  # noqa: PLR2004 - alone, or nobody's
            return ""
        names = ", ".join(repr(one.name) for one in here)
        return f"experiments {names} share the root {folder.root!r}"

    def _runs(self, run_ids: Sequence[str]) -> dict[str, Run]:
        wanted = list(dict.fromkeys(run_ids))
        try:
            return runs_by_id(self.client, list(self.experiments), wanted)
        except TrackingError as error:
            if not is_forbidden(error):
                raise
        # Among a few that are asked for one by one is one that this user may not read.
        told = in_parallel(self._visible(run_or_none), wanted)
        return {run_id: run for run_id, run in zip(wanted, told, strict=True) if run is not None}

    def _visible(
        self, question: Callable[[MlflowClient, str], _T | None]
    ) -> Callable[[str], _T | None]:
        """Return a question that reads None for what this user may not see."""

        def ask(id_: str) -> _T | None:
            try:
                return question(self.client, id_)
            except TrackingError as error:
                if is_forbidden(error):
                    return None
                raise

        return ask

    def _models(self, model_ids: Sequence[str]) -> dict[str, tuple[LoggedModel, bool]]:
        """Return the models with whether they lie in the trash; those that no one knows miss."""
        known: dict[str, tuple[LoggedModel, bool]] = {}
        if self.lists and len(model_ids) > _FEW_MODELS:
            deleted = {
                id_ for id_, one in self.experiments.items() if one.lifecycle_stage == "deleted"
            }
            active = read_logged_models(self.client, list(self.experiments))
            known = {m.model_id: (m, str(m.experiment_id) in deleted) for m in active}
        missing = [model_id for model_id in dict.fromkeys(model_ids) if model_id not in known]

        def ask(model_id: str) -> tuple[LoggedModel, bool] | None:
            model = self._visible(logged_model)(model_id)
            if model is None:
                return None
            return model, lies_in_trash(self.client, model, self.experiments)

        for model_id, told in zip(missing, in_parallel(ask, missing), strict=True):
            if told is not None:
                known[model_id] = told
        return known

    def _named(self, folders: Sequence[Folder]) -> dict[str, str]:
        """Return the runs that the files of unknown models name, by model id."""
        some = folders[:_READ_MARKERS]
        told = in_parallel(
            lambda one: run_named_by(self.blob_store, f"{one.path}/MLmodel", one.owner_id), some
        )
        return {folder.owner_id: run_id for folder, run_id in zip(some, told, strict=True)}

    def _of_run(self, folder: Folder, run: Run | None) -> Verdict:
        id_ = folder.owner_id
        if run is None:
            return self._unknown(folder, f"the tracking server has no run {id_}")
        info = run.info
        deleted = info.lifecycle_stage == "deleted"
        name = info.run_name or ""
        if self.finder.path_or_none(info.artifact_uri) != folder.path:
            may = self._may_keep(info.artifact_uri, folder)
            state = "in the trash" if deleted else "live"
            evidence = f"run {id_} is {state} and {_keeps('artifacts', may=may)}"
            if may and not deleted:
                return Verdict("owned", evidence, name, info.experiment_id, run)
            return replace(self._unknown(folder, evidence, name), run=run)
        evidence = f"the tracking server says that run {id_} is deleted" if deleted else ""
        return Verdict(
            "trash" if deleted else "owned",
            self._with_sharing(folder, evidence),
            name,
            info.experiment_id,
            run,
        )

    def _of_model(
        self,
        folder: Folder,
        told: tuple[LoggedModel, bool] | None,
        named: Mapping[str, str],
    ) -> Verdict:
        id_ = folder.owner_id
        if told is None:
            evidence = f"the tracking server has no model {id_}"
            if run_id := named.get(id_):
                evidence += f"; its MLmodel file names run {run_id}"
            return self._unknown(folder, evidence)
        model, in_trash = told
        name, home = model.name or "", str(model.experiment_id)
        if self.finder.path_or_none(model.artifact_location) != folder.path:
            may = self._may_keep(model.artifact_location, folder)
            state = "in the trash" if in_trash else "live"
            evidence = f"model {id_} is {state} and {_keeps('files', may=may)}"
            if may and not in_trash:
                return Verdict("owned", evidence, name, home, None, model)
            return replace(self._unknown(folder, evidence, name), model=model)
        if not in_trash:
            return Verdict("owned", "", name, home, None, model)
        experiment = self.experiments.get(home)
        gone = experiment is not None and experiment.lifecycle_stage == "deleted"
        what = f"experiment {home}, in which model {id_} is," if gone else f"model {id_}"
        evidence = self._with_sharing(folder, f"the tracking server says that {what} is deleted")
        return Verdict("trash", evidence, name, home, None, model)

    def _may_keep(self, uri: str, folder: Folder) -> bool:
        """Whether what has a folder's id, and another place by its URI, may keep its files there.

        So it may where its URI can be read in several ways; and where its own place is empty: the
        files were moved, or the manager was told a wrong ``artifacts_destination``.
        """
        path = self.finder.path_or_none(uri)
        if path is None:
            return self.finder.addresses.may_lie_at(uri, folder.path)
        above, _, id_ = path.rpartition("/")[0].rpartition("/")
        prefix = f"{above}/" if above else ""
        if prefix not in self._folders:
            self._folders[prefix] = self.blob_store.folders(prefix)
        return id_ not in self._folders[prefix]

    def _unknown(self, folder: Folder, evidence: str, name: str = "") -> Verdict:
        said = self._with_sharing(folder, evidence)
        said += "; another server or tool may own it"
        if self.hidden:
            said += f"; {self.hidden}: what is hidden reads as if it were not there"
        here = self._homes.get(folder.root, []) if folder.root is not None else []
        return Verdict("unknown", said, name, here[0].experiment_id if here else "")

    def _with_sharing(self, folder: Folder, evidence: str) -> str:
        shared = self.shared(folder)
        return f"{evidence}; {shared}" if shared and evidence else evidence


def _keeps(what: str, *, may: bool) -> str:
    """Return in words where what has a folder's id lies that is not certain to lie there."""
    if may:
        return (
            f"may keep its {what} here: where it says that it keeps them is empty, or not certain"
        )
    return f"keeps its {what} elsewhere"


def _not_mlflows(folder: Folder) -> str:
    if folder.loose:
        return "files that lie between the folders of others, which MLflow did not put there"
    if folder.root is None:
        return "it lies below no experiment's root"
    return "it lies below an experiment's root, where MLflow would not have put it"
