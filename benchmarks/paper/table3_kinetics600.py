"""Table 3: the same on Kinetics-600; teacher and student are both trained there.

    python -m benchmarks.paper.table3_kinetics600 --scale pocket

At the scales pocket and bench a second set of synthetic videos, with more classes than the first and other clips,
stands where the paper has Kinetics-600.
"""

from __future__ import annotations

from benchmarks.paper.tables import flags

if __name__ == "__main__":
    flags.parser(__doc__).parse_args()  # --help and wrong flags end here, before the imports take their seconds

from benchmarks.paper import accuracies
from benchmarks.paper.methods import D3D, FLOW, I3D_RGB, RGB
from benchmarks.paper.tables import running
from benchmarks.paper.tables.table import TOP1, Row, Table


def _paper(method: str, modality: str) -> dict[str, str | None]:
    return {"method": method, "modality": modality}


TABLE = Table(
    name="table3",
    protocol=(
        "As Table 2, with all networks, the teacher among them, trained and measured on a second data set with more "
        "classes."
    ),
    metric=TOP1,
    rows=(
        Row("I3D, RGB", (I3D_RGB,), _paper("I3D", "RGB")),
        Row("S3D-G, RGB", (RGB,), _paper("S3D-G", "RGB"), claim=True),
        Row("S3D-G, Flow", (FLOW,), _paper("S3D-G", "Flow"), claim=True),
        Row("S3D-G, RGB+Flow", (RGB, FLOW), _paper("S3D-G", "RGB+Flow"), claim=True),
        Row("D3D, RGB", (D3D,), _paper("D3D", "RGB"), claim=True),
        Row("D3D+S3D-G, RGB", (D3D, RGB), _paper("D3D+S3D-G", "RGB"), claim=True),
    ),
    measure=accuracies.measure,
    paper_columns={"Kinetics-600, reduced": "reduced", "Kinetics-600, full": "full"},
    part="kinetics600",
)

if __name__ == "__main__":
    running.main(TABLE, __doc__)
