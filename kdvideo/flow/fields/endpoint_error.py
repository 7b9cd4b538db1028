"""The endpoint error of flow."""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo.flow.fields.transforms import check_flow


def endpoint_error(predicted: Tensor, target: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Compute the endpoint error, EPE = mean over pixels of sqrt((u^ - u)^2 + (v^ - v)^2).

    Args:
        predicted: (...,2,H,W) in pixels, u first.
        target: of the same shape.
        mask: bool (...,H,W), true where the target is known; `None`: everywhere.

    Returns:
        A scalar in pixels, float32.

    Raises:
        ValueError: shapes differ (nothing is broadcast), the mask is not bool, or no pixel is left.

    Examples:
        >>> endpoint_error(torch.zeros(2, 4, 4), torch.tensor([3.0, 4.0]).view(2, 1, 1).expand(2, 4, 4))
        tensor(5.)
    """
    check_flow(predicted)
    if predicted.shape != target.shape:
        raise ValueError(
            f"predicted and target must have one shape, got {tuple(predicted.shape)} and {tuple(target.shape)}"
        )
    difference = predicted.float() - target.float()
    error = torch.hypot(*difference.unbind(-3))
    if mask is not None:
        if mask.dtype != torch.bool or mask.shape != error.shape:
            raise ValueError(f"mask must be bool {tuple(error.shape)}, got {mask.dtype} {tuple(mask.shape)}")
        error = error[mask]
    if error.numel() == 0:
        raise ValueError("predicted and mask must leave a pixel to average over, got none")
    return error.mean()
