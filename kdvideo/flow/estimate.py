"""TV-L1 optical flow of a batch of frame pairs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from kdvideo.flow._solver import solve
from kdvideo.flow.presets import DEFAULT, PRESETS, TVL1

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV
CPU_CHUNK = 100_000  # pixels of a level that a core works on at a time, for its cache
CPU_SHARE = 4_000_000  # most pixels of one thread's task, for memory
GPU_CHUNK = 4_000_000  # enough to hide the launches


def tvl1(
    previous: Tensor,
    next: Tensor,
    *,
    preset: TVL1 | str = DEFAULT,
    value_range: tuple[float, float] | None = None,
) -> Tensor:
    """Optical flow from `previous` to `next`: next(x + u(x)) = previous(x).

    Minimises  sum |grad u| + |grad v| + lambda |next(x + u) - previous(x)|  coarse to fine, on the
    device of the frames, in float32 also inside autocast, without gradients. A flow does not depend on
    which other pairs are in the batch. On the CPU the pairs are spread over `torch.get_num_threads()`
    Python threads.

    Arguments:
        previous, next: (B,1,H,W) grey or (B,3,H,W) RGB frames, uint8 or floating point.
        preset: the settings, or one of the names in `PRESETS` ("default", "opencv", "fast").
        value_range: (black, white) of floating point frames, for instance (0, 1), (-1, 1) or (0, 255).
            Floating point frames must name it, it is never guessed; uint8 frames are (0, 255).

    Returns:
        (B,2,H,W) float32 in pixels, u (to the right) first, then v (downwards).

    Raises:
        ValueError: shapes, channels, type, device or range are not as above, or a pixel is NaN or
            infinite (the message names the pair).

    >>> frames = torch.rand(2, 3, 6, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    >>> flow = tvl1(frames, frames.roll(1, 3), value_range=(0, 1))  # everything moves one pixel right
    >>> flow.shape, bool(flow[:, 0].median() > 0.8), bool(flow[:, 1].median().abs() < 0.2)
    (torch.Size([2, 2, 24, 32]), True, True)

    C. Zach, T. Pock, H. Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow", DAGM 2007.
    """
    settings = _find(preset)
    _check_shapes(previous, next)
    with torch.no_grad():
        frames = [_grey(images, _range(images, value_range)) for images in (previous, next)]
        _check_finite(*frames)
        if len(previous) == 0:
            return frames[0].new_zeros(0, 2, *frames[0].shape[-2:])
        if previous.device.type == "cpu":
            return _solve_in_threads(frames[0], frames[1], settings)
        return solve(frames[0], frames[1], settings, GPU_CHUNK)


def _find(preset: TVL1 | str) -> TVL1:
    if isinstance(preset, TVL1):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"preset must be a TVL1 or one of {sorted(PRESETS)}, got {preset!r}")
    return PRESETS[preset]


def _check_shapes(previous: Tensor, next: Tensor) -> None:
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


def _grey(images: Tensor, value_range: tuple[float, float]) -> Tensor:
    """(B,1,H,W) contiguous float32 in [0, 255]."""
    images = images.float()
    if images.shape[1] == 3:
        red, green, blue = images.unbind(1)
        images = (red * LUMA[0] + green * LUMA[1] + blue * LUMA[2])[:, None]
    black, white = value_range
    return ((images - black) * (255 / (white - black))).contiguous()


def _check_finite(previous: Tensor, next: Tensor) -> None:
    finite = torch.isfinite(previous).flatten(1).all(1) & torch.isfinite(next).flatten(1).all(1)
    if not finite.all():
        bad = int((~finite).nonzero()[0])
        raise ValueError(f"pair {bad} has a pixel that is NaN or infinite")


def _solve_in_threads(previous: Tensor, next: Tensor, preset: TVL1) -> Tensor:
    """Pairs in parallel, each on one thread: threads within an operation stall beside a busy neighbour."""
    threads = torch.get_num_threads()
    if threads == 1:
        return solve(previous, next, preset, CPU_CHUNK)
    share = min(-(-len(previous) // threads), max(1, CPU_SHARE // previous[0].numel()))
    pairs = zip(torch.split(previous, share), torch.split(next, share), strict=True)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat([job.result() for job in [pool.submit(solve, *p, preset, CPU_CHUNK) for p in pairs]])
    finally:
        torch.set_num_threads(threads)  # the initializer's effect is not confined to its thread
