"""The passes that the benchmark of networks times."""

import pytest
import torch
from torch import Tensor, nn

from benchmarks.speed.network_parts.passes import FAST, PLAIN, forward, training


class Mixed(nn.Module):
    """Kernels of clips and of images, as in MViT and in image networks on frames."""

    def __init__(self) -> None:
        super().__init__()
        self.clip, self.image = nn.Conv3d(3, 4, 3), nn.Conv2d(4, 5, 3)

    def forward(self, clip: Tensor) -> Tensor:
        return self.image(self.clip(clip).mean(2)).mean((2, 3))


@pytest.mark.parametrize("made", [forward, training])
def test_a_network_with_kernels_of_images_is_timed_too(made) -> None:
    network = Mixed()
    made(network, torch.randn(2, 3, 4, 8, 8), FAST)()
    assert network.clip.weight.is_contiguous(memory_format=torch.channels_last_3d)
    made(network, torch.randn(2, 3, 4, 8, 8), PLAIN)()
    assert network.clip.weight.is_contiguous()
