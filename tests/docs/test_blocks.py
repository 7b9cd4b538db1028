"""Every Python block of the README and the docs runs with the extra that its page names, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import EXTRAS, PAGES, ROOT, blocks, extra_of

FIRST = ("README.md", "docs/index.md", "docs/core.md")


@pytest.mark.parametrize("extra", ["core", "video"])
def test_blocks_run_with_their_extra(extra: str, tmp_path: Path) -> None:
    """Fails when a block of a page of the core imports what only an extra brings."""
    command = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "docs" / "run_blocks.py"), extra, "--hide"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", FIRST)
def test_the_first_example_needs_the_core_alone(page: str) -> None:
    assert extra_of(page) == "core"
    assert "kd.Teacher(" in blocks(page)[0]


@pytest.mark.parametrize("page", EXTRAS)
def test_a_page_names_its_extra(page: str) -> None:
    """Fails when EXTRAS asks for an extra of which the page says nothing."""
    assert f"kdvideo[{EXTRAS[page]}]" in PAGES[page]


def test_there_are_blocks() -> None:
    assert sum(len(blocks(page)) for page in PAGES) > 25
