"""Buttons that a fast second click or a held key cannot hit.

A button that changes what it means, or that did not stand there a moment ago, takes no click
for a moment. Pure time; it knows nothing of runs and deletions.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import ipywidgets as widgets

    from expmgr.widgets.kit import Kit

__all__ = ["ARMED_AFTER", "Arming", "Slot", "armed_button"]

ARMED_AFTER = 0.8
"""Seconds between what a button offers and the first click that it takes.

A second click meant for something else comes 0.1 to 0.6 s after the first. The page counts by
itself (CSS), because a slow link delivers the offer late; the kernel counts too, because a page
can be told to click anything.
"""


class Arming:
    """Whether a button takes a click. Made armed; :meth:`start` begins the quiet."""

    def __init__(self) -> None:
        self._since = -inf

    @property
    def age(self) -> float:
        """Seconds since the quiet began."""
        return monotonic() - self._since

    def start(self) -> None:
        """Take no click for :data:`ARMED_AFTER` seconds."""
        self._since = monotonic()

    def takes(self) -> bool:
        """Tell whether a click counts. One that does not begins the quiet anew: a held key."""
        ready = self.age >= ARMED_AFTER
        if not ready:
            self.start()
        return ready


def armed_button(
    kit: Kit, text: str, action: Callable[[], None], *classes: str, tooltip: str = ""
) -> widgets.Button:
    """Return a new Confirm, which takes a click only when it has been shown for a moment."""
    arming = Arming()
    arming.start()

    def clicked() -> None:
        if arming.takes():
            action()

    return kit.button(text, clicked, "xm-confirm", *classes, tooltip=tooltip)


class Slot:
    """One place and one button that says Delete and then, in its place, Cancel, Stop or Close.

    None of these deletes anything. The focus stays where it is, so that after Delete the next key
    is for Cancel.
    """

    def __init__(self, kit: Kit, text: str, action: Callable[[], None], *classes: str) -> None:
        self._kit = kit
        self._action = action
        self._turned = Arming()
        self._kind, self._dead = "", False
        self._classes = ("xm-button", *classes)
        self.button = kit.button(text, self._clicked, *classes)

    def _clicked(self) -> None:
        if not self._dead and self._turned.takes():
            self._turned.start()  # a double click is one click, also where the loop is behind
            self._action()

    def show(self, kind: str, text: str, *, about: str = "", dead: bool = False) -> None:
        """Say something.

        Parameters
        ----------
        kind
            What a click means: another kind takes no click at once. It becomes the CSS class
            ``xm-<kind>``; "" hides the button and keeps its room.
        about
            What it acts on, as the rest of the sentence that ``text`` begins: the button's name
            for who cannot see where it stands. "" leaves the text alone.
        dead
            Whether there is nothing to click.
        """
        if kind != self._kind:
            self._turned.start()
        self._kind, self._dead = kind, dead or not kind
        button = self.button
        with button.hold_sync():
            button.set_trait("_dom_classes", (*self._classes, f"xm-{kind or 'none'}"))
            button.description = text
            button.tooltip = f"{text} {about}" if about else None
            button.disabled = self._dead
            button.layout = self._kit.shown if kind else self._kit.ghost
