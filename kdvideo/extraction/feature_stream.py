"""Features of the windows of a video, by one network on RGB or on flow.

Legend: N windows, C channels, T frames of a window, L of the video, S of a piece of it, H W space.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdvideo import models
from kdvideo.cache import weights_fingerprint
from kdvideo.clip_input import clip_input, estimator_of
from kdvideo.data import ClipInfo
from kdvideo.data.clips.sampling import Window, flow_positions, window_positions
from kdvideo.features import FeatureExtractor
from kdvideo.flow import FlowEstimator, to_unit

PAIRS = 64  # whose flow is computed at once


@dataclass(frozen=True)
class FeatureStream:
    """A network with tapped layers, how its clips are made, and the hash of its file."""

    network: FeatureExtractor
    spec: models.InputSpec
    view: dict[str, Any]
    estimator: FlowEstimator | None
    digest: str

    @torch.no_grad()
    def images(self, frames: Tensor, device: str) -> Tensor:
        """Return what the network sees of a piece (S, 3, H, W): the frames, or the flow from each to the next."""
        if self.estimator is None:
            return frames
        parts = [self.estimator(frames[i : i + PAIRS + 1].to(device)) for i in range(0, len(frames) - 1, PAIRS)]
        if not parts:  # nothing moves in a single frame
            return torch.zeros(1, 2, *frames.shape[2:])
        return to_unit(torch.cat(parts), self.view["flow_bound"]).cpu()

    @torch.no_grad()
    def features(
        self, images: Tensor, first: int, info: ClipInfo, windows: Sequence[Window], device: str
    ) -> dict[str, Tensor]:
        """Return the mean features (C,) of the views of a window, by layer; `images` begin at frame `first`."""
        clips = []
        for window in windows:
            at = window_positions(window.start, window.frames, info.length)
            flow = self.estimator is not None
            clip = window.cut(images, (flow_positions(at, info.length) if flow else at) - first)
            if flow and window.flip:
                clip[0].neg_()
            clips.append(self.spec.normalize(clip) if flow else self.spec.prepare(clip))
        found = self.network.to(device)(torch.stack(clips).to(device)).features
        return {layer: vector(feature).mean(0).cpu() for layer, feature in found.items()}


def vector(feature: Tensor) -> Tensor:
    """Return one vector for each clip, (B, C): the mean over time and space, or over the tokens (B, N, C).

    Examples:
        >>> vector(torch.zeros(2, 8, 4, 7, 7)).shape, vector(torch.zeros(2, 196, 8)).shape
        (torch.Size([2, 8]), torch.Size([2, 8]))
    """
    if feature.ndim == 3:
        return feature.mean(1)
    return feature if feature.ndim == 2 else feature.flatten(2).mean(2)


def views(info: ClipInfo, start: int, frames: int, crop: int, *, ten: bool) -> list[Window]:
    """Return the center crop of a window, or with `ten` also its corners, and all mirrored."""
    bottom, right = info.height - crop, info.width - crop
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)] if ten else []
    places = [(bottom // 2, right // 2), *corners]
    return [Window(start, *at, crop, flip, frames) for flip in ((False, True) if ten else (False,)) for at in places]


def feature_stream(weights: str | os.PathLike[str] | models.Network, layers: Sequence[str]) -> FeatureStream:
    """Open the network of a file of weights, or copy one that is given, and tap its layers.

    Raises:
        ValueError: as `models.checkpoints.load` and `FeatureExtractor`; no layer named for a network without a head; a
            module that does not say what it sees.
    """
    name, network, seen, digest = _opened(weights)
    if not layers and not hasattr(network, "head") and "head" not in network.layer_names:
        raise ValueError(f"layers of {name} must be named, got none: kdvideo describe lists them")
    view = clip_input(network, seen, name)
    return FeatureStream(
        FeatureExtractor(network.eval(), tuple(layers) or ("head:in",), logits=None, early_exit=True),
        network.input_spec,
        view,
        estimator_of(view) if view["stream"] == "flow" else None,
        digest,
    )


def _opened(weights: str | os.PathLike[str] | models.Network) -> tuple[str, models.Network, dict[str, Any], str]:
    """Return the name of a network for messages, the network, what is recorded of its clips, and a hash of all."""
    if isinstance(weights, models.Network):
        found = f"{weights_fingerprint(weights)} {weights.input_spec}"
        return type(weights).__name__, copy.deepcopy(weights), {"input": {}}, _sha256(found.encode())
    if isinstance(weights, nn.Module):
        raise ValueError(
            f"a network must be a models.Network, got {type(weights).__name__}: its config and input_spec say what it "
            "sees"
        )
    path = Path(weights)
    return str(path), *models.checkpoints.load(path), _sha256(path.read_bytes()) if path.is_file() else str(path)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
