"""TV-L1 optical flow of clips and of frame pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo.flow.frames import as_clips, to_gray
from kdvideo.flow.tvl1.backends import Backend, find_solver
from kdvideo.flow.tvl1.presets import DEFAULT, PRESETS, TVL1Settings


def tvl1(
    frames: Tensor,
    next_frames: Tensor | None = None,
    *,
    preset: TVL1Settings | str = DEFAULT,
    value_range: tuple[float, float] | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Compute the optical flow of clips, from every frame to the one after it.

    With I0 a frame and I1 the next one, I1(x + u(x)) = I0(x). The flow minimizes

        sum |grad u| + |grad v| + lambda |I1(x + u) - I0(x)|

    coarse to fine, on the device of the frames, in float32 also inside autocast, without gradients. A flow does not
    depend on what else is in the batch. On the CPU the pairs are spread over `torch.get_num_threads()` threads.

    Args:
        frames: clips (B,T,C,H,W) or one clip (T,C,H,W), T >= 2, with C = 1 (gray) or 3 (RGB), uint8 or
            floating point. With `next_frames`: the first frames (B,C,H,W) of B pairs.
        next_frames: the second frames (B,C,H,W) of B pairs.
        preset: the settings, or one of the names in `PRESETS` ("default", "opencv", "fast").
        value_range: (black, white) of floating point frames, for instance (0, 1), (-1, 1) or (0, 255).
            Floating point frames must name it, it is never guessed; uint8 frames are (0, 255).
        backend: what computes it; all agree up to rounding. "auto" takes "triton" on a GPU, and on a CPU
            "cpp" (built at first use) where there is a C++ compiler, "eager" elsewhere. "opencv" is OpenCV's
            `DualTVL1OpticalFlow` on the CPU.

    Returns:
        (B,T-1,2,H,W) or (T-1,2,H,W); for pairs (B,2,H,W). float32 pixels, u (to the right) first, then v
        (downwards).

    Raises:
        ValueError: shapes, channels, type, device or range are not as above, a pixel is NaN or infinite
            (the message names the frame), or the backend cannot run here (the message says why).

    Examples:
        >>> clip = torch.rand(3, 6, 8).repeat_interleave(4, 1).repeat_interleave(4, 2)
        >>> clip = torch.stack([clip, clip.roll(1, 2), clip.roll(2, 2)])  # everything moves one pixel right
        >>> flow = tvl1(clip, value_range=(0, 1))
        >>> flow.shape, bool(flow[:, 0].median() > 0.8), bool(flow[:, 1].median().abs() < 0.2)
        (torch.Size([2, 2, 24, 32]), True, True)

    Source:
        C. Zach, T. Pock, H. Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow", DAGM 2007.
    """
    if not isinstance(preset, TVL1Settings):
        if preset not in PRESETS:
            raise ValueError(f"preset must be TVL1Settings or one of {sorted(PRESETS)}, got {preset!r}")
        preset = PRESETS[preset]
    clips = as_clips(frames, next_frames)
    solve = find_solver(backend, clips.device.type)
    with torch.no_grad(), torch.autocast(clips.device.type, enabled=False):
        gray = to_gray(clips, value_range, unit="frame" if next_frames is None else "pair")
        flow = solve(gray, preset) if len(gray) else gray.new_zeros(0, gray.shape[1] - 1, 2, *gray.shape[-2:])
    if next_frames is not None:
        return flow[:, 0]
    return flow if frames.ndim == 5 else flow[0]
