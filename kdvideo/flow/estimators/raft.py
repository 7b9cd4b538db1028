"""RAFT optical flow, computed by torchvision's networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdvideo._hints import represented
from kdvideo.cache import weights_fingerprint
from kdvideo.flow.frames import as_clips, check_finite, check_range

SMALLEST = 128  # pixels a side: its coarsest correlations have a 64th of them and must keep two cells
MULTIPLE = 8  # its features have an eighth of the frame's sides


class RAFTEstimator:
    """A RAFT of torchvision as a `FlowEstimator`; frames are padded to sizes that it takes, and its flow is cropped.

    Args:
        model: for instance `torchvision.models.optical_flow.raft_small(weights=...)`. It is put into evaluation
            mode; clips must be on its device.
        iterations: recurrent updates, at least 1; 12 is torchvision's default.
        pairs: most pairs that go through the network at a time, for memory.

    Raises:
        ValueError: a number out of its range; when called, bad frames as in `tvl1`.

    Examples:
        >>> from torchvision.models.optical_flow import raft_small
        >>> raft = RAFTEstimator(raft_small(weights=None), iterations=1)
        >>> raft(torch.zeros(3, 3, 40, 60, dtype=torch.uint8)).shape
        torch.Size([2, 2, 40, 60])

    Source:
        Z. Teed, J. Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020, arXiv 2003.12039.
    """

    def __init__(self, model: nn.Module, *, iterations: int = 12, pairs: int = 8) -> None:
        if iterations < 1 or pairs < 1:
            raise ValueError(f"iterations and pairs must be at least 1, got {iterations} and {pairs}")
        self.model, self.iterations, self.pairs = model.eval(), iterations, pairs
        weights = weights_fingerprint(model)
        self._fingerprint = f"{type(model).__name__}(iterations={iterations}, weights={weights[:16]})"

    def __repr__(self) -> str:
        return represented(self, model=type(self.model).__name__, iterations=self.iterations, pairs=self.pairs)

    @property
    def fingerprint(self) -> str:
        """The iterations, and a hash of the weights."""
        return self._fingerprint

    @torch.no_grad()
    def __call__(self, frames: Tensor, *, value_range: tuple[float, float] | None = None) -> Tensor:
        """Compute the flow of clips, see `FlowEstimator`."""
        clips = as_clips(frames)
        black, white = check_range(clips, value_range)
        with torch.autocast(frames.device.type, enabled=False):
            images = (clips.float() - black) * (2 / (white - black)) - 1
            check_finite(images.mean(2))
            images = images.expand(-1, -1, 3, -1, -1)
            first, second = images[:, :-1].flatten(0, 1), images[:, 1:].flatten(0, 1)
            parts = zip(torch.split(first, self.pairs), torch.split(second, self.pairs), strict=True)
            flow = torch.cat([self._solve(a, b) for a, b in parts])
        flow = flow.view(len(clips), clips.shape[1] - 1, *flow.shape[1:])
        return flow if frames.ndim == 5 else flow[0]

    def _solve(self, first: Tensor, second: Tensor) -> Tensor:
        height, width = first.shape[-2:]
        more = [max(SMALLEST, -(-side // MULTIPLE) * MULTIPLE) - side for side in (width, height)]
        edges = (more[0] // 2, more[0] - more[0] // 2, more[1] // 2, more[1] - more[1] // 2)
        padded = (F.pad(images, edges, mode="replicate") for images in (first, second))
        flow: Tensor = self.model(*padded, num_flow_updates=self.iterations)[-1]
        return flow[..., edges[2] : edges[2] + height, edges[0] : edges[0] + width]
