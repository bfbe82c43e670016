from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainers import KilledError, classifier, count_calls, make_manager, train

from expmgr import ExperimentsManager, InvalidInputError, LocationError, MetricValue
from expmgr.storage.addresses import Addresses
from expmgr.storage.artifact_uri import parse_artifact_uri
from expmgr.storage.store import Store
from expmgr.training.experiments import artifact_root
from expmgr.training.iterations import FineTuningIteration, iteration_name


@pytest.fixture
def manager(sqlite_uri, credentials, plugin_name):
    return make_manager(sqlite_uri, credentials, plugin_name)


def name_of(experiment):
    return None if experiment is None else experiment.name.split(" / ", 1)[1]


@pytest.mark.parametrize(
    ("iteration", "name"),
    [
        ("batch 1", "texts / batch 1"),
        ("texts / batch 1", "texts / batch 1"),
        ("texts / a / b", "texts / a / b"),
        (FineTuningIteration("b7"), "texts / iteration /  / b7"),
        (FineTuningIteration("b7", "run1", "texts"), "texts / iteration / run1 / b7"),
        ("iteration / run1 / b7", "texts / iteration / run1 / b7"),
    ],
)
def test_an_iteration_is_named_after_the_plugin(iteration, name):
    assert iteration_name(iteration, "texts") == name


@pytest.mark.parametrize(
    ("iteration", "words"),
    [
        ("images / batch 1", "plugin 'images'.*'texts'"),
        ("iteration / batch 1", "plugin 'iteration'.*'texts'"),
        (FineTuningIteration("b7", plugin_name="images"), "plugin 'images'.*'texts'"),
        ("", "needs a name"),
        (" padded", "needs a name"),
        ("texts / ", "needs a name"),
        (FineTuningIteration(), "needs a name"),
        ("x" * 493, "501 characters"),
        (None, "a name or a FineTuningIteration"),
    ],
)
def test_a_name_that_cannot_be_this_plugins_is_refused(iteration, words):
    with pytest.raises(InvalidInputError, match=words):
        iteration_name(iteration, "texts")


@given(st.text(min_size=1, max_size=80))
def test_every_iteration_gets_a_location_of_its_own_in_the_container(name):
    store = Store("account1", "container1", "https://account1.blob.core.windows.net")
    first, second = (artifact_root(Addresses(store), f"plugin / {name}") for _ in range(2))
    assert first != second
    path = parse_artifact_uri(first, store)
    assert path.startswith("plugin/")
    assert ".." not in path.split("/")


def test_the_location_names_the_cloud_of_the_account():
    store = Store("account1", "container1", "https://account1.blob.core.chinacloudapi.cn")
    root = artifact_root(Addresses(store), "p / x")
    assert root.startswith("wasbs://container1@account1.blob.core.chinacloudapi.cn/p/x-")


def test_a_new_iteration_carries_metric_and_direction_and_lies_in_the_container(
    manager, credentials
):
    experiment_id = manager.set_iteration("one")
    experiment = manager.client.get_experiment(experiment_id)
    assert experiment.name == f"{manager.plugin_name} / one"
    assert experiment.tags["expmgr.main_metric"] == "accuracy"
    assert experiment.tags["expmgr.is_loss"] == "false"
    assert experiment.tags["expmgr.iteration"] == "open"
    assert parse_artifact_uri(experiment.artifact_location, Store.of(credentials))
    assert manager.current_iteration_id == experiment_id


def test_setting_it_again_changes_nothing_and_asks_once(manager):
    first = manager.set_iteration("one")
    client = count_calls(manager)
    assert manager.set_iteration(f"{manager.plugin_name} / one") == first
    assert client.calls == ["get_experiment_by_name"]


def test_another_iteration_waits_until_this_one_is_finished(manager):
    manager.set_iteration("one")
    with pytest.raises(InvalidInputError, match="one' is still set"):
        manager.set_iteration("two")
    manager.finish_iteration()
    assert manager.set_iteration("two")


def test_finishing_is_done_once_and_refused_inside_a_run(manager):
    manager.finish_iteration()
    manager.set_iteration("one")
    manager.set_run({"a": 1})
    with pytest.raises(InvalidInputError, match="is still under way"):
        manager.finish_iteration()


def test_previous_last_and_last_finished_are_told_apart(manager):
    assert manager.get_last_iteration() is None
    assert manager.get_previous_iteration() is None
    assert manager.get_last_finished_iteration() is None
    with manager.iteration("one"):
        pass
    manager.set_iteration("two")
    manager.finish_iteration(completed=False)
    assert name_of(manager.get_last_iteration()) == "two"
    assert name_of(manager.get_previous_iteration()) == "two"
    assert name_of(manager.get_last_finished_iteration()) == "one"
    manager.set_iteration("three")
    assert name_of(manager.get_last_iteration()) == "three"
    assert name_of(manager.get_previous_iteration()) == "two"
    assert name_of(manager.get_last_finished_iteration()) == "one"
    assert [name_of(e) for e in manager.get_experiments()] == ["three", "two", "one"]


def test_the_previous_of_an_older_iteration_is_older_still(manager):
    for name in ("one", "two", "three"):
        with manager.iteration(name):
            pass
    manager.set_iteration("two")
    assert name_of(manager.get_previous_iteration()) == "one"
    assert name_of(manager.get_last_finished_iteration()) == "one"


@pytest.mark.parametrize("plugin", ["it's", 'say "x"', "a\\b", "100%", "under_score", "`tick`"])
def test_any_plugin_name_finds_its_own_experiments_alone(plugin, sqlite_uri, credentials):
    manager = make_manager(sqlite_uri, credentials, plugin)
    for other in (plugin + "x", "x" + plugin, plugin.upper() + "!", plugin.replace("_", "x")):
        if other != plugin:
            manager.client.create_experiment(f"{other} / foreign")
    with manager.iteration("mine"):
        pass
    assert [e.name for e in manager.get_experiments()] == [f"{plugin} / mine"]
    assert manager.get_last_finished_iteration().name == f"{plugin} / mine"


def test_the_last_iteration_costs_one_request(manager):
    for name in ("one", "two"):
        with manager.iteration(name):
            pass
    client = count_calls(manager)
    manager.get_last_iteration()
    manager.get_last_finished_iteration()
    assert client.calls == ["search_experiments"] * 2


def test_an_exception_leaves_the_iteration_open_and_fails_the_run(manager):
    def broken():
        with manager.iteration("one"):
            manager.set_run({"a": 1})
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        broken()
    assert manager.current_iteration_id is None
    assert manager.current_run_id is None
    assert manager.get_last_finished_iteration() is None
    last = manager.get_last_iteration()
    assert last.tags["expmgr.iteration"] == "open"
    (run,) = manager.client.search_runs([last.experiment_id])
    assert run.info.status == "FAILED"


def test_an_iteration_tracked_by_another_metric_is_refused(manager, sqlite_uri, credentials):
    with manager.iteration("one"):
        pass
    other = make_manager(
        sqlite_uri, credentials, manager.plugin_name, main_metric="loss", is_loss=True
    )
    with pytest.raises(InvalidInputError, match=r"compared by 'accuracy'.*'loss'"):
        other.set_iteration("one")


@pytest.mark.parametrize("half", [{"expmgr.main_metric": "f1"}, {"expmgr.is_loss": "true"}])
def test_an_iteration_that_records_half_of_another_goal_is_refused(manager, half):
    name = f"{manager.plugin_name} / half"
    tags = {"expmgr.plugin": manager.plugin_name, **half}
    made = manager.client.create_experiment(name, tags=tags)
    with pytest.raises(InvalidInputError, match="compared by"):
        manager.set_iteration("half")
    assert manager.client.get_experiment(made).tags == tags


def test_an_experiment_outside_the_container_is_refused(manager):
    manager.client.create_experiment(
        f"{manager.plugin_name} / far",
        artifact_location="wasbs://elsewhere@devstoreaccount1.blob.core.windows.net/x",
    )
    with pytest.raises(LocationError, match="would not go to the manager's container"):
        manager.set_iteration("far")


def test_an_experiment_that_somebody_made_by_hand_is_adopted(manager, credentials):
    name = f"{manager.plugin_name} / by hand"
    root = artifact_root(Addresses(Store.of(credentials)), name)
    experiment_id = manager.client.create_experiment(name, artifact_location=root)
    assert manager.set_iteration("by hand") == experiment_id
    tags = manager.client.get_experiment(experiment_id).tags
    assert (tags["expmgr.main_metric"], tags["expmgr.iteration"]) == ("accuracy", "open")


def test_a_name_that_lies_in_the_trash_is_free_again(manager):
    first = manager.set_iteration("one")
    manager.set_run({"a": 1})
    manager.finish_run()
    manager.finish_iteration()
    manager.client.delete_experiment(first)
    second = manager.set_iteration("one")
    assert second != first
    assert manager.set_run({"a": 1}) is False, "runs of the deleted experiment count no more"
    old = manager.client.get_experiment(first)
    assert old.lifecycle_stage == "deleted"
    assert old.name == f"{manager.plugin_name} / one (archived {first})"


def test_a_destination_means_a_proxy_only_where_there_is_a_server(
    sqlite_uri, credentials, plugin_name
):
    manager = make_manager(
        sqlite_uri,
        credentials,
        plugin_name,
        artifacts_destination=f"wasbs://{credentials.container_name}@devstoreaccount1.blob"
        ".core.windows.net/served",
    )
    experiment = manager.client.get_experiment(manager.set_iteration("one"))
    assert experiment.artifact_location.startswith("wasbs://")


def test_a_manager_without_azure_leaves_the_location_to_mlflow(sqlite_uri, plugin_name):
    manager = make_manager(sqlite_uri, None, plugin_name, kind=ExperimentsManager)
    manager.set_iteration("one")
    with pytest.raises(InvalidInputError, match="no Azure credentials"):
        make_manager(
            sqlite_uri, None, plugin_name, kind=ExperimentsManager
        ).delete_previous_iteration()


# ------------------------------------------------------------------------------------- deleting


@pytest.fixture
def two_iterations(manager):
    """Iteration "one" with two stored models, then "two", set and empty."""
    with manager.iteration("one"):
        worse, _ = train(manager, 0.6, best_only=False)
        best, _ = train(manager, 0.8, best_only=False)
    manager.set_iteration("two")
    return manager, worse, best


def test_an_iteration_goes_when_a_later_one_is_at_least_as_good(two_iterations, blob_names):
    manager, _, best = two_iterations
    old = manager.client.get_run(best).info.experiment_id
    train(manager, 0.8)
    kept = [name for name in blob_names() if "/two-" in name]
    deletion = manager.delete_previous_iteration()
    assert deletion
    assert (deletion.outcome, deletion.experiment_id) == ("deleted", old)
    assert deletion.files == 10
    assert blob_names() == kept
    assert manager.client.get_experiment(old).lifecycle_stage == "deleted"
    assert manager.client.get_experiment_by_name(f"{manager.plugin_name} / one") is None
    assert [name_of(e) for e in manager.get_experiments()] == ["two"]
    assert manager.delete_previous_iteration().outcome == "not_found"


def test_the_best_model_of_all_stays_and_its_iteration_with_it(two_iterations, blob_names):
    manager, worse, best = two_iterations
    train(manager, 0.7)
    deletion = manager.delete_previous_iteration()
    assert not deletion
    assert deletion.outcome == "protected"
    assert [result.run_id for result in deletion.kept] == [best]
    assert "best" in str(deletion)
    assert "force=True" in str(deletion)
    assert {result.run_id: result.outcome for result in deletion.results}[worse] == "deleted"
    experiment = manager.client.get_experiment(deletion.experiment_id)
    assert experiment.lifecycle_stage == "active"
    assert experiment.tags["expmgr.iteration"] == "finished"
    assert len([name for name in blob_names() if "/one-" in name]) == 5


@pytest.mark.parametrize("how", ["pinned", "registered"])
def test_what_somebody_relies_on_stays_though_better_models_exist(two_iterations, how):
    manager, worse, best = two_iterations
    train(manager, 0.9)
    if how == "pinned":
        manager.client.set_tag(worse, "expmgr.keep", "true")
    else:
        (model,) = manager.client.get_run(worse).outputs.model_outputs
        manager.client.create_registered_model(f"registered-{manager.plugin_name}")
        manager.client.create_model_version(
            f"registered-{manager.plugin_name}",
            manager.client.get_logged_model(model.model_id).artifact_location,
            run_id=worse,
            model_id=model.model_id,
        )
    deletion = manager.delete_previous_iteration()
    assert deletion.outcome == "protected"
    assert [result.run_id for result in deletion.kept] == [worse]
    assert how in str(deletion.kept[0].reasons)
    forced = manager.delete_previous_iteration(force=True)
    assert forced.outcome == "deleted"
    assert best not in {result.run_id for result in forced.results}


def test_an_iteration_with_a_run_under_way_stays(two_iterations, sqlite_uri, credentials):
    manager, _, _ = two_iterations
    train(manager, 0.9)
    other = make_manager(sqlite_uri, credentials, manager.plugin_name)
    other.set_iteration("one")
    other.set_run({"still": "training"})
    deletion = manager.delete_previous_iteration()
    assert deletion.outcome == "protected"
    assert deletion.kept[0].run_id == other.current_run_id
    other.save_metric(MetricValue("accuracy", 0.5))
    other.finish_run()
    assert manager.delete_previous_iteration().outcome == "deleted"


@pytest.mark.parametrize("ended", [False, True])
def test_an_iteration_stays_in_which_somebody_began_a_run_while_its_models_went(
    two_iterations, sqlite_uri, credentials, monkeypatch, ended
):
    manager, _, _ = two_iterations
    train(manager, 0.9)
    other = make_manager(sqlite_uri, credentials, manager.plugin_name)
    other.set_iteration("one")
    delete_model, late = type(manager).delete_model, []

    def deleted(self, *args, **options):
        if not late:
            if ended:
                late.append(train(other, 0.7, best_only=False)[0])
            else:
                other.set_run({"still": "training"})
                late.append(other.current_run_id)
        return delete_model(self, *args, **options)

    monkeypatch.setattr(type(manager), "delete_model", deleted)
    deletion = manager.delete_previous_iteration()
    assert [result.run_id for result in deletion.kept] == late
    assert deletion.outcome == ("failed" if ended else "protected")
    experiment = manager.client.get_experiment(deletion.experiment_id)
    assert experiment.lifecycle_stage == "active"
    if not ended:
        other.finish_run()
    assert manager.delete_previous_iteration().outcome == "deleted"


def test_with_no_current_iteration_the_newest_is_the_previous_one(two_iterations):
    manager, _, _ = two_iterations
    manager.finish_iteration()
    assert name_of(manager.get_previous_iteration()) == "two"
    deletion = manager.delete_previous_iteration()
    assert (deletion.outcome, deletion.name) == ("deleted", f"{manager.plugin_name} / two")


@pytest.fixture
def raw(manager, put_blob):
    """A function: a FINISHED run with a checkpoint of which MLflow never recorded a model."""

    def make(quality=None, **tags):
        manager.set_run({"raw": quality, **tags})
        run_id = manager.current_run_id
        if quality is not None:
            manager.save_metric(MetricValue("accuracy", quality))
        manager.finish_run()
        root = manager.client.get_run(run_id).info.artifact_uri.split("/", 3)[3]
        put_blob(f"{root}/checkpoint/weights.pt", b"w" * 100)
        return run_id, f"{root}/checkpoint/weights.pt"

    return make


@pytest.mark.parametrize("how", ["pinned", "registered"])
def test_a_raw_checkpoint_that_somebody_relies_on_keeps_the_iteration(
    manager, raw, blob_names, how
):
    with manager.iteration("one"):
        run_id, blob = raw()
        train(manager, 0.5)
    if how == "pinned":
        manager.client.set_tag(run_id, "expmgr.keep", "true")
    else:
        name = f"registered-{manager.plugin_name}"
        uri = manager.client.get_run(run_id).info.artifact_uri
        manager.client.create_registered_model(name)
        manager.client.create_model_version(name, f"{uri}/checkpoint", run_id=run_id)
    manager.set_iteration("two")
    train(manager, 0.9)
    deletion = manager.delete_previous_iteration()
    assert deletion.outcome == "protected"
    assert [(kept.run_id, kept.outcome) for kept in deletion.kept] == [(run_id, "protected")]
    assert how in str(deletion)
    experiment = manager.client.get_experiment(deletion.experiment_id)
    assert experiment.lifecycle_stage == "active"
    assert experiment.tags["expmgr.iteration"] == "finished"
    assert blob in blob_names()
    assert manager.delete_previous_iteration(force=True).outcome == "deleted"
    assert blob in blob_names(), "what MLflow never recorded as a model stays, forced or not"


def test_raw_artifacts_stay_in_storage_and_the_message_says_how_much(manager, raw, blob_names):
    with manager.iteration("one"):
        _, blob = raw()
        train(manager, 0.5)
    manager.set_iteration("two")
    train(manager, 0.9)
    deletion = manager.delete_previous_iteration()
    assert deletion.outcome == "deleted"
    assert (deletion.files, deletion.left_files, deletion.left_bytes) == (5, 1, 100)
    assert str(deletion).endswith("stays in storage (1 file, 100 B).")
    assert [name for name in blob_names() if "/one-" in name] == [blob]


def test_a_raw_checkpoint_that_is_the_best_of_all_keeps_the_iteration(manager, raw, blob_names):
    with manager.iteration("one"):
        run_id, blob = raw(0.8)
    manager.set_iteration("two")
    train(manager, 0.7)
    deletion = manager.delete_previous_iteration()
    assert deletion.outcome == "protected"
    assert [kept.run_id for kept in deletion.kept] == [run_id]
    train(manager, 0.9)
    assert manager.delete_previous_iteration().outcome == "deleted"
    assert blob in blob_names()


def test_plots_and_tables_keep_no_iteration_and_a_pinned_run_does(manager, put_blob, blob_names):
    with manager.iteration("one"):
        runs = []
        for number in range(2):
            manager.set_run({"n": number})
            manager.save_metric(MetricValue("accuracy", 0.99))
            runs.append(manager.current_run_id)
            manager.finish_run()
            root = manager.client.get_run(runs[-1]).info.artifact_uri.split("/", 3)[3]
            put_blob(f"{root}/plots/roc.png")
    manager.set_iteration("two")
    manager.client.set_tag(runs[0], "expmgr.keep", "for the report")
    deletion = manager.delete_previous_iteration()
    assert [(kept.run_id, kept.outcome) for kept in deletion.kept] == [(runs[0], "protected")]
    manager.client.set_tag(runs[0], "expmgr.keep", "false")
    assert manager.delete_previous_iteration().outcome == "deleted"
    assert len(blob_names()) == 2


def test_the_best_by_another_goal_is_not_let_go_for_a_later_one(
    manager, sqlite_uri, credentials, blob_names
):
    with manager.iteration("one"):
        manager.set_run({"a": 1})
        manager.save_metric([MetricValue("accuracy", 0.5), MetricValue("loss", 0.1)])
        manager.save_model(classifier())
        manager.finish_run()
    before = blob_names()
    other = make_manager(
        sqlite_uri, credentials, manager.plugin_name, main_metric="loss", is_loss=True
    )
    manager.set_iteration("two")
    train(manager, 0.9)
    other.set_iteration("three")
    deletion = other.delete_previous_iteration()
    assert deletion.name == f"{manager.plugin_name} / two"
    manager.client.delete_experiment(deletion.experiment_id)
    assert other.delete_previous_iteration().outcome == "protected"
    assert set(before) <= set(blob_names())


def test_a_model_in_the_trash_goes_with_its_iteration_and_is_counted(manager, blob_names):
    with manager.iteration("one"):
        _, saved = train(manager, 0.5)
    manager.client.delete_logged_model(saved.model_id)
    manager.set_iteration("two")
    train(manager, 0.9)
    deletion = manager.delete_previous_iteration()
    assert deletion.outcome == "deleted"
    assert (deletion.files, deletion.bytes) == (saved.files, saved.bytes)
    assert [name for name in blob_names() if "/one-" in name] == []


@pytest.fixture
def put_model(manager, put_blob):
    """A function: a whole model in the current iteration, made by a run of anywhere, or none."""

    def put(source_run_id=None):
        client, experiment_id = manager.client, manager.current_iteration_id
        model = client.create_logged_model(experiment_id, source_run_id=source_run_id)
        root = model.artifact_location.split("/", 3)[3]
        for name in ("MLmodel", "model.pkl"):
            put_blob(f"{root}/{name}")
        client.finalize_logged_model(model.model_id, "READY")
        return model.model_id, root

    return put


def test_an_iteration_whose_models_have_no_run_never_goes_before_they_do(
    manager, put_model, blob_names
):
    with manager.iteration("one"):
        _, root = put_model()
    manager.set_iteration("two")
    deletion = manager.delete_previous_iteration(force=True)
    assert bool(deletion) == (blob_names(f"{root}/") == [])
    experiment = manager.client.get_experiment(deletion.experiment_id)
    assert (experiment.lifecycle_stage == "deleted") == bool(deletion)


def test_another_iterations_models_stay_though_their_run_made_one_here(
    manager, put_model, blob_names
):
    with manager.iteration("zero"):
        foreign, saved = train(manager, 0.5)
    with manager.iteration("one"):
        put_model(foreign)
    manager.set_iteration("two")
    kept = [name for name in blob_names() if f"/{saved.model_id}/" in name]
    manager.delete_previous_iteration(force=True)
    assert [name for name in blob_names() if f"/{saved.model_id}/" in name] == kept


def test_an_iteration_whose_files_cannot_be_looked_at_stays(manager, blob_names):
    far = "wasbs://elsewhere@devstoreaccount1.blob.core.windows.net/x"
    name = f"{manager.plugin_name} / far"
    experiment_id = manager.client.create_experiment(name, artifact_location=far)
    deletion = manager.delete_previous_iteration()
    assert deletion.outcome == "failed"
    assert "elsewhere" in str(deletion)
    assert manager.client.get_experiment(experiment_id).tags == {}
    assert manager.delete_previous_iteration(force=True).outcome == "deleted"


@pytest.fixture
def interruptible(sqlite_uri, credentials, plugin_name, tmp_path):
    """A function: three iterations of one model each, in a fresh database; "three" is set."""
    empty = Path(sqlite_uri.removeprefix("sqlite:///")).read_bytes()
    numbers = itertools.count()

    def make():
        number = next(numbers)
        path = tmp_path / f"{number}.db"
        path.write_bytes(empty)
        plugin = f"{plugin_name}-{number}"
        manager = make_manager(f"sqlite:///{path}", credentials, plugin)
        for name, quality in (("one", 0.5), ("two", 0.6)):
            with manager.iteration(name):
                train(manager, quality, best_only=False)
        manager.set_iteration("three")
        train(manager, 0.9)
        restarted = make_manager(f"sqlite:///{path}", credentials, plugin)
        restarted.set_iteration("three")
        return manager, restarted

    return make


def test_an_interrupted_deletion_is_finished_by_the_next_call(
    interruptible, blob_names, monkeypatch
):
    """The process is killed before one tracking call or another; a restarted one goes on."""
    monkeypatch.setattr("expmgr.tracking.journal.LEASE_SECONDS", 0.0)  # known to be dead at once
    manager, _ = interruptible()
    calls = count_calls(manager).calls
    assert manager.delete_previous_iteration()
    last = len(calls)
    for die_at in (*range(1, last - 10, 7), *range(last - 10, last)):
        manager, restarted = interruptible()
        count_calls(manager, die_at)
        with pytest.raises(KilledError):
            manager.delete_previous_iteration()
        plugin = manager.plugin_name
        experiments = [name_of(e) for e in restarted.get_experiments()]
        if "two" in str(experiments):
            deletion = restarted.delete_previous_iteration()
            assert deletion, f"{die_at}: {deletion}"
            assert " / two" in deletion.name
        left = {name.split("/")[1].rsplit("-", 1)[0] for name in blob_names(f"{plugin}/")}
        assert left == {"one", "three"}, die_at
        assert [name_of(e) for e in restarted.get_experiments()] == ["three", "one"]
        assert restarted.client.get_experiment_by_name(f"{plugin} / two") is None


# ------------------------------------------------------------------------- of which plugin it is


@pytest.fixture
def nested(sqlite_uri, credentials, plugin_name):
    """The managers of plugin ``x`` and of plugin ``x / sub``, which has an iteration of a model."""
    outer = make_manager(sqlite_uri, credentials, plugin_name)
    inner = make_manager(sqlite_uri, credentials, f"{plugin_name} / sub")
    with inner.iteration("one"):
        train(inner, 0.5)
    inner.upload_initial_model(classifier(1))
    return outer, inner


def test_a_plugin_leaves_the_experiments_of_a_longer_plugin_name_alone(nested, blob_names):
    outer, inner = nested
    before = blob_names()
    assert outer.get_experiments() == []
    assert outer.get_last_iteration() is None
    assert outer.get_last_finished_iteration() is None
    assert not outer.has_initial_model()
    assert outer.get_last_model_url() is None
    assert outer.get_top_params() is None
    assert outer.delete_previous_iteration(force=True).outcome == "not_found"
    with pytest.raises(InvalidInputError, match=r"an iteration of plugin '.* / sub'"):
        outer.set_iteration(f"{inner.plugin_name} / one")
    assert blob_names() == before
    assert [name_of(e) for e in inner.get_experiments()] == ["sub / initial model", "sub / one"]
    assert inner.has_initial_model()
    with outer.iteration("one"):
        train(outer, 0.5)
    assert outer.upload_initial_model(classifier(2))
    assert inner.download_initial_model().get_depth() == 1
    assert outer.delete_previous_iteration(force=True)
    assert set(before) < set(blob_names())


def without_the_tag(manager, *names):
    """As a version that did not set it left the experiments."""
    for name in names:
        experiment = manager.client.get_experiment_by_name(f"{manager.plugin_name} / {name}")
        manager.client.delete_experiment_tag(experiment.experiment_id, "expmgr.plugin")


def test_without_a_tag_nothing_is_deleted_that_may_be_another_plugins(nested, blob_names):
    outer, inner = nested
    without_the_tag(inner, "one", "initial model")
    before = blob_names()
    assert not outer.has_initial_model()
    deletion = outer.delete_previous_iteration(force=True)
    assert deletion.outcome == "protected"
    assert "may be one of plugin" in str(deletion)
    assert f"set_iteration('{inner.plugin_name} / one')" in str(deletion)
    assert blob_names() == before
    (experiment,) = [e for e in inner.get_experiments() if e.name.endswith(" / one")]
    inner.client.set_experiment_tag(experiment.experiment_id, "expmgr.iteration", "deleting")
    assert outer.delete_previous_iteration(force=True).outcome == "protected"
    assert blob_names() == before
    assert inner.delete_previous_iteration(force=True)
    assert inner.has_initial_model()


def test_what_may_be_another_plugins_is_no_successor(nested, blob_names):
    outer, inner = nested
    with outer.iteration("one"):
        train(outer, 0.5)
    outer.set_iteration("two")
    with inner.iteration("two"):
        train(inner, 0.9)
    without_the_tag(inner, "one", "two", "initial model")
    before = blob_names()
    deletion = outer.delete_previous_iteration()
    assert (deletion.outcome, deletion.name) == ("protected", f"{outer.plugin_name} / one")
    assert blob_names() == before


def test_an_iteration_of_three_parts_is_claimed_by_setting_it(manager):
    name = f"{manager.plugin_name} / run1 / b7"
    with manager.iteration(name):
        train(manager, 0.5)
    without_the_tag(manager, "run1 / b7")
    assert name_of(manager.get_last_finished_iteration()) == "run1 / b7", "the name decides"
    assert manager.delete_previous_iteration(force=True).outcome == "protected"
    with manager.iteration(name):
        pass
    assert manager.delete_previous_iteration(force=True).outcome == "deleted"
