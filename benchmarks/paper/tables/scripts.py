"""The scripts of the paper's tables and figures, by name."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.paper.tables.table import Table

FOLDER = Path(__file__).parents[1]


def modules() -> dict[str, str]:
    """Return name ("table6") -> module ("benchmarks.paper.table6_ablations"), in the paper's order, tables first."""
    files = [path for kind in ("table", "figure") for path in sorted(FOLDER.glob(f"{kind}[0-9]*_*.py"))]
    return {path.stem.split("_")[0]: f"benchmarks.paper.{path.stem}" for path in files}


def load(name: str) -> ModuleType:
    """Import the script of a name.

    Raises:
        ValueError: there is none; the message lists those that there are.
    """
    known = modules()
    if name not in known:
        raise ValueError(f"a table or figure must be one of {', '.join(known)}, got {name!r}")
    return importlib.import_module(known[name])


def table(name: str, scale: Any, options: argparse.Namespace) -> Table:
    """Return the table of a name; some depend on the scale and on what the command line gives."""
    module = load(name)
    made: Table = module.TABLE if hasattr(module, "TABLE") else module.table(scale, options)
    return made
