"""RAFT optical flow, computed by torchvision's networks."""

from __future__ import annotations

from torch import Tensor, nn

from kdvideo._hints import represented
from kdvideo.flow.estimators.by_pairs import NetworkEstimator


class RAFTEstimator(NetworkEstimator):
    """A RAFT of torchvision as a `FlowEstimator`; frames are padded to sizes that it takes, and its flow is cropped.

    Args:
        model: for instance `torchvision.models.optical_flow.raft_small(weights=...)`. It is put into evaluation
            mode; clips must be on its device.
        iterations: recurrent updates, at least 1; 12 is torchvision's default.
        pairs: most pairs that go through the network at a time, for memory.

    Raises:
        ValueError: `model` is no module, or a number out of its range; when called, bad frames as in `tvl1`.

    Examples:
        >>> import torch
        >>> from torchvision.models.optical_flow import raft_small
        >>> raft = RAFTEstimator(raft_small(weights=None), iterations=1)
        >>> raft(torch.zeros(3, 3, 40, 60, dtype=torch.uint8)).shape
        torch.Size([2, 2, 40, 60])

    Source:
        Z. Teed, J. Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020, arXiv 2003.12039.
    """

    def __init__(self, model: nn.Module, *, iterations: int = 12, pairs: int = 8) -> None:
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {iterations}")
        self.iterations = iterations
        super().__init__(model, pairs, f"{iterations=}, ")

    def __repr__(self) -> str:
        return represented(self, model=type(self.model).__name__, iterations=self.iterations, pairs=self.pairs)

    def _solve(self, first: Tensor, second: Tensor) -> Tensor:
        flow: Tensor = self.model(first * 2 - 1, second * 2 - 1, num_flow_updates=self.iterations)[-1]
        return flow
