"""The arguments of `s3dg`, `i3d` and `s3d`, derived from the shapes of their weights."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from torch import Size

from kdvideo.models.inception.backbone import MIXED, ORDER, module_path, scaled_depth

ShapeOf = Callable[[str], Size | None]  # our state dict key -> shape in our layout
BRANCHES = tuple(f"branch_{unit}" for unit in ("0.conv_0a", "1.conv_0a", "1.conv_0b", "2.conv_0a", "2.conv_0b"))
BRANCHES += ("branch_3.conv_0b",)


def configuration(shape: ShapeOf) -> dict[str, Any]:
    """Return the configuration, for `build`, of the network that weights of these shapes belong to.

    Dropout and the input are not in the shapes and keep their defaults. What is missing counts as absent:
    loading says so afterwards.

    Raises:
        ValueError: the widths are those of no depth multiplier, or the first layer is not a 3-D convolution.
    """
    kernels = {unit: _kernel(shape, unit) for unit in _units()}
    stem, head = kernels["conv_1a"], shape("head.proj.weight")
    if len(stem) != 5:
        raise ValueError(f"the first layer must be a 3-D convolution, got a kernel of shape {tuple(stem)}")
    pairs = {(width, kernels[unit][0]) for unit, width in _units().items() if kernels[unit]}
    multiplier, minimum = depth(pairs)
    common: dict[str, Any] = {
        "num_classes": head[0] if head else 400,
        "in_channels": stem[1],
        "depth_multiplier": multiplier,
        "min_depth": minimum,
    }
    if shape("conv_1a.temporal.conv.weight"):
        return {"architecture": "s3d", **common}
    if kernels["conv_2c.conv"][2:3] == (3,):
        return {"architecture": "i3d", **common, "bn_scale": shape("conv_1a.bn.weight") is not None}
    return {
        "architecture": "s3dg",
        **common,
        "first_temporal_kernel": stem[2],
        "temporal_from": _first(shape, "conv_2c.conv.temporal.weight", "branch_1.conv_0b.temporal.weight"),
        "gates_from": _first(shape, "conv_2c.gate.linear.weight", "branch_0.gate.linear.weight"),
        "non_local": tuple(m for m in MIXED if shape(f"non_local_{m.lower()}.conv_theta.weight")),
    }


def depth(pairs: set[tuple[int, int]]) -> tuple[float, int]:
    """Return the (multiplier, minimum) that make every published width the width found, given such pairs.

    Examples:
        >>> depth({(64, 16), (192, 48), (16, 16)}), depth({(64, 64), (192, 192), (16, 16)})
        ((0.25, 16), (1.0, 16))
    """
    least = min(found for _, found in pairs)
    for minimum in sorted({min(16, least), least}):
        low = max((Fraction(found, width) for width, found in pairs if found > minimum), default=Fraction(0))
        for denominator in range(1, 1001):  # the simplest multiplier first: 1, 1/2, 1/4 are what people choose
            multiplier = max(1, math.ceil(low * denominator)) / denominator
            if all(scaled_depth(w, multiplier=multiplier, minimum=minimum) == found for w, found in pairs):
                return multiplier, minimum
    raise ValueError(f"(published, found) widths must be those of one depth multiplier, got {sorted(pairs)}")


def _units() -> dict[str, int]:
    """Return the published width of every convolution by module path."""
    units = {"conv_1a": 64, "conv_2b": 64, "conv_2c.conv": 192}
    for layer, widths in MIXED.items():
        units.update({f"{module_path(layer)}.{b}": width for b, width in zip(BRANCHES, widths, strict=True)})
    return units


def _kernel(shape: ShapeOf, unit: str) -> Size:
    return shape(f"{unit}.conv.weight") or shape(f"{unit}.spatial.conv.weight") or Size(())


def _first(shape: ShapeOf, key: str, key_in_mixed: str) -> str | None:
    """Return the first layer that has what the keys name."""
    for layer in ORDER[ORDER.index("2C") :]:
        if shape(key if layer == "2C" else f"{module_path(layer)}.{key_in_mixed}"):
            return layer
    return None
