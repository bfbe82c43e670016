"""The Deletions view without a page: the journal's records, and what is done about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from expmgr.formatting import format_bytes, format_count
from expmgr.tracking.journal import now_ms
from expmgr.widgets.session.deletion import Deletion, describe_failure
from expmgr.widgets.session.errand import due_of, keeping_of, restoring_of
from expmgr.widgets.session.log_lines import LogLine, log_lines, matching_lines
from expmgr.widgets.session.message import SILENT, Message, waiting_for
from expmgr.widgets.session.words import MOST_SHARE, MOST_UNTYPED, Verdict

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from expmgr.widgets.session.dialogues import Dialogues
    from expmgr.widgets.session.loop import Loop

__all__ = ["DUE", "PAGE", "Logbook"]

DUE = "view: due"
"""Id of the deletion of what is due; no run or model has such a one."""
PAGE = 25
"""Records on a page."""


class Logbook:
    """What the Deletions view knows. Belongs to the loop.

    Parameters
    ----------
    all_bytes
        Returns what all models weigh, as far as that is known.
    changed
        Told that there is something else to show.

    Attributes
    ----------
    lines
        All records.
    search, page
        Which of them are shown.
    message
        What is waited for, or went wrong.
    read_at
        When they were read, None before.
    stale
        Whether something was deleted or marked here since.
    """

    def __init__(
        self,
        manager: Any,
        loop: Loop,
        dialogues: Dialogues,
        *,
        experiments: Any,
        all_bytes: Callable[[], int],
        changed: Callable[[], None],
        patience: float = 4.0,
    ) -> None:
        self._manager = manager
        self._loop = loop
        self._dialogues = dialogues
        self._experiments = experiments
        self._all_bytes = all_bytes
        self._changed = changed
        self._patience = patience
        self._task: asyncio.Task[None] | None = None
        self._told: dict[str, str] = {}
        self.lines: tuple[LogLine, ...] = ()
        self.search = ""
        self.page = 0
        self.message = SILENT
        self.read_at: datetime | None = None
        self.stale = True

    # ------------------------------------------------------------------------------------ looking

    def open(self) -> None:
        """Read the records, where they may have changed."""
        if self.stale:
            self.refresh()

    def refresh(self) -> None:
        """Read the records."""
        if self._task is not None:
            self._task.cancel()
        self.stale = False
        self._task = self._loop.start(self._read())

    async def _read(self) -> None:
        def slow() -> None:
            self._say(Message(waiting_for(self._manager), busy=True))

        self._say(Message("Reading what went and what will …", busy=True))
        try:
            table, keeps = await self._loop.patiently(self._ask, slow, patience=self._patience)
        except Exception as error:  # noqa: BLE001 - told in its place
            why = f"The deletions could not be read: {describe_failure(error)}"
            self._say(Message(why, bad=True, retry=True))
            return
        self.read_at = datetime.fromtimestamp(now_ms() / 1000, timezone.utc)
        self.lines = log_lines(table, self.read_at, keeps=keeps)
        self._say(SILENT)

    def _ask(self) -> tuple[Any, bool | None]:
        table = self._manager.deletion_log(self._experiments)
        store = getattr(self._manager, "blob_store", None)
        if store is None or not (table["state"] == "deleted").any():
            return table, None
        try:
            return table, store.retention().keeps
        except Exception:  # noqa: BLE001 - not told is not known: restoring says why it cannot
            return table, None

    def _say(self, message: Message) -> None:
        self.message = message
        self._changed()

    def look_for(self, search: str) -> None:
        """Show the records in which every word appears."""
        self.search, self.page = search, 0
        self._changed()

    def turn(self, page: int) -> None:
        """Show another page."""
        self.page = max(0, min(page, self.pages - 1))
        self._changed()

    @property
    def found(self) -> tuple[LogLine, ...]:
        """The records that are searched for."""
        return matching_lines(self.lines, self.search)

    @property
    def pages(self) -> int:
        """How many pages there are, at least 1."""
        return max(1, -(-len(self.found) // PAGE))

    @property
    def shown(self) -> tuple[LogLine, ...]:
        """The records of the page."""
        return self.found[self.page * PAGE : (self.page + 1) * PAGE]

    @property
    def due(self) -> tuple[LogLine, ...]:
        """The marks that were due when they were read."""
        return tuple(line for line in self.lines if line.due)

    # ------------------------------------------------------------------------------------ changing

    def told(self, line: LogLine) -> Deletion | None:
        """Return what is to be told of a record."""
        return self._dialogues.get(line.id) if self._told.get(line.id) == line.key else None

    def press(self, key: str) -> None:
        """Keep, Resume or Restore on a record, or Cancel and Close.

        Raises
        ------
        InvalidInputError
            The browser is read-only.
        """
        self._dialogues.check_may_change()
        line = next((one for one in self.lines if one.key == key), None)
        if line is None:
            return
        told = self.told(line)
        if told is not None:
            if told.kind in ("keep", "restore") and told.phase == "running":
                return  # one request, which nothing can stop
            self._dialogues.take_back(line.id)
            self.open()
            return
        if not line.offers:
            return
        self._told[line.id] = key
        if self._dialogues.get(line.id) is not None:
            self._changed()  # one that was begun in the Runs view: told here, too
            return
        about = Deletion(line.id, line.name, (line.id,))
        if line.offers == "resume":
            self._dialogues.ask(line.id, line.name, resumes=True)
        elif line.offers == "keep":
            about.kind = "keep"
            errand = keeping_of(self._manager, line.id)
            self._dialogues.ask_errand(about, Verdict(""), errand, confirmed=True)
        else:
            about.kind = "restore"
            question = "Bring back all that was deleted of this run, where the account keeps it?"
            errand = restoring_of(self._manager, line.run_id)
            self._dialogues.ask_errand(about, Verdict(question, "Restore"), errand)

    def note_kept(self, id_: str) -> None:
        """Take note of marks that were taken back; where they stand now, the next reading says."""
        self.lines = tuple(
            replace(line, mark=False, due=False, offers="", sign="◆", outcome="mark taken back")
            if line.mark and line.id == id_
            else line
            for line in self.lines
        )

    @property
    def deletion(self) -> Deletion | None:
        """What became of what was due."""
        return self._dialogues.get(DUE)

    def press_due(self) -> None:
        """Delete what is due, Cancel, Stop or Close; raises as `press` does."""
        self._dialogues.check_may_change()
        if self.deletion is not None:
            self._dialogues.take_back(DUE)
            self.open()
            return
        due = self.due
        if not due:
            return
        ids = tuple(line.id for line in due)
        size = sum(line.bytes for line in due)
        marks, all_bytes = format_count(len(due), "mark"), self._all_bytes()
        question = (
            f"Delete what is due, {marks}: {format_bytes(size)} as it was then? Protection is "
            "asked again; what comes due meanwhile goes too."
        )
        typed = 0
        if len(due) > MOST_UNTYPED or (all_bytes and size > MOST_SHARE * all_bytes):
            typed = len(due)
            question += f" Type {typed} to confirm."
        verdict = Verdict(question, f"Delete {len(due):,} marked", typed=typed)
        errand = due_of(self._manager, self._experiments, ids)
        self._dialogues.ask_errand(Deletion(DUE, "", ids, kind="many"), verdict, errand)

    def leave(self) -> None:
        """Take back what is offered, as the view is left."""
        for id_ in (DUE, *(line.id for line in self.lines if self.told(line) is not None)):
            deletion = self._dialogues.get(id_)
            if deletion is not None and deletion.phase == "armed":
                self._dialogues.take_back(id_)

    # ---------------------------------------------------------------------------------------- text

    def __str__(self) -> str:
        lines = [f"Deletions: {format_count(len(self.lines), 'record')}"]
        if self.message.text:
            lines.append(self.message.text)
        for line in self.shown:
            parts = (line.outcome, line.name, line.id, line.part, line.size, line.when, line.who)
            lines.append(
                f"{line.sign} " + " · ".join(part for part in (*parts, line.about) if part)
            )
        return "\n".join(lines)
