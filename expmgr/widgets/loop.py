"""One thread that owns a browser's state, a pool that does its work, and its clock.

Everything that changes the browser runs on the loop's thread, one thing after another, so the
state needs no locks and a widget callback only has to post and return. Work that waits for a
server runs in a pool and posts what came of it.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError  # its own class before Python 3.11
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Job", "Loop", "Timer"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

_SAY_AGAIN = 1.0
"""Seconds."""


@dataclass(order=True)
class Timer:
    """An action to come; :meth:`cancel` takes it back."""

    due: float
    number: int
    action: Callable[[], None] | None = field(compare=False)

    def cancel(self) -> None:
        """Never run the action (harmless when it has run)."""
        self.action = None


class Job:
    """Work under way in the pool.

    Attributes
    ----------
    abandoned
        True once nobody wants the answer: the thread may still wait for a server, which cannot
        be interrupted, but what it brings is dropped.
    settled
        True once nothing is waited for any more.
    slow
        The timer that says that the job takes long.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release
        self.slow: Timer | None = None
        self.abandoned = False
        self.settled = False

    def abandon(self) -> None:
        """Stop waiting for the answer. Call on the loop's thread."""
        if not self.settled:
            self.abandoned = True
            self.settle()

    def settle(self) -> None:
        """Count the job as done, answered or not."""
        if self.slow is not None:
            self.slow.cancel()
        if not self.settled:
            self.settled = True
            self._release()


class Loop:
    """A thread with a queue and timers, and a pool beside it.

    Parameters
    ----------
    name
        Prefix of the threads' names.
    workers
        Most jobs that run at once.
    on_error
        Told of an exception that an action let through (it is logged too).
    """

    def __init__(
        self,
        name: str,
        *,
        workers: int = 16,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._name = name
        self._on_error = on_error
        self._changed = threading.Condition()
        self._actions: deque[Callable[[], None]] = deque()
        self._timers: list[Timer] = []
        self._numbers = itertools.count()
        self._pending = 0
        self._closed = False
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=f"{name}-work")
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def inside(self) -> bool:
        """True on the loop's own thread."""
        return threading.current_thread() is self._thread

    @property
    def closed(self) -> bool:
        """True once :meth:`close` was called."""
        return self._closed

    def post(self, action: Callable[[], None]) -> None:
        """Run an action on the loop's thread, soon; return at once. Nothing happens once closed."""
        with self._changed:
            if self._closed:
                return
            self._actions.append(action)
            self._pending += 1
            self._changed.notify_all()

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the loop's thread and return what it returns or raises."""
        if self.inside or self._closed:
            return function()
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(function())
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                answer.set_exception(error)

        self.post(run)
        while True:
            try:
                return answer.result(timeout=1.0)
            except NotYetError:
                if answer.done() or self._closed:
                    raise

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Run an action on the loop's thread after some seconds."""
        timer = Timer(time.monotonic() + seconds, next(self._numbers), action)
        with self._changed:
            heapq.heappush(self._timers, timer)
            self._changed.notify_all()
        return timer

    def work(
        self,
        job: Callable[[], T],
        done: Callable[[T | None, Exception | None], None],
        *,
        slow: Callable[[], None] | None = None,
        slow_after: float = 4.0,
    ) -> Job:
        """Do a job in the pool, then call ``done(result, error)`` on the loop's thread.

        Parameters
        ----------
        job
            May take as long as it likes; must not touch widgets or the browser's state.
        done
            Not called when the job was abandoned or the loop closed.
        slow
            Called on the loop's thread when the job has not ended after ``slow_after`` seconds, and
            every second from then on: what is waited for may have become known.
        """
        handle = Job(self._release)
        with self._changed:
            if self._closed:
                handle.settled = True
                return handle
            self._pending += 1

        def run() -> None:
            result: Any = None
            failure: Exception | None = None
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - every failure is the answer
                failure = error

            def answer() -> None:
                if handle.abandoned:
                    return
                try:
                    done(result, failure)
                finally:
                    handle.settle()

            self.post(answer)

        def say() -> None:
            if slow is not None and not handle.settled:
                slow()
                handle.slow = self.later(_SAY_AGAIN, say)

        if slow is not None:
            handle.slow = self.later(slow_after, say)
        self._pool.submit(run)
        return handle

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no action and no job is left. Returns False when the time ran out."""
        if self.inside:
            raise RuntimeError("wait() would wait for itself: call it from another thread")
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or self._pending == 0, timeout)

    def close(self) -> None:
        """End the thread and the idle workers; what is still running is not waited for."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._actions.clear()
            self._timers.clear()
            self._changed.notify_all()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if not self.inside:
            self._thread.join(timeout=5)

    def _release(self) -> None:
        with self._changed:
            self._pending -= 1
            self._changed.notify_all()

    def _next(self) -> tuple[Callable[[], None] | None, bool]:
        """Wait for an action or a due timer. ``(None, False)`` means closed."""
        with self._changed:
            while not self._closed:
                if self._actions:
                    return self._actions.popleft(), True
                pause = None
                if self._timers:
                    pause = self._timers[0].due - time.monotonic()
                    if pause <= 0:
                        return heapq.heappop(self._timers).action or _nothing, False
                self._changed.wait(pause)
        return None, False

    def _run(self) -> None:
        while True:
            action, counted = self._next()
            if action is None:
                return
            try:
                action()
            except Exception as error:
                logger.exception("The run browser could not finish an action")
                if self._on_error is not None:
                    self._on_error(error)
            finally:
                if counted:
                    self._release()
            del action


def _nothing() -> None:
    """Do what a cancelled timer does."""
