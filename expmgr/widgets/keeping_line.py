"""Keep and Unkeep in a line's details, and the words beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.text import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from expmgr.widgets.kit import Kit
    from expmgr.widgets.session.keeping import Keeping
    from expmgr.widgets.session.looking import Looking

__all__ = ["KeepingLine"]


class KeepingLine:
    """One button and one line to type in, for whichever line is open.

    Parameters
    ----------
    press
        Told the line and the reason that was typed. Must return at once.

    Attributes
    ----------
    button, reason
        Keep or Unkeep, and the line for the reason, which is not needed.
    """

    def __init__(self, kit: Kit, press: Callable[[str, str], None]) -> None:
        self._kit = kit
        self._press = press
        self._id, self._kept = "", ""
        self.button = kit.button("Keep", self._pressed)
        self.reason = kit.text("Why it must stay; everybody sees it", lambda _: None, "xm-why")
        self._said = kit.html("", "xm-dim")
        self.box = kit.box((self.button, self.reason, self._said), "xm-keeping")

    def _pressed(self) -> None:
        if self._id:
            self._press(self._id, str(self.reason.value))

    def show(self, looking: Looking, keeping: Keeping) -> None:
        """Show why the line is kept, and how keeping it went."""
        kept = looking.kept
        if looking.id != self._id or kept != self._kept:
            self.reason.value = ""
        self._id, self._kept = looking.id, kept
        kind = "model" if looking.record.get("line") == "model" else "run"
        alone = " this run alone" if looking.record.get("line") == "study" else ""
        self.box.layout = self._kit.shown if looking.can_keep else self._kit.gone
        self.button.description = f"{'Unkeep' if kept else 'Keep'}{alone}"
        self.button.disabled = keeping.busy
        self.button.tooltip = (
            "Take the pin back: the model can be deleted then"
            if kept
            else f"Pin the {kind}: it is not deleted until somebody takes the pin back"
            + (", its children are not kept with it" if alone else "")
        )
        self.reason.layout = self._kit.gone if kept else self._kit.shown
        about = keeping.id == looking.id
        words = keeping.said if about else f"Kept: {kept}" if kept else ""
        tone = ' class="xm-bad"' if about and keeping.bad else ""
        self._said.value = f'<span role="status"{tone}>{escape(words, 400)}</span>' if words else ""
