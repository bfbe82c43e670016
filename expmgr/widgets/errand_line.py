"""One line with one button that asks, and what becomes of it: as the table's bulk line, for views.

It is as high as ever whatever it says, and Confirm stands beside the button, never on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.text import escape, plain
from expmgr.widgets.arming import Slot
from expmgr.widgets.offering import Offering, OfferingLine
from expmgr.widgets.row import FACES, bar, popover

if TYPE_CHECKING:
    from collections.abc import Callable

    import ipywidgets as widgets

    from expmgr.widgets.kit import Kit
    from expmgr.widgets.offering import OfferActions
    from expmgr.widgets.session.deletion import Deletion

__all__ = ["ErrandLine", "failures_html", "said_of_many", "summary_html"]

MOST_FAILURES = 100


class ErrandLine(OfferingLine):
    """A button, Confirm beside it, and words.

    Parameters
    ----------
    press
        What the button does: ask, Cancel, Stop or Close. Must return at once.
    beside
        What else stands in it, before the words.

    Attributes
    ----------
    button
        Says what it would do, and in that place Cancel, Stop and Close.
    status
        What the line says, as plain text.
    """

    def __init__(
        self,
        kit: Kit,
        actions: OfferActions,
        press: Callable[[], None],
        *beside: widgets.Widget,
    ) -> None:
        self.status = ""
        self._slot = Slot(kit, "", press, "xm-delete-many")
        self.button = self._slot.button
        self._line = kit.html("", "xm-line")
        base = (self.button, *beside, self._line)
        self.box = kit.box(base, "xm-bulk")
        self._offering = Offering(kit, actions, self.box, base)

    def show(
        self, deletion: Deletion | None, label: str, words: str = "", *, able: bool, about: str = ""
    ) -> None:
        """Say what becomes of it; while nothing does, what the button would do."""
        if deletion is None:
            self.status = words
            self._line.value = (
                f'<div class="xm-say xm-dim" role="status"><span class="xm-words">'
                f"{escape(words, 400)}</span></div>"
            )
            self._slot.show("delete", label, about=about, dead=not able)
        else:
            self.status = deletion.message
            self._line.value = said_of_many(deletion) + summary_html(deletion)
            kind, text = FACES[deletion.phase]
            self._slot.show(kind, text, about="what was asked", dead=kind == "waiting")
        self._offering.show(deletion)


def said_of_many(deletion: Deletion) -> str:
    """Return what is said of a deletion of many, with a sign and how far it is, as HTML."""
    sign, tone = ("?", "xm-ask") if deletion.phase == "armed" else ("", "xm-ask")
    if deletion.phase == "ended":
        sign, tone = ("✕", "xm-bad") if deletion.failed else ("✓", "xm-good")
    mark = f'<span class="xm-sign">{sign}</span>' if sign else ""
    moving = bar(deletion.share) if deletion.busy else ""
    words = escape(deletion.message, 600)
    return (
        f'<div class="xm-say {tone}" role="status" title="{words}">{mark}'
        f'<span class="xm-words">{words}</span>{moving}</div>'
    )


def summary_html(deletion: Deletion) -> str:
    """Return what became of each, folded, to be copied; "" before it ended."""
    if deletion.phase != "ended" or not deletion.summary:
        return ""
    lines = "\n".join(escape(line, 400) for line in deletion.summary.splitlines())
    return popover("Summary to copy", f'<pre class="xm-copy" tabindex="0">{lines}</pre>')


def failures_html(deletion: Deletion | None) -> str:
    """Return by name what did not go and why, as HTML; "" where all went."""
    if deletion is None or deletion.phase != "ended":
        return ""
    stayed = [result for result in deletion.results if result.outcome not in ("deleted", "marked")]
    if not stayed:
        return ""
    lines = [
        f'<li><span class="xm-sign">{"✕" if one.outcome == "failed" else "◆"}</span>'
        f"<b><bdi>{escape(one.name or one.run_id, 80)}</bdi></b>"
        f' <span class="xm-dim">{escape(one.run_id, 80)}</span>: {_why(one)}</li>'
        for one in stayed[:MOST_FAILURES]
    ]
    if len(stayed) > MOST_FAILURES:
        lines.append(f"<li>and {len(stayed) - MOST_FAILURES:,} more, see the summary</li>")
    return f'<ul class="xm-failures" role="list" tabindex="0">{"".join(lines)}</ul>'


def _why(result: object) -> str:
    return escape(plain(str(result), 400), 400)
