"""Figure 3: how well optical flow can be read from several layers of S3D-G, D3D and fine-tuned S3D-G.

python -m benchmarks.paper.figure3_layers --scale pocket
"""

from __future__ import annotations

from benchmarks.paper.tables import flags

if __name__ == "__main__":
    flags.parser(__doc__).parse_args()  # --help and wrong flags end here, before the imports take their seconds

from benchmarks import markdown
from benchmarks.paper import decoding, drawing
from benchmarks.paper.decoding import Features
from benchmarks.paper.methods import D3D, RGB
from benchmarks.paper.tables import rendering, running
from benchmarks.paper.tables.table import EPE, Record, Row, Table

LAYERS = ("2C", "3A", "3C", "4C", "4F")
NETWORKS = {
    "All zeros": (None, False),
    "S3D-G": (RGB, False),
    "D3D": (D3D, False),
    "S3D-G, fine-tuned": (RGB, True),
}


def name(network: str, layer: str) -> str:
    """Return the name of a row."""
    return f"{network} at {layer}"


def body(table: Table, record: Record) -> list[str]:
    """Render a line a layer, a column a network."""
    cells = [
        [layer, *(rendering.value(table, record, table.row(name(network, layer))) for network in NETWORKS)]
        for layer in LAYERS
    ]
    note = "The paper gives this figure as a drawing, without numbers."
    return [*markdown.table(["layer", *NETWORKS], cells), "", note]


TABLE = Table(
    name="figure3",
    protocol=(
        "As Table 1, a decoder for each layer. Flow is averaged over the cells of each layer, so that coarse layers "
        "have an easier target, as the error of zeros shows: only networks at one layer compare. The layers are our "
        "choice."
    ),
    metric=EPE,
    rows=tuple(
        Row(name(network, layer), (Features(method, layer, tune),), claim=method is not None and not tune)
        for layer in LAYERS
        for network, (method, tune) in NETWORKS.items()
    ),
    measure=decoding.measure,
    body=body,
    picture=drawing.lines({network: [name(network, layer) for layer in LAYERS] for network in NETWORKS}, LAYERS),
)

if __name__ == "__main__":
    running.main(TABLE, __doc__)
