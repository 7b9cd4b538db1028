"""The top classes of a video file, by any network that kdvideo can load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from kdvideo import data, flow, models
from kdvideo.clip_input import clip_input, estimator_of


class _Files(list[dict[str, Any]]):
    """The rows of a manifest that lists some files, without the need for `datasets`."""

    def __getitem__(self, key: Any) -> Any:
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)


@torch.no_grad()
def predict(weights: str | Path, clip: str | Path, *, views: int = 1) -> list[tuple[str, float]]:
    """Return (class, probability) of a video file, most probable first: the mean softmax over `views` windows.

    The file of weights says what the network sees: frames, frame rate, size, range, RGB or flow; where others
    published it, the network's `input_spec` does. A flow network gets TV-L1 flow computed from the clip.

    Args:
        weights: any file that `models.checkpoints.load` reads.
        clip: a video file.
        views: windows of the clip whose scores are averaged.

    Raises:
        ClipError: the clip cannot be read.
        ValueError: the weights are not of a network that kdvideo builds, or their input description is incomplete.
    """
    if views < 1:
        raise ValueError(f"views must be at least 1, got {views}")
    network, info = models.checkpoints.load(weights)
    view = clip_input(network, info, weights)
    stream, spec = view["stream"], network.input_spec
    clips = data.PairedClips(
        _Files([{"path": str(clip), "clip": str(clip), "label": 0, "start": None, "end": None}]),
        frames=view["frames"],
        fps=view["fps"],
        short_side=view["short_side"],
        crop=view["crop"],
        train=False,
        flow=flow.EstimatorSource(estimator_of(view)) if stream == "flow" else None,
        flow_bound=view["flow_bound"],
        input_range=spec.value_range if stream == "rgb" else (-1.0, 1.0),
        rgb=stream == "rgb",
        views=views,
    )
    batch = torch.stack([spec.normalize(clips[k][stream]) for k in range(views)])
    scores = network.eval()(batch).softmax(1).mean(0)
    order = scores.argsort(descending=True).tolist()
    names = info["classes"] or [str(k) for k in range(len(scores))]
    return [(names[k], float(scores[k])) for k in order]
