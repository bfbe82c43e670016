"""The last usable model is never let go for one that is recorded and not there."""

from __future__ import annotations

import pytest
from azure.storage.blob import BlobServiceClient
from trainers import classifier, make_manager, train

from expmgr import ExperimentsManagerWithAzureBlobBackend, MetricValue, NotFoundError, StorageError


@pytest.fixture
def files_of(blob_names):
    """A function: the names of a model's files."""

    def names(model_id):
        return [name for name in blob_names() if f"/{model_id}/artifacts/" in name]

    return names


@pytest.fixture
def blobs(azurite, container):
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        yield service.get_container_client(container)


def half_deleted(manager, saved, names, blobs):
    (weights,) = [name for name in names if name.endswith("/model.pkl")]
    blobs.get_blob_client(weights).acquire_lease(60)
    result = manager.delete_model(saved.run_id, force=True)
    assert result.outcome == "failed"
    assert [name.rsplit("/", 1)[1] for name in result.left] == ["model.pkl"]


def deleted_without_a_journal(manager, saved, names, blobs):
    assert manager._delete_model(saved.run_id)


def removed_outside(manager, saved, names, blobs):
    for name in names:
        blobs.delete_blob(name)


def not_found(manager, saved, names, blobs):
    removed_outside(manager, saved, names, blobs)
    assert manager.delete_model(saved.run_id, force=True).outcome == "not_found"


def card_removed(manager, saved, names, blobs):
    blobs.delete_blob(next(name for name in names if name.endswith("/MLmodel")))


def weights_removed(manager, saved, names, blobs):
    blobs.delete_blob(next(name for name in names if name.endswith("/model.pkl")))


def thrown_away(manager, saved, names, blobs):
    manager.client.delete_logged_model(saved.model_id)


WAYS = [
    half_deleted,
    deleted_without_a_journal,
    removed_outside,
    not_found,
    card_removed,
    weights_removed,
]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def lose(request, manager, files_of, blobs):
    """A function: one of the ways in which a model that MLflow records is not there any more."""
    return lambda saved: request.param(manager, saved, files_of(saved.model_id), blobs)


def test_a_model_is_saved_though_a_better_one_is_recorded_that_is_lost(manager, lose, files_of):
    _, lost = train(manager, 0.9)
    lose(lost)
    assert manager.get_best_quality() == (None, 0.0)
    assert manager.get_best_current_run_id() == (None, False)
    assert not manager.model_is_uploaded(lost.run_id)
    with pytest.raises(NotFoundError, match="has no stored model"):
        manager.download_model(lost.run_id)
    _, saved = train(manager, 0.8)
    assert saved
    assert saved.best_quality is None
    assert len(files_of(saved.model_id)) == saved.files
    assert manager.get_best_quality()[1] == 0.8
    assert manager.download_best_model() is not None


def test_a_best_only_model_stays_where_the_better_one_is_lost(
    manager, sqlite_uri, credentials, lose, files_of
):
    manager.set_run({"a": 1})
    manager.save_metric(MetricValue("accuracy", 0.8))
    mine = manager.save_model(classifier())
    other = make_manager(sqlite_uri, credentials, manager.plugin_name)
    other.set_iteration("one")
    _, better = train(other, 0.9)
    assert [kept.run_id for kept in better.kept] == [mine.run_id], "its run is under way"
    lose(better)
    manager.finish_run()
    assert len(files_of(mine.model_id)) == mine.files
    assert manager.get_best_quality()[1] == 0.8


def test_the_last_model_of_an_iteration_stays_where_the_later_ones_are_lost(
    manager, lose, files_of
):
    _, old = train(manager, 0.8)
    manager.finish_iteration()
    manager.set_iteration("two")
    _, lost = train(manager, 0.9)
    lose(lost)
    deletion = manager.delete_previous_iteration()
    assert deletion.outcome == "protected"
    assert len(files_of(old.model_id)) == old.files
    manager.finish_iteration()
    manager.set_iteration("three")
    assert manager.get_last_model_url() == old.url
    _, best = train(manager, 0.95)
    manager.finish_iteration(completed=False)
    manager.set_iteration("two")
    assert manager.delete_previous_iteration().outcome == "deleted"
    assert files_of(old.model_id) == []
    assert len(files_of(best.model_id)) == best.files


def test_a_model_in_the_trash_is_no_successor(manager, files_of, blobs):
    _, old = train(manager, 0.8)
    manager.finish_iteration()
    manager.set_iteration("two")
    _, lost = train(manager, 0.9)
    thrown_away(manager, lost, files_of(lost.model_id), blobs)
    assert manager.get_best_quality() == (None, 0.0)
    assert manager.delete_previous_iteration().outcome == "protected"
    assert len(files_of(old.model_id)) == old.files


class LosesItMeanwhile(ExperimentsManagerWithAzureBlobBackend):
    """Somebody removes the better model after the deletion of the other one was planned."""

    lose = None

    def plan_deletion(self, run_ids, **options):
        plan = super().plan_deletion(run_ids, **options)
        if self.lose is not None:
            self.lose()
        return plan


@pytest.fixture
def unlucky(sqlite_uri, credentials, manager):
    unlucky = make_manager(sqlite_uri, credentials, manager.plugin_name, kind=LosesItMeanwhile)
    unlucky.set_iteration("one")
    return unlucky


@pytest.mark.parametrize("way", [removed_outside, thrown_away])
def test_a_superseded_model_stays_where_the_better_one_goes_at_the_last_moment(
    unlucky, files_of, blobs, way
):
    _, old = train(unlucky, 0.5)
    unlucky.set_run({"better": True})
    unlucky.save_metric(MetricValue("accuracy", 0.6))

    def lose():
        (new,) = unlucky.client.get_run(unlucky.current_run_id).outputs.model_outputs
        model = unlucky.client.get_logged_model(new.model_id)
        way(unlucky, model, files_of(new.model_id), blobs)

    unlucky.lose = lose
    saved = unlucky.save_model(classifier())
    (kept,) = saved.kept
    assert (kept.run_id, kept.outcome) == (old.run_id, "protected")
    assert f"the better model {saved.model_id}" in str(kept)
    assert "is not there whole" in str(saved)
    assert len(files_of(old.model_id)) == old.files


@pytest.mark.parametrize("way", [removed_outside, thrown_away])
def test_an_iterations_model_stays_where_the_later_one_goes_at_the_last_moment(
    unlucky, files_of, blobs, way
):
    _, old = train(unlucky, 0.5)
    unlucky.finish_iteration()
    unlucky.set_iteration("two")
    _, new = train(unlucky, 0.6)
    unlucky.lose = lambda: way(unlucky, new, files_of(new.model_id), blobs)
    deletion = unlucky.delete_previous_iteration()
    assert deletion.outcome == "protected"
    assert [kept.run_id for kept in deletion.kept] == [old.run_id]
    assert len(files_of(old.model_id)) == old.files
    assert unlucky.client.get_experiment(deletion.experiment_id).lifecycle_stage == "active"


def test_nothing_is_let_go_where_the_better_model_cannot_be_looked_at(
    manager, files_of, monkeypatch
):
    _, old = train(manager, 0.5)
    manager.set_run({"better": True})
    manager.save_metric(MetricValue("accuracy", 0.6))
    listed = manager.blob_store.list

    def refuse(prefix, **options):
        if f"/{old.model_id}/" not in prefix:
            raise StorageError("no answer")
        return listed(prefix, **options)

    monkeypatch.setattr(manager.blob_store, "list", refuse)
    saved = manager.save_model(classifier())
    assert saved
    assert [kept.outcome for kept in saved.kept] == ["failed"]
    assert "no answer" in str(saved)
    assert len(files_of(old.model_id)) == old.files
    with pytest.raises(StorageError, match="no answer"):
        manager.get_best_quality()


def test_an_initial_model_that_is_lost_can_be_uploaded_again(manager, lose, files_of):
    first = manager.upload_initial_model(classifier(1))
    lose(first)
    assert not manager.has_initial_model()
    again = manager.upload_initial_model(classifier(3))
    assert again
    assert manager.download_initial_model().get_depth() == 3
    assert len(files_of(again.model_id)) == again.files


def test_of_many_lost_models_the_best_that_is_left_is_found(manager, files_of, blobs):
    _, left = train(manager, 0.3, params={"left": 1}, best_only=False)
    for number in range(11):
        quality = 0.5 + number / 100
        _, saved = train(manager, quality, params={"n": number}, best_only=False)
        removed_outside(manager, saved, files_of(saved.model_id), blobs)
    assert manager.get_best_current_run_id()[0] == left.run_id
