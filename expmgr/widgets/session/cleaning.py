"""The Clean up view without a page: what is asked for, the plan of it, and its deletion."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError, TakesEverythingError
from expmgr.formatting import format_count, format_seconds
from expmgr.secrecy import said
from expmgr.text import plain
from expmgr.widgets.session.clean_up import CleanUp
from expmgr.widgets.session.deletion import Deletion, describe_failure
from expmgr.widgets.session.errand import deletion_of, marking_of
from expmgr.widgets.session.message import SILENT, Message, waiting_for
from expmgr.widgets.session.words import Asked, Verdict, left, verdict_on_many

if TYPE_CHECKING:
    from collections.abc import Callable

    from expmgr.cleanup.plan import DeletionPlan
    from expmgr.widgets.session.dialogues import Dialogues
    from expmgr.widgets.session.loop import Loop

__all__ = ["CLEAN_UP", "EVERYTHING", "GRACE", "Cleaning"]

CLEAN_UP = "view: clean up"
"""Id of the deletion that the view tells of; no run or model has such a one."""
EVERYTHING = "everything"
"""The word that lets a policy take every model."""
GRACE = (("now", ""), ("in 7 days", "7d"), ("in 30 days", "30d"))
"""When it goes, in words and as ``delete_models(after=)`` takes it."""
PAUSE = 0.4
"""Seconds that changes pause before it is planned."""


class Cleaning:
    """What the Clean up view knows. Belongs to the loop.

    A plan is never changed: any change of what is asked for takes back what was offered, and
    another plan is made.

    Parameters
    ----------
    experiments
        As `plan_cleanup` takes them: those of the browser.
    changed
        Told that there is something else to show.

    Attributes
    ----------
    asked
        What is asked for.
    after
        When it goes, as in `GRACE`.
    plan
        The last plan, None before there was one.
    fresh
        Whether the plan is of what is asked for now, so that it may be carried out.
    message
        How far the planning is, or why there is no plan.
    wants_word
        Whether it takes every model, and so asks for the word.
    by_size, page
        How what goes is listed.
    """

    def __init__(
        self,
        manager: Any,
        loop: Loop,
        dialogues: Dialogues,
        *,
        experiments: Any,
        changed: Callable[[], None],
        patience: float = 4.0,
    ) -> None:
        self._manager = manager
        self._loop = loop
        self._dialogues = dialogues
        self._changed = changed
        self._patience = patience
        self._task: asyncio.Task[None] | None = None
        self._cancel = threading.Event()
        self._counted = (0, 0)
        some = isinstance(experiments, (list, tuple, set, frozenset))
        self._experiments = tuple(experiments) if some else experiments
        self.opened = False
        self.asked = CleanUp(experiments=self._experiments)
        self.after = ""
        self.plan: DeletionPlan | None = None
        self.fresh = self.wants_word = self.by_size = False
        self.message = SILENT
        self.page = 0

    @property
    def deletion(self) -> Deletion | None:
        """What became of the plan."""
        return self._dialogues.get(CLEAN_UP)

    @property
    def count(self) -> int:
        """How many models would go."""
        plan = self.plan
        return 0 if plan is None else sum(len(run.locations) for run in plan.deletable)

    @property
    def script(self) -> str:
        """The Python that does the same, "" where there is none."""
        try:
            return self.asked.script(self.after)
        except InvalidInputError:
            return ""

    # ------------------------------------------------------------------------------------- asking

    def open(self) -> None:
        """Plan, where that was never done."""
        if not self.opened:
            self.opened = True
            self.plan_anew()

    def ask(self, **changes: Any) -> None:
        """Ask for something else; while something goes nothing else can be asked for."""
        if not self._may_change():
            return
        if "experiments" in changes:
            changes["experiments"] = changes["experiments"] or self._experiments
        if "word" in changes:
            changes["everything"] = changes.pop("word").strip().casefold() == EVERYTHING
        else:
            changes.setdefault("everything", False)  # what was said of another policy
        asked = replace(self.asked, **changes)
        if asked == self.asked:
            return
        self.asked = asked
        if not asked.can_wait:
            self.after = ""
        self.plan_anew(PAUSE)

    def wait_for(self, after: str) -> None:
        """Let it go now, or mark it to go later."""
        if self._may_change() and after != self.after:
            self.after = after if self.asked.can_wait else ""
            self._changed()

    def _may_change(self) -> bool:
        """Take back what was offered; False where something is under way."""
        deletion = self.deletion
        if deletion is not None and deletion.busy:
            self._changed()  # the controls say again what holds
            return False
        if deletion is not None:
            self._dialogues.take_back(CLEAN_UP)
        return True

    def list_by(self, *, size: bool) -> None:
        """List the largest first, or the newest."""
        self.by_size, self.page = size, 0
        self._changed()

    def turn(self, page: int) -> None:
        """Show another page of what goes."""
        self.page = max(0, page)
        self._changed()

    # ----------------------------------------------------------------------------------- planning

    def plan_anew(self, pause: float = 0.0) -> None:
        """Plan what is asked for; what is planned already is no longer offered."""
        self._stop()
        self.fresh = self.wants_word = False
        self._task = self._loop.start(self._plan(pause))
        self._changed()

    def cancel(self) -> None:
        """Give the planning up."""
        if self._task is not None and not self._task.done():
            self._stop()
            self._say(Message("The planning was cancelled.", retry=True))

    def stop(self) -> None:
        """Have the planning end without a word. Safe from any thread."""
        self._cancel.set()

    def _stop(self) -> None:
        self.stop()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def leave(self) -> None:
        """Take back what is offered, as the view is left: nothing waits armed out of sight."""
        deletion = self.deletion
        if deletion is not None and deletion.phase == "armed":
            self._dialogues.take_back(CLEAN_UP)

    async def _plan(self, pause: float) -> None:
        cancel = self._cancel = threading.Event()
        self._counted = (0, 0)
        try:
            keywords = self.asked.keywords()
        except InvalidInputError as error:
            self._refuse(f"Nothing is planned: {error}")
            return
        if pause:
            await asyncio.sleep(pause)
        began = time.monotonic()

        def count(done: int, total: int) -> None:
            self._counted = (done, total)

        def say() -> None:
            seconds = time.monotonic() - began
            done, total = self._counted
            words = "Finding out what would go"
            if total:
                words = f"Looking at {done:,} of {format_count(total, 'model')}"
                words += left(done, total, seconds)
            if seconds >= self._patience:
                words += f"; {format_seconds(seconds)} so far"
                words += "" if total else f". {waiting_for(self._manager).removesuffix(' …')}"
            share = done / total if total else None
            self._say(Message(f"{words} …", busy=True, share=share, cancel=True))

        say()
        try:
            plan = await self._loop.patiently(
                lambda: self._manager.plan_cleanup(**keywords, on_progress=count, cancel=cancel),
                say,
                patience=min(self._patience, 0.5),
            )
        except TakesEverythingError as error:
            self.wants_word = True
            self._refuse(f"This takes every model: type {EVERYTHING}, or keep some. {error}")
        except Exception as error:  # noqa: BLE001 - told in its place
            self._refuse(f"Nothing is planned: {describe_failure(error)}", retry=True)
        else:
            self.plan, self.fresh, self.page = plan, True, 0
            self._say(SILENT)

    def _refuse(self, words: str, *, retry: bool = False) -> None:
        self.plan = None
        self._say(Message(said(words, 1000), bad=True, retry=retry))

    def _say(self, message: Message) -> None:
        self.message = message
        self._changed()

    # ----------------------------------------------------------------------------------- deleting

    def press(self) -> None:
        """Delete or Mark, Cancel, Stop or Close.

        Raises
        ------
        InvalidInputError
            The browser is read-only.
        """
        self._dialogues.check_may_change()
        deletion = self.deletion
        if deletion is not None:
            ended = deletion.phase == "ended"
            self._dialogues.take_back(CLEAN_UP)
            if ended:
                self.plan_anew()
            return
        plan = self.plan
        if plan is None or not self.fresh or not self.count:
            return
        going = plan.deletable
        errand = (
            marking_of(self._manager, plan, self.after)
            if self.after
            else deletion_of(self._manager, plan, retries=True)
        )
        deletion = Deletion(
            CLEAN_UP, "", tuple(run.id for run in going), kind="many", plan=plan, going=going
        )
        self._dialogues.ask_errand(deletion, self._verdict(plan), errand)

    def _verdict(self, plan: DeletionPlan) -> Verdict:
        """Return the question: as that of the table's bulk line, against all that was looked at."""
        known = plan.bytes + sum(one.bytes or 0 for one in plan.kept)
        ids = tuple(run.id for run in plan.deletable)
        verdict = verdict_on_many(Asked(ids, bytes=plan.bytes, all_bytes=known), plan)
        if not self.after:
            return verdict
        when = next(words for words, after in GRACE if after == self.after)
        models = format_count(self.count, "model")
        ask = f"Mark {models} to go {when}? Nothing goes before delete_due() runs then."
        typed = f" Type {verdict.typed} to confirm." if verdict.typed else ""
        return replace(verdict, message=f"{ask}{typed}", offer=f"Mark {models}")

    # --------------------------------------------------------------------------------------- text

    def __str__(self) -> str:
        lines = ["Clean up", *self.script.splitlines()]
        if self.message.text:
            lines.append(plain(self.message.text, 600))
        if self.plan is not None and self.fresh:
            lines.append(repr(self.plan))
        return "\n".join(lines)
