"""One line above the table that says what is being waited for or what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.text import escape, plain
from expmgr.widgets.row import popover

if TYPE_CHECKING:
    from collections.abc import Callable

    from expmgr.widgets.kit import Kit

__all__ = ["Notice", "waiting_for"]

LONG = 60
"""Characters that stand in the line on a narrow page too."""


def waiting_for(manager: Any, what: str = "the tracking server or the storage account") -> str:
    """Return what is said while an answer is waited for, with the reason where one is known."""
    trouble = manager.tracking_trouble
    return f"Waiting for {what}: {trouble} …" if trouble else f"Waiting for {what} …"


class Notice:
    """A message with, where they make sense, Cancel and Retry.

    Parameters
    ----------
    about
        What is cancelled or tried again, in words: it names the buttons.

    Attributes
    ----------
    text
        What it says as plain text; "" while it is not shown.
    """

    def __init__(self, kit: Kit, about: str) -> None:
        self._kit = kit
        self._on_cancel: Callable[[], None] | None = None
        self._on_retry: Callable[[], None] | None = None
        self.text = ""
        self._line = kit.html()
        self.cancel_button = kit.button(
            "Cancel", self._cancel, tooltip=f"Cancel {about}", shown=False
        )
        self.retry_button = kit.button("Retry", self._retry, tooltip=f"Retry {about}", shown=False)
        self.box = kit.box((self._line, self.cancel_button, self.retry_button), "xm-notice")
        self.box.layout = kit.gone

    def _cancel(self) -> None:
        if self._on_cancel is not None:
            self._on_cancel()

    def _retry(self) -> None:
        if self._on_retry is not None:
            self._on_retry()

    def show(
        self,
        text: str,
        *,
        bad: bool = False,
        busy: bool = False,
        share: float | None = None,
        cancel: Callable[[], None] | None = None,
        retry: Callable[[], None] | None = None,
    ) -> None:
        """Say something.

        Parameters
        ----------
        text
            Plain text; it is escaped here.
        bad
            An error.
        busy, share
            Draws a thin progress line, of a known share or an unknown one.
        cancel, retry
            What the buttons do; they must return at once. None hides the button.
        """
        self.text = plain(text, 1000)
        sign = '<span class="xm-sign">✕</span>' if bad else ""
        tone = "xm-bad" if bad else "xm-dim"
        role = "alert" if bad else "status"
        thin = ""
        if busy:
            unknown = " xm-unknown" if share is None else ""
            width = "" if share is None else f' style="width:{share * 100:.1f}%"'
            thin = (
                f'<div class="xm-bar xm-thin{unknown}" role="progressbar" aria-label="Progress">'
                f"<div{width}></div></div>"
            )
        words = escape(text, 1000)
        long = bad and len(text) > LONG
        whole = popover("Whole text", f'<p class="xm-bad">{words}</p>') if long else ""
        self._line.value = (
            f'<div class="xm-say {tone}" role="{role}" title="{words}">{sign}'
            f'<span class="xm-words">{words}</span></div>{thin}{whole}'
        )
        self._on_cancel, self._on_retry = cancel, retry
        self.cancel_button.layout = self._kit.shown if cancel else self._kit.gone
        self.retry_button.layout = self._kit.shown if retry else self._kit.gone
        self.box.layout = self._kit.shown

    def clear(self) -> None:
        """Say nothing."""
        self.text = ""
        self._on_cancel = self._on_retry = None
        self.box.layout = self._kit.gone
