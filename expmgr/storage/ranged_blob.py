"""A blob as a file that is read in blocks, a block ahead, each tried again by itself."""

from __future__ import annotations

import io
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RangedBlob"]

_KEPT = 3
"""Blocks in memory: the one that is read, the one ahead, and the one before."""


class RangedBlob(io.RawIOBase):
    """Reads a blob by ranges of its bytes; what a reader asks next is mostly there by then.

    Parameters
    ----------
    read_range
        Returns so many bytes from an offset, or raises.
    size
        Of the blob, in bytes.
    block_size
        Bytes a request.
    """

    def __init__(self, read_range: Callable[[int, int], bytes], size: int, block_size: int) -> None:
        super().__init__()
        self._read_range = read_range
        self._size = size
        self._block_size = block_size
        self._at = 0
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="expmgr-ahead")

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def size(self) -> int:
        """Return the size in bytes."""
        return self._size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position; nothing is asked for."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """Return so many bytes, fewer only at the end."""
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        parts: list[bytes] = []
        while wanted:
            number, skip = divmod(self._at, self._block_size)
            part = self._block(number)[skip : skip + wanted]
            if not part:
                raise OSError(f"a blob of {self._size} bytes ends after {self._at}")
            parts.append(part)
            self._at += len(part)
            wanted -= len(part)
        return b"".join(parts)

    def readall(self) -> bytes:
        """Return all that is left."""
        return self.read(-1)

    def close(self) -> None:
        """Give up what is asked for ahead."""
        if not self.closed:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._blocks.clear()
        super().close()

    def _block(self, number: int) -> bytes:
        wanted = self._asked(number)
        if (number + 1) * self._block_size < self._size:
            self._asked(number + 1)
        while len(self._blocks) > _KEPT:
            self._blocks.popitem(last=False)
        return wanted.result()

    def _asked(self, number: int) -> Future[bytes]:
        if number not in self._blocks:
            start = number * self._block_size
            length = min(self._block_size, self._size - start)
            self._blocks[number] = self._pool.submit(self._read_range, start, length)
        self._blocks.move_to_end(number)
        return self._blocks[number]
