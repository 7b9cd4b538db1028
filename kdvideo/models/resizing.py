"""Networks for other inputs and other classes: a new first convolution or a new classifier, the rest as it was."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from kdvideo._numbers import check_count
from kdvideo.models.network import Network, check_network
from kdvideo.models.stem import average_filters

AnyNetwork = TypeVar("AnyNetwork", bound=Network)


def resize_stem(model: AnyNetwork, in_channels: int) -> AnyNetwork:
    """Copy a network for `in_channels` channels; from RGB to flow (cross-modality initialization).

    W'_oc = 1/C Σ_i W_oi for c = 1 … C'.

    Each new channel of the first convolution (of both, in SlowFast) gets the mean over the old ones; everything else
    is bit-equal. What is preserved: a clip whose channels are all g gave what (C / C') g gives now, for
    instance 1.5 g from RGB to flow. `config` and `input_spec` follow, as if it had been built so. A constructor that
    is asked for other channels cycles the filters instead: see `kdvideo.models.stem.cycle_filters`.

    Args:
        model: any `Network` of kdvideo.models; left as it is.
        in_channels: C', 3 for RGB, 2 for optical flow.

    Returns:
        The copy, in the mode and on the device of `model`.

    Raises:
        ValueError: `model` is no `Network`, C' is not an integer >= 1, or the network no longer fits its configuration.

    Examples:
        >>> from kdvideo.models import s3dg
        >>> rgb = s3dg(5, depth_multiplier=0.125, min_depth=8).eval()
        >>> flow, gray = resize_stem(rgb, 2), torch.rand(1, 1, 8, 32, 32)
        >>> torch.allclose(flow(1.5 * gray.expand(-1, 2, -1, -1, -1)), rgb(gray.expand(-1, 3, -1, -1, -1)), atol=1e-5)
        True

    Source:
        Wang et al.: Temporal Segment Networks, ECCV 2016, arXiv 1608.00859.
    """
    check_network(model, f"give others a new first convolution, nn.Conv3d({in_channels}, ...)")
    check_count(in_channels=in_channels)
    resized, stems = _with_fresh_layers(model, "in_channels", in_channels)
    for path, new in stems.items():
        old = model.get_submodule(path)
        weight = old.get_parameter("weight")
        if weight.ndim < 4 or weight.shape[1] != model.in_channels:
            raise ValueError(
                f"the weight of {path} must be (O, {model.in_channels}, t, h, w), got {tuple(weight.shape)}"
            )
        with torch.no_grad():
            new.get_parameter("weight").copy_(average_filters(weight, in_channels))
            if getattr(old, "bias", None) is not None:
                new.get_parameter("bias").copy_(old.get_parameter("bias"))
    return resized


def resize_head(model: AnyNetwork, num_classes: int, *, keep: Sequence[int] | None = None) -> AnyNetwork:
    """Copy a network with a fresh classifier of K outputs, as its builder starts it; the rest is bit-equal.

    The start is the same at every call: the caller's random numbers are neither used nor moved. `classes` follow.

    Args:
        model: any `Network` of kdvideo.models; left as it is.
        num_classes: K.
        keep: the old class whose weights each new class takes over, in the new order; K distinct indices. By default
            none is kept.

    Returns:
        The copy, in the mode and on the device of `model`.

    Raises:
        ValueError: `model` is no `Network`, K is not an integer >= 1, `keep` is not K distinct old classes, or the
            network no longer fits its configuration.

    Examples:
        >>> from kdvideo.models import s3dg
        >>> model = s3dg(5, depth_multiplier=0.125, min_depth=8).eval()
        >>> clip = torch.rand(1, 3, 8, 32, 32)
        >>> torch.allclose(resize_head(model, 2, keep=[4, 0])(clip), model(clip)[:, [4, 0]])
        True

    Source:
        The usual transfer to another data set, as in Carreira, Zisserman, CVPR 2017, arXiv 1705.07750.
    """
    check_network(model, f"give others a new last layer, nn.Linear(..., {num_classes})")
    check_count(num_classes=num_classes)
    if keep is not None:
        _check_kept(keep, num_classes, model.num_classes)
    resized, heads = _with_fresh_layers(model, "num_classes", num_classes)
    resized.classes = tuple(model.classes[index] for index in keep or () if model.classes)
    for path, head in heads.items() if keep is not None else ():
        with torch.no_grad():
            for name, parameter in head.named_parameters():
                parameter.copy_(model.get_submodule(path).get_parameter(name)[list(keep or ())])
    return resized


def _with_fresh_layers(model: AnyNetwork, key: str, value: int) -> tuple[AnyNetwork, dict[str, nn.Module]]:
    """Return a copy built with another `config[key]` where that matters, and those fresh layers by path."""
    fresh = model.rebuild(**{key: value})
    paths = _resized_layers(model, model.rebuild(**{key: value + 1}) if model.config[key] == value else fresh)
    resized = copy.deepcopy(model)
    for path in paths:
        layer, old = fresh.get_submodule(path), model.get_submodule(path)
        layer.to(old.get_parameter("weight")).train(old.training)
        for name, parameter in layer.named_parameters():
            parameter.requires_grad_(old.get_parameter(name).requires_grad)
        resized.set_submodule(path, layer)
    resized.config = copy.deepcopy(fresh.config)
    if key == "in_channels" and model.in_channels != value:
        replaced = {name: getattr(fresh.input_spec, name) for name in ("value_range", "mean", "std")}
        resized.input_spec = replace(model.input_spec, **replaced)
    return resized, {path: resized.get_submodule(path) for path in paths}


def _resized_layers(model: Network, other: Network) -> list[str]:
    """Return the paths of the layers whose tensors have another shape in `other`."""
    mine, theirs = model.state_dict(), other.state_dict()
    unshared = sorted(set(mine) ^ set(theirs))
    if unshared:
        raise ValueError(f"the network no longer fits its configuration: {unshared[:5]}; resize before changing it")
    return list(dict.fromkeys(key.rpartition(".")[0] for key in mine if mine[key].shape != theirs[key].shape))


def _check_kept(keep: Sequence[int], num_classes: int, old: int) -> None:
    if len(keep) != num_classes:
        raise ValueError(f"keep must have num_classes={num_classes} classes, got {len(keep)}")
    wrong = [index for index in keep if type(index) is not int or not 0 <= index < old]
    if wrong or len(set(keep)) != len(keep):
        raise ValueError(f"keep must be distinct integers from 0 to {old - 1}, got {list(keep)}")
