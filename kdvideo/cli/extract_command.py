"""The command `kdvideo extract`: the optical flow of a whole data set."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kdvideo.cli.clips import clip_command, open_clips, report, running
from kdvideo.cli.parsing import Commands

if TYPE_CHECKING:
    from kdvideo.flow import FlowEstimator

# Names and not the objects: importing kdvideo.flow for them would slow every command down.
PRESETS = ("default", "fast", "opencv")
CODECS = {"lossless": "LOSSLESS", "near-lossless": "NEAR_LOSSLESS", "raw": "UNCOMPRESSED"}


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = clip_command(
        commands,
        "extract",
        run,
        summary="compute the optical flow of all clips of a folder or list",
        details="Compute the flow of all clips; OUT is a kdvideo.flow.FlowStore.",
        example="kdvideo extract clips/train flow/train --fps 25 --device cuda",
        rate=_rate,
        rates="frames per second, or native: those of each file (default 25)",
    )
    add = parser.add_argument
    add("--bound", type=float, default=20.0, metavar="PIXELS", help="flow is truncated to it (default 20)")
    add("--estimator", choices=["tvl1", "dis"], default="tvl1", help="what computes the flow (default tvl1)")
    add("--preset", choices=PRESETS, default="default", help="settings of TV-L1")
    add("--codec", choices=list(CODECS), default="lossless", help="how flow is stored (default lossless)")
    add("--backend", default="auto", help="of TV-L1, see kdvideo.flow.tvl1 (default auto)")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="where flow is computed; cuda: all GPUs (default cpu)")


def _rate(text: str) -> float | None:
    return None if text == "native" else float(text)


def run(options: argparse.Namespace) -> int:
    """Extract the flow and print the counts and the reasons of failures."""
    from kdvideo import extraction, flow

    clips = open_clips(options)
    codec: flow.FlowCodec = getattr(flow, CODECS[options.codec])
    estimator = _estimator(options)
    store = flow.FlowStore(options.out, bound=options.bound, estimator=estimator, fps=options.fps, codec=codec)
    return report(extraction.extract(clips, store, short_side=options.short_side, **running(options, options.device)))


def _estimator(options: argparse.Namespace) -> FlowEstimator:
    from kdvideo import flow

    if options.estimator == "dis":
        return flow.DISEstimator()
    return flow.TVL1Estimator(flow.PRESETS[options.preset], backend=options.backend)
