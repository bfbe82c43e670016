"""The table without a kernel: for saved notebooks, nbconvert, GitHub, mail and terminals. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from expmgr.text import escape, plain
from expmgr.widgets.cells import cell_of, cell_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expmgr.widgets.cells import Cell
    from expmgr.widgets.columns import Column, Context

__all__ = ["page_html", "page_text", "sentence_html"]

_CELL = "padding:2px 8px;border-bottom:1px solid #8884;white-space:nowrap;"
_HIDDEN = "position:absolute;left:0;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"
_WIDTHS = {"name": 30, "experiment": 24, "text": 24}


def _cell_html(cell: Cell) -> str:
    """Return a cell indented by blanks, which stay where a page leaves out all styles."""
    text = escape(cell_text(replace(cell, remark="", depth=0)))
    if cell.href:
        text = f'<a href="{escape(cell.href, 2000)}" rel="noopener">{text}</a>'
    if cell.remark:
        text += f" · {escape(cell.remark)}"
    if cell.aside:
        text += f'<span style="{_HIDDEN}">, {escape(cell.aside)}</span>'
    side = "right" if cell.right else "left"
    return (
        f'<td style="{_CELL}text-align:{side};max-width:24em;overflow:hidden;'
        f'text-overflow:ellipsis"><bdi>{"&#160;&#160;" * cell.depth}{text}</bdi></td>'
    )


def page_html(
    columns: Sequence[Column],
    records: Sequence[dict[str, Any]],
    context: Context,
    *,
    footer: str,
    problem: str = "",
) -> str:
    """Return a page as an HTML table with inline styles and no script, everything escaped."""
    head = "".join(
        f'<th style="{_CELL}text-align:{"right" if column.right else "left"}">'
        f"{escape(column.title)}</th>"
        for column in columns
    )
    lines = [
        f"<tr>{''.join(_cell_html(cell_of(column, record, context)) for column in columns)}</tr>"
        for record in records
    ]
    when = context.now.strftime("%Y-%m-%d %H:%M %Z")
    wrong = f"<p>{escape(problem, 600)}</p>" if problem else ""
    body = (
        f'<table style="border-collapse:collapse;font-size:12.5px"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
        if records
        else ""
    )
    return (
        f'<div class="expmgr-static">{wrong}{body}'
        f'<p style="font-size:12.5px">{escape(footer, 600)} · as of {escape(when)}</p></div>'
    )


def sentence_html(text: str) -> str:
    """Return what another view says, line by line, escaped."""
    lines = "<br>".join(escape(line, 2000) for line in text.splitlines())
    return f'<div class="expmgr-static"><p style="font-size:12.5px">{lines}</p></div>'


def page_text(
    columns: Sequence[Column],
    records: Sequence[dict[str, Any]],
    context: Context,
    *,
    footer: str,
    problem: str = "",
) -> str:
    """Return a page as plain text for terminals."""
    rows = [
        [
            cell_text(cell_of(column, record, context), _WIDTHS.get(column.kind, 22))
            for column in columns
        ]
        for record in records
    ]
    titles = [plain(column.title, 22) for column in columns]
    widths = [
        max([len(title), *(len(row[place]) for row in rows)]) for place, title in enumerate(titles)
    ]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(cells, widths, columns, strict=True)
        ).rstrip()

    table = [line(titles), *(line(row) for row in rows)] if rows else []
    return "\n".join([*([plain(problem, 600)] if problem else []), *table, plain(footer, 600)])
