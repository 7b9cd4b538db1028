"""RoI head: actions and refined boxes from the features of a clip and boxes on its key frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kdvideo._extras import needed
from kdvideo.detection.boxes import BoxCoder, check


class RoIOutput(NamedTuple):
    """Output of the head for N boxes, those of the first clip first.

    Args:
        logits: (N, K), for a sigmoid each: a person may do several things at once.
        offsets: (N, 4) of a refined box from each proposal, one set whatever the class; see `BoxCoder`.

    Examples:
        >>> output = RoIOutput(logits=torch.zeros(2, 60), offsets=torch.zeros(2, 4))
        >>> output.logits.sigmoid().shape
        torch.Size([2, 60])
    """

    logits: Tensor
    offsets: Tensor


class RoIHead(nn.Module):
    """Mean over time, RoIAlign, mean over the region, and two linear layers.

    Args:
        in_channels: C of the features.
        num_classes: K.
        resolution: points per side at which a box is sampled; 7 as is customary.
        sampling_ratio: samples per point and side, averaged; 0 takes as many as the box covers features.
        dropout: probability in front of the linear layers.

    Raises:
        ValueError: a number out of range; in forward, features that are not (B, C, T, H, W), or boxes that are not a
            float (N, 4) for each clip.

    Examples:
        >>> head = RoIHead(8, 60)
        >>> boxes = [torch.tensor([[0.1, 0.1, 0.4, 0.9], [0.5, 0.2, 0.9, 0.9]]), torch.zeros(0, 4)]
        >>> output = head(torch.randn(2, 8, 4, 7, 7), boxes)
        >>> output.logits.shape, output.offsets.shape
        (torch.Size([2, 60]), torch.Size([2, 4]))

    Source: He et al., "Mask R-CNN", ICCV 2017, arXiv 1703.06870 (RoIAlign); Gu et al., CVPR 2018, arXiv 1705.08421.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        resolution: int = 7,
        sampling_ratio: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if in_channels < 1 or num_classes < 1 or resolution < 1 or sampling_ratio < 0:
            raise ValueError(
                "in_channels, num_classes, resolution must be 1 or more and sampling_ratio 0 or more, got "
                f"{in_channels=}, {num_classes=}, {resolution=}, {sampling_ratio=}"
            )
        self.in_channels, self.num_classes = in_channels, num_classes
        self.resolution, self.sampling_ratio = resolution, sampling_ratio
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(in_channels, num_classes)
        self.regress = nn.Linear(in_channels, 4)
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.normal_(self.regress.weight, std=0.001)  # boxes start as the proposals
        nn.init.zeros_(self.classify.bias)
        nn.init.zeros_(self.regress.bias)

    def forward(self, features: Tensor, boxes: Sequence[Tensor]) -> RoIOutput:
        """Compute logits and offsets of boxes.

        Args:
            features: (B, C, T, H, W).
            boxes: (N_i, 4) for each of the B clips, fractions of the frame.

        Returns:
            A row for each of the N boxes, those of the first clip first.
        """
        return self.predict(self.pool(features, boxes).mean((2, 3)))

    def predict(self, pooled: Tensor) -> RoIOutput:
        """Compute logits and offsets of boxes from their pooled features.

        Args:
            pooled: (N, C).

        Returns:
            A row for each box.
        """
        pooled = self.dropout(pooled)
        return RoIOutput(self.classify(pooled), self.regress(pooled))

    def pool(self, features: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        """Pool the features of each box, averaged over time; half precision becomes float32.

        Args:
            features: (B, C, T, H, W).
            boxes: (N_i, 4) for each of the B clips, fractions of the frame.

        Returns:
            (N, C, resolution, resolution).
        """
        if features.ndim != 5 or features.shape[1] != self.in_channels:
            raise ValueError(f"features must be (B, {self.in_channels}, T, H, W), got {tuple(features.shape)}")
        dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
        return self._align(features.mean(2, dtype=dtype), boxes)

    def regions(self, features: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        """Cut each box out of every step of features.

        Args:
            features: (B, C, T, H, W), C any number.
            boxes: (N_i, 4) for each of the B clips, fractions of the frame.

        Returns:
            (N, C, T, resolution, resolution), in the dtype of the features.
        """
        if features.ndim != 5:
            raise ValueError(f"features must be (B, C, T, H, W), got {tuple(features.shape)}")
        planes = features.flatten(1, 2)
        aligned = self._align(planes if planes.dtype == torch.float64 else planes.float(), boxes)
        return aligned.to(features.dtype).reshape(-1, *features.shape[1:3], self.resolution, self.resolution)

    def _align(self, plane: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        if len(boxes) != len(plane):
            raise ValueError(f"boxes must be one tensor per clip, got {len(boxes)} for {len(plane)} clips")
        for part in boxes:
            check(part)
        with needed("kdvideo.detection.RoIHead"):
            from torchvision.ops import roi_align  # here: its import takes seconds

        height, width = plane.shape[2:]
        scale = plane.new_tensor([width, height, width, height])
        places = [part.to(plane) * scale for part in boxes]
        pooled: Tensor = roi_align(
            plane, places, self.resolution, sampling_ratio=self.sampling_ratio or -1, aligned=True
        )
        return pooled


def decode(
    output: RoIOutput, proposals: Sequence[Tensor], coder: BoxCoder | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Decode the boxes of each clip, clipped to the frame, and their scores.

    Args:
        output: what `RoIHead` gives for the proposals.
        proposals: (N_i, 4) for each clip.
        coder: that of the training; the default is the default of `detection_loss`.

    Returns:
        For each clip boxes (N_i, 4) and scores (N_i, K) in [0, 1].

    Raises:
        ValueError: another number of proposals than the output has rows, or proposals that are not (N, 4).

    Examples:
        >>> proposals = [torch.tensor([[0.1, 0.1, 0.4, 0.9]])]
        >>> decode(RoIOutput(torch.zeros(1, 2), torch.zeros(1, 4)), proposals)
        [(tensor([[0.1000, 0.1000, 0.4000, 0.9000]]), tensor([[0.5000, 0.5000]]))]
    """
    sizes = [len(part) for part in proposals]
    if sum(sizes) != len(output.logits):
        raise ValueError(f"output must have a row per proposal, got {len(output.logits)} for {sum(sizes)} proposals")
    together = torch.cat([part.to(output.offsets) for part in proposals])
    boxes = (coder or BoxCoder()).decode(together, output.offsets).clamp(0, 1)
    scores = output.logits.sigmoid()
    return list(zip(torch.split(boxes, sizes), torch.split(scores, sizes), strict=True))
