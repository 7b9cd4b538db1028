"""Pages: code of at most 88 columns, numbers that are in the records, error texts that are in the code."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import summary
from benchmarks.paper.tables import cluster_plan
from tests.docs.pages import PAGES, ROOT

BLOCK = re.compile(r"^``` ?(\S*|\{[^\n]*\})\n(.*?)^```$", flags=re.M | re.S)
RECORDS = {
    "docs/index.md": ("table2_pocket", "claims_pocket"),
    "docs/guides/flow.md": ("speed_flow", "flow_ways"),
}
VALUE = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")
SPREAD = re.compile(r"(\d+\.\d+) ± (\d+\.\d+)")


def shown() -> Iterator[tuple[str, str]]:
    """Blocks that are shown and not run with the others: `{ .python }`, for all that is installed here."""
    for page, text in PAGES.items():
        for kind, code in BLOCK.findall(text):
            if kind == "{ .python }":
                yield page, code


@pytest.mark.parametrize("page", PAGES)
def test_code_fits_a_narrow_page(page: str) -> None:
    """Fails when a line of a block has 89 columns. Error texts of the FAQ wrap, scripts are those of examples/."""
    lines = [line for kind, code in BLOCK.findall(PAGES[page]) if kind != "text" for line in code.splitlines()]
    assert [line for line in lines if len(line) > 88 and not line.startswith("--8<--")] == []


@pytest.mark.parametrize("page", RECORDS)
def test_numbers_are_in_the_records(page: str) -> None:
    """Fails when a number of the page, or of its record, is changed alone."""
    known = " ".join((ROOT / "benchmarks" / "results" / f"{name}.md").read_text() for name in RECORDS[page])
    prose = re.sub(r"arXiv [\d.]+|abs/[\d.]+", "", BLOCK.sub("", PAGES[page]))
    found = VALUE.findall(prose)
    assert len(found) > 5
    assert [number for number in found if number not in VALUE.findall(known)] == []


def test_the_cost_of_the_paper_is_that_of_the_plan() -> None:
    """Fails when a schedule, the measured step or a number of the page is changed alone."""
    page = PAGES["docs/guides/paper_scale.md"]
    rate = re.search(r"(\d+) clips/s", cluster_plan.record_of_steps())
    assert rate
    assert f"the measured {rate[1]} clips a second" in page
    rows = re.findall(r"\| (\d+) × (\d+) \| (\d+) \|", page)
    assert len(rows) == 5
    for steps, clips, hours in rows:
        assert cluster_plan.cost(int(steps) * int(clips)) == f"about {hours}"
    together = sum(int(steps) * int(clips) for steps, clips, _ in rows)
    assert f"| together, one seed | | {cluster_plan.cost(together).split()[1]} |" in page


def texts() -> list[str]:
    """Every text in the code of the library, with … in the place of values."""
    found = []
    for path in (ROOT / "kdvideo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_the_errors_of_the_faq_are_those_of_the_code() -> None:
    """Fails when a word of a quoted error is changed, in the code or on the page."""
    known = {re.sub(r"…+", "…", text) for text in texts()}
    quoted = [code.strip() for kind, code in BLOCK.findall(PAGES["docs/guides/faq.md"]) if kind == "text"]
    assert len(quoted) > 25
    assert [quote for quote in quoted if re.sub(r"…+", "…", quote) not in known] == []


@pytest.mark.parametrize("number", range(len(list(shown()))))
def test_blocks_that_need_more_run_here(number: int, tmp_path: Path) -> None:
    """Fails when a block of the page of loops does not run with Accelerate, Lightning and transformers."""
    page, code = list(shown())[number]
    (tmp_path / "block.py").write_text(code)
    command, where = [sys.executable, "-W", "ignore", "block.py"], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=where)
    assert done.returncode == 0, f"{page}\n{done.stderr}"


def test_every_mean_and_spread_on_a_page_is_in_a_record() -> None:
    """Fails when a page keeps the number of a record that has changed."""
    known = " ".join(path.read_text() for path in (ROOT / "benchmarks" / "results").glob("*.md"))
    pairs = {(page, pair) for page, text in PAGES.items() for pair in SPREAD.findall(BLOCK.sub("", text))}
    assert len(pairs) > 10
    assert sorted((page, pair) for page, pair in pairs if pair not in SPREAD.findall(known)) == []


def test_the_summary_is_of_the_records() -> None:
    """Fails when the summary leaves a record out that is there, or shows one that is not."""
    rows = summary.table()
    assert "<!-- summary -->" in PAGES["docs/results.md"]
    assert len(rows) == 15
    assert not any("| not run |" in row for row in rows)


def test_cores_for_a_gpu_are_those_of_the_record() -> None:
    """Fails when the page of the paper's scale keeps the cores of an earlier reading."""
    record = (ROOT / "benchmarks" / "results" / "speed_reading.md").read_text()
    originals, prepared = (
        [float(x) for x in re.findall(r"^\| RGB(?: and flow)?, bytes .*\| ([\d.]+) \|$", part, re.M)]
        for part in record.split("### The same clips, prepared")
    )
    page = " ".join(PAGES["docs/guides/paper_scale.md"].split())
    assert f"is fed by {originals[0]} cores with the clips of Kinetics as they are, by {prepared[0]} with" in page
    assert f"by {prepared[1]} where flow is read too" in page
