"""OpenCV's and scikit-image's TV-L1 with their own defaults, over pairs on a pool of threads or processes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np
import torch
from torch import Tensor


def opencv(first: Any, second: Any) -> Any:
    """Compute DualTVL1 with its default settings; OpenCV's own threads do not make it faster."""
    import cv2

    cv2.setNumThreads(1)
    return cv2.optflow.createOptFlow_DualTVL1().calc(first, second, None)


def skimage(first: Any, second: Any) -> Any:
    """Compute optical_flow_tvl1 with its default settings."""
    from skimage.registration import optical_flow_tvl1

    v, u = optical_flow_tvl1(first, second)  # type: ignore[no-untyped-call]
    return np.stack([u, v], -1)


def over_pairs(pool: Executor, solve: Callable[[Any, Any], Any], pairs: Tensor) -> Tensor:
    """Compute the flow (N,2,H,W) of pairs (2,N,1,H,W) uint8."""
    first, second = (list(frames[:, 0].numpy()) for frames in pairs)
    return torch.from_numpy(np.stack(list(pool.map(solve, first, second)))).permute(0, 3, 1, 2)
