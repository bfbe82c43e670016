"""Questions asked before their answers are needed: each once, and none goes on for itself."""

from __future__ import annotations

import threading

import pytest

from expmgr.cleanup.ahead import Ahead
from expmgr.errors import TrackingError


def test_what_was_begun_is_taken_once_and_then_asked_anew():
    asked = []

    def ask():
        asked.append(threading.current_thread().name)
        return len(asked)

    ahead = Ahead()
    with ahead:
        ahead.begin("how many", ask)
        ahead.begin("how many", ask)
        assert ahead.take("how many", ask) == 1
        assert ahead.take("how many", ask) == 2
    assert asked == ["expmgr-ahead_0", "MainThread"]


def test_an_error_comes_where_the_answer_is_taken():
    def ask():
        raise TrackingError("the server is away")

    ahead = Ahead()
    with ahead:
        ahead.begin("anything", ask)
        with pytest.raises(TrackingError, match="away"):
            ahead.take("anything", ask)


def test_leaving_waits_for_what_nobody_took_and_outside_nothing_is_begun():
    begun, let_go, ended = threading.Event(), threading.Event(), []

    def ask():
        begun.set()
        assert let_go.wait(30)
        ended.append(True)

    ahead = Ahead()
    ahead.begin("before", ask)
    assert not begun.is_set()
    with ahead:
        ahead.begin("within", ask)
        assert begun.wait(30)
        let_go.set()
    assert ended == [True]


def test_what_protects_is_asked_for_while_a_model_is_listed(lab):
    """The listing waits for the registry's answer: asked one after the other it never came."""
    manager = lab.manager()
    lab.with_model(0.9)
    run_id = lab.with_model(0.1)
    manager.plan_deletion(run_id)  # loads what is loaded once
    asked = threading.Event()
    search, measure = manager.client.search_model_versions, manager.blob_store.measure

    def searched(*args, **options):
        asked.set()
        return search(*args, **options)

    def measured(*args, **options):
        assert asked.wait(30), "protection is asked for only after the listing"
        return measure(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager.client, "search_model_versions", searched)
        patch.setattr(manager.blob_store, "measure", measured)
        plan = manager.plan_deletion(run_id)
    assert plan.runs[0].files
    assert not plan.runs[0].reasons
