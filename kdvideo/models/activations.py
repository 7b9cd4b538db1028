"""Where and when in a clip a network sees a class, and a picture of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdvideo._hints import kind
from kdvideo.features import FeatureExtractor
from kdvideo.models.network import Network

FEWEST = 16  # places in a frame; the 2 x 2 of a small clip's last layer mark nothing
ORANGE = (230, 159, 0)  # told from gray by all kinds of color vision


def class_activation(network: Network, clip: Tensor, classes: Tensor, *, layer: str | None = None) -> Tensor:
    """Compute how much every place of a layer adds to the logit of a class: Σ_c A · ∂logit/∂A, (B, T', H', W').

    On the last layer before a mean and a linear classifier this is the class activation map, the features times the
    weights of the class, and its sum is the logit without the bias. On earlier layers it is finer, and a
    linearization.

    Args:
        network: its mode stays as it is; evaluation is what one wants.
        clip: float (B, C, T, H, W), as the network is fed.
        classes: (B,) the class of each clip.
        layer: a name or path of the network whose output is (B, C', T', H', W'); None: the last named one with at least
            16 places in a frame, which for S3D-G is the last of all from clips of 128 pixels on.

    Returns:
        float (B, T', H', W'), in units of the logit; negative where a place lowers the logit.

    Raises:
        ValueError: the layer has no places, or none of the network's named layers has so many, or `classes` are not
            one per clip in 0 … K - 1.

    Examples:
        >>> from kdvideo.models import s3dg
        >>> network = s3dg(5, depth_multiplier=0.125).eval()
        >>> class_activation(network, torch.randn(1, 3, 8, 64, 64), torch.tensor([2])).shape
        torch.Size([1, 2, 4, 4])

    Source:
        Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016; for other layers Draelos and
        Carin, "Use HiResCAM instead of Grad-CAM", 2020, arXiv 2011.08891.
    """
    with torch.enable_grad():
        tapped = FeatureExtractor(network, [layer] if layer else list(network.layer_names))
        try:
            found = tapped(clip.detach().clone().requires_grad_())
        finally:
            tapped.remove()
        fewest = 1 if layer else FEWEST
        maps = [one for one in found.features.values() if one.ndim == 5 and one.shape[3:].numel() >= fewest]
        if not maps:
            shapes = {name: tuple(one.shape) for name, one in found.features.items()}
            raise ValueError(
                f"a layer must give (B, C, T, H, W) with {fewest} places or more, got {shapes}: name another"
            )
        _check_classes(classes, found.logits)
        logit = found.logits.gather(1, classes.to(found.logits.device, torch.int64)[:, None]).sum()
        (slope,) = torch.autograd.grad(logit, maps[-1])
        return (maps[-1] * slope).sum(1).detach()


def highlight(frames: Tensor, activation: Tensor, *, most: float | None = None) -> Tensor:
    """Color gray frames where an activation is; orange is `most`.

    Args:
        frames: of one clip, uint8 (T, 3, H, W), RGB.
        activation: (T', H', W') of `class_activation`, stretched over the frames; below 0 nothing is colored.
        most: what is fully colored, for one scale over several pictures; None: the largest activation of this clip.

    Returns:
        uint8 (T, 3, H, W), RGB.

    Raises:
        ValueError: `frames` is not uint8 (T, 3, H, W), `activation` not (T', H', W'), or `most` not positive.

    Examples:
        >>> frames = torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)
        >>> highlight(frames, torch.zeros(1, 2, 2)).unique().tolist()
        [100]
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or frames.dtype != torch.uint8 or activation.ndim != 3:
        raise ValueError(
            "frames must be uint8 (T, 3, H, W) and activation (T', H', W'), got "
            f"{tuple(frames.shape)} of {frames.dtype} and {tuple(activation.shape)}: frames of one clip, as decoded"
        )
    if most is not None and not 0 < most < float("inf"):
        raise ValueError(f"most must be positive and finite, got {most}: None takes the largest activation")
    size = (len(frames), *frames.shape[2:])
    heat = F.interpolate(activation[None, None].to(frames.device, torch.float32), size=size, mode="trilinear")[
        0, 0
    ].clamp(min=0)
    share = (heat / (most or float(heat.max()) or 1.0)).clamp(max=1)[:, None] * 0.85  # the frame stays visible
    gray = frames.float().mean(1, keepdim=True)
    colored = gray * (1 - share) + gray.new_tensor(ORANGE).view(1, 3, 1, 1) * share
    return colored.round().to(torch.uint8)


def _check_classes(classes: Tensor, logits: Tensor) -> None:
    if not isinstance(classes, Tensor) or classes.shape != logits.shape[:1] or classes.is_floating_point():
        got = f"{tuple(classes.shape)} of {classes.dtype}" if isinstance(classes, Tensor) else kind(classes)
        raise ValueError(f"classes must be integers, one per clip, ({len(logits)},), got {got}: torch.tensor([...])")
    if not bool(((classes >= 0) & (classes < logits.shape[1])).all()):
        raise ValueError(f"classes must be in 0..{logits.shape[1] - 1}, got {classes.tolist()}")
