"""Brings the runs and models: the newest page first, the rest behind it, later what changed."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pandas as pd

from expmgr.errors import FilterError
from expmgr.widgets.session.deletion import describe_failure
from expmgr.widgets.session.message import SILENT, Message, waiting_for
from expmgr.widgets.session.query import has_new_best, merge

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from expmgr.widgets.session.loop import Loop

__all__ = ["Loading"]

FULL_SYNC_AFTER = 600.0
"""Seconds after which a refresh reads everything again (edits of old runs show only then)."""
CLOCK_MARGIN_MS = 120_000
"""How far the server's clock may be off before a refresh misses a run."""


class _NotRead(Exception):  # noqa: N818 - it carries an error
    """The servers did not tell; what else goes wrong here is ours, and logged."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Loading:
    """Loads the tables in the pool.

    What changed is told by what the manager's ``follow`` returns. For a manager without it, and
    where the server filters, three small questions by time to ``runs_and_models`` take its place:
    they cost more, and what a run that changed takes from others is not seen, but for the star.

    Parameters
    ----------
    known
        Returns runs and models as they are by now, which a refresh adds to: what became of them
        since they were read is newer.
    arrived
        Told that `runs` and `models` are new, whether they are complete, and when their query was
        sent (monotonic seconds).
    changed
        Told that `message` or `refused` changed.

    Attributes
    ----------
    runs, models
        What was read last, as the manager gave it.
    complete
        Whether everything has been read since the last start.
    read_at
        When everything was asked for last (UTC); None before it came.
    refreshed
        Whether what changed since came on top of that.
    failure
        Why nothing came, or "".
    refused
        What the server said about the filter string, or "".
    message
        What is to be said of it.
    """

    def __init__(
        self,
        manager: Any,
        loop: Loop,
        *,
        experiments: Any,
        filter_string: str,
        first: int,
        known: Callable[[], tuple[pd.DataFrame, pd.DataFrame]],
        arrived: Callable[[bool, float], None],
        changed: Callable[[], None],
        patience: float = 4.0,
    ) -> None:
        self._manager = manager
        self._loop = loop
        self.experiments = experiments
        self.filter_string = filter_string
        self._first = first
        self._known = known
        self._arrived = arrived
        self._changed = changed
        self._patience = patience
        self._task: asyncio.Task[None] | None = None
        self._following: Any = None
        self._asked_at_ms = 0
        self.read_at: datetime | None = None
        self._read_sent = 0.0
        self.refreshed = False
        self.runs = pd.DataFrame()
        self.models = pd.DataFrame()
        self.complete = False
        self.failure = self.refused = ""
        self.message = SILENT

    @property
    def loading(self) -> bool:
        """True while an answer is waited for."""
        return self._task is not None and not self._task.done()

    @property
    def note(self) -> str:
        """When everything was read, for the footer, where the table is newer than that."""
        if not self.refreshed or self.read_at is None:
            return ""
        return f"all read {self.read_at:%H:%M} UTC"

    def start(self) -> None:
        """Load from the beginning: a page, then everything."""
        self._drop()
        self.complete, self.read_at, self.failure = False, None, ""
        self._following = None
        self._task = self._loop.start(self._load(self._from_the_beginning))

    def refresh(self) -> None:
        """Fetch what changed; everything where that cannot be told."""
        if self.loading:
            return
        if self.read_at is None or time.monotonic() - self._read_sent >= FULL_SYNC_AFTER:
            read = self._everything
        else:
            read = self._what_changed if self._following is None else self._follow
        self._task = self._loop.start(self._load(read))

    def cancel(self) -> None:
        """Stop waiting for the answer; what is shown stays."""
        if self.loading:
            self._drop()
            self._say(
                Message(
                    "Stopped waiting for the tracking server; the table may be incomplete.",
                    retry=True,
                )
            )

    def say(self, message: Message) -> None:
        """Say something else in the same place."""
        self._say(message)

    def _drop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _load(self, read: Any) -> None:
        try:
            await read()
        except _NotRead as not_read:
            self.failure = describe_failure(not_read.error)
            if isinstance(not_read.error, FilterError):
                self.refused = self.failure
                self._say(SILENT)
            else:
                why = f"The runs could not be loaded: {self.failure}"
                self._say(Message(why, bad=True, retry=True))

    async def _from_the_beginning(self) -> None:
        # What needs all runs (the best) or the whole registry is not in a limited answer, however
        # few runs there are.
        self._take(*await self._ask_for(self.filter_string, limit=self._first), complete=False)
        await self._everything()

    async def _everything(self) -> None:
        at = datetime.now(timezone.utc)
        if self.filter_string or not hasattr(self._manager, "follow"):
            answer = await self._ask_for(self.filter_string)
        else:
            # A new one each time: one whose answer nobody waited for is still at work.
            following = self._manager.follow(self.experiments)
            answer = await self._ask(following.read)
            self._following, at = following, following.read_at
        self._note_read(at, answer[2])
        self._take(*answer, complete=True)

    async def _follow(self) -> None:
        """Fetch what changed since by few requests; all else stays as it was read."""
        answer = await self._ask(self._following.refresh)
        if self._following.read_at == self.read_at:
            self.refreshed = True
        else:  # what changed was such that it read everything
            self._note_read(self._following.read_at, answer[2])
        self._take(*answer, complete=True)

    def _note_read(self, at: datetime, sent: float) -> None:
        self.read_at, self._read_sent, self.refreshed = at, sent, False

    async def _what_changed(self) -> None:
        since = self._asked_at_ms - CLOCK_MARGIN_MS
        runs, models = pd.DataFrame(), pd.DataFrame()
        began = 0.0
        for clause in (
            f"attributes.end_time > {since}",
            f"attributes.start_time > {since}",
            "attributes.status = 'RUNNING'",
        ):
            both = f"{self.filter_string} and {clause}" if self.filter_string else clause
            part, made, sent = await self._ask_for(both)
            began = began or sent
            runs, models = merge(runs, part), merge(models, made, "model_id")
        known_runs, known_models = self._known()
        if has_new_best(known_runs, runs):
            await self._everything()
            return
        if len(runs) and len(known_models):  # a model that a changed run no longer has is gone
            known_models = known_models[~known_models["run_id"].isin(runs["run_id"])]
        models = merge(known_models.reset_index(drop=True), models, "model_id")
        self.refreshed = True
        self._take(merge(known_runs, runs), models, began, complete=True)

    async def _ask_for(
        self, filter_string: str, *, limit: int | None = None
    ) -> tuple[pd.DataFrame, pd.DataFrame, float]:
        keywords: dict[str, Any] = {} if limit is None else {"limit": limit}
        return await self._ask(
            lambda: self._manager.runs_and_models(
                experiments=self.experiments, filter_string=filter_string, **keywords
            )
        )

    async def _ask(self, question: Callable[[], Any]) -> tuple[pd.DataFrame, pd.DataFrame, float]:
        """Return runs, models and when they were asked for."""
        sent = time.monotonic()
        self._asked_at_ms = int(time.time() * 1000)
        began = "Loading runs …" if self.runs.empty else "Loading more runs …"
        self._say(Message(began, busy=True, cancel=True))

        def slow() -> None:
            so_far = "" if self.runs.empty else f" {len(self.runs):,} runs so far"
            words = waiting_for(self._manager, "the tracking server") + so_far
            self._say(Message(words, busy=True, cancel=True))

        try:
            tables = await self._loop.patiently(
                question,
                slow,
                patience=self._patience,
            )
        except Exception as error:
            raise _NotRead(error) from error
        return tables.runs, tables.models, sent

    def _take(
        self, runs: pd.DataFrame, models: pd.DataFrame, sent: float, *, complete: bool
    ) -> None:
        self.runs, self.models = runs, models
        self.failure = self.refused = ""
        if complete:
            self.complete = True
            self.message = SILENT
        self._changed()
        self._arrived(self.complete, sent)

    def _say(self, message: Message) -> None:
        self.message = message
        self._changed()
