"""Generated worlds on real servers: what is trash, what is unknown, and that nothing else goes."""

from __future__ import annotations

import pytest
from test_world import kinds_in, universe
from world import World, blobs
from world_oracle import Judgement
from world_search import WORLDS, search

from expmgr.catalog.model import is_pin

__all__ = ["universe"]


@pytest.mark.timeout(600 + 6 * WORLDS)
def test_trash_is_what_the_server_says_and_nothing_else_goes(universe):
    search(lambda world: check_orphans(universe, world), (WORLDS + 3) // 4)


def trash_of(world: World, ids, names: set[str]) -> dict[str, set[str]]:
    """By prefix the blobs of what MLflow says was deleted, without other experiments' inside it."""
    places = {
        ids.run_path(world, index)
        for index, run in enumerate(world.runs)
        if world.in_trash(index) and not run.gone
    } | {
        ids.model_path(world, index)
        for index, model in enumerate(world.models)
        if (model.trash or world.experiments[model.experiment].trash) and not model.gone
    }
    return {f"{path}/": found for path in places if (found := below(path, ids, names))}


def below(path: str, ids, names: set[str]) -> set[str]:
    inner = tuple(f"{root}/" for root in ids.roots if root.startswith(f"{path}/"))
    return {name for name in names if name.startswith(f"{path}/") and not name.startswith(inner)}


def owned_of(world: World, ids, names: set[str]) -> set[str]:
    """The blobs of live runs and models, and traces."""
    places = [
        ids.run_path(world, index)
        for index, run in enumerate(world.runs)
        if not world.in_trash(index) and not run.gone
    ] + [
        ids.model_path(world, index)
        for index, model in enumerate(world.models)
        if not (model.trash or world.experiments[model.experiment].trash or model.gone)
    ]
    owned = {name for path in places for name in below(path, ids, names)}
    return owned | {name for name in names if "/traces/" in name}


def check_orphans(universe, world: World) -> None:
    reality = universe.make(world)
    manager = universe.manager(reality)
    ids, before = reality.ids, reality.names()
    assert before == set(blobs(world, ids))
    trash = trash_of(world, ids, before)
    found = manager.find_orphans("all")
    assert reality.names() == before, "looking changed the container"
    rows = found.set_index("prefix")
    assert set(rows.index[rows["kind"] == "trash"]) == set(trash)
    assert all(rows.loc[prefix, "files"] == len(names) for prefix, names in trash.items())
    assert found["files"].sum() == len(before - owned_of(world, ids, before))
    check_reasons(rows, Judgement(world, ids), world, ids)
    report = manager.delete_orphans(found, progress=False)
    may_go = {prefix for prefix in trash if rows.loc[prefix, "deletable"]}
    gone = before - reality.names()
    assert gone == {name for prefix in may_go for name in trash[prefix]}
    assert report.counts.get("deleted", 0) == len(may_go)
    assert len(report.results) == len(found)
    assert set(manager.find_orphans("all")["prefix"]) == set(rows.index) - may_go


def check_reasons(rows, judgement: Judgement, world: World, ids) -> None:
    for index, run in enumerate(world.runs):
        prefix = f"{ids.run_path(world, index)}/"
        if prefix in rows.index and rows.loc[prefix, "kind"] == "trash":
            kinds = kinds_in(rows.loc[prefix, "protected_by"])
            assert ("pinned" in kinds) is is_pin(run.pin)
            assert ("initial" in kinds) is run.initial
            assert not kinds & {"active", "best", "unknown"}
            assert rows.loc[prefix, "deletable"] <= (not kinds)
    for index in range(len(world.models)):
        prefix = f"{ids.model_path(world, index)}/"
        if prefix in rows.index and rows.loc[prefix, "kind"] == "trash":
            entry = judgement.model(index)
            kinds = kinds_in(rows.loc[prefix, "protected_by"])
            assert {kind for kind, _ in entry.must} <= kinds <= {kind for kind, _ in entry.may}
            assert rows.loc[prefix, "deletable"] == (not kinds)
