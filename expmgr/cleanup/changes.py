"""Asks MLflow what changed since a reading, by few requests that do not grow with what is known.

MLflow tells by time which runs ended or began, which models were made or finalized, and which
versions were registered. It does not tell that an old run was tagged, a value logged for an old
model, or anything deleted, but for what this manager did itself, which it remembers; and an
evaluation that ended leads to the models that it names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from expmgr.catalog.model import is_model_id, run_and_path
from expmgr.cleanup.evidence import REGISTRY, not_read
from expmgr.errors import ExpmgrError, TrackingError
from expmgr.tracking.models import input_model_ids, maker_of, output_model_ids
from expmgr.tracking.queries import (
    UNDER_WAY,
    in_parallel,
    is_refused,
    iter_runs,
    read_logged_models,
    run_or_none,
)
from expmgr.tracking.registry import read_new_versions, read_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel, Run

    from expmgr.catalog.model import Maker
    from expmgr.catalog.reason import Reason
    from expmgr.catalog.versions import Versions
    from expmgr.cleanup.locate import Finder
    from expmgr.cleanup.remembered import Remembered

__all__ = ["Asked", "Changes", "ask_what_changed"]

_IDS_A_QUESTION = 100
"""Ids named in one ``IN (...)``."""
_ENDED = "attributes.end_time > {}"
_BEGAN = "attributes.start_time > {}"


@dataclass(frozen=True)
class Asked:
    """Whom to ask, and since when.

    Attributes
    ----------
    experiments
        All there are, those in the trash included.
    since
        Milliseconds since 1970.
    touched
        Runs and models that this manager changed.
    """

    client: MlflowClient
    finder: Finder
    experiments: Sequence[Experiment]
    since: int
    touched: Collection[str] = ()

    @property
    def active(self) -> list[str]:
        """Ids of the experiments that are not in the trash."""
        return [e.experiment_id for e in self.experiments if e.lifecycle_stage == "active"]

    @property
    def trash(self) -> list[str]:
        """Ids of those that are."""
        return [e.experiment_id for e in self.experiments if e.lifecycle_stage == "deleted"]


@dataclass
class Changes:
    """What changed.

    Attributes
    ----------
    runs
        Runs that were read again, of any experiment, by id.
    gone
        Runs that this manager changed and that are in no experiment any more.
    families
        Runs whose models were read again, all of them.
    alone
        Models without a run that were read again.
    listed
        Those models, as far as they are active.
    makers
        Runs outside the table that made some of them.
    versions
        All known by now; None where none is new.
    unknown
        That the registry could not be asked, which protects everything.
    followed
        See `expmgr.cleanup.remembered.Remembered`.
    """

    runs: dict[str, Run] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    families: set[str] = field(default_factory=set)
    alone: set[str] = field(default_factory=set)
    listed: list[LoggedModel] = field(default_factory=list)
    makers: dict[str, Maker] = field(default_factory=dict)
    versions: Versions | None = None
    unknown: tuple[Reason, ...] = ()
    followed: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)


def ask_what_changed(asked: Asked, known: Remembered) -> Changes:
    """Return what changed.

    Six requests where nothing did: three searches of runs, one of models, one of the registry, and
    the caller's of the experiments. One more where runs did, for their models (one a hundred runs);
    one for each evaluation that ended, and one for all that this manager itself changed.

    Raises
    ------
    TrackingError
        The server could not be asked.
    """
    client = asked.client
    changes = Changes()
    touched_runs = {_run_of(id_, known) for id_ in asked.touched} - {""}
    homes = [*known.experiment_ids, *asked.trash]
    newer: list[LoggedModel] = []
    ended: dict[str, Run] = {}

    def search(condition: str, into: dict[str, Run]) -> None:
        into.update({run.info.run_id: run for run in iter_runs(client, asked.active, condition)})

    def ask_models() -> None:
        condition = f"last_updated_timestamp > {asked.since}"
        newer.extend(read_logged_models(client, homes, condition, once=True))

    def ask_registry() -> None:
        try:
            # Since it answered last, which may be longer ago than the rest.
            since = asked.since - (known.asked_at - known.versions_at)
            changes.versions = _versions(asked, known.versions, since)
        except ExpmgrError as error:
            changes.unknown = (not_read(REGISTRY, error),)

    began: dict[str, Run] = {}
    active: dict[str, Run] = {}
    touched: dict[str, Run] = {}
    questions: list[Callable[[], None]] = [
        partial(search, _ENDED.format(asked.since), ended),
        partial(search, _BEGAN.format(asked.since), began),
        partial(search, UNDER_WAY, active),
        ask_models,
        ask_registry,
        *(
            partial(search, f"attributes.run_id IN ({ids})", touched)
            for ids in _in_chunks(sorted(touched_runs))
        ),
    ]
    in_parallel(lambda question: question(), questions)
    # One that ended between two answers is told as it is by now, whichever answer came last.
    changes.runs = {**began, **active, **touched, **ended}
    changes.gone = touched_runs - changes.runs.keys()
    _follow_evaluations(client, ended, known, changes)
    _find_families(asked, known, newer, changes)
    changes.listed = _read_families(client, homes, changes)
    told = {model.model_id for model in changes.listed}
    changes.listed += [model for model in newer if model.model_id not in told]
    return changes


def _run_of(id_: str, known: Remembered) -> str:
    """Return the run that an id means: itself, or the maker of a model."""
    if is_model_id(id_):
        model = known.models.get(id_)
        return "" if model is None else model.run_id
    directory = run_and_path(id_)
    return id_ if directory is None else directory[0]


def _versions(asked: Asked, known: Versions | None, since: int) -> Versions | None:
    if known is not None:
        try:
            return read_new_versions(asked.client, asked.finder.blob_path, since, known)
        except TrackingError as error:  # one that sorts by nothing can still be read whole
            if not is_refused(error):
                raise
    return read_versions(asked.client, asked.finder.blob_path)


def _in_chunks(ids: Sequence[str]) -> list[str]:
    return [
        ", ".join(map(repr, ids[at : at + _IDS_A_QUESTION]))
        for at in range(0, len(ids), _IDS_A_QUESTION)
    ]


def _follow_evaluations(
    client: MlflowClient, ended: Mapping[str, Run], known: Remembered, changes: Changes
) -> None:
    """Ask the runs that ended, and made no model, which models they evaluated: one request each."""
    followed = {
        run_id: told
        for run_id, told in known.followed.items()
        if run_id in ended and told[0] == ended[run_id].info.end_time
    }
    ask = [
        run_id
        for run_id, run in ended.items()
        if run_id not in followed and not output_model_ids(run)
    ]
    for run in in_parallel(lambda run_id: run_or_none(client, run_id), ask):
        if run is not None:
            followed[run.info.run_id] = (run.info.end_time or 0, input_model_ids(run))
    changes.followed = followed


def _find_families(
    asked: Asked, known: Remembered, newer: Iterable[LoggedModel], changes: Changes
) -> None:
    """Tell whose models are to be read again, and look up makers that nobody knows yet."""
    families = {
        run_id
        for run_id, run in changes.runs.items()
        if run_id in known.makers or run.info.experiment_id in known.experiment_ids
    }
    named = {id_ for _, names in changes.followed.values() for id_ in names}
    for model_id in (named | set(filter(is_model_id, asked.touched))) & known.models.keys():
        maker_id = known.models[model_id].run_id
        (families if maker_id else changes.alone).add(maker_id or model_id)
    makers = {model.source_run_id for model in newer if model.source_run_id}
    # An old run that made a new model lists it by now; and what is gone lies in the trash.
    every = [*asked.active, *asked.trash]
    told = {
        run.info.run_id: run
        for ids in _in_chunks(sorted((makers - changes.runs.keys()) | changes.gone))
        for run in iter_runs(asked.client, every, f"attributes.run_id IN ({ids})", deleted=True)
    }
    changes.runs |= {
        run_id: run
        for run_id, run in told.items()
        if run.info.lifecycle_stage == "active" and run.info.experiment_id in asked.active
    }
    changes.gone -= changes.runs.keys()
    changes.makers = {
        run_id: maker_of(run, whole=False)
        for run_id, run in (told | changes.runs).items()
        if run_id in families | makers | changes.gone
    }
    changes.families = families | makers | changes.gone


def _read_families(
    client: MlflowClient, homes: Sequence[str], changes: Changes
) -> list[LoggedModel]:
    conditions = [
        f"{key} IN ({ids})"
        for key, wanted in (("source_run_id", changes.families), ("model_id", changes.alone))
        for ids in _in_chunks(sorted(wanted))
    ]
    answers = in_parallel(
        lambda condition: read_logged_models(client, homes, condition, once=True), conditions
    )
    return list({m.model_id: m for answer in answers for m in answer}.values())
