"""The command `kdvideo export`: a network as a program for machines without kdvideo."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdvideo.cli.parsing import SUCCESS, Commands, complain, new_command


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = new_command(
        commands,
        "export",
        run,
        summary="write a network as a program, .pt2, ONNX or .pte, that runs without kdvideo",
        details="Write the network of a file of weights as a program of torch.export (OUT ends in .pt2), ONNX (.onnx) "
        "or ExecuTorch (.pte), with its normalization and class names inside: it takes frames as they are decoded. The "
        "program is run and compared with the network before OUT appears. Exit status: 0, or 1 where it failed.",
        example="kdvideo export student.safetensors student.onnx",
    )
    parser.add_argument("weights", metavar="WEIGHTS", help="a file of weights that kdvideo reads")
    parser.add_argument("out", metavar="OUT", type=Path, help="the file to write, .pt2, .onnx or .pte")
    parser.add_argument("--int8", action="store_true", help="store weights as int8 (torchao): smaller, not faster")
    parser.add_argument("--force", action="store_true", help="replace OUT")


def run(options: argparse.Namespace) -> int:
    """Export the network and print what was written."""
    from kdvideo.models import checkpoints, export

    try:
        if options.out.exists() and not options.force:
            raise FileExistsError(f"{options.out}: exists: --force replaces it")
        network, info = checkpoints.load(options.weights)
        print(export(network, options.out, recorded=info["input"], int8=options.int8))
    except ModuleNotFoundError:
        raise
    except (ValueError, OSError, ImportError) as error:
        return complain(error)
    return SUCCESS
