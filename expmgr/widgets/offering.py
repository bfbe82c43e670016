"""The second click: a Confirm for each offer, and where many go, the box for their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.text import plain
from expmgr.widgets.arming import armed_button

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    import ipywidgets as widgets

    from expmgr.widgets.kit import Kit
    from expmgr.widgets.session.deletion import Deletion, Offer

    class OfferActions(Protocol):
        """What comes of an offer. Every call must return at once."""

        def confirm(self, id_: str, offer: Offer) -> None: ...
        def type_number(self, id_: str, text: str) -> None: ...


__all__ = ["Offering", "OfferingLine"]


class Offering:
    """What a line asks, behind what always stands in its box.

    Parameters
    ----------
    box
        The line.
    base
        What always stands in it.

    Attributes
    ----------
    confirm_button
        A new button for each offer, None while nothing is offered.
    count_box
        Where so many go that their number is to be typed: the box for it; else None.
    """

    def __init__(
        self, kit: Kit, actions: OfferActions, box: widgets.Box, base: Sequence[widgets.Widget]
    ) -> None:
        self._kit = kit
        self._actions = actions
        self._box = box
        self._base = tuple(base)
        self._offer: Offer | None = None
        self._typed_for: Deletion | None = None
        self.confirm_button: widgets.Button | None = None
        self.count_box: widgets.Text | None = None

    def show(self, deletion: Deletion | None, *behind: widgets.Widget) -> None:
        """Make what a new offer needs, and end what an old one needed.

        Parameters
        ----------
        behind
            What else stands in the line for now.
        """
        offer = deletion.offer if deletion is not None else None
        asked = deletion if deletion is not None and deletion.typed else None
        dead: list[widgets.Widget | None] = []
        if offer is not self._offer:
            dead.append(self.confirm_button)
            self._offer, self.confirm_button = offer, None
            if offer is not None and deletion is not None:
                self.confirm_button = self._make_confirm(deletion, offer)
        if asked is not self._typed_for:
            dead.append(self.count_box)
            self._typed_for, self.count_box = asked, None
            if asked is not None:
                self.count_box = self._make_count_box(asked)
        made = (self.count_box, self.confirm_button)
        children = (*self._base, *(widget for widget in made if widget is not None), *behind)
        if self._box.children != children:
            self._box.children = children
        for widget in dead:
            if widget is not None:
                self._kit.end(widget)

    def _make_confirm(self, deletion: Deletion, offer: Offer) -> widgets.Button:
        id_, name = deletion.id, plain(deletion.name, 60)
        return armed_button(
            self._kit,
            offer.text,
            lambda: self._actions.confirm(id_, offer),
            *(("xm-mild",) if deletion.kind == "restore" else ()),
            tooltip=f"{offer.text}: {name}" if name else "",
        )

    def _make_count_box(self, deletion: Deletion) -> widgets.Text:
        id_, name, number = deletion.id, plain(deletion.name, 60), f"Type {deletion.typed}"
        return self._kit.text(
            number,
            lambda text: self._actions.type_number(id_, text),
            "xm-count",
            tooltip=f"{number} to delete the models of {name}" if name else "",
        )


class OfferingLine:
    """A line that may ask: what it asks with are the widgets of its offer."""

    _offering: Offering

    @property
    def confirm_button(self) -> widgets.Button | None:
        """The second click: a new button for each offer, None while nothing is offered."""
        return self._offering.confirm_button

    @property
    def count_box(self) -> widgets.Text | None:
        """Where so many go that their number is to be typed: the box for it; else None."""
        return self._offering.count_box
