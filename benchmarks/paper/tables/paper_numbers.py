"""The paper's numbers, all from the real data sets: Stroud et al., D3D, WACV 2020, arXiv 1812.08249."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("paper.json")


@cache
def tables() -> dict[str, Any]:
    """Read paper.json."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def caption(table: str) -> str:
    """Return what the paper shows in a table or figure."""
    return str(tables()[table]["caption"])


def row(table: str, which: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the one row of a table whose fields equal those of `which`.

    Raises:
        ValueError: no such row, or several.
    """
    rows: list[dict[str, Any]] = tables()[table]["rows"]
    found = [one for one in rows if all(name in one and one[name] == value for name, value in which.items())]
    if len(found) != 1:
        raise ValueError(f"one row of {table} must be {dict(which)}, got {len(found)} of {rows}")
    return found[0]
