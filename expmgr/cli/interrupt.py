"""Ctrl-C asks a command to end well; a second one ends it at once."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cancel_by_signals"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def cancel_by_signals() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C, ``kill`` and a closed terminal set.

    What was begun is ended and told then. The second signal raises KeyboardInterrupt. Outside of
    the main thread, which alone may take signals, the event is one that nobody sets.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def cancel(_number: int, _frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    known = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in known}
    for number, handler in list(before.items()):
        if handler == signal.SIG_IGN:  # nohup: whoever started this wants it to go on
            del before[number]
        else:
            signal.signal(number, cancel)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
