"""What a reader who did not build it found: policies, parts, what goes later, what nobody owns."""

from __future__ import annotations

import pytest
from test_orphans import late, outcomes, trashed_model, trashed_run

from expmgr.errors import DeletionError


def journal_of(lab):
    return [name for name in lab.blob_names() if name.startswith("expmgr-journal/")]


# ----------------------------------------------------------------------------- resumed orphans


@pytest.mark.parametrize("what", ["run", "model"])
def test_a_process_that_died_after_the_last_file_of_trash_is_closed_by_resume(lab, what):
    if what == "run":
        trashed_run(lab)
    else:
        trashed_model(lab, "")
    manager = lab.manager()
    real = manager.blob_store.delete

    class Died(BaseException):
        pass

    def delete(locations, **options):
        real(locations, **options)
        raise Died

    manager.blob_store.delete = delete
    with pytest.raises(Died):
        manager.delete_orphans(manager.find_orphans(), progress=False)
    manager.blob_store.delete = real
    (journal,) = journal_of(lab)
    late(lab, manager, journal)
    assert list(manager.deletion_log()["state"]) == ["interrupted"]
    assert outcomes(manager.resume_deletions()) == {"deleted"}, "gone already is success by now"
    assert list(manager.deletion_log()["state"]) == ["deleted"]
    assert not manager.resume_deletions().results


def test_a_directory_of_a_run_that_went_to_the_trash_midway_is_not_resumed_for_ever(lab):
    lab.best()
    run_id = lab.run(0.1)
    lab.history_model(run_id)
    manager = lab.manager()
    real = manager.blob_store.delete

    def delete(_locations, **_options):
        lab.client.delete_run(run_id)
        raise DeletionError("Azure said no", run_id=run_id)

    manager.blob_store.delete = delete
    assert manager.delete_model(run_id).outcome == "failed"
    manager.blob_store.delete = real
    assert journal_of(lab), "the tags of a run in the trash cannot be written"
    assert not manager.resume_deletions().results
    assert outcomes(manager.delete_orphans(manager.find_orphans(), progress=False)) == {"deleted"}
    assert not manager.resume_deletions().results
