"""``expmgr app``: the run browser as a page of its own, by Voila, read-only unless told."""

from __future__ import annotations

import os
import shutil
import sys
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from expmgr.demo.command import ended_by_signals, require_installed
from expmgr.demo.data import DemoData, notebook_source
from expmgr.demo.errors import DemoError
from expmgr.demo.jupyter import JupyterServer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["run_app", "write_app_notebook"]

_TEAMS_OWN = ("MLFLOW_TRACKING_URI", "EXPMGR_CONTAINER", "EXPMGR_PLUGIN")
_LEFT_OUT = "not-in-app"


def run_app(
    data_dir: str | Path,
    *,
    write: bool = False,
    inventory: bool | str = False,
    port: int = 0,
    browser: bool = True,
) -> int:
    """Serve the page on loopback until Ctrl-C.

    It shows the team's runs where MLFLOW_TRACKING_URI, EXPMGR_CONTAINER and EXPMGR_PLUGIN are
    set (see ``ExperimentsManagerWithAzureBlobBackend.from_env``), and the demo's otherwise.

    Parameters
    ----------
    data_dir
        The demo's data folder; the page's own files are kept there too.
    write
        Offer deletions; without it the page only shows.
    inventory
        Measure by the account's report, see `expmgr.widgets.RunBrowser`.
    port
        0 for a free one.
    browser
        Whether to open a web browser.

    Returns
    -------
    int
        The exit code: 0, or 1 with the reason on standard error.
    """
    data = DemoData(Path(data_dir).absolute())
    try:
        require_installed(("voila",), "app")
        with ended_by_signals(), ExitStack() as closing:
            environment = _environment(data, closing, write=write)
            if not write:
                environment["EXPMGR_READ_ONLY"] = "1"
            if inventory:
                environment["EXPMGR_INVENTORY"] = "true" if inventory is True else str(inventory)
            data.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            data.check_own()
            page = write_app_notebook(data.folder / "app")
            server = closing.enter_context(
                JupyterServer(page.parent, data.state_dir, app="voila", env=environment, port=port)
            )
            url = server.url(page.name)
            print(f"The page{'' if write else ', read-only'}: {url}\nCtrl-C ends it.", flush=True)
            if browser:
                webbrowser.open(url)
            return 0 if server.wait() == 0 else 1
    except DemoError as error:
        print(f"expmgr app: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0


def write_app_notebook(folder: Path) -> Path:
    """Write the notebook without the cells that are for working in it; return its path."""
    import nbformat

    notebook = nbformat.read(notebook_source(), as_version=4)
    notebook.cells = [
        cell for cell in notebook.cells if _LEFT_OUT not in cell.metadata.get("tags", ())
    ]
    if folder.exists():
        shutil.rmtree(folder)  # the kernel imports what lies beside the notebook
    folder.mkdir(parents=True)
    target = folder / "runs.ipynb"
    nbformat.write(notebook, target)
    return target


def _environment(data: DemoData, closing: ExitStack, *, write: bool) -> dict[str, str]:
    given: Mapping[str, str] = {name: os.environ.get(name, "") for name in _TEAMS_OWN}
    if all(given.values()):
        if write and not os.environ.get("EXPMGR_MAIN_METRIC"):
            # The page would call another model best than the team does, and offer theirs.
            message = "--write needs EXPMGR_MAIN_METRIC: the metric whose best model stays"
            raise DemoError(message)
        print(f"Runs of {given['EXPMGR_PLUGIN']!r}")
        return dict(given)
    if any(given.values()):
        missing = ", ".join(name for name, value in given.items() if not value)
        message = f"{missing} is not set; set all of {', '.join(_TEAMS_OWN)}, or none for the demo"
        raise DemoError(message)
    closing.enter_context(data.locked())
    azurite = closing.enter_context(data.azurite())
    if not data.is_complete():
        message = (
            "there are no runs to show yet: run 'expmgr demo' once, or set the team's own "
            + (", ".join(_TEAMS_OWN))
        )
        raise DemoError(message)
    print("Runs of the demo")
    return data.environment(azurite)
