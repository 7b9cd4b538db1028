"""Run the Python blocks of the pages that need one extra: python tests/docs/run_blocks.py core|video [--hide].

It needs nothing but what that extra brings. `--hide` hides what others bring, for an environment that has all.
"""

from __future__ import annotations

import sys
import tempfile
import tomllib
import traceback
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from re import match
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.docs.pages import CORE, PAGES, ROOT, blocks, extra_of


class Without:
    """Finds modules as Python does, but for some."""

    def __init__(self, hidden: set[str], finders: list[Any]) -> None:
        self.hidden, self.finders = hidden, finders

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return where a module is; None for a hidden one."""
        found = (finder.find_spec(name, path, target) for finder in self.finders)
        return None if name in self.hidden else next(filter(None, found), None)

    def find_distributions(self, *context: Any) -> Any:
        """Find what `importlib.metadata` looks for; versions are not hidden."""
        finders = [finder for finder in self.finders if hasattr(finder, "find_distributions")]
        return chain.from_iterable(finder.find_distributions(*context) for finder in finders)


def brought(*extras: str) -> set[str]:
    """The distributions that extras name in pyproject.toml."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return {match(r"[\w.-]+", one)[0] for extra in extras or declared for one in declared[extra]} - {"kdvideo"}


def hide(extra: str) -> None:
    """Hide what the extras other than this one bring; what is imported already stays."""
    others = brought() - ({"numpy"} | (brought(extra) if extra != CORE else set()))
    names = {name for name, owners in packages_distributions().items() if others & set(owners)}
    sys.meta_path[:] = [Without(names, list(sys.meta_path))]


def main(extra: str, *options: str) -> int:
    """Run the blocks and say which failed."""
    if "--hide" in options:
        hide(extra)
    failed = ran = 0
    for page in PAGES:
        for number, code in enumerate(blocks(page) if extra_of(page) == extra else ()):
            ran += 1
            sys.modules["block"] = block = ModuleType("block")  # torch.compile imports what it compiles
            try:
                exec(compile(code, f"<{page}, block {number}>", "exec"), block.__dict__)
            except Exception:
                failed += 1
                print(f"{page}, block {number}\n{traceback.format_exc(limit=-2)}")
    print(f"{ran - failed} of {ran} blocks ran with {extra}")
    return int(failed > 0 or not ran)


if __name__ == "__main__":
    tempfile.tempdir = tempfile.mkdtemp()
    sys.exit(main(*sys.argv[1:]))
