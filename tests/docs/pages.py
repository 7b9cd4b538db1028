"""The pages of the README and the docs: their Python blocks, their commands, and the extra that each page needs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
# What the Python blocks of a page need beyond `pip install kdvideo`; the page says so, as kdvideo[NAME].
EXTRAS = {
    "docs/detection.md": "video",
    "docs/guides/own_videos.md": "video",
    "docs/video.md": "video",
}
CORE = "core"
LAUNCHERS = ("kdvideo", "python", "accelerate", "make", "pip", "git")


def extra_of(page: str) -> str:
    """The extra that a page needs, or "core"."""
    return EXTRAS.get(page, CORE)


def blocks(page: str) -> list[str]:
    """The Python blocks of a page, which run one by one."""
    return re.findall(r"```python\n(.*?)```", PAGES[page], flags=re.DOTALL)


def commands(page: str) -> Iterator[list[str]]:
    """The words of every command of a page: indented by four spaces, with comments after `#` and joined by `&&`."""
    for line in re.findall(r"^    (\S.*)$", re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL), flags=re.M):
        if line.split()[0] in LAUNCHERS:
            for command in line.split("&&"):
                yield shlex.split(command, comments=True)
