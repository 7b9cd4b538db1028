"""SimKD: the student's feature in the space of the teacher's classifier, which the student then reuses."""

from __future__ import annotations

from torch import Tensor, nn

from kdvideo._hints import check_module
from kdvideo._tensors import matched, squared_error
from kdvideo.features import Output
from kdvideo.losses._given import Given
from kdvideo.losses._parametric import Frozen, OneLayerLoss, pooled
from kdvideo.losses.kinds import Roles, feature_of


def simkd(
    student: Tensor, teacher: Tensor, *, mask: Tensor | None = None, normalizer: float | Tensor | None = None
) -> Tensor:
    """Compute the mean squared error between the features that enter the teacher's classifier.

    L = mean of (s − t)², over the batch and all of the feature; no label and no logit takes part.

    Args:
        student: the student's projected feature, (B, C), or a map (B, C, ...) before the average pooling.
        teacher: the feature that the teacher pools and classifies, of the same shape.
        mask: bool or 0 and 1, one for each position (the shape without the channel axis): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, an empty batch, integer tensors, a mask of another shape, or a normalizer that
            is not positive.

    Examples:
        >>> import torch
        >>> simkd(torch.ones(2, 8, 7, 7), torch.zeros(2, 8, 7, 7))
        tensor(1.)

    Source:
        Chen, Mei, Zhang, Wang, Feng, Chen, "Knowledge Distillation with the Reused Teacher Classifier", CVPR 2022,
        arXiv 2203.14001, equation 3.
    """
    student, teacher = matched(student, teacher, mask=mask)
    return squared_error(student, teacher, "mean", mask=mask, normalizer=normalizer)


class SimKD(OneLayerLoss):
    """Loss object for `simkd`, which holds a frozen copy of the teacher's classifier for the student's predictions.

    Train the student's backbone and projector with this loss alone, then predict with `logits`: the student's own
    classifier is never used. The projector stays in the deployed student.

    Args:
        roles: the role of the last feature, or one student's role: teacher's role.
        classifier: of the teacher, from pooled features (B, C) to logits; a copy of it is frozen.
        masked: whether the mask of a call holds for this feature.
        name: of the term; None: "simkd[role]".

    Raises:
        ValueError: several roles, a classifier that is no module; in forward, as `simkd`, or an output without that
            role.

    Examples:
        >>> import torch
        >>> criterion = SimKD("map", nn.Linear(8, 5))
        >>> student = Output(None, {"map": torch.zeros(2, 8, 7, 7)})
        >>> criterion(student, student), criterion.logits(student).shape
        (tensor(0.), torch.Size([2, 5]))
    """

    kind = "simkd"

    def __init__(self, roles: Roles, classifier: nn.Module, *, masked: bool = True, name: str | None = None) -> None:
        super().__init__(roles, masked=masked, name=name)
        check_module(classifier, "classifier")
        self.classifier = Frozen(classifier)

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `simkd`."""
        return simkd(student, teacher, mask=given.mask, normalizer=given.normalizer)

    def logits(self, student: Output) -> Tensor:
        """Classify the student's projected feature, pooled if it is a map, with the teacher's classifier.

        Args:
            student: its output, with the feature of the role.

        Returns:
            (B, K).

        Raises:
            ValueError: an output without that role.
        """
        (role,) = self.roles
        logits: Tensor = self.classifier(pooled(feature_of("student", student, role)))
        return logits
