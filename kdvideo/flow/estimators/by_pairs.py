"""Flow of clips by something that takes two images: an OpenCV solver, or a network.

Legend: B clips, T frames, H W space, N pairs of frames.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdvideo._hints import check_module
from kdvideo.cache import weights_fingerprint
from kdvideo.flow.frames import as_clips, check_finite, check_range, to_gray

Range = tuple[float, float] | None
MULTIPLE = 8  # RAFT's features, and those of networks built like it, have an eighth of the frame's sides
SMALLEST = 128  # pixels a side: the coarsest correlations have a 64th of them and must keep two cells


class NetworkEstimator:
    """A network of two RGB images (N,3,H,W) in [0, 1] as a `FlowEstimator`; a subclass says how it is called.

    Images are padded on both sides to sizes that it takes, and its flow is cropped. At most `pairs` go through it at
    a time.
    """

    def __init__(self, model: nn.Module, pairs: int, settings: str) -> None:
        check_module(model)
        if pairs < 1:
            raise ValueError(f"pairs must be at least 1, got {pairs}")
        self.model, self.pairs = model.eval(), pairs
        self._fingerprint = f"{type(model).__name__}({settings}weights={weights_fingerprint(model)[:16]})"

    @property
    def fingerprint(self) -> str:
        """The settings of the network, and a hash of its weights."""
        return self._fingerprint

    @torch.no_grad()
    def __call__(self, frames: Tensor, *, value_range: Range = None) -> Tensor:
        """Compute the flow of clips, see `FlowEstimator`."""
        clips = as_clips(frames)
        black, white = check_range(clips, value_range)
        with torch.autocast(frames.device.type, enabled=False):
            images = (clips.float() - black) / (white - black)
            check_finite(images.mean(2))
            images = images.expand(-1, -1, 3, -1, -1)
            first, second = images[:, :-1].flatten(0, 1), images[:, 1:].flatten(0, 1)
            parts = zip(torch.split(first, self.pairs), torch.split(second, self.pairs), strict=True)
            flow = torch.cat([_padded(self._solve, *part) for part in parts])
        flow = flow.view(len(clips), clips.shape[1] - 1, *flow.shape[1:])
        return flow if frames.ndim == 5 else flow[0]

    def _solve(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the flow (N,2,H,W) in pixels from each first image to its second."""
        raise NotImplementedError


def _padded(solve: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor) -> Tensor:
    height, width = first.shape[-2:]
    more = [max(SMALLEST, -(-side // MULTIPLE) * MULTIPLE) - side for side in (width, height)]
    edges = (more[0] // 2, more[0] - more[0] // 2, more[1] // 2, more[1] - more[1] // 2)
    flow = solve(*(F.pad(images, edges, mode="replicate") for images in (first, second)))
    return flow[..., edges[2] : edges[2] + height, edges[0] : edges[0] + width]


@torch.no_grad()
def by_opencv(solve: Callable[[Any, Any], Any], frames: Tensor, value_range: Range, *, threads: int) -> Tensor:
    """Return the flow of clips by a solver of OpenCV, from gray images (H,W) uint8 to flow (H,W,2).

    Raises:
        ValueError: bad frames, as in `tvl1`.
    """
    gray = to_gray(as_clips(frames), value_range).round().clamp(0, 255).byte().cpu()
    batch, count, height, width = gray.shape
    first, second = gray[:, :-1].flatten(0, 1).numpy(), gray[:, 1:].flatten(0, 1).numpy()
    with ThreadPoolExecutor(threads) as pool:
        found = [torch.from_numpy(flow) for flow in pool.map(solve, first, second)]
    flow = torch.stack(found).view(batch, count - 1, height, width, 2).permute(0, 1, 4, 2, 3).contiguous()
    return (flow if frames.ndim == 5 else flow[0]).to(frames.device)


def check_size(frames: Tensor, smallest: int, name: str) -> None:
    """Raise ValueError for frames of less than `smallest` pixels a side; other shapes than clips too."""
    height, width = as_clips(frames).shape[-2:]
    if min(height, width) < smallest:
        raise ValueError(f"frames for {name} must have at least {smallest} pixels a side, got {height}x{width}")


def opencv(what: str) -> Any:
    """Return OpenCV.

    Raises:
        ValueError: it is missing; the message says what needs it.
    """
    try:
        import cv2
    except ImportError as error:
        raise ValueError(f"{what} needs OpenCV: pip install opencv-contrib-python-headless") from error
    return cv2
