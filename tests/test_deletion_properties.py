"""Generated teams, models and deletions: exactly what was asked for goes, on real servers."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FILES = st.dictionaries(
    st.sampled_from(["MLmodel", "data/w.bin", "sub dir/ü %2F.txt", "a+b#c?.json", "artifacts/x"]),
    st.binary(min_size=1, max_size=40),
    min_size=1,
)
LAYOUT = st.sampled_from(
    ["logged", "two logged", "soft-deleted", "history", "marker", "raw", "none"]
)
RUNS = st.lists(
    st.tuples(LAYOUT, FILES, st.booleans(), st.sampled_from([None, 0.1, 0.5, 0.9])),
    min_size=1,
    max_size=5,
)


def build(lab, container, experiment_id, layout, files, value, *, pinned):
    """Make one run; return its id and the names that are its model."""
    run_id = lab.run(
        value, experiment_id=experiment_id, tags={"expmgr.keep": "1"} if pinned else {}
    )
    root = lab.client.get_run(run_id).info.artifact_uri.split("/", 3)[3]

    def put(folder, chosen=files):
        names = {f"{folder}/{name}": content for name, content in chosen.items()}
        for name, content in names.items():
            container.upload_blob(name, content, overwrite=True)
        return set(names)

    if layout == "raw":  # something beside texts, which alone would be reports
        raw = {k: v for k, v in files.items() if k != "MLmodel"}
        return run_id, put(root, {**raw, "weights.bin": b"w"})
    plot = {"plot.png": b"p"}
    if layout == "none":
        return run_id, set()
    put(root, plot)
    if layout in {"logged", "two logged", "soft-deleted"}:
        model = set()
        for _ in range(2 if layout == "two logged" else 1):
            made = lab.client.create_logged_model(experiment_id, source_run_id=run_id)
            model |= put(made.artifact_location.split("/", 3)[3])
            lab.link(run_id, made.model_id)
            if layout == "soft-deleted":
                lab.client.delete_logged_model(made.model_id)
        return run_id, model
    put(f"{root}/model2")
    if layout == "history":
        entry = json.dumps([{"artifact_path": "model", "run_id": run_id}])
        lab.client.set_tag(run_id, "mlflow.log-model.history", entry)
        return run_id, put(f"{root}/model")
    # marker: model2 counts as well where it holds an MLmodel file
    model = put(f"{root}/model", {**files, "MLmodel": b"m"})
    if "MLmodel" in files:
        model |= {f"{root}/model2/{name}" for name in files}
    return run_id, model


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    rows=RUNS,
    picks=st.lists(st.integers(0, 4), max_size=5),
    forced=st.booleans(),
    together=st.booleans(),
)
def test_exactly_the_models_that_were_asked_for_and_may_go_are_gone(
    lab, rows, picks, forced, together
):
    manager = lab.manager()
    container = manager.blob_store.container_client()
    experiment_id = lab.experiment(uuid.uuid4().hex)
    models = dict(
        build(lab, container, experiment_id, layout, files, value, pinned=pinned)
        for layout, files, pinned, value in rows
    )
    before = set(lab.blob_names())
    chosen = [list(models)[pick] for pick in picks if pick < len(models)]
    plan = manager.plan_deletion(chosen)
    # The plan is made once, so what is the best is judged for all of them together.
    for run in plan:
        planned = {name for planned in run.locations for name in planned.etags}
        assert planned == models[run.run_id]
    with pytest.MonkeyPatch.context() as patch:
        # Few runs go one by one; here as many as there are go together.
        patch.setattr("expmgr.cleanup.bulk_together._LEAST_RUNS", 1 if together else 100)
        patch.setattr("expmgr.storage.together._LEAST", 2)
        report = manager.delete_models(plan, force=forced, progress=False)
    gone = before - set(lab.blob_names())
    expected = set()
    for result in report:
        run = plan[result.run_id]
        if not models[result.run_id]:
            assert result.outcome == "not_found"
        elif run.reasons and not forced:
            assert result.outcome == "protected"
        else:
            assert result.outcome == "deleted", result
            assert result.files == len(models[result.run_id])
            expected |= models[result.run_id]
    assert gone == expected
    assert set(lab.blob_names()) == before - expected
