"""What the losses with parameters share: layers by the number of axes, checks, frozen modules, full precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence, Sized
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdvideo._checks import check_tensors, valid
from kdvideo._numbers import check_numbers
from kdvideo._tensors import at_least_float32
from kdvideo.losses.kinds import FeatureLoss, Roles

Whole = Literal["sum", "mean"]

_CONVS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS: tuple[type[nn.Module], ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_TRANSPOSED: tuple[type[nn.Module], ...] = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class OneLayerLoss(FeatureLoss):
    """A loss whose parameters belong to one layer.

    Raises:
        ValueError: several roles.
    """

    def __init__(self, roles: Roles, *, masked: bool = True, name: str | None = None) -> None:
        super().__init__(roles, masked=masked, name=name)
        if len(self.roles) != 1:
            raise ValueError(
                f"{self.kind} must have one role, as its parameters fit one layer, got {list(self.roles)}: add up one "
                "loss for each"
            )


class Frozen(nn.Module):
    """A copy of a trained module that nothing trains: no gradient for its parameters, always in evaluation mode.

    Args:
        module: such as the teacher's classifier; the copy leaves it as it is.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, x: Tensor) -> Any:
        """Run the module; the gradient passes through to `x`."""
        return self.module(x)


def pooled_to(feature: Tensor, size: Sequence[int]) -> Tensor:
    """Average a map of 1 to 3 axes down to a size."""
    pools: tuple[Callable[..., Tensor], ...] = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
    return pools[len(size) - 1](feature, tuple(size))


def conv_of(axes: int) -> Callable[..., nn.Module]:
    """Return the convolution of maps with 1 to 3 axes."""
    check_positive(axes=axes)
    if axes > 3:
        raise ValueError(f"axes must be 1 to 3, got {axes}")
    return _CONVS[axes - 1]


def norm_of(axes: int) -> Callable[..., nn.Module]:
    """Return the batch norm of maps with 1 to 3 axes."""
    return _NORMS[axes - 1]


def transposed_of(axes: int) -> Callable[..., nn.Module]:
    """Return the transposed convolution of maps with 1 to 3 axes."""
    return _TRANSPOSED[axes - 1]


def check_positive(**sizes: float) -> None:
    """Raise ValueError for a size that is not positive."""
    check_numbers("positive", lambda size: size > 0, **sizes)


def one_for_each(roles: Sized, channels: object) -> bool:
    """Tell whether there is a sequence of channels, one number for each role."""
    return isinstance(channels, Sequence) and not isinstance(channels, str) and len(channels) == len(roles)


def full_precision(tensor: Tensor) -> torch.autocast:
    """Return a context without autocast: layers of a loss compute in float32, whatever the student does."""
    return torch.autocast(tensor.device.type, enabled=False)


def paired(student: Tensor, teacher: Tensor, student_channels: int, teacher_channels: int) -> tuple[Tensor, Tensor]:
    """Check two features whose channels and sizes may differ, but not batch and number of axes; cast half to float32.

    Raises:
        ValueError: batches or axes that differ, other channels than those that the loss was built for, an empty batch,
            or no floating-point dtype.
    """
    check_tensors(student, teacher)
    shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
    if student.ndim != teacher.ndim or student.ndim < 2 or student.shape[0] != teacher.shape[0]:
        raise ValueError(f"student and teacher must have one batch and one number of axes, got {shapes}")
    if student.shape[1] != student_channels or teacher.shape[1] != teacher_channels:
        raise ValueError(f"channels must be {student_channels} and {teacher_channels} on axis 1, got {shapes}")
    if student.numel() == 0 or teacher.numel() == 0:
        raise ValueError(f"expected a non-empty (batch, channels, ...) tensor, got {shapes}")
    if not (student.is_floating_point() and teacher.is_floating_point()):
        raise ValueError(f"expected floating-point tensors, got {student.dtype} and {teacher.dtype}")
    return at_least_float32(student), at_least_float32(teacher)


def pooled(feature: Tensor) -> Tensor:
    """Return the mean of a map (B, C, ...) over its positions; vectors (B, C) stay."""
    return feature if feature.ndim == 2 else feature.flatten(2).mean(2)


def check_whole(reduction: str) -> None:
    """Raise ValueError unless the reduction is one of `over_examples`."""
    if reduction not in get_args(Whole):
        raise ValueError(f"reduction must be 'sum' or 'mean', got {reduction!r}")


def over_examples(error: Tensor, reduction: Whole, *, dim: int = 1, mask: Tensor | None = None) -> Tensor:
    """Sum or average over channels and positions, those that are valid, and average over the batch.

    Args:
        error: one value for each channel and position.
        reduction: "sum" for papers that write ‖·‖² over all of a feature.
        dim: the channel axis.
        mask: bool or 0 and 1, one for each position.
    """
    if mask is None:
        return error.mean() if reduction == "mean" else error.sum() / len(error)
    where = valid(mask, error.sum(dim).shape, error.device)
    total = torch.where(where.unsqueeze(dim), error, error.new_zeros(())).sum()
    return total / (len(error) if reduction == "sum" else (where.sum() * error.shape[dim]).clamp(min=1))


def for_each_channel(values: Tensor, feature: Tensor, dim: int) -> Tensor:
    """Reshape (C,) to be broadcast along the channel axis of a feature, in its dtype."""
    shape = [1] * feature.ndim
    shape[dim] = -1
    if values.shape != (feature.shape[dim],):
        raise ValueError(
            f"there must be one value for each of the {feature.shape[dim]} channels on axis {dim} of "
            f"{tuple(feature.shape)}, got shape {tuple(values.shape)}"
        )
    return values.to(feature.dtype).reshape(shape)
