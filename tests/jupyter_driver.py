"""Drives Jupyter in a real Chromium."""

from __future__ import annotations

import os
import shutil


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
