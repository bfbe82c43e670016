"""Generated worlds: what a team may have in MLflow and its container, and how to make it real.

A `World` is a plain description: experiments, runs, LoggedModels, values, links, versions, files.
`imagined` makes them up, `blobs` says which blobs they are, `Reality` makes one on a real MLflow
database and in a real container, and changes both together. Runs, models and experiments are known
by their index in the world; an `Ids` tells what the servers called them.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from dataclasses import dataclass, field, replace
from math import isnan
from typing import TYPE_CHECKING, Literal

from mlflow.entities import LoggedModelInput, LoggedModelOutput, Metric, RunTag
from mlflow.store.tracking import sqlalchemy_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from azure.storage.blob import ContainerClient
    from mlflow import MlflowClient

METRIC = "accuracy"
OTHER_METRIC = "loss"
PLUGIN = "world"
EPOCH = 1_700_000_000_000

Files = tuple[tuple[str, int], ...]  # name below the artifacts, edition of the content


@dataclass(frozen=True)
class Experiment:
    """``goal`` is what the experiment's tags record, ``inside`` a run whose artifacts hold it."""

    ours: bool = True
    goal: tuple[str, bool] | None = None
    inside: int | None = None
    trash: bool = False


@dataclass(frozen=True)
class Run:
    """``history`` are the paths in MLflow 2's tag, None where the tag is missing."""

    experiment: int
    status: str = "FINISHED"
    files: Files = ()
    history: tuple[str, ...] | None = None
    pin: str | None = None
    initial: bool = False
    parent: int | None = None
    trash: bool = False
    gone: bool = False
    interrupted: tuple[str, ...] = ()  # the directories that a dead process left half deleted
    begun: tuple[str, ...] | None = None  # the directories of which a deletion was begun


@dataclass(frozen=True)
class Model:
    """A LoggedModel; ``step`` is the one under which its maker lists it, None where it does not."""

    experiment: int
    maker: int | None
    files: Files = (("MLmodel", 0), ("w.bin", 0))
    status: str = "READY"
    external: bool = False
    step: int | None = 0
    pin: str | None = None
    trash: bool = False
    gone: bool = False
    interrupted: bool = False


@dataclass(frozen=True)
class Value:
    """A metric that a run logged, for itself and for some models."""

    run: int
    key: str
    value: float
    step: int
    time: int
    models: tuple[int, ...] = ()


@dataclass(frozen=True)
class Link:
    """A run that names a model which it did not make."""

    run: int
    model: int
    way: Literal["input", "output"]


@dataclass(frozen=True)
class Version:
    """A registered version.

    ``way`` is how it was registered: a model as ``register_model`` does by its ``model`` id, by a
    ``models:`` URI alone or by its ``path``; a run by ``run`` id and path, or by ``runs:`` URI; or
    a ``copy`` of an earlier version.
    """

    name: str
    way: Literal["model", "models:", "path", "run", "runs:", "copy"]
    target: int
    alias: bool = False


@dataclass(frozen=True)
class Stray:
    """A blob that nobody may touch: beside a run or a model, or in a folder that nobody knows."""

    beside: Literal["run", "model", "trace", "orphan"]
    index: int
    named: int | None = None  # the run that an orphan's MLmodel names


@dataclass(frozen=True)
class World:
    experiments: tuple[Experiment, ...]
    runs: tuple[Run, ...] = ()
    models: tuple[Model, ...] = ()
    values: tuple[Value, ...] = ()
    links: tuple[Link, ...] = ()
    versions: tuple[Version, ...] = ()
    strays: tuple[Stray, ...] = ()
    is_loss: bool = False

    def run(self, index: int, **changes) -> World:
        changed = replace(self.runs[index], **changes)
        return replace(self, runs=(*self.runs[:index], changed, *self.runs[index + 1 :]))

    def model(self, index: int, **changes) -> World:
        changed = replace(self.models[index], **changes)
        return replace(self, models=(*self.models[:index], changed, *self.models[index + 1 :]))

    def in_trash(self, run: int) -> bool:
        """Deleting an experiment deletes its runs."""
        return self.runs[run].trash or self.experiments[self.runs[run].experiment].trash


@dataclass(frozen=True)
class Ids:
    """What the servers called everything; ``roots`` are the experiments' paths in the container."""

    experiments: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()  # "name/number"

    def run_path(self, world: World, run: int) -> str:
        return f"{self.roots[world.runs[run].experiment]}/{self.runs[run]}/artifacts"

    def model_path(self, world: World, model: int) -> str:
        return f"{self.roots[world.models[model].experiment]}/models/{self.models[model]}/artifacts"


def invented_ids(world: World) -> Ids:
    """Ids as a server would give them, for looking at the oracle alone."""
    roots: list[str] = []
    runs = tuple(f"{index:032x}" for index in range(len(world.runs)))
    for index, experiment in enumerate(world.experiments):
        if experiment.inside is None:
            roots.append(f"mlflow/{index}")
        else:
            outer = world.runs[experiment.inside]
            roots.append(f"{roots[outer.experiment]}/{runs[experiment.inside]}/artifacts/nested")
    return Ids(
        tuple(str(index) for index in range(len(world.experiments))),
        runs,
        tuple(f"m-{index:032x}" for index in range(len(world.models))),
        tuple(roots),
        tuple(version_names(world.versions)),
    )


def version_names(versions: tuple[Version, ...]) -> list[str]:
    numbers: dict[str, int] = {}
    names = []
    for version in versions:
        numbers[version.name] = numbers.get(version.name, 0) + 1
        names.append(f"{version.name}/{numbers[version.name]}")
    return names


def blobs(world: World, ids: Ids) -> dict[str, bytes]:
    """Every blob of the world by its name."""
    found: dict[str, bytes] = {}

    def put(path: str, files: Files) -> None:
        for name, edition in files:
            found[f"{path}/{name}"] = f"{name} {edition}".encode()

    for index, run in enumerate(world.runs):
        put(ids.run_path(world, index), run.files)
    for index, model in enumerate(world.models):
        put(ids.model_path(world, index), model.files)
    for stray in world.strays:
        if stray.beside == "run":
            path = ids.run_path(world, stray.index).removesuffix("/artifacts")
            found[f"{path}0/artifacts/MLmodel"] = b"s"
            found[f"{path}/artifacts0/MLmodel"] = b"s"
        elif stray.beside == "model":
            path = ids.model_path(world, stray.index)
            found[f"{path}0/MLmodel"] = b"s"
        elif stray.beside == "trace":
            found[f"{ids.roots[stray.index]}/traces/tr-1/artifacts/traces.json"] = b"s"
        else:
            model_id = f"m-{stray.index:032x}"
            orphan = f"{ids.roots[stray.index]}/models/{model_id}/artifacts"
            if stray.named is None:
                found[f"{orphan}/w.bin"] = b"s"
            else:
                text = f"run_id: {ids.runs[stray.named]}\nmodel_id: {model_id}\n"
                found[f"{orphan}/MLmodel"] = text.encode()
    return found


# ---------------------------------------------------------------------------------------- drawing

_TELLS_NAN_ONCE = hasattr(sqlalchemy_store, "_METRIC_DEDUP_CHUNK_SIZE")
"""Whether MLflow knows the NaN that a run has logged again, as it must where NaN is of two models;
3.7 does not, and refuses it as a duplicate of its own."""
_NUMBERS = (0.9, 0.9, 0.5, 0.1, 0.0, float("nan"), 1.797e308, float("inf"))
_PINS = (*(None,) * 12, "", "audit", "false")
_STATUS = (*("FINISHED",) * 8, "FAILED", "KILLED", "RUNNING", "SCHEDULED")
_PLOTS: Files = (("plot.png", 0), ("eval_results_table.json", 0), ("report.html", 0))
_WEIGHTS: Files = (("epoch-1.pt", 0), ("ckpt/ü %2F.bin", 0))
_MODEL: Files = (("model/MLmodel", 0), ("model/data/w.bin", 0))
_INNER: Files = (("model/inner/MLmodel", 0), ("model/inner/w.bin", 0))
_SECOND: Files = (("sub/model2/MLmodel", 0), ("sub/model2/w.bin", 0))
_BESIDE: Files = (("model10/w.bin", 0), ("plot.png", 0))
_ARTIFACTS: tuple[tuple[Files, tuple[str, ...] | None], ...] = (
    *(((), None), (_PLOTS, None)) * 2,
    *((_WEIGHTS, None),) * 2,
    ((*_MODEL, *_SECOND, *_BESIDE), ("model",)),
    ((*_MODEL, *_SECOND, *_BESIDE), ("model", "sub/model2")),
    ((*_MODEL, *_INNER, *_SECOND), ("model", "model/inner", "sub/model2")),
    (_PLOTS, ("model",)),  # the tag tells of a model that is lost
    ((*_MODEL, *_BESIDE), None),
    ((*_MODEL, *_SECOND, *_BESIDE), None),
)
_MODEL_FILES: tuple[Files, ...] = (
    *((("MLmodel", 0), ("w.bin", 0)),) * 6,
    (("MLmodel", 0), ("data/a+b#c?.json", 0), ("artifacts/MLmodel", 0)),
    (("w.bin", 0),),
    (("data/MLmodel", 0),),
    (),
)
_GOALS = (None, None, (METRIC, False), (METRIC, True), (OTHER_METRIC, True))


def _once_in(chance: Random, count: int) -> bool:
    return chance.randrange(count) == 0


def _runs(chance: Random, experiments: int) -> tuple[Run, ...]:
    runs: list[Run] = []
    for index in range(chance.randint(1, 6)):
        files, history = chance.choice(_ARTIFACTS)
        status = chance.choice(_STATUS)
        runs.append(
            Run(
                experiment=chance.randrange(experiments),
                status=status,
                files=files,
                history=history,
                pin=chance.choice(_PINS),
                initial=_once_in(chance, 15),
                parent=chance.randrange(index) if index and _once_in(chance, 2) else None,
                trash=status in {"FINISHED", "FAILED"} and _once_in(chance, 10),
            )
        )
    return tuple(runs)


def _models(chance: Random, experiments: int, runs: tuple[Run, ...]) -> tuple[Model, ...]:
    models = []
    for _ in range(chance.randint(0, 7)):
        maker = chance.choice([*range(len(runs)), *range(len(runs)), None])
        home = runs[maker].experiment if maker is not None else None
        if home is None or _once_in(chance, 8):
            home = chance.randrange(experiments)
        status = chance.choice([*("READY",) * 7, "PENDING", "FAILED"])
        models.append(
            Model(
                experiment=home,
                maker=maker,
                files=chance.choice(_MODEL_FILES),
                status=status,
                external=status == "READY" and _once_in(chance, 12),
                step=None if maker is None else chance.choice([0, 0, 0, 1, 2, None]),
                pin=chance.choice(_PINS),
                trash=_once_in(chance, 10),
            )
        )
    return tuple(models)


def _values(chance: Random, runs: int, models: tuple[Model, ...]) -> tuple[Value, ...]:
    """Values as clients log them: for the run, its models, one checkpoint, another's model."""
    values: dict[tuple[int, str, int, int], Value] = {}
    for _ in range(chance.randint(0, 12)):
        run = chance.randrange(runs)
        key = chance.choice([*(METRIC,) * 5, OTHER_METRIC])
        step, time = chance.randrange(3), chance.randrange(4)
        own = [index for index, model in enumerate(models) if model.maker == run]
        chosen: list[int] = []
        how = chance.choice(["run", "copied", "one", "another"])
        if how == "copied":
            chosen = [index for index in own if models[index].step == step]
        elif how == "one" and own:
            chosen = [chance.choice(own)]
        elif how == "another" and models:
            chosen = [chance.randrange(len(models))]
        number = chance.choice(_NUMBERS)
        if isnan(number) and not _TELLS_NAN_ONCE:
            chosen = chosen[:1]
        value = Value(run, key, number, step, time, tuple(chosen))
        values.setdefault((run, key, step, time), value)
    return tuple(values.values())


def _links(chance: Random, runs: tuple[Run, ...], models: tuple[Model, ...]) -> tuple[Link, ...]:
    links = []
    for _ in range(chance.randint(0, 4) if models else 0):
        run, model = chance.randrange(len(runs)), chance.randrange(len(models))
        way = chance.choice(["input", "output"])
        if models[model].maker != run and not _only_marked(run, runs, models):
            links.append(Link(run, model, way))  # type: ignore[arg-type]
    return tuple(dict.fromkeys(links))


def _only_marked(run: int, runs: tuple[Run, ...], models: tuple[Model, ...]) -> bool:
    """Whether an ``MLmodel`` file alone tells that the run has a model.

    Whether it still is one where the run links to others' models is nobody's promise.
    """
    makes = any(model.maker == run for model in models) or runs[run].history is not None
    return not makes and any(name.endswith("MLmodel") for name, _ in runs[run].files)


def _versions(chance: Random, runs: int, models: tuple[Model, ...]) -> tuple[Version, ...]:
    versions: list[Version] = []
    for _ in range(chance.choice([0, 0, 0, 1, 2, 3])):
        ways = ["run", "runs:"]
        live = [index for index, model in enumerate(models) if not model.trash]
        if live:
            ways += ["model", "models:", "path"]
        originals = [index for index, one in enumerate(versions) if one.way == "model"]
        if originals:
            ways += ["copy", "copy"]
        way = chance.choice(ways)
        if way in {"run", "runs:"}:
            target = chance.randrange(runs)
        else:
            target = chance.choice(originals if way == "copy" else live)
        name = "copies" if way == "copy" else chance.choice(["churn", "fraud"])
        versions.append(Version(name, way, target, alias=_once_in(chance, 2)))  # type: ignore[arg-type]
    return tuple(versions)


def _strays(chance: Random, world: World) -> tuple[Stray, ...]:
    strays: dict[tuple[str, int], Stray] = {}
    for _ in range(chance.randint(0, 3)):
        beside = chance.choice(["run", "model", "trace", "orphan"])
        things = {"run": world.runs, "model": world.models}.get(beside, world.experiments)
        if not things or (beside == "orphan" and _once_in(chance, 2)):
            continue
        index = chance.randrange(len(things))
        named = None
        if beside == "orphan":
            inside = [i for i, run in enumerate(world.runs) if run.experiment == index]
            named = chance.choice([None, *inside])
        strays[beside, index] = Stray(beside, index, named)  # type: ignore[arg-type]
    return tuple(strays.values())


def imagined(chance: Random) -> World:
    """A small world in which anything may stand beside anything."""
    experiments = [Experiment()] + [
        Experiment(
            ours=not _once_in(chance, 3), goal=chance.choice(_GOALS), trash=_once_in(chance, 6)
        )
        for _ in range(chance.randrange(3))
    ]
    runs = _runs(chance, len(experiments))
    outer = [index for index, run in enumerate(runs) if run.experiment == 0]
    if len(experiments) > 1 and outer and _once_in(chance, 6):
        experiments[1] = replace(experiments[1], inside=chance.choice(outer))
    models = _models(chance, len(experiments), runs)
    world = World(
        experiments=tuple(experiments),
        runs=runs,
        models=models,
        values=_values(chance, len(runs), models),
        links=_links(chance, runs, models),
        versions=_versions(chance, len(runs), models),
        is_loss=_once_in(chance, 2),
    )
    return replace(world, strays=_strays(chance, world))


def pruned(world: World, keep: Callable[[], bool]) -> World:
    """Leave out what is not kept, and what tells of it."""
    kept_runs = [index for index in range(len(world.runs)) if keep()] or [0]
    runs = {old: new for new, old in enumerate(kept_runs)}
    kept_models = [
        index
        for index, model in enumerate(world.models)
        if keep() and (model.maker is None or model.maker in runs)
    ]
    models = {old: new for new, old in enumerate(kept_models)}
    left = World(
        experiments=tuple(
            replace(one, inside=None if one.inside is None else runs.get(one.inside))
            for one in world.experiments
        ),
        runs=tuple(
            replace(run, parent=None if run.parent is None else runs.get(run.parent))
            for run in (world.runs[index] for index in kept_runs)
        ),
        models=tuple(
            replace(model, maker=None if model.maker is None else runs[model.maker])
            for model in (world.models[index] for index in kept_models)
        ),
        values=tuple(
            replace(
                value,
                run=runs[value.run],
                models=tuple(models[index] for index in value.models if index in models),
            )
            for value in world.values
            if keep() and value.run in runs
        ),
        is_loss=world.is_loss,
    )
    links = tuple(
        replace(link, run=runs[link.run], model=models[link.model])
        for link in world.links
        if keep() and link.run in runs and link.model in models
    )
    return replace(
        left,
        links=tuple(link for link in links if not _only_marked(link.run, left.runs, left.models)),
        versions=_pruned_versions(world.versions, runs, models, keep),
        strays=tuple(
            replace(
                stray,
                index={"run": runs, "model": models}.get(stray.beside, {}).get(
                    stray.index, stray.index
                ),
                named=None if stray.named is None else runs[stray.named],
            )
            for stray in world.strays
            if keep()
            and stray.index in {"run": runs, "model": models}.get(stray.beside, {stray.index})
            and (stray.named is None or stray.named in runs)
        ),
    )


def _pruned_versions(
    versions: tuple[Version, ...],
    runs: Mapping[int, int],
    models: Mapping[int, int],
    keep: Callable[[], bool],
) -> tuple[Version, ...]:
    left: dict[int, Version] = {}
    numbers: dict[int, int] = {}
    for index, version in enumerate(versions):
        there = {"run": runs, "runs:": runs, "copy": numbers}.get(version.way, models)
        if keep() and version.target in there:
            numbers[index] = len(left)
            left[index] = replace(version, target=there[version.target])
    return tuple(left.values())


def size(world: World) -> int:
    """How many elements `pruned` may leave out."""
    return sum(
        map(
            len,
            (
                *(world.runs, world.models, world.values),
                *(world.links, world.versions, world.strays),
            ),
        )
    )


# ----------------------------------------------------------------------------------- making real


def empty_tables(database: str) -> list[str]:
    """The tables without rows in a new MLflow database, which `wipe` empties again."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return [
            name
            for (name,) in names.fetchall()
            if connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() is None
        ]


def wipe(database: str, tables: list[str]) -> None:
    """Make an MLflow database as new: a tenth of the time that opening another one takes."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for table in tables:
            connection.execute(f'DELETE FROM "{table}"')
        connection.execute("DELETE FROM experiments WHERE experiment_id <> 0")
        connection.commit()


@dataclass
class Reality:
    """One world on real servers; what changes the world here changes it there.

    ``world`` and ``ids`` are replaced as it changes.
    """

    client: MlflowClient
    container: ContainerClient
    world: World
    ids: Ids = field(default_factory=Ids)

    @property
    def account_root(self) -> str:
        name = self.container.container_name
        return f"wasbs://{name}@devstoreaccount1.blob.core.windows.net"

    def build(self) -> Reality:
        given, world = self.world, self.world
        self._make_runs()
        for index, model in enumerate(world.models):
            self._make_model(index, model)
        self._link()
        for run in range(len(world.runs)):
            self._log([value for value in world.values if value.run == run])
        versions, self.world = world.versions, replace(world, versions=())
        for version in versions:
            self.register(version)
        for name, content in blobs(world, self.ids).items():
            self.container.upload_blob(name, content)
        self._end()
        assert self.world == given
        return self

    def _make_runs(self) -> None:
        """Runs by experiment, as one experiment may lie within another's run."""
        experiments: list[str] = []
        roots: list[str] = []
        runs: dict[int, str] = {}
        for number, experiment in enumerate(self.world.experiments):
            if experiment.inside is None:
                roots.append(f"mlflow/{uuid.uuid4().hex[:8]}")
            else:
                outer = self.world.runs[experiment.inside].experiment
                roots.append(f"{roots[outer]}/{runs[experiment.inside]}/artifacts/nested")
            tags = {}
            if experiment.goal is not None:
                metric, is_loss = experiment.goal
                tags = {"expmgr.main_metric": metric, "expmgr.is_loss": str(is_loss).lower()}
            experiments.append(
                self.client.create_experiment(
                    f"{PLUGIN if experiment.ours else 'foreign'} / {number}",
                    artifact_location=f"{self.account_root}/{roots[number]}",
                    tags=tags,
                )
            )
            for index, run in enumerate(self.world.runs):
                if run.experiment == number:
                    runs[index] = self._make_run(run, experiments[number])
        self.ids = Ids(
            tuple(experiments), tuple(runs[index] for index in sorted(runs)), (), tuple(roots)
        )
        for index, run in enumerate(self.world.runs):
            if run.parent is not None:
                self.client.set_tag(runs[index], "mlflow.parentRunId", runs[run.parent])

    def _make_run(self, run: Run, experiment_id: str) -> str:
        tags = {}
        if run.history is not None:
            tags["mlflow.log-model.history"] = json.dumps(
                [{"artifact_path": path} for path in run.history]
            )
        if run.pin is not None:
            tags["expmgr.keep"] = run.pin
        if run.initial:
            tags["expmgr.initial_model"] = "true"
        return self.client.create_run(experiment_id, tags=tags).info.run_id

    def _make_model(self, index: int, model: Model) -> None:
        tags = {}
        if model.pin is not None:
            tags["expmgr.keep"] = model.pin
        if model.external:
            tags["mlflow.model.isExternal"] = "true"
        made = self.client.create_logged_model(
            self.ids.experiments[model.experiment],
            source_run_id=None if model.maker is None else self.ids.runs[model.maker],
            tags=tags,
        )
        self.ids = replace(self.ids, models=(*self.ids.models, made.model_id))
        assert made.artifact_location.endswith(self.ids.model_path(self.world, index))
        if model.status != "PENDING":
            self.client.finalize_logged_model(made.model_id, model.status)

    def _link(self) -> None:
        for run, run_id in enumerate(self.ids.runs):
            outputs = [
                LoggedModelOutput(self.ids.models[index], model.step)
                for index, model in enumerate(self.world.models)
                if model.maker == run and model.step is not None
            ]
            links = [link for link in self.world.links if link.run == run]
            outputs += [
                LoggedModelOutput(self.ids.models[link.model], 0)
                for link in links
                if link.way == "output"
            ]
            inputs = [
                LoggedModelInput(self.ids.models[link.model])
                for link in links
                if link.way == "input"
            ]
            if outputs:
                self.client.log_outputs(run_id, outputs)
            if inputs:
                self.client.log_inputs(run_id, models=inputs)

    def _log(self, values: list[Value]) -> None:
        """A metric that names models is a row for the run and one for each model."""
        metrics = [
            Metric(
                value.key,
                value.value,
                EPOCH + 1000 * value.time,
                value.step,
                model_id=None if model is None else self.ids.models[model],
            )
            for value in values
            for model in (value.models or (None,))
        ]
        # MLflow 3.7 refuses a batch that gives one value to two models: the run's row comes twice.
        for model_id in dict.fromkeys(metric.model_id for metric in metrics):
            batch = [metric for metric in metrics if metric.model_id == model_id]
            self.client.log_batch(self.ids.runs[values[0].run], metrics=batch)

    def _end(self) -> None:
        for run_id, run in zip(self.ids.runs, self.world.runs, strict=True):
            if run.status != "RUNNING":
                self.client.set_terminated(run_id, run.status)
            if run.trash:
                self.client.delete_run(run_id)
        for model_id, model in zip(self.ids.models, self.world.models, strict=True):
            if model.trash:
                self.client.delete_logged_model(model_id)
        for experiment_id, experiment in zip(
            self.ids.experiments, self.world.experiments, strict=True
        ):
            if experiment.trash:
                self.client.delete_experiment(experiment_id)

    # What may happen later. Each changes the description and the servers alike.

    def register(self, version: Version) -> None:
        source, options = self._source(version)
        if version.way == "copy":
            made = self.client.copy_model_version(source, version.name)
        else:
            if all(other.name != version.name for other in self.world.versions):
                self.client.create_registered_model(version.name)
            made = self.client.create_model_version(
                version.name, source, await_creation_for=None, **options
            )
        if version.alias:
            self.client.set_registered_model_alias(version.name, "champion", made.version)
        self.world = replace(self.world, versions=(*self.world.versions, version))
        name = f"{made.name}/{made.version}"
        assert name == version_names(self.world.versions)[-1]
        self.ids = replace(self.ids, versions=(*self.ids.versions, name))

    def _source(self, version: Version) -> tuple[str, dict[str, str]]:
        if version.way == "copy":
            return f"models:/{self.ids.versions[version.target]}", {}
        if version.way in {"run", "runs:"}:
            run_id = self.ids.runs[version.target]
            if version.way == "runs:":
                return f"runs:/{run_id}/model", {}
            path = self.ids.run_path(self.world, version.target)
            return f"{self.account_root}/{path}/model", {"run_id": run_id}
        model_id = self.ids.models[version.target]
        model = self.world.models[version.target]
        location = f"{self.account_root}/{self.ids.model_path(self.world, version.target)}"
        if version.way == "path":
            return location, {}
        if version.way == "models:":
            return f"models:/{model_id}", {}
        # MLflow writes the maker beside it; its SQL store keeps the model's id in the source alone.
        maker = {} if model.maker is None else {"run_id": self.ids.runs[model.maker]}
        return f"models:/{model_id}", {**maker, "model_id": model_id}

    def log(self, value: Value) -> None:
        self._log([value])
        self.world = replace(self.world, values=(*self.world.values, value))

    def pin_run(self, run: int) -> None:
        self.client.log_batch(self.ids.runs[run], tags=[RunTag("expmgr.keep", "later")])
        self.world = self.world.run(run, pin="later")

    def pin_model(self, model: int) -> None:
        self.client.set_logged_model_tags(self.ids.models[model], {"expmgr.keep": "later"})
        self.world = self.world.model(model, pin="later")

    def put_model_file(self, model: int, name: str) -> None:
        """Add a file to a model, or write one anew."""
        files = self._edited(self.world.models[model].files, name)
        self.world = self.world.model(model, files=files)
        self._upload(f"{self.ids.model_path(self.world, model)}/{name}")

    def put_run_file(self, run: int, name: str) -> None:
        """Add a file to a run's artifacts, or write one anew."""
        files = self._edited(self.world.runs[run].files, name)
        self.world = self.world.run(run, files=files)
        self._upload(f"{self.ids.run_path(self.world, run)}/{name}")

    @staticmethod
    def _edited(files: Files, name: str) -> Files:
        editions = dict(files)
        editions[name] = editions.get(name, 100) + 1
        return tuple(editions.items())

    def _upload(self, name: str) -> None:
        self.container.upload_blob(name, blobs(self.world, self.ids)[name], overwrite=True)

    def forget(self, names: set[str]) -> None:
        """Note in the description that these blobs are gone."""
        for index in range(len(self.world.runs)):
            self.world = self.world.run(
                index,
                files=_without(
                    self.world.runs[index].files, self.ids.run_path(self.world, index), names
                ),
            )
        for index in range(len(self.world.models)):
            self.world = self.world.model(
                index,
                files=_without(
                    self.world.models[index].files, self.ids.model_path(self.world, index), names
                ),
            )

    def remove_blobs(self, names: set[str]) -> None:
        """Somebody else deletes blobs."""
        for name in names:
            self.container.delete_blob(name)
        self.forget(names)

    def trash_run(self, run: int) -> None:
        self.client.delete_run(self.ids.runs[run])
        self.world = self.world.run(run, trash=True)

    def trash_model(self, model: int) -> None:
        self.client.delete_logged_model(self.ids.models[model])
        self.world = self.world.model(model, trash=True)

    def collect_garbage(self) -> None:
        """What ``mlflow gc`` does: trashed runs and LoggedModels go for good, with their files."""
        store = self.client._tracking_client.store
        world, paths = self.world, []
        for index, run in enumerate(world.runs):
            # An experiment in the trash is asked for with its own option, and here it is not.
            if run.trash and not run.gone:
                store._hard_delete_run(self.ids.runs[index])
                self.world = self.world.run(index, gone=True)
                paths.append(self.ids.run_path(world, index))
        for index, model in enumerate(world.models):
            if model.trash and not model.gone:
                store._hard_delete_logged_model(self.ids.models[index])
                self.world = self.world.model(index, gone=True)
                paths.append(self.ids.model_path(world, index))
        found = {
            name for name in blobs(world, self.ids) if any(name.startswith(f"{p}/") for p in paths)
        }
        self.remove_blobs(found)

    def names(self) -> set[str]:
        return set(self.container.list_blob_names())


def _without(files: Files, path: str, names: set[str]) -> Files:
    return tuple(entry for entry in files if f"{path}/{entry[0]}" not in names)
