"""Ctrl-C asks long work to end well; a second one ends it at once."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["cancel_by_ctrl_c", "cancel_by_signals"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def cancel_by_ctrl_c(cancel: threading.Event | None) -> Iterator[threading.Event]:
    """Yield the caller's event, or, where there is none, one that Ctrl-C sets.

    So a notebook's stop button ends a deletion after the requests in flight, with a report of what
    is done, in place of an exception that loses it. As in `cancel_by_signals`.
    """
    if cancel is not None:
        yield cancel
        return
    with cancel_by_signals(("SIGINT",)) as event:
        yield event


@contextmanager
def cancel_by_signals(names: Sequence[str] = _SIGNALS) -> Iterator[threading.Event]:
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

    known = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in known}
    for number, handler in list(before.items()):
        # nohup: whoever started this wants it to go on; None is a handler that is not Python's.
        if handler is None or handler == signal.SIG_IGN:
            del before[number]
        else:
            signal.signal(number, cancel)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
