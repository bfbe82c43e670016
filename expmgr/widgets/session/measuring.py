"""Asks the storage account how large every model is, one experiment after another."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from expmgr.formatting import format_bytes, format_count
from expmgr.widgets.session.deletion import describe_failure
from expmgr.widgets.session.message import SILENT, Message

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    import pandas as pd

    from expmgr.widgets.session.loop import Loop

__all__ = ["Measuring"]


class Measuring:
    """One scan at a time, with progress and Cancel. Belongs to the loop.

    Parameters
    ----------
    measured
        Told the usage of each experiment as it comes, its single models where those were asked
        for, and when its measurement began.
    unfolds
        Whether an experiment holds runs with several models: those are measured one by one too.
    changed
        Told that `message` changed.
    patience
        Seconds of silence after which the line says that the account is waited for.
    inventory
        As `storage_usage` of the manager takes it.

    Attributes
    ----------
    message
        What is to be said of it.
    measured_at
        When the last experiment was measured.
    """

    def __init__(
        self,
        manager: Any,
        loop: Loop,
        *,
        measured: Callable[[pd.DataFrame, pd.DataFrame | None, float], None],
        unfolds: Callable[[str], bool],
        changed: Callable[[], None],
        patience: float = 4.0,
        inventory: bool | str = False,
    ) -> None:
        self._manager = manager
        self._by = {"inventory": inventory} if inventory is not False else {}
        self._taken: datetime | None = None
        self._instead = ""
        self._loop = loop
        self._measured = measured
        self._unfolds = unfolds
        self._changed = changed
        self._patience = patience
        self._task: asyncio.Task[None] | None = None
        self._cancel = threading.Event()
        self._left: list[str] = []
        self._failed: list[str] = []
        self._files = self._bytes = 0
        self.message = SILENT
        self.measured_at: datetime | None = None

    @property
    def note(self) -> str:
        """When sizes were measured, for the footer."""
        if self._taken is not None:
            return f"sizes of {self._taken:%Y-%m-%d %H:%M} UTC, by the account's report"
        return f"sizes of {self.measured_at:%H:%M} UTC" if self.measured_at else ""

    @property
    def busy(self) -> bool:
        """True while more is to be measured."""
        return bool(self._left)

    def start(self, experiment_ids: Sequence[str]) -> None:
        """Measure these experiments; nothing happens while a scan is under way."""
        if experiment_ids and (self._task is None or self._task.done()):
            self._left = list(experiment_ids)
            self._task = self._loop.start(self._scan())

    def retry(self) -> None:
        """Go on with the experiment that failed, and those behind it."""
        self.start(self._failed)

    def cancel(self) -> None:
        """Stop after what is under way; what was measured by then is kept."""
        self.stop()
        self._say(Message("Stopping the measurement …", busy=True))

    def stop(self) -> None:
        """Stop without a word. Safe from any thread."""
        self._cancel.set()

    async def _scan(self) -> None:
        count = len(self._left)
        self._files = self._bytes = 0
        self._taken, self._instead = None, ""
        cancel = self._cancel = threading.Event()
        while self._left and not cancel.is_set():
            experiment = self._left[0]
            try:
                usage, models, sent = await self._measure(experiment, count, cancel)
            except Exception as error:  # noqa: BLE001 - told above the table
                self._failed, self._left = self._left, []
                why = f"Sizes could not be measured: {describe_failure(error)}"
                self._say(Message(why, bad=True, retry=True))
                return
            del self._left[0]
            for name in ("files", "bytes"):
                total = int(usage[name].sum()) if name in usage and len(usage) else 0
                setattr(self, f"_{name}", getattr(self, f"_{name}") + total)
            self.measured_at = datetime.now(timezone.utc)
            self._measured(usage, models, sent)
        done = count - len(self._left)
        stopped = f"Measured {done} of {format_count(count, 'experiment')}."
        instead = Message(self._instead) if self._instead else SILENT
        self._say(Message(stopped) if self._left else instead)
        self._left = []

    async def _measure(
        self, experiment: str, count: int, cancel: threading.Event
    ) -> tuple[pd.DataFrame, pd.DataFrame | None, float]:
        done = count - len(self._left)
        sent = time.monotonic()
        heard, seen = sent, (0, 0)

        def say(*, waiting: bool = False) -> None:
            if cancel.is_set():
                return
            files, size = seen
            so_far = ""
            if self._files + files:
                so_far = (
                    f"; {format_count(self._files + files, 'file')}, "
                    f"{format_bytes(self._bytes + size)} so far"
                )
            words = f"Measuring sizes: experiment {done + 1} of {count}{so_far}"
            words += "; waiting for the storage account …" if waiting else ""
            share = done / count if count > 1 else None
            self._say(Message(words, busy=True, share=share, cancel=True))

        def on_progress(files: int, size: int) -> None:
            nonlocal heard, seen
            heard, seen = time.monotonic(), (files, size)
            self._loop.post(say)

        def silent() -> None:
            if time.monotonic() - heard >= self._patience:
                say(waiting=True)

        each = self._unfolds(experiment)

        def measure() -> tuple[pd.DataFrame, pd.DataFrame | None]:
            usage = self._manager.storage_usage(
                [experiment], on_progress=on_progress, cancel=cancel, **self._by
            )
            wanted = each and not cancel.is_set()
            return usage, self._manager.models([experiment]) if wanted else None

        say()
        usage, models = await self._loop.patiently(measure, silent, patience=self._patience)
        taken = usage.attrs.get("taken")
        if taken is None:
            self._instead = str(usage.attrs.get("source", ""))
            return usage, models, sent
        # What became of a line since the report was taken is newer than the report, and a model
        # that went since has no size, whatever the report says.
        self._taken = datetime.fromisoformat(taken)
        age = (datetime.now(timezone.utc) - self._taken).total_seconds()
        usage = usage[usage["model"] != "deleted"]
        return usage, models, min(sent, sent - age)

    def _say(self, message: Message) -> None:
        self.message = message
        self._changed()
