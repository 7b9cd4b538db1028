"""The layers of causal networks: what each keeps of the frames before, and what it gives when further ones come.

Legend: B batch, C channels, T frames, H W space, S steps of the last layer (one every 8 frames), K classes.
"""

from __future__ import annotations

import copy
import math
from functools import reduce
from typing import cast

import torch
from torch import Tensor, nn

from kdvideo.models.inception.head import ShrinkingAvgPool3d
from kdvideo.models.inception.layers import MaxPool3d, StridedConv3d, half_padding, padded_conv3d
from kdvideo.models.inception.s3dg import Gate
from kdvideo.models.network import Triple


class Causal(nn.Module):
    """A layer whose output at a frame depends on that frame and on those before it."""

    time_stride = 1

    def step(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the outputs that further frames (B, C, T, H, W) complete, and what to keep; None: no past."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a whole clip."""
        return self.step(x, None)[0]


class _Conv(Causal):
    """A convolution whose windows end where their stride does; zeros stand for the frames before the first."""

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.stride = cast("Triple", conv.stride)
        self.time_stride = self.stride[0]
        self.pad = conv.pad if isinstance(conv, StridedConv3d) else half_padding

    def step(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Convolve the windows that are complete."""
        kernel = self.weight.shape[2:]
        frames, past = _windows(x, past, kernel[0], self.stride[0], fill=0.0)
        if frames.shape[2] == 0:
            return frames, past
        space = [self.pad(*axis) for axis in zip(x.shape[3:], kernel[1:], self.stride[1:], strict=True)]
        return padded_conv3d(frames, self.weight, self.bias, self.stride, [(0, 0), *space]), past


class _MaxPool(Causal):
    """A pool over the space of every frame, then over the windows in time."""

    def __init__(self, pool: MaxPool3d) -> None:
        super().__init__()
        self.kernel, self.time_stride = pool.kernel_size[0], pool.stride[0]
        self.space = copy.copy(pool)  # the kinds differ in how they pad space
        self.space.kernel_size, self.space.stride = (1, *pool.kernel_size[1:]), (1, *pool.stride[1:])
        self.space.padding = (0, *pool.padding[1:]) if isinstance(pool.padding, tuple) else pool.padding

    def step(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Take the maxima of the windows that are complete."""
        frames, past = _windows(self.space(x), past, self.kernel, self.time_stride, fill=-math.inf)
        span = frames.shape[2] - self.kernel + 1
        if span <= 0:
            return frames[:, :, :0], past
        return reduce(torch.maximum, [frames[:, :, i : i + span : self.time_stride] for i in range(self.kernel)]), past


class _Mean(Causal):
    """The mean of vectors (B, C, T) over the last `steps` of them, or over all where there are fewer."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def step(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the mean at every step; what is kept has a row of ones where there is a vector."""
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        past = x.new_zeros(*x.shape[:2], self.steps - 1) if past is None else past
        if past.shape[2] != self.steps - 1:  # more steps of the past would stretch the frames unnoticed
            raise ValueError(
                f"state must be of a network with this window, got means over {past.shape[2] + 1} steps in place of "
                f"{self.steps}: start a stream with state={{}}"
            )
        x = torch.cat([past, x], 2)
        sums = x.unfold(2, self.steps, 1).sum(-1)
        return sums[:, :-1] / sums[:, -1:], x[:, :, x.shape[2] - self.steps + 1 :]


class _Gate(Causal):
    """S3D-G's gate, y_t = x_t * sigmoid(W m_t), with m_t the mean over space and the last steps."""

    def __init__(self, gate: Gate, steps: int) -> None:
        super().__init__()
        self.linear, self.mean = gate.linear, _Mean(steps)

    def step(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weigh every channel of every frame."""
        means, past = self.mean.step(x.mean((3, 4)), past)
        return x * torch.sigmoid(self.linear(means.mT)).mT[..., None, None], past


class CausalHead(Causal):
    """The classifier: logits of every step, and their mean over the last steps."""

    def __init__(self, head: nn.Module, steps: int) -> None:
        super().__init__()
        self.pool = ShrinkingAvgPool3d((1, 7, 7))
        self.dropout = head._modules.get("dropout") or nn.Identity()  # pytorchvideo makes none with a rate of zero
        self.proj = head.get_submodule("proj")
        self.mean = _Mean(steps)

    def step(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return logits (B, K, S)."""
        logits: Tensor = self.proj(self.dropout(self.pool(x)).movedim(1, -1)).mean((2, 3))
        return self.mean.step(logits.mT, past)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, K) at the end of a clip."""
        return super().forward(x)[:, :, -1]


def causal_parts(layer: nn.Module, steps: int) -> dict[str, Causal]:
    """Return the causal form of the modules that see several frames, by path."""
    parts: dict[str, Causal] = {}
    for path, module in layer.named_modules():
        if isinstance(module, Gate):
            parts[path] = _Gate(module, steps)
        elif isinstance(module, (nn.Conv3d, MaxPool3d)) and (module.kernel_size[0], module.stride[0]) != (1, 1):
            parts[path] = _MaxPool(module) if isinstance(module, MaxPool3d) else _Conv(module)
    return parts


def _windows(x: Tensor, past: Tensor | None, kernel: int, stride: int, *, fill: float) -> tuple[Tensor, Tensor]:
    """Return the frames under the windows that are complete, and the frames that later windows need."""
    span = max(kernel, stride)  # a kernel below the stride sees the last frames of each stride
    if past is None:
        past = x.new_full((*x.shape[:2], span - stride, *x.shape[3:]), fill)
    if past.shape[:2] != x.shape[:2] or past.shape[3:] != x.shape[3:]:
        raise ValueError(
            f"frames must be of the batch and size of those before, {tuple(past.shape)}, got {tuple(x.shape)}: "
            "start a stream with state={}"
        )
    x = torch.cat([past, x], 2)
    count = max((x.shape[2] - span) // stride + 1, 0)
    end = (count - 1) * stride + span if count else 0
    return x[:, :, span - kernel : end] if count else x[:, :, :0], x[:, :, count * stride :]
