"""D3D on the embedded synthetic videos: the recipe's report over seeds on which no choice was made.

python -m benchmarks.d3d_synthetic
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from benchmarks import record
from examples.d3d import report, run

SEEDS = tuple(range(8))


def main() -> None:
    """Run the recipe for all seeds; keep its report as the record and its pictures for the docs."""
    arguments = ["pocket", "--seeds", *map(str, SEEDS), "--output-dir", "runs/d3d_synthetic", *sys.argv[1:]]
    run.main(arguments)
    result = json.loads(Path("runs/d3d_synthetic/report.json").read_text())
    record.write("d3d_synthetic", result, report.table)
    for picture in report.PICTURES:
        shutil.copyfile(Path("runs/d3d_synthetic") / picture, Path("docs/img") / f"synthetic_{picture}")


if __name__ == "__main__":
    main()
