"""Text from anywhere (run names, tags, errors, answers) made plain and short. Pure.

A name may hold what a terminal obeys or what turns the text around it, and a server may answer
with megabytes. So whatever comes from outside goes through here where it enters a message.
"""

from __future__ import annotations

import html
import unicodedata

__all__ = [
    "CELL_LIMIT",
    "HOVER_LIMIT",
    "MESSAGE_LIMIT",
    "escape",
    "keep_plain",
    "plain",
    "words",
]

CELL_LIMIT = 200
"""Characters of a value that a cell shows."""
HOVER_LIMIT = 1000
"""Characters of a value that its hover text shows."""
MESSAGE_LIMIT = 2000
"""Characters of a message, a reason or a line of a log."""
_LEFT_OUT = 40  # characters that "… (10,000,000 characters more)" takes at most

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


def words(value: object) -> str:
    """Return :func:`plain` text for a message, which says how much of a long one is left out.

    Making it twice changes nothing.

    Examples
    --------
    >>> words("x" * 10_000_000)[-30:]
    'x… (9,998,040 characters more)'
    """
    text = str(value)
    shown = plain(text[:MESSAGE_LIMIT], MESSAGE_LIMIT)
    if len(text) <= MESSAGE_LIMIT >= len(shown):
        return shown
    kept = shown[: MESSAGE_LIMIT - _LEFT_OUT]
    more = len(shown) - len(kept) + max(len(text) - MESSAGE_LIMIT, 0)
    return f"{kept}… ({more:,} characters more)"


def keep_plain(value: object, *names: str) -> None:
    """Make fields of a frozen dataclass plain that hold a text, or a tuple of texts."""
    for name in names:
        field = getattr(value, name)
        said = words(field) if isinstance(field, str) else tuple(map(words, field))
        object.__setattr__(value, name, said)


def escape(value: object, limit: int = CELL_LIMIT) -> str:
    """Return :func:`plain` text escaped for HTML, attributes included."""
    return html.escape(plain(value, limit), quote=True)
