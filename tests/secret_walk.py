"""The walk for secrets: every text in which a value, an error or a log record can show itself."""

from __future__ import annotations

import base64
import logging
import pickle
import pprint
import traceback
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from azure.core.credentials import AccessToken
from pydantic import SecretBytes, SecretStr

TESTS = str(Path(__file__).parent)
LOUD = ("azure", "urllib3", "requests", "msrest", "mlflow", "expmgr", "http", "sqlalchemy")
_OPAQUE = (SecretStr, SecretBytes, AccessToken, type, type(pickle), logging.Logger)


class Walk:
    """Looks at values for some secrets, in the forms in which they travel, and counts places."""

    def __init__(self, *secrets: str, logins: tuple[str, ...] = ()) -> None:
        forms = set()
        for secret in secrets:
            forms |= {secret, quote(secret, safe=""), quote(secret), unquote(secret)}
            forms |= {repr(secret)[1:-1], base64.b64encode(secret.encode()).decode()}
        forms |= {base64.b64encode(login.encode()).decode() for login in logins}
        self.forms = sorted(form for form in forms if form)
        self.places = 0
        self.found: list[str] = []

    def text(self, place: str, text: object) -> None:
        self.places += 1
        shown = text.decode("latin-1") if isinstance(text, (bytes, bytearray)) else str(text)
        self.found += [f"{place}: {form}" for form in self.forms if form in shown]

    def value(self, place: str, value: object) -> None:
        """A value as it prints, what it is made of, and its pickle where it has one."""
        self.text(f"repr of {place}", repr(value))
        self.text(f"str of {place}", str(value))
        self.text(f"pprint of {place}", pprint.pformat(value))
        for name, part in getattr(value, "__dict__", {}).items():
            self.text(f"{place}.{name}", repr(part))
            held = {} if isinstance(part, _OPAQUE) else getattr(part, "__dict__", {})
            for inner, piece in held.items():
                self.text(f"{place}.{name}.{inner}", repr(piece))
        try:
            self.text(f"pickle of {place}", pickle.dumps(value))
        except Exception as refused:  # noqa: BLE001 - whatever does not pickle does not leak
            self.text(f"refused pickle of {place}", refused)
        if isinstance(value, BaseException):
            self.error(place, value)

    def error(self, place: str, error: BaseException) -> None:
        """An error with causes and contexts: its words, what it holds, and locals of its frames."""
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        for one, summary in _chain(error, told):
            kind = f"{place}: {type(one).__name__}"
            self.text(f"{kind} in words", f"{one!r} {one}")
            for path, piece in _reachable(one):
                self.text(f"{kind}{path}", piece)
            for frame in summary.stack:
                if not frame.filename.startswith(TESTS):  # the caller's own are the caller's
                    for name, local in (frame.locals or {}).items():
                        self.text(f"{kind} {frame.filename}:{frame.lineno} {name}", local)

    def records(self, place: str, records: list[logging.LogRecord]) -> None:
        for record in records:
            self.text(f"{place} log of {record.name}", record.getMessage())
            self.text(f"{place} log of {record.name}, arguments", repr(record.args))
            if record.exc_info and record.exc_info[1] is not None:
                self.error(f"{place} log of {record.name}", record.exc_info[1])

    @contextmanager
    def refused(self, place: str, kinds: type[BaseException] | tuple = Exception):
        """Expect an error, and look at it."""
        try:
            yield
        except kinds as error:
            self.error(place, error)
        else:
            raise AssertionError(f"{place} raised nothing")

    def ends(self) -> None:
        assert self.places
        assert not self.found, "\n".join(sorted(set(self.found))[:40])


def _chain(error, told):
    seen = set()
    todo = [(error, told)]
    while todo:
        one, summary = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one, summary
        for link in (one.__cause__, one.__context__):
            if link is not None:
                later = traceback.TracebackException.from_exception(link, capture_locals=True)
                todo.append((link, later))


def _reachable(error):
    """Every text that an error keeps alive, by attributes and in containers."""
    seen = set()
    todo = [("", error.__dict__), (".args", error.args)]
    while todo:
        path, value = todo.pop()
        if id(value) in seen or isinstance(value, _OPAQUE) or callable(value):
            continue
        seen.add(id(value))
        if isinstance(value, (str, bytes, bytearray)):
            yield path, value
        elif isinstance(value, dict):
            todo += [(f"{path}[{key!r}]", part) for key, part in value.items()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            todo += [(f"{path}[]", part) for part in value]
        elif not isinstance(value, BaseException):
            todo += [
                (f"{path}.{name}", part) for name, part in getattr(value, "__dict__", {}).items()
            ]


@contextmanager
def loud_logs():
    """Yield a list that every record of the libraries below us goes to, at DEBUG level."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = records.append
    loggers = [logging.getLogger(name) for name in LOUD]
    before = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
    try:
        yield records
    finally:
        for logger, level in before:
            logger.setLevel(level)
            logger.removeHandler(handler)
