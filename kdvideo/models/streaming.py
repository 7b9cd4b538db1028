"""S3D-G, S3D and I3D that see the past only, called on a clip or on a stream of frames.

Legend: B batch, C channels, T frames, H W space, S steps of the last layer (one every 8 frames), K classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn

from kdvideo.models.causal_layers import Causal, CausalHead, causal_parts
from kdvideo.models.inception.backbone import MINIMUM, Inception3D, Mixed
from kdvideo.models.inception.i3d import i3d
from kdvideo.models.inception.s3d import s3d
from kdvideo.models.inception.s3dg import s3dg
from kdvideo.models.network import Network, call_builder, check_clip

_OFFLINE: Mapping[str, Callable[..., Network]] = {"i3d": i3d, "s3d": s3d, "s3dg": s3dg}
State = dict[str, Tensor]  # module path -> what the layer keeps of the frames before


class Streaming(nn.Module):
    """A causal network on a stream: `logits, state = network(frames, state)`; made by `streaming`.

    Args:
        network: from `causal`.

    Attributes:
        network: the causal network.

    Examples:
        >>> from kdvideo.models import causal, s3dg
        >>> network = Streaming(causal(s3dg(5, depth_multiplier=0.125, min_depth=8))).eval()
        >>> with torch.no_grad():
        ...     logits, state = network(torch.rand(1, 3, 5, 32, 32))  # no step is complete
        ...     logits, state = network(torch.rand(1, 3, 11, 32, 32), state)
        >>> logits.shape
        torch.Size([1, 2, 5])
    """

    def __init__(self, network: Inception3D) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor, state: Mapping[str, Tensor] = MappingProxyType({})) -> tuple[Tensor, State]:
        """Take further frames of B streams and compute the logits of the steps that they complete.

        Args:
            frames: (B, C, T, H, W), one or any number of them.
            state: as the call before returned it; empty at the start of the streams. It is not changed.

        Returns:
            Logits (B, S, K), with S 0 where no step is complete, 1 at every eighth frame, or 1 per 8 frames of a block;
            and the new state, module path -> tensor.

        Raises:
            ValueError: frames as the network does not take them, or of another batch or size than those before; the
                state of a network with another window.
        """
        check_clip(frames, channels=self.network.in_channels, minimum=(1, *MINIMUM[1:]))
        after = dict(state)
        if frames.device.type == "cpu":
            frames = frames.contiguous(memory_format=torch.channels_last_3d)
        logits = _advance(self.network, frames, "", after)
        if logits.ndim == 5:  # no step is complete
            return frames.new_zeros(len(frames), 0, self.network.num_classes), after
        return logits.mT, after


def streaming(network: Inception3D) -> Streaming:
    """Run a causal network on a stream of frames, each computed once, in memory that does not grow.

    After any number of frames the logits are those of `network` on the whole clip from the first frame, in whatever
    blocks the frames came. The network computes in the strides of its layers: it gives logits every 8 frames. Call
    it in eval mode and without gradient; the state is a value, so one network serves many streams.

    Args:
        network: from `causal`; it is shared, not copied.

    Returns:
        The network on a stream: `logits, state = network(frames, state)`.

    Raises:
        ValueError: a network that sees the future.

    Examples:
        >>> from kdvideo.models import s3dg
        >>> network = streaming(causal(s3dg(5, depth_multiplier=0.125, min_depth=8))).eval()
        >>> state, video = {}, torch.rand(1, 3, 16, 32, 32)
        >>> with torch.no_grad():
        ...     for frame in video.split(1, dim=2):
        ...         logits, state = network(frame, state)
        ...     torch.allclose(logits[:, -1], network.network(video), atol=1e-5)
        True
    """
    if not isinstance(network, Inception3D) or network.config.get("architecture") != "causal":
        raise ValueError(f"network must see the past only, got {type(network).__name__}: give models.causal(network)")
    return Streaming(network)


def causal(network: Inception3D, *, window: int | None = None) -> Inception3D:
    """Copy S3D-G, S3D or I3D as a network that sees the past only, and gives logits at the last frame.

    Weights and names of the layers are those of `network`; the function is another one, so train it, e.g. with
    `network` as the teacher. At stride s every s frames complete a step: windows are padded in front by k - s frames
    and not behind, and frames after the last multiple of 8 have no effect. Means over time, in the gates of S3D-G and
    of the logits, are over the last `window` frames; every step weighs alike.

    Args:
        network: from `s3dg`, `s3d` or `i3d`, without non-local blocks, which see all frames.
        window: a multiple of 8; None: the frames in its `input_spec`.

    Returns:
        The causal network, (B, C, T, H, W) -> logits (B, K), with copies of the weights.

    Raises:
        ValueError: another network, or a window out of range.

    Examples:
        >>> from kdvideo.models import s3dg
        >>> network = s3dg(5, depth_multiplier=0.125, min_depth=8)
        >>> student = causal(network, window=16)
        >>> student(torch.zeros(2, 3, 16, 32, 32)).shape, student.state_dict().keys() == network.state_dict().keys()
        (torch.Size([2, 5]), True)
    """
    kind = network.config["architecture"] if isinstance(network, Inception3D) else type(network).__name__
    if kind not in ("s3dg", "s3d", "i3d"):
        raise ValueError(f"network must be of s3dg, s3d or i3d, got {kind}: build it with models.s3dg")
    if any(name.startswith("non_local") for name, _ in network.named_children()):
        raise ValueError("network must have no non-local block, got some: build it with non_local=()")
    window = network.input_spec.frames if window is None else window
    if window < 8 or window % 8:
        raise ValueError(f"window must be a positive multiple of 8 frames, got {window}")
    original, network, stride = network.config, copy.deepcopy(network), 1
    for name, layer in list(network.named_children()):
        steps = window // stride
        parts = {"": CausalHead(layer, steps)} if name == "head" else causal_parts(layer, steps)
        for path, part in parts.items():
            network.set_submodule(f"{name}.{path}".rstrip("."), part)
            stride *= part.time_stride
    network.builder = causal_of
    keys = ("in_channels", "num_classes")
    network.config = {
        "architecture": "causal",
        "network": original,
        "window": window,
        **{key: original[key] for key in keys},
    }
    return network


def causal_of(network: Mapping[str, Any], *, window: int, in_channels: int, num_classes: int) -> Inception3D:
    """Build a causal network with fresh weights from its configuration."""
    builder = _OFFLINE.get(network.get("architecture", ""))
    if builder is None:
        raise ValueError(
            f"the offline architecture must be one of {list(_OFFLINE)}, got {network.get('architecture')!r}"
        )
    built = call_builder(builder, {**network, "in_channels": in_channels, "num_classes": num_classes})
    return causal(cast("Inception3D", built), window=window)


def _advance(module: nn.Module, x: Tensor, path: str, state: State) -> Tensor:
    """Return the outputs that further frames complete, none where a layer completes no window; update the state."""
    if isinstance(module, Causal):
        x, state[path] = module.step(x, state.get(path))
    elif isinstance(module, Mixed):
        x = torch.cat([_advance(part, x, f"{path}.{name}", state) for name, part in module.named_children()], 1)
    elif isinstance(module, nn.Sequential):
        for name, part in module.named_children():
            x = _advance(part, x, f"{path}.{name}".lstrip("."), state)
            if x.shape[2] == 0:
                break
    else:
        x = module(x)
    return x
