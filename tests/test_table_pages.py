"""How the whole table is read: by which pages, how many requests, and nothing missed or doubled."""

from __future__ import annotations

import json
import threading
from collections import Counter

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag, ViewType
from requests import Response, Session
from servers import MlflowServer

from expmgr.tracking import database_runs, page_size, queries
from expmgr.tracking.lean_runs import json_search
from expmgr.tracking.page_size import PageSize
from expmgr.tracking.queries import iter_runs, read_logged_models

RUNS = 60
SEARCH_RUNS, SEARCH_MODELS = "runs/search", "logged-models/search"

# ----------------------------------------------------------------------------------- page sizes


def test_pages_grow_while_they_come_quickly_and_small():
    size = PageSize(1_000, 50_000)
    asked = []
    for _ in range(4):
        asked.append(size.rows)
        size.arrived(0.5, size.rows)
    assert asked == [1_000, 4_000, 16_000, 50_000]


def test_a_page_that_took_long_or_carried_much_makes_the_next_one_smaller():
    size = PageSize(1_000, 50_000)
    size.arrived(2 * page_size.SECONDS, 1_000)
    assert size.rows == 500
    size.arrived(0.5, 2 * page_size.VALUES)
    assert size.rows == 250
    size.arrived(0.5, 100 * page_size.VALUES)
    assert size.rows == page_size.LEAST


def test_a_refused_size_falls_back_to_the_last_that_came_and_stays_there():
    size = PageSize(1_000, 50_000)
    assert not size.refused(), "of the first page nothing smaller is known to come"
    size.arrived(0.5, 1_000)
    assert size.refused()
    assert size.rows == 1_000
    size.arrived(0.5, 1_000)
    assert size.rows == 1_000
    assert not size.refused()


@pytest.mark.usefixtures("_small_pages")
def test_a_database_in_this_process_is_read_by_small_pages(sqlite_uri, monkeypatch):
    monkeypatch.setattr(page_size, "MOST_HERE", 8)
    client = MlflowClient(sqlite_uri)
    experiment = client.create_experiment("few")
    ids = [client.create_logged_model(experiment).model_id for _ in range(30)]
    sizes = []
    search = MlflowClient.search_logged_models

    def noted(self, *args, **options):
        sizes.append(options["max_results"])
        return search(self, *args, **options)

    monkeypatch.setattr(MlflowClient, "search_logged_models", noted)
    models = read_logged_models(client, [experiment], once=True)
    assert Counter(model.model_id for model in models) == Counter(ids)
    assert sizes == [4, 8, 8, 8, 8]


# ------------------------------------------------------------------------------------- requests


@pytest.fixture(scope="module")
def server(azurite, tmp_path_factory):
    """A server of its own, with one experiment of many runs that made a model each."""
    with MlflowServer(tmp_path_factory.mktemp("many"), azurite.connection_string) as started:
        client = MlflowClient(started.database_uri)
        experiment = client.create_experiment("pages / many", artifact_location="wasbs://c@a/root")
        started.models = []
        for at in range(RUNS):
            run_id = client.create_run(experiment, start_time=at + 1).info.run_id
            client.log_metric(run_id, "accuracy", at)
            model_id = client.create_logged_model(experiment, source_run_id=run_id).model_id
            client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
            client.set_terminated(run_id)
            started.models.append(model_id)
        started.experiment = experiment
        yield started


@pytest.fixture
def lab(http_lab):
    return http_lab


@pytest.fixture
def manager(lab):
    return lab.manager(plugin_name="pages")


@pytest.fixture
def _small_pages(monkeypatch):
    """Pages grow 4, 16, 64 ... however busy the machine is."""
    monkeypatch.setattr(page_size, "FIRST", 4)
    monkeypatch.setattr(page_size, "LEAST", 1)
    monkeypatch.setattr(page_size, "SECONDS", float("inf"))
    monkeypatch.setattr(page_size, "VALUES", float("inf"))


@pytest.fixture
def asked(monkeypatch, _small_pages):
    """Sizes of the pages of a whole table, by endpoint, and what a test puts in between.

    ``asked.refuse``: the most rows that the server, or what stands before it, answers with.
    ``asked.after``: called with the endpoint once an answer has come.
    """

    class Asked(dict):
        refuse = 10**9

        def after(self, endpoint):
            pass

    sizes = Asked({SEARCH_RUNS: [], SEARCH_MODELS: []})
    send = Session.send

    def sent(self, request, **options):
        endpoint = request.url.split("?")[0].rpartition("/mlflow/")[2]
        if endpoint not in sizes:
            return send(self, request, **options)
        body = json.loads(request.body)
        rows = body["max_results"]
        if not body.get("filter"):  # what protects is asked by filters
            sizes[endpoint].append(rows)
        if rows > sizes.refuse:
            answer = Response()
            answer.status_code, answer._content = 413, b"<html>too large</html>"
            return answer
        answer = send(self, request, **options)
        sizes.after(endpoint)
        return answer

    monkeypatch.setattr(Session, "send", sent)
    return sizes


def test_the_whole_table_is_read_by_pages_that_grow(manager, server, asked):
    runs, models = manager.runs_and_models()
    assert asked == {SEARCH_RUNS: [4, 16, 64], SEARCH_MODELS: [4, 16, 64]}
    assert list(runs["metrics.accuracy"]) == [float(at) for at in reversed(range(RUNS))]
    assert Counter(models["model_id"]) == Counter(server.models)


def test_what_refuses_large_pages_is_asked_by_smaller_ones_and_nothing_is_missed_or_doubled(
    manager, server, asked
):
    asked.refuse = 20
    pages = [4, 16, 64, *[16] * 3]
    for expected in (pages, [4, *[16] * 4]):
        asked.update({SEARCH_RUNS: [], SEARCH_MODELS: []})
        runs, models = manager.runs_and_models()
        assert asked == {SEARCH_RUNS: expected, SEARCH_MODELS: expected}
        assert list(runs["metrics.accuracy"]) == [float(at) for at in reversed(range(RUNS))]
        assert Counter(models["model_id"]) == Counter(server.models)


def test_more_rows_than_mlflow_itself_allows_are_not_insisted_on(
    manager, server, asked, monkeypatch
):
    monkeypatch.setattr(page_size, "MOST", 60_000)
    monkeypatch.setattr(page_size, "GROWTH", 100_000)
    assert len(list(iter_runs(manager.interactive_client, [server.experiment]))) == RUNS
    pages = [4, 60_000, *[4] * (RUNS // 4 - 1)]
    assert asked[SEARCH_RUNS] in (pages, [*pages, 4])  # to MLflow 3.7 a full page is never the last


def test_a_first_page_that_fails_is_an_error_as_before(manager, server, asked):
    asked.refuse = 3
    with pytest.raises(queries.TrackingError, match="413"):
        list(iter_runs(manager.interactive_client, [server.experiment]))
    assert asked[SEARCH_RUNS] == [4]


def test_a_model_that_is_removed_between_two_pages_hides_no_other(lab, asked):
    ids = [lab.client.create_logged_model(lab.experiment_id).model_id for _ in range(30)]

    def remove(endpoint):
        del endpoint
        asked.after = lambda endpoint: None
        lab.client.delete_logged_model(ids[0])  # of the first page, so that all others move up

    asked.after = remove
    found = [model.model_id for model in read_logged_models(lab.client, [lab.experiment_id])]
    assert Counter(found) == Counter(ids), "what either reading showed counts"
    assert len(asked[SEARCH_MODELS]) > 3, "twice, for it took more than a page"


@pytest.mark.parametrize("together", [False, True])
def test_a_run_that_goes_between_two_pages_hides_no_other_from_protection(lab, asked, together):
    began = [1_000 if together else at for at in range(1_000, 1_030)]
    ids = [lab.client.create_run(lab.experiment_id, start_time=at).info.run_id for at in began]
    goes = ids[-1]

    def remove(endpoint):
        del endpoint
        asked.after = lambda endpoint: None
        if not together:  # where all began in one moment only offsets tell the pages apart
            lab.client.set_terminated(goes)

    asked.after = remove
    condition = "attributes.status = 'RUNNING'"
    found = iter_runs(lab.client, [lab.experiment_id], condition, steady=True)
    assert Counter(run.info.run_id for run in found) == Counter(ids)


def test_a_version_that_is_touched_between_two_pages_is_seen(sqlite_uri, monkeypatch):
    monkeypatch.setattr(queries, "_VERSIONS", 4)
    client = MlflowClient(sqlite_uri)
    client.create_registered_model("churn")
    versions = [
        client.create_model_version("churn", f"wasbs://c@a/{at}", run_id=None).version
        for at in range(10)
    ]
    search, asked = MlflowClient.search_model_versions, []

    def searched(self, *args, **options):
        page = search(self, *args, **options)
        asked.append(len(page))
        if len(asked) == 1:  # the registry shows what changed last first
            client.update_model_version("churn", versions[0], "it goes live")
        return page

    monkeypatch.setattr(MlflowClient, "search_model_versions", searched)
    found = [one.version for one in queries.iter_model_versions(client)]
    assert Counter(found) == Counter(versions)


def test_an_experiment_that_is_purged_between_two_pages_hides_no_other(sqlite_uri, monkeypatch):
    monkeypatch.setattr(queries, "_PAGE", 4)
    client = MlflowClient(sqlite_uri)
    ids = [client.create_experiment(f"number {at}") for at in range(10)]
    client.delete_experiment(ids[-1])
    search, asked = MlflowClient.search_experiments, []

    def searched(self, *args, **options):
        page = search(self, *args, **options)
        asked.append(len(page))
        if len(asked) == 1:
            client._tracking_client.store._hard_delete_experiment(ids[-1])  # as ``mlflow gc`` does
        return page

    monkeypatch.setattr(MlflowClient, "search_experiments", searched)
    found = Counter(one.experiment_id for one in queries.iter_experiments(client, deleted=True))
    assert found == Counter(["0", *ids])


def test_a_model_that_goes_while_the_best_are_looked_at_hides_no_other(sqlite_uri, monkeypatch):
    monkeypatch.setattr(queries, "_RANKED", (2, 4))
    client = MlflowClient(sqlite_uri)
    experiment = client.create_experiment("ranked")
    run_id = client.create_run(experiment).info.run_id
    ids = []
    for at in range(9):
        ids.append(client.create_logged_model(experiment, source_run_id=run_id).model_id)
        client.log_metric(run_id, "accuracy", 1 - at / 10, model_id=ids[-1])
    found = []
    for model in queries.iter_ranked_models(client, experiment, "accuracy", ascending=False):
        found.append(model.model_id)
        if len(found) == 2:
            client.delete_logged_model(ids[0])
    assert found == ids


def test_a_model_that_came_while_models_and_runs_are_read_is_not_called_deleted(
    lab, asked, server, monkeypatch
):
    run_id = lab.run(0.5)
    database = MlflowClient(server.database_uri)
    listed, made = threading.Event(), []
    asked.after = lambda endpoint: listed.set() if endpoint == SEARCH_MODELS else None
    send = Session.send

    def sent(self, request, **options):
        if request.url.endswith(SEARCH_RUNS) and not made:
            assert listed.wait(60), "models and runs are read at the same time"
            model = database.create_logged_model(lab.experiment_id, source_run_id=run_id)
            database.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
            made.append(database.finalize_logged_model(model.model_id, "READY").model_id)
        return send(self, request, **options)

    monkeypatch.setattr(Session, "send", sent)
    runs, models = lab.manager().runs_and_models()
    assert list(models["model_id"]) == made
    assert list(runs["model"]) == ["stored"]


# ------------------------------------------------------------------------------- the same as MLflow


def _various(client, experiment):
    """Make runs that differ in all that a table shows."""
    bare = client.create_run(experiment, start_time=1)
    ended = client.create_run(experiment, start_time=2, run_name="ended / ünïcode", tags={"a": ""})
    client.log_batch(
        ended.info.run_id,
        [
            Metric("nan", float("nan"), 1, 0),
            Metric("inf", float("-inf"), 1, 0),
            Metric("zero", 0.0, 1, 0),
            Metric("newest", 1.0, 1, 0),
            Metric("newest", 2.0, 2, 7),
        ],
        [Param("depth", "3"), Param("empty", ""), Param("ключ", "значение")],
        [RunTag("tag", "x" * 3000)],
    )
    for step in (0, 3):
        model = client.create_logged_model(experiment, source_run_id=ended.info.run_id)
        client.log_outputs(ended.info.run_id, [LoggedModelOutput(model.model_id, step)])
    client.set_terminated(ended.info.run_id, "KILLED")
    trashed = client.create_run(experiment, start_time=3)
    client.delete_run(trashed.info.run_id)
    for _ in range(3):
        client.create_run(experiment, start_time=4)
    client.delete_tag(bare.info.run_id, "mlflow.runName")


@pytest.mark.parametrize("filter_string", ["", "attributes.start_time > 1"])
def test_runs_over_http_are_those_that_mlflow_reads(lab, filter_string):
    _various(lab.client, lab.experiment_id)
    client = lab.manager().interactive_client
    assert json_search(client) is not None
    expected = client.search_runs([lab.experiment_id], filter_string)
    found = list(iter_runs(client, [lab.experiment_id], filter_string))
    assert _shown(found) == _shown(expected)


def test_runs_of_a_database_are_those_that_mlflow_reads(sqlite_uri, monkeypatch):
    client = MlflowClient(sqlite_uri)
    experiment = client.create_experiment("various")
    _various(client, experiment)
    client.create_run(client.create_experiment("other"))
    expected = list(client.search_runs([experiment]))
    monkeypatch.setattr(MlflowClient, "search_runs", _only_the_newest(client.search_runs))
    found = list(iter_runs(client, [experiment]))
    assert len(found) == 5
    assert _shown(found) == _shown(expected)


def _shown(runs):
    return [database_runs._shown(run) for run in runs]


def _only_the_newest(search):
    def limited(self, experiment_ids, *args, **options):
        del self
        assert options["max_results"] == 3, "MLflow reads the newest, to compare"
        return search(experiment_ids, *args, **options)

    return limited


@pytest.mark.parametrize("lost", ["tag", "run", "statement"])
def test_a_database_that_is_not_as_known_is_left_to_mlflow(sqlite_uri, monkeypatch, lost):
    client = MlflowClient(sqlite_uri)
    experiment = client.create_experiment("various")
    _various(client, experiment)
    read = database_runs._read

    def changed(store, experiment_ids):
        runs = read(store, experiment_ids)
        if lost == "run":
            return runs[1:]
        if lost == "tag":
            runs[0].data.tags.popitem()
            return runs
        raise LookupError("no such table")

    monkeypatch.setattr(database_runs, "_read", changed)
    found = list(iter_runs(client, [experiment]))
    expected = client.search_runs([experiment], run_view_type=ViewType.ACTIVE_ONLY)
    assert _shown(found) == _shown(expected)
