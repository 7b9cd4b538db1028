"""The base class of all networks, the description of their input, and the check of a clip.

Legend: B batch, C channels, T frames, H W space, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from kdvideo._hints import kind

Triple = tuple[int, int, int]
FILE_KEYS = {"value_range": "range"}  # field of InputSpec -> its key in kdvideo's files, where the two differ
MOST_FRAMES, LARGEST_SIZE = 100_000, 16_384  # a file from a stranger must not make a reader allocate all memory


@dataclass(frozen=True)
class InputSpec:
    """The clip that a set of weights is meant to see.

    A network is fed (x - mean) / std per channel, where x lies in `value_range`. It is recorded, not enforced.

    Args:
        frames: T of the published training or test.
        size: H and W of the crop, in pixels.
        step: frames of the video per frame of the clip.
        value_range: lowest and highest value before the normalization.
        mean: of each channel; empty for none.
        std: of each channel, > 0; as many as means.
        fps: frame rate of the video that `step` counts in; None where it was that of the file.

    Raises:
        ValueError: a value is out of range, or the numbers of means and standard deviations differ.

    Examples:
        >>> spec = InputSpec(frames=8, size=32, value_range=(0.0, 1.0), mean=(0.45,) * 3, std=(0.225,) * 3)
        >>> spec.prepare(torch.full((3, 8, 32, 32), 255, dtype=torch.uint8)).max()
        tensor(2.4444)
    """

    frames: int
    size: int
    step: int = 1
    value_range: tuple[float, float] = (-1.0, 1.0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fps: float | None = None

    def __post_init__(self) -> None:
        for name in ("value_range", "mean", "std"):  # JSON gives lists
            value = getattr(self, name)
            if not isinstance(value, Sequence) or not all(isinstance(number, (int, float)) for number in value):
                raise ValueError(f"{name} must be a tuple of numbers, got {value!r}")
            object.__setattr__(self, name, tuple(value))
        counts = (self.frames, self.size, self.step)
        if not all(type(count) is int and count >= 1 for count in counts):
            raise ValueError(f"frames, size and step must be integers >= 1, got {counts}")
        if self.frames > MOST_FRAMES or self.size > LARGEST_SIZE or self.step > MOST_FRAMES:
            raise ValueError(f"frames and step must be <= {MOST_FRAMES:,} and size <= {LARGEST_SIZE:,}, got {counts}")
        if self.fps is not None and not (type(self.fps) in (int, float) and 0 < self.fps < math.inf):
            raise ValueError(f"fps must be None or a finite number > 0, got {self.fps!r}")
        if len(self.value_range) != 2 or not -math.inf < self.value_range[0] < self.value_range[1] < math.inf:
            raise ValueError(f"value_range must be two finite numbers, the lower first, got {self.value_range}")
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if len(self.mean) != len(self.std) or not finite or not all(deviation > 0 for deviation in self.std):
            raise ValueError(f"mean and std must be as many, and std > 0, got mean={self.mean}, std={self.std}")

    def prepare(self, frames: Tensor) -> Tensor:
        """Scale and normalize frames to the clip that the network is fed.

        Args:
            frames: uint8 (..., C, T, H, W), RGB.

        Returns:
            float32, of the same shape.

        Raises:
            ValueError: another dtype, or another number of channels than `mean` has.
        """
        if frames.dtype != torch.uint8 or frames.ndim < 4:
            raise ValueError(f"frames must be uint8 (..., C, T, H, W), got {frames.dtype} {tuple(frames.shape)}")
        low, high = self.value_range
        return self.normalize(frames.float() * ((high - low) / 255) + low)

    def normalize(self, clip: Tensor) -> Tensor:
        """Compute (x - mean) / std of each channel.

        Args:
            clip: x, float (..., C, T, H, W), whose values lie in `value_range`.

        Returns:
            The clip that the network is fed, of the same shape and dtype.

        Raises:
            ValueError: another number of channels than `mean` has.
        """
        if not self.mean:
            return clip
        if clip.shape[-4] != len(self.mean):
            raise ValueError(f"the clip must have {len(self.mean)} channels, one for each mean, got {clip.shape[-4]}")
        mean, std = (clip.new_tensor(values).view(-1, 1, 1, 1) for values in (self.mean, self.std))
        return (clip - mean) / std

    def to_dict(self) -> dict[str, Any]:
        """Make the record that kdvideo's files hold of it.

        Returns:
            Name of the field -> value, but for `value_range`, which is "range" there; tuples as lists.

        Examples:
            >>> InputSpec(frames=8, size=32).to_dict()["range"]
            [-1.0, 1.0]
        """
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {FILE_KEYS.get(name, name): value for name, value in values.items()}

    def updated(self, recorded: Mapping[str, Any]) -> InputSpec:
        """Copy the specification with what a record says.

        Args:
            recorded: under the keys of `to_dict`; other keys are ignored.

        Returns:
            The copy.

        Raises:
            ValueError: as the constructor.

        Examples:
            >>> InputSpec(frames=8, size=32).updated({"frames": 16, "stream": "rgb"}).frames
            16
        """
        keys = {field.name: FILE_KEYS.get(field.name, field.name) for field in fields(self)}
        return replace(self, **{name: recorded[key] for name, key in keys.items() if key in recorded})


class Network(nn.Module):
    """A video classifier that is called on one (B, C, T, H, W) tensor and returns (B, K) logits.

    Attributes:
        builder: the function that built it from the arguments in `config`; None where no function can.
        config: the builder's name ("architecture") and arguments, all that JSON can hold.
        layer_names: the literature's layer names -> module paths, to tap.
        input_spec: the clip that its weights are meant to see.
        classes: the K class names in the order of the logits; empty where they are not known.

    Examples:
        A network of your own:

        >>> class Mean(Network):
        ...     def __init__(self, num_classes, in_channels=3):
        ...         super().__init__()
        ...         self.builder, self.layer_names = Mean, {"head": "head"}
        ...         self.config = {"architecture": "mean", "num_classes": num_classes, "in_channels": in_channels}
        ...         self.input_spec = InputSpec(frames=8, size=32)
        ...         self.head = nn.Linear(in_channels, num_classes)
        ...
        ...     def forward(self, clip):
        ...         return self.head(clip.mean((2, 3, 4)))
        >>> network = Mean(5)
        >>> network(torch.zeros(2, 3, 8, 32, 32)).shape, network.rebuild(num_classes=7).num_classes
        (torch.Size([2, 5]), 7)
    """

    builder: Callable[..., Network] | None = None
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

    def rebuild(self, **changes: Any) -> Network:
        """Build the network anew, with other arguments and fresh weights; the caller's random numbers stay.

        Args:
            changes: arguments of the builder that differ from `config`.

        Returns:
            The new network.

        Raises:
            ValueError: it has no builder, or the arguments do not fit the builder.

        Examples:
            >>> from kdvideo.models import i3d
            >>> i3d(5, depth_multiplier=0.125, min_depth=8).rebuild(num_classes=7).num_classes
            7
        """
        if self.builder is None:
            raise ValueError(f"{type(self).__name__} must have a builder, got none: set .builder to what makes it")
        return call_builder(self.builder, {**self.config, **changes})


def call_builder(builder: Callable[..., Network], config: Mapping[str, Any]) -> Network:
    """Build a network from its configuration; the caller's random numbers are neither used nor moved."""
    arguments = {name: value for name, value in config.items() if name != "architecture"}
    with torch.random.fork_rng(devices=[]):
        try:
            return builder(**arguments)
        except TypeError as error:
            raise ValueError(f"the arguments {arguments} do not fit {builder.__name__}: {error}") from error


def check_network(model: object, advice: str, name: str = "model") -> None:
    """Raise `ValueError` unless a model is a network of kdvideo."""
    if not isinstance(model, Network):
        raise ValueError(f"{name} must be one of kdvideo.models, got {kind(model)}: {advice}")


def check_clip(clip: Tensor, *, channels: int, minimum: Triple = (1, 1, 1)) -> None:
    """Raise `ValueError` unless `clip` is a float (B, C, T, H, W) batch of at least `minimum` (T, H, W)."""
    if not isinstance(clip, Tensor):
        raise ValueError(f"the clip must be a tensor, got {kind(clip)}: torch.as_tensor(clip)")
    if (
        clip.ndim == 5
        and clip.shape[0] > 0
        and clip.shape[1] == channels
        and clip.is_floating_point()
        and all(n >= m for n, m in zip(clip.shape[2:], minimum, strict=True))
    ):
        return
    expected = f"the clip must be float (B, {channels}, T, H, W) with (T, H, W) >= {minimum}"
    raise ValueError(f"{expected}, got {clip.dtype} {tuple(clip.shape)}: {_advice(clip, channels)}")


def _advice(clip: Tensor, channels: int) -> str:
    if clip.ndim != 5:
        return "a single clip needs a batch axis, clip.unsqueeze(0)"
    if clip.shape[0] == 0:
        return "the batch is empty"
    if not clip.is_floating_point():
        return "scale uint8 frames first, e.g. frames / 127.5 - 1"
    if clip.shape[1] == channels:
        return "loop or resize the clip"
    if clip.shape[2] == channels:
        return "the channels come second, clip.transpose(1, 2)"
    if clip.shape[4] == channels:
        return "the channels come second, clip.movedim(-1, 1)"
    return "RGB has 3 channels and flow 2, build with in_channels="
