"""What may happen to a world, one step after another, and what each step may take away."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from world import METRIC, Value, Version, blobs
from world_checks import check_entry, planned, reasons
from world_oracle import Judgement

from expmgr import ExperimentsManagerWithAzureBlobBackend, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from world import Reality
    from world_oracle import Entry, Item

JOURNAL = "expmgr-journal/"
RECORD = "expmgr.deletion."


@dataclass(frozen=True)
class Plan:
    """Somebody plans the deletion of some ids and keeps the plan."""

    picks: tuple[int, ...]


@dataclass(frozen=True)
class Delete:
    """Somebody deletes by the plan that was kept, or some ids at once."""

    picks: tuple[int, ...]
    by_plan: bool
    force: bool


@dataclass(frozen=True)
class Crash:
    """Somebody deletes, and the process dies after so many blobs; its lease runs out."""

    pick: int
    after: int


@dataclass(frozen=True)
class Resume:
    """Somebody finishes what was interrupted."""


@dataclass(frozen=True)
class Edit:
    """A file comes, or is written anew, within a model or beside it."""

    pick: int
    name: str


@dataclass(frozen=True)
class Log:
    """A value is logged later."""

    run: int
    model: int
    value: float


@dataclass(frozen=True)
class Register:
    pick: int
    way: str


@dataclass(frozen=True)
class Pin:
    pick: int


@dataclass(frozen=True)
class Trash:
    pick: int


@dataclass(frozen=True)
class Collect:
    """``mlflow gc`` removes what is in the trash."""


@dataclass(frozen=True)
class Others:
    """Somebody else removes files of a model, the ``MLmodel`` alone or all."""

    pick: int
    all: bool


_NAMES = ("MLmodel", "w.bin", "late.bin", "data/late.bin")
_VALUES = (0.9, 0.95, 0.05, 0.5, float("nan"))
_WAYS = ("model", "path", "run", "runs:")
_MOST = 8
_OFTEN = dict(
    [
        *((Delete, 9), (Plan, 4), (Crash, 4), (Resume, 3), (Edit, 2), (Log, 2)),
        *((Register, 2), (Trash, 2), (Others, 2), (Pin, 1), (Collect, 1)),
    ]
)


def _step(chance: Random) -> Any:
    """One step; deletions are the point, so they are frequent."""
    pick = chance.randrange(16)
    picks = tuple(chance.sample(range(16), chance.randint(1, 4)))
    (kind,) = chance.choices(list(_OFTEN), list(_OFTEN.values()))
    drawn: dict[type, Callable[[], Any]] = {
        Delete: lambda: Delete(picks, chance.random() < 0.5, chance.random() < 0.3),
        Plan: lambda: Plan(picks),
        Crash: lambda: Crash(pick, chance.randrange(3)),
        Edit: lambda: Edit(pick, chance.choice(_NAMES)),
        Log: lambda: Log(pick, chance.randrange(16), chance.choice(_VALUES)),
        Register: lambda: Register(pick, chance.choice(_WAYS)),
        Others: lambda: Others(pick, chance.random() < 0.5),
        Resume: Resume,
        Collect: Collect,
        Pin: lambda: Pin(pick),
        Trash: lambda: Trash(pick),
    }
    return drawn[kind]()


def plot(chance: Random) -> tuple[Any, ...]:
    """What happens to a world."""
    return tuple(_step(chance) for _ in range(chance.randint(2, _MOST)))


class KilledError(BaseException):
    """The process was killed here."""


def dying(container, names: list[str]) -> type[ExperimentsManagerWithAzureBlobBackend]:
    """A manager whose process dies once these blobs are gone."""

    class Dying(ExperimentsManagerWithAzureBlobBackend):
        def _delete_model(self, run_id, experiment_id=None):
            for name in names:
                container.delete_blob(name)
            raise KilledError(run_id)

    return Dying


@dataclass
class Story:
    """A world as it goes on: plays steps and holds each to what the oracle allows.

    Attributes
    ----------
    plan
        The plan that was kept, with the contents that it saw.
    open
        Deletions that died: by id the names that they had planned and their contents.
    """

    reality: Reality
    manager: Callable[..., Any]
    plan: tuple[Any, Mapping[str, bytes]] | None = None
    open: dict[str, dict[str, bytes]] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)

    # ---------------------------------------------------------------------------------- what is

    @property
    def judgement(self) -> Judgement:
        return Judgement(self.reality.world, self.reality.ids)

    @property
    def contents(self) -> dict[str, bytes]:
        return blobs(self.reality.world, self.reality.ids)

    def id_of(self, pick: int) -> str:
        """A run or a model that is still there to be asked for."""
        world, ids = self.reality.world, self.reality.ids
        there = [one for one, run in zip(ids.runs, world.runs, strict=True) if not run.gone]
        there += [
            one for one, model in zip(ids.models, world.models, strict=True) if not model.gone
        ]
        there += list(self.directories)
        there = there or [ids.runs[0]]
        return there[pick % len(there)]

    def owner_of(self, pick: int) -> str:
        """A run or a LoggedModel that is still there."""
        return self.id_of(pick).partition("/")[0]

    @property
    def directories(self) -> dict[str, tuple[int, str]]:
        """Runs and paths of the directories that may be asked for, by their ids."""
        return directory_ids(self.reality)

    def expected(self, chosen: str) -> Entry:
        ids = self.reality.ids
        if "/" in chosen:
            run_id, _, path = chosen.partition("/")
            return self.judgement.directory(ids.runs.index(run_id), path)
        if chosen in ids.runs:
            return self.judgement.run(ids.runs.index(chosen))
        return self.judgement.model(ids.models.index(chosen))

    def items(self, chosen: str) -> list[Item]:
        ids, oracle = self.reality.ids, self.judgement.oracles[0]
        if "/" in chosen:
            run_id, _, path = chosen.partition("/")
            item = oracle.items.get(("directory", ids.runs.index(run_id), path))
            return [] if item is None else [item]
        if chosen in ids.runs:
            return oracle.of_run(ids.runs.index(chosen))
        item = oracle.items.get(("logged", ids.models.index(chosen), ""))
        return [] if item is None else [item]

    # ------------------------------------------------------------------------------ what happens

    def play(self, step: Any) -> None:
        getattr(self, f"_{type(step).__name__.lower()}")(step)
        assert self.reality.names() - _journal(self.reality.names()) == set(self.contents)

    def _plan(self, step: Plan) -> None:
        chosen = list(dict.fromkeys(self.id_of(pick) for pick in step.picks))
        plan = self.manager()._planner().plan(chosen)  # also of what is gone
        for entry in plan:
            check_entry(entry, self.expected(entry.id))
        self.plan = (plan, self.contents)

    def _delete(self, step: Delete) -> None:
        """Delete, and hold the outcome of each id to what was known when it was asked for."""
        before = self.contents
        if step.by_plan:
            if self.plan is None:
                self._plan(Plan(step.picks))
            assert self.plan is not None
            plan, seen = self.plan
            asked = {entry.id: planned(entry) for entry in plan}
            shown = {entry.id: reasons(entry) for entry in plan}
            request: Any = plan
            self.plan = None
        else:
            chosen = self._known(list(dict.fromkeys(self.id_of(pick) for pick in step.picks)))
            expected = {one: self.expected(one) for one in chosen}
            asked = {one: set(e.names | e.optional) for one, e in expected.items()}
            shown, seen, request = {}, before, chosen
        asked = _without_models_of_asked_runs(asked, self.reality)
        expected = {one: self.expected(one) for one in asked}
        items = {one: self.items(one) for one in asked}
        report = self.manager().delete_models(request, force=step.force, progress=False)
        gone = self._take_stock(before)
        outcomes = {result.run_id: result for result in report}
        assert set(outcomes) == set(asked)
        allowed = {
            one: {name for name in names if before.get(name) == seen[name]}
            for one, names in asked.items()
        }
        changed = {one: asked[one] & set(before) != allowed[one] for one in asked}
        may_go: set[str] = set()
        for one, result in outcomes.items():
            # What went before it in the same call may have made another the best.
            later = self.expected(one).may if result.outcome == "protected" else frozenset()
            expected[one] = replace(expected[one], may=expected[one].may | later)
            passed = step.force and (not shown or expected[one].may <= shown[one])
            may_pass = step.force and (not shown or expected[one].must <= shown[one])
            self._check_outcome(
                result,
                expected[one],
                allowed[one],
                before,
                gone,
                passed=passed,
                may_pass=may_pass,
                changed=changed[one],
            )
            if result.outcome in {"deleted", "failed"}:
                may_go |= allowed[one]
            if result.outcome == "deleted":
                self.open.pop(one, None)
                self._note(items[one], interrupted=False)
        assert gone <= may_go, "files went that nobody might delete"

    def _known(self, chosen: list[str]) -> list[str]:
        """Return those that the tracking server still knows; the others are refused by name."""
        gone = [run.id for run in self.manager()._planner().plan(chosen) if run.unknown]
        if gone:
            before = self.reality.names()
            with pytest.raises(NotFoundError) as caught:
                self.manager().delete_models(chosen, progress=False)
            assert all(id_ in str(caught.value) for id_ in gone)
            assert self.reality.names() == before
        return [id_ for id_ in chosen if id_ not in gone]

    def _check_outcome(
        self,
        result,
        expected: Entry,
        allowed: set[str],
        before: Mapping[str, bytes],
        gone: set[str],
        *,
        passed: bool,
        may_pass: bool,
        changed: bool,
    ) -> None:
        # A model that its run does not list and somebody put into the trash may not be found again.
        certain = not (expected.open or expected.doubt or expected.optional)
        if result.outcome == "deleted":
            assert not expected.doubt
            assert not expected.must or may_pass, f"protected by {set(expected.must)}"
            assert expected.names & allowed <= gone, "deleted was said of files that are there"
        elif result.outcome == "not_found":
            assert not (expected.names & allowed), "not found was said of files that are there"
        elif result.outcome == "protected":
            assert expected.may or expected.doubt or not allowed, "nothing protects it"
            assert not passed or expected.doubt, "force passes what the plan showed"
            assert result.reasons
        else:
            assert not certain or changed or not allowed, result.message
        if certain and not changed and allowed and expected.names and (passed or not expected.may):
            assert result.outcome == "deleted", result.message

    def _take_stock(self, before: Mapping[str, bytes]) -> set[str]:
        """Note what is gone; nothing but the journal may be new."""
        now = self.reality.names()
        assert now - _journal(now) <= set(before)
        gone = set(before) - now
        self.reality.forget(gone)
        return gone

    def _note(self, items: list[Item], *, interrupted: bool) -> None:
        """Remember what the journal now holds."""
        runs: dict[int, list[str]] = {}
        for item in items:
            if item.kind == "logged":
                world = self.reality.world.model(item.key[1], interrupted=interrupted)
                self.touched.add(self.reality.ids.models[item.key[1]])
            else:
                runs.setdefault(item.key[1], []).append(item.key[2])
                left = set(self.reality.world.runs[item.key[1]].interrupted) - {item.key[2]}
                left |= {item.key[2]} if interrupted else set()
                world = self.reality.world.run(item.key[1], interrupted=tuple(sorted(left)))
            self.reality.world = world
        for run, paths in runs.items():
            self.touched.add(self.reality.ids.runs[run])
            if self.reality.world.runs[run].begun is None:
                self.reality.world = self.reality.world.run(run, begun=tuple(paths))

    def _crash(self, step: Crash) -> None:
        chosen = self.id_of(step.pick)
        expected, items, before = self.expected(chosen), self.items(chosen), self.contents
        if not expected.deletable:
            return
        (entry,) = self.manager().plan_deletion([chosen])
        check_entry(entry, expected)
        names = sorted(planned(entry), key=lambda name: (name.endswith("/MLmodel"), name))
        manager = self.manager(dying(self.reality.container, names[: step.after]))
        try:
            manager.delete_model(chosen)
        except KilledError:
            pass
        else:
            raise AssertionError("the process was to die")
        assert self._take_stock(before) == set(names[: step.after])
        self._note(items, interrupted=True)
        self.open[chosen] = {name: before[name] for name in names}
        self._expire()

    def _expire(self) -> None:
        """Let every lease run out: a quarter of an hour passes."""
        client, ids, world = self.reality.client, self.reality.ids, self.reality.world
        for index, run_id in enumerate(ids.runs):
            if not (world.runs[index].gone or world.in_trash(index)):
                for key, value in _expired(client.get_run(run_id).data.tags).items():
                    client.set_tag(run_id, key, value)
        for index, model_id in enumerate(ids.models):
            if not (world.models[index].gone or world.models[index].trash):
                tags = _expired(client.get_logged_model(model_id).tags)
                if tags:
                    client.set_logged_model_tags(model_id, tags)
        for name in _journal(self.reality.names()):
            blob = self.reality.container.get_blob_client(name)
            (text,) = _expired({RECORD: blob.download_blob().readall().decode()}).values()
            blob.upload_blob(text, overwrite=True)

    def _resume(self, step: Resume) -> None:
        before = self.contents
        expected = {one: self.expected(one) for one in self.open}
        items = {one: self.items(one) for one in self.open}
        report = self.manager().resume_deletions("all")
        gone = self._take_stock(before)
        may_go: set[str] = set()
        for result in report:
            one = result.run_id
            assert one in expected, "nothing of it was interrupted"
            allowed = {
                name for name, content in self.open[one].items() if before.get(name) == content
            }
            if result.outcome == "deleted":
                assert not expected[one].must
                assert allowed <= gone
                self._note(items[one], interrupted=False)
                del self.open[one]
            if result.outcome == "protected":
                assert expected[one].may
            else:
                may_go |= allowed
        assert gone <= may_go, "a resumed deletion took more than it had planned"

    def _edit(self, step: Edit) -> None:
        chosen = self.id_of(step.pick)
        world, ids = self.reality.world, self.reality.ids
        run_id, _, path = chosen.partition("/")
        if run_id in self.touched:
            return
        if path:
            self.reality.put_run_file(ids.runs.index(run_id), f"{path}/{step.name}")
        elif chosen in ids.models:
            self.reality.put_model_file(ids.models.index(chosen), step.name)
        elif world.runs[ids.runs.index(chosen)].files:
            self.reality.put_run_file(ids.runs.index(chosen), f"model/{step.name}")

    def _log(self, step: Log) -> None:
        world = self.reality.world
        runs = [i for i, run in enumerate(world.runs) if not (run.gone or world.in_trash(i))]
        models = [i for i, model in enumerate(world.models) if not (model.gone or model.trash)]
        if not runs:
            return
        named = (models[step.model % len(models)],) if models and step.model % 3 else ()
        time = 10 + len(world.values)
        self.reality.log(Value(runs[step.run % len(runs)], METRIC, step.value, 3, time, named))

    def _register(self, step: Register) -> None:
        world = self.reality.world
        runs = [i for i, run in enumerate(world.runs) if not (run.gone or world.in_trash(i))]
        models = [i for i, model in enumerate(world.models) if not (model.gone or model.trash)]
        there = runs if step.way.startswith("run") else models
        if there:
            self.reality.register(Version("later", step.way, there[step.pick % len(there)]))  # type: ignore[arg-type]

    def _pin(self, step: Pin) -> None:
        chosen, world, ids = self.owner_of(step.pick), self.reality.world, self.reality.ids
        if chosen in ids.models:
            index = ids.models.index(chosen)
            if not world.models[index].trash:
                self.reality.pin_model(index)
        elif not world.in_trash(index := ids.runs.index(chosen)) and not world.runs[index].gone:
            self.reality.pin_run(index)

    def _trash(self, step: Trash) -> None:
        chosen, world, ids = self.owner_of(step.pick), self.reality.world, self.reality.ids
        if chosen in ids.models:
            index = ids.models.index(chosen)
            if not world.models[index].trash:
                self.reality.trash_model(index)
            return
        index = ids.runs.index(chosen)
        active = world.runs[index].status in {"RUNNING", "SCHEDULED"}
        if not (active or world.in_trash(index) or world.runs[index].gone):
            self.reality.trash_run(index)

    def _collect(self, step: Collect) -> None:
        self.reality.collect_garbage()
        gone = {
            one
            for one, thing in zip(
                (*self.reality.ids.runs, *self.reality.ids.models),
                (*self.reality.world.runs, *self.reality.world.models),
                strict=True,
            )
            if thing.gone
        }
        for one in list(self.open):
            if one.partition("/")[0] in gone:
                del self.open[one]

    def _others(self, step: Others) -> None:
        chosen = self.id_of(step.pick)
        names = {name for item in self.items(chosen) for name in item.names}
        if not step.all:
            names = {name for name in names if name.endswith("/MLmodel")}
        self.reality.remove_blobs(names)


def directory_ids(reality: Reality) -> dict[str, tuple[int, str]]:
    """Runs and paths of the directories that a tag names, by their ids."""
    world, ids = reality.world, reality.ids
    return {
        f"{ids.runs[run]}/{path}": (run, path)
        for kind, run, path in Judgement(world, ids).oracles[0].items
        if kind == "directory" and world.runs[run].history is not None
    }


def _journal(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith(JOURNAL)}


def _expired(tags: Mapping[str, str]) -> dict[str, str]:
    """The journal's records among tags, with deadlines long past."""
    return {
        key: json.dumps({**json.loads(value), "deadline": 1})
        for key, value in tags.items()
        if key.startswith(RECORD)
    }


def _without_models_of_asked_runs(asked: dict[str, set[str]], reality: Reality):
    """The entries of a plan: where a run and one of its models are named, the run's holds both."""
    ids, world = reality.ids, reality.world
    covered = set()
    for index, model in enumerate(world.models):
        if (
            model.maker is not None
            and not world.runs[model.maker].gone
            and ids.runs[model.maker] in asked
        ):
            covered.add(ids.models[index])
    covered |= {one for one in asked if "/" in one and one.partition("/")[0] in asked}
    return {one: names for one, names in asked.items() if one not in covered}
