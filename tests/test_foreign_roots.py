"""Experiments whose root lies in another run's artifacts, spelled so that it cannot be parsed.

MLflow accepts these locations and uploads to them. On a real Azurite and MLflow's own client.
"""

from __future__ import annotations

import pytest

SPELLINGS = [
    "//sub",
    "/ sub",
    "/sub /x",
    "/%2e/sub",
    "/sub?x=1",
    "/sub#x",
    "\\sub",
    "/...",
    "?x=1",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_raw_artifacts_that_hold_another_experiment_stay(lab, spelling):
    lab.best()
    run_id, neighbour = lab.run(0.1), lab.run(0.2)
    for one in (run_id, neighbour):
        lab.artifacts(one, {"weights.bin": b"w"})
    root = lab.client.get_run(run_id).info.artifact_uri
    strangers = lab.experiment("of others", plugin="others", location=root + spelling)
    stranger = lab.run(0.3, experiment_id=strangers)
    lab.artifacts(stranger, {"theirs.bin": b"t"})
    before = lab.blob_names()
    inside = [name for name in before if run_id in name]
    assert [name for name in inside if name.endswith("theirs.bin")], "MLflow uploads to it"

    manager = lab.manager()
    result = manager.delete_model(run_id)
    assert result.outcome == "failed"
    assert "root" in str(result)
    assert lab.blob_names() == before
    assert manager.delete_model(neighbour).outcome == "deleted"
    assert lab.blob_names() == [name for name in before if neighbour not in name]
