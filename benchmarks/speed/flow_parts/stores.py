"""Measure bytes and error of every way to store flow, on real clips and scaled to Kinetics-400."""

from __future__ import annotations

import io
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.flow_parts.real_frames import videos
from benchmarks.speed.flow_parts.speeds import KINETICS_PAIRS
from kdvideo import data
from kdvideo import flow as kf

FRAMES, SHORT_SIDE, BOUND = 65, 256, 20.0
KINETICS_PIXELS = 256 * 340
CODECS: dict[str, kf.FlowCodec] = {
    "raw 8 bit": kf.UNCOMPRESSED,
    "lossless (Zstandard)": kf.LOSSLESS,
    "lossless video (FFV1)": kf.GrayFFV1(),
    "near-lossless video (H.264, crf 16)": kf.NEAR_LOSSLESS,
    "H.264, crf 10": kf.GrayH264(crf=10),
}


def measure(clips: Path) -> dict[str, Any]:
    """Measure every store on the first flows of each clip at 25 fps; medians over the clips."""
    cells: dict[str, list[tuple[float, float]]] = {}
    names = []
    for video in videos(clips):
        try:
            frames = data.read_frames(video, fps=25.0, short_side=SHORT_SIDE)[:FRAMES]
        except data.ClipError as error:
            print(f"left out: {error}")
            continue
        names.append(video.name)
        flow = kf.tvl1(frames)
        for name, (size, read) in _stored(flow).items():
            distance = float(kf.endpoint_error(read, kf.truncate(flow, BOUND)))
            cells.setdefault(name, []).append((size / flow[:, 0].numel(), distance))
        print(names[-1], flush=True)
    return {"clips": names, "bound_px": BOUND, "stores": {name: _row(values) for name, values in cells.items()}}


def _stored(flow: Tensor) -> dict[str, tuple[int, Tensor]]:
    """Return (bytes, flow read back) by the name of the store."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, codec) in enumerate(CODECS.items()):
            store = kf.FlowStore(Path(folder) / str(number), bound=BOUND, codec=codec)
            store.write("clip", flow)
            info = store.info("clip")
            assert info is not None
            found[name] = int(info["bytes"]), store.read("clip")
    found["JPEG, quality 95 (TSN's layout)"] = _jpeg(flow)
    found["float32"] = flow.numel() * 4, kf.truncate(flow, BOUND)
    return found


def _jpeg(flow: Tensor) -> tuple[int, Tensor]:
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    numbers = ((kf.truncate(flow, BOUND) + BOUND) * (255 / (2 * BOUND))).round().byte()
    size, planes = 0, []
    for plane in numbers.flatten(0, 1):
        file = io.BytesIO()
        Image.fromarray(plane.numpy()).save(file, "JPEG", quality=95)
        size += file.tell()
        planes.append(pil_to_tensor(Image.open(file))[0])
    return size, kf.dequantize_tsn(torch.stack(planes).view_as(flow), BOUND)


def _row(values: list[tuple[float, float]]) -> dict[str, float]:
    density = [size for size, _ in values]
    kilobytes = [KINETICS_PIXELS * one / 1000 for one in density]
    return {
        "kilobytes_per_pair_at_256x340": round(statistics.median(kilobytes), 2),
        "smallest": round(min(kilobytes), 2),
        "largest": round(max(kilobytes), 2),
        "endpoint_error_px": round(statistics.median(error for _, error in values), 4),
        "kinetics_400_terabytes": round(KINETICS_PAIRS * statistics.mean(kilobytes) / 1e9, 2),
    }
