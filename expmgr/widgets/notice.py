"""One line above the table that shows a message, with Cancel and Retry where they make sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.text import escape, plain
from expmgr.widgets.row import popover

if TYPE_CHECKING:
    from collections.abc import Callable

    from expmgr.widgets.kit import Kit
    from expmgr.widgets.session.message import Message

__all__ = ["Notice"]

LONG = 60
"""Characters that stand in the line on a narrow page too."""


class Notice:
    """A message and its two buttons.

    Parameters
    ----------
    about
        What is cancelled or tried again, in words: it names the buttons.
    cancel, retry
        What the buttons do; they must return at once.

    Attributes
    ----------
    text
        What it says as plain text; "" while it is not shown.
    """

    def __init__(
        self, kit: Kit, about: str, *, cancel: Callable[[], None], retry: Callable[[], None]
    ) -> None:
        self._kit = kit
        self.text = ""
        self._line = kit.html()
        self.cancel_button = kit.button("Cancel", cancel, tooltip=f"Cancel {about}", shown=False)
        self.retry_button = kit.button("Retry", retry, tooltip=f"Retry {about}", shown=False)
        self.box = kit.box((self._line, self.cancel_button, self.retry_button), "xm-notice")
        self.box.layout = kit.gone

    def show(self, message: Message) -> None:
        """Say something, or nothing."""
        kit = self._kit
        self.text = plain(message.text, 1000)
        self.cancel_button.layout = kit.shown if message.cancel else kit.gone
        self.retry_button.layout = kit.shown if message.retry else kit.gone
        self.box.layout = kit.shown if message.text else kit.gone
        if message.text:
            self._line.value = _html(message)


def _html(message: Message) -> str:
    bad, share = message.bad, message.share
    sign = '<span class="xm-sign">✕</span>' if bad else ""
    tone = "xm-bad" if bad else "xm-dim"
    role = "alert" if bad else "status"
    thin = ""
    if message.busy:
        unknown = " xm-unknown" if share is None else ""
        width = "" if share is None else f' style="width:{share * 100:.1f}%"'
        thin = (
            f'<div class="xm-bar xm-thin{unknown}" role="progressbar" aria-label="Progress">'
            f"<div{width}></div></div>"
        )
    words = escape(message.text, 1000)
    long = bad and len(message.text) > LONG
    whole = popover("Whole text", f'<p class="xm-bad">{words}</p>') if long else ""
    return (
        f'<div class="xm-say {tone}" role="{role}" title="{words}">{sign}'
        f'<span class="xm-words">{words}</span></div>{thin}{whole}'
    )
