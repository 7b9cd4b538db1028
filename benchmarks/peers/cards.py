"""The line "Parity" of every method's card, made from the record."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (DOCS / "losses.md", *sorted((DOCS / "methods").glob("*.md")))
# A card's heading, and the lines of its list.
CARD = re.compile(r"(?P<heading>### .+\n)(?P<body>(?:(?!#).*\n)*?)(?P<list>(?:- .+\n(?:  .+\n)*)+)")
PARITY = re.compile(r"- \*\*Parity:\*\*.*\n(?:  .+\n)*")


def line(methods: Iterable[str], found: Mapping[str, Any]) -> str:
    """Return the line of a card on some methods; empty where no peer has them."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in found["rows"]:
        if row["method"] in methods:
            groups[row["verdict"], row["why"]].append(row)
    said = [_said(verdict, why, rows, found["versions_of_peers"]) for (verdict, why), rows in groups.items()]
    if not said:
        return ""
    return (
        textwrap.fill(f"- **Parity:** {'; '.join(said)}.", 119, subsequent_indent="  ", break_on_hyphens=False) + "\n"
    )


def _said(verdict: str, why: str, rows: list[dict[str, Any]], versions: Mapping[str, str]) -> str:
    names = dict.fromkeys(f"{row['peer']} {versions[row['peer']]} `{re.split('[(,]', row['name'])[0]}`" for row in rows)
    largest = max(row["largest"] for row in rows)
    end = f"differs: {why}" if verdict == "differs" else f"equal ({largest:.0e})" if largest else "equal (exactly)"
    return f"{', '.join(names)} {end}"


def updated(page: str, found: Mapping[str, Any]) -> str:
    """Return a page whose cards have their lines, each at the end of the card's list."""

    def card(match: re.Match[str]) -> str:
        code = re.search(r"- \*\*Code:\*\*.*", match["list"])
        methods = {*re.findall(r"\w+", match["heading"]), *re.findall(r"`kd\.(\w+)\(", code[0] if code else "")}
        return match["heading"] + match["body"] + PARITY.sub("", match["list"]) + line(methods, found)

    return CARD.sub(card, page)


def write(found: Mapping[str, Any]) -> None:
    """Update the cards of all pages."""
    for page in PAGES:
        page.write_text(updated(page.read_text(), found))
