"""Takes the pictures of the documentation anew: ``make screenshots``.

Starts the demo's Azurite on fresh sample runs, opens the notebook in JupyterLab in a headless
Chromium, and does what each picture shows.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from film import Film  # noqa: E402
from jupyter_driver import chromium_browser, open_notebook  # noqa: E402
from playwright.sync_api import expect  # noqa: E402

from expmgr.demo.app import write_app_notebook  # noqa: E402
from expmgr.demo.data import DemoData  # noqa: E402

if TYPE_CHECKING:
    from jupyter_driver import NotebookPage

DOCS = REPOSITORY / "docs"
DOOMED = "forest, 300 trees"


def film_a_deletion(notebook: NotebookPage) -> None:
    """Write demo.webp: the runs, the largest first, and one model deleted in two clicks."""
    page = notebook.page
    page.locator(".xm-totals").filter(has_text="sizes of").wait_for()
    page.get_by_text("Measuring sizes").wait_for(state="hidden")
    # Show the cell of the browser from its first line.
    page.locator(".jp-CodeCell").nth(1).evaluate("cell => cell.scrollIntoView({block: 'start'})")
    film = Film(page, at=(560, 420))
    film.hold(1500)
    film.click(notebook.button("Size").filter(has_not_text="Measure").first)
    notebook.button("Size ▼").wait_for()
    row = notebook.row(DOOMED)
    expect(row).to_have_count(1)  # rows are sorted one after the other: meanwhile two may show it
    row.locator(".xm-delete").wait_for()
    page.wait_for_timeout(1000)  # what moved takes clicks
    film.hold(1500)
    film.click(row.locator(".xm-delete"))
    row.locator(".xm-confirm").wait_for()
    page.wait_for_timeout(1000)  # Confirm takes clicks, and looks like it
    film.hold(1500)
    film.click(row.locator(".xm-confirm"))
    row.get_by_role("status").filter(has_text="Deleted 5 files").wait_for()
    film.hold(3500)
    film.save(DOCS / "demo.webp")


def main() -> None:
    """Write demo.webp (a deletion in the notebook) and app.png (its page)."""
    folder = Path(tempfile.mkdtemp(prefix="expmgr-screenshots-"))
    data = DemoData(folder)
    with data.azurite() as azurite, chromium_browser() as chromium:
        data.create(azurite)
        data.place_notebooks()
        with open_notebook(
            chromium,
            data.notebook,
            folder / "jupyter",
            env=data.environment(azurite),
            width=1280,
            height=720,
        ) as notebook:
            notebook.run_all()
            film_a_deletion(notebook)
        with open_notebook(
            chromium,
            write_app_notebook(folder / "app"),
            folder / "jupyter",
            app="voila",
            env={**data.environment(azurite), "EXPMGR_READ_ONLY": "1"},
            width=1280,
            height=544,
        ) as notebook:
            notebook.row("perceptron 256").get_by_text("KB").wait_for()
            notebook.page.get_by_text("Measuring sizes").wait_for(state="hidden")
            notebook.screenshot(DOCS / "app.png")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
