"""The command `kdvideo extract`: the optical flow of a whole data set."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from kdvideo._escaping import printable
from kdvideo.cli.parsing import FAILED, SUCCESS, Commands, Parser, new_command, resumable

if TYPE_CHECKING:
    from kdvideo.flow import FlowEstimator

# Names and not the objects: importing kdvideo.flow for them would slow every command down.
PRESETS = ("default", "fast", "opencv")
CODECS = {"lossless": "LOSSLESS", "near-lossless": "NEAR_LOSSLESS", "raw": "UNCOMPRESSED"}


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = new_command(
        commands,
        "extract",
        run,
        summary="compute the optical flow of all clips of a folder or list",
        details="Compute the flow of all clips. However it was stopped, the same command continues; several machines "
        "may run it on one list and folder. Exit status: 0 all clips done, 1 some failed, 2 wrong usage, 3 stopped by "
        "the disk or a device.",
        example="kdvideo extract clips/train flow/train --fps 25 --device cuda",
    )
    _add_settings(parser)
    _add_resources(parser)


def _add_settings(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "videos",
        metavar="VIDEOS",
        type=Path,
        help="folder of videos, csv of path,label[,start,end], Kinetics list, or one video",
    )
    add("out", metavar="OUT", type=Path, help="folder of the flow, a kdvideo.flow.FlowStore")
    add("--root", type=Path, metavar="DIR", help="what paths in the csv are relative to (default: its folder)")
    add("--fps", type=float, default=25.0, help="frames per second (default 25)")
    add("--short-side", type=int, default=256, metavar="PIXELS", help="of the frames (default 256)")
    add("--bound", type=float, default=20.0, metavar="PIXELS", help="flow is truncated to it (default 20)")
    add("--estimator", choices=["tvl1", "dis"], default="tvl1", help="what computes the flow (default tvl1)")
    add("--preset", choices=PRESETS, default="default", help="settings of TV-L1")
    add("--codec", choices=list(CODECS), default="lossless", help="how flow is stored (default lossless)")


def _add_resources(parser: Parser) -> None:
    add = parser.add_argument
    add("--backend", default="auto", help="of TV-L1, see kdvideo.flow.tvl1 (default auto)")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="where flow is computed; cuda: all GPUs (default cpu)")
    add("--workers", type=int, metavar="N", help="processes; 0: none (default: one per core, or two per GPU)")
    add("--deadline", type=float, metavar="SECONDS", help="a clip that takes longer fails (default: no limit)")
    add("--retry-failed", action="store_true", help="try clips again that failed before")


@resumable
def run(options: argparse.Namespace) -> int:
    """Extract the flow and print the counts and the reasons of failures."""
    from kdvideo import extraction, flow

    if options.out.resolve() == options.videos.resolve():
        raise ValueError("OUT must be another folder than VIDEOS")
    clips = extraction.clips_of(options.videos, root=options.root, leave_out=options.out)
    codec: flow.FlowCodec = getattr(flow, CODECS[options.codec])
    store = flow.FlowStore(
        options.out, bound=options.bound, estimator=_estimator(options), fps=options.fps, codec=codec
    )
    devices = _devices(options.device)
    per_device = len(os.sched_getaffinity(0)) if options.device == "cpu" else 2
    result = extraction.extract(
        clips,
        store,
        short_side=options.short_side,
        workers=per_device * len(devices) if options.workers is None else options.workers,
        devices=devices,
        deadline=options.deadline,
        retry_failed=options.retry_failed,
        progress=True,
    )
    print(printable(result, keep="\n"))
    return FAILED if result.failed else SUCCESS


def _estimator(options: argparse.Namespace) -> FlowEstimator:
    from kdvideo import flow

    if options.estimator == "dis":
        return flow.DISEstimator()
    return flow.TVL1Estimator(flow.PRESETS[options.preset], backend=options.backend)


def _devices(device: str) -> list[str]:
    import torch

    if device == "cpu":
        return ["cpu"]
    if not torch.cuda.is_available():
        raise ValueError("--device cuda needs a GPU, but torch sees none: use --device cpu")
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
