"""Asks the storage account how large every model is, one experiment after another."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from expmgr.formatting import format_bytes, format_count
from expmgr.widgets.deletion import describe_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from expmgr.widgets.loop import Job, Loop
    from expmgr.widgets.notice import Notice

__all__ = ["SizeScan"]


class SizeScan:
    """One scan at a time, with progress and Cancel. Belongs to the loop.

    Parameters
    ----------
    measured
        Told the usage of each experiment as it comes, and when its measurement began.
    patience
        Seconds of silence after which the line says that the account is waited for.
    """

    def __init__(
        self,
        manager: Any,
        loop: Loop,
        notice: Notice,
        measured: Callable[[pd.DataFrame, float], None],
        *,
        patience: float = 4.0,
    ) -> None:
        self._manager = manager
        self._loop = loop
        self._notice = notice
        self._measured = measured
        self._patience = patience
        self._heard = 0.0
        self._job: Job | None = None
        self._cancel = threading.Event()
        self._todo: list[str] = []
        self._count = 0
        self._files = 0
        self._bytes = 0
        self.measured_at: datetime | None = None

    @property
    def note(self) -> str:
        """When sizes were measured, for the footer."""
        return f"sizes of {self.measured_at:%H:%M} UTC" if self.measured_at else ""

    @property
    def busy(self) -> bool:
        """True while more is to be measured."""
        return bool(self._todo)

    def start(self, experiment_ids: Sequence[str]) -> None:
        """Measure these experiments; nothing happens while a scan is under way."""
        if self._job is not None or not experiment_ids:
            return
        self._todo = list(experiment_ids)
        self._count = len(self._todo)
        self._files = self._bytes = 0
        self._cancel = threading.Event()
        self._next()

    def stop(self) -> None:
        """Stop; what was measured by then is kept. Safe from any thread."""
        self._cancel.set()

    def _next(self) -> None:
        cancel = self._cancel
        if not self._todo or cancel.is_set():
            self._end()
            return
        experiment = self._todo.pop(0)

        last = [(0, 0)]

        def on_progress(files: int, size: int) -> None:
            self._heard, last[0] = time.monotonic(), (files, size)
            self._loop.post(lambda: self._say(files, size))

        def silent() -> None:
            if time.monotonic() - self._heard >= self._patience:
                self._say(*last[0], waiting=True)

        self._say(0, 0)
        sent = self._heard = time.monotonic()
        self._job = self._loop.work(
            lambda: self._manager.storage_usage(
                [experiment], on_progress=on_progress, cancel=cancel
            ),
            lambda usage, error: self._took(experiment, usage, error, sent),
            slow=silent,
            slow_after=self._patience,
        )

    def _say(self, files: int, size: int, *, waiting: bool = False) -> None:
        if self._cancel.is_set():
            return
        done = self._count - len(self._todo) - 1
        seen = ""
        if self._files + files:
            seen = (
                f"; {format_count(self._files + files, 'file')}, "
                f"{format_bytes(self._bytes + size)} so far"
            )
        self._notice.show(
            f"Measuring sizes: experiment {done + 1} of {self._count}{seen}"
            + ("; waiting for the storage account …" if waiting else ""),
            busy=True,
            share=done / self._count if self._count > 1 else None,
            cancel=lambda: self._loop.post(self._stop_soon),
        )

    def _stop_soon(self) -> None:
        self.stop()
        self._notice.show("Stopping the measurement …", busy=True)

    def _took(
        self, experiment: str, usage: pd.DataFrame | None, error: Exception | None, sent: float
    ) -> None:
        self._job = None
        if error is not None or usage is None:
            message = describe_failure(error or RuntimeError("nothing came back"))
            remaining = [experiment, *self._todo]
            self._todo = []
            self._notice.show(
                f"Sizes could not be measured: {message}",
                bad=True,
                retry=lambda: self._loop.post(lambda: self.start(remaining)),
            )
            return
        for name in ("files", "bytes"):
            total = int(usage[name].sum()) if name in usage and len(usage) else 0
            if name == "files":
                self._files += total
            else:
                self._bytes += total
        self.measured_at = datetime.now(timezone.utc)
        self._measured(usage, sent)
        self._next()

    def _end(self) -> None:
        if self._cancel.is_set() and self._todo:
            done = self._count - len(self._todo)
            self._notice.show(f"Measured {done} of {format_count(self._count, 'experiment')}.")
        else:
            self._notice.clear()
