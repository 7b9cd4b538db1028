"""Figure 4: flow read from layer 3A of S3D-G and of D3D, beside the TV-L1 flow that it should be.

python -m benchmarks.paper.figure4_flow --scale pocket
"""

from __future__ import annotations

from benchmarks.paper.tables import flags

if __name__ == "__main__":
    flags.parser(__doc__).parse_args()  # --help and wrong flags end here, before the imports take their seconds

from benchmarks.paper import decoding, drawing
from benchmarks.paper.decoding import Features
from benchmarks.paper.methods import D3D, RGB
from benchmarks.paper.tables import running
from benchmarks.paper.tables.table import EPE, Row, Table

SHOWN = {"S3D-G": Features(RGB), "D3D": Features(D3D)}
TABLE = Table(
    name="figure4",
    protocol=(
        "One test clip of each class, one frame: the frame, TV-L1 flow, the same averaged over the cells of 3A (what "
        "a decoder should say), and what is read from S3D-G and from D3D, at the first seed. Hue is direction, "
        "saturation is speed; a row of pictures shares one scale. The errors are over all test clips."
    ),
    metric=EPE,
    rows=tuple(Row(name, (features,)) for name, features in SHOWN.items()),
    measure=decoding.measure,
    picture=drawing.decoded(SHOWN),
)

if __name__ == "__main__":
    running.main(TABLE, __doc__)
