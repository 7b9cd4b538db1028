"""Optical flow: estimators, 8-bit and Im2Flow encodings, pictures, errors, storage, and D3D's flow decoder.

Flow is (..., 2, H, W) in pixels, u (to the right) first, then v (downwards).
"""

from kdvideo.flow.decoder import (
    FlowDecoder,
    clip_to_pixels,
    decoded_clip,
    decoder_epe,
    decoder_loss,
    decoder_target,
)
from kdvideo.flow.estimators.dis import DISEstimator
from kdvideo.flow.estimators.estimator import FlowEstimator, TVL1Estimator
from kdvideo.flow.estimators.nvidia import NvidiaEstimator
from kdvideo.flow.estimators.online import OnlineFlow
from kdvideo.flow.estimators.ptlflow import PTLFlowEstimator
from kdvideo.flow.estimators.raft import RAFTEstimator
from kdvideo.flow.estimators.source import EstimatorSource, FlowSource
from kdvideo.flow.fields.endpoint_error import endpoint_error
from kdvideo.flow.fields.flo import is_known, read_flo, write_flo
from kdvideo.flow.fields.im2flow import im2flow_decode, im2flow_encode
from kdvideo.flow.fields.picture import color_wheel, to_image
from kdvideo.flow.fields.quantize import dequantize, dequantize_tsn, quantize
from kdvideo.flow.fields.transforms import area_pool, hflip, resize, to_unit, truncate
from kdvideo.flow.prefetch import prefetch_to_device
from kdvideo.flow.store.codecs import LOSSLESS, NEAR_LOSSLESS, UNCOMPRESSED, FlowCodec, GrayFFV1, GrayH264, Raw
from kdvideo.flow.store.flow_store import FailedFlowError, FlowStore
from kdvideo.flow.store.tsn import TSNFlow
from kdvideo.flow.store.zstd import Zstd
from kdvideo.flow.tvl1.estimate import tvl1
from kdvideo.flow.tvl1.presets import DEFAULT, FAST, OPENCV, PRESETS, TVL1Settings

__all__ = [
    "DEFAULT",
    "FAST",
    "LOSSLESS",
    "NEAR_LOSSLESS",
    "OPENCV",
    "PRESETS",
    "UNCOMPRESSED",
    "DISEstimator",
    "EstimatorSource",
    "FailedFlowError",
    "FlowCodec",
    "FlowDecoder",
    "FlowEstimator",
    "FlowSource",
    "FlowStore",
    "GrayFFV1",
    "GrayH264",
    "NvidiaEstimator",
    "OnlineFlow",
    "PTLFlowEstimator",
    "RAFTEstimator",
    "Raw",
    "TSNFlow",
    "TVL1Estimator",
    "TVL1Settings",
    "Zstd",
    "area_pool",
    "clip_to_pixels",
    "color_wheel",
    "decoded_clip",
    "decoder_epe",
    "decoder_loss",
    "decoder_target",
    "dequantize",
    "dequantize_tsn",
    "endpoint_error",
    "hflip",
    "im2flow_decode",
    "im2flow_encode",
    "is_known",
    "prefetch_to_device",
    "quantize",
    "read_flo",
    "resize",
    "to_image",
    "to_unit",
    "truncate",
    "tvl1",
    "write_flo",
]
