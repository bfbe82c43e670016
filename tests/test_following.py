"""What keeps the tables of a browser up to date: what it asks for, and what it then shows."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest
from lab import METRIC, Lab
from mlflow.entities import LoggedModelInput, Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from scripted_manager import ScriptedManager, run_table
from servers import MlflowServer

from expmgr.cleanup import following
from expmgr.errors import TrackingError
from expmgr.tracking.journal import now_ms
from expmgr.widgets.session import loading

NOTHING_CHANGED = {
    "POST experiments/search": 1,
    "POST runs/search": 3,  # ended, begun, and under way
    "POST logged-models/search": 1,
    "GET model-versions/search": 1,
}


@pytest.fixture(scope="module")
def server(azurite, tmp_path_factory):
    """A server of its own: what other tests left on a shared one asks for more."""
    folder = tmp_path_factory.mktemp("following")
    with MlflowServer(folder, azurite.connection_string) as started:
        yield started


@pytest.fixture(autouse=True)
def _one_clock(monkeypatch):
    """Server and browser run on this machine: what is two minutes old need not be read again."""
    monkeypatch.setattr(following, "CLOCK_MARGIN_MS", 3)
    monkeypatch.setattr(loading, "CLOCK_MARGIN_MS", 3)


def evaluate(lab: Lab, model_id: str, value: float, home: str) -> str:
    run_id = lab.client.create_run(home).info.run_id
    lab.client.log_inputs(run_id, models=[LoggedModelInput(model_id)])
    logged = Metric(METRIC, value, now_ms(), 0, model_id=model_id, run_id=run_id)
    lab.client.log_batch(run_id, [logged])
    lab.client.set_terminated(run_id)
    return run_id


def model_of(lab: Lab, run_id: str) -> str:
    return lab.client.get_run(run_id).outputs.model_outputs[0].model_id


def best_of(table) -> list[str]:
    return list(table.loc[table["is_best"], "run_id"])


# ------------------------------------------------------------------------------- what it asks for


@pytest.fixture
def followed(http_lab, counted):
    """A following that read everything: a best run and two others; with a way to ask it again."""
    ids = [http_lab.best(), *(http_lab.with_model(value) for value in (0.2, 0.3))]
    manager = http_lab.manager()
    follow = manager.follow()
    follow.read()

    def refresh():
        time.sleep(0.01)  # past the margin
        counted.clear()
        tables = follow.refresh()
        return tables, dict(counted)

    refresh()
    return SimpleNamespace(ids=ids, manager=manager, follow=follow, refresh=refresh)


def test_where_nothing_changed_a_refresh_costs_six_requests(followed):
    tables, cost = followed.refresh()
    assert cost == NOTHING_CHANGED
    assert set(tables.runs["run_id"]) == set(followed.ids)


def test_the_models_of_any_number_of_changed_runs_cost_one_more(http_lab, followed):
    new = [http_lab.with_model(0.1) for _ in range(5)]
    running = http_lab.run(0.4, status="RUNNING")
    tables, cost = followed.refresh()
    assert cost == {**NOTHING_CHANGED, "POST logged-models/search": 2}
    assert set(tables.runs["run_id"]) == {*followed.ids, *new, running}
    assert len(tables.models) == 8


def test_an_evaluation_that_ended_costs_one_of_its_own_once(http_lab, followed):
    best, model_id = (model_of(http_lab, run_id) for run_id in followed.ids[:2])
    elsewhere = http_lab.experiment("evaluations", plugin=f"not {http_lab.plugin}")
    evaluate(http_lab, best, 0.98, elsewhere)
    followed.refresh()
    for value in (0.4, 0.5):
        evaluate(http_lab, model_id, value, elsewhere)
    tables, cost = followed.refresh()
    assert cost == {**NOTHING_CHANGED, "POST logged-models/search": 2, "GET runs/get": 2}
    models = tables.models.set_index("model_id")
    assert models.loc[model_id, f"metrics.{METRIC}"] == 0.5
    assert models.loc[model_id, "quality"] == 0.5
    assert followed.refresh()[1] == NOTHING_CHANGED


def test_a_run_that_is_newly_best_costs_one_more_and_takes_the_star(http_lab, followed):
    assert best_of(followed.refresh()[0].runs) == [followed.ids[0]]
    new = http_lab.with_model(1.0)
    tables, cost = followed.refresh()
    assert cost == {**NOTHING_CHANGED, "POST logged-models/search": 2, "GET runs/get": 1}
    assert sum(cost.values()) == 8
    assert best_of(tables.runs) == [new]
    rows = tables.runs.set_index("run_id")
    assert not rows.loc[followed.ids[0], "protected_by"], "it was best before"
    assert rows.loc[new, "protected_by"].startswith("best: accuracy = 1")


def test_what_the_manager_itself_did_is_seen_for_one_search_more(http_lab, followed):
    manager, (_, pinned, gone) = followed.manager, followed.ids
    manager.pin(pinned, "for the audit")
    assert manager.delete_model(gone).outcome == "deleted"
    tables, cost = followed.refresh()
    # A pinned run protects what it evaluated, too, which only it itself tells.
    asked = {"POST runs/search": 4, "POST logged-models/search": 2, "GET runs/get": 1}
    assert cost == {**NOTHING_CHANGED, **asked}
    rows = tables.runs.set_index("run_id")
    assert rows.loc[pinned, "protected_by"] == "pinned: the run has the tag expmgr.keep"
    assert rows.loc[gone, "model"] == "deleted"
    assert manager.unpin(pinned)
    tables, _ = followed.refresh()
    assert not tables.runs.set_index("run_id").loc[pinned, "protected_by"]
    del http_lab


def test_new_versions_cost_nothing_more(http_lab, followed):
    client, run_id = http_lab.client, followed.ids[1]
    model = client.get_logged_model(model_of(http_lab, run_id))
    client.create_registered_model(http_lab.plugin)
    client.create_model_version(http_lab.plugin, model.artifact_location, model_id=model.model_id)
    tables, cost = followed.refresh()
    assert cost == NOTHING_CHANGED
    row = tables.runs.set_index("run_id").loc[run_id]
    assert row["protected_by"] == f"registered: {http_lab.plugin} v1"


# ----------------------------------------------------------------------------- when it reads all


def test_where_other_experiments_are_meant_by_now_everything_is_read(lab):
    lab.best()
    follow = lab.manager().follow()
    follow.read()
    before = follow.read_at
    new = lab.with_model(0.5, experiment_id=lab.experiment("another"))
    assert new in set(follow.refresh().runs["run_id"])
    assert follow.read_at > before


def test_what_a_failed_look_up_protects_is_read_again_at_once(lab, monkeypatch):
    lab.best()
    run_id = lab.with_model(0.1)
    follow = lab.manager().follow()

    def fails(*_args, **_options):
        raise TrackingError("the server is away")

    with monkeypatch.context() as context:
        context.setattr("expmgr.cleanup.evidence._read_naming", fails)
        rows = follow.read().runs.set_index("run_id")
    assert "pinned, initial and active runs could not be read" in rows.loc[run_id, "protected_by"]
    assert not follow.refresh().runs.set_index("run_id").loc[run_id, "protected_by"]


def test_a_registry_that_cannot_be_asked_protects_until_it_can(lab, monkeypatch):
    lab.best()
    run_id = lab.with_model(0.1)
    follow = lab.manager().follow()

    def fails(*_args, **_options):
        raise TrackingError("the registry is away")

    def protected(tables):
        return tables.runs.set_index("run_id")["protected_by"]

    assert not protected(follow.read())[run_id]
    before = follow.read_at
    with monkeypatch.context() as context:
        for module in ("changes.read_versions", "changes.read_new_versions"):
            context.setattr(f"expmgr.cleanup.{module}", fails)
        new = lab.with_model(0.2)
        told = protected(follow.refresh())
        assert set(told.index) == {*told.index, new}
        assert all("the registry is away" in told[id_] for id_ in (run_id, new))
        context.setattr("expmgr.cleanup.evidence.read_versions", fails)
        again = lab.manager().follow()
        for tables in (again.read(), again.refresh()):
            assert "the registry is away" in protected(tables)[run_id]
    for told in (protected(follow.refresh()), protected(again.refresh())):
        assert not told[run_id]
        assert not told[new]
    assert follow.read_at == before, "to ask the registry is enough"


def test_one_that_was_best_by_its_own_value_alone_takes_the_star_of_one_that_went(lab):
    best = lab.best()
    other = lab.with_model(0.2)
    evaluate(lab, model_of(lab, other), 0.3, lab.experiment_id)
    manager = lab.manager()
    follow = manager.follow()
    assert best_of(follow.read().runs) == [best]
    assert manager.delete_model(best, force=True)
    assert best_of(follow.refresh().runs) == [other]


def test_what_a_run_names_is_asked_again_once_it_ended(lab):
    old = lab.with_model(0.2)
    best = lab.run(1.0, status="RUNNING")
    follow = lab.manager().follow()
    follow.read()
    model_id = model_of(lab, old)
    lab.client.log_inputs(best, models=[LoggedModelInput(model_id)])
    lab.logged_model(best)
    lab.client.set_terminated(best)
    reasons = follow.refresh().runs.set_index("run_id").loc[old, "protected_by"]
    assert reasons == f"used: best (by accuracy) run {best} uses this model"


def test_a_run_that_was_best_by_a_model_of_another_experiment_protects_nothing_without_it(lab):
    lab.best()
    linked, named = lab.with_model(0.3), lab.with_model(0.2)
    run_id = lab.run(0.9, status="RUNNING", experiment_id=lab.experiment("second"))
    lab.link(run_id, model_of(lab, linked))
    lab.client.log_inputs(run_id, models=[LoggedModelInput(model_of(lab, named))])
    lab.client.set_terminated(run_id)
    manager = lab.manager()
    follow = manager.follow()
    told = follow.read().runs.set_index("run_id")["protected_by"]
    assert told[named] == told[linked] == f"used: best (by accuracy) run {run_id} uses this model"
    assert manager.delete_model(linked, force=True)
    assert not follow.refresh().runs.set_index("run_id").loc[named, "protected_by"]


def test_what_is_done_to_a_table_that_was_given_away_stays_there(lab):
    run_id = lab.best()
    follow = lab.manager().follow()
    for tables in (follow.read(), follow.refresh()):
        tables.runs["mine"] = 1
        tables.runs.loc[0, "status"] = "mine"
        del tables.models["name"]
    new = lab.with_model(0.2)
    tables = follow.refresh()
    assert list(tables.runs["run_id"]) == [new, run_id]
    assert list(tables.runs["status"]) == ["FINISHED", "FINISHED"]
    assert "mine" not in tables.runs
    assert "name" in tables.models


def test_a_table_that_was_given_away_never_changes(lab):
    best = lab.best()
    follow = lab.manager().follow()
    first = follow.read()
    kept = first.runs.copy(deep=True), first.models.copy(deep=True)
    lab.best(1.0)
    assert len(follow.refresh().runs) == 2
    assert first.runs.equals(kept[0])
    assert first.models.equals(kept[1])
    assert best_of(first.runs) == [best]


def test_where_a_server_does_not_search_by_time_everything_is_read(lab, monkeypatch):
    lab.best()
    manager = lab.manager()
    follow = manager.follow(iter([lab.experiment_id]))
    follow.read()
    before = follow.read_at
    new = lab.with_model(0.5)
    search = manager.client.search_logged_models

    def refuses(ids, filter_string=None, **options):
        if "timestamp" in (filter_string or ""):
            raise MlflowException("Invalid attribute", INVALID_PARAMETER_VALUE)
        return search(ids, filter_string=filter_string, **options)

    monkeypatch.setattr(manager.client, "search_logged_models", refuses)
    assert new in set(follow.refresh().runs["run_id"])
    assert follow.read_at > before


# ------------------------------------------------------------------------------------ the browser


class Followed(ScriptedManager):
    """Counts what the browser asks of a following."""

    def follow(self, experiments=None):
        told = SimpleNamespace(read_at=None)

        def read():
            self.calls["read"] += 1
            told.read_at = following.datetime.now(following.timezone.utc)
            return ScriptedManager.runs_and_models(self, experiments)

        def refresh():
            self.calls["refresh"] += 1
            return ScriptedManager.runs_and_models(self, experiments)

        told.read, told.refresh = read, refresh
        return told


@pytest.fixture
def clock(monkeypatch):
    """Seconds that passed for the browser."""
    passed = SimpleNamespace(seconds=0.0)
    told = SimpleNamespace(monotonic=lambda: time.monotonic() + passed.seconds, time=time.time)
    monkeypatch.setattr("expmgr.widgets.session.loading.time", told)
    return passed


def refresh(browser):
    browser.toolbar.refresh_button.click()
    assert browser.wait(10)


def test_every_ten_minutes_a_refresh_reads_everything_however_often_one_refreshes(browse, clock):
    manager = Followed(run_table(30))
    browser = browse(manager)
    assert (manager.calls["read"], manager.calls["refresh"]) == (1, 0)
    for seconds in (0, 300, 299):
        clock.seconds += seconds
        refresh(browser)
    assert (manager.calls["read"], manager.calls["refresh"]) == (1, 3)
    clock.seconds += 2
    refresh(browser)
    assert (manager.calls["read"], manager.calls["refresh"]) == (2, 3)


def test_a_manager_that_cannot_follow_is_asked_for_everything_as_often(browse, clock):
    manager = ScriptedManager(run_table(30))
    browser = browse(manager)
    before = manager.calls["filter: "]
    for seconds in (0, 300, 299):
        clock.seconds += seconds
        refresh(browser)
    assert manager.calls["filter: "] == before
    clock.seconds += 2
    refresh(browser)
    assert manager.calls["filter: "] == before + 1


def test_with_a_filter_the_server_is_asked_what_matches(browse):
    manager = Followed(run_table(30))
    browser = browse(manager, filter_string="params.depth = '3'")
    refresh(browser)
    assert manager.calls["read"] == manager.calls["refresh"] == 0
    assert manager.calls["filter: params.depth = '3' and attributes.status = 'RUNNING'"] == 1


def test_the_footer_says_when_everything_was_read_where_the_table_is_newer(browse, clock):
    browser = browse(Followed(run_table(30)))
    said = re.compile(r"all read \d\d:\d\d UTC")
    assert not said.search(browser.footer.totals.value)
    refresh(browser)
    assert said.search(browser.footer.totals.value)
    clock.seconds += 601
    refresh(browser)
    assert not said.search(browser.footer.totals.value)


def test_the_browser_follows_an_evaluation_to_the_model_it_names(browse, lab):
    lab.best()
    run_id = lab.with_model(0.2)
    model_id = model_of(lab, run_id)
    browser = browse(lab.manager())
    home = lab.experiment("evaluations", plugin="others")
    evaluate(lab, model_id, 0.995, home)
    refresh(browser)
    assert best_of(browser.table) == [run_id]
