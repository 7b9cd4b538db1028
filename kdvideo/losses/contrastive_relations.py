"""Contrastive relational distillation of image-text models: the student learns the teacher's matching of a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import check_temperature
from kdvideo._tensors import at_least_float32
from kdvideo.features import Output
from kdvideo.losses._divergences import kl_terms
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import FeatureLoss, Roles


def contrastive_relations(
    student_images: Tensor,
    student_texts: Tensor,
    teacher_images: Tensor,
    teacher_texts: Tensor,
    *,
    temperature: float | Tensor = 0.07,
    teacher_temperature: float | Tensor = 0.07,
) -> Tensor:
    """Compute the KL divergence between two models' softmax over the similarities of a batch.

    L = ½ · 1/B Σ_i KL(P_i ‖ Q_i) + ½ · 1/B Σ_j KL(P'_j ‖ Q'_j),
    P_i = softmax_j(cos(v_i, u_j) / τ) is over the texts of an image, P'_j over the images of a text, by the
    teacher's embeddings v (images) and u (texts) and its τ; Q and Q' are the student's.

    Args:
        student_images: embeddings, (B, D); they are normalized here.
        student_texts: embeddings, (B, D); row i belongs to image i.
        teacher_images: embeddings, (B, D'), where D' may differ from D: no projector is needed.
        teacher_texts: embeddings, (B, D').
        temperature: τ > 0 of the student, 1 / logit_scale: a number, or the tensor that it learns. 0.07 is where
            CLIP starts from.
        teacher_temperature: τ > 0 of the teacher: pass its own, trained CLIP models end near 0.01.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: a temperature that is not positive, embeddings that are not (B, D) of one batch, fewer than 2 pairs,
            or integer tensors.

    Examples:
        >>> import torch
        >>> images, texts = torch.eye(3), torch.eye(3)
        >>> contrastive_relations(images, texts, 2 * images, 2 * texts)
        tensor(0.)

    Source:
        Yang, An, Huang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation", CVPR 2024, arXiv 2307.12732:
        contrastive relational distillation; the halves are those of the authors' code.
    """
    for one in (temperature, teacher_temperature):
        if not isinstance(one, Tensor):  # a look at a tensor would wait for the device
            check_temperature(one)
    _check_pairs(student_images, student_texts, teacher_images, teacher_texts)
    student = similarities(student_images, student_texts) / temperature
    teacher = similarities(teacher_images, teacher_texts) / teacher_temperature
    both = [kl_terms(F.log_softmax(teacher, axis), F.log_softmax(student, axis)).sum() for axis in (1, 0)]
    return (both[0] + both[1]) / (2 * len(student))


def similarities(images: Tensor, texts: Tensor) -> Tensor:
    """Compute the cosines of every image with every text, (B, B), in float32 also inside autocast."""
    with torch.autocast(images.device.type, enabled=False):
        return F.normalize(at_least_float32(images), dim=1) @ F.normalize(at_least_float32(texts), dim=1).T


def _check_pairs(*embeddings: Tensor) -> None:
    shapes = [tuple(one.shape) for one in embeddings]
    images, texts, teacher_images, teacher_texts = shapes
    if images != texts or teacher_images != teacher_texts or any(len(one) != 2 for one in shapes):
        raise ValueError(f"embeddings must be (B, D), of images and texts alike, got {shapes}")
    if images[0] != teacher_images[0]:
        raise ValueError(f"student and teacher must have the same pairs, got batches in shapes {shapes}")
    if images[0] < 2:
        raise ValueError(f"a batch must have at least 2 pairs to compare, got {images[0]}")
    if not all(one.is_floating_point() for one in embeddings):
        raise ValueError(f"expected floating-point tensors, got {[one.dtype for one in embeddings]}")


class ContrastiveRelations(FeatureLoss):
    """Loss object for `contrastive_relations` between two features, the embeddings of images and of texts.

    Args:
        roles: the roles of the images' and of the texts' embeddings, in this order; a mapping where the teacher's
            differ.
        temperature: τ > 0 of the student. Call the function where the student learns it.
        teacher_temperature: τ > 0 of the teacher.
        name: of the term; None: "contrastive_relations[roles]".

    Raises:
        ValueError: a temperature that is not positive, or not two roles; in forward, as `contrastive_relations`, or an
            output without a role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(None, {"image": torch.eye(3), "text": torch.eye(3)})
        >>> ContrastiveRelations(("image", "text"), teacher_temperature=0.07)(same, same)
        tensor(0.)
    """

    kind = "contrastive_relations"

    def __init__(
        self,
        roles: Roles = ("image", "text"),
        *,
        temperature: float = 0.07,
        teacher_temperature: float = 0.07,
        name: str | None = None,
    ) -> None:
        super().__init__(roles, name=name)
        if len(self.roles) != 2:
            raise ValueError(f"roles must be two, of images and of texts, got {list(self.roles)}")
        check_temperature(temperature)
        check_temperature(teacher_temperature)
        self.temperature, self.teacher_temperature = temperature, teacher_temperature

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute `contrastive_relations`."""
        images, texts = self.pairs(student, teacher)
        given.note_vectors([images, texts])
        return contrastive_relations(
            images[0],
            texts[0],
            images[1],
            texts[1],
            temperature=self.temperature,
            teacher_temperature=self.teacher_temperature,
        )
