"""A deletion that is cancelled while an answer is lost: what may have gone is not called whole."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import requests
from azure.core.pipeline.transport import RequestsTransport
from storage_wire import MemoryService, Wire, closing_store, reset
from test_blob_store_faults import CREDENTIALS, PLACE, below, config

from expmgr.errors import DeletionCancelledError
from expmgr.tracking.journal import begin, latest_records, read_records
from expmgr.tracking.journal_record import decode_record
from expmgr.tracking.marks import standing_marks


def cut_off(manager, cancel, *, takes=None):
    """Have the connection break after the service took a batch; somebody cancels just then."""
    store = manager.blob_store

    def fault(seen, forward):
        if seen.kind != "batch":
            return
        if takes is None:
            forward()
        else:
            takes()
        cancel.set()
        raise reset()

    session = requests.Session()
    session.mount("http://", Wire(fault=fault))
    transport = RequestsTransport(session=session)
    store._service = manager.credentials.service_client(transport=transport)


def state(manager, run_id):
    return manager.runs().set_index("run_id").loc[run_id, "model"]


def test_nobody_says_that_nothing_went():
    own = [f"{PLACE.prefix}{number}" for number in range(3)]
    service = MemoryService(own)
    cancel = threading.Event()

    def fault(seen, forward):
        if seen.kind == "batch":
            forward()
            cancel.set()
            raise reset()

    with closing_store(Wire(service, fault), CREDENTIALS, config(3)) as store:
        plan = store.measure(PLACE)
        with pytest.raises(DeletionCancelledError) as caught:
            store.delete([PLACE], etags=plan.etags, sizes=plan.sizes, cancel=cancel)
    assert not below(service)
    assert (caught.value.files, caught.value.unanswered) == (0, 3)
    assert "of 3 more files nobody told whether they went" in str(caught.value)
    assert "at least 3 files left" not in str(caught.value)


def test_such_a_model_reads_as_interrupted_and_can_be_deleted_again(lab):
    lab.best()
    run_id = lab.with_model(0.1)
    manager, cancel = lab.manager(), threading.Event()
    cut_off(manager, cancel)
    result = manager.delete_model(run_id, cancel=cancel)
    assert (result.outcome, result.files) == ("failed", 0)
    manager = lab.manager()
    assert state(manager, run_id) == "interrupted"
    assert list(manager.deletion_log()["state"]) == ["cancelled"]
    assert not manager.resume_deletions().results, "who cancelled it decides"
    assert manager.delete_model(run_id)
    assert state(manager, run_id) == "deleted"


def test_so_do_all_that_go_together(lab):
    lab.best()
    runs = [lab.with_model(0.1) for _ in range(9)]
    manager, cancel = lab.manager(), threading.Event()
    cut_off(manager, cancel)
    report = manager.delete_models(runs, progress=False, cancel=cancel)
    assert report.counts == {"failed": 9}
    assert report.files == 0
    states = lab.manager().runs().set_index("run_id")["model"]
    assert {states[run_id] for run_id in runs} == {"interrupted"}


def test_such_a_model_takes_the_protection_from_no_whole_one(lab):
    second, best = lab.with_model(0.8), lab.with_model(0.9)
    manager, cancel = lab.manager(), threading.Event()
    plain = lab.manager().blob_store.container_client()
    (model,) = lab.client.get_run(best).outputs.model_outputs

    def takes():
        (weights,) = (
            name
            for name in lab.blob_names()
            if model.model_id in name and name.endswith("weights.bin")
        )
        plain.delete_blob(weights)

    cut_off(manager, cancel, takes=takes)
    assert manager.delete_model(best, force=True, cancel=cancel).outcome == "failed"
    plan = lab.manager().plan_deletion([best, second])
    assert plan[best].model == "interrupted"
    assert not plan[second].deletable, "it is the best that is whole"


def test_a_record_tells_it_and_its_mark_stands_no_more():
    doubtful = replace(begin("r1", [PLACE], record_id="2", planned_at=1), state="cancelled")
    doubtful = replace(doubtful, unanswered=3)
    key, value = doubtful.to_tag()
    doubtful = decode_record(key, value, "r1")
    assert doubtful.unanswered == 3
    assert doubtful.is_unfinished()
    mark = replace(doubtful, record_id="1", state="marked", due=5, unanswered=0)
    tags = dict([mark.to_tag(), doubtful.to_tag()])
    assert latest_records("r1", tags) == {PLACE.path: doubtful}
    assert not standing_marks("r1", tags)
    harmless = replace(doubtful, unanswered=0)
    assert harmless.changed_nothing
    assert "unanswered" not in harmless.to_tag()[1]
    tags = dict([mark.to_tag(), harmless.to_tag()])
    assert not latest_records("r1", tags)
    assert standing_marks("r1", tags) == (mark,)
    assert len(read_records("r1", tags)) == 1
