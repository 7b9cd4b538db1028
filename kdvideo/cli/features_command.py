"""The command `kdvideo features`: the features of whole videos, window by window."""

from __future__ import annotations

import argparse

from kdvideo.cli.clips import clip_command, open_clips, report, running
from kdvideo.cli.parsing import Commands, at_least_one


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = clip_command(
        commands,
        "features",
        run,
        summary="write the features of whole videos, window by window",
        details="Write one file for each video: .npy, windows x channels, or .safetensors where several layers are "
        "named.",
        example="kdvideo features videos features --weights rgb.safetensors --flow-weights flow.safetensors",
        sampled=False,
    )
    add = parser.add_argument
    add("--weights", required=True, metavar="FILE", help="weights of any layout that kdvideo reads, on RGB or flow")
    add("--flow-weights", metavar="FILE", help="of a network on flow, whose features follow along the channels")
    add("--layers", nargs="+", default=[], metavar="LAYER", help="as kdvideo describe names them (default: pooled)")
    add("--window", type=at_least_one, metavar="FRAMES", help="of a clip (default: as the network was trained)")
    add("--stride", type=at_least_one, default=8, metavar="FRAMES", help="from window to window (default 8)")
    add("--views", type=int, choices=(1, 10), default=1, help="crops whose mean is taken: center, or ten (default 1)")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="where networks and flow run; cuda: all GPUs")


def run(options: argparse.Namespace) -> int:
    """Extract the features and print the counts and the reasons of failures."""
    from kdvideo import extraction

    found = extraction.extract_features(
        open_clips(options),
        options.out,
        options.weights,
        flow_weights=options.flow_weights,
        layers=options.layers,
        window=options.window,
        stride=options.stride,
        ten_crop=options.views == 10,
        **running(options, options.device),
    )
    return report(found)
