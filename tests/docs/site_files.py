"""The built site: its pages, the links and names in them, and what its search knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

from tests.docs.pages import ROOT


def build(folder: Path) -> Path:
    """Build the site as `make docs` does."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
    return folder


class Names(HTMLParser):
    """The places that a page links to, and the names in it that can be linked."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.names: set[str] = {""}
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a link, a source or a name."""
        for key, value in attrs:
            if key in ("href", "src") and value:
                self.links.add(value)
            elif key in ("id", "name") and value:
                self.names.add(value)


def broken(site: Path) -> list[str]:
    """The links inside the site that lead nowhere, each with its page."""
    pages = {page: Names(page) for page in site.rglob("*.html") if page.name != "404.html"}
    found = []
    for page, names in pages.items():
        for link in names.links:
            place, name = urldefrag(link)
            if "://" in place or place.startswith(("mailto:", "data:")):
                continue
            target = (page.parent / unquote(place)).resolve() if place else page
            target = target / "index.html" if target.is_dir() else target
            known = pages[target].names if target in pages else {""}
            if not target.exists() or (target.suffix == ".html" and unquote(name) not in known):
                found.append(f"{page.relative_to(site)}: {link}")
    return sorted(found)


def entries(site: Path) -> list[dict[str, Any]]:
    """What the search knows: `location`, `title`, `text` of every section."""
    return json.loads((site / "search" / "search_index.json").read_text())["docs"]  # type: ignore[no-any-return]
