"""Generated worlds on real servers: plan, table and deletion do what DESIGN.md says, and no more.

``EXPMGR_WORLDS`` is how many worlds there are (60), half of them for each property. A failure
shows a small world that fails alike and what draws it again; ``EXPMGR_WORLD_SHRINK`` is how many
seconds that smaller one may take (120).
"""

from __future__ import annotations

import re
import uuid

import pytest
from mlflow import MlflowClient
from world import METRIC, PLUGIN, Reality, World, empty_tables, wipe
from world_checks import check_entry, planned, reasons
from world_oracle import Judgement, state_of
from world_search import WORLDS, search
from world_steps import Story, directory_ids

from expmgr import ExperimentsManagerWithAzureBlobBackend, RetryConfig, RetryParams

KINDS = {"best", "registered", "pinned", "initial", "active", "used", "unknown"}
# What a row in such a state offers to delete, where nothing protects it.
OFFERED = {"stored", "artifacts", "broken", "interrupted", "uploading", "external"}
REFUSED = {"deleting", "deleted", "none", "unknown", "elsewhere"}
AT_ONCE = RetryConfig(
    **{
        name: RetryParams(attempts=2, wait_initial=0, wait_max=0)
        for name in ("delete_model", "list_blobs")
    }
)


class Universe:
    """Makes worlds real, one after another: one database, emptied between, a container each."""

    def __init__(self, azurite, uri: str) -> None:
        from azure.storage.blob import BlobServiceClient

        self.uri = uri
        self.azurite = azurite
        self.database = uri.removeprefix("sqlite:///")
        self.tables = empty_tables(self.database)
        self.client = MlflowClient(uri, uri)
        self.service = BlobServiceClient.from_connection_string(azurite.connection_string)

    def make(self, world: World) -> Reality:
        wipe(self.database, self.tables)
        container = self.service.create_container(f"world-{uuid.uuid4().hex[:16]}")
        return Reality(self.client, container, world).build()

    def manager(self, reality: Reality, kind=ExperimentsManagerWithAzureBlobBackend):
        return kind(
            tracking_uri=self.uri,
            azure_blob_credentials=self.azurite.credentials(reality.container.container_name),
            main_metric=METRIC,
            plugin_name=PLUGIN,
            is_loss=reality.world.is_loss,
            retry_config=AT_ONCE,
        )


@pytest.fixture
def universe(_without_fsync, azurite, sqlite_uri, monkeypatch):
    # MLflow's registry looks models up with a client of its own.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_uri)
    made = Universe(azurite, sqlite_uri)
    yield made
    made.service.close()


# --------------------------------------------------------------------------- what a plan must say


@pytest.mark.timeout(600 + 6 * WORLDS)
def test_plan_and_table_say_of_every_run_and_model_what_the_design_says(universe):
    search(lambda world: check_plan_and_table(universe, world), (WORLDS + 1) // 2)


def plan_of(manager, ids):
    """The plan, also of what is gone, which `plan_deletion` refuses."""
    return manager._planner().plan([ids] if isinstance(ids, str) else list(ids))


def check_plan_and_table(universe, world: World) -> None:
    reality = universe.make(world)
    manager = universe.manager(reality)
    before = reality.names()
    judgement = Judgement(world, reality.ids)
    runs = plan_of(manager, reality.ids.runs)
    for index, run_id in enumerate(reality.ids.runs):
        check_entry(runs[run_id], judgement.run(index))
    models = plan_of(manager, reality.ids.models) if world.models else {}
    for index, model_id in enumerate(reality.ids.models):
        check_entry(models[model_id], judgement.model(index))
    ids = directory_ids(reality)
    directories = plan_of(manager, list(ids)) if ids else {}
    for one, (run, path) in ids.items():
        check_entry(directories[one], judgement.directory(run, path))
    check_alone(manager, reality, runs, models)
    check_told_by_files(manager, reality, judgement)
    check_tables(manager, reality, judgement, runs, models)
    check_directories(manager, reality, directories)
    assert reality.names() == before, "a dry run changed the container"


def check_alone(manager, reality: Reality, runs, models) -> None:
    """Planned alone, each is what it is among all: what is asked for must not decide."""
    ids = reality.ids
    alone = [(ids.runs[-1:], runs), (ids.models[:1], models), (ids.models[-1:], models)]
    for (id_,), together in ((one, entries) for one, entries in alone if one):
        (entry,) = plan_of(manager, id_)
        assert reasons(entry) == reasons(together[id_])
        assert planned(entry) == planned(together[id_])
        assert entry.deletable is together[id_].deletable


def check_told_by_files(manager, reality: Reality, judgement: Judgement) -> None:
    """A directory that only its file tells goes as its run would, or with its run only."""
    for index, run_id in enumerate(reality.ids.runs):
        items = judgement.oracles[0].of_run(index)
        if reality.world.runs[index].history is None and {i.kind for i in items} == {"directory"}:
            plan = plan_of(manager, [f"{run_id}/{item.key[2]}" for item in items])
            for entry in plan:
                if len(items) == 1:
                    check_entry(entry, judgement.run(index))
                else:
                    assert entry.problem
                    assert not entry.deletable


# ------------------------------------------------------------------------ what the tables must say


def kinds_in(cell: str) -> set[str]:
    """The kinds of reasons in a cell of ``protected_by``."""
    return set(re.findall(r"(?:^|; )(\w+)", cell)) & KINDS


def check_row(row, entry) -> None:
    """A row offers a delete if and only if the plan allows it, for the same reasons."""
    assert kinds_in(row["protected_by"]) == {reason.kind for reason in entry.reasons}
    if row["model"] in OFFERED:
        offered = not row["protected_by"] and bool(row["files"] > 0)
        assert entry.deletable is offered, entry.problem
    elif row["model"] in REFUSED:
        assert not entry.deletable
    if not entry.problem:
        assert row["files"] == entry.files
        assert row["bytes"] == entry.bytes


def check_tables(manager, reality: Reality, judgement: Judgement, runs, models) -> None:
    world, ids = reality.world, reality.ids
    check_usage(manager.storage_usage(), reality)
    manager.storage_usage("all")
    table = manager.runs("all").set_index("run_id")
    live = {run_id for index, run_id in enumerate(ids.runs) if not world.in_trash(index)}
    assert set(table.index) == live
    for run_id, row in table.iterrows():
        check_row(row, runs[run_id])
    table = manager.models("all").set_index("model_id")
    for index, model in enumerate(world.models):
        if model.trash or world.experiments[model.experiment].trash:
            continue
        row = table.loc[ids.models[index]]
        assert row["model"] in state_of(world, index)
        check_row(row, models[ids.models[index]])
    check_stars(table, reality, judgement)


def check_directories(manager, reality: Reality, directories) -> None:
    """The table of models offers a directory by its id if and only if the plan allows it."""
    table = manager.models("all").set_index("model_id")
    rows = set(table.index[table["kind"] == "directory"])
    for one, (run, _) in directory_ids(reality).items():
        if reality.world.in_trash(run):
            assert one not in rows
        elif one in rows:
            check_row(table.loc[one], directories[one])
        else:
            assert not directories[one].deletable


def check_stars(table, reality: Reality, judgement: Judgement) -> None:
    """``is_best`` is one thing: the best by quality, by the manager's goal."""
    world, ids = reality.world, reality.ids
    for number, experiment in enumerate(world.experiments):
        if not experiment.ours or experiment.trash:
            continue
        starred = {
            ids.models[index]
            for index, model in enumerate(world.models)
            if model.experiment == number
            and not model.trash
            and table.loc[ids.models[index], "is_best"]
        }
        allowed = [
            {ids.models[key[1]] for key in oracle.stars(number) if key[0] == "logged"}
            for oracle in judgement.oracles
        ]
        assert starred in allowed


def check_usage(usage, reality: Reality) -> None:
    """Every byte is accounted for."""
    sizes = [blob.size for blob in reality.container.list_blobs()]
    assert usage["files"].sum() + usage["other_files"].sum() == len(sizes)
    assert usage["bytes"].sum() + usage["other_bytes"].sum() == sum(sizes)


# -------------------------------------------------------------------------- what a deletion may do


@pytest.mark.timeout(600 + 6 * WORLDS)
def test_whatever_happens_between_only_what_was_asked_for_and_may_go_is_gone(universe):
    search(lambda world, plot: tell(universe, world, plot), WORLDS // 2, plots=True)


def tell(universe, world: World, plot) -> None:
    reality = universe.make(world)
    story = Story(reality, lambda kind=None: universe.manager(reality, *([kind] if kind else [])))
    for step in plot:
        story.play(step)
