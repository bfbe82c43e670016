"""How many requests a deletion of many makes, exactly."""

from __future__ import annotations

import pytest
from moved_clock import Clock
from servers import MlflowServer


@pytest.fixture
def server(azurite, tmp_path):
    """A server of its own: what other tests left on a shared one asks for more."""
    with MlflowServer(tmp_path / "server", azurite.connection_string) as started:
        yield started


@pytest.fixture
def lab(http_lab):
    return http_lab


def test_runs_side_by_side_cost_three_requests_of_the_tracking_server_each_and_share_storage_s(
    lab, counted
):
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(12)]
    manager = lab.manager()
    plan = manager.plan_deletion(runs)
    assert len(plan.deletable) == 12
    counted.clear()

    assert manager.delete_models(plan, progress=False).counts == {"deleted": 12}

    assert counted.pop("POST runs/log-batch") == 24, "begun and ended"
    assert counted.pop("PATCH logged-models/tags") == 12
    assert counted.pop("storage POST") == 1, "one batch for all"
    assert counted.pop("storage GET") == 2, "one listing for all that confirms, a look at the best"
    assert sum(counted.values()) < 20, "protection is asked again for all together"


def test_what_is_due_is_looked_at_together_and_goes_as_its_mark_allows(lab, counted, monkeypatch):
    clock = Clock(monkeypatch)
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(12)]
    manager = lab.manager()
    assert manager.delete_models(runs, after="1d", progress=False).counts == {"marked": 12}
    clock.move(days=2)
    counted.clear()

    assert manager.delete_due(progress=False).counts == {"deleted": 12}

    assert counted.pop("storage POST") == 12
    # One listing for all, two each (files newer than its mark stay), and a look at the best.
    assert counted.pop("storage GET") == 1 + 2 * 12 + 1
    assert counted.pop("GET runs/get") == 2 * 12 + 1, "does the mark stand? what else is marked?"
    assert counted.pop("POST runs/log-batch") == 3 * 12, "begun, ended, the mark is done"
    assert counted.pop("PATCH logged-models/tags") == 12
    assert sum(counted.values()) < 25


def test_a_step_of_somebody_s_own_is_called_run_by_run(lab, counted):
    called = []

    class Own(type(lab.manager())):
        def _delete_model(self, run_id, experiment_id=None):
            called.append(run_id)
            return super()._delete_model(run_id, experiment_id)

    lab.best()
    runs = [lab.with_model(0.1) for _ in range(9)]
    manager = lab.manager(Own)
    plan = manager.plan_deletion(runs)
    counted.clear()
    assert manager.delete_models(plan, progress=False).counts == {"deleted": 9}
    assert sorted(called) == sorted(runs)
    assert counted.pop("storage POST") == 9, "no batch spans what it is called for"

    runs = [lab.with_model(0.1) for _ in range(9)]
    manager = lab.manager()
    plan = manager.plan_deletion(runs)
    step = manager._delete_model
    manager._delete_model = lambda *arguments: called.append(arguments[0]) or step(*arguments)
    called.clear()
    assert manager.delete_models(plan, progress=False).counts == {"deleted": 9}
    assert sorted(called) == sorted(runs), "on the instance, too"


def test_a_plan_of_many_lists_a_place_once_wherever_a_run_made_its_model(lab, counted):
    lab.best()
    elsewhere = lab.experiment("elsewhere")
    lab.with_model(0.99, experiment_id=elsewhere)
    runs = [lab.with_model(0.1) for _ in range(11)]
    odd = lab.run(0.1)
    model = lab.client.create_logged_model(elsewhere, source_run_id=odd)
    lab.client.log_model_artifacts(model.model_id, lab._local({"MLmodel": b"away"}))
    lab.client.finalize_logged_model(model.model_id, "READY")
    lab.link(odd, model.model_id)
    counted.clear()

    plan = lab.manager().plan_deletion([*runs, odd])

    assert len(plan.deletable) == 12
    assert next(run for run in plan.runs if run.run_id == odd).bytes == 4
    # What is around where all usually lie, where the twelfth does, and a look at each best.
    assert counted["storage GET"] == 1 + 1 + 2


def test_what_is_worse_than_the_best_that_is_there_is_not_asked_for(lab, counted):
    for _ in range(60):
        lab.run(0.05)
    run = lab.with_model(0.1)
    best = lab.best()
    manager = lab.manager()
    counted.clear()

    plan = manager.plan_deletion([run])

    assert plan.deletable
    # Under way, pinned, initial; the newest fifty, and those at least as good as their best.
    assert counted["POST runs/search"] == 5
    assert not manager.plan_deletion([best]).deletable
