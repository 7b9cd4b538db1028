"""The report of `make demo`, kept as a record, with its pictures in the docs.

python -m benchmarks.paper.demo
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from benchmarks import record
from examples.d3d import report, run


def main() -> None:
    """Run the recipe as the demo does, unless that was done; keep its report and its pictures."""
    output = Path("runs/demo")
    run.main(["pocket", "--output-dir", str(output), *sys.argv[1:]])
    result = json.loads((output / "report.json").read_text())
    record.write("demo", result, report.table)
    for picture in report.PICTURES:
        shutil.copyfile(output / picture, Path("docs/img") / f"synthetic_{picture}")


if __name__ == "__main__":
    main()
