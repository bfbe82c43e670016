"""A hook of MkDocs: what a page needs comes with the site, or the build fails.

A notebook's page would load MathJax and Mermaid from a public host, for formulas and diagrams that
none of ours has.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

_OF_NOTEBOOKS = re.compile(
    r"<!-- Load mathjax -->.*?<!-- End of mathjax configuration -->"
    r'|<script type="module">\s*document\.addEventListener\("DOMContentLoaded"'
    r".*?<!-- End of mermaid configuration -->",
    re.DOTALL,
)
_ELSEWHERE = r"""["'(]?\s*(?:https?:)?//[^\s"')>]+"""
_LOADS = re.compile(
    rf"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc\s*=\s*{_ELSEWHERE}"""
    rf"""|<link\b(?![^>]*\brel=["']?(?:canonical|next|prev|edit)\b)[^>]*?\bhref\s*=\s*{_ELSEWHERE}"""
    rf"""|\bimport\s*\(?\s*{_ELSEWHERE}|\burl\(\s*{_ELSEWHERE}""",
    re.IGNORECASE,
)


def on_post_page(output: str, **_: Any) -> str:
    """Take what loads from elsewhere out of a notebook's page."""
    return _OF_NOTEBOOKS.sub("", output)


def on_post_build(config: Any, **_: Any) -> None:
    """Refuse a site of which a page or a style loads anything from elsewhere."""
    site = Path(config["site_dir"])
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        found = _LOADS.search(path.read_text(encoding="utf-8"))
        if found:
            message = f"{path.relative_to(site)} loads from another host: {found[0]}"
            raise PluginError(message)
