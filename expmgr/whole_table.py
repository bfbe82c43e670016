"""A DataFrame that shows its texts whole: pandas cuts a cell after 50 characters."""

from __future__ import annotations

import shutil
import textwrap
from numbers import Number
from typing import Any

import pandas as pd

from expmgr.formatting import format_count
from expmgr.sources import NO_SOURCE, Source
from expmgr.text import MESSAGE_LIMIT, escape, plain

__all__ = ["WholeTable"]

_MOST_ROWS = 60
"""Rows that are shown, as pandas itself has it; the first and the last of a longer table."""
_GAP = 2
_WHOLE_WORD = 34
"""Characters up to which a word is not broken: the id of a model has so many."""


class WholeTable(pd.DataFrame):
    """What `check` and `storage_usage` return: a DataFrame in all but its looks.

    In a notebook a table of whole texts, in a terminal lines that wrap within their column. What
    is computed from it is a plain DataFrame again.
    """

    @classmethod
    def said(cls, frame: pd.DataFrame, source: Source = NO_SOURCE) -> WholeTable:
        """Return a frame as such a table, with what it was counted by in its ``attrs``."""
        table = cls(frame)
        if source.words:
            table.attrs["source"] = source.words
        if source.taken is not None:
            table.attrs["taken"] = source.taken.isoformat(timespec="seconds")
        return table

    @property
    def _source(self) -> str:
        return str(self.attrs.get("source", ""))

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str:
        names, rows = self._shown()
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(
            "<tr>"
            + "".join(
                f'<td style="text-align:{"right" if number else "left"};white-space:pre-wrap;'
                f'overflow-wrap:anywhere"><bdi>{escape(text, MESSAGE_LIMIT)}</bdi></td>'
                for text, number in row
            )
            + "</tr>"
            for row in rows
        )
        said = f"<br>{escape(self._source, MESSAGE_LIMIT)}" if self._source else ""
        return (
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"<p>{format_count(len(self), 'row')}{said}</p>"
        )

    def __repr__(self) -> str:
        """Return the table as text that fits the terminal."""
        return self.as_text()

    __str__ = __repr__

    def as_text(self, most_rows: int = _MOST_ROWS) -> str:
        """Return the table as text that fits the terminal, or 100 columns where there is none.

        Parameters
        ----------
        most_rows
            Of a longer table the first and the last of them.
        """
        names, rows = self._shown(most_rows)
        if not names:
            return super().__repr__()
        kinds = zip(*rows, strict=True) if rows else [()] * len(names)
        heads = zip(names, kinds, strict=True)
        lines = [[(name, any(number for _, number in kind)) for name, kind in heads], *rows]
        room = shutil.get_terminal_size((100, 24)).columns
        widths = _fit(lines, room)
        blocks = _blocks(widths, room)
        if len(blocks) > 1:  # which line is which is told by the number in front
            numbers = ["", *self._numbers(most_rows)]
            lines = [[(at, True), *line] for at, line in zip(numbers, lines, strict=True)]
            widths = _fit(lines, room)
            blocks = _blocks(widths, room)
        text: list[str] = []
        for places in blocks:
            text += [""] if text else []
            for line in lines:
                text += _wrap([line[at] for at in places], [widths[at] for at in places])
        if len(self) > most_rows:
            text.append(f"[{format_count(len(self), 'row')}]")
        text += textwrap.wrap(plain(self._source, MESSAGE_LIMIT), room)
        return "\n".join(text)

    def _numbers(self, most_rows: int) -> list[str]:
        """Return the index of the rows to show."""
        half = most_rows // 2
        index = [plain(label) for label in self.index]
        return [*index[:half], "…", *index[-half:]] if len(index) > most_rows else index

    def _shown(self, most_rows: int = _MOST_ROWS) -> tuple[list[str], list[list[tuple[str, bool]]]]:
        """Return the headings and the rows to show: each cell as plain text, and if a number."""
        half = most_rows // 2
        part: Any = self
        if len(self) > most_rows:
            part = pd.concat([self.head(half), self.tail(half)])
        names = [plain(name) for name in self.columns]
        rows = [
            [_cell(value) for value in line] for line in part.itertuples(index=False, name=None)
        ]
        if len(self) > most_rows:
            rows.insert(half, [("…", False)] * len(names))
        return names, rows


def _cell(value: Any) -> tuple[str, bool]:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "", False
    return plain(value, MESSAGE_LIMIT), isinstance(value, Number)


def _fit(lines: list[list[tuple[str, bool]]], room: int) -> list[int]:
    """Return the width of each column: the widest made narrower, but no word broken for it."""
    columns = list(zip(*lines, strict=True))
    widths = [max(len(text) for text, _ in column) for column in columns]
    least = [
        min(
            _WHOLE_WORD,
            max((len(word) for text, _ in column for word in text.split(" ")), default=1),
        )
        for column in columns
    ]
    room -= _GAP * (len(widths) - 1)
    while sum(widths) > room:
        spare = [width - word for width, word in zip(widths, least, strict=True)]
        if max(spare) <= 0:
            break
        widest = max((at for at, left in enumerate(spare) if left > 0), key=lambda at: widths[at])
        widths[widest] -= 1
    return widths


def _blocks(widths: list[int], room: int) -> list[list[int]]:
    """Return the columns that stand side by side; the first leads each block."""
    blocks: list[list[int]] = [[0]]
    for place in range(1, len(widths)):
        together = [*blocks[-1], place]
        if sum(widths[at] + _GAP for at in together) - _GAP > room and len(blocks[-1]) > 1:
            blocks.append([0, place])
        else:
            blocks[-1] = together
    return blocks


def _wrap(line: list[tuple[str, bool]], widths: list[int]) -> list[str]:
    cells = [
        textwrap.wrap(text, max(1, width)) or [""]
        for (text, _), width in zip(line, widths, strict=True)
    ]
    found = []
    for at in range(max(map(len, cells))):
        parts = []
        for cell, (_, number), width in zip(cells, line, widths, strict=True):
            text = cell[at] if at < len(cell) else ""
            parts.append(text.rjust(width) if number else text.ljust(width))
        found.append((" " * _GAP).join(parts).rstrip())
    return found
