"""``expmgr demo``: everything on this machine, in one folder, ended by Ctrl-C."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expmgr.demo.data import DemoData
from expmgr.demo.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ended_by_signals", "require_installed", "run_demo"]

_NEEDED = ("jupyterlab", "nbclient", "sklearn")


def run_demo(
    data_dir: str | Path,
    *,
    check: bool = False,
    fresh: bool = False,
    port: int = 0,
    browser: bool = True,
) -> int:
    """Start Azurite, make the sample runs where they are missing, and open the notebook.

    Parameters
    ----------
    data_dir
        Where everything is kept.
    check
        No screen: execute the notebook and delete one model through its button.
    fresh
        Make the sample runs anew.
    port
        JupyterLab's port; 0 for a free one.
    browser
        Whether to open a web browser.

    Returns
    -------
    int
        The exit code: 0, or 1 with the reason on standard error.
    """
    data = DemoData(Path(data_dir).absolute())
    try:
        require_installed(_NEEDED, "demo")
        with ended_by_signals(), data.locked():
            return _run(data, check=check, fresh=fresh, port=port, browser=browser)
    except DemoError as error:
        print(f"expmgr demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The next start finds everything as it is now.")
        return 1 if check else 0


def _run(data: DemoData, *, check: bool, fresh: bool, port: int, browser: bool) -> int:
    complete = data.is_complete() and not fresh
    if not complete:
        data.clear()
    print(f"Data are kept in {data.folder}")
    with data.azurite() as azurite:
        if not complete:
            print("Training the sample models (once) ...")
            data.create(azurite, _show_run)
        data.place_notebooks()
        if check:
            from expmgr.demo.check import check_demo

            check_demo(data, azurite)
            return 0
        from expmgr.demo.jupyter import JupyterServer

        environment = data.environment(azurite)
        folder = data.notebook.parent
        with JupyterServer(folder, data.state_dir, env=environment, port=port) as server:
            url = server.url(data.notebook.name)
            print(f"JupyterLab: {url}\nRun all cells, then press a delete button. Ctrl-C ends it.")
            sys.stdout.flush()
            if browser:
                webbrowser.open(url)
            code = server.wait()
            print(f"JupyterLab ended ({code}).")
            return 0 if code == 0 else 1


def _show_run(number: int, total: int, name: str) -> None:
    shown = name if name.isascii() and len(name) < 40 else ascii(name)[:40]  # noqa: PLR2004 - a line
    print(f"  {number:2}/{total} {shown}", flush=True)


def require_installed(modules: Sequence[str], extra: str) -> None:
    """Refuse to start, in one line, where an extra of the package was not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        message = f"{', '.join(missing)} not installed, run: pip install 'expmgr[{extra}]'"
        raise DemoError(message)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let a closed terminal or ``kill`` end what runs here as Ctrl-C does: children first."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
