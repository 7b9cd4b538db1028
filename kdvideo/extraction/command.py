"""The commands `python -m kdvideo.flow extract` and `verify`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from kdvideo import flow
from kdvideo.extraction.extracting import extract
from kdvideo.extraction.clip_list import clips_of
from kdvideo.extraction.verifying import verify
from kdvideo.extraction.workers import ExtractionError

CODECS: dict[str, flow.FlowCodec] = {"lossless": flow.LOSSLESS, "near-lossless": flow.NEAR_LOSSLESS, "raw": flow.RAW}
DONE, SOME_FAILED, USAGE, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status: 0 all is well, 1 a clip failed or a problem was found, 2 bad usage, 3 stopped
    by the disk or a device, 130 by Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except ExtractionError as error:
        print(f"stopped: {error}. What is done is kept; run the same command again to go on.", file=sys.stderr)
        return STOPPED
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("stopped by Ctrl-C. What is done is kept; run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    return status


def _extract(options: argparse.Namespace) -> int:
    if options.out.resolve() == options.videos.resolve():
        raise ValueError("OUT must be another folder than VIDEOS")
    clips = clips_of(options.videos, root=options.root, leave_out=options.out)
    store = flow.FlowStore(
        options.out,
        bound=options.bound,
        estimator=_estimator(options),
        fps=options.fps,
        codec=CODECS[options.codec],
    )
    devices = _devices(options.device)
    summary = extract(
        clips,
        store,
        short_side=options.short_side,
        workers=_workers(options, len(devices)),
        devices=devices,
        deadline=options.deadline,
        retry_failed=options.retry_failed,
        progress=True,
    )
    print(summary)
    return SOME_FAILED if summary.failed else DONE


def _estimator(options: argparse.Namespace) -> flow.FlowEstimator:
    if options.estimator == "dis":
        return flow.DISEstimator()
    return flow.TVL1Estimator(flow.PRESETS[options.preset], backend=options.backend)


def _devices(device: str) -> list[str]:
    if device == "cpu":
        return ["cpu"]
    if not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no GPU here")
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())]


def _workers(options: argparse.Namespace, devices: int) -> int:
    if options.workers is not None:
        return int(options.workers)
    return len(os.sched_getaffinity(0)) if options.device == "cpu" else 2 * devices


def _verify(options: argparse.Namespace) -> int:
    problems = verify(options.out, progress=sys.stderr.isatty())
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems" if problems else "no problem", file=sys.stderr)
    return SOME_FAILED if problems else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kdvideo.flow", description="Optical flow of whole data sets.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    text = (
        "Compute the flow of all clips. Stopped in any way, the same command goes on; several machines may run it on "
        "one list and folder. Exit status: 0 all clips done, 1 some failed, 2 bad usage, 3 stopped."
    )
    one = commands.add_parser("extract", help="compute the flow of all clips of a folder or list", description=text)
    one.set_defaults(run=_extract)
    _add_settings(one)
    _add_resources(one)
    text = "Check all flow in a folder. Exit status: 0 all is whole and done, 1 there are problems, one per line."
    two = commands.add_parser("verify", help="check the flow in a folder", description=text)
    two.set_defaults(run=_verify)
    two.add_argument("out", metavar="OUT", type=Path, help="a folder of flow")
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("videos", metavar="VIDEOS", type=Path, help="folder of videos, csv of path,label[,start,end], or one video")
    add("out", metavar="OUT", type=Path, help="folder of the flow, a kdvideo.flow.FlowStore")
    add("--root", type=Path, metavar="DIR", help="what paths in the csv are relative to (default: its folder)")
    add("--fps", type=float, default=25.0, help="frames per second (default 25)")
    add("--short-side", type=int, default=256, metavar="PIXELS", help="of the frames (default 256)")
    add("--bound", type=float, default=20.0, metavar="PIXELS", help="flow is truncated to it (default 20)")
    add("--estimator", choices=["tvl1", "dis"], default="tvl1", help="what computes the flow (default tvl1)")
    add("--preset", choices=sorted(flow.PRESETS), default="default", help="settings of TV-L1")
    add("--codec", choices=list(CODECS), default="lossless", help="how flow is stored (default lossless)")


def _add_resources(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--backend", default="auto", help="of TV-L1, see kdvideo.flow.tvl1 (default auto)")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="where flow is computed; cuda: all GPUs (default cpu)")
    add("--workers", type=int, metavar="N", help="processes; 0: none (default: one per core, or two per GPU)")
    add("--deadline", type=float, metavar="SECONDS", help="a clip that takes longer fails (default: no limit)")
    add("--retry-failed", action="store_true", help="try clips again that failed before")
