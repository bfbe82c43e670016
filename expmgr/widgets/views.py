"""The faces of one browser, Runs, Clean up and Deletions, and the strip that changes them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from expmgr.widgets.clean_up_view import CleanUpView
from expmgr.widgets.log_view import LogView
from expmgr.widgets.session.session import CLEAN_UP_VIEW, LOG_VIEW, RUNS_VIEW

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import ipywidgets as widgets

    from expmgr.widgets.kit import Kit
    from expmgr.widgets.offering import OfferActions
    from expmgr.widgets.session.session import Session

__all__ = ["Views"]

_TITLES = {
    RUNS_VIEW: ("Runs", "Runs and their models"),
    CLEAN_UP_VIEW: ("Clean up", "Clean up by a policy"),
    LOG_VIEW: ("Deletions", "Deletions: what went and what will"),
}


class Views:
    """One face is shown; the others' widgets are made when they are first opened.

    Parameters
    ----------
    runs
        The widgets of the table's face.

    Attributes
    ----------
    boxes
        What stands in the browser's outermost box: nothing but ``runs`` where there is no other
        view to change to.
    buttons
        By view.
    clean_up, log
        The other faces, None until they were opened.
    """

    def __init__(
        self,
        kit: Kit,
        session: Session,
        actions: OfferActions,
        loud: Callable[[], bool],
        runs: Sequence[widgets.Widget],
    ) -> None:
        self._kit = kit
        self._session = session
        self._actions = actions
        self._loud = loud
        self.clean_up: CleanUpView | None = None
        self.log: LogView | None = None
        self.buttons: dict[str, widgets.Button] = {}
        self.boxes: tuple[widgets.Widget, ...] = tuple(runs)
        if len(session.views) < 2:  # noqa: PLR2004 - nothing to change to
            return
        for view in session.views:
            text, tooltip = _TITLES[view]
            self.buttons[view] = kit.button(text, partial(self._choose, view), tooltip=tooltip)
        self._runs = kit.box(runs, "xm-view")
        self._others = kit.box((), "xm-view")
        strip = kit.box(tuple(self.buttons.values()), "xm-views")
        self.boxes = (strip, self._runs, self._others)
        self.show()

    def _choose(self, view: str) -> None:
        self._session.loop.post(partial(self._session.show, view))

    def show(self) -> None:
        """Show the face that is chosen."""
        shown, kit = self._session.shown, self._kit
        for view, button in self.buttons.items():
            chosen = ("xm-chosen",) if view == shown else ()
            button.set_trait("_dom_classes", ("xm-button", *chosen))
        if not self.buttons:
            return
        self._runs.layout = kit.shown if shown == RUNS_VIEW else kit.gone
        if shown == CLEAN_UP_VIEW and self.clean_up is None:
            self.clean_up = CleanUpView(kit, self._session, self._actions, self._loud)
            self._others.children = (*self._others.children, self.clean_up.box)
        if shown == LOG_VIEW and self.log is None:
            self.log = LogView(kit, self._session, self._actions, self._loud)
            self._others.children = (*self._others.children, self.log.box)
        for view, face in ((CLEAN_UP_VIEW, self.clean_up), (LOG_VIEW, self.log)):
            if face is not None:
                face.box.layout = kit.shown if view == shown else kit.gone
        self.draw_clean_up()
        self.draw_log()

    def draw_clean_up(self) -> None:
        """Draw the Clean up view, where it is shown."""
        if self.clean_up is not None and self._session.shown == CLEAN_UP_VIEW:
            self.clean_up.offer_experiments(self._session.lines.content.experiments())
            self.clean_up.show(self._session.cleaning)

    def draw_log(self) -> None:
        """Draw the Deletions view, where it is shown."""
        if self.log is not None and self._session.shown == LOG_VIEW:
            self.log.show(self._session.logbook)
