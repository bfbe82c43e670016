"""Takes the pictures of the documentation anew: ``make screenshots``.

Starts the demo's Azurite on fresh sample runs, opens the notebook in JupyterLab in a headless
Chromium, and does what each picture shows.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from jupyter_driver import chromium_browser, open_notebook  # noqa: E402

from expmgr.demo.app import write_app_notebook  # noqa: E402
from expmgr.demo.data import DemoData  # noqa: E402

DOCS = REPOSITORY / "docs"
DOOMED = "forest, 150 trees"


def main() -> None:
    """Write demo.png (the notebook after a deletion) and app.png (its page)."""
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
            height=860,
        ) as notebook:
            notebook.run_all()
            page = notebook.page
            row = notebook.row(DOOMED)
            notebook.button("Delete", row).first.click()
            row.locator(".xm-confirm").filter(has_text="Delete 5 files").click()
            row.get_by_role("status").filter(has_text="Deleted").wait_for()
            notebook.row("perceptron 256").get_by_text("KB").wait_for()
            page.get_by_text("Measuring sizes").wait_for(state="hidden")
            # Show the cell of the browser from its first line.
            page.locator(".jp-CodeCell").nth(1).evaluate(
                "cell => cell.scrollIntoView({block: 'start'})"
            )
            page.mouse.move(5, 400)
            notebook.screenshot(DOCS / "demo.png")
        with open_notebook(
            chromium,
            write_app_notebook(folder / "app"),
            folder / "jupyter",
            app="voila",
            env={**data.environment(azurite), "EXPMGR_READ_ONLY": "1"},
            width=1280,
            height=560,
        ) as notebook:
            notebook.row("perceptron 256").get_by_text("KB").wait_for()
            notebook.page.get_by_text("Measuring sizes").wait_for(state="hidden")
            notebook.screenshot(DOCS / "app.png")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
