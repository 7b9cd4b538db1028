"""Table 7: distillation into other students; the teacher is always the temporal S3D-G.

python -m benchmarks.paper.table7_backbones --scale pocket
"""

from __future__ import annotations

from benchmarks.paper.tables import flags

if __name__ == "__main__":
    flags.parser(__doc__).parse_args()  # --help and wrong flags end here, before the imports take their seconds

from benchmarks.paper import accuracies
from benchmarks.paper.methods import D3D, I3D_D3D, I3D_RGB, NL_D3D, NL_RGB, RGB
from benchmarks.paper.tables import running
from benchmarks.paper.tables.table import TOP1, Row, Table

METHODS = {
    "I3D": I3D_RGB,
    "S3D-G": RGB,
    "NL S3D-G": NL_RGB,
    "D3D (I3D)": I3D_D3D,
    "D3D (S3D-G)": D3D,
    "D3D (NL S3D-G)": NL_D3D,
}
TABLE = Table(
    name="table7",
    protocol=(
        "Each backbone on RGB, alone and taught by the S3D-G temporal stream. Where the non-local blocks of NL S3D-G "
        "stand is our choice: after 4C and 4E."
    ),
    metric=TOP1,
    rows=tuple(Row(name, (method,), {"method": name}, claim=True) for name, method in METHODS.items()),
    measure=accuracies.measure,
    paper_columns={"Kinetics-400, reduced": "reduced"},
)

if __name__ == "__main__":
    running.main(TABLE, __doc__)
