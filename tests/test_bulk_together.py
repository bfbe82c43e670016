"""Many models that go together: journals, owners and what others do at the same time."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from lab import MODEL_FILES

from expmgr import ExperimentsManagerWithAzureBlobBackend
from expmgr.errors import ProtectedModelError
from expmgr.tracking.journal import read_records, write_record


class Killed(BaseException):
    """Stands for a kernel that was restarted at this point."""


def checkpoints(lab, count):
    """A run with many models, none of which is the best."""
    run_id = lab.run(0.1)
    return run_id, [lab.logged_model(run_id, MODEL_FILES) for _ in range(count)]


def test_many_models_of_one_run_go_together_each_with_a_record_of_its_own(lab):
    lab.best()
    run_id, models = checkpoints(lab, 14)
    manager = lab.manager()

    report = manager.delete_models(models[:12], progress=False)

    assert report.counts == {"deleted": 12}
    assert [result.run_id for result in report] == models[:12], "in the order of the plan"
    records = read_records(run_id, lab.tags(run_id))
    assert len(records) == 12
    assert {record.state for record in records} == {"deleted"}
    assert {location.owner_id for one in records for location in one.locations} == {*models[:12]}
    left = {model for model in models if any(model in name for name in lab.blob_names())}
    assert left == set(models[12:])


def test_more_models_of_one_run_than_a_group_takes_never_share_a_number(lab, monkeypatch):
    monkeypatch.setattr("expmgr.cleanup.bulk_together._MOST_RUNS", 9)
    lab.best()
    run_id, models = checkpoints(lab, 20)
    assert lab.manager().delete_models(models, progress=False).counts == {"deleted": 20}
    records = read_records(run_id, lab.tags(run_id))
    assert [record.record_id for record in records] == [str(n) for n in range(1, 21)]
    assert {record.state for record in records} == {"deleted"}


def test_what_is_protected_or_gone_in_a_group_is_told_and_the_others_go(lab):
    best = lab.best()
    runs = [lab.with_model(0.1) for _ in range(10)]
    manager = lab.manager()
    lab.client.set_tag(runs[3], "expmgr.keep", "paper")
    assert manager.delete_model(runs[5])
    report = manager.delete_models([*runs, best], progress=False)
    assert report.counts == {"deleted": 8, "not_found": 1, "protected": 2}
    by_id = {result.run_id: result for result in report}
    assert isinstance(by_id[runs[3]].error, ProtectedModelError)
    assert by_id[runs[5]].outcome == "not_found"
    assert by_id[best].reasons


def test_what_is_protected_after_the_plan_stays_when_its_group_begins(lab, monkeypatch):
    monkeypatch.setattr("expmgr.cleanup.bulk_together._MOST_RUNS", 8)
    monkeypatch.setattr("expmgr.cleanup.bulk_together.Together.at_once", 1)
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(16)]
    manager = lab.manager()
    plan = manager.plan_deletion(runs)
    seen = []

    def on_progress(progress):
        if not seen:  # while the first group goes
            lab.client.set_tag(runs[12], "expmgr.keep", "paper")
        seen.append(progress)

    report = manager.delete_models(plan, progress=False, on_progress=on_progress)
    assert report.counts == {"deleted": 15, "protected": 1}
    assert report.results[12].outcome == "protected"
    assert seen[-1].models == 15
    assert seen[-1].files == 2 * 15


def test_of_large_models_each_is_asked_about_again_before_a_step_of_somebodys_own(lab, monkeypatch):
    monkeypatch.setattr("expmgr.cleanup.bulk._MOST_FILES", 3)  # each model has two
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(3)]

    class Own(ExperimentsManagerWithAzureBlobBackend):
        def _delete_model(self, run_id, experiment_id=None):
            lab.client.set_tag(runs[-1], "expmgr.keep", "for the audit")
            return super()._delete_model(run_id, experiment_id)

    report = lab.manager(Own).delete_models(runs, progress=False)
    assert [result.outcome for result in report.results] == ["deleted", "deleted", "protected"]


@pytest.mark.parametrize("after", [0, 3])
def test_a_process_that_dies_with_a_group_under_way_leaves_what_resume_finishes(lab, after):
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(10)]
    before = set(lab.blob_names())
    manager = lab.manager()
    store = manager.blob_store
    real = store.delete_together

    def dying(orders, **options):
        for at, ended in enumerate(real(orders, **options)):
            if at == after:
                raise Killed
            yield ended

    store.delete_together = dying
    with pytest.raises(Killed):
        manager.delete_models(runs, progress=False)
    manager = lab.manager()
    open_ = 0
    for run_id in runs:
        (record,) = read_records(run_id, lab.tags(run_id))
        open_ += record.state == "deleting"
        if record.state == "deleting":
            write_record(lab.client, replace(record, deadline=1))
    assert open_ >= 10 - after
    assert [result.outcome for result in manager.resume_deletions()] == ["deleted"] * open_
    gone = before - set(lab.blob_names())
    assert len(gone) == 2 * 10
    assert all(read_records(run, lab.tags(run))[0].state == "deleted" for run in runs)


def test_a_plain_call_for_one_of_a_group_waits_for_it_and_finds_nothing(lab):
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(9)]
    manager = lab.manager()
    store = manager.blob_store
    real = store.delete_together
    answers = []

    def together(orders, **options):
        orders = list(orders)
        caller = threading.Thread(target=lambda: answers.append(manager._delete_model(runs[4])))
        caller.start()
        caller.join(0.5)
        assert caller.is_alive(), "it waits"
        yield from real(orders, **options)
        caller.join(60)

    store.delete_together = together
    assert manager.delete_models(runs, progress=False).counts == {"deleted": 9}
    assert answers == [False]


def test_one_that_somebody_else_deletes_at_the_moment_goes_after_that(lab):
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(9)]
    manager = lab.manager()
    store = manager.blob_store
    real, real_together = store.delete, store.delete_together
    busy, may_end, others_went = (threading.Event() for _ in range(3))

    def slow(locations, **options):
        busy.set()
        assert may_end.wait(60)
        return real(locations, **options)

    def together(orders, **options):
        yield from real_together(orders, **options)
        others_went.set()

    plan = manager.plan_deletion(runs)
    store.delete, store.delete_together = slow, together
    results = {}

    def ask(what, function, *arguments, **options):
        def work():
            results[what] = function(*arguments, **options)

        return threading.Thread(target=work)

    caller = ask("plain", manager._delete_model, runs[2])
    caller.start()
    # A plain call holds nothing: what holds is another deletion of the same run.
    assert busy.wait(60)
    single = ask("single", manager.delete_model, runs[3])
    single.start()
    bulk = ask("bulk", manager.delete_models, plan, progress=False)
    wait_until(lambda: runs[3] in manager._hand_overs._given)
    bulk.start()
    assert others_went.wait(60), "the others do not wait for it"
    assert bulk.is_alive()
    may_end.set()
    for thread in (caller, single, bulk):
        thread.join(60)
    outcomes = {result.run_id: result.outcome for result in results["bulk"]}
    assert set(outcomes) == set(runs)
    assert {outcomes[run] for run in runs if run not in runs[2:4]} == {"deleted"}
    assert not left_of(lab, runs)


def wait_until(what):
    for _ in range(600):
        if what():
            return
        threading.Event().wait(0.05)
    raise AssertionError


def left_of(lab, runs):
    """What is still there of some runs' models."""
    made = {
        m.model_id
        for m in lab.client.search_logged_models([lab.experiment_id])
        if m.source_run_id in runs
    }
    return [name for name in lab.blob_names() if any(model in name for model in made)]
