"""The Deletions view: what went and what will, with Keep, Resume and Restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.formatting import format_bytes, format_count
from expmgr.text import escape
from expmgr.widgets.errand_line import ErrandLine, failures_html
from expmgr.widgets.log_row import LogRow
from expmgr.widgets.notice import Notice
from expmgr.widgets.pager import Pager
from expmgr.widgets.session.logbook import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from expmgr.widgets.kit import Kit
    from expmgr.widgets.offering import OfferActions
    from expmgr.widgets.session.logbook import Logbook
    from expmgr.widgets.session.session import Session

__all__ = ["LogView"]


class LogView:
    """The widgets of the view, made when it is first shown.

    Attributes
    ----------
    rows
        One for each record of a page.
    line
        Delete what is due; None in a read-only browser.
    """

    def __init__(
        self, kit: Kit, session: Session, actions: OfferActions, loud: Callable[[], bool]
    ) -> None:
        self._kit = kit
        post, logbook = session.loop.post, session.logbook
        self.search = kit.text(
            "Search names, ids, people, outcomes",
            lambda text: post(lambda: logbook.look_for(text)) if loud() else None,
        )
        self.refresh_button = kit.button(
            "Refresh", lambda: post(logbook.refresh), tooltip="Read again what went and what will"
        )
        self.notice = Notice(
            kit,
            "reading the deletions",
            cancel=lambda: None,
            retry=lambda: post(logbook.refresh),
        )
        self._told = kit.box((self.notice.box,), "xm-notices")
        self.line = (
            None if session.read_only else ErrandLine(kit, actions, lambda: post(logbook.press_due))
        )
        self.failures = kit.html("")
        self.rows = [
            LogRow(
                kit,
                actions,
                lambda key: post(lambda: logbook.press(key)),
                read_only=session.read_only,
            )
            for _ in range(PAGE)
        ]
        self.empty = kit.html("", "xm-empty")
        frame = kit.box((*(row.box for row in self.rows), self.empty), "xm-frame", "xm-records")
        self.count = kit.html("", "xm-totals")
        self.pager = Pager(kit, "the records", lambda page: post(lambda: logbook.turn(page)))
        parts = (
            kit.box((self.search, self._told, self.refresh_button), "xm-bar-line"),
            *(() if self.line is None else (self.line.box,)),
            self.failures,
            frame,
            kit.box((self.count, self.pager.box), "xm-foot"),
        )
        self.box = kit.box(parts, "xm-view", "xm-log-view")

    def show(self, logbook: Logbook) -> None:
        """Draw the records, and what is done about them."""
        kit = self._kit
        self.notice.show(logbook.message)
        self._told.layout = kit.shown if logbook.message.text else kit.gone
        due = logbook.due
        if self.line is not None:
            size = format_bytes(sum(line.bytes for line in due))
            words = f"{format_count(len(due), 'mark')} due, {size}" if due else "No mark is due."
            self.line.show(
                logbook.deletion,
                "Delete what is due",
                words,
                able=bool(due),
                about="now, after asking its protection again",
            )
        self.failures.value = failures_html(logbook.deletion)
        shown = logbook.shown
        for at, row in enumerate(self.rows):
            line = shown[at] if at < len(shown) else None
            if line is not None or row.key:
                row.bind(line, None if line is None else logbook.told(line))
        nothing = ""
        if not shown and logbook.read_at is not None:
            nothing = "Nothing was deleted or marked yet."
            if logbook.lines:
                nothing = f"No record matches {logbook.search!r}."
        self.empty.value = escape(nothing, 300)
        self.empty.layout = kit.shown if nothing else kit.gone
        self.count.value = f'<span role="status">{escape(_count(logbook), 300)}</span>'
        self.pager.show(logbook.page, logbook.pages)


def _count(logbook: Logbook) -> str:
    if logbook.read_at is None:
        return ""
    found = logbook.found
    words = format_count(len(logbook.lines), "record")
    if len(found) != len(logbook.lines):
        words = f"{len(found):,} of {words}"
    return f"{words}, as of {logbook.read_at:%H:%M} UTC"
