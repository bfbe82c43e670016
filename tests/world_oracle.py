"""What DESIGN.md says about a generated world: which blobs are a model, and why it must stay.

Written from the promises and not from the package, of which nothing is imported. Where the words
leave two readings, each is judged: what all of them say *must* be, what one of them says *may* be.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from world import METRIC, blobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from world import Ids, Version, World

TOO_LARGE = 1e300
NEWEST = 10
RESULTS = ("png", "json", "csv", "html")

Goal = tuple[str, bool]
Reason = tuple[str, str]  # kind and subject; the subject of "best" is left open
Key = tuple[str, int, str]


@dataclass(frozen=True)
class Reading:
    """The questions that the words leave open.

    Attributes
    ----------
    gone_siblings
        Whether a model in the trash, or without a file, keeps its siblings from being told apart.
    inputs_link
        Whether naming a model as an input is enough to "link" to it (a run is best by its link).
    guests_together
        Whether models of one run that visit its experiment are compared with each other there.
    empty_models
        Whether a model of which no file is left still has reasons.
    trashed_makers
        Whether a run in the trash that made a best model protects what it names.
    """

    gone_siblings: bool = False
    inputs_link: bool = False
    guests_together: bool = False
    empty_models: bool = False
    trashed_makers: bool = False


READINGS = tuple(Reading(*flags) for flags in itertools.product((False, True), repeat=5))


@dataclass(frozen=True)
class Item:
    """One model of the catalog."""

    key: Key
    experiment: int
    maker: int | None
    path: str
    names: frozenset[str]
    trash: bool = False
    ready: bool = True
    open: bool = False  # whether it may go is nobody's promise
    foreign: bool = False  # another experiment lies within

    @property
    def kind(self) -> str:
        return self.key[0]

    @property
    def is_whole(self) -> bool:
        return self.ready and self.kind != "raw" and f"{self.path}/MLmodel" in self.names


@dataclass(frozen=True)
class Entry:
    """What a plan says about one id.

    Attributes
    ----------
    names
        Exactly the blobs that would go.
    optional
        Blobs that may be planned beside them.
    must, may
        Reasons.
    doubt
        Whether whose files these are is in doubt, so that nothing may go, be it forced.
    open
        Whether nobody promises that it may go.
    """

    names: frozenset[str]
    optional: frozenset[str]
    must: frozenset[Reason]
    may: frozenset[Reason]
    doubt: bool = False
    open: bool = False

    @property
    def deletable(self) -> bool | None:
        """Whether a deletion without force is carried out; None where that is open."""
        if self.doubt or self.must or not (self.names or self.optional):
            return False
        return None if self.open or self.may or not self.names else True


def better(goal: Goal, left: float, right: float) -> bool:
    return left < right if goal[1] else left > right


def best_of(goal: Goal, values: Iterable[float]) -> float:
    return (min if goal[1] else max)(values)


def counts(value: float) -> bool:
    return math.isfinite(value) and abs(value) < TOO_LARGE


@dataclass(frozen=True)
class Oracle:
    """A world, judged by one reading."""

    world: World
    ids: Ids
    reading: Reading = field(default_factory=Reading)

    # ------------------------------------------------------------------ what is a run's model

    @cached_property
    def blobs(self) -> frozenset[str]:
        return frozenset(blobs(self.world, self.ids))

    def below(self, path: str) -> frozenset[str]:
        return frozenset(name for name in self.blobs if name.startswith(f"{path}/"))

    @cached_property
    def items(self) -> dict[Key, Item]:
        """Every model: LoggedModels, directories of runs, raw artifacts."""
        found = [self._logged(j) for j, model in enumerate(self.world.models) if not model.gone]
        for run in range(len(self.world.runs)):
            if not self.world.runs[run].gone:
                found.extend(self._of_run(run))
        return {item.key: item for item in found}

    def _logged(self, index: int) -> Item:
        model = self.world.models[index]
        path = self.ids.model_path(self.world, index)
        return Item(
            ("logged", index, ""),
            model.experiment,
            model.maker,
            path,
            self.below(path),
            trash=model.trash or self.world.experiments[model.experiment].trash,
            ready=model.status == "READY" and not model.external and not model.interrupted,
        )

    def _of_run(self, index: int) -> list[Item]:
        """Rules 2 and 3: what lies under a run's own artifacts, without what others keep there."""
        run = self.world.runs[index]
        path = self.ids.run_path(self.world, index)
        foreign = [root for root in self.ids.roots if root.startswith(f"{path}/")]
        own = {
            name
            for name in self.below(path)
            if not any(name.startswith(f"{root}/") for root in foreign)
        }
        made = [model for model in self.world.models if model.maker == index]
        # A model that MLflow forgot: its MLmodel file says that this run made it.
        named = any(stray.named == index for stray in self.world.strays)
        recorded = any(not model.gone or model.step is not None for model in made)

        def item(kind: str, directory: str, names: Iterable[str]) -> Item:
            place = f"{path}/{directory}".removesuffix("/")
            return Item(
                (kind, index, directory),
                run.experiment,
                index,
                place,
                frozenset(names),
                trash=self.world.in_trash(index),
                ready=directory not in run.interrupted,
                open=bool(made) or (run.begun is not None and run.history is None) or named,
                foreign=bool(foreign) and run.history is None,
            )

        def directories(paths: Iterable[str]) -> list[Item]:
            return [
                item("directory", where, {n for n in own if n.startswith(f"{path}/{where}/")})
                for where in paths
            ]

        if run.history is not None:  # one within another is part of that one
            return directories(
                where
                for where in run.history
                if not any(where.startswith(f"{other}/") for other in run.history)
            )
        if recorded or any(link.run == index for link in self.world.links):
            return []
        if run.begun is not None:  # never widened
            return [item("raw", "", own)] if run.begun == ("",) else directories(run.begun)
        marked = sorted(
            name.removeprefix(f"{path}/").removesuffix("/MLmodel")
            for name in own
            if name.endswith("/MLmodel")
        )
        outermost = [
            where for where in marked if not any(where.startswith(f"{o}/") for o in marked)
        ]
        if outermost:
            return directories(outermost)
        results_only = all(name.rsplit(".", 1)[-1] in RESULTS for name in own)
        return [] if named or not own or results_only else [item("raw", "", own)]

    def of_run(self, run: int) -> list[Item]:
        return [item for item in self.items.values() if item.maker == run]

    def raw_is_in_doubt(self, run: int) -> bool:
        """Whether a folder of the run's experiment holds a model of which nobody knows whose."""
        return any(
            stray.beside == "orphan"
            and stray.named is None
            and stray.index == self.world.runs[run].experiment
            for stray in self.world.strays
        )

    # ------------------------------------------------------------------------ values and goals

    def goals(self, experiment: int) -> list[Goal]:
        """The manager's own goal in its plugin's experiments, and the one that tags record."""
        this = self.world.experiments[experiment]
        own = [(METRIC, self.world.is_loss)] if this.ours else []
        recorded = [this.goal] if this.goal is not None else []
        return list(dict.fromkeys(own + recorded))

    def entry(self, index: int, metric: str) -> tuple[float, int] | None:
        """A LoggedModel's newest value and the run that logged it, None where it counts not.

        MLflow gives a NaN back as 0.0; the run's history tells it from a true zero.
        """
        logged = [
            value
            for value in self.world.values
            if index in value.models and value.key == metric and not self.world.runs[value.run].gone
        ]
        if not logged:
            return None
        latest = max((value.time, value.step) for value in logged)
        newest = min(
            (value for value in logged if (value.time, value.step) == latest),
            key=lambda value: self.ids.runs[value.run],
        )
        return (newest.value, newest.run) if counts(newest.value) else None

    def own(self, item: Item, goal: Goal) -> float | None:
        """The own value; siblings of one output step, told by their maker alone, are equal."""
        if item.kind != "logged":
            return None
        index, metric = item.key[1], goal[0]
        entry = self.entry(index, metric)
        if entry is None or entry[1] != item.maker:
            return None if entry is None else entry[0]
        alike = [entry[0]]
        for other, model in enumerate(self.world.models):
            if other == index or model.gone or model.maker != item.maker:
                continue
            if model.step != self.world.models[index].step:
                continue
            kept = self.items.get(("logged", other, ""))
            gone = kept is None or kept.trash or not kept.names
            if gone and not self.reading.gone_siblings:
                continue
            sibling = self.entry(other, metric)
            if sibling is not None and sibling[1] == item.maker:
                alike.append(sibling[0])
        return best_of(goal, alike)

    def run_value(self, run: int, goal: Goal) -> float | None:
        """A run's latest value, if it is FINISHED and not in the trash."""
        this = self.world.runs[run]
        if this.status != "FINISHED" or this.gone or self.world.in_trash(run):
            return None
        logged = [value for value in self.world.values if (value.run, value.key) == (run, goal[0])]
        if not logged:
            return None
        latest = max(logged, key=lambda value: (value.step, value.time))
        return latest.value if counts(latest.value) else None

    def by_maker(self, item: Item, goal: Goal) -> float | None:
        return None if item.maker is None else self.run_value(item.maker, goal)

    def quality(self, item: Item, goal: Goal) -> float | None:
        own = self.own(item, goal)
        return self.by_maker(item, goal) if own is None else own

    # ------------------------------------------------------------------------------------ best

    def candidates(self, experiment: int) -> list[Item]:
        return [
            item
            for item in self.items.values()
            if item.experiment == experiment and not item.trash and item.names
        ]

    def rank(
        self, items: list[Item], goal: Goal, value_of: Callable[[Item, Goal], float | None]
    ) -> set[Key]:
        """The best whole ones, and the doubtful ones that are strictly better."""
        values = {item.key: value_of(item, goal) for item in items}
        ranked = [item for item in items if values[item.key] is not None]
        whole = [item for item in ranked if item.is_whole]
        doubtful = [item for item in ranked if not item.is_whole]
        best: set[Key] = set()
        top: float | None = None
        for group in (whole, doubtful):
            if not group:
                continue
            value = best_of(goal, [values[item.key] for item in group])  # type: ignore[misc]
            if top is None or better(goal, value, top):
                top = value if top is None else top
                equals = [item.key for item in group if values[item.key] == value]
                best.update(equals[-NEWEST:])
        return best

    def refined(self, items: list[Item], goal: Goal, best: set[Key]) -> set[Key]:
        """Of a run that is best by its own value: its best by own values, and those without."""
        kept: set[Key] = set()
        for item in items:
            if item.key not in best:
                continue
            own = self.own(item, goal)
            if own is None:
                kept.add(item.key)
                continue
            family = [other for other in items if other.maker == item.maker]
            if item.key in self.rank(family, goal, self.own):
                kept.add(item.key)
        return kept

    def best_among(self, items: list[Item], goal: Goal) -> set[Key]:
        by_maker = self.refined(items, goal, self.rank(items, goal, self.by_maker))
        return self.rank(items, goal, self.own) | by_maker | self.rank(items, goal, self.quality)

    @cached_property
    def best(self) -> set[Key]:
        """What is protected as best, in its own experiment or in its maker's."""
        found: set[Key] = set()
        for experiment in range(len(self.world.experiments)):
            home = self.candidates(experiment)
            guests = [
                item
                for item in self.items.values()
                if item.maker is not None
                and not self.world.runs[item.maker].gone
                and item.experiment != experiment
                and self.world.runs[item.maker].experiment == experiment
                and item.names
                and not item.trash
            ]
            for goal in self.goals(experiment):
                found |= self.best_among(home, goal)
                visits = [guests] if self.reading.guests_together else [[one] for one in guests]
                for visit in visits:
                    among = self.best_among(home + visit, goal)
                    found |= among & {item.key for item in visit}
        return found

    def stars(self, experiment: int) -> set[Key]:
        """The one star: the best by quality, by the manager's goal."""
        goal = (METRIC, self.world.is_loss)
        return self.rank(self.candidates(experiment), goal, self.quality)

    # --------------------------------------------------------------------------------- reasons

    def reasons(self, item: Item) -> set[Reason]:
        if not item.names and not self.reading.empty_models:
            return set()
        found: set[Reason] = set()
        if item.maker is not None and not self.world.runs[item.maker].gone:
            found |= self._of_maker(item.maker)
        elif item.kind == "logged" and self.world.models[item.key[1]].status == "PENDING":
            found.add(("active", self.ids.models[item.key[1]]))  # it was made a moment ago
        if item.kind == "logged" and is_pin(self.world.models[item.key[1]].pin):
            found.add(("pinned", self.ids.models[item.key[1]]))
        if item.key in self.best:
            found.add(("best", ""))
        for version, name in zip(self.world.versions, self.ids.versions, strict=True):
            if self._covers(version, item):
                found.add(("registered", name))
        return found | self._used(item)

    def _of_maker(self, run: int) -> set[Reason]:
        maker, run_id = self.world.runs[run], self.ids.runs[run]
        found: set[Reason] = set()
        if maker.status in {"RUNNING", "SCHEDULED"} and not self.world.in_trash(run):
            found.add(("active", run_id))
        if maker.initial:
            found.add(("initial", run_id))
        if is_pin(maker.pin):
            found.add(("pinned", run_id))
        return found

    def _covers(self, version: Version, item: Item) -> bool:
        """Whether a registered version is of this model."""
        if version.way == "copy":
            return self._covers(self.world.versions[version.target], item)
        if version.way in {"model", "models:", "path"}:
            return item.key == ("logged", version.target, "")
        if item.maker == version.target:
            if item.kind != "directory" or version.way == "runs:":
                return True  # which of them it means, nothing tells
            place = f"{self.ids.run_path(self.world, version.target)}/model/"
            history = self.world.runs[version.target].history or ()
            others = {f"{self.ids.run_path(self.world, version.target)}/{one}" for one in history}

            def lies_at(path: str) -> bool:
                return place.startswith(f"{path}/") or f"{path}/".startswith(place)

            # It is another's only where there is another at that place.
            return lies_at(item.path) or not any(map(lies_at, others - {item.path}))
        gone = self.world.runs[version.target].gone
        return (
            version.way == "runs:"
            and not gone
            and any(
                (link.run, link.way) == (version.target, "output")
                and item.key == ("logged", link.model, "")
                for link in self.world.links
            )
        )

    def _used(self, item: Item) -> set[Reason]:
        """Another run that names the model and is itself pinned, initial, active or best."""
        if item.kind != "logged":
            return set()
        naming = {
            link.run
            for link in self.world.links
            if link.model == item.key[1] and not self.world.runs[link.run].gone
        }
        return {
            ("used", self.ids.runs[run])
            for run in naming
            if self._of_maker(run) or self._made_best(run) or run in self.best_by_link
        }

    def _made_best(self, run: int) -> bool:
        if self.world.in_trash(run) and not self.reading.trashed_makers:
            return False
        return any(item.key in self.best for item in self.of_run(run))

    @cached_property
    def best_by_link(self) -> set[int]:
        """Runs that are best of their experiment by a stored model that others made."""
        ways = {"input", "output"} if self.reading.inputs_link else {"output"}
        owning = {
            run
            for run in range(len(self.world.runs))
            if any(item.names and not item.trash for item in self.of_run(run))
        }
        linking = {
            link.run
            for link in self.world.links
            if link.way in ways
            and (item := self.items.get(("logged", link.model, ""))) is not None
            and item.names
            and not item.trash
        }
        found: set[int] = set()
        for experiment in range(len(self.world.experiments)):
            for goal in self.goals(experiment):
                values = {
                    run: value
                    for run in owning | linking
                    if self.world.runs[run].experiment == experiment
                    and (value := self.run_value(run, goal)) is not None
                }
                if values:
                    top = best_of(goal, values.values())
                    found |= {run for run, value in values.items() if value == top} - owning
        return found


def is_pin(value: str | None) -> bool:
    return value is not None and value.strip().lower() not in {"false", "no", "0"}


def state_of(world: World, index: int) -> set[str]:
    """The states in which a LoggedModel may read before anybody deleted anything."""
    model = world.models[index]
    names = {name for name, _ in model.files}
    if model.status == "PENDING":
        state = "uploading"
    elif model.external:
        state = "external"
    elif model.status == "FAILED" or (names and "MLmodel" not in names):
        state = "broken"
    else:
        state = "stored"
    if names:
        return {state}
    return {"none"} if state == "stored" else {state, "none"}


@dataclass(frozen=True)
class Judgement:
    """A world, judged by every reading."""

    world: World
    ids: Ids

    @cached_property
    def oracles(self) -> list[Oracle]:
        return [Oracle(self.world, self.ids, reading) for reading in READINGS]

    def run(self, run: int) -> Entry:
        """What a plan must say about a run: all of its models or none."""
        items = self.oracles[0].of_run(run)
        if self.world.runs[run].gone:
            items = []
        # A LoggedModel in the trash that its run does not list is found only by looking for it.
        hidden = {item.key for item in items if self._is_hidden(item)}
        if len(hidden) == len(items):
            hidden = set()
        return self._entry(items, hidden, is_open=self.world.in_trash(run), run=run)

    def model(self, index: int) -> Entry:
        """What a plan must say about a LoggedModel named by its id."""
        item = self.oracles[0].items.get(("logged", index, ""))
        items = [] if item is None else [item]
        return self._entry(items, set(), is_open=any(item.trash for item in items), run=None)

    def directory(self, run: int, path: str) -> Entry:
        """What a plan must say about a directory that a run's tag names, by its id."""
        item = self.oracles[0].items.get(("directory", run, path))
        items = [] if item is None else [item]
        return self._entry(items, set(), is_open=self.world.in_trash(run), run=run)

    def _is_hidden(self, item: Item) -> bool:
        if item.kind != "logged":
            return False
        model = self.world.models[item.key[1]]
        return item.trash and (model.step is None or model.experiment != self._home(model.maker))

    def _home(self, run: int | None) -> int | None:
        return None if run is None else self.world.runs[run].experiment

    def _entry(
        self, items: list[Item], hidden: set[Key], *, is_open: bool, run: int | None
    ) -> Entry:
        told = [item for item in items if item.key not in hidden]
        names = frozenset(name for item in told for name in item.names)
        optional = frozenset(name for item in items for name in item.names) - names
        sets = [
            frozenset(reason for item in chosen for reason in oracle.reasons(item))
            for oracle in self.oracles
            for chosen in (told, items)
        ]
        must, may = frozenset.intersection(*sets), frozenset.union(*sets)
        raw = [item for item in items if item.kind == "raw"]
        doubt = bool(raw) and (
            any(item.foreign for item in raw)
            or (run is not None and self.oracles[0].raw_is_in_doubt(run))
        )
        is_open = is_open or any(item.open or item.foreign for item in items)
        return Entry(
            names, optional, must, may, doubt=doubt, open=is_open or self._may_be_left(items)
        )

    def _may_be_left(self, items: list[Item]) -> bool:
        """Whether a model is under way or external, of which nobody says that it may go."""
        states = [state_of(self.world, item.key[1]) for item in items if item.kind == "logged"]
        return any(state & {"uploading", "external"} for state in states)
