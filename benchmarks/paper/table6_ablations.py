"""Table 6: other ways to bring motion into an RGB network, and other places and teachers to distil from.

    python -m benchmarks.paper.table6_ablations --scale pocket --seeds 0 1 2 3 4

MARS and MERS, which the paper does not have, stand below its rows.
"""

from __future__ import annotations

from benchmarks.paper.tables import flags

if __name__ == "__main__":
    flags.parser(__doc__).parse_args()  # --help and wrong flags end here, before the imports take their seconds

from benchmarks.paper import accuracies
from benchmarks.paper.methods import (
    CNN_FLOW,
    D3D,
    D3D_2C,
    D3D_4C,
    D3D_SPATIAL,
    FLOW,
    FLOW_LOSS,
    MARS,
    MERS,
    RGB,
    Method,
)
from benchmarks.paper.tables import running
from benchmarks.paper.tables.table import TOP1, Row, Table


def _row(name: str, method: Method, *, claim: bool = True) -> Row:
    return Row(name, (method,), {"method": name}, claim=claim)


TABLE = Table(
    name="table6",
    protocol=(
        "3D CNN flow: the first layers of S3D-G and a decoder predict flow, which feeds a temporal S3D-G that was "
        "trained on TV-L1 flow; then both learn end to end. Flow loss: action loss and decoder loss together, weight "
        "0.1 (ours). Layers 2C and 4C: the MSE is taken there instead of at the logits, weight 1 (ours). MARS and "
        "MERS (Crasto et al., CVPR 2019) imitate the averaged features before the classifier."
    ),
    metric=TOP1,
    rows=(
        _row("S3D-G spatial stream", RGB),
        _row("S3D-G temporal stream", FLOW),
        _row("S3D-G with 3D CNN flow", CNN_FLOW, claim=False),
        _row("S3D-G with flow loss", FLOW_LOSS),
        _row("D3D distilled at layer 2C", D3D_2C),
        _row("D3D distilled at layer 4C", D3D_4C),
        _row("D3D distilled from spatial stream", D3D_SPATIAL),
        _row("D3D", D3D),
        Row("MARS (not in the paper)", (MARS,)),
        Row("MERS (not in the paper)", (MERS,)),
    ),
    measure=accuracies.measure,
    paper_columns={"Kinetics-400, reduced": "reduced"},
)

if __name__ == "__main__":
    running.main(TABLE, __doc__)
