"""Conversion of weights, from any file that `checkpoints.load` reads, into kdvideo's own."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from kdvideo._escaping import printable
from kdvideo.models.adapters import pytorchvideo
from kdvideo.models.checkpoints import load, save
from kdvideo.models.checkpoints.weight_files import read_weights
from kdvideo.models.network import Network

HEAD = re.compile(r"(?:^|\.)(?:blocks\.(\d+)|head)\.proj\.weight$")


def convert(
    source: str | Path,
    target: str | Path,
    *,
    classes: list[str] | None = None,
    input_range: tuple[float, float] | None = None,
    backbone: str | None = None,
    force: bool = False,
) -> str:
    """Write the weights of `source` as kdvideo's own file, and describe them.

    Args:
        source: whatever `checkpoints.load` reads.
        target: the file to write.
        classes: names in the order of the logits; by default those of the file, else "0" to "K-1".
        input_range: the lowest and highest value that the weights are meant to see, where you know better.
        backbone: the key of `models.BACKBONES` whose weights a pytorchvideo file holds.
        force: replace `target`.

    Returns:
        Lines of format, network, classes, channels, input and file, to print.

    Raises:
        FileExistsError: `target` exists, and `force` is not set.
        FileNotFoundError: as `checkpoints.load`.
        ValueError: as `checkpoints.load` and `checkpoints.save`.

    Examples:
        >>> import tempfile, torch
        >>> from kdvideo import models
        >>> folder = Path(tempfile.mkdtemp())
        >>> torch.save(models.i3d(2, depth_multiplier=0.125, min_depth=8).state_dict(), folder / "i3d.pt")
        >>> print(convert(folder / "i3d.pt", folder / "i3d.safetensors", classes=["run", "jump"]).splitlines()[1])
        network   i3d, 214,734 parameters
    """
    if Path(target).exists() and not force:
        raise FileExistsError(f"{target}: exists: set force to replace it")
    network, info = load(source, backbone_for(backbone, source) if backbone else None, input_range=input_range)
    names = classes or info["classes"] or [str(k) for k in range(network.num_classes)]
    save(network, target, classes=names, input_spec=info["input"])
    weights = sum(parameter.numel() for parameter in network.parameters())
    lines = {
        "format": info["format"],
        "network": f"{network.config.get('name', network.config['architecture'])}, {weights:,} parameters",
        "classes": network.num_classes,
        "channels": network.in_channels,
        "input": ", ".join(f"{key} {printable(value)}" for key, value in info["input"].items()),
        "written": target,
    }
    return "\n".join(f"{key:<9} {value}" for key, value in lines.items())


def backbone_for(name: str, source: str | Path) -> Network:
    """Build the backbone of pytorchvideo that a file of weights belongs to, with as many classes as the weights have.

    Args:
        name: a key of `models.BACKBONES`.
        source: the file of weights.
    """
    tensors, _ = read_weights(Path(source))
    heads = {int(match[1] or sys.maxsize): key for key in tensors if (match := HEAD.search(key))}
    classes = tensors[heads[max(heads)]].shape[:1] if heads else ()
    if any(tensors[key].numel() == 0 for key in heads.values()):  # of any number of classes, for no bytes
        raise ValueError(f"{source}: the classifier must have weights, got none")
    return pytorchvideo(name, **({"num_classes": classes[0]} if classes else {}))
