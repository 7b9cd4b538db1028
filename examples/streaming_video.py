"""Name the action in a camera's picture or a video file while it runs: the network sees each frame once.

    python examples/streaming_video.py student.safetensors clip.mp4 --out drawn.mp4   # a file, drawn into another one
    python examples/streaming_video.py student.safetensors /dev/video0 --format v4l2  # a webcam, until Ctrl-C
    python examples/streaming_video.py      # a network that has learned nothing, and a synthetic clip

The weights are of a network from `models.causal`, saved with `models.checkpoints.save`; frames come at the
rate of the source.
"""

import argparse
import sys

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="?")
    parser.add_argument("source", nargs="?")
    parser.add_argument("--format", help="of a device, such as v4l2 or avfoundation")
    parser.add_argument("--out", help="a video to draw the scores into")
    options = parser.parse_args()

from collections.abc import Iterator
from pathlib import Path

import av
import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo import models
from kdvideo.data import synthetic


def demo() -> tuple[str, str]:
    """Write the weights of a small causal network and a clip."""
    torch.manual_seed(0)
    offline = models.s3dg(len(synthetic.CLASSES), depth_multiplier=0.125, min_depth=8)
    network = models.causal(offline, window=16)
    description = {"size": 32, "frames": 16}
    models.checkpoints.save(network, "stream.safetensors", classes=synthetic.CLASSES, input_spec=description)
    Path("stream.mp4").write_bytes(synthetic.encode(synthetic.render("orbit", seed=0, frames=24)))
    return "stream.safetensors", "stream.mp4"


def pictures(source: str, format: str | None) -> Iterator[Tensor]:
    """Yield the frames of a file or device, uint8 (3, H, W)."""
    with av.open(source, format=format) as container:
        for frame in container.decode(video=0):
            yield torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)


def square(picture: Tensor, spec: models.InputSpec) -> Tensor:
    """Return the middle square of a picture as the network is fed, (1, 3, 1, size, size)."""
    side = min(picture.shape[1:])
    top, left = ((n - side) // 2 for n in picture.shape[1:])
    part = picture[None, :, top : top + side, left : left + side].float()
    small = F.interpolate(part, size=(spec.size, spec.size), mode="bilinear", antialias=True).round().byte()
    return spec.prepare(small.transpose(0, 1)[None])


def drawn(picture: Tensor, scores: list[float]) -> Tensor:
    """Draw a bar for each score into the picture."""
    picture, width = picture.clone(), picture.shape[2]
    for row, score in enumerate(scores):
        picture[:, 2 + 6 * row : 6 + 6 * row, 2 : 3 + round(score * (width - 4))] = 255
    return picture


@torch.inference_mode()
def main(options: argparse.Namespace) -> None:
    """Print the top classes whenever the network completes a step, every eighth frame."""
    if options.weights and not options.source:
        sys.exit("streaming_video.py: a video file or a device must follow the weights")
    weights, source = (options.weights, options.source) if options.source else demo()
    try:
        network, _ = models.checkpoints.load(weights)
        stream = models.streaming(network)  # type: ignore[arg-type]  # which says what it must be
    except (OSError, ValueError) as error:
        sys.exit(f"streaming_video.py: {error}")
    state: dict[str, Tensor] = {}
    names = network.classes or [str(k) for k in range(network.num_classes)]
    kept: list[Tensor] = []
    scores: list[float] = []
    failed = None
    try:
        for number, picture in enumerate(pictures(source, options.format), start=1):
            logits, state = stream(square(picture, network.input_spec), state)
            if logits.shape[1]:
                top = logits[0, -1].softmax(0).topk(min(3, len(names)))
                scores = top.values.tolist()
                shown = zip(scores, top.indices.tolist(), strict=True)
                print(f"frame {number:5d}  " + "  ".join(f"{100 * p:4.1f} % {names[k]}" for p, k in shown), flush=True)
            if options.out:
                kept.append(drawn(picture, scores))
    except KeyboardInterrupt:
        pass
    except (av.FFmpegError, IndexError) as error:  # no such file or device; none, or broken, of video
        failed = f"streaming_video.py: {source}: {error}"
    if kept:
        Path(options.out).write_bytes(synthetic.encode(torch.stack(kept)))
    if failed:
        sys.exit(failed)


if __name__ == "__main__":
    main(options)
