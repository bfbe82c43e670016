"""An extension of Griffe, which reads the docstrings for the reference.

Parameters that share a description (``progress, on_progress, cancel``) are one entry of a NumPy
docstring. Griffe gives all of them the type and the default of the first; as entries of their own
each has the signature's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from griffe import Extension

if TYPE_CHECKING:
    from griffe import Object

_SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-+$|\Z)", re.DOTALL | re.MULTILINE)
_SHARED = re.compile(r"^(\w+(?:, \w+)+)\n((?:(?:[ ]{4}.*)?\n)*(?:[ ]{4}.*))", re.MULTILINE)


def each_its_own(docstring: str) -> str:
    """Return a docstring whose parameters have an entry each."""

    def entries(shared: re.Match[str]) -> str:
        names, described = shared.groups()
        return "\n".join(f"{name}\n{described.rstrip()}" for name in names.split(", "))

    return _SECTION.sub(lambda section: _SHARED.sub(entries, section[0]), docstring)


class Parameters(Extension):
    """Reads shared parameters one by one."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of a class, a function or an attribute before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = each_its_own(obj.docstring.value)
