"""One asyncio loop in a thread of its own, and a pool beside it for what waits for servers.

Everything that changes the browser runs on the loop's thread, so the state needs no locks and a
widget callback only has to post and return. It is never the kernel's own loop: a running cell would
freeze a deletion.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError  # its own class before Python 3.11
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Answer", "Loop"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

_SAY_AGAIN = 1.0
"""Seconds."""


class Answer(Generic[T]):
    """What a person is asked for; waiting for it is not work, so nobody waits for its end."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._future: asyncio.Future[T] = loop.future()

    def give(self, value: T) -> bool:
        """Answer; returns whether it counts: what comes after the first answer is not heard."""
        if self._future.done():
            return False
        self._loop.hold()  # the work goes on, and does so before anybody can think it ended
        self._future.set_result(value)
        return True

    async def wait(self, seconds: float | None, otherwise: T) -> T:
        """Return the answer, or ``otherwise`` where none came in so many seconds."""

        def lapse() -> None:
            self.give(otherwise)

        timer = None if seconds is None else self._loop.later(seconds, lapse)
        self._loop.release()
        try:
            return await self._future
        except asyncio.CancelledError:
            if self._future.cancelled():  # otherwise the answer counted it already
                self._loop.hold()
            raise
        finally:
            if timer is not None:
                timer.cancel()


class Timer:
    """An action to come; :meth:`cancel` takes it back."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Never run the action (harmless when it has run)."""
        self._action = None

    def ring(self) -> None:
        """Run the action, unless it was taken back."""
        action, self._action = self._action, None
        if action is not None:
            action()


class Loop:
    """A thread with an asyncio loop.

    Parameters
    ----------
    name
        Prefix of the threads' names.
    workers
        Most jobs that run at once.
    on_error
        Told of an exception that an action or a coroutine let through (it is logged too).
    """

    def __init__(
        self,
        name: str,
        *,
        workers: int = 16,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._on_error = on_error
        self._changed = threading.Condition()
        self._pending = 0
        self._closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
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

    def future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return self._loop.create_future()

    def post(self, action: Callable[[], None]) -> None:
        """Run an action on the loop's thread, soon; return at once. Nothing happens once closed."""
        with self._changed:
            if self._closed:
                return
            self._pending += 1

        def act() -> None:
            try:
                if not self._closed:
                    action()
            except Exception as error:  # noqa: BLE001 - logged and told
                self._tell(error)
            finally:
                self.release()

        self._soon(act)

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

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a coroutine on the loop; call on its thread. Its end is waited for as work."""
        self.hold()
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._tell(error)
        self.release()

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Run an action on the loop's thread after some seconds. Nobody waits for it as work."""
        timer = Timer(action)

        def ring() -> None:
            try:
                if not self._closed:
                    timer.ring()
            except Exception as error:  # noqa: BLE001 - logged and told
                self._tell(error)

        self._soon(lambda: self._loop.call_later(seconds, ring))
        return timer

    async def work(self, job: Callable[[], T]) -> T:
        """Do a job in the pool and return what it returns, or raise what it raises.

        The job may take as long as it likes; it must not touch widgets or the browser's state. Who
        awaits it may be cancelled: the thread still waits for its server, which cannot be
        interrupted, but what it brings is dropped.
        """
        answer: asyncio.Future[T] = self._loop.create_future()

        def tell(result: Any, error: BaseException | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        def run() -> None:
            result: Any = None
            failure: Exception | None = None
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - every failure is the answer
                failure = error
            self._soon(lambda: tell(result, failure))

        self._pool.submit(run)
        return await answer

    async def patiently(
        self, job: Callable[[], T], slow: Callable[[], None], *, patience: float
    ) -> T:
        """Do a job in the pool as :meth:`work` does, and say so where it takes long.

        Parameters
        ----------
        slow
            Called on the loop's thread when the job has not ended after ``patience`` seconds, and
            every second from then on: what is waited for may have become known.
        """
        task = self._loop.create_task(self.work(job))
        pause = patience
        try:
            while not (await asyncio.wait({task}, timeout=pause))[0]:
                slow()
                pause = _SAY_AGAIN
            return task.result()
        finally:
            task.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no action and no coroutine has work left. False when the time ran out."""
        if self.inside:
            raise RuntimeError("wait() would wait for itself: call it from another thread")
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or self._pending == 0, timeout)

    def hold(self) -> None:
        """Count one more thing that is under way."""
        with self._changed:
            self._pending += 1

    def release(self) -> None:
        """Count one less."""
        with self._changed:
            self._pending -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread and the idle workers; what is still running is not waited for."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._soon(self._loop.stop)
        self._pool.shutdown(wait=False, cancel_futures=True)
        if not self.inside:
            self._thread.join(timeout=5)

    def _soon(self, action: Callable[[], Any]) -> None:
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:  # it has been closed meanwhile: nobody waits for this any more
            if not self._closed:
                raise

    def _tell(self, error: BaseException) -> None:
        logger.error("The run browser could not finish an action", exc_info=error)
        if self._on_error is not None and not self._closed:
            self._on_error(error)

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            for task in self._tasks:
                task.cancel()
            # What is cancelled takes a turn to end, and its own tasks another.
            until = time.monotonic() + 1.0
            while asyncio.all_tasks(self._loop) and time.monotonic() < until:
                self._loop.run_until_complete(asyncio.sleep(0))
        finally:
            self._loop.close()
