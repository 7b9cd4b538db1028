"""Detector: a video network and a head on one of its layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from kdvideo._hints import check_module
from kdvideo._paths import roles_to_places
from kdvideo.detection.roi_head import RoIHead, RoIOutput
from kdvideo.features import FeatureExtractor


class Detector(nn.Module):
    """A network run up to a layer, and a head on that layer's output and the boxes.

    Args:
        backbone: a network from `kdvideo.models`, or any module that takes clips; held as `.backbone`.
        layer: a module path, or a name from its `layer_names`, whose output is (B, C, T, H, W).
        head: of C channels, those of the last of `box_layers` where there are any.
        box_layers: layers of the network that run on the features of each box, one after the other, such as
            ("5A", "5B", "5C") behind "4F". The boxes are then cut out of every step of the layer's output,
            `head.resolution` points a side, and the head sees the mean over what comes out. Without them the head
            pools the layer's output itself.

    Attributes:
        backbone: the network.
        head: as given; its parameters learn.

    Raises:
        ValueError: `backbone` or `head` is no module, or no such layer; in forward, what `RoIHead` raises.

    Examples:
        >>> import torch
        >>> from kdvideo import models
        >>> detector = Detector(models.s3dg(5, depth_multiplier=0.125, min_depth=8), "4F", RoIHead(104, 60))
        >>> detector(torch.zeros(1, 3, 8, 64, 64), [torch.tensor([[0.1, 0.1, 0.4, 0.9]])]).logits.shape
        torch.Size([1, 60])

    As detectors on I3D do, with the network's last blocks on every box:

        >>> head = RoIHead(128, 60, resolution=14)
        >>> network = models.s3dg(5, depth_multiplier=0.125, min_depth=8)
        >>> detector = Detector(network, "4F", head, box_layers=("5A", "5B", "5C"))
        >>> detector(torch.zeros(1, 3, 8, 64, 64), [torch.tensor([[0.1, 0.1, 0.4, 0.9]])]).logits.shape
        torch.Size([1, 60])

    Other layers behind the tapped one do not run and get no gradient: leave them out of the optimizer, or pass
    `find_unused_parameters=True` to DistributedDataParallel.
    """

    def __init__(self, backbone: nn.Module, layer: str, head: RoIHead, *, box_layers: Sequence[str] = ()) -> None:
        super().__init__()
        check_module(backbone, "backbone")
        check_module(head, "head")
        self.box_layers = [place.path for place in roles_to_places(backbone, list(box_layers)).values()]
        self.features = FeatureExtractor(backbone, {layer: "tapped"}, logits=None, early_exit=True)
        self.head = head

    @property
    def backbone(self) -> nn.Module:
        """Return the network that was given."""
        return self.features.model

    def forward(self, clip: Tensor, boxes: Sequence[Tensor]) -> RoIOutput:
        """Classify and refine boxes on the key frames of clips.

        Args:
            clip: (B, C, T, H, W).
            boxes: (N_i, 4) for each clip, fractions of the frame.

        Returns:
            A row for each box, those of the first clip first.
        """
        feature = self.features(clip).features["tapped"]
        if not self.box_layers:
            output: RoIOutput = self.head(feature, boxes)
            return output
        regions = self.head.regions(feature, boxes)
        pooled = regions.new_zeros(0, self.head.in_channels)
        if len(regions):  # of none batch norm would learn nonsense
            for path in self.box_layers:
                regions = self.backbone.get_submodule(path)(regions)
            pooled = regions.mean((2, 3, 4))
        return self.head.predict(pooled.to(self.head.classify.weight.dtype))
