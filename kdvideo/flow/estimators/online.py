"""Flow computed on the training device from the windows that the student sees.

Legend: B batch, T frames of a window, H W space.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo._checks import check_tensor
from kdvideo._hints import represented
from kdvideo.flow.estimators.estimator import FlowEstimator, estimator_of
from kdvideo.flow.fields.transforms import check_bound, to_unit
from kdvideo.flow.frames import check_black_and_white


class OnlineFlow:
    """A flow network's input, computed from a batch of RGB windows as the student gets them.

    The flow at a position leads from its frame to the next one of the window, and the last position repeats the
    flow before it. The windows are cropped and mirrored already, so stored flow, which is of whole frames, differs
    a little at the borders, and at the last position.

    Args:
        estimator: what computes the flow; the default is TV-L1.
        bound: components are truncated to [-bound, bound] pixels and divided by it.
        value_range: (black, white) of the windows.

    Raises:
        ValueError: the estimator is none, the bound is not positive, or the range not (black, white); on a call,
            another shape, lengths outside 1 … T, or a pixel that is NaN, infinite, or far outside the range.

    Examples:
        >>> rgb = torch.zeros(2, 3, 5, 24, 24)
        >>> OnlineFlow(bound=5.0)(rgb, torch.tensor([5, 3])).shape
        torch.Size([2, 2, 5, 24, 24])
    """

    def __init__(
        self,
        estimator: FlowEstimator | None = None,
        *,
        bound: float = 20.0,
        value_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        check_bound(bound)
        check_black_and_white(value_range)
        self.estimator = estimator_of(estimator)
        self.bound, self.value_range = bound, value_range

    def __repr__(self) -> str:
        return represented(self, estimator=self.estimator, bound=self.bound, value_range=self.value_range)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the estimator."""
        return self.estimator.fingerprint

    @torch.no_grad()
    def __call__(self, rgb: Tensor, lengths: Tensor) -> Tensor:
        """Compute the flow of windows, on their device and without gradient.

        Args:
            rgb: the windows, (B,3,T,H,W), floating point.
            lengths: (B,), in 1..T: how many different frames each window shows. A shorter clip starts over (see
                `PairedClips`), and its seam is not motion. A clip of one frame has zero flow.

        Returns:
            (B,2,T,H,W), float32 in [-1, 1].
        """
        if rgb.ndim != 5 or rgb.shape[1] != 3 or not rgb.is_floating_point():
            raise ValueError(f"windows must be floating point (B,3,T,H,W), got {rgb.dtype} {tuple(rgb.shape)}")
        check_tensor(lengths, "lengths")
        if lengths.shape != rgb.shape[:1]:
            raise ValueError(f"lengths must be ({len(rgb)},), one for each window, got {tuple(lengths.shape)}")
        batch, _, frames = rgb.shape[:3]
        if not bool(((lengths >= 1) & (lengths <= frames)).all()):
            raise ValueError(f"lengths must be in 1..{frames}, the frames of the windows, got {lengths.tolist()}")
        self._check_pixels(rgb)
        if frames == 1:
            return rgb.new_zeros((batch, 2, *rgb.shape[2:]), dtype=torch.float32)
        with torch.autocast(rgb.device.type, enabled=False):
            flow = self.estimator(rgb.transpose(1, 2).float(), value_range=self.value_range)
            lengths = lengths.to(rgb.device)[:, None]
            # The flow from the last frame back to the first one is the seam: the flow before it stands in. In a clip
            # of one frame that gives -1, any flow will do, and it is multiplied by zero.
            at = torch.minimum(torch.arange(frames, device=rgb.device) % lengths, lengths - 2)
            flow = flow[torch.arange(batch, device=rgb.device)[:, None], at] * (lengths > 1)[..., None, None, None]
            return to_unit(flow, self.bound).transpose(1, 2).contiguous()

    def _check_pixels(self, rgb: Tensor) -> None:
        """Raise ValueError for another range of pixels; those a little outside, as of augmentations, are none."""
        (black, white), (low, high) = self.value_range, (float(end) for end in rgb.aminmax())
        if low < black - (white - black) or high > white + (white - black):
            raise ValueError(
                f"pixels must be in value_range, {black:g} to {white:g}, got {low:g} to {high:g}: "
                "OnlineFlow(value_range=(black, white))"
            )
