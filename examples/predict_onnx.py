"""Name the action in a video with onnxruntime, PyAV and numpy alone: no torch, no kdvideo.

The file of `kdvideo export student.safetensors student.onnx` says how its clips are made: frames, rate, size, classes.

    python examples/predict_onnx.py student.onnx clip.mp4
    python examples/predict_onnx.py      # first makes both with kdvideo: a network that has learned nothing, and a clip
"""

import argparse
import json
import subprocess
import sys
from typing import Any

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", nargs="?", help="the file of kdvideo export")
    parser.add_argument("clip", nargs="?", help="a video file")
    options = parser.parse_args()
    if (options.student is None) != (options.clip is None):
        parser.error("give both files, or none: they are made then")

import av
import numpy as np
import onnxruntime

MAKE = """
from pathlib import Path
from kdvideo import models
from kdvideo.data import synthetic

network = models.i3d(len(synthetic.CLASSES), depth_multiplier=0.125, min_depth=8)
network.input_spec = models.InputSpec(frames=8, size=32, fps=25.0)
network.classes = synthetic.CLASSES
models.export(network, "student.onnx")
Path("clip.mp4").write_bytes(synthetic.encode(synthetic.render("orbit", seed=0, frames=16)))
"""


def read(path: str, fps: float, short_side: int) -> np.ndarray:
    """Decode a video: uint8 RGB (T, H, W, 3), one frame per 1 / fps seconds, resized to its shorter side."""
    frames: list[np.ndarray] = []
    with av.open(path) as container:
        start = None
        for frame in container.decode(video=0):
            start = frame.time if start is None else start
            due = int((frame.time - start) * fps + 0.5) + 1  # frames that should be there when this one is shown
            if len(frames) < due:
                scale = short_side / min(frame.width, frame.height)
                width, height = (max(short_side, round(n * scale)) for n in (frame.width, frame.height))
                small = frame.reformat(width, height, format="rgb24", interpolation="BILINEAR")
                frames += [small.to_ndarray()] * (due - len(frames))
    return np.stack(frames)


def middle(video: np.ndarray, frames: int, size: int) -> np.ndarray:
    """Cut the middle of a video: uint8 (1, 3, frames, size, size); a shorter video starts over."""
    length, height, width, _ = video.shape
    first = max(length - frames, 0) // 2
    top, left = (height - size) // 2, (width - size) // 2
    clip = video[np.arange(first, first + frames) % length, top : top + size, left : left + size]
    return np.ascontiguousarray(clip.transpose(3, 0, 1, 2)[None])


def opened(path: str) -> tuple[onnxruntime.InferenceSession, dict[str, Any]]:
    """Open a program, and read what it says of itself."""
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session, json.loads(session.get_modelmeta().custom_metadata_map["kdvideo"])
    except KeyError:
        sys.exit(f"predict_onnx.py: {path}: not of kdvideo export: it does not say how its clips are made")
    except Exception as error:  # those of onnxruntime have no other base
        sys.exit(f"predict_onnx.py: {path}: {error}")


def main(path: str | None, clip: str | None) -> None:
    """Print the five most probable classes."""
    if path is None or clip is None:
        path, clip = "student.onnx", "clip.mp4"
        subprocess.run([sys.executable, "-c", MAKE], check=True)
    session, about = opened(path)
    seen, classes = about["input"], about["classes"]
    size = seen.get("crop", seen["size"])
    rate = (seen["fps"] or 25) / seen["step"]
    try:
        video = read(clip, rate, seen.get("short_side", size * 8 // 7))
    except (av.FFmpegError, IndexError, ValueError) as error:  # no such file; none, or broken, of video
        sys.exit(f"predict_onnx.py: {clip}: no video can be read: {error}")
    logits = session.run(None, {"frames": middle(video, seen["frames"], size)})[0][0]
    scores = np.exp(logits - logits.max())
    scores /= scores.sum()
    print(f"{clip}: {len(video)} frames at {rate:g} a second, by {path}")
    for k in np.argsort(-scores)[:5]:
        print(f"  {100 * scores[k]:5.1f} %  {classes[k] if classes else k}")


if __name__ == "__main__":
    main(options.student, options.clip)
