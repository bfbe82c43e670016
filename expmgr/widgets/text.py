"""Text from anywhere (run names, tags, errors) made safe to show. Pure."""

from __future__ import annotations

import html
import unicodedata

__all__ = ["CELL_LIMIT", "HOVER_LIMIT", "escape", "plain"]

CELL_LIMIT = 200
"""Characters of a value that a cell shows."""
HOVER_LIMIT = 1000
"""Characters of a value that its hover text shows."""

# C0 controls have pictures at U+2400; U+200D stays, because it joins emoji
_SIGNS = {chr(code): chr(0x2400 + code) for code in range(0x20)} | {
    "\n": "⏎",
    "\r": "",
    "\t": " ",
    "\x7f": "␡",
    "\u200d": "\u200d",
}


def _visible(character: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"  # a lone surrogate cannot be sent as JSON in UTF-8
    if category in ("Cc", "Cf", "Zl", "Zp"):
        return f"⟨U+{ord(character):04X}⟩"  # marks that would turn or hide the text around them
    return character


def plain(value: object, limit: int = CELL_LIMIT) -> str:
    r"""Return a value as one line of harmless text of at most ``limit`` characters.

    Control characters and marks of direction become visible signs; lone surrogates become
    U+FFFD. The result is not HTML: :func:`escape` is.

    Examples
    --------
    >>> plain("a\x00b\u202ec\nd"), plain("x" * 300, limit=5)
    ('a␀b⟨U+202E⟩c⏎d', 'xxxxx…')
    """
    if value is None:
        return ""
    text = value if isinstance(value, str) else str(value)
    cut = text[:limit]
    if not cut.isprintable():
        cut = "".join(_visible(character) for character in cut)
    return f"{cut}…" if len(text) > limit else cut


def escape(value: object, limit: int = CELL_LIMIT) -> str:
    """Return :func:`plain` text escaped for HTML, attributes included."""
    return html.escape(plain(value, limit), quote=True)
