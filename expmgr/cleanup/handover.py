"""How what ``delete_model`` resolved reaches the ``_delete_model`` that it calls.

The signature of ``_delete_model`` is fixed, and a subclass may override it and do the work on a
thread of its own. So what was resolved waits here, by its owner's id, while the call lasts. One
deletion an owner at a time; a call from outside waits for its end and resolves for itself.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from expmgr.storage.protocol import DeletionOrder
from expmgr.text import words
from expmgr.tracking.journal import owner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from expmgr.results import DeletionProgress
    from expmgr.storage.location import Location
    from expmgr.storage.protocol import StorageDeletion

__all__ = ["CurrentDeletion", "DoubtfulCallError", "HandOvers"]


logger = logging.getLogger(__name__)


class DoubtfulCallError(Exception):
    """A call of which nothing tells whose it is; nothing is handed to it."""


@dataclass
class CurrentDeletion:
    """What ``delete_model`` resolved, and, once it is carried out, what was done.

    Attributes
    ----------
    owner_id
        The run, or the model without one.
    only
        Of a part: the names that it is, nothing else of the locations goes.
    thread
        Which called ``_delete_model``.
    taken_by
        Which thread has it from there.
    """

    owner_id: str
    locations: tuple[Location, ...]
    etags: Mapping[str, str] | None = None
    sizes: Mapping[str, int] | None = None
    not_after: datetime | None = None
    only: frozenset[str] | None = None
    total_files: int | None = None
    total_bytes: int | None = None
    on_progress: Callable[[DeletionProgress], None] | None = None
    cancel: threading.Event | None = None
    done: StorageDeletion | None = None
    thread: int | None = None
    taken_by: int | None = None

    def order(self) -> DeletionOrder:
        """Return it as what a store is asked for."""
        return DeletionOrder(
            self.locations,
            self.etags,
            self.sizes,
            self.not_after,
            self.only,
            self.on_progress,
            self.total_files,
            self.total_bytes,
        )

    def ended(self, done: StorageDeletion) -> bool:
        """Take note of what was done; returns whether there was something, and logs if not."""
        self.done = done
        if done.files or done.kept:
            return True
        logger.error(
            "nothing to delete for %s: no files under %s",
            owner_of(self.owner_id),
            words(", ".join(location.prefix for location in self.locations)),
        )
        return False


class HandOvers:
    """The deletions of one manager that are under way, by owner."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._given: dict[str, CurrentDeletion] = {}

    @contextmanager
    def given(self, current: CurrentDeletion) -> Iterator[None]:
        """Hold what was resolved while ``_delete_model`` is called; one of an owner at a time."""
        with self._changed:
            self._changed.wait_for(lambda: current.owner_id not in self._given)
            self._given[current.owner_id] = current
            current.thread = threading.get_ident()
        try:
            yield
        finally:
            self.release(current.owner_id)

    def hold(self, current: CurrentDeletion) -> bool:
        """Hold an owner for a deletion that calls no ``_delete_model``, until it is released.

        Returns False, without waiting, where another deletion of this owner is under way.
        """
        with self._changed:
            return self._given.setdefault(current.owner_id, current) is current

    def release(self, owner_id: str) -> None:
        """Let others delete of this owner again."""
        with self._changed:
            del self._given[owner_id]
            self._changed.notify_all()

    @contextmanager
    def taken(self, owner_id: str, *, overridden: bool) -> Iterator[CurrentDeletion | None]:
        """Yield what was resolved for the caller, None for a call from outside.

        Parameters
        ----------
        overridden
            Whether ``_delete_model`` is somebody's own, which may have come here on any thread.

        Raises
        ------
        DoubtfulCallError
            Somebody else's thread has already taken it.
        """
        me = threading.get_ident()
        with self._changed:
            current = self._given.get(owner_id)
            if current is not None and current.thread != me and not overridden:
                self._changed.wait_for(lambda: owner_id not in self._given)
                current = None
            if current is not None and current.taken_by not in {None, me}:
                raise DoubtfulCallError(owner_id)
            before = None if current is None else current.taken_by
            if current is not None:
                current.taken_by = me
        try:
            yield current
        finally:
            if current is not None:
                with self._changed:
                    current.taken_by = before
