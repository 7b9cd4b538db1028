"""Projectors from a student's feature to the shape of the teacher's: `Student(..., projectors=)` takes them.

Vectors are (B, C); maps (B, C, T), (B, C, H, W) and (B, C, T, H, W); tokens (B, N, C).
"""

from kdvideo.projectors.channels import Orthogonal, PointwiseConv, bottleneck, conv, conv_bn, linear, orthogonal
from kdvideo.projectors.inference import Inferred, infer
from kdvideo.projectors.sizes import Interpolate, Pool, pool
from kdvideo.projectors.tokens import OnGrid, PooledVector, ToGrid, ToTokens

__all__ = [
    "Inferred",
    "Interpolate",
    "OnGrid",
    "Orthogonal",
    "PointwiseConv",
    "Pool",
    "PooledVector",
    "ToGrid",
    "ToTokens",
    "bottleneck",
    "conv",
    "conv_bn",
    "infer",
    "linear",
    "orthogonal",
    "pool",
]
