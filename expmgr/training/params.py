"""Params as MLflow keeps them (strings), and back. Pure.

A value is written the way Python prints it (``None``, ``True``, ``0.1``, ``[1, 2, None]``), text
inside lists and dicts in double quotes, and read back as what it was. Text that would read as
something else is quoted too: the text ``10`` is logged as ``"10"``, the number as ``10``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from expmgr.errors import InvalidInputError
from expmgr.training.names import check_key

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_VALUE_LENGTH",
    "decode_params",
    "decode_value",
    "encode_params",
    "encode_value",
    "fingerprint",
    "plain_params",
]

MAX_VALUE_LENGTH = 6000
"""``mlflow.utils.validation.MAX_PARAM_VAL_LENGTH``; MLflow cuts longer values by default."""

_WORDS: dict[str, Any] = {
    "None": None,
    "True": True,
    "False": False,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
}
_TOKEN = re.compile(r"-?[A-Za-z0-9_.+\-]+")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?\Z")
_JSON = json.JSONDecoder(strict=False)
_MAX_DEPTH = 50
_SURROGATE = re.compile("[\ud800-\udfff]")


# ------------------------------------------------------------------------------------ to MLflow


def plain_params(params: object) -> dict[str, Any]:
    """Return a parameter set as a dict of plain values.

    Parameters
    ----------
    params
        A mapping, a dataclass instance or a pydantic model.

    Returns
    -------
    dict
        Values are None, bool, int, float, str, and lists, tuples and dicts of these. Nested
        dataclasses and models have become dicts, NumPy values what their ``tolist()`` gives, an
        enum member its value, a path its text.

    Raises
    ------
    InvalidInputError
        ``params`` is none of these, a name is not one that MLflow takes, or a value has no plain
        form; the message names it.
    """
    fields = _fields_of(params)
    if fields is None:
        message = (
            "params are a dict, a dataclass instance or a pydantic model, not "
            f"{type(params).__name__}."
        )
        raise InvalidInputError(message)
    return {check_key("param", name): _plain(value, str(name), 0) for name, value in fields.items()}


def _fields_of(value: object) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)  # pydantic 2
    if callable(dump) and not isinstance(value, type):
        dumped = dump()
        return dumped if isinstance(dumped, Mapping) else None
    return None


def _plain(value: Any, where: str, depth: int) -> Any:  # noqa: PLR0911 - one kind a line
    if depth > _MAX_DEPTH:
        raise InvalidInputError(f"param {where!r} is nested more than {_MAX_DEPTH} deep.")
    if isinstance(value, Enum):
        return _plain(value.value, where, depth + 1)
    if hasattr(value, "dtype") and callable(getattr(value, "tolist", None)):
        return _plain(value.tolist(), where, depth + 1)
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, list):
        return [_plain(item, where, depth + 1) for item in value]
    if isinstance(value, tuple):
        return tuple(_plain(item, where, depth + 1) for item in value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    fields = _fields_of(value)
    if fields is not None:
        return {
            _plain_key(key, where): _plain(item, where, depth + 1) for key, item in fields.items()
        }
    message = (
        f"param {where!r} has a value of type {type(value).__name__}, which cannot be read back "
        "from MLflow. Give text, a number, None, or lists, tuples and dicts of these."
    )
    raise InvalidInputError(message)


def _plain_key(key: Any, where: str) -> Any:
    plain = _plain(key, where, 0)
    if isinstance(plain, (list, dict, tuple)):
        raise InvalidInputError(f"param {where!r}: a dict's keys are text, numbers or None.")
    return plain


def encode_value(value: Any) -> str:
    """Return a plain value as text that `decode_value` reads back."""
    if isinstance(value, str):
        ambiguous = (
            value != value.strip()
            or not value
            or _SURROGATE.search(value) is not None
            or not _is_text(value)
        )
        return _quote(value) if ambiguous else value
    return _encode(value)


def _encode(value: Any) -> str:
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_encode, value))}]"
    if isinstance(value, tuple):
        inner = ", ".join(map(_encode, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, dict):
        pairs = (f"{_encode(key)}: {_encode(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    return repr(value)


def _quote(text: str) -> str:
    # A lone surrogate has no UTF-8 form; escaped it travels as ASCII.
    return json.dumps(text, ensure_ascii=_SURROGATE.search(text) is not None)


def encode_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Return plain params (see `plain_params`) as MLflow takes them.

    Raises
    ------
    InvalidInputError
        A value needs more than the 6,000 characters that MLflow keeps.
    """
    encoded = {}
    for name, value in params.items():
        try:
            text = encode_value(value)
        except ValueError as error:  # an int of more digits than Python prints
            raise InvalidInputError(f"param {name!r}: {error}.") from error
        if len(text) > MAX_VALUE_LENGTH:
            message = (
                f"param {name!r} takes {len(text):,} characters, and MLflow keeps "
                f"{MAX_VALUE_LENGTH:,}. Log it as an artifact, and its name or hash as the param."
            )
            raise InvalidInputError(message)
        encoded[name] = text
    return encoded


def fingerprint(encoded: Mapping[str, str]) -> str:
    """Return what identifies a parameter set: 32 hex digits, whatever the order of the names."""
    text = json.dumps(sorted(encoded.items()), ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


# ---------------------------------------------------------------------------------- from MLflow


class _NotAValueError(Exception):
    """The text is no written value, so it is text."""


def decode_params(params: Mapping[str, str]) -> dict[str, Any]:
    """Return logged params as the values they were."""
    return {name: decode_value(text) for name, text in params.items()}


def decode_value(text: str) -> Any:
    """Return the value that `encode_value` wrote; any other text is returned as it is."""
    try:
        value, end = _read(text, 0, 0)
    except _NotAValueError:
        return text
    return value if end == len(text) else text


def _is_text(text: str) -> bool:
    try:
        return _read(text, 0, 0)[1] != len(text)
    except _NotAValueError:
        return True


def _read(text: str, at: int, depth: int) -> tuple[Any, int]:
    if at >= len(text) or depth > _MAX_DEPTH + 1:
        raise _NotAValueError
    opening = text[at]
    if opening == '"':
        try:
            return _JSON.raw_decode(text, at)
        except ValueError as error:
            raise _NotAValueError from error
    if opening == "[":
        return _read_items(text, at, "]", depth, _read)
    if opening == "(":
        return _read_tuple(text, at, depth)
    if opening == "{":
        pairs, end = _read_items(text, at, "}", depth, _read_pair)
        return dict(pairs), end
    token = _TOKEN.match(text, at)
    if token is None:
        raise _NotAValueError
    return _word(token.group()), token.end()


def _word(token: str) -> Any:
    if token in _WORDS:
        return _WORDS[token]
    try:
        if _INTEGER.match(token):
            return int(token)
        # Only what repr() prints: "1_0", "1e5" as text and "007" stay what they are.
        if _FLOAT.match(token) and repr(float(token)) == token:
            return float(token)
    except ValueError as error:
        raise _NotAValueError from error
    raise _NotAValueError


def _read_pair(text: str, at: int, depth: int) -> tuple[tuple[Any, Any], int]:
    key, at = _read(text, at, depth)
    if isinstance(key, (list, dict, tuple)) or not text.startswith(": ", at):
        raise _NotAValueError
    value, at = _read(text, at + 2, depth)
    return (key, value), at


def _read_items(
    text: str,
    at: int,
    closing: str,
    depth: int,
    read: Callable[[str, int, int], tuple[Any, int]],
) -> tuple[list[Any], int]:
    items: list[Any] = []
    at += 1
    if text.startswith(closing, at):
        return items, at + 1
    while True:
        item, at = read(text, at, depth + 1)
        items.append(item)
        if text.startswith(closing, at):
            return items, at + 1
        if not text.startswith(", ", at):
            raise _NotAValueError
        at += 2


def _read_tuple(text: str, at: int, depth: int) -> tuple[tuple[Any, ...], int]:
    if text.startswith("()", at):
        return (), at + 2
    first, end = _read(text, at + 1, depth + 1)
    if text.startswith(",)", end):
        return (first,), end + 2
    items, end = _read_items(text, at, ")", depth, _read)
    if len(items) == 1:
        raise _NotAValueError  # "(1)" is not a tuple
    return tuple(items), end
