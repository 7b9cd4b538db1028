"""TV-L1 optical flow of clips and of frame pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo.flow.presets import DEFAULT, PRESETS, TVL1
from kdvideo.flow.solvers import Backend, find

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV


def tvl1(
    frames: Tensor,
    next: Tensor | None = None,
    *,
    preset: TVL1 | str = DEFAULT,
    value_range: tuple[float, float] | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Optical flow of clips, from every frame to the one after it: frame t+1 at (x + u(x)) = frame t at x.

    Minimises  sum |grad u| + |grad v| + lambda |next(x + u) - previous(x)|  coarse to fine, on the
    device of the frames, in float32 also inside autocast, without gradients. A flow does not depend on
    what else is in the batch. On the CPU the pairs are spread over `torch.get_num_threads()` threads.

    Arguments:
        frames: clips (B,T,C,H,W) or one clip (T,C,H,W), T >= 2, with C = 1 (grey) or 3 (RGB), uint8 or
            floating point. With `next`: the first frames (B,C,H,W) of B pairs.
        next: the second frames (B,C,H,W) of B pairs.
        preset: the settings, or one of the names in `PRESETS` ("default", "opencv", "fast").
        value_range: (black, white) of floating point frames, for instance (0, 1), (-1, 1) or (0, 255).
            Floating point frames must name it, it is never guessed; uint8 frames are (0, 255).
        backend: what computes it; all agree up to rounding. "auto" takes "triton" on a GPU, and on a CPU
            "cpp" (built at first use) where there is a C++ compiler, "eager" elsewhere. "compile" is
            torch.compile: it takes tens of seconds for each new frame size. "opencv" is OpenCV's
            `DualTVL1OpticalFlow` on the CPU.

    Returns:
        (B,T-1,2,H,W) or (T-1,2,H,W); for pairs (B,2,H,W). float32 pixels, u (to the right) first, then v
        (downwards).

    Raises:
        ValueError: shapes, channels, type, device or range are not as above, a pixel is NaN or infinite
            (the message names the frame), or the backend cannot run here (the message says why).

    >>> clip = torch.rand(3, 6, 8).repeat_interleave(4, 1).repeat_interleave(4, 2)
    >>> clip = torch.stack([clip, clip.roll(1, 2), clip.roll(2, 2)])  # everything moves one pixel right
    >>> flow = tvl1(clip, value_range=(0, 1))
    >>> flow.shape, bool(flow[:, 0].median() > 0.8), bool(flow[:, 1].median().abs() < 0.2)
    (torch.Size([2, 2, 24, 32]), True, True)

    C. Zach, T. Pock, H. Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow", DAGM 2007.
    """
    settings, clips = _find(preset), _clips(frames, next)
    solver = find(backend, clips.device.type)
    with torch.no_grad(), torch.autocast(clips.device.type, enabled=False):
        grey = _grey(clips, _range(clips, value_range))
        _check_finite(grey, "frame" if next is None else "pair")
        flow = solver(grey, settings) if len(grey) else grey.new_zeros(0, grey.shape[1] - 1, 2, *grey.shape[-2:])
    if next is not None:
        return flow[:, 0]
    return flow if frames.ndim == 5 else flow[0]


def _find(preset: TVL1 | str) -> TVL1:
    if isinstance(preset, TVL1):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"preset must be a TVL1 or one of {sorted(PRESETS)}, got {preset!r}")
    return PRESETS[preset]


def _clips(frames: Tensor, next: Tensor | None) -> Tensor:
    """(B,T,C,H,W); a pair is a clip of two frames."""
    if next is not None:
        _check_pair(frames, next)
        return torch.stack([frames, next], 1)
    if frames.ndim not in (4, 5) or frames.shape[-3] not in (1, 3) or 0 in frames.shape[-2:]:
        raise ValueError(f"clips must be (B,T,C,H,W) or (T,C,H,W) with C = 1 or 3, got {tuple(frames.shape)}")
    if frames.shape[-4] < 2:
        raise ValueError(f"flow needs at least two frames, got {frames.shape[-4]} in {tuple(frames.shape)}")
    return frames if frames.ndim == 5 else frames[None]


def _check_pair(previous: Tensor, next: Tensor) -> None:
    if previous.ndim != 4 or previous.shape[1] not in (1, 3) or 0 in previous.shape[2:]:
        raise ValueError(f"frames must be (B,1,H,W) or (B,3,H,W), got previous {tuple(previous.shape)}")
    if previous.shape != next.shape:
        raise ValueError(
            f"both frames of a pair must have one shape, got previous {tuple(previous.shape)} "
            f"and next {tuple(next.shape)}"
        )
    if previous.dtype != next.dtype or previous.device != next.device:
        raise ValueError(
            f"both frames must have one type and device, got previous {previous.dtype} on "
            f"{previous.device} and next {next.dtype} on {next.device}"
        )


def _range(images: Tensor, value_range: tuple[float, float] | None) -> tuple[float, float]:
    if images.dtype == torch.uint8:
        if value_range not in (None, (0, 255)):
            raise ValueError(f"uint8 frames range over (0, 255), got value_range={value_range}")
        return 0.0, 255.0
    if not images.is_floating_point():
        raise ValueError(f"frames must be uint8 or floating point, got {images.dtype}")
    if value_range is None:
        raise ValueError("floating point frames need value_range=(black, white), for instance (0, 1) or (0, 255)")
    if not value_range[0] < value_range[1]:
        raise ValueError(f"value_range must be (black, white) with black < white, got {value_range}")
    return value_range


def _grey(clips: Tensor, value_range: tuple[float, float]) -> Tensor:
    """(B,T,H,W) contiguous float32 in [0, 255]."""
    clips = clips.float()
    if clips.shape[2] == 3:
        red, green, blue = clips.unbind(2)
        grey = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
    else:
        grey = clips[:, :, 0]
    black, white = value_range
    return ((grey - black) * (255 / (white - black))).contiguous()


def _check_finite(grey: Tensor, unit: str) -> None:
    finite = torch.isfinite(grey).flatten(2).all(2)
    if not finite.all():
        clip, frame = (~finite).nonzero()[0].tolist()
        where = f"pair {clip}" if unit == "pair" else f"frame {frame} of clip {clip}"
        raise ValueError(f"{where} has a pixel that is NaN or infinite")
