"""D3D on the embedded synthetic videos: the recipe's report over seeds on which no choice was made.

python -m benchmarks.paper.d3d_synthetic
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from benchmarks import record
from examples.d3d import report, run
from kdvideo.training import environment

SEEDS = tuple(range(6))


def main() -> None:
    """Run the recipe for all seeds; keep its report as the record and its pictures for the docs."""
    output = Path("runs/d3d_synthetic")
    run.main(["pocket", "--seeds", *map(str, SEEDS), "--output-dir", str(output), *sys.argv[1:]])
    result = json.loads((output / "report.json").read_text())
    result["environment"] = environment("python -m benchmarks.paper.d3d_synthetic")
    record.write("d3d_synthetic", result, report.table)
    for picture in report.PICTURES:
        shutil.copyfile(output / picture, Path("docs/img") / f"synthetic_{picture}")


if __name__ == "__main__":
    main()
