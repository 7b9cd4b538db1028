"""The table of the fault tests says what their record says, and the runner what the tests did."""

import json

import pytest

from benchmarks import record
from benchmarks.reliability import __main__ as runner
from benchmarks.reliability.rows import PARTS, ROWS
from benchmarks.reliability.table import render

pytest_plugins = "pytester"
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
    assert any(line.startswith("| A7 |") and "9 (2 skipped) | 1 |" in line and "`a.py`" in line for line in lines)
    assert any(line.startswith("| A8 |") and "not run" in line for line in lines)


def test_the_committed_table_is_that_of_its_record() -> None:
    path = record.FOLDER / "reliability.json"
    if path.exists():
        assert render(json.loads(path.read_text())) == path.with_suffix(".md").read_text()
