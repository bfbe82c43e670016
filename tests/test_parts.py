"""Parts of what a run stores: exactly the planned names go, and the models stay as they are."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from memory_store import RefusalError
from mlflow.entities import LoggedModelOutput
from test_storage_seam import Bench as SeamBench
from test_storage_seam import InMemory

from expmgr.errors import InvalidInputError
from expmgr.tracking.journal import (
    MODEL_TAG,
    PART_TAG,
    deletion_was_begun,
    read_part_records,
    read_records,
    write_record,
)

MODEL = {
    "MLmodel": b"flavors: {}\n",
    "model/model.safetensors": b"w" * 100,
    "model/config.json": b"{}",
    "model/tokenizer.json": b"{}",
    "requirements.txt": b"torch\n",
}
STATES = {
    "optimizer.pt": b"o" * 600,
    "scheduler.pt": b"s",
    "rng_state.pth": b"r",
    "rng_state_0.pth": b"r",
    "scaler.pt": b"x",
}
WEIGHTS = {"model.safetensors": b"w" * 100, "config.json": b"{}", "trainer_state.json": b"{}"}


def within(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


class Bench(SeamBench):
    def path(self, run_id):
        uri = self.client.get_run(run_id).info.artifact_uri
        return self.store.addresses.path_of(uri)

    def artifacts(self, run_id, files):
        self.put(self.client.get_run(run_id).info.artifact_uri, files)

    def model(self, run_id, files=MODEL):
        model = self.client.create_logged_model(self.experiment_id, source_run_id=run_id or None)
        self.put(model.artifact_location, files)
        self.client.finalize_logged_model(model.model_id, "READY")
        return model.model_id

    def names(self):
        return set(self.store.blobs)

    def tags(self, run_id):
        return self.client.get_run(run_id).data.tags

    def gone(self, action):
        """What an action deletes; what stays is as it was."""
        before = dict(self.store.blobs)
        self.result = action()
        assert all(before[name] is held for name, held in self.store.blobs.items())
        return {name.split("/artifacts/", 1)[1] for name in before.keys() - self.names()}

    def best(self):
        run_id = self.run(0.99)
        self.model(run_id)
        return run_id

    def state(self, run_id):
        return self.manager.runs().set_index("run_id").loc[run_id, "model"]


@pytest.fixture
def bench(sqlite_uri):
    return Bench(sqlite_uri)


# --------------------------------------------------------------------------------------- optimizer


def test_optimizer_states_go_from_models_and_artifacts_and_all_else_stays(bench):
    bench.best()
    run_id = bench.run(0.1)
    model_id = bench.model(run_id, MODEL | within("model", STATES))
    bench.artifacts(run_id, within("checkpoint-500", WEIGHTS | STATES) | {"plot.png": b"p"})
    plan = bench.manager.plan_deletion(run_id, part="optimizer")

    assert plan[run_id].part == "optimizer"
    assert plan[run_id].files == 2 * len(STATES)
    assert sum(use.bytes for use in plan[run_id].tiers.values()) == plan[run_id].bytes > 0
    assert plan[run_id].deletable
    assert "optimizer states: 10 files, 1.18 KiB; the models stay" in str(plan) or (
        "optimizer states: 10 files" in plan[run_id].summary
    )
    gone = bench.gone(lambda: bench.manager.delete_models(plan, progress=False))
    assert gone == {*within("model", STATES), *within("checkpoint-500", STATES)}
    (result,) = bench.result.results
    assert (result.outcome, result.files) == ("deleted", 10)
    assert "the models stay" in result.message
    assert bench.state(run_id) == "stored"
    assert MODEL_TAG not in bench.tags(run_id)
    assert MODEL_TAG not in bench.client.get_logged_model(model_id).tags
    assert bench.tags(run_id)[PART_TAG] == "deleted"
    # The second time there is nothing, and the old plan is harmless.
    assert bench.manager.delete_model(run_id, plan=plan).outcome == "not_found"
    again = bench.manager.plan_deletion(run_id, part="optimizer")
    assert bench.manager.delete_model(run_id, plan=again).outcome == "not_found"
    assert bench.manager.delete_model(run_id).outcome == "deleted"
    assert bench.state(run_id) == "deleted"


@pytest.mark.parametrize(
    ("files", "gone"),
    [
        (
            {
                "o/optimizer_0/.metadata": b"m",
                "o/optimizer_0/__0_0.distcp": b"x",
                "o/pytorch_model_fsdp_0/__0_0.distcp": b"w",
            },
            {"o/optimizer_0/.metadata", "o/optimizer_0/__0_0.distcp"},
        ),
        (
            {
                "optimizer.bin": b"x",
                "random_states_0.pkl": b"x",
                "scheduler_1.bin": b"x",
                "pytorch_model.bin": b"w",
                "training_args.bin": b"w",
            },
            {"optimizer.bin", "random_states_0.pkl", "scheduler_1.bin"},
        ),
        # ZeRO-2: the weights are in the model states.
        (
            {
                "global_step9/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt": b"x" * 1200,
                "global_step9/mp_rank_00_model_states.pt": b"w" * 200,
                "latest": b"global_step9",
            },
            {"global_step9/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"},
        ),
        # ZeRO-3 without gathered weights: they are in the optimizer states alone.
        (
            {
                "global_step9/zero_pp_rank_0_mp_rank_00_optim_states.pt": b"x" * 1200,
                "global_step9/zero_pp_rank_0_mp_rank_00_model_states.pt": b"w" * 200,
                "zero_to_fp32.py": b"#",
            },
            set(),
        ),
        # ZeRO-3 with gathered weights beside.
        (
            {
                "c/global_step9/zero_pp_rank_0_mp_rank_00_optim_states.pt": b"x" * 1200,
                "c/global_step9/zero_pp_rank_0_mp_rank_00_model_states.pt": b"w",
                "c/model-00001-of-00002.safetensors": b"w" * 100,
                "c/model-00002-of-00002.safetensors": b"w" * 100,
            },
            {"c/global_step9/zero_pp_rank_0_mp_rank_00_optim_states.pt"},
        ),
        # accelerate.save_state: the folder is by another tag.
        (
            {
                "pytorch_model/zero_pp_rank_0_mp_rank_00_optim_states.pt": b"x" * 1200,
                "pytorch_model/mp_rank_00_model_states.pt": b"w" * 200,
                "random_states_0.pkl": b"r",
            },
            {
                "pytorch_model/zero_pp_rank_0_mp_rank_00_optim_states.pt",
                "random_states_0.pkl",
            },
        ),
        # Gathered weights of one step are not those of another.
        (
            {
                "global_step1/zero_pp_rank_0_mp_rank_00_optim_states.pt": b"x" * 120,
                "global_step2/zero_pp_rank_0_mp_rank_00_optim_states.pt": b"x" * 120,
                "pytorch_model.bin": b"w" * 200,
            },
            set(),
        ),
        ({"epoch=1-step=2.ckpt": b"both"}, set()),
    ],
)
def test_what_is_state_of_an_optimizer_in_each_framework(bench, files, gone):
    bench.best()
    run_id = bench.run(0.1)
    model_id = bench.model(run_id, MODEL | within("data", files))
    plan = bench.manager.plan_deletion(model_id, part="optimizer")
    found = bench.gone(lambda: bench.manager.delete_models(plan, progress=False))
    assert found == {f"data/{name}" for name in gone}
    if not gone:
        assert "stays" in plan[model_id].note


def test_what_the_mlmodel_file_names_is_needed_to_load_it(bench):
    bench.best()
    text = b"flavors:\n  python_function:\n    artifacts: {o: {path: artifacts/optimizer.pt}}\n"
    files = {"MLmodel": text, "artifacts/optimizer.pt": b"x", "artifacts/scheduler.pt": b"x"}
    model_id = bench.model(bench.run(0.1), files)
    plan = bench.manager.plan_deletion(model_id, part="optimizer")
    assert bench.gone(lambda: bench.manager.delete_models(plan, progress=False)) == {
        "artifacts/scheduler.pt"
    }
    assert "optimizer.pt stays: the MLmodel file names it" in plan[model_id].summary


def test_best_registered_and_used_keep_the_weights_but_not_the_optimizer(bench):
    run_id = bench.run(0.99)
    model_id = bench.model(run_id, MODEL | STATES)
    bench.client.create_registered_model("churn")
    uri = bench.client.get_logged_model(model_id).artifact_location
    bench.client.create_model_version("churn", uri, run_id)
    user = bench.client.create_run(
        bench.experiment_id, tags={"expmgr.initial_model": "true"}
    ).info.run_id
    bench.client.log_outputs(user, [LoggedModelOutput(model_id, 0)])
    bench.client.set_terminated(user)
    bench.client.set_tag(run_id, "expmgr.initial_model", "true")
    manager = bench.manager

    for id_ in (run_id, model_id):
        plan = manager.plan_deletion(id_, part="**/optimizer.pt" if id_ == model_id else "model")
        assert {"best", "registered", "used", "initial"} == {
            reason.kind for reason in plan[id_].reasons
        }
        assert manager.delete_models(plan, progress=False).results[0].outcome == "protected"
    plan = manager.plan_deletion([run_id, model_id], part="optimizer")
    assert [one.id for one in plan] == [run_id]
    assert plan[run_id].reasons == ()
    assert bench.gone(lambda: manager.delete_models(plan, progress=False)) == set(STATES)


@pytest.mark.parametrize("part", ["optimizer", "checkpoints", "other", ["*.png", "m/*.pt"]])
@pytest.mark.parametrize("kind", ["active", "pinned", "pinned model", "unknown"])
def test_active_pinned_and_unknown_block_every_part(bench, part, kind, monkeypatch):
    bench.best()
    run_id = bench.run(0.1)
    model_id = bench.model(run_id, MODEL | STATES)
    checkpoints = {
        f"checkpoint-{step}/{name}": content
        for step in (1, 2)
        for name, content in {"optimizer.pt": b"o", "model.safetensors": b"w"}.items()
    }
    bench.artifacts(run_id, {"a.png": b"p", "m/x.pt": b"m"} | checkpoints)
    id_ = run_id
    if kind == "active":
        bench.client.update_run(run_id, "RUNNING")
    elif kind == "pinned":
        bench.client.set_tag(run_id, "expmgr.keep", "because")
    elif kind == "pinned model":
        if part != "optimizer":
            pytest.skip("a pin on a model is of its own files")
        bench.client.set_logged_model_tags(model_id, {"expmgr.keep": "because"})
        id_ = model_id
    else:
        from expmgr.cleanup import evidence
        from expmgr.errors import TrackingError

        def fail(*_):
            raise TrackingError("the registry is away")

        monkeypatch.setattr(evidence, "read_versions", fail)
    plan = bench.manager.plan_deletion(id_, part=part)
    assert kind.split()[0] in {reason.kind for reason in plan[id_].reasons}
    assert not bench.gone(lambda: bench.manager.delete_models(plan, progress=False))
    assert bench.result.results[0].outcome == "protected"


def test_a_protection_that_comes_after_the_plan_is_obeyed(bench):
    bench.best()
    run_id = bench.run(0.1)
    bench.model(run_id, MODEL | STATES)
    plan = bench.manager.plan_deletion(run_id, part="optimizer")
    bench.client.set_tag(run_id, "expmgr.keep", "now")
    assert not bench.gone(lambda: bench.manager.delete_model(run_id, plan=plan))
    assert bench.result.outcome == "protected"


# --------------------------------------------------------------------------- patterns and the rest


def test_patterns_are_relative_to_the_artifacts_or_to_a_models_own_folder(bench):
    bench.best()
    run_id = bench.run(0.1)
    model_id = bench.model(run_id)
    bench.artifacts(
        run_id, {"plots/a.png": b"p", "plots/deep/b.png": b"p", "c.png": b"p", "logs/x": b""}
    )
    manager = bench.manager

    def deleted(id_, part):
        plan = manager.plan_deletion(id_, part=part)
        return bench.gone(lambda: manager.delete_models(plan, progress=False))

    assert deleted(run_id, "plots/*.png") == {"plots/a.png"}
    assert deleted(run_id, ["plots/**", "*.png"]) == {"plots/deep/b.png", "c.png"}
    assert deleted(model_id, "model/token*") == {"model/tokenizer.json"}
    with pytest.raises(InvalidInputError, match=r"'\*\*/\*\.onnx'"):
        manager.plan_deletion([run_id, model_id], part=["logs/*", "**/*.onnx"])
    with pytest.raises(InvalidInputError, match="optimizers"):
        manager.plan_deletion(run_id, part="optimizers")
    for bad in ("../x", "/x", "a**", "[x", [], 3, ["ok", 3]):
        with pytest.raises(InvalidInputError):
            manager.plan_deletion(run_id, part=bad)
    assert bench.names() >= {f"{bench.path(run_id)}/logs/x"}


def test_no_pattern_takes_the_file_that_makes_a_directory_a_model(bench):
    bench.best()
    run_id = bench.run(0.1)
    bench.artifacts(run_id, within("model", MODEL) | {"plot.png": b"p"})
    model_id = bench.model(bench.run(0.1))
    for id_ in (run_id, model_id):
        plan = bench.manager.plan_deletion(id_, part="**")
        assert "MLmodel" in plan[id_].problem
        assert not bench.gone(lambda plan=plan: bench.manager.delete_models(plan, progress=False))


def test_what_a_pattern_matches_inside_a_model_is_protected_as_the_model_is(bench):
    run_id = bench.run(0.99)
    bench.artifacts(run_id, within("model", MODEL) | {"plot.png": b"p"})
    inside = bench.manager.plan_deletion(run_id, part="model/**/*.safetensors")
    assert "best" in {reason.kind for reason in inside[run_id].reasons}
    beside = bench.manager.plan_deletion(run_id, part="*.png")
    assert beside[run_id].reasons == ()


def test_raw_artifacts_that_are_the_model_are_protected_as_it(bench):
    run_id = bench.run(0.99)
    files = {
        f"checkpoint-{step}/{name}": b"x" * step
        for step in (1, 2, 3)
        for name in ("model.safetensors", "optimizer.pt")
    }
    bench.artifacts(run_id, files)
    for part in ("checkpoints", "*/model.safetensors"):
        plan = bench.manager.plan_deletion(run_id, part=part)
        assert "best" in {reason.kind for reason in plan[run_id].reasons}
    assert "is its model" in bench.manager.plan_deletion(run_id, part="other")[run_id].problem
    plan = bench.manager.plan_deletion(run_id, part="optimizer")
    assert plan[run_id].reasons == ()
    bench.best()
    bench.client.log_metric(run_id, "accuracy", 0.1, step=9)
    plan = bench.manager.plan_deletion(run_id, part="checkpoints")
    gone = bench.gone(lambda: bench.manager.delete_models(plan, progress=False))
    assert gone == {name for name in files if not name.startswith("checkpoint-3")}
    # What files tell is not narrowed: the artifacts are still all that the run's model is.
    assert not deletion_was_begun(run_id, bench.tags(run_id))
    whole = bench.manager.plan_deletion(run_id)[run_id]
    assert (whole.model, whole.files) == ("artifacts", 2)


def test_all_but_the_models_goes_and_every_directory_with_an_mlmodel_stays(bench):
    bench.best()
    run_id = bench.run(0.1)
    bench.model(run_id)
    other = {"plot.png": b"p", "checkpoint-1/model.safetensors": b"w", "eval/table.json": b"{}"}
    bench.artifacts(run_id, other | within("export/model", MODEL))
    plan = bench.manager.plan_deletion(run_id, part="other")
    assert bench.gone(lambda: bench.manager.delete_models(plan, progress=False)) == set(other)


@pytest.mark.parametrize(
    "source", ["{uri}/weights", "runs:/{run}/weights", "runs:/{run}/weig%68ts"]
)
def test_a_version_that_was_registered_by_uri_keeps_its_files(bench, source):
    bench.best()
    run_id = bench.run(0.1)
    bench.model(run_id)
    bench.artifacts(run_id, {"weights/w.bin": b"w", "plot.png": b"p"})
    bench.client.create_registered_model("by uri")
    uri = bench.client.get_run(run_id).info.artifact_uri
    bench.client.create_model_version("by uri", source.format(uri=uri, run=run_id))
    for part in ("other", "weights/*"):
        plan = bench.manager.plan_deletion(run_id, part=part)
        assert "registered" in {reason.kind for reason in plan[run_id].reasons}
    plan = bench.manager.plan_deletion(run_id, part="*.png")
    assert plan[run_id].reasons == ()


def test_a_part_that_a_model_has_not_is_refused_in_words(bench):
    bench.best()
    run_id = bench.run(0.1)
    model_id = bench.model(run_id)
    for part in ("checkpoints", "other"):
        assert "name its run" in bench.manager.plan_deletion(model_id, part=part)[model_id].problem
        with pytest.raises(InvalidInputError, match="model_ids"):
            bench.manager.plan_deletion(run_id, part=part, model_ids=[model_id])


# ------------------------------------------------------------------------------------- checkpoints


def checkpoint(step, **state):
    text = json.dumps({"global_step": step, **state}).encode()
    return within(
        f"out/checkpoint-{step}",
        {"model.safetensors": b"w" * 10, "optimizer.pt": b"o" * 60, "trainer_state.json": text},
    )


def checkpoints_left(bench, files, **options):
    bench.best()
    run_id = bench.run(0.1)
    bench.model(run_id)
    bench.artifacts(run_id, files)
    plan = bench.manager.plan_deletion(run_id, part="checkpoints", **options)
    gone = bench.gone(lambda: bench.manager.delete_models(plan, progress=False))
    left = set(files) - gone
    return {"/".join(name.split("/")[:2]) for name in left}


@pytest.mark.parametrize(
    ("state", "best"),
    [
        ({}, set()),
        ({"best_model_checkpoint": "/tmp/out/checkpoint-200"}, {200}),
        ({"best_model_checkpoint": "C:\\out\\checkpoint-200\\"}, {200}),
        (
            {
                "log_history": [
                    {"step": 100, "eval_accuracy": 0.9},
                    {"step": 200, "loss": 1},
                    {"step": 300, "eval_accuracy": 0.7},
                ]
            },
            {100},
        ),
    ],
)
def test_the_best_and_the_last_checkpoint_of_trainer_stay(bench, state, best):
    files = {}
    for step in (100, 200, 300, 1000):
        files |= checkpoint(step, **state)
    assert checkpoints_left(bench, files) == {f"out/checkpoint-{step}" for step in {1000, *best}}


def test_a_state_that_cannot_be_read_is_not_guessed_at(bench):
    bench.best()
    run_id = bench.run(0.1)
    bench.model(run_id)
    bench.artifacts(
        run_id, checkpoint(1) | checkpoint(2) | {"out/checkpoint-2/trainer_state.json": b'{"cut'}
    )
    plan = bench.manager.plan_deletion(run_id, part="checkpoints")
    assert "nobody knows which checkpoint is the best" in plan[run_id].problem
    assert not plan[run_id].deletable


def test_a_last_checkpoint_without_weights_does_not_count_as_the_last_whole_one(bench):
    cut = {"out/checkpoint-400/optimizer.pt": b"o"}
    files = checkpoint(100) | checkpoint(200) | cut
    assert checkpoints_left(bench, files) == {"out/checkpoint-200", "out/checkpoint-400"}


def test_names_tell_the_best_and_where_the_direction_is_unknown_both_ends_stay(bench):
    files = {
        f"ckpts/epoch={epoch}-val_loss={loss}-f1={f1}.ckpt": b"w"
        for epoch, loss, f1 in [
            (0, 0.5, 0.3),
            (1, 0.2, 0.4),
            (2, 0.4, 0.9),
            (3, 0.6, 0.5),
            (10, 0.9, 0.6),
        ]
    }
    left = checkpoints_left(bench, files)
    assert {name.split("=")[1].split("-")[0] for name in left} == {"0", "1", "2", "10"}


def test_each_series_keeps_its_own_and_a_folder_of_plots_is_no_checkpoint(bench):
    files = {
        f"trial-{trial}/checkpoints/epoch-{epoch}/weights.pt": b"w"
        for trial in (1, 2)
        for epoch in (1, 2, 3)
    }
    plots = {f"plots/epoch_{epoch}/loss.png": b"p" for epoch in (1, 2)}
    models = within("checkpoint-1", MODEL) | {"checkpoint-2/model.safetensors": b"w"}
    bench.best()
    run_id = bench.run(0.1)
    bench.model(run_id)
    bench.artifacts(run_id, files | plots | models)
    plan = bench.manager.plan_deletion(run_id, part="checkpoints")
    gone = bench.gone(lambda: bench.manager.delete_models(plan, progress=False))
    assert gone == {name for name in files if "epoch-3" not in name}


def test_a_checkpoint_that_became_the_last_one_after_the_plan_stays(bench):
    bench.best()
    run_id = bench.run(0.1)
    bench.model(run_id)
    bench.artifacts(run_id, checkpoint(1) | checkpoint(2) | checkpoint(3))
    plan = bench.manager.plan_deletion(run_id, part="checkpoints")
    for name in [name for name in bench.names() if "checkpoint-3" in name]:
        del bench.store.blobs[name]
    assert not bench.gone(lambda: bench.manager.delete_model(run_id, plan=plan))
    assert bench.result.outcome == "failed"
    assert "plan again" in bench.result.message


# -------------------------------------------------------------------- the plan is kept to, and told


def test_files_that_came_or_changed_after_the_plan_stay(bench):
    bench.best()
    run_id = bench.run(0.1)
    bench.artifacts(run_id, within("checkpoint-1", WEIGHTS | STATES))
    bench.model(run_id)
    plan = bench.manager.plan_deletion(run_id, part="optimizer")
    bench.artifacts(
        run_id, {"checkpoint-1/scheduler.pt": b"new", "checkpoint-2/optimizer.pt": b"n"}
    )
    gone = bench.gone(lambda: bench.manager.delete_model(run_id, plan=plan))
    assert gone == set(within("checkpoint-1", STATES)) - {"checkpoint-1/scheduler.pt"}
    assert bench.result.outcome == "failed"
    assert bench.result.left == (f"{bench.path(run_id)}/checkpoint-1/scheduler.pt",)


@pytest.mark.parametrize("place", ["weights of the run", "another run", "another location"])
def test_a_plan_that_somebody_changed_reaches_nothing(bench, place):
    bench.best()
    run_id, other = bench.run(0.1), bench.run(0.2)
    bench.model(run_id, MODEL | STATES)
    bench.artifacts(run_id, within("checkpoint-1", WEIGHTS | STATES))
    bench.artifacts(other, within("checkpoint-1", WEIGHTS | STATES))
    plan = bench.manager.plan_deletion(run_id, part="optimizer")[run_id]
    first = plan.locations[-1]
    owner = other if place != "weights of the run" else run_id
    name = "optimizer.pt" if place == "another run" else "model.safetensors"
    strange = f"{bench.path(owner)}/checkpoint-1/{name}"
    etags = {**first.etags, strange: bench.store.blobs[strange].etag}
    location = first.location
    if place == "another location":
        location = replace(location, path=bench.path(other), owner_id=other)
        etags = {strange: bench.store.blobs[strange].etag}
    changed = replace(
        plan, locations=(*plan.locations[:-1], replace(first, location=location, etags=etags))
    )
    assert not bench.gone(lambda: bench.manager.delete_model(run_id, plan=changed))
    assert bench.result.outcome == "failed"


# ---------------------------------------------------------------------------- journal and resuming


def interrupted(bench, files=STATES, part="optimizer"):
    """A run of which a part was half deleted when its process died."""
    bench.best()
    run_id = bench.run(0.1)
    model_id = bench.model(run_id, MODEL | files)
    bench.artifacts(run_id, {"plot.png": b"p"})
    plan = bench.manager.plan_deletion(run_id, part=part)
    held = max(plan[run_id].locations[0].etags)
    bench.store.held.add(held)
    result = bench.manager.delete_model(run_id, plan=plan)
    assert result.outcome == "failed"
    assert held in result.left
    bench.store.held.clear()
    return run_id, model_id, held


def test_an_interrupted_part_is_told_and_finished_and_the_model_reads_stored(bench):
    run_id, model_id, held = interrupted(bench)
    tags = bench.tags(run_id)
    (record,) = read_part_records(run_id, tags)
    assert (record.state, record.part) == ("failed", "optimizer")
    assert read_records(run_id, tags) == ()
    assert not deletion_was_begun(run_id, tags)
    assert MODEL_TAG not in tags
    assert bench.state(run_id) == "stored"
    told = bench.manager.plan_deletion(run_id, part="optimizer")[run_id]
    assert "interrupted: resume_deletions() finishes it" in told.summary
    # States that came since are not the interrupted deletion's.
    models = bench.client.get_logged_model(model_id).artifact_location
    bench.put(models, {"later/optimizer.pt": b"new"})

    gone = bench.gone(bench.manager.resume_deletions)

    assert gone == {held.split("/artifacts/", 1)[1]}
    (result,) = bench.result.results
    assert result.outcome == "deleted"
    assert [one.state for one in read_part_records(run_id, bench.tags(run_id))] == ["deleted"]
    assert bench.manager.resume_deletions().results == ()
    assert bench.state(run_id) == "stored"


def test_a_resume_asks_protection_again_and_leaves_what_was_written_anew(bench):
    run_id, model_id, held = interrupted(bench)
    bench.client.set_tag(run_id, "expmgr.keep", "now")
    assert not bench.gone(bench.manager.resume_deletions)
    assert bench.result.results[0].outcome == "protected"
    bench.client.delete_tag(run_id, "expmgr.keep")
    bench.store.put(held, b"written anew")
    assert not bench.gone(bench.manager.resume_deletions)
    assert bench.result.results[0].left == (held,)
    # A new plan takes its place.
    plan = bench.manager.plan_deletion(model_id, part="optimizer")
    assert bench.manager.delete_models(plan, progress=False).results[0]
    assert bench.manager.resume_deletions().results == ()


def test_more_files_than_the_journal_tells_are_not_guessed_at_by_a_resume(bench):
    many = {f"{at:03}/optimizer.pt": b"o" for at in range(501)}
    run_id, _, held = interrupted(bench, many)
    assert not bench.gone(bench.manager.resume_deletions)
    (result,) = bench.result.results
    assert result.outcome == "failed"
    assert "Plan that part again" in result.message
    plan = bench.manager.plan_deletion(run_id, part="optimizer")
    assert bench.gone(lambda: bench.manager.delete_model(run_id, plan=plan)) == {
        held.split("/artifacts/", 1)[1]
    }
    assert bench.manager.resume_deletions().results == ()


def test_a_dead_process_leaves_a_part_that_is_finished_once_its_time_is_up(bench):
    bench.best()
    run_id = bench.run(0.1)
    bench.model(run_id, MODEL | STATES)
    plan = bench.manager.plan_deletion(run_id, part="optimizer")

    class KilledError(BaseException):
        pass

    def die(kind, name):
        if kind == "delete":
            raise KilledError

    bench.store.fault = die
    with pytest.raises(KilledError):
        bench.manager.delete_model(run_id, plan=plan)
    bench.store.fault = lambda kind, name: None
    assert "being deleted" in bench.manager.plan_deletion(run_id)[run_id].problem
    assert bench.manager.resume_deletions().results == ()
    (record,) = read_part_records(run_id, bench.tags(run_id))
    write_record(bench.client, replace(record, deadline=1))
    assert bench.manager.plan_deletion(run_id)[run_id].deletable
    assert bench.gone(bench.manager.resume_deletions) == set(STATES)


def test_a_part_of_a_model_without_a_run_is_recorded_on_the_model(bench):
    bench.best()
    model_id = bench.model("", MODEL | STATES)
    plan = bench.manager.plan_deletion(model_id, part="optimizer")
    assert bench.gone(lambda: bench.manager.delete_model(model_id, plan=plan)) == set(STATES)
    tags = bench.client.get_logged_model(model_id).tags
    assert (tags[PART_TAG], MODEL_TAG in tags) == ("deleted", False)
    assert bench.manager.plan_deletion(model_id)[model_id].deletable


def test_a_part_of_a_directory_goes_by_the_directorys_id(bench):
    bench.best()
    run_id = bench.run(0.1)
    bench.artifacts(run_id, within("one", MODEL | STATES) | within("two", MODEL | STATES))
    id_ = f"{run_id}/one"
    plan = bench.manager.plan_deletion(id_, part="optimizer")
    assert bench.gone(lambda: bench.manager.delete_model(id_, plan=plan)) == set(
        within("one", STATES)
    )
    assert set(bench.manager.models()["model"]) == {"stored"}
    assert bench.manager.plan_deletion(run_id)[run_id].files == 2 * len(MODEL) + len(STATES)


# ------------------------------------------------------------------------- a storage step of others


class Own(InMemory):
    def _delete_model(self, run_id, experiment_id=None):
        self.called = True
        return super()._delete_model(run_id, experiment_id)


class Declared(Own):
    deletes_parts = True


class Ignoring(InMemory):
    deletes_parts = True

    def _delete_model(self, run_id, experiment_id=None):
        return True


@pytest.mark.parametrize("cls", [Own, Declared, Ignoring])
def test_a_step_of_somebody_elses_gets_a_part_only_where_it_says_so(bench, cls):
    bench.best()
    run_id = bench.run(0.1)
    bench.model(run_id, MODEL | STATES)
    bench.manager.__class__ = cls
    plan = bench.manager.plan_deletion(run_id, part="optimizer")
    gone = bench.gone(lambda: bench.manager.delete_model(run_id, plan=plan))
    assert gone == (set(STATES) if cls is Declared else set())
    assert bench.result.outcome == ("deleted" if cls is Declared else "failed")
    if cls is not Declared:
        assert "deletes_parts" in bench.result.message
    assert hasattr(bench.manager, "called") == (cls is Declared)


def test_a_refused_delete_names_what_is_left_of_the_part_and_nothing_else(bench):
    bench.best()
    run_id = bench.run(0.1)
    bench.model(run_id, MODEL | STATES)
    plan = bench.manager.plan_deletion(run_id, part="optimizer")
    bench.store.fault = lambda kind, name: RefusalError("no") if kind == "delete" else None
    assert not bench.gone(lambda: bench.manager.delete_model(run_id, plan=plan))
    left = {name.split("/artifacts/", 1)[1] for name in bench.result.left}
    assert (bench.result.outcome, left) == ("failed", set(STATES))


def test_a_part_of_which_nothing_is_there_says_so_whatever_became_of_the_model(bench):
    bench.best()
    run_id = bench.run(0.1)
    model_id = bench.model(run_id)
    held = [name for name in bench.names() if model_id in name and name.endswith("config.json")]
    bench.store.held.update(held)
    assert bench.manager.delete_model(run_id).outcome == "failed"
    plan = bench.manager.plan_deletion(run_id, part="optimizer")
    assert "optimizer states: nothing" in plan[run_id].summary
    result = bench.manager.delete_models(plan, progress=False).results[0]
    assert (result.outcome, result.files) == ("not_found", 0)
    assert not read_part_records(run_id, bench.tags(run_id))
