"""Generated worlds: what a team may have in MLflow and its container, and how to make it real.

A `World` is a plain description: experiments, runs, LoggedModels, values, links, versions, files.
`worlds()` draws them, `blobs` says which blobs they are, `Reality` makes one on a real MLflow
database and in a real container, and changes both together. Runs, models and experiments are known
by their index in the world; an `Ids` tells what the servers called them.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from hypothesis import strategies as st
from mlflow.entities import LoggedModelInput, LoggedModelOutput, Metric, RunTag

if TYPE_CHECKING:
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
    interrupted: bool = False
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

_NUMBERS = st.sampled_from([0.9, 0.9, 0.5, 0.1, 0.0, float("nan"), 1.797e308, float("inf")])
_PINS = st.sampled_from([None] * 12 + ["", "audit", "false"])
_STATUS = st.sampled_from(["FINISHED"] * 8 + ["FAILED", "KILLED", "RUNNING", "SCHEDULED"])
_PLOTS: Files = (("plot.png", 0), ("eval_results_table.json", 0), ("report.html", 0))
_WEIGHTS: Files = (("epoch-1.pt", 0), ("ckpt/ü %2F.bin", 0))
_MODEL: Files = (("model/MLmodel", 0), ("model/data/w.bin", 0))
_SECOND: Files = (("sub/model2/MLmodel", 0), ("sub/model2/w.bin", 0))
_BESIDE: Files = (("model10/w.bin", 0), ("plot.png", 0))
_ARTIFACTS: dict[str, tuple[Files, tuple[str, ...] | None]] = {
    "none": ((), None),
    "plots": (_PLOTS, None),
    "weights": (_WEIGHTS, None),
    "history": ((*_MODEL, *_SECOND, *_BESIDE), ("model",)),
    "two of history": ((*_MODEL, *_SECOND, *_BESIDE), ("model", "sub/model2")),
    "lost history": (_PLOTS, ("model",)),
    "marker": ((*_MODEL, *_BESIDE), None),
    "two markers": ((*_MODEL, *_SECOND, *_BESIDE), None),
}
_MODEL_FILES: tuple[Files, ...] = (
    *((("MLmodel", 0), ("w.bin", 0)),) * 6,
    (("MLmodel", 0), ("data/a+b#c?.json", 0), ("artifacts/MLmodel", 0)),
    (("w.bin", 0),),
    (("data/MLmodel", 0),),
    (),
)


@st.composite
def _runs(draw, experiments: tuple[Experiment, ...]) -> tuple[Run, ...]:
    runs: list[Run] = []
    for index in range(draw(st.integers(1, 6))):
        files, history = _ARTIFACTS[draw(st.sampled_from(["none", "plots", *_ARTIFACTS]))]
        status = draw(_STATUS)
        trash = status in {"FINISHED", "FAILED"} and draw(st.sampled_from([False] * 9 + [True]))
        runs.append(
            Run(
                experiment=draw(st.integers(0, len(experiments) - 1)),
                status=status,
                files=files,
                history=history,
                pin=draw(_PINS),
                initial=draw(st.sampled_from([False] * 14 + [True])),
                parent=draw(st.integers(0, index - 1)) if index and draw(st.booleans()) else None,
                trash=trash,
            )
        )
    return tuple(runs)


@st.composite
def _models(draw, experiments: tuple[Experiment, ...], runs: tuple[Run, ...]) -> tuple[Model, ...]:
    models = []
    for _ in range(draw(st.integers(0, 7))):
        maker = draw(st.sampled_from([*range(len(runs)), *range(len(runs)), None]))
        home = runs[maker].experiment if maker is not None else None
        if home is None or draw(st.sampled_from([False] * 7 + [True])):
            home = draw(st.integers(0, len(experiments) - 1))
        status = draw(st.sampled_from(["READY"] * 7 + ["PENDING", "FAILED"]))
        models.append(
            Model(
                experiment=home,
                maker=maker,
                files=draw(st.sampled_from(_MODEL_FILES)),
                status=status,
                external=status == "READY" and draw(st.sampled_from([False] * 11 + [True])),
                step=None if maker is None else draw(st.sampled_from([0, 0, 0, 1, 2, None])),
                pin=draw(_PINS),
                trash=draw(st.sampled_from([False] * 9 + [True])),
            )
        )
    return tuple(models)


@st.composite
def _values(draw, runs: tuple[Run, ...], models: tuple[Model, ...]) -> tuple[Value, ...]:
    """Values as clients log them: for the run, its models, one checkpoint, another's model."""
    values = []
    told = set()
    for _ in range(draw(st.integers(0, 12))):
        run = draw(st.integers(0, len(runs) - 1))
        key = draw(st.sampled_from([METRIC] * 5 + [OTHER_METRIC]))
        step, time = draw(st.integers(0, 2)), draw(st.integers(0, 3))
        if (run, key, step, time) in told:
            continue
        told.add((run, key, step, time))
        own = [index for index, model in enumerate(models) if model.maker == run]
        chosen: list[int] = []
        how = draw(st.sampled_from(["run", "copied", "one", "another"]))
        if how == "copied":
            chosen = [index for index in own if models[index].step == step]
        elif how == "one" and own:
            chosen = [draw(st.sampled_from(own))]
        elif how == "another" and models:
            chosen = [draw(st.integers(0, len(models) - 1))]
        values.append(Value(run, key, draw(_NUMBERS), step, time, tuple(chosen)))
    return tuple(values)


@st.composite
def _links(draw, runs: tuple[Run, ...], models: tuple[Model, ...]) -> tuple[Link, ...]:
    links = []
    for _ in range(draw(st.integers(0, 4)) if models else 0):
        run, model = draw(st.integers(0, len(runs) - 1)), draw(st.integers(0, len(models) - 1))
        way = draw(st.sampled_from(["input", "output"]))
        # Whether an MLmodel under a run that only links is a model is nobody's promise.
        makes = any(other.maker == run for other in models) or runs[run].history is not None
        marked = any(name.endswith("MLmodel") for name, _ in runs[run].files)
        if models[model].maker != run and (makes or not marked):
            links.append(Link(run, model, way))
    return tuple(dict.fromkeys(links))


@st.composite
def _versions(draw, runs: tuple[Run, ...], models: tuple[Model, ...]) -> tuple[Version, ...]:
    versions: list[Version] = []
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        ways = ["run", "runs:"]
        live = [index for index, model in enumerate(models) if not model.trash]
        if live:
            ways += ["model", "models:", "path"]
        if any(version.way == "model" for version in versions):
            ways += ["copy"]
        way = draw(st.sampled_from(ways))
        if way in {"run", "runs:"}:
            target = draw(st.integers(0, len(runs) - 1))
        elif way == "copy":
            target = draw(
                st.sampled_from([i for i, one in enumerate(versions) if one.way == "model"])
            )
        else:
            target = draw(st.sampled_from(live))
        name = draw(st.sampled_from(["churn", "fraud"])) if way != "copy" else "copies"
        versions.append(Version(name, way, target, alias=draw(st.booleans())))
    return tuple(versions)


@st.composite
def _strays(draw, world: World) -> tuple[Stray, ...]:
    strays = []
    for beside in draw(st.lists(st.sampled_from(["run", "model", "trace", "orphan"]), max_size=3)):
        count = {"run": world.runs, "model": world.models}.get(beside, world.experiments)
        if not count or (beside == "orphan" and draw(st.booleans())):
            continue
        named = None
        index = draw(st.integers(0, len(count) - 1))
        if beside == "orphan":
            inside = [i for i, run in enumerate(world.runs) if run.experiment == index]
            named = draw(st.sampled_from([None, *inside]))
        strays.append(Stray(beside, index, named))
    first = {(stray.beside, stray.index): stray for stray in reversed(strays)}
    return tuple(first.values())


@st.composite
def worlds(draw) -> World:
    """Draw a small world in which anything may stand beside anything."""
    count = draw(st.integers(1, 3))
    experiments = [Experiment()]
    for _ in range(count - 1):
        goal = draw(
            st.sampled_from([None, None, (METRIC, False), (METRIC, True), (OTHER_METRIC, True)])
        )
        experiments.append(
            Experiment(
                ours=draw(st.sampled_from([True, True, False])),
                goal=goal,
                trash=draw(st.sampled_from([False] * 5 + [True])),
            )
        )
    runs = draw(_runs(tuple(experiments)))
    outer = [index for index, run in enumerate(runs) if run.experiment == 0]
    if count > 1 and outer and draw(st.sampled_from([False] * 5 + [True])):
        experiments[1] = replace(experiments[1], inside=draw(st.sampled_from(outer)))
    models = draw(_models(tuple(experiments), runs))
    world = World(
        experiments=tuple(experiments),
        runs=runs,
        models=models,
        values=draw(_values(runs, models)),
        links=draw(_links(runs, models)),
        versions=draw(_versions(runs, models)),
        is_loss=draw(st.booleans()),
    )
    return replace(world, strays=draw(_strays(world)))


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
        if metrics:
            self.client.log_batch(self.ids.runs[values[0].run], metrics=metrics)

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
