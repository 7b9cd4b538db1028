"""What networks say of a clip, how long each part takes, and where each sees its first class.

Legend: K classes, T frames.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdvideo import data, flow, models
from kdvideo.features import CaptureError
from kdvideo.predict import Predictor

TOP = 5
MOST_BYTES = 64 * 2**20
MOST_SECONDS, FPS = 60.0, 30.0  # of a clip: its frames at this rate are counted before any is decoded


@dataclass(frozen=True)
class Answer:
    """What one network says of a clip.

    Attributes:
        name: of the network.
        stream: what it sees, "rgb" or "flow".
        seen: what it is shown, uint8 (T, 3, H, W) RGB frames or pictures of flow.
        marked: the same, gray, with orange where the most probable class is seen; None where no layer has places.
        top: the most probable classes and their probabilities.
        seconds: of reading the clip, flow included, and of the network.
    """

    name: str
    stream: str
    seen: Tensor
    marked: Tensor | None
    top: list[tuple[str, float]]
    seconds: dict[str, float]


def named(weights: Sequence[str]) -> dict[str, str]:
    """Name files of weights by what tells them apart: their stem or, where stems are alike, their folder too.

    Examples:
        >>> list(named(["runs/rgb/model.safetensors", "runs/d3d/model.safetensors"]))
        ['rgb', 'd3d']
        >>> list(named(["student.safetensors"]))
        ['student']
    """
    for name in (lambda path: path.stem, lambda path: path.parent.name, str):
        names = [name(Path(one)) for one in weights]
        if len(set(names)) == len(names) and all(names):
            return dict(zip(names, weights, strict=True))
    return dict(zip(weights, weights, strict=True))


def check_clip(path: str | Path) -> None:
    """Raise ClipError for what is no clip of at most 64 MiB and a minute, before its frames are decoded."""
    size = Path(path).stat().st_size
    if size > MOST_BYTES:
        limit = f"the page takes at most {MOST_BYTES >> 20} MiB: cut it, or use kdvideo predict"
        raise data.ClipError(path, f"the file has {size / 2**20:.0f} MiB, and {limit}")
    length = data.probe(path, fps=FPS).length
    if length > MOST_SECONDS * FPS:
        limit = f"the page takes at most {MOST_SECONDS:g} s: cut it, or use kdvideo predict"
        raise data.ClipError(path, f"the clip has {length / FPS:.0f} s, and {limit}")


def answer(name: str, predictor: Predictor, clip: str | Path) -> Answer:
    """Classify the middle window of a clip by one network.

    Raises:
        ClipError: the clip cannot be read.
    """
    began = time.perf_counter()
    seen = predictor.window(clip)
    read = time.perf_counter()
    batch = predictor.network.input_spec.normalize(seen)[None]
    with torch.no_grad():
        scores = predictor.network(batch).softmax(1)[0]
    ended = time.perf_counter()
    stream: str = predictor.view["stream"]
    pictures = _pictures(seen, predictor)
    best = scores.topk(min(TOP, len(scores)))
    return Answer(
        name,
        stream,
        pictures,
        _marked(predictor.network, batch, best.indices[:1], pictures),
        [(predictor.classes[k], float(scores[k])) for k in best.indices.tolist()],
        {"reading and flow" if stream == "flow" else "reading": read - began, "network": ended - read},
    )


def _pictures(seen: Tensor, predictor: Predictor) -> Tensor:
    """Return what a network is shown, (C, T, H, W), as uint8 (T, 3, H, W)."""
    if predictor.view["stream"] == "flow":
        return flow.to_image(seen.movedim(1, 0))
    low, high = predictor.network.input_spec.value_range
    return ((seen.movedim(1, 0) - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)


def _marked(network: models.Network, batch: Tensor, best: Tensor, pictures: Tensor) -> Tensor | None:
    try:
        return models.highlight(pictures, models.class_activation(network, batch, best)[0])
    except (ValueError, CaptureError):  # no layer with places, or one that cannot be tapped
        return None


def sample_clips(folder: Path, classes: Sequence[str]) -> dict[str, Path]:
    """Write a clip of each motion that our renderer knows, those of the classes first, and two without their look."""
    from kdvideo.data import synthetic

    known = sorted(synthetic.MOTIONS, key=lambda motion: motion not in classes)[:6]
    looks = [(motion, motion, motion) for motion in known]
    # A gray disc: whoever goes by the look alone cannot tell its class.
    looks += [(f"{motion}, gray", motion, "plain") for motion in known[:2]]
    found: dict[str, Path] = {}
    for number, (name, motion, look) in enumerate(looks):
        found[name] = folder / f"{name}.mp4"
        frames: Any = synthetic.render(motion, appearance=look, seed=9000 + number, size=48, distractor=0.0)
        found[name].write_bytes(synthetic.encode(frames))
    return found
