"""One record of the Deletions view: what it says, and one button."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.text import HOVER_LIMIT, escape
from expmgr.widgets.arming import Arming, Slot
from expmgr.widgets.offering import Offering, OfferingLine
from expmgr.widgets.row import FACES, said_html

if TYPE_CHECKING:
    from collections.abc import Callable

    import ipywidgets as widgets

    from expmgr.widgets.kit import Kit
    from expmgr.widgets.offering import OfferActions
    from expmgr.widgets.session.deletion import Deletion
    from expmgr.widgets.session.log_lines import LogLine

__all__ = ["LogRow", "record_html"]

_LABELS = {"keep": "Keep", "resume": "Resume", "restore": "Restore"}
_ABOUT = {"keep": "the model of {}", "resume": "the deletion of {}", "restore": "the model of {}"}


class LogRow(OfferingLine):
    """A reusable line of two text lines.

    Parameters
    ----------
    press
        Told the key of the record whose button was clicked. Must return at once.

    Attributes
    ----------
    key
        Of the record that is shown, "" while the row is unused.
    button
        None in a read-only browser.
    """

    def __init__(
        self, kit: Kit, actions: OfferActions, press: Callable[[str], None], *, read_only: bool
    ) -> None:
        self._kit = kit
        self._press = press
        self._fresh = Arming()
        self.key = self.status = ""
        self.text = kit.html("", "xm-record-text")
        self._slot = None if read_only else Slot(kit, "", self._clicked, "xm-slot")
        self.button = None if self._slot is None else self._slot.button
        base: tuple[widgets.Widget, ...] = (
            (self.text,) if self.button is None else (self.text, self.button)
        )
        self.box = kit.box(base, "xm-record")
        self.box.layout = kit.gone
        self._offering = Offering(kit, actions, self.box, base)

    def _clicked(self) -> None:
        if self.key and self._fresh.takes():
            self._press(self.key)

    def bind(self, line: LogLine | None, deletion: Deletion | None) -> None:
        """Show a record, or nothing."""
        if line is None:
            self.key = self.status = ""
            self._offering.show(None)
            self.box.layout = self._kit.gone
            return
        if line.key != self.key:
            self._fresh.start()  # a click may be meant for what stood here before
        self.key = line.key
        self.status = "" if deletion is None else deletion.message
        self.text.value = record_html(line, deletion)
        if self._slot is not None:
            if deletion is None:
                label = _LABELS.get(line.offers, "")
                about = _ABOUT.get(line.offers, "").format(line.name)
                self._slot.show(line.offers, label, about=about)
            else:
                kind, label = FACES[deletion.phase]
                if deletion.kind in ("keep", "restore") and deletion.phase == "running":
                    kind, label = "waiting", "Waiting"
                # It stays alive: a button that dies loses the focus.
                about = f"what was asked about {line.name}"
                self._slot.show(kind, label, about=about, dead=deletion.phase == "stopping")
        self._offering.show(deletion)
        self.box.layout = self._kit.shown


def record_html(line: LogLine, deletion: Deletion | None) -> str:
    """Return a record as escaped HTML; what is said of it takes the place of its second line."""
    tone = {"✕": " xm-bad", "!": " xm-bad", "✓": " xm-good"}.get(line.sign, "")
    where = f'<span class="xm-dim"><bdi>{escape(line.experiment, 80)}</bdi></span>'
    first = (
        f'<span class="xm-outcome{tone}"><span class="xm-sign">{line.sign}</span>'
        f"{escape(line.outcome, 80)}</span>"
        f'<b title="{escape(line.id, HOVER_LIMIT)}"><bdi>{escape(line.name, 80)}</bdi></b>{where}'
        f'<span class="xm-right">{escape(line.size)}</span>'
    )
    if deletion is not None:
        second = said_html(deletion)
    else:
        parts = (line.when, line.who, line.part, line.id, line.about)
        words = escape(" · ".join(part for part in parts if part), HOVER_LIMIT)
        second = f'<div class="xm-dim xm-cut" title="{words}">{words}</div>'
    return f'<div class="xm-first">{first}</div>{second}'
