"""The paper's claims: the rows that each compares, and where it puts their difference."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from benchmarks.paper import figure3_layers
from examples.d3d.significance import ABOVE_ZERO, Range, about_equal, at_most

MARGIN = 2.0
"""Points of accuracy of "about" and "nothing", chosen before these tables were measured; the paper's own differences
behind such claims are at most 0.3."""
GAINS_NOTHING, ABOUT_EQUAL = at_most(MARGIN), about_equal(MARGIN)


@dataclass(frozen=True)
class Claim:
    """What the paper says of the rows of one table.

    Args:
        text: the claim.
        table: name of the table.
        pairs: names of rows (first, second).
        where: it puts first − second, for every pair.
    """

    text: str
    table: str
    pairs: tuple[tuple[str, str], ...]
    where: Range = ABOVE_ZERO


SPATIAL, SPATIAL_TAUGHT = "S3D-G spatial stream", "D3D distilled from spatial stream"
ERRORS = ("All zeros", "S3D-G, RGB", "D3D, RGB", "S3D-G, RGB, fine-tuned", "S3D-G, Flow")
CLAIMS = (
    Claim("D3D is better than S3D-G on RGB", "table2", (("D3D, RGB", "S3D-G, RGB"),)),
    Claim("D3D is about as good as two streams", "table2", (("D3D, RGB", "S3D-G, RGB+Flow"),), ABOUT_EQUAL),
    Claim("D3D+S3D-G (RGB) is better than D3D", "table2", (("D3D+S3D-G, RGB", "D3D, RGB"),)),
    Claim("the same on the second data set", "table8", (("D3D+S3D-G, RGB+RGB", "D3D, RGB"),)),
    Claim("D3D is better than S3D-G on the second data set", "table8", (("D3D, RGB", "S3D-G, RGB"),)),
    Claim("adding flow to D3D gains nothing", "table8", (("D3D+S3D-G, RGB+Flow", "D3D, RGB"),), GAINS_NOTHING),
    Claim(
        "distilling from the spatial stream gains almost nothing",
        "table6",
        ((SPATIAL_TAUGHT, SPATIAL),),
        GAINS_NOTHING,
    ),
    Claim("D3D is better than distilled from the spatial stream", "table6", (("D3D", SPATIAL_TAUGHT),)),
    Claim(
        "distilling at the logits is better than at 2C and at 4C",
        "table6",
        (("D3D", "D3D distilled at layer 2C"), ("D3D", "D3D distilled at layer 4C")),
    ),
    Claim("a flow loss gains almost nothing", "table6", (("S3D-G with flow loss", SPATIAL),), GAINS_NOTHING),
    Claim(
        "distillation helps every backbone",
        "table7",
        tuple((f"D3D ({backbone})", backbone) for backbone in ("I3D", "S3D-G", "NL S3D-G")),
    ),
    Claim("D3D's features detect actions better than S3D-G's", "table5", (("D3D", "S3D-G"),)),
    Claim("flow is read with errors zeros > S3D-G > D3D > fine-tuned > Flow", "table1", tuple(pairwise(ERRORS))),
    Claim(
        "at every layer flow is read better from D3D than from S3D-G",
        "figure3",
        tuple(
            (figure3_layers.name("S3D-G", layer), figure3_layers.name("D3D", layer)) for layer in figure3_layers.LAYERS
        ),
    ),
)
