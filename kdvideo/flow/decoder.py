"""D3D's decoder of flow from a video network's features, with its target, loss and error.

Legend: B batch, C channels, T steps of the tapped layer, H W its space. Encodings are (B,3,T,H,W): magnitude in
pixels of the input, sine, cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdvideo.flow.fields.endpoint_error import endpoint_error
from kdvideo.flow.fields.im2flow import im2flow_decode, im2flow_encode
from kdvideo.flow.fields.transforms import area_pool, check_bound, check_flow, to_unit, truncate

Reduction = Literal["mean", "none"]
CONTEXT = ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1))  # (width, dilation)
SLOPE = 0.1


class FlowDecoder(nn.Module):
    """Decoder of the flow of every step of a feature from that step alone: (B,C,T,H,W) -> (B,3,T,H,W).

    3 x 3 convolutions with LeakyReLU 0.1, each of which sees the feature and the outputs of all before it, then one to
    (magnitude, sin, cos), at the feature's resolution. No temporal convolution: motion that it finds must be in the
    feature. D3D's paper leaves the layers open: these are our choice, modeled on PWC-Net's estimator, with He
    initialization and zero biases.

    Args:
        in_channels: C of the tapped layer, 192 at 3A of S3D-G.
        widths: of the convolutions before the last.
        context: add what a network of 3 x 3 convolutions with dilations 1 to 16 computes from the same values.

    Raises:
        ValueError: a width is below 1; on a call, the feature has another shape.

    Examples:
        Frozen features come from `kdvideo.Teacher`. To fine-tune the network too, `kdvideo.FeatureExtractor` takes its
        place and the optimizer gets the parameters of both; `kdvideo.Student` also gives the logits.

        >>> import kdvideo as kd
        >>> from kdvideo import flow, models
        >>> network = models.s3dg(5, depth_multiplier=0.125, min_depth=8)
        >>> frozen = kd.Teacher(network, ["3A"], logits=None, early_exit=True)
        >>> decoder = flow.FlowDecoder(24)
        >>> clip = {"rgb": torch.zeros(2, 3, 8, 32, 32), "flow": torch.zeros(2, 2, 8, 32, 32)}  # see data.PairedClips
        >>> predicted = decoder(frozen(clip["rgb"]).features["3A"])
        >>> pixels = flow.clip_to_pixels(clip["flow"])
        >>> target = flow.decoder_target(pixels, predicted.shape[2:], temporal_stride=2)
        >>> flow.decoder_loss(predicted, target).backward()
        >>> predicted.shape
        torch.Size([2, 3, 4, 4, 4])

    Source:
        D. Sun, X. Yang, M.-Y. Liu, J. Kautz, "PWC-Net", CVPR 2018, arXiv 1709.02371.
        J. Stroud et al., "D3D: Distilled 3D Networks for Video Action Recognition", WACV 2020, arXiv 1812.08249.
    """

    def __init__(
        self, in_channels: int, *, widths: Sequence[int] = (128, 128, 96, 64, 32), context: bool = False
    ) -> None:
        super().__init__()
        if in_channels < 1 or not widths or min(widths) < 1:
            raise ValueError(f"in_channels and widths must be positive, got {in_channels} and {tuple(widths)}")
        self.in_channels = in_channels
        seen = [in_channels + sum(widths[:layer]) for layer in range(len(widths) + 1)]
        self.layers = nn.ModuleList(_conv(c_in, c_out) for c_in, c_out in zip(seen, widths, strict=False))
        self.predict = _plain_conv(seen[-1], 3, slope=1.0)
        self.context = _context(seen[-1]) if context else None

    def forward(self, feature: Tensor) -> Tensor:
        """Predict the encoding of the flow of every step of a feature.

        Args:
            feature: (B,C,T,H,W).

        Returns:
            (B,3,T,H,W), magnitude in pixels of the input, sine and cosine.
        """
        if feature.ndim != 5 or feature.shape[1] != self.in_channels:
            raise ValueError(f"feature must be (B,{self.in_channels},T,H,W), got {tuple(feature.shape)}")
        batch, _, steps, *space = feature.shape
        x = feature.transpose(1, 2).flatten(0, 1)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        out: Tensor = self.predict(x)
        if self.context is not None:
            out = out + self.context(x)
        return out.view(batch, steps, 3, *space).transpose(1, 2)


def _plain_conv(c_in: int, c_out: int, *, dilation: int = 1, slope: float = SLOPE) -> nn.Conv2d:
    conv = nn.Conv2d(c_in, c_out, 3, padding=dilation, dilation=dilation)
    nn.init.kaiming_normal_(conv.weight, a=slope)
    nn.init.zeros_(conv.get_parameter("bias"))
    return conv


def _conv(c_in: int, c_out: int, *, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(_plain_conv(c_in, c_out, dilation=dilation), nn.LeakyReLU(SLOPE, inplace=True))


def _context(c_in: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width, dilation in CONTEXT:
        layers.append(_conv(c_in, width, dilation=dilation))
        c_in = width
    return nn.Sequential(*layers, _plain_conv(c_in, 3, slope=1.0))


def clip_to_pixels(flow: Tensor, *, bound: float = 20.0) -> Tensor:
    """Convert a flow network's input, in [-1, 1], to pixels: undoes `to_unit`.

    Args:
        flow: (B,2,T,H,W), from `data.PairedClips` or `OnlineFlow`.
        bound: the bound with which it was made.

    Returns:
        (B,T,2,H,W), float32 pixels.

    Raises:
        ValueError: the flow has another shape or type, or the bound is not positive.

    Examples:
        >>> clip_to_pixels(torch.full((1, 2, 4, 8, 8), 0.5))[0, 3, :, 0, 0]
        tensor([10., 10.])
    """
    check_bound(bound)
    if flow.ndim != 5 or flow.shape[1] != 2 or not flow.is_floating_point():
        raise ValueError(f"flow must be floating point (B,2,T,H,W), got {flow.dtype} {tuple(flow.shape)}")
    return flow.float().transpose(1, 2) * bound


@torch.no_grad()
def decoder_target(flow: Tensor, size: Sequence[int], *, temporal_stride: int, bound: float = 20.0) -> Tensor:
    """Compute the target of a decoder at a layer of `size` = (T,H,W), without gradient.

    Step k takes flow frame k * temporal_stride, its components truncated to [-bound, bound], *then* averaged over
    the layer's cells, then encoded. Magnitudes stay in pixels of the input. D3D's paper leaves that open; we chose it
    because the 2.92 pixels that the paper gives for a prediction of zeros fit nothing else.

    Args:
        flow: (B,N,2,h,w) in pixels, N one less than the clip's frames, or as many with the last one repeated, as
            `clip_to_pixels` of the project's clips. Where frame N is asked for, frame N - 1 stands in.
        size: of the layer, such as `predicted.shape[2:]`.
        temporal_stride: frames per step; at 64 frames 2 for the 32 steps of 3A, 4 for the 16 of 4C.
        bound: in pixels; 20 is the value of I3D and D3D.

    Returns:
        (B,3,T,H,W), float32: magnitude in pixels of the input, sine, cosine.

    Raises:
        ValueError: the flow has another shape, steps and stride do not fit its frames, or a cell is smaller than a
            pixel.

    Examples:
        >>> flow = torch.tensor([3.0, -40.0]).view(1, 1, 2, 1, 1).expand(1, 7, 2, 32, 32)
        >>> decoder_target(flow, (4, 4, 4), temporal_stride=2)[0, :, 0, 0, 0]
        tensor([20.2237, -0.9889,  0.1483])

    Source:
        J. Stroud et al., "D3D", WACV 2020, arXiv 1812.08249, Section 3; the encoding is Im2Flow's, arXiv 1712.04109.
    """
    check_flow(flow)
    steps, *space = size
    if flow.ndim != 5 or len(space) != 2:
        raise ValueError(f"flow must be (B,N,2,h,w) and size (T,H,W), got {tuple(flow.shape)} and {tuple(size)}")
    frames = flow.shape[1]
    if temporal_stride < 1 or not max(frames // temporal_stride, 1) <= steps <= frames // temporal_stride + 1:
        raise ValueError(
            f"temporal_stride must be the clip's frames divided by the layer's steps, got {frames} flow frames at "
            f"temporal_stride={temporal_stride}, which are not {steps} steps"
        )
    at = (torch.arange(steps, device=flow.device) * temporal_stride).clamp(max=frames - 1)
    pooled = area_pool(truncate(flow[:, at].float(), bound), (space[0], space[1]))
    return im2flow_encode(pooled).transpose(1, 2).contiguous()


def decoder_loss(predicted: Tensor, target: Tensor, *, mag_scale: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """Compute the mean of (m^ - m)^2 + m / mag_scale * ((s^ - sin)^2 + (c^ - cos)^2), in float32 also under autocast.

    Where nothing moves the direction costs nothing. D3D's paper gives no scale. The default, ours, reads its weight m
    literally, in units of 1 pixel; Im2Flow's code divides by 30 pixels.

    Args:
        predicted: encoding (B,3,T,H,W), see `FlowDecoder`.
        target: encoding of the same shape, see `decoder_target`.
        mag_scale: the magnitude, in pixels, at which direction and magnitude weigh alike.
        reduction: "mean" over all pixels, or "none": (B,T,H,W).

    Returns:
        A scalar, or (B,T,H,W); float32, or float64 for float64.

    Raises:
        ValueError: shapes differ (nothing is broadcast), there is no pixel, the scale is not positive, or the
            reduction is unknown.

    Examples:
        >>> target = torch.tensor([2.0, 0.0, 1.0]).view(1, 3, 1, 1, 1)  # 2 px to the right
        >>> decoder_loss(torch.tensor([5.0, 1.0, 0.0]).view(1, 3, 1, 1, 1), target)  # 9 + 2 * (1 + 1)
        tensor(13.)

    Source:
        J. Stroud et al., "D3D", WACV 2020, arXiv 1812.08249.
        R. Gao, B. Xiong, K. Grauman, "Im2Flow", CVPR 2018, arXiv 1712.04109.
    """
    _check_encodings(predicted, target)
    if not 0 < mag_scale < float("inf"):
        raise ValueError(f"mag_scale must be a positive number of pixels, got {mag_scale}")
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction must be one of {get_args(Reduction)}, got {reduction!r}")
    squares = (_at_least_float32(predicted) - _at_least_float32(target)) ** 2
    weight = _at_least_float32(target[:, 0]) / mag_scale
    each = squares[:, 0] + weight * (squares[:, 1] + squares[:, 2])
    return each.mean() if reduction == "mean" else each


def decoder_epe(predicted: Tensor, target: Tensor) -> Tensor:
    """Compute the endpoint error of two encodings, at their resolution, in pixels of the input.

    A prediction of zero has an error of the target's mean magnitude.

    Args:
        predicted: encoding (B,3,T,H,W), see `FlowDecoder`.
        target: encoding of the same shape, see `decoder_target`.

    Returns:
        A scalar in pixels, float32.

    Raises:
        ValueError: shapes differ, or there is no pixel.

    Examples:
        >>> decoder_epe(torch.zeros(1, 3, 1, 1, 1), torch.tensor([5.0, -0.8, 0.6]).view(1, 3, 1, 1, 1))
        tensor(5.)
    """
    _check_encodings(predicted, target)
    flows = [im2flow_decode(_at_least_float32(encoding).transpose(1, 2)) for encoding in (predicted, target)]
    return endpoint_error(*flows)


def decoded_clip(encoding: Tensor, size: Sequence[int], *, bound: float = 20.0) -> Tensor:
    """Convert a predicted encoding (B,3,T',H',W') to a flow network's input of `size` (T,H,W), in [-1, 1].

    It carries gradient, so that the decoder can learn from the flow network's loss: the "3D CNN flow" of D3D's
    Table 6. How the paper enlarges the flow is open; ours is bilinear in space, and step k holds from its frame on.

    Args:
        encoding: of a `FlowDecoder`, magnitudes in pixels of the input.
        size: of the clip.
        bound: components are truncated to [-bound, bound] pixels and divided by it.

    Returns:
        (B,2,T,H,W).

    Raises:
        ValueError: the encoding has another shape, or the bound is not positive.

    Examples:
        >>> decoded_clip(torch.zeros(1, 3, 4, 7, 7), (8, 56, 56)).shape
        torch.Size([1, 2, 8, 56, 56])
    """
    if encoding.ndim != 5 or encoding.shape[1] != 3 or len(size) != 3:
        raise ValueError(
            f"encoding must be (B,3,T,H,W) and size (T,H,W), got {tuple(encoding.shape)} and {tuple(size)}"
        )
    batch, _, steps = encoding.shape[:3]
    flow = im2flow_decode(_at_least_float32(encoding).transpose(1, 2)).flatten(0, 1)
    large = F.interpolate(flow, tuple(size[1:]), mode="bilinear", align_corners=False)
    at = torch.arange(size[0], device=flow.device) * steps // size[0]
    return to_unit(large, bound).view(batch, steps, 2, *size[1:])[:, at].transpose(1, 2).contiguous()


def _check_encodings(predicted: Tensor, target: Tensor) -> None:
    if predicted.shape != target.shape:
        raise ValueError(
            f"predicted and target must have one shape, got {tuple(predicted.shape)} and {tuple(target.shape)}"
        )
    if predicted.ndim != 5 or predicted.shape[1] != 3 or predicted.numel() == 0:
        raise ValueError(f"encodings must be (B,3,T,H,W) and not empty, got {tuple(predicted.shape)}")


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
