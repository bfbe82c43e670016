"""Restoring a deleted model, as the run and its journal see it.

Azurite keeps nothing of a deleted blob, so what storage brings back is put there by the test; the
requests themselves are held against the protocol in ``test_blob_store_retention.py``.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from lab import only_the_weights

from expmgr.errors import NotFoundError, StorageError
from expmgr.storage.restoration import StorageRestoration
from expmgr.tracking.journal import read_records, seen_digest, write_record


@pytest.fixture
def deleted(lab, put_blob):
    """A manager, a run whose model was deleted, and what gives its files back."""
    lab.best()
    run_id = lab.with_model(0.1)
    manager = lab.manager()
    before = lab.blob_names()
    assert manager.delete_model(run_id)
    gone = sorted(set(before) - set(lab.blob_names()))

    def give_back(names):
        def undelete(locations):
            assert all(any(location.holds(name) for location in locations) for name in names)
            for name in names:
                put_blob(name)
            missing = tuple(name for name in gone if name not in names)
            return StorageRestoration(len(names), len(names), 0.1, failed=missing)

        manager.blob_store.undelete = undelete

    return manager, run_id, gone, give_back


def state(manager, run_id):
    return manager.runs().set_index("run_id").loc[run_id, "model"]


def test_a_restored_model_is_stored_and_can_be_deleted_again(lab, deleted):
    manager, run_id, gone, give_back = deleted
    give_back(gone)
    assert manager.restore_model(run_id).files == len(gone)
    assert state(manager, run_id) == "stored"
    (model,) = lab.client.search_logged_models(
        [lab.experiment_id], filter_string=f"source_run_id='{run_id}'"
    )
    assert "expmgr.model" not in model.tags
    assert len(manager.resume_deletions()) == 0
    assert manager.delete_model(run_id)
    assert state(manager, run_id) == "deleted"


def test_a_model_restored_in_part_reads_interrupted(deleted):
    manager, run_id, gone, give_back = deleted
    give_back(gone[:1])
    assert manager.restore_model(run_id).failed
    assert state(manager, run_id) == "interrupted"
    assert manager.delete_model(run_id)


def test_where_the_account_keeps_nothing_the_journal_stays_as_it_is(lab, deleted):
    manager, run_id, _, _ = deleted
    tags = lab.tags(run_id)
    with pytest.raises(StorageError):
        manager.restore_model(run_id)
    assert lab.tags(run_id) == tags
    assert state(manager, run_id) == "deleted"


def test_a_file_that_went_between_mark_and_deletion_is_none_that_lacks(lab, deleted):
    manager, run_id, gone, give_back = deleted
    (record,) = read_records(run_id, lab.tags(run_id))
    seen = seen_digest(dict.fromkeys([*gone, "went before"], "e"))
    write_record(lab.client, replace(record, seen=seen))
    give_back(gone)
    manager.restore_model(run_id)
    assert state(manager, run_id) == "stored"


def test_what_was_left_of_a_model_is_not_called_restored(lab):
    lab.best()
    run_id = lab.with_model(0.1)
    manager = lab.manager()
    store = manager.blob_store

    store.delete = only_the_weights(store)
    assert manager.delete_model(run_id).outcome == "failed"
    tags = lab.tags(run_id)
    store.undelete = lambda _: StorageRestoration(0, 0, 0.1, present=1)
    with pytest.raises(StorageError, match="keeps nothing of what went"):
        manager.restore_model(run_id)
    assert lab.tags(run_id) == tags
    assert state(manager, run_id) == "interrupted"
    store.undelete = lambda _: StorageRestoration(1, 2000, 0.1, present=1)
    manager.restore_model(run_id)
    assert state(manager, run_id) == "stored"


def test_a_run_without_a_recorded_deletion_cannot_be_restored(lab):
    manager = lab.manager()
    run_id = lab.with_model(0.1)
    with pytest.raises(NotFoundError, match="no deletion"):
        manager.restore_model(run_id)
    with pytest.raises(NotFoundError, match="nobody"):
        manager.restore_model("nobody")
