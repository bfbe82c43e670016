"""Child processes that end when they are told to, with everything they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["start_child", "stop_child"]


def start_child(
    command: Sequence[str],
    *,
    log: Path | None = None,
    stdout: int | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, so that Ctrl-C reaches only us.

    Parameters
    ----------
    command
        The program and its arguments.
    log
        File that its output is appended to; without one it goes where ``stdout`` says.
    stdout
        Where its output goes when there is no ``log``.
    env
        Its whole environment; None for ours.
    cwd
        Its working directory; None for ours.
    """
    with contextlib.ExitStack() as closing:
        target = stdout if log is None else closing.enter_context(log.open("ab"))
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )


def stop_child(child: subprocess.Popen[bytes], *, patience: float = 5.0) -> None:
    """End a child and its process group: asked first, killed after ``patience`` seconds."""
    if child.poll() is None:
        _signal_group(child, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience)
    # Grandchildren may outlive the child; the group is gone when there are none.
    _signal_group(child, getattr(signal, "SIGKILL", signal.SIGTERM))
    child.wait(patience)
    if child.stdout is not None:
        child.stdout.close()


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, number)
        elif child.poll() is None:
            child.terminate()
