"""`report.retry()`: what failed goes again, as it was planned, and nothing else."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import signal

import pytest
import requests
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient
from secret_walk import Walk
from storage_wire import Wire, reset

from expmgr import RetryConfig, RetryParams
from expmgr.cleanup.report import DeletionReport
from expmgr.errors import InvalidInputError
from expmgr.prices import Bill
from expmgr.results import DeletionResult


@pytest.fixture
def hold(azurite, container, blob_names):
    """A function that leases one file of a model, so that it cannot go; returns the lease."""
    services = []

    def lease(model_id):
        service = BlobServiceClient.from_connection_string(azurite.connection_string)
        services.append(service)
        name = next(name for name in blob_names() if model_id in name)
        return service.get_blob_client(container, name).acquire_lease()

    yield lease
    for service in services:
        service.close()


@pytest.fixture
def failed(lab, hold):
    """A report of two models, of which one failed, and what holds it."""
    lab.best()
    models = [lab.logged_model(lab.run(0.1)) for _ in range(2)]
    lease = hold(models[0])
    report = lab.manager().delete_models(models, progress=False)
    assert [result.outcome for result in report] == ["failed", "deleted"]
    return report, lease, models


def test_what_failed_goes_again_and_nothing_else(lab, failed):
    report, lease, (held, _) = failed
    assert [run.id for run in report.failed] == [held]
    again = report.retry()
    assert again.counts == {"failed": 1}
    lease.release()
    done = again.retry()
    assert [(result.run_id, result.outcome) for result in done] == [(held, "deleted")]
    assert not [name for name in lab.blob_names() if held in name]
    assert done.retry() == DeletionReport()
    assert [result.outcome for result in report] == ["failed", "deleted"], "a report is a value"


def test_protection_is_asked_again_and_what_came_since_stays(lab, failed, put_blob):
    report, lease, (held, _) = failed
    lease.release()
    manager = lab.manager()
    manager.pin(held, "the customer asked")
    assert report.retry().counts == {"protected": 1}
    manager.unpin(held)
    name = next(name for name in lab.blob_names() if held in name)
    newer = f"{name.partition('/artifacts/')[0]}/artifacts/newer.bin"
    put_blob(newer)
    (result,) = report.retry()
    assert result.left == (newer,)
    assert newer in lab.blob_names()


@pytest.mark.parametrize("count", [1, 9])
def test_what_a_deletion_took_and_nobody_told_is_its_success_at_the_retry(lab, count):
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(count)]
    params = RetryParams(attempts=1)
    manager = lab.manager(retry_config=RetryConfig(delete_model=params))
    store, broken = manager.blob_store, []

    def fault(seen, forward):
        if broken or seen.kind == "batch":
            if not broken:
                forward()
            broken.append(seen)
            raise reset()

    session = requests.Session()
    session.mount("http://", Wire(fault=fault))
    transport = RequestsTransport(session=session)
    plan = manager.plan_deletion(runs)
    store.close()
    store._service = manager.credentials.service_client(transport=transport)
    report = manager.delete_models(plan, progress=False)
    assert report.counts == {"failed": count}
    store.close()
    assert report.retry().counts == {"deleted": count}
    assert {lab.tags(run_id)["expmgr.model"] for run_id in runs} == {"deleted"}


def test_what_a_force_passed_the_retry_passes_and_no_more(lab, hold):
    best = lab.best()
    held = lab.client.get_run(best).outputs.model_outputs[0].model_id
    lease = hold(held)
    report = lab.manager().delete_models([best], force=True, progress=False)
    assert report.counts == {"failed": 1}
    lease.release()
    lab.manager().pin(best, "the customer asked")
    assert report.retry().counts == {"protected": 1}, "the plan showed no pin"
    lab.manager().unpin(best)
    assert report.retry().counts == {"deleted": 1}


def test_a_pickled_report_says_what_it_left_behind(lab, failed, azurite):
    report, lease, _ = failed
    lease.release()
    for kept in (pickle.loads(pickle.dumps(report)), copy.deepcopy(report)):
        assert repr(kept) == repr(report)
        assert kept.failed == report.failed
        with pytest.raises(InvalidInputError, match=r"delete_models\(report\.failed\)"):
            kept.retry()
    assert lab.manager().delete_models(kept.failed, progress=False).counts == {"deleted": 1}
    key = azurite.connection_string.partition("AccountKey=")[2].partition(";")[0]
    walk = Walk(key)
    walk.value("report", report)
    assert walk.places > 5
    assert not walk.found


def test_a_report_of_nothing_that_failed_has_nothing_to_retry():
    assert DeletionReport((DeletionResult("r1", "protected"),)).retry() == DeletionReport()
    with pytest.raises(InvalidInputError, match="resume_deletions"):
        DeletionReport((DeletionResult("r1", "failed"),)).retry()


@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
def test_ctrl_c_ends_after_what_is_in_flight_with_a_report_of_what_is_done(
    lab, monkeypatch, together
):
    lab.best()
    run_ids = [lab.with_model(0.1) for _ in range(20 if together else 12)]
    manager = lab.manager()
    before = signal.getsignal(signal.SIGINT)
    store = manager.blob_store
    real, real_together = store.delete, store.delete_together
    done = itertools.count(1)

    def press():
        if next(done) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    def delete(locations, **options):
        found = real(locations, **options)
        press()
        return found

    def delete_together(orders, **options):
        for ended in real_together(orders, **options):
            yield ended
            press()

    if together:  # a group goes, and the next one does not begin
        monkeypatch.setattr("expmgr.cleanup.bulk_together._MOST_RUNS", 10)
        monkeypatch.setattr("expmgr.cleanup.bulk_together.Together.at_once", 1)
        store.delete_together = delete_together
    else:
        monkeypatch.setattr("expmgr.cleanup.bulk_together._LEAST_RUNS", 100)
        store.delete = delete
    report = manager.delete_models(run_ids, progress=False)
    assert report.cancelled
    assert "cancelled" in str(report)
    gone = {result.run_id for result in report.results if result}
    assert 2 <= len(gone) < len(run_ids)
    states = manager.runs().set_index("run_id")["model"]
    assert {run_id for run_id in run_ids if states[run_id] == "deleted"} == gone
    half = {result.run_id for result in report.results if result.outcome == "failed"}
    assert {run_id for run_id in run_ids if states[run_id] == "interrupted"} <= half
    assert signal.getsignal(signal.SIGINT) is before
    store.delete, store.delete_together = real, real_together
    rest = [run_id for run_id in run_ids if run_id not in gone]
    assert manager.delete_models(rest, progress=False).counts == {"deleted": len(rest)}


def test_reports_of_several_containers_become_one():
    one = DeletionReport((DeletionResult("a", "deleted", files=2, bytes=5),), saved=Bill(1.0, 0.5))
    other = DeletionReport(
        (DeletionResult("b", "failed", message="503"),), cancelled=True, saved=Bill(2.0)
    )

    merged = DeletionReport.merged([one, other])

    assert [result.run_id for result in merged] == ["a", "b"]
    assert (merged.counts, merged.files, merged.bytes) == ({"deleted": 1, "failed": 1}, 2, 5)
    assert merged.cancelled
    assert merged.saved == Bill(3.0, 0.5)
    with pytest.raises(InvalidInputError, match="no manager to try again with") as caught:
        merged.retry()
    assert "report.failed" not in str(caught.value), "it holds no plan: nothing would go, silently"
    assert DeletionReport.merged([one, DeletionReport()]).saved is None, "not known of all"
    assert DeletionReport.merged([]) == DeletionReport()
