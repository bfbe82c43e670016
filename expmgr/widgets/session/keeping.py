"""Keep and Unkeep: a pin with a reason, which everybody sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.tracking.user import user_name
from expmgr.widgets.session.deletion import describe_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from expmgr.widgets.session.loop import Loop

__all__ = ["Keeping"]


class Keeping:
    """Pins one line at a time and takes pins back. Belongs to the loop.

    Parameters
    ----------
    kept
        Told the line and its new reason, "" where it is kept no more.
    changed
        Told that there is something else to say.

    Attributes
    ----------
    id
        The line that it was last about.
    busy
        Whether the server is being asked.
    said, bad
        How that went.
    """

    def __init__(
        self,
        manager: Any,
        loop: Loop,
        *,
        kept: Callable[[str, str], None],
        changed: Callable[[], None],
    ) -> None:
        self._manager = manager
        self._loop = loop
        self._kept = kept
        self._changed = changed
        self.id = self.said = ""
        self.busy = self.bad = False

    def toggle(self, id_: str, kept: str, reason: str) -> None:
        """Keep a line for a reason, which may be "", or take back what keeps it."""
        if id_ and not self.busy:
            reason = "" if kept else reason.strip() or f"kept by {user_name() or 'hand'}"
            self._loop.start(self._toggle(id_, reason))

    async def _toggle(self, id_: str, reason: str) -> None:
        self._say(id_, "Asking the tracking server …", busy=True)
        manager = self._manager
        try:
            await self._loop.work(
                lambda: manager.pin(id_, reason) if reason else manager.unpin(id_)
            )
        except Exception as error:  # noqa: BLE001 - told beside the button
            doing = "kept" if reason else "taken back"
            self._say(id_, f"Not {doing}: {describe_failure(error)}", bad=True)
            return
        self._say(id_, f"Kept: {reason}" if reason else "Kept no more.")
        self._kept(id_, reason)

    def _say(self, id_: str, words: str, *, busy: bool = False, bad: bool = False) -> None:
        self.id, self.said, self.busy, self.bad = id_, words, busy, bad
        self._changed()
