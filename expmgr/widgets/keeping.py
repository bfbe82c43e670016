"""Keep and Unkeep in a run's details: a pin with a reason, which everybody sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.text import escape
from expmgr.widgets.deletion import describe_failure
from expmgr.widgets.view import whoami

if TYPE_CHECKING:
    from collections.abc import Callable

    from expmgr.widgets.kit import Kit
    from expmgr.widgets.loop import Loop

__all__ = ["Keeping"]


class Keeping:
    """One line for whichever run is open. Belongs to the loop.

    Parameters
    ----------
    manager
        Pins and unpins.
    changed
        Told the run and its new reason, "" where it is kept no more.

    Attributes
    ----------
    button, reason
        Keep or Unkeep, and the line for the reason, which is not needed.
    """

    def __init__(
        self, manager: Any, loop: Loop, kit: Kit, *, changed: Callable[[str, str], None]
    ) -> None:
        self._manager = manager
        self._loop = loop
        self._kit = kit
        self._changed = changed
        self._run_id, self._kept, self._busy = "", "", False
        self.button = kit.button("Keep", self._press)
        self.reason = kit.text("Why it must stay; everybody sees it", lambda _: None, "xm-why")
        self._said = kit.html("", "xm-dim")
        self.box = kit.box((self.button, self.reason, self._said), "xm-keeping")

    def show(self, run_id: str, kept: str) -> None:
        """Show a run and why it is kept, "" where it is not."""
        changed = run_id != self._run_id or kept != self._kept
        if run_id != self._run_id:
            self.reason.value = ""
        self._run_id, self._kept = run_id, kept
        self.button.description = "Unkeep" if kept else "Keep"
        self.button.tooltip = (
            "Take the pin back: the model can be deleted then"
            if kept
            else "Pin the run: its models are not deleted until somebody takes the pin back"
        )
        self.reason.layout = self._kit.gone if kept else self._kit.shown
        if changed and not self._busy:
            self._say(f"Kept: {kept}" if kept else "")

    def _press(self) -> None:
        self._loop.post(self._toggle)

    def _toggle(self) -> None:
        run_id, kept = self._run_id, self._kept
        if self._busy or not run_id:
            return
        reason = "" if kept else str(self.reason.value).strip() or f"kept by {whoami() or 'hand'}"

        def done(_: object, error: Exception | None) -> None:
            self._busy = False
            self.button.disabled = False
            if error is None:
                self._changed(run_id, reason)
            if run_id != self._run_id:
                return
            if error is not None:
                doing = "taken back" if kept else "kept"
                self._say(f"Not {doing}: {describe_failure(error)}", bad=True)
            else:
                self.reason.value = ""
                self.show(run_id, reason)
                self._say(f"Kept: {reason}" if reason else "Kept no more.")

        self._busy = True
        self.button.disabled = True
        self._say("Asking the tracking server …")
        self._loop.work(
            lambda: self._manager.pin(run_id, reason) if reason else self._manager.unpin(run_id),
            done,
        )

    def _say(self, words: str, *, bad: bool = False) -> None:
        tone = ' class="xm-bad"' if bad else ""
        self._said.value = f'<span role="status"{tone}>{escape(words, 400)}</span>' if words else ""
