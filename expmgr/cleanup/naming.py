"""How plans and reports name what they are about: the name that people know, and the id. Pure."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from expmgr.text import escape, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NAMED_HEADS", "named_cells", "named_lines"]

_NAME_LIMIT = 40
"""Characters of a name that stand in a line of a terminal."""
NAMED_HEADS = "<th>run</th><th>id</th>"
"""The headings over `named_cells`."""


def named_lines(lines: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return lines of text, each a name, an id and words, with the names and ids in columns.

    Where nothing has a name there is no column of names.

    Examples
    --------
    >>> named_lines([("forest", "m-1", "2 files"), ("", "r10", "nothing is stored")])
    ['  forest  m-1  2 files', '          r10  nothing is stored']
    """
    named = [(plain(plain(name), _NAME_LIMIT), plain(id_), words) for name, id_, words in lines]
    widest = [max((_width(line[at]) for line in named), default=0) for at in (0, 1)]
    return [
        "".join(
            f"  {text}{' ' * (width - _width(text))}"
            for text, width in zip(line[:2], widest, strict=True)
            if width
        )
        + f"  {line[2]}"
        for line in named
    ]


def named_cells(name: str, id_: str) -> str:
    """Return a name and an id as two escaped cells of an HTML table."""
    return f"<td>{escape(name)}</td><td>{escape(id_)}</td>"


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes: signs of East Asia and emoji take two."""
    wide = sum(unicodedata.east_asian_width(sign) in {"W", "F"} for sign in text)
    return len(text) + wide - sum(bool(unicodedata.combining(sign)) for sign in text)
