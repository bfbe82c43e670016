"""axe-core, which finds what keeps people with a screen reader out: installed from npm, once."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from expmgr.demo.azurite import _run_npm, default_npm_dir
from expmgr.demo.node import find_node

if TYPE_CHECKING:
    from playwright.sync_api import Page

_LOCK_DIR = Path(__file__).parent / "axe"
_ENTRY = Path("node_modules", "axe-core", "axe.min.js")


def axe_source() -> str:
    """The script as the package lock pins it, from this user's cache."""
    lock = (_LOCK_DIR / "package-lock.json").read_bytes()
    home = default_npm_dir().with_name("axe")
    target = home / hashlib.sha256(lock).hexdigest()[:12]
    if not (target / _ENTRY).is_file():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix="installing-") as temporary:
            work = Path(temporary) / "axe"
            shutil.copytree(_LOCK_DIR, work)
            _run_npm(find_node(), work)
            with contextlib.suppress(OSError):  # another process was first
                work.rename(target)
    return (target / _ENTRY).read_text(encoding="utf-8")


def findings(page: Page, selector: str) -> list[str]:
    """What axe-core calls serious or critical below a selector, one line a finding."""
    if not page.evaluate("() => Boolean(window.axe)"):
        page.evaluate(axe_source())
    found = page.evaluate(
        "selector => axe.run(selector, {resultTypes: ['violations']})", arg=selector
    )
    return [
        f"{rule['impact']} {rule['id']}: {node['html'][:300]} {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
