"""The table of the fault tests says what their record says, and the runner what the tests did."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import record
from benchmarks.reliability import __main__ as runner
from benchmarks.reliability.rows import PARTS, ROWS
from benchmarks.reliability.table import render

pytest_plugins = "pytester"
ROOT = Path(__file__).parents[2]
WHERE = {"date": "2026-01-01", "hardware": "a CPU"}
TESTS = """
import pytest

@pytest.mark.reliability("A7")
def test_many(record_property):
    record_property("trials", 100)
    record_property("worst", "2 lost")

@pytest.mark.reliability("A7", "A10")
@pytest.mark.parametrize("k", range(3))
def test_some(k):
    assert k != 1

@pytest.mark.reliability("E1")
def test_elsewhere():
    pytest.skip("no such system")

def test_other(): ...
"""


def test_rows_are_those_of_all_parts() -> None:
    assert {name[0] for name in ROWS} == set(PARTS)
    assert len(ROWS) == 57


def test_the_runner_adds_up_what_tests_did(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmarkers = reliability: row")
    pytester.makepyfile(TESTS)
    collector = runner.Collector(["A7", "E1"])
    pytester.inline_run(plugins=[collector])
    row = collector.rows["A7"]
    assert (row["trials"], row["failures"], row["worst"]) == (103, 1, "2 lost")
    assert [test.split("::")[1] for test in row["tests"]] == ["test_many", "test_some"]
    assert (collector.rows["E1"]["trials"], collector.rows["E1"]["skipped"]) == (0, 1)
    assert set(collector.rows) == {"A7", "E1"}


def test_what_was_not_run_says_so() -> None:
    row = {"trials": 9, "failures": 1, "skipped": 2, "seconds": 3.0, "tests": ["tests/a.py::b"], "environment": WHERE}
    lines = render({"A7": row}).splitlines()
    assert any(
        line.startswith('| <a id="a7"></a>A7 |') and "9 (2 skipped) | 1 |" in line and "`a.py`" in line
        for line in lines
    )
    assert any(line.startswith('| <a id="a8"></a>A8 |') and "not run" in line for line in lines)


def test_the_committed_table_is_that_of_its_record() -> None:
    path = record.FOLDER / "reliability.json"
    if path.exists():
        assert render(json.loads(path.read_text())) == path.with_suffix(".md").read_text()


def test_every_row_is_a_promise_and_every_promise_has_its_rows() -> None:
    """Fails when a promise names a row that there is not, or a row is no promise."""
    page = (ROOT / "docs" / "promises.md").read_text()
    named = re.sub(r"\[(.)(\d+)\]\(#\S+?\)\s+to\s+\[.(\d+)\]\(#\S+?\)", _all_of, page)
    links = re.findall(r"\[([A-E]\d+)\]\(#(\S+?)\)", named)
    assert all(name.lower() == anchor for name, anchor in links)
    assert sorted(name for name, _ in links) == sorted(ROWS)


def _all_of(found: re.Match[str]) -> str:
    part, first, last = found[1], int(found[2]), int(found[3])
    return " ".join(f"[{part}{number}](#{part.lower()}{number})" for number in range(first, last + 1))


def test_the_tests_of_the_record_are_there() -> None:
    """Fails when a test of the table is renamed, or loses the mark of its row."""
    rows = json.loads((record.FOLDER / "reliability.json").read_text())
    assert set(rows) == set(ROWS)
    for name, row in rows.items():
        assert row["tests"]
        for test in row["tests"]:
            file, function = test.split("::")[:2]
            text = (ROOT / file).read_text()
            assert re.search(rf"^(def|class) {function}\(", text, re.MULTILINE), f"{name}: {test}"
            assert f'"{name}"' in text, f"{name}: {test}"
