"""axe-core, which finds what keeps people with a screen reader out: installed from npm, once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from expmgr.demo.azurite import default_npm_dir
from expmgr.demo.locked_package import install_locked
from expmgr.demo.node import find_node

if TYPE_CHECKING:
    from playwright.sync_api import Page

_LOCK_DIR = Path(__file__).parent / "axe"
_ENTRY = Path("node_modules", "axe-core", "axe.min.js")


def axe_source() -> str:
    """The script as the package lock pins it, from this user's cache."""
    home = default_npm_dir().with_name("axe")
    target = install_locked("axe-core", _LOCK_DIR, home, find_node())
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
