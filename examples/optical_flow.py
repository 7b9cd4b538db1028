"""Compute the optical flow of a video and draw it.

TV-L1 gives for every pixel of frame t where it is in frame t+1, in pixels: u to the right, v downwards.
In the picture hue is direction, saturation is speed, white is rest.

    python examples/optical_flow.py              # a synthetic video of a turning shape
    python examples/optical_flow.py clip.mp4     # your own
"""

import argparse
import sys

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", nargs="?", help="a video file (default: a turning shape is drawn)")
    options = parser.parse_args()

import torch
from PIL import Image
from torch import Tensor

from kdvideo import data, flow
from kdvideo.data import synthetic

PICTURE = "optical_flow.png"
COLUMNS = 6


def read(clip: str | None) -> Tensor:
    """Read up to 3 seconds of a video, uint8 (T, 3, H, W), or draw one."""
    if clip is None:
        return synthetic.render("spin", seed=0, size=96, frames=25)
    try:
        return data.read_frames(clip, end=3.0, fps=10.0, short_side=128)
    except data.ClipError as error:
        sys.exit(f"optical_flow.py: {error}")


def side_by_side(pictures: Tensor) -> Tensor:
    """Lay out pictures (T, 3, H, W) in a row, (3, H, T*W)."""
    return pictures.permute(1, 2, 0, 3).flatten(2)


def main(clip: str | None) -> None:
    """Print what the flow is like and write its picture."""
    frames = read(clip)
    if len(frames) < 2:
        sys.exit("optical_flow.py: flow needs at least 2 frames, the video has one")
    motion = flow.tvl1(frames)  # (T-1, 2, H, W), in pixels
    speed = motion.norm(dim=1)
    print(f"{len(frames)} frames of {frames.shape[3]}x{frames.shape[2]} pixels -> flow {tuple(motion.shape)}")
    print(f"speed in pixels per frame: mean {speed.mean():.2f}, fastest {speed.max():.2f}")

    shown = torch.linspace(0, len(motion) - 1, min(COLUMNS, len(motion))).round().long()
    rows = [side_by_side(frames[shown]), side_by_side(flow.to_image(motion[shown]))]
    Image.fromarray(torch.cat(rows, dim=1).permute(1, 2, 0).numpy()).save(PICTURE)
    print(f"wrote {PICTURE}: frames above, their flow below")

    # What a network takes: at most 20 pixels a frame, scaled to [-1, 1].
    network_input = flow.to_unit(motion, bound=20.0)
    print(f"as a network's input: values from {network_input.min():.3f} to {network_input.max():.3f}")


if __name__ == "__main__":
    main(options.clip)
