"""Table 1: how well optical flow can be read from layer 3A of networks for action recognition.

python -m benchmarks.paper.table1_flow_prediction --scale pocket
"""

from __future__ import annotations

from benchmarks.paper.tables import flags

if __name__ == "__main__":
    flags.parser(__doc__).parse_args()  # --help and wrong flags end here, before the imports take their seconds

from benchmarks.paper import decoding
from benchmarks.paper.decoding import Features
from benchmarks.paper.methods import D3D, FLOW, RGB
from benchmarks.paper.tables import running
from benchmarks.paper.tables.table import EPE, Row, Table

TABLE = Table(
    name="table1",
    protocol=(
        "A flow decoder without temporal convolutions learns to predict TV-L1 flow from layer 3A: on frozen networks, "
        "and (S3D-G, fine-tuned) together with the network, end to end. Flow is averaged over the layer's cells; "
        "magnitudes are in pixels of the input, so that errors at another size of frames are another scale. The "
        "decoder's layers are our choice and, but for --scale paper, its optimizer (AdamW), rate and length."
    ),
    metric=EPE,
    rows=(
        Row("All zeros", (Features(None),), {"features": "All zeros"}, claim=True),
        Row("S3D-G, RGB", (Features(RGB),), {"features": "S3D-G", "modality": "RGB"}, claim=True),
        Row("D3D, RGB", (Features(D3D),), {"features": "D3D"}, claim=True),
        Row("S3D-G, RGB, fine-tuned", (Features(RGB, fine_tune=True),), {"features": "S3D-G+FT"}, claim=True),
        Row("S3D-G, Flow", (Features(FLOW),), {"features": "S3D-G", "modality": "Flow"}, claim=True),
    ),
    measure=decoding.measure,
    paper_columns={"Kinetics-400, 224 x 224": "epe"},
)

if __name__ == "__main__":
    running.main(TABLE, __doc__)
