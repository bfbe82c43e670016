"""Generated folders and parts: what goes is what an oracle says, and every model outside stays."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_store import PassingError
from test_parts import MODEL, Bench

from expmgr.errors import InvalidInputError

FOLDERS = st.sampled_from(
    [
        "",
        "model",
        "model/data",
        "checkpoint-1",
        "checkpoint-2",
        "checkpoint-10",
        "out/checkpoint-2",
        "out/checkpoint-3",
        "checkpoint-2/nested",
        "plots",
        "plots/deep",
        "checkpoint-x",
    ]
)
FILES = st.sampled_from(
    [
        "MLmodel",
        "optimizer.pt",
        "rng_state_1.pth",
        "scheduler.bin",
        "model.safetensors",
        "config.json",
        "a.png",
        "my_optimizer.pt",
        "optimizer.pt.txt",
    ]
)
TREES = st.sets(
    st.tuples(FOLDERS, FILES).map(lambda pair: "/".join(filter(None, pair))), max_size=14
)
PARTS = st.sampled_from(
    ["optimizer", "checkpoints", "other", "**/*.png", "*/*.json", "checkpoint-?/**", "model/**"]
)
REPORTS = (".json", ".png", ".txt")


def glob(pattern):
    """The oracle's reading of the few patterns above."""
    return {
        "**/*.png": r"(.*/)?[^/]*\.png",
        "*/*.json": r"[^/]+/[^/]*\.json",
        "checkpoint-?/**": r"checkpoint-[^/]/.+",
        "model/**": r"model/.+",
    }[pattern]


def models_in(tree, *, recorded):
    marked = {name.rpartition("/")[0] for name in tree if name.rpartition("/")[2] == "MLmodel"}
    raw = not recorded and not marked and not all(name.endswith(REPORTS) for name in tree)
    return marked | ({""} if raw and tree else set())


def inside(name, folder):
    return not folder or name.startswith(f"{folder}/")


def oracle(tree, part, *, recorded):
    """What goes of a run's artifacts, from DESIGN.md's words; None where it must be refused."""
    models = models_in(tree, recorded=recorded)
    if part == "optimizer":
        return {
            name
            for name in tree
            if re.fullmatch(r"(.*/)?(optimizer\.pt|rng_state_1\.pth|scheduler\.bin)", name)
        }
    if part == "other":
        return None if "" in models else {n for n in tree if not any(inside(n, m) for m in models)}
    if part != "checkpoints":
        found = {name for name in tree if re.fullmatch(glob(part), name)}
        return None if any(name.rpartition("/")[2] == "MLmodel" for name in found) else found
    marked = models_in(tree, recorded=True)
    series = defaultdict(lambda: defaultdict(set))
    for name in tree:
        told = re.match(r"(?P<series>(?:out/)?)checkpoint-(?P<step>\d+)/", name)
        if told and not any(inside(name, m) or inside(m, told[0][:-1]) for m in marked if m):
            series[told["series"]][int(told["step"])].add(name)
    if "" in marked:
        return set()
    gone = set()
    for steps in series.values():
        whole = [
            step
            for step, names in steps.items()
            if any(n.endswith((".safetensors", "my_optimizer.pt")) for n in names)
        ]
        kept = {max(steps), max(whole, default=-1)}
        gone |= {name for step, names in steps.items() if step not in kept for name in names}
    return gone


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = Bench(f"sqlite:///{tmp_path_factory.mktemp('parts') / 'mlflow.db'}")
    made.best()
    return made


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(TREES, PARTS, st.booleans(), st.booleans(), st.booleans())
@pytest.mark.usefixtures("_without_fsync")
def test_exactly_the_part_goes(bench, tree, part, recorded, pinned, flaky):
    run_id = bench.run(0.1)
    if recorded:
        bench.model(run_id, MODEL)
    if pinned:
        bench.client.set_tag(run_id, "expmgr.keep", "yes")
    bench.artifacts(run_id, dict.fromkeys(tree, b"12345"))
    expected = oracle(tree, part, recorded=recorded)
    failures = [PassingError("passes")] if flaky else []
    bench.store.fault = lambda kind, _: failures.pop() if kind == "delete" and failures else None

    def delete():
        try:
            plan = bench.manager.plan_deletion(run_id, part=part)
        except InvalidInputError:  # a pattern that matches nothing
            return None
        return plan, bench.manager.delete_models(plan, progress=False).results[0]

    gone = bench.gone(delete)
    bench.store.fault = lambda kind, name: None

    assert gone == (set() if pinned or expected is None else expected)
    if bench.result is None:
        assert not expected
        return
    plan, result = bench.result
    if expected and not pinned:
        assert (result.outcome, result.files) == ("deleted", len(expected))
        assert plan[run_id].files == len(expected)
        # What is left is what the run stored before, but for the part.
        left = {name for name in bench.names() if f"/{run_id}/" in name}
        assert {name.split("/artifacts/")[1] for name in left} == tree - expected
    else:
        assert result.outcome == ("protected" if pinned and expected else result.outcome)
        assert not result
