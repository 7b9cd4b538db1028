"""Contrastive representation distillation: a pair of one sample against pairs of different samples."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from kdvideo._checks import check_temperature, check_tensor
from kdvideo._numbers import check_numbers, not_negative
from kdvideo._tensors import matched
from kdvideo.losses._given import Given
from kdvideo.losses._parametric import OneLayerLoss, check_positive, full_precision, paired, pooled
from kdvideo.losses.kinds import Roles


def crd(
    student: Tensor,
    teacher: Tensor,
    *,
    student_negatives: Tensor,
    teacher_negatives: Tensor,
    samples: int,
    temperature: float = 0.07,
    constant: float | Tensor = 1.0,
) -> Tensor:
    """Compute the noise-contrastive loss between embeddings of student and teacher.

    A critic distinguishes a pair of one sample from a pair of two samples:
    h(u, v) = p / (p + N/M), p = exp(u·v / τ) / Z, with N negatives of M samples. L is the mean over the batch of
    −log h(s, t) − Σ_n log(1 − h(s, t_n)), and of the same with the negatives s_n of the student against t; both sums
    are added. The paper writes Z = 1; the authors' code sets Z to M times the mean of exp(u·v / τ) in the first
    batch, without which h of a random pair is far from its 1/(1 + N) at the start.

    Args:
        student: embeddings s of length 1, (B, D).
        teacher: embeddings t of length 1, (B, D), of the same samples.
        student_negatives: s_n, (B, N, D), for each sample embeddings of others.
        teacher_negatives: t_n, (B, N, D).
        samples: M, the size of the data set.
        temperature: τ > 0; 0.07 in the authors' code.
        constant: Z > 0.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ or are not (B, D) and (B, N, D), an empty batch, integer tensors, or a
            temperature, M or Z (looked at where it is a number) that is not positive, or no negatives.

    Examples:
        >>> import torch
        >>> one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[[-1.0, 0.0]]])
        >>> crd(one, one, student_negatives=other, teacher_negatives=other, samples=1, constant=1.0)
        tensor(2.4995e-06)

    Source:
        Tian, Krishnan, Isola, "Contrastive Representation Distillation", ICLR 2020, arXiv 1910.10699.
    """
    check_temperature(temperature)
    check_positive(samples=samples)
    if not isinstance(constant, Tensor):  # a look at a tensor would wait for the device
        check_positive(constant=constant)
    student, teacher = matched(student, teacher)
    for name, negatives in (("student_negatives", student_negatives), ("teacher_negatives", teacher_negatives)):
        check_tensor(negatives, name)
        if student.ndim != 2 or negatives.ndim != 3 or negatives.shape[::2] != student.shape:
            raise ValueError(
                f"embeddings must be (B, D) and {name} (B, N, D), got {tuple(student.shape)} and "
                f"{tuple(negatives.shape)}"
            )
        if negatives.shape[1] == 0:
            raise ValueError(
                f"{name} must be at least one for each sample, got shape {tuple(negatives.shape)}: pass others of the "
                "batch"
            )
    # In logarithms: exp(1/0.07) / Z and the difference from 1 lose digits in float32.
    shift = torch.as_tensor(constant, dtype=student.dtype, device=student.device).log()
    shift = shift + math.log(student_negatives.shape[1] / samples)
    with full_precision(student):
        pair = _scores(student, teacher.unsqueeze(1), temperature) - shift
        ours = _scores(student, teacher_negatives, temperature) - shift
        theirs = _scores(teacher, student_negatives, temperature) - shift
    # log h = -softplus(-x) and log(1 - h) = -softplus(x), with x = u·v/τ - log Z - log N/M.
    values = 2 * F.softplus(-pair).sum(1) + F.softplus(ours).sum(1) + F.softplus(theirs).sum(1)
    return values.mean()


def _scores(anchor: Tensor, others: Tensor, temperature: float) -> Tensor:
    return torch.einsum("bd,bnd->bn", anchor, others.to(anchor.dtype)) / temperature


def of_all_processes(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes, whose numbers may differ; without processes, the rows themselves."""
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    length = rows.new_tensor([len(rows)], dtype=torch.long)
    lengths = [torch.zeros_like(length) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, length)
    longest = max(int(one) for one in lengths)
    padded = torch.cat([rows, rows.new_zeros(longest - len(rows), *rows.shape[1:])])
    gathered = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(gathered, padded)
    return torch.cat([one[: int(n)] for one, n in zip(gathered, lengths, strict=True)])


class CRD(OneLayerLoss):
    """Loss object for `crd`, with linear embeddings and a memory of the embeddings of the whole data set.

    It needs `index=`, the samples' numbers in the data set. The two memories, (M, dim) each, are buffers: they are
    saved and restored with the criterion's state_dict and move with `.to`. In training mode the entries of the batch
    move toward its embeddings after the loss; in evaluation mode they stay. With several processes the memory is one:
    every process gathers the embeddings of all, so that all must call the loss. Negatives are drawn uniformly, with
    PyTorch's RNG, from samples of other classes where `classes` are given, else from all other samples. Features that
    are maps are averaged over their positions. Optimize its parameters too.

    Args:
        roles: the role of the feature, or one student's role: teacher's role.
        student_channels: of the student's feature.
        teacher_channels: of the teacher's feature.
        samples: M, the size of the data set.
        dim: D, of the embeddings; 128 in the authors' code.
        negatives: N for each sample; 16384 in the authors' code.
        temperature: τ > 0; 0.07.
        momentum: m from 0 to 1 of the memory, v ← m v + (1 − m) new, normalized; 0.5.
        classes: of all samples, (M,); None: every sample is a class of its own.
        constant: Z > 0; 0 takes it from the first batch, as the authors' code; 1 is the paper's formula.
        name: of the term; None: "crd[role]".

    Raises:
        ValueError: several roles, sizes that are not positive, a momentum outside 0 to 1, fewer than two classes; in
            forward, no index, an index out of range, or features with other channels.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> criterion = CRD("pooled", 8, 16, samples=100, negatives=10)
        >>> student, teacher = Output(None, {"pooled": torch.randn(4, 8)}), Output(None, {"pooled": torch.randn(4, 16)})
        >>> criterion(student, teacher, index=torch.tensor([3, 14, 15, 92])).shape
        torch.Size([])
    """

    kind = "crd"
    student_memory: Tensor
    teacher_memory: Tensor
    order: Tensor
    first: Tensor
    count: Tensor
    constant: Tensor

    def __init__(
        self,
        roles: Roles,
        student_channels: int,
        teacher_channels: int,
        *,
        samples: int,
        dim: int = 128,
        negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
        classes: Tensor | None = None,
        constant: float = 0.0,
        name: str | None = None,
    ) -> None:
        super().__init__(roles, name=name)
        check_positive(samples=samples, dim=dim, negatives=negatives)
        check_temperature(temperature)
        check_numbers("from 0 to 1", lambda value: 0 <= value <= 1, momentum=momentum)
        check_numbers("at least 0", not_negative, constant=constant)
        self.channels = student_channels, teacher_channels
        self.negatives, self.temperature, self.momentum = negatives, temperature, momentum
        self.embed_student, self.embed_teacher = nn.Linear(student_channels, dim), nn.Linear(teacher_channels, dim)
        for memory in ("student_memory", "teacher_memory"):
            self.register_buffer(memory, F.normalize(torch.randn(samples, dim), dim=1))
        self.register_buffer("constant", torch.tensor(float(constant)))
        self._sort(classes, samples)

    def _sort(self, classes: Tensor | None, samples: int) -> None:
        """Sort the samples by class: those of other classes are then all but one run."""
        if classes is not None:
            check_tensor(classes, "classes")
        classes = torch.arange(samples) if classes is None else classes.detach().cpu()
        if classes.shape != (samples,):
            raise ValueError(f"classes must have one entry for each of {samples} samples, got {tuple(classes.shape)}")
        _, classes, counts = torch.unique(classes, return_inverse=True, return_counts=True)
        if len(counts) < 2:
            raise ValueError("there must be at least two classes, or two samples, for negatives, got one")
        # Not in the state_dict: they follow from the arguments.
        self.register_buffer("order", classes.argsort(stable=True), persistent=False)
        self.register_buffer("first", (counts.cumsum(0) - counts)[classes], persistent=False)
        self.register_buffer("count", counts[classes], persistent=False)

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `crd` with negatives drawn from the memories, then update them."""
        student, teacher = paired(student, teacher, *self.channels)
        index = self._checked(given.need("index", self.name), len(student))
        with full_precision(student):
            student = F.normalize(self.embed_student(pooled(student)), dim=1)
            teacher = F.normalize(self.embed_teacher(pooled(teacher)), dim=1)
        others = self._others(index)
        # Lookups are copies, so that the update below leaves what the backward pass needs.
        ours, theirs = self.student_memory[others], self.teacher_memory[others]
        constant = self._constant(student.detach(), teacher.detach(), ours, theirs)
        value = crd(
            student,
            teacher,
            student_negatives=ours,
            teacher_negatives=theirs,
            samples=len(self.order),
            temperature=self.temperature,
            constant=constant,
        )
        if self.training:
            self._remember(index, student.detach(), teacher.detach(), constant)
        return value

    def _checked(self, index: Tensor, batch: int) -> Tensor:
        if index.shape != (batch,) or index.is_floating_point():
            raise ValueError(f"index must be ({batch},) integers, got {index.dtype} of shape {tuple(index.shape)}")
        # A compiled graph cannot look at values; there the lookup itself refuses them.
        if not torch.compiler.is_compiling() and ((index < 0) | (index >= len(self.order))).any():
            raise ValueError(
                f"index must be from 0 to {len(self.order) - 1}, got {index.min().item()} to {index.max().item()}: "
                "samples= is the size of the data set"
            )
        return index.to(self.order.device, torch.long)

    def _others(self, index: Tensor) -> Tensor:
        """Draw samples of other classes, (B, N)."""
        first, count = self.first[index, None], self.count[index, None]
        others = len(self.order) - count
        # In float64: float32 cannot name each of more than 2^24 samples.
        share = torch.rand(len(index), self.negatives, dtype=torch.float64, device=index.device)
        drawn = (share * others).long()
        return self.order[torch.where(drawn >= first, drawn + count, drawn)]

    def _constant(self, student: Tensor, teacher: Tensor, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return Z: what is stored, or M times the mean of exp(u·v / τ) over this batch where nothing is stored yet."""
        with full_precision(student):
            scores = torch.cat([_scores(student, theirs, self.temperature), _scores(teacher, ours, self.temperature)])
        estimate = scores.exp().mean() * len(self.order)
        return torch.where(self.constant > 0, self.constant.to(estimate.dtype), estimate)

    @torch.no_grad()
    def _remember(self, index: Tensor, student: Tensor, teacher: Tensor, constant: Tensor) -> None:
        self.constant.copy_(constant)
        # The memory is one for all processes, and DDP would keep that of the first alone.
        index, student, teacher = (of_all_processes(one) for one in (index, student, teacher))
        for memory, new in ((self.student_memory, student), (self.teacher_memory, teacher)):
            mixed = self.momentum * memory[index] + (1 - self.momentum) * new.to(memory.dtype)
            memory[index] = F.normalize(mixed, dim=1)
