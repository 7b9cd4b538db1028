"""Optical flow: batched TV-L1, its 8-bit and Im2Flow forms, pictures, errors and storage.

Flow is (..., 2, H, W) in pixels, u (to the right) first, then v (downwards).
"""

from kdvideo.flow.presets import DEFAULT, FAST, OPENCV, PRESETS, TVL1
from kdvideo.flow.quantize import dequantize, dequantize_tsn, quantize
from kdvideo.flow.source import FlowSource, OnTheFly
from kdvideo.flow.store import FlowStore
from kdvideo.flow.transforms import area_pool, hflip, resize, to_unit, truncate
from kdvideo.flow.tvl1 import tvl1

__all__ = [
    "DEFAULT",
    "FAST",
    "OPENCV",
    "PRESETS",
    "TVL1",
    "FlowSource",
    "FlowStore",
    "OnTheFly",
    "area_pool",
    "dequantize",
    "dequantize_tsn",
    "hflip",
    "quantize",
    "resize",
    "to_unit",
    "truncate",
    "tvl1",
]
