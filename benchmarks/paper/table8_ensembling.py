"""Table 8: D3D with the temporal stream, and with the spatial stream, on Kinetics-600.

python -m benchmarks.paper.table8_ensembling --scale pocket
"""

from __future__ import annotations

from benchmarks.paper.tables import flags

if __name__ == "__main__":
    flags.parser(__doc__).parse_args()  # --help and wrong flags end here, before the imports take their seconds

from benchmarks.paper import accuracies
from benchmarks.paper.methods import D3D, FLOW, RGB
from benchmarks.paper.tables import running
from benchmarks.paper.tables.table import TOP1, Row, Table


def _row(name: str, modality: str, *methods: object) -> Row:
    return Row(f"{name}, {modality}", methods, {"method": name, "modality": modality}, claim=True)


TABLE = Table(
    name="table8",
    protocol="The networks of Table 3; rows of two networks average their softmax scores.",
    metric=TOP1,
    rows=(
        _row("S3D-G", "RGB", RGB),
        _row("D3D", "RGB", D3D),
        _row("D3D+S3D-G", "RGB+Flow", D3D, FLOW),
        _row("D3D+S3D-G", "RGB+RGB", D3D, RGB),
    ),
    measure=accuracies.measure,
    paper_columns={"Kinetics-600, reduced": "reduced"},
    part="kinetics600",
)

if __name__ == "__main__":
    running.main(TABLE, __doc__)
