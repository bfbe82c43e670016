"""Brings the runs: the newest page first, the rest behind it, later only what changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pandas as pd

from expmgr.errors import FilterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from expmgr.widgets.loop import Job, Loop
    from expmgr.widgets.notice import Notice

from expmgr.widgets.deletion import describe_failure
from expmgr.widgets.notice import waiting_for
from expmgr.widgets.view import has_new_best, merge

__all__ = ["Loader"]

FULL_SYNC_AFTER = 600.0
"""Seconds after which a refresh reads everything again (edits of old runs show only then)."""
CLOCK_MARGIN_MS = 120_000
"""How far the server's clock may be off before a refresh misses a run."""


class Loader:
    """Loads the table through ``manager.runs`` in the pool.

    Parameters
    ----------
    arrived
        Told each table, whether it is complete and when its query was sent (monotonic seconds).
    filter_refused
        Told what the server said about the filter string.
    """

    def __init__(
        self,
        manager: Any,
        loop: Loop,
        notice: Notice,
        *,
        experiments: Any,
        filter_string: str,
        first: int,
        arrived: Callable[[pd.DataFrame, bool, float], None],
        filter_refused: Callable[[str], None],
        patience: float = 4.0,
    ) -> None:
        self._manager = manager
        self._loop = loop
        self._notice = notice
        self.experiments = experiments
        self.filter_string = filter_string
        self._first = first
        self._arrived = arrived
        self._filter_refused = filter_refused
        self._patience = patience
        self._job: Job | None = None
        self._complete_at: float | None = None
        self._asked_at_ms = 0
        self.complete = False
        self.frame = pd.DataFrame()
        self.failure = ""

    @property
    def loading(self) -> bool:
        """True while an answer is waited for."""
        return self._job is not None

    def start(self) -> None:
        """Load from the beginning: a page, then everything."""
        self._drop()
        self.complete, self._complete_at, self.failure = False, None, ""
        self._ask(self._first, self._first_page)

    def refresh(self) -> None:
        """Fetch what changed; everything where that cannot be told."""
        if self.loading:
            return
        fresh = self._complete_at is not None and (
            time.monotonic() - self._complete_at < FULL_SYNC_AFTER
        )
        if not fresh:
            self._ask(None, self._everything)
            return
        since = self._asked_at_ms - CLOCK_MARGIN_MS
        clauses = (
            f"attributes.end_time > {since}",
            f"attributes.start_time > {since}",
            "attributes.status = 'RUNNING'",
        )
        filters = [
            f"{self.filter_string} and {clause}" if self.filter_string else clause
            for clause in clauses
        ]

        def changed() -> pd.DataFrame:
            news = pd.DataFrame()
            for filter_string in filters:
                part = self._manager.runs(experiments=self.experiments, filter_string=filter_string)
                news = merge(news, part)
            return news

        self._send(changed, self._changes)

    def cancel(self) -> None:
        """Stop waiting for the answer; what is shown stays."""
        if self._job is not None:
            self._drop()
            self._notice.show(
                "Stopped waiting for the tracking server; the table may be incomplete.",
                retry=lambda: self._loop.post(self.start),
            )

    def _drop(self) -> None:
        if self._job is not None:
            self._job.abandon()
            self._job = None

    def _ask(self, limit: int | None, then: Callable[[pd.DataFrame, float], None]) -> None:
        filter_string = self.filter_string
        keywords: dict[str, Any] = {} if limit is None else {"limit": limit}
        self._send(
            lambda: self._manager.runs(
                experiments=self.experiments, filter_string=filter_string, **keywords
            ),
            then,
        )

    def _send(
        self, question: Callable[[], pd.DataFrame], then: Callable[[pd.DataFrame, float], None]
    ) -> None:
        sent = time.monotonic()
        self._asked_at_ms = int(time.time() * 1000)

        def done(frame: pd.DataFrame | None, error: Exception | None) -> None:
            self._job = None
            if error is not None or frame is None:
                self._fail(error or RuntimeError("the manager returned no table"))
            else:
                self.failure = ""
                then(frame, sent)

        began = "Loading runs …" if self.frame.empty else "Loading more runs …"
        cancel = self._cancel_soon
        self._notice.show(began, busy=True, cancel=cancel)
        self._job = self._loop.work(
            question,
            done,
            slow=lambda: self._notice.show(
                waiting_for(self._manager, "the tracking server")
                + ("" if self.frame.empty else f" {len(self.frame):,} runs so far"),
                busy=True,
                cancel=cancel,
            ),
            slow_after=self._patience,
        )

    def _cancel_soon(self) -> None:
        self._loop.post(self.cancel)

    def _first_page(self, frame: pd.DataFrame, sent: float) -> None:
        # What needs all runs (the best) or the whole registry is not in a limited answer, however
        # few runs there are.
        self._ask(None, self._everything)
        self._take(frame, False, sent)

    def _changes(self, news: pd.DataFrame, sent: float) -> None:
        if has_new_best(self.frame, news):
            self._ask(None, self._everything)
        else:
            self._take(merge(self.frame, news), True, sent)

    def _everything(self, frame: pd.DataFrame, sent: float) -> None:
        self._take(frame, True, sent)

    def _take(self, frame: pd.DataFrame, complete: bool, sent: float) -> None:
        self.frame = frame
        if complete:
            self.complete = True
            self._complete_at = time.monotonic()
            self._notice.clear()
        self._filter_refused("")
        self._arrived(frame, self.complete, sent)

    def _fail(self, error: Exception) -> None:
        self.failure = describe_failure(error)
        if isinstance(error, FilterError):
            self._notice.clear()
            self._filter_refused(self.failure)
            return
        self._notice.show(
            f"The runs could not be loaded: {self.failure}",
            bad=True,
            retry=lambda: self._loop.post(self.start),
        )
