"""Drives JupyterLab, Notebook 7 and Voila in a real Chromium, as a person would."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import nbformat

from expmgr.demo.jupyter import JupyterServer

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Mapping, Sequence

    from playwright.sync_api import Browser, Locator, Page

REPOSITORY = Path(__file__).resolve().parent.parent
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """The Chromium to drive: EXPMGR_CHROMIUM, or the first one on the PATH."""
    chosen = os.environ.get("EXPMGR_CHROMIUM")
    if chosen:
        return chosen
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name)
        if found:
            return found
    return None


@contextlib.contextmanager
def chromium_browser() -> Iterator[Browser]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=list(CHROMIUM_OPTIONS)
        )
        try:
            yield browser
        finally:
            browser.close()


def write_notebook(path: Path, cells: Sequence[str]) -> Path:
    """Write a notebook of code cells; JupyterLab asks for a kernel where none is named."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


class NotebookPage:
    """One notebook open in a browser.

    Attributes
    ----------
    page
        Playwright's page.
    app
        ``lab``, ``notebook`` or ``voila``.
    problems
        What the page wrote to its console as errors, and uncaught exceptions.
    """

    def __init__(self, page: Page, app: str) -> None:
        self.page = page
        self.app = app
        self.problems: list[str] = []
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on(
            "console",
            lambda said: self.problems.append(said.text) if said.type == "error" else None,
        )

    def open(self, url: str) -> NotebookPage:
        self.page.goto(url)
        if self.app != "voila":
            self.page.locator(".jp-Notebook").wait_for()
            self._await_kernel()
        return self

    def run_all(self) -> None:
        """Run > Run All Cells, and wait until the kernel is idle again."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
        self.await_cells()

    def run_cell(self) -> None:
        """Run the selected cell and move on."""
        self.page.locator(".jp-Notebook").press("Shift+Enter")

    def await_cells(self) -> None:
        """Wait until every cell has run; a cell that failed is an AssertionError with its text."""
        self.page.wait_for_function(
            """() => {
                const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
                const failed = document.querySelector(
                    '[data-mime-type="application/vnd.jupyter.error"]');
                return failed || (prompts.length > 0
                    && prompts.every(prompt => /\\[\\d+\\]/.test(prompt.textContent)));
            }""",
            timeout=120_000,
        )
        failed = self.page.locator('[data-mime-type="application/vnd.jupyter.error"]')
        assert failed.count() == 0, failed.first.inner_text()

    def row(self, text: str) -> Locator:
        """The run browser's line that holds this text."""
        return self.page.locator(".xm-row").filter(has_text=text)

    def button(self, text: str | re.Pattern[str], within: Locator | None = None) -> Locator:
        """A button by its visible text."""
        place = self.page if within is None else within
        return place.get_by_role("button").filter(has_text=text)

    def screenshot(self, path: Path, *, within: str | None = None) -> None:
        """Write a PNG of the page, or of the first element that a CSS selector finds."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if within is None:
            self.page.screenshot(path=str(path))
        else:
            self.page.locator(within).first.screenshot(path=str(path))

    def _await_kernel(self, patience: float = 60.0) -> None:
        """Wait until the page is connected to an idle kernel: cells sent before are lost."""
        parts = urlsplit(self.page.url)
        address = f"{parts.scheme}://{parts.netloc}/api/kernels"
        deadline = time.monotonic() + patience
        while True:
            answer = self.page.request.get(address)
            # While a kernel starts the server may answer with an error; that is "not yet".
            kernels = answer.json() if answer.ok else []
            if any(one["connections"] and one["execution_state"] == "idle" for one in kernels):
                return
            said = answer.text()
            assert time.monotonic() < deadline, f"no idle kernel with a connection: {said}"
            self.page.wait_for_timeout(100)


@contextlib.contextmanager
def open_notebook(
    chromium: Browser,
    notebook: Path,
    state_dir: Path,
    *,
    app: str = "lab",
    env: Mapping[str, str] | None = None,
    width: int = 1400,
    height: int = 1000,
    dark: bool = False,
    touch: bool = False,
    slower: int = 1,
    without: Sequence[str] = (),
) -> Iterator[NotebookPage]:
    """Start a Jupyter server for the notebook's folder and open the notebook in a fresh page.

    The page has a processor that is so many times ``slower``, and is refused the addresses that
    match a pattern of ``without``.
    Where the test fails, ``failure.png`` in ``state_dir`` shows the page at that moment.
    """
    # The checkout comes first, whatever the environment has installed.
    env = {"PYTHONPATH": str(REPOSITORY), **(env or {})}
    with JupyterServer(notebook.parent, state_dir, app=app, env=env) as server:
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            has_touch=touch,
            is_mobile=touch,
        )
        page = context.new_page()
        for pattern in without:
            page.route(pattern, lambda route: route.abort())
        if slower > 1:
            session = context.new_cdp_session(page)
            session.send("Emulation.setCPUThrottlingRate", {"rate": slower})
        try:
            yield NotebookPage(page, app).open(server.url(notebook.name))
        except BaseException:
            with contextlib.suppress(Exception):
                page.screenshot(path=str(state_dir / "failure.png"))
            raise
        finally:
            context.close()
