"""Put the summary of the records at the head of the page of results: a hook of mkdocs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import summary

PLACE = "<!-- summary -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the mark by the table."""
    return markdown.replace(PLACE, "\n".join(summary.table())) if PLACE in markdown else markdown
