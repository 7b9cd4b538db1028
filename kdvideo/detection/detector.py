"""Detector: a video network and a head on one of its layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from kdvideo.detection.roi_head import RoIHead, RoIOutput
from kdvideo.features import FeatureExtractor


class Detector(nn.Module):
    """A network run up to a layer, and a head on that layer's output and the boxes.

    Args:
        backbone: a network from `kdvideo.models`, or any module that takes clips; held as `.backbone`.
        layer: a module path, or a name from its `layer_names`, whose output is (B, C, T, H, W).
        head: of C channels.

    Raises:
        ValueError: no such layer; in forward, what `RoIHead` raises.

    Examples:
        >>> import torch
        >>> from kdvideo import models
        >>> detector = Detector(models.s3dg(5, depth_multiplier=0.125, min_depth=8), "4F", RoIHead(104, 60))
        >>> detector(torch.zeros(1, 3, 8, 64, 64), [torch.tensor([[0.1, 0.1, 0.4, 0.9]])]).logits.shape
        torch.Size([1, 60])

    The layers behind the tapped one do not run and get no gradient: leave them out of the optimizer, or pass
    `find_unused_parameters=True` to DistributedDataParallel.
    """

    def __init__(self, backbone: nn.Module, layer: str, head: RoIHead) -> None:
        super().__init__()
        self.features = FeatureExtractor(backbone, {layer: "tapped"}, logits=None, early_exit=True)
        self.head = head

    @property
    def backbone(self) -> nn.Module:
        """Return the network that was given."""
        return self.features.model

    def forward(self, clip: Tensor, boxes: Sequence[Tensor]) -> RoIOutput:
        """Classify and refine boxes on the key frames of clips (B, C, T, H, W), one (N_i, 4) for each clip."""
        output: RoIOutput = self.head(self.features(clip).features["tapped"], boxes)
        return output
