"""Chooses the columns: all there are, searchable, beside those that are shown, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.text import escape, plain
from expmgr.widgets.columns import column_of, usual_titles
from expmgr.widgets.table import MOST_COLUMNS
from expmgr.widgets.view_state import first_column_first

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from expmgr.widgets.kit import Kit

__all__ = ["ColumnChooser"]


class ColumnChooser:
    """Two lists and what moves an entry from one to the other or within the second.

    Parameters
    ----------
    choose
        Told the keys of the columns to show, in order, the run's name first. Must return at once.
    main_metric
        Its column has a title of its own.
    loud
        Tells whether a change of a widget comes from a person.

    Attributes
    ----------
    available, chosen
        The two lists; their options are (title, key).
    """

    def __init__(
        self,
        kit: Kit,
        choose: Callable[[tuple[str, ...]], None],
        main_metric: str,
        loud: Callable[[], bool],
    ) -> None:
        self._choose = choose
        self._titles = usual_titles(main_metric)
        self._keys: tuple[str, ...] = ()
        self._shown: tuple[str, ...] = ()
        self.find = kit.text("Find a column", lambda _: self._list() if loud() else None)
        self.available = kit.many([], lambda _: None, tooltip="Columns that are not shown")
        self.chosen = kit.many([], lambda _: None, tooltip="Columns that are shown, in order")
        self.add = kit.button("Show ▸", self._add, tooltip="Show the selected columns")
        self.remove = kit.button("◂ Hide", self._remove, tooltip="Hide the selected columns")
        self.earlier = kit.button(
            "▴ Earlier", lambda: self._move(-1), tooltip="Move the selected columns to the left"
        )
        self.later = kit.button(
            "▾ Later", lambda: self._move(1), tooltip="Move the selected columns to the right"
        )
        self.hint = kit.html("", "xm-dim")
        buttons = kit.box((self.add, self.remove, self.earlier, self.later), "xm-movers")
        left = kit.box((self.find, self.available), "xm-list-box")
        right = kit.box((self.hint, self.chosen), "xm-list-box")
        self.box = kit.box((left, buttons, right), "xm-chooser")
        self.box.layout = kit.gone

    def offer(self, keys: Sequence[str]) -> None:
        """Set which columns there are."""
        if tuple(keys) != self._keys:
            self._keys = tuple(keys)
            self._list()

    def show(self, keys: Sequence[str]) -> None:
        """Set which are shown, in order."""
        shown = tuple(key for key in keys if key != "run_name")
        if shown != self._shown:
            self._shown = shown
            self._list()

    def _title(self, key: str) -> str:
        title = self._titles.get(key) or column_of(key).title
        group = key.partition(".")[0]
        named = key.startswith(("metrics.", "params.", "tags.")) and key.endswith(f".{title}")
        return f"{title} ({group})" if named and key not in self._titles else title

    def _list(self) -> None:
        words = str(self.find.value).casefold().split()
        for many, keys in (
            (self.available, [key for key in self._keys if key not in self._shown]),
            (self.chosen, self._shown),
        ):
            options = [(plain(self._title(key), 80), key) for key in keys]
            if many is self.available:
                options = [
                    (title, key)
                    for title, key in options
                    if all(word in f"{title} {key}".casefold() for word in words)
                ]
            if list(many.options) != options:
                there = {key for _, key in options}
                selected = [key for key in many.value if key in there]
                many.options = options
                many.value = selected
        self._hint(f"Run, then these {len(self._shown)}:")

    def _hint(self, words: str) -> None:
        self.hint.value = f'<span role="status">{escape(words)}</span>'

    def _add(self) -> None:
        wanted = [key for key in self.available.value if key not in self._shown]
        keys = first_column_first((*self._shown, *wanted))
        self._tell(keys[:MOST_COLUMNS])
        if len(keys) > MOST_COLUMNS:
            over = len(keys) - MOST_COLUMNS
            self._hint(
                f"At most {MOST_COLUMNS} columns fit, so {over} stay hidden; hide some first"
            )

    def _remove(self) -> None:
        gone = set(self.chosen.value)
        self._tell(first_column_first([key for key in self._shown if key not in gone]))

    def _move(self, step: int) -> None:
        keys, moving = list(self._shown), set(self.chosen.value)
        places = [at for at, key in enumerate(keys) if key in moving]
        for at in places if step < 0 else reversed(places):
            to = at + step
            if 0 <= to < len(keys) and keys[to] not in moving:
                keys[at], keys[to] = keys[to], keys[at]
        self._tell(first_column_first(keys))

    def _tell(self, keys: Sequence[str]) -> None:
        if tuple(keys[1:]) != self._shown:
            self.show(keys)
            self._choose(tuple(keys))
