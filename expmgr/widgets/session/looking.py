"""What only the servers know of the line that is opened, and how far the asking is."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from expmgr.catalog.model import KEEP_TAG, is_model_id, is_pin, run_and_path
from expmgr.errors import ExpmgrError
from expmgr.widgets.columns import is_missing
from expmgr.widgets.session.deletion import describe_failure
from expmgr.widgets.session.message import waiting_for

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from expmgr.widgets.session.loop import Loop

__all__ = ["Facts", "Looking", "look_up", "tree"]

MOST_FILES = 2_000


@dataclass(frozen=True)
class Facts:
    """What only the servers know of a run or a model.

    Attributes
    ----------
    files
        Name below its location, and bytes.
    roots
        The locations' paths.
    versions
        Registered versions, in words.
    plan
        What a deletion would do, in one line.
    tags
        Its tags as they are now; a table may be older.
    problems
        What could not be asked.
    """

    files: tuple[tuple[str, int | None], ...] = ()
    roots: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    plan: str = ""
    tags: Mapping[str, str] | None = None
    problems: tuple[str, ...] = field(default=())


def look_up(manager: Any, id_: str, maker: str) -> Facts:
    """Ask the servers about one line. Takes as long as they take; never raises theirs.

    Parameters
    ----------
    maker
        The run that made a model, "" where it has none; a run's own id.
    """
    problems: list[str] = []
    files: list[tuple[str, int | None]] = []
    roots: list[str] = []
    summary = ""
    try:
        (entry,) = manager.plan_deletion([id_]).runs
        summary = str(getattr(entry, "summary", ""))
        for planned in entry.locations:
            roots.append(planned.location.path)
            files.extend(_files_of(manager, planned, several=len(entry.locations) > 1))
    except (ExpmgrError, OSError, ValueError, AttributeError) as error:
        problems.append(describe_failure(error))
    versions: list[str] = []
    tags: Mapping[str, str] | None = None
    try:
        client = manager.interactive_client
        logged = is_model_id(id_)
        tags = dict(
            client.get_logged_model(id_).tags if logged else client.get_run(maker).data.tags
        )
        if maker:
            found = client.search_model_versions(f"run_id = '{maker}'")
            versions = [
                f"{version.name} version {version.version}"
                for version in found
                if not logged or getattr(version, "model_id", None) == id_
            ]
    except Exception as error:  # noqa: BLE001 - MLflow raises of every kind; it is shown
        problems.append(describe_failure(error))
    return Facts(tuple(files), tuple(roots), tuple(versions), summary, tags, tuple(problems))


def _files_of(manager: Any, planned: Any, *, several: bool) -> list[tuple[str, int | None]]:
    prefix = planned.location.prefix
    above = f"{planned.location.owner_id}/" if several else ""
    store = getattr(manager, "blob_store", None)
    if store is None:
        return [(above + name.removeprefix(prefix), None) for name in planned.etags]
    return [
        (above + blob.name.removeprefix(prefix), blob.bytes)
        for blob in itertools.islice(store.list(prefix), MOST_FILES)
        if not blob.is_directory
    ]


def tree(files: Sequence[tuple[str, int | None]]) -> list[tuple[int, str, int | None]]:
    """Return the lines of a file tree: depth, name (folders end in a slash) and bytes.

    Examples
    --------
    >>> tree([("data/model.pkl", 30), ("MLmodel", 2), ("data/a.txt", 5)])
    [(0, 'MLmodel', 2), (0, 'data/', 35), (1, 'a.txt', 5), (1, 'model.pkl', 30)]
    """
    sums: dict[tuple[str, ...], int | None] = {}
    for name, size in files:
        parts = tuple(name.split("/"))
        for depth in range(1, len(parts)):
            folder = parts[:depth]
            before = sums.get(folder, 0)
            sums[folder] = None if before is None or size is None else before + size
    lines: list[tuple[tuple[str, ...], bool, int | None]] = [
        *((folder, True, size) for folder, size in sums.items()),
        *((tuple(name.split("/")), False, size) for name, size in files),
    ]
    lines.sort(key=lambda line: line[0])
    return [
        (len(parts) - 1, parts[-1] + ("/" if folder else ""), size) for parts, folder, size in lines
    ]


class Looking:
    """The one line that is opened. Belongs to the loop.

    Parameters
    ----------
    changed
        Told that there is more to show.
    can_ask
        Whether the manager knows a storage account to ask.

    Attributes
    ----------
    id
        The line that is open, "" for none.
    record
        What the table knows of it.
    facts
        What the servers said; None while they are asked.
    waiting
        What to say while they are asked.
    """

    def __init__(
        self,
        manager: Any,
        loop: Loop,
        *,
        changed: Callable[[], None],
        can_ask: bool,
        patience: float = 4.0,
    ) -> None:
        self._manager = manager
        self._loop = loop
        self._changed = changed
        self._can_ask = can_ask
        self._patience = patience
        self._task: asyncio.Task[None] | None = None
        self.close()

    def close(self) -> None:
        """Show nothing, and forget an answer that is still to come."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.id = self.waiting = ""
        self.record: Mapping[str, Any] = {}
        self.facts: Facts | None = None

    def open(self, record: Mapping[str, Any]) -> None:
        """Show what the table knows at once, and ask the servers for the rest."""
        self.close()
        self.id, self.record = str(record["id"]), record
        if self._can_ask:
            self.waiting = "Asking the tracking server and the storage account …"
            self._task = self._loop.start(self._ask(self.id))
        else:
            self.facts = Facts()
        self._changed()

    async def _ask(self, id_: str) -> None:
        maker = str(self.record["run_id"])

        def slow() -> None:
            self.waiting = waiting_for(self._manager)
            self._changed()

        try:
            self.facts = await self._loop.patiently(
                lambda: look_up(self._manager, id_, maker), slow, patience=self._patience
            )
        except Exception as error:  # noqa: BLE001 - shown in the panel
            self.facts = Facts(problems=(describe_failure(error),))
        self._changed()

    def follow(self, record: Mapping[str, Any] | None) -> None:
        """Take what a table says of the line by now."""
        if record is not None:
            self.record = record
            self._changed()

    @property
    def can_keep(self) -> bool:
        """Whether a pin may be set on it: a directory of a run's artifacts has no tags."""
        return run_and_path(self.id) is None

    @property
    def kept(self) -> str:
        """Why the line is kept, "" where it is not; the server's tags are the newest."""
        tags = self.facts.tags if self.facts is not None else None
        value = tags.get(KEEP_TAG) if tags is not None else self.record.get(f"tags.{KEEP_TAG}")
        if (is_missing(value) and value != "") or not is_pin(str(value)):
            return ""
        return str(value).strip() or "no reason given"

    def note_kept(self, id_: str, reason: str) -> None:
        """Take note of a pin that was set or taken back since the servers were asked."""
        if id_ != self.id:
            return
        self.record = {**self.record, f"tags.{KEEP_TAG}": reason or None}
        if self.facts is not None and self.facts.tags is not None:
            tags = {key: value for key, value in self.facts.tags.items() if key != KEEP_TAG}
            self.facts = replace(self.facts, tags={**tags, KEEP_TAG: reason} if reason else tags)
        self._changed()
