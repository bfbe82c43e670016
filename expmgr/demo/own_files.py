"""What the demo runs and reads is this user's own: checked before, and written anew.

A data folder may lie where others can write, or come with an archive. So what is *run* never comes
from it: Azurite is kept in the user's cache, and Jupyter's settings, kernels and start-up files
are made anew at each start. A folder that somebody else may have written to is refused.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from expmgr.demo.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["check_own", "private_file"]


def check_own(folder: Path, *, inner_links: bool = False, skip: Collection[str] = ()) -> None:
    """Refuse a folder, or anything below it, that somebody else may have written or put there.

    Parameters
    ----------
    folder
        Must be there, and be no symbolic link itself.
    inner_links
        Accept symbolic links that lead to somewhere below the folder, as npm makes them.
    skip
        Names right below the folder that are not looked at.

    Raises
    ------
    DemoError
        It belongs to somebody else than this user or root, the group or everybody may write to it,
        or there is a symbolic link; with the path and what to do.
    """
    if not hasattr(os, "geteuid"):  # has neither such owners nor such modes
        return
    closed = False
    root = folder.resolve()
    for path, status in _walk(folder, skip):
        if stat.S_ISLNK(status.st_mode):
            if inner_links and path != folder and path.resolve().is_relative_to(root):
                continue
            _refuse(path, "is a symbolic link", "remove it")
        if status.st_uid not in {os.geteuid(), 0}:
            advice = "remove it, or make it yours with chown -R"
            _refuse(path, f"belongs to another user ({status.st_uid})", advice)
        if path == folder:
            closed = not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not closed:
            advice = f"look at what is in it, then run chmod -R go-w {folder}"
            _refuse(path, "may be written by others than you", advice)


def _walk(folder: Path, skip: Collection[str]) -> Iterator[tuple[Path, os.stat_result]]:
    yield folder, folder.lstat()
    todo = [folder]
    while todo:
        here = todo.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                if here == folder and entry.name in skip:
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # an app beside the demo has just ended
                    continue
                yield Path(entry.path), status
                if entry.is_dir(follow_symlinks=False):
                    todo.append(Path(entry.path))


def _refuse(path: Path, why: str, advice: str) -> None:
    message = f"{path} {why}, so what is there is not used: {advice}, or choose another folder"
    raise DemoError(message)


def private_file(path: Path, content: str = "") -> Path:
    """Write a file anew that nobody else can read, whatever was there."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    return path
