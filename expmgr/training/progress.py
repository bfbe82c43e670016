"""A progress bar for transfers that take a while: a widget in a notebook, text in a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from expmgr.storage.transfer import TransferProgress
    from expmgr.training.model_files import OnProgress

__all__ = ["SHOWN_AFTER", "shown"]

SHOWN_AFTER = 2.0
"""Seconds; a transfer that ends sooner shows no bar."""


@contextmanager
def shown(what: str, on_progress: OnProgress | None) -> Iterator[OnProgress]:
    """Yield what to report progress to.

    Parameters
    ----------
    what
        Stands before the bar.
    on_progress
        The caller's own; where there is one it is told instead, and no bar is shown.
    """
    if on_progress is not None:
        yield on_progress
        return
    from tqdm.auto import tqdm

    with tqdm(desc=what, unit="B", unit_scale=True, delay=SHOWN_AFTER, leave=False, total=0) as bar:

        def advance(progress: TransferProgress) -> None:
            bar.total = progress.total_bytes
            bar.update(progress.bytes - bar.n)

        yield advance
