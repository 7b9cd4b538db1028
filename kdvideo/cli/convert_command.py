"""The command `kdvideo convert`: any file of weights as kdvideo's own."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdvideo._escaping import printable
from kdvideo.cli.parsing import SUCCESS, Commands, complain, new_command
from kdvideo.files import read_limited


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = new_command(
        commands,
        "convert",
        run,
        summary="write any file of weights as kdvideo's own",
        details="Read weights that others published (TF-slim, DeepMind's I3D, pytorch-i3d, torchvision's and "
        "kylemin's S3D, pytorchvideo) and write them as one safetensors file that says how to build and feed the "
        "network. No code in a file is run. Exit status: 0, or 1 where it failed.",
        example="kdvideo convert model.ckpt s3dg.safetensors --classes label_map.txt",
    )
    parser.add_argument("source", metavar="SRC", help="a file or folder of weights, or a TensorFlow prefix")
    parser.add_argument("target", metavar="DST.safetensors", help="the file to write")
    parser.add_argument("--classes", metavar="FILE", help="class names, one a line, in the order of the logits")
    parser.add_argument("--input-range", nargs=2, type=float, metavar=("LOW", "HIGH"), help="what the weights see")
    parser.add_argument("--name", metavar="BACKBONE", help="of a pytorchvideo file, e.g. x3d_s")
    parser.add_argument("--force", action="store_true", help="replace DST")


def run(options: argparse.Namespace) -> int:
    """Convert the file and print what it holds."""
    from kdvideo.models.checkpoints.conversion import convert

    try:
        lines = read_limited(Path(options.classes)).decode().splitlines() if options.classes else []
        found = convert(
            options.source,
            options.target,
            classes=[line.strip() for line in lines if line.strip()] or None,
            input_range=tuple(options.input_range) if options.input_range else None,
            backbone=options.name,
            force=options.force,
        )
    except (ValueError, OSError) as error:
        return complain(error)
    print(printable(found, keep="\n"))
    return SUCCESS
