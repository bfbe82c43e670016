"""What a person does on a page, as one short animated WebP."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page

__all__ = ["Film"]

STEPS = 6
"""Frames that the pointer takes on its way."""
STEP = 50
"""Milliseconds of each."""
# A headless page shows no pointer: one is drawn, which takes no click.
POINTER = """() => {
    const pointer = document.createElement('div');
    pointer.id = 'film-pointer';
    pointer.style.cssText = 'position:fixed;z-index:99999;pointer-events:none;left:0;top:0';
    pointer.innerHTML = `<svg width="22" height="28" viewBox="0 0 11 14"><path stroke="#fff"
        d="M.5.5v11l2.6-2.4 1.7 4 1.9-.8-1.7-3.9h3.6z"/></svg>`;
    document.body.append(pointer);
}"""
MOVE = "([x, y]) => document.getElementById('film-pointer').style.translate = `${x}px ${y}px`"


class Film:
    """Frames of a page, each with how long it stands.

    Parameters
    ----------
    page
        What is filmed.
    at
        Where the pointer begins, in CSS pixels.
    """

    def __init__(self, page: Page, at: tuple[float, float]) -> None:
        self._page = page
        self._at = at
        self._frames: list[Image.Image] = []
        self._times: list[int] = []
        page.evaluate(POINTER)
        self._move(at)

    def hold(self, milliseconds: int) -> None:
        """Show the page as it is now for so long."""
        png = self._page.screenshot()
        self._frames.append(Image.open(io.BytesIO(png)).convert("RGB"))
        self._times.append(milliseconds)

    def click(self, target: Locator) -> None:
        """Lead the pointer to the middle of a control, and click."""
        box = target.bounding_box()
        assert box is not None, "what is clicked is on the page"
        begin, end = self._at, (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        for step in range(1, STEPS + 1):
            share = step / STEPS
            share *= share * (3 - 2 * share)  # it starts and ends slowly
            self._move(
                (begin[0] + (end[0] - begin[0]) * share, begin[1] + (end[1] - begin[1]) * share)
            )
            self.hold(STEP if step < STEPS else 450)
        self._page.mouse.click(*end)  # a locator's click might scroll

    def save(self, path: Path) -> None:
        """Write it, without loss: text stays sharp, and what does not move takes no room."""
        first, *others = self._frames
        first.save(
            path,
            save_all=True,
            append_images=others,
            duration=self._times,
            loop=0,
            lossless=True,
            method=6,
            minimize_size=True,
        )

    def _move(self, to: tuple[float, float]) -> None:
        self._at = to
        self._page.evaluate(MOVE, list(to))
        self._page.mouse.move(*to)
