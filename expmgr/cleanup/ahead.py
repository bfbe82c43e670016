"""Questions that are asked before their answers are needed, while others are still under way."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from typing_extensions import Self

__all__ = ["Ahead"]

_T = TypeVar("_T")

_WORKERS = 8


class Ahead:
    """Answers by question, each taken once; leaving the context waits for what nobody took.

    Outside the context nothing is asked ahead.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._asked: dict[Hashable, Future[Any]] = {}

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="expmgr-ahead")
        return self

    def __exit__(self, *_error: object) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        self._asked.clear()

    def begin(self, question: Hashable, ask: Callable[[], object]) -> None:
        """Begin to ask in the background."""
        if self._pool is not None and question not in self._asked:
            self._asked[question] = self._pool.submit(ask)

    def take(self, question: Hashable, ask: Callable[[], _T]) -> _T:
        """Return the answer, or raise the error, of a question begun; else ask now."""
        future: Future[_T] | None = self._asked.pop(question, None)
        return ask() if future is None else future.result()
