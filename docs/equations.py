"""Put the equation of a loss, from its card, into the reference: an extension of griffe, which reads the docstrings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe
from markdown.extensions.toc import slugify

DOCS = Path(__file__).parent
CARD = re.compile(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", re.M | re.S)


def cards() -> dict[str, str]:
    """Return, for the name of each loss, its equation and a link to its card."""
    found = {}
    for page in (DOCS / "losses.md", *(DOCS / "methods").glob("*.md")):
        for title, card in CARD.findall(page.read_text(encoding="utf-8")):
            if equation := re.search(r"^- \*\*Equation:\*\* (.*?)(?=\n- )", card, re.M | re.S):
                text = f"**Equation:** {' '.join(equation[1].split())} ([card][{slugify(title, '-')}])"
                found |= dict.fromkeys(re.findall(r"\]\[kdvideo\.(\w+)\]", card), text)
    return found


class Equations(griffe.Extension):
    """Puts the equation under the first sentence of the class."""

    def __init__(self) -> None:
        self.cards = cards()

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Change the text of a loss."""
        if cls.docstring and (card := self.cards.get(cls.name)):
            first, _, rest = cls.docstring.value.partition("\n\n")
            cls.docstring.value = f"{first}\n\n{card}\n\n{rest}"
