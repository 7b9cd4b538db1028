"""Conversion of weights, from any file that `checkpoints.load` reads, into kdvideo's own."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from pathlib import Path

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
    network, info = load(source, _backbone(backbone, source) if backbone else None, input_range=input_range)
    names = classes or info["classes"] or [str(k) for k in range(network.num_classes)]
    save(network, target, classes=names, input_spec=info["input"])
    weights = sum(parameter.numel() for parameter in network.parameters())
    lines = {
        "format": info["format"],
        "network": f"{network.config.get('name', network.config['architecture'])}, {weights:,} parameters",
        "classes": network.num_classes,
        "channels": network.in_channels,
        "input": ", ".join(f"{key} {value}" for key, value in info["input"].items()),
        "written": target,
    }
    return "\n".join(f"{key:<9} {value}" for key, value in lines.items())


def _backbone(name: str, source: str | Path) -> Network:
    """Build the backbone with as many classes as the weights have."""
    tensors, _ = read_weights(Path(source))
    heads = {int(match[1] or sys.maxsize): key for key in tensors if (match := HEAD.search(key))}
    return pytorchvideo(name, **({"num_classes": len(tensors[heads[max(heads)]])} if heads else {}))


def main(arguments: list[str] | None = None) -> None:
    """Command line; errors are one line and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m kdvideo.models.checkpoints.conversion", description=__doc__)
    parser.add_argument("source", metavar="SRC", help="a file or folder of weights, or a TensorFlow prefix")
    parser.add_argument("target", metavar="DST.safetensors", help="the file to write")
    parser.add_argument("--classes", metavar="FILE", help="class names, one a line, in the order of the logits")
    parser.add_argument("--input-range", nargs=2, type=float, metavar=("LOW", "HIGH"), help="what the weights see")
    parser.add_argument("--name", metavar="BACKBONE", help="of a pytorchvideo file, e.g. x3d_s")
    parser.add_argument("--force", action="store_true", help="replace DST")
    options = parser.parse_args(arguments)
    try:
        names = Path(options.classes).read_text(encoding="utf-8").splitlines() if options.classes else None
        found = convert(
            options.source,
            options.target,
            classes=[name.strip() for name in names if name.strip()] if names else None,
            input_range=tuple(options.input_range) if options.input_range else None,
            backbone=options.name,
            force=options.force,
        )
    except (ValueError, OSError) as error:
        print(f"error: {textwrap.shorten(str(error), 500)}", file=sys.stderr)
        sys.exit(1)
    print(found)


if __name__ == "__main__":
    main()
