"""Table 2: D3D beside one and two streams, and beside what the paper quotes, on Kinetics-400.

python -m benchmarks.paper.table2_kinetics400 --scale pocket
"""

from __future__ import annotations

from benchmarks.paper.tables import flags

if __name__ == "__main__":
    flags.parser(__doc__).parse_args()  # --help and wrong flags end here, before the imports take their seconds

from benchmarks.paper import accuracies
from benchmarks.paper.methods import D3D, FLOW, I3D_FLOW, I3D_RGB, RGB
from benchmarks.paper.tables import running
from benchmarks.paper.tables.table import TOP1, Row, Table


def _paper(method: str, modality: str) -> dict[str, str | None]:
    return {"method": method, "modality": modality}


def _quoted(method: str, modality: str) -> Row:
    return Row(f"{method}, {modality}", (), _paper(method, modality))


TABLE = Table(
    name="table2",
    protocol=(
        "Every network is trained on the training clips with the action loss; D3D also with the logit MSE to the "
        "temporal S3D-G. Rows of two networks average their softmax scores."
    ),
    metric=TOP1,
    rows=(
        _quoted("ARTNet", "RGB+Flow"),
        _quoted("TSN", "RGB+Flow"),
        _quoted("R(2+1)D", "RGB+Flow"),
        _quoted("NL I3D", "RGB"),
        _quoted("SAN", "RGB+Flow+Audio"),
        Row("I3D, RGB", (I3D_RGB,), _paper("I3D", "RGB")),
        Row("I3D, Flow", (I3D_FLOW,), _paper("I3D", "Flow")),
        Row("I3D, RGB+Flow", (I3D_RGB, I3D_FLOW), _paper("I3D", "RGB+Flow")),
        Row("S3D-G, RGB", (RGB,), _paper("S3D-G", "RGB"), claim=True),
        Row("S3D-G, Flow", (FLOW,), _paper("S3D-G", "Flow"), claim=True),
        Row("S3D-G, RGB+Flow", (RGB, FLOW), _paper("S3D-G", "RGB+Flow"), claim=True),
        Row("D3D, RGB", (D3D,), _paper("D3D", "RGB"), claim=True),
        Row("D3D+S3D-G, RGB", (D3D, RGB), _paper("D3D+S3D-G", "RGB"), claim=True),
    ),
    measure=accuracies.measure,
    paper_columns={"Kinetics-400, reduced": "reduced", "Kinetics-400, full": "full"},
)

if __name__ == "__main__":
    running.main(TABLE, __doc__)
