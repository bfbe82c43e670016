"""The dialogues about deletions: asked, confirmed, under way, ended; one coroutine each.

The state belongs to the line that was asked about, not to the row that happens to show it, so
turning the page loses nothing. Everything here runs on the loop's thread; the manager's calls run
in its pool.
"""

from __future__ import annotations

import inspect
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError
from expmgr.results import DeletionResult
from expmgr.widgets.session.deletion import Deletion, Offer, describe_failure, result_of_error
from expmgr.widgets.session.errand import deletion_of
from expmgr.widgets.session.loop import Answer
from expmgr.widgets.session.message import waiting_for
from expmgr.widgets.session.words import (
    Asked,
    Verdict,
    end_of_one,
    planning_words,
    progress_of_one,
    summary_text,
    verdict_on_many,
    verdict_on_one,
    verdict_on_resume,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from expmgr.results import DeletionProgress
    from expmgr.widgets.session.errand import Errand
    from expmgr.widgets.session.loop import Loop
    from expmgr.widgets.session.stale import Killing

__all__ = ["MANY", "Dialogues", "Listener"]

MANY = ""
"""Id of the deletion of what is ticked, which is told above the table."""
PROGRESS_INTERVAL = 0.1
"""Seconds between two updates of a bar."""
_SAY_AGAIN = 1.0


@dataclass(frozen=True)
class Listener:
    """Who is told what a dialogue changed.

    Attributes
    ----------
    changed
        Told the id of the line that should be drawn again.
    finished
        Told a deletion and its results, so that the table can follow.
    killed
        Told each run that was marked as killed.
    name_of
        Returns the name of a line.
    """

    changed: Callable[[str], None]
    finished: Callable[[Deletion, Sequence[DeletionResult]], None]
    killed: Callable[[str], None]
    name_of: Callable[[str], str]


class Dialogues:
    """Every deletion that this browser began, by the line that tells of it.

    Parameters
    ----------
    manager
        Plans and deletes.
    take_back
        Seconds after which an unconfirmed deletion on a line is taken back.
    patience
        Seconds before a line says what it waits for.
    read_only
        Refuse whatever would change anything.
    """

    def __init__(
        self,
        manager: Any,
        loop: Loop,
        listener: Listener,
        *,
        take_back: float = 15.0,
        patience: float = 4.0,
        read_only: bool = False,
    ) -> None:
        self._manager = manager
        self._loop = loop
        self._listener = listener
        self._take_back = take_back
        self._patience = patience
        self._read_only = read_only
        self._by_id: dict[str, Deletion] = {}
        self._with_others: dict[str, Deletion] = {}

    def get(self, id_: str) -> Deletion | None:
        """Return what is to be told of a line, None where that is nothing."""
        return self._with_others.get(id_) or self._by_id.get(id_)

    # ------------------------------------------------------------------------------------ the asks

    def ask(self, id_: str, name: str, *, resumes: bool = False) -> None:
        """First click on a line: find out what would go.

        Parameters
        ----------
        resumes
            Only finish an interrupted deletion.

        Raises
        ------
        InvalidInputError
            The browser is read-only.
        """
        message = "Finding out what would be deleted …"
        deletion = Deletion(id_, name, (id_,), message=message, resumes=resumes)
        if self._begin(deletion):
            self._start(deletion, self._delete(deletion, Asked((id_,))))

    def ask_many(
        self, asked: Asked, *, id_: str = MANY, name: str = "", confirmed: bool = False
    ) -> None:
        """Find out what many would come to and ask; raises as :meth:`ask` does.

        Parameters
        ----------
        id_, name
            The study that is asked about, whose line tells of it.
        confirmed
            Skip the question.
        """
        deletion = Deletion(id_, name, asked.ids, kind="many")
        if asked.ids and self._begin(deletion):
            self._start(deletion, self._delete(deletion, asked, confirmed=confirmed))

    def ask_to_kill(self, id_: str, name: str, killing: Killing) -> None:
        """First click on a run that seems dead; raises as :meth:`ask` does."""
        deletion = Deletion(id_, name, (id_,), kind="kill", doing="Marking as killed …")
        if self._begin(deletion):
            self._start(deletion, self._kill(deletion, killing))

    def ask_errand(
        self, deletion: Deletion, verdict: Verdict, errand: Errand, *, confirmed: bool = False
    ) -> None:
        """Ask about what is known already, and do it; raises as :meth:`ask` does.

        Parameters
        ----------
        confirmed
            Skip the question.
        """
        deletion.doing = errand.doing
        if self._begin(deletion):
            self._start(deletion, self._run(deletion, verdict, errand, confirmed=confirmed))

    def settle(self, result: DeletionResult, name: str) -> None:
        """Show a failure among many on its own line, with Retry."""
        known = self._by_id.get(result.run_id)
        if known is not None and known.busy:
            return
        if known is not None:
            self._let_go(known)
        deletion = Deletion(result.run_id, name, (result.run_id,))
        self._by_id[deletion.id] = deletion
        asked = Asked(deletion.ids)
        self._start(deletion, self._delete(deletion, asked, verdict=end_of_one(result)))

    def forget_failure(self, id_: str) -> None:
        """Drop what a line says of a failure, because what failed was done since."""
        deletion = self._by_id.get(id_)
        if deletion is not None and deletion.phase == "ended" and deletion.failed:
            self._forget(deletion)

    def _begin(self, deletion: Deletion) -> bool:
        """Make the deletion its line's, unless another one is under way there."""
        self.check_may_change()
        known = self.get(deletion.id)
        replaceable = ("ended", "armed") if deletion.id == MANY else ("ended",)
        if known is not None and known.phase not in replaceable:
            return False
        if known is not None:
            self._let_go(known)
        self._by_id[deletion.id] = deletion
        return True

    def check_may_change(self) -> None:
        """Raise InvalidInputError where the browser is read-only."""
        if self._read_only:
            raise InvalidInputError("this browser is read-only: it deletes nothing.")

    def _start(self, deletion: Deletion, dialogue: Any) -> None:
        deletion.task = self._loop.start(dialogue)

    # ------------------------------------------------------------------------------- the dialogues

    async def _delete(
        self,
        deletion: Deletion,
        asked: Asked,
        *,
        confirmed: bool = False,
        verdict: Verdict | None = None,
    ) -> None:
        """Plan, ask, delete and tell; after a failure ask whether to try again."""
        if verdict is None:
            verdict = await self._look(deletion, asked)
        while True:
            self._judge(deletion, verdict)
            asks = verdict.outcome or not confirmed
            if not verdict.offer or (asks and not await self._confirmed(deletion)):
                return
            confirmed = False
            if deletion.plan is None:
                verdict = await self._look(deletion, asked)
            else:
                verdict = await self._carry_out(deletion)

    async def _run(
        self, deletion: Deletion, verdict: Verdict, errand: Errand, *, confirmed: bool
    ) -> None:
        """Ask, do and tell; on Retry do what is left to be done."""
        rest: Errand | None = errand
        while rest is not None:
            if not confirmed:
                self._judge(deletion, verdict)
                if not verdict.offer or not await self._confirmed(deletion):
                    return
            confirmed = False
            deletion.going = tuple(rest.going)
            verdict, rest = await self._do(deletion, rest)
        self._judge(deletion, verdict)

    async def _kill(self, deletion: Deletion, killing: Killing) -> None:
        verdict = Verdict(killing.question, "Mark as killed")
        while True:
            self._judge(deletion, verdict)
            if not verdict.offer or not await self._confirmed(deletion):
                return
            try:
                words = await self._loop.work(killing.end)
            except Exception as error:  # noqa: BLE001 - told in the line
                why = f"Not marked as killed: {describe_failure(error)}"
                verdict = Verdict(why, outcome="failed", failed=True)
            else:
                self._listener.killed(deletion.id)
                verdict = Verdict(words, outcome="killed")

    def _judge(self, deletion: Deletion, verdict: Verdict) -> None:
        """Show what a dialogue came to."""
        deletion.phase = "ended" if verdict.outcome else "armed"
        deletion.outcome, deletion.failed = verdict.outcome, verdict.failed
        deletion.message, deletion.log = verdict.message, verdict.log
        deletion.typed, deletion.offers = verdict.typed, verdict.offer
        offered = bool(verdict.offer) and not verdict.typed
        deletion.offer = Offer(verdict.offer) if offered else None
        self._listener.changed(deletion.id)

    async def _confirmed(self, deletion: Deletion) -> bool:
        """Wait for the second click. What is asked above the table, or has ended, stays."""
        answer: Answer[bool] = Answer(self._loop)
        deletion.answer = answer
        lapses = deletion.phase == "armed" and deletion.kind != "many" and not deletion.typed
        yes = await answer.wait(self._take_back if lapses else None, otherwise=False)
        deletion.answer = None
        if not yes and self._by_id.get(deletion.id) is deletion:
            self._forget(deletion)
        return yes

    async def _look(self, deletion: Deletion, asked: Asked) -> Verdict:
        """Ask what would go, and say how far that is."""
        deletion.phase, deletion.began = "planning", time.monotonic()
        deletion.counted = (0, 0)
        cancel = deletion.cancel = threading.Event()
        keywords: dict[str, Any] = {"cancel": cancel}
        many = deletion.kind == "many"

        def count(done: int, total: int) -> None:
            deletion.counted = (done, total)  # shown by the clock below

        def say() -> None:
            seconds = time.monotonic() - deletion.began
            if many:
                done, total = deletion.counted
                deletion.share = done / total if total else None
                count_ = len(deletion.ids)
                deletion.message = planning_words(count_, deletion.counted, seconds, self._patience)
            elif seconds >= self._patience:
                deletion.message = waiting_for(self._manager)
            self._listener.changed(deletion.id)

        if many and "on_progress" in inspect.signature(self._manager.plan_deletion).parameters:
            keywords["on_progress"] = count
        say()
        try:
            plan = await self._loop.patiently(
                lambda: self._manager.plan_deletion(list(deletion.ids), **keywords),
                say,
                patience=min(self._patience, _SAY_AGAIN) if many else self._patience,
            )
        except Exception as error:  # noqa: BLE001 - every failure is told in the line
            if many:
                why = f"Nothing was deleted: {describe_failure(error)}"
                return Verdict(why, outcome="failed", failed=True)
            return end_of_one(result_of_error(deletion.id, error, 0.0))
        deletion.share = None
        if many:
            deletion.plan, deletion.going = plan, plan.deletable
            return verdict_on_many(asked, plan)
        judge = verdict_on_resume if deletion.resumes else verdict_on_one
        verdict = judge(deletion.id, plan)
        if not verdict.outcome:
            deletion.plan, deletion.going = plan, plan.deletable
        elif verdict.outcome == "not_found" and plan.runs:
            gone = DeletionResult(deletion.id, "not_found", message=verdict.message)
            self._listener.finished(deletion, [gone])
        return verdict

    async def _carry_out(self, deletion: Deletion) -> Verdict:
        """Delete what was confirmed, as it was planned."""
        if deletion.kind == "many":
            verdict, _ = await self._do(deletion, deletion_of(self._manager, deletion.plan))
            return verdict
        deletion.began, reported = time.monotonic(), [0.0]

        def on_progress(progress: DeletionProgress) -> None:
            now = time.monotonic()
            if now - reported[0] >= PROGRESS_INTERVAL or progress.note:
                reported[0] = now
                words = progress_of_one(progress)
                self._loop.post(lambda: self._progressed(deletion, progress, words))

        if deletion.phase != "stopping":
            self._tell(deletion, "Deleting …")
        result = await self._delete_one(deletion, on_progress)
        self._listener.finished(deletion, [result])
        return end_of_one(result)

    async def _do(self, deletion: Deletion, errand: Errand) -> tuple[Verdict, Errand | None]:
        """Do what was confirmed; returns how it ended, and what Retry does."""
        cancel = deletion.cancel
        deletion.began, reported = time.monotonic(), [0.0]

        def on_progress(progress: DeletionProgress) -> None:
            now = time.monotonic()
            if now - reported[0] >= PROGRESS_INTERVAL:
                reported[0] = now
                words = errand.progress(progress, now - deletion.began)
                self._loop.post(lambda: self._progressed(deletion, progress, words))

        if deletion.phase != "stopping":
            self._tell(deletion, errand.doing)
        if errand.going:
            count = errand.doing.removeprefix("Deleting ").removesuffix(" …")
            self._tell_lines(deletion, f"Being deleted, with {count} in all")
        try:
            done = await self._loop.work(lambda: errand.act(on_progress, cancel))
        except Exception as error:  # noqa: BLE001 - told in the line
            why = f"{errand.broke}: {describe_failure(error)}"
            offer = "Retry" if errand.retries else ""
            rest = errand if errand.retries else None
            return Verdict(why, offer, outcome="failed", failed=True), rest
        finally:
            if errand.going:
                self._tell_lines(deletion, "")
        results = tuple(errand.results(done))
        deletion.results = results
        deletion.summary = summary_text(results, self._listener.name_of) if results else ""
        seconds = time.monotonic() - deletion.began
        verdict, rest = errand.ended(done, seconds, stopped=cancel.is_set())
        deletion.outcome = verdict.outcome
        self._listener.finished(deletion, results)
        return verdict, rest

    async def _delete_one(
        self, deletion: Deletion, on_progress: Callable[[DeletionProgress], None]
    ) -> DeletionResult:
        try:
            result = await self._loop.work(
                lambda: self._manager.delete_model(
                    deletion.id,
                    plan=deletion.plan,
                    on_progress=on_progress,
                    cancel=deletion.cancel,
                )
            )
        except Exception as error:  # noqa: BLE001 - told in the line
            return result_of_error(deletion.id, error, time.monotonic() - deletion.began)
        if result is not None:
            return result  # type: ignore[no-any-return]
        nothing = RuntimeError("the deletion returned nothing")
        return result_of_error(deletion.id, nothing, time.monotonic() - deletion.began)

    def _progressed(self, deletion: Deletion, progress: DeletionProgress, words: str) -> None:
        """Show how far a deletion is."""
        if deletion.phase not in ("running", "stopping"):
            return
        total_bytes, total_files = progress.total_bytes, progress.total_files
        if total_bytes:
            deletion.share = progress.bytes / total_bytes
        else:
            deletion.share = progress.files / total_files if total_files else None
        if deletion.phase == "running":
            deletion.message = words
        self._listener.changed(deletion.id)

    def _tell_lines(self, deletion: Deletion, words: str) -> None:
        """Have the lines of many say that they go with the others, or be themselves again."""
        for run in deletion.going:
            told = self._with_others.get(run.id)
            if words and run.id != deletion.id:
                self._with_others[run.id] = Deletion(
                    run.id, deletion.id, kind="with others", phase="running", message=words
                )
            elif told is not None and told.name == deletion.id:
                del self._with_others[run.id]
        self._listener.changed("*")

    def _tell(self, deletion: Deletion, message: str) -> None:
        """Say that something is under way."""
        deletion.phase, deletion.message, deletion.share = "running", message, None
        deletion.offer, deletion.typed, deletion.failed = None, 0, False
        deletion.log, deletion.summary, deletion.results = (), "", ()
        self._listener.changed(deletion.id)

    # --------------------------------------------------------------------------------- the answers

    def take_back(self, id_: str) -> None:
        """Cancel: forget what is not confirmed, stop what is under way after its batches."""
        deletion = self._by_id.get(id_)
        if deletion is None:
            return
        deletion.cancel.set()
        if deletion.phase == "running":
            deletion.phase = "stopping"
            deletion.message = "Stopping after the batches in flight …"
            self._listener.changed(id_)
        elif deletion.phase != "stopping":
            self._forget(deletion)

    def confirm(self, id_: str, offer: Offer) -> None:
        """Second click: delete what the plan shows, or try again as it was planned."""
        deletion = self._by_id.get(id_)
        if deletion is None or deletion.offer is not offer or deletion.answer is None:
            return
        if not deletion.answer.give(True):  # it lapsed in this very moment
            return
        deletion.cancel = threading.Event()
        # From here on a click on Cancel stops what is under way, and forgets nothing.
        self._tell(deletion, deletion.doing)

    def type_number(self, id_: str, text: str) -> None:
        """Offer what needs a number to be typed, while it is the right one."""
        deletion = self._by_id.get(id_)
        if deletion is None or deletion.phase != "armed" or not deletion.typed:
            return
        right = text.strip().replace(",", "") == str(deletion.typed)
        if right != (deletion.offer is not None):
            deletion.offer = Offer(deletion.offers) if right else None
            self._listener.changed(id_)

    def _forget(self, deletion: Deletion) -> None:
        if self._by_id.get(deletion.id) is deletion:
            del self._by_id[deletion.id]
        self._let_go(deletion)
        self._listener.changed(deletion.id)

    def _let_go(self, deletion: Deletion) -> None:
        """End a dialogue; what a server still does for it is not heard."""
        if deletion.answer is not None:
            deletion.answer.give(False)
        elif deletion.task is not None:
            deletion.task.cancel()

    def forget_ended(self) -> None:
        """Drop what ended well and what was only said; failures stay, with their log and Retry."""
        for deletion in list(self._by_id.values()):
            if deletion.phase == "ended" and not deletion.failed and deletion.id != MANY:
                del self._by_id[deletion.id]
                self._let_go(deletion)

    def cancel_all(self) -> None:
        """Tell everything under way to stop. Safe from any thread."""
        for deletion in list(self._by_id.values()):
            deletion.cancel.set()
