"""Takes the pictures of the run browser anew: ``python docs/browser_screenshots.py [NAME ...]``.

On fresh sample runs of the demo, in JupyterLab in a headless Chromium.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from jupyter_driver import chromium_browser, open_notebook, write_notebook  # noqa: E402

from expmgr.demo.data import DemoData  # noqa: E402

if TYPE_CHECKING:
    from jupyter_driver import NotebookPage
    from playwright.sync_api import Locator

DOCS = REPOSITORY / "docs"
CELL = """
from expmgr import ExperimentsManagerWithAzureBlobBackend

manager = ExperimentsManagerWithAzureBlobBackend.from_env()
manager.browse(page_size=10)
"""
THEMES = "lab-settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings"


def _ready(opened: NotebookPage) -> None:
    opened.run_all()
    opened.page.locator(".xm-totals").filter(has_text="sizes of").wait_for()
    # rows are sorted anew when the last size is there
    opened.page.locator(".xm-notices").get_by_text("Measuring").wait_for(state="hidden")


def _row(opened: NotebookPage, place: int) -> Locator:
    return opened.page.locator(".xm-row:visible").nth(place)


def _deletable(opened: NotebookPage) -> list[Locator]:
    """Return the rows whose models may go."""
    rows = opened.page.locator(".xm-row:visible")
    return [
        rows.nth(place)
        for place in range(rows.count())
        if rows.nth(place).locator(".xm-delete:visible:not([disabled])").count()
    ]


def _delete(row: Locator) -> None:
    row.locator(".xm-delete").click()
    row.locator(".xm-confirm").click()
    row.get_by_role("status").filter(has_text="Deleted").wait_for()


def _shoot(opened: NotebookPage, name: str) -> None:
    opened.page.mouse.move(2, 2)
    opened.page.wait_for_timeout(300)  # the pointer's hover fades
    opened.screenshot(DOCS / name, within=".xm-root")


def row_by_row(opened: NotebookPage) -> None:
    """Take one deleted, one asked for, the details of a third."""
    opened.button("Size").filter(has_not_text="Measure").click()
    opened.button("Size ▼").wait_for()
    gone, asked, shown = _deletable(opened)[1:4]
    _delete(gone)
    shown.locator(".xm-open").click()
    shown.locator(".xm-scroll td.xm-right").first.wait_for()
    asked.locator(".xm-delete").click()
    asked.locator(".xm-confirm").click(trial=True)
    _shoot(opened, "browser.png")


def lines(opened: NotebookPage) -> None:
    """Take a study and a run with checkpoints, unfolded, one checkpoint about to go."""
    experiment = opened.page.locator("select").filter(has_text="All experiments")
    experiment.select_option(
        label=next(
            name for name in experiment.locator("option").all_inner_texts() if "fine-tuning" in name
        )
    )
    opened.page.locator(".xm-fold:visible").nth(1).wait_for()
    for name in ("perceptron, checkpoints", "depth of a tree, study"):
        row = opened.row(name).first
        row.locator(".xm-fold").click()
        opened.page.wait_for_timeout(1000)  # what unfolded takes clicks
    opened.row("checkpoint-2").first.locator(".xm-delete").click()
    opened.row("checkpoint-2").first.locator(".xm-confirm").click(trial=True)
    _shoot(opened, "browser-lines.png")


def many(opened: NotebookPage) -> None:
    """Take all but the best of each experiment, about to go."""
    opened.page.locator("select").filter(has_text="All but the best").select_option(
        "All but the best 3 of each experiment"
    )
    opened.button("selected").filter(has_text="Delete").click()
    opened.page.locator(".xm-bulk .xm-confirm, .xm-bulk .xm-count").first.wait_for()
    opened.page.wait_for_timeout(1000)  # Confirm takes clicks, and looks like it
    _shoot(opened, "browser-many.png")


def clean_up(opened: NotebookPage) -> None:
    """Take a policy's preview, what stays and why, and the Python that does the same."""
    opened.button("Clean up").click()
    older = opened.page.get_by_placeholder("any age")
    older.fill("")
    older.press("Enter")
    opened.page.locator(".xm-clean-up").get_by_text("Frees").first.wait_for()
    _shoot(opened, "browser-clean-up.png")


def pictures(opened: NotebookPage) -> None:
    """Take the three pictures of the table."""
    opened.button("More").click()
    opened.button("Pictures").click()
    opened.page.locator(".xm-pictures svg").nth(2).wait_for()
    _shoot(opened, "browser-pictures.png")


def main() -> None:
    """Write docs/browser*.png."""
    folder = Path(tempfile.mkdtemp(prefix="expmgr-screenshots-"))
    data = DemoData(folder)
    with data.azurite() as azurite, chromium_browser() as chromium:
        data.create(azurite)
        for take, theme, width in (
            (pictures, "Light", 1400),
            (clean_up, "Light", 1400),
            (many, "Dark", 1400),
            (lines, "Light", 1400),
            (row_by_row, "Light", 1400),
        ):
            if sys.argv[1:] and take.__name__ not in sys.argv[1:]:
                continue
            place = folder / take.__name__
            settings = place / "state" / THEMES
            settings.parent.mkdir(parents=True)
            settings.write_text(json.dumps({"theme": f"JupyterLab {theme}"}), encoding="utf-8")
            notebook = write_notebook(place / "nb" / "runs.ipynb", [CELL])
            with open_notebook(
                chromium,
                notebook,
                place / "state",
                env=data.environment(azurite),
                width=width,
                height=1300,
            ) as opened:
                _ready(opened)
                take(opened)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
