"""`plan_cleanup` on real servers: what a policy would remove, what stays and why."""

from __future__ import annotations

import getpass
import threading
import time

import pytest
from lab import METRIC, Lab
from mlflow import MlflowClient
from servers import Backend

from expmgr.cleanup.plan import DeletionPlan
from expmgr.errors import InvalidInputError, NotFoundError
from expmgr.policies import best, larger_than, last, mine, older_than, status

ALL = older_than("0s")


@pytest.fixture
def lab(backend, credentials, blob_names, tmp_path, plugin_name):
    return Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)


@pytest.fixture
def sqlite_lab(
    sqlite_uri, artifact_root, container, credentials, blob_names, tmp_path, plugin_name
):
    del artifact_root
    backend = Backend("sqlite", sqlite_uri, None, container)
    return Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)


def ids(plan):
    return {run.id for run in plan.deletable}


def why(plan):
    return {one.id: one.why for one in plan.kept}


def test_a_policy_frees_what_it_says_and_every_kept_model_is_whole(lab):
    top, second, third = (lab.run(value) for value in (0.9, 0.8, 0.7))
    models = {run_id: lab.logged_model(run_id) for run_id in (top, second, third)}
    old = lab.run(0.1)
    lab.history_model(old, "model")
    silent = lab.run()
    silent_model = lab.logged_model(silent)
    raw = lab.run(0.2)
    lab.artifacts(raw, {"weights.bin": b"w" * 50})
    before = lab.blob_names()
    manager = lab.manager()

    plan = manager.plan_cleanup(where=ALL & larger_than("1KB"), keep=best(2))

    assert ids(plan) == {models[third], f"{old}/model"}
    assert lab.blob_names() == before
    said = why(plan)
    assert said.keys() == {models[top], models[second], silent_model, raw}
    assert said[models[top]] == said[models[second]] == "kept by best(2)"
    assert said[silent_model] == f"no value of {METRIC} tells how good it is, so best(2) keeps it"
    assert "part='raw'" in said[raw]
    assert {one.bytes for one in plan.kept} == {50, 2012}
    for text in (repr(plan), plan._repr_html_()):
        assert "stays: 4 models" in text
        assert "tells how good it is" in text

    report = manager.delete_models(DeletionPlan.from_json(plan.to_json()), progress=False)
    assert report.counts == {"deleted": 2}
    assert report.bytes == plan.bytes == 2 * 2012
    gone = set(before) - set(lab.blob_names())
    assert len(gone) == 4
    assert all(models[third] in name or old in name for name in gone)
    again = manager.plan_cleanup(where=ALL & larger_than("1KB"), keep=best(2))
    assert not again.runs
    assert again.note == "nothing to delete: all 4 stay"
    assert why(again) == said


def test_protection_wins_and_no_force_passes_it(sqlite_lab):
    lab = sqlite_lab
    top, registered, poor = lab.best(), lab.with_model(0.2), lab.with_model(0.1)
    lab.client.create_registered_model(f"v-{lab.plugin}")
    lab.client.create_model_version(f"v-{lab.plugin}", f"runs:/{registered}/m", run_id=registered)
    manager = lab.manager()
    plan = manager.plan_cleanup(where=ALL, everything=True)
    of = {run: made(lab, run) for run in (top, registered, poor)}
    assert ids(plan) == {of[poor]}
    assert why(plan)[of[top]].startswith("best: ")
    assert why(plan)[of[registered]].startswith("registered: ")
    assert manager.delete_models(plan, force=True, progress=False).counts == {"deleted": 1}
    left = lab.blob_names()
    assert any(of[top] in name for name in left)
    assert any(of[registered] in name for name in left)


def made(lab, run_id):
    return lab.client.get_run(run_id).outputs.model_outputs[0].model_id


def test_what_is_pinned_after_the_plan_stays(sqlite_lab):
    lab = sqlite_lab
    lab.best()
    poor, worse = lab.with_model(0.2), lab.with_model(0.1)
    manager = lab.manager()
    plan = manager.plan_cleanup(where=ALL, keep=best(1))
    manager.pin(poor, "the customer asked")
    report = manager.delete_models(plan, force=True, progress=False)
    assert {result.run_id: result.outcome for result in report} == {
        made(lab, poor): "protected",
        made(lab, worse): "deleted",
    }


def test_each_run_keeps_its_best_checkpoints_each_study_its_best_run(sqlite_lab):
    lab = sqlite_lab
    lab.best(0.99)
    parent = lab.run(0.0)
    checkpoints = {}
    for child in range(2):
        run_id = lab.run(0.5, tags={"mlflow.parentRunId": parent})
        for step, value in enumerate((0.1, 0.4 + child / 10, 0.2)):
            model_id = lab.logged_model(run_id, step=step)
            lab.client.log_metric(run_id, METRIC, value, step=step, model_id=model_id)
            checkpoints[model_id] = (child, value)
    lone = lab.logged_model("")
    manager = lab.manager()

    def values(**options):
        plan = manager.plan_cleanup(where=ALL, **options)
        assert lone not in ids(plan)
        return {checkpoints[id_] for id_ in ids(plan)}

    worse = {(0, 0.1), (0, 0.2), (1, 0.1), (1, 0.2)}
    assert values(keep=best(1), per="run") == worse
    assert values(keep=best(2), per="run") == {(0, 0.1), (1, 0.1)}
    assert values(keep=best(1), per="study") == worse | {(0, 0.4)}
    # the 0.5 is the best that was logged for a model itself, so it is protected as best
    assert values(keep=best(1), per="experiment") == worse | {(0, 0.4)}
    assert values(keep=last(1), per="run") == {(0, 0.1), (1, 0.1), (0, 0.4)}


def test_what_only_files_tell_goes_with_its_run_and_only_then(sqlite_lab):
    lab = sqlite_lab
    lab.best()
    several = lab.run(0.1)
    for path in ("a", "b"):
        lab.artifacts(several, {"MLmodel": b"m", "w": b"w" * (5 if path == "a" else 5000)}, path)
    manager = lab.manager()
    plan = manager.plan_cleanup(where=ALL, keep=best(1))
    assert ids(plan) == {several}
    assert plan.files == 4
    part = manager.plan_cleanup(where=larger_than("1KB"), keep=best(1))
    assert not part.runs
    assert why(part)[f"{several}/b"].startswith("it goes with its run only")


def test_raw_artifacts_are_a_part_of_their_own(sqlite_lab):
    lab = sqlite_lab
    lab.best()
    raw, poor = lab.run(0.1), lab.with_model(0.2)
    lab.artifacts(raw, {"weights.bin": b"w" * 50})
    manager = lab.manager()
    plan = manager.plan_cleanup(where=ALL, part="raw")
    assert ids(plan) == {raw}
    assert why(plan)[made(lab, poor)] == "part='raw' takes raw artifacts only"
    assert manager.delete_models(plan, progress=False).counts == {"deleted": 1}
    with pytest.raises(InvalidInputError, match="part must be one of"):
        manager.plan_cleanup(where=ALL, part="weights")


CHECKPOINTS = {f"checkpoint-{step}/model.bin": b"w" * step for step in (100, 200, 300)}


def test_what_runs_have_beside_their_models_goes_by_runs(lab):
    top, poor = lab.run(0.9), lab.run(0.1)
    for run_id in (top, poor):
        lab.logged_model(run_id)
        lab.artifacts(run_id, {**CHECKPOINTS, "notes.txt": b"n"})
    bare, history = lab.with_model(0.2), lab.run(0.3)
    lab.history_model(history)
    before = lab.blob_names()
    manager = lab.manager()

    plan = manager.plan_cleanup(where=larger_than("100B"), keep=best(1), part="checkpoints")

    assert ids(plan) == {poor}
    said = why(plan)
    assert said[top] == "kept by best(1)"
    assert "larger_than" in said[bare], "its plot is small"
    assert history not in said, "it has nothing beside its model"
    assert manager.delete_models(plan, progress=False).counts == {"deleted": 1}
    gone = set(before) - set(lab.blob_names())
    assert {name.partition("artifacts/")[2] for name in gone} == {
        "checkpoint-100/model.bin",
        "checkpoint-200/model.bin",
    }
    assert all(poor in name for name in gone)


def test_the_rest_of_a_run_goes_by_a_policy_and_its_models_stay(sqlite_lab):
    lab = sqlite_lab
    old, failed = lab.run(0.9), lab.run(0.1, status="FAILED")
    for run_id in (old, failed):
        lab.history_model(run_id)
        lab.artifacts(run_id, {"logs/a.log": b"l" * 10, "plot.png": b"p"})
    running = lab.run(0.1, status="RUNNING")
    lab.artifacts(running, {"logs/a.log": b"l"})
    manager = lab.manager()
    logs = manager.plan_cleanup(where=status("FAILED", "RUNNING"), part="logs/**")
    assert ids(logs) == {failed}
    assert why(logs)[running].startswith("active")
    plan = manager.plan_cleanup(where=ALL, part="other")
    assert ids(plan) == {old, failed}
    assert plan.bytes == 22
    with pytest.raises(InvalidInputError, match="no policy"):
        manager.plan_cleanup(part="other")
    whole = manager.plan_cleanup(part="other", everything=True)
    assert ids(whole) == {old, failed}
    assert manager.delete_models(whole, progress=False).counts == {"deleted": 2}
    assert set(manager.runs()["model"]) == {"stored", "none"}
    none = manager.plan_cleanup(where=ALL, part="checkpoints")
    assert not none.runs


STATES = {"checkpoint-9/pytorch_model.bin": b"w" * 50, "checkpoint-9/optimizer.pt": b"o" * 100}
WITH_STATES = {"MLmodel": b"flavors: {}\n", "weights.bin": b"w" * 50, "optimizer.pt": b"o" * 100}


def test_optimizer_states_go_from_the_selected_models_and_from_beside_them(lab):
    old, top, raw, bare = lab.run(0.1), lab.run(0.9), lab.run(0.2), lab.with_model(0.3)
    poor, good = lab.logged_model(old, WITH_STATES), lab.logged_model(top, WITH_STATES)
    for run_id in (old, raw):
        lab.artifacts(run_id, STATES)
    lab.history_model(raw, "model", WITH_STATES)
    pinned = lab.run(0.1, tags={"expmgr.keep": "yes"})
    lab.artifacts(pinned, STATES)
    before = lab.blob_names()
    manager = lab.manager()

    plan = manager.plan_cleanup(where=ALL, keep=best(1), part="optimizer")

    assert ids(plan) == {old, raw}, "the best model stays as it is, and so does the best run"
    said = why(plan)
    assert said[good] == "kept by best(1)"
    assert said[pinned].startswith("pinned")
    assert "no optimizer states" in said[made(lab, bare)]
    assert bare in said
    assert manager.delete_models(plan, progress=False).counts == {"deleted": 2}
    gone = set(before) - set(lab.blob_names())
    assert {name.rpartition("/")[2] for name in gone} == {"optimizer.pt"}
    assert len(gone) == 4
    assert not [name for name in gone if good in name or pinned in name]
    assert sum(poor in name for name in gone) == 1


def test_a_run_selected_for_what_lies_beside_leaves_models_that_were_not(sqlite_lab):
    lab = sqlite_lab
    lab.best()
    run_id = lab.run(0.1)
    small, large = (
        lab.logged_model(run_id, {**WITH_STATES, "more.bin": b"m" * size}, step=step)
        for step, size in ((1, 1), (2, 5000))
    )
    lab.history_model(run_id, "model", WITH_STATES)
    lab.artifacts(run_id, {**STATES, "log.bin": b"l" * 5000})
    manager = lab.manager()
    plan = manager.plan_cleanup(where=larger_than("4KB"), part="optimizer")
    assert ids(plan) == {run_id}
    names = {name for one in plan.runs[0].locations for name in one.etags}
    assert len(names) == 2
    assert all(large in name or "checkpoint-9/" in name for name in names)
    assert plan.runs[0].model_ids == (large,)
    before = set(lab.blob_names())
    assert manager.delete_models(plan, progress=False).counts == {"deleted": 1}
    assert before - set(lab.blob_names()) == names
    assert small in why(plan)


def test_what_this_manager_tracked_is_mine(sqlite_lab):
    lab = sqlite_lab
    manager = lab.manager()
    manager.set_iteration("batch 1")
    manager.set_run({"depth": 3})
    manager.finish_run()
    (run,) = manager.runs().itertuples()
    assert lab.tags(run.run_id)["mlflow.user"] == getpass.getuser()


def test_status_and_user_select(sqlite_lab):
    lab = sqlite_lab
    lab.best()
    user = {"mlflow.user": getpass.getuser()}
    failed, my_own = lab.with_model(0.1, status="FAILED"), lab.with_model(0.2, tags=user)
    running = lab.with_model(0.1, status="RUNNING")
    manager = lab.manager()
    assert ids(manager.plan_cleanup(where=status("FAILED"))) == {made(lab, failed)}
    assert ids(manager.plan_cleanup(where=mine())) == {made(lab, my_own)}
    plan = manager.plan_cleanup(where=status("RUNNING"))
    assert why(plan)[made(lab, running)].startswith("active: ")
    assert not ids(manager.plan_cleanup(where=older_than("1d")))


@pytest.mark.parametrize("part", ["model", "raw"])
def test_what_a_run_stored_is_as_old_as_its_end(sqlite_lab, part):
    lab = sqlite_lab
    lab.best()
    day, now = 86_400_000, int(time.time() * 1000)
    runs = []
    for ended in (now - 31 * day, now - day):  # the latter trained for weeks, or was resumed
        run = lab.client.create_run(lab.experiment_id, start_time=now - 40 * day)
        runs.append(run.info.run_id)
        if part == "model":
            lab.history_model(runs[-1])
        else:
            lab.artifacts(runs[-1], {"weights.bin": b"w"})
        lab.client.set_terminated(runs[-1], end_time=ended)
    plan = lab.manager().plan_cleanup(where=older_than("30d"), part=part)
    assert {run.run_id for run in plan.deletable} == {runs[0]}


def test_all_of_an_experiment_goes_by_an_explicit_word_only(sqlite_lab):
    lab = sqlite_lab
    lab.best()
    other = lab.experiment("second")
    poor = lab.with_model(status="FAILED", experiment_id=other)
    manager = lab.manager()
    for policy in ({}, {"where": status("FAILED")}):
        with pytest.raises(InvalidInputError, match="second") as caught:
            manager.plan_cleanup(**policy)
        assert "everything=True" in str(caught.value)
    plan = manager.plan_cleanup(where=status("FAILED"), everything=True)
    assert ids(plan) == {made(lab, poor)}
    assert ids(manager.plan_cleanup(everything=True, experiments=[other])) == {made(lab, poor)}


def test_only_the_chosen_experiments_lose_a_model(sqlite_lab):
    lab = sqlite_lab
    other = lab.experiment("second", plugin="another")
    for experiment_id in (lab.experiment_id, other):
        for value in (0.9, 0.1):
            lab.with_model(value, experiment_id=experiment_id)
    manager = lab.manager()
    names = {run.experiment_id for run in manager.plan_cleanup(where=ALL, keep=best(1))}
    assert names == {lab.experiment_id}
    plan = manager.plan_cleanup(where=ALL, keep=best(1), experiments=[other])
    assert not plan.runs, "nothing is called best in another plugin's experiment: all is kept"
    assert "no main metric" in next(iter(why(plan).values()))
    with pytest.raises(NotFoundError, match="third"):
        manager.plan_cleanup(where=ALL, experiments="third")


def test_where_nothing_is_nothing_goes(sqlite_lab):
    manager = sqlite_lab.manager(plugin_name="nobody")
    plan = manager.plan_cleanup(where=ALL)
    assert (len(plan), plan.files) == (0, 0)
    assert "there are no models" in repr(plan)
    assert "there are no models" in plan._repr_html_()
    assert manager.delete_models(plan, progress=False).results == ()
    cancel = threading.Event()
    cancel.set()
    plan = sqlite_lab.manager().plan_cleanup(where=ALL, cancel=cancel)
    assert "cancelled" in plan.note


def test_a_plan_of_many_asks_once_for_the_runs_that_made_them(
    mlflow_server,
    artifact_root,
    container,
    credentials,
    blob_names,
    tmp_path,
    plugin_name,
    monkeypatch,
):
    del artifact_root
    backend = Backend("http", mlflow_server.tracking_uri, None, container)
    lab = Lab(backend, credentials, blob_names, tmp_path / "lab", plugin_name)
    made = {lab.best(), *(lab.with_model(0.1) for _ in range(14))}
    asked = []
    get_run = MlflowClient.get_run
    monkeypatch.setattr(MlflowClient, "get_run", lambda *a: asked.append(a[1]) or get_run(*a))
    plan = lab.manager().plan_cleanup(where=ALL, keep=best(1))
    assert len(plan.deletable) == 14
    assert len([id_ for id_ in asked if id_ in made]) <= 2  # the server holds other tests' too
