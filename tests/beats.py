"""Clocks and threads of leases that a test moves on by hand."""

from __future__ import annotations

import threading
import time

from expmgr.training.lease import Pace

HOUR = 3_600_000


class Beats:
    """A pace whose renewals happen when they are asked for, one after the other."""

    def __init__(self) -> None:
        self.ahead = 0
        self._idle = threading.Semaphore(0)
        self.pace = Pace(clock=self.now, wait=self._wait)

    def now(self) -> int:
        return int(time.time() * 1000) + self.ahead

    def _wait(self, inbox, seconds):
        del seconds
        self._idle.release()
        return inbox.get()

    def renew(self, lease) -> None:
        """Have the thread renew the lease, and wait until it has done so or failed."""
        assert self._idle.acquire(timeout=30)
        lease._inbox.put("renew")
        assert self._idle.acquire(timeout=30)
        self._idle.release()
