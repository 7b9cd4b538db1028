"""The base classes of the adapters to other libraries."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from kdvideo.models.network import InputSpec, Network, Triple, check_clip

Fixed = tuple[int | None, int, int]  # (T, H, W); T is None where any will do
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def itself(clip: Tensor) -> Tensor:
    """Return the clip as it is."""
    return clip


class Adapter(Network):
    """Another library's network under `network`, into which that library's published weights load.

    Attributes:
        feed: turns the clip into what that network is called on.
        minimum: the smallest (T, H, W) it takes.
        fixed: the one (T, H, W) it takes, as a position embedding may ask for; None where any size will do.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        builder: Callable[..., Network] | None,
        config: dict[str, Any],
        input_spec: InputSpec,
        layer_names: Mapping[str, str],
        feed: Callable[[Tensor], Any] = itself,
        minimum: Triple = (1, 1, 1),
        fixed: Fixed | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.builder, self.config = builder, config
        self.input_spec = input_spec if config["in_channels"] == 3 else _without_rgb(input_spec)
        self.layer_names = {name: f"network.{path}" for name, path in layer_names.items()}
        self.feed, self.minimum, self.fixed = feed, minimum, fixed
        if fixed:  # the builder's options may ask for another size than the published one
            frames, size, _ = fixed
            self.input_spec = replace(self.input_spec, frames=frames or input_spec.frames, size=size)

    def check(self, clip: Tensor) -> None:
        """Raise `ValueError` where the network cannot take the clip."""
        t, h, w = self.fixed or self.minimum
        check_clip(clip, channels=self.in_channels, minimum=(t or 1, h, w))
        size = tuple(clip.shape[2:])
        if self.fixed and any(n not in (None, m) for n, m in zip(self.fixed, size, strict=True)):
            raise ValueError(f"(T, H, W) must be {self.fixed} for this network, got {size}: sample or resize the clip")


class ClipAdapter(Adapter):
    """Called on one (B, C, T, H, W) tensor."""

    def forward(self, clip: Tensor) -> Tensor:
        """Return the (B, K) logits of a (B, C, T, H, W) clip."""
        self.check(clip)
        logits: Tensor = self.network(self.feed(clip))
        return logits


def unknown(name: str, known: Iterable[str], *, see: str) -> ValueError:
    """Return the error for a name that a library does not have."""
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.3)
    return ValueError(f"the name must be one of {see}, got {name!r}: closest {close}")


def scale_ends(blocks: nn.ModuleList) -> dict[str, str]:
    """Return the last block of every scale of MViT (scale2 to scale5): the next one pools its queries."""
    starts = [i for i, block in enumerate(blocks) if getattr(block, "pool_skip", None) is not None and i]
    return {f"scale{k}": f"blocks.{end - 1}" for k, end in enumerate([*starts, len(blocks)], start=2)}


def _without_rgb(spec: InputSpec) -> InputSpec:
    """Return the input of kdvideo's own flow networks: no published weights see other channels than RGB."""
    return replace(spec, value_range=(-1.0, 1.0), mean=(), std=())
