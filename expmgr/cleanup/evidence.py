"""Asks MLflow and storage for what protects: registry, pins, active runs, and what is best.

Each question that fails is a reason of its own, which protects everything it was asked for.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from expmgr.catalog.model import ACTIVE_STATUSES, INITIAL_TAG, KEEP_TAG, is_pin
from expmgr.catalog.protection import Evidence, NamingRun, best_in, best_linking
from expmgr.catalog.reason import Reason
from expmgr.cleanup.ahead import Ahead
from expmgr.cleanup.contest import Contest, prove
from expmgr.errors import ExpmgrError
from expmgr.moving_in import initial_homes
from expmgr.tracking.journal import now_ms
from expmgr.tracking.models import input_model_ids, output_model_ids
from expmgr.tracking.queries import UNDER_WAY, in_parallel, iter_runs, quoted, run_or_none
from expmgr.tracking.registry import read_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from expmgr.catalog.model import Maker, Model
    from expmgr.catalog.quality import Entry, Goal, Rank
    from expmgr.catalog.versions import Versions
    from expmgr.cleanup.contest import Competitors, Looks
    from expmgr.cleanup.locate import Finder

__all__ = [
    "REGISTRY",
    "Inquiry",
    "Subject",
    "ask_protection",
    "best_by",
    "naming_runs",
    "not_read",
]

REGISTRY = "the model registry"
_NAMING = "pinned, initial and active runs"


@dataclass(frozen=True)
class Subject:
    """What somebody wants to delete.

    Attributes
    ----------
    models
        Measured.
    siblings
        The other models of the same maker: what tells them apart depends on all.
    maker
        None for a model without a run.
    """

    models: tuple[Model, ...]
    siblings: tuple[Model, ...] = ()
    maker: Maker | None = None


def ask_protection(
    client: MlflowClient,
    finder: Finder,
    experiment_ids: Sequence[str],
    goals: Sequence[tuple[str, Goal]],
    compete: Callable[[str, Goal], Competitors],
    proved: Mapping[Entry, bool | None],
    *,
    naming: bool,
    homes: frozenset[str] = frozenset(),
    ahead: Ahead | None = None,
) -> Evidence:
    """Ask for all that protects, several questions at a time; one that fails is a reason itself.

    Parameters
    ----------
    experiment_ids
        All there are.
    goals
        Experiments whose best is asked for, each with a goal.
    compete
        Returns who competes there; may add to ``proved``.
    naming
        Whether LoggedModels are among what is judged, which best runs may name.
    homes
        Experiments whose runs are all initial ones.
    ahead
        What of this was begun before.
    """
    ahead = ahead or Ahead()
    about_all = _about_all(client, finder, experiment_ids, homes)
    versions: list[Versions] = []
    named: list[NamingRun] = []
    best: dict[str, list[Rank]] = defaultdict(list)
    unknown: list[Reason] = []

    def ask_registry() -> None:
        versions.append(ahead.take(REGISTRY, about_all[REGISTRY]))

    def ask_naming() -> None:
        named.extend(ahead.take(_NAMING, about_all[_NAMING]))

    def ask_best(experiment_id: str, goal: Goal) -> None:
        found = compete(experiment_id, goal)
        ranks = best_in(experiment_id, list(found.models.values()), found.makers, goal, proved)
        for model_id, rank in ranks.items():
            best[model_id].append(rank)
        if naming:
            named.extend(_best_naming(client, experiment_id, found, ranks, goal))

    def ask(question: tuple[str, Callable[[], None]]) -> None:
        what, function = question
        try:
            function()
        except ExpmgrError as error:
            unknown.append(not_read(what, error))

    questions: list[tuple[str, Callable[[], None]]] = [
        (REGISTRY, ask_registry),
        (_NAMING, ask_naming),
    ]
    questions += [
        (f"the best model of experiment {experiment_id}", partial(ask_best, experiment_id, goal))
        for experiment_id, goal in goals
    ]
    in_parallel(ask, questions)
    return Evidence(
        versions=versions[0] if versions else None,
        naming=tuple(named),
        best={model_id: tuple(ranks) for model_id, ranks in best.items()},
        unknown=tuple(unknown),
        at=now_ms(),
        initial_homes=homes,
    )


def _about_all(
    client: MlflowClient, finder: Finder, experiment_ids: Sequence[str], homes: frozenset[str]
) -> dict[str, Callable[[], Any]]:
    """Return what is asked whoever is judged, by what it is about."""
    return {
        REGISTRY: partial(read_versions, client, finder.blob_path),
        _NAMING: partial(_read_naming, client, experiment_ids, homes),
    }


def not_read(what: str, error: ExpmgrError) -> Reason:
    """Return that a look-up failed, which protects."""
    return Reason("unknown", f"{what} could not be read ({error})", what)


@dataclass
class Inquiry:
    """Asks what protects some models, by targeted questions that do not grow with the server.

    Attributes
    ----------
    experiments
        All there are, by id, those in the trash included.
    goals_of
        What "best" means in an experiment.
    ahead
        What was begun by `foresee`.
    """

    client: MlflowClient
    looks: Looks
    finder: Finder
    experiments: Mapping[str, Experiment]
    goals_of: Callable[[Experiment], tuple[Goal, ...]]
    ahead: Ahead = field(default_factory=Ahead)
    _proved: dict[Entry, bool | None] = field(default_factory=dict)

    @property
    def _homes(self) -> frozenset[str]:
        return initial_homes(self.experiments.values())

    def __enter__(self) -> None:
        self.ahead.__enter__()

    def __exit__(self, *error: object) -> None:
        self.looks.release()
        self.ahead.__exit__(*error)

    def foresee(self, experiment_ids: Iterable[str], *, logged: bool, listed: bool) -> None:
        """Begin to ask what `evidence` will want to know of models in some experiments.

        Parameters
        ----------
        logged
            Whether LoggedModels are sure to be among them.
        listed
            Whether they will be listed all at once: storage is looked at only after that.
        """
        if listed:
            self.looks.hold()
        about_all = _about_all(self.client, self.finder, list(self.experiments), self._homes)
        for question, ask in about_all.items():
            self.ahead.begin(question, ask)
        for experiment_id, goal in self._goals(set(experiment_ids), logged=logged):
            self.ahead.begin((experiment_id, goal), self._contest(experiment_id, goal).run)

    def evidence(self, subjects: Sequence[Subject]) -> Evidence:
        """Return what protects them."""
        if not subjects:
            return Evidence(at=now_ms())
        models = {
            model.id: model
            for subject in subjects
            for model in (*subject.siblings, *subject.models)
        }
        makers = {one.maker.id: one.maker for one in subjects if one.maker is not None}
        own = {model.experiment_id for model in models.values()}
        own |= {maker.experiment_id for maker in makers.values()}
        logged = any(model.kind == "logged" for subject in subjects for model in subject.models)
        goals = self._goals(own, logged=logged)
        self.looks.know(model for subject in subjects for model in subject.models)
        self.looks.release()
        models.update(
            {model.id: self.looks.measured(model) for s in subjects for model in s.siblings}
            if any(goal for experiment_id, goal in goals if experiment_id in own)
            else {}
        )

        def compete(experiment_id: str, goal: Goal) -> Competitors:
            contest = self._contest(experiment_id, goal)
            found = self.ahead.take((experiment_id, goal), contest.run)
            if experiment_id in own:
                found.models.update(models)
                found.makers.update(makers)
                prove(self.client, models.values(), [goal], self._proved)
            return found

        return ask_protection(
            self.client,
            self.finder,
            list(self.experiments),
            goals,
            compete,
            self._proved,
            naming=logged,
            homes=self._homes,
            ahead=self.ahead,
        )

    def _goals(self, own: Collection[str], *, logged: bool) -> list[tuple[str, Goal]]:
        return [
            (experiment_id, goal)
            for experiment_id, experiment in self.experiments.items()
            # Another experiment's best run matters only where it can name one of these models.
            if (experiment_id in own or logged) and experiment.lifecycle_stage == "active"
            for goal in self.goals_of(experiment)
        ]

    def _contest(self, experiment_id: str, goal: Goal) -> Contest:
        return Contest(
            self.client,
            self.finder,
            self.looks,
            experiment_id,
            goal,
            self.experiments,
            self._proved,
        )


def _best_naming(
    client: MlflowClient, experiment_id: str, found: Competitors, ranks: Iterable[str], goal: Goal
) -> tuple[NamingRun, ...]:
    """Return what the best runs of an experiment name: the makers of its best models, and others.

    Others are runs whose best claim is a model that somebody else made.
    """
    stored = {model.id: model.competes for model in found.models.values()}
    owners = {model.run_id for model in found.models.values() if stored[model.id] and model.run_id}
    here = [maker for maker in found.makers.values() if maker.experiment_id == experiment_id]
    linking = best_linking(here, {**found.linked, **stored}, owners, goal)
    makers = {found.models[model_id].run_id for model_id in ranks}
    run_ids = sorted(filter(None, makers | {run.id for run in linking}))
    return naming_runs(client, dict.fromkeys(run_ids, best_by(goal)), best_in=experiment_id)


def _read_naming(
    client: MlflowClient, experiment_ids: Sequence[str], homes: frozenset[str]
) -> tuple[NamingRun, ...]:
    """Ask for every pinned, initial and active run of the experiments, and the models they name.

    Three small searches by filter (four where an experiment is an initial model's by its name),
    then one ``get_run`` for each hit, since ``search_runs`` leaves model inputs out.
    """
    asked: list[tuple[Sequence[str], str, str, bool]] = [
        (experiment_ids, f"tags.{quoted(KEEP_TAG)} LIKE '%'", "pinned", True),
        (experiment_ids, f"tags.{quoted(INITIAL_TAG)} ILIKE 'true'", "initial", True),
        (experiment_ids, UNDER_WAY, "active", False),
    ]
    if homes:
        asked.append((sorted(homes), "", "initial", True))
    whys: dict[str, dict[str, None]] = defaultdict(dict)

    def search(question: tuple[Sequence[str], str, str, bool]) -> list[tuple[str, str]]:
        ids, filter_string, why, deleted = question
        return [
            (run.info.run_id, why)
            for run in iter_runs(client, ids, filter_string, deleted=deleted, steady=True)
            if (why != "pinned" or is_pin(run.data.tags.get(KEEP_TAG)))
            and (why != "active" or run.info.status in ACTIVE_STATUSES)
        ]

    for found in in_parallel(search, asked):
        for run_id, why in found:
            whys[run_id][why] = None
    return naming_runs(client, {run_id: " and ".join(why) for run_id, why in whys.items()})


def best_by(goal: Goal) -> str:
    """Return what a best run is called as one that names models."""
    return f"best (by {goal.metric})"


def naming_runs(
    client: MlflowClient, whys: Mapping[str, str], *, best_in: str = ""
) -> tuple[NamingRun, ...]:
    """Ask for the models that some runs name, inputs included; a run that vanished names none."""
    runs = in_parallel(lambda run_id: run_or_none(client, run_id), list(whys))
    return tuple(
        NamingRun(
            run.info.run_id,
            whys[run.info.run_id],
            frozenset(output_model_ids(run)) | frozenset(input_model_ids(run)),
            best_in,
        )
        for run in runs
        if run is not None
    )
