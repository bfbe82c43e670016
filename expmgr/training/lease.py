"""Keeps a run's lease while its process lives, and ends the run where its manager is dropped.

A daemon thread renews the tag (`expmgr.catalog.lease`) and knows the run, not the manager: the
manager can go, and then the run is FAILED. So it is at the interpreter's exit, within seconds. A
process that is killed tells nothing, and its lease runs out.

Each renewal reads the run, writes, and reads again: a run that somebody ended is not revived, and
of a process that wakes and somebody who takes it for dead, one sees the other. Who ends a run
writes first, too, and reads its lease after that (`expmgr.training.killing`).
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Literal

from expmgr.catalog.lease import LEASE_LASTS, LEASE_TAG, lease_text
from expmgr.errors import NotFoundError, RunError
from expmgr.tracking.ending import end_quietly
from expmgr.tracking.queries import asking, asks_a_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow import MlflowClient

    from expmgr.training.desk import Desk

__all__ = ["Lease", "Pace", "keep"]

logger = logging.getLogger(__name__)

Word = Literal["renew", "stop", "abandoned"]
"""What the thread is told: to renew, that the run has ended, or that nobody will end it."""

_FRESH = LEASE_LASTS // 2
"""A lease of that age, in milliseconds, cannot have been taken for one that ran out."""
_THREAD = "expmgr-lease"
_BRIEFLY = 5.0
"""Seconds for which an exit waits for runs to be ended, and an end for a renewal in flight."""


def _clock() -> int:
    return int(time.time() * 1000)


def _wait(inbox: SimpleQueue[Word], seconds: float) -> Word:
    """Return the next word; after some seconds without any it is to renew."""
    try:
        return inbox.get(timeout=seconds)
    except Empty:
        return "renew"


@dataclass(frozen=True)
class Pace:
    """When leases are renewed.

    Attributes
    ----------
    seconds
        Between two renewals.
    clock
        Returns the time in milliseconds since 1970.
    wait
        Returns the next word of an inbox, or "renew" after so many seconds.
    """

    seconds: float = 600.0
    clock: Callable[[], int] = _clock
    wait: Callable[[SimpleQueue[Word], float], Word] = _wait


class _Elsewhere(logging.Filter):
    """Drops what MLflow's database code logs with a traceback before it raises, in our thread."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.threadName != _THREAD


_elsewhere = _Elsewhere()


class Lease:
    """One run's lease, from its beginning to its end.

    Parameters
    ----------
    began
        The time that the run's tag says already, in milliseconds since 1970.
    connect
        Returns the client of the thread, which nobody waits for.
    """

    def __init__(
        self, run_id: str, began: int, connect: Callable[[], MlflowClient], pace: Pace
    ) -> None:
        self.run_id = run_id
        self.ended = ""
        self._connect = connect
        self._pace = pace
        self._taken = began
        self._stopped = False
        self._made_by = os.getpid()
        self._finalizer: weakref.finalize[..., object] | None = None
        self._begin_here()

    def _begin_here(self) -> None:
        """Begin a thread in this process; what a fork copied may be in any state."""
        self._home = os.getpid()
        self._lock = threading.RLock()
        # Of all queues this one alone may be given a word by a finalizer, at any moment.
        self._inbox: SimpleQueue[Word] = SimpleQueue()
        self._thread = threading.Thread(target=self._live, name=_THREAD, daemon=True)
        _open.add(self)
        try:
            self._thread.start()
        except RuntimeError as error:  # the saves renew it all the same
            _open.discard(self)
            logger.warning("the lease of run %s is not renewed by itself: %s", self.run_id, error)

    # ------------------------------------------------------------------------------- in the thread

    def _live(self) -> None:
        logging.getLogger("mlflow.store.db.utils").addFilter(_elsewhere)  # once
        try:
            self._listen()
        finally:
            _open.discard(self)

    def _listen(self) -> None:
        inbox, client = self._inbox, None
        while not self.ended:
            word = self._pace.wait(inbox, self._pace.seconds)
            if word == "stop":
                return
            try:
                if client is None:
                    client = self._connect()
                if word == "renew":
                    self.renew(client)
                else:
                    self._fail(client)
            except BaseException as error:  # noqa: BLE001 - nobody is there to hear it
                logger.debug("run %s: %s failed: %s", self.run_id, word, error)
            if word == "abandoned":
                return

    def _fail(self, client: MlflowClient) -> None:
        with self._lock:
            if not self._stopped and not self._look(client):
                self._stopped = True
                end_quietly(client, self.run_id, "FAILED")

    # ------------------------------------------------------------------------------------- renewal

    def renew(self, client: MlflowClient) -> None:
        """Say that this process lives, unless the run has ended, which ``ended`` says then.

        Raises
        ------
        TrackingError
            The server could not be asked.
        """
        with self._lock:
            if self._stopped or self._look(client):
                return
            at = self._pace.clock()
            with asking(f"renew the lease of run {self.run_id}", run_id=self.run_id):
                client.set_tag(self.run_id, LEASE_TAG, lease_text(at))
            if not self._look(client):
                self._taken = at

    def _look(self, client: MlflowClient) -> str:
        """Return as what the run has ended, "" while it is RUNNING."""
        try:
            with asking(f"read run {self.run_id}", run_id=self.run_id):
                info = client.get_run(self.run_id).info
        except NotFoundError:
            self.ended = "gone"
        else:
            deleted = info.lifecycle_stage == "deleted"
            self.ended = "deleted" if deleted else "" if info.status == "RUNNING" else info.status
        return self.ended

    def ended_by_others(self, client: MlflowClient) -> str:
        """Return as what somebody else has ended the run (``KILLED``, ``deleted``), else "".

        The server is asked only where this process said nothing for so long that somebody may take
        it for dead: it was suspended, or could not reach the server.

        Raises
        ------
        TrackingError
            The server could not be asked.
        """
        if self._home != os.getpid():  # a fork has no threads but the one that forked
            self._begin_here()
        if not self.ended and not 0 <= self._pace.clock() - self._taken < _FRESH:
            self.renew(client)
        return self.ended

    def check(self, client: MlflowClient, what: str) -> None:
        """Make sure that the run is still this process's to work on.

        Parameters
        ----------
        what
            What would be done.

        Raises
        ------
        RunError
            Somebody else has ended it.
        TrackingError
            The server could not be asked.
        """
        ended = self.ended_by_others(client)
        if ended:
            raise RunError(f"{_told(self.run_id, ended)} {what} was given up.", run_id=self.run_id)

    # ----------------------------------------------------------------------------------------- end

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Keep renewals out while the run is ended in the body; there are none after it."""
        held = self._lock.acquire(timeout=_BRIEFLY)
        try:
            yield
            self._stopped = True
        finally:
            if held:
                self._lock.release()
        self.stop()

    def stop(self) -> None:
        """Renew no more."""
        self._stopped = True
        if self._finalizer is not None:
            self._finalizer.detach()
        self._inbox.put("stop")

    def tie_to(self, owner: object) -> None:
        """End the run as FAILED once its owner is gone."""
        self._finalizer = weakref.finalize(owner, self.abandon)
        self._finalizer.atexit = False  # see `_at_exit`, which waits

    def abandon(self) -> None:
        """Have the thread end the run, but for a fork's copy. Takes no lock: a finalizer may."""
        if self.is_ours:
            self._inbox.put("abandoned")

    @property
    def is_ours(self) -> bool:
        """Whether this process began the run; a fork of it leaves its end to it."""
        return os.getpid() == self._made_by

    def join(self, seconds: float) -> None:
        """Wait for the thread."""
        if self._thread.is_alive():
            self._thread.join(seconds)


def _told(run_id: str, ended: str) -> str:
    how = {
        "deleted": f"run {run_id} was moved to MLflow's trash while this process was at work.",
        "gone": f"the tracking server has no run {run_id} any more.",
    }
    return how.get(
        ended,
        f"run {run_id} was ended as {ended} by somebody else, who may have had no sign of life of "
        "this process for a day. finish_run(as_failed=True) leaves it so; then set_run(params) "
        "begins another.",
    )


def keep(owner: object | None, run_id: str, began: int, desk: Desk) -> Lease:
    """Return the lease of a run that was just begun, which is renewed from now on.

    Parameters
    ----------
    owner
        With it the run ends; it is not kept alive.
    began
        What the run's tag says, in milliseconds since 1970.
    """
    client, connect = desk.client, desk.connect
    lease = Lease(
        run_id,
        began,
        connect if connect is not None and asks_a_server(client) else lambda: client,
        desk.pace,
    )
    if owner is not None:
        lease.tie_to(owner)
    return lease


_open: set[Lease] = set()
"""Leases whose thread is at work."""


def _at_exit() -> None:
    """End the runs that nobody has ended, within seconds."""
    leases = [lease for lease in list(_open) if lease.is_ours]
    for lease in leases:
        lease.abandon()
    until = time.monotonic() + _BRIEFLY
    for lease in leases:
        lease.join(max(0.0, until - time.monotonic()))


atexit.register(_at_exit)
