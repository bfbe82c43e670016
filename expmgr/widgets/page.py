"""The page of a browser: it draws a session with widgets, and posts to it what is clicked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.formatting import format_count
from expmgr.text import escape
from expmgr.tracking.user import user_name
from expmgr.widgets.details import Details
from expmgr.widgets.keyboard import keyboard
from expmgr.widgets.kit import Kit
from expmgr.widgets.many_line import ManyLine
from expmgr.widgets.notice import Notice
from expmgr.widgets.page_watch import PageWatch
from expmgr.widgets.session.dialogues import MANY
from expmgr.widgets.table import MOST_ROWS, RunTable, Surroundings
from expmgr.widgets.theme import style_sheet
from expmgr.widgets.toolbar import Footer, Toolbar
from expmgr.widgets.views import Views

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from expmgr.widgets.session.deletion import Offer
    from expmgr.widgets.session.session import Session

__all__ = ["Page"]

_READ_ONLY = '<span role="note">This page is read-only: nothing can be deleted here.</span>'


class Page:
    """The widgets of one browser.

    It only draws, on the session's loop, and posts, from the kernel's thread: no callback waits.

    Parameters
    ----------
    scope
        CSS class of this browser alone.

    Attributes
    ----------
    widget
        The widget that is displayed.
    """

    def __init__(self, session: Session, scope: str) -> None:
        self._session = session
        self._scope = scope
        self._post = session.loop.post
        self.kit = kit = Kit()
        manager, changes = session.manager, not session.read_only
        self.style = kit.html(style_sheet(scope, session.columns))
        self.toolbar = Toolbar(
            kit,
            self,
            filter_string=session.loading.filter_string,
            loud=self._loud,
            can_measure=hasattr(manager, "storage_usage"),
            main_metric=session.main_metric,
        )
        self.notice = Notice(
            kit,
            "loading the runs",
            cancel=lambda: self._post(session.loading.cancel),
            retry=lambda: self._post(session.loading.start),
        )
        self.size_notice = Notice(
            kit,
            "measuring the sizes",
            cancel=lambda: self._post(session.measuring.cancel),
            retry=lambda: self._post(session.measuring.retry),
        )
        self.many: ManyLine | None = None
        if changes:
            keep = int(getattr(manager, "n_top_runs", 10))
            self.many = ManyLine(kit, self, keep=keep, loud=self._loud)
        pins = changes and hasattr(manager, "pin")
        self.details = Details(
            kit,
            press_keep=self.keep if pins else None,
            pick_others=self.pick_but_its_best if changes else None,
        )
        self.pictures = kit.html("", "xm-picture-page")
        self.pictures.layout = kit.gone
        self.table = RunTable(
            kit, self, read_only=not changes, on_sort=self.sort, on_tick_all=self.tick_page
        )
        self.table.make_rows(session.lines.page_size)
        self.footer = Footer(kit, self, page_size=session.lines.page_size, loud=self._loud)
        runs = (
            self.toolbar.box,
            kit.html(_READ_ONLY, "xm-read-only") if self.many is None else self.many.box,
            kit.box((self.notice.box, self.size_notice.box), "xm-notices"),
            self.pictures,
            self.table.box,
            self.footer.box,
        )
        self.views = Views(kit, session, self, self._loud, runs)
        parts = (self.style, *self.views.boxes, *keyboard(kit))
        look = () if changes else ("xm-looking",)
        self.widget = kit.box(parts, "xm-root", scope, *look)
        PageWatch(kit, self.widget, lambda: self._post(kit.say_again))
        self.draw_columns()
        self.draw_many()

    def _loud(self) -> bool:
        """Tell whether a change of a widget comes from a person."""
        return not self._session.loop.inside

    # ------------------------------------------------------------------------------------- drawing

    def draw_page(self) -> None:
        """Draw the lines and the footer."""
        session = self._session
        self.table.show_page(
            session.lines.records,
            self._around(),
            page_size=session.lines.page_size,
            empty=escape(session.nothing, 400),
        )
        self.draw_footer()
        if session.pictures is not None:
            session.draw_pictures()

    def _around(self) -> Surroundings:
        session, details = self._session, self.details
        return Surroundings(
            session.context,
            deletion_of=session.dialogues.get,
            is_ticked=session.lines.is_ticked,
            opened=(session.looking.id, details.box) if session.looking.id else None,
            checking=session.checking,
            foldable=session.lines.foldable,
        )

    def draw_line(self, id_: str) -> None:
        """Draw one line."""
        for row, record in zip(self.table.pool, self._session.lines.records, strict=False):
            if row.run_id == id_:
                self.table.show_row(row, record, self._around())
                break

    def draw_many(self) -> None:
        """Draw the line above the table."""
        if self.many is None:
            return
        deletion = self._session.dialogues.get(MANY)
        if deletion is None:
            self.many.show_ticked(self._session.asked())
        else:
            self.many.show_deletion(deletion)

    def draw_footer(self) -> None:
        """Draw the totals, and what is ticked."""
        session, lines = self._session, self._session.lines
        self.footer.show(
            lines.totals(),
            page=lines.page + 1,
            pages=lines.pages,
            note=session.note,
            complete=lines.complete,
            compare=session.compare,
        )
        self.draw_many()

    def draw_loading(self) -> None:
        """Draw what is said of loading."""
        self.notice.show(self._session.loading.message)
        self.toolbar.show_filter_error(self._session.loading.refused)

    def draw_measuring(self) -> None:
        """Draw what is said of measuring."""
        self.size_notice.show(self._session.measuring.message)

    def draw_details(self) -> None:
        """Draw the panel of the line that is open."""
        session = self._session
        id_ = session.looking.id
        if not id_:
            self.details.show(session.looking, session.keeping, None)
            return
        self.details.show(
            session.looking,
            session.keeping,
            session.dialogues.get(id_),
            others=len(session.lines.but_its_best(id_)),
            ids=session.would_ask(id_),
            interrupted=session.is_interrupted(id_),
        )

    def draw_query(self) -> None:
        """Draw what is asked for."""
        self.toolbar.show_query(self._session.lines.query, self._session.loading.filter_string)

    def draw_columns(self) -> None:
        """Draw the header and the chooser."""
        session, query = self._session, self._session.lines.query
        self._draw_style()
        self.toolbar.chooser.show([column.key for column in session.columns])
        self.table.show_columns(session.columns, query.sort_by, ascending=query.ascending)

    def _draw_style(self) -> None:
        session = self._session
        style = style_sheet(self._scope, session.columns, folds=session.lines.foldable)
        if self.style.value != style:
            self.style.value = style

    def draw_choices(self) -> None:
        """Draw what can be chosen: columns, experiments, people."""
        session, content = self._session, self._session.lines.content
        self.toolbar.chooser.offer(session.offered_columns())
        self.toolbar.offer_experiments(content.experiments())
        self.toolbar.offer_owners(content.owners(), user_name())
        self.toolbar.offer_studies(nested=content.families.nested)
        self._draw_style()
        self.draw_query()

    def draw_pictures(self) -> None:
        """Draw the pictures in the table's place, or the table."""
        kit, html = self.kit, self._session.pictures
        shown = html is not None
        self.toolbar.pictures_button.description = "Table" if shown else "Pictures"
        self.table.box.layout = kit.gone if shown else kit.shown
        self.footer.pager.layout = self.table.box.layout
        self.pictures.layout = kit.shown if shown else kit.gone
        if shown:
            count = format_count(len(self._session.lines.positions), "run")
            drawing = f'<p class="xm-dim" role="status">Drawing {count} …</p>'
            self.pictures.value = html or drawing

    def draw_views(self) -> None:
        """Draw the view that is chosen."""
        self.views.show()

    def draw_clean_up(self) -> None:
        """Draw the Clean up view."""
        self.views.draw_clean_up()

    def draw_log(self) -> None:
        """Draw the Deletions view."""
        self.views.draw_log()

    # ------------------------------------------------------------------------------------- posting

    def press(self, id_: str) -> None:
        """Delete, Cancel, Stop or Close on a line."""
        self._post(lambda: self._session.press(id_))

    def confirm(self, id_: str, offer: Offer) -> None:
        """Second click, on a line or above the table."""
        self._post(lambda: self._session.confirm(id_, offer))

    def type_number(self, id_: str, text: str) -> None:
        """Take note of a number that was typed, on a line or above the table."""
        self._post(lambda: self._session.dialogues.type_number(id_, text))

    def press_many(self) -> None:
        """Delete selected, Cancel, Stop or Close."""
        self._post(self._session.press_many)

    def redraw(self) -> None:
        """Show again what holds: a click that did not count may have changed a tick box."""
        self._post(self.draw_page)

    def tick(self, id_: str, on: bool) -> None:
        """Take note of a line's tick box."""
        self._post(lambda: self._session.tick([id_], on=on))

    def tick_page(self, on: bool) -> None:
        """Take note of the header's tick box."""
        self._post(lambda: self._session.tick_page(on=on))

    def pick_many(self, which: str) -> None:
        """Tick many."""
        self._post(lambda: self._session.pick_many(which))

    def pick_but_its_best(self, run_id: str) -> None:
        """Tick the models of a run but for its best."""
        self._post(lambda: self._session.pick_but_its_best(run_id))

    def open(self, id_: str) -> None:
        """Open or close a line's details."""
        self._post(lambda: self._session.open(id_))

    def unfold(self, id_: str) -> None:
        """Unfold or fold a line."""
        self._post(lambda: self._session.unfold(id_))

    def keep(self, id_: str, reason: str) -> None:
        """Keep a line, or take back what keeps it."""
        self._post(lambda: self._session.keep(id_, reason))

    def sort(self, key: str) -> None:
        """Sort by a column."""
        self._post(lambda: self._session.sort(key))

    def change_query(self, **changes: Any) -> None:
        """Follow a filter; a search waits until typing pauses."""
        if "search" in changes:
            self._post(lambda: self._session.search_soon(changes["search"]))
        else:
            self._post(lambda: self._session.ask(**changes))

    def filter_soon(self, filter_string: str) -> None:
        """Ask the server with another filter."""
        self._post(lambda: self._session.filter(filter_string.strip()))

    def clear_soon(self, names: Sequence[str]) -> None:
        """Leave no line out for these filters."""
        self._post(lambda: self.look_as(dict.fromkeys(names, "")))

    def refresh_soon(self) -> None:
        """Fetch what changed."""
        self._post(self._session.refresh)

    def choose_columns_soon(self, keys: tuple[str, ...]) -> None:
        """Show these columns, in this order, the run's name first."""
        self._post(lambda: self._session.show_columns(keys))

    def measure_soon(self) -> None:
        """Measure all sizes."""
        self._post(self._session.measure)

    def pictures_soon(self) -> None:
        """Change between the table and the pictures."""
        self._post(self._session.toggle_pictures)

    def turn_to(self, where: str) -> None:
        """Turn the page."""
        self._post(lambda: self._session.turn(where))

    def resize_page(self, rows: int) -> None:
        """Change the lines on a page."""
        self._post(lambda: self._session.resize(max(1, min(rows, MOST_ROWS))))

    # ------------------------------------------------------------------- what code asks for, drawn

    def look_as(self, look: Mapping[str, Any]) -> None:
        """Look at the table in another way, also where a person typed something else."""
        if "page_size" in look:
            self.footer.show_size(look["page_size"])
        if "search" in look:
            self.toolbar.search.value = look["search"]
        if "filter_string" in look:
            self.toolbar.filter_box.value = look["filter_string"]
        self._session.look_as(look)
