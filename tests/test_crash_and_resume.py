"""A deletion whose process dies leaves a run that reads as interrupted and can be finished."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
from lab import MODEL_FILES

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.errors import DeletionError
from expmgr.tracking.journal import read_records, write_record


class Killed(BaseException):
    """Stands for a kernel that was restarted at this point."""


def dying_after(count: int | None):
    """A manager whose process dies once ``count`` blobs are gone (None: all of them)."""

    class Dying(ExperimentsManagerWithAzureBlobBackend):
        def _delete_model(self, run_id, experiment_id=None):
            container = self.blob_store.container_client()
            with self._hand_overs.taken(run_id, overridden=True) as current:
                pass
            names = [
                blob.name
                for location in current.locations
                for blob in self.blob_store.list(location.prefix)
            ]
            names.sort(key=lambda name: name.endswith("/MLmodel"))
            for name in names[:count]:
                container.delete_blob(name)
            raise Killed

    return Dying


def expire(lab, run_id):
    for record in read_records(run_id, lab.tags(run_id)):
        write_record(lab.client, replace(record, deadline=1))


def state(manager, run_id):
    return manager.runs().set_index("run_id").loc[run_id, "model"]


LAYOUTS = {
    "logged_model": lambda lab, run_id: lab.logged_model(run_id),
    "history": lambda lab, run_id: lab.history_model(run_id),
    "marker": lambda lab, run_id: lab.artifacts(run_id, MODEL_FILES, "model"),
    "raw": lambda lab, run_id: lab.artifacts(run_id, {"a.pt": b"a", "b.pt": b"b"}),
}


@pytest.mark.parametrize("gone", [0, 1, None])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_killed_deletion_is_finished_by_resume_and_takes_nothing_more(lab, layout, gone):
    lab.best()
    run_id = lab.run(0.1)
    LAYOUTS[layout](lab, run_id)
    if layout != "raw":
        lab.artifacts(run_id, {"plot.png": b"png"})
    planned = {
        name
        for planned in lab.manager().plan_deletion([run_id])[run_id].locations
        for name in planned.etags
    }
    before = set(lab.blob_names())
    with pytest.raises(Killed):
        lab.manager(dying_after(gone)).delete_model(run_id)
    manager = lab.manager()
    # Its owner may still be at work: nobody else begins, resume leaves it alone.
    assert state(manager, run_id) == "deleting"
    refused = manager.delete_model(run_id)
    assert refused.outcome == "failed"
    assert "is being deleted by" in refused.message
    assert len(manager.resume_deletions()) == 0

    expire(lab, run_id)
    assert state(manager, run_id) == "interrupted"
    (result,) = manager.resume_deletions()
    assert result.outcome == "deleted"
    assert before - set(lab.blob_names()) == planned
    assert state(manager, run_id) == "deleted"
    assert len(manager.resume_deletions()) == 0
    assert manager.delete_model(run_id).outcome == "not_found"
    assert before - set(lab.blob_names()) == planned


def test_an_interrupted_deletion_can_also_be_finished_by_deleting_again(lab):
    lab.best()
    run_id = lab.run(0.1)
    LAYOUTS["marker"](lab, run_id)
    lab.artifacts(run_id, {"plot.png": b"png"})
    with pytest.raises(Killed):
        lab.manager(dying_after(1)).delete_model(run_id)
    expire(lab, run_id)
    assert lab.manager().delete_model(run_id)
    assert [name for name in lab.blob_names() if f"/{run_id}/" in name] == [
        name for name in lab.blob_names() if name.endswith(f"{run_id}/artifacts/plot.png")
    ]


def test_resume_asks_protection_again(lab):
    lab.best()
    run_id = lab.with_model(0.1)
    with pytest.raises(Killed):
        lab.manager(dying_after(1)).delete_model(run_id)
    expire(lab, run_id)
    lab.client.set_tag(run_id, "expmgr.keep", "1")
    before = lab.blob_names()
    (result,) = lab.manager().resume_deletions()
    assert result.outcome == "protected"
    assert lab.blob_names() == before


def test_resume_leaves_files_that_came_after_the_plan(lab, put_blob):
    lab.best()
    run_id = lab.with_model(0.1)
    with pytest.raises(Killed):
        lab.manager(dying_after(1)).delete_model(run_id)
    record = read_records(run_id, lab.tags(run_id))[0]
    # The plan was made long before the file came.
    early = record.planned_at - 60_000
    write_record(lab.client, replace(record, deadline=1, planned_at=early))
    left = lab.blob_names()
    (result,) = lab.manager().resume_deletions()
    assert result.outcome == "failed"
    assert lab.blob_names() == left


def test_a_journal_copied_to_another_run_means_nothing_there(lab):
    lab.best()
    run_id, other = lab.with_model(0.1), lab.with_model(0.2)
    manager = lab.manager()
    assert manager.delete_model(run_id)
    for key, value in lab.tags(run_id).items():
        if key.startswith("expmgr."):
            lab.client.set_tag(other, key, value)
    assert state(manager, other) == "stored"
    assert manager.delete_model(other)


def test_a_deletion_by_a_subclass_is_believed_only_where_nothing_is_left(lab):
    class Lying(ExperimentsManagerWithAzureBlobBackend):
        def _delete_model(self, run_id, experiment_id=None):
            return True

    lab.best()
    run_id = lab.with_model(0.1)
    result = lab.manager(Lying).delete_model(run_id)
    assert result.outcome == "failed"
    assert isinstance(result.error, DeletionError)
    assert "still there" in result.message


def test_a_process_that_is_really_killed_leaves_what_resume_finishes(lab, azurite, tmp_path):
    lab.best()
    run_id = lab.run(0.1)
    files = {f"part-{number:04}.bin": b"x" for number in range(300)}
    lab.logged_model(run_id, {"MLmodel": b"m", **files})
    script = textwrap.dedent(
        """
        import os, sys
        from expmgr import AzureBlobCredentials, ExperimentsManagerWithAzureBlobBackend
        uri, container, plugin, run_id = sys.argv[1:]
        manager = ExperimentsManagerWithAzureBlobBackend(
            tracking_uri=uri,
            azure_blob_credentials=AzureBlobCredentials.from_env(container),
            main_metric="accuracy", plugin_name=plugin,
        )
        manager.delete_model(run_id, on_progress=lambda seen: os._exit(9) if seen.files else None)
        """
    )
    path = tmp_path / "die.py"
    path.write_text(script)
    environment = {**os.environ, "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string}
    arguments = [lab.backend.tracking_uri, lab.backend.container, lab.plugin, run_id]
    ended = subprocess.run(
        [sys.executable, str(path), *arguments],
        env=environment,
        check=False,
        capture_output=True,
        timeout=120,
    )
    assert ended.returncode == 9, ended.stderr.decode()
    record = json.loads(lab.tags(run_id)["expmgr.deletion.1"])
    assert record["state"] == "deleting"
    expire(lab, run_id)
    (result,) = lab.manager().resume_deletions()
    assert result.outcome == "deleted"
    assert not [name for name in lab.blob_names() if "part-" in name]
