"""The table without a kernel: for saved notebooks, nbconvert, GitHub, mail and terminals. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expmgr.text import CELL_LIMIT, escape, plain
from expmgr.widgets.columns import MODEL_SIGNS, STATUS_SIGNS, run_url, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expmgr.widgets.columns import Column, Context

__all__ = ["page_html", "page_text"]

_CELL = "padding:2px 8px;border-bottom:1px solid #8884;white-space:nowrap;"
_WIDTHS = {"name": 30, "experiment": 24, "text": 24}


def _shown(column: Column, record: dict[str, Any], context: Context) -> str:
    text, _ = text_of(column, record, context)
    if column.kind == "status" and text:
        return f"{STATUS_SIGNS.get(text, '!')} {text}"
    if column.kind == "model" and text:
        return f"{MODEL_SIGNS.get(text, '?')} {text}"
    if column.key == f"metrics.{context.main_metric}" and record.get("is_best") is True:
        return f"★ {text}"
    if column.kind == "when" and text:
        hover = text_of(column, record, context)[1]  # "2 h ago" would be wrong tomorrow
        return hover[:16]  # to the minute
    return text


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
    lines = []
    for record in records:
        cells = []
        for column in columns:
            text = escape(_shown(column, record, context), CELL_LIMIT)
            if column.kind == "name":
                url = run_url(record, context.tracking_uri)
                text = f'<a href="{escape(url, 2000)}" rel="noopener">{text}</a>' if url else text
            side = "right" if column.right else "left"
            cells.append(
                f'<td style="{_CELL}text-align:{side};max-width:24em;overflow:hidden;'
                f'text-overflow:ellipsis"><bdi>{text}</bdi></td>'
            )
        lines.append(f"<tr>{''.join(cells)}</tr>")
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
        [plain(_shown(column, record, context), _WIDTHS.get(column.kind, 22)) for column in columns]
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
