"""The report of `make demo`, kept as a record, with its pictures in the docs.

python -m benchmarks.paper.demo
"""

from __future__ import annotations

import sys

from examples.d3d.config import parse, plain_errors

if __name__ == "__main__":
    command = ["pocket", "--output-dir", "runs/demo", *sys.argv[1:]]
    plain_errors(parse)(command)  # --help and wrong flags end here, before the imports take their seconds

import json
import shutil
from pathlib import Path

from benchmarks import record
from examples.d3d import report, run


def main(command: list[str]) -> None:
    """Run the recipe as the demo does, unless that was done; keep its report and its pictures."""
    run.main(command)
    output = Path("runs/demo")
    result = json.loads((output / "report.json").read_text())
    record.write("demo", result, report.table)
    for picture in report.PICTURES:
        shutil.copyfile(output / picture, Path("docs/img") / f"synthetic_{picture}")


if __name__ == "__main__":
    main(command)
