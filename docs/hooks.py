"""Hooks of MkDocs: a site whose links lead somewhere, and which needs no other host.

MkDocs checks the links of pages that are written in Markdown. Those of notebooks and of docstrings
are looked at here, in what was built. A notebook's page would load MathJax and Mermaid from a
public host as well, for formulas and diagrams that none of ours has.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHORT = 24
"""Characters of code that stay together, in a table's narrow cell, too."""

_OF_NOTEBOOKS = re.compile(
    r"<!-- Load mathjax -->.*?<!-- End of mathjax configuration -->"
    r'|<script type="module">\s*document\.addEventListener\("DOMContentLoaded"'
    r".*?<!-- End of mermaid configuration -->",
    re.DOTALL,
)
_TO_A_SOURCE = re.compile(r'(\bhref="(?!https?:)[^"#]+)\.(?:md|ipynb)(?=["#])')
_ELSEWHERE = r"""["'(]?\s*(?:https?:)?//[^\s"')>]+"""
_LOADS = re.compile(
    rf"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc\s*=\s*{_ELSEWHERE}"""
    rf"""|<link\b(?![^>]*\brel=["']?(?:canonical|next|prev|edit)\b)[^>]*?\bhref\s*=\s*{_ELSEWHERE}"""
    rf"""|\bimport\s*\(?\s*{_ELSEWHERE}|\burl\(\s*{_ELSEWHERE}""",
    re.IGNORECASE,
)
_CODE = re.compile(r"<code>([^<\n]+)</code>")
_JOINT = re.compile(r"(?<=[_/,(=])(?=[\w&*\"'])")
_TARGET = re.compile(r'<(?:a|img|script|link)\b[^>]*?\b(?:href|src)="([^"]+)"')
_ANCHOR = re.compile(r'\bid="([^"]+)"')


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Show the change log, whose links are those of the repository's root, as a page."""
    if page.file.src_uri != "changelog.md":
        return markdown
    log = Path(config["config_file_path"]).with_name("CHANGELOG.md").read_text(encoding="utf-8")
    return log.replace("](docs/", "](")


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Break names at their joints; a notebook's links lead to pages, and it loads nothing."""
    if page.file.src_uri.endswith(".ipynb"):
        output = _TO_A_SOURCE.sub(r"\1.html", _OF_NOTEBOOKS.sub("", output))
    return _CODE.sub(_in_whole_words, output)


def _in_whole_words(code: re.Match[str]) -> str:
    """Keep short code on one line, and let long code be broken between the words of a name."""
    if len(unescape(code[1])) <= SHORT:
        return f'<code class="short">{code[1]}</code>'
    return f"<code>{' '.join(map(_at_its_joints, code[1].split(' ')))}</code>"


def _at_its_joints(word: str) -> str:
    """Let a word be broken between its parts; an option (``--keep-best``) stays whole."""
    if word.startswith("-"):
        return f'<span class="short">{word}</span>'
    return _JOINT.sub("<wbr>", word)


def on_post_build(config: Any, **_: Any) -> None:
    """End, with what is wrong, where a page loads from elsewhere or a link leads nowhere."""
    site = Path(config["site_dir"]).resolve()
    paths = sorted([*site.rglob("*.html"), *site.rglob("*.css")])
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    wrong = [
        f"{path.relative_to(site)} loads from another host: {found[0]}"
        for path, text in texts.items()
        if (found := _LOADS.search(text))
    ]
    wrong += _broken(site, texts)
    if wrong:
        raise SystemExit("\n".join(wrong))


def _broken(site: Path, texts: Mapping[Path, str]) -> Iterator[str]:
    """Tell of links within the site whose page, file or anchor is not there."""
    anchors = {path: set(_ANCHOR.findall(text)) for path, text in texts.items()}
    for path, text in texts.items():
        if path.suffix != ".html" or path.name == "404.html":  # its links begin at the root
            continue
        for target in sorted(set(_TARGET.findall(text))):
            url = urlsplit(target.replace("&amp;", "&"))
            if url.scheme or url.netloc:
                continue
            led = (path.parent / unquote(url.path)).resolve() if url.path else path
            led = led / "index.html" if led.is_dir() else led
            anchor = unquote(url.fragment)
            if not led.is_relative_to(site) or not led.is_file():
                yield f"{path.relative_to(site)} leads to {target}, which is not there"
            elif anchor and led in anchors and anchor not in anchors[led] | {"__top"}:
                yield f"{path.relative_to(site)} leads to {target}, which has no such place"
