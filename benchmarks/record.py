"""The record of a benchmark: ``results/<name>.json``, and the Markdown rendered from it for the docs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def write(name: str, result: dict[str, Any], render: Callable[[dict[str, Any]], str]) -> None:
    """Write the record and its table."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    table = render(result)
    (FOLDER / f"{name}.md").write_text(table)
    print(table)
