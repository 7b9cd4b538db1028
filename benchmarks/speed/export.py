"""Measure exported networks beside eager PyTorch: size of the file, clips per second, difference, and int8.

Every round runs eager, `torch.export` and onnxruntime once each, and eager again (A/A), on one clip in one thread;
ratios are formed within a round. The accuracy in float32 and int8 is that of trained networks, such as pocket students
of `examples.d3d`, on their test clips.

    python -m benchmarks.speed.export
    python -m benchmarks.speed.export --weights student.safetensors --clips clips/test    # the accuracy alone
"""

from __future__ import annotations

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", nargs="+", help="of trained networks on RGB")
    parser.add_argument("--clips", help="its test clips, a folder of each class")
    parser.add_argument("--frames", type=int, default=16, help="of a clip")
    parser.add_argument("--size", type=int, default=112, help="height and width of a clip")
    parser.add_argument("--rounds", type=int, default=7, help="that alternate between what is compared")
    options = parser.parse_args()

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import record
from benchmarks.markdown import table
from kdvideo import data, models
from kdvideo.models.export_formats import from_onnx, from_pt2
from kdvideo.models.int8 import quantize
from kdvideo.training import Timings

FILES = {"pt2": (".pt2", False), "pt2 int8": (".pt2", True), "onnx": (".onnx", False), "onnx int8": (".onnx", True)}
NAMES = {
    "pt2": "torch.export",
    "pt2 int8": "torch.export, int8 weights",
    "onnx": "onnxruntime",
    "onnx int8": "onnxruntime, int8 weights",
    "again": "eager again",
}


def network_of(frames: int, size: int) -> models.Network:
    """Build S3D-G with random weights whose logits hang on the clip."""
    torch.manual_seed(0)
    network = models.s3dg().eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    network.input_spec = models.InputSpec(frames, size)
    return network


@torch.no_grad()
def measure(network: models.Network, rounds: int) -> dict[str, Any]:
    """Export, time and compare."""
    spec = network.input_spec
    raw = torch.randint(256, (1, 3, spec.frames, spec.size, spec.size), dtype=torch.uint8)
    arms: dict[str, Any] = {"eager": lambda: network(spec.prepare(raw))}
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (suffix, int8) in FILES.items():
            done = models.export(network, Path(folder, f"network{suffix}"), int8=int8)
            contents = done.path.read_bytes()
            found[name] = {
                "bytes": len(contents),
                "difference": done.difference,
                "int8_difference": done.int8_difference,
            }
            arms[name] = partial((from_pt2 if suffix == ".pt2" else from_onnx)(contents), raw)
    times = Timings({**arms, "again": arms["eager"]}, rounds, shuffle=True, quiet=True)
    for name in NAMES:
        found.setdefault(name, {})["speed"] = times.ratio(name, "eager")
    return found


@torch.inference_mode()
def accuracies(weights: str, clips: str) -> dict[str, Any]:
    """Count the right classes of a folder of clips, by a network on RGB and by its int8 form, in percent."""
    network, info = models.checkpoints.load(weights)
    view = info["input"]
    size = {key: view[key] for key in ("frames", "fps", "short_side", "crop")}
    spec, manifest = network.input_spec, data.from_folder(Path(clips))
    views = data.PairedClips(manifest, train=False, input_range=spec.value_range, **size)
    batch = torch.stack([spec.normalize(views[k]["rgb"]) for k in range(len(views))])
    labels, right = torch.tensor(manifest["label"]), {}
    exact = [network(part).argmax(1) for part in torch.split(batch, 16)]
    quantize(network)
    small = [network(part).argmax(1) for part in torch.split(batch, 16)]
    for name, parts in (("float32", exact), ("int8", small)):
        right[name] = round(100 * float((torch.cat(parts) == labels).float().mean()), 2)
    same = float((torch.cat(exact) == torch.cat(small)).float().mean())
    return {"clips": len(labels), "same": round(100 * same, 2), **right}


def markdown(record_: dict[str, Any]) -> str:
    """Render the record."""
    lines = ["Not run."]
    if "programs" in record_:
        lines = _programs(record_["programs"])
    if "accuracy" in record_:
        found = record_["accuracy"]
        rows = [
            [f"{number}", *(f"{one[name]:.1f} %" for name in ("float32", "int8", "same"))]
            for number, one in enumerate(found["students"])
        ]
        lines += [
            "",
            *table(["pocket student, seed", "accuracy in float32", "with int8 weights", "the same class"], rows),
            "",
            f"{found['students'][0]['clips']} test clips of `examples.d3d`, the center of each.",
        ]
    return "\n".join([*lines, ""])


def _programs(result: dict[str, Any]) -> list[str]:
    rows = []
    for name, text in NAMES.items():
        found = result["programs"][name]
        speed = found["speed"]
        size = f"{found['bytes'] / 1e6:.1f} MB" if "bytes" in found else ""
        off = f"{found['difference']:.0e}" if "difference" in found else ""
        lost = found.get("int8_difference")
        int8 = "" if lost is None else f"{lost:.1g}"
        rows.append([text, size, off, int8, f"{speed['median']:.2f}× ({speed['min']:.2f}–{speed['max']:.2f})"])
    heads = ["", "file", "difference from eager", "of int8 from float32", "clips/s, eager = 1, median (and range)"]
    about = (
        f"S3D-G with random weights, {result['parameters'] / 1e6:.1f} M parameters, "
        f"{result['multiply_adds'] / 1e9:.2f} G multiply-adds on a clip of {result['input']}; differences are of "
        f"logits on noise. {result['rounds']} rounds; {result['hardware']}, {result['threads']} thread, load average "
        f"{result['load_average']}."
    )
    return [*table(heads, rows), "", about]


def main(options: argparse.Namespace) -> None:
    """Measure, print and record."""
    torch.set_num_threads(1)
    environment = record.environment("python -m benchmarks.speed.export", 1)
    if options.weights:
        students = [accuracies(weights, options.clips) for weights in options.weights]
        found = {"students": students, **environment}
        record.update("speed_export", "accuracy", found, markdown)
        return
    network = network_of(options.frames, options.size)
    about = models.summary(network)
    found = {**about, "input": "×".join(map(str, about["input"])), "rounds": options.rounds}
    found |= {"programs": measure(network, options.rounds), **environment}
    record.update("speed_export", "programs", found, markdown)


if __name__ == "__main__":
    main(options)
