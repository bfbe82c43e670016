"""What a picture shows, as numbers, and the drawing of it. Only `draw` knows matplotlib."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from expmgr.errors import ExpmgrError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["drawing"]


@contextmanager
def drawing() -> Iterator[None]:
    """Say what to install where matplotlib cannot be imported.

    Raises
    ------
    ExpmgrError
        It cannot.
    """
    try:
        yield
    except ImportError as error:
        message = f"pictures need matplotlib ({error}): pip install 'expmgr[pictures]'."
        raise ExpmgrError(message) from error
