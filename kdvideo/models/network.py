"""What every network here has in common: one clip in, logits out, and what it knows about itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

Triple = tuple[int, int, int]
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class InputSpec:
    """The clip that a set of weights is meant to see.

    A network is fed (x - mean) / std per channel, where x lies in ``range``. It is recorded, not enforced.

    Args:
        frames: T of the published training or test.
        step: frames of the video per frame of the clip.
        size: H and W of the crop.
        range: lowest and highest value before the normalisation.
        mean, std: per channel; empty for none.
        fps: frame rate of the video that ``step`` counts in; None where it was that of the file.

    Raises:
        ValueError: for a value out of range, or not as many standard deviations as means.

    Examples:
        >>> spec = InputSpec(frames=8, size=32, range=(0.0, 1.0), mean=(0.45,) * 3, std=(0.225,) * 3)
        >>> spec.prepare(torch.full((3, 8, 32, 32), 255, dtype=torch.uint8)).max()
        tensor(2.4444)
    """

    frames: int
    size: int
    step: int = 1
    range: tuple[float, float] = (-1.0, 1.0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fps: float | None = None

    def __post_init__(self) -> None:
        for name in ("range", "mean", "std"):  # JSON gives lists
            value = getattr(self, name)
            if not isinstance(value, Sequence) or not all(isinstance(number, (int, float)) for number in value):
                raise ValueError(f"{name}={value!r}; expected a tuple of numbers")
            object.__setattr__(self, name, tuple(value))
        counts = (self.frames, self.size, self.step)
        if not all(type(count) is int and count >= 1 for count in counts):
            raise ValueError(f"frames, size, step = {counts}; expected integers >= 1")
        if len(self.range) != 2 or not -math.inf < self.range[0] < self.range[1] < math.inf:
            raise ValueError(f"range={self.range}; expected two finite numbers, the lower first")
        if len(self.mean) != len(self.std) or not all(deviation > 0 for deviation in self.std):
            raise ValueError(f"mean={self.mean}, std={self.std}; expected as many of both, and std > 0")

    def prepare(self, frames: Tensor) -> Tensor:
        """uint8 RGB frames (..., C, T, H, W) as the network is fed: float32, scaled and normalised.

        Raises:
            ValueError: another dtype, or another number of channels than ``mean`` has.
        """
        if frames.dtype != torch.uint8 or frames.ndim < 4:
            raise ValueError(f"got {frames.dtype} of shape {tuple(frames.shape)}; expected uint8 (..., C, T, H, W)")
        low, high = self.range
        return self.normalize(frames.float() * ((high - low) / 255) + low)

    def normalize(self, clip: Tensor) -> Tensor:
        """(x - mean) / std of a float (..., C, T, H, W) clip in ``range``.

        Raises:
            ValueError: another number of channels than ``mean`` has.
        """
        if not self.mean:
            return clip
        if clip.shape[-4] != len(self.mean):
            raise ValueError(f"got {clip.shape[-4]} channels; expected {len(self.mean)}, one for each mean")
        mean, std = (clip.new_tensor(values).view(-1, 1, 1, 1) for values in (self.mean, self.std))
        return (clip - mean) / std


class Network(nn.Module):
    """A video classifier that is called on one (B, C, T, H, W) tensor and returns (B, K) logits.

    Attributes:
        config: its constructor's name (``"architecture"``) and arguments, all that JSON can hold.
        layer_names: the literature's layer names -> module paths, to tap.
        input_spec: the clip that its weights are meant to see.
        classes: the K class names in the order of the logits; empty where they are not known.
    """

    config: dict[str, Any]
    layer_names: dict[str, str]
    input_spec: InputSpec
    classes: tuple[str, ...] = ()

    @property
    def in_channels(self) -> int:
        """C: 3 for RGB, 2 for optical flow."""
        return int(self.config["in_channels"])

    @property
    def num_classes(self) -> int:
        """K."""
        return int(self.config["num_classes"])

    def save_pretrained(self, folder: str | Path, *, classes: Sequence[str], card: Mapping[str, Any] = NOTHING) -> None:
        """Write weights, configuration and model card into a folder; see `hub.save_pretrained`."""
        from kdvideo.models import hub  # it imports the networks' builders

        hub.save_pretrained(self, folder, classes=classes, card=card)

    def push_to_hub(
        self, repo_id: str, *, classes: Sequence[str], card: Mapping[str, Any] = NOTHING, **options: Any
    ) -> str:
        """Upload the same to the Hugging Face Hub; see `hub.push_to_hub`."""
        from kdvideo.models import hub

        return hub.push_to_hub(self, repo_id, classes=classes, card=card, **options)


def check_clip(clip: Tensor, *, channels: int, minimum: Triple = (1, 1, 1)) -> None:
    """Raise `ValueError` unless ``clip`` is a float (B, C, T, H, W) batch of at least ``minimum`` (T, H, W)."""
    if (
        clip.ndim == 5
        and len(clip) > 0
        and clip.shape[1] == channels
        and clip.is_floating_point()
        and all(n >= m for n, m in zip(clip.shape[2:], minimum, strict=True))
    ):
        return
    expected = f"expected float (B, {channels}, T, H, W) with (T, H, W) >= {minimum}"
    raise ValueError(f"got {clip.dtype} of shape {tuple(clip.shape)}; {expected}. {_advice(clip, channels)}")


def _advice(clip: Tensor, channels: int) -> str:
    if clip.ndim != 5:
        return "A single clip needs a batch axis: clip.unsqueeze(0)"
    if not len(clip):
        return "The batch is empty"
    if not clip.is_floating_point():
        return "Scale uint8 frames first, e.g. frames / 127.5 - 1"
    if clip.shape[1] == channels:
        return "Loop or resize the clip"
    if clip.shape[2] == channels:
        return "The channels come second: clip.transpose(1, 2)"
    if clip.shape[4] == channels:
        return "The channels come second: clip.movedim(-1, 1)"
    return "RGB has 3 channels and flow 2; build with in_channels="
