"""Measure exported networks beside eager PyTorch: size of the file, clips per second, difference, and int8.

Every round runs eager, `torch.export` and onnxruntime once each, and eager again (A/A), on one clip in one thread;
ratios are formed within a round. With weights of a trained network and its test clips, the accuracy in float32 and int8
too.

    python -m benchmarks.speed.export
    python -m benchmarks.speed.export --weights student.safetensors --clips clips/test
"""

from __future__ import annotations

import argparse
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


def network_of(weights: str | None, frames: int, size: int) -> models.Network:
    """Read the network, or build S3D-G with random weights whose logits hang on the clip."""
    if weights:
        return models.checkpoints.load(weights)[0]
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
def accuracies(network: models.Network, weights: str, clips: str) -> dict[str, Any]:
    """Count the right classes of a folder of clips, by the network and by its int8 form."""
    view = models.checkpoints.load(weights)[1]["input"]
    size = {key: view[key] for key in ("frames", "fps", "short_side", "crop")}
    spec, manifest = network.input_spec, data.from_folder(Path(clips))
    views = data.PairedClips(manifest, train=False, input_range=spec.value_range, **size)
    batch = torch.stack([spec.normalize(views[k]["rgb"]) for k in range(len(views))])
    labels, right = torch.tensor(manifest["label"]), {}
    exact = [network(part).argmax(1) for part in batch.split(16)]  # type: ignore[no-untyped-call]
    quantize(network)
    small = [network(part).argmax(1) for part in batch.split(16)]  # type: ignore[no-untyped-call]
    for name, parts in (("float32", exact), ("int8", small)):
        right[name] = round(100 * float((torch.cat(parts) == labels).float().mean()), 2)
    return {"clips": len(labels), **right}


def markdown(result: dict[str, Any]) -> str:
    """Render the record."""
    rows = []
    for name, text in NAMES.items():
        found = result["programs"][name]
        speed = found["speed"]
        size = f"{found['bytes'] / 1e6:.1f} MB" if "bytes" in found else ""
        off = f"{found['difference']:.0e}" if "difference" in found else ""
        int8 = f"{found['int8_difference']:.1g}" if found.get("int8_difference") is not None else ""
        rows.append([text, size, off, int8, f"{speed['median']:.2f}× ({speed['min']:.2f}–{speed['max']:.2f})"])
    heads = ["", "file", "difference from eager", "of int8 from float32", "clips/s, eager = 1, median (and range)"]
    told = result["accuracy"]
    accuracy = (
        f"Accuracy on {told['clips']} clips: {told['float32']:.1f} % in float32, {told['int8']:.1f} % in int8."
        if told
        else "Accuracy with int8 weights: not run."
    )
    about = (
        f"{result['network']}, {result['parameters'] / 1e6:.1f} M parameters, {result['multiply_adds'] / 1e9:.2f} G "
        f"multiply-adds on a clip of {result['input']}; {result['rounds']} rounds; {result['hardware']}, "
        f"{result['threads']} thread, load average {result['load_average']}. {accuracy}"
    )
    return "\n".join([*table(heads, rows), "", about, ""])


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", help="of a trained network (default: S3D-G with random weights)")
    parser.add_argument("--clips", help="test clips, a folder of each class")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = network_of(options.weights, options.frames, options.size)
    about = models.summary(network)
    shape = "×".join(map(str, about["input"]))
    found = {
        "network": str(network.config["architecture"]),
        **about,
        "input": shape,
        "rounds": options.rounds,
        "programs": measure(network, options.rounds),
        "accuracy": accuracies(network, options.weights, options.clips) if options.clips else None,
    }
    environment = record.environment("python -m benchmarks.speed.export", 1)
    record.write("speed_export", {"benchmark": "speed_export", **found, **environment}, markdown)


if __name__ == "__main__":
    main()
