"""The loop under the browser: order, answers, errors, waiting, ending."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from expmgr.widgets.kit import Kit
from expmgr.widgets.session.loop import Answer, Loop


@pytest.fixture
def loop():
    loop = Loop("test-loop")
    yield loop
    loop.close()


def test_actions_run_in_order_on_one_thread_that_is_not_the_caller_s(loop):
    seen = []
    for number in range(50):
        loop.post(lambda number=number: seen.append((number, threading.get_ident())))
    assert loop.wait(5)
    assert [number for number, _ in seen] == list(range(50))
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()


def test_a_call_returns_what_it_returns_and_raises_what_it_raises(loop):
    assert loop.call(lambda: 7) == 7
    with pytest.raises(KeyError, match="gone"):
        loop.call(lambda: {}["gone"])
    with pytest.raises(TimeoutError, match="its own"):
        loop.call(lambda: (_ for _ in ()).throw(TimeoutError("its own")))
    assert loop.call(lambda: loop.call(lambda: 8)) == 8


def test_a_call_may_take_longer_than_a_second(loop):
    gate = threading.Event()
    loop.later(1.2, gate.set)
    slow = threading.Event()
    assert loop.call(lambda: slow.wait(1.3)) is False


def test_work_answers_on_the_loop_s_thread(loop):
    answers = []

    async def ask(job):
        try:
            answers.append((await loop.work(job), None, loop.inside))
        except ZeroDivisionError as error:
            answers.append((None, type(error), loop.inside))

    loop.call(lambda: loop.start(ask(lambda: 3)))
    loop.call(lambda: loop.start(ask(lambda: 1 / 0)))
    assert loop.wait(5)
    assert sorted(answers, key=str) == [(3, None, True), (None, ZeroDivisionError, True)]


def test_what_an_action_lets_through_is_told_and_the_loop_goes_on(caplog):
    told = []
    loop = Loop("test-loop", on_error=told.append)
    loop.post(lambda: 1 / 0)
    assert loop.call(lambda: 5) == 5
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert "could not finish an action" in caplog.text
    loop.close()


def test_what_a_coroutine_lets_through_is_told_and_the_loop_goes_on(caplog):
    told = []
    loop = Loop("test-loop", on_error=told.append)

    async def fail():
        raise KeyError("x")

    loop.call(lambda: loop.start(fail()))
    assert loop.wait(5)
    assert loop.call(lambda: 5) == 5
    assert [type(error) for error in told] == [KeyError]
    assert "could not finish an action" in caplog.text
    loop.close()


def test_a_cancelled_coroutine_is_not_waited_for_and_its_answer_is_dropped(loop):
    gate, answers = threading.Event(), []

    async def ask():
        answers.append(await loop.work(gate.wait))

    task = loop.call(lambda: loop.start(ask()))
    assert loop.wait(0.05) is False
    loop.call(task.cancel)
    assert loop.wait(5)
    gate.set()
    assert loop.wait(5)
    loop.call(lambda: None)
    assert answers == []


def test_a_slow_job_says_so_and_a_quick_one_does_not(loop):
    gate, said = threading.Event(), []

    async def ask(job, slow, patience):
        await loop.patiently(job, slow, patience=patience)

    slow = lambda: (said.append("slow"), gate.set())  # noqa: E731
    loop.call(lambda: loop.start(ask(gate.wait, slow, 0.05)))
    loop.call(lambda: loop.start(ask(lambda: None, lambda: said.append("quick"), 5)))
    assert loop.wait(5)
    assert said == ["slow"]


def test_waiting_for_a_person_is_no_work_and_what_follows_the_answer_is(loop):
    gate, heard, answers = threading.Event(), [], []

    async def ask():
        answer = Answer(loop)
        answers.append(answer)
        heard.append(await answer.wait(None, "nothing"))
        await loop.work(gate.wait)
        heard.append("done")

    loop.call(lambda: loop.start(ask()))
    assert loop.wait(5)
    assert heard == []
    for word in ("yes", "no"):
        loop.call(lambda word=word: answers[0].give(word))
    assert loop.wait(0.05) is False
    gate.set()
    assert loop.wait(5)
    assert heard == ["yes", "done"]


def test_an_answer_that_does_not_come_is_the_other_one(loop):
    heard = []

    async def ask():
        heard.append(await Answer(loop).wait(0.02, "lapsed"))

    loop.call(lambda: loop.start(ask()))
    lapsed = threading.Event()
    loop.later(0.1, lapsed.set)
    assert lapsed.wait(5)
    assert loop.wait(5)
    assert heard == ["lapsed"]


def test_who_waits_for_a_person_can_be_cancelled(loop):
    async def ask():
        await Answer(loop).wait(None, "nothing")

    task = loop.call(lambda: loop.start(ask()))
    assert loop.wait(5)
    loop.call(task.cancel)
    assert loop.wait(5)
    assert loop.call(task.cancelled)
    assert loop.wait(5)  # the call itself counts until it has returned
    assert loop._pending == 0


def test_who_was_answered_and_is_cancelled_before_hearing_it_leaves_nothing_counted(loop):
    answers = []

    async def ask():
        answers.append(Answer(loop))
        await answers[0].wait(None, "nothing")

    task = loop.call(lambda: loop.start(ask()))
    assert loop.wait(5)

    def both():
        answers[0].give("yes")
        task.cancel()

    loop.call(both)
    assert loop.wait(5)
    assert loop._pending == 0


def test_a_timer_can_be_taken_back(loop):
    rung, ring = [], threading.Event()
    loop.later(0.02, lambda: rung.append("early")).cancel()
    loop.later(0.05, ring.set)
    assert ring.wait(5)
    assert rung == []


def test_waiting_on_the_loop_s_own_thread_is_refused(loop):
    with pytest.raises(RuntimeError, match="wait for itself"):
        loop.call(loop.wait)


def test_after_the_end_nothing_runs_and_nobody_hangs():
    loop = Loop("test-loop")
    gate, ran = threading.Event(), []

    async def ask():
        try:
            ran.append(await loop.work(gate.wait))
        finally:
            ran.append("let go")

    loop.call(lambda: loop.start(ask()))
    loop.close()
    assert ran == ["let go"]
    loop.post(lambda: ran.append(1))
    assert loop.wait(1)
    assert loop.call(lambda: 9) == 9
    gate.set()
    assert ran == ["let go"]
    assert loop._loop.is_closed()


def test_a_closed_kit_keeps_nothing_alive():
    kit = Kit()
    button = kit.button("x", lambda: None)
    kit.box((button, kit.html("y")))
    assert len(kit) > 5
    alive = weakref.ref(button)
    kit.close()
    del button
    gc.collect()
    assert len(kit) == 0
    assert alive() is None
