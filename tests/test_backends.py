"""The servers that every other test stands on do what MLflow's users see."""

from __future__ import annotations

from mlflow import MlflowClient


def test_artifacts_reach_the_container_on_every_backend(
    backend, container, blob_names, tmp_path, plugin_name
):
    client = MlflowClient(backend.tracking_uri)
    name = f"{plugin_name} / logging"
    experiment_id = client.create_experiment(
        name, artifact_location=backend.experiment_location(name)
    )
    run = client.create_run(experiment_id)
    file = tmp_path / "weights.bin"
    file.write_bytes(b"1234")

    client.log_artifact(run.info.run_id, str(file), "model")

    assert container == backend.container
    assert [name.rsplit("/", 4)[1:] for name in blob_names()] == [
        [run.info.run_id, "artifacts", "model", "weights.bin"]
    ]
