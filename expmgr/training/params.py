"""Params as MLflow keeps them (strings), and back; what it takes as a name. Pure.

A value is written the way Python prints it (``None``, ``True``, ``0.1``, ``[1, 2, None]``), text
inside lists and dicts in double quotes, and read back as what it was. One rule tells: a text is a
value if and only if writing that value gives the text back. So ``007`` and ``[1,2]`` are text, and
text that is a value is quoted: the text ``10`` is logged as ``"10"``, the number as ``10``.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import math
import os
import posixpath
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

from expmgr.errors import InvalidInputError

__all__ = [
    "MAX_KEY_LENGTH",
    "MAX_VALUE_LENGTH",
    "check_key",
    "decode_params",
    "decode_value",
    "encode_params",
    "encode_value",
    "fingerprint",
    "plain_params",
]

MAX_KEY_LENGTH = 250
"""``mlflow.utils.validation.MAX_ENTITY_KEY_LENGTH``"""

MAX_VALUE_LENGTH = 6000
"""``mlflow.utils.validation.MAX_PARAM_VAL_LENGTH``; MLflow cuts longer values by default."""

_NAME = re.compile(r"[/\w.\- :]+\Z")
_MAX_DEPTH = 50
_SURROGATE = re.compile("[\ud800-\udfff]")
_FLOATS = {"nan": math.nan, "inf": math.inf}
# What a written value is made of. Python's parser is shown nothing else, since it warns of what it
# doubts ("1if", "\d"), and warnings cannot be silenced for one thread alone.
_WRITTEN = re.compile(
    r"""(?:"(?:[^"\\\n]|\\["\\bfnrtu])*"|[][(){}:, ]
    |-?(?:None|True|False|nan|inf|[0-9.]+(?:e[+-][0-9]+)?)(?![\w.]))+""",
    re.VERBOSE,
)


def check_key(kind: str, name: object, *, longest: int = MAX_KEY_LENGTH) -> str:
    """Return the name of a param or metric as it is, if MLflow would take it.

    The rules are those of ``mlflow.utils.validation``, checked here so that a bad name is refused
    before anything is sent, and in words.

    Parameters
    ----------
    kind
        What it names, for the message: ``param`` or ``metric``.
    longest
        Characters that it may have.

    Raises
    ------
    InvalidInputError
        It is not a string, empty, too long, has other characters than letters, digits and
        ``_-.:/`` and space, or reads as a path that is not its own shortest form.
    """
    if not isinstance(name, str):
        message = f"the name of a {kind} is a string, not {type(name).__name__} ({name!r})."
        raise InvalidInputError(message)
    if not name:
        raise InvalidInputError(f"the name of a {kind} must not be empty.")
    if len(name) > longest:
        message = f"the {kind} name {name[:60]!r}... has {len(name)} characters; at most {longest}."
        raise InvalidInputError(message)
    if not _NAME.match(name):
        message = (
            f"the {kind} name {name!r} has characters that MLflow does not take; use letters, "
            "digits, underscores, dashes, periods, spaces, colons and slashes."
        )
        raise InvalidInputError(message)
    if posixpath.normpath(name) != name or name == "." or name.startswith(("..", "/")):
        message = (
            f"the {kind} name {name!r} reads as a path that MLflow refuses; leave out '//', '.', "
            "'..' and slashes at either end."
        )
        raise InvalidInputError(message)
    return name


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
    if not isinstance(value, str):
        return _write(value)
    plain = value and value == value.strip() and not _SURROGATE.search(value)
    return value if plain and decode_value(value) == value else _write(value)


def _write(value: Any) -> str:
    if isinstance(value, str):
        quoted = json.dumps(value, ensure_ascii=False)
        # A lone surrogate has no UTF-8 form; escaped it travels as ASCII.
        return _SURROGATE.sub(lambda found: f"\\u{ord(found.group()):04x}", quoted)
    if isinstance(value, list):
        return f"[{', '.join(map(_write, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_write, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        pairs = (f"{_write(key)}: {_write(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    return repr(value)


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


def decode_params(params: Mapping[str, str]) -> dict[str, Any]:
    """Return logged params as the values they were."""
    return {name: decode_value(text) for name, text in params.items()}


def decode_value(text: str) -> Any:
    """Return the value that `encode_value` wrote; any other text is returned as it is."""
    if not _WRITTEN.fullmatch(text):
        return text
    try:
        value = ast.literal_eval(_NamedFloats().visit(ast.parse(text, mode="eval")))
        return value if _write(value) == text else text
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return text


class _NamedFloats(ast.NodeTransformer):
    """Gives ``nan`` and ``inf``, which Python has no literals for, their values."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_FLOATS[node.id]) if node.id in _FLOATS else node
