"""PHI-S: standardize a teacher's features by one rotation and one scale, so that all channels have variance 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from kdvideo._checks import check_tensor
from kdvideo._tensors import at_least_float32


class PHIS(nn.Module):
    """Standardize features: x' = R·(x − μ)/α, with α² the mean eigenvalue of their covariance U·Λ·Uᵀ.

    R = H·Uᵀ with the normalized Hadamard matrix H, which spreads the variance evenly over the channels. All distances
    shrink by the same α, so an error of the student weighs the same in every direction. `fit` it once on features of
    the teacher; its buffers are saved with the student's training.

    Args:
        mean: μ, (C,).
        rotation: R, (C, C), orthogonal.
        scale: α > 0.

    Raises:
        ValueError: a mean, a rotation and a scale whose shapes do not belong together.

    Examples:
        >>> import torch
        >>> features = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2, 3, 9])
        >>> standardize = PHIS.fit(features)
        >>> torch.allclose(standardize(features).var(0), torch.ones(4), atol=1e-4)
        True
        >>> torch.allclose(standardize.inverse(standardize(features)), features, atol=1e-4)
        True

    Source:
        Ranzinger et al., "PHI-S: Distribution Balancing for Label-Free Multi-Teacher Distillation", 2024,
        arXiv 2410.01680.
    """

    mean: Tensor
    rotation: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, rotation: Tensor, scale: Tensor) -> None:
        super().__init__()
        if rotation.shape != (len(mean), len(mean)) or scale.numel() != 1:
            raise ValueError(
                "expected a mean (C,), a rotation (C, C) and one scale, got shapes "
                f"{tuple(mean.shape)}, {tuple(rotation.shape)} and {tuple(scale.shape)}"
            )
        for name, value in (("mean", mean), ("rotation", rotation), ("scale", scale)):
            self.register_buffer(name, value)

    @classmethod
    def fit(cls, features: Tensor) -> PHIS:
        """Fit mean, rotation and scale to features of the teacher.

        Args:
            features: (N, C), one row for each sample or token; N should be several times C.

        Returns:
            The fitted module, in float32, or float64 for float64.

        Raises:
            ValueError: no tensor, no two rows, features that are not finite or do not vary, or a width without a
                known Hadamard matrix.
        """
        check_tensor(features, "features")
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"features must be (N, C) with at least 2 rows, got {tuple(features.shape)}")
        rows = features.detach().double()
        if not rows.isfinite().all():
            raise ValueError("features must be finite, got NaN or infinity: leave those rows out")
        mean = rows.mean(0)
        eigenvalues, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / (len(rows) - 1))
        scale = eigenvalues.clamp(min=0).mean().sqrt()
        if not scale > 0:
            raise ValueError("features must vary, got rows that are all alike: pass those of many samples")
        rotation = hadamard(len(mean)).to(vectors) @ vectors.T
        dtype = at_least_float32(features).dtype
        return cls(mean.to(dtype), rotation.to(dtype), scale.to(dtype))

    def forward(self, features: Tensor, dim: int = -1) -> Tensor:
        """Standardize features.

        Args:
            features: with C channels on one axis.
            dim: that axis.

        Returns:
            x', of the same shape; float32, or float64 for float64.
        """
        moved = at_least_float32(features).movedim(dim, -1)
        with torch.autocast(features.device.type, enabled=False):
            return (((moved - self.mean) / self.scale) @ self.rotation.T).movedim(-1, dim)

    def inverse(self, standardized: Tensor, dim: int = -1) -> Tensor:
        """Bring standardized features, or a student's prediction of them, back to the teacher's.

        Args:
            standardized: with C channels on one axis.
            dim: that axis.

        Returns:
            x, of the same shape.
        """
        moved = at_least_float32(standardized).movedim(dim, -1)
        with torch.autocast(standardized.device.type, enabled=False):
            return ((moved @ self.rotation) * self.scale + self.mean).movedim(-1, dim)


def hadamard(order: int) -> Tensor:
    """Build a Hadamard matrix, divided by √order so that it is orthogonal.

    Doubles Paley's matrices of order q + 1, q a prime with remainder 3 modulo 4: every width of the common foundation
    models (384, 768, 1024, 1152, 1280, 1408, 1536) has one.

    Raises:
        ValueError: an order for which this builds none.
    """
    core, doublings = order, 0
    while core > 1 and not _is_paley(core) and core % 2 == 0:
        core, doublings = core // 2, doublings + 1
    if core != 1 and not _is_paley(core):
        raise ValueError(f"no Hadamard matrix of order {order} is built here: use features of another width")
    matrix = torch.ones(1, 1, dtype=torch.float64) if core == 1 else _paley(core - 1)
    for _ in range(doublings):
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix / math.sqrt(order)


def _is_paley(order: int) -> bool:
    q = order - 1
    return q % 4 == 3 and all(q % divisor for divisor in range(2, math.isqrt(q) + 1))


def _paley(q: int) -> Tensor:
    squares = {i * i % q for i in range(1, q)}
    character = torch.tensor([0.0 if i == 0 else 1.0 if i in squares else -1.0 for i in range(q)], dtype=torch.float64)
    number = torch.arange(q)
    skew = torch.zeros(q + 1, q + 1, dtype=torch.float64)
    skew[0, 1:], skew[1:, 0] = 1, -1
    skew[1:, 1:] = character[(number[:, None] - number) % q]
    return torch.eye(q + 1, dtype=torch.float64) + skew
