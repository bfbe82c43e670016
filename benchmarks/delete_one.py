"""P1: the files of one run, 20 ms away: ``delete_model`` beside what MLflow and Azure's SDK offer.

Ours is the whole call on an ``mlflow server``: finding the model, what protects it, the journal,
the deletion and the look whether everything is gone. The others only delete. One is a ceiling: the
SDK lists, deletes by full batches at once and looks again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.child import WorkFailedError, measure
from benchmarks.fill import fill_runs, put_blobs
from benchmarks.row import Row, side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.bench import Bench
    from benchmarks.child import Measured
    from benchmarks.stage import Place, Stage

ROUND_TRIP = 0.020
MOST_IN_A_BATCH = 256
IN_FLIGHT = 4
CLIENT_LOOP = "`list_blobs`, `delete_blob` one by one"


def by_expmgr(place: Place, run_id: str) -> Callable[[], str]:
    manager = place.manager()
    return lambda: manager.delete_model(run_id).outcome


def by_mlflow(place: Place, path: str) -> Callable[[], None]:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(f"{place.root}/{path}").delete_artifacts


def by_sdk(place: Place, path: str) -> Callable[[], None]:
    client = place.container_client()

    def delete() -> None:
        for blob in client.list_blobs(name_starts_with=f"root/{path}/"):
            client.delete_blob(blob.name, delete_snapshots="include")

    return delete


def batches(place: Place, names: list[str]) -> Callable[[], None]:
    """Delete by full batches of the SDK, and nothing else."""
    client = place.container_client()
    full = [names[at : at + MOST_IN_A_BATCH] for at in range(0, len(names), MOST_IN_A_BATCH)]

    def delete_all() -> None:
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            list(pool.map(lambda some: list(client.delete_blobs(*some)), full))

    return delete_all


def by_batches(place: Place, path: str) -> Callable[[], None]:
    client = place.container_client()

    def listed() -> list[str]:
        return list(client.list_blob_names(name_starts_with=f"root/{path}/"))

    def delete() -> None:
        batches(place, listed())()
        if listed():
            raise WorkFailedError("the SDK left blobs")

    return delete


def raw_run(place: Place) -> str:
    """Make a finished run that recorded no model, and return its id."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place.database}")
    experiment = client.get_experiment_by_name(f"{place.plugin} / many")
    run_id: str = client.create_run(experiment.experiment_id).info.run_id
    client.set_terminated(run_id)
    return run_id


def filled(stage: Stage, blobs: int, *, raw: bool) -> tuple[Stage, str, str]:
    """Return servers with a run of so many files that nothing protects, its id and their folder."""
    stage = stage.emptied()
    first, *others = fill_runs(stage.near, 3)
    put_blobs(stage.near, [name for made in others for name in made.names()])
    run_id = raw_run(stage.near) if raw else first.run_id
    folder = f"{run_id}/artifacts" if raw else f"models/{first.model_id}/artifacts"
    first_file = "weights.bin" if raw else "MLmodel"
    files = [first_file, *(f"part-{number:06}" for number in range(blobs - 1))]
    put_blobs(stage.near, [f"root/{folder}/{name}" for name in files])
    return stage, run_id, folder


def said(kinds: Mapping[str, int]) -> str:
    """Return requests in words: ``4 batch, 2 list``."""
    return ", ".join(f"{made:,} {kind}" for kind, made in sorted(kinds.items()))


def rows(bench: Bench) -> Iterator[Row]:
    """Return the rows of P1."""
    blobs = bench.size(1000, 20)
    with bench.stage(server=True, round_trip=ROUND_TRIP) as opened:

        def deleted(work: Callable[..., Callable[[], object]], *, raw: bool = False) -> Measured:
            stage, run_id, folder = filled(opened, blobs, raw=raw)
            before = stage.near.blobs()
            of = run_id if work is by_expmgr else folder
            found = measure(work, stage.place, of)
            gone, left = before - stage.near.blobs(), stage.near.blobs(f"root/{folder}/")
            if (gone, left) != (blobs, 0) or found.answer not in {None, "deleted"}:
                raise WorkFailedError(f"{work.__name__} deleted {gone} of {blobs}: {found.answer}")
            return found

        ours, mlflow, sdk, sent = bench.in_turn(
            lambda: deleted(by_expmgr),
            lambda: deleted(by_mlflow),
            lambda: deleted(by_sdk),
            lambda: deleted(by_batches),
        )
        work = f"delete the model of a run, {blobs:,} files, +20 ms"
        note = f"ours with plan, protection and journal; to storage {said(ours[-1].kinds)}"
        yield Row("P1", work, side(ours), side(mlflow), "MLflow's `delete_artifacts`", note=note)
        yield Row("P1", work, side(ours), side(sdk), CLIENT_LOOP)
        beside, note = "the SDK's list, full batches, list", "a ceiling: below 1 by nature"
        yield Row("P1", work, side(ours), side(sent), beside, kind="ceiling", note=note)
        ours, mlflow = bench.in_turn(
            lambda: deleted(by_expmgr, raw=True), lambda: deleted(by_mlflow, raw=True)
        )
        work = f"delete the raw artifacts of a run, {blobs:,} files, +20 ms"
        note = f"to storage {said(ours[-1].kinds)}"
        yield Row("P1", work, side(ours), side(mlflow), "MLflow's `delete_artifacts`", note=note)
