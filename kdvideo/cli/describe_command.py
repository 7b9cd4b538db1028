"""The command `kdvideo describe`: what a file of weights holds, or a network is, and its layers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdvideo.cli.parsing import SUCCESS, Commands, complain, new_command

if TYPE_CHECKING:
    from kdvideo.models import Network

KEYS = ("config", "classes", "input", "format")


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = new_command(
        commands,
        "describe",
        run,
        summary="print what a file of weights holds and which layers one can tap",
        details="Print format, classes, input, size and cost of a file of weights or of a network, and the layers that "
        "kdvideo.Teacher and kdvideo.Student can tap. NETWORK is s3dg, i3d, s3d, a backbone of pytorchvideo such as "
        "x3d_s, torchvision:NAME or timm:NAME.",
        example="kdvideo describe student.safetensors",
    )
    parser.add_argument("source", metavar="FILE|NETWORK", help="a file of weights that kdvideo reads, or a network")
    parser.add_argument("--name", metavar="BACKBONE", help="of a pytorchvideo file, e.g. x3d_s")
    parser.add_argument("--all", action="store_true", help="every module, not only the layers that have a name")


def run(options: argparse.Namespace) -> int:
    """Print the description and the table of layers."""
    try:
        network, info = _find(options.source, options.name)
        lines = describe(network, info, every_module=options.all)
    except (ValueError, OSError) as error:
        return complain(error)
    print("\n".join(lines))
    return SUCCESS


def _find(source: str, backbone: str | None) -> tuple[Network, dict[str, Any]]:
    from kdvideo import models
    from kdvideo.models.checkpoints.conversion import backbone_for

    library, _, name = source.rpartition(":")
    named: dict[str, Callable[..., Network]] = {"s3dg": models.s3dg, "i3d": models.i3d, "s3d": models.s3d}
    if Path(source).exists() or Path(f"{source}.index").exists():
        return models.checkpoints.load(source, backbone_for(backbone, source) if backbone else None)
    if source in named:
        return named[source](), {}
    if source in models.BACKBONES:
        return models.pytorchvideo(source, num_classes=models.BACKBONES[source].num_classes), {}
    if library in ("torchvision", "timm"):
        return (models.torchvision if library == "torchvision" else models.timm)(name), {}
    known = f"{', '.join(named)}, torchvision:NAME, timm:NAME, {', '.join(models.BACKBONES)}"
    raise FileNotFoundError(f"{source}: no such file or network; networks are {known}")


def describe(network: Network, info: dict[str, Any], *, every_module: bool = False) -> list[str]:
    """Return the lines that describe a network and what its file says; nothing is computed.

    Args:
        network: moved to the meta device.
        info: what `kdvideo.models.checkpoints.load` returned beside it; empty for a new network.
        every_module: list all modules, not only the layers that have a name.
    """
    import torch

    from kdvideo import models
    from kdvideo._describe import layer_rows

    network, spec = network.to("meta"), network.input_spec
    clip = torch.empty(1, network.in_channels, spec.frames, spec.size, spec.size, device="meta")
    # The detectors of pytorchvideo are called on boxes too.
    boxes = (torch.empty(1, 5, device="meta"),) if type(network).__name__ == "BoxAdapter" else ()
    cost = models.summary(network, *boxes)
    seen = info.get("input") or asdict(spec)
    facts = {
        "format": info.get("format", "a network with fresh weights"),
        "network": network.config.get("name", network.config["architecture"]),
        "settings": ", ".join(f"{key} {value}" for key, value in network.config.items() if key != "architecture"),
        "classes": f"{network.num_classes}{_some(info.get('classes') or network.classes)}",
        "input": ", ".join(f"{key} {value}" for key, value in seen.items()),
        "clip": "x".join(map(str, clip.shape[1:])) + " (channels, frames, height, width)",
        "parameters": f"{cost['parameters']:,}",
        "cost": f"{cost['multiply_adds']:,} multiply-adds a clip",
        **{key: value for key, value in info.items() if key not in KEYS},
    }
    rows = {path: (kind, shape) for path, kind, shape in layer_rows(network, clip, *boxes)}
    names = {path: name for name, path in network.layer_names.items()}
    table = [("layer", "path", "type", "output")]
    table += [(names.get(path, ""), path, *row) for path, row in rows.items() if every_module or path in names]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return [*(f"{key:<10}  {value}" for key, value in facts.items()), "", *lines]


def _some(classes: Any) -> str:
    return f" ({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''})" if classes else ""
