"""Who competes to be the best of one experiment, asked for from the best downwards.

Reading a whole experiment to judge one run takes a minute where it holds 100,000 runs. What can be
best is found by few questions instead: the server's ranking of models by their own values, and of
runs the newest fifty and those at least as good as the best of them. Each that is found is looked
for in the container, until a whole model is there; so the answer is the one that reading everything
would give, and the same rules (`expmgr.catalog.protection`) make it.

A server that cannot be asked raises: a failed look-up protects.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from expmgr.catalog.model import Maker, Model, Size, Stored
from expmgr.catalog.protection import candidates, zeros
from expmgr.catalog.quality import MOST_EQUAL, newest_entry
from expmgr.cleanup.ahead import Ahead
from expmgr.errors import ExpmgrError, LocationError
from expmgr.tracking.journal import journal_of, now_ms
from expmgr.tracking.models import maker_of, model_of, models_of_runs
from expmgr.tracking.queries import (
    asking,
    in_parallel,
    iter_ranked_models,
    iter_runs,
    lies_in_trash,
    quoted,
    read_logged_models,
    run_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel, Run

    from expmgr.catalog.quality import Candidate, Entry, Goal
    from expmgr.cleanup.locate import Finder
    from expmgr.storage.protocol import Storage
    from expmgr.tracking.models import RunModels

__all__ = ["Competitors", "Contest", "Looks", "prove"]

_SAMPLE = 50
_FINISHED = "attributes.status = 'FINISHED'"
_MISSES = 5
"""So many looks that found nothing, before the folders that exist at all are listed once."""
_FLOORS = (0, 4, 19, 49)
"""Places in the sorted sample whose values are the floors of the questions that follow it."""
_ASKED_BY_RUN = 30
"""So many runs are asked for their models, a few at a time, before all models are read at once."""
_FEW, _MANY = 5, 100


@dataclass
class Looks:
    """Looks at models in the container, each place once."""

    blob_store: Storage | None
    seen: dict[str, Stored] = field(default_factory=dict)
    _ready: threading.Event = field(default_factory=threading.Event)
    _misses: int = 0
    _folders: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ready.set()

    def hold(self) -> None:
        """Let whoever looks wait for `release`: what is planned is being listed, all at once."""
        self._ready.clear()

    def release(self) -> None:
        """Let them look; what is known by now is not looked at again."""
        self._ready.set()

    def know(self, models: Iterable[Model]) -> None:
        """Take over what was seen of some models already."""
        for model in models:
            if model.path is not None and model.stored is not None:
                self.seen[model.path] = model.stored

    def at(self, path: str) -> Stored:
        """Return what lies below a path; what deletes files may leave stubs of directories."""
        self._ready.wait()
        found = self.seen.get(path)
        if found is None:
            found = self._look(path) if self._may_hold(path) else Stored(Size(0, 0), marked=False)
            self.seen[path] = found
            self._misses += not found.size.files
        return found

    def measured(self, model: Model) -> Model:
        """Return the model with what lies there; unmeasured where it lies elsewhere."""
        return model if model.path is None else replace(model, stored=self.at(model.path))

    def _look(self, path: str) -> Stored:
        files = size = 0
        marked = False
        assert self.blob_store is not None  # without a container no path is ours
        for blob in self.blob_store.list(f"{path}/"):
            if not blob.is_directory:
                files += 1
                size += blob.bytes
                marked = marked or blob.name == f"{path}/MLmodel"
        return Stored(Size(files, size), marked)

    def _may_hold(self, path: str) -> bool:
        """Whether ``<root>/<id>/artifacts...`` may hold files: its folder is there."""
        parts = path.split("/")
        if self._misses < _MISSES or "artifacts" not in parts[1:]:
            return True
        at = parts.index("artifacts", 1) - 1
        prefix = "".join(f"{part}/" for part in parts[:at])
        assert self.blob_store is not None
        if prefix not in self._folders:
            self._folders[prefix] = self.blob_store.folders(prefix)
        return parts[at] in self._folders[prefix]


@dataclass
class Competitors:
    """The models and runs of one experiment that it takes to tell what is best there.

    Attributes
    ----------
    linked
        Whether LoggedModels that a run here links to have files, by id.
    """

    models: dict[str, Model] = field(default_factory=dict)
    makers: dict[str, Maker] = field(default_factory=dict)
    linked: dict[str, bool] = field(default_factory=dict)


def prove(
    client: MlflowClient,
    models: Iterable[Model],
    goals: Iterable[Goal],
    proved: dict[Entry, bool | None],
) -> None:
    """Ask of own values that are exactly 0 whether the run logged NaN, and note it.

    MLflow gives NaN back as 0.0 for LoggedModels; the history of the run that logged it keeps the
    difference.
    """
    unknown = sorted(zeros(models, goals) - proved.keys(), key=lambda entry: entry.run_id)

    def ask(entry: Entry) -> bool | None:
        try:
            with asking(f"read a metric of run {entry.run_id}", run_id=entry.run_id):
                history = client.get_metric_history(entry.run_id, entry.key)
        except ExpmgrError:
            return None
        same = [m for m in history if (m.step, m.timestamp) == (entry.step, entry.timestamp)]
        return any(not math.isnan(metric.value) for metric in same) if same else None

    proved.update(zip(unknown, in_parallel(ask, unknown), strict=True))


@dataclass
class Contest:
    """Finds who competes by one goal in one experiment.

    Attributes
    ----------
    experiments
        All there are, by id, those in the trash included.
    proved
        See `expmgr.catalog.protection.candidates`; what is learned is added.
    """

    client: MlflowClient
    finder: Finder
    looks: Looks
    experiment_id: str
    goal: Goal
    experiments: Mapping[str, Experiment]
    proved: dict[Entry, bool | None]
    found: Competitors = field(default_factory=Competitors)
    _doubtful: float | None = None
    _doubtful_count: int = 0
    _models_here: dict[str, LoggedModel] | None = None
    _runs_asked: int = 0
    _ahead: Ahead = field(default_factory=Ahead)

    def run(self) -> Competitors:
        """Return them."""
        with self._ahead:
            self._ahead.begin(_SAMPLE, self._sample)
            self._by_own_value()
            own = [one.own for one in self._judged(self.found.models.values()) if one.whole]
            self._doubtful, self._doubtful_count = None, 0
            self._by_makers_value(self.goal.best(value for value in own if value is not None))
        return self.found

    def _judged(self, models: Iterable[Model]) -> list[Candidate]:
        chosen = list(models)
        prove(self.client, chosen, [self.goal], self.proved)
        return candidates(chosen, self.found.makers, self.goal, self.proved)

    def _spare(self, value: float) -> bool:
        """Whether a doubtful model of this value changes nothing any more."""
        return self._doubtful is not None and (
            value != self._doubtful or self._doubtful_count >= MOST_EQUAL
        )

    def _note_doubtful(self, value: float, count: int) -> None:
        if count:
            self._doubtful = value if self._doubtful is None else self._doubtful
            self._doubtful_count += count

    # ------------------------------------------------------------------------------- own values

    def _by_own_value(self) -> None:
        """Enter the best models by their own values, with their makers and siblings."""
        goal = self.goal
        best: float | None = None
        count = 0
        ranked = iter_ranked_models(
            self.client, self.experiment_id, goal.metric, ascending=goal.is_loss
        )
        for entity in ranked:
            model = model_of(entity, self.finder.path_or_none(entity.artifact_location))
            entry = newest_entry(model.entries, goal.metric)
            if entry is None:
                break  # the server sorts those without a value last
            value = goal.counts(entry.value)
            if value is None:
                continue
            if best is not None and (goal.is_better(best, value) or count >= MOST_EQUAL):
                break
            may_be_whole = model.status == "READY" and not model.external and model.path is not None
            if not may_be_whole and self._spare(value):
                continue
            model = self._looked_at(model)
            for one in self._judged([model]):
                if one.own is None:
                    continue
                self._enter_family(model)
                if one.whole:
                    best = value
                    count += 1
                else:
                    self._note_doubtful(value, 1)

    def _looked_at(self, model: Model) -> Model:
        """Return the model measured, with what the journal says of it; its maker is entered."""
        model = self.looks.measured(model)
        if not model.competes:
            return model
        owners: list[tuple[str, Mapping[str, str]]] = [(model.id, model.tags)]
        maker = self._maker(model.run_id)
        if maker is not None:
            owners.insert(0, (maker.id, maker.tags))
        return replace(model, journal=journal_of(model.path, now_ms(), *owners))

    def _maker(self, run_id: str) -> Maker | None:
        if run_id and run_id not in self.found.makers:
            run = run_or_none(self.client, run_id)
            if run is not None:
                self.found.makers[run_id] = maker_of(run, whole=True)
        return self.found.makers.get(run_id)

    def _enter_family(self, model: Model) -> None:
        """Enter a model with its siblings, without which own values are not told apart."""
        self.found.models[model.id] = model
        maker = self._maker(model.run_id)
        if maker is None or len(maker.outputs) < 2:  # noqa: PLR2004
            return
        condition = f"source_run_id = '{model.run_id}'"
        for entity in read_logged_models(self.client, [model.experiment_id], condition):
            if entity.model_id not in self.found.models:
                path = self.finder.path_or_none(entity.artifact_location)
                self.found.models[entity.model_id] = self._looked_at(model_of(entity, path))

    # ----------------------------------------------------------------------------- maker's values

    def _by_makers_value(self, own: float | None) -> None:
        """Enter the runs that may be best, the best first, with their models.

        Down to the first value at which a whole model is there; on, where all of those have values
        of their own, to the first whole model without one: it is the best by quality where it
        reaches ``own``, the best own value.
        """
        top: float | None = None
        without_own = False
        count = 0
        for value, runs in self._ties():
            if top is not None and own is not None and self.goal.is_better(own, value):
                return
            for chunk in self._chunks(runs):
                enough = top is not None and (value != top or count >= MOST_EQUAL)
                if enough and without_own:
                    break
                entered = self._enter(chunk, value, own_values=not enough)
                whole = [one for one in entered if one.whole]
                if whole and top is None:
                    top = value
                count += len(whole) if value == top else 0
                without_own = without_own or any(one.own is None for one in whole)
                self._note_doubtful(value, len(entered) - len(whole))
            settled = without_own or own is None or not self.goal.is_better(value, own)
            if top is not None and settled:
                return  # before the server is asked for what is worse

    def _chunks(self, runs: Sequence[Run]) -> Iterator[Sequence[Run]]:
        at = 0
        while at < len(runs):
            size = _FEW if self._runs_asked < _ASKED_BY_RUN else _MANY
            yield runs[at : at + size]
            self._runs_asked += size
            at += size

    def _ties(self) -> Iterator[tuple[float, list[Run]]]:
        """Yield the finished runs by value, the best first, as far down as anybody asks."""
        goal = self.goal
        sample = self._ahead.take(_SAMPLE, self._sample)
        values = [value for run in sample if (value := goal.value_of(run.data.metrics)) is not None]
        values.sort(reverse=not goal.is_loss)
        floors = [values[at] for at in _FLOORS if at < len(values)]
        if len(sample) < _SAMPLE:
            yield from self._sorted(sample, None)
            return
        last: float | None = None
        for floor in dict.fromkeys(floors):
            comparison = "<=" if goal.is_loss else ">="
            metric = f"metrics.{quoted(goal.metric)}"
            condition = f"{_FINISHED} and {metric} {comparison} {_beyond(floor, goal)}"
            for value, tie in self._sorted(self._all(condition), last):
                yield value, tie
                last = value
        yield from self._sorted(self._all(_FINISHED), last)

    def _all(self, condition: str) -> list[Run]:
        return list(iter_runs(self.client, [self.experiment_id], condition, steady=True))

    def _sample(self) -> list[Run]:
        return list(iter_runs(self.client, [self.experiment_id], _FINISHED, limit=_SAMPLE))

    def _sorted(
        self, runs: Sequence[Run], after: float | None
    ) -> Iterator[tuple[float, list[Run]]]:
        ties: dict[float, list[Run]] = defaultdict(list)
        for run in runs:
            value = self.goal.value_of(run.data.metrics)
            if value is not None and (after is None or self.goal.is_better(after, value)):
                ties[value].append(run)
        for value in sorted(ties, reverse=not self.goal.is_loss):
            yield (
                value,
                sorted(ties[value], key=lambda run: (-(run.info.start_time or 0), run.info.run_id)),
            )

    def _enter(self, runs: Sequence[Run], value: float, *, own_values: bool) -> list[Candidate]:
        """Enter runs with their models; returns the models as the comparison sees them.

        Parameters
        ----------
        own_values
            False where models with a value of their own change nothing any more.
        """
        found = self.found
        told = models_of_runs(self.client, runs, list(self.experiments), self._known_models())
        entered: list[Model] = []
        for run in runs:
            found.makers.setdefault(run.info.run_id, maker_of(run, whole=False))
            entered += self._models(run, told[run.info.run_id], value, own_values=own_values)
            for link in told[run.info.run_id].links:
                if link.model_id not in found.linked:
                    found.linked[link.model_id] = self._is_there(link)
        found.models.update({model.id: model for model in entered})
        return self._judged(entered)

    def _is_there(self, model: LoggedModel) -> bool:
        """Whether a model that a run links to has files; what is in the trash is best of nothing.

        What lies elsewhere cannot be looked into, and counts as there.
        """
        path = self.finder.path_or_none(model.artifact_location)
        if path is not None and not self.looks.at(path).size.files:
            return False
        return not lies_in_trash(self.client, model, self.experiments)

    def _known_models(self) -> dict[str, LoggedModel] | None:
        """Return all models here, once the best few runs had none: cheaper than asking on."""
        if self._runs_asked >= _ASKED_BY_RUN and self._models_here is None:
            models = read_logged_models(self.client, [self.experiment_id])
            self._models_here = {model.model_id: model for model in models}
        return self._models_here

    def _models(
        self, run: Run, told: RunModels, value: float, *, own_values: bool
    ) -> Iterator[Model]:
        for entity in told.made:
            path = self.finder.path_or_none(entity.artifact_location)
            in_trash = entity.model_id in told.trashed and not self._was_not_asked_for(entity)
            model = model_of(entity, path, in_trash=in_trash)
            if model.in_trash or (not own_values and self._has_own_value(model)):
                continue
            yield self._looked_at(model)
        if told.history:
            places = self._located(run, replace(told, made=(), untold=()))
        elif told.recorded or told.linked or self._spare(value) or not self._has_artifacts(run):
            return
        else:  # only a run that is asked for by its id tells what models it evaluated
            whole = run_or_none(self.client, run.info.run_id)
            places = [] if whole is None else self._located(whole, told)
        for model in places:
            yield self._looked_at(model)

    def _was_not_asked_for(self, model: LoggedModel) -> bool:
        """Whether a live model only seemed to lie in the trash: it was made for another experiment.

        Once all models here were read, none but these were.
        """
        return (
            self._models_here is not None
            and str(model.experiment_id) != self.experiment_id
            and not lies_in_trash(self.client, model, self.experiments)
        )

    def _has_own_value(self, model: Model) -> bool:
        entry = newest_entry(model.entries, self.goal.metric)
        if entry is None or self.goal.counts(entry.value) is None:
            return False
        if entry.value == 0:
            prove(self.client, [model], [self.goal], self.proved)
        return self.proved.get(entry) is not False

    def _has_artifacts(self, run: Run) -> bool:
        path = self.finder.path_or_none(run.info.artifact_uri)
        return path is not None and self.looks.at(path).size.files > 0

    def _located(self, run: Run, told: RunModels) -> list[Model]:
        try:
            return [located.model for located in self.finder.find(run, told).models]
        except LocationError:
            return []


def _beyond(value: float, goal: Goal) -> str:
    """Return the number a step worse, in case the server's parser rounds, as it reads numbers.

    Positional digits: MLflow's filter refuses ``1e+17``.
    """
    step = math.nextafter(value, math.inf if goal.is_loss else -math.inf)
    return format(Decimal(step), "f")
