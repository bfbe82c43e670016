"""How a browser is looked at, as a plain value: columns, order, filters, rows on a page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from expmgr.errors import InvalidInputError

__all__ = ["check_view", "checked", "first_column_first"]

_TEXTS = ("search", "experiment", "status", "model", "owner", "sort_by", "filter_string", "view")


def check_view(view: object, views: Sequence[str]) -> None:
    """Refuse what is none of the views that a browser has.

    Raises
    ------
    InvalidInputError
        It is none of them.
    """
    if view not in views:
        known = ", ".join(map(repr, views))
        raise InvalidInputError(f"this browser has no view {view!r}; it has: {known}.")


def checked(
    state: Mapping[str, Any], *, most_rows: int, most_columns: int, views: Sequence[str]
) -> dict[str, Any]:
    """Return a view's parts, of which any may be missing.

    Raises
    ------
    InvalidInputError
        A part has another name, type or range; nothing of the view is to be taken then.
    """
    names = (*_TEXTS, "ascending", "flat", "columns", "page_size")
    if not isinstance(state, Mapping):
        raise InvalidInputError(f"a view is a dictionary, not {state!r}.")
    unknown = sorted(map(str, set(state) - set(names)))
    if unknown:
        message = f"a view has no {', '.join(map(repr, unknown))}; it has: {', '.join(names)}."
        raise InvalidInputError(message)
    found = dict(state)
    for name in _TEXTS:
        if not isinstance(found.get(name, ""), str):
            raise InvalidInputError(f"{name!r} of a view must be a text, not {found[name]!r}.")
    if "filter_string" in found:
        found["filter_string"] = found["filter_string"].strip()
    check_view(found.get("view", views[0]), views)
    for name in ("ascending", "flat"):
        if not isinstance(found.get(name, False), bool):
            raise InvalidInputError(f"{name!r} must be True or False, not {found[name]!r}.")
    rows = found.get("page_size", 1)
    if isinstance(rows, bool) or not isinstance(rows, int) or not 1 <= rows <= most_rows:
        raise InvalidInputError(f"'page_size' must be from 1 to {most_rows}, not {rows!r}.")
    if "columns" in found:
        columns = found["columns"]
        several = isinstance(columns, (list, tuple)) and len(columns) > 0
        if not several or not all(isinstance(key, str) and key for key in columns):
            raise InvalidInputError("'columns' must be a list of names of the table's columns.")
        columns = first_column_first(columns)
        if len(columns) > most_columns:
            raise InvalidInputError(f"at most {most_columns} columns fit, not {len(columns)}.")
        found["columns"] = columns
    return found


def first_column_first(keys: list[str] | tuple[str, ...]) -> list[str]:
    """Return the columns once each, the run's name in front: a line says first whose it is."""
    return ["run_name", *(key for key in dict.fromkeys(keys) if key != "run_name")]
