"""Run every fault test, and write what came of each.

    python -m benchmarks.reliability                # all, some 40 minutes on two cores
    python -m benchmarks.reliability --only A7 E1   # some; the record keeps the others

A test says by `@pytest.mark.reliability("A7")` which it is, and by `record_property` how many trials it made and the
worst that it saw; without that it counts as one trial, and a parametrized test as one for each case.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarks import record
from benchmarks.reliability.rows import ROWS
from benchmarks.reliability.table import render


@dataclass(eq=False)  # a plugin is hashed
class Collector:
    """A pytest plugin that runs the tests of some rows and keeps their results by row."""

    only: Sequence[str]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests of the wanted rows."""
        items[:] = [item for item in items if set(_rows(item)) & set(self.only)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        """Add a test's result to its rows."""
        report = yield
        properties: dict[str, Any] = dict(item.user_properties)
        for name in set(_rows(item)) & set(self.only):
            row = self.rows.setdefault(name, {"tests": [], "trials": 0, "failures": 0, "skipped": 0, "seconds": 0.0})
            row["seconds"] += report.duration
            if report.when == "call" or report.outcome != "passed":
                row["trials"] += int(properties.get("trials", 1)) if report.outcome != "skipped" else 0
                row["failures"] += report.outcome == "failed"
                row["skipped"] += report.outcome == "skipped"
                row["tests"] = sorted({*row["tests"], item.nodeid.split("[")[0]})
                if "worst" in properties:
                    row["worst"] = str(properties["worst"])
        return report


def _rows(item: pytest.Item) -> list[str]:
    return [str(name) for mark in item.iter_markers("reliability") for name in mark.args]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tests, and write the record; exit with 1 where one failed."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help="such as A7 E1")
    options = flags.parse_args(arguments)
    collector = Collector(options.only)
    pytest.main(["-m", "reliability", "-p", "no:cacheprovider", "tests"], plugins=[collector])
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    where = record.environment("python -m benchmarks.reliability", threads)
    for name, row in collector.rows.items():
        row["seconds"] = round(row["seconds"], 1)
        record.update("reliability", name, row | {"environment": where}, render)
    sys.exit(any(row["failures"] for row in collector.rows.values()))


if __name__ == "__main__":
    main()
